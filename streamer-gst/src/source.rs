//! What a stream needs of the pipeline that feeds it. `gst::GstSources` is the real one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::Codec;
use crate::description::Description;
use crate::fanout::Fanout;

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
    /// The end of a file.
    Ended,
    /// It works no longer.
    Failed {
        /// Why, in one line.
        error: String,
    },
}

/// Takes events from any thread and passes them on without blocking.
pub type SourceEvents = Arc<dyn Fn(SourceEvent) + Send + Sync>;

/// A running pipeline. Dropping it stops it, which may block.
pub trait Source: Send {
    /// Asks the encoder of an output for a keyframe.
    fn force_keyframe(&self, output: &str);

    /// How many encoder elements it has, by factory name.
    fn encoders(&self) -> BTreeMap<String, usize>;
}

/// Starts pipelines.
pub trait Sources: Send + Sync {
    /// Builds and starts a description's pipeline, whose frames go into the fan-out. May block.
    ///
    /// # Errors
    /// What is wrong with the description, in one line.
    fn start(
        &self,
        description: &Description,
        fanout: &Arc<Fanout>,
        events: SourceEvents,
    ) -> Result<Box<dyn Source>, String>;
}
