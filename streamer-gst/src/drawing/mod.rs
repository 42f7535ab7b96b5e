//! Drawings of pipelines as plain data: what is in them, where it goes ([`layout`]), and how that
//! is written down ([`svg`]). Nothing here knows GStreamer.

mod column;
mod grid;
mod layers;
mod layout;
mod measure;
mod svg;
mod vertices;

pub use svg::render;

/// What is inside a pipeline or a bin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// Elements and bins, in the order of the text as far as it is known.
    pub nodes: Vec<Node>,
    /// Links between them, and with the bin's own pads.
    pub links: Vec<Link>,
}

/// An element, or a bin with what is inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its kind: `vp8enc`.
    pub factory: String,
    /// Its own name: `vp8enc0`.
    pub name: String,
    /// What it is to the reader.
    pub role: Role,
    /// Properties that the description sets, with their values.
    pub properties: Vec<(String, String)>,
    /// Sink pads in their order.
    pub inputs: Vec<String>,
    /// Source pads in their order.
    pub outputs: Vec<String>,
    /// What a bin contains.
    pub inside: Option<Inside>,
}

/// What an element is to the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Where data comes from.
    Source,
    /// What compresses it.
    Encoder,
    /// What unpacks or decompresses it.
    Decoder,
    /// A tee that viewers are fed from.
    Output,
    /// Where data ends.
    Sink,
    /// Anything else.
    #[default]
    Other,
}

/// A link between two pads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where data comes from.
    pub from: End,
    /// Where it goes.
    pub to: End,
    /// What it is.
    pub caps: Option<Caps>,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A pad of the node with this number.
    Node(usize, String),
    /// A pad of the bin itself, seen from inside.
    Own(String),
}

/// The format on a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// A few short lines: the media type, then what matters of the rest.
    pub lines: Vec<String>,
    /// All of it.
    pub whole: String,
    /// Whether both ends have agreed on it; else it is what they could agree on.
    pub negotiated: bool,
}
