//! The pipeline of one stream: as its description says, each output tee followed by
//! `queue ! clocksync ! appsink`, whose frames go into the fan-out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::gate::{self, Entrance};
use super::{Timeline, check, element};
use crate::codec::{Codec, Kind};
use crate::description::{Description, Diagnostic};
use crate::engine::Frame;
use crate::fanout::{Keyframe, Keyframes};
use crate::source::{Failure, Feed, Mode, Source, SourceEvent, SourceEvents, Sources};

/// A source this far ahead of the clock is not live and has to be held back.
const MAX_AHEAD: Duration = Duration::from_millis(250);

/// Starts sources whose frames count from the timeline's epoch.
pub struct GstSources {
    timeline: Timeline,
}

impl GstSources {
    /// See [`Timeline::begin`].
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline }
    }
}

/// A running pipeline.
struct GstSource {
    pipeline: gst::Pipeline,
    outputs: Vec<Output>,
    live: bool,
    listening: check::Listening,
    tap: Arc<Tap>,
}

/// An output tee, and what was added to it.
struct Output {
    name: String,
    /// Where its frames end, and requests for keyframes go in.
    sink: gst::Pad,
    pacer: gst::Element,
    entrance: Arc<Entrance>,
}

/// What the callbacks of one source share.
struct Tap {
    timeline: Timeline,
    feed: Feed,
    events: SourceEvents,
    /// Where errors come from.
    names: check::Names,
    /// Where its running time begins, counted from the timeline's epoch; known with the first
    /// frame.
    offset: OnceLock<Duration>,
    /// The source is being stopped.
    stopped: AtomicBool,
}

impl Sources for GstSources {
    fn start(
        &self,
        description: &Description,
        feed: Feed,
        mode: Mode,
        events: SourceEvents,
    ) -> Result<Box<dyn Source>, Failure> {
        let pipeline = build(description)?;
        pipeline.use_clock(Some(&self.timeline.clock));
        let names = check::Names::of(pipeline.upcast_ref(), description);
        let listening = check::Listening::to(pipeline.upcast_ref(), &names);
        let tap = Arc::new(Tap {
            timeline: self.timeline.clone(),
            feed,
            events: events.clone(),
            names,
            offset: OnceLock::new(),
            stopped: AtomicBool::new(false),
        });
        // From here on an error drops the source and with it the pipeline.
        let mut source = GstSource {
            pipeline,
            outputs: Vec::new(),
            live: false,
            listening,
            tap,
        };
        for output in description.outputs() {
            let output = source.tap(description, output)?;
            source.outputs.push(output);
        }
        watch_bus(&source.pipeline, &source.tap);
        let paused = source.pipeline.set_state(gst::State::Paused);
        // Live sources keep time themselves.
        source.live = paused == Ok(gst::StateChangeSuccess::NoPreroll);
        if !source.live {
            for output in &source.outputs {
                output.pacer.set_property("sync", true);
            }
        }
        match (paused, mode) {
            (Ok(_), Mode::Playing) => source.play(),
            (Ok(_), Mode::Held) => {}
            (Err(_), _) => source.fail_to_start(),
        }
        Ok(Box::new(source))
    }
}

/// Builds the description's pipeline.
pub(super) fn build(description: &Description) -> Result<gst::Pipeline, Diagnostic> {
    let mut wrong = check::check(description).into_iter();
    if let Some(error) = wrong.find(Diagnostic::is_error) {
        return Err(error);
    }
    let element = check::launch(description)?;
    let pipeline = match element.downcast::<gst::Pipeline>() {
        Ok(pipeline) => pipeline,
        Err(element) => {
            let pipeline = gst::Pipeline::new();
            // A new pipeline takes any element that has no parent.
            let _ = pipeline.add(&element);
            pipeline
        }
    };
    find_files(&pipeline, &description.path);
    Ok(pipeline)
}

/// A description names files relative to where gst-launch is run, which is the directory above
/// its own. So they are found from there wherever the streamer was started.
fn find_files(pipeline: &gst::Pipeline, description: &Path) {
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        if element.factory().is_none_or(|f| f.name() != "filesrc") {
            continue;
        }
        let Some(location) = element.property::<Option<String>>("location") else {
            continue;
        };
        let found = check::media_file(description, &location);
        if let Some(path) = found.as_ref().and_then(|path| path.to_str()) {
            element.set_property("location", path);
        }
    }
}

impl GstSource {
    /// Adds `queue ! clocksync ! appsink` to an output tee.
    fn tap(&self, description: &Description, output: &str) -> Result<Output, Failure> {
        let fail = |message: String| Failure::from(description.error_at_output(output, &message));
        let tee = self
            .pipeline
            .by_name(output)
            .filter(|tee| tee.factory().is_some_and(|f| f.name() == "tee"))
            .ok_or_else(|| fail(format!("there is no tee named {output}")))?;
        // Short, or the encoder of a paced file runs ahead and its keyframes come late.
        let queue = element("queue")?;
        queue.set_property("max-size-buffers", 4_u32);
        queue.set_property("max-size-bytes", 0_u32);
        queue.set_property("max-size-time", 0_u64);
        let pacer = element("clocksync")?;
        pacer.set_property("sync", false);
        let entrance = Arc::<Entrance>::default();
        let sink = gst_app::AppSink::builder()
            .sync(false)
            // A file without sound must not keep its picture from playing.
            .async_(false)
            .caps(&accepted_caps())
            .callbacks(callbacks(
                output,
                self.tap.clone(),
                &pacer,
                entrance.clone(),
            ))
            .build();
        let sink_element = sink.upcast_ref::<gst::Element>();
        let failed = |e: glib::BoolError| fail(format!("{output} cannot be tapped: {e}"));
        self.pipeline
            .add_many([&queue, &pacer, sink_element])
            .map_err(failed)?;
        gst::Element::link_many([&tee, &queue, &pacer, sink_element]).map_err(failed)?;
        let sink = sink_element
            .static_pad("sink")
            .ok_or_else(|| fail(format!("{output} cannot be tapped")))?;
        Ok(Output {
            name: output.to_owned(),
            sink,
            pacer,
            entrance,
        })
    }

    fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// The bus has said more by now; this is for elements that only return an error.
    fn fail_to_start(&self) {
        let output = self.outputs.first().map_or("", |output| &output.name);
        let error = self
            .tap
            .names
            .of_output(output, "the pipeline does not start");
        let help = "streamer-gst check --run 3s with GST_DEBUG=3 before it shows more";
        (self.tap.events)(SourceEvent::Failed(error.help(help).into()));
    }
}

impl Source for GstSource {
    fn play(&self) {
        if self.pipeline.set_state(gst::State::Playing).is_err() {
            self.fail_to_start();
        }
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn force_keyframe(&self, output: &str) {
        if let Some(output) = self.output(output) {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build();
            let pad = output.sink.clone();
            // On another thread: what elements do with it is up to the description. Nobody takes
            // it in a pipeline without an encoder; then keyframes come when they come.
            self.pipeline.call_async(move |_| {
                let _ = pad.push_event(event);
            });
        }
    }

    fn keyframes(&self, output: &str) -> Keyframes {
        let tee = self.pipeline.by_name(output);
        match tee.is_some_and(|tee| is_encoded_here(&tee)) {
            true => Keyframes::OnRequest,
            false => Keyframes::AsTheyCome,
        }
    }

    fn can_rest(&self, output: &str) -> bool {
        self.output(output).is_some_and(|output| {
            // One that is held back would run away without an encoder behind the pacer.
            !output.pacer.property::<bool>("sync")
                && (output.entrance).is_there(
                    &self.pipeline,
                    &output.name,
                    &output.sink,
                    &self.tap.timeline,
                )
        })
    }

    fn rest(&self, output: &str) {
        if let Some(output) = self.output(output) {
            output.entrance.close();
        }
    }

    fn wake(&self, output: &str) {
        if let Some(output) = self.output(output) {
            output.entrance.open();
        }
    }

    fn heard(&self, output: &str) -> Option<Duration> {
        self.output(output)?.entrance.heard()
    }

    fn silence(&self, output: &str, within: Duration, message: &str) -> Failure {
        let names = &self.tap.names;
        let diagnostic =
            self.listening
                .explain(self.pipeline.upcast_ref(), names, output, within, message);
        diagnostic.into()
    }

    fn encoders(&self) -> BTreeMap<String, usize> {
        let mut encoders = BTreeMap::new();
        for element in self.pipeline.iterate_recurse().into_iter().flatten() {
            let Some(factory) = element.factory() else {
                continue;
            };
            if factory
                .metadata("klass")
                .is_some_and(|klass| klass.split('/').any(|word| word == "Encoder"))
            {
                *encoders.entry(factory.name().to_string()).or_default() += 1;
            }
        }
        encoders
    }
}

impl Drop for GstSource {
    fn drop(&mut self) {
        self.tap.stopped.store(true, Ordering::Relaxed);
        if let Some(bus) = self.pipeline.bus() {
            bus.set_sync_handler(|_, _| gst::BusSyncReply::Drop);
        }
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

fn watch_bus(pipeline: &gst::Pipeline, tap: &Arc<Tap>) {
    let Some(bus) = pipeline.bus() else {
        return;
    };
    let tap = tap.clone();
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                let details = error.debug().unwrap_or_default();
                tracing::debug!(error = %error.error(), %details, "source failed");
                let told = error.error();
                let diagnostic = tap.names.diagnostic(error.src(), &told, &details);
                (tap.events)(SourceEvent::Failed(Failure {
                    // Drivers that refuse to be opened twice are told as any that cannot be opened.
                    busy: told.matches(gst::ResourceError::Busy)
                        || details.contains("Device or resource busy"),
                    ..diagnostic.into()
                }));
            }
            gst::MessageView::Eos(_) => (tap.events)(SourceEvent::Ended),
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
}

/// What a tee may carry: what can be sent, and raw media for the sake of a clear message.
fn accepted_caps() -> gst::Caps {
    gst::Caps::builder_full()
        .structure(gst::Structure::new_empty("video/x-vp8"))
        .structure(gst::Structure::new_empty("video/x-vp9"))
        .structure(
            gst::Structure::builder("video/x-h264")
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .build(),
        )
        .structure(gst::Structure::new_empty("audio/x-opus"))
        .structure(gst::Structure::new_empty("video/x-raw"))
        .structure(gst::Structure::new_empty("audio/x-raw"))
        .build()
}

/// Why an output cannot be sent.
pub(super) struct Unfit {
    pub(super) message: String,
    /// What to do about it where it is encoded.
    pub(super) help: &'static str,
}

/// The codec of an output by its caps.
pub(super) fn codec_of(output: &str, caps: &gst::CapsRef) -> Result<Codec, Unfit> {
    let unfit = |message: String, help| Err(Unfit { message, help });
    let Some(structure) = caps.structure(0) else {
        return unfit(format!("{output} has no caps"), OTHER_CODEC);
    };
    let codec = match structure.name().as_str() {
        "video/x-vp8" => Codec::Vp8,
        "video/x-vp9" => {
            // Chromium shows garbage and Firefox nothing in other profiles.
            match structure.get::<&str>("profile") {
                Ok("0") | Err(_) => Codec::Vp9,
                Ok(profile) => {
                    let message = format!("browsers do not show VP9 profile {profile}");
                    return unfit(message, "put ! video/x-raw,format=I420 before the encoder");
                }
            }
        }
        "video/x-h264" => match structure.get::<&str>("profile") {
            Ok("constrained-baseline" | "baseline") | Err(_) => Codec::H264,
            Ok(profile) => {
                return unfit(
                    format!("browsers are promised H.264 constrained-baseline, not {profile}"),
                    "put ! video/x-h264,profile=constrained-baseline behind the encoder",
                );
            }
        },
        "audio/x-opus" => match structure.get::<i32>("channel-mapping-family") {
            Ok(0) | Err(_) => Codec::Opus,
            Ok(_) => {
                return unfit(
                    "browsers do not play surround sound".to_owned(),
                    "put ! audio/x-raw,channels=2 before the encoder",
                );
            }
        },
        "video/x-raw" | "audio/x-raw" => {
            let message = format!("the output {output} carries raw media");
            return unfit(message, "put an encoder before it, as vp8enc or opusenc");
        }
        other => return unfit(format!("{output} carries {other}"), OTHER_CODEC),
    };
    let (expected, help) = match output {
        "audio" => (Kind::Audio, "name the tee video"),
        _ => (Kind::Video, "name the tee audio"),
    };
    if codec.kind() != expected {
        return unfit(format!("the output {output} carries {codec}"), help);
    }
    Ok(codec)
}

/// What to do about what cannot be sent.
const OTHER_CODEC: &str = "browsers play VP8, VP9, H.264 and Opus";

fn callbacks(
    output: &str,
    tap: Arc<Tap>,
    pacer: &gst::Element,
    entrance: Arc<Entrance>,
) -> gst_app::AppSinkCallbacks {
    let output: Arc<str> = Arc::from(output);
    let pacer = pacer.downgrade();
    let began = AtomicBool::new(false);
    gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let Ok(sample) = sink.pull_sample() else {
                return Err(gst::FlowError::Eos);
            };
            if tap.stopped.load(Ordering::Relaxed) {
                return Err(gst::FlowError::Flushing);
            }
            let Some(base) = sink.base_time() else {
                return Ok(gst::FlowSuccess::Ok);
            };
            let mut frame = match frame(&output, &sample) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(gst::FlowSuccess::Ok),
                Err(why) => {
                    let error = tap.names.of_unfit(&output, &why);
                    (tap.events)(SourceEvent::Failed(error.into()));
                    return Err(gst::FlowError::Eos);
                }
            };
            let now = tap.timeline.now();
            frame.pts += tap.offset(now, base, frame.pts);
            if frame.pts > now + MAX_AHEAD {
                if let Some(pacer) = pacer.upgrade() {
                    pacer.set_property("sync", true);
                }
            }
            let codec = frame.codec;
            let woke = frame.keyframe && entrance.is_awaited();
            let keyframe = tap.feed.fanout.push(tap.feed.source, now, frame);
            // After the push, so that who hears of it finds a picture.
            if !began.swap(true, Ordering::Relaxed) {
                (tap.events)(SourceEvent::Began {
                    output: output.clone(),
                    codec,
                });
            }
            if woke {
                (tap.events)(SourceEvent::Woke {
                    output: output.clone(),
                });
            }
            if keyframe == Keyframe::Ask {
                (tap.events)(SourceEvent::KeyframeDue {
                    output: output.clone(),
                });
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build()
}

impl Tap {
    /// Where this source's running time begins.
    fn offset(&self, now: Duration, base: gst::ClockTime, pts: Duration) -> Duration {
        *self
            .offset
            .get_or_init(|| match base.checked_sub(self.timeline.epoch) {
                Some(offset) => Duration::from_nanos(offset.nseconds()),
                // A frame before the pipeline has its base time, which is about to be now.
                None => now.saturating_sub(pts),
            })
    }
}

/// Whether what an element gets comes out of a video encoder of this pipeline.
fn is_encoded_here(element: &gst::Element) -> bool {
    let mut at = element.clone();
    // No branch has as many elements; what is linked in a circle ends as well.
    for _ in 0..64 {
        match at.sink_pads().first().and_then(gate::feeder) {
            Some(element) if element.is::<gst_video::VideoEncoder>() => return true,
            Some(element) => at = element,
            None => return false,
        }
    }
    false
}

/// Our own form of a sample; nothing for those that are no frames.
fn frame(output: &Arc<str>, sample: &gst::Sample) -> Result<Option<Frame>, Unfit> {
    let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps()) else {
        return Ok(None);
    };
    let codec = codec_of(output, caps)?;
    let running_time = sample
        .segment()
        .and_then(|segment| segment.downcast_ref::<gst::ClockTime>())
        .and_then(|segment| segment.to_running_time(buffer.pts()?));
    let (Some(pts), Ok(map)) = (running_time, buffer.map_readable()) else {
        return Ok(None);
    };
    if map.is_empty() {
        return Ok(None);
    }
    let keyframe =
        codec.kind() == Kind::Audio || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    Ok(Some(Frame {
        output: output.clone(),
        codec,
        pts: Duration::from_nanos(pts.nseconds()),
        duration: buffer
            .duration()
            .map(|duration| Duration::from_nanos(duration.nseconds())),
        keyframe,
        bytes: Bytes::copy_from_slice(&map),
    }))
}

#[cfg(test)]
mod tests;
