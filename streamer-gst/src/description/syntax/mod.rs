//! What the words mean as gst-launch reads them: which is an element, which a property, which a
//! link. What elements there are is not known here.

mod explain;
mod rules;
mod token;

use super::diagnostic::Diagnostic;
use super::lexer::ENDS;
use super::text::{Span, Texts};
use super::word::Word;
use explain::{LINKS, NO_LINK};
use token::{Token, tokens};

pub(super) use rules::check;

/// What is told of fields behind a blank.
const BLANK: &str = "a blank ends the caps before this";
/// What is told of text in another language, once for all of it.
pub(super) const OTHER_LANGUAGE: &str = "this is another language than that of gst-launch";
/// What commands of ffmpeg, programs in Python and JavaScript, and files of Docker begin with.
const LANGUAGES: [&str; 9] = [
    "ffmpeg",
    "import",
    "from",
    "FROM",
    "services:",
    "version:",
    "const",
    "let",
    "var",
];
/// What text in JSON or HTML begins with; the rest of it need not be read.
const FOREIGN: [char; 3] = ['{', '[', '<'];

/// Elements and links of a description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) elements: Vec<Element>,
    pub(crate) links: Vec<Link>,
    /// Elements that one chain ends and the next one begins with; before some stands what could
    /// not be read.
    pub(crate) breaks: Vec<(Option<usize>, usize)>,
}

/// An element, or a bin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// Its factory; for a bin in brackets the bracket.
    pub(crate) factory: Word,
    pub(crate) properties: Vec<Property>,
    pub(crate) presets: Vec<Word>,
    /// The bin around it.
    pub(crate) bin: Option<usize>,
}

/// A property of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: Word,
    pub(crate) value: Word,
}

/// A link between two elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) caps: Option<Word>,
    /// The `!` that begins it.
    pub(crate) span: Span,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) node: Node,
    pub(crate) pad: Option<Word>,
}

/// What stands at the end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// By number.
    Element(usize),
    /// By name.
    Named(Word),
    /// An address, for which GStreamer finds an element.
    Url(Word),
}

impl Element {
    /// The value of a property, the last one if there are several.
    pub(crate) fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().rev().find(|p| p.name.text == name)
    }

    /// The name it was given.
    pub(crate) fn name(&self) -> Option<&str> {
        self.property("name").map(|p| p.value.text.as_str())
    }

    /// Whether it is a tee whose name makes it an output.
    pub(crate) fn is_output(&self) -> bool {
        self.factory.text == "tee" && self.name().is_some_and(super::is_output_name)
    }
}

impl Graph {
    /// The element of that name.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.elements.iter().position(|e| e.name() == Some(name))
    }

    /// The links that begin at an element.
    pub(crate) fn links_from(&self, index: usize) -> impl Iterator<Item = &Link> {
        let links = self.links.iter();
        links.filter(move |link| self.element_at(&link.from) == Some(index))
    }

    /// The links that end at an element.
    pub(crate) fn links_to(&self, index: usize) -> impl Iterator<Item = &Link> {
        let links = self.links.iter();
        links.filter(move |link| self.element_at(&link.to) == Some(index))
    }

    /// The element that ends the chain right before this one begins the next.
    pub(crate) fn before(&self, index: usize) -> Option<usize> {
        let mut breaks = self.breaks.iter();
        breaks.find(|(_, after)| *after == index)?.0
    }

    /// Whether right before an element stands what could not be read.
    pub(crate) fn is_behind_unreadable(&self, index: usize) -> bool {
        self.breaks.contains(&(None, index))
    }

    /// `text="Hello World"` for the `World` at `span`, when only blanks part it from the value of
    /// a property that has no quotes of its own.
    pub(crate) fn in_quotes(&self, texts: &Texts, span: Span) -> Option<String> {
        let mut properties = self.elements.iter().flat_map(|e| &e.properties);
        let before = properties.find(|p| texts.is_next_word(p.value.span, span))?;
        let whole = texts.slice(before.value.span.to(span));
        let plain = !whole.contains(['"', '\'', '\\']) && !before.value.unknown;
        plain.then(|| format!("{}=\"{whole}\"", before.name.text))
    }

    /// The element at an end of a link.
    pub(crate) fn element_at(&self, end: &End) -> Option<usize> {
        match &end.node {
            Node::Element(index) => Some(*index),
            Node::Named(name) => self.named(&name.text),
            Node::Url(_) => None,
        }
    }

    /// The links that lead to an element, and the elements they come from.
    pub(crate) fn feeders(&self, to: usize) -> impl Iterator<Item = (&Link, usize)> {
        let links = self.links.iter();
        let links = links.filter(move |link| self.element_at(&link.to) == Some(to));
        links.filter_map(|link| Some((link, self.element_at(&link.from)?)))
    }

    /// All elements that an element gets data from, the nearest first.
    pub(crate) fn above(&self, to: usize) -> Vec<usize> {
        let mut above = Vec::new();
        let mut at = Some(to);
        let mut done = 0;
        while let Some(index) = at {
            for (_, feeder) in self.feeders(index) {
                if feeder != to && !above.contains(&feeder) {
                    above.push(feeder);
                }
            }
            at = above.get(done).copied();
            done += 1;
        }
        above
    }
}

/// Reads the words, and tells where they break the rules of the language.
pub(super) fn graph(texts: &Texts, words: &[Word]) -> (Graph, Vec<Diagnostic>) {
    let mut parser = Parser {
        texts,
        graph: Graph::default(),
        diagnostics: Vec::new(),
        bins: Vec::new(),
        chain: Chain::default(),
    };
    for token in tokens(words) {
        if let (Token::Bad(word) | Token::Element(word), []) = (&token, &*parser.graph.elements) {
            let text = word.text.as_str();
            if LANGUAGES.contains(&text) || text.len() > 1 && text.starts_with(FOREIGN) {
                let help = "write elements, and a ! between two of them; streamer-gst import takes \
                            a line of gst-launch";
                parser.error(word.span, OTHER_LANGUAGE, help);
                break;
            }
        }
        if let Some(word) = of_shell(&token) {
            let message = "what a shell does with a line does not belong into it";
            parser.error(word.span, message, "take it out, with what follows");
            break;
        }
        parser.token(token);
    }
    parser.end_chain();
    while let Some(bin) = parser.bins.pop() {
        let span = parser.graph.elements[bin.element].factory.span;
        parser.error(span, "this ( is never closed", "add the )");
    }
    (parser.graph, parser.diagnostics)
}

/// A word behind which a shell's part of the line begins.
fn of_shell(token: &Token) -> Option<&Word> {
    match token {
        Token::Bad(word) if ENDS.contains(&word.text.as_str()) => Some(word),
        _ => None,
    }
}

/// A row of elements with links in between.
#[derive(Default)]
struct Chain {
    /// What a further link would begin at.
    last: Option<End>,
    /// A link that waits for its other end.
    link: Option<Pending>,
    /// The element whose properties are being read.
    element: Option<usize>,
    /// What stood here could not be read, which was told.
    lost: bool,
}

struct Pending {
    span: Span,
    caps: Option<Word>,
    /// The `!` behind the caps has come.
    closed: bool,
}

/// A bin that is being read, and the chain it stands in.
struct Bin {
    element: usize,
    outer: Chain,
    /// First and last of the elements in it.
    first: Option<End>,
}

struct Parser<'a> {
    texts: &'a Texts,
    graph: Graph,
    diagnostics: Vec<Diagnostic>,
    bins: Vec<Bin>,
    chain: Chain,
}

impl Parser<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let error = self.texts.error(span, message).help(help);
        self.diagnostics.push(error);
    }

    fn token(&mut self, token: Token) {
        match token {
            Token::Link(word) => self.link(word),
            Token::Caps(word) => self.caps(word),
            Token::Element(word) => self.element(word),
            Token::Property(name, value) => self.property(name, value),
            Token::Preset(word) => match self.chain.element {
                Some(element) => self.graph.elements[element].presets.push(word),
                None => self.error(
                    word.span,
                    "this preset follows no element",
                    "put it behind the element it belongs to",
                ),
            },
            Token::Reference(name, pad) if name.text.starts_with("gst-launch") => {
                self.program(name.span.to(pad.map_or(name.span, |pad| pad.span)));
            }
            Token::Reference(name, pad) => {
                let linked = self.chain.link.is_some();
                let node = Node::Named(name);
                self.attach(End { node, pad });
                if linked {
                    self.chain.last = None;
                }
            }
            Token::Pad(word) => {
                let pad = word.slice(1..word.text.len());
                // Otherwise the pad of the element to come.
                if let (None, Some(last)) = (&self.chain.link, &mut self.chain.last) {
                    last.pad = Some(pad);
                }
            }
            Token::Open(open, kind) => {
                let factory = kind.unwrap_or_else(|| {
                    let mut bin = open.clone();
                    bin.text = "bin".to_owned();
                    bin
                });
                let element = self.add(factory);
                self.bins.push(Bin {
                    element,
                    outer: std::mem::take(&mut self.chain),
                    first: None,
                });
                self.chain.element = Some(element);
            }
            Token::Close(word) => self.close(word),
            Token::Url(word) => {
                let node = Node::Url(word);
                self.attach(End { node, pad: None });
            }
            Token::Bad(word) => self.bad(&word),
        }
    }

    fn link(&mut self, word: Word) {
        if let Some(link) = &mut self.chain.link {
            if link.caps.is_some() && !link.closed {
                link.closed = true;
                return;
            }
            let message = match link.caps {
                Some(_) => "this ! follows another one",
                None => "nothing stands between this ! and the one before",
            };
            return self.error(word.span, message, "take one of the two out");
        }
        self.chain.element = None;
        if self.chain.last.is_none() && !self.chain.lost {
            self.error(
                word.span,
                "nothing stands before this !",
                "take it out, or put an element before it",
            );
        }
        self.chain.link = Some(Pending {
            span: word.span,
            caps: None,
            closed: false,
        });
    }

    fn caps(&mut self, word: Word) {
        self.chain.element = None;
        match &mut self.chain.link {
            Some(link) if link.caps.is_none() => link.caps = Some(word),
            Some(link) => {
                link.closed = false;
                self.error(
                    word.span,
                    "caps follow caps",
                    "join them to one, or put capsfilter caps=… for the second",
                );
            }
            None => {
                let span = word.span;
                self.error(
                    span,
                    "there is no ! before these caps",
                    "put a ! before them",
                );
                self.chain.link = Some(Pending {
                    span,
                    caps: Some(word),
                    closed: false,
                });
            }
        }
    }

    fn element(&mut self, word: Word) {
        if word.text.starts_with("gst-launch") {
            return self.program(word.span);
        }
        let element = self.add(word);
        let node = Node::Element(element);
        self.attach(End { node, pad: None });
        self.chain.element = Some(element);
    }

    fn program(&mut self, span: Span) {
        // Its options, and what a shell shows before it, are a part of the same.
        if std::mem::replace(&mut self.chain.lost, true) {
            return;
        }
        self.error(
            span,
            format!(
                "{} is the program that runs such lines",
                self.texts.slice(span)
            ),
            "begin with the first element",
        );
    }

    fn add(&mut self, factory: Word) -> usize {
        self.graph.elements.push(Element {
            factory,
            properties: Vec::new(),
            presets: Vec::new(),
            bin: self.bins.last().map(|bin| bin.element),
        });
        self.graph.elements.len() - 1
    }

    /// Ends a waiting link at this end, or begins a new chain with it.
    fn attach(&mut self, end: End) {
        let span = match &end.node {
            Node::Element(index) => self.graph.elements[*index].factory.span,
            Node::Named(name) | Node::Url(name) => name.span,
        };
        match self.chain.link.take() {
            Some(link) => {
                if link.caps.is_some() && !link.closed {
                    let text = self.texts.slice(span).to_owned();
                    self.error(
                        span,
                        format!("there is no ! between the caps and {text}"),
                        format!("write ! {text}"),
                    );
                }
                match (self.chain.last.take(), &end.node) {
                    (Some(from), _) => self.graph.links.push(Link {
                        from,
                        to: end.clone(),
                        caps: link.caps,
                        span: link.span,
                    }),
                    (None, Node::Element(next)) => self.graph.breaks.push((None, *next)),
                    (None, _) => {}
                }
            }
            None => {
                if let Node::Element(next) = end.node {
                    match &self.chain.last {
                        Some(last) => {
                            if let Node::Element(before) = last.node {
                                self.graph.breaks.push((Some(before), next));
                            }
                        }
                        None if self.chain.lost => self.graph.breaks.push((None, next)),
                        None => {}
                    }
                }
            }
        }
        if let Some(bin) = self.bins.last_mut() {
            bin.first.get_or_insert_with(|| end.clone());
        }
        self.chain.element = None;
        self.chain.lost = false;
        self.chain.last = Some(end);
    }

    fn property(&mut self, name: Word, value: Word) {
        if value.text.is_empty() {
            return self.error(
                name.span,
                format!("{} has no value", name.text),
                format!("write {}=VALUE without blanks", name.text),
            );
        }
        match self.chain.element {
            Some(element) => self.graph.elements[element]
                .properties
                .push(Property { name, value }),
            // It is that of the word that was told.
            None if self.chain.lost => {}
            None if self.is_in_caps() => self.field(&name, &value),
            None => self.error(
                name.span,
                format!("the property {} follows no element", name.text),
                "put it behind the element it belongs to",
            ),
        }
    }

    /// Whether the last word was caps.
    fn is_in_caps(&self) -> bool {
        let link = self.chain.link.as_ref();
        link.is_some_and(|link| link.caps.is_some() && !link.closed)
    }

    /// A field of caps that only a blank parts from them; those that follow are told with it.
    fn field(&mut self, name: &Word, value: &Word) {
        let link = self.chain.link.as_mut();
        let Some(caps) = link.and_then(|link| link.caps.as_mut()) else {
            return;
        };
        let said = std::mem::replace(&mut caps.unknown, true);
        let field = format!(",{}={}", name.text, value.text.trim_end_matches(','));
        let help = match self.diagnostics.last_mut() {
            Some(last) if said && last.message == BLANK => {
                if let Some(help) = &mut last.help {
                    help.push_str(&field);
                }
                return;
            }
            _ => format!("write {}{field}", caps.text),
        };
        self.error(name.span, BLANK, help);
    }

    fn close(&mut self, word: Word) {
        self.end_chain();
        let Some(bin) = self.bins.pop() else {
            return self.error(word.span, "this ) closes nothing", "take it out");
        };
        let last = self.chain.last.take();
        self.chain = bin.outer;
        match bin.first {
            Some(first) => {
                self.attach(first);
                self.chain.last = last;
            }
            None => self.error(word.span, "there is nothing in this bin", "take it out"),
        }
    }

    /// A link must not be left waiting.
    fn end_chain(&mut self) {
        let Some(link) = self.chain.link.take() else {
            return;
        };
        match link.caps {
            Some(caps) => self.error(
                caps.span,
                "nothing follows these caps",
                "put ! and an element behind them",
            ),
            None => self.error(
                link.span,
                "nothing follows this !",
                "take it out, or put an element behind it",
            ),
        }
    }

    fn bad(&mut self, word: &Word) {
        let links = LINKS.contains(&word.text.as_str());
        let again = links
            && self
                .diagnostics
                .iter()
                .any(|d| d.message.ends_with(NO_LINK));
        if !word.unknown && !again && !self.chain.lost {
            let (message, help) = explain::bad(self.texts, &self.graph, word);
            self.error(word.span, message, help);
        }
        if links {
            return self.link(word.clone());
        }
        self.chain = Chain {
            lost: true,
            ..Chain::default()
        };
    }
}
