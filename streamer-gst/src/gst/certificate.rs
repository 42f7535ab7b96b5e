//! Whether the peer's certificate is the one the offer named (RFC 8827 section 6.5).

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc as gst_webrtc;

use crate::offer::{Fingerprint, HashFunction};

/// The DER form of the certificate the peer used on a transceiver's transport.
pub(super) fn remote_certificate(
    transceiver: &gst_webrtc::WebRTCRTPTransceiver,
) -> Option<Vec<u8>> {
    let transport = transceiver.sender()?.transport()?;
    let pem = transport.property::<Option<String>>("remote-certificate")?;
    decode_pem(&pem)
}

pub(super) fn matches(certificate: &[u8], fingerprints: &[Fingerprint]) -> bool {
    fingerprints.iter().any(|fingerprint| {
        let kind = match fingerprint.function {
            HashFunction::Sha256 => glib::ChecksumType::Sha256,
            HashFunction::Sha384 => glib::ChecksumType::Sha384,
            HashFunction::Sha512 => glib::ChecksumType::Sha512,
        };
        let Some(mut checksum) = glib::Checksum::new(kind) else {
            return false;
        };
        checksum.update(certificate);
        checksum.digest() == fingerprint.digest
    })
}

/// The bytes of the first PEM block; `None` when there is none or it is malformed.
fn decode_pem(pem: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut bits = 0_u32;
    let mut count = 0;
    let mut inside = false;
    for line in pem.lines() {
        let line = line.trim();
        if line.starts_with("-----BEGIN ") {
            inside = true;
            continue;
        }
        if !inside {
            continue;
        }
        if line.starts_with("-----END ") {
            return Some(bytes);
        }
        for byte in line.bytes().filter(|byte| *byte != b'=') {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = (bits << 6) | u32::from(value);
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count) as u8);
                bits &= (1 << count) - 1;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn pem_gives_its_bytes() {
        // Test vectors of RFC 4648 section 10.
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9v\nYmFy", "foobar"),
        ] {
            assert_eq!(decode_pem(&pem(text)).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn what_is_no_pem_gives_nothing() {
        for text in ["", "Zm9v", "-----BEGIN X-----\nZm9v", &pem("Z!==")] {
            assert_eq!(decode_pem(text), None);
        }
    }
}
