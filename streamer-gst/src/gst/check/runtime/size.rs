//! Sizes of the picture that an encoder cannot take.

use gst::prelude::*;
use gstreamer as gst;

use super::Names;
use super::negotiation::field_of;
use crate::description::Diagnostic;

/// x264 halves the colours of a picture, so it wants its width and height even; it only logs that.
pub(super) fn explain(
    names: &Names,
    source: &gst::Object,
    index: usize,
    error: &glib::Error,
) -> Option<Diagnostic> {
    let encoder = source.downcast_ref::<gst::Element>()?;
    let is_x264 = encoder.factory().is_some_and(|f| f.name() == "x264enc");
    if !is_x264 || !error.matches(gst::StreamError::Encode) {
        return None;
    }
    // What it refuses it does not keep; who gives it does.
    let caps = encoder.static_pad("sink")?.peer()?.current_caps()?;
    let structure = caps.structure(0)?;
    let odd = |field: &'static str| {
        let size = structure.get::<i32>(field).ok()?;
        (size % 2 == 1).then_some((field, size))
    };
    let (field, size) = odd("width").or_else(|| odd("height"))?;
    let texts = &names.description.texts;
    let message = format!("x264enc wants an even {field}, and gets {field}={size}");
    let even = size - 1;
    let written = written(names, index, field);
    let (span, help) = match written {
        Some(span) => (span, format!("write {field}={even}")),
        None => (
            names.element(index).factory.span,
            format!("put videoscale ! video/x-raw,{field}={even} before it"),
        ),
    };
    Some(texts.error(span, message).help(help))
}

/// Where a field of what an element gets is written, the nearest caps before it first.
fn written(names: &Names, index: usize, field: &str) -> Option<crate::description::Span> {
    let graph = &names.description.graph;
    std::iter::once(index)
        .chain(graph.above(index))
        .find_map(|element| {
            let mut links = graph.links_to(element);
            links.find_map(|link| field_of(link.caps.as_ref()?, field))
        })
}
