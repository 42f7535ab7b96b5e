//! A document as a tree of elements.

use std::io::BufRead;

use bytes::Bytes;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::XmlError;

/// Deepest nesting of elements: `data-base/streamers/streamer/info/title`.
const DEPTH_LIMIT: usize = 8;

/// An element with everything inside, as far as the data base needs it.
#[derive(Default)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// Reads a whole document.
    pub(super) fn read(input: impl BufRead) -> Result<Element, XmlError> {
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
            .ok_or_else(|| ended("there is no element in the file"))
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

    pub(super) fn attribute(&self, key: &str) -> Option<String> {
        self.attributes
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
    }

    /// Children called `child`.
    pub(super) fn all(&self, child: &'static str) -> impl Iterator<Item = &Element> {
        self.children
            .iter()
            .filter(move |element| element.name == child)
    }

    pub(super) fn child(
        &self,
        this: &'static str,
        child: &'static str,
    ) -> Result<&Element, XmlError> {
        self.all(child).next().ok_or(XmlError::Missing {
            parent: this,
            child,
        })
    }

    pub(super) fn bytes(&self, this: &'static str) -> Result<Bytes, XmlError> {
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

    pub(super) fn string(&self, this: &'static str) -> Result<String, XmlError> {
        let bytes = self.bytes(this)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| XmlError::Value {
            element: this,
            value: self.text.clone(),
        })
    }

    pub(super) fn text(&self, this: &'static str, child: &'static str) -> Result<String, XmlError> {
        self.child(this, child)?.string(child)
    }

    pub(super) fn parsed<T: std::str::FromStr>(
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
            .map(|pair| (pair[0] << 4) | pair[1])
            .collect(),
    )
}
