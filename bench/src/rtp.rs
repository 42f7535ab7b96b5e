//! As much of RTP and of VP8's payload format (RFC 7741) as it takes to recognise in a viewer's
//! packets what was sent to the server, whatever the server does to headers and packet borders.

use serde::{Deserialize, Serialize};

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// VP8 at 90 kHz.
    Video,
    /// Opus at 48 kHz.
    Audio,
}

impl Media {
    /// Ticks of its RTP clock in a second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Video => 90_000,
            Self::Audio => 48_000,
        }
    }

    /// Its payload type, in the recording as in what viewers receive.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Video => 96,
            Self::Audio => 111,
        }
    }

    /// The stream of a payload type; retransmission has another.
    pub fn of(payload_type: u8) -> Option<Self> {
        let both = [Self::Video, Self::Audio];
        both.into_iter()
            .find(|media| media.payload_type() == payload_type)
    }
}

/// The fixed header of a packet without extensions or contributing sources, as GStreamer's
/// payloaders make it.
pub const HEADER: usize = 12;

/// Where the payload of any packet begins; headers are not encrypted.
pub fn header_length(packet: &[u8]) -> Option<usize> {
    let first = packet.first()?;
    let plain = HEADER + 4 * usize::from(first & 0x0f);
    if first & 0x10 == 0 {
        return Some(plain);
    }
    let words = packet.get(plain + 2..plain + 4)?;
    Some(plain + 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]])))
}

/// Whether the marker bit is set: a frame of video ends here.
pub fn is_marked(packet: &[u8]) -> bool {
    packet[1] & 0x80 != 0
}

/// The timestamp.
pub fn timestamp(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])
}

/// Moves a packet's sequence number and timestamp onwards.
pub fn shift(packet: &mut [u8], packets: u16, ticks: u32) {
    let number = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(packets);
    packet[2..4].copy_from_slice(&number.to_be_bytes());
    let time = timestamp(packet).wrapping_add(ticks);
    packet[4..8].copy_from_slice(&time.to_be_bytes());
}

/// The first packet of a frame of video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameStart {
    /// What tells this frame from the recording's others.
    pub key: u64,
    /// Whether a viewer can begin with it.
    pub keyframe: bool,
}

/// Reads the payload of a VP8 packet; `None` unless a frame begins in it.
pub fn frame_start(payload: &[u8]) -> Option<FrameStart> {
    let (&first, mut rest) = payload.split_first()?;
    if first & 0x17 != 0x10 {
        // Not the start of a partition, or not of the first.
        return None;
    }
    if first & 0x80 != 0 {
        let (&extended, after) = rest.split_first()?;
        let long = extended & 0x80 != 0 && after.first()? & 0x80 != 0;
        let picture = usize::from(extended & 0x80 != 0) + usize::from(long);
        let further = usize::from(extended & 0x40 != 0) + usize::from(extended & 0x30 != 0);
        rest = after.get(picture + further..)?;
    }
    let keyframe = rest.first()? & 1 == 0;
    Some(FrameStart {
        key: key(rest),
        keyframe,
    })
}

/// FNV-1a over as much as the first packet of any frame holds.
pub fn key(payload: &[u8]) -> u64 {
    payload
        .iter()
        .take(40)
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_same_whatever_its_descriptor() {
        let plain = frame_start(&[0x10, 0x00, 1, 2, 3]);
        assert_eq!(plain.map(|start| start.keyframe), Some(true));
        assert_eq!(frame_start(&[0x90, 0x80, 0x91, 0x22, 0x00, 1, 2, 3]), plain);
        assert_eq!(frame_start(&[0x90, 0xe0, 0x11, 7, 9, 0x00, 1, 2, 3]), plain);
        assert_ne!(frame_start(&[0x10, 0x01, 1, 2, 3]), plain);
    }

    #[test]
    fn what_continues_a_frame_starts_none() {
        assert_eq!(frame_start(&[0x00, 0x00]), None);
        assert_eq!(frame_start(&[0x11, 0x00]), None);
        assert_eq!(frame_start(&[0x90, 0x80]), None);
        assert_eq!(frame_start(&[]), None);
    }

    #[test]
    fn a_header_is_as_long_as_its_extension_makes_it() {
        let mut packet = [0; 24];
        packet[0] = 0x80;
        assert_eq!(header_length(&packet), Some(12));
        packet[0] = 0x90;
        packet[15] = 1;
        assert_eq!(header_length(&packet), Some(20));
        assert_eq!(header_length(&packet[..13]), None);
    }

    #[test]
    fn a_shifted_packet_goes_on_where_the_last_round_ended() {
        let mut packet = [0x80, 96, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 1];
        shift(&mut packet, 2, 9);
        assert_eq!(packet[2..8], [0, 1, 0, 0, 0, 10]);
    }
}
