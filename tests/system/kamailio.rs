//! Another proxy before the signaling server: Kamailio, as operators put it at the edge.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::browser::{Browser, Kind};
use crate::harness::helper::Helper;
use crate::harness::process::Process;
use crate::harness::{eventually, machine, seconds};

/// Registrations leave a Path (RFC 3327) and calls a Record-Route; everything else goes on to the
/// signaling server.
fn configuration(modules: &str, port: u16, signaling: SocketAddr) -> String {
    // What it sends on comes back by the Path, which takes nothing but its removal.
    let behind = signaling.port();
    let names = ["tm", "sl", "rr", "path", "pv", "siputils", "textops"];
    let modules = names.map(|name| format!("loadmodule \"{modules}/{name}.so\"\n"));
    format!(
        "#!KAMAILIO\n\
         debug=0\nlog_stderror=yes\nchildren=2\ndisable_tcp=yes\nauto_aliases=no\n\
         listen=udp:127.0.0.1:{port}\n{}\
         request_route {{\n\
           if (is_method(\"CANCEL\")) {{ if (t_check_trans()) t_relay(); exit; }}\n\
           if (has_totag()) {{ loose_route(); t_relay(); exit; }}\n\
           if (is_method(\"INVITE\")) record_route();\n\
           if ($sp == {behind}) {{ loose_route(); t_relay(); exit; }}\n\
           if (is_method(\"REGISTER\")) add_path();\n\
           $du = \"sip:{signaling}\";\n\
           t_relay();\n\
         }}\n",
        modules.concat()
    )
}

/// Where this machine has Kamailio's modules.
fn modules() -> String {
    let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut places = libraries.map(|library| library.path().join("kamailio/modules"));
    let place = places.find(|place| place.is_dir());
    place
        .expect("./dev test installs kamailio")
        .display()
        .to_string()
}

#[test]
fn a_browsers_call_passes_kamailio_and_signaling() {
    let _turn = machine::shared();
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data.xml");
    let admin = ["--admin", "127.0.0.1:0"];
    let stored = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let signaling = Process::start("signaling", &[&admin[..], &stored].concat());

    let port = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let file = directory.path().join("kamailio.cfg");
    let text = configuration(&modules(), port, signaling.addr("sip"));
    fs::write(&file, text).unwrap();
    // It has processes of its own, which end with the first in a space of theirs.
    let mut kamailio = Command::new("unshare");
    kamailio.args([
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
    ]);
    kamailio.args(["kamailio", "-DD", "-E", "-m", "32", "-M", "4"]);
    kamailio
        .arg("-Y")
        .arg(directory.path())
        .arg("-f")
        .arg(&file);
    let _kamailio = Helper::run(kamailio);

    let proxy = format!("127.0.0.1:{port}");
    let through = ["--signaling", &proxy];
    let streamer = ["run", "--pipelines", "pipelines", "test"];
    let streamer = Process::start("streamer-gst", &[&streamer[..], &admin, &through].concat());
    let http = ["--http", "127.0.0.1:0"];
    let front = Process::start("front", &[&http[..], &admin, &through].concat());
    eventually("the stream is listed", seconds(30), || {
        signaling.number("/streamers") == 1 && streamer.number("/registered") == 1
    });
    eventually("its way is known", seconds(5), || {
        let stored = fs::read_to_string(&data).unwrap_or_default();
        stored.contains(&format!("<path>&lt;sip:{proxy};lr&gt;</path>"))
    });

    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&format!("http://{}/watch/test", front.addr("http")));
    page.plays(seconds(20));
    assert_eq!(signaling.number("/sessions"), 1);
    page.click("#stop");
    eventually("everybody knows of the end", seconds(5), || {
        let sessions = signaling.number("/sessions") + front.number("/sessions");
        sessions + streamer.number("/calls") == 0
    });
    for program in [&signaling, &front, &streamer] {
        assert_eq!(program.complaints(), Vec::<String>::new());
    }
}
