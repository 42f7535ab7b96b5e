//! What a running WHEP session is told, which becomes SIP INFO: candidates that come after the offer
//! (RFC 8840), and the rung to see.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::browser::Kind;
use crate::harness::{Browser, System, eventually, http, seconds, whep};

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

/// A player that sends its offer at once and each candidate as it comes, and tells what became of
/// them, and its session.
const PLAYER: &str = "(async (stream) => {
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
    const answer = await fetch(`/whep/${stream}`, { method: 'POST', headers, body: offer.sdp });
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
    return {
        session,
        candidates: offer.sdp.match(/a=candidate/g),
        told: told.map((each) => each.status),
    };
})";

#[track_caller]
fn a_player_that_trickles_plays(kind: Kind) {
    let system = System::start(&["test"]);
    let browser = Browser::launch(kind);
    let page = browser.open(&system.url("/"));
    let played = page.evaluate(&format!("{PLAYER}('test')"));
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

#[test]
fn a_rung_that_is_chosen_is_the_one_that_comes() {
    let system = System::start(&["ladder"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&system.url("/"));
    let played = page.evaluate(&format!("{PLAYER}('ladder')"));
    let session = played["session"].as_str().expect("a session").to_owned();
    page.shows_video(seconds(20));
    let choose = |rung: &str| {
        let path = format!("{session}/rung");
        let body = json!({"rung": rung}).to_string();
        let headers = [("Content-Type", "application/json")];
        let chosen = http::request(system.http(), "POST", &path, &headers, body.as_bytes());
        chosen.unwrap().status
    };
    let height = |wanted: u64| {
        eventually(&format!("{wanted} lines"), seconds(10), || {
            page.stats().size.1 == wanted
        });
    };
    for (rung, lines) in [("video_180p", 180), ("video", 720), ("video_360p", 360)] {
        assert_eq!(choose(rung), 204);
        height(lines);
    }
    assert_eq!(choose("video_999p"), 422);
    assert_eq!(choose("audio"), 204);
    let watching = || system.streamer.state()["streams"][0]["watching"].clone();
    eventually("nobody watches a picture", seconds(5), || {
        watching() == json!({"audio": 1})
    });
    let sounds = page.stats().audio_packets;
    eventually("sound goes on", seconds(10), || {
        page.stats().audio_packets > sounds + 50
    });
    let frames = page.stats().frames_decoded;
    assert_eq!(choose("auto"), 204);
    eventually("the picture is back", seconds(10), || {
        page.stats().frames_decoded > frames + 30
    });
    let seen = http::get(system.http(), &session).unwrap().text();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["rung"], "auto");
    // The streamer has the same clock as we, a moment ago.
    assert_eq!(seen["clock"]["rate"], 90_000, "{seen}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let wall = Duration::from_millis(seen["clock"]["wall"].as_u64().unwrap());
    assert!(now >= wall && now - wall < seconds(5), "{now:?} {wall:?}");
    assert_eq!(page.stats().connections, 1, "it had to connect again");
    system.assert_quiet();
}
