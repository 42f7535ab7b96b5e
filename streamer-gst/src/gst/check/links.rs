//! Links that cannot be: a missing `!`, a pad that is not there, caps that exclude each other.

use gst::prelude::*;
use gstreamer as gst;

use super::caps::{faults, field, parse, parts};
use super::elements::{factory, is_a};
use super::feeding::has_always;
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
struct Side<'a> {
    element: &'a Element,
    factory: gst::ElementFactory,
    direction: gst::PadDirection,
    caps: gst::Caps,
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

fn unfit_filter(texts: &Texts, word: &Word, filter: &gst::Caps, side: &Side<'_>) -> Diagnostic {
    let name = &side.element.factory.text;
    let verb = match side.direction {
        gst::PadDirection::Src => "gives",
        _ => "takes",
    };
    // The field that is to blame, if without it all would be well.
    let (media, fields) = parts(&word.text);
    for field in fields {
        let text = &word.text[field.clone()];
        let field_name = text.split('=').next().unwrap_or_default().trim();
        let mut without = filter.clone();
        for structure in without.make_mut().iter_mut() {
            structure.remove_field(field_name);
        }
        if side.caps.can_intersect(&without) {
            let message = format!("{name} {verb} nothing with {}", text.trim());
            let start = field.start + text.len() - text.trim_start().len();
            let span = word.span_of(start..start + text.trim().len());
            let by = self::field(field_name).map(|field| field.converter(&word.text[media]));
            let by = by.filter(|by| by != name && converts(by, &filter_of(field_name, filter)));
            let convert = match (by, side.direction) {
                (Some(by), gst::PadDirection::Sink) => format!("put {by} before {name}"),
                (Some(by), _) => format!("put ! {by} between {name} and these caps"),
                (None, _) => format!("gst-inspect-1.0 {name} lists what it {verb}"),
            };
            let help = values(&side.caps, field_name, text);
            let help = help.or_else(|| limits(side, field_name, filter));
            return texts.error(span, message).help(help.unwrap_or(convert));
        }
    }
    // Or the first of several, if it would not fit alone either.
    let (media, fields) = parts(&word.text);
    for field in fields {
        let text = word.text[field.clone()].split('=').next();
        let help = limits(side, text.unwrap_or_default().trim(), filter);
        if let Some(help) = help {
            let message = format!(
                "{name} {verb} nothing with {}",
                word.text[field.clone()].trim()
            );
            return texts.error(word.span_of(field), message).help(help);
        }
    }
    let span = word.span_of(media.clone());
    let message = format!("{name} {verb} no {}", &word.text[media]);
    let media = some_medias(&side.caps);
    let near = nearest::nearest(&word.text, media.iter().map(String::as_str));
    let gives = side.direction == gst::PadDirection::Src;
    let help = match near {
        Some(near) => format!("did you mean {near}?"),
        None if gives && is_a(&side.factory, "Encoder") && word.text.contains("/x-raw") => {
            format!("put these caps before {name}, with a ! on both sides")
        }
        None => format!("it {verb} {}", media.join(", ")),
    };
    texts.error(span, message).help(help)
}

/// Caps with no field but one.
fn filter_of(field: &str, filter: &gst::CapsRef) -> gst::Caps {
    let mut alone = filter.to_owned();
    for structure in alone.make_mut().iter_mut() {
        let names: Vec<String> = structure.fields().map(|name| name.to_string()).collect();
        for other in names.iter().filter(|name| *name != field) {
            structure.remove_field(other.as_str());
        }
    }
    alone
}

/// Whether a converter, if it is there, gives such caps.
fn converts(by: &str, filter: &gst::CapsRef) -> bool {
    let factory = gst::ElementFactory::find(by);
    factory.is_none_or(|factory| {
        let templates = templates(&factory, gst::PadDirection::Src);
        templates
            .iter()
            .any(|template| template.caps().can_intersect(filter))
    })
}

/// What a number in caps may be at one side of a link, if it is outside of that.
fn limits(side: &Side<'_>, field: &str, filter: &gst::CapsRef) -> Option<String> {
    let wanted = filter.structure(0)?.get::<i32>(field).ok()?;
    let mut ranges = side.caps.iter().filter_map(|structure| {
        let range = structure.get::<gst::IntRange<i32>>(field).ok()?;
        Some((range.min(), range.max()))
    });
    let (low, high) = ranges.next()?;
    let outside = !(low..=high).contains(&wanted);
    let verb = match side.direction {
        gst::PadDirection::Src => "gives",
        _ => "takes",
    };
    let name = &side.element.factory.text;
    outside.then(|| format!("{name} {verb} {field} from {low} to {high}"))
}

/// Caps that what a file holds seldom meets, behind an element that gives it as it is.
fn unlikely_filter(texts: &Texts, word: &Word, from: &Element) -> Option<Diagnostic> {
    let name = from.factory.text.as_str();
    let decodes = matches!(
        name,
        "decodebin" | "decodebin3" | "uridecodebin" | "uridecodebin3"
    );
    if !decodes || from.property("caps").is_some() {
        return None;
    }
    let (media, fields) = parts(&word.text);
    let media_type = &word.text[media.clone()];
    if !media_type.ends_with("/x-raw") {
        let message = format!("{name} decodes, and {media_type} is gone behind it");
        let parse = name
            .replace("decodebin3", "parsebin")
            .replace("decodebin", "parsebin");
        let parse = parse.replace("uriparsebin", "urisourcebin ! parsebin");
        return Some(
            texts
                .warning(word.span_of(media), message)
                .help(format!("write {parse} in the place of {name}")),
        );
    }
    fields.into_iter().find_map(|range| {
        let text = &word.text[range.clone()];
        let field = field(text.split('=').next()?.trim())?;
        let by = field.converter(media_type);
        let start = range.end - text.trim_start().len();
        let message = format!("{name} changes nothing, it gives what the file has");
        let warning = texts.warning(word.span_of(start..start + text.trim().len()), message);
        Some(warning.help(format!("put ! {by} between {name} and these caps")))
    })
}

/// The nearest of the texts that a field may have.
fn values(caps: &gst::Caps, field: &str, text: &str) -> Option<String> {
    let wanted = text.split('=').nth(1)?.trim();
    let mut values: Vec<String> = Vec::new();
    for structure in caps.iter() {
        let Ok(value) = structure.value(field) else {
            continue;
        };
        if let Ok(list) = value.get::<gst::List>() {
            values.extend(list.iter().filter_map(|v| v.get::<String>().ok()));
        } else if let Ok(one) = value.get::<String>() {
            values.push(one);
        }
    }
    if values.iter().any(|value| value == wanted) {
        return Some(format!("it is a text: write '{field}=(string){wanted}'"));
    }
    nearest::did_you_mean(wanted, values.iter().map(String::as_str))
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
fn some_medias(caps: &gst::Caps) -> Vec<String> {
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
