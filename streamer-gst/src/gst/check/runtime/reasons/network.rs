//! Addresses that are none, ports that are taken, servers that do not answer as they should.

use gstreamer as gst;

use super::address::Address;
use super::{Fault, Reason, target, whole};
use crate::description::syntax::Element;
use crate::gst::check::packages::package_of;
use crate::gst::message::explained;

const NETWORK: [&str; 6] = [
    "rtspsrc",
    "souphttpsrc",
    "srtsrc",
    "tcpclientsrc",
    "rtmp2src",
    "rtmpsrc",
];

/// Addresses that are none.
pub(super) fn address(fault: &Fault<'_>) -> Option<Reason> {
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
pub(super) fn port(fault: &Fault<'_>) -> Option<Reason> {
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
pub(super) fn network(fault: &Fault<'_>) -> Option<Reason> {
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
        let help = match element.property("protocols") {
            None => "write protocols=tcp behind it; a firewall may keep UDP back",
            Some(_) => "a firewall may keep UDP back: write protocols=tcp alone",
        };
        (format!("no packets come from {host}"), help.to_owned())
    } else if fault.says("certificate") || fault.says("TLS") || fault.says("Secure connection") {
        let help = "install its certificate, or write ssl-strict=false where that is safe";
        (
            format!("the certificate of {host} is not trusted"),
            help.to_owned(),
        )
    } else if fault.says("onnect") || fault.says("reason error") {
        (
            format!("no connection to {host} can be made"),
            whether_it_runs(fault.factory),
        )
    } else {
        let message = explained(fault.error.message(), fault.details);
        (message, whether_it_runs(fault.factory))
    };
    Some(fault.at_target(message, help))
}

/// Elements that open any address.
const OPENERS: [&str; 5] = [
    "uridecodebin",
    "uridecodebin3",
    "urisourcebin",
    "playbin",
    "playbin3",
];

/// What it means that no data comes from an element which asks a server for it; none for others.
pub(in super::super) fn unanswered(element: &Element) -> Option<Reason> {
    let name = element.factory.text.as_str();
    let target = target(element)?;
    let scheme = target
        .value
        .text
        .split_once("://")
        .map(|(scheme, _)| scheme);
    let kind = match (name, scheme) {
        ("srtsrc", _) | (_, Some("file")) => return None,
        _ if OPENERS.contains(&name) => scheme?,
        _ if NETWORK.contains(&name) => name,
        _ => return None,
    };
    let host = Address::of(element, Some(target)).host;
    let help = match name == "rtspsrc" && element.property("protocols").is_none() {
        true => "is it on, and its address right? If so, write protocols=tcp behind it".to_owned(),
        false => whether_it_runs(kind),
    };
    Some(Reason {
        span: Some(whole(target)),
        message: format!("{host} does not answer"),
        help,
    })
}

/// How to see whether there is a server, by its element or the scheme of its address.
fn whether_it_runs(kind: &str) -> String {
    let how = match kind {
        "rtspsrc" | "rtsp" | "rtspt" | "rtspu" => {
            return "is it switched on, and its address right? RTSP has port 554 by default"
                .to_owned();
        }
        "souphttpsrc" | "http" | "https" => " curl -I shows what it answers",
        "rtmpsrc" | "rtmp2src" | "rtmp" => " RTMP has port 1935 by default",
        "tcpclientsrc" => " nc -vz HOST PORT shows whether it takes connections",
        _ => "",
    };
    format!("is it running, and its address right?{how}")
}

/// `Service Unavailable (503)`
fn status(details: &str) -> Option<&str> {
    let line = details.lines().last()?;
    let (text, rest) = line.split_once(" (")?;
    let (code, _) = rest.split_once(')')?;
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    is_code.then(|| &line[..text.len() + code.len() + 3])
}
