//! Descriptions that are right as far as words go and fail when they run, `failing/NAME.launch`,
//! beside what is said about them. After a change of a message:
//! `INSTA_UPDATE=always cargo test -p streamer-gst --test failing`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot put up what it needs has failed"
)]

mod corpus;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use streamer_gst::description::{Description, Diagnostic, Parameters};
use streamer_gst::fanout::{Fanout, SourceId};
use streamer_gst::gst::{GstSources, Timeline, ViewerSettings, WebRtcEngine, check};
use streamer_gst::source::{Feed, Mode, Sources};

/// Silence has to last so long, and what an output carries shows in it. Their names begin so.
const TIME: Duration = Duration::from_secs(5);
const TAKES_ITS_TIME: [&str; 2] = ["silent-", "carried-"];
/// Everything else fails by itself, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);
/// Descriptions that run at a time.
const AT_ONCE: usize = 6;

/// Plays a pipeline to its end.
fn play(line: &str) {
    let pipeline = gst::parse::launch(line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let limit = gst::ClockTime::from_seconds(PATIENCE.as_secs());
    let message = pipeline.bus().unwrap().timed_pop_filtered(limit, &wanted);
    assert_eq!(message.unwrap().type_(), gst::MessageType::Eos, "{line}");
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Files to read, good and bad ones.
fn media(directory: &Path) {
    let film = "videotestsrc num-buffers=30 ! \
        video/x-raw,format=I420,width=320,height=240,framerate=30/1";
    let to = |name: &str| format!("filesink location={}", directory.join(name).display());
    play(&format!(
        "{film} ! vp8enc deadline=1 ! webmmux ! {}",
        to("film.webm")
    ));
    play(&format!("{film} ! x264enc ! mp4mux ! {}", to("film.mp4")));
    let sound = "audiotestsrc num-buffers=50 ! audio/x-raw,rate=48000,channels=2 ! opusenc";
    play(&format!("{sound} ! webmmux ! {}", to("sound.webm")));
    let whole = fs::read(directory.join("film.webm")).unwrap();
    fs::write(directory.join("cut.webm"), &whole[..400]).unwrap();
    fs::write(directory.join("empty.webm"), "").unwrap();
    fs::create_dir(directory.join("films")).unwrap();
    fs::write(
        directory.join("readme.txt"),
        "The film is in the other directory.\n".repeat(200),
    )
    .unwrap();
    let noise: Vec<u8> = (0..5000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fs::write(directory.join("noise.bin"), noise).unwrap();
}

/// Answers HTTP and RTSP with the status that is the path: `/404`.
fn refuse(listener: TcpListener) {
    for stream in listener.incoming() {
        thread::spawn(move || answer(stream.unwrap()));
    }
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        let request = lines.next()?.ok()?;
        let header = lines
            .by_ref()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty());
        let sequence = header.filter(|line| line.starts_with("CSeq")).last();
        let mut words = request.split(' ');
        let (method, path) = (words.next()?, words.next()?.rsplit('/').next()?);
        let protocol = words.next()?;
        let status = match (method, path) {
            ("OPTIONS", _) => "200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY",
            (_, "401") => "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"",
            (_, "403") => "403 Forbidden",
            (_, "404") => "404 Not Found",
            (_, "503") => "503 Service Unavailable",
            _ => "500 Internal Server Error",
        };
        let sequence = sequence.map_or(String::new(), |line| format!("{line}\r\n"));
        let response = format!("{protocol} {status}\r\n{sequence}Content-Length: 0\r\n\r\n");
        stream.write_all(response.as_bytes()).ok()?;
    }
}

/// As on a machine without a decoder of H.264.
fn forget_h264() {
    let decoders =
        gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODER, gst::Rank::NONE);
    let h264 = gst::Caps::new_empty_simple("video/x-h264");
    for decoder in decoders
        .iter()
        .filter(|decoder| decoder.can_sink_any_caps(&h264))
    {
        decoder.set_rank(gst::Rank::NONE);
    }
}

/// What the descriptions need of a machine, with the values of their parameters.
struct Stage {
    values: Vec<(&'static str, String)>,
    _media: tempfile::TempDir,
    _sockets: Vec<UdpSocket>,
    _mute: TcpListener,
}

impl Stage {
    fn set() -> Self {
        gst::init().unwrap();
        let directory = tempfile::tempdir().unwrap();
        media(directory.path());
        forget_h264();
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            (listener, port)
        };
        let udp = || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let port = socket.local_addr().unwrap().port().to_string();
            (socket, port)
        };
        let ((http, http_port), (rtsp, rtsp_port), (tcp, tcp_port)) =
            (listen(), listen(), listen());
        // The system takes the connections, and nobody answers.
        let (mute, mute_port) = listen();
        drop(tcp);
        thread::spawn(move || refuse(http));
        thread::spawn(move || refuse(rtsp));
        let (taken, taken_port) = udp();
        let ((rtp, rtp_port), (silent, silent_port)) = (udp(), udp());
        drop((rtp, silent));
        // RTP of H.264 for whoever listens; one that is gone is no error.
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = format!("127.0.0.1:{rtp_port}");
        thread::spawn(move || {
            for number in 0_u16.. {
                let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x65, 1, 2, 3];
                packet[2..4].copy_from_slice(&number.to_be_bytes());
                let _ = sender.send_to(&packet, &target);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let path = directory.path().display().to_string();
        Self {
            values: vec![
                ("media", path),
                ("http", http_port),
                ("rtsp", rtsp_port),
                ("tcp", tcp_port),
                ("udp", rtp_port),
                ("taken", taken_port),
                ("silent", silent_port),
                ("mute", mute_port),
            ],
            _media: directory,
            _sockets: vec![taken],
            _mute: mute,
        }
    }

    fn fail(&self, path: &Path) -> Vec<Diagnostic> {
        let values = self
            .values
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let parameters = Parameters::from_arguments(values).unwrap();
        let (description, found) = check::examine(path, &parameters);
        let wrong = found.iter().any(Diagnostic::is_error);
        assert!(!wrong, "{} fails before it runs", path.display());
        let takes = |kind: &&str| description.name.starts_with(*kind);
        let time = match TAKES_ITS_TIME.iter().any(takes) {
            true => TIME,
            false => PATIENCE,
        };
        check::run(&description, time).diagnostics
    }

    /// A rendering with what differs from run to run taken out.
    fn without_values(&self, mut text: String) -> String {
        for (name, value) in &self.values {
            text = text.replace(value.as_str(), &name.to_uppercase());
        }
        text
    }
}

#[test]
fn every_failure_is_explained_at_the_right_place() {
    let stage = Stage::set();
    let paths = corpus::descriptions("tests/failing");
    assert!(paths.len() >= 50, "only {}", paths.len());
    let left = Mutex::new(paths.clone());
    let told: Mutex<Vec<(PathBuf, Vec<Diagnostic>)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(path) = left.lock().unwrap().pop() else {
                        break;
                    };
                    let diagnostics = stage.fail(&path);
                    told.lock().unwrap().push((path, diagnostics));
                }
            });
        }
    });
    let mut told = told.into_inner().unwrap();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(told.len(), paths.len());
    for (path, diagnostics) in told {
        assert!(!diagnostics.is_empty(), "{} does not fail", path.display());
        let mut text = corpus::rendered(&diagnostics);
        for diagnostic in &diagnostics {
            let line = diagnostic.to_string();
            text.push_str(&format!("\n\non the page: {line}"));
            assert!(!line.ends_with('…'), "cut off on the page: {line}");
            assert!(diagnostic.help.is_some(), "no cure: {line}");
            assert!(!line.contains("wrong@"), "a password: {line}");
        }
        corpus::compare(&path, &stage.without_values(text));
    }
}

/// Root may read everything, unless that power is taken from it.
#[test]
fn a_file_that_may_not_be_read_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let film = directory.path().join("film.webm");
    fs::write(&film, "x").unwrap();
    fs::set_permissions(&film, fs::Permissions::from_mode(0o000)).unwrap();
    let text = "filesrc location=film.webm ! decodebin ! videoconvert ! vp8enc\n\
        ! tee name=video allow-not-linked=true\n";
    fs::write(directory.path().join("a.launch"), text).unwrap();
    let program = env!("CARGO_BIN_EXE_streamer-gst");
    let mut command = match fs::read(&film) {
        Err(_) => Command::new(program),
        Ok(_) => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-dac_override,-dac_read_search", program]);
            command
        }
    };
    let output = command
        .args(["check", "--run", "2s", "a.launch"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for wanted in [
        "this user may not read film.webm",
        "a.launch:1:9",
        "chmod a+r film.webm",
    ] {
        assert!(text.contains(wanted), "{text}");
    }
}

/// Elements that choose a camera show a test picture where there is none.
#[test]
fn a_test_picture_in_the_place_of_a_camera_is_told_as_such() {
    gst::init().unwrap();
    if Path::new("/dev/video0").exists() {
        eprintln!("not run: this machine may have a camera");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.launch");
    let text = "autovideosrc ! videoconvert ! vp8enc deadline=1\n\
        ! tee name=video allow-not-linked=true\n";
    fs::write(&path, text).unwrap();
    let description = Description::load(&path, &Parameters::default()).unwrap();
    let told = check::run(&description, TIME).diagnostics;
    assert_eq!(
        told[0].to_string(),
        "a.launch:1:1: there is no camera here: videotestsrc stands in for it; \
         streamer-gst devices lists cameras and microphones"
    );
}

#[test]
fn a_stream_that_falls_silent_is_told_at_the_element_that_data_came_to_last() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.launch");
    let text = "videotestsrc is-live=true ! video/x-raw,format=I420\n\
        ! identity name=gate ! valve drop=true\n\
        ! vp8enc deadline=1 ! tee name=video allow-not-linked=true\n";
    fs::write(&path, text).unwrap();
    let description = Description::load(&path, &Parameters::default()).unwrap();
    let timeline = Timeline::begin().unwrap();
    let settings = ViewerSettings {
        media_addresses: Vec::new(),
    };
    let engine = Arc::new(WebRtcEngine::new(timeline.clone(), settings));
    let feed = Feed {
        fanout: Arc::new(Fanout::new(engine)),
        source: SourceId(1),
    };
    let events = Arc::new(|_| ());
    let source = GstSources::new(timeline)
        .start(&description, feed, Mode::Playing, events)
        .unwrap();
    let told = |within| source.silence("video", within, "no frame has come").error;
    let end = Instant::now() + PATIENCE;
    while !told(Duration::MAX).contains("valve gets data") {
        assert!(Instant::now() < end, "{}", told(Duration::MAX));
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        told(Duration::MAX),
        "a.launch:2:30: no frame has come: valve gets data and gives none; \
         it is closed: leave drop=true away"
    );
    // As if the camera had stood still all that time, unless a frame comes at this very moment.
    let gone = || told(Duration::ZERO);
    while !(gone().starts_with("a.launch:1:1: ") && gone().contains("videotestsrc gives no data")) {
        assert!(Instant::now() < end, "{}", gone());
    }
}
