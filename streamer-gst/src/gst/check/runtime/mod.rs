//! Where in the description an error of the running pipeline comes from, and what to do about it.

mod negotiation;
mod reasons;
mod silence;
mod size;

use std::collections::{BTreeMap, HashMap};

use gst::prelude::*;
use gstreamer as gst;

use self::reasons::{Fault, explain};
use crate::description::syntax::Element;
use crate::description::{Description, Diagnostic, Place, Severity};
use crate::gst::check::elements::{factory, is_a};
use crate::gst::source::Unfit;

pub(in crate::gst) use silence::Listening;

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

    /// The number of an element in the description.
    pub(in crate::gst) fn index_of(&self, element: &gst::Element) -> Option<usize> {
        let name = element.name();
        let mut names = self.names.iter();
        names.position(|known| known.as_deref() == Some(name.as_str()))
    }

    /// The element of that number in the pipeline.
    fn running(&self, pipeline: &gst::Bin, index: usize) -> Option<gst::Element> {
        pipeline.by_name(self.names.get(index)?.as_deref()?)
    }

    /// The number of the element that an object is, or is a part of.
    fn element_of(&self, source: Option<&gst::Object>) -> Option<usize> {
        let mut object = source.cloned();
        while let Some(current) = object {
            let name = current.name();
            let mut names = self.names.iter();
            let index = names.position(|n| n.as_deref() == Some(name.as_str()));
            if index.is_some() {
                return index;
            }
            object = current.parent();
        }
        None
    }

    /// The element at the head of the chain that leads to another one, which may be that itself.
    fn head_of(&self, mut index: usize) -> usize {
        let graph = &self.description.graph;
        // A loop of links would be endless.
        for _ in 0..graph.elements.len() {
            match graph.feeders(index).next() {
                Some((_, feeder)) => index = feeder,
                None => break,
            }
        }
        index
    }

    /// An error of an output.
    pub(in crate::gst) fn of_output(&self, output: &str, message: &str) -> Diagnostic {
        self.description.error_at_output(output, message)
    }

    /// What an output carries and cannot be sent, at its encoder if there is one.
    pub(in crate::gst) fn of_unfit(&self, output: &str, unfit: &Unfit) -> Diagnostic {
        let graph = &self.description.graph;
        let heads = graph
            .named(output)
            .map_or_else(Vec::new, |end| graph.above(end));
        let mut above = heads.into_iter().map(|index| self.element(index));
        let encoder =
            above.find(|element| factory(element).is_some_and(|found| is_a(&found, "Encoder")));
        let error = match encoder {
            Some(encoder) => {
                let texts = &self.description.texts;
                texts.error(encoder.factory.span, unfit.message.as_str())
            }
            None => self.of_output(output, &unfit.message),
        };
        error.help(unfit.help)
    }

    /// Sources that found no device and show or play a test signal in its place.
    pub(in crate::gst) fn stand_ins(&self, pipeline: &gst::Bin) -> Vec<Diagnostic> {
        let elements = self.description.graph.elements.iter().enumerate();
        let found = elements.filter_map(|(index, element)| {
            let (stand_in, what) = match element.factory.text.as_str() {
                "autovideosrc" => ("videotestsrc", "camera"),
                "autoaudiosrc" => ("audiotestsrc", "microphone"),
                _ => return None,
            };
            let bin = self.running(pipeline, index)?.downcast::<gst::Bin>().ok()?;
            let mut inside = bin.iterate_recurse().into_iter().flatten();
            let is_stand_in = |e: gst::Element| e.factory().is_some_and(|f| f.name() == stand_in);
            inside.any(is_stand_in).then(|| {
                let message = format!("there is no {what} here: {stand_in} stands in for it");
                let texts = &self.description.texts;
                let warning = texts.warning(element.factory.span, message);
                warning.help("streamer-gst devices lists cameras and microphones")
            })
        });
        found.collect()
    }

    /// An error message of the bus with its place and a cure.
    pub(in crate::gst) fn diagnostic(
        &self,
        source: Option<&gst::Object>,
        error: &glib::Error,
        details: &str,
    ) -> Diagnostic {
        let formats = source.and_then(|source| {
            let unlinked = details.contains("not-linked");
            let apart = unlinked || details.contains("not-negotiated");
            apart.then(|| negotiation::explain(self, source, unlinked))?
        });
        let index = self.element_of(source);
        let known = formats.or_else(|| size::explain(self, source?, index?, error));
        if let Some(diagnostic) = known {
            return diagnostic;
        }
        let element = |index: usize| self.description.graph.elements.get(index);
        let described = index.and_then(element);
        let factory = source.and_then(|source| source.downcast_ref::<gst::Element>()?.factory());
        let factory = match (&factory, described) {
            (Some(factory), _) => factory.name().to_string(),
            (None, Some(element)) => element.factory.text.clone(),
            (None, None) => "the pipeline".to_owned(),
        };
        let reason = explain(&Fault {
            factory: &factory,
            element: described,
            source: index.and_then(|index| element(self.head_of(index))),
            error,
            details,
        });
        let message = reason.message.trim_end_matches('.');
        let diagnostic = match reason.span {
            Some(span) => self.description.texts.error(span, message),
            None => {
                let place = Place::of_file(&self.description.path);
                Diagnostic::new(place, Severity::Error, message)
            }
        };
        diagnostic.help(reason.help)
    }

    fn element(&self, index: usize) -> &Element {
        &self.description.graph.elements[index]
    }
}

/// The pipeline that an object is in.
fn pipeline_of(object: &gst::Object) -> Option<gst::Bin> {
    let mut top = object.clone();
    while let Some(parent) = top.parent() {
        top = parent;
    }
    top.downcast().ok()
}
