//! Which element of a pipeline keeps an output without frames.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::Names;
use super::negotiation::explain;
use super::reasons::{nothing_in, unanswered};
use crate::description::Diagnostic;
use crate::description::syntax::Element;
use crate::gst::check::elements::{factory, is_a};

/// Notes when the elements of a pipeline get and give data.
#[derive(Debug)]
pub(in crate::gst) struct Listening {
    begin: Instant,
    /// By number of the element.
    heard: Arc<Vec<Heard>>,
}

/// A file from which nothing was read for so long has been read as far as anybody wanted.
const READ_AFTER: Duration = Duration::from_secs(2);

/// Milliseconds from the beginning to the last buffer, and one more; 0 before there was any.
#[derive(Debug, Default)]
struct Heard {
    got: AtomicU64,
    gave: AtomicU64,
}

impl Listening {
    /// Begins to listen to a pipeline that does not run yet.
    pub(in crate::gst) fn to(pipeline: &gst::Bin, names: &Names) -> Self {
        let heard = names.names.iter().map(|_| Heard::default()).collect();
        let listening = Self {
            begin: Instant::now(),
            heard: Arc::new(heard),
        };
        for index in 0..names.names.len() {
            let Some(element) = names.running(pipeline, index) else {
                continue;
            };
            for pad in element.pads() {
                attend(&pad, listening.note(&pad, index));
            }
            let begin = listening.begin;
            let heard = Arc::downgrade(&listening.heard);
            element.connect_pad_added(move |_, pad| {
                if let Some(heard) = heard.upgrade() {
                    attend(pad, Self { begin, heard }.note(pad, index));
                }
            });
        }
        listening
    }

    /// What is to happen when a buffer passes a pad of an element.
    fn note(&self, pad: &gst::Pad, index: usize) -> impl Fn() + Send + Sync + 'static {
        let begin = self.begin;
        let heard = Arc::downgrade(&self.heard);
        let gives = pad.direction() == gst::PadDirection::Src;
        move || {
            let Some(heard) = heard.upgrade() else { return };
            let time = match gives {
                true => &heard[index].gave,
                false => &heard[index].got,
            };
            let passed = begin.elapsed().as_millis() as u64 + 1;
            time.store(passed, Ordering::Relaxed);
        }
    }

    /// Why no frame reaches an output, at the element that data came to last; what is older than
    /// `within` does not count. `message` says what is missed: `no frame reached video in 3 s`.
    pub(in crate::gst) fn explain(
        &self,
        pipeline: &gst::Bin,
        names: &Names,
        output: &str,
        within: Duration,
        message: &str,
    ) -> Diagnostic {
        let graph = &names.description.graph;
        let Some(mut index) = graph.named(output) else {
            return names.of_output(output, message);
        };
        let oldest = self.begin.elapsed().saturating_sub(within).as_millis() as u64;
        let recent = |time: &AtomicU64| time.load(Ordering::Relaxed) > oldest;
        let got = |index: usize| recent(&self.heard[index].got);
        let gave = |index: usize| recent(&self.heard[index].gave);
        // What it would have to give its data to.
        let mut next = None;
        // A loop of links would be endless.
        for _ in 0..graph.elements.len() {
            let feeders: Vec<_> = graph.feeders(index).map(|(_, feeder)| feeder).collect();
            // Of several inputs the one that lacks is to blame.
            let lacking = feeders.iter().find(|feeder| !gave(**feeder));
            let feeder = match got(index) {
                true if feeders.len() > 1 => lacking,
                true => None,
                false => lacking.or(feeders.first()),
            };
            let Some(feeder) = feeder else { break };
            next = Some(index);
            index = *feeder;
        }
        let element = names.element(index);
        let name = &element.factory.text;
        let next = next.map(|next| names.element(next).factory.text.as_str());
        let is_source = graph.feeders(index).next().is_none();
        let texts = &names.description.texts;
        if let (true, false, Some(silence)) = (is_source, gave(index), unanswered(element)) {
            let message = format!("{message}: {}", silence.message);
            return texts
                .error(silence.span.unwrap_or(element.factory.span), message)
                .help(silence.help);
        }
        // What it found fits nobody; GStreamer says so or, in a race, does not.
        let running = splits(element).then(|| names.running(pipeline, index));
        let formats = running.flatten().and_then(|running| {
            let source = running.upcast_ref();
            explain(names, source, true).or_else(|| explain(names, source, false))
        });
        if let Some(diagnostic) = formats {
            return diagnostic;
        }
        let last = Duration::from_millis(self.heard[index].got.load(Ordering::Relaxed));
        let is_read = self.begin.elapsed().saturating_sub(last) > READ_AFTER;
        let head = || names.element(names.head_of(index));
        if splits(element) && !is_source && !gave(index) && is_read {
            if let Some(reason) = nothing_in(head()) {
                let span = reason.span.unwrap_or(element.factory.span);
                return texts.error(span, reason.message).help(reason.help);
            }
        }
        let does = match (is_source, gave(index), next) {
            (true, false, _) => format!("{name} gives no data"),
            (_, true, Some(next)) => format!("{name} gives nothing to {next}"),
            _ => format!("{name} gets data and gives none"),
        };
        let Cure { property, help } = cure(element, gave(index));
        let span = match property.and_then(|name| element.property(name)) {
            Some(property) => property.name.span.to(property.value.span),
            None => element.factory.span,
        };
        texts.error(span, format!("{message}: {does}")).help(help)
    }
}

fn attend(pad: &gst::Pad, note: impl Fn() + Send + Sync + 'static) {
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, _| {
        note();
        gst::PadProbeReturn::Ok
    });
}

/// What may make an element give data, and the property that has to do with it.
struct Cure {
    /// Where it stands.
    property: Option<&'static str>,
    help: Cow<'static, str>,
}

/// Elements that give nothing, the properties that have to do with it, the more telling one first,
/// and what helps.
const CURES: [(&[&str], &[&str], &str); 8] = [
    (&["valve"], &["drop"], "it is closed: leave drop=true away"),
    (
        &["udpsrc"],
        &["port"],
        "nothing comes to its port: is the sender on, and is this machine its target?",
    ),
    (
        &["tcpserversrc", "srtsrc"],
        &["port", "uri"],
        "nobody sends: is the sender on, and is this machine its target?",
    ),
    (
        &["appsrc", "fdsrc", "fakesrc"],
        &[],
        "nobody feeds it here: take another source",
    ),
    (
        &["input-selector"],
        &["active-pad"],
        "its chosen input has no data",
    ),
    (
        &["queue", "queue2", "multiqueue"],
        &["min-threshold-time"],
        "it waits to be filled, or for what follows",
    ),
    (
        &[
            "compositor",
            "audiomixer",
            "videomixer",
            "adder",
            "interleave",
            "funnel",
        ],
        &[],
        EACH_INPUT,
    ),
    (
        &["x264enc"],
        &[],
        "it looks ahead: write tune=zerolatency behind it",
    ),
];
const EACH_INPUT: &str = "it waits for data on each of its inputs";
const NO_SUCH_STREAM: &str = "there is no such stream in it: take this branch out";
/// The same for kinds of elements.
const KINDS: [(&str, &str); 5] = [
    ("Muxer", EACH_INPUT),
    ("Depayloader", KEYFRAME),
    ("Parser", KEYFRAME),
    ("Decoder", KEYFRAME),
    (
        "Encoder",
        "it wants more frames first: give it less to look ahead, or more time",
    ),
];
const KEYFRAME: &str = "it waits for a keyframe or for what describes the stream: the sender must \
                        repeat them, as config-interval=-1 of rtph264pay does";

/// Whether an element finds the streams in what it gets.
fn splits(element: &Element) -> bool {
    let any = [
        "decodebin",
        "decodebin3",
        "uridecodebin",
        "uridecodebin3",
        "parsebin",
    ];
    any.contains(&element.factory.text.as_str())
        || factory(element).is_some_and(|factory| is_a(&factory, "Demuxer"))
}

fn cure(element: &Element, gave: bool) -> Cure {
    let name = element.factory.text.as_str();
    let cure = |property: Option<&'static str>, help: &'static str| Cure {
        property,
        help: help.into(),
    };
    if let Some((_, properties, help)) = CURES.iter().find(|(names, ..)| names.contains(&name)) {
        let mut properties = properties.iter().copied();
        return cure(properties.find(|one| element.property(one).is_some()), help);
    }
    let factory = factory(element);
    let is = |word: &str| factory.as_ref().is_some_and(|factory| is_a(factory, word));
    if gave && splits(element) {
        return cure(None, NO_SUCH_STREAM);
    }
    match KINDS.iter().find(|(kind, _)| is(kind)) {
        Some((_, help)) => cure(None, help),
        None => Cure {
            property: None,
            help: format!("the same command with GST_DEBUG={name}:6 before it shows more").into(),
        },
    }
}
