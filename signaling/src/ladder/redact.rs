//! What nobody may read in a message that is shown: the credentials of whoever sent it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use memchr::memchr;

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

/// A whole message with zeros in place of what proves who sent it, as long as it was: lengths and
/// everything else stay what they were on the wire. Bodies are looked through as well, for they
/// may hold messages.
pub(crate) fn masked(payload: &[u8]) -> Cow<'_, [u8]> {
    let mut masked = Cow::Borrowed(payload);
    let mut lines = Lines::of(payload);
    loop {
        for line in lines.by_ref() {
            if secret(&payload[line.clone()]).is_some() {
                mask(&mut masked.to_mut()[line]);
            }
        }
        if !lines.resume() {
            return masked;
        }
    }
}

/// Of a digest the proof goes, since with it passwords can be guessed; of all other schemes, and
/// of what cannot be read, everything.
fn mask(line: &mut [u8]) {
    let name = memchr(b':', line).map_or(0, |colon| colon + 1);
    let value = &mut line[name..];
    let start = value.iter().position(|byte| !byte.is_ascii_whitespace());
    let start = start.unwrap_or_default();
    let scheme = value[start..].iter().position(u8::is_ascii_whitespace);
    let Some(scheme) = scheme.map(|length| start + length) else {
        return zero(value);
    };
    let params = &mut value[scheme..];
    let proofs: Vec<Range<usize>> = split(params)
        .filter(|param| is_proof(&params[param.clone()]))
        .collect();
    let quotes = params.iter().filter(|byte| **byte == b'"').count();
    if proofs.is_empty() || quotes % 2 == 1 {
        return zero(params);
    }
    for proof in proofs {
        let value = memchr(b'=', &params[proof.clone()]).unwrap_or_default();
        zero(&mut params[proof.start + value + 1..proof.end]);
    }
}

/// The places between commas outside quoted strings.
fn split(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut rest = Some(0);
    std::iter::from_fn(move || {
        let start = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let comma = text[start..].iter().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = quoted,
                b'"' => quoted = !quoted,
                b',' => return !quoted,
                _ => {}
            }
            false
        });
        rest = comma.map(|length| start + length + 1);
        Some(start..comma.map_or(text.len(), |length| start + length))
    })
}

fn is_proof(param: &[u8]) -> bool {
    let Some(equals) = memchr(b'=', param) else {
        return false;
    };
    let name = param[..equals].trim_ascii();
    [&b"response"[..], b"rspauth"]
        .iter()
        .any(|proof| name.eq_ignore_ascii_case(proof))
}

fn zero(text: &mut [u8]) {
    for byte in text {
        if !byte.is_ascii_whitespace() && *byte != b'"' {
            *byte = b'0';
        }
    }
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
    fn shown(text: &str) -> String {
        let masked = masked(text.as_bytes());
        assert_eq!(masked.len(), text.len());
        String::from_utf8(masked.into_owned()).unwrap()
    }

    #[test]
    fn captures_hold_no_proof_of_a_password_and_are_as_long_as_before() {
        let mut hidden = 0;
        for (field, masked) in [
            (
                "Authorization: Digest username=\"ana, response=\\\"x\\\"\", response=\"5ec4e7\", nc=1",
                "Authorization: Digest username=\"ana, response=\\\"x\\\"\", response=\"000000\", nc=1",
            ),
            (
                "PROXY-AUTHORIZATION:Digest\r\n Response = 5ec4e7 ,a=\"b\"",
                "PROXY-AUTHORIZATION:Digest\r\n Response = 000000 ,a=\"b\"",
            ),
            (
                "Authentication-Info : nc=1, rspauth=\"5ec4e7\"",
                "Authentication-Info : nc=1, rspauth=\"000000\"",
            ),
            (
                "Authorization: Basic 5ec4e7==",
                "Authorization: Basic 00000000",
            ),
            ("Authorization: 5ec4e7", "Authorization: 000000"),
            ("Authorization:", "Authorization:"),
            (
                "Authorization: Digest username=\"open, response=\"5ec4e7\"",
                "Authorization: Digest 000000000\"00000 000000000\"000000\"",
            ),
            (
                "Authorization: Digest response=\"x\", a=\"open, response=\"5ec4e7\"",
                "Authorization: Digest 000000000\"0\"0 00\"00000 000000000\"000000\"",
            ),
            (
                "Authorization: Digest a, response=5ec4e7",
                "Authorization: Digest a, response=000000",
            ),
        ] {
            let message = |field: &str| {
                format!(
                    "REGISTER sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n{field}\r\nCSeq: 1 A\r\n\r\nbody"
                )
            };
            assert_eq!(shown(&message(field)), message(masked));
            hidden += usize::from(field.contains("5ec4e7"));
        }
        assert_eq!(hidden, 8);
    }

    #[test]
    fn what_our_own_programs_prove_who_they_are_with_is_masked() {
        use sip::auth::{Algorithm, Counted, Credentials, Secret};
        let credentials = Credentials {
            user: "ana, \"response=\"".to_owned(),
            realm: "rusticast".to_owned(),
            nonce: "0123".to_owned(),
            opaque: Some("x".to_owned()),
            uri: "sip:h;response=1".to_owned(),
            algorithm: Algorithm::Sha256,
            counted: Some(Counted {
                count: 1,
                cnonce: "c".to_owned(),
            }),
            response: Secret::new("5ec4e75ec4e7"),
        };
        for field in ["Authorization", "Proxy-Authorization"] {
            let text = format!("REGISTER sip:h SIP/2.0\r\n{field}: {credentials}\r\n\r\n");
            assert_eq!(shown(&text), text.replace("5ec4e75ec4e7", "000000000000"));
            assert!(!head(text.as_bytes()).contains("5ec4e7"));
        }
    }

    #[test]
    fn messages_within_messages_and_broken_ones_are_masked_as_well() {
        for text in [
            "NOTIFY sip:a@b SIP/2.0\r\n\r\nREGISTER sip:a@b SIP/2.0\r\nAuthorization: Basic 5ec4e7\r\n",
            "  \r\nAuthorization: Basic 5ec4e7",
            "\r\nx\r\n\r\n\r\n\r\nAuthorization: Basic 5ec4e7\n\n\n",
        ] {
            assert_eq!(shown(text), text.replace("5ec4e7", "000000"));
        }
    }

    #[test]
    fn what_holds_no_credentials_is_not_copied() {
        assert!(matches!(masked(b"BYE a SIP/2.0\r\n\r\n"), Cow::Borrowed(_)));
    }
}
