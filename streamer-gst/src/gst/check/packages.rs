//! Which Debian package ships an element that is not installed.

use gstreamer as gst;

/// Elements people use, by the package of Debian 12 that ships them.
const PACKAGES: &[(&str, &[&str])] = &[
    (
        "libgstreamer1.0-0",
        &[
            "capsfilter",
            "clocksync",
            "concat",
            "fakesink",
            "fakesrc",
            "fdsrc",
            "filesink",
            "filesrc",
            "funnel",
            "identity",
            "input-selector",
            "multiqueue",
            "output-selector",
            "queue",
            "queue2",
            "tee",
            "typefind",
            "valve",
        ],
    ),
    (
        "gstreamer1.0-plugins-base",
        &[
            "adder",
            "appsink",
            "appsrc",
            "audioconvert",
            "audiomixer",
            "audiorate",
            "audioresample",
            "audiotestsrc",
            "compositor",
            "decodebin",
            "decodebin3",
            "encodebin",
            "encodebin2",
            "oggdemux",
            "oggmux",
            "opusdec",
            "opusenc",
            "parsebin",
            "playbin",
            "playbin3",
            "rawaudioparse",
            "rawvideoparse",
            "subparse",
            "subtitleoverlay",
            "tcpclientsink",
            "tcpclientsrc",
            "tcpserversink",
            "tcpserversrc",
            "theoradec",
            "theoraenc",
            "uridecodebin",
            "uridecodebin3",
            "urisourcebin",
            "videoconvert",
            "videoconvertscale",
            "videorate",
            "videoscale",
            "videotestsrc",
            "volume",
            "vorbisdec",
            "vorbisenc",
        ],
    ),
    (
        "gstreamer1.0-plugins-good",
        &[
            "aacparse",
            "alawdec",
            "alpha",
            "audioecho",
            "audiofirfilter",
            "autoaudiosink",
            "autoaudiosrc",
            "autovideosink",
            "autovideosrc",
            "avidemux",
            "avimux",
            "cairooverlay",
            "cutter",
            "deinterlace",
            "equalizer-10bands",
            "flacdec",
            "flacenc",
            "flacparse",
            "flvdemux",
            "flvmux",
            "gamma",
            "gdkpixbufoverlay",
            "goom",
            "imagefreeze",
            "interleave",
            "jackaudiosrc",
            "jpegdec",
            "jpegenc",
            "lamemp3enc",
            "level",
            "matroskademux",
            "matroskamux",
            "mp4mux",
            "mpegaudioparse",
            "mpg123audiodec",
            "mulawdec",
            "multifilesink",
            "multifilesrc",
            "multiudpsink",
            "oss4src",
            "osssrc",
            "pngdec",
            "pngenc",
            "pulsesink",
            "pulsesrc",
            "qtdemux",
            "rtpL16pay",
            "rtpbin",
            "rtph264depay",
            "rtph264pay",
            "rtph265depay",
            "rtph265pay",
            "rtpjitterbuffer",
            "rtpjpegdepay",
            "rtpjpegpay",
            "rtpmp4apay",
            "rtpmp4gdepay",
            "rtpopusdepay",
            "rtpopuspay",
            "rtppcmudepay",
            "rtpstreamdepay",
            "rtpvp8depay",
            "rtpvp8pay",
            "rtpvp9depay",
            "rtpvp9pay",
            "rtspsrc",
            "smpte",
            "souphttpsrc",
            "spectrum",
            "speexdec",
            "speexenc",
            "splitmuxsink",
            "splitmuxsrc",
            "twolamemp2enc",
            "udpsink",
            "udpsrc",
            "v4l2sink",
            "v4l2src",
            "videobalance",
            "videobox",
            "videocrop",
            "videoflip",
            "videomixer",
            "vp8dec",
            "vp8enc",
            "vp9dec",
            "vp9enc",
            "wavenc",
            "wavparse",
            "webmmux",
            "ximagesrc",
            "y4menc",
        ],
    ),
    (
        "gstreamer1.0-plugins-bad",
        &[
            "assrender",
            "autoconvert",
            "autovideoconvert",
            "av1dec",
            "av1enc",
            "av1parse",
            "bayer2rgb",
            "codecalphademux",
            "dashdemux",
            "dc1394src",
            "decklinkvideosrc",
            "dtlsdec",
            "dtlsenc",
            "dvbsrc",
            "faad",
            "fbdevsink",
            "fpsdisplaysink",
            "h264parse",
            "h264timestamper",
            "h265parse",
            "hlsdemux",
            "hlssink",
            "hlssink2",
            "interaudiosink",
            "interaudiosrc",
            "interlace",
            "intervideosink",
            "intervideosrc",
            "ivfparse",
            "jpegparse",
            "kmssink",
            "mpeg2enc",
            "mpegpsdemux",
            "mpegpsmux",
            "mpegtsmux",
            "openh264dec",
            "openh264enc",
            "opusparse",
            "proxysink",
            "proxysrc",
            "rfbsrc",
            "rsvgoverlay",
            "rtmp2sink",
            "rtmp2src",
            "rtmpsink",
            "rtmpsrc",
            "rtpsink",
            "rtpsrc",
            "sbcdec",
            "shmsink",
            "shmsrc",
            "srtpdec",
            "srtpenc",
            "srtsink",
            "srtsrc",
            "timecodestamper",
            "tsdemux",
            "tsparse",
            "uvch264src",
            "videoparse",
            "voaacenc",
            "vp9parse",
            "waylandsink",
            "webpdec",
            "webpenc",
            "webrtcbin",
            "webrtcdsp",
            "x265enc",
            "zbar",
        ],
    ),
    (
        "gstreamer1.0-plugins-ugly",
        &[
            "a52dec",
            "amrnbdec",
            "amrnbenc",
            "amrwbdec",
            "asfdemux",
            "dvdreadsrc",
            "mpeg2dec",
            "x264enc",
        ],
    ),
    (
        "gstreamer1.0-x",
        &[
            "clockoverlay",
            "textoverlay",
            "textrender",
            "timeoverlay",
            "ximagesink",
            "xvimagesink",
        ],
    ),
    ("gstreamer1.0-alsa", &["alsamidisrc", "alsasink", "alsasrc"]),
    (
        "gstreamer1.0-gl",
        &[
            "glcolorconvert",
            "gldownload",
            "gleffects",
            "glimagesink",
            "gltestsrc",
            "glupload",
            "glvideomixer",
        ],
    ),
    ("gstreamer1.0-gtk3", &["gtkglsink", "gtksink"]),
    (
        "gstreamer1.0-libav",
        &["avdec_aac", "avdec_h264", "avdec_h265", "avenc_aac"],
    ),
    ("gstreamer1.0-libcamera", &["libcamerasrc"]),
    ("gstreamer1.0-nice", &["nicesink", "nicesrc"]),
    (
        "gstreamer1.0-pipewire",
        &["pipewiredeviceprovider", "pipewiresink", "pipewiresrc"],
    ),
    ("gstreamer1.0-rtsp", &["rtspclientsink"]),
    ("gstreamer1.0-opencv", &["facedetect"]),
    ("gstreamer1.0-qt5", &["qmlglsink"]),
    ("gstreamer1.0-wpe", &["wpesrc"]),
];

/// Those that another package ships in Debian 13, which has GStreamer 1.26.
const MOVED: &[(&str, &[&str])] = &[(
    "gstreamer1.0-plugins-good",
    &["amrnbdec", "amrnbenc", "amrwbdec"],
)];

/// Elements that are too many to be listed, by what their names begin with.
const FAMILIES: &[(&str, &str)] = &[
    ("avdec_", "gstreamer1.0-libav"),
    ("avenc_", "gstreamer1.0-libav"),
    ("avmux_", "gstreamer1.0-libav"),
    ("vaapi", "gstreamer1.0-vaapi"),
];

/// The package that ships an element.
pub(in crate::gst) fn package_of(element: &str) -> Option<&'static str> {
    let moved = match gst::version() < (1, 24, 0, 0) {
        true => &[],
        false => MOVED,
    };
    let listed = moved
        .iter()
        .chain(PACKAGES)
        .find(|(_, elements)| elements.contains(&element));
    listed.map(|(package, _)| *package).or_else(|| {
        let family = FAMILIES
            .iter()
            .find(|(start, _)| element.starts_with(start));
        family.map(|(_, package)| *package)
    })
}

/// The decoders of media types that gstreamer1.0-libav is not needed for.
const DECODERS: &[(&str, &str)] = &[
    ("video/x-vp8", "vp8dec"),
    ("video/x-vp9", "vp9dec"),
    ("image/jpeg", "jpegdec"),
    ("image/png", "pngdec"),
    ("audio/x-flac", "flacdec"),
    ("video/x-av1", "av1dec"),
    ("audio/x-opus", "opusdec"),
    ("audio/x-vorbis", "vorbisdec"),
    ("video/x-theora", "theoradec"),
    ("audio/AMR", "amrnbdec"),
    ("audio/AMR-WB", "amrwbdec"),
];

/// The package that ships a decoder of a media type.
pub(super) fn decoder_package(media: &str) -> &'static str {
    let listed = DECODERS.iter().find(|(known, _)| *known == media);
    listed
        .and_then(|(_, decoder)| package_of(decoder))
        .unwrap_or("gstreamer1.0-libav")
}

/// All elements in the table.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    let all = PACKAGES.iter().flat_map(|(_, elements)| elements.iter());
    all.copied()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::process::Command;

    use gstreamer::prelude::*;

    use super::*;

    #[test]
    fn every_element_that_is_here_comes_from_the_package_of_the_table() {
        gst::init().unwrap();
        let mut contents = HashMap::new();
        let mut compared = 0;
        for element in known() {
            let package = package_of(element).unwrap();
            let files = contents.entry(package).or_insert_with(|| {
                let listed = Command::new("dpkg").args(["-L", package]).output();
                listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned())
            });
            // Not Debian: then there is nothing to compare with.
            let Ok(files) = files else { return };
            let factory = gst::ElementFactory::find(element);
            let Some(plugin) = factory.and_then(|factory| factory.plugin()) else {
                continue;
            };
            let file = plugin.filename().unwrap();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            assert!(
                files.contains(&name),
                "{element} is in {name}, not in {package}"
            );
            compared += 1;
        }
        assert!(compared >= 80, "only {compared} were compared");
        assert!(known().count() >= 150);
    }

    #[test]
    fn every_decoder_is_in_the_table() {
        for (_, decoder) in DECODERS {
            assert!(known().any(|element| element == *decoder), "{decoder}");
        }
        assert_eq!(decoder_package("video/x-vp8"), "gstreamer1.0-plugins-good");
        assert_eq!(decoder_package("video/x-h264"), "gstreamer1.0-libav");
    }

    #[test]
    fn families_of_elements_need_no_list() {
        assert_eq!(package_of("avdec_mpeg4"), Some("gstreamer1.0-libav"));
        assert_eq!(package_of("x264enc"), Some("gstreamer1.0-plugins-ugly"));
        assert_eq!(package_of("nosuchelement"), None);
    }
}
