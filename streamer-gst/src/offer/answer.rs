//! The engine's answer, put back into the shape of the offer that came.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{Candidate, Plan, Section};

/// One m-line of an answer.
struct Answered<'a> {
    formats: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Answered<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| {
            line.strip_prefix("a=")?
                .strip_prefix(name)?
                .strip_prefix(':')
        })
    }

    /// The default candidate: what a peer without ICE would use (RFC 8839 section 4.2.1.2). IPv4
    /// before IPv6, as peers that read it are old.
    fn default_candidate(&self) -> Option<Candidate> {
        self.lines
            .iter()
            .filter_map(|line| Candidate::parse(line.strip_prefix("a=candidate:")?))
            .filter(|candidate| match candidate.address {
                IpAddr::V6(v6) => !v6.is_unicast_link_local(),
                IpAddr::V4(_) => true,
            })
            .max_by_key(|candidate| (candidate.address.is_ipv4(), candidate.priority))
    }
}

impl Plan {
    /// Rewrites the engine's answer to [`Plan::sdp`] into the answer to the real offer: the m-lines
    /// in the offer's number and order, those without media inactive (or rejected, where no
    /// transport is shared), `m=` and `c=` naming the default candidate (RFC 8839 section 4.2.1.2),
    /// mids only where the offer had them.
    ///
    /// # Errors
    /// What is missing in the engine's answer.
    pub fn answer(&self, engine: &str) -> Result<String, String> {
        let (session, answered) = split(engine)?;
        if answered.len() != self.tracks.len() {
            return Err(format!(
                "{} m-lines answered instead of {}",
                answered.len(),
                self.tracks.len()
            ));
        }
        for (section, track) in answered.iter().zip(&self.tracks) {
            let first: Option<u8> = section
                .formats
                .split(' ')
                .next()
                .and_then(|format| format.parse().ok());
            if first != Some(track.payload) || !section.lines.contains(&"a=sendonly") {
                return Err(format!("{} was not taken", track.codec));
            }
            if section.attribute("fingerprint").is_none() || section.attribute("setup").is_none() {
                return Err(format!("{} has no transport", track.codec));
            }
        }
        let mut sdp = String::with_capacity(engine.len() + 1024);
        for line in session {
            if line.starts_with("o=") {
                push(&mut sdp, &origin(engine));
            } else if !line.starts_with("a=group:") {
                push(&mut sdp, line);
            }
        }
        if let Some(group) = &self.offer.bundle {
            let mids: Vec<&str> = group
                .iter()
                .filter(|index| self.offer.is_answered(**index))
                .map(|index| self.offer.sections[*index].mid.as_str())
                .collect();
            push(&mut sdp, &format!("a=group:BUNDLE {}", mids.join(" ")));
        }
        // All m-lines of a group share the transport of the first.
        let shared = answered.first().filter(|_| self.bundled);
        // Candidates belong to that first one, whatever it carries; Firefox reads no others.
        let tagged = self.offer.bundle.iter().flatten().copied();
        let tagged = tagged.into_iter().find(|i| self.offer.is_answered(*i));
        for (index, section) in self.offer.sections.iter().enumerate() {
            let position = self.sections.iter().position(|chosen| *chosen == index);
            match (position.and_then(|p| answered.get(p)), shared) {
                (Some(own), _) => write_track(&mut sdp, section, own, shared),
                (None, Some(shared)) if self.offer.is_answered(index) => {
                    write_inactive(&mut sdp, section, shared, tagged == Some(index));
                }
                (None, _) => write_rejected(&mut sdp, section),
            }
        }
        Ok(sdp)
    }
}

fn split(sdp: &str) -> Result<(Vec<&str>, Vec<Answered<'_>>), String> {
    let mut session = Vec::new();
    let mut sections: Vec<Answered<'_>> = Vec::new();
    for line in sdp.lines().filter(|line| !line.is_empty()) {
        if let Some(media) = line.strip_prefix("m=") {
            let formats = media
                .splitn(4, ' ')
                .nth(3)
                .ok_or_else(|| format!("malformed line {line}"))?;
            sections.push(Answered {
                formats,
                lines: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        } else {
            session.push(line);
        }
    }
    Ok((session, sections))
}

fn push(sdp: &mut String, line: &str) {
    sdp.push_str(line);
    sdp.push_str("\r\n");
}

/// `m=` and `c=`.
fn write_head(sdp: &mut String, section: &Section, formats: &str, default: Option<Candidate>) {
    // Port 9 on 0.0.0.0 says that there is no default (RFC 8840 section 4.1.1).
    let port = default.as_ref().map_or(9, |candidate| candidate.port);
    let address = match default.map(|candidate| candidate.address) {
        Some(address) if address.is_ipv6() => format!("IP6 {address}"),
        Some(address) => format!("IP4 {address}"),
        None => "IP4 0.0.0.0".to_owned(),
    };
    let Section {
        media, protocol, ..
    } = section;
    let _ = write!(
        sdp,
        "m={media} {port} {protocol} {formats}\r\nc=IN {address}\r\n"
    );
}

fn write_track(
    sdp: &mut String,
    section: &Section,
    own: &Answered<'_>,
    shared: Option<&Answered<'_>>,
) {
    let default = own
        .default_candidate()
        .or_else(|| shared.and_then(Answered::default_candidate));
    write_head(sdp, section, own.formats, default);
    for line in &own.lines {
        let replaced = line.starts_with("c=") || line.starts_with("a=candidate:");
        let added = section.mid_added && line.starts_with("a=mid:");
        if !replaced && !added {
            push(sdp, line);
        }
    }
    write_candidates(sdp, own);
}

/// Link-local IPv6 addresses mean nothing without the name of the peer's interface.
fn write_candidates(sdp: &mut String, own: &Answered<'_>) {
    let prefix = "a=candidate:";
    for line in own.lines.iter().filter(|line| line.starts_with(prefix)) {
        let candidate = line.strip_prefix(prefix).and_then(Candidate::parse);
        let link_local = candidate.is_some_and(|candidate| match candidate.address {
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        });
        if !link_local {
            push(sdp, line);
        }
    }
}

/// An origin that names this session alone (RFC 8829 section 5.2.1). Its number is made of the
/// engine's random ICE credentials, by FNV-1a.
fn origin(engine: &str) -> String {
    let mut number = 0xcbf2_9ce4_8422_2325_u64;
    for line in engine.lines().filter(|line| line.starts_with("a=ice-")) {
        for byte in line.bytes() {
            number = (number ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("o=- {} 1 IN IP4 0.0.0.0", number >> 2)
}

/// An m-line on the shared transport that carries nothing.
fn write_inactive(sdp: &mut String, section: &Section, shared: &Answered<'_>, tagged: bool) {
    // read_section has refused media m-lines without a format.
    let format = section.formats.first().map_or("0", String::as_str);
    let codec = section
        .codecs
        .iter()
        .find(|codec| Some(codec.payload) == format.parse().ok());
    let format = match (codec, section.codecs.first()) {
        (None, Some(known)) => known.payload.to_string(),
        _ => format.to_owned(),
    };
    write_head(sdp, section, &format, shared.default_candidate());
    push(sdp, &format!("a=mid:{}", section.mid));
    for name in ["ice-ufrag", "ice-pwd", "fingerprint", "setup"] {
        if let Some(value) = shared.attribute(name) {
            push(sdp, &format!("a={name}:{value}"));
        }
    }
    push(sdp, "a=rtcp-mux");
    push(sdp, "a=inactive");
    if tagged {
        write_candidates(sdp, shared);
    }
    if let Some(codec) = codec.or(section.codecs.first()) {
        let channels = match codec.codec {
            crate::codec::Codec::Opus => "/2",
            _ => "",
        };
        push(
            sdp,
            &format!(
                "a=rtpmap:{} {}/{}{channels}",
                codec.payload,
                codec.codec,
                codec.codec.clock_rate()
            ),
        );
        if !codec.parameters.is_empty() {
            let parameters: Vec<String> = codec
                .parameters
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            push(
                sdp,
                &format!("a=fmtp:{} {}", codec.payload, parameters.join(";")),
            );
        }
    }
}

/// An m-line turned down for good (RFC 3264 section 6).
fn write_rejected(sdp: &mut String, section: &Section) {
    let Section {
        media,
        protocol,
        formats,
        ..
    } = section;
    let format = formats.first().map_or("0", String::as_str);
    let _ = write!(
        sdp,
        "m={media} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n"
    );
    if !section.mid_added {
        push(sdp, &format!("a=mid:{}", section.mid));
    }
}
