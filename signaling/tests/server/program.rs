//! The program as others see it: its flags, its ready line, real datagrams, restart and end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use sip::{Dialog, Event, Method, Name, Response, StatusCode};

use crate::support::{Directory, PATIENCE, PROGRAM, Phone, Program};

/// Sets up a call between two phones; returns both sides of its dialog.
pub(crate) fn call(
    front: &mut Phone,
    streamer: &mut Phone,
    call_id: &str,
    offer: Bytes,
) -> (Dialog, Dialog) {
    let mut invite = front.make(Method::Invite, Some("test"), call_id);
    invite.set_body("application/sdp", offer.clone());
    let sent = front.send(invite.clone());
    front.flush();
    let (id, came) = streamer.expect(&Method::Invite);
    assert_eq!(came.body, offer);
    let mut answer = Response::to_request(&came, StatusCode::ACCEPTED);
    answer.set_to_tag("streamer");
    for route in came.headers.all(Name::RecordRoute) {
        answer.headers.push(Name::RecordRoute, route);
    }
    answer
        .headers
        .push(Name::Contact, &format!("<sip:test@{}>", streamer.address));
    answer.set_body("application/sdp", offer);
    streamer.endpoint.accept(Instant::now(), id, answer);
    streamer.flush();
    let answer = front.wait(|_, event| match event {
        Event::Response { id, response, .. } if id == sent && response.status.is_success() => {
            Some(response)
        }
        _ => None,
    });
    let dialog = Dialog::uac(&invite, &answer);
    let server = front.server;
    front.endpoint.send_request(server, dialog.ack());
    front.flush();
    streamer.wait(|_, event| matches!(event, Event::Ack { .. }).then_some(()));
    (dialog, Dialog::uas(&came, "streamer"))
}

/// Hangs up from one phone and answers at the other.
pub(crate) fn hang_up(one: &mut Phone, mut dialog: Dialog, other: &mut Phone) {
    let sent = one.send(dialog.request(Method::Bye));
    one.flush();
    let (id, bye) = other.expect(&Method::Bye);
    other.respond(id, Response::to_request(&bye, StatusCode::OK));
    let status = one.wait(|_, event| match event {
        Event::Response { id, response, .. } if id == sent => Some(response.status),
        _ => None,
    });
    assert_eq!(status, StatusCode::OK);
}

#[test]
fn a_call_survives_the_kill_of_the_server_and_is_hung_up_after_its_restart() {
    let directory = Directory::new();
    for front_hangs_up in [true, false] {
        let program = Program::start(&directory.data());
        let server = program.sip;
        let (mut front, mut streamer) = (Phone::new(server), Phone::new(server));
        streamer.register("test", "registration", "");
        let offer = Bytes::from_static(b"v=0\r\ns=-\r\n");
        let (caller, callee) = call(&mut front, &mut streamer, "the-call", offer);
        program.wait_for(PATIENCE, |state| state["sessions"] == 1);
        let written = |text: &str| {
            std::fs::read_to_string(directory.data()).is_ok_and(|file| file.contains(text))
        };
        program.wait_for(PATIENCE, |_| written("connection-established"));
        program.kill();

        let program = Program::start_at(&server.to_string(), &directory.data());
        program.wait_for(PATIENCE, |state| state["streamers"] == 1);
        let asked = streamer.wait(|_, event| match event {
            Event::Stray { response, .. } => Some(response),
            _ => None,
        });
        assert_eq!(asked.status, StatusCode::FORBIDDEN);
        assert_eq!(asked.call_id(), "registration");
        let body = r#"{"name":"test","calls":["the-call"]}"#;
        let registered = streamer.register("test", "registration", body);
        assert_eq!(registered.status, StatusCode::OK);
        program.wait_for(PATIENCE, |_| written("connection-established"));
        if front_hangs_up {
            hang_up(&mut front, caller, &mut streamer);
        } else {
            hang_up(&mut streamer, callee, &mut front);
        }
        program.wait_for(PATIENCE, |state| state["sessions"] == 0);
        let (status, log) = program.terminate();
        assert!(status.success());
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
        assert!(!written("the-call"));
        std::fs::remove_file(directory.data()).unwrap();
    }
}

#[test]
fn without_a_data_base_nothing_is_kept_and_nothing_is_written() {
    let none = Path::new("none");
    let program = Program::start(none);
    let server = program.sip;
    let (mut front, mut streamer) = (Phone::new(server), Phone::new(server));
    streamer.register("test", "registration", "");
    let (caller, _) = call(&mut front, &mut streamer, "the-call", Bytes::new());
    hang_up(&mut front, caller, &mut streamer);
    program.wait_for(PATIENCE, |state| state["sessions"] == 0);
    let (status, log) = program.terminate();
    assert!(status.success());
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let program = Program::start_at(&server.to_string(), none);
    assert_eq!(program.state()["streamers"], 0);
    program.kill();
    for file in ["none", "none.lock", "none.tmp"] {
        assert!(!Path::new(file).exists(), "{file}");
    }
}

#[test]
fn the_end_comes_soon_and_keeps_calls_in_the_data_base() {
    let directory = Directory::new();
    let program = Program::start(&directory.data());
    let (mut front, mut streamer) = (Phone::new(program.sip), Phone::new(program.sip));
    streamer.register("test", "registration", "");
    let offer: Bytes = (0..60_000).map(|n| b"v=0\r\n<&>"[n % 8]).collect();
    call(&mut front, &mut streamer, "the-call", offer.clone());
    let asked = Instant::now();
    let (status, log) = program.terminate();
    assert!(status.success());
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let file = std::fs::File::open(directory.data()).unwrap();
    let kept = signaling::store::xml::read(std::io::BufReader::new(file)).unwrap();
    assert_eq!(kept.sessions[0].call_id, "the-call");
    assert_eq!(kept.sessions[0].name, "Ana");
    assert_eq!(kept.sessions[0].offer, offer);
    assert_eq!(kept.streamers[0].name, "test");
}

#[test]
fn a_corrupt_data_base_is_kept_aside_with_one_error() {
    let directory = Directory::new();
    std::fs::write(directory.data(), "<data-base><streamers>").unwrap();
    let program = Program::start(&directory.data());
    let mut phone = Phone::new(program.sip);
    assert_eq!(
        phone.register("test", "registration", "").status,
        StatusCode::OK
    );
    let (_, log) = program.terminate();
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    let kept = std::fs::read_dir(&directory.0).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("data.xml.bad-")
    });
    assert_eq!(kept.count(), 1);
}

#[test]
fn a_thousand_streams_are_listed_in_pages() {
    let directory = Directory::new();
    let program = Program::start(&directory.data());
    let mut phone = Phone::new(program.sip);
    let title = "t".repeat(200);
    for number in 0..1000 {
        let name = format!("stream{number:04}");
        let body = format!(r#"{{"name":"{name}","title":{{"":"{title}"}}}}"#);
        let registered = phone.register(&name, &format!("registration-{number}"), &body);
        assert_eq!(registered.status, StatusCode::OK);
    }
    assert_eq!(
        program.wait_for(PATIENCE, |state| state["streamers"] == 1000)["sessions"],
        0
    );
    let (mut after, mut names) = (String::new(), Vec::new());
    let mut pages = 0;
    loop {
        let mut options = phone.make(Method::Options, None, &format!("page-{pages}"));
        options.uri.params.set("after", Some(&after));
        options.headers.push(Name::Accept, "application/json");
        let answer = phone.ask(options);
        assert!(answer.to_bytes().len() < 60_000);
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        for stream in page["streams"].as_array().unwrap() {
            names.push(stream["name"].as_str().unwrap().to_owned());
        }
        pages += 1;
        if page["more"] == false {
            break;
        }
        after = names.last().unwrap().clone();
    }
    assert!(pages > 1);
    assert_eq!(names.len(), 1000);
    assert!(names.is_sorted());
}

#[test]
fn two_servers_do_not_share_a_data_base() {
    let directory = Directory::new();
    let first = Program::start(&directory.data());
    let data = directory.data();
    let second = Command::new(PROGRAM)
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(!second.status.success());
    let told = format!(
        "signaling: {} is in use by another signaling server: choose another with --data\n",
        data.display()
    );
    assert_eq!(String::from_utf8(second.stderr).unwrap(), told);
    // A killed server leaves no lock behind.
    first.kill();
    Program::start(&data);
}

#[test]
fn impossible_flags_end_the_program_with_one_sentence() {
    let directory = Directory::new();
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .current_dir(&directory.0)
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert!(output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    assert!(run(&["--listen", "0.0.0.0:0"]).contains("--users FILE, or add --insecure"));
    let users = directory.users("ana:the password\nbob:short\n");
    let told = run(&[
        "--listen",
        "127.0.0.1:0",
        "--users",
        users.to_str().unwrap(),
    ]);
    let place = format!("signaling: --users: {}:2: a password has", users.display());
    assert!(
        told.starts_with(&place) && !told.contains("short"),
        "{told}"
    );
    assert!(run(&["--auth-calls"]).contains("--users"));
    assert!(run(&["--listen", "127.0.0.1:0", "--data", "no/such/data.xml"]).contains("no/such"));
    assert!(run(&["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"]).contains("admin"));
    let full = run(&["--listen", "127.0.0.1:0", "--capture", "/dev/full"]);
    assert!(full.contains("cannot capture to /dev/full"), "{full}");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(run(&["--listen", &address]).contains(&address));
}

#[test]
fn a_name_is_its_users_over_a_restart_and_no_password_is_told() {
    let directory = Directory::new();
    let users = directory.users("ana:the password\nbob:another password\n");
    // Beyond loopback, which users allow.
    let start = |listen: &str| {
        let flags = ["--listen", listen, "--users", users.to_str().unwrap()];
        Program::start_with(&flags, &directory.data())
    };
    let program = start("0.0.0.0:0");
    let server = std::net::SocketAddr::from(([127, 0, 0, 1], program.sip.port()));
    let mut ana = Phone::new(server).with_password("ana", "the password");
    let mut bob = Phone::new(server).with_password("bob", "another password");
    let mut eve = Phone::new(server).with_password("ana", "another password");
    let mut nobody = Phone::new(server);
    let asked = nobody.register("test", "nobody", "").status;
    assert_eq!(asked, StatusCode::UNAUTHORIZED);
    assert_eq!(ana.register("test", "ana", "").status, StatusCode::OK);
    let written = |text: &str| {
        std::fs::read_to_string(directory.data()).is_ok_and(|file| file.contains(text))
    };
    program.wait_for(PATIENCE, |_| written("<user>ana</user>"));
    let mut logs = vec![program.kill()];

    let program = start(&format!("0.0.0.0:{}", server.port()));
    assert_eq!(
        bob.register("test", "bob", "").status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        eve.register("test", "eve", "").status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(ana.register("test", "ana", "").status, StatusCode::OK);
    assert_eq!(bob.register("other", "bob-2", "").status, StatusCode::OK);
    let state = program.wait_for(PATIENCE, |state| {
        state["denied"] == 1 && state["streamers"] == 2
    });
    logs.push(program.terminate().1);
    let told = format!(
        "{state} {} {}",
        logs.concat(),
        std::fs::read_to_string(directory.data()).unwrap()
    );
    assert!(
        !told.contains("the password") && !told.contains("another"),
        "{told}"
    );
}
