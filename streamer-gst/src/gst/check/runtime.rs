//! Where in the description an error of the running pipeline comes from, and what to do about it.

use std::collections::{BTreeMap, HashMap};

use gst::prelude::*;
use gstreamer as gst;

use super::packages::package_of;
use crate::description::syntax::Element;
use crate::description::{Description, Diagnostic, Place, Severity, Span};
use crate::gst::message::explained;

/// What the elements of a pipeline are called, and where they stand in its description.
#[derive(Clone, Debug)]
pub(in crate::gst) struct Names {
    description: Description,
    /// By number of the element.
    names: Vec<Option<String>>,
}

impl Names {
    /// Of a pipeline that was just built. GStreamer numbers elements without a name in the order
    /// of the text, but goes on counting from pipeline to pipeline.
    pub(in crate::gst) fn of(pipeline: &gst::Bin, description: &Description) -> Self {
        let mut unnamed: HashMap<String, BTreeMap<u64, String>> = HashMap::new();
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
                numbered.insert(number, name.to_string());
            }
        }
        let elements = description.graph.elements.iter();
        let names = elements.map(|element| match element.name() {
            Some(name) => Some(name.to_owned()),
            None => {
                let numbered = unnamed.get_mut(&element.factory.text)?;
                numbered.pop_first().map(|(_, name)| name)
            }
        });
        Self {
            names: names.collect(),
            description: description.clone(),
        }
    }

    /// An error of an output.
    pub(in crate::gst) fn of_output(&self, output: &str, message: &str) -> Diagnostic {
        super::of_output(&self.description, output, message)
    }

    /// The number of an element in the description.
    pub(in crate::gst) fn index_of(&self, element: &gst::Element) -> Option<usize> {
        let name = element.name();
        let mut names = self.names.iter();
        names.position(|known| known.as_deref() == Some(name.as_str()))
    }

    /// The element that an object is, or is a part of.
    fn element_of(&self, source: Option<&gst::Object>) -> Option<&Element> {
        let mut object = source.cloned();
        while let Some(current) = object {
            let name = current.name();
            let index = self
                .names
                .iter()
                .position(|n| n.as_deref() == Some(name.as_str()));
            if let Some(index) = index {
                return self.description.graph.elements.get(index);
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
        let texts = &self.description.texts;
        if details.contains("not-negotiated") {
            if let Some((link, from, to)) = source.and_then(|source| self.disagreement(source)) {
                let message = format!("{from} and {to} find no format they both know");
                let help = "put videoconvert or audioconvert in between, or change the caps";
                return texts.error(link, message).help(help);
            }
        }
        let element = self.element_of(source);
        let factory = element.map_or("", |element| element.factory.text.as_str());
        let message = match details.contains("not-linked") {
            true => format!("what {factory} gives goes nowhere"),
            false => explained(error.message(), details),
        };
        let message = message.trim_end_matches('.');
        let diagnostic = match element {
            Some(element) => texts.error(element.factory.span, message),
            None => {
                let place = Place::of_file(&self.description.path);
                Diagnostic::new(place, Severity::Error, message)
            }
        };
        diagnostic.maybe_help(cure(factory, error, details))
    }

    /// The first link whose one end found no format, or whose other end did not take it.
    fn disagreement(&self, source: &gst::Object) -> Option<(Span, String, String)> {
        let mut top = source.clone();
        while let Some(parent) = top.parent() {
            top = parent;
        }
        let pipeline = top.downcast::<gst::Bin>().ok()?;
        let graph = &self.description.graph;
        let negotiated = |pads: Vec<gst::Pad>| pads.iter().any(gst::Pad::has_current_caps);
        graph.links.iter().find_map(|link| {
            let (from, to) = (graph.element_at(&link.from)?, graph.element_at(&link.to)?);
            let running = |index: usize| pipeline.by_name(self.names.get(index)?.as_deref()?);
            let (first, second) = (running(from)?, running(to)?);
            let sinks = first.sink_pads();
            let given = negotiated(first.src_pads());
            let stuck = (sinks.is_empty() || negotiated(sinks)) && !given;
            let refused = given && !negotiated(second.sink_pads());
            let name = |index: usize| graph.elements[index].factory.text.clone();
            (stuck || refused).then(|| (link.span, name(from), name(to)))
        })
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
        "the next element does not take it: decodebin makes raw media of anything"
    } else if details.contains("Missing decoder: ") {
        "install what decodes most formats: apt install gstreamer1.0-libav"
    } else if let Some((_, rest)) = details.split_once("Missing element: ") {
        let element = rest.split_whitespace().next().unwrap_or_default();
        return package_of(element).map(|package| format!("install it: apt install {package}"));
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
