//! Which plug-ins are installed: those that streams and viewers need, and encoders.

use gst::prelude::*;
use gstreamer as gst;

use super::check::package_of;

/// A Debian package, by elements of its that are used.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// What it is there for.
    pub purpose: &'static str,
    /// Whether nothing works without it.
    pub needed: bool,
    /// Its elements that are there.
    pub present: Vec<&'static str>,
    /// Its elements that are not.
    pub missing: Vec<&'static str>,
}

/// Elements that viewers or the shipped descriptions use, what for, and whether nothing goes
/// without them.
const USED: &[(&str, &str, bool)] = &[
    ("queue", "every pipeline", true),
    ("appsrc", "pictures in lists", true),
    ("videotestsrc", "the test picture", true),
    ("videoconvert", "pictures of any source", true),
    ("opusenc", "sound", true),
    ("vp8enc", "pictures", true),
    ("rtpbin", "viewers", true),
    ("rtpvp8pay", "viewers", true),
    ("v4l2src", "cameras", true),
    ("webrtcbin", "viewers", true),
    ("dtlsdec", "viewers", true),
    ("srtpenc", "viewers", true),
    ("nicesrc", "viewers", true),
    ("clockoverlay", "the clock of the test picture", false),
    ("x264enc", "H.264", false),
    ("avdec_h264", "most files and cameras in H.264", false),
];

/// The packages that are used.
pub fn packages() -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    for (element, purpose, needed) in USED {
        let Some(name) = package_of(element) else {
            continue;
        };
        let place = packages.iter().position(|package| package.name == name);
        let place = place.unwrap_or_else(|| {
            packages.push(Package {
                name,
                purpose,
                needed: *needed,
                present: Vec::new(),
                missing: Vec::new(),
            });
            packages.len() - 1
        });
        match gst::ElementFactory::find(element) {
            Some(_) => packages[place].present.push(element),
            None => packages[place].missing.push(element),
        }
    }
    packages
}

/// Encoders of what browsers play, by codec.
pub fn encoders() -> Vec<(&'static str, Vec<String>)> {
    let codecs = [
        ("VP8", "video/x-vp8"),
        ("VP9", "video/x-vp9"),
        ("H.264", "video/x-h264"),
        ("opus", "audio/x-opus"),
    ];
    let encoders = gst::ElementFactory::factories_with_type(
        gst::ElementFactoryType::VIDEO_ENCODER | gst::ElementFactoryType::AUDIO_ENCODER,
        gst::Rank::NONE,
    );
    let names = |media: &str| {
        let caps = gst::Caps::new_empty_simple(media);
        let able = encoders
            .iter()
            .filter(|factory| factory.can_src_any_caps(&caps));
        let mut names: Vec<String> = able.map(|factory| factory.name().to_string()).collect();
        // Bins that look for an encoder are none themselves.
        names.retain(|name| !name.starts_with("encodebin"));
        names.sort();
        names
    };
    let codecs = codecs.into_iter();
    codecs.map(|(codec, media)| (codec, names(media))).collect()
}
