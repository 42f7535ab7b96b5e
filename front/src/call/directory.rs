//! What streams there are: asked of the signaling server while somebody wants to know, at most
//! once a second, however many browsers watch.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Reply;
use crate::error::Error;

/// Pause between two polls, counted from their start.
const PERIOD: Duration = Duration::from_secs(1);
/// A poll without answer is followed by a fresh one after this long: a server that returns is
/// noticed soon, while retransmissions of the old poll come ever more rarely.
const PATIENCE: Duration = Duration::from_secs(2);
/// A stream that left the directory is shown as offline for this long: a streamer that is started
/// again needs less, and what was removed shall not linger.
const OFFLINE_KEPT: Duration = Duration::from_secs(60);
/// Entries kept at most (design section 7).
const STREAMS: usize = 1000;
/// Pages of one poll at most: 1000 entries of 4 kB pages with the largest descriptions.
const PAGES: usize = 1000;

/// The list at one moment, ready to be sent.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Body of `GET /api/streams`.
    pub(crate) json: Bytes,
    /// Its entries.
    pub(crate) streams: Vec<Value>,
    /// False until the first poll had a result, good or bad.
    pub(crate) asked: bool,
    reachable: bool,
}

impl Snapshot {
    /// `reachable` or `unreachable`.
    pub(crate) fn signaling(&self) -> &'static str {
        if self.reachable {
            "reachable"
        } else {
            "unreachable"
        }
    }

    /// Whether the server answered when it was asked last.
    pub(crate) fn is_current(&self) -> bool {
        self.reachable
    }

    /// Whether the server was asked, and did not answer.
    fn is_missed(&self) -> bool {
        self.asked && !self.reachable
    }

    /// The entry of one stream.
    pub(crate) fn stream(&self, name: &str) -> Option<&Value> {
        self.streams.iter().find(|entry| entry["name"] == name)
    }
}

/// One stream, and since when it is gone.
#[derive(Debug)]
struct Known {
    entry: Value,
    gone: Option<Instant>,
}

/// Where the polling stands.
#[derive(Debug)]
enum Poll {
    /// Nothing is under way; `last` began then.
    Resting { last: Option<Instant> },
    /// Waiting for a page.
    Asking {
        /// When this poll began.
        began: Instant,
        /// When its last page was asked for.
        sent: Instant,
        /// When the silence, over several polls, is to be called one; `None` once it was.
        silence: Option<Instant>,
        /// Entries of the pages so far.
        entries: Vec<Value>,
        pages: usize,
    },
}

/// What to send next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Name after which the page begins.
    pub(super) after: Option<String>,
}

/// The list and its polling. Knows no SIP: the role sends what [`Directory::handle_timeout`] and
/// [`Directory::handle_page`] return and hands in what comes back.
#[derive(Debug)]
pub(super) struct Directory {
    known: BTreeMap<String, Known>,
    poll: Poll,
    answered: Option<Instant>,
    waiters: Vec<Reply<Arc<Snapshot>>>,
    shown: Arc<watch::Sender<Arc<Snapshot>>>,
    signaling: SocketAddr,
    /// Without any answer for this long the signaling server counts as unreachable.
    silence: Duration,
}

impl Directory {
    pub(super) fn new(
        signaling: SocketAddr,
        silence: Duration,
        shown: Arc<watch::Sender<Arc<Snapshot>>>,
    ) -> Self {
        Self {
            signaling,
            silence,
            known: BTreeMap::new(),
            poll: Poll::Resting { last: None },
            answered: None,
            waiters: Vec::new(),
            shown,
        }
    }

    /// Somebody wants the list once: what is fresh at once, else after the next poll. A silence
    /// that is known is not waited for again.
    pub(super) fn handle_request(&mut self, now: Instant, reply: Reply<Arc<Snapshot>>) {
        let fresh = self
            .answered
            .is_some_and(|answered| now.saturating_duration_since(answered) < PERIOD);
        if fresh {
            // Who asked may have gone: nothing to clean up.
            let _ = reply.send(Ok(Arc::clone(&self.shown.borrow())));
        } else {
            self.waiters.push(reply);
            if let Poll::Asking { silence: None, .. } = self.poll {
                self.dismiss_waiters();
            }
        }
    }

    /// When [`Directory::handle_timeout`] is due, beyond the calls that follow every other input;
    /// `None` while nobody wants anything.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.poll {
            Poll::Resting { last } => last.filter(|_| self.wanted()).map(|last| last + PERIOD),
            Poll::Asking { sent, silence, .. } => {
                let retry = sent + PATIENCE;
                Some(silence.map_or(retry, |silence| retry.min(silence)))
            }
        }
    }

    /// Notes a silence that has become too long and starts the poll that is due, if any. Called
    /// after every input: a first request must not wait.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Ask> {
        if let Poll::Asking { silence, .. } = &mut self.poll {
            if silence.is_some_and(|silence| silence <= now) {
                *silence = None;
                self.note_silence();
            }
        }
        let silence = match self.poll {
            Poll::Resting { last } => {
                if last.is_some_and(|last| now < last + PERIOD) {
                    return None;
                }
                Some(now + self.silence)
            }
            Poll::Asking { sent, silence, .. } => {
                if now < sent + PATIENCE {
                    return None;
                }
                silence
            }
        };
        if !self.wanted() {
            if let Poll::Asking { began, .. } = self.poll {
                self.poll = Poll::Resting { last: Some(began) };
            }
            return None;
        }
        self.poll = Poll::Asking {
            began: now,
            sent: now,
            silence,
            entries: Vec::new(),
            pages: 0,
        };
        Some(Ask { after: None })
    }

    /// A page came; returns the next one to ask for.
    pub(super) fn handle_page(&mut self, now: Instant, body: &[u8]) -> Option<Ask> {
        let Poll::Asking {
            began,
            entries,
            pages,
            sent,
            silence,
        } = &mut self.poll
        else {
            return None;
        };
        let page: Value = match serde_json::from_slice(body) {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "the signaling server sent a directory that is no JSON");
                self.handle_refusal(now);
                return None;
            }
        };
        if let Some(streams) = page["streams"].as_array() {
            let room = STREAMS.saturating_sub(entries.len());
            entries.extend(streams.iter().filter(|one| named(one)).take(room).cloned());
        }
        *pages += 1;
        let last_name = entries.last().and_then(|entry| entry["name"].as_str());
        if page["more"] == true && *pages < PAGES && entries.len() < STREAMS {
            if let Some(after) = last_name.map(str::to_owned) {
                *sent = now;
                *silence = Some(now + self.silence);
                return Some(Ask { after: Some(after) });
            }
        }
        let (began, entries) = (*began, std::mem::take(entries));
        self.poll = Poll::Resting { last: Some(began) };
        self.answered = Some(now);
        self.update(now, entries);
        self.show(true);
        self.answer_waiters(None);
        None
    }

    /// The server answered and gave no directory.
    pub(super) fn handle_refusal(&mut self, now: Instant) {
        if let Poll::Asking { began, .. } = self.poll {
            self.poll = Poll::Resting { last: Some(began) };
        }
        self.answered = Some(now);
        self.show(false);
        self.answer_waiters(None);
    }

    /// Nobody gets the list any more.
    pub(super) fn handle_shutdown(&mut self) {
        self.poll = Poll::Resting { last: None };
        self.answer_waiters(Some(&Error::Unavailable));
    }

    /// Somebody waits for the list or follows it, or the server's return is waited for.
    fn wanted(&self) -> bool {
        let shown = self.shown.borrow();
        !self.waiters.is_empty() || self.shown.receiver_count() > 0 || shown.is_missed()
    }

    fn note_silence(&mut self) {
        self.show(false);
        self.dismiss_waiters();
    }

    /// Those who waited get the list as it was last seen, or are told that there is none.
    fn dismiss_waiters(&mut self) {
        let address = self.signaling;
        let error = Error::SignalingUnreachable { address };
        self.answer_waiters(self.known.is_empty().then_some(&error));
    }

    /// Those who waited get `error`, else the list as it is.
    fn answer_waiters(&mut self, error: Option<&Error>) {
        let snapshot = Arc::clone(&self.shown.borrow());
        for reply in self.waiters.drain(..) {
            let result =
                error.map_or_else(|| Ok(Arc::clone(&snapshot)), |error| Err(error.clone()));
            // Who asked may have gone: nothing to clean up.
            let _ = reply.send(result);
        }
    }

    fn update(&mut self, now: Instant, entries: Vec<Value>) {
        for known in self.known.values_mut() {
            known.gone.get_or_insert(now);
        }
        for entry in entries {
            let Some(name) = entry["name"].as_str().map(str::to_owned) else {
                continue;
            };
            self.known.insert(name, Known { entry, gone: None });
        }
        self.known.retain(|_, known| {
            known
                .gone
                .is_none_or(|gone| now.saturating_duration_since(gone) < OFFLINE_KEPT)
        });
        if self.known.len() > STREAMS {
            self.known.retain(|_, known| known.gone.is_none());
        }
    }

    /// Publishes the list if it differs from the one shown.
    fn show(&self, reachable: bool) {
        let signaling = self.signaling;
        match (self.shown.borrow().is_missed(), reachable) {
            (false, false) => tracing::warn!(%signaling, "the signaling server does not answer"),
            (true, true) => tracing::info!(%signaling, "the signaling server answers again"),
            _ => {}
        }
        let streams: Vec<Value> = self.known.values().map(Known::show).collect();
        let mut snapshot = Snapshot {
            streams,
            asked: true,
            reachable,
            json: Bytes::new(),
        };
        snapshot.json = json!({ "streams": snapshot.streams, "signaling": snapshot.signaling() })
            .to_string()
            .into();
        self.shown.send_if_modified(|shown| {
            let news = !shown.asked || shown.json != snapshot.json;
            if news {
                *shown = Arc::new(snapshot);
            }
            news
        });
    }
}

impl Known {
    fn show(&self) -> Value {
        let mut entry = self.entry.clone();
        if self.gone.is_some() {
            entry["state"] = json!("offline");
            entry["viewers"] = json!(0);
            // Whatever was wrong is not what keeps it away now.
            entry["error"] = Value::Null;
        }
        // One that waits for its first viewer can be played as well.
        let live = self.gone.is_none() && (entry["state"] == "live" || entry["state"] == "idle");
        entry["live"] = json!(live);
        entry
    }
}

/// Whether an entry is an object with a name; what else it says is for the page.
fn named(entry: &Value) -> bool {
    entry.is_object() && entry["name"].as_str().is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::Limits;

    fn directory() -> (Directory, Arc<watch::Sender<Arc<Snapshot>>>) {
        let shown = Arc::new(watch::channel(Arc::new(Snapshot::default())).0);
        let signaling = SocketAddr::from(([127, 0, 0, 1], 5060));
        let silence = Limits::default().silence;
        let directory = Directory::new(signaling, silence, Arc::clone(&shown));
        (directory, shown)
    }

    fn page(names: &[&str], more: bool) -> Vec<u8> {
        let streams: Vec<Value> = names
            .iter()
            .map(|name| json!({"name": name, "state": "live", "viewers": 2}))
            .collect();
        json!({"streams": streams, "more": more})
            .to_string()
            .into_bytes()
    }

    fn seconds(seconds: f32) -> Duration {
        Duration::from_secs_f32(seconds)
    }

    const FIRST: Option<Ask> = Some(Ask { after: None });

    #[test]
    fn nobody_watching_means_no_poll() {
        let (mut directory, _shown) = directory();
        let now = Instant::now();
        assert_eq!(directory.poll_timeout(), None);
        assert_eq!(directory.handle_timeout(now), None);
    }

    #[test]
    fn one_poll_a_second_while_somebody_watches() {
        let (mut directory, shown) = directory();
        let start = Instant::now();
        let watcher = shown.subscribe();
        let mut polls = 0;
        for step in 0..100 {
            let now = start + seconds(step as f32 / 10.0);
            if directory.handle_timeout(now).is_some() {
                polls += 1;
                directory.handle_page(now, &page(&["test"], false));
            }
        }
        assert_eq!(polls, 10);
        drop(watcher);
        assert_eq!(directory.poll_timeout(), None);
    }

    #[test]
    fn pages_are_put_together() {
        let (mut directory, shown) = directory();
        let _watcher = shown.subscribe();
        let now = Instant::now();
        assert_eq!(directory.handle_timeout(now), FIRST);
        let next = directory.handle_page(now, &page(&["a", "b"], true));
        assert_eq!(
            next,
            Some(Ask {
                after: Some("b".to_owned())
            })
        );
        assert!(!shown.borrow().asked);
        assert_eq!(directory.handle_page(now, &page(&["c"], false)), None);
        assert_eq!(shown.borrow().streams.len(), 3);
        assert_eq!(shown.borrow().stream("c").unwrap()["live"], true);
    }

    #[test]
    fn a_page_that_is_never_the_last_ends_the_poll_at_the_limit() {
        let (mut directory, shown) = directory();
        let _watcher = shown.subscribe();
        let now = Instant::now();
        directory.handle_timeout(now);
        let mut asked = 0;
        while directory.handle_page(now, &page(&["a"], true)).is_some() {
            asked += 1;
        }
        assert!(asked <= PAGES);
        assert_eq!(shown.borrow().streams.len(), 1);
    }

    #[test]
    fn a_stream_that_leaves_is_offline_first_and_forgotten_later() {
        let (mut directory, shown) = directory();
        let _watcher = shown.subscribe();
        let start = Instant::now();
        directory.handle_timeout(start);
        directory.handle_page(start, &page(&["test"], false));

        let gone = start + PERIOD;
        assert_eq!(directory.handle_timeout(gone), FIRST);
        directory.handle_page(gone, &page(&[], false));
        let entry = shown.borrow().stream("test").unwrap().clone();
        assert_eq!(entry["live"], false);
        assert_eq!(entry["state"], "offline");

        let later = gone + OFFLINE_KEPT;
        assert_eq!(directory.handle_timeout(later), FIRST);
        directory.handle_page(later, &page(&[], false));
        assert!(shown.borrow().streams.is_empty());
    }

    #[test]
    fn silence_is_said_after_four_seconds_and_polls_go_on() {
        let (mut directory, shown) = directory();
        let start = Instant::now();
        let (reply, mut answered) = oneshot::channel();
        directory.handle_request(start, reply);
        assert_eq!(directory.handle_timeout(start), FIRST);
        assert_eq!(directory.handle_timeout(start + seconds(1.0)), None);
        assert_eq!(directory.handle_timeout(start + PATIENCE), FIRST);
        assert!(!shown.borrow().asked);

        directory.handle_timeout(start + Limits::default().silence);
        assert_eq!(shown.borrow().signaling(), "unreachable");
        assert!(matches!(
            answered.try_recv(),
            Ok(Err(Error::SignalingUnreachable { .. }))
        ));
    }

    #[test]
    fn a_server_that_returns_is_reachable_again_with_its_streams() {
        let (mut directory, shown) = directory();
        let _watcher = shown.subscribe();
        let start = Instant::now();
        directory.handle_timeout(start);
        directory.handle_page(start, &page(&["test"], false));
        let mut now = start;
        while shown.borrow().signaling() == "reachable" {
            now = directory.poll_timeout().unwrap();
            directory.handle_timeout(now);
            assert!(now < start + seconds(10.0));
        }
        assert_eq!(shown.borrow().stream("test").unwrap()["live"], true);
        directory.handle_page(now, &page(&["test"], false));
        assert_eq!(shown.borrow().signaling(), "reachable");
        assert_eq!(shown.borrow().streams.len(), 1);
    }

    #[test]
    fn a_server_that_fell_silent_is_asked_until_it_returns_and_nobody_waits_meanwhile() {
        let (mut directory, shown) = directory();
        let start = Instant::now();
        let (reply, _answered) = oneshot::channel();
        directory.handle_request(start, reply);
        directory.handle_timeout(start);
        let mut now = start;
        while !shown.borrow().is_missed() {
            now = directory.poll_timeout().unwrap();
            directory.handle_timeout(now);
        }
        let (reply, mut answered) = oneshot::channel();
        directory.handle_request(now, reply);
        assert!(matches!(
            answered.try_recv(),
            Ok(Err(Error::SignalingUnreachable { .. }))
        ));
        now = directory.poll_timeout().unwrap();
        assert_eq!(directory.handle_timeout(now), FIRST);
        directory.handle_page(now, &page(&["test"], false));
        assert!(shown.borrow().is_current());
        assert_eq!(directory.poll_timeout(), None);
    }

    #[test]
    fn a_fresh_list_needs_no_poll() {
        let (mut directory, shown) = directory();
        let start = Instant::now();
        let watcher = shown.subscribe();
        directory.handle_timeout(start);
        directory.handle_page(start, &page(&["test"], false));
        drop(watcher);
        let (reply, mut answered) = oneshot::channel();
        directory.handle_request(start + seconds(0.5), reply);
        assert_eq!(answered.try_recv().unwrap().unwrap().streams.len(), 1);
    }

    #[test]
    fn entries_without_a_name_are_left_out() {
        let (mut directory, shown) = directory();
        let _watcher = shown.subscribe();
        let now = Instant::now();
        directory.handle_timeout(now);
        directory.handle_page(
            now,
            br#"{"streams":[1,{"name":7},{"name":""},{"title":{}},{"name":"a"}]}"#,
        );
        assert_eq!(shown.borrow().streams.len(), 1);
        assert_eq!(shown.borrow().streams[0]["live"], false);
    }
}
