//! Snapshot to XML.

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::super::{SessionRecord, Snapshot, StreamerRecord};
use crate::directory::{Image, StreamerInfo};

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
            writer.leaf("expires", binding.expires.to_string())?;
            match &binding.user {
                Some(user) => writer.leaf("user", user),
                None => Ok(()),
            }
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
pub(super) fn is_xml(c: char) -> bool {
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
