use std::path::Path;

use gstreamer as gst;

use super::*;
use crate::description::Description;

/// The reason of an error of the first element, and the text that it points to.
fn reason(
    text: &str,
    error: impl glib::error::ErrorDomain,
    said: &str,
    details: &str,
) -> (String, String, String) {
    gst::init().unwrap();
    let (description, _) = Description::examine_text(Path::new("a.launch"), text);
    let element = description.graph.elements.first();
    let place = "../sys/x.c(1): f (): /GstPipeline:pipeline0/GstX:x0:\n";
    let reason = explain(&Fault {
        factory: &element.unwrap().factory.text,
        element,
        source: element,
        error: &glib::Error::new(error, said),
        details: &format!("{place}{details}"),
    });
    let at = reason
        .span
        .map(|span| description.texts.slice(span).to_owned());
    (at.unwrap_or_default(), reason.message, reason.help)
}

#[track_caller]
fn assert_reason(found: (String, String, String), at: &str, message: &str, help: &str) {
    assert_eq!((found.0.as_str(), found.1.as_str()), (at, message));
    assert!(found.2.contains(help), "{}", found.2);
}

// In the words of v4l2_calls.c, gstv4l2object.c and gstalsasrc.c of GStreamer 1.22.

#[test]
fn a_device_in_use_is_told_as_such() {
    let camera = "v4l2src num-buffers=1 device=/dev/video0";
    let help = "fuser -v /dev/video0 names it";
    let open = reason(
        camera,
        gst::ResourceError::OpenReadWrite,
        "Could not open device '/dev/video0' for reading and writing.",
        "system error: Device or resource busy",
    );
    assert_reason(open, "device=/dev/video0", "/dev/video0 is in use", help);
    let format = reason(
        camera,
        gst::ResourceError::Busy,
        "Device '/dev/video0' is busy",
        "Call to S_FMT failed for YUYV @ 640x480: Device or resource busy",
    );
    assert_reason(format, "device=/dev/video0", "/dev/video0 is in use", help);
    let sound = reason(
        "alsasrc",
        gst::ResourceError::Busy,
        "Could not open audio device for recording. Device is being used by another \
         application.",
        "Device 'default' is busy",
    );
    assert_reason(
        sound,
        "alsasrc",
        "the microphone is in use",
        "close the program",
    );
}

#[test]
fn a_device_that_may_not_be_opened_is_told_with_its_group() {
    let camera = reason(
        "v4l2src device=/dev/video0",
        gst::ResourceError::OpenReadWrite,
        "Could not open device '/dev/video0' for reading and writing.",
        "system error: Permission denied",
    );
    let message = "this user may not open /dev/video0";
    assert_reason(
        camera,
        "device=/dev/video0",
        message,
        "usermod -aG video USER",
    );
    let sound = reason(
        "alsasrc device=hw:1",
        gst::ResourceError::OpenRead,
        "Could not open audio device for recording.",
        "Recording open error on device 'hw:1': Permission denied",
    );
    let message = "this user may not open hw:1";
    assert_reason(sound, "device=hw:1", message, "usermod -aG audio USER");
}

#[test]
fn a_device_that_cannot_do_it_is_told_in_its_words() {
    let size = reason(
        "v4l2src device=/dev/video0",
        gst::ResourceError::Settings,
        "Device '/dev/video0' cannot capture at 641x480",
        "Tried to capture at 641x480, but device returned size 640x480",
    );
    let message = "Device '/dev/video0' cannot capture at 641x480";
    assert_reason(size, "device=/dev/video0", message, "lists the formats");
    let gone = reason(
        "alsasrc device=hw:9",
        gst::ResourceError::OpenRead,
        "Could not open audio device for recording.",
        "Recording open error on device 'hw:9': No such file or directory",
    );
    assert_reason(gone, "device=hw:9", "there is no hw:9 here", "microphones");
}

#[test]
fn a_camera_that_is_not_named_is_a_camera() {
    let none = reason(
        "v4l2src",
        gst::ResourceError::NotFound,
        "Cannot identify device '/dev/video0'.",
        "system error: No such file or directory",
    );
    assert_reason(none, "v4l2src", "there is no camera here", "cameras");
}

#[test]
fn each_kind_of_server_has_its_own_question() {
    let refused = |line: &str| {
        let error = gst::ResourceError::OpenRead;
        reason(line, error, "Could not connect.", "Failed to connect")
    };
    let tcp = refused("tcpclientsrc host=cam port=7");
    assert_reason(
        tcp,
        "host=cam",
        "no connection to cam:7 can be made",
        "nc -vz HOST PORT",
    );
    let rtmp = refused("rtmpsrc location=rtmp://cam/live");
    let message = "no connection to cam can be made";
    assert_reason(rtmp, "location=rtmp://cam/live", message, "port 1935");
}

#[test]
fn each_missing_decoder_names_its_package_once() {
    let missing = reason(
        "decodebin",
        gst::CoreError::MissingPlugin,
        "Your GStreamer installation is missing a plug-in.",
        "no suitable plugins found:\n\
         Missing decoder: H.264 (High Profile) (video/x-h264, stream-format=(string)avc)\n\
         Missing decoder: MPEG-4 AAC (audio/mpeg, mpegversion=(int)4)\n\
         Missing decoder: VP8 (video/x-vp8)\n",
    );
    let message = "no decoder for H.264, MPEG-4 AAC and VP8 is installed";
    let help = "apt install gstreamer1.0-libav gstreamer1.0-plugins-good";
    assert_reason(missing, "decodebin", message, help);
}

#[test]
fn packets_that_do_not_come_and_certificates_have_a_cure() {
    let silent = reason(
        "rtspsrc location=rtsp://me:secret@cam/1",
        gst::ResourceError::Read,
        "Could not read from resource.",
        "Could not receive any UDP packets for 5.0000 seconds, maybe your firewall is \
         blocking it. No other protocols to try.",
    );
    let at = "location=rtsp://me:secret@cam/1";
    assert_reason(silent, at, "no packets come from cam", "protocols=tcp");
    let tls = reason(
        "souphttpsrc location=https://cam/1",
        gst::ResourceError::OpenRead,
        "Secure connection setup failed.",
        "Unacceptable TLS certificate (6), URL: https://cam/1, Redirect to: (NULL)",
    );
    let message = "the certificate of cam is not trusted";
    assert_reason(tls, "location=https://cam/1", message, "ssl-strict=false");
}

#[test]
fn what_nobody_foresaw_still_has_a_place_and_a_next_step() {
    let other = reason(
        "x a=b",
        gst::LibraryError::Failed,
        "It broke.",
        "for a reason",
    );
    assert_reason(other, "x", "It broke.", "GST_DEBUG=3");
}
