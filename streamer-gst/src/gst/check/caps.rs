//! Caps between two `!` that cannot be read, or say something else than was meant.

use std::ops::Range;
use std::str::FromStr;

use gstreamer as gst;

use crate::description::nearest::did_you_mean;
use crate::description::{Description, Diagnostic, Texts, Word};

/// Fields of raw media, and what type theirs is.
const FIELDS: [(&str, &str); 12] = [
    ("width", "int"),
    ("height", "int"),
    ("framerate", "fraction"),
    ("pixel-aspect-ratio", "fraction"),
    ("format", "string"),
    ("rate", "int"),
    ("channels", "int"),
    ("layout", "string"),
    ("interlace-mode", "string"),
    ("colorimetry", "string"),
    ("chroma-site", "string"),
    ("channel-mask", "bitmask"),
];

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let caps = description
        .graph
        .links
        .iter()
        .filter_map(|link| link.caps.as_ref());
    caps.flat_map(|caps| faults(&description.texts, caps))
        .collect()
}

/// What is wrong with some caps in themselves.
pub(super) fn faults(texts: &Texts, caps: &Word) -> Vec<Diagnostic> {
    if caps.unknown {
        return Vec::new();
    }
    if caps.text.ends_with(' ') {
        let message = "these caps end with a blank, which GStreamer does not take";
        let error = texts.error(caps.span, message);
        return vec![error.help("take the blank before the closing quote out")];
    }
    match unreadable(texts, caps) {
        Some(fault) => vec![fault],
        None => wrong_fields(texts, caps),
    }
}

/// Caps that GStreamer can read.
pub(super) fn parse(caps: &Word) -> Option<gst::Caps> {
    gst::Caps::from_str(&caps.argument()).ok()
}

fn unreadable(texts: &Texts, caps: &Word) -> Option<Diagnostic> {
    if parse(caps).is_some() {
        return None;
    }
    let (media, fields) = parts(&caps.text);
    for field in fields {
        let text = caps.text[field.clone()].trim();
        let alone = format!("{},{text}", &caps.text[media.clone()]);
        if text.is_empty() || gst::Caps::from_str(&alone).is_err() {
            let place = match trimmed(&caps.text, field.clone()) {
                // The comma before it.
                empty if empty.is_empty() => field.start - 1..field.start,
                place => place,
            };
            let span = caps.span_of(place);
            let (message, help) = match text {
                "" => ("there is a comma too many", "take one out"),
                _ if !text.contains('=') && text.contains(' ') => (
                    "there is no ! after the caps",
                    "put a ! between caps and element",
                ),
                _ if !text.contains('=') => {
                    ("this field of the caps has no value", "write name=value")
                }
                _ => ("this field of the caps cannot be read", "write name=value"),
            };
            return Some(texts.error(span, message).help(help));
        }
    }
    let (message, help) = (
        "these caps cannot be read",
        "write video/x-raw,width=640,height=360",
    );
    Some(texts.error(caps.span, message).help(help))
}

/// Fields with a value of a type that never fits, and unknown ones.
fn wrong_fields(texts: &Texts, caps: &Word) -> Vec<Diagnostic> {
    let (media, fields) = parts(&caps.text);
    let media = &caps.text[media];
    let mut diagnostics = Vec::new();
    for field in fields {
        let text = &caps.text[field.clone()];
        let Some((name, value)) = text.split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        let known = FIELDS.iter().find(|(field, _)| *field == name);
        let Some((_, wanted)) = known else {
            let raw = matches!(media, "video/x-raw" | "audio/x-raw");
            let names = FIELDS.iter().map(|(name, _)| *name);
            if let Some(help) = did_you_mean(name, names).filter(|_| raw) {
                let span = caps.span_of(trimmed(&caps.text, field));
                let message = format!("{media} has no field \"{name}\", and nothing looks at it");
                diagnostics.push(texts.warning(span, message).help(help));
            }
            continue;
        };
        // Lists, ranges and stated types are their writer's business.
        if value.starts_with(['{', '[', '(']) {
            continue;
        }
        let number = value.bytes().all(|b| b.is_ascii_digit());
        let fraction = value.contains('/') || value == "max" || value == "min";
        let start = field.end
            - text
                .split_once('=')
                .map_or(0, |(_, v)| v.trim_start().len());
        let span = caps.span_of(trimmed(&caps.text, start..field.end));
        let error = match *wanted {
            "fraction" if number => Some((
                format!("{name} is a fraction, not a whole number"),
                format!("write {name}={value}/1"),
            )),
            "fraction" if !fraction => Some((
                format!("{name} is a fraction, not \"{value}\""),
                format!("write it as {name}=30/1"),
            )),
            "int" if !number => Some((
                format!("{name} is a whole number, not \"{value}\""),
                format!("write it as {name}=640"),
            )),
            _ => None,
        };
        diagnostics.extend(error.map(|(message, help)| texts.error(span, message).help(help)));
    }
    diagnostics
}

/// The ranges of media type and fields in the first structure of caps.
pub(super) fn parts(caps: &str) -> (Range<usize>, Vec<Range<usize>>) {
    let mut parts = Vec::new();
    let (mut depth, mut quoted, mut start) = (0_usize, false, 0);
    let mut end = caps.len();
    for (at, character) in caps.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '{' | '[' | '(' | '<' if !quoted => depth += 1,
            '}' | ']' | ')' | '>' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                parts.push(start..at);
                start = at + 1;
            }
            ';' if !quoted && depth == 0 => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    parts.push(start..end);
    let media = trimmed(caps, parts.remove(0));
    (media, parts)
}

/// A range without the blanks at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start().len();
    start..start + part.trim().len()
}
