//! Plays a description for a while, to see what only shows then: devices, files, what the outputs
//! really carry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::{Listening, Names};
use crate::codec::Codec;
use crate::description::{Description, Diagnostic};
use crate::gst::source;

/// What was seen while a description was played.
#[derive(Debug, Default)]
pub struct Run {
    /// What went wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// What each output carries.
    pub codecs: Vec<(String, Codec)>,
}

/// Caps of the first frame by output.
type Seen = Arc<Mutex<HashMap<String, gst::Caps>>>;

/// Plays a description for a time, or until it ends by itself.
pub fn run(description: &Description, time: Duration) -> Run {
    let mut run = Run::default();
    let pipeline = match source::build(description) {
        Ok(pipeline) => pipeline,
        Err(diagnostic) => {
            run.diagnostics.push(diagnostic);
            return run;
        }
    };
    let names = Names::of(pipeline.upcast_ref(), description);
    let listening = Listening::to(pipeline.upcast_ref(), &names);
    let seen = Seen::default();
    for output in description.outputs() {
        if let Err(why) = tap(&pipeline, output, &seen) {
            run.diagnostics.push(names.of_output(output, &why));
        }
    }
    run.diagnostics.extend(play(&pipeline, &names, time));
    run.diagnostics
        .extend(names.stand_ins(pipeline.upcast_ref()));
    // Frames may still come, and must not wait for us.
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let failed = run.diagnostics.iter().any(Diagnostic::is_error);
    for output in description.outputs() {
        match seen.get(output).map(|caps| source::codec_of(output, caps)) {
            Some(Ok(codec)) => run.codecs.push((output.to_owned(), codec)),
            Some(Err(why)) => run.diagnostics.push(names.of_unfit(output, &why)),
            // Something else is the reason.
            None if failed => {}
            None => {
                let message = format!("no frame reached {output} in {} s", time.as_secs_f32());
                let silence = listening.explain(
                    pipeline.upcast_ref(),
                    &names,
                    output,
                    Duration::MAX,
                    &message,
                );
                if !told(&run.diagnostics, &silence) {
                    run.diagnostics.push(silence);
                }
            }
        }
    }
    let _ = pipeline.set_state(gst::State::Null);
    run
}

/// Lets an output's frames come, and keeps the caps of the first.
fn tap(pipeline: &gst::Pipeline, output: &str, seen: &Seen) -> Result<(), String> {
    let failed = |error: glib::BoolError| error.to_string();
    let tee = pipeline
        .by_name(output)
        .ok_or_else(|| format!("there is no tee named {output}"))?;
    let queue = crate::gst::element("queue")?;
    let sink = crate::gst::element("fakesink")?;
    sink.set_property("async", false);
    pipeline.add_many([&queue, &sink]).map_err(failed)?;
    gst::Element::link_many([&tee, &queue, &sink]).map_err(failed)?;
    let pad = sink.static_pad("sink").ok_or("fakesink has no pad")?;
    let (name, seen) = (output.to_owned(), seen.clone());
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
        if let Some(caps) = pad.current_caps() {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(name.clone(), caps);
        }
        gst::PadProbeReturn::Remove
    });
    Ok(())
}

fn told(diagnostics: &[Diagnostic], one: &Diagnostic) -> bool {
    diagnostics.iter().any(|other| other.place == one.place)
}

/// Plays, and returns the errors of the bus.
fn play(pipeline: &gst::Pipeline, names: &Names, time: Duration) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let Some(bus) = pipeline.bus() else {
        return diagnostics;
    };
    let started = pipeline.set_state(gst::State::Playing);
    let end = Instant::now() + time;
    let wanted = [gst::MessageType::Error, gst::MessageType::Eos];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = gst::ClockTime::from_nseconds(left.as_nanos() as u64);
        let message = match started {
            // The reason is on the bus by now.
            Err(_) => bus.pop_filtered(&wanted),
            Ok(_) => bus.timed_pop_filtered(left, &wanted),
        };
        let Some(message) = message else {
            break;
        };
        let gst::MessageView::Error(error) = message.view() else {
            break;
        };
        let details = error.debug().unwrap_or_default();
        let diagnostic = names.diagnostic(error.src(), &error.error(), &details);
        // A file that is not there is told by each of the elements that look for it; and that
        // their state did not change is no news.
        let follows = error.error().matches(gst::CoreError::StateChange) && !diagnostics.is_empty();
        if !follows && !told(&diagnostics, &diagnostic) {
            diagnostics.push(diagnostic);
        }
        if started.is_ok() {
            break;
        }
    }
    diagnostics
}
