//! Calls between user agents that know nothing of us: sipp at both ends.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Directory, PATIENCE, Program};

fn sipp(scenario: &str, arguments: &[&str]) -> Command {
    let scenarios = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/server/sipp");
    let mut command = Command::new("sipp");
    command
        .arg("-sf")
        .arg(scenarios.join(scenario))
        .args([
            "-i",
            "127.0.0.1",
            "-nostdin",
            "-timeout",
            "60s",
            "-timeout_error",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn succeeded(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
}

/// Registers `streams` from one port and lets a scenario answer there while another one calls.
fn calls(streamer: &str, front: &str, count: &str) {
    let directory = Directory::new();
    let program = Program::start(&directory.data());
    let server = program.sip.to_string();
    let port = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port().to_string()
    };
    let register = ["-s", "test", "-p", &port, "-m", "1", &server];
    succeeded(
        &sipp("register.xml", &register)
            .output()
            .expect("sipp from the package sip-tester"),
    );
    let answering = sipp(streamer, &["-p", &port, "-m", count]).spawn().unwrap();
    let calling = sipp(front, &["-s", "test", "-m", count, "-r", "20", &server])
        .output()
        .unwrap();
    succeeded(&calling);
    succeeded(&answering.wait_with_output().unwrap());
    let state = program.wait_for(PATIENCE, |state| state["sessions"] == 0);
    assert_eq!(
        (&state["calls"], &state["streamers"]),
        (&0.into(), &1.into())
    );
    // The last transactions absorb retransmissions for 32 s; then nothing is left of the calls.
    program.wait_for(Duration::from_secs(60), |state| state["transactions"] == 0);
    let (status, log) = program.terminate();
    assert!(status.success());
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn sipp_calls_sipp() {
    calls("streamer.xml", "front.xml", "40");
}

#[test]
fn sipp_gives_up_calls_to_sipp() {
    calls("holding_streamer.xml", "cancelling_front.xml", "20");
}
