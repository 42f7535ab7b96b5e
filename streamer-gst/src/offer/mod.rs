//! SDP offers: read, checked and made uniform before any engine sees them.
//!
//! Real engines abort the process on offers they do not expect, so nothing of the received text
//! is handed on: an [`Offer`] holds typed values only, and [`Offer::plan`] writes a new, small
//! description from them with the m-lines we answer and nothing else. [`Plan::answer`] puts the
//! engine's answer back into the shape of the offer that came.
//!
//! Pure code: text in, text out.

mod answer;
mod candidate;
mod fragment;
mod parse;
mod plan;

use crate::codec::{Codec, Kind};

pub use candidate::Candidate;
pub use fragment::{Fragment, Places, Trickled};
pub use plan::{Available, Plan, Track, rungs};

/// Longest offer in bytes.
pub const MAX_BYTES: usize = 128 * 1024;
/// Most UDP candidates in one m-line; each makes the streamer send packets to a stranger's choice.
pub const MAX_CANDIDATES: usize = 20;
/// Most m-lines.
pub const MAX_SECTIONS: usize = 64;

/// Why an offer is refused; the text is meant for the person who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a usable WebRTC offer.
    #[error("bad offer: {0}")]
    Bad(String),
    /// Usable, but neither picture nor sound of the stream is among its codecs.
    #[error("no common codec: {0}")]
    NoCommonCodec(String),
}

/// A checked offer (RFC 8829, RFC 8866, RFC 9143).
#[derive(Clone, Debug)]
pub struct Offer {
    sections: Vec<Section>,
    /// Indices of the sections in the BUNDLE group, in the group's order.
    bundle: Option<Vec<usize>>,
    /// The offerer only answers checks, so we have to make them (RFC 8445 section 2.5).
    ice_lite: bool,
}

/// One m-line with what belongs to it, session-level values already inherited.
#[derive(Clone, Debug)]
struct Section {
    /// First word of the m-line as it was sent.
    media: String,
    protocol: String,
    formats: Vec<String>,
    mid: String,
    /// The offer had no `a=mid` here; the answer must not have one either.
    mid_added: bool,
    /// Port 0 without `a=bundle-only`: the offerer does not use this m-line (RFC 3264 section 5.1).
    disabled: bool,
    direction: Direction,
    transport: Option<Transport>,
    /// The codecs of ours that were offered, in the offerer's order.
    codecs: Vec<OfferedCodec>,
    rtcp_reduced_size: bool,
    /// Id of the header extension with transport-wide sequence numbers.
    transport_cc: Option<u8>,
}

impl Section {
    fn kind(&self) -> Option<Kind> {
        match self.media.as_str() {
            "audio" => Some(Kind::Audio),
            "video" => Some(Kind::Video),
            _ => None,
        }
    }

    /// How messages name this m-line.
    fn label(&self, index: usize) -> String {
        format!("m-line {} ({})", index + 1, self.media)
    }
}

/// The header extension that numbers packets over all streams of a transport, for feedback on each
/// of them (draft-holmer-rmcat-transport-wide-cc-extensions-01).
pub const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Direction as the offerer sees it (RFC 8866 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    SendRecv,
    RecvOnly,
    SendOnly,
    Inactive,
}

impl Direction {
    fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// What ICE and DTLS need to know of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Transport {
    ufrag: String,
    password: String,
    fingerprints: Vec<Fingerprint>,
    setup: &'static str,
    candidates: Vec<Candidate>,
}

/// One of our codecs with the payload type the offerer gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfferedCodec {
    codec: Codec,
    payload: u8,
    /// The format's parameters that are harmless tokens, in order.
    parameters: Vec<(String, String)>,
    feedback: Vec<&'static str>,
    /// Whether transport-wide feedback was offered for it.
    transport_cc: bool,
    /// Payload type of the retransmissions of this one (RFC 4588).
    retransmission: Option<u8>,
}

/// Hash functions a certificate may be named by (RFC 8122 section 5), weakest first. SHA-1 and
/// below are not taken: the fingerprint is all that ties media to the person who signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashFunction {
    /// SHA-256, what browsers send.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashFunction {
    /// Spelling in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Digest length in bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// The hash of a certificate, `a=fingerprint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// How it was made.
    pub function: HashFunction,
    /// The digest.
    pub digest: Vec<u8>,
}

impl Fingerprint {
    fn to_sdp(&self) -> String {
        let hex: Vec<_> = self.digest.iter().map(|b| format!("{b:02X}")).collect();
        format!("{} {}", self.function.name(), hex.join(":"))
    }
}

#[cfg(test)]
mod tests;
