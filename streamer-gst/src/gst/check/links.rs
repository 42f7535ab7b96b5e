//! Links that cannot be: a missing `!`, a pad that is not there, caps that exclude each other.

use gst::prelude::*;
use gstreamer as gst;

use super::caps::{faults, field, parse};
use super::elements::{factory, is_a};
use super::feeding::has_always;
use super::filters::{unfit_filter, unlikely_filter};
use super::outputs::{carried, hands_on};
use crate::description::syntax::{Element, End, Graph, Link, Node};
use crate::description::{Description, Diagnostic, Texts, Word, nearest};

/// Most media types in a message.
const MAX_MEDIAS: usize = 5;
/// Longest list of values in a message, in bytes.
const MAX_VALUES: usize = 40;

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let (texts, graph) = (&description.texts, &description.graph);
    let mut diagnostics: Vec<_> = graph
        .breaks
        .iter()
        .filter_map(|(before, after)| missing_link(texts, graph, (*before)?, *after))
        .collect();
    for link in &graph.links {
        match check_link(texts, graph, link) {
            Ok(()) => {}
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    diagnostics
}

/// Two elements in a row of which the first gives to nobody and the second gets from nobody.
fn missing_link(texts: &Texts, graph: &Graph, before: usize, after: usize) -> Option<Diagnostic> {
    let linked = |index: usize, from: bool| {
        graph
            .links
            .iter()
            .any(|link| graph.element_at(if from { &link.from } else { &link.to }) == Some(index))
    };
    let (first, second) = (&graph.elements[before], &graph.elements[after]);
    // A ! that hangs on a value is told as such.
    let glued = first.properties.iter().any(|p| p.value.text.ends_with('!'));
    if glued || first.is_output() || linked(before, true) || linked(after, false) {
        return None;
    }
    if !has_always(first, gst::PadDirection::Src) || !has_always(second, gst::PadDirection::Sink) {
        return None;
    }
    let (first, name) = (&first.factory.text, &second.factory.text);
    let message = format!("there is no ! between {first} and {name}");
    Some(
        texts
            .error(second.factory.span, message)
            .help(format!("write ! {name}")),
    )
}

pub(super) fn templates(
    factory: &gst::ElementFactory,
    direction: gst::PadDirection,
) -> Vec<gst::StaticPadTemplate> {
    let all = factory.static_pad_templates();
    let wanted = all
        .iter()
        .filter(|template| template.direction() == direction);
    let mut templates: Vec<_> = wanted.cloned().collect();
    // Their order changes when the plug-in gets loaded.
    templates.sort_by_key(gst::StaticPadTemplate::name_template);
    templates
}

fn check_link(texts: &Texts, graph: &Graph, link: &Link) -> Result<(), Diagnostic> {
    let Some(from) = side(texts, graph, &link.from, gst::PadDirection::Src)? else {
        return Ok(());
    };
    let Some(to) = side(texts, graph, &link.to, gst::PadDirection::Sink)? else {
        return Ok(());
    };
    if link.caps.as_ref().is_some_and(|caps| caps.unknown) {
        return Ok(());
    }
    let filter = link
        .caps
        .as_ref()
        .and_then(|word| Some((word, parse(word)?)));
    // Told already, and what would be told here follows from it.
    let wrong = |(word, _): &(&Word, _)| faults(texts, word).iter().any(Diagnostic::is_error);
    if filter.as_ref().is_some_and(wrong) {
        return Ok(());
    }
    let Some((word, filter)) = filter else {
        let from = above(graph, link, from);
        if from.caps.can_intersect(&to.caps) {
            return Ok(());
        }
        return Err(misfit(texts, link, &from, &to));
    };
    for side in [&from, &to] {
        if !side.caps.can_intersect(&filter) {
            return Err(unfit_filter(texts, word, &filter, side));
        }
    }
    unlikely_filter(texts, word, from.element).map_or(Ok(()), Err)
}

/// What an element gives or takes at its end of a link.
pub(super) struct Side<'a> {
    pub(super) element: &'a Element,
    pub(super) factory: gst::ElementFactory,
    pub(super) direction: gst::PadDirection,
    pub(super) caps: gst::Caps,
}

impl Side<'_> {
    pub(super) fn verb(&self) -> &'static str {
        match self.direction {
            gst::PadDirection::Src => "gives",
            _ => "takes",
        }
    }
}

/// What is behind tees and queues in the place of those.
fn above<'a>(graph: &'a Graph, link: &Link, from: Side<'a>) -> Side<'a> {
    let index = graph.element_at(&link.from);
    let index = index.filter(|_| hands_on(from.element) && from.caps.is_any());
    let deciding = index.and_then(|index| carried(graph, index));
    let found = deciding.and_then(|carried| {
        let element = carried.element?;
        Some((element, factory(element)?, carried.caps))
    });
    match found {
        Some((element, factory, caps)) => Side {
            element,
            factory,
            caps,
            ..from
        },
        None => from,
    }
}

/// Nothing when it depends on more than is known.
fn side<'a>(
    texts: &Texts,
    graph: &'a Graph,
    end: &End,
    direction: gst::PadDirection,
) -> Result<Option<Side<'a>>, Diagnostic> {
    let found = graph.element_at(end).map(|index| &graph.elements[index]);
    let Some((element, factory)) = found.and_then(|e| Some((e, factory(e)?))) else {
        return Ok(None);
    };
    let name = &element.factory.text;
    let all = factory.static_pad_templates();
    // Bins have the pads of what is in them.
    if all.is_empty() || is_a(&factory, "Bin") && name == "bin" {
        return Ok(None);
    }
    let mut templates = templates(&factory, direction);
    if templates.is_empty() {
        let (message, help) = match direction {
            gst::PadDirection::Src => (
                format!("{name} gives nothing that could be linked"),
                "put a tee before it, and link that",
            ),
            _ => (
                format!("{name} takes nothing, it is a source"),
                "take the ! before it out",
            ),
        };
        let span = match &end.node {
            Node::Named(name) => name.span,
            _ => element.factory.span,
        };
        return Err(texts.error(span, message).help(help));
    }
    if let Some(pad) = &end.pad {
        templates.retain(|template| fits(template.name_template(), &pad.text));
        if templates.is_empty() {
            return Err(unknown_pad(texts, element, pad, &factory, direction));
        }
    }
    let mut caps = gst::Caps::new_empty();
    for template in &templates {
        caps.merge(template.caps());
    }
    Ok(Some(Side {
        element,
        factory,
        direction,
        caps,
    }))
}

/// Whether `video_0` may be a pad of the template `video_%u`.
pub(super) fn fits(template: &str, pad: &str) -> bool {
    let mut rest = pad;
    for (index, part) in template.split('%').enumerate() {
        let fixed = match index {
            0 => part,
            // The letter of the format, and what follows.
            _ => {
                let filled = |c: char| c.is_ascii_alphanumeric();
                rest = match part.starts_with('s') {
                    true => "",
                    false => rest.trim_start_matches(filled),
                };
                part.get(1..).unwrap_or_default()
            }
        };
        match rest.strip_prefix(fixed) {
            Some(left) => rest = left,
            None => return rest.is_empty(),
        }
    }
    rest.is_empty()
}

fn unknown_pad(
    texts: &Texts,
    element: &Element,
    pad: &Word,
    factory: &gst::ElementFactory,
    direction: gst::PadDirection,
) -> Diagnostic {
    let names: Vec<String> = templates(factory, direction)
        .iter()
        .map(|template| template.name_template().to_owned())
        .collect();
    let name = &element.factory.text;
    let message = format!("{name} has no pad \"{}\"", pad.text);
    let help = nearest::did_you_mean(&pad.text, names.iter().map(String::as_str))
        .unwrap_or_else(|| format!("it has {}", names.join(", ")));
    texts.error(pad.span, message).help(help)
}

/// The media types of caps, each once.
pub(super) fn medias(caps: &gst::Caps) -> Vec<String> {
    let mut medias: Vec<String> = Vec::new();
    for structure in caps.iter() {
        let name = structure.name().to_string();
        if !medias.contains(&name) {
            medias.push(name);
        }
    }
    medias
}

/// The first of the media types of caps.
pub(super) fn some_medias(caps: &gst::Caps) -> Vec<String> {
    if caps.is_any() {
        return vec!["anything".to_owned()];
    }
    let mut medias = medias(caps);
    if medias.len() > MAX_MEDIAS {
        medias.truncate(MAX_MEDIAS);
        medias.push("…".to_owned());
    }
    medias
}

fn misfit(texts: &Texts, link: &Link, from: &Side<'_>, to: &Side<'_>) -> Diagnostic {
    let (gives, takes) = (some_medias(&from.caps), some_medias(&to.caps));
    let (first, second) = (&from.element.factory.text, &to.element.factory.text);
    if let Some(diagnostic) = differing_field(texts, link, from, to) {
        return diagnostic;
    }
    let message = format!(
        "{first} gives {}, and {second} takes {}",
        gives.join(", "),
        takes.join(", ")
    );
    let all = |medias: &[String], start: &str| medias.iter().all(|m| m.starts_with(start));
    let raw = |medias: &[String]| medias.iter().any(|m| m.ends_with("/x-raw"));
    let rtp = |medias: &[String]| medias.iter().any(|m| m.starts_with("application/x-rtp"));
    let help = if all(&gives, "video/") && all(&takes, "audio/")
        || all(&gives, "audio/") && all(&takes, "video/")
    {
        "keep picture and sound in branches of their own".to_owned()
    } else if [from, to].iter().all(|side| is_a(&side.factory, "Encoder")) {
        format!("take one of the two encoders out, or put a tee before {first} for {second}")
    } else if rtp(&gives) {
        format!("put {} before {second}", depayloader(&takes))
    } else if rtp(&takes) && raw(&gives) {
        "an encoder goes before a payloader, and no payloader into a description".to_owned()
    } else if raw(&takes) {
        format!("put decodebin before {second}")
    } else if raw(&gives) {
        match is_a(&to.factory, "Decoder") || is_a(&to.factory, "Parser") {
            true => format!("take {second} out, for {first} gives raw media"),
            false => format!("put an encoder before {second}, as vp8enc or opusenc"),
        }
    } else {
        "put an element in between that makes the one of the other".to_owned()
    };
    texts.error(link.span.to(link.span), message).help(help)
}

/// The first field of the same media type of which two elements have no value in common.
fn differing_field(
    texts: &Texts,
    link: &Link,
    from: &Side<'_>,
    to: &Side<'_>,
) -> Option<Diagnostic> {
    let mut pairs = from.caps.iter().flat_map(|gives| {
        let takes = to.caps.iter();
        let same = takes.filter(|takes| takes.name() == gives.name());
        same.map(move |takes| (gives, takes))
    });
    let (gives, takes, name) = pairs.find_map(|(gives, takes)| {
        let differs = |name: &&str| match (gives.value(*name), takes.value(*name)) {
            (Ok(gives), Ok(takes)) => gives.intersect(takes).is_none(),
            _ => false,
        };
        let names = gives.fields().map(|name| name.as_str());
        Some((gives, takes, names.into_iter().find(differs)?))
    })?;
    let media = gives.name().as_str();
    let values = |structure: &gst::StructureRef| {
        let value = structure.value(name).ok()?.serialize().ok()?;
        let mut value = value.replace("(string)", "").replace("(int)", "");
        if value.len() > MAX_VALUES {
            let end = value[..MAX_VALUES].rfind(',').unwrap_or(0);
            value.replace_range(end.., ", …");
        }
        Some(value)
    };
    let (first, second) = (&from.element.factory.text, &to.element.factory.text);
    let message = format!(
        "{first} gives {media},{name}={}, and {second} takes {name}={}",
        values(gives)?,
        values(takes)?
    );
    let by = field(name).map(|field| field.converter(media));
    let help = by.map(|by| format!("put {by} in between"));
    Some(texts.error(link.span, message).maybe_help(help))
}

/// What takes out of RTP what an element takes.
fn depayloader(takes: &[String]) -> String {
    let named = takes.iter().find_map(|media| {
        let name = format!("rtp{}depay", media.rsplit_once("x-")?.1);
        gst::ElementFactory::find(&name).map(|_| name)
    });
    named.unwrap_or_else(|| "the depayloader, as rtph264depay,".to_owned())
}
