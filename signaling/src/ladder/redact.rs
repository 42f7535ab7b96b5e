//! What nobody may read in a message that is shown: the credentials of whoever sent it.

use std::fmt::Write as _;

use super::glance::{Lines, value};

/// The fields that hold them (RFC 3261 sections 20.7 and 20.28, RFC 2617 section 3.2.3).
const FIELDS: [&str; 4] = [
    "Authorization",
    "Proxy-Authorization",
    "Authentication-Info",
    "Proxy-Authentication-Info",
];

/// Start line and header fields as text.
pub(crate) fn head(payload: &[u8]) -> String {
    let mut text = String::new();
    for line in Lines::of(payload) {
        let line = &payload[line];
        // Writing into a String cannot fail.
        let _ = match secret(line) {
            Some(name) => write!(text, "{name}: [redacted]\r\n"),
            None => write!(text, "{}\r\n", String::from_utf8_lossy(line)),
        };
    }
    text
}

fn secret(line: &[u8]) -> Option<&'static str> {
    FIELDS
        .into_iter()
        .find(|name| value(line, name, None).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_in_the_text() {
        let shown = head(
            b"REGISTER sip:a@b SIP/2.0\r\nAUTHORIZATION :\r\n Digest username=\"ana\",\r\n\
              \tresponse=\"secret\"\r\nTo: <sip:a@b>\r\nproxy-authorization: Basic secret\r\n\
              X-Authorization: kept\r\n\r\nbody",
        );
        assert_eq!(
            shown,
            "REGISTER sip:a@b SIP/2.0\r\nAuthorization: [redacted]\r\nTo: <sip:a@b>\r\n\
             Proxy-Authorization: [redacted]\r\nX-Authorization: kept\r\n"
        );
    }
}
