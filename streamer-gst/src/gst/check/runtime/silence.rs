//! Which element of a pipeline keeps an output without frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;
use gstreamer as gst;

use super::Names;
use crate::description::Diagnostic;
use crate::description::syntax::Element;
use crate::gst::check::elements::{factory, is_a};

/// Notes which elements get and give data, from the moment it is made.
#[derive(Clone, Debug)]
pub(in crate::gst) struct Listening {
    /// By number of the element.
    heard: Arc<Vec<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    got: AtomicBool,
    gave: AtomicBool,
}

impl Listening {
    /// Begins to listen. Each pad is left in peace after its first buffer.
    pub(in crate::gst) fn to(pipeline: &gst::Bin, names: &Names) -> Self {
        let heard = names.names.iter().map(|_| Heard::default()).collect();
        let listening = Self {
            heard: Arc::new(heard),
        };
        for index in 0..names.names.len() {
            let Some(element) = names.running(pipeline, index) else {
                continue;
            };
            for pad in element.pads() {
                listening.attend(&pad, index);
            }
            let weak = Arc::downgrade(&listening.heard);
            element.connect_pad_added(move |_, pad| {
                if let Some(heard) = weak.upgrade() {
                    Self { heard }.attend(pad, index);
                }
            });
        }
        listening
    }

    fn attend(&self, pad: &gst::Pad, index: usize) {
        let heard = Arc::downgrade(&self.heard);
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(kinds, move |pad, _| {
            if let Some(heard) = heard.upgrade() {
                let heard = &heard[index];
                let flag = match pad.direction() {
                    gst::PadDirection::Src => &heard.gave,
                    _ => &heard.got,
                };
                flag.store(true, Ordering::Relaxed);
            }
            gst::PadProbeReturn::Remove
        });
    }

    /// Why no frame reached an output, at the element where data came last. `message` is what
    /// that means: `no frame reached video in 3 s`.
    pub(in crate::gst) fn explain(&self, names: &Names, output: &str, message: &str) -> Diagnostic {
        let graph = &names.description.graph;
        let got = |index: usize| self.heard[index].got.load(Ordering::Relaxed);
        let gave = |index: usize| self.heard[index].gave.load(Ordering::Relaxed);
        let Some(mut index) = graph.named(output) else {
            return names.of_output(output, message);
        };
        // What it would have to give its data to.
        let mut next = None;
        // A loop of links would be endless.
        for _ in 0..graph.elements.len() {
            if got(index) {
                break;
            }
            let mut feeders: Vec<_> = graph.feeders(index).map(|(_, feeder)| feeder).collect();
            // Of several inputs the one that lacks is to blame.
            feeders.sort_by_key(|feeder| gave(*feeder));
            let Some(feeder) = feeders.first() else {
                break;
            };
            next = Some(index);
            index = *feeder;
        }
        let element = names.element(index);
        let name = &element.factory.text;
        let next = next.map(|next| names.element(next).factory.text.as_str());
        let is_source = graph.feeders(index).next().is_none();
        let does = match (is_source, gave(index), next) {
            (true, false, _) => format!("{name} gives no data"),
            (_, true, Some(next)) => format!("{name} gives nothing to {next}"),
            _ => format!("{name} gets data and gives none"),
        };
        let (property, help) = cure(element, gave(index));
        let property = property.and_then(|property| element.property(property));
        let span = match property {
            Some(property) => property.name.span.to(property.value.span),
            None => element.factory.span,
        };
        let texts = &names.description.texts;
        texts.error(span, format!("{message}: {does}")).help(help)
    }
}

/// What may make an element give data, and the property that has to do with it.
fn cure(element: &Element, gave: bool) -> (Option<&'static str>, String) {
    let name = element.factory.text.as_str();
    let is = |word: &str| factory(element).is_some_and(|factory| is_a(&factory, word));
    let (property, help) = match name {
        "valve" => (Some("drop"), "it is closed: leave drop=true away"),
        "udpsrc" => (
            Some("port"),
            "nothing comes to its port: is the sender on, and is this machine its target?",
        ),
        "tcpserversrc" | "srtsrc" => (
            Some("port"),
            "nobody sends: is the sender on, and is this machine its target?",
        ),
        "rtspsrc" => (
            None,
            "write protocols=tcp behind it; a firewall may keep the camera's packets back",
        ),
        "appsrc" | "fdsrc" | "fakesrc" => (None, "nobody feeds it here: take another source"),
        "input-selector" => (Some("active-pad"), "its chosen input has no data"),
        "queue" | "queue2" | "multiqueue" => (
            Some("min-threshold-time"),
            "it waits to be filled, or for what follows",
        ),
        "decodebin" | "decodebin3" | "uridecodebin" | "uridecodebin3" | "parsebin" if gave => {
            (None, "there is no such stream in it: take this branch out")
        }
        "compositor" | "audiomixer" | "videomixer" | "adder" | "interleave" | "funnel" => {
            (None, "it waits for data on each of its inputs")
        }
        "x264enc" => (None, "it looks ahead: write tune=zerolatency behind it"),
        _ if is("Muxer") => (None, "it waits for data on each of its inputs"),
        _ if is("Demuxer") && gave => (None, "there is no such stream in it: take this branch out"),
        _ if is("Depayloader") || is("Parser") || is("Decoder") => (
            None,
            "it waits for a keyframe or for what describes the stream: the sender must repeat \
             them, as config-interval=-1 of rtph264pay does",
        ),
        _ if is("Encoder") => (
            None,
            "it wants more frames first: give it less to look ahead, or more time",
        ),
        _ => {
            let help = format!("the same command with GST_DEBUG={name}:6 before it shows more");
            return (None, help);
        }
    };
    (property, help.to_owned())
}
