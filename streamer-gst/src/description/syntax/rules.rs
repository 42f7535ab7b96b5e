//! Rules of a description that can be checked without knowing any element: names and outputs.

use crate::description::diagnostic::Diagnostic;
use crate::description::nearest::did_you_mean;
use crate::description::syntax::{Element, Graph, Node};
use crate::description::text::{Span, Texts};

/// Parts of the names of encoders for sound.
const SOUND: [&str; 7] = ["opus", "aac", "mp3", "vorbis", "flac", "law", "speex"];
const OUTPUT: &str = "end a branch in ! tee name=video allow-not-linked=true, or name=audio";

/// Everything that breaks a rule. `end` is where the body ends, if all of it could be read.
pub(in crate::description) fn check(
    texts: &Texts,
    graph: &Graph,
    end: Option<Span>,
) -> Vec<Diagnostic> {
    let mut diagnostics = names(texts, graph);
    diagnostics.extend(references(texts, graph));
    diagnostics.extend(outputs(texts, graph, end));
    diagnostics
}

/// Where an element's name stands, if it has one.
fn name_span(element: &Element) -> Option<Span> {
    element.property("name").map(|p| p.value.span)
}

fn names(texts: &Texts, graph: &Graph) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (index, element) in graph.elements.iter().enumerate() {
        let (Some(name), Some(span)) = (element.name(), name_span(element)) else {
            continue;
        };
        let first = graph.elements[..index]
            .iter()
            .find(|other| other.name() == Some(name) && other.bin == element.bin);
        if let Some(first) = first.and_then(name_span) {
            diagnostics.push(
                texts
                    .error(span, format!("two elements are named {name}"))
                    .help("give one of them another name")
                    .related(texts.place(first), "the first one"),
            );
        }
    }
    diagnostics
}

fn references(texts: &Texts, graph: &Graph) -> Vec<Diagnostic> {
    let ends = graph.links.iter().flat_map(|link| [&link.from, &link.to]);
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    for end in ends {
        let Node::Named(name) = &end.node else {
            continue;
        };
        if graph.named(&name.text).is_some() {
            continue;
        }
        // Names that GStreamer gives by itself count on as long as the program runs: this one would
        // be right once.
        let factory = name.text.trim_end_matches(|c: char| c.is_ascii_digit());
        let automatic = factory != name.text
            && graph
                .elements
                .iter()
                .any(|e| e.factory.text == factory || e.factory.text == name.text);
        let known = graph.elements.iter().filter_map(Element::name);
        let message = format!("no element is named {}", name.text);
        diagnostics.push(match automatic {
            true => texts.error(name.span, message).help(format!(
                "put name={} behind {factory}; the names GStreamer gives change",
                name.text
            )),
            false => {
                let whole = end.pad.as_ref().map(|pad| name.span.to(pad.span));
                let quoted = whole.and_then(|whole| graph.in_quotes(texts, whole));
                // `mixer.` for name=mix.
                let longer = |known: &&str| {
                    known.len() > 2
                        && (name.text.starts_with(known) || known.starts_with(&*name.text))
                };
                let near = did_you_mean(&name.text, known.clone()).or_else(|| {
                    let near = known.clone().find(longer)?;
                    Some(format!("did you mean {near}?"))
                });
                match (near, quoted) {
                    (None, Some(quoted)) => texts
                        .error(
                            whole.unwrap_or(name.span),
                            "a blank ends the value before this",
                        )
                        .help(format!("write {quoted}")),
                    (near, _) => texts
                        .error(name.span, message)
                        .help(near.unwrap_or_else(|| {
                            match super::super::is_output_name(&name.text) {
                                true => format!(
                                    "write tee name={} allow-not-linked=true in its place",
                                    name.text
                                ),
                                false => format!("put name={} behind the element", name.text),
                            }
                        })),
                }
            }
        });
    }
    diagnostics
}

/// What the name of a tee that is no output may have been meant for.
fn output_near(name: &str) -> String {
    let joined = name.replace(['-', '.'], "_");
    match did_you_mean(name, ["video", "audio"]) {
        Some(near) => near,
        None if super::super::is_output_name(&joined) => format!("write name={joined}"),
        None => "outputs are named video, audio, or video_SUFFIX".to_owned(),
    }
}

/// What to write in the place of a sink, by what the names before it say.
fn instead_of(graph: &Graph, sink: &Element) -> String {
    let mut out = vec![sink.factory.text.as_str()];
    let mut at = graph.elements.iter().position(|e| std::ptr::eq(e, sink));
    for _ in 0..graph.elements.len() {
        let feeder = at.and_then(|at| graph.feeders(at).next());
        let Some((_, before)) = feeder else {
            break;
        };
        let name = graph.elements[before].factory.text.as_str();
        if name.ends_with("enc") {
            let sound = SOUND.iter().any(|part| name.contains(part));
            let output = if sound { "audio" } else { "video" };
            return format!(
                "take ! {} out, and put ! tee name={output} allow-not-linked=true behind {name}; \
                 streamer-gst import does it",
                out.join(" ! ")
            );
        }
        if name.ends_with("mux") || name.ends_with("pay") {
            out.insert(0, name);
        }
        at = Some(before);
    }
    "write an encoder and tee name=video allow-not-linked=true in its place".to_owned()
}

fn outputs(texts: &Texts, graph: &Graph, end: Option<Span>) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut found = false;
    for element in &graph.elements {
        if element.is_output() {
            found = true;
            // What is no yes or no is told by who knows properties.
            let refused = element.property("allow-not-linked").map(|p| {
                let value = p.value.text.to_lowercase();
                matches!(value.as_str(), "false" | "no" | "0" | "f")
            });
            let alone = |e: &Element| e.factory.text.trim_end_matches(':') == "allow-not-linked";
            if refused.unwrap_or(!graph.elements.iter().any(alone)) {
                let span = name_span(element).unwrap_or(element.factory.span);
                let warning = texts.warning(
                    element.factory.span.to(span),
                    "this tee fails by hand while nothing is linked to it",
                );
                diagnostics.push(warning.help("add allow-not-linked=true"));
            }
        }
    }
    let Some(end) = end.filter(|_| !found) else {
        return diagnostics;
    };
    // Something that was meant to be one?
    for element in &graph.elements {
        let (Some(name), Some(span)) = (element.name(), name_span(element)) else {
            continue;
        };
        let factory = &element.factory.text;
        if factory != "tee" && factory.eq_ignore_ascii_case("tee") {
            let error = texts.error(element.factory.span, format!("there is no {factory}"));
            diagnostics.push(error.help("write tee"));
            found = true;
        } else if super::super::is_output_name(name) {
            diagnostics.push(
                texts
                    .error(
                        span,
                        format!("{name} is a {factory}, and an output is a tee"),
                    )
                    .help(format!(
                        "write ! tee name={name} allow-not-linked=true behind it"
                    )),
            );
            found = true;
        } else if factory == "tee" {
            diagnostics.push(
                texts
                    .error(span, format!("the tee {name} is no output"))
                    .help(output_near(name)),
            );
            found = true;
        }
    }
    if !found {
        let ends = |end: &str| {
            graph.elements.iter().find(|e| {
                e.factory
                    .text
                    .trim_end_matches(char::is_numeric)
                    .ends_with(end)
            })
        };
        // `tee video` and `tee name: video`; who knows elements has more to say of that place.
        let meant = |(before, word): &(Option<usize>, usize)| {
            let word = graph.elements[*word].factory.text.trim_end_matches(':');
            let tee = before.is_some_and(|before| graph.elements[before].factory.text == "tee");
            tee && (word == "name" || super::super::is_output_name(word))
        };
        if let Some((_, word)) = graph.breaks.iter().find(|one| meant(one)) {
            let error = texts.error(
                graph.elements[*word].factory.span,
                "this does not name the tee before it",
            );
            diagnostics.push(error.help("write tee name=video allow-not-linked=true"));
            return diagnostics;
        }
        let (span, message, help) = match (ends("tee"), ends("sink")) {
            (Some(tee), _) => (
                tee.factory.span,
                "this tee has no name, so it is no output",
                "write tee name=video allow-not-linked=true, or name=audio",
            ),
            (None, Some(sink)) => {
                let message = "this ends in a sink, not in an output";
                let error = texts.error(sink.factory.span, message);
                diagnostics.push(error.help(instead_of(graph, sink)));
                return diagnostics;
            }
            (None, None) if ends("playbin").is_some() => (
                ends("playbin").map_or(end, |player| player.factory.span),
                "this plays on this machine, and has no output",
                "write uridecodebin with the same uri, ! videoconvert ! vp8enc and a tee name=video",
            ),
            (None, None) => (end, "the description has no output", OUTPUT),
        };
        diagnostics.push(texts.error(span, message).help(help));
    }
    diagnostics
}
