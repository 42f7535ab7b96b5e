//! A stream whose description is saved again and again while browsers watch it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::browser::Page;
use super::system::Setup;
use super::{System, seconds, wait_for};

/// The stream's name.
pub const STREAM: &str = "mine";
/// An encoder that every browser understands.
pub const VP8: &str = "vp8enc deadline=1 cpu-used=8 target-bitrate=1000000 keyframe-max-dist=300";
/// One that a fresh Firefox does not.
pub const H264: &str = "x264enc tune=zerolatency speed-preset=ultrafast bitrate=1000 \
    key-int-max=300 ! video/x-h264,profile=constrained-baseline";

/// A moving picture of this width, and a tone.
pub fn description(width: u64, encoder: &str) -> String {
    let height = width * 9 / 16;
    format!(
        "videotestsrc is-live=true pattern=ball\n\
         ! video/x-raw,format=I420,width={width},height={height},framerate=30/1\n\
         ! {encoder} ! tee name=video allow-not-linked=true\n\
         audiotestsrc is-live=true volume=0.3 samplesperbuffer=960\n\
         ! audio/x-raw,rate=48000,channels=2\n\
         ! opusenc ! tee name=audio allow-not-linked=true\n"
    )
}

/// Saves the description, and returns when, in milliseconds of the Unix epoch.
pub fn save(directory: &Path, text: &str) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a time after 1970").as_secs_f64() * 1000.0;
    fs::write(directory.join(STREAM).with_extension("launch"), text).expect("a saved file");
    now
}

/// The three programs, alone on the machine, with a directory that holds this description.
#[track_caller]
pub fn start(text: &str) -> (TempDir, System) {
    let directory = TempDir::new().expect("a temporary directory");
    save(directory.path(), text);
    let setup = Setup::new(&[STREAM]).pipelines(directory.path());
    (directory, setup.alone().start())
}

/// Waits for the first frame of this width since [`Page::watch_frames`], and returns how long after
/// `since` it was shown.
#[track_caller]
pub fn shown_in_width(page: &Page<'_>, width: u64, since: f64) -> Duration {
    let shown = wait_for("the new picture is shown", seconds(20), || {
        page.evaluate(&format!("probe.shownInWidth({width})"))
            .as_f64()
    });
    Duration::from_secs_f64((shown - since).max(0.0) / 1000.0)
}

/// The time that so many of 100 are within; the times are sorted for it.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent).div_ceil(100) - 1]
}
