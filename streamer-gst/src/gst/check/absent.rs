//! What to do about an element that is not there.

use glib::prelude::*;
use gst::prelude::*;
use gstreamer as gst;

use super::outputs::SHOWING;
use super::packages::{known, package_of};
use crate::description::nearest;

/// Coders that exist only where their hardware and its driver do, by how their names begin: what
/// that is, and the package that has them in store for it.
const HARDWARE: [(&str, &str, Option<&str>); 11] = [
    ("nvv4l2", "an NVIDIA Jetson and its own packages", None),
    (
        "nv",
        "an NVIDIA card and its driver",
        Some("gstreamer1.0-plugins-bad"),
    ),
    (
        "qsv",
        "Intel graphics and its driver",
        Some("gstreamer1.0-plugins-bad"),
    ),
    (
        "msdk",
        "Intel graphics and its driver",
        Some("gstreamer1.0-plugins-bad"),
    ),
    (
        "vaapi",
        "VA-API graphics and its driver",
        Some("gstreamer1.0-vaapi"),
    ),
    (
        "va",
        "VA-API graphics and its driver",
        Some("gstreamer1.0-plugins-bad"),
    ),
    (
        "v4l2",
        "a coder in the chip and its driver",
        Some("gstreamer1.0-plugins-good"),
    ),
    (
        "omx",
        "a coder in the chip and its OpenMAX driver",
        Some("gstreamer1.0-omx-generic"),
    ),
    ("vt", "macOS", None),
    ("mf", "Windows", None),
    ("d3d11", "Windows", None),
];

/// Elements of no Debian package, by how their names begin, and where they are from.
const FOREIGN: [(&str, &str); 13] = [
    ("aws", "gst-plugins-rs (aws)"),
    ("fallbacksrc", "gst-plugins-rs (fallbackswitch)"),
    ("fallbackswitch", "gst-plugins-rs (fallbackswitch)"),
    ("gtk4", "gst-plugins-rs (gtk4)"),
    ("hlssink3", "gst-plugins-rs (hlssink3)"),
    ("kvssink", "the Kinesis Video producer SDK of Amazon"),
    ("livekit", "gst-plugins-rs (webrtc)"),
    ("ndi", "gst-plugins-rs (ndi)"),
    ("rav1enc", "gst-plugins-rs (rav1e)"),
    ("webrtcsink", "gst-plugins-rs (webrtc)"),
    ("webrtcsrc", "gst-plugins-rs (webrtc)"),
    ("whep", "gst-plugins-rs (webrtchttp)"),
    ("whip", "gst-plugins-rs (webrtchttp)"),
];

/// Names out of old books, and what became of them.
const RENAMED: [(&str, &str); 5] = [
    ("ffmpegcolorspace", "videoconvert"),
    ("decodebin2", "decodebin"),
    ("playbin2", "playbin"),
    ("gstrtpbin", "rtpbin"),
    ("ffdec_h264", "avdec_h264"),
];

/// Elements of other systems, and what does their work on every machine.
const INSTEAD: [(&str, &str); 8] = [
    (
        "avfvideosrc",
        "it is of macOS; v4l2src reads cameras on Linux",
    ),
    (
        "ksvideosrc",
        "it is of Windows; v4l2src reads cameras on Linux",
    ),
    ("mad", "mpg123audiodec does its work"),
    (
        "mfvideosrc",
        "it is of Windows; v4l2src reads cameras on Linux",
    ),
    (
        "nvarguscamerasrc",
        "it is of an NVIDIA Jetson; v4l2src reads cameras elsewhere",
    ),
    (
        "nvvidconv",
        "it is of an NVIDIA Jetson; videoconvert and videoscale work elsewhere",
    ),
    (
        "v4l2convert",
        "it needs a converter in the chip; videoconvert and videoscale work elsewhere",
    ),
    (
        "xvidenc",
        "browsers do not play what it makes; write vp8enc or x264enc",
    ),
];

/// Words that begin lines of other programs.
const OTHERS: [(&str, &str); 3] = [
    ("export", "write ${name:-default} where a parameter is used"),
    ("set", "write ${name:-default} where a parameter is used"),
    ("sudo", "begin with the first element"),
];

/// What to do about an element that is not there.
pub(super) fn cure(name: &str) -> String {
    if let Some((_, help)) = OTHERS.iter().find(|(other, _)| *other == name) {
        return (*help).to_owned();
    }
    if name.ends_with(':') {
        return "take it out; a property is written name=value".to_owned();
    }
    if let Some((_, help)) = INSTEAD.iter().find(|(absent, _)| *absent == name) {
        return (*help).to_owned();
    }
    if SHOWING.contains(&name) {
        return format!("take ! {name} and the branch to it out: browsers get what outputs carry");
    }
    if let Some(help) = hardware(name) {
        return help;
    }
    if let Some(package) = package_of(name) {
        return format!("install it: apt install {package}");
    }
    if let Some((_, now)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return format!("it is called {now} today");
    }
    if let Some((_, home)) = FOREIGN.iter().find(|(start, _)| name.starts_with(start)) {
        let way = match name.ends_with("sink") {
            true => "take it out: browsers get what the outputs carry",
            false => "build it from there",
        };
        return format!("no Debian package has it, it is from {home}; {way}");
    }
    if name.starts_with("fdkaac") {
        return "Debian leaves it out for its licence; browsers want opusenc".to_owned();
    }
    if let Some(near) = near(name) {
        return near;
    }
    "gst-inspect-1.0 lists the elements that are installed".to_owned()
}

/// An installed element of nearly that name, or one that could be installed.
pub(super) fn near(name: &str) -> Option<String> {
    let registry = gst::Registry::get();
    let installed = registry.features(gst::ElementFactory::static_type());
    let installed: Vec<_> = installed.iter().map(|feature| feature.name()).collect();
    let all = || installed.iter().map(|name| name.as_str());
    // `vp8encoder` for vp8enc.
    let whole = all().find(|short| {
        ["oder", "oding"]
            .iter()
            .any(|end| name.strip_suffix(end) == Some(short))
    });
    let near = match whole {
        Some(whole) => Some(format!("did you mean {whole}?")),
        None => nearest::did_you_mean(name, all()),
    };
    near.or_else(|| {
        let near = nearest::nearest(name, known())?;
        let package = package_of(near).unwrap_or_default();
        Some(format!("did you mean {near}? (package {package})"))
    })
}

fn hardware(name: &str) -> Option<String> {
    let codes = ["enc", "dec", "postproc"];
    let coder = codes.iter().any(|part| name.contains(part));
    let mut all = HARDWARE.iter().filter(|_| coder);
    let (_, what, package) = all.find(|(start, ..)| name.starts_with(start))?;
    let package = package.map_or(String::new(), |package| format!(", beside {package}"));
    let instead = if name.contains("postproc") {
        "videoconvert and videoscale work"
    } else if name.contains("dec") {
        "decodebin finds a decoder that works"
    } else if name.contains("vp8") {
        "vp8enc works"
    } else if name.contains("vp9") {
        "vp9enc works"
    } else {
        "x264enc and openh264enc work"
    };
    Some(format!(
        "it needs {what}{package}; {instead} on every machine"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hardware_a_coder_needs_shows_in_its_name() {
        let help = hardware("vaapivp8enc").unwrap();
        assert!(help.contains("gstreamer1.0-vaapi") && help.contains("vp8enc works"));
        assert!(hardware("nvv4l2h264enc").unwrap().contains("Jetson"));
        assert_eq!(hardware("v4l2src"), None);
        assert_eq!(hardware("valve"), None);
    }
}
