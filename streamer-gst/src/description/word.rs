//! One argument of gst-launch that remembers where each of its bytes came from.

use std::ops::Range;

use super::text::Span;

/// An argument of gst-launch, quotes taken away and parameters expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it says.
    pub text: String,
    /// Where it stands, quotes included.
    pub(crate) span: Span,
    /// A part could not be read, which was told already.
    pub(crate) unknown: bool,
    pieces: Vec<Piece>,
}

/// Where a stretch of a word's text came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    /// Its first byte in the word's text; it ends where the next piece begins.
    at: usize,
    span: Span,
    /// It is a parameter's value: all of it stands for all of the span.
    value: bool,
}

impl Word {
    pub(super) fn new(span: Span) -> Self {
        Self {
            text: String::new(),
            span,
            unknown: false,
            pieces: Vec::new(),
        }
    }

    /// Stands in for something that could not be read.
    pub(super) fn push_unknown(&mut self, span: Span) {
        self.push_value("0", span);
        self.unknown = true;
    }

    /// Adds a character that stands at `span` in the file.
    pub(super) fn push(&mut self, character: char, span: Span) {
        let at = self.text.len();
        self.text.push(character);
        self.span = self.span.to(span);
        match self.pieces.last_mut() {
            Some(piece)
                if !piece.value
                    && piece.span.file == span.file
                    && piece.span.end == span.start
                    && piece.span.end - piece.span.start == at - piece.at =>
            {
                piece.span.end = span.end;
            }
            _ => self.pieces.push(Piece {
                at,
                span,
                value: false,
            }),
        }
    }

    /// Adds a parameter's value for the `${…}` at `span`.
    pub(super) fn push_value(&mut self, value: &str, span: Span) {
        if !value.is_empty() {
            self.pieces.push(Piece {
                at: self.text.len(),
                span,
                value: true,
            });
            self.text.push_str(value);
        }
        self.span = self.span.to(span);
    }

    /// Widens the word over a quote that adds no text.
    pub(super) fn cover(&mut self, span: Span) {
        self.span = self.span.to(span);
    }

    /// Whether a parameter's value is part of it.
    pub(super) fn has_value(&self) -> bool {
        self.pieces.iter().any(|piece| piece.value)
    }

    fn ranges(&self) -> impl Iterator<Item = (Range<usize>, &Piece)> {
        let ends = self.pieces.iter().skip(1).map(|piece| piece.at);
        let ends = ends.chain([self.text.len()]);
        self.pieces
            .iter()
            .zip(ends)
            .map(|(piece, end)| (piece.at..end, piece))
    }

    /// Where a part of the text stands; the whole `${…}` for any part of a value.
    pub(crate) fn span_of(&self, part: Range<usize>) -> Span {
        if part == (0..self.text.len()) && !part.is_empty() {
            return self.span;
        }
        let last = part.end.max(part.start + 1) - 1;
        let place = |at: usize| {
            let (range, piece) = self.ranges().find(|(range, _)| range.contains(&at))?;
            let start = piece.span.start + at - range.start;
            Some(match piece.value {
                true => piece.span,
                false => Span {
                    start,
                    end: start + 1,
                    ..piece.span
                },
            })
        };
        match (place(part.start), place(last)) {
            (Some(first), Some(last)) => first.to(last),
            // After the last byte: where it ends.
            _ => Span {
                start: self.span.end,
                ..self.span
            },
        }
    }

    /// A part of the word as a word of its own.
    pub(crate) fn slice(&self, part: Range<usize>) -> Word {
        let mut word = Word::new(self.span_of(part.clone()));
        word.text = self.text[part.clone()].to_owned();
        word.unknown = self.unknown;
        for (range, piece) in self.ranges() {
            let (start, end) = (range.start.max(part.start), range.end.min(part.end));
            if start < end {
                let mut piece = piece.clone();
                if !piece.value {
                    piece.span.start += start - range.start;
                }
                piece.at = start - part.start;
                word.pieces.push(piece);
            }
        }
        word
    }

    /// Adds a further word after a space.
    pub(crate) fn join(&mut self, other: &Word) {
        if !self.text.is_empty() {
            let end = self.span.end;
            self.pieces.push(Piece {
                at: self.text.len(),
                span: Span {
                    start: end,
                    ..self.span
                },
                value: true,
            });
            self.text.push(' ');
        }
        let shift = self.text.len();
        self.text.push_str(&other.text);
        self.pieces.extend(other.pieces.iter().map(|piece| Piece {
            at: piece.at + shift,
            ..piece.clone()
        }));
        self.span = self.span.to(other.span);
        self.unknown |= other.unknown;
    }

    /// The word as an argument for gst-launch, whose parser reads it a second time: in a
    /// parameter's value it finds nothing to act on. (It escapes spaces itself; double
    /// quotes, backslashes and control characters, which it cannot be kept from reading, are in no
    /// value.)
    pub(crate) fn argument(&self) -> String {
        let mut argument = String::new();
        for (range, piece) in self.ranges() {
            for character in self.text[range].chars() {
                let plain = character.is_ascii_alphanumeric()
                    || !character.is_ascii()
                    || matches!(character, '_' | '-' | '.' | '/' | ',' | '=' | ' ');
                if piece.value && !plain {
                    argument.push('\\');
                }
                argument.push(character);
            }
        }
        argument
    }
}
