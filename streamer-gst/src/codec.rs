//! The codecs a stream can be sent in, under the names SDP gives them.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a medium is for: the first word of an m-line (RFC 8866 section 5.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Moving picture.
    Video,
    /// Sound.
    Audio,
}

impl Kind {
    /// The media type as an m-line spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An encoding that can be put into RTP here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9, profile 0 (RFC 9628).
    Vp9,
    /// H.264 constrained baseline, packetization mode 1 (RFC 6184).
    H264,
    /// Opus (RFC 7587).
    Opus,
}

impl Codec {
    /// All of them, in no order of preference.
    pub const ALL: [Self; 4] = [Self::Vp8, Self::Vp9, Self::H264, Self::Opus];

    /// The encoding name of `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Opus => "opus",
        }
    }

    /// Picture or sound.
    pub fn kind(self) -> Kind {
        match self {
            Self::Vp8 | Self::Vp9 | Self::H264 => Kind::Video,
            Self::Opus => Kind::Audio,
        }
    }

    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self.kind() {
            Kind::Video => 90_000,
            Kind::Audio => 48_000,
        }
    }

    /// The codec an `a=rtpmap` value such as `opus/48000/2` means, if it is one of ours. Encoding
    /// names compare without case (RFC 4855 section 3).
    pub fn from_rtpmap(encoding: &str) -> Option<Self> {
        let mut parts = encoding.split('/');
        let name = parts.next()?;
        let rate: u32 = parts.next()?.trim().parse().ok()?;
        let channels = parts.next();
        Self::ALL.into_iter().find(|codec| {
            codec.name().eq_ignore_ascii_case(name)
                && codec.clock_rate() == rate
                // Opus is always announced with two channels (RFC 7587 section 7).
                && (*codec != Self::Opus || channels == Some("2"))
        })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Codec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
