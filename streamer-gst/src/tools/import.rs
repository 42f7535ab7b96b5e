//! `streamer-gst import`: makes a description of a gst-launch line.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::quoted;
use crate::codec::Kind;
use crate::description::syntax::{Element, End, Graph, Node};
use crate::description::{self, Diagnostic, EXTENSION};
use crate::gst::check::{self, Role, role, sent_or_raw};

/// How a raw picture becomes an output, as in the descriptions that are shipped.
const ENCODE_VIDEO: &[&str] = &[
    "videoconvert",
    "video/x-raw,format=I420",
    "vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=1000000 keyframe-max-dist=300",
];
/// How raw sound becomes one.
const ENCODE_AUDIO: &[&str] = &[
    "audioconvert",
    "audioresample",
    "audio/x-raw,rate=48000,channels=2",
    "opusenc bitrate=64000",
];
/// What only served the sink behind it.
const ADAPTERS: &[&str] = &[
    "videoconvert",
    "autovideoconvert",
    "audioconvert",
    "audioresample",
];

/// Make a description of a gst-launch line: sinks and payloaders go, outputs come
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The line in one pair of quotes, or as it is behind --
    #[arg(value_name = "LINE", required = true)]
    line: Vec<String>,

    /// Write this file instead of standard output; it must not exist yet
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Import {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let line = match self.line.as_slice() {
            [line] => line.clone(),
            words => words
                .iter()
                .map(|w| quoted(w))
                .collect::<Vec<_>>()
                .join(" "),
        };
        let text = match import(&line) {
            Ok(text) => text,
            Err(diagnostics) => {
                super::tell(std::io::stderr(), &diagnostics);
                return ExitCode::FAILURE;
            }
        };
        let path = match &self.output {
            Some(path) if path.extension().is_none() => path.with_extension(EXTENSION),
            Some(path) => path.clone(),
            None => PathBuf::from(format!("imported.{EXTENSION}")),
        };
        if self.output.is_none() {
            super::print(text.trim_end());
        } else if let Err(error) =
            fs::File::create_new(&path).and_then(|mut f| f.write_all(text.as_bytes()))
        {
            return super::fail("import", &format!("{}: {error}", path.display()));
        }
        let (_, diagnostics) = check::examine_text(&path, &text);
        super::tell(std::io::stderr(), &diagnostics);
        match diagnostics.iter().any(Diagnostic::is_error) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// The description of a line.
fn import(line: &str) -> Result<String, Vec<Diagnostic>> {
    let line = without_program(&line.replace("\\\n", " "));
    let sketch = description::sketch(&line)?;
    if let Some(bin) = sketch
        .graph
        .elements
        .iter()
        .find(|e| e.factory.text == "bin")
    {
        let error = sketch
            .texts
            .error(bin.factory.span, "bins cannot be imported");
        return Err(vec![error.help("take the brackets out")]);
    }
    Ok(Importer::new(&sketch.graph).text())
}

/// The line from its first element on: without variables, program and options.
fn without_program(line: &str) -> String {
    let mut rest = line.trim_start();
    loop {
        let word = rest.split_whitespace().next().unwrap_or_default();
        let program = Path::new(word).file_name().unwrap_or_default();
        let variable = word
            .split_once('=')
            .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        let launch = program.to_string_lossy().starts_with("gst-launch");
        if !(variable || launch || word.starts_with('-')) {
            return rest.to_owned();
        }
        rest = rest[word.len()..].trim_start();
    }
}

struct Importer<'a> {
    graph: &'a Graph,
    /// By element: not part of the description.
    gone: Vec<bool>,
    videos: usize,
    audios: usize,
}

impl<'a> Importer<'a> {
    fn new(graph: &'a Graph) -> Self {
        let ends = |element: &Element| role(element) != Role::Kept;
        let mut importer = Self {
            graph,
            gone: graph.elements.iter().map(ends).collect(),
            videos: 0,
            audios: 0,
        };
        // What is fed by nothing but what is gone goes too, however long the row.
        for _ in 0..graph.elements.len() {
            for index in 0..graph.elements.len() {
                let fed = graph.links.iter();
                let mut fed = fed
                    .filter(|link| graph.element_at(&link.to) == Some(index))
                    .peekable();
                let orphan = fed.peek().is_some() && fed.all(|link| importer.is_gone(&link.from));
                importer.gone[index] |= orphan;
            }
        }
        importer
    }

    fn is_gone(&self, end: &End) -> bool {
        self.graph
            .element_at(end)
            .is_some_and(|index| self.gone[index])
    }

    fn text(&mut self) -> String {
        let graph = self.graph;
        let mut begins = Vec::new();
        for (index, element) in graph.elements.iter().enumerate() {
            let node = Node::Element(index);
            let followed = graph.links.iter().any(|link| link.to.node == node);
            if !followed && !self.gone[index] {
                begins.push((element.factory.span.start(), End { node, pad: None }));
            }
        }
        for link in &graph.links {
            if let Node::Named(word) | Node::Url(word) = &link.from.node {
                if !self.is_gone(&link.from) {
                    begins.push((word.span.start(), link.from.clone()));
                }
            }
        }
        begins.sort_by_key(|(start, _)| *start);
        let chains: Vec<_> = begins
            .into_iter()
            .map(|(_, from)| self.chain(from))
            .collect();
        chains.join("\n")
    }

    /// One chain, a line for each link, and an output at its end.
    fn chain(&mut self, from: End) -> String {
        let mut parts = vec![self.shown(&from)];
        let mut at = from;
        let mut end = None;
        while let Some(link) = self
            .graph
            .links
            .iter()
            .find(|link| link.from.node == at.node)
        {
            let caps = link.caps.as_ref();
            // Those of RTP go with the payloader.
            let caps = caps.filter(|caps| !caps.text.starts_with("application/"));
            parts.extend(caps.map(|caps| quoted(&caps.text)));
            if self.is_gone(&link.to) {
                let index = self.graph.element_at(&link.to);
                end = index.map(|index| role(&self.graph.elements[index]));
                break;
            }
            parts.push(self.shown(&link.to));
            at = link.to.clone();
            if matches!(at.node, Node::Named(_)) {
                return joined(&parts);
            }
        }
        if end.is_none() && self.is_taken_up(&at) {
            return joined(&parts);
        }
        let (adapts, tail) = self.tail(&at, end);
        while adapts && parts.len() > 1 && ADAPTERS.contains(&parts[parts.len() - 1].as_str()) {
            parts.pop();
        }
        parts.extend(tail);
        joined(&parts)
    }

    /// Whether another chain goes on from an element by its name.
    fn is_taken_up(&self, end: &End) -> bool {
        let index = self.graph.element_at(end);
        index.is_some_and(|index| {
            let mut links = self.graph.links.iter();
            links.any(|link| {
                matches!(link.from.node, Node::Named(_))
                    && self.graph.element_at(&link.from) == Some(index)
            })
        })
    }

    /// What makes an output of an element, and whether that adapts the format anew.
    fn tail(&mut self, at: &End, end: Option<Role>) -> (bool, Vec<String>) {
        let index = self.graph.element_at(at);
        let given = index.and_then(|index| sent_or_raw(self.graph, index));
        let wanted = match end {
            Some(Role::End(kind)) => kind,
            _ => None,
        };
        let (kind, sent) = given.unwrap_or((wanted.unwrap_or(Kind::Video), Some(false)));
        let mut tail = Vec::new();
        let encode = match kind {
            Kind::Video => ENCODE_VIDEO,
            Kind::Audio => ENCODE_AUDIO,
        };
        let x264 = index.is_some_and(|i| self.graph.elements[i].factory.text == "x264enc");
        let stated = self
            .graph
            .links
            .iter()
            .any(|link| link.from.node == at.node && link.caps.is_some());
        match sent {
            Some(true) if x264 && !stated => {
                tail.push("video/x-h264,profile=constrained-baseline".to_owned());
            }
            Some(true) => {}
            Some(false) => tail.extend(encode.iter().map(|part| (*part).to_owned())),
            None => {
                tail.push("decodebin".to_owned());
                tail.extend(encode.iter().map(|part| (*part).to_owned()));
            }
        }
        let count = match kind {
            Kind::Video => &mut self.videos,
            Kind::Audio => &mut self.audios,
        };
        *count += 1;
        let name = match (kind, *count) {
            (Kind::Video, 1) => "video".to_owned(),
            (Kind::Video, number) => format!("video_{number}"),
            // There is one sound; a second has to be chosen by hand.
            (Kind::Audio, 1) => "audio".to_owned(),
            (Kind::Audio, number) => format!("further_audio_{number}"),
        };
        tail.push(format!("tee name={name} allow-not-linked=true"));
        (sent == Some(false), tail)
    }

    fn shown(&self, end: &End) -> String {
        let pad = end.pad.as_ref().map_or("", |pad| pad.text.as_str());
        match &end.node {
            Node::Named(name) => format!("{}.{pad}", name.text),
            Node::Url(url) => quoted(&url.text),
            Node::Element(index) => {
                let element = &self.graph.elements[*index];
                let mut shown = quoted(&element.factory.text);
                for preset in &element.presets {
                    shown.push_str(&format!(" {}", quoted(&preset.text)));
                }
                for property in &element.properties {
                    let (name, value) = (&property.name.text, &property.value.text);
                    shown.push_str(&format!(" {}", quoted(&format!("{name}={value}"))));
                }
                shown
            }
        }
    }
}

fn joined(parts: &[String]) -> String {
    format!("{}\n", parts.join("\n  ! "))
}
