//! Stills: a JPEG of a picture file or of encoded frames, small enough for a list.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{buffer_of, frame_caps};
use crate::engine::Frame;

/// Longest side in pixels.
const MAX_SIDE: i32 = 640;
/// Largest JPEG in bytes.
const MAX_BYTES: usize = 48 * 1024;
/// Making one takes tens of milliseconds; broken files must not keep a thread.
const LIMIT: Duration = Duration::from_secs(3);
/// Tried in turn until the JPEG is small enough.
const STEPS: [(i32, i32); 5] = [
    (MAX_SIDE, 80),
    (MAX_SIDE, 55),
    (480, 50),
    (320, 40),
    (160, 40),
];

/// Scales the picture in a file to a JPEG of at most 640 pixels and 48 KiB.
///
/// # Errors
/// Why there is no picture, in one line.
pub fn still_of_file(path: &Path) -> Result<Bytes, String> {
    let path = path
        .to_str()
        .ok_or("the image's file name is not UTF-8")?
        .to_owned();
    let decoder = Decoder::new("filesrc name=from")?;
    decoder.element("from")?.set_property("location", &path);
    shrink(&decoder.last_picture()?)
}

/// Decodes frames, the first of them a keyframe, and makes a JPEG of the last picture.
///
/// # Errors
/// Why there is no picture, in one line.
pub fn still_of_frames(frames: &[Frame]) -> Result<Bytes, String> {
    let codec = frames.first().ok_or("there is no picture yet")?.codec;
    let decoder = Decoder::new("appsrc name=from format=time")?;
    let source = decoder.source()?;
    source.set_caps(Some(&frame_caps(codec)));
    source.set_max_bytes(0);
    for frame in frames {
        let _ = source.push_buffer(buffer_of(frame));
    }
    let _ = source.end_of_stream();
    shrink(&decoder.last_picture()?)
}

/// Encodes until it fits.
fn shrink(picture: &gst::Sample) -> Result<Bytes, String> {
    for (side, quality) in STEPS {
        let jpeg = encode(picture, side, quality)?;
        if jpeg.len() <= MAX_BYTES {
            return Ok(jpeg);
        }
    }
    Err("the picture does not get small enough".to_owned())
}

fn encode(picture: &gst::Sample, side: i32, quality: i32) -> Result<Bytes, String> {
    let decoder = Decoder::parse(&format!(
        "appsrc name=from format=time ! {} ! jpegenc quality={quality} \
         ! appsink name=to sync=false",
        scale(side)
    ))?;
    let source = decoder.source()?;
    let _ = source.push_sample(picture);
    let _ = source.end_of_stream();
    let sample = decoder.last_picture()?;
    let buffer = sample.buffer().ok_or("the JPEG is empty")?;
    let map = buffer
        .map_readable()
        .map_err(|_| "the JPEG cannot be read".to_owned())?;
    Ok(Bytes::copy_from_slice(&map))
}

/// Square pixels, and no side longer than given.
fn scale(side: i32) -> String {
    format!(
        "videoconvert ! videoscale ! \
         video/x-raw,format=I420,width=[1,{side}],height=[1,{side}],pixel-aspect-ratio=1/1"
    )
}

/// A pipeline that runs to its end and is gone.
struct Decoder {
    pipeline: gst::Pipeline,
}

impl Decoder {
    fn new(source: &str) -> Result<Self, String> {
        // Two pictures may wait: decoding must not run ahead and fill the memory.
        Self::parse(&format!(
            "{source} ! decodebin ! {} ! appsink name=to sync=false max-buffers=2",
            scale(MAX_SIDE)
        ))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let pipeline = gst::parse::launch(text)
            .map_err(|e| e.message().to_owned())?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "not a pipeline".to_owned())?;
        Ok(Self { pipeline })
    }

    fn source(&self) -> Result<gst_app::AppSrc, String> {
        self.element("from")?
            .downcast()
            .map_err(|_| "appsrc is something else".to_owned())
    }

    fn element(&self, name: &str) -> Result<gst::Element, String> {
        self.pipeline
            .by_name(name)
            .ok_or_else(|| format!("there is no element {name}"))
    }

    /// The last sample before the end.
    fn last_picture(&self) -> Result<gst::Sample, String> {
        let sink = self
            .element("to")?
            .downcast::<gst_app::AppSink>()
            .map_err(|_| "appsink is something else".to_owned())?;
        let deadline = Instant::now() + LIMIT;
        self.pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| "the picture cannot be decoded".to_owned())?;
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // Short waits: an error ends no sample.
            let wait = left.min(Duration::from_millis(50)).as_nanos() as u64;
            match sink.try_pull_sample(gst::ClockTime::from_nseconds(wait)) {
                Some(sample) => last = Some(sample),
                None if sink.is_eos() => break,
                None if self.failed() => break,
                None => {}
            }
        }
        last.ok_or_else(|| "the picture cannot be decoded".to_owned())
    }

    fn failed(&self) -> bool {
        self.pipeline
            .bus()
            .is_some_and(|bus| bus.pop_filtered(&[gst::MessageType::Error]).is_some())
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
