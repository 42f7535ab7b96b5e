//! Each program as an operator meets it: its help, its one line, its refusals, its end.

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::process::{Process, run_to_end};
use crate::harness::system::System;
use crate::harness::{eventually, http, seconds, whep};

#[test]
fn every_program_explains_its_flags() {
    for program in ["rusticast", "signaling", "front", "streamer-gst"] {
        let help = run_to_end(program, &["--help"]);
        assert!(help.status.success(), "{program}: {help:?}");
        assert!(
            !help.stdout.is_empty() && help.stderr.is_empty(),
            "{program}: {help:?}"
        );
        let wrong = run_to_end(program, &["--no-such-flag"]);
        assert!(!wrong.status.success(), "{program}");
        assert!(wrong.stdout.is_empty(), "{program}: {wrong:?}");
    }
}

#[test]
fn addresses_others_can_reach_are_refused_in_one_sentence() {
    for (program, arguments) in [
        ("signaling", ["--listen", "0.0.0.0:0"]),
        ("front", ["--http", "0.0.0.0:0"]),
        ("signaling", ["--admin", "0.0.0.0:0"]),
        ("front", ["--admin", "0.0.0.0:0"]),
    ] {
        let refused = run_to_end(program, &arguments);
        assert!(!refused.status.success(), "{program} {arguments:?}");
        let sentence = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        assert!(sentence.contains("0.0.0.0"), "{sentence}");
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn viewers_share_a_few_heaps_unless_somebody_has_chosen() {
    let heaps = |streamer: &Process| streamer.variable("MALLOC_ARENA_MAX");
    let system = System::start(&["test"]);
    let cores = std::thread::available_parallelism().unwrap().to_string();
    assert_eq!(heaps(&system.streamer), Some(cores));
    let signaling = system.signaling.addr("sip").to_string();
    let chosen = Process::start_under(
        &["env", "MALLOC_ARENA_MAX=7"],
        "streamer-gst",
        &["run", "--signaling", &signaling, "test"],
    );
    assert_eq!(heaps(&chosen).as_deref(), Some("7"));
}

#[test]
fn starting_and_ending_is_silent_but_for_the_ready_line() {
    let mut system = System::start(&["test"]);
    for program in [
        &mut system.streamer,
        &mut system.front,
        &mut system.signaling,
    ] {
        assert!(program.terminate().success());
        assert_eq!(
            program.printed().lines().count(),
            1,
            "{}",
            program.printed()
        );
        assert_eq!(program.log(), "");
    }
}

#[test]
fn the_demo_plays_and_ends_at_ctrl_c() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data.xml").display().to_string();
    let local = "127.0.0.1:0";
    let mut demo = Process::start(
        "rusticast",
        &[
            "--http",
            local,
            "--signaling",
            local,
            "--data",
            &data,
            "test",
        ],
    );
    let front = demo.addr("http");
    assert_eq!(
        demo.printed(),
        format!("Rusticast plays at http://{front}\n")
    );
    assert_eq!(http::get(front, "/").unwrap().status, 200);
    eventually("the demo answers a call", seconds(20), || {
        let answer = whep::call(front, "test", &whep::recorded("chromium")).unwrap();
        answer.status == 201
    });

    demo.signal(Signal::INT);
    assert!(demo.wait().success());
    assert_eq!(demo.printed().lines().count(), 1);
    assert_eq!(demo.complaints(), Vec::<String>::new());
}

#[test]
fn a_port_in_use_is_named() {
    let system = System::start(&["test"]);
    let taken = system.http().to_string();
    let refused = run_to_end("front", &["--http", &taken]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains(&taken));
}

#[test]
fn a_settings_file_gives_flags_and_parameters_while_it_runs() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::create_dir(path("streams")).unwrap();
    std::fs::write(
        path("streams/sized.launch"),
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=${size:-320},height=240
           ! vp8enc deadline=1 cpu-used=8 ! tee name=video allow-not-linked=true\n",
    )
    .unwrap();
    let settings = |size: u32| {
        let (streams, data) = (path("streams"), path("data.xml"));
        let text = format!(
            "[rusticast]\nhttp = '127.0.0.1:0'\nsignaling = '127.0.0.1:0'\ndata = '{data}'\n\
             pipelines = '{streams}'\n[parameters.sized]\nsize = {size}\n"
        );
        std::fs::write(path("settings.toml"), text).unwrap();
    };
    settings(160);
    let mut demo = Process::start("rusticast", &["--config", &path("settings.toml")]);
    let front = demo.addr("http");
    let width = || {
        let image = http::get(front, "/api/streams/sized/image").unwrap();
        (image.status == 200).then(|| jpeg_width(&image.body))
    };
    eventually("the size of the file", seconds(20), || width() == Some(160));
    settings(480);
    // A picture may be ten seconds old.
    eventually("its new size", seconds(30), || width() == Some(480));
    demo.signal(Signal::INT);
    assert!(demo.wait().success());
    assert_eq!(demo.complaints(), Vec::<String>::new());

    std::fs::write(path("settings.toml"), "[rusticast]\nmax-viewer = 3\n").unwrap();
    let refused = run_to_end("rusticast", &["--config", &path("settings.toml")]);
    assert!(!refused.status.success());
    let told = String::from_utf8(refused.stderr).unwrap();
    let place = format!(
        "{}:2:14: rusticast has no flag --max-viewer",
        path("settings.toml")
    );
    assert!(told.contains(&place), "{told}");
}

/// The width in a JPEG's frame header (ITU T.81, B.2.2).
fn jpeg_width(image: &[u8]) -> u16 {
    let frame = image
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    u16::from_be_bytes([image[frame + 7], image[frame + 8]])
}
