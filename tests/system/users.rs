//! Who may register a stream, and who may call one: passwords between the three programs.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;

use sip::driver::local_ip_towards;
use tempfile::TempDir;

use crate::harness::process::Process;
use crate::harness::{eventually, http, machine, seconds, whep};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// Files of secrets, which nobody else may read.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// The path of a file with this text.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
        path.display().to_string()
    }
}

/// A streamer of the stream "test", or a front, that says who it is.
fn start(program: &'static str, relay: &str, user: &str, password: &str) -> Process {
    let who = [
        "--signaling",
        relay,
        "--sip-user",
        user,
        "--sip-password-file",
        password,
    ];
    let flags = match program {
        "front" => vec!["--http", "127.0.0.1:0"],
        _ => vec!["run", "--pipelines", "pipelines", "test"],
    };
    Process::start(program, &[&flags[..], &ADMIN, &who].concat())
}

#[test]
fn a_stream_belongs_to_its_user_and_is_called_by_those_who_may() {
    let _turn = machine::shared();
    let secrets = Secrets::new();
    let users = "studio:the studio's own:test\nweb:the web server's\nana:somebody else's\n";
    let users = secrets.file("users", users);
    let data = secrets.0.path().join("data.xml");
    let listen = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let asked = ["--users", &users, "--auth-calls"];
    let signaling = Process::start("signaling", &[&listen[..], &ADMIN, &asked].concat());
    let relay = signaling.addr("sip").to_string();

    let ana = secrets.file("ana", "somebody else's\n");
    let stranger = start("streamer-gst", &relay, "ana", &ana);
    eventually(
        "ana is refused the stream of the studio",
        seconds(10),
        || stranger.log().contains("another user's"),
    );
    let studio = secrets.file("studio", "the studio's own\n");
    let streamer = start("streamer-gst", &relay, "studio", &studio);
    eventually("the studio has registered its stream", seconds(10), || {
        streamer.number("/registered") == 1 && signaling.number("/streamers") == 1
    });
    assert_eq!(stranger.number("/registered"), 0);

    let offer = whep::recorded("chromium");
    let wrong = secrets.file("wrong", "not the password\n");
    let intruder = start("front", &relay, "web", &wrong);
    let answer = whep::call(intruder.addr("http"), "test", &offer).unwrap();
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("not-let-in"), "{}", answer.text());

    let right = secrets.file("web", "the web server's\n");
    let front = start("front", &relay, "web", &right);
    let answer = whep::call(front.addr("http"), "test", &offer).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(streamer.number("/viewers"), 1);
    whep::hang_up(front.addr("http"), &answer);
    eventually("the call is over on all sides", seconds(5), || {
        streamer.number("/viewers") + front.number("/calls") + signaling.number("/calls") == 0
    });
    for program in [&signaling, &streamer, &front] {
        assert_eq!(program.complaints(), Vec::<String>::new());
        let printed = program.printed() + &program.log();
        let secrets = ["the studio's own", "the web server's", "somebody else's"];
        let told = secrets.iter().find(|secret| printed.contains(**secret));
        assert_eq!(told, None, "{printed}");
    }
}

#[test]
fn programs_elsewhere_work_without_being_trusted() {
    let _turn = machine::shared();
    let secrets = Secrets::new();
    let users = secrets.file(
        "users",
        "studio:the studio's own:test\nweb:the web server's\n",
    );
    let listen = ["--listen", "0.0.0.0:0", "--data", "none"];
    let asked = ["--users", &users, "--auth-calls", "--trust", "none"];
    let signaling = Process::start("signaling", &[&listen[..], &ADMIN, &asked].concat());
    // The address that is not of loopback.
    let elsewhere = local_ip_towards(([192, 0, 2, 1], 9).into()).unwrap();
    let relay = SocketAddr::new(elsewhere, signaling.addr("sip").port()).to_string();

    let studio = secrets.file("studio", "the studio's own\n");
    let streamer = start("streamer-gst", &relay, "studio", &studio);
    let web = secrets.file("web", "the web server's\n");
    let front = start("front", &relay, "web", &web);
    let http = front.addr("http");
    // Lists and pictures are longer than the question.
    eventually("the stream is listed", seconds(10), || {
        let list = http::get(http, "/api/streams").unwrap().text();
        list.contains(r#""name":"test""#) && list.contains(r#""live":true"#)
    });
    let picture = http::get(http, "/api/streams/test/image").unwrap();
    assert_eq!(picture.header("content-type"), Some("image/jpeg"));
    let answer = whep::call(http, "test", &whep::recorded("chromium")).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    whep::hang_up(http, &answer);
    eventually("the call is over on all sides", seconds(5), || {
        streamer.number("/viewers") + front.number("/calls") + signaling.number("/calls") == 0
    });
    for program in [&signaling, &streamer, &front] {
        assert_eq!(program.complaints(), Vec::<String>::new());
    }
}
