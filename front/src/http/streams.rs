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

/// A comment line at least this often, so that nothing on the way takes the connection for idle.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

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
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let follower = Follower {
        snapshots: web.calls.watch(),
        stopping: web.stopping.clone(),
        shown: None,
        _count: Count::new(&web.events),
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let snapshot = follower.next().await?;
        let text = String::from_utf8_lossy(&snapshot.json);
        let event = Event::default().event("streams").data(text);
        Some((Ok(event), follower))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
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
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
