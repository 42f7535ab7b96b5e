//! The list of streams: once, as events, and their pictures.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use tokio::sync::watch;

use super::{StreamName, Web};
use crate::call::Snapshot;
use crate::error::Error;

/// Event streams at once: half of the connections, so that a crowd with the list open does not keep
/// others from loading the page. Who is refused polls.
const EVENTS: usize = 256;
/// How long a browser waits before it opens a broken event stream again.
const RETRY: Duration = Duration::from_secs(1);

/// `GET /api/streams`.
pub(super) async fn list(State(web): State<Web>) -> Result<Response, Error> {
    let snapshot = web.calls.streams().await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, snapshot.json.clone()).into_response())
}

/// `GET /api/streams/{stream}/image`.
pub(super) async fn image(
    State(web): State<Web>,
    StreamName(stream): StreamName,
) -> Result<Response, Error> {
    let jpeg = web.calls.image(&stream).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg")),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=10"),
        ),
    ];
    Ok((headers, jpeg).into_response())
}

/// `GET /api/streams/events`: event `streams` with the body of `GET /api/streams`, at once and at
/// each change.
pub(super) async fn events(
    State(web): State<Web>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let follower = Follower {
        _count: Count::new(&web.events)?,
        snapshots: web.calls.watch(),
        stopping: web.stopping.clone(),
        shown: None,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let snapshot = follower.next().await?;
        let text = String::from_utf8_lossy(&snapshot.json);
        let event = Event::default().event("streams").retry(RETRY).data(text);
        Some((Ok(event), follower))
    });
    // Nothing on the way shall take the connection for idle.
    let keep_alive = KeepAlive::new().interval(web.limits.keep_alive);
    Ok(Sse::new(events).keep_alive(keep_alive))
}

/// One browser that follows the list.
struct Follower {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    stopping: watch::Receiver<bool>,
    shown: Option<Arc<Snapshot>>,
    _count: Count,
}

impl Follower {
    /// The next list that differs from the last one; `None` when the server stops.
    async fn next(&mut self) -> Option<Arc<Snapshot>> {
        loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            let news = match &self.shown {
                Some(shown) => shown.json != snapshot.json,
                None => snapshot.asked,
            };
            if news {
                self.shown = Some(Arc::clone(&snapshot));
                return Some(snapshot);
            }
            tokio::select! {
                changed = self.snapshots.changed() => changed.ok()?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
    }
}

/// One in the number of open event streams, while it lives.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(counter: &Arc<AtomicUsize>) -> Result<Self, Error> {
        let count = Self(Arc::clone(counter));
        if counter.fetch_add(1, Ordering::Relaxed) >= EVENTS {
            // Dropped, it takes itself off again.
            let what = "event streams";
            return Err(Error::TooMany { what });
        }
        Ok(count)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
