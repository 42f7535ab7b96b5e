//! Connections and their limits. `axum::serve` has none, so the accept loop is ours.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use crate::call::Guard;
use crate::config::Limits;

/// Connections at once (design section 7).
const CONNECTIONS: usize = 512;
/// How often the limits are looked at: this part of the shortest one, and at least once a second.
const CHECKS: u32 = 4;
/// Largest head of a request, all header lines together.
const HEAD_BYTES: usize = 16 * 1024;
/// What an open connection gets to finish its answer when the server stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pause after `accept` failed (out of descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a client hears when there is no room for its connection.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves `router` on `listener` until `stopping` turns true, then lets open answers finish.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&permits).try_acquire_owned() {
                Ok(permit) => {
                    connections.spawn(connection(
                        stream,
                        router.clone(),
                        limits,
                        stopping.clone(),
                        permit,
                    ));
                }
                Err(_) => {
                    // One attempt, no waiting: a fresh socket has room for these few bytes.
                    let _ = stream.try_write(NO_ROOM);
                }
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // Each connection bounds its own farewell; the set ends with the last of them.
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    // Answers are small and wanted at once; a refusal of the option only costs milliseconds.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Mutex::new(Activity::new(Instant::now(), limits)));
    let router = TowerToHyperService::new(router);
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request: Request<hyper::body::Incoming>| {
            let working = Working::begin(&activity);
            let response = router.call(request);
            // Boxed because only then can the socket be had back from hyper.
            Box::pin(async move {
                let mut response: Result<Response<Body>, Infallible> = response.await;
                if let Ok(response) = &mut response {
                    working.hand_over(response.extensions_mut().remove::<Delivery>());
                }
                drop(working);
                response
            })
        })
    };
    let io = Watched {
        stream,
        activity: Arc::clone(&activity),
    };
    let mut http = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service);
    let shortest = limits.head.min(limits.idle).min(limits.delivered);
    let mut check = time::interval((shortest / CHECKS).min(Duration::from_secs(1)));
    let mut farewell = None;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|context| http.poll_without_shutdown(context)) => break ended,
            _ = stopping.wait_for(|stopping| *stopping), if farewell.is_none() => {
                farewell = Some(Instant::now() + FAREWELL);
                Pin::new(&mut http).graceful_shutdown();
            }
            now = check.tick() => {
                if farewell.is_some_and(|farewell| farewell <= now) {
                    return;
                }
                let mut activity = lock(&activity);
                activity.deliver_old(now);
                if activity.overdue(now) {
                    activity.settle(false);
                    tracing::debug!("connection closed: too slow or idle");
                    return;
                }
            }
        }
    };
    match ended {
        Ok(()) => close(http.into_parts().io.into_inner(), limits.delivered).await,
        // A peer that broke off or sent no HTTP is its own affair: worth a line only to who looks.
        Err(error) => {
            lock(&activity).settle(true);
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// Says that nothing more comes, and where an answer must arrive, looks whether it does.
async fn close(mut io: Watched, patience: Duration) {
    // A peer that is gone already needs no goodbye.
    let _ = io.stream.shutdown().await;
    if !lock(&io.activity).deliveries.is_empty() {
        let end = async {
            let mut rest = [0; 512];
            while !matches!(io.read(&mut rest).await, Ok(0) | Err(_)) {}
        };
        // No word within the limit is good news.
        let _ = time::timeout(patience, end).await;
    }
    lock(&io.activity).settle(false);
}

/// A call whose answer is being written. A client that closes its connection without reading the
/// answer resets it; nobody but us knows then that there is a call to end.
#[derive(Clone)]
pub(super) struct Delivery(Arc<Guard>);

impl Delivery {
    pub(super) fn new(guard: Guard) -> Self {
        Self(Arc::new(guard))
    }
}

/// What a connection is doing, as far as its limits need to know.
struct Activity {
    limits: Limits,
    /// When a byte last moved, either way, or a request was finished.
    moved: Instant,
    /// When the first byte of a request's head came, until the head is whole.
    head_since: Option<Instant>,
    /// Requests being worked on: their waits have limits of their own.
    working: usize,
    /// Answers that may not have been read yet, and when they were made.
    deliveries: Vec<(Instant, Delivery)>,
    /// The peer has reset the connection.
    reset: bool,
}

impl Activity {
    fn new(now: Instant, limits: Limits) -> Self {
        Self {
            limits,
            moved: now,
            head_since: Some(now),
            working: 0,
            deliveries: Vec::new(),
            reset: false,
        }
    }

    /// Answers that had time enough are delivered.
    fn deliver_old(&mut self, now: Instant) {
        let limit = self.limits.delivered;
        self.deliveries.retain(|(made, delivery)| {
            let old = now.saturating_duration_since(*made) > limit;
            if old {
                delivery.0.disarm();
            }
            !old
        });
    }

    /// The connection is over: what was written has arrived, unless it broke.
    fn settle(&mut self, broken: bool) {
        for (_, delivery) in self.deliveries.drain(..) {
            if !broken && !self.reset {
                delivery.0.disarm();
            }
        }
    }

    fn received(&mut self, now: Instant) {
        self.moved = now;
        if self.working == 0 {
            self.head_since.get_or_insert(now);
        }
    }

    fn overdue(&self, now: Instant) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        self.working == 0
            && (self
                .head_since
                .is_some_and(|head| since(head) > self.limits.head)
                || since(self.moved) > self.limits.idle)
    }
}

fn lock(activity: &Mutex<Activity>) -> std::sync::MutexGuard<'_, Activity> {
    activity.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request being worked on.
struct Working(Arc<Mutex<Activity>>);

impl Working {
    fn begin(activity: &Arc<Mutex<Activity>>) -> Self {
        let mut now = lock(activity);
        now.head_since = None;
        now.working += 1;
        // Who asks for more has read what came before.
        now.settle(false);
        drop(now);
        Self(Arc::clone(activity))
    }
}

impl Working {
    fn hand_over(&self, delivery: Option<Delivery>) {
        let made = Instant::now();
        let delivery = delivery.map(|delivery| (made, delivery));
        lock(&self.0).deliveries.extend(delivery);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut activity = lock(&self.0);
        activity.working -= 1;
        activity.moved = Instant::now();
    }
}

/// A socket that notes when bytes move.
struct Watched {
    stream: TcpStream,
    activity: Arc<Mutex<Activity>>,
}

impl Watched {
    /// At an end or error of the stream. After an orderly end the socket still tells whether what
    /// we had written was thrown away.
    fn note_reset(&self, failed: bool) {
        if failed || matches!(self.stream.take_error(), Ok(Some(_))) {
            lock(&self.activity).reset = true;
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            lock(&self.activity).received(Instant::now());
        } else if read.is_ready() {
            self.note_reset(matches!(read, Poll::Ready(Err(_))));
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        match written {
            Poll::Ready(Ok(_)) => lock(&self.activity).moved = Instant::now(),
            Poll::Ready(Err(_)) => self.note_reset(true),
            Poll::Pending => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_overdue_although_bytes_move() {
        let start = Instant::now();
        let limits = Limits::default();
        let mut activity = Activity::new(start, limits);
        for second in 0..10 {
            activity.received(start + Duration::from_secs(second));
        }
        assert!(!activity.overdue(start + limits.head));
        assert!(activity.overdue(start + limits.head + TICK));
    }

    #[tokio::test(start_paused = true)]
    async fn work_has_no_idle_limit_and_rest_has_one() {
        let limits = Limits::default();
        let activity = Arc::new(Mutex::new(Activity::new(Instant::now(), limits)));
        let working = Working::begin(&activity);
        time::advance(limits.idle * 2).await;
        assert!(!lock(&activity).overdue(Instant::now()));
        drop(working);
        assert!(!lock(&activity).overdue(Instant::now() + limits.idle));
        assert!(lock(&activity).overdue(Instant::now() + limits.idle + TICK));
    }
}
