//! What an element is to connect to, in words that may be shown to anybody.

use crate::description::syntax::{Element, Property};

/// A server.
pub(super) struct Address {
    /// `camera.lan:554`, without user and password.
    pub(super) host: String,
    /// Whether a user is in it.
    pub(super) user: bool,
}

impl Address {
    /// From the property that holds an address, or a host with its port in another one.
    pub(super) fn of(element: &Element, target: Option<&Property>) -> Self {
        let text = target.map_or("", |target| target.value.text.as_str());
        let Some((_, rest)) = text.split_once("://") else {
            let port = element.property("port");
            let host = match (text, port) {
                ("", _) => "the server".to_owned(),
                (host, Some(port)) => format!("{host}:{}", port.value.text),
                (host, None) => host.to_owned(),
            };
            return Self { host, user: false };
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = &rest[..end];
        let (user, host) = match authority.rsplit_once('@') {
            Some((_, host)) => (true, host),
            None => (false, authority),
        };
        Self {
            host: match host {
                "" => "the server".to_owned(),
                host => host.to_owned(),
            },
            user,
        }
    }

    /// The host without its port.
    pub(super) fn name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::description::Description;

    fn address(properties: &str) -> Address {
        let text = format!("x {properties} ! tee name=video allow-not-linked=true\n");
        let (description, _) = Description::examine_text(Path::new("a.launch"), &text);
        let element = &description.graph.elements[0];
        Address::of(element, element.properties.first())
    }

    #[test]
    fn hosts_are_named_and_passwords_are_not() {
        let with_key = address("location=rtsp://me:se@cret@cam.lan:8554/live/1?key=k");
        assert_eq!(with_key.host, "cam.lan:8554");
        assert_eq!(with_key.name(), "cam.lan");
        assert!(with_key.user);
        let bare = address("uri=srt://[::1]");
        assert_eq!((bare.host.as_str(), bare.user), ("[::1]", false));
        assert_eq!(address("host=a.lan port=7").host, "a.lan:7");
        assert_eq!(address("").host, "the server");
    }
}
