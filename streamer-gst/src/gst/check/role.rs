//! What an element is to a description: something to keep, or what a gst-launch line ends in.

use gstreamer as gst;

use super::outputs::{SENT, carries};
use crate::codec::Kind;
use crate::description::syntax::{Element, Graph};

use super::elements::{factory, is_a};

/// What becomes of an element when a line is made a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It plays, stores or sends what outputs are there for.
    End(Option<Kind>),
    /// Everything else.
    Kept,
}

/// The role of an element.
pub(crate) fn role(element: &Element) -> Role {
    let name = element.factory.text.as_str();
    let found = gst::init().ok().and_then(|()| factory(element));
    let is = |word: &str| found.as_ref().is_some_and(|found| is_a(found, word));
    let ends = match found {
        Some(_) => is("Sink") || is("Payloader") || is("Muxer") || name == "webrtcbin",
        // Not installed: by its name.
        None => ["sink", "pay", "mux"].iter().any(|end| name.ends_with(end)),
    };
    if !ends {
        return Role::Kept;
    }
    let kind = if is("Video") || name.contains("video") {
        Some(Kind::Video)
    } else if is("Audio") || ["audio", "alsa", "pulse"].iter().any(|n| name.contains(n)) {
        Some(Kind::Audio)
    } else {
        None
    };
    Role::End(kind)
}

/// What an element gives: picture or sound, and whether it can be sent as it is (`Some(true)`), is
/// raw (`Some(false)`), or neither.
pub(crate) fn sent_or_raw(graph: &Graph, index: usize) -> Option<(Kind, Option<bool>)> {
    let caps = carries(graph, index)?;
    let media = caps.structure(0)?.name();
    let kind = match media.split('/').next() {
        Some("video" | "image") => Kind::Video,
        Some("audio") => Kind::Audio,
        _ => return None,
    };
    let sent = match media.as_str() {
        sent if SENT.contains(&sent) => Some(true),
        "video/x-raw" | "audio/x-raw" => Some(false),
        _ => None,
    };
    Some((kind, sent))
}
