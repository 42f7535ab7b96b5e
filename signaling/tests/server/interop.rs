//! Calls between user agents that know nothing of us: sipp at both ends.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Directory, PATIENCE, Program};

/// One of our scenarios.
pub(crate) fn scenario(name: &str) -> PathBuf {
    let scenarios = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/server/sipp");
    scenarios.join(name)
}

/// sipp with a scenario.
pub(crate) fn sipp(scenario: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sipp");
    command.arg("-sf").arg(scenario).args(arguments);
    quiet(&mut command);
    command
}

/// Keeps sipp at this address, from the terminal, and from waiting for ever.
pub(crate) fn quiet_at(sipp: &mut Command, ip: &str) {
    sipp.args(["-i", ip, "-nostdin", "-timeout", "120s"])
        .arg("-timeout_error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// The same on loopback.
pub(crate) fn quiet(sipp: &mut Command) {
    quiet_at(sipp, "127.0.0.1");
}

pub(crate) fn succeeded(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
}

/// What sipp calls one socket for all, of each kind.
pub(crate) const UDP: &str = "u1";
pub(crate) const TCP: &str = "t1";

/// A registration, and both sides of a call.
pub(crate) const SCENARIOS: [&str; 3] = ["register.xml", "streamer.xml", "front.xml"];

/// A port of loopback that is free for datagrams and streams.
pub(crate) fn free_port() -> String {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address.port().to_string();
        }
    }
}

/// Registers a stream from one port and lets a scenario answer there while another one calls, each
/// side by its transport. With a password, sipp gives it where it is asked.
pub(crate) fn calls(
    program: &Program,
    [register, streamer, front]: [&str; 3],
    [streamers, fronts]: [&str; 2],
    count: &str,
    password: &[&str],
) {
    let server = program.sip.to_string();
    let port = free_port();
    let at = [
        "-t", streamers, "-s", "test", "-p", &port, "-m", "1", &server,
    ];
    succeeded(
        &sipp(&scenario(register), &[password, &at].concat())
            .output()
            .expect("sipp from the package sip-tester"),
    );
    let answers = ["-t", streamers, "-p", &port, "-m", count];
    let answering = sipp(&scenario(streamer), &answers).spawn().unwrap();
    let many = ["-t", fronts, "-s", "test", "-m", count, "-r", "20", &server];
    let calling = sipp(&scenario(front), &[password, &many].concat())
        .output()
        .unwrap();
    succeeded(&calling);
    succeeded(&answering.wait_with_output().unwrap());
    let state = program.wait_for(PATIENCE, |state| state["sessions"] == 0);
    assert_eq!(
        (&state["calls"], &state["streamers"]),
        (&0.into(), &1.into())
    );
}

/// Ends a server that has had no reason to complain; returns what it logged.
pub(crate) fn end(program: Program) -> String {
    let (status, log) = program.terminate();
    assert!(status.success());
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    log
}

fn calls_by(transports: [&str; 2]) {
    let directory = Directory::new();
    let program = Program::start(&directory.data());
    calls(&program, SCENARIOS, transports, "20", &[]);
    end(program);
}

#[test]
fn sipp_calls_sipp() {
    let directory = Directory::new();
    let program = Program::start(&directory.data());
    calls(&program, SCENARIOS, [UDP, UDP], "40", &[]);
    // The last transactions absorb retransmissions for 32 s; then nothing is left of the calls.
    let forgotten = Duration::from_secs(60);
    program.wait_for(forgotten, |state| state["transactions"] == 0);
    end(program);
}

#[test]
fn sipp_calls_sipp_over_tcp() {
    calls_by([TCP, TCP]);
}

#[test]
fn sipp_over_udp_calls_sipp_over_tcp() {
    calls_by([TCP, UDP]);
}

#[test]
fn sipp_over_tcp_calls_sipp_over_udp() {
    calls_by([UDP, TCP]);
}

#[test]
fn sipp_gives_up_calls_to_sipp() {
    let directory = Directory::new();
    let program = Program::start(&directory.data());
    let scenarios = [
        "register.xml",
        "ringing_streamer.xml",
        "cancelling_front.xml",
    ];
    calls(&program, scenarios, [UDP, UDP], "20", &[]);
    end(program);
}

#[test]
fn sipp_calls_sipp_with_passwords() {
    let directory = Directory::new();
    let users = directory.users("test:the password\n");
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--auth-calls",
        "--users",
        users.to_str().unwrap(),
    ];
    let program = Program::start_with(&flags, &directory.data());
    let server = program.sip.to_string();
    let wrong = [
        "-au",
        "test",
        "-ap",
        "a password",
        "-s",
        "test",
        "-m",
        "1",
        &server,
    ];
    let refused = sipp(&scenario("register_with_password.xml"), &wrong)
        .output()
        .unwrap();
    assert!(!refused.status.success());
    program.wait_for(PATIENCE, |state| state["denied"] == 1);
    let scenarios = [
        "register_with_password.xml",
        "streamer.xml",
        "front_with_password.xml",
    ];
    let password = ["-au", "test", "-ap", "the password"];
    calls(&program, scenarios, [UDP, UDP], "20", &password);
    end(program);
}
