//! Which m-line gets which output, and the uniform offer for the engine.

use std::fmt::Write as _;

use super::{Error, Fingerprint, Offer, OfferedCodec, Section, TRANSPORT_CC, Transport};
use crate::codec::{Codec, Kind};

/// An output of the stream, in the stream's order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// Name of the tee.
    pub output: String,
    /// What it carries.
    pub codec: Codec,
}

/// The outputs of the picture that a viewer of this codec can be moved between, in the file's
/// order. There may be but one, and sound has none.
pub fn rungs(available: &[Available], codec: Codec) -> Vec<&Available> {
    let same = |output: &&Available| codec.kind() == Kind::Video && output.codec == codec;
    available.iter().filter(same).collect()
}

/// One m-line that will carry media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Name of the output it carries.
    pub output: String,
    /// Its codec.
    pub codec: Codec,
    /// The offer's payload type for it.
    pub payload: u8,
    /// Index of the m-line in [`Plan::sdp`].
    pub section: u32,
    /// The peer's certificate on this m-line's transport must have one of these hashes.
    pub fingerprints: Vec<Fingerprint>,
    /// The offer takes retransmissions (RFC 4588).
    pub retransmission: bool,
    /// Id of the header extension [`TRANSPORT_CC`], where the offer lets the viewer's bandwidth be
    /// known.
    pub transport_cc: Option<u8>,
}

/// What an engine needs to answer one offer, and what it takes to turn its answer into ours.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The uniform offer: one m-line per track, each with ICE, DTLS and mid of its own.
    pub sdp: String,
    /// Whether the tracks share one transport. If not, the engine must not bundle.
    pub bundled: bool,
    /// The m-lines of `sdp`, in order; at most one per [`Kind`], at least one.
    pub tracks: Vec<Track>,
    pub(super) offer: Offer,
    /// For each track, the m-line of the real offer.
    pub(super) sections: Vec<usize>,
}

impl Offer {
    /// Chooses for each kind of media the first m-line that wants to receive it and the first
    /// available output it can decode.
    ///
    /// # Errors
    /// [`Error::NoCommonCodec`] when nothing is left, [`Error::Bad`] when the choice would give
    /// one payload type two meanings.
    pub fn plan(&self, available: &[Available]) -> Result<Plan, Error> {
        let mut chosen: Vec<(usize, &Available, &OfferedCodec)> = Vec::new();
        for (index, section) in self.sections.iter().enumerate() {
            let Some(kind) = section.kind() else { continue };
            let taken = chosen
                .iter()
                .any(|(_, output, _)| output.codec.kind() == kind);
            if section.disabled || !section.direction.receives() || taken {
                continue;
            }
            let found = available
                .iter()
                .filter(|output| output.codec.kind() == kind)
                .find_map(|output| Some((output, best(section, output.codec)?)));
            if let Some((output, codec)) = found {
                chosen.push((index, output, codec));
            }
        }
        if chosen.is_empty() {
            return Err(self.no_common_codec(available));
        }
        if self.bundle.is_some() {
            let mut payloads = Vec::new();
            for (_, _, codec) in &chosen {
                for payload in std::iter::once(codec.payload).chain(codec.retransmission) {
                    if payloads.contains(&payload) {
                        let text = format!("payload type {payload} means two codecs");
                        return Err(Error::Bad(text));
                    }
                    payloads.push(payload);
                }
            }
        }
        let sections: Vec<usize> = chosen.iter().map(|(index, _, _)| *index).collect();
        let mut sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned();
        if self.ice_lite {
            sdp.push_str("a=ice-lite\r\n");
        }
        if self.bundle.is_some() {
            let mids: Vec<&str> = sections
                .iter()
                .map(|index| self.sections[*index].mid.as_str())
                .collect();
            let _ = write!(sdp, "a=group:BUNDLE {}\r\n", mids.join(" "));
        }
        // An engine has one estimate for a viewer, and takes it to be that of one line.
        let one_transport = self.bundle.is_some() || chosen.len() == 1;
        let mut tracks = Vec::new();
        for (position, (index, output, codec)) in chosen.iter().enumerate() {
            let transport = self.answered_transport(*index).ok_or_else(|| {
                Error::Bad(format!(
                    "{} has no transport",
                    self.sections[*index].label(*index)
                ))
            })?;
            let transport_cc = self.sections[*index]
                .transport_cc
                .filter(|_| codec.transport_cc && one_transport);
            write_section(&mut sdp, &self.sections[*index], codec, transport);
            if let Some(id) = transport_cc {
                let payload = codec.payload;
                let _ = write!(sdp, "a=rtcp-fb:{payload} transport-cc\r\n");
                let _ = write!(sdp, "a=extmap:{id} {TRANSPORT_CC}\r\n");
            }
            tracks.push(Track {
                output: output.output.clone(),
                codec: codec.codec,
                payload: codec.payload,
                section: position as u32,
                fingerprints: transport.fingerprints.clone(),
                retransmission: codec.retransmission.is_some(),
                transport_cc,
            });
        }
        Ok(Plan {
            sdp,
            bundled: self.bundle.is_some(),
            tracks,
            offer: self.clone(),
            sections,
        })
    }

    /// Which transport an answered m-line will really use. In a group that is the transport of the
    /// first m-line the answer does not reject (RFC 9143 section 7.3.1).
    fn answered_transport(&self, index: usize) -> Option<&Transport> {
        match &self.bundle {
            Some(group) => group
                .iter()
                .find(|member| self.is_answered(**member))
                .and_then(|member| self.transport(*member)),
            None => self.transport(index),
        }
    }

    /// In a group every media m-line in use is answered, if only as inactive.
    pub(super) fn is_answered(&self, index: usize) -> bool {
        let section = &self.sections[index];
        section.kind().is_some() && !section.disabled
    }

    fn no_common_codec(&self, available: &[Available]) -> Error {
        let mut ours: Vec<&str> = available.iter().map(|o| o.codec.name()).collect();
        ours.dedup();
        let mut theirs: Vec<&str> = self
            .sections
            .iter()
            .flat_map(|section| section.codecs.iter().map(|c| c.codec.name()))
            .collect();
        theirs.dedup();
        let theirs = if theirs.is_empty() {
            "none of the known ones".to_owned()
        } else {
            theirs.join(", ")
        };
        Error::NoCommonCodec(format!(
            "the stream has {}, the offer {theirs}",
            ours.join(", ")
        ))
    }
}

/// The payload type of a section that fits the codec best.
fn best(section: &Section, codec: Codec) -> Option<&OfferedCodec> {
    section
        .codecs
        .iter()
        .filter(|offered| offered.codec == codec)
        .filter_map(|offered| Some((rank(offered)?, offered)))
        // min_by_key keeps the first of equals: the offerer's order.
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, offered)| offered)
}

/// How well our bitstream fits an offered format; `None` if it cannot be decoded.
fn rank(offered: &OfferedCodec) -> Option<u8> {
    let parameter = |key: &str| {
        offered
            .parameters
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    };
    match offered.codec {
        Codec::Vp8 | Codec::Opus => Some(0),
        // RFC 9628 section 6: absent means profile 0, the only one sent here.
        Codec::Vp9 => (parameter("profile-id").unwrap_or("0") == "0").then_some(0),
        Codec::H264 => {
            if parameter("packetization-mode") != Some("1") {
                return None;
            }
            // RFC 6184 section 8.1: absent means baseline, level 1.
            let level_id = parameter("profile-level-id").unwrap_or("42000a");
            let value = u32::from_str_radix(level_id, 16)
                .ok()
                .filter(|_| level_id.len() == 6)?;
            let (profile, constraints) = (value >> 16, (value >> 8) & 0xff);
            match profile {
                // Constrained baseline, then baseline, main and high, which all decode it.
                0x42 if constraints & 0x40 != 0 => Some(0),
                0x42 => Some(1),
                0x4d => Some(2),
                0x64 => Some(3),
                _ => None,
            }
        }
    }
}

fn write_section(sdp: &mut String, section: &Section, codec: &OfferedCodec, ice: &Transport) {
    let kind = section.kind().map_or("video", Kind::name);
    let payload = codec.payload;
    let retransmission = codec.retransmission;
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = write!(sdp, "{text}\r\n");
    };
    match retransmission {
        Some(rtx) => line(format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {payload} {rtx}")),
        None => line(format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {payload}")),
    }
    line(format_args!("c=IN IP4 0.0.0.0"));
    line(format_args!("a=mid:{}", section.mid));
    line(format_args!("a=ice-ufrag:{}", ice.ufrag));
    line(format_args!("a=ice-pwd:{}", ice.password));
    for fingerprint in &ice.fingerprints {
        line(format_args!("a=fingerprint:{}", fingerprint.to_sdp()));
    }
    line(format_args!("a=setup:{}", ice.setup));
    line(format_args!("a=recvonly"));
    line(format_args!("a=rtcp-mux"));
    if section.rtcp_reduced_size {
        line(format_args!("a=rtcp-rsize"));
    }
    match codec.codec {
        Codec::Opus => line(format_args!("a=rtpmap:{payload} opus/48000/2")),
        other => line(format_args!(
            "a=rtpmap:{payload} {other}/{}",
            other.clock_rate()
        )),
    }
    if !codec.parameters.is_empty() {
        let parameters: Vec<String> = codec
            .parameters
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        line(format_args!("a=fmtp:{payload} {}", parameters.join(";")));
    }
    for feedback in &codec.feedback {
        line(format_args!("a=rtcp-fb:{payload} {feedback}"));
    }
    if let Some(rtx) = retransmission {
        line(format_args!("a=rtpmap:{rtx} rtx/90000"));
        line(format_args!("a=fmtp:{rtx} apt={payload}"));
    }
    for candidate in &ice.candidates {
        line(format_args!("a=candidate:{}", candidate.to_sdp()));
    }
}
