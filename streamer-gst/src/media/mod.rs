//! The face of the media half: streams and viewers, nothing of SIP and nothing of GStreamer.
//!
//! [`start`] returns a [`MediaHandle`] to command it by and a channel of [`MediaEvent`]s. One
//! thread owns all state (the module `hub`, a plain state machine); what may block runs on threads
//! of its own and reports back. Frames never pass through here.

mod hub;
mod ladder;
mod runtime;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use tokio::sync::oneshot;

use crate::codec::Codec;
use crate::description::{self, Parameters};
use crate::engine::ViewerId;
use crate::offer::{self, Trickled};

pub use runtime::{MediaHandle, start};

/// What the media half needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the descriptions.
    pub pipelines: PathBuf,
    /// Names of the streams to run; empty means all of the directory.
    pub streams: Vec<String>,
    /// Most viewers at a time, over all streams; by default as many as the machine is enough for. The
    /// system's limits may lower it.
    pub max_viewers: Option<usize>,
    /// Local addresses media is offered on; empty means those of all interfaces that are up.
    pub media_addresses: Vec<IpAddr>,
    /// Values of the descriptions' parameters.
    pub parameters: Parameters,
    /// How long a stream on demand runs on after its last viewer.
    pub keep: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pipelines: PathBuf::from("pipelines"),
            streams: Vec::new(),
            max_viewers: None,
            media_addresses: Vec::new(),
            parameters: Parameters::default(),
            keep: Duration::from_secs(10),
        }
    }
}

/// Why the media half cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A description cannot be used.
    #[error(transparent)]
    Description(#[from] description::Error),
    /// GStreamer or one of its plug-ins is missing.
    #[error("{0}")]
    Engine(String),
    /// Media cannot be offered on a configured address.
    #[error("--media-address {address}: {source}")]
    Address {
        /// Which one.
        address: IpAddr,
        /// What the system says to it.
        source: std::io::Error,
    },
    /// A thread could not be had, or the directory not be watched.
    #[error("the system refuses what the streamer needs: {0}")]
    System(#[from] std::io::Error),
}

/// Why a viewer is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The offer is broken (SIP 488).
    #[error("{0}")]
    BadOffer(String),
    /// The viewer can decode nothing of the stream (SIP 488).
    #[error("{0}")]
    NoCommonCodec(String),
    /// As many viewers as allowed are watching (SIP 486).
    #[error("all {0} places are taken")]
    Full(usize),
    /// There is no such stream (SIP 404).
    #[error("there is no stream {0}")]
    NoSuchStream(String),
    /// The viewer wishes for what the stream has not (SIP 488).
    #[error("{0}")]
    NoSuchRung(String),
    /// The stream does not run now (SIP 503).
    #[error("{0}")]
    NotRunning(String),
    /// The connection could not be made (SIP 500).
    #[error("{0}")]
    Failed(String),
}

impl From<offer::Error> for Refusal {
    fn from(error: offer::Error) -> Self {
        let text = error.to_string();
        match error {
            offer::Error::Bad(_) => Self::BadOffer(text),
            offer::Error::NoCommonCodec(_) => Self::NoCommonCodec(text),
        }
    }
}

/// What a viewer wishes to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// The rung that its line carries.
    #[default]
    Auto,
    /// The rung of this name, whatever the line carries.
    Rung(String),
    /// No picture, only sound.
    Audio,
}

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// Its pipeline is being started; no frame has come yet.
    Starting,
    /// Frames flow.
    Live,
    /// Its pipeline failed; it is tried again from time to time.
    Failed,
    /// Runs on demand, and nobody watches.
    Idle,
}

/// A stream's picture in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamImage {
    /// None can be had.
    None,
    /// Ask with [`Media::image`].
    Own,
    /// At this https address.
    Url(String),
}

impl Serialize for StreamImage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Own => serializer.serialize_bool(true),
            Self::Url(url) => serializer.serialize_str(url),
        }
    }
}

/// A stream as the directory shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// Title by language; the empty key is the default, and is always there.
    pub title: BTreeMap<String, String>,
    /// Description by language, as for the title; may be empty.
    pub description: BTreeMap<String, String>,
    /// Its picture.
    pub image: StreamImage,
    /// Codecs of its outputs, picture first; empty until the pipeline has once run.
    pub codecs: Vec<Codec>,
    /// Names of the outputs that are sizes of one picture in one codec, in the file's order; a
    /// viewer gets the one that its line carries.
    pub rungs: Vec<String>,
    /// What it is doing.
    pub state: StreamState,
    /// Why it failed, in one line.
    pub error: Option<String>,
    /// Viewers now.
    pub viewers: usize,
    /// Most viewers of this streamer, over all streams.
    pub capacity: usize,
}

/// What pictures' RTP time stamps mean: how old a frame is that bears one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// The stamp of a frame of now, the same for all viewers; counts modulo 2^32.
    pub rtp: u32,
    /// By how much it rises in a second.
    pub rate: u32,
    /// Now, in milliseconds since 1970 (UTC).
    pub wall: u64,
}

/// What the media half reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// The result of [`Media::open`]; after an error nothing is left of the viewer. Does not come
    /// when the viewer was closed in the meantime.
    Answered {
        /// The viewer that was opened.
        viewer: ViewerId,
        /// The SDP answer.
        result: Result<String, Refusal>,
    },
    /// A viewer that was answered is gone, and not by [`Media::close`].
    Gone {
        /// Which one.
        viewer: ViewerId,
        /// Why, for people.
        reason: String,
    },
    /// The result of [`Media::choose`]; always comes, in the order of the calls.
    Chosen {
        /// Which viewer.
        viewer: ViewerId,
        /// Whether it gets what it wishes.
        result: Result<(), Refusal>,
    },
    /// Something of what [`Media::streams`] shows of a stream changed.
    Changed {
        /// Its name.
        stream: String,
    },
}

/// How the media half is commanded. No call blocks.
pub trait Media: Send + Sync {
    /// All streams, in order of their names.
    fn streams(&self) -> Vec<StreamInfo>;

    /// Makes a viewer for an offer; [`MediaEvent::Answered`] follows within 15 seconds.
    fn open(&self, stream: &str, viewer: ViewerId, offer: Bytes);

    /// Tells a viewer that was answered where else its peer may be reached.
    fn add_candidate(&self, viewer: ViewerId, candidate: Trickled);

    /// What a viewer that was answered wishes to see from now on; [`MediaEvent::Chosen`] follows.
    fn choose(&self, viewer: ViewerId, wish: Wish);

    /// Ends a viewer, whatever state it is in. No event follows.
    fn close(&self, viewer: ViewerId, reason: &str);

    /// A JPEG of at most 640 pixels and 48 KiB, at most ten seconds old.
    fn image(&self, stream: &str) -> oneshot::Receiver<Result<Bytes, Refusal>>;

    /// What pictures' time stamps mean now.
    fn clock(&self) -> Clock;

    /// Live objects: `viewers`, `encoders` by factory, `streams` with state, viewers and
    /// the outputs that rest for want of viewers.
    fn state(&self) -> serde_json::Value;

    /// Ends all viewers and streams. The receiver gets its value when everything is freed, at most
    /// three seconds later. No events follow.
    fn stop(&self) -> oneshot::Receiver<()>;
}
