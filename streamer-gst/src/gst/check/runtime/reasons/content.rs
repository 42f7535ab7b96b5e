//! What comes is not what was expected, or nothing here can decode it.

use gstreamer as gst;

use super::{Fault, Reason, target, whole};
use crate::description::syntax::Element;
use crate::gst::check::elements::is_a;
use crate::gst::check::links::templates;
use crate::gst::check::packages::{decoder_package, package_of};

/// Plug-ins that are not there.
pub(super) fn missing(fault: &Fault<'_>) -> Option<Reason> {
    let named = |kind: &'static str| {
        let lines = fault.details.lines();
        lines.filter_map(move |line| line.split_once(kind).map(|(_, rest)| rest))
    };
    let mut names = Vec::new();
    let mut packages = Vec::new();
    for decoder in named("Missing decoder: ") {
        // "H.264 (High Profile) (video/x-h264, …)"
        let (_, caps) = decoder.rsplit_once(" (").unwrap_or_default();
        let name = decoder.split(" (").next().unwrap_or_default();
        let media = caps.split([',', ')']).next().unwrap_or_default();
        names.push(name);
        if !packages.contains(&decoder_package(media)) {
            packages.push(decoder_package(media));
        }
    }
    if !names.is_empty() {
        return Some(fault.at_element(
            format!("no decoder for {} is installed", listed(&names)),
            format!("install it: apt install {}", packages.join(" ")),
        ));
    }
    let element = named("Missing element: ").next()?;
    let element = element.split_whitespace().next().unwrap_or_default();
    let help = match package_of(element) {
        Some(package) => format!("install it: apt install {package}"),
        None => "apt-file search finds the package that has it".to_owned(),
    };
    let message = format!("{} needs {element}, which is not installed", fault.factory);
    Some(fault.at_element(message, help))
}

/// `one, two and three`
fn listed(names: &[&str]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => names.concat(),
    }
}

/// RTP whose kind nobody has told.
pub(super) fn packets(fault: &Fault<'_>) -> Option<Reason> {
    if !fault.error.matches(gst::CoreError::Negotiation) || !fault.says("need to have RTP caps") {
        return None;
    }
    let factory = gst::ElementFactory::find(fault.factory)?;
    let template = templates(&factory, gst::PadDirection::Sink)
        .into_iter()
        .next()?;
    let caps = template.caps();
    let structure = caps.structure(0)?;
    let text = |field: &str| match structure.value(field) {
        Ok(value) => match value.get::<gst::List>() {
            Ok(list) => list.first().and_then(|first| first.get::<String>().ok()),
            Err(_) => value.get::<String>().ok(),
        },
        Err(_) => None,
    };
    let media = text("media").unwrap_or_else(|| "video".to_owned());
    let encoding = text("encoding-name").unwrap_or_else(|| "NAME".to_owned());
    let rate = structure.get::<i32>("clock-rate").unwrap_or(90_000);
    let source = fault.source.or(fault.element)?;
    let name = &source.factory.text;
    Some(Reason {
        span: Some(source.factory.span),
        message: format!("{name} does not say what its packets are"),
        help: format!(
            "write behind it caps=application/x-rtp,media={media},encoding-name={encoding},\
             clock-rate={rate}"
        ),
    })
}

/// What to do about a file that ends too early.
const DAMAGED: &str = "it may be cut off: record it again, or copy it whole";

/// What it means that a file was read, and nothing was found in it; none for what is no file.
/// decodebin loses the error of a demuxer that fails while it is being added.
pub(in super::super) fn nothing_in(source: &Element) -> Option<Reason> {
    let target = target(source).filter(|_| source.factory.text == "filesrc")?;
    Some(Reason {
        span: Some(whole(target)),
        message: format!("{} is damaged", target.value.text),
        help: DAMAGED.to_owned(),
    })
}

/// What is in a file, or comes from the network.
pub(super) fn media(fault: &Fault<'_>) -> Option<Reason> {
    let element = fault.element?;
    let own = element.factory.text == fault.factory;
    let name = &element.factory.text;
    let target = fault.source.and_then(target);
    let what = target.map_or("what comes".to_owned(), |target| target.value.text.clone());
    let at_source = |message: String, help: String| {
        let span = target.map_or(element.factory.span, whole);
        Some(Reason {
            span: Some(span),
            message,
            help,
        })
    };
    let is = |error: gst::StreamError| fault.error.matches(error);
    if fault.says("Stream contains no data") || fault.says("Can't typefind empty") {
        let help = "was it written to its end? ls -l shows its size".to_owned();
        return at_source(format!("{what} is empty"), help);
    }
    if fault.says("plain text") {
        let help = "name the film or the sound itself".to_owned();
        return at_source(format!("{what} is a text"), help);
    }
    if is(gst::StreamError::TypeNotFound) {
        let help = format!("file {what} tells what it is");
        return at_source(
            format!("{what} is no film or sound that is known here"),
            help,
        );
    }
    if own && (is(gst::StreamError::WrongType) || is(gst::StreamError::Demux)) {
        let message = format!("{name} finds nothing of its kind in {what}");
        let help = format!("put decodebin in the place of {name}: it looks for itself");
        return Some(fault.at_element(message, help));
    }
    let empty = ["streams without buffers", "No pads created", "'moov'"];
    let damaged = is(gst::StreamError::Demux) || is(gst::StreamError::WrongType);
    if damaged || empty.iter().any(|words| fault.says(words)) {
        return at_source(format!("{what} is damaged"), DAMAGED.to_owned());
    }
    let decoder = gst::ElementFactory::find(fault.factory).is_some_and(|f| is_a(&f, "Decoder"));
    if decoder && is(gst::StreamError::Decode) {
        let message = format!("{} cannot decode {what}", fault.factory);
        let help = "put decodebin in its place, or look whether it is damaged";
        return Some(fault.at_element(message, help));
    }
    None
}
