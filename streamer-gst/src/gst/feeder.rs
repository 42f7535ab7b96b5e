//! What waits to be pushed into a viewer's pipeline, picture and sound in the order in which they
//! came. Whoever hands over a frame never waits: what does not fit is not taken.
//!
//! One queue for both, in the place of an appsrc each, makes a viewer cheaper: no thread of its
//! own, and no element that negotiates and counts again what is known here.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use super::buffer_of;
use super::pool::{Door, Lane};
use crate::codec::Codec;
use crate::engine::{Delivery, Frame};

/// A viewer with more than this waiting loses frames.
const MAX_WAITING: Duration = Duration::from_millis(500);
/// The same for sources whose stamps do not move.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// Where the frames of one kind of media go in.
pub(super) struct Input {
    pub(super) codec: Codec,
    /// A source pad that is linked and has had its first events.
    pub(super) pad: gst::Pad,
}

/// The queue. When this is dropped nothing more is pushed; the pipeline has to be stopped before,
/// or a push may be waited for.
pub(super) struct Feeder {
    shared: Arc<Shared>,
    door: Door,
}

struct Shared {
    inputs: Vec<Input>,
    queue: Mutex<Queue>,
    rests: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Frames with the number of their input; the first may be on its way.
    frames: VecDeque<(usize, Frame)>,
    bytes: usize,
    /// The pool knows of the frames.
    ready: bool,
    over: bool,
}

impl Feeder {
    /// A queue that the threads behind `door` empty.
    pub(super) fn new(inputs: Vec<Input>, door: Door) -> Self {
        let shared = Arc::new(Shared {
            inputs,
            queue: Mutex::default(),
            rests: Condvar::new(),
        });
        Self { shared, door }
    }

    /// Never blocks.
    pub(super) fn send(&self, frame: &Frame) -> Delivery {
        let mut inputs = self.shared.inputs.iter();
        let Some(input) = inputs.position(|input| input.codec == frame.codec) else {
            return Delivery::Taken;
        };
        let mut queue = self.shared.lock();
        let oldest = queue.frames.iter().find(|(other, _)| *other == input);
        let late =
            oldest.is_some_and(|(_, first)| frame.pts.saturating_sub(first.pts) > MAX_WAITING);
        if late || queue.bytes > MAX_WAITING_BYTES {
            return Delivery::Full;
        }
        queue.bytes += frame.bytes.len();
        queue.frames.push_back((input, frame.clone()));
        let waiting = std::mem::replace(&mut queue.ready, true);
        drop(queue);
        match waiting {
            true => self.door.still_ready(),
            false => self.door.ready(self.shared.clone()),
        }
        Delivery::Taken
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.over = true;
        while queue.ready {
            let waited = self.shared.rests.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane for Shared {
    fn turn(&self) -> bool {
        let mut queue = self.lock();
        if let (Some((input, frame)), false) = (queue.frames.front(), queue.over) {
            let (pad, buffer) = (&self.inputs[*input].pad, buffer_of(frame));
            drop(queue);
            // Refused only while the pipeline is being stopped.
            let _ = pad.push(buffer);
            queue = self.lock();
            if let Some((_, frame)) = queue.frames.pop_front() {
                queue.bytes -= frame.bytes.len();
            }
        }
        queue.ready = !queue.frames.is_empty() && !queue.over;
        if !queue.ready {
            self.rests.notify_all();
        }
        queue.ready
    }
}

/// A source pad without an element, whose peer hears that it is live.
pub(super) fn source_pad(name: &str) -> gst::Pad {
    gst::Pad::builder(gst::PadDirection::Src)
        .name(name)
        .query_function(|pad, parent, query| match query.view_mut() {
            gst::QueryViewMut::Latency(latency) => {
                latency.set(true, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        })
        .build()
}

/// Opens a linked source pad for frames of a kind.
///
/// # Errors
/// The other side does not take them.
pub(super) fn open(pad: &gst::Pad, stream: &str, caps: &gst::Caps) -> Result<(), String> {
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let opened = pad.set_active(true).is_ok()
        && pad.push_event(gst::event::StreamStart::new(stream))
        && pad.push_event(gst::event::Caps::new(caps))
        && pad.push_event(gst::event::Segment::new(&segment));
    opened
        .then_some(())
        .ok_or_else(|| format!("{caps} cannot be sent"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel, sync_channel};

    use bytes::Bytes;

    use super::super::pool::Pool;
    use super::*;

    fn frame(codec: Codec, pts: u64) -> Frame {
        Frame {
            output: "video".into(),
            codec,
            pts: Duration::from_millis(pts),
            duration: None,
            keyframe: true,
            bytes: Bytes::from_static(&[0; 100]),
        }
    }

    /// A feeder for picture and sound, what has been pushed, and what lets one push be done.
    fn fixture() -> (
        Feeder,
        Receiver<u64>,
        std::sync::mpsc::SyncSender<()>,
        (Pool, Vec<gst::Pad>),
    ) {
        gst::init().unwrap();
        let (pushed, seen) = channel();
        let (go, wait) = sync_channel(1000);
        let wait = Arc::new(Mutex::new(wait));
        let mut sinks = Vec::new();
        let inputs = [Codec::Vp8, Codec::Opus].map(|codec| {
            let (pushed, wait) = (pushed.clone(), wait.clone());
            let sink = gst::Pad::builder(gst::PadDirection::Sink)
                .chain_function(move |_, _, buffer| {
                    let _ = wait.lock().unwrap().recv();
                    let _ = pushed.send(buffer.pts().unwrap().mseconds());
                    Ok(gst::FlowSuccess::Ok)
                })
                .build();
            sink.set_active(true).unwrap();
            let pad = source_pad("frames");
            pad.link(&sink).unwrap();
            open(
                &pad,
                "test",
                &gst::Caps::new_empty_simple("application/x-test"),
            )
            .unwrap();
            sinks.push(sink);
            Input { codec, pad }
        });
        let pool = Pool::new();
        let feeder = Feeder::new(inputs.into(), pool.door().unwrap());
        (feeder, seen, go, (pool, sinks))
    }

    #[test]
    fn frames_go_in_order_and_none_waits_longer_than_half_a_second() {
        let (feeder, seen, go, _sinks) = fixture();
        for at in 0..40 {
            let codec = if at % 2 == 0 { Codec::Vp8 } else { Codec::Opus };
            let taken = feeder.send(&frame(codec, at * 20));
            let expected = if at * 20 <= 510 {
                Delivery::Taken
            } else {
                Delivery::Full
            };
            assert_eq!(taken, expected, "{at}");
        }
        assert_eq!(feeder.send(&frame(Codec::Vp9, 0)), Delivery::Taken);
        for _ in 0..26 {
            go.send(()).unwrap();
        }
        let order: Vec<u64> = (0..26).map(|_| seen.recv().unwrap()).collect();
        assert!(order.is_sorted(), "{order:?}");
        // There is room again.
        go.send(()).unwrap();
        assert_eq!(feeder.send(&frame(Codec::Vp8, 9_000)), Delivery::Taken);
        assert_eq!(seen.recv().unwrap(), 9_000);
    }

    #[test]
    fn stamps_that_stand_still_fill_no_memory() {
        let (feeder, _seen, go, _sinks) = fixture();
        let mut large = frame(Codec::Vp8, 0);
        large.bytes = Bytes::from(vec![0; 1 << 20]);
        let taken = (0..20).filter(|_| feeder.send(&large) == Delivery::Taken);
        assert_eq!(taken.count(), 5);
        for _ in 0..20 {
            go.send(()).unwrap();
        }
    }
}
