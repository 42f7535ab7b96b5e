//! Pipeline descriptions: `NAME.launch` files under `--pipelines`, and nothing from the network.
//!
//! Lines beginning with `#` are comments, `#: key value` are directives, everything else is
//! gst-launch syntax over any number of lines. What the elements mean is not known here.

mod directory;
mod lexer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use directory::{Loaded, Watch, load_directory};
pub use lexer::Word;

/// File name extension of a description.
pub const EXTENSION: &str = "launch";
/// Longest name of a stream in bytes.
pub const MAX_NAME: usize = 64;
/// Longest title or description in bytes (it travels in SIP messages).
const MAX_TEXT: usize = 1024;
/// Longest file in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// Something wrong with a description: where, and what to do about it, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", .path.display(), .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct Error {
    /// The file, or the directory when no file could be found.
    pub path: PathBuf,
    /// Line of the file, from 1, where one can be named.
    pub line: Option<usize>,
    /// What is wrong, without the place.
    pub message: String,
}

/// An [`Error`] that does not know its file yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    line: Option<usize>,
    message: String,
}

impl Problem {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            message: message.into(),
        }
    }
}

/// Where a stream's picture in the list comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// An https address, handed on as it is.
    Url(String),
    /// A file beside the description.
    File(PathBuf),
}

/// A `#: key value` line this version does not act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The first word.
    pub key: String,
    /// The rest of the line.
    pub value: String,
    /// Line of the file, from 1.
    pub line: usize,
}

/// A description as read from its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The stream's name: the file's name without its extension.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Title by language; the empty key is the one for every other language.
    pub title: BTreeMap<String, String>,
    /// Longer text by language, as for the title.
    pub description: BTreeMap<String, String>,
    /// `image` directive.
    pub image: Option<Image>,
    /// `loop yes`: begin again at the end instead of ending the calls.
    pub looped: bool,
    /// `on-demand yes`: run only while somebody watches.
    pub on_demand: bool,
    /// All other directives in order.
    pub directives: Vec<Directive>,
    /// The arguments of gst-launch, parameters expanded.
    pub words: Vec<Word>,
}

/// Whether a name may be a stream's: 1 to 64 of `A-Z a-z 0-9 _ -`.
pub fn is_valid_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether a tee's name makes it an output: `video`, `audio` or `video_SUFFIX`.
pub fn is_output_name(name: &str) -> bool {
    name == "audio"
        || name == "video"
        || name.strip_prefix("video_").is_some_and(|suffix| {
            !suffix.is_empty()
                && suffix
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
}

impl Description {
    /// Reads one description.
    ///
    /// # Errors
    /// The file cannot be read or is not a description; the error names file and line.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let fail = |message: String| Error {
            path: path.to_owned(),
            line: None,
            message,
        };
        let size = std::fs::metadata(path)
            .map_err(|e| fail(format!("cannot be read: {e}")))?
            .len();
        if size > MAX_FILE {
            return Err(fail(format!("is larger than {} KiB", MAX_FILE / 1024)));
        }
        let text =
            std::fs::read_to_string(path).map_err(|e| fail(format!("cannot be read: {e}")))?;
        Self::parse(path, &text)
    }

    /// Reads the text of the description that lies at `path`.
    ///
    /// # Errors
    /// A bad name, directive, quote or parameter, or no output; the error names file and line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        Self::parse_text(path, text).map_err(|problem| Error {
            path: path.to_owned(),
            line: problem.line,
            message: problem.message,
        })
    }

    fn parse_text(path: &Path, text: &str) -> Result<Self, Problem> {
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        if !is_valid_name(&name) {
            return Err(Problem {
                line: None,
                message: format!(
                    "a stream's name has 1 to {MAX_NAME} of A-Z a-z 0-9 _ -, not \"{name}\""
                ),
            });
        }
        let mut description = Self {
            name,
            path: path.to_owned(),
            title: BTreeMap::new(),
            description: BTreeMap::new(),
            image: None,
            looped: false,
            on_demand: false,
            directives: Vec::new(),
            words: Vec::new(),
        };
        let mut body = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(directive) = line.strip_prefix("#:") {
                description.read_directive(number, directive.trim())?;
            } else if !line.starts_with('#') {
                body.push((number, line));
            }
        }
        description.words = lexer::words(&body)?;
        if description.words.is_empty() {
            return Err(Problem {
                line: None,
                message: "has no pipeline".to_owned(),
            });
        }
        if description.outputs().is_empty() {
            return Err(Problem {
                line: None,
                message: "has no output: end a branch in \"tee name=video allow-not-linked=true\" \
                          or \"tee name=audio allow-not-linked=true\""
                    .to_owned(),
            });
        }
        Ok(description)
    }

    fn read_directive(&mut self, line: usize, directive: &str) -> Result<(), Problem> {
        let (key, value) = directive
            .split_once(char::is_whitespace)
            .unwrap_or((directive, ""));
        let value = value.trim();
        let (base, language) = match key.split_once('[') {
            Some((base, rest)) => match rest.strip_suffix(']') {
                Some(tag) if is_language(tag) => (base, tag),
                _ => {
                    return Err(Problem::at(
                        line,
                        format!("\"{key}\": the language goes into brackets, as in title[es]"),
                    ));
                }
            },
            None => (key, ""),
        };
        match base {
            "" => return Err(Problem::at(line, "a directive needs a key")),
            "title" | "description" => {
                if value.is_empty() || value.len() > MAX_TEXT || value.chars().any(char::is_control)
                {
                    return Err(Problem::at(
                        line,
                        format!("{key} needs 1 to {MAX_TEXT} bytes of plain text"),
                    ));
                }
                let texts = if base == "title" {
                    &mut self.title
                } else {
                    &mut self.description
                };
                if texts
                    .insert(language.to_owned(), value.to_owned())
                    .is_some()
                {
                    return Err(Problem::at(line, format!("{key} is given twice")));
                }
            }
            "image" => self.image = Some(self.read_image(line, value)?),
            "loop" | "on-demand" => {
                let answer = match value {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(Problem::at(line, format!("{base} is yes or no"))),
                };
                match base {
                    "loop" => self.looped = answer,
                    _ => self.on_demand = answer,
                }
            }
            _ => self.directives.push(Directive {
                key: key.to_owned(),
                value: value.to_owned(),
                line,
            }),
        }
        Ok(())
    }

    fn read_image(&self, line: usize, value: &str) -> Result<Image, Problem> {
        if value.starts_with("https://") {
            if value.len() > 512 || value.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(Problem::at(
                    line,
                    "image: the address is too long or broken",
                ));
            }
            return Ok(Image::Url(value.to_owned()));
        }
        if value.contains("://") {
            return Err(Problem::at(line, "image: only https addresses are shown"));
        }
        let relative = Path::new(value);
        let plain = relative
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if value.is_empty() || !plain {
            return Err(Problem::at(
                line,
                "image is an https address or a file beside the description",
            ));
        }
        let path = self.path.parent().unwrap_or(Path::new("")).join(relative);
        if !path.is_file() {
            return Err(Problem::at(
                line,
                format!("image: there is no file {value}"),
            ));
        }
        Ok(Image::File(path))
    }

    /// Whether another description makes the same pipeline, run in the same way, whatever it says
    /// about it.
    pub fn is_same_pipeline(&self, other: &Self) -> bool {
        let texts = |description: &Self| -> Vec<String> {
            let words = description.words.iter();
            words.map(|word| word.text.clone()).collect()
        };
        self.looped == other.looped && texts(self) == texts(other)
    }

    /// The names of the tees that are outputs, in the file's order.
    pub fn outputs(&self) -> Vec<&str> {
        let mut element = "";
        let mut outputs = Vec::new();
        for word in &self.words {
            let text = word.text.as_str();
            match text.split_once('=') {
                // The head of an element's properties; names of pads and caps do no harm here.
                None => element = text,
                Some(("name", name)) if element == "tee" && is_output_name(name) => {
                    outputs.push(name);
                }
                Some(_) => {}
            }
        }
        outputs
    }

    /// The line of the first word that is, or holds, the given text: what GStreamer's messages
    /// name, for they carry no place of their own.
    pub fn line_of(&self, text: &str) -> Option<usize> {
        if text.is_empty() {
            return None;
        }
        self.words
            .iter()
            .find(|word| word.text == text)
            .or_else(|| self.words.iter().find(|word| word.text.contains(text)))
            .map(|word| word.line)
    }

    /// An error about this description, placed at the first line that holds `text`.
    pub fn error(&self, text: &str, message: impl Into<String>) -> Error {
        Error {
            path: self.path.clone(),
            line: self.line_of(text),
            message: message.into(),
        }
    }
}

/// A language tag as far as it matters here (RFC 5646: letters, digits, hyphens).
fn is_language(tag: &str) -> bool {
    (1..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_file_has_is_told_which_ones_there_are() {
        let directory = tempfile::TempDir::new().unwrap();
        for name in ["test", "camera"] {
            std::fs::write(directory.path().join(format!("{name}.launch")), BODY).unwrap();
        }
        let load = |name: &str| load_directory(directory.path(), &[name.to_owned()]);
        assert_eq!(load("test").unwrap()[0].name, "test");
        for (name, told) in [
            ("tets", "there is no stream \"tets\", but camera, test"),
            ("../x", "there is no stream \"../x\", but camera, test"),
            ("test.launch", "\"test.launch\" is a file: write test"),
            (
                "pipelines/test.launch",
                "\"pipelines/test.launch\" is a file: write test",
            ),
        ] {
            assert_eq!(load(name).unwrap_err().message, told);
        }
    }

    const BODY: &str = "videotestsrc ! vp8enc !\n tee name=video allow-not-linked=true\n";

    fn parse(text: &str) -> Result<Description, Error> {
        Description::parse(Path::new("dir/demo.launch"), text)
    }

    #[test]
    fn directives_comments_and_body_are_told_apart() {
        let text = format!(
            "# plain\n#: title Demo picture\n#: title[es] Prueba\n#: description Two words\n\
             #: image https://example.org/a.jpg\n#: loop yes\n#: param size The width\n{BODY}"
        );
        let description = parse(&text).unwrap();
        assert_eq!(description.name, "demo");
        assert_eq!(description.title[""], "Demo picture");
        assert_eq!(description.title["es"], "Prueba");
        assert_eq!(description.description[""], "Two words");
        assert_eq!(
            description.image,
            Some(Image::Url("https://example.org/a.jpg".to_owned()))
        );
        assert!(description.looped);
        assert_eq!(description.directives[0].key, "param");
        assert_eq!(description.directives[0].line, 7);
        assert_eq!(description.outputs(), ["video"]);
        assert_eq!(description.words[0].text, "videotestsrc");
        assert_eq!(description.line_of("vp8enc"), Some(8));
    }

    #[test]
    fn errors_name_file_and_line() {
        let text = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(text("a\n'b"), "dir/demo.launch:2: a ' is never closed");
        assert!(text("#: title\nx").starts_with("dir/demo.launch:1: title needs"));
        assert!(text("#: title[ a\nx").starts_with("dir/demo.launch:1: \"title[\""));
        assert!(text("#: loop maybe").starts_with("dir/demo.launch:1: loop is"));
        assert!(text("#: image ../../etc/passwd").starts_with("dir/demo.launch:1: image is"));
        assert!(text("#: image http://a/b").contains("only https"));
        assert!(text("# nothing").ends_with("has no pipeline"));
        assert!(text("videotestsrc ! tee name=other").contains("has no output"));
        assert!(text("videotestsrc ! vp8enc name=video").contains("has no output"));
    }

    #[test]
    fn names_are_checked() {
        for name in ["a", "Test-1_b", &"x".repeat(64)] {
            assert!(is_valid_name(name));
        }
        for name in ["", "a b", "ä", "a/b", "..", &"x".repeat(65)] {
            assert!(!is_valid_name(name));
        }
        assert!(Description::parse(Path::new("a b.launch"), BODY).is_err());
    }

    #[test]
    fn outputs_are_tees_with_the_right_names() {
        for name in ["video", "audio", "video_h264", "video_720p"] {
            assert!(is_output_name(name));
        }
        for name in ["video_", "audio_x", "videos", "video_a-b", ""] {
            assert!(!is_output_name(name));
        }
    }

    #[test]
    fn random_text_is_read_or_refused_without_panic() {
        let alphabet = [
            '\\', '\'', '"', '$', '{', '}', ':', '-', '#', '\n', ' ', 'a', '`', '[', 'é',
        ];
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..5000 {
            let text: String = (0..40)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    alphabet[(seed % alphabet.len() as u64) as usize]
                })
                .collect();
            let _ = parse(&text);
        }
    }
}
