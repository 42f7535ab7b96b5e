//! Elements that nothing comes to, and links that lead back to where they began.

use gstreamer as gst;

use super::elements::factory;
use super::links::templates;
use crate::description::syntax::{Element, Graph};
use crate::description::{Description, Diagnostic, Texts};

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let (texts, graph) = (&description.texts, &description.graph);
    let elements = 0..graph.elements.len();
    let mut diagnostics: Vec<_> = elements.filter_map(|i| unfed(texts, graph, i)).collect();
    diagnostics.extend(circle(texts, graph));
    diagnostics
}

/// An element that wants something, and to which no link leads.
fn unfed(texts: &Texts, graph: &Graph, index: usize) -> Option<Diagnostic> {
    let element = &graph.elements[index];
    let name = &element.factory.text;
    // What stands in a bin with a name gets what is linked to that.
    let in_named_bin = element.bin.is_some_and(|bin| {
        let bin = &graph.elements[bin];
        bin.name().is_some() || bin.bin.is_some()
    });
    // A missing ! and a word that is no element were told, and outputs have a sentence of their own.
    let told = graph.is_behind_unreadable(index)
        || element.is_output()
        || graph.before(index).is_some_and(|before| {
            let before = &graph.elements[before];
            let glued = before
                .properties
                .iter()
                .any(|p| p.value.text.ends_with('!'));
            glued || factory(before).is_none()
        });
    let fed = graph.links_to(index).next().is_some();
    if fed || told || in_named_bin || !has_always(element, gst::PadDirection::Sink) {
        return None;
    }
    let error = texts.error(element.factory.span, format!("nothing gives to {name}"));
    Some(error.help("put a source and ! before it, or NAME. ! for a branch".to_owned()))
}

/// The first link, in the order of the text, that leads back to where it comes from by those before
/// it.
fn circle(texts: &Texts, graph: &Graph) -> Option<Diagnostic> {
    let mut before: Vec<(usize, usize)> = Vec::new();
    for link in &graph.links {
        let ends = (graph.element_at(&link.from), graph.element_at(&link.to));
        let (Some(from), Some(to)) = ends else {
            continue;
        };
        let one_way = [from, to].map(|index| is_one_way(&graph.elements[index]));
        if one_way.contains(&false) {
            continue;
        }
        if leads(&before, to, from) {
            let [first, last] = [to, from].map(|index| &graph.elements[index].factory.text);
            let message = format!("this link leads in a circle: {first} feeds {last}");
            let error = texts.error(link.span, message);
            return Some(error.help(format!("take out what leads back to {first}")));
        }
        before.push((from, to));
    }
    None
}

/// Whether links lead from one element to another, or it is the same.
fn leads(links: &[(usize, usize)], from: usize, to: usize) -> bool {
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(&element) = reached.get(at) {
        if element == to {
            return true;
        }
        for (_, next) in links.iter().filter(|(from, _)| *from == element) {
            if !reached.contains(next) {
                reached.push(*next);
            }
        }
        at += 1;
    }
    false
}

/// Whether all that goes into an element comes out of every pad, as it does not where each pad has
/// its partner (`multiqueue`, `rtpbin`).
fn is_one_way(element: &Element) -> bool {
    has_always(element, gst::PadDirection::Sink) || has_always(element, gst::PadDirection::Src)
}

/// Whether an element has a pad of that direction from the beginning.
pub(super) fn has_always(element: &Element, direction: gst::PadDirection) -> bool {
    let templates = factory(element).map(|factory| templates(&factory, direction));
    let mut always = templates.iter().flatten();
    always.any(|template| template.presence() == gst::PadPresence::Always)
}
