//! Elements that are not installed, or do not exist; and words that are none, because a sign is
//! missing before or behind them.

use glib::prelude::*;
use gst::prelude::*;
use gstreamer as gst;

use super::absent::{cure, near};
use crate::description::syntax::{Element, Graph};
use crate::description::{Description, Diagnostic, Texts, is_output_name};

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let (texts, graph) = (&description.texts, &description.graph);
    let mut diagnostics = Vec::new();
    for (index, element) in graph.elements.iter().enumerate() {
        // What could not be read was told.
        if element.factory.unknown || factory(element).is_some() {
            continue;
        }
        let name = &element.factory.text;
        let error = texts.error(element.factory.span, format!("no element \"{name}\""));
        let before = graph.before(index);
        if graph.named(name).is_some() {
            let help = format!("write {name}. with a dot for the one named so");
            diagnostics.push(error.help(help));
        } else if let Some(owner) = owner(graph, index) {
            // Of a row of such words the first says it all, unless one is clearly a property.
            let first = before.is_some_and(|before| factory(&graph.elements[before]).is_some());
            let found = property(texts, graph, index, owner, first)
                .or_else(|| first.then(|| value(texts, graph, index, owner)).flatten())
                .or_else(|| first.then(|| error.help(cure(name))));
            diagnostics.extend(found);
        } else if graph.is_behind_unreadable(index) {
            // It may belong to that.
            diagnostics.extend(near(name).map(|near| error.help(near)));
        } else if before.is_none() {
            diagnostics.push(error.help(cure(name)));
        }
    }
    diagnostics
}

/// The element behind which a word stands without a link, with only words like it in between.
fn owner(graph: &Graph, index: usize) -> Option<&Element> {
    let before = graph.before(index)?;
    match factory(&graph.elements[before]) {
        Some(_) => Some(&graph.elements[before]),
        None => owner(graph, before),
    }
}

/// The word that follows another one without a link and is no element either.
fn next(graph: &Graph, index: usize) -> Option<usize> {
    let (_, next) = graph.breaks.iter().find(|(b, _)| *b == Some(index))?;
    factory(&graph.elements[*next]).is_none().then_some(*next)
}

/// A word that is a property of the element before it, without the `=`.
fn property(
    texts: &Texts,
    graph: &Graph,
    index: usize,
    owner: &Element,
    first: bool,
) -> Option<Diagnostic> {
    let word = &graph.elements[index].factory;
    let owned = &owner.factory.text;
    let (name, given) = match word.text.split_once(':') {
        Some((name, given)) => (name, Some(given).filter(|given| !given.is_empty())),
        None => (word.text.as_str(), None),
    };
    if first && owned == "tee" && is_output_name(name) {
        let error = texts.error(word.span, format!("no element \"{name}\""));
        return Some(error.help(format!("write name={name}")));
    }
    let class = factory(owner).as_ref().and_then(class)?;
    let pspec = class.find_property(name)?;
    let follows = next(graph, index).map(|next| graph.elements[next].factory.text.as_str());
    let value =
        given
            .or(follows)
            .unwrap_or_else(|| match pspec.value_type() == bool::static_type() {
                true => "true",
                false => "VALUE",
            });
    let error = texts.error(
        word.span,
        format!("{name} is a property of {owned}, and there is no = behind it"),
    );
    Some(error.help(format!("write {name}={value}")))
}

/// A word that belongs to the value before it.
fn value(texts: &Texts, graph: &Graph, index: usize, owner: &Element) -> Option<Diagnostic> {
    let first = &graph.elements[index].factory;
    let class = factory(owner).as_ref().and_then(class)?;
    let last = owner.properties.last()?;
    let pspec = class.find_property(&last.name.text)?;
    let misspelt = last.name.text == "name" && near(&first.text).is_some();
    if pspec.value_type() != String::static_type() || misspelt {
        return None;
    }
    let mut end = index;
    while let Some(next) = next(graph, end) {
        end = next;
    }
    let span = first.span.to(graph.elements[end].factory.span);
    let quoted = graph.in_quotes(texts, span)?;
    let message = format!("a blank ends the value of {}", last.name.text);
    Some(texts.error(span, message).help(format!("write {quoted}")))
}

/// The factory of an element, if it is installed.
pub(super) fn factory(element: &Element) -> Option<gst::ElementFactory> {
    gst::ElementFactory::find(&element.factory.text)
}

/// The class of an element's objects, which knows their properties.
pub(super) fn class(
    factory: &gst::ElementFactory,
) -> Option<glib::object::ClassRef<'static, glib::Object>> {
    let loaded = factory.clone().load().ok()?;
    let factory = loaded.downcast::<gst::ElementFactory>().ok()?;
    glib::object::Class::<glib::Object>::from_type(factory.element_type())
}

/// Whether one of the words of an element's class is `word`: `Encoder`, `Sink`, `Payloader`, …
pub(super) fn is_a(factory: &gst::ElementFactory, word: &str) -> bool {
    let klass = factory.metadata("klass").unwrap_or_default();
    klass.split('/').any(|part| part == word)
}
