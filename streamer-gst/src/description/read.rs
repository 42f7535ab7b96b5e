//! Reads a description's files: splits them into body and directives, and puts included files in
//! their places.

use std::path::{Component, Path, PathBuf};

use super::diagnostic::{Diagnostic, Place, Severity};
use super::text::{Span, Texts};

/// Longest file in bytes.
const MAX_FILE: u64 = 256 * 1024;
/// Most files of one description, counted as often as they are included.
const MAX_FILES: usize = 64;
/// Deepest nesting of included files.
const MAX_DEPTH: usize = 8;

/// What is told of the lines around code.
const FENCE: &str = "this line is Markdown";

/// A `#: key value` line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directive {
    pub(super) key: Span,
    pub(super) value: Span,
}

/// A description's text, in pieces.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) texts: Texts,
    /// Lines of the body in order.
    pub(super) body: Vec<Span>,
    /// All directives but `include`, in order.
    pub(super) directives: Vec<Directive>,
    /// Every file once, missing ones too.
    pub(super) files: Vec<PathBuf>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// A part of the text is missing.
    pub(super) incomplete: bool,
    /// The files that are being read, the outermost first.
    open: Vec<PathBuf>,
    count: usize,
}

/// Reads the file at `path`, and what it includes.
pub(super) fn read(path: &Path) -> Reading {
    let mut reading = Reading::default();
    reading.files.push(path.to_owned());
    match load(path) {
        Ok(text) => reading.file(path, &text),
        Err(unread) => reading.diagnostics.push(unread.diagnostic()),
    }
    reading
}

/// As [`read`], with the text of the file itself given.
pub(super) fn read_text(path: &Path, text: &str) -> Reading {
    let mut reading = Reading::default();
    reading.files.push(path.to_owned());
    reading.file(path, text);
    reading
}

/// Why a file cannot be read.
struct Unread {
    /// In one sentence that names the file.
    message: String,
    help: Option<String>,
    /// Where in it, if that far it could be read.
    place: Place,
}

impl Unread {
    fn diagnostic(self) -> Diagnostic {
        let error = Diagnostic::new(self.place, Severity::Error, self.message);
        error.maybe_help(self.help)
    }
}

fn load(path: &Path) -> Result<String, Unread> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy();
    let unread = |message: String, help: &str| Unread {
        message,
        help: (!help.is_empty()).then(|| help.to_owned()),
        place: Place::of_file(path),
    };
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => unread("there is no such file".to_owned(), ""),
        std::io::ErrorKind::PermissionDenied => {
            let message = format!("this user may not read {name}");
            unread(message, &format!("chmod a+r {name}"))
        }
        _ => unread(format!("{name} cannot be read: {error}"), ""),
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        let message = format!("{name} is a directory");
        return Err(unread(message, "name a file in it"));
    }
    if !metadata.is_file() {
        let message = format!("{name} is no ordinary file");
        return Err(unread(message, "write the text to a file"));
    }
    if metadata.len() > MAX_FILE {
        let message = format!("{name} is larger than {} KiB", MAX_FILE / 1024);
        let help = "a description is a short text: is it perhaps a film or a log?";
        return Err(unread(message, help));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
        let (kind, encoding) = match wide {
            true => ("UTF-16", "utf-16"),
            false => ("another encoding", "latin1"),
        };
        let iconv = format!("iconv -f {encoding} -t utf8 {name} >x && mv x {name}");
        Unread {
            message: format!("{name} is no text in UTF-8, but in {kind}"),
            help: Some(format!("save it as UTF-8 ({iconv})")),
            place: place_of_byte(path, bytes, at),
        }
    })
}

/// The place of a byte that is no character, with a sign in its place.
fn place_of_byte(path: &Path, bytes: &[u8], at: usize) -> Place {
    let before = &bytes[..at];
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |n| n + 1);
    let rest = bytes[at..].iter().position(|b| *b == b'\n');
    let end = rest.map_or(bytes.len(), |n| at + n);
    let line = String::from_utf8_lossy(&bytes[start..end]);
    let column = String::from_utf8_lossy(&bytes[start..at]).chars().count() + 1;
    Place {
        path: path.to_owned(),
        line: before.iter().filter(|b| **b == b'\n').count() + 1,
        column,
        end_column: column + 1,
        text: line.replace(|c: char| c.is_control() && c != '\t', " "),
    }
}

impl Reading {
    fn error(&mut self, span: Span, message: impl Into<String>, help: &str) {
        let error = self.texts.error(span, message).help(help);
        self.diagnostics.push(error);
    }

    fn file(&mut self, path: &Path, text: &str) {
        let file = self.texts.add(path, text);
        self.open.push(path.to_owned());
        self.count += 1;
        let mut start = 0;
        let mut returns = false;
        if text.starts_with('\u{feff}') {
            start = '\u{feff}'.len_utf8();
            let span = Span {
                file,
                start: 0,
                end: start,
            };
            self.error(
                span,
                "the file begins with an invisible byte order mark, which a shell takes for text",
                "save it as UTF-8 without byte order mark (sed -i '1s/^\\xef\\xbb\\xbf//' FILE)",
            );
        }
        while start < text.len() {
            let length = text[start..].find('\n').unwrap_or(text.len() - start);
            let mut line = Span {
                file,
                start,
                end: start + length,
            };
            start = line.end + 1;
            if text[line.start..line.end].ends_with('\r') {
                line.end -= 1;
                if !returns && !text[line.start..].starts_with('#') {
                    returns = true;
                    let span = Span {
                        start: line.end,
                        end: line.end + 1,
                        ..line
                    };
                    self.error(
                        span,
                        "the lines end as on Windows, and a shell takes the \\r for text",
                        "save the file with Unix line ends (sed -i 's/\\r$//' FILE)",
                    );
                }
            }
            self.line(line);
        }
        self.open.pop();
    }

    fn line(&mut self, line: Span) {
        let text = self.texts.slice(line);
        if text.trim_start().starts_with("```") {
            let told = |d: &Diagnostic| d.message == FENCE;
            if !self.diagnostics.iter().any(told) {
                self.error(line, FENCE, "take this line out, and the other one like it");
            }
            return;
        }
        let Some(directive) = text.strip_prefix("#:") else {
            if !text.starts_with('#') {
                self.body.push(line);
            }
            return;
        };
        let key_start = line.end - directive.trim_start().len();
        let directive = directive.trim();
        let key_end = key_start
            + directive
                .find(char::is_whitespace)
                .unwrap_or(directive.len());
        let end = key_start + directive.len();
        let value = directive[key_end - key_start..].trim_start();
        let directive = Directive {
            key: Span {
                start: key_start,
                end: key_end,
                ..line
            },
            value: Span {
                start: end - value.len(),
                end,
                ..line
            },
        };
        if self.texts.slice(directive.key) == "include" {
            self.include(directive);
        } else {
            self.directives.push(directive);
        }
    }

    fn include(&mut self, directive: Directive) {
        let told = self.diagnostics.len();
        self.follow(directive);
        self.incomplete |= self.diagnostics.len() > told;
    }

    fn follow(&mut self, directive: Directive) {
        let name = self.texts.slice(directive.value).to_owned();
        if name.is_empty() {
            return self.error(directive.key, "include names no file", "write include FILE");
        }
        let relative = Path::new(&name);
        let stays = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !stays {
            return self.error(
                directive.value,
                "an include lies in the including file's directory or below",
                "write a relative path without ..",
            );
        }
        let including = self.texts.path(directive.value.file).parent();
        let path = including.unwrap_or(Path::new("")).join(relative);
        if !self.files.contains(&path) {
            self.files.push(path.clone());
        }
        if self.open.contains(&path) {
            return self.error(
                directive.value,
                format!("{name} includes itself"),
                "take this line or the other include out",
            );
        }
        if self.open.len() > MAX_DEPTH || self.count >= MAX_FILES {
            return self.error(
                directive.value,
                format!("more than {MAX_DEPTH} includes deep, or {MAX_FILES} in all"),
                "put the text itself here",
            );
        }
        match load(&path) {
            Ok(text) => self.file(&path, &text),
            // In a file that could be read in part, the place in that says more.
            Err(unread) if !unread.place.text.is_empty() => {
                let line = self.texts.place(directive.value);
                let error = unread.diagnostic().related(line, "included here");
                self.diagnostics.push(error);
            }
            Err(_) if !path.exists() => {
                let beside = neighbours(&path);
                let near = super::nearest::nearest(&name, beside.iter().map(String::as_str));
                let help = match near {
                    Some(near) => format!("did you mean {near}?"),
                    None => "the path counts from the including file's directory".to_owned(),
                };
                let message = format!("{name}: there is no such file");
                self.error(directive.value, message, &help);
            }
            Err(unread) => {
                let error = self.texts.error(directive.value, unread.message);
                self.diagnostics.push(error.maybe_help(unread.help));
            }
        }
    }
}

/// Names of the files in a file's directory.
fn neighbours(path: &Path) -> Vec<String> {
    let entries = path.parent().and_then(|dir| std::fs::read_dir(dir).ok());
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn body(reading: &Reading) -> Vec<&str> {
        let lines = reading.body.iter();
        lines.map(|line| reading.texts.slice(*line)).collect()
    }

    #[test]
    fn an_included_file_takes_the_place_of_its_line() {
        let files = [
            ("a.launch", "1\n#: include common/b.launch\n4\n#: title x\n"),
            ("common/b.launch", "2\n#: include c.launch"),
            ("common/c.launch", "# no\n3\n"),
        ];
        let directory = directory(&files);
        let reading = read(&directory.path().join("a.launch"));
        assert_eq!(reading.diagnostics, []);
        assert_eq!(body(&reading), ["1", "2", "3", "4"]);
        assert_eq!(reading.files.len(), 3);
        let directive = reading.directives[0];
        assert_eq!(reading.texts.slice(directive.key), "title");
        assert_eq!(reading.texts.slice(directive.value), "x");
    }

    #[test]
    fn includes_that_cannot_be_followed_are_shown() {
        let files = [
            (
                "a.launch",
                "#: include b.launch\n#: include ../x\n#: include /etc/passwd\n\
                 #: include bb.launch\n#: include\n",
            ),
            ("b.launch", "#: include a.launch\n"),
        ];
        let directory = directory(&files);
        let reading = read(&directory.path().join("a.launch"));
        let told: Vec<_> = reading
            .diagnostics
            .iter()
            .map(Diagnostic::to_string)
            .collect();
        assert!(told[0].starts_with("b.launch:1:12: a.launch includes itself"));
        assert!(told[1].starts_with("a.launch:2:12: an include lies in"));
        assert!(told[2].starts_with("a.launch:3:12: an include lies in"));
        assert!(told[3].ends_with("there is no such file; did you mean b.launch?"));
        assert!(told[4].starts_with("a.launch:5:4: include names no file"));
        // Watched, because it may appear.
        assert!(reading.files.contains(&directory.path().join("bb.launch")));
    }

    #[test]
    fn what_is_no_text_is_told_at_its_place_with_a_cure() {
        let directory = directory(&[("in.launch", "# x\n#: include part\n")]);
        let path = |name: &str| directory.path().join(name);
        let told = |name: &str| {
            let reading = read(&path(name));
            let told = reading.diagnostics.first().map(Diagnostic::to_string);
            told.unwrap_or_default()
        };
        fs::write(path("a.launch"), b"# one\n# K\xfcche\nx\n").unwrap();
        assert_eq!(
            told("a.launch"),
            "a.launch:2:4: a.launch is no text in UTF-8, but in another encoding; \
             save it as UTF-8 (iconv -f latin1 -t utf8 a.launch >x && mv x a.launch)"
        );
        fs::write(path("part"), b"K\xfc\n").unwrap();
        assert!(told("in.launch").starts_with("part:1:2: part is no text in UTF-8"));
        fs::write(path("b.launch"), b"\xff\xfea\0\n\0").unwrap();
        assert!(told("b.launch").starts_with("b.launch:1:1: b.launch is no text in UTF-8, but in"));
        assert!(told("b.launch").contains("iconv -f utf-16 -t utf8 b.launch"));
        fs::create_dir(path("c.launch")).unwrap();
        assert_eq!(
            told("c.launch"),
            "c.launch: c.launch is a directory; name a file in it"
        );
        fs::write(path("d.launch"), " ".repeat(300 * 1024)).unwrap();
        assert!(told("d.launch").starts_with("d.launch: d.launch is larger than 256 KiB; a descr"));
    }

    #[test]
    fn includes_are_bounded_in_depth_and_number() {
        let chain: Vec<_> = (0..12)
            .map(|n| {
                (
                    format!("{n}.launch"),
                    format!("#: include {}.launch", n + 1),
                )
            })
            .collect();
        let twice = ("#: include b.launch\n".repeat(100), "x".to_owned());
        let mut files: Vec<(&str, &str)> = chain
            .iter()
            .map(|(n, t)| (n.as_str(), t.as_str()))
            .collect();
        files.push(("a.launch", &twice.0));
        files.push(("b.launch", &twice.1));
        let directory = directory(&files);
        for name in ["0.launch", "a.launch"] {
            let reading = read(&directory.path().join(name));
            assert!(reading.diagnostics[0].message.starts_with("more than"));
            assert!(reading.body.len() <= MAX_FILES);
        }
    }

    #[test]
    fn windows_line_ends_and_byte_order_marks_are_told_once() {
        let reading = read_text(Path::new("a.launch"), "\u{feff}# x\r\na !\r\nb\r\n");
        let told: Vec<_> = reading
            .diagnostics
            .iter()
            .map(Diagnostic::to_string)
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("a.launch:1:1: the file begins with"));
        assert!(told[1].starts_with("a.launch:2:4: the lines end as on Windows"));
        assert_eq!(body(&reading), ["a !", "b"]);
    }
}
