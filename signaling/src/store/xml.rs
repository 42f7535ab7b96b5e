//! Snapshot to XML and back.
//!
//! Text is escaped here and not by quick-xml, which leaves control characters as they are and
//! reads `\r\n` as `\n`: an SDP body would not come back as it went. Carriage returns are written
//! as character references; bytes that XML cannot hold at all are written in hexadecimal, and the
//! element then carries `encoding="hex"`.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer, XmlVersion};

use super::{BindingRecord, SessionRecord, SessionState, Snapshot, StreamerRecord};
use crate::directory::{Image, StreamState, StreamerInfo, Texts};

/// Deepest nesting of elements: `data-base/streamers/streamer/info/title`.
const DEPTH_LIMIT: usize = 8;

/// A file that cannot be read as a data base.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// Not well-formed.
    #[error("not well-formed at byte {position}: {text}")]
    Malformed {
        /// Offset in bytes.
        position: u64,
        /// What the parser said.
        text: String,
    },
    /// An element that must be there is missing.
    #[error("<{parent}> has no <{child}>")]
    Missing {
        /// The element that lacks it.
        parent: &'static str,
        /// What it lacks.
        child: &'static str,
    },
    /// An element holds something else than it should.
    #[error("<{element}> holds {value:?}")]
    Value {
        /// The element.
        element: &'static str,
        /// What it holds.
        value: String,
    },
}

/// Writes a snapshot as an XML document.
pub fn write(snapshot: &Snapshot, out: impl Write) -> io::Result<()> {
    let mut writer = Printer {
        writer: Writer::new_with_indent(out, b' ', 1),
    };
    writer
        .writer
        .write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.element("data-base", |writer| {
        writer.element("streamers", |writer| {
            snapshot
                .streamers
                .iter()
                .try_for_each(|streamer| write_streamer(writer, streamer))
        })?;
        writer.element("sessions", |writer| {
            snapshot
                .sessions
                .iter()
                .try_for_each(|session| write_session(writer, session))
        })
    })?;
    writer.writer.into_inner().write_all(b"\n")
}

fn write_streamer<W: Write>(writer: &mut Printer<W>, streamer: &StreamerRecord) -> io::Result<()> {
    writer.element("streamer", |writer| {
        writer.leaf("address", streamer.address.to_string())?;
        writer.leaf("name", &streamer.name)?;
        writer.leaf("call_id", &streamer.call_id)?;
        writer.element("info", |writer| write_info(writer, &streamer.info))?;
        let binding = &streamer.binding;
        writer.element("binding", |writer| {
            writer.leaf("contact", &binding.contact)?;
            binding
                .path
                .iter()
                .try_for_each(|path| writer.leaf("path", path))?;
            binding
                .via
                .iter()
                .try_for_each(|via| writer.leaf("via", via))?;
            writer.leaf("from", &binding.from)?;
            writer.leaf("to", &binding.to)?;
            writer.leaf("cseq", binding.cseq.to_string())?;
            if let Some(instance) = &binding.instance {
                writer.leaf("instance", instance)?;
            }
            writer.leaf("expires", binding.expires.to_string())
        })
    })
}

fn write_info<W: Write>(writer: &mut Printer<W>, info: &StreamerInfo) -> io::Result<()> {
    match &info.image {
        None => {}
        Some(Image::Own(own)) => writer.leaf("image", own.to_string())?,
        Some(Image::Address(address)) => writer.leaf("image", address)?,
    }
    for (language, text) in &info.description {
        writer.leaf_with("description", &[("lang", language)], text)?;
    }
    for (language, text) in &info.title {
        writer.leaf_with("title", &[("lang", language)], text)?;
    }
    info.codecs
        .iter()
        .try_for_each(|codec| writer.leaf("codec", codec))?;
    info.rungs
        .iter()
        .try_for_each(|rung| writer.leaf("rung", rung.to_string()))?;
    writer.leaf("state", info.state.as_str())?;
    if let Some(error) = &info.error {
        writer.leaf("error", error)?;
    }
    writer.leaf("viewers", info.viewers.to_string())?;
    match info.capacity {
        Some(capacity) => writer.leaf("capacity", capacity.to_string()),
        None => Ok(()),
    }
}

fn write_session<W: Write>(writer: &mut Printer<W>, session: &SessionRecord) -> io::Result<()> {
    writer.element_with("session", &[("stream", &session.stream)], |writer| {
        writer.element("addresses", |writer| {
            writer.leaf("front", session.front.to_string())?;
            writer.leaf("streamer", session.streamer.to_string())
        })?;
        writer.leaf("name", &session.name)?;
        let mut tags = vec![("front-tag", session.front_tag.as_str())];
        if let Some(tag) = &session.streamer_tag {
            tags.push(("streamer-tag", tag));
        }
        writer.leaf_with("call_id", &tags, &session.call_id)?;
        writer.element("sdp", |writer| {
            writer.leaf("offer", &session.offer)?;
            writer.leaf("answer", &session.answer)
        })?;
        writer.leaf("state", session.state.as_str())
    })
}

/// Elements and leaves over quick-xml's writer.
struct Printer<W: Write> {
    writer: Writer<W>,
}

impl<W: Write> Printer<W> {
    fn element(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.element_with(name, &[], content)
    }

    fn element_with(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        content: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.writer
            .write_event(Event::Start(start(name, attributes)))?;
        content(self)?;
        self.writer.write_event(Event::End(BytesEnd::new(name)))
    }

    fn leaf(&mut self, name: &str, value: impl AsRef<[u8]>) -> io::Result<()> {
        self.leaf_with(name, &[], value)
    }

    fn leaf_with(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        value: impl AsRef<[u8]>,
    ) -> io::Result<()> {
        let mut start = start(name, attributes);
        let text = match escape(value.as_ref()) {
            Some(text) => text,
            None => {
                start.push_attribute(("encoding", "hex"));
                to_hex(value.as_ref())
            }
        };
        if text.is_empty() {
            return self.writer.write_event(Event::Empty(start));
        }
        self.writer.write_event(Event::Start(start))?;
        self.writer
            .write_event(Event::Text(BytesText::from_escaped(text)))?;
        self.writer.write_event(Event::End(BytesEnd::new(name)))
    }
}

/// An opening tag; values of attributes that XML cannot hold lose the characters in question
/// (they are tokens of SIP, which has none of them).
fn start<'a>(name: &'a str, attributes: &[(&str, &str)]) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (key, value) in attributes {
        let plain: String = value.chars().filter(|c| is_xml(*c)).collect();
        let escaped = escape(plain.as_bytes())
            .unwrap_or_default()
            .replace('\n', "&#10;");
        start.push_attribute((key.as_bytes(), escaped.replace('\t', "&#9;").as_bytes()));
    }
    start
}

/// XML 1.0 section 2.2, production Char.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Text for between two tags, or nothing when XML cannot hold these bytes.
fn escape(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut escaped = String::with_capacity(text.len() + text.len() / 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            c if is_xml(c) => escaped.push(c),
            _ => return None,
        }
    }
    Some(escaped)
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let digits: Option<Vec<u8>> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(digit)
        .collect();
    let digits = digits?;
    if digits.len() % 2 != 0 {
        return None;
    }
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// Reads a document written by [`write()`], or by hand.
pub fn read(input: impl BufRead) -> Result<Snapshot, XmlError> {
    let root = Element::read(input)?;
    if root.name != "data-base" {
        return Err(XmlError::Value {
            element: "data-base",
            value: root.name,
        });
    }
    let list = |list, item| root.all(list).flat_map(move |element| element.all(item));
    Ok(Snapshot {
        streamers: list("streamers", "streamer")
            .map(read_streamer)
            .collect::<Result<_, _>>()?,
        sessions: list("sessions", "session")
            .map(read_session)
            .collect::<Result<_, _>>()?,
    })
}

fn read_streamer(element: &Element) -> Result<Arc<StreamerRecord>, XmlError> {
    const THIS: &str = "streamer";
    let name = element.text(THIS, "name")?;
    let binding = element.child(THIS, "binding")?;
    let texts = |child| -> Result<Vec<String>, XmlError> {
        binding
            .all(child)
            .map(|child| child.string("binding"))
            .collect()
    };
    let info = match element.child(THIS, "info") {
        Ok(info) => read_info(&name, info)?,
        Err(_) => StreamerInfo::named(&name),
    };
    Ok(Arc::new(StreamerRecord {
        address: element.parsed(THIS, "address")?,
        call_id: element.text(THIS, "call_id")?,
        info,
        binding: BindingRecord {
            contact: binding.text("binding", "contact")?,
            path: texts("path")?,
            via: texts("via")?,
            from: binding.text("binding", "from")?,
            to: binding.text("binding", "to")?,
            cseq: binding.parsed("binding", "cseq")?,
            instance: texts("instance")?.pop(),
            expires: binding.parsed("binding", "expires")?,
        },
        name,
    }))
}

fn read_info(name: &str, element: &Element) -> Result<StreamerInfo, XmlError> {
    const THIS: &str = "info";
    let texts = |child| -> Result<Texts, XmlError> {
        element
            .all(child)
            .map(|child| {
                Ok((
                    child.attribute("lang").unwrap_or_default(),
                    child.string(THIS)?,
                ))
            })
            .collect()
    };
    let strings = |child| -> Result<Vec<String>, XmlError> {
        element.all(child).map(|child| child.string(THIS)).collect()
    };
    let rung = |text: String| {
        serde_json::from_str(&text).map_err(|_| XmlError::Value {
            element: "rung",
            value: text,
        })
    };
    let image = strings("image")?.pop().map(|image| match image.as_str() {
        "true" => Image::Own(true),
        "false" => Image::Own(false),
        _ => Image::Address(image),
    });
    let state = match strings("state")?.pop().as_deref() {
        Some("starting") => StreamState::Starting,
        Some("failed") => StreamState::Failed,
        _ => StreamState::Live,
    };
    Ok(StreamerInfo {
        name: name.to_owned(),
        title: texts("title")?,
        description: texts("description")?,
        image,
        codecs: strings("codec")?,
        rungs: strings("rung")?
            .into_iter()
            .map(rung)
            .collect::<Result<_, _>>()?,
        state,
        error: strings("error")?.pop(),
        viewers: strings("viewers")?
            .pop()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        capacity: strings("capacity")?
            .pop()
            .and_then(|text| text.parse().ok()),
    })
}

fn read_session(element: &Element) -> Result<Arc<SessionRecord>, XmlError> {
    const THIS: &str = "session";
    let addresses = element.child(THIS, "addresses")?;
    let address = |child| -> Result<SocketAddr, XmlError> { addresses.parsed("addresses", child) };
    let call_id = element.child(THIS, "call_id")?;
    let state = element.text(THIS, "state")?;
    let sdp = |child: &'static str| match element.child(THIS, "sdp") {
        Ok(sdp) => sdp
            .all(child)
            .next()
            .map_or(Ok(Bytes::new()), |body| body.bytes("sdp")),
        Err(_) => Ok(Bytes::new()),
    };
    Ok(Arc::new(SessionRecord {
        front: address("front")?,
        streamer: address("streamer")?,
        name: element.text(THIS, "name")?,
        call_id: call_id.string("call_id")?,
        stream: element.attribute("stream").unwrap_or_default(),
        front_tag: call_id.attribute("front-tag").unwrap_or_default(),
        streamer_tag: call_id.attribute("streamer-tag"),
        offer: sdp("offer")?,
        answer: sdp("answer")?,
        state: SessionState::from_str(&state).ok_or(XmlError::Value {
            element: "state",
            value: state,
        })?,
    }))
}

/// An element with everything inside, as far as the data base needs it.
#[derive(Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a whole document.
    fn read(input: impl BufRead) -> Result<Element, XmlError> {
        let mut reader = Reader::from_reader(input);
        let mut buffer = Vec::new();
        let mut open: Vec<Element> = vec![Element::default()];
        loop {
            buffer.clear();
            let event = reader.read_event_into(&mut buffer);
            let position = reader.buffer_position();
            let malformed = |text: String| XmlError::Malformed { position, text };
            let event = event.map_err(|error| malformed(error.to_string()))?;
            let Some(current) = open.last_mut() else {
                return Err(malformed("end tag without start".into()));
            };
            match event {
                Event::Start(tag) => {
                    let element = Element::tag(&tag).map_err(malformed)?;
                    if open.len() > DEPTH_LIMIT {
                        return Err(malformed("nested too deeply".into()));
                    }
                    open.push(element);
                }
                Event::Empty(tag) => current
                    .children
                    .push(Element::tag(&tag).map_err(malformed)?),
                Event::End(_) => {
                    let done = open.pop().unwrap_or_default();
                    match open.last_mut() {
                        Some(parent) => parent.children.push(done),
                        None => return Err(malformed("end tag without start".into())),
                    }
                }
                Event::Text(text) => {
                    let text = text
                        .xml10_content()
                        .map_err(|error| malformed(error.to_string()))?;
                    current.text.push_str(&text);
                }
                Event::CData(text) => {
                    let text = text
                        .xml10_content()
                        .map_err(|error| malformed(error.to_string()))?;
                    current.text.push_str(&text);
                }
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref();
                    match character.map_err(|error| malformed(error.to_string()))? {
                        Some(character) => current.text.push(character),
                        None => {
                            let name = reference.decode().unwrap_or_default();
                            let known = quick_xml::escape::resolve_predefined_entity(&name);
                            current
                                .text
                                .push_str(known.ok_or_else(|| malformed(format!("&{name};")))?);
                        }
                    }
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        let position = reader.buffer_position();
        let ended = |text: &str| XmlError::Malformed {
            position,
            text: text.to_owned(),
        };
        let mut document = open.pop().unwrap_or_default();
        if !open.is_empty() {
            return Err(ended("the file ends within an element"));
        }
        document
            .children
            .pop()
            .ok_or_else(|| ended("the file is empty"))
    }

    fn tag(tag: &BytesStart<'_>) -> Result<Element, String> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
        let mut element = Element {
            name: text(tag.name().as_ref()).map_err(|e| e.to_string())?,
            ..Element::default()
        };
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let key = text(attribute.key.as_ref()).map_err(|error| error.to_string())?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| error.to_string())?;
            element.attributes.push((key, value.into_owned()));
        }
        Ok(element)
    }

    fn attribute(&self, key: &str) -> Option<String> {
        self.attributes
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
    }

    /// Children called `child`.
    fn all(&self, child: &'static str) -> impl Iterator<Item = &Element> {
        self.children
            .iter()
            .filter(move |element| element.name == child)
    }

    fn child(&self, this: &'static str, child: &'static str) -> Result<&Element, XmlError> {
        self.all(child).next().ok_or(XmlError::Missing {
            parent: this,
            child,
        })
    }

    fn bytes(&self, this: &'static str) -> Result<Bytes, XmlError> {
        if self.attribute("encoding").as_deref() != Some("hex") {
            return Ok(Bytes::copy_from_slice(self.text.as_bytes()));
        }
        from_hex(&self.text)
            .map(Bytes::from)
            .ok_or_else(|| XmlError::Value {
                element: this,
                value: self.text.clone(),
            })
    }

    fn string(&self, this: &'static str) -> Result<String, XmlError> {
        let bytes = self.bytes(this)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| XmlError::Value {
            element: this,
            value: self.text.clone(),
        })
    }

    fn text(&self, this: &'static str, child: &'static str) -> Result<String, XmlError> {
        self.child(this, child)?.string(child)
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        this: &'static str,
        child: &'static str,
    ) -> Result<T, XmlError> {
        let text = self.text(this, child)?;
        text.trim().parse().map_err(|_| XmlError::Value {
            element: child,
            value: text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that a failure can be repeated (xorshift64).
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    fn session(offer: Bytes, answer: Bytes) -> SessionRecord {
        SessionRecord {
            front: "127.0.0.1:40001".parse().unwrap(),
            streamer: "[2001:db8::1]:40002".parse().unwrap(),
            name: "Zoë <\"the\" viewer> & co]]>".into(),
            call_id: "a84b4c76e66710@host".into(),
            stream: "test".into(),
            front_tag: "f<1>".into(),
            streamer_tag: Some("s&'\"2".into()),
            offer,
            answer,
            state: SessionState::Established,
        }
    }

    fn streamer() -> StreamerRecord {
        let body = br#"{"name":"test","title":{"":" Test ","es":"Carta\nde ajuste"},
            "description":{"":"<b>&amp;</b>"},"image":true,"codecs":["VP8","opus"],
            "rungs":[{"name":"low","bitrate":300000}],"state":"failed","error":"no camera",
            "viewers":2,"capacity":100}"#;
        StreamerRecord {
            address: "127.0.0.1:40002".parse().unwrap(),
            name: "test".into(),
            call_id: "reg@host".into(),
            info: StreamerInfo::from_json("test", body).unwrap().0,
            binding: BindingRecord {
                contact: "sip:test@127.0.0.1:40002".into(),
                path: vec!["<sip:127.0.0.1:5070;lr>".into()],
                via: vec![
                    "SIP/2.0/UDP a;branch=z9hG4bK1".into(),
                    "SIP/2.0/UDP b".into(),
                ],
                from: "\"A \\\" B\" <sip:test@h>;tag=1".into(),
                to: "<sip:test@h>".into(),
                cseq: 7,
                instance: Some("<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>".into()),
                expires: 60,
            },
        }
    }

    fn round_trip(snapshot: &Snapshot) -> String {
        let mut text = Vec::new();
        write(snapshot, &mut text).unwrap();
        assert_eq!(read(text.as_slice()).unwrap(), *snapshot);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_snapshot_comes_back_as_it_went() {
        let sdp = Bytes::from_static(b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=<&>\r\n\r\n");
        let mut snapshot = Snapshot {
            streamers: vec![Arc::new(streamer())],
            sessions: vec![Arc::new(session(sdp, Bytes::new()))],
        };
        let text = round_trip(&snapshot);
        assert!(
            text.contains("o=- 1 1 IN IP4 0.0.0.0&#13;\n"),
            "SDP is legible: {text}"
        );
        let record = Arc::make_mut(&mut snapshot.streamers[0]);
        record.info = StreamerInfo::named("test");
        record.binding.instance = None;
        record.binding.path.clear();
        Arc::make_mut(&mut snapshot.sessions[0]).streamer_tag = None;
        round_trip(&snapshot);
        round_trip(&Snapshot::default());
    }

    #[test]
    fn sdp_of_any_bytes_comes_back() {
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        let alphabets: [&[u8]; 3] = [
            b"\r\n\t a=<>&;\"']-",
            b"\0\x01\x1b\x7f\xc3\xa9\xff\r\n",
            b"",
        ];
        for round in 0..600 {
            let alphabet = alphabets[round % 3];
            let body = |seed: &mut u64| -> Bytes {
                let length = random(seed) as usize % 64;
                let byte = |seed: &mut u64| match alphabet.len() {
                    0 => random(seed) as u8,
                    length => alphabet[random(seed) as usize % length],
                };
                (0..length).map(|_| byte(seed)).collect()
            };
            let session = session(body(&mut seed), body(&mut seed));
            round_trip(&Snapshot {
                streamers: vec![],
                sessions: vec![Arc::new(session)],
            });
        }
    }

    #[test]
    fn texts_with_control_characters_come_back_and_the_file_stays_xml() {
        let mut session = session(Bytes::new(), Bytes::new());
        session.name = "\u{0}\u{1}\u{fffe}\r\n\t".into();
        let snapshot = Snapshot {
            streamers: vec![],
            sessions: vec![Arc::new(session)],
        };
        let text = round_trip(&snapshot);
        assert!(text.chars().all(is_xml));
        assert!(text.contains("<name encoding=\"hex\">"));
    }

    #[test]
    fn elements_have_the_names_of_the_schema() {
        let session = session(Bytes::from_static(b"o"), Bytes::from_static(b"a"));
        let snapshot = Snapshot {
            streamers: vec![Arc::new(streamer())],
            sessions: vec![Arc::new(session)],
        };
        let mut text = Vec::new();
        write(&snapshot, &mut text).unwrap();
        let root = Element::read(text.as_slice()).unwrap();
        let names = |element: &Element| -> Vec<String> {
            element
                .children
                .iter()
                .map(|child| child.name.clone())
                .collect()
        };
        assert_eq!(root.name, "data-base");
        assert_eq!(names(&root), ["streamers", "sessions"]);
        let streamer = &root.children[0].children[0];
        assert_eq!(
            names(streamer),
            ["address", "name", "call_id", "info", "binding"]
        );
        let session = &root.children[1].children[0];
        assert_eq!(
            names(session),
            ["addresses", "name", "call_id", "sdp", "state"]
        );
        assert_eq!(names(&session.children[0]), ["front", "streamer"]);
        assert_eq!(names(&session.children[3]), ["offer", "answer"]);
    }

    #[test]
    fn every_truncation_is_noticed() {
        let snapshot = Snapshot {
            streamers: vec![Arc::new(streamer())],
            sessions: vec![],
        };
        let mut text = Vec::new();
        write(&snapshot, &mut text).unwrap();
        let whole = text.trim_ascii_end().len();
        for length in 0..whole {
            assert!(read(&text[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn strange_documents_are_errors_and_not_panics() {
        let deep = format!("{}x", "<a>".repeat(200_000));
        for text in [
            "",
            "<other/>",
            "<data-base></data-bas>",
            "<data-base>&unknown;</data-base>",
            "<data-base><streamers><streamer/></streamers></data-base>",
            "<data-base>&#0;</data-base>",
            "</data-base>",
            &deep,
        ] {
            assert!(
                read(text.as_bytes()).is_err(),
                "{}",
                &text[..text.len().min(60)]
            );
        }
        let mut seed = 7;
        let mut text = Vec::new();
        let sessions = vec![Arc::new(session(
            Bytes::from_static(b"v=0\r\n"),
            Bytes::new(),
        ))];
        write(
            &Snapshot {
                streamers: vec![Arc::new(streamer())],
                sessions,
            },
            &mut text,
        )
        .unwrap();
        for _ in 0..2000 {
            let mut changed = text.clone();
            let place = random(&mut seed) as usize % changed.len();
            changed[place] = random(&mut seed) as u8;
            let _ = read(changed.as_slice());
        }
    }
}
