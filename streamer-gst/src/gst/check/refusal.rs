//! Builds a description's pipeline, and finds the place of what GStreamer says against it.

use gstreamer as gst;

use super::properties::out_of_range;
use crate::description::syntax::{Element, Link, Node};
use crate::description::{Description, Diagnostic, Place, Severity, Span, Word};

/// Builds the pipeline.
///
/// # Errors
/// GStreamer's first objection, at the best place that can be told.
pub(in crate::gst) fn launch(description: &Description) -> Result<gst::Element, Diagnostic> {
    let outside = out_of_range(description);
    let left_out = |word: &&Word| !outside.iter().any(|property| property.meets(word.span));
    let arguments = description.words.iter().filter(left_out);
    let arguments: Vec<String> = arguments.map(Word::argument).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    gst::parse::launchv_full(&words, None, gst::ParseFlags::FATAL_ERRORS)
        .map_err(|error| placed(description, error.message()))
}

/// A message of the parser with a place. It names elements `vp8enc0` as it numbered them, which
/// counts all pipelines of the process, so only the kind of element is sure.
fn placed(description: &Description, message: &str) -> Diagnostic {
    let whole = |words: &[Word]| match words {
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
    let pads = link
        .and_then(|link| ends(description, link, true))
        .map(|from| {
            let from = &from.factory.text;
            format!("gst-inspect-1.0 {from} lists the pads it has, and what they carry")
        });
    match place {
        Some(span) => description.texts.error(span, message).maybe_help(pads),
        None => Diagnostic::new(Place::of_file(&description.path), Severity::Error, message),
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

#[cfg(test)]
mod tests {
    use gst::prelude::*;

    use super::*;
    use crate::description::Parameters;

    /// A description that shows the parameter `text`, with that value.
    fn with_value(value: &str) -> Result<gst::Pipeline, String> {
        gst::init().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.launch");
        std::fs::write(
            &path,
            "videotestsrc ! identity name=${text:-plain}\n\
             ! video/x-raw,format=I420 ! vp8enc ! tee name=video allow-not-linked=true\n",
        )
        .unwrap();
        let parameters = Parameters::from_arguments([format!("text={value}")]).unwrap();
        let description = Description::load(&path, &parameters).map_err(|e| e.to_string())?;
        let built = launch(&description).map_err(|e| e.to_string())?;
        Ok(built.downcast().unwrap())
    }

    fn elements(pipeline: &gst::Pipeline) -> usize {
        pipeline.children().len()
    }

    #[test]
    fn whatever_a_value_says_it_adds_no_element() {
        let plain = elements(&with_value("plain").unwrap());
        for value in [
            "x ! fakesink",
            "x! fakesink ",
            "! fakesrc !",
            "a'b ! fakesink",
            "(fakesink)",
            "x fakesink name=y",
            "a;b&c|d>e<f",
            "$(id) `id` ${text}",
            "'",
            "@preset=x",
            "a.b ! c.",
        ] {
            let pipeline = with_value(value).unwrap();
            assert_eq!(elements(&pipeline), plain, "{value}");
            assert!(pipeline.by_name(value).is_some(), "{value}");
        }
        // What GStreamer's own lexer cannot be kept from acting on.
        for value in [
            "a\" ! fakesink \"",
            "a\n!\nfakesink",
            "a\tb",
            "a\\",
            "\\ ! a",
        ] {
            let error = with_value(value).unwrap_err();
            assert!(error.contains("control character"), "{error}");
        }
    }
}
