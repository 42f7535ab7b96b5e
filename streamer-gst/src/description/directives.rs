//! What the `#: key value` lines mean.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::nearest::did_you_mean;
use super::read::Directive;
use super::text::{Span, Texts};

/// Longest title, longest description and longest image address in bytes, and most languages of
/// each text: what the directory of streams takes.
const MAX_TITLE: usize = 256;
const MAX_DESCRIPTION: usize = 1024;
const MAX_ADDRESS: usize = 512;
const MAX_LANGUAGES: usize = 16;
/// Most bytes of all texts together as JSON. A stream's entry in the directory has 3 KiB; the rest
/// is for its state, error, codecs and sizes.
const MAX_TEXTS: usize = 2304;

const KEYS: [&str; 7] = [
    "title",
    "description",
    "image",
    "param",
    "include",
    "on-demand",
    "loop",
];

/// Where a stream's picture in the list comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// An https address, handed on as it is.
    Url(String),
    /// A file beside the description.
    File(PathBuf),
}

/// A text by language; the empty key is the one for every other language.
pub type Translations = BTreeMap<String, String>;

/// What the directives say.
#[derive(Debug, Default)]
pub(super) struct Directives {
    pub(super) title: Translations,
    pub(super) description: Translations,
    pub(super) image: Option<Image>,
    pub(super) on_demand: bool,
    pub(super) looped: bool,
    /// Help of parameters, and where their names stand.
    pub(super) helps: BTreeMap<String, (String, Span)>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Reads the directives.
pub(super) fn read(texts: &Texts, directives: &[Directive]) -> Directives {
    let mut reader = Reader {
        texts,
        read: Directives::default(),
        seen: BTreeMap::new(),
    };
    for directive in directives {
        if let Err(error) = reader.directive(*directive) {
            reader.read.diagnostics.push(error);
        }
    }
    if let Some(last) = directives.last() {
        reader.check_size(last.key);
    }
    reader.read
}

struct Reader<'a> {
    texts: &'a Texts,
    read: Directives,
    /// Keys that may stand only once, and where they do.
    seen: BTreeMap<String, Span>,
}

impl Reader<'_> {
    fn directive(&mut self, directive: Directive) -> Result<(), Diagnostic> {
        let texts = self.texts;
        let error = |span: Span, message: String| texts.error(span, message);
        let key = texts.slice(directive.key);
        let value = texts.slice(directive.value);
        let (base, language) = match key.split_once('[') {
            Some((base @ ("title" | "description"), rest)) => match rest.strip_suffix(']') {
                Some(tag) if is_language(tag) => (base, tag),
                _ => {
                    return Err(error(directive.key, format!("\"{key}\" names no language"))
                        .help("write its tag between brackets, as in title[es]"));
                }
            },
            _ => (key, ""),
        };
        if !KEYS.contains(&base) {
            let message = match base {
                "" => "this directive has no key".to_owned(),
                _ => format!("there is no directive \"{base}\""),
            };
            let help = did_you_mean(base, KEYS).unwrap_or_else(|| {
                format!("there are {}; a comment has no colon", KEYS.join(", "))
            });
            return Err(error(directive.key, message).help(help));
        }
        if base != "param" {
            if let Some(first) = self.seen.get(key) {
                return Err(error(directive.key, format!("{key} is given twice"))
                    .help("take one of them out")
                    .related(texts.place(*first), "the first one"));
            }
            self.seen.insert(key.to_owned(), directive.key);
        }
        if value.is_empty() {
            return Err(error(directive.key, format!("{key} has no value"))
                .help(format!("write #: {key} and its value on one line")));
        }
        match base {
            "title" | "description" => {
                let (limit, translations) = match base {
                    "title" => (MAX_TITLE, &mut self.read.title),
                    _ => (MAX_DESCRIPTION, &mut self.read.description),
                };
                if value.len() > limit {
                    let message = format!("{base} has {} bytes, and may have {limit}", value.len());
                    return Err(error(directive.value, message).help("shorten it"));
                }
                if value.chars().any(char::is_control) {
                    let message = format!("{base} holds a control character");
                    return Err(error(directive.value, message).help("write plain text"));
                }
                if translations.len() >= MAX_LANGUAGES {
                    return Err(error(
                        directive.key,
                        format!("{base} has more than {MAX_LANGUAGES} languages"),
                    )
                    .help("leave this one out"));
                }
                translations.insert(language.to_owned(), value.to_owned());
            }
            "image" => self.read.image = Some(self.image(directive.value)?),
            "param" => self.param(directive.value)?,
            "on-demand" => self.read.on_demand = self.yes_or_no(base, directive.value)?,
            _ => self.read.looped = self.yes_or_no(base, directive.value)?,
        }
        Ok(())
    }

    fn yes_or_no(&self, key: &str, span: Span) -> Result<bool, Diagnostic> {
        match self.texts.slice(span) {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(self
                .texts
                .error(span, format!("{key} is yes or no, not \"{other}\""))
                .help(format!("write {key} yes"))),
        }
    }

    fn param(&mut self, span: Span) -> Result<(), Diagnostic> {
        let value = self.texts.slice(span);
        let (name, help) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        let span = Span {
            end: span.start + name.len(),
            ..span
        };
        if let Some((_, first)) = self.read.helps.get(name) {
            return Err(self
                .texts
                .error(span, format!("param {name} is given twice"))
                .help("take one of them out")
                .related(self.texts.place(*first), "the first one"));
        }
        let help = help.trim().to_owned();
        self.read.helps.insert(name.to_owned(), (help, span));
        Ok(())
    }

    fn image(&self, span: Span) -> Result<Image, Diagnostic> {
        let value = self.texts.slice(span);
        let error = |message: String| Err(self.texts.error(span, message));
        if value.starts_with("https://") {
            if value.len() > MAX_ADDRESS || !value.bytes().all(|b| b.is_ascii_graphic()) {
                return error(format!(
                    "this address is longer than {MAX_ADDRESS} bytes, or has other characters \
                     than ASCII"
                ))
                .map_err(|e| e.help("shorten it, and write %20 for a blank"));
            }
            return Ok(Image::Url(value.to_owned()));
        }
        if value.contains("://") {
            return error("browsers show pictures from https addresses only".to_owned())
                .map_err(|e| e.help("write https://…, or a file beside the description"));
        }
        let relative = Path::new(value);
        let plain = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !plain {
            return error("an image lies in the description's directory or below".to_owned())
                .map_err(|e| e.help("write a relative path without .."));
        }
        let directory = self.texts.path(span.file).parent();
        let path = directory.unwrap_or(Path::new("")).join(relative);
        if !path.is_file() {
            return error(format!("there is no file {value}"))
                .map_err(|e| e.help("the path counts from the description's directory"));
        }
        Ok(Image::File(path))
    }

    /// Whether all texts together fit the directory.
    fn check_size(&mut self, span: Span) {
        let texts = serde_json::json!([self.read.title, self.read.description]);
        let image = match &self.read.image {
            Some(Image::Url(url)) => url.len(),
            _ => 0,
        };
        let size = texts.to_string().len() + image;
        if size > MAX_TEXTS {
            let error = self
                .texts
                .error(
                    span,
                    format!(
                        "titles, descriptions and image take {size} bytes; the list of streams \
                         has room for {MAX_TEXTS}"
                    ),
                )
                .help("shorten the descriptions");
            self.read.diagnostics.push(error);
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

    fn directives(text: &str) -> Directives {
        let reading = super::super::read::read_text(Path::new("dir/demo.launch"), text);
        read(&reading.texts, &reading.directives)
    }

    fn first(text: &str) -> String {
        directives(text).diagnostics[0].to_string()
    }

    #[test]
    fn each_directive_is_kept() {
        let read = directives(
            "#: title Demo picture\n#:title[es]   Prueba \n#: description Two words\n\
             #: image https://example.org/a.jpg\n#: loop yes\n#: on-demand yes\n\
             #: param size The width\n",
        );
        assert_eq!(read.diagnostics, []);
        assert_eq!(read.title[""], "Demo picture");
        assert_eq!(read.title["es"], "Prueba");
        assert_eq!(read.description[""], "Two words");
        let image = Image::Url("https://example.org/a.jpg".to_owned());
        assert_eq!(read.image, Some(image));
        assert!(read.looped && read.on_demand);
        assert_eq!(read.helps["size"].0, "The width");
    }

    #[test]
    fn what_is_wrong_with_a_directive_is_shown_at_its_key_or_value() {
        assert_eq!(
            first("#: titel x"),
            "demo.launch:1:4: there is no directive \"titel\"; did you mean title?"
        );
        for (text, told) in [
            ("#:", ":1:3: this directive has no key"),
            ("#: title", ":1:4: title has no value"),
            ("#: title a\n#: title b", ":2:4: title is given twice"),
            ("#: title[] a", ":1:4: \"title[]\" names no language"),
            ("#: loop maybe", ":1:9: loop is yes or no"),
            ("#: on-demand 1", ":1:14: on-demand is yes or no"),
            ("#: image ../../etc/passwd", ":1:10: an image lies"),
            ("#: image http://a/b", ":1:10: browsers show"),
            ("#: image none.jpg", ":1:10: there is no file"),
            (
                "#: param a x\n#: param a y",
                ":2:10: param a is given twice",
            ),
        ] {
            let line = first(text);
            assert!(line.starts_with(&format!("demo.launch{told}")), "{line}");
        }
    }

    #[test]
    fn texts_stay_within_what_the_directory_takes() {
        assert!(first(&format!("#: title {}", "x".repeat(257))).contains("may have 256"));
        let many: String = (0..17).map(|n| format!("#: title[x{n}] a\n")).collect();
        assert!(first(&many).contains(":17:4: title has more than 16"));
        let long: String = (0..3)
            .map(|n| format!("#: description[x{n}] {}\n", "\"".repeat(500)))
            .collect();
        assert!(
            first(&long).contains("has room for 2304"),
            "{}",
            first(&long)
        );
    }
}
