//! The viewer page as tests see it: where its parts are (`static/index.html`).

use std::time::{Duration, Instant};

use serde_json::Value;

use super::browser::{Browser, Page};
use super::{System, eventually, seconds};

/// The list of streams.
pub const LIST: &str = "#list";
/// The field for the viewer's name.
pub const NAME: &str = "#name";
/// The message under the picture.
pub const STATUS: &str = "#status";
/// The big button that plays, or tries again.
pub const PLAY: &str = "#play";
/// The button that ends the call.
pub const STOP: &str = "#stop";
/// The big button that turns the sound on.
pub const UNMUTE: &str = "#unmute";

/// The card of `stream` in the list.
pub fn card(stream: &str) -> String {
    format!("a.card[data-stream=\"{stream}\"]")
}

/// Opens the page of one stream in a new tab.
#[track_caller]
pub fn watch<'a>(browser: &'a Browser, system: &System, stream: &str) -> Page<'a> {
    browser.open(&system.url(&format!("/watch/{stream}")))
}

impl Page<'_> {
    /// What the page thinks of itself: `connecting`, `playing`, `waiting`, `ended`, `failed`, …
    #[track_caller]
    pub fn player_state(&self) -> String {
        self.attribute("#player", "data-state").unwrap_or_default()
    }

    /// Waits until the page says that it plays, and a moving picture is on screen.
    #[track_caller]
    pub fn plays(&self, limit: Duration) -> Duration {
        let start = Instant::now();
        eventually("the page says that it plays", limit, || {
            self.player_state() == "playing"
        });
        self.shows_video(limit);
        start.elapsed()
    }

    /// Has the page note, from its next click on, what it says under the picture, and when.
    #[track_caller]
    pub fn notes_what_it_says(&self) {
        self.evaluate(
            "addEventListener('click', () => {
                const status = document.querySelector('#status');
                const clicked = performance.now();
                window.said = [];
                new MutationObserver(() => {
                    window.said.push([performance.now() - clicked, status.textContent]);
                }).observe(status, { childList: true, characterData: true, subtree: true });
            }, { capture: true, once: true })",
        );
    }

    /// What it said since, each with the time from the click.
    #[track_caller]
    pub fn noted(&self) -> Vec<(Duration, String)> {
        let said = self.evaluate("window.said");
        let each = |pair: &Value| {
            let after = pair[0].as_f64().expect("a time");
            let text = pair[1].as_str().expect("a text").to_owned();
            (Duration::from_secs_f64(after / 1000.0), text)
        };
        said.as_array().expect("a list").iter().map(each).collect()
    }

    /// Does `action` to a page that plays, and returns how long from its beginning it took until
    /// the page said that it plays no more, with what it said.
    #[track_caller]
    pub fn told_of_end_after(&self, action: impl FnOnce()) -> (Duration, String) {
        assert_eq!(self.player_state(), "playing");
        // Noted by the page itself: an action may take longer than the page does.
        self.evaluate(
            "void (window.told = null, new MutationObserver((_, observer) => {
                if (document.querySelector('#player').dataset.state === 'playing') return;
                observer.disconnect();
                window.told = {
                    at: Date.now(),
                    text: document.querySelector('#status').textContent,
                };
            }).observe(document.querySelector('#player'), {
                attributes: true, attributeFilter: ['data-state'],
            }))",
        );
        let begin = self.evaluate("Date.now()").as_f64().expect("a time");
        action();
        eventually("the page says that it plays no more", seconds(20), || {
            !self.evaluate("window.told").is_null()
        });
        let told = self.evaluate("window.told");
        let at = told["at"].as_f64().expect("a time");
        let text = told["text"].as_str().unwrap_or_default().to_owned();
        (
            Duration::from_secs_f64((at - begin).max(0.0) / 1000.0),
            text,
        )
    }
}
