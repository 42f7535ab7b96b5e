//! What an error of a running element means in plain words, and what to do about it. No pipeline
//! is looked at: GStreamer's words and the description's go in.

use gstreamer as gst;

use super::address::Address;
use crate::description::Span;
use crate::description::syntax::{Element, Property};
use crate::gst::check::elements::is_a;
use crate::gst::check::links::templates;
use crate::gst::check::packages::{decoder_package, package_of};
use crate::gst::message::explained;

/// Properties that say what an element is to open, the more telling ones first.
const TARGETS: [&str; 12] = [
    "location",
    "uri",
    "device",
    "device-name",
    "display-name",
    "camera-name",
    "target-object",
    "path",
    "host",
    "address",
    "server",
    "port",
];
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
const NETWORK: [&str; 6] = [
    "rtspsrc",
    "souphttpsrc",
    "srtsrc",
    "tcpclientsrc",
    "rtmp2src",
    "rtmpsrc",
];

/// An error of the bus, and whose it is.
pub(super) struct Fault<'a> {
    /// What failed; it may be a part of the described element.
    pub(super) factory: &'a str,
    /// The described element.
    pub(super) element: Option<&'a Element>,
    /// Where the data of that element comes from: itself, or the first upstream.
    pub(super) source: Option<&'a Element>,
    pub(super) error: &'a glib::Error,
    pub(super) details: &'a str,
}

/// The same for people.
pub(super) struct Reason {
    /// None for the description as a whole.
    pub(super) span: Option<Span>,
    pub(super) message: String,
    pub(super) help: String,
}

/// What a fault means.
pub(super) fn explain(fault: &Fault<'_>) -> Reason {
    let topics = [
        missing, packets, device, file, address, port, network, media,
    ];
    let found = topics.iter().find_map(|topic| topic(fault));
    found.unwrap_or_else(|| {
        let help = "the same command with GST_DEBUG=3 before it shows more";
        fault.at_element(explained(fault.error.message(), fault.details), help)
    })
}

impl Fault<'_> {
    /// Whether GStreamer said this, in either of its texts.
    fn says(&self, words: &str) -> bool {
        self.details.contains(words) || self.error.message().contains(words)
    }

    fn at_element(&self, message: impl Into<String>, help: impl Into<String>) -> Reason {
        Reason {
            span: self.element.map(|element| element.factory.span),
            message: message.into(),
            help: help.into(),
        }
    }

    /// At what the element is to open, as far as it is written down.
    fn at_target(&self, message: impl Into<String>, help: impl Into<String>) -> Reason {
        let target = self.element.and_then(target);
        Reason {
            span: target.map(whole).or(self.at_element("", "").span),
            message: message.into(),
            help: help.into(),
        }
    }

    /// What the element is to open, or another word for it.
    fn target(&self, otherwise: &str) -> String {
        let target = self.element.and_then(target);
        let text = target.map_or(otherwise, |target| target.value.text.as_str());
        text.strip_prefix("file://").unwrap_or(text).to_owned()
    }
}

fn target(element: &Element) -> Option<&Property> {
    TARGETS.iter().find_map(|name| element.property(name))
}

/// A property from its name to the end of its value.
fn whole(property: &Property) -> Span {
    property.name.span.to(property.value.span)
}

/// Plug-ins that are not there.
fn missing(fault: &Fault<'_>) -> Option<Reason> {
    let named = |kind: &'static str| {
        let lines = fault.details.lines();
        lines.filter_map(move |line| line.split_once(kind).map(|(_, rest)| rest))
    };
    let mut names = Vec::new();
    let mut packages = Vec::new();
    for decoder in named("Missing decoder: ") {
        // "H.264 (High Profile) (video/x-h264, …)"
        let (_, caps) = decoder.rsplit_once(" (").unwrap_or_default();
        let name = decoder.split(" (").next().unwrap_or_default();
        let media = caps.split([',', ')']).next().unwrap_or_default();
        names.push(name);
        if !packages.contains(&decoder_package(media)) {
            packages.push(decoder_package(media));
        }
    }
    if !names.is_empty() {
        return Some(fault.at_element(
            format!("no decoder for {} is installed", listed(&names)),
            format!("install it: apt install {}", packages.join(" ")),
        ));
    }
    let element = named("Missing element: ").next()?;
    let element = element.split_whitespace().next().unwrap_or_default();
    let help = match package_of(element) {
        Some(package) => format!("install it: apt install {package}"),
        None => "apt-file search finds the package that has it".to_owned(),
    };
    let message = format!("{} needs {element}, which is not installed", fault.factory);
    Some(fault.at_element(message, help))
}

/// `one, two and three`
fn listed(names: &[&str]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => names.concat(),
    }
}

/// RTP whose kind nobody has told.
fn packets(fault: &Fault<'_>) -> Option<Reason> {
    if !fault.error.matches(gst::CoreError::Negotiation) || !fault.says("need to have RTP caps") {
        return None;
    }
    let factory = gst::ElementFactory::find(fault.factory)?;
    let template = templates(&factory, gst::PadDirection::Sink)
        .into_iter()
        .next()?;
    let caps = template.caps();
    let structure = caps.structure(0)?;
    let text = |field: &str| match structure.value(field) {
        Ok(value) => match value.get::<gst::List>() {
            Ok(list) => list.first().and_then(|first| first.get::<String>().ok()),
            Err(_) => value.get::<String>().ok(),
        },
        Err(_) => None,
    };
    let media = text("media").unwrap_or_else(|| "video".to_owned());
    let encoding = text("encoding-name").unwrap_or_else(|| "NAME".to_owned());
    let rate = structure.get::<i32>("clock-rate").unwrap_or(90_000);
    let source = fault.source.or(fault.element)?;
    let name = &source.factory.text;
    Some(Reason {
        span: Some(source.factory.span),
        message: format!("{name} does not say what its packets are"),
        help: format!(
            "write behind it caps=application/x-rtp,media={media},encoding-name={encoding},\
             clock-rate={rate}"
        ),
    })
}

/// Cameras, microphones, screens.
fn device(fault: &Fault<'_>) -> Option<Reason> {
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
            format!("there is no {name} here")
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

fn file(fault: &Fault<'_>) -> Option<Reason> {
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

/// Addresses that are none.
fn address(fault: &Fault<'_>) -> Option<Reason> {
    let opens = fault.factory.starts_with("uri") || fault.factory.starts_with("playbin");
    let invalid = opens && fault.error.matches(gst::ResourceError::NotFound);
    let unknown = opens && (fault.says("No URI handler") || fault.says("No element accepted URI"));
    let target = fault.element.and_then(target);
    let value = target.map_or("", |target| target.value.text.as_str());
    let unread = NETWORK.contains(&fault.factory)
        && (fault.says("No valid RTSP URL")
            || fault.says("Error parsing URL")
            || fault.says("Host is not set"));
    if !(invalid || unknown || unread) {
        return None;
    }
    if value.is_empty() {
        let message = format!("{} has no address to open", fault.factory);
        return Some(fault.at_element(message, "write uri=… or location=… behind it"));
    }
    let scheme = value.split_once("://").map(|(scheme, _)| scheme);
    let (message, help) = match scheme {
        Some(scheme) if unknown => {
            let help = match package_of_scheme(scheme) {
                Some(package) => format!("install it: apt install {package}"),
                None => {
                    "addresses begin with file://, rtsp://, http://, rtmp:// or srt://".to_owned()
                }
            };
            (format!("nothing here opens {scheme}:// addresses"), help)
        }
        None if opens && value.starts_with('/') => (
            format!("{value} is a path, and no address"),
            "write file:// before it".to_owned(),
        ),
        None if opens => (
            format!("{value} is no address"),
            "write file:// before a whole path, or rtsp:// before a host".to_owned(),
        ),
        _ => {
            let scheme = match fault.factory {
                "souphttpsrc" => "http",
                "rtspsrc" => "rtsp",
                _ => "rtmp",
            };
            let help = format!("write {scheme}://HOST/PATH");
            (format!("{value} is no address"), help)
        }
    };
    Some(fault.at_target(message, help))
}

/// The package whose elements open addresses that begin so.
fn package_of_scheme(scheme: &str) -> Option<&'static str> {
    package_of(match scheme {
        "rtsp" | "rtsps" | "rtspt" | "rtspu" => "rtspsrc",
        "http" | "https" => "souphttpsrc",
        "rtmp" | "rtmps" => "rtmp2src",
        "srt" => "srtsrc",
        _ => return None,
    })
}

/// Ports and addresses of this machine to listen at.
fn port(fault: &Fault<'_>) -> Option<Reason> {
    if !fault.says("bind failed") && !fault.says("Failed to bind") {
        return None;
    }
    let of = |names: &[&str]| {
        let mut names = names.iter();
        let property = names.find_map(|name| fault.element?.property(name))?;
        Some((whole(property), property.value.text.clone()))
    };
    let port = of(&["port"]).map_or("its port".to_owned(), |(_, port)| format!("port {port}"));
    let (names, message, help): (&[&str], _, _) = if fault.says("Address already in use") {
        let help = "take another one; ss -lntup names who has it";
        (&["port"], format!("{port} is in use"), help)
    } else if fault.says("Permission denied") {
        let help = "take one above 1023; those below are for root";
        (
            &["port"],
            format!("this user may not listen at {port}"),
            help,
        )
    } else {
        let names = ["address", "host", "multicast-group", "localaddress"];
        let own = of(&names).map_or("its address".to_owned(), |(_, own)| own);
        let help = "ip address lists them; 0.0.0.0 stands for all";
        return Some(Reason {
            span: of(&names)
                .map(|(span, _)| span)
                .or(fault.at_element("", "").span),
            message: format!("{own} is no address of this machine"),
            help: help.to_owned(),
        });
    };
    Some(Reason {
        span: of(names)
            .map(|(span, _)| span)
            .or(fault.at_element("", "").span),
        message,
        help: help.to_owned(),
    })
}

/// Servers and network cameras.
fn network(fault: &Fault<'_>) -> Option<Reason> {
    if !NETWORK.contains(&fault.factory) {
        return None;
    }
    let element = fault.element?;
    let address = Address::of(element, target(element));
    let host = &address.host;
    let camera = fault.factory == "rtspsrc";
    let (message, help) = if fault.says("Unauthorized") || fault.says("Not authorized") {
        match address.user || element.property("user-id").is_some() {
            true => (
                format!("{host} does not accept this user and password"),
                "mind upper and lower case, and write @ in a password as %40".to_owned(),
            ),
            false => (
                format!("{host} wants to know a user and a password"),
                match element.factory.text == fault.factory {
                    true => "write user-id=… user-pw=… behind it".to_owned(),
                    false => "write USER:PASSWORD@ before the host in the address".to_owned(),
                },
            ),
        }
    } else if fault.says("(403)") {
        let help = "it may want another user, or know this machine's address";
        (format!("{host} forbids it"), help.to_owned())
    } else if fault.says("(404)") {
        let help = match camera {
            true => "the camera's manual names the path, as /stream1 or /h264",
            false => "open the address in a browser, and mend it until something comes",
        };
        let message = format!("{host} has nothing at this address");
        (message, help.to_owned())
    } else if let Some(status) = status(fault.details) {
        let help = "wait, or ask who runs it; its log says why".to_owned();
        (format!("{host} answers \"{status}\""), help)
    } else if fault.says("Error resolving") || fault.says("resolve host") {
        let help = "mend the name, or write the address in numbers";
        (
            format!("nobody knows the name {}", address.name()),
            help.to_owned(),
        )
    } else if fault.says("Connection refused") {
        let help = "start the server, or mend the port";
        (format!("{host} refuses the connection"), help.to_owned())
    } else if fault.says("UDP packets") {
        let help = "write protocols=tcp behind it; a firewall may keep UDP back";
        (format!("no packets come from {host}"), help.to_owned())
    } else if fault.says("certificate") || fault.says("TLS") || fault.says("Secure connection") {
        let help = "install its certificate, or write ssl-strict=false where that is safe";
        (
            format!("the certificate of {host} is not trusted"),
            help.to_owned(),
        )
    } else if fault.says("onnect") || fault.says("reason error") {
        let help = match camera {
            true => "is it switched on, and its address right? RTSP has port 554 by default",
            false => "is it running, and its address right? curl -I shows what it answers",
        };
        (
            format!("no connection to {host} can be made"),
            help.to_owned(),
        )
    } else {
        let help = "is it running, and its address right?".to_owned();
        (explained(fault.error.message(), fault.details), help)
    };
    Some(fault.at_target(message, help))
}

/// `Service Unavailable (503)`
fn status(details: &str) -> Option<&str> {
    let line = details.lines().last()?;
    let (text, rest) = line.split_once(" (")?;
    let (code, _) = rest.split_once(')')?;
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    is_code.then(|| &line[..text.len() + code.len() + 3])
}

/// What is in a file, or comes from the network.
fn media(fault: &Fault<'_>) -> Option<Reason> {
    let element = fault.element?;
    let own = element.factory.text == fault.factory;
    let name = &element.factory.text;
    let target = fault.source.and_then(target);
    let what = target.map_or("what comes".to_owned(), |target| target.value.text.clone());
    let at_source = |message: String, help: String| {
        let span = target.map_or(element.factory.span, whole);
        Some(Reason {
            span: Some(span),
            message,
            help,
        })
    };
    let is = |error: gst::StreamError| fault.error.matches(error);
    if fault.says("Stream contains no data") || fault.says("Can't typefind empty") {
        let help = "was it written to its end? ls -l shows its size".to_owned();
        return at_source(format!("{what} is empty"), help);
    }
    if fault.says("plain text") {
        let help = "name the film or the sound itself".to_owned();
        return at_source(format!("{what} is a text"), help);
    }
    if is(gst::StreamError::TypeNotFound) {
        let help = format!("file {what} tells what it is");
        return at_source(
            format!("{what} is no film or sound that is known here"),
            help,
        );
    }
    if own && (is(gst::StreamError::WrongType) || is(gst::StreamError::Demux)) {
        let message = format!("{name} finds nothing of its kind in {what}");
        let help = format!("put decodebin in the place of {name}: it looks for itself");
        return Some(fault.at_element(message, help));
    }
    let empty = ["streams without buffers", "No pads created", "'moov'"];
    let damaged = is(gst::StreamError::Demux) || is(gst::StreamError::WrongType);
    if damaged || empty.iter().any(|words| fault.says(words)) {
        let help = "it may be cut off: record it again, or copy it whole".to_owned();
        return at_source(format!("{what} is damaged"), help);
    }
    let decoder = gst::ElementFactory::find(fault.factory).is_some_and(|f| is_a(&f, "Decoder"));
    if decoder && is(gst::StreamError::Decode) {
        let message = format!("{} cannot decode {what}", fault.factory);
        let help = "put decodebin in its place, or look whether it is damaged";
        return Some(fault.at_element(message, help));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
}
