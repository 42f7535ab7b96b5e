//! A pipeline as plain data for drawing, built or playing.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::{check, element, source};
use crate::description::{Description, Diagnostic};
use crate::drawing::{Caps, End, Inside, Link, Node, Role};

/// Elements that are not of the description begin so; they are not drawn.
const OURS: &str = "rusticast-";
/// Formats are possible ones until data flows; more of them than this say nothing.
const POSSIBLE: usize = 3;

/// Builds a description's pipeline, plays it until all outputs had a frame, but no longer than
/// `time`, and tells what it is made of then; and what went wrong meanwhile.
///
/// # Errors
/// Why it cannot be built.
pub fn portrait(
    description: &Description,
    time: Option<Duration>,
) -> Result<(Inside, Vec<Diagnostic>), Diagnostic> {
    let pipeline = source::build(description)?;
    let names = check::Names::of(pipeline.upcast_ref(), description);
    let mut diagnostics = Vec::new();
    if let Some(time) = time {
        diagnostics = play(&pipeline, description, &names, time);
    }
    let painter = Painter {
        description,
        names: &names,
    };
    let inside = painter.inside(pipeline.upcast_ref());
    let _ = pipeline.set_state(gst::State::Null);
    Ok((inside, diagnostics))
}

/// Plays until every output had a frame, the end, an error, or the time is over.
fn play(
    pipeline: &gst::Pipeline,
    description: &Description,
    names: &check::Names,
    time: Duration,
) -> Vec<Diagnostic> {
    let mut frames = Vec::new();
    for output in description.outputs() {
        match tap(pipeline, output) {
            Ok(frame) => frames.push(frame),
            Err(why) => return vec![description.error_at_output(output, &why)],
        }
    }
    let Some(bus) = pipeline.bus() else {
        return Vec::new();
    };
    let end = Instant::now() + time;
    let started = pipeline.set_state(gst::State::Playing);
    let wanted = [gst::MessageType::Error, gst::MessageType::Eos];
    while Instant::now() < end {
        let wait = gst::ClockTime::from_mseconds(20);
        if let Some(message) = bus.timed_pop_filtered(wait, &wanted) {
            let gst::MessageView::Error(error) = message.view() else {
                break;
            };
            let details = error.debug().unwrap_or_default();
            return vec![names.diagnostic(error.src(), &error.error(), &details)];
        }
        frames.retain(|frame| frame.try_recv().is_err());
        if frames.is_empty() || started.is_err() {
            break;
        }
    }
    Vec::new()
}

/// Takes an output's frames as a viewer would, and tells of the first.
fn tap(pipeline: &gst::Pipeline, output: &str) -> Result<Receiver<()>, String> {
    let failed = |error: glib::BoolError| error.to_string();
    let tee = pipeline
        .by_name(output)
        .ok_or_else(|| format!("there is no tee named {output}"))?;
    let queue = element("queue")?;
    let sink = element("fakesink")?;
    sink.set_property("async", false);
    for (element, name) in [(&queue, "queue"), (&sink, "sink")] {
        element.set_property("name", format!("{OURS}{name}-{output}"));
    }
    pipeline.add_many([&queue, &sink]).map_err(failed)?;
    gst::Element::link_many([&tee, &queue, &sink]).map_err(failed)?;
    let pad = sink.static_pad("sink").ok_or("fakesink has no pad")?;
    let (tell, told) = channel();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let _ = tell.send(());
        gst::PadProbeReturn::Remove
    });
    Ok(told)
}

/// Turns elements into nodes.
struct Painter<'a> {
    description: &'a Description,
    names: &'a check::Names,
}

impl Painter<'_> {
    fn inside(&self, bin: &gst::Bin) -> Inside {
        let mut elements: Vec<gst::Element> = bin
            .iterate_elements()
            .into_iter()
            .flatten()
            .filter(|element| !element.name().starts_with(OURS))
            .collect();
        // A bin has the newest first.
        elements.reverse();
        // What the text has comes in its order; a filter that GStreamer put in goes last, where
        // its links give it a place.
        elements.sort_by_key(|element| self.names.index_of(element).unwrap_or(usize::MAX));
        let mut links = Vec::new();
        for (number, element) in elements.iter().enumerate() {
            for pad in element.src_pads() {
                let Some(peer) = pad.peer() else { continue };
                let Some(to) = end_at(&peer, &elements, bin) else {
                    continue;
                };
                links.push(Link {
                    from: End::Node(number, pad.name().to_string()),
                    to,
                    caps: caps_of(&pad),
                });
            }
        }
        for pad in bin.sink_pads() {
            let ghost = pad.downcast_ref::<gst::GhostPad>();
            let target = ghost.and_then(|ghost| ghost.target());
            let inner = target.and_then(|target| {
                let parent = target.parent_element()?;
                let number = elements.iter().position(|element| *element == parent)?;
                Some(End::Node(number, target.name().to_string()))
            });
            if let Some(to) = inner {
                links.push(Link {
                    from: End::Own(pad.name().to_string()),
                    to,
                    caps: caps_of(&pad),
                });
            }
        }
        let linked = |number: usize, name: &str| {
            let is = |end: &End| matches!(end, End::Node(n, pad) if *n == number && pad == name);
            links.iter().any(|link| is(&link.from) || is(&link.to))
        };
        let nodes = elements.iter().enumerate().map(|(number, element)| {
            let names = |pads: Vec<gst::Pad>| {
                let names = pads.into_iter().map(|pad| pad.name().to_string());
                names.filter(|name| linked(number, name)).collect()
            };
            Node {
                inputs: names(element.sink_pads()),
                outputs: names(element.src_pads()),
                ..self.node(element)
            }
        });
        Inside {
            nodes: nodes.collect(),
            links,
        }
    }

    fn node(&self, element: &gst::Element) -> Node {
        let factory = element.factory();
        let class = factory
            .as_ref()
            .and_then(|factory| factory.metadata("klass"))
            .unwrap_or_default();
        let is = |word: &str| class.split('/').any(|part| part == word);
        let written = self
            .names
            .index_of(element)
            .and_then(|index| self.description.graph.elements.get(index));
        let role = match written {
            Some(written) if written.is_output() => Role::Output,
            _ if is("Source") => Role::Source,
            _ if is("Encoder") => Role::Encoder,
            _ if is("Decoder") || is("Demuxer") => Role::Decoder,
            _ if is("Sink") => Role::Sink,
            _ => Role::Other,
        };
        let mut properties: Vec<(String, String)> = written
            .iter()
            .flat_map(|written| &written.properties)
            .filter(|property| property.name.text != "name")
            .map(|property| (property.name.text.clone(), property.value.text.clone()))
            .collect();
        let factory = factory.map(|factory| factory.name().to_string());
        if written.is_none() && factory.as_deref() == Some("capsfilter") {
            let caps = element.property::<gst::Caps>("caps");
            properties.push(("caps".to_owned(), plain(&caps.to_string())));
        }
        Node {
            factory: factory.unwrap_or_else(|| "bin".to_owned()),
            name: element.name().to_string(),
            role,
            properties,
            inside: element
                .downcast_ref::<gst::Bin>()
                .map(|bin| self.inside(bin)),
            ..Node::default()
        }
    }
}

/// What a source pad's peer is to the bin.
fn end_at(peer: &gst::Pad, elements: &[gst::Element], bin: &gst::Bin) -> Option<End> {
    let parent = peer.parent()?;
    if let Some(number) = elements.iter().position(|one| *one == parent) {
        return Some(End::Node(number, peer.name().to_string()));
    }
    // The inner half of one of the bin's own pads belongs to that.
    let ghost = parent.downcast::<gst::GhostPad>().ok()?;
    let owner = ghost.parent_element()?;
    (owner == *bin).then(|| End::Own(ghost.name().to_string()))
}

/// The format on a link, or those that are possible.
fn caps_of(pad: &gst::Pad) -> Option<Caps> {
    if let Some(caps) = pad.current_caps() {
        return Some(Caps {
            lines: lines_of(caps.structure(0)?),
            whole: caps.to_string(),
            negotiated: true,
        });
    }
    let caps = pad.allowed_caps()?;
    if caps.is_any() || caps.is_empty() {
        return None;
    }
    let mut lines: Vec<String> = Vec::new();
    for structure in caps.iter() {
        let name = structure.name().to_string();
        if !lines.contains(&name) {
            lines.push(name);
        }
    }
    if lines.len() > POSSIBLE {
        return None;
    }
    Some(Caps {
        lines,
        whole: caps.to_string(),
        negotiated: false,
    })
}

/// The media type, then what people ask for, in a few short lines.
fn lines_of(structure: &gst::StructureRef) -> Vec<String> {
    let mut lines = vec![structure.name().to_string()];
    let text = |field: &str| structure.get::<&str>(field).ok().map(str::to_owned);
    let number = |field: &str| structure.get::<i32>(field).ok();
    let size = number("width").zip(number("height"));
    let size = size.map(|(width, height)| format!("{width}×{height}"));
    let rate = structure.get::<gst::Fraction>("framerate").ok();
    let rate = rate.map(|rate| match (rate.numer(), rate.denom()) {
        (0, _) => "any rate".to_owned(),
        (numerator, 1) => format!("{numerator} fps"),
        (numerator, denominator) => format!("{numerator}/{denominator} fps"),
    });
    let sound = number("rate").map(|rate| format!("{rate} Hz"));
    let channels = number("channels").map(|channels| format!("{channels} ch"));
    // Other codecs number their profiles, which says nothing to anybody.
    let profile = text("profile").filter(|name| name.parse::<u8>().is_err());
    let rows = [
        [profile, None],
        [text("format"), size],
        [rate, text("stream-format")],
        [sound, channels],
    ];
    for row in rows {
        let row: Vec<String> = row.into_iter().flatten().collect();
        if !row.is_empty() {
            lines.push(row.join(" "));
        }
    }
    lines
}

/// Caps as people write them: without the types that follow from the values.
fn plain(caps: &str) -> String {
    let mut plain = caps.to_owned();
    for kind in ["(string)", "(int)", "(fraction)", "(boolean)"] {
        plain = plain.replace(kind, "");
    }
    plain = plain.replace(", ", ",");
    plain.replace("[ ", "[").replace(" ]", "]")
}
