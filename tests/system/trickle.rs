//! Candidates that come after the offer: WHEP PATCH, which becomes SIP INFO (RFC 8840).

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use serde_json::json;

use crate::harness::browser::Kind;
use crate::harness::{Browser, System, http, seconds, whep};

const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

/// The username fragment of an offer or answer.
fn ufrag(sdp: &str) -> &str {
    let mut lines = sdp.lines();
    let found = lines.find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    found.expect("ICE credentials").trim_end()
}

/// The address that this machine's packets leave from.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

#[test]
fn a_candidate_that_comes_after_the_offer_is_tried() {
    let system = System::start(&["test"]);
    let offer = String::from_utf8(whep::recorded("chromium")).unwrap();
    let bare: String = offer
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("a=candidate:"))
        .collect();
    let answer = whep::call(system.http(), "test", bare.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let session = answer.header("location").unwrap();
    let patch = |body: &str| {
        let headers = [FRAGMENT, ("If-Match", "*")];
        http::request(system.http(), "PATCH", session, &headers, body.as_bytes()).unwrap()
    };

    let peer = UdpSocket::bind((own_address(), 0)).unwrap();
    peer.set_read_timeout(Some(seconds(10))).unwrap();
    let (address, port) = (own_address(), peer.local_addr().unwrap().port());
    let fragment = format!(
        "a=ice-ufrag:{}\r\na=ice-pwd:unused\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 UDP 2113929471 {address} {port} typ host\r\na=end-of-candidates\r\n",
        ufrag(&offer)
    );
    let told = patch(&fragment);
    assert_eq!((told.status, told.text().as_str()), (204, ""));
    let mut check = [0; 1500];
    let (length, _) = peer.recv_from(&mut check).expect("a check comes");
    // A STUN binding request for the offer's credentials (RFC 8445 section 7.2.2).
    assert_eq!(check[..2], [0, 1]);
    let user = format!("{}:{}", ufrag(&offer), ufrag(&answer.text()));
    let check = &check[..length];
    assert!(
        check
            .windows(user.len())
            .any(|part| part == user.as_bytes())
    );

    for (body, status) in [
        ("a=ice-ufrag:another\r\na=ice-pwd:unused\r\n", 422),
        ("{\"candidate\": \"\"}", 400),
    ] {
        assert_eq!(patch(body).status, status, "{body}");
    }
    whep::hang_up(system.http(), &answer);
    assert_eq!(patch(&fragment).status, 410);
}

/// A player that sends its offer at once and each candidate as it comes.
const PLAYER: &str = "(async () => {
    const connection = new RTCPeerConnection();
    const video = document.createElement('video');
    video.muted = true;
    video.autoplay = true;
    video.srcObject = new MediaStream();
    document.body.replaceChildren(video);
    connection.ontrack = ({ track }) => video.srcObject.addTrack(track);
    for (const kind of ['video', 'audio']) {
        connection.addTransceiver(kind, { direction: 'recvonly' });
    }
    const offer = await connection.createOffer();
    const headers = { 'Content-Type': 'application/sdp' };
    const answer = await fetch('/whep/test', { method: 'POST', headers, body: offer.sdp });
    const session = answer.headers.get('Location');
    const patches = [];
    const gathered = new Promise((resolve) => {
        connection.onicecandidate = ({ candidate }) => {
            if (!candidate?.candidate) {
                if (!candidate) resolve();
                return;
            }
            const [ufrag, password] = ['ufrag', 'pwd'].map(
                (name) => offer.sdp.match(`a=ice-${name}:.*`)[0],
            );
            const body = `${ufrag}\\r\\n${password}\\r\\nm=video 9 UDP/TLS/RTP/SAVPF 0\\r\\n` +
                `a=mid:${candidate.sdpMid}\\r\\na=${candidate.candidate}\\r\\n`;
            const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' };
            patches.push(fetch(session, { method: 'PATCH', headers, body }));
        };
    });
    await connection.setLocalDescription(offer);
    await connection.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    await gathered;
    const told = await Promise.all(patches);
    return { candidates: offer.sdp.match(/a=candidate/g), told: told.map((each) => each.status) };
})()";

#[track_caller]
fn a_player_that_trickles_plays(kind: Kind) {
    let system = System::start(&["test"]);
    let browser = Browser::launch(kind);
    let page = browser.open(&system.url("/"));
    let played = page.evaluate(PLAYER);
    assert_eq!(played["candidates"], json!(null));
    let told = played["told"].as_array().expect("candidates were found");
    assert!(
        !told.is_empty() && told.iter().all(|status| *status == 204),
        "{told:?}"
    );
    page.shows_video(Duration::from_secs(10));
}

#[test]
fn a_player_that_trickles_plays_in_chromium() {
    a_player_that_trickles_plays(Kind::Chromium);
}

#[test]
fn a_player_that_trickles_plays_in_firefox() {
    a_player_that_trickles_plays(Kind::Firefox);
}
