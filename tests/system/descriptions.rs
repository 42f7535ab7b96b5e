//! The shipped descriptions run by hand, as the README shows, without any of our programs.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs description `name` under `gst-launch-1.0` until 30 buffers came out of its tee `output`.
/// The shell reads the text, exactly as it would on a person's terminal.
fn runs_by_hand(name: &str, output: &str, source: Option<(&str, &str)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("pipelines").join(name).with_extension("launch");
    let text = fs::read_to_string(path).unwrap();
    let mut text: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line} "))
        .collect();
    if let Some((from, to)) = source {
        assert!(text.contains(from), "{text}");
        text = text.replace(from, to);
    }
    let line = format!("{text} {output}. ! queue ! fakesink num-buffers=30");
    // `timeout` only bounds a pipeline that never gets there.
    let run = Command::new("timeout")
        .args(["30", "sh", "-c", "eval \"gst-launch-1.0 $1\"", "sh", &line])
        .current_dir(root)
        .output()
        .expect("sh starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success(),
        "{name}, {output}: {}\n{said}",
        run.status
    );
    assert!(!said.contains("WARN"), "{name}, {output}:\n{said}");
}

#[test]
fn shipped_descriptions_run_under_gst_launch() {
    for name in ["test", "test-h264", "file"] {
        runs_by_hand(name, "video", None);
        runs_by_hand(name, "audio", None);
    }
}

#[test]
fn the_camera_description_runs_with_a_test_source_for_the_camera() {
    let camera = "v4l2src device=${device:-/dev/video0}";
    runs_by_hand("camera", "video", Some((camera, "videotestsrc")));
}
