//! The shipped descriptions with the sources they are for: a camera, a screen, a network camera, a
//! file. What this machine lacks of these is put up by the test.

use std::fs;
use std::io::Write;
use std::panic::catch_unwind;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::descriptions::{runs_by_hand, shipped};
use crate::harness::browser::Kind;
use crate::harness::helper::Helper;
use crate::harness::machine;
use crate::harness::page::{self, watch};
use crate::harness::system::Setup;
use crate::harness::{Browser, eventually, in_time, seconds};

/// The longest a picture may stand still where a film begins again.
const SEAM: Duration = Duration::from_millis(500);

/// A screen with a moving picture on it, and its name. It is there as long as the helpers are.
fn screen() -> (String, [Helper; 2]) {
    let screen = "-displayfd 1 -screen 0 1280x1024x24 -nolisten tcp";
    let screen = Helper::start("Xvfb", screen, &[]);
    let display = format!(":{}", screen.line());
    let window = "-q videotestsrc is-live=true ! videoconvert ! ximagesink";
    let window = Helper::start("gst-launch-1.0", window, &[("DISPLAY", &display)]);
    (display, [screen, window])
}

#[test]
fn a_screen_is_shown_while_somebody_watches() {
    let (display, _helpers) = screen();
    runs_by_hand("screen", &["video"], &[("DISPLAY", &display)], &[]);

    let display = format!("DISPLAY={display}");
    let flags = ["screen", &display, "width=800", "--on-demand-keep", "1"];
    let system = Setup::new(&[]).streamer(&flags).start();
    let rests = || {
        system
            .entry("screen")
            .is_some_and(|entry| entry["state"] == "idle")
    };
    eventually("it is listed", seconds(20), rests);
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "screen");
    page.plays(seconds(15));
    assert_eq!(page.stats().size, (800, 640));
    page.close();
    eventually("it rests", seconds(15), rests);
    system.assert_quiet();
}

/// What three network cameras send.
const CAMERAS: [&str; 3] = [
    // A profile that browsers are not promised, and telephone sound.
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=640,height=360,framerate=25/1 \
     ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! video/x-h264,profile=high \
     ! rtph264pay name=pay0 \
     audiotestsrc is-live=true ! audio/x-raw,rate=8000 ! alawenc ! rtppcmapay name=pay1",
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 \
     ! jpegenc ! rtpjpegpay name=pay0",
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=480,height=270,framerate=25/1 \
     ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 \
     ! video/x-h264,profile=baseline ! rtph264pay name=pay0",
];

/// Those cameras, and their addresses.
fn network_cameras() -> ([String; 3], Helper) {
    // Debian's own Python, for which the bindings are packaged.
    let mut server = Command::new("/usr/bin/python3");
    server.arg("tests/system/rtsp.py").args(CAMERAS);
    let server = Helper::run(server);
    let port = server.line();
    let urls = [1, 2, 3].map(|number| format!("rtsp://127.0.0.1:{port}/{number}"));
    (urls, server)
}

#[test]
fn network_cameras_play_whatever_they_send() {
    let ([high, jpeg, baseline], _server) = network_cameras();
    runs_by_hand("rtsp", &["video", "audio"], &[("url", &high)], &[]);

    // A stream each, the last one as the comment in there advises.
    let directory = TempDir::new().unwrap();
    let text = fs::read_to_string(shipped("rtsp")).unwrap();
    let source = text.lines().filter(|line| line.starts_with("rtspsrc"));
    let advice = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let passed_on = source.chain(advice).collect::<Vec<_>>().join("\n");
    for (name, text) in [("high", &text), ("jpeg", &text), ("baseline", &passed_on)] {
        fs::write(directory.path().join(name).with_extension("launch"), text).unwrap();
    }
    let flags = [
        &format!("high.url={high}"),
        &format!("jpeg.url={jpeg}"),
        "jpeg.protocols=udp",
        &format!("baseline.url={baseline}"),
    ];
    let system = Setup::new(&["high", "jpeg", "baseline"])
        .pipelines(directory.path())
        .streamer(&flags)
        .start();

    let browser = Browser::launch(Kind::Chromium);
    let with_sound = watch(&browser, &system, "high");
    with_sound.plays(seconds(15));
    assert_eq!(with_sound.stats().size, (640, 360));
    with_sound.click(page::UNMUTE);
    with_sound.plays_sound(seconds(10));
    with_sound.close();
    let picture_only = watch(&browser, &system, "jpeg");
    picture_only.plays(seconds(15));
    assert_eq!(picture_only.stats().size, (320, 240));
    picture_only.close();
    let passed_on = watch(&browser, &system, "baseline");
    passed_on.plays(seconds(15));
    assert_eq!(passed_on.stats().video_codec, "video/H264");
    system.assert_quiet();
}

#[test]
fn a_film_begins_again_three_times_without_a_visible_seam() {
    let directory = TempDir::new().unwrap();
    let film = directory.path().join("film.webm");
    let line = format!(
        "videotestsrc num-buffers=50 pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 \
         ! vp8enc deadline=1 ! webmmux name=mux ! filesink location={} \
         audiotestsrc num-buffers=100 samplesperbuffer=960 ! audio/x-raw,rate=48000 \
         ! opusenc ! mux.",
        film.display()
    );
    let made = Command::new("gst-launch-1.0")
        .args(line.split_whitespace())
        .output()
        .expect("gst-launch starts");
    assert!(made.status.success(), "{made:?}");
    let film = format!("file={}", film.display());
    let system = Setup::new(&["file"]).streamer(&[&film]).alone().start();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "file");
    page.plays(seconds(10));
    page.click(page::UNMUTE);
    page.plays_sound(seconds(10));
    in_time("longest freeze in three turns of a film", SEAM, || {
        page.watch_frames();
        // Two seconds each, and the rest of the one that plays already.
        eventually("it played three times more", seconds(20), || {
            page.frame_gaps().0 > 3 * 50 + 25
        });
        page.frame_gaps().1
    });
    assert_eq!(page.stats().connections, 1);
    system.assert_quiet();
}

/// What puts up a camera; see there.
const CAMERA: &[&str] = &[
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "dbus-run-session",
    "--",
    "sh",
    "tests/system/camera.sh",
];

/// Why no camera that sends pictures encoded or not can be put up here, if none can.
fn no_camera(encoded: bool) -> Option<String> {
    for tool in ["dbus-run-session", "pipewire", "wireplumber", "pw-v4l2"] {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|directory| directory.join(tool).exists())
        });
        if !found {
            return Some(format!("{tool} is not installed"));
        }
    }
    // Seen in 1.4.2: its sink copies pictures plane by plane, and encoded ones have none.
    if encoded && pipewire_version() >= 1 {
        return Some("PipeWire since 1.0 passes encoded pictures on empty".to_owned());
    }
    let command = CAMERA
        .iter()
        .take_while(|word| **word != "dbus-run-session");
    let tried = Command::new(CAMERA[0])
        .args(command.skip(1))
        .args(["mount", "-t", "tmpfs", "tmpfs", "/dev"])
        .output()
        .expect("unshare is installed");
    (!tried.status.success()).then(|| {
        let why = String::from_utf8_lossy(&tried.stderr);
        format!("no /dev of its own can be made: {}", why.trim())
    })
}

/// The first number of PipeWire's version: 0 in Debian 12, 1 in Debian 13.
fn pipewire_version() -> u32 {
    let output = Command::new("pipewire").arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split_whitespace().last();
    let first = version.and_then(|version| version.split('.').next());
    first.unwrap().parse().unwrap()
}

/// Plays the shipped camera description with a camera that sends what `line` makes of raw pictures
/// in `format`, under gst-launch and in a browser.
#[track_caller]
fn camera_plays(format: &str, line: &str) {
    if let Some(why) = no_camera(!line.is_empty()) {
        // Past the test harness, which swallows what a test that passes prints.
        let told = format!("\nNOT TESTED: a camera that sends {format} {line}: {why}\n");
        std::io::stderr().write_all(told.as_bytes()).unwrap();
        return;
    }
    let line = format!(
        "videotestsrc is-live=true ! video/x-raw,format={format},width=640,height=480,framerate=30/1 \
         {line}"
    );
    // PipeWire's stand-in loses a buffer now and then when the machine is busy, and then cannot be
    // opened again: it has the machine for itself, and is put up three times at most.
    let _alone = machine::alone();
    let played = (0..3).any(|_| catch_unwind(|| camera_plays_once(&line)).is_ok());
    assert!(played, "no try succeeded; each is shown above");
}

#[track_caller]
fn camera_plays_once(line: &str) {
    let directory = TempDir::new().unwrap();
    let work = directory.path().display().to_string();
    let mut runner = CAMERA.to_vec();
    runner.extend([work.as_str(), line]);
    runs_by_hand("camera", &["video"], &[], &runner);
    let system = Setup::new(&["camera"])
        .alone()
        .streamer(&["width=320"])
        .streamer_under(&runner)
        .start();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "camera");
    page.plays(seconds(10));
    assert_eq!(page.stats().size, (320, 240));
    system.assert_quiet();
}

#[test]
fn a_camera_of_raw_pictures_plays() {
    camera_plays("YUY2", "");
}

#[test]
fn a_camera_of_jpeg_pictures_plays() {
    camera_plays("I420", "! jpegenc");
}

#[test]
fn a_camera_of_h264_plays() {
    camera_plays(
        "I420",
        "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 \
         ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au",
    );
}
