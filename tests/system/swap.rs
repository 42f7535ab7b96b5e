//! A description that is saved while browsers watch changes the picture in them.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::browser::{Kind, Page};
use crate::harness::page::{self, watch};
use crate::harness::saved::{H264, VP8, description, percentile, save, shown_in_width, start};
use crate::harness::system::Setup;
use crate::harness::{Browser, IDLE_THREADS, eventually, in_time, measure, seconds, whep};

/// From the save to the first new picture, of 95 in 100 saves.
const NEW_PICTURE: Duration = Duration::from_secs(1);
/// The longest a picture may stand still meanwhile.
const FREEZE: Duration = Duration::from_millis(500);
/// The same for sound.
const SILENCE: Duration = Duration::from_millis(200);
/// The same for a picture in another codec, which takes a new connection.
const NEW_CODEC: Duration = Duration::from_millis(1500);

#[test]
fn saved_changes_are_seen_and_heard_on_the_same_connection() {
    let (directory, system) = start(&description(640, VP8));
    let chromium = Browser::launch(Kind::Chromium);
    let firefox = Browser::launch(Kind::Firefox);
    let pages = [
        watch(&chromium, &system, "mine"),
        watch(&firefox, &system, "mine"),
    ];
    for page in &pages {
        page.plays(seconds(10));
        page.click(page::UNMUTE);
        page.plays_sound(seconds(10));
    }
    let (before, threads) = (system.rest(), system.streamer.threads());
    let heard = pages.each_ref().map(|page| page.stats().audio_concealed);

    let saves = measure::times(6, 20);
    let mut saved_in_all = 0;
    // How soon most saves were seen, and how long the picture stood still at the worst of them.
    let mut save_again = || {
        let (mut delays, mut freezes) = (Vec::new(), Vec::new());
        for number in 0..saves {
            let width = if number % 2 == 0 { 480 } else { 640 };
            for page in &pages {
                page.watch_frames();
            }
            let saved = save(directory.path(), &description(width, VP8));
            for page in &pages {
                delays.push(shown_in_width(page, width, saved));
            }
            // Nothing of this is for the air, and the picture goes on.
            save(directory.path(), "videotestsrc ! vp8enc 'target-bitr");
            for page in &pages {
                let frames = page.frame_gaps().0;
                eventually("the picture goes on", seconds(10), || {
                    page.frame_gaps().0 > frames + 15
                });
                freezes.push(page.frame_gaps().1);
            }
        }
        saved_in_all += saves;
        (percentile(&mut delays, 95), percentile(&mut freezes, 100))
    };
    in_time("saved change seen, 95 of 100", NEW_PICTURE, || {
        save_again().0
    });
    in_time("longest freeze at a saved change", FREEZE, || {
        save_again().1
    });
    for (page, before) in pages.iter().zip(heard) {
        assert_eq!(page.stats().connections, 1, "the page had to connect again");
        let made_up = page.stats().audio_concealed - before;
        let each = made_up / saved_in_all as f64;
        measure::note("sound made up at a saved change", &format!("{each:.3} s"));
        assert!(
            each <= SILENCE.as_secs_f64(),
            "{made_up} s in {saved_in_all} saves"
        );
    }
    page_tells_of_the_broken_file(&pages[0]);

    // Without a browser's work in between, for what is left behind.
    for number in 0..measure::times(5, 100) {
        let width = if number % 2 == 0 { 320 } else { 640 };
        pages[0].watch_frames();
        save(directory.path(), &description(width, VP8));
        shown_in_width(&pages[0], width, 0.0);
    }
    eventually("the old pipelines are gone", IDLE_THREADS, || {
        system.streamer.state()["encoders"]["vp8enc"] == 1 && system.streamer.threads() <= threads
    });
    system.settles(&before);
    assert_eq!(pages[0].stats().connections, 1);
}

#[track_caller]
fn page_tells_of_the_broken_file(page: &Page<'_>) {
    page.says("#problem", "mine.launch", seconds(5));
    page.says("#problem", "never closed", seconds(5));
    assert_eq!(page.player_state(), "playing");
}

#[test]
fn a_change_of_codec_is_offered_anew_and_told_where_it_cannot_be_decoded() {
    let (directory, system) = start(&description(640, VP8));
    let chromium = Browser::launch(Kind::Chromium);
    let firefox = Browser::launch(Kind::Firefox);
    let sees = watch(&chromium, &system, "mine");
    let cannot = watch(&firefox, &system, "mine");
    sees.plays(seconds(10));
    cannot.plays(seconds(10));
    in_time("saved change of codec seen in Chromium", NEW_CODEC, || {
        let mut slowest = Duration::ZERO;
        for number in 0..measure::times(2, 6) {
            let (width, encoder) = if number % 2 == 0 {
                (480, H264)
            } else {
                (640, VP8)
            };
            sees.watch_frames();
            let saved = save(directory.path(), &description(width, encoder));
            slowest = slowest.max(shown_in_width(&sees, width, saved));
            if encoder == H264 {
                cannot.says(page::STATUS, "cannot decode H.264", seconds(10));
            } else {
                cannot.plays(seconds(10));
            }
        }
        slowest
    });
}

#[test]
fn a_page_that_hears_of_new_codecs_before_its_call_ends_tells_of_them_as_well() {
    let (directory, system) = start(&description(640, VP8));
    let firefox = Browser::launch(Kind::Firefox);
    let page = watch(&firefox, &system, "mine");
    page.plays(seconds(10));
    // Why a call ended is asked of the web server; the list is there long before that answer.
    page.evaluate(
        "void (window.fetch = ((fetch) => async (url, options) => {
            const ofCall = /^\\/whep\\/mine\\/./.test(new URL(url, location.href).pathname);
            if (ofCall) await new Promise((resolve) => setTimeout(resolve, 2500));
            return fetch(url, options);
        })(window.fetch))",
    );
    save(directory.path(), &description(640, H264));
    page.says(page::STATUS, "cannot decode H.264", seconds(20));
}

#[test]
fn everybody_gets_the_alternative_that_he_can_decode() {
    let both = format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,framerate=30/1 \
         ! tee name=raw\n\
         raw. ! queue ! {VP8} ! tee name=video allow-not-linked=true\n\
         raw. ! queue ! {H264} ! tee name=video_h264 allow-not-linked=true\n"
    );
    let (_directory, system) = start(&both);
    let firefox = Browser::launch(Kind::Firefox);
    let page = watch(&firefox, &system, "mine");
    page.plays(seconds(10));
    assert_eq!(page.stats().video_codec, "video/VP8");
    let offer = whep::recorded("chromium-h264-only");
    let answer = whep::call(system.http(), "mine", &offer).unwrap();
    assert_eq!(answer.status, 201);
    assert!(answer.text().contains("H264/90000"), "{}", answer.text());
    whep::hang_up(system.http(), &answer);
}

#[test]
fn streams_come_and_go_with_their_files() {
    let directory = TempDir::new().unwrap();
    save(directory.path(), &description(320, VP8));
    let system = Setup::new(&[]).pipelines(directory.path()).start();
    system.wait_live("mine");
    let other = directory.path().join("other.launch");
    fs::write(&other, description(320, VP8)).unwrap();
    system.wait_live("other");
    fs::remove_file(&other).unwrap();
    eventually("it is offline", seconds(5), || {
        system
            .entry("other")
            .is_none_or(|entry| entry["live"] == false)
    });
    fs::write(&other, description(320, VP8)).unwrap();
    system.wait_live("other");
}

#[test]
fn a_stream_on_demand_starts_with_its_first_viewer_and_rests_after_the_last() {
    let directory = TempDir::new().unwrap();
    let text = format!("#: on-demand yes\n{}", description(320, VP8));
    save(directory.path(), &text);
    let system = Setup::new(&[])
        .pipelines(directory.path())
        .streamer(&["--on-demand-keep", "1"])
        .start();
    eventually("it is listed", seconds(10), || {
        system
            .entry("mine")
            .is_some_and(|entry| entry["state"] == "idle" && entry["live"] == true)
    });
    let encoders = || system.streamer.state()["encoders"]["vp8enc"].as_u64();
    assert_eq!(encoders(), None);
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "mine");
    page.plays(seconds(10));
    assert_eq!(encoders(), Some(1));
    page.close();
    eventually("it rests", seconds(10), || encoders().is_none());
    system.assert_quiet();
}
