//! What a stream needs of the pipeline that feeds it. `gst::GstSources` is the real one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::Codec;
use crate::description::{Description, Diagnostic, Faults};
use crate::fanout::{Fanout, Keyframes, SourceId};

/// What happens in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// The first frame of an output has come.
    Began {
        /// Name of the output.
        output: Arc<str>,
        /// What it carries.
        codec: Codec,
    },
    /// The fan-out wants a keyframe of this output now.
    KeyframeDue {
        /// Name of the output.
        output: Arc<str>,
    },
    /// The first keyframe of an output since [`Source::wake`] has come.
    Woke {
        /// Name of the output.
        output: Arc<str>,
    },
    /// The end of a file.
    Ended,
    /// It works no longer.
    Failed(Failure),
}

/// Why a pipeline cannot be started or works no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason, in one line.
    pub error: String,
    /// The same with its place in the description, for a terminal.
    pub rendered: Option<String>,
    /// A device it needs is in use, perhaps by the pipeline that it is to replace.
    pub busy: bool,
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self {
            error,
            rendered: None,
            busy: false,
        }
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            error: diagnostic.to_string(),
            rendered: Some(diagnostic.render(false)),
            busy: false,
        }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        let error = faults.first().map(Diagnostic::to_string);
        let rendered = faults.diagnostics.iter().map(|one| one.render(false));
        Self {
            error: error.unwrap_or_default(),
            rendered: Some(rendered.collect::<Vec<_>>().join("\n")),
            busy: false,
        }
    }
}

/// Takes events from any thread and passes them on without blocking.
pub type SourceEvents = Arc<dyn Fn(SourceEvent) + Send + Sync>;

/// A running pipeline. Dropping it stops it, which may block.
pub trait Source: Send {
    /// Sets a source going that was started as [`Mode::Held`].
    fn play(&self);

    /// Asks the encoder of an output for a keyframe.
    fn force_keyframe(&self, output: &str);

    /// Whether an output has an encoder that can be asked.
    fn keyframes(&self, output: &str) -> Keyframes;

    /// Whether frames can be kept from the encoder of an output without harm to anything else:
    /// `false` as long as that is not known.
    fn can_rest(&self, output: &str) -> bool;

    /// Keeps frames from the encoder of an output that can rest.
    fn rest(&self, output: &str);

    /// Gives the encoder of an output that rests frames again, and asks it for a keyframe.
    fn wake(&self, output: &str);

    /// When a frame was last kept from the encoder of an output that rests.
    fn heard(&self, output: &str) -> Option<Duration>;

    /// Whether it makes its frames as time passes, like a camera and unlike a file.
    fn is_live(&self) -> bool;

    /// Why no frame comes from an output: at the element that data came to last, where what is
    /// older than `within` does not count. `message` says what is missed.
    fn silence(&self, output: &str, within: Duration, message: &str) -> Failure;

    /// How many encoder elements it has, by factory name.
    fn encoders(&self) -> BTreeMap<String, usize>;
}

/// How far a source is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It plays.
    Playing,
    /// Its first frames are made and held back until [`Source::play`].
    Held,
}

/// Where a source's frames go.
#[derive(Clone)]
pub struct Feed {
    /// Hands them to viewers.
    pub fanout: Arc<Fanout>,
    /// As whose.
    pub source: SourceId,
}

/// Starts pipelines.
pub trait Sources: Send + Sync {
    /// Builds and starts a description's pipeline. May block.
    ///
    /// # Errors
    /// What is wrong with the description.
    fn start(
        &self,
        description: &Description,
        feed: Feed,
        mode: Mode,
        events: SourceEvents,
    ) -> Result<Box<dyn Source>, Failure>;
}
