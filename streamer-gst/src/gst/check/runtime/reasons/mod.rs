//! What an error of a running element means in plain words, and what to do about it. No pipeline
//! is looked at: GStreamer's words and the description's go in.

mod address;
mod content;
mod devices;
mod network;

use self::content::{media, missing, packets};
use self::devices::{device, file};
use self::network::{address, network, port};

pub(super) use self::content::nothing_in;
pub(super) use self::network::unanswered;
use crate::description::Span;
use crate::description::syntax::{Element, Property};
use crate::gst::message::explained;

/// Properties that say what an element is to open, the more telling ones first.
const TARGETS: [&str; 13] = [
    "location",
    "uri",
    "device",
    "device-name",
    "display-name",
    "camera-name",
    "target-object",
    "path",
    "host",
    "address",
    "server",
    "port",
    "fd",
];

/// An error of the bus, and whose it is.
pub(super) struct Fault<'a> {
    /// What failed; it may be a part of the described element.
    pub(super) factory: &'a str,
    /// The described element.
    pub(super) element: Option<&'a Element>,
    /// Where the data of that element comes from: itself, or the first upstream.
    pub(super) source: Option<&'a Element>,
    pub(super) error: &'a glib::Error,
    pub(super) details: &'a str,
}

/// The same for people.
pub(super) struct Reason {
    /// None for the description as a whole.
    pub(super) span: Option<Span>,
    pub(super) message: String,
    pub(super) help: String,
}

/// What a fault means.
pub(super) fn explain(fault: &Fault<'_>) -> Reason {
    let topics = [
        missing, packets, device, file, address, port, network, media,
    ];
    let found = topics.iter().find_map(|topic| topic(fault));
    found.unwrap_or_else(|| {
        let help = "the same command with GST_DEBUG=3 before it shows more";
        fault.at_element(explained(fault.error.message(), fault.details), help)
    })
}

impl Fault<'_> {
    /// Whether GStreamer said this, in either of its texts.
    fn says(&self, words: &str) -> bool {
        self.details.contains(words) || self.error.message().contains(words)
    }

    fn at_element(&self, message: impl Into<String>, help: impl Into<String>) -> Reason {
        Reason {
            span: self.element.map(|element| element.factory.span),
            message: message.into(),
            help: help.into(),
        }
    }

    /// At what the element is to open, as far as it is written down.
    fn at_target(&self, message: impl Into<String>, help: impl Into<String>) -> Reason {
        let target = self.element.and_then(target);
        Reason {
            span: target.map(whole).or(self.at_element("", "").span),
            message: message.into(),
            help: help.into(),
        }
    }

    /// What the element is to open, or another word for it.
    fn target(&self, otherwise: &str) -> String {
        let target = self.element.and_then(target);
        let text = target.map_or(otherwise, |target| target.value.text.as_str());
        text.strip_prefix("file://").unwrap_or(text).to_owned()
    }
}

fn target(element: &Element) -> Option<&Property> {
    TARGETS.iter().find_map(|name| element.property(name))
}

/// A property from its name to the end of its value.
fn whole(property: &Property) -> Span {
    property.name.span.to(property.value.span)
}

#[cfg(test)]
mod tests;
