//! The shipped descriptions are flawless, and run by hand, without any of our programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::process;

/// The file of a shipped description.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("pipelines")
        .join(name)
        .with_extension("launch")
}

/// Runs a shipped description under `gst-launch-1.0` until 30 buffers came out of each of its
/// `outputs`: once as the README shows, once as `streamer-gst export --sh` prints it.
///
/// `values` are those of its parameters, in the environment or on the command line; `runner` is
/// what runs the shell, if it needs something around it.
#[track_caller]
pub fn runs_by_hand(name: &str, outputs: &[&str], values: &[(&str, &str)], runner: &[&str]) {
    let text = fs::read_to_string(shipped(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut by_hand = format!("gst-launch-1.0 {}", lines.collect::<Vec<_>>().join(" "));
    for output in outputs {
        by_hand.push_str(&format!(" {output}. ! queue ! fakesink num-buffers=30"));
    }
    run(name, &by_hand, values, runner);

    let mut arguments = vec!["export".to_owned(), "--sh".to_owned()];
    arguments.push(shipped(name).display().to_string());
    arguments.extend(values.iter().map(|(name, value)| format!("{name}={value}")));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let exported = text_of(process::run_to_end("streamer-gst", &arguments));
    let sink = "! fakesink";
    assert_eq!(exported.matches(sink).count(), outputs.len(), "{exported}");
    let exported = exported.replace(sink, "! fakesink num-buffers=30");
    run(name, &exported, &[], runner);
}

/// Has a shell run a line, exactly as it would on a person's terminal.
#[track_caller]
fn run(name: &str, line: &str, values: &[(&str, &str)], runner: &[&str]) {
    // `timeout` only bounds a pipeline that never gets there.
    let shell = ["timeout", "30", "sh", "-c", "eval \"$1\"", "sh", line];
    let mut words = runner.iter().chain(&shell);
    let run = Command::new(words.next().unwrap())
        .args(words)
        .envs(values.iter().copied())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("sh starts");
    let said = String::from_utf8_lossy(&run.stderr);
    // gst-launch ends at the first error. Its status says more than that: rtspsrc's farewell fails
    // now and then, because the server of the tests has hung up by then.
    assert!(
        String::from_utf8_lossy(&run.stdout).contains("Got EOS from element"),
        "{name}: {}\n{line}\n{said}",
        run.status
    );
    assert!(!said.contains("WARN"), "{name}:\n{line}\n{said}");
}

#[track_caller]
fn text_of(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

#[test]
fn nothing_is_said_about_any_shipped_description() {
    let files = fs::read_dir(shipped("test").parent().unwrap()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "launch"))
        .map(|path| path.display().to_string())
        .collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    let mut arguments = vec!["check"];
    arguments.extend(files.iter().map(String::as_str));
    let said = text_of(process::run_to_end("streamer-gst", &arguments));
    let expected: String = files.iter().map(|file| format!("{file}: ok\n")).collect();
    assert_eq!(said, expected);
}

#[test]
fn shipped_descriptions_run_under_gst_launch() {
    for name in ["test", "test-h264", "file"] {
        runs_by_hand(name, &["video", "audio"], &[], &[]);
    }
    let sizes = ["video", "video_360p", "video_180p", "audio"];
    runs_by_hand("ladder", &sizes, &[], &[]);
    let values = [("pattern", "ball"), ("width", "320"), ("fps", "15")];
    runs_by_hand("test", &["video", "audio"], &values, &[]);
}
