//! What operators see of calls.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use serde_json::Value;

use crate::program::{call, hang_up};
use crate::support::{Directory, PATIENCE, Phone, Program};

const OFFER: Bytes = Bytes::from_static(b"v=0\r\ns=-\r\n");

/// Makes a call and ends it.
fn whole_call(program: &Program, call_id: &str) {
    let (mut front, mut streamer) = (Phone::new(program.sip), Phone::new(program.sip));
    streamer.register("test", "registration", "");
    let (caller, _) = call(&mut front, &mut streamer, call_id, OFFER);
    hang_up(&mut front, caller, &mut streamer);
}

fn json(program: &Program, path: &str) -> Value {
    let (head, body) = program.get(path, "");
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn operators_read_a_calls_messages_and_its_ladder() {
    let directory = Directory::new();
    let program = Program::start(&directory.data());
    whole_call(&program, "a/b%c@host");

    let calls = json(&program, "/calls");
    assert_eq!(calls.as_array().unwrap().len(), 1, "{calls}");
    assert_eq!(calls[0]["call_id"], "a/b%c@host");
    assert_eq!(
        (&calls[0]["stream"], &calls[0]["state"]),
        (&"test".into(), &"ended".into())
    );

    let path = "/calls/a%2Fb%25c%40host";
    let call = json(&program, path);
    let messages = call["ladder"].as_array().unwrap();
    let starts: Vec<String> = messages
        .iter()
        .map(|message| {
            let start = [&message["method"], &message["status"]].map(Value::to_string);
            let start = start.join("").replace("null", "").replace('"', "");
            format!("{} {start}", message["direction"].as_str().unwrap())
        })
        .collect();
    let expected = [
        "in INVITE",
        "out 100",
        "out INVITE",
        "in 100",
        "in 202",
        "out 202",
        "in ACK",
        "out ACK",
        "in BYE",
        "out BYE",
        "in 200",
        "out 200",
    ];
    for start in expected {
        assert!(
            starts.iter().any(|seen| seen == start),
            "no {start} in {starts:?}"
        );
    }
    assert_eq!(messages[0]["sdp"], "v=0\r\ns=-\r\n");

    for (path, headers) in [
        (&*format!("{path}.txt"), ""),
        (path, "Accept: text/plain\r\n"),
    ] {
        let (head, body) = program.get(path, headers);
        assert!(head.contains("content-type: text/plain"), "{head}");
        let text = String::from_utf8(body).unwrap();
        assert!(
            text.contains("INVITE (SDP) -") && text.contains(" 202 Accepted (SDP) -"),
            "{text}"
        );
    }
    assert!(
        program
            .get("/calls/other", "")
            .0
            .starts_with("HTTP/1.1 404")
    );
    let state = program.state();
    assert_eq!(state["ladder"]["calls"], 1, "{state}");
}

/// What tshark reads in a capture: of each packet method, status and both checksums' verdicts.
fn tshark(file: &Path, server: u16) -> Vec<String> {
    let fields = [
        "sip.Method",
        "sip.Status-Code",
        "ip.checksum.status",
        "udp.checksum.status",
        "_ws.malformed",
    ];
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let run = Command::new("tshark")
        .args(["-n", "-d", &format!("udp.port=={server},sip"), "-r"])
        .arg(file)
        .args([
            "-o",
            "ip.check_checksum:TRUE",
            "-o",
            "udp.check_checksum:TRUE",
        ])
        .args(["-T", "fields", "-E", "separator=/s"])
        .args(fields)
        .output()
        .expect("tshark is installed: ./dev test");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{errors}");
    let text = String::from_utf8(run.stdout).unwrap();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// Finds every message of a call in a capture, each packet being sound.
fn assert_whole_call(file: &Path, server: u16) {
    let seen = tshark(file, server);
    for wanted in ["INVITE", "100", "202", "ACK", "BYE", "200"] {
        // Coming and going.
        let found = seen
            .iter()
            .filter(|line| line.split_once(' ').unwrap().0 == wanted);
        assert!(found.count() >= 2, "no {wanted} twice in {seen:?}");
    }
    // Good are both checksums.
    assert!(seen.iter().all(|line| line.ends_with("1 1")), "{seen:?}");
}

#[test]
fn a_calls_capture_is_read_by_tshark_in_both_formats() {
    let directory = Directory::new();
    let program = Program::start(&directory.data());
    whole_call(&program, "the-call");
    for (ending, media_type) in [
        ("pcap", "application/vnd.tcpdump.pcap"),
        ("pcapng", "application/x-pcapng"),
    ] {
        let (head, body) = program.get(&format!("/calls/the-call.{ending}"), "");
        assert!(
            head.contains(&format!("content-type: {media_type}\r\n")),
            "{head}"
        );
        let file = directory.0.join(ending);
        std::fs::write(&file, body).unwrap();
        assert_whole_call(&file, program.sip.port());
    }
}

#[test]
fn everything_is_captured_while_it_passes() {
    for name in ["all.pcap", "all.pcapng"] {
        let directory = Directory::new();
        let file = directory.0.join(name);
        let capture = [
            "--listen",
            "127.0.0.1:0",
            "--capture",
            file.to_str().unwrap(),
        ];
        let program = Program::start_with(&capture, &directory.data());
        let server = program.sip;
        whole_call(&program, "the-call");
        // At every second, not only at the end.
        program.wait_for(PATIENCE, |_| {
            tshark(&file, server.port())
                .iter()
                .any(|line| line.starts_with("BYE"))
        });
        let state = program.state();
        assert!(
            state["capture"]["datagrams"].as_u64().unwrap() >= 14,
            "{state}"
        );
        assert_eq!(state["capture"]["lost"], 0);
        let mut large = Phone::new(server);
        let offer: Bytes = (0..60_000).map(|n| b"v=0\r\n"[n % 5]).collect();
        let mut register = large.make(sip::Method::Register, Some("large"), "large");
        register.set_body("application/sdp", offer);
        register.headers.push(
            sip::Name::Other("Authorization".into()),
            "Digest username=\"ana\", response=\"5ec4e7\"",
        );
        large.ask(register);
        let (status, log) = program.terminate();
        assert!(status.success());
        assert!(!log.contains("WARN"), "{log}");
        assert_whole_call(&file, server.port());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "others read no calls");
        let written = std::fs::read(&file).unwrap();
        let finds = |text: &[u8]| written.windows(text.len()).any(|bytes| bytes == text);
        assert!(finds(b"response=\"000000\"") && !finds(b"5ec4e7"));
        assert!(
            tshark(&file, server.port())
                .iter()
                .any(|line| line.starts_with("REGISTER"))
        );
    }
}

#[test]
fn a_traced_call_is_a_line_for_each_message_on_standard_error() {
    let directory = Directory::new();
    let trace = ["--listen", "127.0.0.1:0", "--trace"];
    let program = Program::start_with(&trace, &directory.data());
    whole_call(&program, "the-call");
    let (status, log) = program.terminate();
    assert!(status.success());
    for (arrow, message, size) in [
        ("<-", "INVITE 1 INVITE", OFFER.len()),
        ("->", "INVITE 1 INVITE", OFFER.len()),
        ("->", "100 1 INVITE", 0),
        ("<-", "202 1 INVITE", OFFER.len()),
        ("->", "202 1 INVITE", OFFER.len()),
        ("<-", "ACK 1 ACK", 0),
        ("<-", "BYE 2 BYE", 0),
        ("->", "200 2 BYE", 0),
    ] {
        let (begin, end) = (
            format!(" SIP {arrow} 127.0.0.1:"),
            format!(" the-call {message} {size} bytes"),
        );
        let found = log
            .lines()
            .any(|line| line.contains(&begin) && line.ends_with(&end));
        assert!(found, "no {arrow} {message} in {log}");
    }
    assert!(log.contains(" REGISTER 1 REGISTER 0 bytes\n"), "{log}");
}

#[test]
fn calls_are_shown_to_who_has_the_token_alone() {
    let directory = Directory::new();
    let file = directory.0.join("token");
    std::fs::write(&file, "letmein").unwrap();
    let token = [
        "--listen",
        "127.0.0.1:0",
        "--admin-token-file",
        file.to_str().unwrap(),
    ];
    let program = Program::start_with(&token, &directory.data());
    whole_call(&program, "secret");
    for path in [
        "/calls",
        "/calls/secret",
        "/calls/secret.txt",
        "/calls/other",
    ] {
        let (head, body) = program.get(path, "");
        assert!(head.starts_with("HTTP/1.1 401"), "{path}: {head}");
        assert!(!String::from_utf8(body).unwrap().contains("v=0"));
    }
    let bearer = "Authorization: Bearer letmein\r\n";
    assert!(
        program
            .get("/calls/secret", bearer)
            .0
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn a_server_told_to_keep_no_calls_keeps_none() {
    let directory = Directory::new();
    let program = Program::start_with(
        &["--listen", "127.0.0.1:0", "--ladder", "0"],
        &directory.data(),
    );
    whole_call(&program, "x");
    program.wait_for(PATIENCE, |state| state["sessions"] == 0);
    assert_eq!(json(&program, "/calls"), Value::Array(Vec::new()));
}
