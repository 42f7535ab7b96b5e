//! Devices as GStreamer knows them: those its monitor lists, and those asked for one by one.

use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use crate::device::{Device, Kind, Mode, condensed};

/// Sound servers that hang, and X servers that do not answer, are not waited for longer.
const LIMIT: Duration = Duration::from_secs(5);

/// What the device monitor lists.
///
/// # Errors
/// GStreamer cannot start, or a device provider hangs.
pub fn monitored() -> Result<Vec<Device>, String> {
    super::init().map_err(|e| format!("GStreamer cannot start: {e}"))?;
    limited(|| {
        let monitor = gst::DeviceMonitor::new();
        for class in ["Video/Source", "Audio/Source", "Source/Monitor"] {
            monitor.add_filter(Some(class), None);
        }
        // An error means that no provider is there: then there are no devices.
        if monitor.start().is_err() {
            return Vec::new();
        }
        let devices = monitor.devices().iter().filter_map(device).collect();
        // Not stopped: PipeWire's provider (0.3.65) corrupts the heap when it is, about every other
        // time. It ends with the process, which lists devices once.
        std::mem::forget(monitor);
        devices
    })
    .ok_or_else(|| "a sound or video server does not answer".to_owned())
}

/// What a camera gives, asked for by its file.
///
/// # Errors
/// Why it cannot be opened, in GStreamer's words.
pub fn camera(path: &str) -> Result<Vec<Mode>, String> {
    asked("v4l2src", "device", path)
}

/// What the screen of an X display gives.
///
/// # Errors
/// Why it cannot be opened, in GStreamer's words.
pub fn screen(display: &str) -> Result<Vec<Mode>, String> {
    asked("ximagesrc", "display-name", display)
}

fn asked(factory: &'static str, property: &'static str, value: &str) -> Result<Vec<Mode>, String> {
    super::init().map_err(|e| format!("GStreamer cannot start: {e}"))?;
    let name = value.to_owned();
    let modes = limited(move || {
        let element = super::element(factory)?;
        element.set_property(property, &name);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let opened = element.set_state(gst::State::Ready);
        let caps = element.static_pad("src").map(|pad| pad.query_caps(None));
        let _ = element.set_state(gst::State::Null);
        // An X display is opened by the question only, and the answer is no error.
        match (opened, caps, said(&bus)) {
            (Ok(_), Some(caps), None) => Ok(caps.iter().filter_map(mode).collect()),
            (_, _, why) => Err(why.unwrap_or_else(|| "it cannot be opened".to_owned())),
        }
    });
    modes.unwrap_or_else(|| Err("it does not answer".to_owned()))
}

/// The first error on a bus.
fn said(bus: &gst::Bus) -> Option<String> {
    let error = bus.pop_filtered(&[gst::MessageType::Error]);
    let text = error.as_ref().and_then(|message| match message.view() {
        gst::MessageView::Error(error) => Some(super::message::explained(
            error.error().message(),
            &error.debug().unwrap_or_default(),
        )),
        _ => None,
    });
    text.map(|text| text.trim_end_matches('.').to_owned())
}

/// Does what may hang on a thread of its own, which is left alone when it does.
fn limited<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, wait) = sync_channel(1);
    thread::spawn(move || {
        let _ = done.send(work());
    });
    wait.recv_timeout(LIMIT).ok()
}

fn device(device: &gst::Device) -> Option<Device> {
    let class = device.device_class();
    let properties = device.properties();
    let property = |name: &str| {
        let properties = properties.as_ref()?;
        properties.get::<String>(name).ok()
    };
    // What a loudspeaker plays is no microphone.
    if property("device.class").is_some_and(|class| class == "monitor") {
        return None;
    }
    let kind = match class.as_str() {
        class if class.contains("Audio") => Kind::Microphone,
        class if class.contains("Monitor") => Kind::Screen,
        _ => Kind::Camera,
    };
    let path = match kind {
        Kind::Camera => property("device.path")
            .or_else(|| property("api.v4l2.path"))
            .filter(|path| path.starts_with("/dev/")),
        _ => None,
    };
    let caps = device.caps();
    let modes: Vec<Mode> = caps
        .iter()
        .flat_map(|caps| caps.iter())
        .filter_map(mode)
        .collect();
    let element = match (&path, kind) {
        (Some(path), Kind::Camera) => Some(format!("v4l2src device={path}")),
        _ => element_of(device),
    };
    Some(Device {
        kind,
        name: device.display_name().to_string(),
        run: path
            .as_ref()
            .map(|path| format!("./dev run camera device={path}")),
        path,
        formats: condensed(&modes),
        element,
        problem: None,
        cure: None,
    })
}

/// The element that takes from a device, with the property that names it.
fn element_of(device: &gst::Device) -> Option<String> {
    let element = device.create_element(None).ok()?;
    let factory = element.factory()?.name();
    let named = ["device", "target-object", "path"].iter().find_map(|name| {
        let found = element.find_property(name)?;
        let value = element.property_value(name);
        let text = value.get::<Option<String>>().ok().flatten()?;
        Some(format!("{factory} {}={text}", found.name()))
    });
    Some(named.unwrap_or_else(|| factory.to_string()))
}

/// One structure of caps.
fn mode(structure: &gst::StructureRef) -> Option<Mode> {
    let codec = match structure.name().as_str() {
        "video/x-raw" | "audio/x-raw" => "raw",
        "image/jpeg" => "MJPEG",
        "video/x-h264" => "H.264",
        "video/x-h265" => "H.265",
        "video/x-vp8" => "VP8",
        "video/mpegts" => "MPEG-TS",
        "video/x-bayer" => "Bayer",
        other => other,
    };
    let field = |name: &str| structure.value(name).ok().map(values).unwrap_or_default();
    let one = |name: &str| field(name).into_iter().next();
    Some(Mode {
        codec: codec.to_owned(),
        layouts: field("format"),
        size: one("width").zip(one("height")),
        rates: match structure.has_field("framerate") {
            true => field("framerate"),
            false => field("rate"),
        },
        channels: field("channels"),
    })
}

/// The values that a field allows, as text.
fn values(value: &glib::SendValue) -> Vec<String> {
    let fraction = |value: gst::Fraction| match value.denom() {
        1 => value.numer().to_string(),
        _ => format!("{}/{}", value.numer(), value.denom()),
    };
    // Who says that everything is possible only says that nothing is known.
    let range = |low: String, high: String| format!("{low}–{high}");
    if let Ok(list) = value.get::<gst::List>() {
        return list.iter().flat_map(values).collect();
    }
    if let Ok(text) = value.get::<String>() {
        return vec![text];
    }
    if let Ok(number) = value.get::<i32>() {
        return vec![number.to_string()];
    }
    if let Ok(value) = value.get::<gst::Fraction>() {
        return vec![fraction(value)];
    }
    if let Ok(value) = value.get::<gst::IntRange<i32>>() {
        return match value.max() {
            i32::MAX => Vec::new(),
            max => vec![range(value.min().to_string(), max.to_string())],
        };
    }
    if let Ok(value) = value.get::<gst::FractionRange>() {
        return match value.max().numer() {
            i32::MAX => Vec::new(),
            _ => vec![range(fraction(value.min()), fraction(value.max()))],
        };
    }
    Vec::new()
}
