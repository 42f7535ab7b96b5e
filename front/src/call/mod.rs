//! Calls as HTTP sees them: ask for one, look at it, end it; and the list of streams.
//!
//! [`Calls`] is the handle: a bounded channel into the one task that owns the SIP socket, and a
//! one-shot channel back. Every wait has a name and a limit here. The task's side is [`role`].

mod directory;
mod images;
mod informing;
mod role;
mod table;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;

use crate::error::Error;

pub(crate) use directory::Snapshot;
pub(crate) use informing::{FRAGMENT, Info};
pub(crate) use role::{Addresses, CallRole};

/// Room for one command and one guard's permit of each of the 512 connections, twice over.
pub(crate) const COMMANDS: usize = 2048;
/// How long a command may wait for room in the channel.
const ENTRY_LIMIT: Duration = Duration::from_secs(2);
/// How long a command that needs no network may take.
const REPLY_LIMIT: Duration = Duration::from_secs(2);
/// How long the SIP task may take to find out that a call, the list or a picture fails. The task
/// has shorter limits of its own and says which; this one only keeps a lost reply from being
/// waited for.
const NETWORK_LIMIT: Duration = Duration::from_secs(33);

/// How long a streamer may take to say what is only of interest.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// One call, from the offer to a minute after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallKey(u64);

/// What the streamer answered.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The SDP answer, unread.
    pub(super) sdp: Bytes,
    /// Names the session from now on: 128 random bits.
    pub(super) secret: String,
}

/// An answered call on its way to the browser.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The SDP answer, unread.
    pub(crate) sdp: Bytes,
    /// Names the session from now on: 128 random bits.
    pub(crate) secret: String,
    /// Ends the call unless the answer is delivered.
    pub(crate) guard: Guard,
}

/// A running session.
#[derive(Debug)]
pub(crate) struct SessionInfo {
    /// Time since the answer.
    pub(crate) age: Duration,
    /// The rung that was chosen: `auto`, `audio` or a name.
    pub(crate) rung: String,
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What HTTP handlers ask of the SIP task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Call a stream.
    Offer {
        key: CallKey,
        stream: String,
        viewer: Option<String>,
        offer: Bytes,
        reply: Reply<Accepted>,
    },
    /// Nobody waits for this call's answer any more.
    Abandon { key: CallKey },
    /// Look at a session.
    Session {
        stream: String,
        secret: String,
        reply: Reply<SessionInfo>,
    },
    /// Tell the streamer something about a session, or ask it.
    Inform {
        stream: String,
        secret: String,
        info: Info,
        reply: Reply<Bytes>,
    },
    /// End a session.
    End {
        stream: String,
        secret: String,
        reply: Reply<()>,
    },
    /// The list of streams, at most a second old.
    Streams { reply: Reply<Arc<Snapshot>> },
    /// Somebody follows the list from now on.
    Watch,
    /// The picture of a stream.
    Image { stream: String, reply: Reply<Bytes> },
}

/// Live objects of the SIP task, readable from anywhere.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Calls being set up, cancelled or ended.
    pub(crate) calls: AtomicUsize,
    /// Running sessions.
    pub(crate) sessions: AtomicUsize,
    /// Sessions that are over and remembered for their reason.
    pub(crate) ended: AtomicUsize,
    /// SIP transactions, as the endpoint counts them.
    pub(crate) transactions: AtomicUsize,
}

/// Handle to the SIP task.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    commands: mpsc::Sender<Command>,
    shown: Arc<watch::Sender<Arc<Snapshot>>>,
    next_key: Arc<AtomicU64>,
}

impl Calls {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        shown: Arc<watch::Sender<Arc<Snapshot>>>,
    ) -> Self {
        Self {
            commands,
            shown,
            next_key: Arc::default(),
        }
    }

    /// Calls `stream` with `offer`. Dropping the future cancels the call; dropping the answer's
    /// guard, still armed, ends it.
    pub(crate) async fn offer(
        &self,
        stream: &str,
        viewer: Option<String>,
        offer: Bytes,
    ) -> Result<Answer, Error> {
        let key = CallKey(self.next_key.fetch_add(1, Ordering::Relaxed));
        let guard = self.guard(key).await?;
        let (reply, answered) = oneshot::channel();
        self.send(Command::Offer {
            key,
            stream: stream.to_owned(),
            viewer,
            offer,
            reply,
        })
        .await?;
        let Accepted { sdp, secret } = wait(answered, NETWORK_LIMIT).await?;
        Ok(Answer { sdp, secret, guard })
    }

    /// Looks at a session.
    pub(crate) async fn session(&self, stream: &str, secret: &str) -> Result<SessionInfo, Error> {
        let (reply, answered) = oneshot::channel();
        self.send(Command::Session {
            stream: stream.to_owned(),
            secret: secret.to_owned(),
            reply,
        })
        .await?;
        wait(answered, REPLY_LIMIT).await
    }

    /// Tells the streamer something about a session, and waits until it has taken it.
    pub(crate) async fn inform(&self, stream: &str, secret: &str, info: Info) -> Result<(), Error> {
        let told = self.within(stream, secret, info, NETWORK_LIMIT).await;
        match told.map(drop) {
            // The call may have ended meanwhile: then that is what there is to say.
            Err(Error::Unavailable) => {
                self.session(stream, secret).await?;
                Err(Error::Unavailable)
            }
            told => told,
        }
    }

    /// What the streamer of a session says of its stream, in JSON; nothing when it has not said so
    /// soon.
    pub(crate) async fn ask(&self, stream: &str, secret: &str) -> Option<Value> {
        let told = self.within(stream, secret, Info::Question, ANSWER_LIMIT);
        serde_json::from_slice(&told.await.ok()?).ok()
    }

    async fn within(
        &self,
        stream: &str,
        secret: &str,
        info: Info,
        limit: Duration,
    ) -> Result<Bytes, Error> {
        let (reply, answered) = oneshot::channel();
        self.send(Command::Inform {
            stream: stream.to_owned(),
            secret: secret.to_owned(),
            info,
            reply,
        })
        .await?;
        wait(answered, limit).await
    }

    /// Ends a session; one that is over already counts as ended.
    pub(crate) async fn end(&self, stream: &str, secret: &str) -> Result<(), Error> {
        let (reply, answered) = oneshot::channel();
        self.send(Command::End {
            stream: stream.to_owned(),
            secret: secret.to_owned(),
            reply,
        })
        .await?;
        wait(answered, REPLY_LIMIT).await
    }

    /// The list of streams.
    pub(crate) async fn streams(&self) -> Result<Arc<Snapshot>, Error> {
        let (reply, answered) = oneshot::channel();
        self.send(Command::Streams { reply }).await?;
        wait(answered, NETWORK_LIMIT).await
    }

    /// The list of streams as it changes. The signaling server is asked for as long as anybody
    /// holds what this returns.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        let receiver = self.shown.subscribe();
        // With the channel full the task is awake anyway and sees the new receiver.
        let _ = self.commands.try_send(Command::Watch);
        receiver
    }

    /// The picture of a stream, JPEG.
    pub(crate) async fn image(&self, stream: &str) -> Result<Bytes, Error> {
        let (reply, answered) = oneshot::channel();
        self.send(Command::Image {
            stream: stream.to_owned(),
            reply,
        })
        .await?;
        wait(answered, NETWORK_LIMIT).await
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        match time::timeout(ENTRY_LIMIT, self.commands.send(command)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Unavailable),
        }
    }

    async fn guard(&self, key: CallKey) -> Result<Guard, Error> {
        match time::timeout(ENTRY_LIMIT, self.commands.clone().reserve_owned()).await {
            Ok(Ok(permit)) => Ok(Guard {
                key,
                permit: Mutex::new(Some(permit)),
            }),
            Ok(Err(_)) | Err(_) => Err(Error::Unavailable),
        }
    }
}

async fn wait<T>(
    answered: oneshot::Receiver<Result<T, Error>>,
    limit: Duration,
) -> Result<T, Error> {
    match time::timeout(limit, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(Error::Unavailable),
    }
}

/// Owns a call on behalf of an HTTP request until its answer is delivered: dropped before, it
/// tells the SIP task that nobody waits any more. Its place in the channel is reserved beforehand,
/// so the message cannot be lost. Of a call that failed the task knows nothing to end.
#[derive(Debug)]
pub(crate) struct Guard {
    key: CallKey,
    permit: Mutex<Option<mpsc::OwnedPermit<Command>>>,
}

impl Guard {
    /// The browser has its answer: from now on the session lives without the request.
    pub(crate) fn disarm(&self) {
        self.take();
    }

    fn take(&self) -> Option<mpsc::OwnedPermit<Command>> {
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        permit.take()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(permit) = self.take() {
            permit.send(Command::Abandon { key: self.key });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> (Calls, mpsc::Receiver<Command>) {
        let (commands, inbox) = mpsc::channel(4);
        let (shown, _) = watch::channel(Arc::new(Snapshot::default()));
        (Calls::new(commands, Arc::new(shown)), inbox)
    }

    #[tokio::test]
    async fn a_dropped_request_abandons_its_call_even_when_the_channel_is_full() {
        let (calls, mut inbox) = handle();
        let asking = tokio::spawn({
            let calls = calls.clone();
            async move { calls.offer("test", None, Bytes::from_static(b"v=0")).await }
        });
        let Some(Command::Offer { key, reply, .. }) = inbox.recv().await else {
            panic!("no offer");
        };
        while calls.commands.try_send(Command::Watch).is_ok() {}
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        drop(reply);
        let mut abandoned = None;
        while let Ok(command) = inbox.try_recv() {
            if let Command::Abandon { key } = command {
                abandoned = Some(key);
            }
        }
        assert_eq!(abandoned, Some(key));
    }

    #[tokio::test]
    async fn an_answer_that_is_delivered_abandons_nothing_and_a_lost_one_its_call() {
        for delivered in [true, false] {
            let (calls, mut inbox) = handle();
            let asking = tokio::spawn({
                let calls = calls.clone();
                async move { calls.offer("test", None, Bytes::from_static(b"v=0")).await }
            });
            let Some(Command::Offer { reply, .. }) = inbox.recv().await else {
                panic!("no offer");
            };
            let accepted = Accepted {
                sdp: Bytes::from_static(b"v=0"),
                secret: "s".to_owned(),
            };
            assert!(reply.send(Ok(accepted)).is_ok());
            let answer = asking.await.unwrap().unwrap();
            assert_eq!(answer.secret, "s");
            assert!(inbox.try_recv().is_err());
            if delivered {
                answer.guard.disarm();
            }
            drop(answer);
            assert_eq!(inbox.try_recv().is_err(), delivered);
        }
    }

    #[tokio::test]
    async fn without_a_sip_task_calls_are_unavailable() {
        let (calls, inbox) = handle();
        drop(inbox);
        assert_eq!(calls.end("test", "s").await, Err(Error::Unavailable));
    }
}
