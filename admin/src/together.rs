//! Several roles in one process, shown in one place.

use std::sync::Arc;

use serde_json::Value;

use crate::{Document, Metric, Ready, Source};

/// Sources by name. Each state is a field of the whole, so metrics are called as they are when
/// the role has a server of its own; ready is who is ready in every part; a document is that of
/// the first part that has one.
pub struct Together(pub Vec<(&'static str, Arc<dyn Source>)>);

impl Source for Together {
    fn ready(&self) -> Ready<'_> {
        Box::pin(async {
            for (_, source) in &self.0 {
                if !source.ready().await {
                    return false;
                }
            }
            true
        })
    }

    fn state(&self) -> Value {
        let states = self.0.iter();
        states
            .map(|(name, source)| ((*name).to_owned(), source.state()))
            .collect()
    }

    fn describe(&self, path: &str) -> Option<Metric> {
        let (name, rest) = path.split_once('/')?;
        let (_, source) = self.0.iter().find(|(known, _)| *known == name)?;
        source.describe(rest)
    }

    fn document(&self, path: &str) -> Option<Document> {
        let mut sources = self.0.iter();
        sources.find_map(|(_, source)| source.document(path))
    }
}
