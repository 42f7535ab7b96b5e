//! Where in a running pipeline no format was found: between what comes that far and what is wanted
//! from there on.

use gst::prelude::*;
use gstreamer as gst;

use super::{Names, pipeline_of};
use crate::description::syntax::Link;
use crate::description::{Diagnostic, Span, Word};
use crate::gst::check::caps::{parse, parts};
use crate::gst::check::elements::{factory, is_a};
use crate::gst::check::links::{medias, templates};

/// A link of the description in the running pipeline.
struct Joint<'a> {
    link: &'a Link,
    from: usize,
    to: usize,
    /// What comes from the first element, or could.
    given: gst::Caps,
    /// The last push through it found no format.
    failed: bool,
    linked: bool,
}

/// The first link, on the way of the data that failed, that no format passes.
///
/// It is looked for from where data came last, downstream: an element refuses what comes because
/// of caps that may stand far below it. `unlinked` tells that the source found nobody to give to.
pub(super) fn explain(names: &Names, source: &gst::Object, unlinked: bool) -> Option<Diagnostic> {
    let pipeline = pipeline_of(source)?;
    let links = names.description.graph.links.iter();
    let joints = links.filter_map(|link| joint(names, &pipeline, link));
    let joints: Vec<_> = joints.collect();
    let failed = |index: usize| {
        joints
            .iter()
            .any(|joint| joint.from == index && joint.failed)
    };
    let deepest = joints
        .iter()
        .find(|joint| joint.failed && !failed(joint.to))
        .filter(|_| !unlinked);
    let way = Way {
        names,
        joints: &joints,
    };
    if let Some(joint) = deepest {
        let parted = way.follow(joint, joint.given.clone(), 0);
        return Some(parted.unwrap_or_else(|| unknown(names, joint)));
    }
    let begin = names.element_of(Some(source))?;
    let mut first = joints
        .iter()
        .filter(|joint| joint.from == begin && joint.linked != unlinked);
    first.find_map(|joint| way.follow(joint, joint.given.clone(), 0))
}

fn joint<'a>(names: &Names, pipeline: &gst::Bin, link: &'a Link) -> Option<Joint<'a>> {
    let graph = &names.description.graph;
    let (from, to) = (graph.element_at(&link.from)?, graph.element_at(&link.to)?);
    let first = names.running(pipeline, from)?;
    let second = names.running(pipeline, to)?;
    let pads = first.src_pads();
    let linked = pads.iter().find(|pad| leads_to(names, pad, &second));
    let offered = |pad: &gst::Pad| pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let given = match linked {
        Some(pad) => offered(pad),
        None => {
            let mut given = gst::Caps::new_empty();
            for pad in pads.iter().filter(|pad| !pad.is_linked()) {
                given.merge(offered(pad));
            }
            given
        }
    };
    let fails = |pad: &gst::Pad| pad.last_flow_result() == Err(gst::FlowError::NotNegotiated);
    Some(Joint {
        link,
        from,
        to,
        given,
        failed: linked.is_some_and(fails),
        linked: linked.is_some(),
    })
}

/// The links that data may take.
struct Way<'a> {
    names: &'a Names,
    joints: &'a [Joint<'a>],
}

impl Way<'_> {
    /// Goes down from a link with what is given there, to the first link that it does not pass.
    fn follow(&self, joint: &Joint<'_>, given: gst::Caps, depth: usize) -> Option<Diagnostic> {
        // A loop of links would be endless.
        if given.is_empty() || depth > self.joints.len() {
            return None;
        }
        let wanted = wanted(self.names, joint);
        if let Some(wanted) = wanted.iter().find(|w| !given.can_intersect(&w.caps)) {
            return Some(misfit(self.names, joint, &given, wanted));
        }
        let mut passed = given;
        for wanted in &wanted {
            passed = passed.intersect(&wanted.caps);
        }
        let free = changes(&self.names.element(joint.to).factory.text);
        for structure in passed.make_mut().iter_mut() {
            structure.remove_fields(free.unwrap_or_default().iter().copied());
        }
        let mut next = self.joints.iter().filter(|next| next.from == joint.to);
        next.find_map(|next| {
            let given = if free.is_some() { &passed } else { &next.given };
            self.follow(next, given.clone(), depth + 1)
        })
    }
}

/// What an element changes in what it hands on; none where that is not so simple.
fn changes(factory: &str) -> Option<&'static [&'static str]> {
    Some(match factory {
        "videoconvert" => &["format", "colorimetry", "chroma-site"],
        "videoscale" => &["width", "height", "pixel-aspect-ratio"],
        "videoconvertscale" => &[
            "format",
            "colorimetry",
            "chroma-site",
            "width",
            "height",
            "pixel-aspect-ratio",
        ],
        "videorate" => &["framerate"],
        "deinterlace" => &["interlace-mode", "field-order", "framerate"],
        "videocrop" | "videobox" | "videoflip" => &["width", "height"],
        "audioconvert" => &["format", "channels", "layout", "channel-mask"],
        "audioresample" => &["rate", "format", "layout"],
        "queue" | "queue2" | "tee" | "identity" | "valve" | "capsfilter" | "clocksync"
        | "timeoverlay" | "textoverlay" | "clockoverlay" | "volume" | "level" | "audiorate"
        | "videobalance" => &[],
        _ => return None,
    })
}

/// Whether a pad is linked to an element, with nothing but caps of the description in between.
fn leads_to(names: &Names, pad: &gst::Pad, element: &gst::Element) -> bool {
    let next = pad.peer().and_then(|peer| peer.parent_element());
    let Some(next) = next else { return false };
    if next == *element {
        return true;
    }
    let filter = next
        .factory()
        .is_some_and(|factory| factory.name() == "capsfilter");
    let ours = filter && names.index_of(&next).is_none();
    ours && next
        .src_pads()
        .iter()
        .any(|pad| leads_to(names, pad, element))
}

/// What is wanted at a link, and where that is written.
struct Wanted {
    caps: gst::Caps,
    /// The caps as they are written; none for what an element takes by itself.
    word: Option<Word>,
}

/// What the link and the element behind it ask for.
fn wanted(names: &Names, joint: &Joint<'_>) -> Vec<Wanted> {
    let to = names.element(joint.to);
    let taken = || {
        let factory = factory(to)?;
        let mut caps = gst::Caps::new_empty();
        for template in templates(&factory, gst::PadDirection::Sink) {
            caps.merge(template.caps());
        }
        (!caps.is_any() && !caps.is_empty()).then_some(Wanted { caps, word: None })
    };
    let stated = || {
        let word = joint.link.caps.clone()?;
        let caps = parse(&word)?;
        Some(Wanted {
            caps,
            word: Some(word),
        })
    };
    // An element that is nothing but caps.
    let filter = || {
        let property = (to.factory.text == "capsfilter").then(|| to.property("caps"))??;
        let caps = parse(&property.value)?;
        Some(Wanted {
            caps,
            word: Some(property.value.clone()),
        })
    };
    [stated(), filter(), taken()]
        .into_iter()
        .flatten()
        .collect()
}

fn misfit(names: &Names, joint: &Joint<'_>, offered: &gst::Caps, wanted: &Wanted) -> Diagnostic {
    let texts = &names.description.texts;
    let from = names.element(joint.from).factory.text.as_str();
    let to = names.element(joint.to).factory.text.as_str();
    let who = match wanted.word {
        Some(_) => "these caps",
        None => to,
    };
    let whole = wanted
        .word
        .as_ref()
        .map_or(joint.link.span, |word| word.span);
    let (given, media) = (medias(offered), medias(&wanted.caps));
    if !given.iter().any(|name| media.contains(name)) {
        let message = format!(
            "{from} gives {}, and {who} want{} {}",
            given.join(", "),
            if wanted.word.is_some() { "" } else { "s" },
            media.join(", ")
        );
        let span = wanted
            .word
            .as_ref()
            .map_or(whole, |word| word.span_of(parts(&word.text).0));
        return texts
            .error(span, message)
            .help(other_media(&given, &media, who));
    }
    for field in fields(&wanted.caps) {
        let Some(alone) = only(&wanted.caps, &field) else {
            continue;
        };
        if offered.can_intersect(&alone) {
            continue;
        }
        let gives = match value(offered, &field) {
            Some(value) => format!("{from} gives {field}={value}"),
            None => format!("{from} has no such {field}"),
        };
        let wants = match (&wanted.word, value(&wanted.caps, &field)) {
            (Some(_), Some(value)) => format!("and these caps want {field}={value}"),
            (Some(_), None) => "and these caps want another".to_owned(),
            (None, _) => format!("which {to} does not take"),
        };
        let span = wanted
            .word
            .as_ref()
            .and_then(|word| field_of(word, &field))
            .unwrap_or(whole);
        let media = media.first().map_or("", String::as_str);
        let help = converter(from, offered, media, &field, who);
        return texts.error(span, format!("{gives}, {wants}")).help(help);
    }
    let message = format!("{from} gives nothing that fits {who}");
    texts
        .error(whole, message)
        .help(format!("gst-inspect-1.0 {from} lists what it gives"))
}

/// What changes a field of raw media, or tells the right one.
fn converter(from: &str, given: &gst::Caps, media: &str, field: &str, who: &str) -> String {
    let element = match (media, field) {
        ("video/x-raw", "width" | "height" | "pixel-aspect-ratio") => "videoscale",
        ("video/x-raw", "framerate" | "max-framerate") => "videorate",
        ("video/x-raw", "interlace-mode")
            if value(given, field).as_deref() == Some("progressive") =>
        {
            "interlace"
        }
        ("video/x-raw", "interlace-mode" | "field-order") => "deinterlace",
        ("video/x-raw", _) => "videoconvert",
        ("audio/x-raw", "rate") => "audioresample",
        ("audio/x-raw", _) => "audioconvert",
        ("video/x-h264", "stream-format" | "alignment") => "h264parse",
        ("video/x-h265", "stream-format" | "alignment") => "h265parse",
        ("application/x-rtp", "encoding-name") => {
            let name = value(given, field).unwrap_or_default().to_lowercase();
            let depayloader = format!("rtp{name}depay");
            return match gst::ElementFactory::find(&depayloader) {
                Some(_) => format!("take {depayloader} for it"),
                None => "the depayloader must be of the sender's kind".to_owned(),
            };
        }
        ("application/x-rtp", _) => {
            return "write what the sender really sends; its SDP says it".to_owned();
        }
        _ => return format!("gst-inspect-1.0 {from} lists what it gives"),
    };
    format!("put {element} before {who}")
}

/// What makes one media type of another.
fn other_media(given: &[String], wanted: &[String], who: &str) -> String {
    let all = |medias: &[String], test: &str| medias.iter().all(|media| media.starts_with(test));
    let raw = |medias: &[String]| medias.iter().any(|media| media.ends_with("/x-raw"));
    let rtp = |medias: &[String]| all(medias, "application/x-rtp");
    if all(given, "video/") && all(wanted, "audio/") {
        "there is no sound in it: take this branch out".to_owned()
    } else if all(given, "audio/") && all(wanted, "video/") {
        "there is no picture in it: take this branch out".to_owned()
    } else if rtp(given) {
        format!("put rtpjitterbuffer and a depayloader before {who}, as rtph264depay")
    } else if raw(wanted) {
        format!("put decodebin before {who}")
    } else if raw(given) {
        format!("put an encoder before {who}, as vp8enc or opusenc")
    } else {
        "put an element in between that makes the one of the other".to_owned()
    }
}

/// Nothing shows in the caps; at least the place is sure.
fn unknown(names: &Names, joint: &Joint<'_>) -> Diagnostic {
    let texts = &names.description.texts;
    let (from, to) = (names.element(joint.from), names.element(joint.to));
    let message = format!(
        "{} finds no format for what {} gives",
        to.factory.text, from.factory.text
    );
    let given = medias(&joint.given);
    let help = match given.first().map(String::as_str) {
        Some("video/x-raw") => format!("put videoconvert ! videoscale before {}", to.factory.text),
        Some("audio/x-raw") => format!(
            "put audioconvert ! audioresample before {}",
            to.factory.text
        ),
        _ => match factory(to).is_some_and(|factory| is_a(&factory, "Decoder")) {
            true => format!("put decodebin in the place of {}", to.factory.text),
            false => format!("gst-inspect-1.0 {} lists what it takes", to.factory.text),
        },
    };
    texts.error(to.factory.span, message).help(help)
}

/// The names of all fields, each once.
fn fields(caps: &gst::Caps) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for field in caps.iter().flat_map(|structure| structure.fields()) {
        if !fields.iter().any(|known| known == field.as_str()) {
            fields.push(field.to_string());
        }
    }
    fields
}

/// The same caps, with nothing but one field in them; of those that have it.
fn only(caps: &gst::Caps, field: &str) -> Option<gst::Caps> {
    let mut only = gst::Caps::new_empty();
    for (structure, features) in caps.iter_with_features() {
        // Others may go without it.
        let value = structure.value(field).ok()?;
        let mut alone = gst::Structure::new_empty(structure.name());
        alone.set_value(field, value.clone());
        let features = features.to_owned();
        only.get_mut()?.append_structure_full(alone, Some(features));
    }
    Some(only)
}

/// What a field is, if it can be but one thing.
fn value(caps: &gst::Caps, field: &str) -> Option<String> {
    let value = caps
        .iter()
        .find_map(|structure| structure.value(field).ok())?;
    let fixed = [
        glib::Type::STRING,
        glib::Type::I32,
        glib::Type::BOOL,
        gst::Fraction::static_type(),
    ];
    match fixed.contains(&value.type_()) {
        true => Some(value.serialize().ok()?.to_string()),
        false => None,
    }
}

/// Where a field stands in caps.
pub(super) fn field_of(word: &Word, field: &str) -> Option<Span> {
    let (_, fields) = parts(&word.text);
    fields.into_iter().find_map(|range| {
        let text = &word.text[range.clone()];
        let trimmed = text.trim();
        let start = range.start + text.len() - text.trim_start().len();
        let name = trimmed.split('=').next()?.trim();
        (name == field).then(|| word.span_of(start..start + trimmed.len()))
    })
}
