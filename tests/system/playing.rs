//! A stranger opens the page: picture and sound, in both browsers, from one encoder.

use std::net::UdpSocket;

use tempfile::TempDir;

use crate::harness::browser::Kind;
use crate::harness::page::{self, watch};
use crate::harness::process::Process;
use crate::harness::system::Setup;
use crate::harness::{Browser, System, eventually, seconds, whep};

/// From the list to picture and sound, with nothing to complain about on any side.
fn plays_the_test_stream(kind: Kind) {
    let system = System::start(&["test"]);
    let browser = Browser::launch(kind);
    let page = browser.open(&system.url("/"));
    page.says(page::LIST, "Test picture", seconds(10));

    page.click(&page::card("test"));
    page.plays(seconds(10));
    page.click(page::UNMUTE);
    page.plays_sound(seconds(10));

    let stats = page.stats();
    assert_eq!(stats.state, "connected");
    assert_eq!((stats.connections, stats.open), (1, 1));
    assert_eq!(stats.video_codec, "video/VP8");
    assert!(stats.size.0 > 0 && stats.size.1 > 0, "{stats:?}");
    assert_eq!(system.streamer.number("/viewers"), 1);

    page.click(page::STOP);
    eventually("the call ends", seconds(5), || {
        system.streamer.number("/viewers") == 0
    });
    assert_eq!(page.complaints(), Vec::<String>::new());
    system.assert_quiet();
}

#[test]
fn chromium_plays_the_test_stream() {
    plays_the_test_stream(Kind::Chromium);
}

#[test]
fn firefox_plays_the_test_stream() {
    plays_the_test_stream(Kind::Firefox);
}

#[test]
fn two_browsers_share_one_encoder_and_do_not_disturb_each_other() {
    let system = System::start(&["test"]);
    let encoders = || system.streamer.state()["encoders"].clone();
    let idle = encoders();
    let (chromium, firefox) = (
        Browser::launch(Kind::Chromium),
        Browser::launch(Kind::Firefox),
    );
    let stays = watch(&chromium, &system, "test");
    let leaves = watch(&firefox, &system, "test");
    stays.shows_video(seconds(10));
    leaves.shows_video(seconds(10));
    assert_eq!(system.streamer.number("/viewers"), 2);
    assert_eq!(
        encoders(),
        idle,
        "each stream keeps the encoders it began with"
    );
    assert_eq!(encoders()["vp8enc"], 1);

    leaves.close();
    eventually("one viewer left", seconds(5), || {
        system.streamer.number("/viewers") == 1
    });
    let before = stays.stats();
    eventually("frames keep coming", seconds(5), || {
        stays.stats().frames_decoded > before.frames_decoded + 30
    });
    assert_eq!(
        stays.stats().connections,
        1,
        "the page had to connect again"
    );
    system.assert_quiet();
}

#[test]
fn chromium_plays_h264() {
    let system = System::start(&["test-h264"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test-h264");
    page.shows_video(seconds(10));
    assert_eq!(page.stats().video_codec, "video/H264");
    system.assert_quiet();
}

#[test]
fn firefox_is_told_that_it_cannot_play_h264() {
    let system = System::start(&["test-h264"]);
    let browser = Browser::launch(Kind::Firefox);
    let page = watch(&browser, &system, "test-h264");
    page.says(page::STATUS, "H.264", seconds(10));
    assert_eq!(
        system.streamer.number("/calls"),
        0,
        "no call was needed to know that"
    );
}

#[test]
fn a_viewers_name_reaches_the_store_and_is_remembered() {
    let system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&system.url("/"));
    page.type_into(page::NAME, "Ana Núñez");
    page.click(&page::card("test"));
    page.shows_video(seconds(10));
    eventually("the name is stored", seconds(5), || {
        system.data().contains("Ana Núñez")
    });

    page.go(&system.url("/"));
    let remembered = page.evaluate(&format!("document.querySelector({:?}).value", page::NAME));
    assert_eq!(remembered, "Ana Núñez");
}

#[test]
fn a_description_of_ones_own_is_listed_as_text_and_sounds() {
    let directory = TempDir::new().unwrap();
    let description = "#: title A <b>tone</b>\n# no picture\naudiotestsrc is-live=true volume=0.3\n\
        ! audioconvert ! opusenc\n! tee name=audio allow-not-linked=true\n";
    std::fs::write(directory.path().join("tone.launch"), description).unwrap();
    let system = Setup::new(&["tone"]).pipelines(directory.path()).start();
    let browser = Browser::launch(Kind::Firefox);
    let page = browser.open(&system.url("/"));
    page.says(page::LIST, "A <b>tone</b>", seconds(10));
    page.click(&page::card("tone"));
    eventually("the page says that it plays", seconds(10), || {
        page.player_state() == "playing"
    });
    page.click(page::UNMUTE);
    page.plays_sound(seconds(10));
    system.assert_quiet();
}

#[test]
fn a_full_streamer_and_a_missing_stream_are_said_in_plain_words() {
    let system = Setup::new(&["test"])
        .streamer(&["--max-viewers", "1"])
        .start();
    let first = whep::call(system.http(), "test", &whep::recorded("chromium")).unwrap();
    assert_eq!(first.status, 201);
    let browser = Browser::launch(Kind::Chromium);
    let full = watch(&browser, &system, "test");
    full.says(page::STATUS, "as many viewers as it can take", seconds(10));
    let missing = watch(&browser, &system, "nowhere");
    missing.says(page::STATUS, "no stream", seconds(10));
}

#[test]
fn a_signaling_server_that_does_not_answer_is_said() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let relay = silent.local_addr().unwrap().to_string();
    let front = Process::start("front", &["--http", "127.0.0.1:0", "--signaling", &relay]);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&format!("http://{}/watch/test", front.addr("http")));
    page.says(
        page::STATUS,
        "signaling server does not answer",
        seconds(20),
    );
    page.go(&format!("http://{}/", front.addr("http")));
    page.says("#notice", "signaling server does not answer", seconds(20));
}

#[test]
fn media_to_a_wrong_certificate_is_never_sent() {
    let system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&system.url("/"));
    // The offer names another certificate than the one the browser then shows (RFC 8827 6.5).
    let status = page.evaluate(
        r#"(async () => {
            const peer = new RTCPeerConnection();
            for (const kind of ["audio", "video"]) {
                peer.addTransceiver(kind, { direction: "recvonly" });
            }
            await peer.setLocalDescription();
            const body = peer.localDescription.sdp.replace(
                /(a=fingerprint:sha-256 )(..)/g,
                (_, name, byte) => name + (byte === "00" ? "01" : "00"),
            );
            const headers = { "Content-Type": "application/sdp" };
            const answer = await fetch("/whep/test", { method: "POST", headers, body });
            await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
            return answer.status;
        })()"#,
    );
    assert_eq!(status, 201);
    eventually("the streamer gives the viewer up", seconds(20), || {
        system.streamer.number("/viewers") == 0
    });
    let stats = page.stats();
    assert_eq!((stats.video_packets, stats.audio_packets), (0, 0));
}
