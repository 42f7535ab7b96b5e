//! A viewer that stands still, asks for too much or sends what it must not changes nothing for the
//! others.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::browser::{Kind, Page};
use crate::harness::garbage::Garbage;
use crate::harness::line::Line;
use crate::harness::page::watch;
use crate::harness::{Browser, System, eventually, in_time, measure, seconds, whep};

/// The longest that a neighbour's picture may stand still.
const UNDISTURBED: Duration = Duration::from_millis(200);

/// Waits until so many more frames were shown, and returns the longest gap between two.
#[track_caller]
fn longest_gap(page: &Page<'_>, frames: u64) -> Duration {
    page.watch_frames();
    eventually("a time of frames", seconds(60), || {
        page.frame_gaps().0 > frames
    });
    page.frame_gaps().1
}

/// The browsers that are tested with: in a soak all of them.
fn kinds() -> &'static [Kind] {
    &[Kind::Chromium, Kind::Firefox][..measure::times(1, 2) as usize]
}

#[test]
fn a_viewer_that_stands_still_is_missed_by_nobody_and_plays_on_afterwards() {
    let system = System::alone(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let neighbour = watch(&browser, &system, "test");
    neighbour.plays(seconds(10));
    for kind in kinds() {
        let stopped = Browser::launch(*kind);
        // Firefox, once stopped, at times runs no script for half a minute: then nobody can tell
        // what it shows.
        let answers = *kind == Kind::Chromium;
        // What is loaded once is loaded by then.
        let page = watch(&stopped, &system, "test");
        page.plays(seconds(10));
        page.close();
        eventually("one viewer is left", seconds(10), || {
            system.streamer.number("/viewers") == 1
        });
        let before = system.rest().beside_a_browser();
        let threads = system.streamer.threads();
        let page = watch(&stopped, &system, "test");
        page.plays(seconds(10));

        let what = format!("{kind:?} stopped for 3 s: its neighbour's longest freeze");
        in_time(&what, measure::limit(UNDISTURBED), || {
            stopped.stop();
            let gap = longest_gap(&neighbour, 90);
            stopped.go_on();
            if answers {
                page.shows_video(seconds(10));
            }
            gap
        });
        if answers {
            assert_eq!(page.stats().connections, 1, "it had to connect again");
        }

        let what = format!("{kind:?} stopped: its neighbour's longest freeze until it is given up");
        let mut given_up = Vec::new();
        in_time(&what, measure::limit(UNDISTURBED), || {
            neighbour.watch_frames();
            stopped.stop();
            given_up.push(system.settles(&before));
            let (_, gap) = neighbour.frame_gaps();
            system.streamer.settles_at(threads);
            stopped.go_on();
            if answers {
                page.plays(seconds(20));
            }
            gap
        });
        let given_up = given_up.into_iter().max().unwrap_or_default();
        measure::note_time(
            &format!("{kind:?} stopped: all is given back"),
            given_up,
            seconds(10),
        );
        assert!(given_up <= seconds(10), "given up after {given_up:?}");
    }
    system.assert_quiet();
}

/// Makes connections that ask for a keyframe all the time, as only a page that wants to do harm
/// does; returns their offers.
const STORM: &str = "(async () => {
    const code = `onrtctransform = ({ transformer }) => {
        transformer.readable.pipeTo(transformer.writable);
        setInterval(() => transformer.sendKeyFrameRequest().catch(() => {}), 5);
    }`;
    const worker = new Worker(URL.createObjectURL(new Blob([code])));
    window.peers = [1, 2, 3].map(() => new RTCPeerConnection());
    const offers = [];
    for (const peer of peers) {
        peer.addTransceiver('audio', { direction: 'recvonly' });
        const { receiver } = peer.addTransceiver('video', { direction: 'recvonly' });
        receiver.transform = new RTCRtpScriptTransform(worker, {});
        await peer.setLocalDescription();
        offers.push(peer.localDescription.sdp);
    }
    return offers;
})()";

#[test]
fn a_storm_of_keyframe_requests_is_answered_once_a_second() {
    let system = System::alone(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let neighbour = watch(&browser, &system, "test");
    neighbour.plays(seconds(10));
    let hostile = Browser::launch(Kind::Firefox);
    let page = hostile.open("about:blank");
    let offers = page.evaluate(STORM);
    let mut answers = Vec::new();
    for (number, offer) in offers.as_array().unwrap().iter().enumerate() {
        let offer = offer.as_str().unwrap();
        let answer = whep::call(system.http(), "test", offer.as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        page.evaluate(&format!(
            "peers[{number}].setRemoteDescription({{ type: 'answer', sdp: {:?} }})",
            answer.text()
        ));
        answers.push(answer);
    }
    let asked = || {
        page.evaluate(
            "Promise.all(peers.map((peer) => peer.getStats())).then((reports) => reports
                .flatMap((report) => [...report.values()])
                .reduce((sum, { pliCount }) => sum + (pliCount ?? 0), 0))",
        )
        .as_u64()
        .unwrap_or_default()
    };
    eventually("the storm begins", seconds(10), || asked() > 100);
    in_time(
        "longest freeze beside a storm of requests for keyframes",
        measure::limit(UNDISTURBED),
        || {
            let (begin, before) = (Instant::now(), (asked(), neighbour.stats()));
            let gap = longest_gap(&neighbour, measure::times(90, 900));
            let requests = asked() - before.0;
            let keyframes = neighbour.stats().keyframes_decoded - before.1.keyframes_decoded;
            let passed = begin.elapsed();
            measure::note(
                "keyframes in a storm of requests",
                &format!(
                    "{keyframes} for {requests} requests in {} s",
                    passed.as_secs()
                ),
            );
            assert!(requests > 100 * passed.as_secs(), "{requests}: no storm");
            assert!(
                keyframes <= passed.as_secs() + 1,
                "{keyframes} in {passed:?}"
            );
            gap
        },
    );
    for answer in &answers {
        whep::hang_up(system.http(), answer);
    }
    system.assert_quiet();
}

/// The streamer's ports for a page's media.
#[track_caller]
fn media_ports(page: &Page<'_>) -> Vec<SocketAddr> {
    let answer = page.evaluate("probe.answer()");
    let candidates = answer.as_str().unwrap_or_default().lines();
    let candidates = candidates.filter_map(|line| line.strip_prefix("a=candidate:"));
    let ports: Vec<SocketAddr> = candidates
        .filter_map(|candidate| {
            let words: Vec<&str> = candidate.split(' ').collect();
            Some(SocketAddr::new(
                words[4].parse().ok()?,
                words[5].parse().ok()?,
            ))
        })
        .collect();
    assert!(!ports.is_empty(), "{answer}");
    ports
}

#[test]
fn garbage_from_strangers_and_in_a_viewers_own_name_changes_nothing() {
    let system = System::alone(&["test"]);
    let line = Line::start(system.http(), 4);
    let browsers = [Kind::Chromium, Kind::Chromium].map(Browser::launch);
    let page = watch(&browsers[0], &system, "test");
    page.plays(seconds(10));
    let behind_line = browsers[1].open(&line.url("/watch/test"));
    behind_line.plays(seconds(10));

    let floods = [
        Garbage::to(media_ports(&page), 1),
        Garbage::start(2, line.forger()),
    ];
    let frames = measure::times(90, 900);
    in_time(
        "longest freeze in a flood of garbage",
        measure::limit(UNDISTURBED),
        || {
            behind_line.watch_frames();
            let gap = longest_gap(&page, frames);
            eventually("as many frames there", seconds(60), || {
                behind_line.frame_gaps().0 > frames
            });
            gap.max(behind_line.frame_gaps().1)
        },
    );
    let sent = floods.each_ref().map(Garbage::sent);
    drop(floods);
    measure::note(
        "datagrams of garbage that harmed nobody: of a stranger, and in a viewer's name",
        &format!("{}, {}", sent[0], sent[1]),
    );
    for page in [&page, &behind_line] {
        assert_eq!(page.stats().connections, 1, "it had to connect again");
    }
    system.assert_quiet();
}
