//! The cards of the list: they show what streams say of themselves, and a click plays at once.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::browser::{Kind, Page};
use crate::harness::page;
use crate::harness::system::Setup;
use crate::harness::{Browser, System, eventually, http, in_time, seconds};

/// A stream without a picture of its own, whose card shows a file's.
const RADIO: &str = "#: title The radio\n#: title[fr] La radio\n\
    #: description Nothing but <i>one</i> tone\n#: image cover.jpg\n\
    audiotestsrc is-live=true ! audioconvert ! opusenc ! tee name=audio allow-not-linked=true\n";

/// Writes a picture of 96 by 64 pixels.
fn draw(path: &str) {
    let line = format!(
        "videotestsrc num-buffers=1 ! video/x-raw,width=96,height=64 ! jpegenc \
         ! filesink location={path}"
    );
    let drawn = Command::new("gst-launch-1.0")
        .args(line.split_whitespace())
        .output()
        .expect("gst-launch-1.0 is installed: ./dev test");
    assert!(drawn.status.success(), "{drawn:?}");
}

/// Waits until the card of `stream` shows a picture; returns its width and height.
#[track_caller]
fn picture(page: &Page<'_>, stream: &str) -> (u64, u64) {
    let image = format!("document.querySelector({:?})", page::card(stream) + " img");
    eventually(&format!("{stream}: a picture"), seconds(20), || {
        page.evaluate(&format!(
            "(({{ complete, naturalWidth, hidden }}) => complete && naturalWidth > 0 && !hidden)({image})"
        )) == true
    });
    let side = |name: &str| page.evaluate(&format!("{image}.{name}")).as_u64().unwrap();
    (side("naturalWidth"), side("naturalHeight"))
}

#[test]
fn a_card_shows_title_description_and_picture() {
    let directory = TempDir::new().unwrap();
    let cover = directory.path().join("cover.jpg");
    draw(&cover.display().to_string());
    fs::write(directory.path().join("radio.launch"), RADIO).unwrap();
    fs::copy(
        "pipelines/test.launch",
        directory.path().join("test.launch"),
    )
    .unwrap();
    let system = Setup::new(&["radio", "test"])
        .pipelines(directory.path())
        .start();

    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&system.url("/"));
    let radio = page::card("radio");
    page.says(&format!("{radio} h2"), "The radio", seconds(10));
    assert_eq!(
        page.text(&format!("{radio} .description")),
        "Nothing but <i>one</i> tone"
    );
    // The file's, and a still of what is on air.
    assert_eq!(picture(&page, "radio"), (96, 64));
    assert_eq!(picture(&page, "test"), (640, 360));

    for stream in ["radio", "test"] {
        let path = format!("/api/streams/{stream}/image");
        let image = http::get(system.http(), &path).unwrap();
        assert_eq!(image.status, 200, "{stream}: {}", image.text());
        assert_eq!(image.header("content-type"), Some("image/jpeg"));
        assert!(image.body.starts_with(b"\xff\xd8\xff"), "{stream}: no JPEG");
    }
    assert_eq!(page.complaints(), Vec::<String>::new());
    system.assert_quiet();
}

fn a_click_plays_within_a_second(kind: Kind) {
    let system = System::alone(&["test"]);
    let browser = Browser::launch(kind);
    let click = || {
        let page = browser.open(&system.url("/"));
        page.says(page::LIST, "Test picture", seconds(10));
        let took = page.click_to_media(&page::card("test"));
        page.plays(seconds(10));
        page.close();
        eventually("nobody watches", seconds(5), || {
            system.streamer.number("/viewers") == 0
        });
        took
    };
    // What is loaded once, here and in the browser, is loaded by then.
    click();
    let what = format!("{kind:?}: from the click on a card to picture and sound");
    in_time(&what, seconds(1), click);
}

#[test]
fn a_click_plays_within_a_second_in_chromium() {
    a_click_plays_within_a_second(Kind::Chromium);
}

#[test]
fn a_click_plays_within_a_second_in_firefox() {
    a_click_plays_within_a_second(Kind::Firefox);
}
