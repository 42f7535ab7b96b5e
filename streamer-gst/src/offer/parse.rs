//! Reading and checking.

use std::collections::{HashMap, HashSet};

use super::{
    Candidate, Direction, Error, Fingerprint, HashFunction, MAX_BYTES, MAX_CANDIDATES,
    MAX_SECTIONS, Offer, OfferedCodec, Section, TRANSPORT_CC, Transport,
};
use crate::codec::Codec;

/// Most formats in one m-line: there are no more payload types.
const MAX_FORMATS: usize = 128;
/// Parameters of a format past this number are left out.
const MAX_PARAMETERS: usize = 32;

/// Attributes of the session or of one m-line, in order.
#[derive(Default)]
struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    fn first(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        self.0.iter().filter(move |a| a.0 == name).map(|a| a.1)
    }

    fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }
}

/// An m-line with its raw attributes.
struct Raw<'a> {
    line: &'a str,
    attributes: Attributes<'a>,
}

fn bad(reason: impl Into<String>) -> Error {
    Error::Bad(reason.into())
}

impl Offer {
    /// Reads an offer and checks everything that does not depend on the stream.
    ///
    /// # Errors
    /// [`Error::Bad`] with the reason.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(bad(format!("larger than {} KiB", MAX_BYTES / 1024)));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8 text"))?;
        if text.trim().is_empty() {
            return Err(bad("empty"));
        }
        let (session, raw) = split(text)?;
        if raw.is_empty() {
            return Err(bad("no m-line"));
        }
        if raw.len() > MAX_SECTIONS {
            return Err(bad(format!("more than {MAX_SECTIONS} m-lines")));
        }
        let mut sections = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            sections.push(read_section(index, raw, &session)?);
        }
        add_mids(&mut sections)?;
        let bundle = read_bundle(&session, &sections)?;
        check_extensions(&raw, bundle.as_deref())?;
        let offer = Self {
            sections,
            bundle,
            ice_lite: session.has("ice-lite"),
        };
        offer.check_transports()?;
        offer.check_directions()?;
        Ok(offer)
    }

    /// Every m-line in use needs ICE and DTLS values, its own or its BUNDLE group's.
    fn check_transports(&self) -> Result<(), Error> {
        for (index, section) in self.sections.iter().enumerate() {
            if section.disabled || section.kind().is_none() || self.transport(index).is_some() {
                continue;
            }
            return Err(bad(format!(
                "{} has no complete ICE and DTLS description",
                section.label(index)
            )));
        }
        Ok(())
    }

    fn check_directions(&self) -> Result<(), Error> {
        let mut media = self
            .sections
            .iter()
            .filter(|section| section.kind().is_some() && !section.disabled)
            .peekable();
        if media.peek().is_none() {
            return Err(bad("no audio or video m-line in use"));
        }
        if !media.any(|section| section.direction.receives()) {
            return Err(bad("no m-line wants to receive"));
        }
        Ok(())
    }

    /// The transport an m-line would use: its own, or that of the first of its group that has one
    /// (bundle-only m-lines need none, RFC 9143 section 7.1.3).
    pub(super) fn transport(&self, index: usize) -> Option<&Transport> {
        if let Some(own) = &self.sections[index].transport {
            return Some(own);
        }
        let group = self
            .bundle
            .as_ref()
            .filter(|group| group.contains(&index))?;
        group
            .iter()
            .find_map(|member| self.sections[*member].transport.as_ref())
    }
}

/// Cuts the text into the session's attributes and the m-lines.
fn split(text: &str) -> Result<(Attributes<'_>, Vec<Raw<'_>>), Error> {
    let mut session = Attributes::default();
    let mut sections: Vec<Raw<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if index == 0 {
            if line != "v=0" {
                return Err(bad("does not begin with v=0"));
            }
            continue;
        }
        if line.is_empty() {
            continue;
        }
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(bad(format!("control character in line {}", index + 1)));
        }
        let Some((kind, value)) = line
            .split_once('=')
            .filter(|(kind, _)| kind.len() == 1 && kind.as_bytes()[0].is_ascii_lowercase())
        else {
            return Err(bad(format!("line {} is not SDP", index + 1)));
        };
        match kind {
            "m" => sections.push(Raw {
                line: value,
                attributes: Attributes::default(),
            }),
            "a" => {
                let attribute = value.split_once(':').unwrap_or((value, ""));
                match sections.last_mut() {
                    Some(section) => section.attributes.0.push(attribute),
                    None => session.0.push(attribute),
                }
            }
            _ => {}
        }
    }
    Ok((session, sections))
}

fn read_section(index: usize, raw: &Raw<'_>, session: &Attributes<'_>) -> Result<Section, Error> {
    let attributes = &raw.attributes;
    let mut words = raw.line.split_ascii_whitespace();
    let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next())
    else {
        return Err(bad(format!("m-line {} is not complete", index + 1)));
    };
    let is_word = |text: &str| {
        (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-/.+_".contains(&b))
    };
    let formats: Vec<String> = words.take(MAX_FORMATS + 1).map(str::to_owned).collect();
    let port: u16 = port
        .split('/')
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|_| bad(format!("m-line {} has no port", index + 1)))?;
    if !is_word(media) || !is_word(protocol) || !formats.iter().all(|format| is_word(format)) {
        return Err(bad(format!("m-line {} is not SDP", index + 1)));
    }
    if formats.len() > MAX_FORMATS {
        return Err(bad(format!(
            "m-line {} has more than {MAX_FORMATS} formats",
            index + 1
        )));
    }
    let mut section = Section {
        media: media.to_owned(),
        protocol: protocol.to_owned(),
        formats,
        mid: String::new(),
        mid_added: true,
        disabled: port == 0 && !attributes.has("bundle-only"),
        direction: read_direction(attributes)
            .or_else(|| read_direction(session))
            .unwrap_or(Direction::SendRecv),
        transport: None,
        codecs: Vec::new(),
        rtcp_reduced_size: attributes.has("rtcp-rsize"),
        transport_cc: read_extension(attributes, TRANSPORT_CC),
    };
    let label = section.label(index);
    if let Some(mid) = attributes.first("mid") {
        let well_formed =
            (1..=64).contains(&mid.len()) && mid.bytes().all(|b| b.is_ascii_graphic() && b != b',');
        if !well_formed {
            return Err(bad(format!("{label} has a malformed mid")));
        }
        mid.clone_into(&mut section.mid);
        section.mid_added = false;
    }
    if section.disabled || section.kind().is_none() {
        return Ok(section);
    }
    if section.formats.is_empty() {
        return Err(bad(format!("{label} has no format")));
    }
    let secure = ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF"];
    if !secure.contains(&section.protocol.as_str()) {
        return Err(bad(format!(
            "{label} uses {}, not UDP/TLS/RTP/SAVPF",
            section.protocol
        )));
    }
    section.transport = read_transport(&label, attributes, session)?;
    section.codecs = read_codecs(&section, attributes);
    Ok(section)
}

fn read_direction(attributes: &Attributes<'_>) -> Option<Direction> {
    attributes.0.iter().find_map(|(name, _)| match *name {
        "sendrecv" => Some(Direction::SendRecv),
        "recvonly" => Some(Direction::RecvOnly),
        "sendonly" => Some(Direction::SendOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    })
}

/// `None` when the m-line may rely on its BUNDLE group; an error when part of it is missing.
fn read_transport(
    label: &str,
    attributes: &Attributes<'_>,
    session: &Attributes<'_>,
) -> Result<Option<Transport>, Error> {
    let value = |name: &str| attributes.first(name).or_else(|| session.first(name));
    let missing = |what: &str| bad(format!("{label} has no a={what}"));
    let alone = !attributes.has("bundle-only");
    let named = ["ice-ufrag", "ice-pwd", "fingerprint", "setup"];
    if !alone && named.iter().any(|name| value(name).is_none()) {
        return Ok(None);
    }
    let ufrag = value("ice-ufrag").ok_or_else(|| missing("ice-ufrag"))?;
    let password = value("ice-pwd").ok_or_else(|| missing("ice-pwd"))?;
    let is_ice = |text: &str, shortest: usize| {
        (shortest..=256).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    };
    // RFC 8839 section 5.4.
    if !is_ice(ufrag, 4) || !is_ice(password, 22) {
        return Err(bad(format!("{label} has malformed ICE credentials")));
    }
    let own_fingerprint = attributes.has("fingerprint");
    let source = if own_fingerprint { attributes } else { session };
    let mut fingerprints = Vec::new();
    let mut any = false;
    for text in source.all("fingerprint") {
        any = true;
        fingerprints.extend(read_fingerprint(label, text)?);
    }
    if !any {
        return Err(missing("fingerprint"));
    }
    // RFC 8122 section 5: only the set with the most preferred hash function counts.
    let Some(best) = fingerprints.iter().map(|f: &Fingerprint| f.function).max() else {
        return Err(bad(format!("{label} has no sha-256 fingerprint")));
    };
    fingerprints.retain(|fingerprint| fingerprint.function == best);
    let setup = match value("setup").ok_or_else(|| missing("setup"))? {
        "actpass" => "actpass",
        "active" => "active",
        "passive" => "passive",
        other => return Err(bad(format!("{label} has a=setup:{}", shorten(other)))),
    };
    let over_udp = attributes.all("candidate").filter(|candidate| {
        candidate
            .split_ascii_whitespace()
            .nth(2)
            .is_none_or(|transport| !transport.eq_ignore_ascii_case("tcp"))
    });
    if over_udp.count() > MAX_CANDIDATES {
        return Err(bad(format!(
            "{label} has more than {MAX_CANDIDATES} candidates"
        )));
    }
    Ok(Some(Transport {
        ufrag: ufrag.to_owned(),
        password: password.to_owned(),
        fingerprints,
        setup,
        candidates: attributes
            .all("candidate")
            .filter_map(Candidate::parse)
            .collect(),
    }))
}

/// Hash functions we do not take are passed over; a malformed digest is an error.
fn read_fingerprint(label: &str, text: &str) -> Result<Option<Fingerprint>, Error> {
    let malformed = || bad(format!("{label} has a malformed fingerprint"));
    let (name, hex) = text.trim().split_once(' ').ok_or_else(malformed)?;
    let functions = [
        HashFunction::Sha256,
        HashFunction::Sha384,
        HashFunction::Sha512,
    ];
    let Some(function) = functions
        .into_iter()
        .find(|function| function.name().eq_ignore_ascii_case(name))
    else {
        return Ok(None);
    };
    let digest = hex
        .trim()
        .split(':')
        .map(|byte| {
            let two = byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit());
            u8::from_str_radix(byte, 16).ok().filter(|_| two)
        })
        .collect::<Option<Vec<u8>>>()
        .filter(|digest| digest.len() == function.length())
        .ok_or_else(malformed)?;
    Ok(Some(Fingerprint { function, digest }))
}

fn read_codecs(section: &Section, attributes: &Attributes<'_>) -> Vec<OfferedCodec> {
    // The first line about a payload type counts.
    let mut maps: HashMap<u8, &str> = HashMap::new();
    let mut formats: HashMap<u8, &str> = HashMap::new();
    for (name, map) in [("rtpmap", &mut maps), ("fmtp", &mut formats)] {
        for value in attributes.all(name) {
            if let Some((payload, rest)) = value.trim().split_once(' ') {
                if let Ok(payload) = payload.parse() {
                    map.entry(payload).or_insert(rest.trim());
                }
            }
        }
    }
    let payloads: Vec<u8> = section
        .formats
        .iter()
        .filter_map(|format| format.parse().ok())
        // 64 to 95 collide with RTCP on one port (RFC 5761 section 4).
        .filter(|payload| *payload < 128 && !(64..=95).contains(payload))
        .collect();
    let parameters: HashMap<u8, Vec<(String, String)>> = formats
        .into_iter()
        .map(|(payload, text)| (payload, read_parameters(text)))
        .collect();
    let mut codecs: Vec<OfferedCodec> = Vec::new();
    // GStreamer's payloaders make no type below 96. Browsers put there what did not fit above:
    // further profiles, never the plain ones that are sent here.
    for payload in payloads.iter().filter(|payload| **payload >= 96) {
        let Some(codec) = maps.get(payload).and_then(|map| Codec::from_rtpmap(map)) else {
            continue;
        };
        if Some(codec.kind()) != section.kind() || codecs.iter().any(|c| c.payload == *payload) {
            continue;
        }
        let apt = ("apt".to_owned(), payload.to_string());
        let retransmission = payloads.iter().copied().find(|other| {
            maps.get(other)
                .is_some_and(|map| map.eq_ignore_ascii_case("rtx/90000"))
                && parameters.get(other).is_some_and(|p| p.contains(&apt))
        });
        codecs.push(OfferedCodec {
            codec,
            payload: *payload,
            parameters: parameters.get(payload).cloned().unwrap_or_default(),
            feedback: read_feedback(*payload, attributes),
            transport_cc: has_feedback(*payload, attributes, "transport-cc"),
            retransmission,
        });
    }
    codecs
}

/// `key=value;…`; what is not a plain token is left out.
fn read_parameters(text: &str) -> Vec<(String, String)> {
    let is_token = |text: &str| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._+".contains(&b))
    };
    let mut parameters: Vec<(String, String)> = Vec::new();
    for part in text.split(';').take(MAX_PARAMETERS) {
        let Some((key, value)) = part.trim().split_once('=') else {
            continue;
        };
        let key = key.to_ascii_lowercase();
        if is_token(&key) && is_token(value) && parameters.iter().all(|p| p.0 != key) {
            parameters.push((key, value.to_owned()));
        }
    }
    parameters
}

/// The id that an m-line gives a header extension; those with one byte each are the only ones
/// made here (RFC 8285 section 4.2).
fn read_extension(attributes: &Attributes<'_>, uri: &str) -> Option<u8> {
    attributes.all("extmap").find_map(|value| {
        let mut words = value.split_ascii_whitespace();
        let id = words.next()?.split('/').next()?.parse().ok()?;
        (words.next() == Some(uri) && (1..=14).contains(&id)).then_some(id)
    })
}

/// The feedback we react to (RFC 4585, RFC 5104).
fn read_feedback(payload: u8, attributes: &Attributes<'_>) -> Vec<&'static str> {
    let mut known = vec!["nack", "nack pli", "ccm fir"];
    known.retain(|feedback| has_feedback(payload, attributes, feedback));
    known
}

/// Whether an m-line promises feedback for a payload type; `*` is for every one.
fn has_feedback(payload: u8, attributes: &Attributes<'_>, feedback: &str) -> bool {
    let payload = payload.to_string();
    attributes.all("rtcp-fb").any(|value| {
        value
            .trim()
            .split_once(' ')
            .is_some_and(|(for_, kind)| (for_ == payload || for_ == "*") && kind == feedback)
    })
}

/// Gives every m-line a mid, because engines need one.
fn add_mids(sections: &mut [Section]) -> Result<(), Error> {
    let given: Vec<String> = sections
        .iter()
        .filter(|section| !section.mid_added)
        .map(|section| section.mid.clone())
        .collect();
    for (index, mid) in given.iter().enumerate() {
        if given[..index].contains(mid) {
            return Err(bad(format!("mid {} is given twice", shorten(mid))));
        }
    }
    let mut next = 0;
    for section in sections.iter_mut().filter(|section| section.mid_added) {
        while given.contains(&format!("m{next}")) {
            next += 1;
        }
        section.mid = format!("m{next}");
        next += 1;
    }
    Ok(())
}

/// Indices of the m-lines in the BUNDLE group (RFC 9143). All m-lines in use or none: engines
/// know no mixture, and no browser makes one.
fn read_bundle(
    session: &Attributes<'_>,
    sections: &[Section],
) -> Result<Option<Vec<usize>>, Error> {
    let mut groups = session.all("group").filter_map(|group| {
        let mut words = group.split_ascii_whitespace();
        (words.next() == Some("BUNDLE")).then(|| words.collect::<Vec<_>>())
    });
    let Some(mids) = groups.next() else {
        if sections
            .iter()
            .any(|s| !s.disabled && s.transport.is_none() && s.kind().is_some())
        {
            return Err(bad("a bundle-only m-line without a BUNDLE group"));
        }
        return Ok(None);
    };
    if groups.next().is_some() {
        return Err(bad("more than one BUNDLE group"));
    }
    let mut group = Vec::new();
    for mid in mids {
        let index = sections
            .iter()
            .position(|section| !section.mid_added && section.mid == mid)
            .ok_or_else(|| bad(format!("BUNDLE names the unknown mid {}", shorten(mid))))?;
        if group.contains(&index) {
            return Err(bad(format!("BUNDLE names mid {} twice", shorten(mid))));
        }
        group.push(index);
    }
    for (index, section) in sections.iter().enumerate() {
        let in_use = !section.disabled && section.kind().is_some();
        if in_use && !group.contains(&index) {
            return Err(bad(format!("BUNDLE leaves out {}", section.label(index))));
        }
    }
    Ok(Some(group))
}

/// An id stands for one header extension, in an m-line and all over a BUNDLE group (RFC 8285
/// section 5, RFC 9143 section 9).
fn check_extensions(raw: &[Raw<'_>], bundle: Option<&[usize]>) -> Result<(), Error> {
    let mut bundled: HashMap<&str, &str> = HashMap::new();
    for (index, section) in raw.iter().enumerate() {
        let mut own: HashSet<&str> = HashSet::new();
        for value in section.attributes.all("extmap") {
            let mut words = value.split_ascii_whitespace();
            let (Some(id), Some(uri)) = (words.next(), words.next()) else {
                return Err(bad(format!("m-line {} has a malformed extmap", index + 1)));
            };
            let id = id.split('/').next().unwrap_or_default();
            if id.is_empty() || id.len() > 5 || !id.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad(format!("m-line {} has a malformed extmap", index + 1)));
            }
            let id = id.trim_start_matches('0');
            let twice = !own.insert(id)
                || bundle.is_some_and(|group| group.contains(&index))
                    && *bundled.entry(id).or_insert(uri) != uri;
            if twice {
                return Err(bad(format!("extmap id {id} is used twice")));
            }
        }
    }
    Ok(())
}

/// Text of the offer that goes into a message.
fn shorten(text: &str) -> String {
    text.chars().take(32).collect()
}
