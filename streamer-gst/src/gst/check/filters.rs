//! Caps between two elements that one of them does not give or take.

use gstreamer as gst;

use super::caps::{self, field, parts};
use super::elements::is_a;
use super::links::{Side, some_medias, templates};
use crate::description::syntax::Element;
use crate::description::{Diagnostic, Texts, Word, nearest};

/// Why one side of a link excludes the caps on it.
pub(super) fn unfit_filter(
    texts: &Texts,
    word: &Word,
    filter: &gst::Caps,
    side: &Side<'_>,
) -> Diagnostic {
    let name = &side.element.factory.text;
    let verb = side.verb();
    // The field that is to blame, if without it all would be well.
    let (media, fields) = parts(&word.text);
    for field in fields.clone() {
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
            let by =
                caps::field(field_name).map(|field| field.converter(&word.text[media.clone()]));
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
    let verb = side.verb();
    let name = &side.element.factory.text;
    outside.then(|| format!("{name} {verb} {field} from {low} to {high}"))
}

/// Caps that what a file holds seldom meets, behind an element that gives it as it is.
pub(super) fn unlikely_filter(texts: &Texts, word: &Word, from: &Element) -> Option<Diagnostic> {
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
