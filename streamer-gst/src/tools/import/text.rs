//! A plan as the text of a description.

use super::outputs::Ending;
use super::plan::{Fate, Plan};
use crate::codec::Kind;
use crate::description::syntax::{Element, End, Link, Node};
use crate::gst::check::{Form, decider};
use crate::tools::quoted;

/// How a raw picture becomes an output, as in the descriptions that are shipped.
const ENCODE_VIDEO: [&str; 3] = [
    "videoconvert",
    "video/x-raw,format=I420",
    "vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=1000000 keyframe-max-dist=300",
];
/// How raw sound becomes one.
const ENCODE_AUDIO: [&str; 4] = [
    "audioconvert",
    "audioresample",
    "audio/x-raw,rate=48000,channels=2",
    "opusenc bitrate=64000 inband-fec=true packet-loss-percentage=10",
];
/// What only served the element behind it.
const ADAPTERS: [&str; 4] = [
    "videoconvert",
    "autovideoconvert",
    "audioconvert",
    "audioresample",
];
/// The profile of H.264 that every browser plays.
const PROFILE: &str = "profile=constrained-baseline";

/// The whole text.
pub(super) fn of(plan: &Plan<'_>) -> String {
    let graph = plan.graph;
    let mut begins = Vec::new();
    for (index, element) in graph.elements.iter().enumerate() {
        let node = Node::Element(index);
        let followed = graph.links.iter().any(|link| link.to.node == node);
        if !followed && plan.fate(index) != Fate::Gone {
            begins.push((element.factory.span.start(), End { node, pad: None }));
        }
    }
    for link in &graph.links {
        if let Node::Named(word) | Node::Url(word) = &link.from.node {
            let goes_on = !plan.is_gone(&link.to) || plan.output(None, Some(link)).is_some();
            if goes_on && !plan.is_gone(&link.from) {
                begins.push((word.span.start(), link.from.clone()));
            }
        }
    }
    begins.sort_by_key(|(start, _)| *start);
    let chains = begins.into_iter().map(|(_, from)| chain(plan, from));
    chains.chain(plan.comments()).collect::<Vec<_>>().join("\n")
}

/// One chain, a line for each link, and an output at its end.
fn chain(plan: &Plan<'_>, from: End) -> String {
    let mut parts = Vec::new();
    push(plan, &mut parts, &from);
    let mut at = from;
    loop {
        let mut links = plan.graph.links.iter();
        let link = links.find(|link| link.from.node == at.node);
        let output = plan.output(plan.graph.element_at(&at), link);
        let ends = link.is_none_or(|link| output.is_some() || plan.is_gone(&link.to));
        let end = matches!(at.node, Node::Named(_)) && parts.len() > 1;
        if end || ends && output.is_none() {
            break;
        }
        parts.extend(caps(plan, plan.graph.element_at(&at), link));
        if let Some((ending, name)) = output {
            finish(&mut parts, ending, name);
            break;
        }
        if let Some(link) = link {
            push(plan, &mut parts, &link.to);
            at = link.to.clone();
        }
    }
    format!("{}\n", parts.join("\n  ! "))
}

/// Adds what stands at an end of a link.
fn push(plan: &Plan<'_>, parts: &mut Vec<String>, end: &End) {
    let pad = end.pad.as_ref().map_or("", |pad| pad.text.as_str());
    let index = match &end.node {
        Node::Named(name) => return parts.push(format!("{}.{pad}", plan.named(&name.text))),
        Node::Url(url) => return parts.push(quoted(&url.text)),
        Node::Element(index) => *index,
    };
    let written = &plan.graph.elements[index];
    let name = written.name().map(|name| plan.named(name));
    let name = name.map(|name| format!(" {}", quoted(&format!("name={name}"))));
    match plan.fate(index) {
        Fate::Replaced(kind) => {
            encode(parts, kind);
            if let (Some(encoder), Some(name)) = (parts.last_mut(), name) {
                encoder.push_str(&name);
            }
        }
        Fate::Skipped => parts.extend(name.map(|name| format!("identity{name}"))),
        Fate::Kept | Fate::Gone => {
            let mut shown = element(written);
            if let (Some(given), Some(name)) = (written.name(), &name) {
                shown = shown.replace(&format!(" {}", quoted(&format!("name={given}"))), name);
            }
            if plan.is_present(index) && written.property("allow-not-linked").is_none() {
                shown.push_str(" allow-not-linked=true");
            }
            let tunes = written.property("tune").is_some() || !written.presets.is_empty();
            if is_x264(plan, index) && !tunes {
                shown.push_str(" tune=zerolatency");
            }
            parts.push(shown);
        }
    }
}

/// Whether an element is the x264enc of an output.
fn is_x264(plan: &Plan<'_>, index: usize) -> bool {
    plan.graph.elements[index].factory.text == "x264enc" && plan.makes_output(index)
}

/// The caps of a link, or those that have to stand behind its element.
fn caps(plan: &Plan<'_>, from: Option<usize>, link: Option<&Link>) -> Option<String> {
    let written = link.and_then(|link| link.caps.as_ref());
    // Those of another format go with its encoder.
    if from.is_some_and(|from| plan.is_anew(from)) {
        return None;
    }
    let text = written.map(|caps| caps.text.as_str());
    let decider = from.and_then(|from| decider(plan.graph, from));
    let Some(decider) = decider.filter(|decider| is_x264(plan, *decider)) else {
        return text.map(quoted);
    };
    let direct = Some(decider) == from;
    match text {
        None if direct => Some(format!("video/x-h264,{PROFILE}")),
        Some(text) if !text.contains(['{', ';', '[']) => {
            let states = |field: &&str| field.trim_start().starts_with("profile");
            let stated = text.split(',').any(|field| states(&field));
            let mut fields: Vec<&str> = text.split(',').filter(|field| !states(field)).collect();
            fields.extend((direct || stated).then_some(PROFILE));
            Some(quoted(&fields.join(",")))
        }
        _ => text.map(quoted),
    }
}

/// Adds an output.
fn finish(parts: &mut Vec<String>, ending: &Ending, name: &str) {
    match ending.form {
        Form::Sent => {}
        Form::Raw => encode(parts, ending.kind),
        Form::Coded => {
            parts.push("decodebin".to_owned());
            encode(parts, ending.kind);
        }
    }
    parts.push(format!("tee name={name} allow-not-linked=true"));
}

/// Adds an encoder for raw media; it adapts the format anew.
fn encode(parts: &mut Vec<String>, kind: Kind) {
    while parts.len() > 1 && ADAPTERS.contains(&parts[parts.len() - 1].as_str()) {
        parts.pop();
    }
    let encode: &[&str] = match kind {
        Kind::Video => &ENCODE_VIDEO,
        Kind::Audio => &ENCODE_AUDIO,
    };
    parts.extend(encode.iter().map(|part| (*part).to_owned()));
}

/// An element as it stands in the line.
pub(super) fn element(element: &Element) -> String {
    let mut shown = quoted(&element.factory.text);
    for preset in &element.presets {
        shown.push_str(&format!(" {}", quoted(&preset.text)));
    }
    for property in &element.properties {
        let (name, value) = (&property.name.text, &property.value.text);
        shown.push_str(&format!(" {}", quoted(&format!("{name}={value}"))));
    }
    shown
}
