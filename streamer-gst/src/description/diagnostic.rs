//! What is wrong with a description: where, why, and what to do about it; for the terminal, for
//! programs (JSON), and as the one line that travels to the page.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// Longest one-line form in bytes; it travels in SIP messages.
const MAX_LINE: usize = 240;

/// Whether something can work at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not work.
    Error,
    /// It works here, but not everywhere, or not as its writer may think.
    Warning,
}

/// Where in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or the directory when no file could be found.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// First column in characters, from 1.
    pub column: usize,
    /// The column after the last.
    pub end_column: usize,
    /// The line itself; empty when the file could not be read.
    pub text: String,
}

impl Place {
    /// A file as a whole.
    pub(crate) fn of_file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            line: 1,
            column: 1,
            end_column: 1,
            text: String::new(),
        }
    }

    /// The bytes of `text` that the columns stand for.
    fn bytes(&self) -> Range<usize> {
        let byte = |column: usize| {
            let mut indices = self.text.char_indices();
            indices
                .nth(column.saturating_sub(1))
                .map_or(self.text.len(), |(at, _)| at)
        };
        byte(self.column)..byte(self.end_column)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub place: Box<Place>,
    /// How bad it is.
    pub severity: Severity,
    /// The cause, in one sentence.
    pub message: String,
    /// The cure, in one sentence.
    pub help: Option<String>,
    /// Other places that have to do with it, and what they are.
    pub related: Vec<(Place, String)>,
}

impl Diagnostic {
    pub(crate) fn new(place: Place, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            place: Box::new(place),
            severity,
            message: message.into(),
            help: None,
            related: Vec::new(),
        }
    }

    /// Says what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do about it, if anybody knows.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Shows another place that has to do with it.
    pub(crate) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }

    /// Whether it keeps the description from working.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The source line with a caret under the place, for a terminal that knows colours or not.
    pub fn render(&self, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let whole = self.place.text.is_empty();
        let snippet = |place: &Place| {
            Snippet::source(place.text.clone())
                .path(place.path.display().to_string())
                .line_start(place.line)
        };
        let primary = AnnotationKind::Primary.span(self.place.bytes());
        let title = level.primary_title(self.message.as_str());
        let mut group = match whole {
            true => title.element(Origin::path(self.place.path.display().to_string())),
            false => title.element(snippet(&self.place).annotation(primary)),
        };
        for (place, label) in &self.related {
            let other = AnnotationKind::Context.span(place.bytes()).label(label);
            group = group.element(snippet(place).annotation(other));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = match colour {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        renderer.decor_style(DecorStyle::Unicode).render(&[group])
    }
}

/// `file.launch:6:5: no element "vp8encc"; did you mean vp8enc?`: one line of at most 240 bytes,
/// without directories, fit to be shown to anybody.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.place.path.file_name().unwrap_or_default();
        let mut line = file.to_string_lossy().into_owned();
        if !self.place.text.is_empty() {
            line.push_str(&format!(":{}:{}", self.place.line, self.place.column));
        }
        line.push_str(": ");
        line.push_str(&self.message);
        if let Some(help) = &self.help {
            line.push_str("; ");
            line.push_str(help);
        }
        f.write_str(&one_line(&line))
    }
}

/// Exactly `{file, line, column, end_column, severity, message, help}`.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Diagnostic", 7)?;
        fields.serialize_field("file", &self.place.path.display().to_string())?;
        fields.serialize_field("line", &self.place.line)?;
        fields.serialize_field("column", &self.place.column)?;
        fields.serialize_field("end_column", &self.place.end_column)?;
        fields.serialize_field("severity", &self.severity)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("help", &self.help)?;
        fields.end()
    }
}

/// Why a description cannot be used: everything that is wrong with it, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Faults {
    /// In the order of the text, warnings included.
    pub diagnostics: Vec<Diagnostic>,
    /// The description's files as far as they are known, missing ones too: when one of them
    /// changes it may be worth another try.
    pub files: Vec<PathBuf>,
}

impl From<Diagnostic> for Faults {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            files: vec![diagnostic.place.path.clone()],
            diagnostics: vec![diagnostic],
        }
    }
}

impl Faults {
    /// The first error, which is what there is room for in one line.
    pub fn first(&self) -> Option<&Diagnostic> {
        let mut all = self.diagnostics.iter();
        all.find(|d| d.is_error())
    }
}

/// What may be shown to anybody: one line of bounded length, directories taken out of paths.
fn one_line(message: &str) -> String {
    let words: Vec<String> = message.split_whitespace().map(without_directory).collect();
    let mut line = words.join(" ");
    if line.len() > MAX_LINE {
        let mut end = MAX_LINE - '…'.len_utf8();
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line.replace(char::is_control, "")
}

/// `'/home/me/film.webm'` becomes `'film.webm'`; media types and addresses stay.
fn without_directory(word: &str) -> String {
    let (key, value) = word.split_at(word.find('=').map_or(0, |equals| equals + 1));
    let text = value.trim_start_matches(['\'', '"', '(', '<']);
    let opening = &value[..value.len() - text.len()];
    let path = text.strip_prefix("file://").unwrap_or(text);
    match path.rsplit_once('/') {
        Some((_, name)) if path.starts_with(['/', '.']) => format!("{key}{opening}{name}"),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic() -> Diagnostic {
        let place = Place {
            path: PathBuf::from("pipelines/test.launch"),
            line: 6,
            column: 5,
            end_column: 12,
            text: "  ! vp8encc deadline=1".to_owned(),
        };
        Diagnostic::new(place, Severity::Error, "no element \"vp8encc\"")
            .help("did you mean vp8enc?")
    }

    #[test]
    fn one_line_names_file_line_and_column() {
        assert_eq!(
            diagnostic().to_string(),
            "test.launch:6:5: no element \"vp8encc\"; did you mean vp8enc?"
        );
        let long = diagnostic().help("é".repeat(500)).to_string();
        assert!(long.len() <= MAX_LINE && long.ends_with('…'), "{long}");
    }

    #[test]
    fn the_terminal_shows_the_line_with_a_caret() {
        let plain = diagnostic().render(false);
        assert!(plain.contains("test.launch:6:5"), "{plain}");
        assert!(plain.contains("━━━━━━━"), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain}");
        assert!(diagnostic().render(true).contains('\u{1b}'));
    }

    #[test]
    fn json_has_exactly_the_agreed_keys() {
        assert_eq!(
            serde_json::to_value(diagnostic()).unwrap(),
            serde_json::json!({
                "file": "pipelines/test.launch", "line": 6, "column": 5, "end_column": 12,
                "severity": "error", "message": "no element \"vp8encc\"",
                "help": "did you mean vp8enc?",
            })
        );
    }

    #[test]
    fn lines_show_no_directories() {
        assert_eq!(
            one_line("Could not open resource '/home/me/secret/film.webm' for\nreading."),
            "Could not open resource 'film.webm' for reading."
        );
        assert_eq!(
            one_line("no location=/home/me/a.webm, file:///home/me/b.webm; see https://a.b/c"),
            "no location=a.webm, b.webm; see https://a.b/c"
        );
        assert_eq!(
            one_line("video/x-raw and VP8/VP9"),
            "video/x-raw and VP8/VP9"
        );
    }
}
