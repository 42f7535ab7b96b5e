//! A real browser, driven through `tests/browser/driver.mjs`.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{eventually, seconds, wait_for};

/// Above every limit the driver has itself: reaching it means that the driver hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Which browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian's Chromium, by the DevTools protocol.
    Chromium,
    /// Debian's Firefox ESR as it comes, by WebDriver BiDi.
    Firefox,
}

/// A running browser with an empty profile. Dropping it ends it and removes the profile.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    requests: RefCell<Option<ChildStdin>>,
    answers: Receiver<String>,
    last: Cell<u64>,
    group: Option<Pid>,
    /// Profile, downloads and everything else the browser and its driver write.
    _home: TempDir,
}

/// One tab.
#[derive(Debug)]
pub struct Page<'a> {
    browser: &'a Browser,
    number: u64,
}

/// What reaches the viewer of a page, counted by the newest peer connection.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Peer connections that the page made so far, and those not closed.
    pub connections: u64,
    /// Those not closed.
    pub open: u64,
    /// `connectionState`, "none" without a connection.
    pub state: String,
    /// Video frames decoded.
    pub frames_decoded: u64,
    /// Those of them that needed no other.
    pub keyframes_decoded: u64,
    /// Video RTP packets received.
    pub video_packets: u64,
    /// "video/VP8", …
    pub video_codec: String,
    /// Bytes of video and audio received.
    pub bytes: u64,
    /// Audio RTP packets received.
    pub audio_packets: u64,
    /// Sum of squared amplitude over time: grows while there is sound.
    pub audio_energy: f64,
    /// Seconds of sound that the browser had to make up, for none had come in time.
    pub audio_concealed: f64,
    /// Audio RTP packets that did not come.
    pub audio_lost: i64,
    /// Audio packets of which a later one brought a second, smaller copy (not in Firefox).
    pub audio_repeated: u64,
    /// Changes when the picture does.
    pub picture: i64,
    /// Mean brightness of the picture, 0–255.
    pub brightness: f64,
    /// Width and height of the picture as decoded.
    pub size: (u64, u64),
}

/// A frame with a painted clock as it came to the screen.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// When, in milliseconds of the Unix epoch.
    pub shown: f64,
    /// How long after it was taken, in milliseconds; nothing when it could not be read.
    pub latency: Option<i64>,
}

impl Browser {
    /// Starts a browser with an empty profile.
    #[track_caller]
    pub fn launch(kind: Kind) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/driver.mjs");
        let mut driver = Command::new("node")
            .arg(script)
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .env_remove("G_DEBUG")
            .env_remove("DISPLAY")
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed: ./dev test");
        let requests = RefCell::new(driver.stdin.take());
        let stdout = driver.stdout.take().expect("stdout is piped");
        let (lines, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let last = Cell::new(0);
        let profile = home.path().join("profile");
        let mut browser = Self {
            driver,
            requests,
            answers,
            last,
            group: None,
            _home: home,
        };
        let name = match kind {
            Kind::Chromium => "chromium",
            Kind::Firefox => "firefox",
        };
        let launched = browser.ask(json!({"do": "launch", "browser": name, "profile": profile}));
        // The driver makes the browser leader of a process group of its own.
        browser.group = launched["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        browser
    }

    /// Opens `url` in a new tab.
    #[track_caller]
    pub fn open(&self, url: &str) -> Page<'_> {
        let number = self.ask(json!({"do": "open", "url": url}));
        Page {
            browser: self,
            number: number.as_u64().expect("a page has a number"),
        }
    }

    /// Ends the browser and all its processes at once, as a crash of the machine would.
    pub fn kill(&self) {
        if let Some(group) = self.group {
            // Already gone is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Stops the browser and all its processes where they are, as a laptop that is shut does. Until
    /// [`Browser::go_on`] nothing may be asked of it.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let group = self.group.expect("a browser has a process group");
        kill_process_group(group, signal).expect("the browser runs");
    }

    /// Sends one request to the driver and returns what it answered.
    #[track_caller]
    fn ask(&self, request: Value) -> Value {
        self.try_ask(request.clone())
            .unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    fn try_ask(&self, mut request: Value) -> Result<Value, String> {
        let id = self.last.get() + 1;
        self.last.set(id);
        request["id"] = json!(id);
        let mut requests = self.requests.borrow_mut();
        let stdin = requests.as_mut().ok_or("the driver was ended")?;
        writeln!(stdin, "{request}").map_err(|error| error.to_string())?;
        let line = self
            .answers
            .recv_timeout(PATIENCE)
            .map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&line).map_err(|_| line)?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.kill();
        // End of input ends the driver; it needs no more time than noticing takes.
        self.requests.borrow_mut().take();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Page<'_> {
    #[track_caller]
    fn ask(&self, mut request: Value) -> Value {
        request["page"] = json!(self.number);
        self.browser.ask(request)
    }

    /// Goes to another address in the same tab.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.ask(json!({"do": "go", "url": url}));
    }

    /// Clicks what `selector` finds, once it is visible.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.ask(json!({"do": "click", "selector": selector}));
    }

    /// Types into what `selector` finds.
    #[track_caller]
    pub fn type_into(&self, selector: &str, text: &str) {
        self.ask(json!({"do": "type", "selector": selector, "text": text}));
    }

    /// Presses a key, as "Enter" or "m".
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.ask(json!({"do": "press", "key": key}));
    }

    /// The visible text of `selector`; empty when there is no such element.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let text = self.ask(json!({"do": "text", "selector": selector}));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// An attribute of what `selector` finds.
    #[track_caller]
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let value = self.ask(json!({"do": "attribute", "selector": selector, "name": name}));
        value.as_str().map(str::to_owned)
    }

    /// The value of a JavaScript expression; a promise is awaited.
    #[track_caller]
    pub fn evaluate(&self, script: &str) -> Value {
        self.ask(json!({"do": "evaluate", "script": script}))
    }

    /// Errors the page wrote to its console or threw.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let list = self.ask(json!({"do": "complaints"}));
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|line| line.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Closes the tab as a person does.
    #[track_caller]
    pub fn close(self) {
        self.ask(json!({"do": "closePage"}));
    }

    /// What reaches the viewer now.
    #[track_caller]
    pub fn stats(&self) -> Stats {
        let value = self.ask(json!({"do": "stats"}));
        let count = |name: &str| value[name].as_u64().unwrap_or_default();
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let picture = &value["picture"];
        Stats {
            connections: count("connections"),
            open: count("open"),
            state: text("state"),
            frames_decoded: count("framesDecoded"),
            keyframes_decoded: count("keyFramesDecoded"),
            video_packets: count("videoPackets"),
            video_codec: text("videoCodec"),
            bytes: count("bytes"),
            audio_packets: count("audioPackets"),
            audio_energy: value["audioEnergy"].as_f64().unwrap_or_default(),
            audio_concealed: value["audioConcealed"].as_f64().unwrap_or_default(),
            audio_lost: value["audioLost"].as_i64().unwrap_or_default(),
            audio_repeated: count("audioFec"),
            picture: picture["hash"].as_i64().unwrap_or_default(),
            brightness: picture["brightness"].as_f64().unwrap_or_default(),
            size: (
                picture["width"].as_u64().unwrap_or_default(),
                picture["height"].as_u64().unwrap_or_default(),
            ),
        }
    }

    /// Waits until a moving, visible picture is on screen.
    #[track_caller]
    pub fn shows_video(&self, limit: Duration) -> Duration {
        let first = RefCell::new(None::<Stats>);
        eventually("frames are decoded and the picture changes", limit, || {
            let now = self.stats();
            let visible = now.frames_decoded > 0 && now.brightness > 1.0;
            let mut first = first.borrow_mut();
            match first.as_ref() {
                Some(then) if visible && then.connections == now.connections => {
                    now.frames_decoded > then.frames_decoded + 2 && now.picture != then.picture
                }
                _ => {
                    *first = visible.then_some(now);
                    false
                }
            }
        })
    }

    /// Waits until sound louder than silence is played.
    #[track_caller]
    pub fn plays_sound(&self, limit: Duration) -> Duration {
        let before = self.stats();
        eventually("audio energy grows", limit, || {
            let now = self.stats();
            now.audio_packets > before.audio_packets
                && now.audio_energy > before.audio_energy + 1e-6
        })
    }

    /// Waits until the visible text of `selector` contains `part`, in any case of letters.
    #[track_caller]
    pub fn says(&self, selector: &str, part: &str, limit: Duration) -> Duration {
        let what = format!("{selector} says {part:?}");
        let wanted = part.to_lowercase();
        eventually(&what, limit, || {
            self.text(selector).to_lowercase().contains(&wanted)
        })
    }

    /// Begins to note the frames shown.
    #[track_caller]
    pub fn watch_frames(&self) {
        self.evaluate("probe.watchFrames()");
    }

    /// Frames noted since [`Page::watch_frames`], and the longest gap between two: the time that
    /// one stood on the screen, or the piece of the stream that was skipped.
    #[track_caller]
    pub fn frame_gaps(&self) -> (u64, Duration) {
        let gaps = self.evaluate("probe.frameGaps()");
        let gap = |name: &str| {
            let milliseconds = gaps[name].as_f64().unwrap_or(f64::INFINITY);
            Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or(seconds(3600))
        };
        let frames = gaps["frames"].as_u64().unwrap_or_default();
        (frames, gap("shown").max(gap("media")))
    }

    /// Begins to read the painted clock off each frame shown.
    #[track_caller]
    pub fn watch_clock(&self) {
        self.evaluate("probe.watchClock()");
    }

    /// What was read since [`Page::watch_clock`].
    #[track_caller]
    pub fn clock_readings(&self) -> Vec<Reading> {
        let readings = self.evaluate("probe.clockReadings()");
        let readings = readings.as_array().expect("a list");
        let each = |reading: &Value| Reading {
            shown: reading["shown"].as_f64().expect("a time"),
            latency: reading["latency"].as_i64(),
        };
        readings.iter().map(each).collect()
    }

    /// How long it takes from a click on what `selector` finds until the first picture is decoded
    /// and the first sound arrives, by the page's own clock.
    #[track_caller]
    pub fn click_to_media(&self, selector: &str) -> Duration {
        self.evaluate("probe.timeClick()");
        self.click(selector);
        wait_for("picture and sound after a click", seconds(10), || {
            let took = self.evaluate("probe.clickToMedia()").as_f64()?;
            Some(Duration::from_secs_f64(took / 1000.0))
        })
    }
}
