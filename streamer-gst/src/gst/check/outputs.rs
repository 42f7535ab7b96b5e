//! What the outputs carry, as far as it shows without running: raw media, RTP, a codec browsers
//! do not know; and sinks and payloaders that were left in.

use gstreamer as gst;

use super::caps::{parse, parts};
use super::elements::{factory, is_a};
use super::links::templates;
use crate::description::syntax::{Element, Graph};
use crate::description::{Description, Diagnostic, Span, Texts, Word, is_output_name};

/// What can be sent.
pub(super) const SENT: [&str; 4] = ["video/x-vp8", "video/x-vp9", "video/x-h264", "audio/x-opus"];

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let (texts, graph) = (&description.texts, &description.graph);
    let mut diagnostics = Vec::new();
    let outputs = graph.elements.iter().enumerate();
    for (index, output) in outputs.filter(|(_, element)| element.is_output()) {
        diagnostics.extend(check_output(texts, graph, index, output));
    }
    // What stands in the place of an output is told as that.
    let has_outputs = !description.outputs().is_empty();
    for (index, element) in graph.elements.iter().enumerate() {
        let name = &element.factory.text;
        let span = element.factory.span;
        if has_outputs && SHOWING.contains(&name.as_str()) {
            let error = texts.error(
                span,
                "a window or loudspeaker does not belong into a stream",
            );
            let help = format!(
                "take ! {name} and the branch to it out, as streamer-gst import does by itself"
            );
            diagnostics.push(error.help(help));
            continue;
        }
        let elsewhere = ELSEWHERE.iter().find(|(one, ..)| one == name);
        if let Some((_, cause, cure)) = elsewhere.filter(|_| has_outputs) {
            diagnostics.push(texts.error(span, *cause).help(*cure));
            continue;
        }
        let Some(factory) = factory(element) else {
            continue;
        };
        if is_a(&factory, "Payloader") {
            let warning = texts.warning(
                span,
                format!("{name} makes RTP, which outputs do by themselves"),
            );
            let behind = graph.links_from(index).find_map(|link| {
                let next = &graph.elements[graph.element_at(&link.to)?];
                let depayloads = self::factory(next).is_some_and(|f| is_a(&f, "Depayloader"));
                depayloads.then_some(&next.factory.text)
            });
            diagnostics.push(match behind {
                Some(depayloader) => warning.help(format!("take it out, with {depayloader}")),
                None => warning.help("take it out, with everything behind it"),
            });
        } else if is_a(&factory, "Sink") && !(element.name().is_some_and(is_output_name)) {
            let warning = texts.warning(span, format!("{name} plays or stores on this machine"));
            diagnostics.push(warning.help("browsers get what the outputs carry; take it out"));
        }
    }
    diagnostics
}

/// Sinks that show or play on the machine they run on.
pub(super) const SHOWING: [&str; 26] = [
    "aasink",
    "alsasink",
    "autoaudiosink",
    "autovideosink",
    "cacasink",
    "d3d11videosink",
    "directsoundsink",
    "fbdevsink",
    "fpsdisplaysink",
    "glimagesink",
    "gtk4paintablesink",
    "gtkglsink",
    "gtksink",
    "jackaudiosink",
    "kmssink",
    "nv3dsink",
    "nveglglessink",
    "openalsink",
    "oss4sink",
    "osssink",
    "osxaudiosink",
    "osxvideosink",
    "pulsesink",
    "waylandsink",
    "ximagesink",
    "xvimagesink",
];

/// Elements that do nothing in a stream, why, and what to do.
const ELSEWHERE: [(&str, &str, &str); 3] = [
    (
        "fdsrc",
        "fdsrc reads standard input, which a stream does not have",
        "write the source itself, as libcamerasrc, v4l2src or filesrc",
    ),
    ("playbin", PLAYS, DECODES),
    ("playbin3", PLAYS, DECODES),
];
const PLAYS: &str = "this plays on this machine, and gives nothing that could be linked";
const DECODES: &str = "write uridecodebin with the same uri in its place";

/// What an output carries for sure, and where that is decided.
pub(super) struct Carried<'a> {
    pub(super) caps: gst::Caps,
    pub(super) element: Option<&'a Element>,
    span: Span,
    /// Caps behind the encoder that say more.
    filters: Vec<(gst::Caps, &'a Word)>,
}

/// Goes up from an element to the first that says what it carries.
pub(super) fn carried(graph: &Graph, output: usize) -> Option<Carried<'_>> {
    let mut filters = Vec::new();
    let mut index = output;
    // A loop of links would be endless.
    for _ in 0..graph.elements.len() {
        let mut links = graph.links.iter();
        let link = links.find(|link| graph.element_at(&link.to) == Some(index))?;
        if let Some(caps) = &link.caps {
            let parsed = parse(caps)?;
            if filters.is_empty() && !parsed.is_any() {
                let from = graph
                    .element_at(&link.from)
                    .map(|from| &graph.elements[from]);
                let passes = from.is_none_or(|from| gives(from).is_none_or(|c| c.is_any()));
                if passes {
                    return Some(Carried {
                        caps: parsed,
                        element: None,
                        span: caps.span,
                        filters,
                    });
                }
            }
            filters.push((parsed, caps));
        }
        index = graph.element_at(&link.from)?;
        let element = &graph.elements[index];
        let caps = gives(element)?;
        if !caps.is_any() {
            return Some(Carried {
                caps,
                element: Some(element),
                span: element.factory.span,
                filters,
            });
        }
        if !hands_on(element) {
            return None;
        }
    }
    None
}

/// Whether an element gives what it gets.
pub(crate) fn hands_on(element: &Element) -> bool {
    matches!(
        element.factory.text.as_str(),
        "queue" | "queue2" | "tee" | "identity" | "clocksync" | "capsfilter" | "valve"
    )
}

/// Everything an element may give.
pub(super) fn gives(element: &Element) -> Option<gst::Caps> {
    let factory = factory(element)?;
    let mut caps = gst::Caps::new_empty();
    for template in templates(&factory, gst::PadDirection::Src) {
        caps.merge(template.caps());
    }
    (!caps.is_empty()).then_some(caps)
}

fn check_output(
    texts: &Texts,
    graph: &Graph,
    index: usize,
    output: &Element,
) -> Option<Diagnostic> {
    let fed = graph
        .links
        .iter()
        .any(|link| graph.element_at(&link.to) == Some(index));
    let name = output.name()?;
    if !fed {
        let broken = graph.breaks.iter().any(|(_, after)| *after == index);
        let error = texts.error(
            output.factory.span,
            format!("nothing is linked to the output {name}"),
        );
        return (!broken).then(|| error.help("write … ! tee before its name"));
    }
    let carried = carried(graph, index)?;
    let mut caps = carried.caps.clone();
    for (filter, _) in &carried.filters {
        caps = caps.intersect(filter);
    }
    if caps.is_empty() || caps.is_any() {
        return None;
    }
    let medias: Vec<_> = caps.iter().map(|s| s.name().to_string()).collect();
    let all = |test: &dyn Fn(&str) -> bool| medias.iter().all(|media| test(media));
    let what = carried
        .element
        .map_or("these caps", |e| e.factory.text.as_str());
    if all(&|media| media.ends_with("/x-raw") || media == "video/x-bayer") {
        let encoder = match name {
            "audio" => "opusenc",
            _ => "vp8enc deadline=1",
        };
        let error = texts.error(
            output.factory.span,
            format!("the output {name} carries raw media from {what}"),
        );
        return Some(
            error
                .help(format!(
                    "put an encoder before it: {encoder} ! tee name={name}"
                ))
                .related(texts.place(carried.span), "raw media"),
        );
    }
    if all(&|media| media.starts_with("application/x-rtp")) {
        let message = format!("{what} makes RTP, and outputs carry encoded frames");
        return Some(
            texts
                .error(carried.span, message)
                .help("take the payloader out"),
        );
    }
    let sent = |media: &str| SENT.contains(&media);
    if all(&|media| !sent(media)) {
        let message = format!("browsers do not play {}, which {what} gives", medias[0]);
        let is = |word: &str| {
            let factory = carried.element.and_then(factory);
            factory.is_some_and(|factory| is_a(&factory, word))
        };
        let help = match (name, is("Muxer"), is("Encoder")) {
            (_, true, _) => format!("take {what} out: outputs carry no container"),
            ("audio", _, true) => format!("write opusenc in the place of {what}"),
            (_, _, true) => format!("write vp8enc deadline=1 in the place of {what}"),
            _ => "encode as VP8, VP9, H.264 or Opus, or decode and encode again".to_owned(),
        };
        return Some(texts.error(carried.span, message).help(help));
    }
    let kind = if name == "audio" { "audio/" } else { "video/" };
    if all(&|media| !media.starts_with(kind)) {
        let message = format!("the output {name} carries {} from {what}", medias[0]);
        let span = output
            .property("name")
            .map_or(output.factory.span, |p| p.value.span);
        let other = if name == "audio" { "video" } else { "audio" };
        return Some(texts.error(span, message).help(format!("name it {other}")));
    }
    let encoder = carried.element.filter(|e| e.factory.text == "x264enc")?;
    let stated = carried.filters.iter().find_map(|(caps, word)| {
        let profile = caps.iter().find_map(|s| s.get::<String>("profile").ok())?;
        Some((profile, *word))
    });
    match stated {
        None => {
            let message = "x264enc may choose a profile that does not play in every browser";
            let warning = texts.warning(encoder.factory.span, message);
            Some(warning.help("put ! video/x-h264,profile=constrained-baseline behind it"))
        }
        Some((profile, _)) if profile.ends_with("baseline") => None,
        Some((profile, word)) => {
            let message =
                format!("browsers are promised H.264 constrained-baseline, not {profile}");
            let error = texts.error(span_of_field(word, "profile"), message);
            Some(error.help("write profile=constrained-baseline"))
        }
    }
}

/// Where a field stands in caps.
fn span_of_field(caps: &Word, name: &str) -> Span {
    let (_, mut fields) = parts(&caps.text);
    fields.retain(|range| caps.text[range.clone()].trim_start().starts_with(name));
    fields
        .into_iter()
        .next()
        .map_or(caps.span, |range| caps.span_of(range))
}
