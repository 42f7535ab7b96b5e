//! Cameras, microphones, screens and files that cannot be opened.

use gstreamer as gst;

use super::{Fault, Reason};
use crate::gst::message::explained;

const DEVICES: [&str; 7] = [
    "v4l2src",
    "alsasrc",
    "pulsesrc",
    "pipewiresrc",
    "ximagesrc",
    "libcamerasrc",
    "uvch264src",
];
const FILES: [&str; 3] = ["filesrc", "multifilesrc", "splitfilesrc"];

/// Cameras, microphones, screens.
pub(super) fn device(fault: &Fault<'_>) -> Option<Reason> {
    if !DEVICES.contains(&fault.factory) {
        return None;
    }
    let name = fault.target(match fault.factory {
        "ximagesrc" => "the screen",
        "alsasrc" | "pulsesrc" => "the microphone",
        _ => "the camera",
    });
    let (message, help) = if busy(fault) {
        let help = match name.strip_prefix("/dev/") {
            Some(_) => format!("close the program that has it; fuser -v {name} names it"),
            None => "close the program that has it".to_owned(),
        };
        (format!("{name} is in use"), help)
    } else if fault.says("Permission denied") {
        let group = match fault.factory {
            "alsasrc" | "pulsesrc" => "audio",
            _ => "video",
        };
        let help = format!("add the user to its group, and log in anew: usermod -aG {group} USER");
        (format!("this user may not open {name}"), help)
    } else if fault.factory == "pulsesrc" && fault.says("Failed to connect: ") {
        let message = "no sound server runs for this user".to_owned();
        let help = "start one: systemctl --user start pipewire-pulse (or pulseaudio)";
        (message, help.to_owned())
    } else if fault.factory == "pipewiresrc" && fault.says("connect") {
        let message = "PipeWire does not run for this user".to_owned();
        let help = "start it: systemctl --user start pipewire";
        (message, help.to_owned())
    } else if fault.factory == "ximagesrc" && fault.error.matches(gst::ResourceError::OpenRead) {
        let help = "streamer-gst devices lists screens; DISPLAY and XAUTHORITY must be theirs";
        (format!("{name} cannot be opened"), help.to_owned())
    } else {
        let message = if fault.says("isn't a device") || fault.says("not a capture device") {
            format!("{name} is no camera")
        } else if fault.error.matches(gst::ResourceError::NotFound)
            || fault.says("No such file")
            || fault.says("No such device")
            || fault.says("No such entity")
        {
            format!("there is no {} here", name.trim_start_matches("the "))
        } else {
            explained(fault.error.message(), fault.details)
        };
        let help = match fault.error.matches(gst::ResourceError::Settings) {
            true => "streamer-gst devices lists the formats it has",
            false => "streamer-gst devices lists cameras, screens and microphones",
        };
        (message, help.to_owned())
    };
    Some(fault.at_target(message, help))
}

fn busy(fault: &Fault<'_>) -> bool {
    fault.error.matches(gst::ResourceError::Busy) || fault.says("Device or resource busy")
}

/// Files to read.
pub(super) fn file(fault: &Fault<'_>) -> Option<Reason> {
    if fault.factory == "fdsrc" {
        let help = "take another source: a server is fed by nobody";
        return Some(fault.at_target("fdsrc has nothing open to read from", help));
    }
    if !FILES.contains(&fault.factory) {
        return None;
    }
    let name = fault.target("the file");
    let (message, help) = if fault.says("No such file") {
        let help = match fault.factory {
            "multifilesrc" => "%05d in it stands for a number, which start-index= begins",
            _ if name.starts_with('/') => "ls shows what is there",
            _ => "a relative path counts from the description's directory, or the one above",
        };
        (format!("there is no file {name}"), help.to_owned())
    } else if fault.says("is a directory") {
        let help = "name a file in it";
        (format!("{name} is a directory"), help.to_owned())
    } else if fault.says("Permission denied") {
        let help = format!("chmod a+r {name}, and a+x for the directories above");
        (format!("this user may not read {name}"), help)
    } else if fault.says("No file name") {
        return Some(fault.at_element(
            format!("{} has no file to read", fault.factory),
            "write location=FILE behind it",
        ));
    } else {
        return None;
    };
    Some(fault.at_target(message, help))
}
