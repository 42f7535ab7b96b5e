//! What other programs may rely on in our SIP, one test for each topic, by the real programs on real
//! sockets. Timers of minutes, lossy networks and the messages of RFC 4475 and RFC 5118 are tested on
//! a virtual clock, in `sip` and `signaling`.

mod agent;
mod calls;
mod doors;
mod streams;
mod wire;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::process::Process;
use crate::harness::seconds;
use crate::harness::signaling::Signaling;
use agent::Agent;

/// Two agents: one that calls, and one that has registered the stream `test`.
fn sides(server: &Signaling) -> [Agent; 2] {
    let [front, streamer] = [(); 2].map(|()| Agent::new(server.sip));
    streamer.register("test", &[], "");
    [front, streamer]
}

/// Sees that something took as long as it should; a machine that does other things as well is late.
#[track_caller]
fn takes(time: Duration, expected: Duration) {
    // Both sides round to milliseconds.
    let soon = expected.saturating_sub(Duration::from_millis(10));
    let range = soon..expected + seconds(2);
    assert!(range.contains(&time), "{time:?} instead of {expected:?}");
}

/// For an agent that is found before it knows whom it will talk to.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// A streamer of ours, with the descriptions of a directory.
fn streamer(signaling: SocketAddr, pipelines: &Path, flags: &[&str]) -> Process {
    let (signaling, pipelines) = (signaling.to_string(), pipelines.display().to_string());
    let own = ["run", "--signaling", &signaling, "--pipelines", &pipelines];
    Process::start("streamer-gst", &[&own, flags].concat())
}

/// A description that costs next to nothing: a tone.
const TONE: &str = "audiotestsrc is-live=true ! opusenc ! tee name=audio allow-not-linked=true\n";

/// A directory with descriptions, by name.
fn descriptions(texts: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in texts {
        fs::write(directory.path().join(format!("{name}.launch")), text).unwrap();
    }
    directory
}
