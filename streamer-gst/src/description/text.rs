//! The texts of a description's files, and places in them.

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Place, Severity};

/// A stretch of bytes in one file of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Which file, in the order they were read.
    pub(super) file: usize,
    /// First byte.
    pub(super) start: usize,
    /// The byte after the last.
    pub(super) end: usize,
}

impl Span {
    /// Its first byte in its file.
    pub(crate) fn start(self) -> usize {
        self.start
    }

    /// Whether two have a byte in common.
    pub(crate) fn meets(self, other: Span) -> bool {
        self.file == other.file && self.start < other.end && other.start < self.end
    }

    /// From the beginning of one to the end of the other; the first alone when they lie in
    /// different files.
    pub(crate) fn to(self, other: Span) -> Span {
        if self.file == other.file && other.end >= self.start {
            Span {
                end: other.end,
                ..self
            }
        } else {
            self
        }
    }
}

/// The files of a description as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    files: Vec<(PathBuf, String)>,
}

impl Texts {
    /// Keeps a file's text and returns its number.
    pub(super) fn add(&mut self, path: &Path, text: &str) -> usize {
        self.files.push((path.to_owned(), text.to_owned()));
        self.files.len() - 1
    }

    pub(super) fn path(&self, file: usize) -> &Path {
        &self.files[file].0
    }

    pub(super) fn text(&self, file: usize) -> &str {
        &self.files[file].1
    }

    /// The text of a span.
    pub(crate) fn slice(&self, span: Span) -> &str {
        &self.text(span.file)[span.start..span.end]
    }

    /// Whether nothing but blanks lies between one span and a later one on the same line.
    pub(super) fn is_next_word(&self, first: Span, next: Span) -> bool {
        let text = self.text(first.file).get(first.end..next.start);
        let blank = |text: &str| !text.is_empty() && text.trim_matches([' ', '\t']).is_empty();
        first.file == next.file && text.is_some_and(blank)
    }

    /// Line and columns of a span; what goes on over several lines is cut after the first.
    pub(crate) fn place(&self, span: Span) -> Place {
        let text = self.text(span.file);
        let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let column = |at: usize| {
            let at = (at - line_start).min(line.len());
            line.char_indices().take_while(|(i, _)| *i < at).count() + 1
        };
        Place {
            path: self.path(span.file).to_owned(),
            line: text[..line_start].matches('\n').count() + 1,
            column: column(span.start),
            end_column: column(span.end).max(column(span.start)),
            text: line.to_owned(),
        }
    }

    /// An error at a span.
    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.place(span), Severity::Error, message)
    }

    /// A warning at a span.
    pub(crate) fn warning(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.place(span), Severity::Warning, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_end_with_the_line() {
        let mut texts = Texts::default();
        let file = texts.add(Path::new("a.launch"), "é\näß vp8enc\r\nx");
        let start = texts.text(file).find("vp8enc").unwrap();
        let span = |end| Span { file, start, end };
        let place = texts.place(span(start + 6));
        assert_eq!((place.line, place.column, place.end_column), (2, 4, 10));
        assert_eq!(place.text, "äß vp8enc");
        assert_eq!(texts.place(span(start + 9)).end_column, 10);
    }
}
