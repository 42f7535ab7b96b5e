//! Properties that an element does not have, and values that they do not take.

use glib::prelude::*;
use gst::prelude::*;
use gstreamer as gst;

use super::caps::{self, field};
use super::elements::{class, factory, is_a};
use super::links::{fits, templates};
use super::values::{colour, converted, doubt, parameter, unit};
use crate::description::nearest::nearest;
use crate::description::syntax::{Element, Property};
use crate::description::{Description, Diagnostic, Severity, Span, Texts};

const GLUED: &str = "there is no blank before this !";
/// Most values listed in a message.
const MAX_LISTED: usize = 16;
/// Properties that some elements call so and others so.
const SYNONYMS: [(&str, &str); 15] = [
    ("display", "display-name"),
    ("font", "font-desc"),
    ("max-keyframe-distance", "keyframe-max-dist"),
    ("keyint", "key-int-max"),
    ("keyint", "keyframe-max-dist"),
    ("gop-size", "key-int-max"),
    ("gop-size", "keyframe-max-dist"),
    ("preset", "speed-preset"),
    ("uri", "location"),
    ("location", "uri"),
    ("url", "uri"),
    ("url", "location"),
    ("file", "location"),
    ("path", "location"),
    ("filename", "location"),
];

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for element in &description.graph.elements {
        let Some(factory) = factory(element) else {
            continue;
        };
        let Some(class) = class(&factory) else {
            continue;
        };
        let missing = |name: &str| class.find_property(name).is_none();
        let fields: Vec<&Property> = element
            .properties
            .iter()
            .filter(|property| field(&property.name.text).is_some() && missing(&property.name.text))
            .collect();
        for property in &element.properties {
            let name = &property.name.text;
            if property.value.unknown {
                continue;
            }
            if let Some((pad, of_pad)) = name.split_once("::") {
                let pads = pad_class(&factory, pad);
                let missing = pads.filter(|class| class.find_property(of_pad).is_none());
                diagnostics.extend(missing.map(|class| {
                    let message = format!("{pad} has no property \"{of_pad}\"");
                    let error = description.texts.error(property.name.span, message);
                    error.help(meant(&class, pad, of_pad))
                }));
                continue;
            }
            if let Some(whole) = blanks_in_caps(&class, element, property) {
                let message = "a blank ends these caps";
                let error = description.texts.error(property.value.span, message);
                diagnostics.push(error.help(format!("write {whole}")));
                break;
            }
            let found = match class.find_property(name) {
                Some(pspec) => repeated(&description.texts, element, property, &pspec)
                    .or_else(|| value(&description.texts, element, property, &pspec)),
                // The first tells of all.
                None if fields
                    .iter()
                    .skip(1)
                    .any(|field| std::ptr::eq(*field, property)) =>
                {
                    None
                }
                None if field(name).is_some() => {
                    let help = into_caps(element, &factory, &fields);
                    Some(unknown(&description.texts, element, property).help(help))
                }
                None => {
                    let error = unknown(&description.texts, element, property);
                    Some(error.help(match name.as_str() {
                        "caps" => {
                            let caps = property.value.text.replace(", ", ",");
                            format!(
                                "caps stand between two !: {} ! {caps} ! …",
                                element.factory.text
                            )
                        }
                        _ => meant(&class, &element.factory.text, name),
                    }))
                }
            };
            let glued = found.as_ref().is_some_and(|found| found.message == GLUED);
            diagnostics.extend(found);
            // What follows belongs to the next element.
            if glued {
                break;
            }
        }
    }
    diagnostics
}

/// Where numbers out of range stand: GStreamer leaves them out, but not without a warning of GLib.
pub(super) fn out_of_range(description: &Description) -> Vec<Span> {
    let elements = description.graph.elements.iter();
    let properties = elements.filter_map(|element| Some((element, class(&factory(element)?)?)));
    let outside = properties.flat_map(|(element, class)| {
        element.properties.iter().filter_map(move |property| {
            let pspec = class.find_property(&property.name.text)?;
            let text = unescaped(&property.value.argument());
            let value = glib::Value::deserialize_with_pspec(&text, &pspec).ok()?;
            let (.., inside) = range(&pspec, Some(&value))?;
            (!inside).then(|| property.name.span.to(property.value.span))
        })
    });
    outside.collect()
}

/// The class of the pads of that name, which an element may get only later.
fn pad_class(
    factory: &gst::ElementFactory,
    pad: &str,
) -> Option<glib::object::ClassRef<'static, glib::Object>> {
    let element = glib::object::Class::<gst::Element>::from_type(factory.element_type())?;
    let templates = templates(factory, gst::PadDirection::Sink);
    let template = templates
        .iter()
        .find(|one| fits(one.name_template(), pad))?;
    let kind = element.pad_template(template.name_template())?;
    glib::object::Class::<glib::Object>::from_type(kind.property::<glib::Type>("gtype"))
}

/// `caps="video/x-raw,width=640"` for caps with a comma at the end whose fields stand behind it.
fn blanks_in_caps(
    class: &glib::object::ClassRef<'_, glib::Object>,
    element: &Element,
    property: &Property,
) -> Option<String> {
    let pspec = class.find_property(&property.name.text)?;
    let is_caps = pspec.value_type() == gst::Caps::static_type();
    let mut whole = property
        .value
        .text
        .strip_suffix(',')
        .filter(|_| is_caps)?
        .to_owned();
    let behind = element.properties.iter();
    for field in behind
        .skip_while(|other| !std::ptr::eq(*other, property))
        .skip(1)
    {
        let value = field.value.text.trim_end_matches(',');
        whole.push_str(&format!(",{}={value}", field.name.text));
        if value == field.value.text {
            return Some(format!("{}=\"{whole}\"", property.name.text));
        }
    }
    None
}

/// A property that is given a second time.
fn repeated(
    texts: &Texts,
    element: &Element,
    property: &Property,
    pspec: &glib::ParamSpec,
) -> Option<Diagnostic> {
    let name = &property.name.text;
    let mut before = element.properties.iter();
    let first = before.find(|other| other.name.text == *name)?;
    if std::ptr::eq(first, property) {
        return None;
    }
    let span = property.name.span;
    // GLib objects by itself where a property is set while the element is made.
    let construct = glib::ParamFlags::CONSTRUCT | glib::ParamFlags::CONSTRUCT_ONLY;
    let told = match pspec.flags().intersects(construct) {
        true => texts.error(span, format!("{name} is given twice")),
        false => texts.warning(
            span,
            format!("{name} is given twice, and the last one counts"),
        ),
    };
    let first = texts.place(first.name.span);
    Some(
        told.help("take one of them out")
            .related(first, "the first one"),
    )
}

fn unknown(texts: &Texts, element: &Element, property: &Property) -> Diagnostic {
    let (factory, name) = (&element.factory.text, &property.name.text);
    let message = format!("{factory} has no property \"{name}\"");
    texts.error(property.name.span, message)
}

/// Where fields of caps stand that were written as properties of an element.
fn into_caps(element: &Element, factory: &gst::ElementFactory, fields: &[&Property]) -> String {
    let name = &element.factory.text;
    let first = fields.first().and_then(|first| field(&first.name.text));
    let (media, by) = first.map_or(("video/x-raw", "videoscale"), |field| {
        let audio = is_a(factory, "Audio") && field.media.is_empty();
        let media = if audio {
            "audio/x-raw"
        } else {
            field.media_or_video()
        };
        (media, field.converter(media))
    });
    let mut caps = media.to_owned();
    for field in fields {
        caps.push_str(&format!(
            ",{}={}",
            field.name.text,
            field.value.text.trim_end_matches(',')
        ));
    }
    let there = match is_a(factory, "Encoder") || is_a(factory, "Sink") {
        true => format!("{by} ! {caps} ! {name}"),
        false => format!("{name} ! {caps} ! …"),
    };
    let fields: Vec<&str> = fields.iter().map(|f| f.name.text.as_str()).collect();
    format!("write {} as caps: {there}", fields.join(" and "))
}

/// What may have been meant by a property that an element does not have.
fn meant(class: &glib::object::ClassRef<'_, glib::Object>, factory: &str, name: &str) -> String {
    let properties = class.list_properties();
    let names = properties.iter().map(|pspec| pspec.name());
    let mut synonyms = SYNONYMS.iter().filter(|(from, _)| *from == name);
    let synonym = synonyms.find_map(|(_, to)| class.find_property(to));
    let near = synonym.or_else(|| class.find_property(nearest(name, names)?));
    match near {
        Some(pspec) => {
            let counts = unit(pspec.blurb().unwrap_or_default());
            let counts = counts.filter(|(unit, _)| unit.contains("bit"));
            let counts = counts.map_or(String::new(), |(unit, _)| format!(", which counts {unit}"));
            format!("did you mean {}{counts}?", pspec.name())
        }
        None => format!("gst-inspect-1.0 {factory} lists its properties"),
    }
}

fn value(
    texts: &Texts,
    element: &Element,
    property: &Property,
    pspec: &glib::ParamSpec,
) -> Option<Diagnostic> {
    let name = &property.name.text;
    if !pspec.flags().contains(glib::ParamFlags::WRITABLE) {
        // GStreamer would go on without it, but not without a critical message of GLib.
        let error = texts.error(property.name.span, format!("{name} can only be read"));
        return Some(error.help("leave it out"));
    }
    let text = unescaped(&property.value.argument());
    let span = property.value.span;
    let shown = &property.value.text;
    let is_caps = pspec.value_type() == gst::Caps::static_type();
    let read = match is_caps && caps::read(&text).is_none() {
        true => None,
        false => glib::Value::deserialize_with_pspec(&text, pspec).ok(),
    };
    let Some(read) = read else {
        // Such a property takes a description of its own.
        if pspec.value_type().is_a(gst::Element::static_type()) {
            return None;
        }
        let readable = |text: &str| glib::Value::deserialize_with_pspec(text, pspec).is_ok();
        if let Some((before, after)) = shown.split_once('!').filter(|(v, _)| readable(v)) {
            let help = format!("write {name}={before} ! {after}");
            return Some(texts.error(span, GLUED).help(help.trim_end()));
        }
        let number = range(pspec, None).and_then(|_| colour(shown));
        if let Some(number) = number {
            let error = texts.error(span, "a colour is a number");
            return Some(error.help(format!("write {name}={number}")));
        }
        if let Some(parameter) = parameter(shown) {
            let message = format!("{shown} is no parameter");
            return Some(
                texts
                    .error(span, message)
                    .help(format!("write {name}={parameter}")),
            );
        }
        let bare = shown.trim_end_matches([',', ';', ')']);
        if bare != shown && readable(bare) {
            let message = format!("{} does not belong there", &shown[bare.len()..]);
            let sign = texts.error(property.value.span_of(bare.len()..shown.len()), message);
            return Some(sign.help(format!("write {name}={bare}")));
        }
        let (wanted, help) = wanted(pspec, shown);
        let message = match wanted {
            Some(wanted) => format!("{name} is {wanted}, not \"{shown}\""),
            None => format!("{name} has no value \"{shown}\""),
        };
        return Some(texts.error(span, message).maybe_help(help));
    };
    let blurb = pspec.blurb().unwrap_or_default();
    if let Some((low, high, false)) = range(pspec, Some(&read)) {
        let message = format!("{shown} is out of range, and GStreamer leaves it out");
        let counts = unit(blurb).map_or(String::new(), |(unit, _)| format!(" {unit}"));
        let mut help = format!("{name} goes from {low} to {high}{counts}");
        let (least, number) = (low.parse::<f64>(), shown.parse::<f64>());
        if let (" bit/s", Ok(least), Ok(number)) = (counts.as_str(), least, number) {
            if number > 0.0 && number < least && number * 1e3 >= least {
                help = format!("{help}; write {name}={} if you meant kbit/s", number * 1e3);
            }
        }
        return Some(texts.warning(span, message).help(help));
    }
    let (severity, message, help) = doubt(&element.factory.text, name, shown, blurb)?;
    Some(match severity {
        Severity::Error => texts.error(span, message).help(help),
        Severity::Warning => texts.warning(span, message).help(help),
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
        let digits = |text: &str| {
            text.chars()
                .filter(char::is_ascii_digit)
                .collect::<String>()
        };
        let near = nearest(shown, values.iter().copied());
        match near.filter(|near| digits(near) == digits(shown)) {
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
        let whole = kind != f32::static_type() && kind != f64::static_type();
        let blurb = pspec.blurb().unwrap_or_default();
        let counts = unit(blurb).map_or(String::new(), |(unit, _)| format!("; it counts {unit}"));
        let help = match converted(shown, blurb, whole) {
            Some(number) => format!("write {}={number}", pspec.name()),
            None => format!("write a number from {low} to {high}"),
        };
        return (Some("a number"), Some(help + &counts));
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
