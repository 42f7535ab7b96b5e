//! Descriptions with a fault each, `broken/NAME.launch`, beside what is said about them; and those
//! of `whole.txt`, about which there is nothing to say. After a change of a message:
//! `INSTA_UPDATE=always cargo test -p streamer-gst --test broken`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

mod corpus;

use std::fs;
use std::path::Path;

use streamer_gst::description::{Description, Diagnostic, Parameters};
use streamer_gst::gst::check;

fn examine(path: &Path) -> (Description, Vec<Diagnostic>) {
    check::examine(path, &Parameters::default())
}

#[test]
fn every_broken_description_is_explained_at_the_right_place() {
    // Paths in the renderings are relative to the crate.
    let paths = corpus::descriptions("tests/broken");
    assert!(paths.len() >= 60, "only {}", paths.len());
    for path in paths {
        let (_, diagnostics) = examine(&path);
        let name = path.file_stem().unwrap().to_str().unwrap();
        // Broken only where few packages are installed.
        if name.starts_with("not-installed") && diagnostics.is_empty() {
            continue;
        }
        assert!(!diagnostics.is_empty(), "{name} is not broken");
        corpus::compare(&path, &corpus::rendered(&diagnostics));
        for diagnostic in diagnostics {
            assert!(diagnostic.to_string().len() <= 240);
        }
    }
}

#[test]
fn nothing_is_said_about_what_gstreamer_takes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("whole.launch");
    let texts = include_str!("whole.txt").split("\n\n");
    assert!(texts.clone().count() > 50);
    for text in texts {
        fs::write(&path, text).unwrap();
        let (_, diagnostics) = examine(&path);
        assert_eq!(diagnostics, [], "{text}");
    }
}

#[test]
fn the_examples_of_the_reference_are_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("example.launch");
    let reference = include_str!("../../docs/descriptions.md");
    let examples: Vec<_> = reference.split("```launch\n").skip(1).collect();
    assert!(!examples.is_empty());
    for example in examples {
        fs::write(&path, example.split("```").next().unwrap()).unwrap();
        assert_eq!(examine(&path).1, [], "{example}");
    }
}

#[test]
fn nothing_is_said_about_the_descriptions_that_are_shipped() {
    for path in corpus::descriptions("../pipelines") {
        let (_, diagnostics) = examine(&path);
        assert_eq!(diagnostics, [], "{}", path.display());
    }
}
