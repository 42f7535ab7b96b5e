//! Several roles in one process, shown in one place.

use std::sync::Arc;

use serde_json::Value;

use crate::{Metric, Ready, Source};

/// Sources by name. Each state is a field of the whole, so metrics are called as they are when
/// the role has a server of its own; ready is who is ready in every part.
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
}
