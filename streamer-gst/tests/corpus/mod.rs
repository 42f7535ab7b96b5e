//! Descriptions with a fault each, `FOLDER/NAME.launch`, beside what is said about them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

use streamer_gst::description::Diagnostic;

/// The descriptions of a directory, by name.
pub(crate) fn descriptions(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "launch"));
    paths.sort();
    paths
}

/// What a terminal shows.
pub(crate) fn rendered(diagnostics: &[Diagnostic]) -> String {
    let all: Vec<_> = diagnostics.iter().map(|d| d.render(false)).collect();
    all.join("\n\n")
}

/// Compares what was said with what is kept beside a description.
pub(crate) fn compare(path: &Path, rendered: &str) {
    // Snapshot paths count from here.
    let folder = Path::new("..").join(path.parent().unwrap().file_name().unwrap());
    insta::with_settings!({
        snapshot_path => folder,
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), rendered);
    });
}
