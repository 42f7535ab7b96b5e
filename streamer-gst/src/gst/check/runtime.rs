//! Where in the description an error of the running pipeline comes from, and what to do about it.

use std::collections::HashMap;

use gst::prelude::*;
use gstreamer as gst;

use super::packages::package_of;
use crate::description::{Description, Diagnostic, Place, Severity, Span};
use crate::gst::message::explained;

/// What the elements of a pipeline are called, and where they stand in its description.
#[derive(Clone, Debug)]
pub(in crate::gst) struct Names {
    description: Description,
    spans: HashMap<String, Span>,
}

impl Names {
    /// Of a pipeline that was just built. GStreamer numbers elements without a name in the order
    /// of the text, but goes on counting from pipeline to pipeline.
    pub(in crate::gst) fn of(pipeline: &gst::Bin, description: &Description) -> Self {
        let mut unnamed: HashMap<String, Vec<(u64, String)>> = HashMap::new();
        for element in pipeline.iterate_recurse().into_iter().flatten() {
            let Some(factory) = element.factory() else {
                continue;
            };
            let (factory, name) = (factory.name(), element.name());
            let number = name
                .strip_prefix(factory.as_str())
                .and_then(|n| n.parse().ok());
            if let Some(number) = number {
                let numbered = unnamed.entry(factory.to_string()).or_default();
                numbered.push((number, name.to_string()));
            }
        }
        for names in unnamed.values_mut() {
            names.sort();
            names.reverse();
        }
        let mut spans = HashMap::new();
        for element in &description.graph.elements {
            let name = element.name().map(str::to_owned).or_else(|| {
                let numbered = unnamed.get_mut(&element.factory.text)?;
                numbered.pop().map(|(_, name)| name)
            });
            if let Some(name) = name {
                spans.insert(name, element.factory.span);
            }
        }
        Self {
            description: description.clone(),
            spans,
        }
    }

    /// The place of an object: its own, or that of the element around it.
    fn span_of(&self, source: Option<&gst::Object>) -> Option<Span> {
        let mut object = source.cloned();
        while let Some(current) = object {
            if let Some(span) = self.spans.get(current.name().as_str()) {
                return Some(*span);
            }
            object = current.parent();
        }
        None
    }

    /// An error message of the bus with its place and a cure.
    pub(in crate::gst) fn diagnostic(
        &self,
        source: Option<&gst::Object>,
        error: &glib::Error,
        details: &str,
    ) -> Diagnostic {
        let factory = source
            .and_then(|object| object.downcast_ref::<gst::Element>())
            .and_then(|element| element.factory());
        let factory = factory.map(|factory| factory.name().to_string());
        let message = explained(error.message(), details);
        let message = message.trim_end_matches('.');
        let diagnostic = match self.span_of(source) {
            Some(span) => self.description.texts.error(span, message),
            None => {
                let place = Place::of_file(&self.description.path);
                Diagnostic::new(place, Severity::Error, message)
            }
        };
        diagnostic.maybe_help(cure(factory.as_deref().unwrap_or_default(), error, details))
    }
}

/// What to do about an error of a running element.
fn cure(factory: &str, error: &glib::Error, details: &str) -> Option<String> {
    let is_device = [
        "v4l2src",
        "alsasrc",
        "pulsesrc",
        "pipewiresrc",
        "ximagesrc",
        "libcamerasrc",
    ]
    .contains(&factory);
    let help = if details.contains("not-negotiated") {
        "put videoconvert or audioconvert before the encoder, and look for caps nobody can give"
    } else if details.contains("not-linked") {
        "link what it puts out to something, or give the tee allow-not-linked=true"
    } else if let Some(kind) = missing(details) {
        let decoder = match kind {
            kind if kind.starts_with("H.26") || kind.contains("AAC") => "avdec_h264",
            _ => "avdec_",
        };
        return package_of(decoder).map(|package| format!("install it: apt install {package}"));
    } else if error.matches(gst::ResourceError::Busy) || details.contains("Device or resource busy")
    {
        "another program has it; close that, or fuser -v FILE names it"
    } else if is_device && details.contains("Permission denied") {
        "add the user to the group video (usermod -aG video USER)"
    } else if is_device {
        "streamer-gst devices lists cameras, screens and microphones"
    } else if error.matches(gst::ResourceError::NotFound) && factory == "filesrc" {
        "a relative path counts from the description's directory, or the one above"
    } else if error.matches(gst::StreamError::TypeNotFound) {
        "it is no media file, or empty"
    } else {
        return None;
    };
    Some(help.to_owned())
}

/// What decoder is missing, as GStreamer says it.
fn missing(details: &str) -> Option<&str> {
    let (_, rest) = details.split_once("Missing decoder: ")?;
    rest.split([' ', '\n']).next()
}
