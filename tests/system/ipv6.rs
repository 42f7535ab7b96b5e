//! The programs where there is no IPv4 between them.

use tempfile::TempDir;

use crate::harness::process::Process;
use crate::harness::{eventually, machine, seconds, whep};

#[test]
fn a_call_passes_over_ipv6() {
    let _turn = machine::shared();
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data.xml");
    let admin = ["--admin", "[::1]:0"];
    let listen = ["--listen", "[::1]:0", "--data", data.to_str().unwrap()];
    let signaling = Process::start("signaling", &[&listen[..], &admin].concat());
    let relay = signaling.addr("sip");
    assert!(relay.is_ipv6());

    let way = ["--signaling", &relay.to_string()];
    let flags = ["run", "--pipelines", "pipelines", "test"];
    let streamer = Process::start("streamer-gst", &[&flags[..], &admin, &way].concat());
    eventually("the stream is registered", seconds(10), || {
        streamer.number("/registered") == 1
    });
    let flags = ["--http", "[::1]:0"];
    let front = Process::start("front", &[&flags[..], &admin, &way].concat());
    let http = front.addr("http");
    let answer = whep::call(http, "test", &whep::recorded("firefox")).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(streamer.number("/viewers"), 1);
    whep::hang_up(http, &answer);
    eventually("the call is over on all sides", seconds(5), || {
        streamer.number("/viewers") + front.number("/calls") + signaling.number("/calls") == 0
    });
    for program in [&signaling, &streamer, &front] {
        assert_eq!(program.complaints(), Vec::<String>::new());
    }
}
