//! What looks on at the socket: the ladder, and those who write down what passes.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sip::driver::{Datagram, Tap};

use super::Ladder;
use super::capture::Capture;
use super::outlet::{self, Flow, Outlet, Writer};
use super::trace::Trace;
use crate::config::Config;
use crate::error::Error;

/// Shows what passes to everybody who wants to see it.
#[derive(Debug)]
pub(crate) struct Recorder {
    ladder: Option<Arc<Ladder>>,
    outlets: Vec<Outlet>,
}

/// The threads that write things down.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    writers: Vec<Writer>,
    capture: Option<Arc<Flow>>,
}

impl Recorder {
    /// A recorder as the flags ask for it.
    ///
    /// # Errors
    /// When the file cannot be written, or the system gives no thread.
    pub(crate) fn open(config: &Config, ladder: &Arc<Ladder>) -> Result<(Self, Writers), Error> {
        let mut recorder = Recorder {
            ladder: (config.ladder > 0).then(|| Arc::clone(ladder)),
            outlets: Vec::new(),
        };
        let mut writers = Writers::default();
        if config.trace {
            let trace = Trace::new(std::io::stderr());
            let opened = outlet::open("--trace", trace);
            let (outlet, writer) = opened.map_err(|source| Error::Trace { source })?;
            recorder.outlets.push(outlet);
            writers.writers.push(writer);
        }
        if let Some(path) = &config.capture {
            let writer = recorder.capture(path)?;
            writers.capture = Some(writer.flow());
            writers.writers.push(writer);
        }
        Ok((recorder, writers))
    }

    fn capture(&mut self, path: &Path) -> Result<Writer, Error> {
        let opened = Capture::open(path).and_then(|file| outlet::open("--capture", file));
        let (outlet, writer) = opened.map_err(|source| Error::Capture {
            path: path.to_owned(),
            source,
        })?;
        self.outlets.push(outlet);
        Ok(writer)
    }

    /// False when nobody wants to see anything.
    pub(crate) fn is_needed(&self) -> bool {
        self.ladder.is_some() || !self.outlets.is_empty()
    }
}

impl Tap for Recorder {
    fn handle_datagram(&mut self, datagram: &Datagram) {
        if let Some(ladder) = &self.ladder {
            ladder.record(datagram);
        }
        for outlet in &self.outlets {
            outlet.put(datagram);
        }
    }
}

impl Writers {
    /// What the capture has, for operators; `None` without one.
    pub(crate) fn capture(&self) -> Option<Arc<Flow>> {
        self.capture.clone()
    }

    /// Waits until all have written the rest, once the recorder is gone.
    pub(crate) async fn finish(self) {
        outlet::finish(self.writers).await;
    }
}

impl Flow {
    /// The numbers, for operators.
    pub(crate) fn state(&self) -> Value {
        json!({"datagrams": self.written(), "lost": self.lost()})
    }
}
