//! Properties that an element does not have, and values that they do not take.

use glib::prelude::*;
use gst::prelude::*;
use gstreamer as gst;

use super::elements::{class, factory};
use crate::description::nearest::{did_you_mean, nearest};
use crate::description::syntax::{Element, Property};
use crate::description::{Description, Diagnostic, Texts};

/// Fields of caps that beginners write as if they were properties.
const FIELDS: [&str; 6] = ["width", "height", "framerate", "format", "rate", "channels"];
/// Most values listed in a message.
const MAX_LISTED: usize = 16;

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for element in &description.graph.elements {
        let Some(class) = factory(element).as_ref().and_then(class) else {
            continue;
        };
        for property in &element.properties {
            // Of a child that may not exist yet, or told already.
            if property.name.text.contains("::") || property.value.unknown {
                continue;
            }
            let found = match class.find_property(&property.name.text) {
                Some(pspec) => value(&description.texts, property, &pspec),
                None => {
                    let properties = class.list_properties();
                    let names: Vec<&str> = properties.iter().map(|pspec| pspec.name()).collect();
                    Some(unknown(&description.texts, element, property, &names))
                }
            };
            diagnostics.extend(found);
        }
    }
    diagnostics
}

fn unknown(texts: &Texts, element: &Element, property: &Property, names: &[&str]) -> Diagnostic {
    let (factory, name) = (&element.factory.text, &property.name.text);
    let help = did_you_mean(name, names.iter().copied()).unwrap_or_else(|| {
        match FIELDS.contains(&name.as_str()) {
            true => format!(
                "{name} belongs into caps: {factory} ! video/x-raw,{name}={} ! …",
                property.value.text
            ),
            false => format!("gst-inspect-1.0 {factory} lists its properties"),
        }
    });
    let message = format!("{factory} has no property \"{name}\"");
    texts.error(property.name.span, message).help(help)
}

fn value(texts: &Texts, property: &Property, pspec: &glib::ParamSpec) -> Option<Diagnostic> {
    let name = &property.name.text;
    if !pspec.flags().contains(glib::ParamFlags::WRITABLE) {
        // GStreamer would go on without it, but not without a critical message of GLib.
        let error = texts.error(property.name.span, format!("{name} can only be read"));
        return Some(error.help("leave it out"));
    }
    let text = unescaped(&property.value.argument());
    let span = property.value.span;
    let shown = &property.value.text;
    let Ok(read) = glib::Value::deserialize_with_pspec(&text, pspec) else {
        // Such a property takes a description of its own.
        if pspec.value_type().is_a(gst::Element::static_type()) {
            return None;
        }
        if let Some(before) = shown.strip_suffix('!') {
            return Some(
                texts
                    .error(span, "there is no blank before this !")
                    .help(format!("write {name}={before} !")),
            );
        }
        let (wanted, help) = wanted(pspec, shown);
        let message = match wanted {
            Some(wanted) => format!("{name} is {wanted}, not \"{shown}\""),
            None => format!("{name} has no value \"{shown}\""),
        };
        return Some(texts.error(span, message).maybe_help(help));
    };
    let (low, high, inside) = range(pspec, Some(&read))?;
    (!inside).then(|| {
        texts
            .warning(
                span,
                format!("{shown} is out of range, and GStreamer leaves it out"),
            )
            .help(format!("{name} goes from {low} to {high}"))
    })
}

/// What a property takes, if that can be said in two words, and what may have been meant.
fn wanted(pspec: &glib::ParamSpec, shown: &str) -> (Option<&'static str>, Option<String>) {
    let kind = pspec.value_type();
    let list = |values: Vec<&str>| {
        let listed = values[..values.len().min(MAX_LISTED)].join(", ");
        let more = if values.len() > MAX_LISTED {
            ", …"
        } else {
            ""
        };
        match nearest(shown, values.iter().copied()) {
            Some(near) => Some(format!("did you mean {near}?")),
            None => Some(format!("it is one of {listed}{more}")),
        }
    };
    if let Some(class) = glib::EnumClass::with_type(kind) {
        let values = class.values().iter().map(|value| value.nick()).collect();
        return (None, list(values));
    }
    if let Some(class) = glib::FlagsClass::with_type(kind) {
        let values = class.values().iter().map(|value| value.nick()).collect();
        return (None, list(values));
    }
    if kind == bool::static_type() {
        let help = Some("write true or false".to_owned());
        return (Some("true or false"), help);
    }
    if let Some((low, high, _)) = range(pspec, None) {
        let help = Some(format!("write a number from {low} to {high}"));
        return (Some("a number"), help);
    }
    if kind == gst::Caps::static_type() {
        let help = "write it as video/x-raw,width=640,height=360";
        return (Some("a media type with fields"), Some(help.to_owned()));
    }
    if kind == gst::Fraction::static_type() {
        let help = Some("write it as 30/1".to_owned());
        return (Some("a fraction"), help);
    }
    (None, None)
}

/// The range of a number, and whether a value lies within.
fn range(pspec: &glib::ParamSpec, value: Option<&glib::Value>) -> Option<(String, String, bool)> {
    macro_rules! range_of {
        ($($spec:ident $number:ty),*) => {
            $(if let Some(spec) = pspec.downcast_ref::<glib::$spec>() {
                let (low, high) = (spec.minimum(), spec.maximum());
                let value = value.and_then(|value| value.get::<$number>().ok());
                let inside = value.is_none_or(|value| (low..=high).contains(&value));
                return Some((low.to_string(), high.to_string(), inside));
            })*
        };
    }
    range_of!(
        ParamSpecInt i32,
        ParamSpecUInt u32,
        ParamSpecInt64 i64,
        ParamSpecUInt64 u64,
        ParamSpecFloat f32,
        ParamSpecDouble f64
    );
    None
}

/// What GStreamer's parser makes of a value before it sets it.
fn unescaped(argument: &str) -> String {
    let inner = argument
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(argument);
    let mut text = String::new();
    let mut quoted = false;
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if !quoted => text.extend(characters.next()),
            '"' => {
                quoted = !quoted;
                text.push(character);
            }
            _ => text.push(character),
        }
    }
    text
}
