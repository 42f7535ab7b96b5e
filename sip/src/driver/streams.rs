//! The streams of one socket: those that others have opened, and those to others for what is too
//! long for a datagram. Each has a task of its own, and what goes in and out of it waits in bounded
//! queues: a stream that is not read ends.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::framing::{Frame, Framer};
use crate::transport::{canonical, mapped};

/// Streams at most, and those of one address.
const MAX_STREAMS: usize = 1024;
const MAX_STREAMS_OF_ONE: usize = 128;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Messages that wait to be written to one stream.
const MAX_WAITING: usize = 64;
/// Messages that wait for the endpoint; as long as there is no room, streams are not read.
const MAX_UNREAD: usize = 64;
/// A stream that does not open in this time never will.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// A message that has begun has to end, and the first one to begin, in this time; and whoever is
/// written to has to read.
const MESSAGE_LIMIT: Duration = Duration::from_secs(10);
/// A stream on which nothing comes is closed. Pings come every two minutes (RFC 5626 section 4.4.1).
const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// For what was still to be written when the program ends.
const FINISH_LIMIT: Duration = Duration::from_secs(1);
/// Room for so much is made before each read.
const READ: usize = 8192;
/// The answer to a ping.
const PONG: &[u8] = b"\r\n";

/// What happens to streams, which are known by their other ends.
#[derive(Debug)]
pub(crate) enum News {
    /// One is open, whoever opened it.
    Open(SocketAddr),
    /// One that was asked for cannot be had.
    Refused(SocketAddr),
    /// A message came.
    Message(SocketAddr, Bytes),
    /// It has ended.
    End(SocketAddr),
}

/// All streams of one socket.
#[derive(Debug)]
pub(crate) struct Streams {
    listener: TcpListener,
    local: SocketAddr,
    streams: HashMap<SocketAddr, Stream>,
    last: u64,
    tell: mpsc::Sender<(u64, News)>,
    told: mpsc::Receiver<(u64, News)>,
    /// News of our own making.
    own: VecDeque<News>,
}

#[derive(Debug)]
struct Stream {
    /// Another one may have the same other end later.
    number: u64,
    queue: mpsc::Sender<Bytes>,
    task: JoinHandle<()>,
}

/// The end of one stream that its task has.
struct Inner {
    number: u64,
    peer: SocketAddr,
    queue: mpsc::Receiver<Bytes>,
    tell: mpsc::Sender<(u64, News)>,
}

impl Streams {
    /// Listens at this address, whose port is not 0.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let (tell, told) = mpsc::channel(MAX_UNREAD);
        Ok(Streams {
            listener: bound(address)?.listen(BACKLOG)?,
            local: address,
            streams: HashMap::new(),
            last: 0,
            tell,
            told,
            own: VecDeque::new(),
        })
    }

    /// What happens next. Nothing is lost when this is given up.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.own.pop_front() {
                return news;
            }
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.accept(stream, canonical(peer)),
                    // Out of descriptors, or a connection that ended before; both pass.
                    Err(error) => {
                        tracing::debug!(%error, "no stream accepted");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
                Some((number, news)) = self.told.recv() => {
                    if let News::End(peer) | News::Refused(peer) = news {
                        let current = |stream: &Stream| stream.number == number;
                        if !self.streams.get(&peer).is_some_and(current) {
                            continue;
                        }
                        self.streams.remove(&peer);
                    }
                    return news;
                }
            }
        }
    }

    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        let same = |other: &&SocketAddr| other.ip() == peer.ip();
        let of_one = self.streams.keys().filter(same).count();
        if self.streams.len() >= MAX_STREAMS || of_one >= MAX_STREAMS_OF_ONE {
            tracing::debug!(%peer, of_one, "a stream too many");
            return;
        }
        self.start(peer, move |inner| inner.serve(stream));
        self.own.push_back(News::Open(peer));
    }

    /// Sends on the stream to this end, or opens one.
    pub(crate) fn send(&mut self, peer: SocketAddr, payload: Bytes) {
        if !self.streams.contains_key(&peer) {
            if self.streams.len() >= MAX_STREAMS {
                self.own.push_back(News::Refused(peer));
                return;
            }
            let local = self.local;
            self.start(peer, move |inner| inner.open(local));
        }
        let Some(stream) = self.streams.get(&peer) else {
            return;
        };
        // One that has ended has told so itself, and how: that is for next().
        if let Err(TrySendError::Full(_)) = stream.queue.try_send(payload) {
            tracing::debug!(%peer, "a stream that is not read");
            if let Some(stream) = self.streams.remove(&peer) {
                stream.task.abort();
            }
            self.own.push_back(News::End(peer));
        }
    }

    fn start<F>(&mut self, peer: SocketAddr, run: impl FnOnce(Inner) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.last += 1;
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let task = tokio::spawn(run(Inner {
            number: self.last,
            peer,
            queue: waiting,
            tell: self.tell.clone(),
        }));
        let stream = Stream {
            number: self.last,
            queue,
            task,
        };
        if let Some(before) = self.streams.insert(peer, stream) {
            before.task.abort();
        }
    }

    /// Writes what is still waiting, and ends all.
    pub(crate) async fn finish(self) {
        let until = Instant::now() + FINISH_LIMIT;
        // Who has news for us waits no longer.
        drop(self.told);
        let tasks: Vec<_> = self.streams.into_values().map(|s| s.task).collect();
        for mut task in tasks {
            if timeout_at(until, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Inner {
    async fn news(&self, news: News) {
        // Nobody is there any more when the program ends.
        let _ = self.tell.send((self.number, news)).await;
    }

    async fn open(self, local: SocketAddr) {
        match timeout(OPEN_LIMIT, connect(local, self.peer)).await {
            Ok(Ok(stream)) => {
                self.news(News::Open(self.peer)).await;
                self.serve(stream).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "no stream");
                self.news(News::Refused(self.peer)).await;
            }
            Err(_) => self.news(News::Refused(self.peer)).await,
        }
    }

    async fn serve(mut self, stream: TcpStream) {
        // What is written is whole messages.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let pinged = Arc::new(Notify::new());
        let (tell, number, peer) = (self.tell.clone(), self.number, self.peer);
        let why = tokio::select! {
            why = read(reader, &pinged, |message| {
                let tell = tell.clone();
                async move { tell.send((number, News::Message(peer, message))).await.is_ok() }
            }) => why,
            why = write(writer, &mut self.queue, &pinged) => why,
        };
        tracing::debug!(peer = %self.peer, why, "a stream has ended");
        self.news(News::End(self.peer)).await;
    }
}

/// A socket at the port where others listen, too: a stream comes from there, so that the other side
/// knows whose it is and needs none of its own. Nobody else gets the port, for its UDP is ours.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Streams that ended a moment ago keep nobody from listening.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let peer = mapped(local, peer);
    match bound(local)?.connect(peer).await {
        // The last stream between the two is not yet forgotten.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
            ) =>
        {
            bound(SocketAddr::new(local.ip(), 0))?.connect(peer).await
        }
        result => result,
    }
}

/// Reads messages until the stream ends, and says why it did.
async fn read<F>(
    mut reader: OwnedReadHalf,
    pinged: &Notify,
    mut message: impl FnMut(Bytes) -> F,
) -> &'static str
where
    F: Future<Output = bool>,
{
    let mut framer = Framer::default();
    let mut begun = Some(Instant::now());
    loop {
        loop {
            match framer.take() {
                Ok(Some(Frame::Message(bytes))) => {
                    begun = None;
                    if !message(bytes).await {
                        return "the program ends";
                    }
                }
                Ok(Some(Frame::Ping)) => {
                    begun = None;
                    pinged.notify_one();
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "a stream that cannot be read");
                    return "it cannot be read";
                }
            }
        }
        if framer.is_partial() {
            begun.get_or_insert_with(Instant::now);
        }
        let until = begun.map_or_else(
            || Instant::now() + IDLE_LIMIT,
            |begun| begun + MESSAGE_LIMIT,
        );
        framer.buffer().reserve(READ);
        match timeout_at(until, reader.read_buf(framer.buffer())).await {
            Ok(Ok(0)) => return "the other side closed it",
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return "it broke",
            Err(_) => return "nothing came in time",
        }
    }
}

/// Writes messages until there will be no more, and says so.
async fn write(
    mut writer: OwnedWriteHalf,
    queue: &mut mpsc::Receiver<Bytes>,
    pinged: &Notify,
) -> &'static str {
    loop {
        let next = tokio::select! {
            message = queue.recv() => message,
            () = pinged.notified() => Some(Bytes::from_static(PONG)),
        };
        let Some(message) = next else {
            // Everything was written; the other side may read it all.
            let _ = writer.shutdown().await;
            return "this side closed it";
        };
        match timeout(MESSAGE_LIMIT, writer.write_all(&message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return "it broke",
            Err(_) => return "the other side does not read",
        }
    }
}
