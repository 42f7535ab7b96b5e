//! The tokens of gst-launch's language, as its own lexer cuts them out of the words.

use crate::description::word::Word;

/// A token, with the words or parts of words it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `!` or `:`
    Link(Word),
    /// A media type and its fields; possibly of several words.
    Caps(Word),
    /// The name of an element's factory.
    Element(Word),
    /// `name=value`
    Property(Word, Word),
    /// `@preset=value`
    Preset(Word),
    /// `name.` or `name.pad`
    Reference(Word, Option<Word>),
    /// `.pad`
    Pad(Word),
    /// `(` or `name.(`; the name is that of a kind of bin.
    Open(Word, Option<Word>),
    /// `)`
    Close(Word),
    /// `file:///…`
    Url(Word),
    /// Something gst-launch knows nothing to do with.
    Bad(Word),
}

/// Cuts words into tokens.
pub(super) fn tokens(words: &[Word]) -> Vec<Token> {
    let mut tokens = Tokenizer {
        words,
        word: 0,
        at: 0,
        tokens: Vec::new(),
    };
    while tokens.word < words.len() {
        tokens.next();
    }
    tokens.tokens
}

struct Tokenizer<'a> {
    words: &'a [Word],
    /// The word to go on with, and the byte in it.
    word: usize,
    at: usize,
    tokens: Vec<Token>,
}

impl Tokenizer<'_> {
    /// The text that is left of the present word.
    fn rest(&self) -> &str {
        &self.words[self.word].text[self.at..]
    }

    /// Takes bytes of the present word.
    fn take(&mut self, length: usize) -> Word {
        let word = &self.words[self.word];
        let taken = word.slice(self.at..self.at + length);
        self.at += length;
        if self.at >= word.text.len() {
            self.word += 1;
            self.at = 0;
        }
        taken
    }

    fn next(&mut self) {
        let rest = self.rest();
        let length = rest.len();
        let name = identifier(rest);
        let after = rest[name..].chars().next();
        let token = match rest.chars().next() {
            Some('!') => Token::Link(self.take(1)),
            Some(':') if length == 1 => Token::Link(self.take(1)),
            Some('(') => Token::Open(self.take(1), None),
            Some(')') => Token::Close(self.take(1)),
            Some('.' | ',') if length > 1 => {
                let pad = pad_name(&rest[1..]);
                Token::Pad(self.take(1 + pad))
            }
            Some('@') if rest.contains('=') => Token::Preset(self.take(length)),
            _ if rest.contains("://") && !rest[..rest.find("://").unwrap_or(0)].contains('=') => {
                Token::Url(self.take(length))
            }
            _ if is_media_type(rest) => self.caps(),
            Some(_) if name > 0 => match after {
                None if self.assigns_later() => self.property(name),
                None | Some('!') => Token::Element(self.take(name)),
                Some('=') => self.property(name),
                Some('.') => self.reference(name),
                _ => Token::Bad(self.take(length)),
            },
            _ => Token::Bad(self.take(length)),
        };
        self.tokens.push(token);
    }

    /// Whether the next word begins with `=`, as in `name = value`.
    fn assigns_later(&self) -> bool {
        let next = self.words.get(self.word + 1);
        next.is_some_and(|word| word.text.starts_with('='))
    }

    fn property(&mut self, length: usize) -> Token {
        let name = self.take(length);
        // The name is never the whole word, or the next one begins with the sign.
        let equals = self.take(1);
        let value_begins_word = self.at == 0;
        let has_value = self.word < self.words.len();
        let value = match has_value && !(value_begins_word && self.rest() == "!") {
            true => {
                let length = self.rest().len();
                self.take(length)
            }
            false => equals.slice(1..1),
        };
        Token::Property(name, value)
    }

    fn reference(&mut self, length: usize) -> Token {
        let name = self.take(length);
        let dot = self.take(1);
        if self.at == 0 {
            return Token::Reference(name, None);
        }
        if self.rest().starts_with('(') {
            let open = self.take(1);
            return Token::Open(open, Some(name));
        }
        match pad_name(self.rest()) {
            0 => {
                let mut bad = name;
                bad.cover(dot.span);
                Token::Bad(bad)
            }
            pad => Token::Reference(name, Some(self.take(pad))),
        }
    }

    /// Caps go on over several words where a comma or an open bracket says so.
    fn caps(&mut self) -> Token {
        let mut caps: Option<Word> = None;
        loop {
            let rest = self.rest();
            let end = rest.find('!').unwrap_or(rest.len());
            if end > 0 {
                let part = self.take(end);
                match &mut caps {
                    Some(caps) => caps.join(&part),
                    None => caps = Some(part),
                }
            }
            let text = caps.as_ref().map_or("", |caps| &caps.text);
            if self.at > 0 || self.word >= self.words.len() || !goes_on(text, self.rest()) {
                break;
            }
        }
        // The first part is a media type and so never empty.
        caps.map_or_else(|| Token::Bad(self.words[self.word].clone()), Token::Caps)
    }
}

fn goes_on(caps: &str, next: &str) -> bool {
    let caps = caps.trim_end();
    let opened = |open: char, close: char| caps.matches(open).count() > caps.matches(close).count();
    // A link ends them, whatever they still want.
    !next.starts_with('!')
        && (caps.ends_with([',', ';', '='])
            || next.starts_with([',', ';', '='])
            || opened('{', '}')
            || opened('[', ']')
            || opened('(', ')'))
}

/// Length of the name at the beginning of a text.
fn identifier(text: &str) -> usize {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let length = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '%' | ':')))
        .unwrap_or(text.len());
    if first { length } else { 0 }
}

fn pad_name(text: &str) -> usize {
    identifier(text)
}

/// Whether a text begins with a media type such as `video/x-raw`.
pub(super) fn is_media_type(text: &str) -> bool {
    let part = |text: &str| {
        text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .unwrap_or(text.len())
    };
    let kind = part(text);
    kind > 0 && text[kind..].starts_with('/') && part(&text[kind + 1..]) > 0
}
