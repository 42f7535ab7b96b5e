//! What an element is to a description, and what comes to a place where a gst-launch line ends.

use gstreamer as gst;

use super::caps::parse;
use super::elements::{factory, is_a};
use super::links::templates;
use super::outputs::{SENT, gives, hands_on};
use crate::codec::Kind;
use crate::description::syntax::{Element, Graph, Link};

/// Parts of the names of encoders, parsers and depayloaders for what can be sent.
const SENT_NAMES: [&str; 5] = ["h264", "x264", "vp8", "vp9", "opus"];
/// Parts of the names of elements for sound that do not say audio.
const SOUND_NAMES: [&str; 21] = [
    "audio", "alsa", "pulse", "jack", "oss", "wasapi", "sound", "aac", "mp3", "lame", "vorbis",
    "opus", "flac", "speex", "law", "amr", "ac3", "twolame", "adpcm", "sbc", "wavenc",
];

/// What becomes of an element when a line is made a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It plays, stores or sends what outputs are there for.
    End(Option<Kind>),
    /// It encodes what browsers do not play.
    Encoder(Kind),
    /// It reads what an encoder or a file gives, and hands it on.
    Parser,
    /// Everything else.
    Kept,
}

/// The role of an element.
pub(crate) fn role(graph: &Graph, index: usize) -> Role {
    let element = &graph.elements[index];
    let name = element.factory.text.as_str();
    let found = installed(element);
    let is = |word: &str| found.as_ref().is_some_and(|found| is_a(found, word));
    let ends = match found {
        Some(_) => {
            is("Sink")
                || is("Payloader")
                || is("Muxer")
                || ["webrtcbin", "encodebin", "encodebin2"].contains(&name)
        }
        // Not installed: by its name.
        None => ["sink", "pay", "mux"].iter().any(|end| name.ends_with(end)),
    };
    if ends || only_sends(graph, index) {
        return Role::End(kind_of(element).or_else(|| kind_taken(element)));
    }
    if encodes(element) && !is_sent(element) {
        let kind = kind_of(element).or_else(|| kind_taken(element));
        return Role::Encoder(kind.unwrap_or(Kind::Video));
    }
    match is("Parser") || found.is_none() && name.ends_with("parse") {
        true => Role::Parser,
        false => Role::Kept,
    }
}

fn encodes(element: &Element) -> bool {
    let name = &element.factory.text;
    match installed(element) {
        Some(found) => is_a(&found, "Encoder"),
        None => {
            let named = name.ends_with("enc") || name.starts_with("avenc_");
            named || ["faac", "lame"].contains(&name.as_str())
        }
    }
}

fn installed(element: &Element) -> Option<gst::ElementFactory> {
    crate::gst::init().ok().and_then(|()| factory(element))
}

/// A session of RTP that receives nothing but reports.
fn only_sends(graph: &Graph, index: usize) -> bool {
    let mut pads = graph
        .links_to(index)
        .filter_map(|link| link.to.pad.as_ref())
        .peekable();
    let names = ["rtpbin", "rtpsession", "gstrtpbin"];
    names.contains(&graph.elements[index].factory.text.as_str())
        && pads.peek().is_some()
        && pads.all(|pad| !pad.text.starts_with("recv_rtp_"))
}

/// Whether an element gives what can be sent as it is, and nothing else.
fn is_sent(element: &Element) -> bool {
    let name = &element.factory.text;
    match gives(element) {
        Some(caps) => !caps.is_any() && caps.iter().all(|one| SENT.contains(&one.name().as_str())),
        None => SENT_NAMES.iter().any(|part| name.contains(part)),
    }
}

/// Picture or sound, as far as the element itself says so.
fn kind_of(element: &Element) -> Option<Kind> {
    let name = element.factory.text.as_str();
    let found = installed(element);
    let is = |word: &str| found.as_ref().is_some_and(|found| is_a(found, word));
    if is("Video") || is("Image") || name.contains("video") {
        Some(Kind::Video)
    } else if is("Audio") || SOUND_NAMES.iter().any(|part| name.contains(part)) {
        Some(Kind::Audio)
    } else {
        None
    }
}

/// Picture or sound, if an element takes only one of the two.
fn kind_taken(element: &Element) -> Option<Kind> {
    let sinks = templates(&installed(element)?, gst::PadDirection::Sink);
    let mut kinds = sinks.iter().map(|sink| kind_of_caps(&sink.caps()));
    let first = kinds.next()?;
    kinds.all(|kind| kind == first).then_some(first)?
}

/// The element that decides on what an element gives: no parser, and none that hands on what it
/// gets. Nothing for a loop of links.
pub(crate) fn decider(graph: &Graph, index: usize) -> Option<usize> {
    let mut index = index;
    for _ in 0..graph.elements.len() {
        let passes = hands_on(&graph.elements[index]) || role(graph, index) == Role::Parser;
        let above = graph.links_to(index).next();
        match above.and_then(|link| graph.element_at(&link.from)) {
            Some(above) if passes => index = above,
            _ => return Some(index),
        }
    }
    None
}

/// In which form a medium is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Encoded, and browsers play it.
    Sent,
    /// Raw.
    Raw,
    /// Encoded, or inside of something, so that it has to be decoded.
    Coded,
}

/// What comes to the end of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Nothing when that shows only while it runs.
    pub(crate) kind: Option<Kind>,
    pub(crate) form: Form,
}

/// What an element gives to a link, or to nobody.
pub(crate) fn content(graph: &Graph, index: usize, link: Option<&Link>) -> Content {
    let (mut index, mut link) = (index, link);
    let mut hint = None;
    // A loop of links would be endless.
    for _ in 0..graph.elements.len() {
        let element = &graph.elements[index];
        hint = hint.or_else(|| link.and_then(kind_of_pads));
        let caps = link.and_then(|link| link.caps.as_ref()).and_then(parse);
        let caps = caps.or_else(|| parse(&element.property("caps")?.value));
        if let Some(caps) = caps.or_else(|| gives(element)).filter(|c| !c.is_any()) {
            return of_caps(&caps, hint);
        }
        let feeding = graph.links_to(index).next().filter(|_| hands_on(element));
        let Some((fed, above)) = feeding.and_then(|l| Some((l, graph.element_at(&l.from)?))) else {
            return by_itself(element, hint);
        };
        (index, link) = (above, Some(fed));
    }
    by_itself(&graph.elements[index], hint)
}

fn of_caps(caps: &gst::Caps, hint: Option<Kind>) -> Content {
    let kind = hint.or_else(|| kind_of_caps(caps));
    let names: Vec<_> = caps.iter().map(|one| one.name().as_str()).collect();
    let form = if names.iter().all(|name| SENT.contains(name)) {
        Form::Sent
    } else if names.iter().any(|name| name.ends_with("/x-raw")) {
        Form::Raw
    } else {
        Form::Coded
    };
    Content { kind, form }
}

/// What an element gives whose pads do not say it.
fn by_itself(element: &Element, hint: Option<Kind>) -> Content {
    let name = element.factory.text.as_str();
    let found = installed(element);
    let is = |word: &str| found.as_ref().is_some_and(|found| is_a(found, word));
    let kind = hint.or_else(|| kind_of(element));
    let unread = ["demux", "parse", "depay", "parsebin"];
    let coded = match found {
        Some(_) => is("Demuxer") || is("Parser") || is("Source") && kind_of(element).is_none(),
        None => encodes(element) || unread.iter().any(|end| name.ends_with(end)),
    };
    let form = match coded {
        true if found.is_none() && is_sent(element) => Form::Sent,
        true => Form::Coded,
        false => Form::Raw,
    };
    Content { kind, form }
}

fn kind_of_caps(caps: &gst::Caps) -> Option<Kind> {
    let first = caps.structure(0)?;
    match first.name().split('/').next() {
        Some("video" | "image") => Some(Kind::Video),
        Some("audio") => Some(Kind::Audio),
        _ => match first.get::<&str>("media") {
            Ok("video") => Some(Kind::Video),
            Ok("audio") => Some(Kind::Audio),
            _ => None,
        },
    }
}

/// Pads of demuxers and muxers are named for what goes through.
fn kind_of_pads(link: &Link) -> Option<Kind> {
    let mut pads = [&link.from.pad, &link.to.pad].into_iter().flatten();
    pads.find_map(|pad| match pad.text.as_str() {
        name if name.starts_with("video") => Some(Kind::Video),
        name if name.starts_with("audio") => Some(Kind::Audio),
        _ => None,
    })
}
