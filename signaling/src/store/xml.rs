//! Snapshot to XML and back.
//!
//! Text is escaped here and not by quick-xml, which leaves control characters as they are and
//! reads `\r\n` as `\n`: an SDP body would not come back as it went. Carriage returns are written
//! as character references; bytes that XML cannot hold at all are written in hexadecimal, and the
//! element then carries `encoding="hex"`.

mod element;
mod print;

use std::io::BufRead;
use std::sync::Arc;

use bytes::Bytes;
use sip::Peer;

use super::{BindingRecord, SessionRecord, SessionState, Snapshot, StreamerRecord};
use crate::directory::{Image, StreamState, StreamerInfo, Texts};
use element::Element;
pub use print::write;

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
            user: texts("user")?.pop(),
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
        Some("idle") => StreamState::Idle,
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
    let address = |child| -> Result<Peer, XmlError> { addresses.parsed("addresses", child) };
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

#[cfg(test)]
mod tests;
