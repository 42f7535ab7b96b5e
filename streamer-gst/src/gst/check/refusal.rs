//! Builds a description's pipeline, and finds the place of what GStreamer says against it.

use gstreamer as gst;

use crate::description::syntax::{Element, Link, Node};
use crate::description::{Description, Diagnostic, Span};

/// Builds the pipeline.
///
/// # Errors
/// GStreamer's first objection, at the best place that can be told.
pub(in crate::gst) fn launch(description: &Description) -> Result<gst::Element, Diagnostic> {
    let arguments = description.arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    gst::parse::launchv_full(&words, None, gst::ParseFlags::FATAL_ERRORS)
        .map_err(|error| placed(description, error.message()))
}

/// A message of the parser with a place. It names elements `vp8enc0` as it numbered them, which
/// counts all pipelines of the process, so only the kind of element is sure.
fn placed(description: &Description, message: &str) -> Diagnostic {
    let whole = |words: &[crate::description::Word]| match words {
        [first, .., last] => Some(first.span.to(last.span)),
        [only] => Some(only.span),
        [] => None,
    };
    let named: Vec<&str> = message
        .split(|c: char| c.is_whitespace() || matches!(c, '"' | ','))
        .filter(|word| !word.is_empty())
        .collect();
    let link = description.graph.links.iter().find(|link| {
        let from = ends(description, link, true);
        let to = ends(description, link, false);
        message.starts_with("could not link")
            && from.is_some_and(|from| named.iter().any(|name| is_called(from, name)))
            && to.is_some_and(|to| named.iter().any(|name| is_called(to, name)))
    });
    let element = || {
        let mut elements = description.graph.elements.iter();
        elements.find(|element| named.iter().any(|name| is_called(element, name)))
    };
    let place: Option<Span> = link
        .map(|link| link.span)
        .or_else(|| element().map(|element| element.factory.span))
        .or_else(|| whole(&description.words));
    match place {
        Some(span) => description.texts.error(span, message),
        None => Diagnostic::new(
            crate::description::Place::of_file(&description.path),
            crate::description::Severity::Error,
            message,
        ),
    }
}

fn ends<'a>(description: &'a Description, link: &Link, from: bool) -> Option<&'a Element> {
    let end = if from { &link.from } else { &link.to };
    let index = match &end.node {
        Node::Element(index) => *index,
        _ => description.graph.element_at(end)?,
    };
    description.graph.elements.get(index)
}

/// Whether GStreamer may call an element by this name.
fn is_called(element: &Element, name: &str) -> bool {
    match element.name() {
        Some(own) => own == name,
        None => {
            let number = name.strip_prefix(element.factory.text.as_str());
            number.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
        }
    }
}
