//! What is wrong with a description: where, why, and what to do about it; for the terminal, for
//! programs (JSON), and as the one line that travels to the page.

use std::borrow::Cow;
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
        let cause = shown(&self.message);
        let cure = match &self.help {
            Some(help) => format!("; {}", shown(help)),
            None => String::new(),
        };
        // Where there is no room for all, the cause is cut: half a cure is of no use.
        let room = MAX_LINE.saturating_sub(line.len() + cure.len());
        line.push_str(cut(&cause, room.max(MAX_LINE / 3)).as_ref());
        line.push_str(&cure);
        f.write_str(&cut(&line, MAX_LINE))
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

/// What may be shown to anybody: one line without directories and passwords.
fn shown(message: &str) -> String {
    let words: Vec<String> = message.split_whitespace().map(without_secrets).collect();
    words.join(" ").replace(char::is_control, "")
}

/// At most so many bytes, with a sign where something is left away.
fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

/// `'/home/me/film.webm'` becomes `'film.webm'`, and `rtsp://me:secret@cam/1` `rtsp://cam/1`;
/// media types and other addresses stay.
fn without_secrets(word: &str) -> String {
    let (key, value) = word.split_at(word.find('=').map_or(0, |equals| equals + 1));
    let text = value.trim_start_matches(['\'', '"', '(', '<']);
    let opening = &value[..value.len() - text.len()];
    let path = text.strip_prefix("file://").unwrap_or(text);
    if let (Some((_, name)), true) = (path.rsplit_once('/'), path.starts_with(['/', '.'])) {
        return format!("{key}{opening}{name}");
    }
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => word.to_owned(),
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
    fn a_long_cause_leaves_room_for_the_cure() {
        let mut long = diagnostic();
        long.message = "no ".repeat(200);
        let line = long.to_string();
        assert!(line.len() <= MAX_LINE, "{line}");
        assert!(line.ends_with("…; did you mean vp8enc?"), "{line}");
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
            shown("Could not open resource '/home/me/secret/film.webm' for\nreading."),
            "Could not open resource 'film.webm' for reading."
        );
        assert_eq!(
            shown("no location=/home/me/a.webm, file:///home/me/b.webm; see https://a.b/c"),
            "no location=a.webm, b.webm; see https://a.b/c"
        );
        assert_eq!(
            shown("no rtsp://me:s@cret@cam/1 (\"http://me:x@cam\"), but a@b"),
            "no rtsp://cam/1 (\"http://cam\"), but a@b"
        );
        assert_eq!(shown("video/x-raw and VP8/VP9"), "video/x-raw and VP8/VP9");
    }
}
