//! Elements that are not installed, or do not exist.

use glib::prelude::*;
use gst::prelude::*;
use gstreamer as gst;

use super::packages::{known, package_of};
use crate::description::syntax::Element;
use crate::description::{Description, Diagnostic, nearest};

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let unknown = description
        .graph
        .elements
        .iter()
        .filter(|element| factory(element).is_none());
    unknown
        .map(|element| {
            let name = &element.factory.text;
            let error = description
                .texts
                .error(element.factory.span, format!("no element \"{name}\""));
            match description.graph.named(name) {
                Some(_) => error.help(format!("write {name}. with a dot for the one named so")),
                None => error.help(cure(name)),
            }
        })
        .collect()
}

/// The factory of an element, if it is installed.
pub(super) fn factory(element: &Element) -> Option<gst::ElementFactory> {
    gst::ElementFactory::find(&element.factory.text)
}

/// The class of an element's objects, which knows their properties.
pub(super) fn class(
    factory: &gst::ElementFactory,
) -> Option<glib::object::ClassRef<'static, glib::Object>> {
    let loaded = factory.clone().load().ok()?;
    let factory = loaded.downcast::<gst::ElementFactory>().ok()?;
    glib::object::Class::<glib::Object>::from_type(factory.element_type())
}

/// Whether one of the words of an element's class is `word`: `Encoder`, `Sink`, `Payloader`, …
pub(super) fn is_a(factory: &gst::ElementFactory, word: &str) -> bool {
    let klass = factory.metadata("klass").unwrap_or_default();
    klass.split('/').any(|part| part == word)
}

/// Names out of old books, and what became of them.
const RENAMED: [(&str, &str); 6] = [
    ("ffmpegcolorspace", "videoconvert"),
    ("decodebin2", "decodebin"),
    ("playbin2", "playbin"),
    ("gstrtpbin", "rtpbin"),
    ("ffdec_h264", "avdec_h264"),
    ("mad", "mpg123audiodec"),
];

/// What to do about an element that is not there.
fn cure(name: &str) -> String {
    if let Some(package) = package_of(name) {
        return format!("install it: apt install {package}");
    }
    if let Some((_, now)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return format!("it is called {now} today");
    }
    if let Some((property, value)) = name.split_once(':') {
        return format!("a property is written {property}={value}");
    }
    let registry = gst::Registry::get();
    let installed = registry.features(gst::ElementFactory::static_type());
    let installed: Vec<_> = installed.iter().map(|feature| feature.name()).collect();
    if let Some(near) = nearest::nearest(name, installed.iter().map(|name| name.as_str())) {
        return format!("did you mean {near}?");
    }
    match nearest::nearest(name, known()) {
        Some(near) => format!(
            "did you mean {near}? (package {})",
            package_of(near).unwrap_or_default()
        ),
        None => "gst-inspect-1.0 lists the elements that are installed".to_owned(),
    }
}
