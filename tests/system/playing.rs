//! A stranger opens the page: picture and sound, in both browsers, from one encoder.

use std::net::UdpSocket;

use tempfile::TempDir;

use crate::harness::browser::{Kind, Page};
use crate::harness::page::{self, watch};
use crate::harness::process::Process;
use crate::harness::system::Setup;
use crate::harness::{Browser, System, eventually, http, seconds, wait_for, whep};

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

/// Every further kilobyte is a datagram more that a lossy network may lose.
fn the_offer_is_short(kind: Kind) {
    let system = System::start(&["test"]);
    let browser = Browser::launch(kind);
    let keep = "window.offer = options.body; return real(url, options);";
    let page = answered(&browser, &system, keep);
    page.plays(seconds(10));
    let length = page.evaluate("window.offer.length").as_u64();
    assert!(length.is_some_and(|length| length < 2000), "{length:?}");
}

#[test]
fn the_offer_is_short_in_chromium() {
    the_offer_is_short(Kind::Chromium);
}

#[test]
fn the_offer_is_short_in_firefox() {
    the_offer_is_short(Kind::Firefox);
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
fn a_film_that_is_over_waits_for_a_click() {
    let directory = TempDir::new().unwrap();
    let film = "videotestsrc num-buffers=150 pattern=ball\n\
        ! video/x-raw,format=I420,width=160,height=120,framerate=30/1\n\
        ! vp8enc deadline=1 ! tee name=video allow-not-linked=true\n";
    std::fs::write(directory.path().join("film.launch"), film).unwrap();
    let system = Setup::new(&["film"]).pipelines(directory.path()).start();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "film");
    page.says(page::STATUS, "Playing.", seconds(10));
    page.says(page::STATUS, "The stream has ended.", seconds(15));
    page.click(page::PLAY);
    page.says(page::STATUS, "Playing.", seconds(10));
    system.assert_quiet();
}

/// Watches a page whose browser is given another ICE password than the streamer sent: its checks
/// are never answered.
fn ice_that_fails_is_said_and_tried_again(kind: Kind) {
    let system = System::start(&["test"]);
    let browser = Browser::launch(kind);
    let page = browser.open(&system.url("/"));
    page.says(page::LIST, "Test picture", seconds(10));
    page.evaluate(
        r#"void (() => {
            const set = RTCPeerConnection.prototype.setRemoteDescription;
            RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
                const broken = sdp.replace(/(a=ice-pwd:)..../g, "$1XXXX");
                return set.call(this, { type, sdp: window.mended ? sdp : broken });
            };
        })()"#,
    );
    page.click(&page::card("test"));
    page.says(page::STATUS, "looking for a way through", seconds(10));
    page.says(page::STATUS, "ICE failed", seconds(20));
    eventually("what failed is closed", seconds(2), || {
        page.stats().open == 0 || page.stats().connections > 1
    });
    page.evaluate("window.mended = true");
    page.click(page::PLAY);
    page.plays(seconds(10));
}

#[test]
fn ice_that_fails_is_said_and_tried_again_in_chromium() {
    ice_that_fails_is_said_and_tried_again(Kind::Chromium);
}

#[test]
fn ice_that_fails_is_said_and_tried_again_in_firefox() {
    ice_that_fails_is_said_and_tried_again(Kind::Firefox);
}

/// The page of a stream whose offers get what `answer`, the body of a function, returns.
fn answered<'a>(browser: &'a Browser, system: &System, answer: &str) -> Page<'a> {
    let page = browser.open(&system.url("/"));
    page.says(page::LIST, "Test picture", seconds(10));
    page.evaluate(&format!(
        "void (() => {{
            const real = window.fetch;
            window.fetch = async (url, options) => {{
                if (options?.method !== 'POST') return real(url, options);
                {answer}
            }};
        }})()"
    ));
    page.click(&page::card("test"));
    page
}

#[test]
fn every_refusal_is_said_in_plain_words() {
    let system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    // An offer that the streamer itself refuses.
    let refused = answered(
        &browser,
        &system,
        "const body = options.body.replaceAll('a=fingerprint', 'a=nothing');
         return real(url, { ...options, body });",
    );
    refused.says(page::STATUS, "do not get along", seconds(10));
    assert_eq!(refused.player_state(), "failed");
    let problem = |status: u16, code: &str, reason: &str| {
        format!(
            "const type = 'urn:rusticast:problem:{code}';
             const body = {{ type, detail: 'because of {code}', reason: {reason:?} }};
             const headers = {{ 'Content-Type': 'application/problem+json' }};
             return new Response(JSON.stringify(body), {{ status: {status}, headers }});"
        )
    };
    for (status, code, reason, said) in [
        (409, "streamer-away", "", "The streamer is away"),
        (504, "no-answer", "", "The streamer does not answer"),
        (503, "busy", "overloaded", "at the moment: overloaded"),
        (503, "unavailable", "", "The web server is busy or stopping"),
        (503, "too-many", "", "The web server is busy or stopping"),
        (
            403,
            "forbidden",
            "members only",
            "may not watch “test”: members only",
        ),
        (502, "refused", "<i>no</i>", "cannot be played: <i>no</i>"),
        (
            400,
            "bad-request",
            "",
            "cannot be played: because of bad-request",
        ),
    ] {
        let page = answered(&browser, &system, &problem(status, code, reason));
        page.says(page::STATUS, said, seconds(10));
        page.close();
    }
    let unusable = answered(
        &browser,
        &system,
        "await real(url, options); return new Response('v=0', { status: 201 });",
    );
    unusable.says(page::STATUS, "the answer cannot be used", seconds(10));
}

#[test]
fn a_stream_that_does_not_work_says_why() {
    let directory = TempDir::new().unwrap();
    let broken = "filesrc location=/nonexistent.ivf ! decodebin ! videoconvert\n\
        ! vp8enc ! tee name=video allow-not-linked=true\n";
    std::fs::write(directory.path().join("broken.launch"), broken).unwrap();
    let system = Setup::new(&[])
        .pipelines(directory.path())
        .streamer(&["broken"])
        .start();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "broken");
    page.says(page::STATUS, "does not work at the moment: ", seconds(20));
}

#[test]
fn what_the_streamer_says_at_its_end_is_said_word_for_word() {
    let mut system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Firefox);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    let (_, text) = page.told_of_end_after(|| {
        system.streamer.terminate();
    });
    assert_eq!(text, "The stream ended: The streamer was stopped");
}

#[test]
fn a_full_streamer_and_a_missing_stream_are_said_in_plain_words() {
    let system = Setup::new(&["test"])
        .streamer(&["--max-viewers", "1"])
        .start();
    // Before the offer, whose place is given away when it has not connected for 5 seconds.
    let browser = Browser::launch(Kind::Chromium);
    let first = whep::call(system.http(), "test", &whep::recorded("chromium")).unwrap();
    assert_eq!(first.status, 201);
    let full = watch(&browser, &system, "test");
    full.says(page::STATUS, "as many viewers as it can take", seconds(10));
    let missing = watch(&browser, &system, "nowhere");
    missing.says(page::STATUS, "no stream", seconds(10));
}

#[test]
fn a_web_server_that_is_away_is_said_and_found_again() {
    let mut system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let list = browser.open(&system.url("/"));
    list.says(page::LIST, "Test picture", seconds(10));
    let player = watch(&browser, &system, "test");
    player.plays(seconds(10));
    player.click(page::STOP);
    system.front.kill();
    let noticed = || list.evaluate("!document.querySelector('#notice').hidden") == true;
    eventually("the list has noticed", seconds(10), noticed);
    list.says("#notice", "web server cannot be reached", seconds(1));
    player.click(page::PLAY);
    player.says(page::STATUS, "web server cannot be reached", seconds(10));
    system.front.restart();
    player.plays(seconds(20));
    eventually("the notice is gone", seconds(10), || !noticed());
}

/// A front that dies leaves the media alone; the page says so, and stop still ends the call.
fn a_page_outlives_its_front(kind: Kind) {
    let mut system = System::start(&["test"]);
    let before = system.at_rest().beside_a_browser();
    let browser = Browser::launch(kind);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    system.front.kill();
    page.says(page::STATUS, "web server cannot be reached", seconds(10));
    assert_eq!(page.player_state(), "playing");
    system.front.restart();
    eventually("the page knows that it is back", seconds(10), || {
        page.text(page::STATUS) == "Playing."
    });
    page.shows_video(seconds(5));
    assert_eq!(page.stats().connections, 1);
    page.click(page::STOP);
    system.settles(&before);

    system.streamer.terminate();
    page.click(".back");
    page.says(page::LIST, "offline", seconds(10));
}

#[test]
fn a_page_outlives_its_front_in_chromium() {
    a_page_outlives_its_front(Kind::Chromium);
}

#[test]
fn a_page_outlives_its_front_in_firefox() {
    a_page_outlives_its_front(Kind::Firefox);
}

#[test]
fn a_front_that_is_stopped_says_so_and_its_successor_plays() {
    let mut system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    let (told, text) = page.told_of_end_after(|| {
        system.front.terminate();
    });
    assert!(told <= seconds(5), "the page knew after {told:?}");
    assert!(
        text.contains("Reconnecting") || text.contains("The web server is stopping"),
        "{text}"
    );
    page.says(page::STATUS, "web server cannot be reached", seconds(10));
    system.front.restart();
    page.plays(seconds(20));
    system.assert_quiet();
}

/// Every way to be too fast: nothing is left but what was asked for last.
#[test]
fn hasty_clicks_leave_one_call_or_none() {
    let system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    let before = page.stats().connections;
    page.evaluate(
        "for (let turn = 0; turn < 5; turn += 1) {
            document.querySelector('#stop').click();
            document.querySelector('#play').click();
            document.querySelector('#play').click();
        }",
    );
    page.plays(seconds(10));
    eventually("one viewer", seconds(5), || {
        system.streamer.number("/viewers") == 1 && system.front.number("/sessions") == 1
    });
    assert!(page.stats().connections > before);
    page.evaluate(
        "document.querySelector('#stop').click();
         document.querySelector('#play').click();
         setTimeout(() => document.querySelector('#stop').click(), 30);",
    );
    let idle = || page.player_state() == "idle" && page.stats().open == 0;
    eventually("the page is idle", seconds(5), idle);
    eventually("nobody watches", seconds(5), || {
        system.streamer.number("/viewers") == 0 && system.front.number("/calls") == 0
    });
    assert!(idle());

    // Away while connecting, and back from the browser's cache of pages.
    page.evaluate(
        "document.querySelector('#play').click();
         setTimeout(() => {
            for (const type of ['pagehide', 'pageshow']) {
                dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
            }
         }, 30);",
    );
    page.plays(seconds(10));
    eventually("one viewer", seconds(5), || {
        system.streamer.number("/viewers") == 1 && system.front.number("/sessions") == 1
    });
    system.assert_quiet();
}

/// A page that leaves says so to front, too: the streamer may miss the end of the connection.
fn a_page_that_leaves_says_goodbye(kind: Kind) {
    let system = System::start(&["test"]);
    let browser = Browser::launch(kind);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    page.evaluate(
        "RTCPeerConnection.prototype.close = () => {};
         void dispatchEvent(new PageTransitionEvent('pagehide'));",
    );
    eventually("front ended the call", seconds(5), || {
        system.front.log().contains("call ended by us")
    });
}

#[test]
fn a_page_that_leaves_says_goodbye_in_chromium() {
    a_page_that_leaves_says_goodbye(Kind::Chromium);
}

#[test]
fn a_page_that_leaves_says_goodbye_in_firefox() {
    a_page_that_leaves_says_goodbye(Kind::Firefox);
}

#[test]
fn the_keyboard_is_never_lost() {
    let system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&system.url("/"));
    page.says(page::LIST, "Test picture", seconds(10));
    let focused = || {
        let id = page.evaluate("document.activeElement.id");
        id.as_str().unwrap_or_default().to_owned()
    };
    page.evaluate("document.querySelector('a.card').focus()");
    page.press("Enter");
    page.plays(seconds(10));
    assert_eq!(focused(), "title");
    page.press("m");
    page.plays_sound(seconds(10));
    page.evaluate("document.querySelector('#stop').focus()");
    page.press("Enter");
    eventually("stopped", seconds(5), || page.player_state() == "idle");
    assert_eq!(focused(), "play");
    page.press("Enter");
    page.plays(seconds(10));
    assert_eq!(focused(), "stop");
    let names = page.evaluate(
        "[...document.querySelectorAll('button, input, a')].filter((each) =>
            !(each.ariaLabel || each.labels?.[0]?.textContent || each.textContent).trim()).length",
    );
    assert_eq!(names, 0, "everything to press has a name");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn on_no_screen_does_a_button_cover_the_message() {
    let system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&system.url("/"));
    for (width, path) in [
        (340, "/watch/nowhere"),
        (340, "/embed/nowhere"),
        (1000, "/watch/nowhere"),
        (1000, "/embed/nowhere"),
    ] {
        page.evaluate(&format!(
            "void (() => {{
                document.querySelector('iframe')?.remove();
                const frame = document.createElement('iframe');
                Object.assign(frame, {{ width: {width}, height: 700, src: '{path}' }});
                document.body.append(frame);
            }})()"
        ));
        let frame = "document.querySelector('iframe').contentDocument";
        eventually("the frame says what is wrong", seconds(10), || {
            let state = page.evaluate(&format!("{frame}.querySelector('#player')?.dataset.state"));
            state == "failed"
        });
        let clear = page.evaluate(&format!(
            "(() => {{
                const seen = (id) => {{
                    const element = {frame}.querySelector(id);
                    const style = element.ownerDocument.defaultView.getComputedStyle(element);
                    const place = element.getBoundingClientRect();
                    return style.opacity !== '0' && place.width > 1 && place.height > 1 && place;
                }};
                const button = seen('#play');
                const messages = [seen('#veil-text'), seen('#status')].filter(Boolean);
                return messages.length === 1 && messages[0].top >= 0 &&
                    (messages[0].bottom <= button.top || messages[0].top >= button.bottom);
            }})()"
        ));
        assert_eq!(clear, true, "{path} at {width} pixels");
    }
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

/// The offer names another certificate than the one that the browser then shows (RFC 8827 6.5).
fn a_forged_fingerprint_receives_no_media(kind: Kind) {
    let system = System::start(&["test"]);
    let before = system.at_rest().beside_a_browser();
    let browser = Browser::launch(kind);
    let page = browser.open(&system.url("/"));
    let answer = page.evaluate(
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
            return { status: answer.status, session: answer.headers.get("Location") };
        })()"#,
    );
    assert_eq!(answer["status"], 201);
    let session = answer["session"].as_str().expect("a session");
    let ended = wait_for("the streamer ends the call", seconds(14), || {
        let session = http::get(system.http(), session).expect("an answer");
        (session.status == 410).then(|| session.text())
    });
    // It was the certificate: ICE and DTLS were through, though the page may be gone from before it
    // hears of that.
    assert!(
        ended.contains("the certificate is not the one the offer named"),
        "{ended}"
    );
    let stats = page.stats();
    assert_eq!((stats.video_packets, stats.audio_packets), (0, 0));
    system.settles(&before);
}

#[test]
fn a_forged_fingerprint_receives_no_media_in_chromium() {
    a_forged_fingerprint_receives_no_media(Kind::Chromium);
}

#[test]
fn a_forged_fingerprint_receives_no_media_in_firefox() {
    a_forged_fingerprint_receives_no_media(Kind::Firefox);
}
