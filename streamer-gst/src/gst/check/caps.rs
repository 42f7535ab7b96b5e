//! Caps between two `!` that cannot be read, or say something else than was meant.

use std::ops::Range;
use std::str::FromStr;

use gstreamer as gst;

use super::values::parameter;
use crate::description::nearest::did_you_mean;
use crate::description::{Description, Diagnostic, Texts, Word};

/// A field of raw media.
#[derive(Debug)]
pub(super) struct Field {
    name: &'static str,
    /// What type its values have.
    kind: &'static str,
    /// The only media type that has it, if there is only one.
    pub(super) media: &'static str,
    /// What changes it; of both media types, that of pictures.
    by: &'static str,
}

const FIELDS: [Field; 12] = {
    const VIDEO: &str = "video/x-raw";
    const AUDIO: &str = "audio/x-raw";
    const fn of(
        name: &'static str,
        kind: &'static str,
        media: &'static str,
        by: &'static str,
    ) -> Field {
        Field {
            name,
            kind,
            media,
            by,
        }
    }
    [
        of("width", "int", VIDEO, "videoscale"),
        of("height", "int", VIDEO, "videoscale"),
        of("framerate", "fraction", VIDEO, "videorate"),
        of("pixel-aspect-ratio", "fraction", VIDEO, "videoscale"),
        of("format", "string", "", "videoconvert"),
        of("rate", "int", AUDIO, "audioresample"),
        of("channels", "int", AUDIO, "audioconvert"),
        of("layout", "string", AUDIO, "audioconvert"),
        of("interlace-mode", "string", VIDEO, "deinterlace"),
        of("colorimetry", "string", VIDEO, "videoconvert"),
        of("chroma-site", "string", VIDEO, "videoconvert"),
        of("channel-mask", "bitmask", AUDIO, "audioconvert"),
    ]
};

/// What people write for fields.
const ALIASES: [(&str, &str); 6] = [
    ("fps", "framerate"),
    ("resolution", "width"),
    ("size", "width"),
    ("samplerate", "rate"),
    ("sample-rate", "rate"),
    ("pixel-format", "format"),
];

/// Formats as ffmpeg calls them.
const FORMATS: [(&str, &str); 26] = [
    ("yuv420p", "I420"),
    ("yuvj420p", "I420"),
    ("yuv422p", "Y42B"),
    ("yuvj422p", "Y42B"),
    ("yuv444p", "Y444"),
    ("yuvj444p", "Y444"),
    ("yuv420p10le", "I420_10LE"),
    ("yuyv422", "YUY2"),
    ("yuyv", "YUY2"),
    ("uyvy422", "UYVY"),
    ("nv12", "NV12"),
    ("nv21", "NV21"),
    ("p010le", "P010_10LE"),
    ("rgb24", "RGB"),
    ("bgr24", "BGR"),
    ("rgba", "RGBA"),
    ("bgra", "BGRA"),
    ("argb", "ARGB"),
    ("rgb0", "RGBx"),
    ("bgr0", "BGRx"),
    ("gray", "GRAY8"),
    ("u8", "U8"),
    ("s16le", "S16LE"),
    ("s24le", "S24LE"),
    ("s32le", "S32LE"),
    ("f32le", "F32LE"),
];

/// Media types of GStreamer 0.10, and how the like is written.
const OLD: [(&str, &str); 4] = [
    ("video/x-raw-yuv", "video/x-raw,format=I420"),
    ("video/x-raw-rgb", "video/x-raw,format=RGB"),
    ("audio/x-raw-int", "audio/x-raw,format=S16LE"),
    ("audio/x-raw-float", "audio/x-raw,format=F32LE"),
];

/// The field of raw media of that name.
pub(super) fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

impl Field {
    /// A media type that has it.
    pub(super) fn media_or_video(&self) -> &'static str {
        if self.media.is_empty() {
            "video/x-raw"
        } else {
            self.media
        }
    }

    /// The element that changes it in media of this type.
    pub(super) fn converter(&self, media: &str) -> &'static str {
        match media.starts_with("audio/") && self.media.is_empty() {
            true => "audioconvert",
            false => self.by,
        }
    }
}

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
    if let Some(at) = blank(texts, caps) {
        let error = texts.error(caps.span_of(at..at + 1), "GStreamer takes no blank here");
        return vec![error.help(format!("write '{}'", caps.text.replace(' ', "")))];
    }
    let (media, _) = parts(&caps.text);
    let old = OLD
        .iter()
        .find(|(old, _)| *old == &caps.text[media.clone()]);
    if let Some((old, now)) = old {
        let error = texts.error(caps.span_of(media), format!("{old} is of GStreamer 0.10"));
        return vec![error.help(format!("write {now}"))];
    }
    match unreadable(texts, caps) {
        Some(fault) => vec![fault],
        None => wrong_fields(texts, caps),
    }
}

/// A blank in quotes where gst-launch, which keeps it apart with a `\`, does not read on: behind a
/// `;`, beside a `=`, and in a list.
fn blank(texts: &Texts, caps: &Word) -> Option<usize> {
    if !texts.slice(caps.span).contains(['\'', '"', '\\']) {
        return None;
    }
    let mut depth = 0_usize;
    let mut last = ' ';
    caps.text.char_indices().find_map(|(at, character)| {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ' ' if depth > 0 || matches!(last, ';' | '=') => return Some(at),
            ' ' if caps.text[at..].trim_start().starts_with('=') => return Some(at),
            _ => {}
        }
        last = character;
        None
    })
}

/// Caps that GStreamer can read.
pub(super) fn parse(caps: &Word) -> Option<gst::Caps> {
    read(&caps.argument())
}

/// Caps in a text. What GStreamer would grumble about by itself is not handed to it: media types
/// of 0.10, and names that begin with no letter.
pub(super) fn read(text: &str) -> Option<gst::Caps> {
    if OLD.iter().any(|(old, _)| text.starts_with(old)) {
        return None;
    }
    let mut quoted = false;
    let named = text.split(';').all(|part| {
        let first = part.trim_start().chars().next();
        let named = quoted || first.is_none_or(|first| first.is_ascii_alphabetic());
        quoted ^= part.matches('"').count() % 2 == 1;
        named
    });
    named.then(|| gst::Caps::from_str(text).ok()).flatten()
}

fn unreadable(texts: &Texts, caps: &Word) -> Option<Diagnostic> {
    if parse(caps).is_some() {
        return None;
    }
    let (media, fields) = parts(&caps.text);
    for field in fields {
        let text = caps.text[field.clone()].trim();
        let alone = format!("{},{text}", &caps.text[media.clone()]);
        if text.is_empty() || read(&alone).is_none() {
            let place = match trimmed(&caps.text, field.clone()) {
                // The comma before it.
                empty if empty.is_empty() => field.start - 1..field.start,
                place => place,
            };
            let span = caps.span_of(place);
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            if let Some(parameter) = parameter(value) {
                let error = texts.error(span, format!("{value} is no parameter"));
                return Some(error.help(format!("write {name}={parameter}")));
            }
            if let Some(format) = value.strip_prefix("(fourcc)") {
                let error = texts.error(span, "fourcc is of GStreamer 0.10");
                return Some(error.help(format!("write {name}={format}")));
            }
            let (message, help) = match text {
                "" => ("there is a comma too many", "take one out"),
                _ if !text.contains('=') && text.contains(' ') => (
                    "there is no ! after the caps",
                    "put a ! between caps and element",
                ),
                _ if !text.contains('=') => {
                    ("this field of the caps has no value", "write name=value")
                }
                _ if value.is_empty() => {
                    let error = texts.error(span, format!("{name} has no value"));
                    return Some(error.help(example(name)));
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
        let Some(wanted) = self::field(name).map(|field| field.kind) else {
            let raw = matches!(media, "video/x-raw" | "audio/x-raw");
            let names = FIELDS.iter().map(|field| field.name);
            let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
            let help = alias.map(|(_, now)| written(now, value));
            if let Some(help) = help.or_else(|| did_you_mean(name, names)).filter(|_| raw) {
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
        let format = FORMATS.iter().find(|(other, _)| *other == value);
        let error = match wanted {
            "string" if name == "format" && format.is_some() => format.map(|(_, now)| {
                let message = format!("format has no value {value}");
                (message, format!("write format={now}"))
            }),
            "fraction" if number => Some((
                format!("{name} is a fraction, not a whole number"),
                format!("write {name}={value}/1"),
            )),
            "fraction" if !fraction || value.contains('.') => Some((
                format!("{name} is a fraction, not \"{value}\""),
                written(name, value),
            )),
            "int" if !number => Some((
                format!("{name} is a whole number, not \"{value}\""),
                written(name, value),
            )),
            _ => None,
        };
        diagnostics.extend(error.map(|(message, help)| texts.error(span, message).help(help)));
    }
    diagnostics
}

/// A value of a field as it should have been written.
fn written(name: &str, value: &str) -> String {
    let right = match field(name).map(|field| field.kind) {
        Some("fraction") => rate(value).map(|rate| format!("write {name}={rate}")),
        Some("int") => size(name, value),
        _ => Some(format!("write {name}={value}")),
    };
    right.unwrap_or_else(|| example(name))
}

/// A right value of a field.
fn example(name: &str) -> String {
    match field(name).map(|field| field.kind) {
        Some("fraction") => format!("write it as {name}=30/1"),
        Some("int") if name == "rate" => format!("write it as {name}=48000"),
        Some("int") if name == "channels" => format!("write it as {name}=2"),
        Some("int") => format!("write it as {name}=640"),
        _ => format!("write {name}=VALUE without blanks"),
    }
}

/// The fraction for `29.97`, `30fps` or `29.97/1`.
fn rate(value: &str) -> Option<String> {
    let number = value.strip_suffix("/1").unwrap_or(value);
    let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
    let rate: f64 = number
        .parse()
        .ok()
        .filter(|rate| (0.0..1e6).contains(rate))?;
    let fraction = if rate.fract() == 0.0 {
        format!("{rate}/1")
    } else if ((rate * 1.001).round() - rate * 1.001).abs() < 0.01 {
        // Television counts 30 frames in 1.001 seconds.
        format!("{}/1001", (rate * 1.001).round() * 1000.0)
    } else {
        format!("{}/1000", (rate * 1000.0).round())
    };
    Some(fraction)
}

/// `1920x1080` as two fields, `640px` as a number.
fn size(name: &str, value: &str) -> Option<String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    match value.split_once(['x', 'X', '×', '*']) {
        Some((width, height)) if digits(width) && digits(height) => {
            Some(format!("write width={width},height={height}"))
        }
        _ => digits(number).then(|| format!("write {name}={number}")),
    }
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
