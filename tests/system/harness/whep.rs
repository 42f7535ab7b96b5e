//! A WHEP client without media: recorded offers in, answers out.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::http::{self, Response};

const TYPE: (&str, &str) = ("Content-Type", "application/sdp");

/// The offer recorded from a browser or softphone under this name.
#[track_caller]
pub fn recorded(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root
        .join("streamer-gst/tests/offers")
        .join(name)
        .with_extension("sdp");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All recorded offers with their names.
pub fn all_recorded() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("streamer-gst/tests/offers");
    let entries = fs::read_dir(folder).expect("offers were recorded");
    let mut offers: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sdp"))
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .map(|name| (name.clone(), recorded(&name)))
        .collect();
    offers.sort();
    offers
}

/// Sends `offer` to `stream` and waits for the answer.
pub fn call(front: SocketAddr, stream: &str, offer: &[u8]) -> io::Result<Response> {
    http::request(front, "POST", &format!("/whep/{stream}"), &[TYPE], offer)
}

/// Sends `offer` to `stream` and returns the connection: dropping it is leaving.
pub fn dial(front: SocketAddr, stream: &str, offer: &[u8]) -> TcpStream {
    http::send(front, "POST", &format!("/whep/{stream}"), &[TYPE], offer).expect("front accepts")
}

/// Ends the call that `answer` began, if it did begin one.
pub fn hang_up(front: SocketAddr, answer: &Response) {
    if let Some(location) = answer.header("location") {
        let ended = http::request(front, "DELETE", location, &[], b"").expect("front answers");
        // 410 and 404: the other side was faster.
        assert!(
            [200, 204, 404, 410].contains(&ended.status),
            "{} {}",
            ended.status,
            ended.text()
        );
    }
}
