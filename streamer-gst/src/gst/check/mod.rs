//! What is wrong with a description, by the elements that are installed here.
//!
//! GStreamer's own parser says what it does not like, but neither where nor what to do, and only
//! the first of all faults. So words are looked up one by one; the parser remains the judge of
//! what nothing was found in.

mod absent;
mod caps;
mod delay;
mod elements;
mod feeding;
mod files;
mod filters;
mod links;
mod outputs;
mod packages;
mod properties;
mod refusal;
mod role;
mod run;
mod runtime;
mod values;

use std::path::Path;

pub(crate) use files::{media_file, missing_files};
pub(crate) use outputs::hands_on;
pub(super) use packages::package_of;
pub(super) use refusal::launch;
pub(crate) use role::{Content, Form, Role, content, decider, role};
pub use run::{Run, run};
pub(super) use runtime::{Listening, Names};

use crate::description::{Description, Diagnostic, Parameters};

/// Reads a description and tells everything that is wrong with it, in the order of the text.
pub fn examine(path: &Path, parameters: &Parameters) -> (Description, Vec<Diagnostic>) {
    complete(Description::examine(path, parameters))
}

/// As [`examine`], with the text of the file itself given.
pub(crate) fn examine_text(path: &Path, text: &str) -> (Description, Vec<Diagnostic>) {
    complete(Description::examine_text(path, text))
}

fn complete(
    (description, of_words): (Description, Vec<Diagnostic>),
) -> (Description, Vec<Diagnostic>) {
    // Of one place the first is told, and who knows elements knows more.
    let mut diagnostics = check(&description);
    diagnostics.extend(of_words);
    if !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(launch(&description).err());
    }
    description.sort(&mut diagnostics);
    (description, diagnostics)
}

/// What is wrong with the elements of a description that is right as far as words go.
pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    if let Err(error) = super::init() {
        tracing::error!(%error, "GStreamer cannot start");
        return Vec::new();
    }
    let mut diagnostics = elements::check(description);
    diagnostics.extend(properties::check(description));
    diagnostics.extend(caps::check(description));
    diagnostics.extend(links::check(description));
    diagnostics.extend(feeding::check(description));
    diagnostics.extend(outputs::check(description));
    diagnostics.extend(delay::check(description));
    diagnostics
}
