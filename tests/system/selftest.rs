//! The tests' own tools: what the other system tests stand on is tested here by itself.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;

use crate::harness::browser::{Browser, Kind};
use crate::harness::hop::Hop;
use crate::harness::{eventually, seconds, wait_for};

/// Two peers in one page, a moving picture and a tone: whatever fails here is no fault of ours.
const PAGE: &str = r#"<!doctype html><title>t</title><video muted autoplay playsinline></video>
<button onclick="document.querySelector('video').muted = false">Sound</button><p>ready</p>
<script type="module">
const canvas = document.createElement("canvas");
const context = canvas.getContext("2d");
let turn = 0;
setInterval(() => {
  context.fillStyle = `hsl(${(turn += 7) % 360} 80% 50%)`;
  context.fillRect(0, 0, canvas.width, canvas.height);
}, 33);
const stream = canvas.captureStream(30);
document.querySelector("button").addEventListener("click", async () => {
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const output = audio.createMediaStreamDestination();
  tone.connect(output);
  tone.start();
  stream.addTrack(output.stream.getAudioTracks()[0]);
  const near = new RTCPeerConnection();
  const far = new RTCPeerConnection();
  near.onicecandidate = ({ candidate }) => far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => near.addIceCandidate(candidate);
  far.ontrack = ({ streams }) => { document.querySelector("video").srcObject = streams[0]; };
  for (const track of stream.getTracks()) near.addTrack(track, stream);
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
});
</script>"#;

/// Serves [`PAGE`] to whoever asks, for as long as the test runs.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = std::io::Read::read(&mut stream, &mut request);
                let length = PAGE.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n{PAGE}"
                );
            });
        }
    });
    addr
}

fn browser_is_measured(kind: Kind) {
    let browser = Browser::launch(kind);
    let page = browser.open(&format!("http://{}/", serve()));
    page.says("p", "ready", seconds(5));
    assert_eq!(page.stats().connections, 0);
    page.click("button");
    page.shows_video(seconds(20));
    if kind == Kind::Chromium {
        // Firefox's oscillator needs an output device, which test machines have not.
        page.plays_sound(seconds(20));
    }
    assert_eq!(page.stats().state, "connected");

    page.watch_frames();
    wait_for("frames noted", seconds(10), || {
        (page.frame_gaps().0 > 10).then_some(())
    });
    assert_eq!(page.complaints(), Vec::<String>::new());
    assert_eq!(page.text("#missing"), "");
    page.close();
}

#[test]
fn chromium_is_measured() {
    browser_is_measured(Kind::Chromium);
}

#[test]
fn firefox_is_measured() {
    browser_is_measured(Kind::Firefox);
}

#[test]
fn a_hop_passes_both_ways_and_loses_as_told() {
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    let role = UdpSocket::bind("127.0.0.1:0").unwrap();
    for socket in [&relay, &role] {
        socket.set_read_timeout(Some(seconds(5))).unwrap();
    }
    let hop = Hop::start(relay.local_addr().unwrap(), 1);
    let mut buffer = [0; 16];

    role.send_to(b"there", hop.near()).unwrap();
    let (length, source) = relay.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], source), (&b"there"[..], hop.far()));
    relay.send_to(b"back", hop.far()).unwrap();
    let (length, source) = role.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], source), (&b"back"[..], hop.near()));

    hop.lose(30);
    let (passed, lost) = hop.counts();
    for sent in 1..=1000 {
        role.send_to(b"x", hop.near()).unwrap();
        if sent % 50 == 0 {
            // The sockets' buffers must not be what loses.
            eventually("the hop saw all of them", seconds(5), || {
                let now = hop.counts();
                now.0 + now.1 == passed + lost + sent
            });
        }
    }
    let lost = hop.counts().1 - lost;
    assert!((250..350).contains(&lost), "{lost} of 1000 lost at 30 %");
}
