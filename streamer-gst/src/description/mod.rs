//! Pipeline descriptions: `NAME.launch` files under `--pipelines`, and nothing from the network.
//!
//! Lines beginning with `#` are comments, `#: key value` are directives, everything else is
//! gst-launch syntax over any number of lines. What elements there are is not known here; the
//! reference for writers is `docs/descriptions.md`.

mod diagnostic;
mod directives;
mod directory;
mod lexer;
pub(crate) mod nearest;
mod parameters;
mod read;
pub(crate) mod syntax;
mod text;
mod word;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use diagnostic::{Diagnostic, Faults, Place, Severity};
pub use directives::{Image, Translations};
pub use directory::{Loaded, Watch, load_directory};
pub use parameters::{Parameter, Parameters};
pub(crate) use text::{Span, Texts};
pub use word::Word;

use syntax::Graph;

/// Why a description cannot be used.
pub use diagnostic::Faults as Error;

/// File name extension of a description.
pub const EXTENSION: &str = "launch";
/// Longest name of a stream in bytes.
pub const MAX_NAME: usize = 64;

/// A description as read from its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The stream's name: the file's name without its extension.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The file and all it includes, missing ones too.
    pub files: Vec<PathBuf>,
    /// `title` directives.
    pub title: Translations,
    /// `description` directives.
    pub description: Translations,
    /// `image` directive.
    pub image: Option<Image>,
    /// `loop yes`: begin again at the end instead of ending the calls.
    pub looped: bool,
    /// `on-demand yes`: run only while somebody watches.
    pub on_demand: bool,
    /// Its parameters in order.
    pub params: Vec<Parameter>,
    /// The arguments of gst-launch, parameters expanded.
    pub words: Vec<Word>,
    pub(crate) graph: Graph,
    pub(crate) texts: Texts,
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
    /// Everything that is wrong with it as far as can be told without GStreamer.
    pub fn load(path: &Path, parameters: &Parameters) -> Result<Self, Faults> {
        Self::usable(Self::examine(path, parameters))
    }

    /// Reads the text of the description that lies at `path`; its parameters have their defaults.
    ///
    /// # Errors
    /// As for [`Description::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Faults> {
        Self::usable(Self::examine_text(path, text))
    }

    /// Reads one description as far as possible, and tells everything that is wrong with it.
    pub fn examine(path: &Path, parameters: &Parameters) -> (Self, Vec<Diagnostic>) {
        Self::understand(path, read::read(path), parameters)
    }

    /// As [`Description::examine`], with the text of the file itself given.
    pub(crate) fn examine_text(path: &Path, text: &str) -> (Self, Vec<Diagnostic>) {
        Self::understand(path, read::read_text(path, text), &Parameters::default())
    }

    fn usable((description, diagnostics): (Self, Vec<Diagnostic>)) -> Result<Self, Faults> {
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(Faults {
                diagnostics,
                files: description.files,
            });
        }
        Ok(description)
    }

    fn understand(
        path: &Path,
        mut reading: read::Reading,
        parameters: &Parameters,
    ) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = std::mem::take(&mut reading.diagnostics);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if !is_valid_name(&name) {
            let message = format!("\"{name}\" is no name for a stream");
            diagnostics.push(
                Diagnostic::new(Place::of_file(path), Severity::Error, message).help(format!(
                    "name the file with 1 to {MAX_NAME} of A-Z a-z 0-9 _ -"
                )),
            );
        }
        let texts = reading.texts;
        let directives = directives::read(&texts, &reading.directives);
        let value_of = |parameter: &str| parameters.get(&name, parameter);
        let lexed = lexer::words(&texts, &reading.body, &value_of);
        diagnostics.extend(directives.diagnostics);
        diagnostics.extend(lexed.diagnostics);
        let (params, faults) = params(&texts, lexed.uses, directives.helps);
        diagnostics.extend(faults);
        let (graph, faults) = syntax::graph(&texts, &lexed.words);
        if faults.iter().any(|f| f.message == syntax::OTHER_LANGUAGE) {
            // What else is told of it follows from that.
            diagnostics.clear();
        }
        // What comes out of a missing part is not worth telling.
        if !reading.incomplete {
            diagnostics.extend(faults);
        }
        match lexed.words.last() {
            Some(last) => {
                // What could not be read may well have been an output.
                let whole = !diagnostics.iter().any(Diagnostic::is_error);
                let end = whole.then_some(last.span);
                diagnostics.extend(syntax::check(&texts, &graph, end));
            }
            // A file that cannot be read was told already.
            None if diagnostics.is_empty() => {
                let error = Diagnostic::new(
                    Place::of_file(path),
                    Severity::Error,
                    "the description has no pipeline",
                );
                diagnostics.push(error.help("write gst-launch syntax on lines without #"));
            }
            None => {}
        }
        let description = Self {
            name: name.into_owned(),
            path: path.to_owned(),
            files: reading.files,
            title: directives.title,
            description: directives.description,
            image: directives.image,
            looped: directives.looped,
            on_demand: directives.on_demand,
            params,
            words: lexed.words,
            graph,
            texts,
        };
        description.sort(&mut diagnostics);
        (description, diagnostics)
    }

    /// The names of the tees that are outputs, in the file's order.
    pub fn outputs(&self) -> Vec<&str> {
        let elements = self.graph.elements.iter();
        elements
            .filter(|element| element.is_output())
            .filter_map(|element| element.name())
            .collect()
    }

    /// An error of an output, at its tee.
    pub(crate) fn error_at_output(&self, output: &str, message: &str) -> Diagnostic {
        match self.graph.named(output) {
            Some(index) => {
                let span = self.graph.elements[index].factory.span;
                self.texts.error(span, message)
            }
            None => Diagnostic::new(Place::of_file(&self.path), Severity::Error, message),
        }
    }

    /// Whether another description makes the same pipeline, run in the same way, whatever it says
    /// about it.
    pub fn is_same_pipeline(&self, other: &Self) -> bool {
        self.looped == other.looped && self.arguments() == other.arguments()
    }

    /// Puts diagnostics in the order of the text. Of one place one thing is told, and an error
    /// rather than a warning: the rest follows from it.
    pub(crate) fn sort(&self, diagnostics: &mut Vec<Diagnostic>) {
        let file = |path: &Path| self.files.iter().position(|file| file == path);
        diagnostics.sort_by_key(|d| {
            let place = (file(&d.place.path), d.place.line, d.place.column);
            (place, !d.is_error())
        });
        diagnostics.dedup_by(|a, b| {
            let start = |d: &Diagnostic| (d.place.path.clone(), d.place.line, d.place.column);
            let whole = a.place.text.is_empty() || b.place.text.is_empty();
            start(a) == start(b) && (!whole || a.message == b.message)
        });
    }

    /// The words as arguments of gst-launch: nothing in a parameter's value means anything there.
    pub fn arguments(&self) -> Vec<String> {
        self.words.iter().map(Word::argument).collect()
    }
}

/// A line that need not be a description.
pub(crate) struct Sketch {
    pub(crate) graph: Graph,
    pub(crate) texts: Texts,
}

/// Reads a line that need not be a description.
///
/// # Errors
/// What cannot be read in it.
pub(crate) fn sketch(line: &str) -> Result<Sketch, Vec<Diagnostic>> {
    let (texts, words) = line_words(line)?;
    let (graph, faults) = syntax::graph(&texts, &words);
    match faults.is_empty() {
        true => Ok(Sketch { graph, texts }),
        false => Err(faults),
    }
}

/// Cuts a line into words as a shell does.
///
/// # Errors
/// What cannot be read in it.
pub(crate) fn line_words(line: &str) -> Result<(Texts, Vec<Word>), Vec<Diagnostic>> {
    let reading = read::read_text(Path::new("line"), line);
    let lexed = lexer::words(&reading.texts, &reading.body, &|_| None);
    match lexed.diagnostics.iter().any(Diagnostic::is_error) {
        true => Err(lexed.diagnostics),
        false => Ok((reading.texts, lexed.words)),
    }
}

/// The parameters in use, with their help, and what contradicts itself.
fn params(
    texts: &Texts,
    uses: Vec<lexer::Use>,
    mut helps: BTreeMap<String, (String, Span)>,
) -> (Vec<Parameter>, Vec<Diagnostic>) {
    let mut params: Vec<Parameter> = Vec::new();
    let mut defaults: BTreeMap<String, (String, Span)> = BTreeMap::new();
    let mut diagnostics = Vec::new();
    for usage in uses {
        let known = params.iter_mut().find(|param| param.name == usage.name);
        match (&usage.default, defaults.get(&usage.name)) {
            (Some(default), Some((first, span))) if default != first => diagnostics.push(
                texts
                    .error(usage.span, format!("{} has two defaults", usage.name))
                    .help("write the same default in both places")
                    .related(texts.place(*span), "the other one"),
            ),
            (Some(default), None) => {
                let place = (default.clone(), usage.span);
                defaults.insert(usage.name.clone(), place);
            }
            _ => {}
        }
        match known {
            Some(param) => param.default = param.default.take().or(usage.default),
            None => params.push(Parameter {
                help: helps.remove(&usage.name).map(|(help, _)| help),
                name: usage.name,
                default: usage.default,
                value: usage.value,
            }),
        }
    }
    for (name, (_, span)) in helps {
        let names = params.iter().map(|param| param.name.as_str());
        let help = nearest::did_you_mean(&name, names)
            .unwrap_or_else(|| format!("write ${{{name}:-default}} where it is to be used"));
        let error = texts.error(span, format!("the pipeline has no parameter {name}"));
        diagnostics.push(error.help(help));
    }
    (params, diagnostics)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "videotestsrc ! vp8enc !\n tee name=video allow-not-linked=true\n";

    fn examine(text: &str) -> (Description, Vec<String>) {
        let (description, told) = Description::examine_text(Path::new("dir/demo.launch"), text);
        (description, told.iter().map(ToString::to_string).collect())
    }

    fn first(text: &str) -> String {
        examine(text).1[0].clone()
    }

    #[test]
    fn directives_comments_and_body_are_told_apart() {
        let text = format!("# plain\n#: title Demo picture\n#: on-demand yes\n{BODY}");
        let (description, told) = examine(&text);
        assert_eq!(told, [""; 0]);
        assert_eq!(description.name, "demo");
        assert_eq!(description.title[""], "Demo picture");
        assert!(description.on_demand && !description.looped);
        assert_eq!(description.outputs(), ["video"]);
        assert_eq!(description.words[0].text, "videotestsrc");
    }

    #[test]
    fn parameters_have_help_default_and_value() {
        let text = format!("#: param size The width\nx width=${{size:-640}} ! {BODY}");
        let (description, told) = examine(&text);
        assert_eq!(told, [""; 0]);
        let size = Parameter {
            name: "size".to_owned(),
            default: Some("640".to_owned()),
            help: Some("The width".to_owned()),
            value: "640".to_owned(),
        };
        assert_eq!(description.params, [size]);
    }

    #[test]
    fn what_is_of_use_has_an_output() {
        for tee in [
            "tee video",
            "tee name: video",
            "tee audio",
            "Tee name=video",
            "tee",
            "sink",
        ] {
            let text = format!("videotestsrc ! vp8enc ! {tee}\n");
            let parsed = Description::parse(Path::new("demo.launch"), &text);
            assert!(parsed.is_err(), "{tee}");
        }
    }

    #[test]
    fn parameters_that_contradict_are_shown() {
        let two = format!("x a=${{n:-1}} b=${{n:-2}} ! {BODY}");
        assert_eq!(
            first(&two),
            "demo.launch:1:15: n has two defaults; write the same default in both places"
        );
        assert_eq!(
            first(&format!("#: param sise\nx a=${{size:-1}} ! {BODY}")),
            "demo.launch:1:10: the pipeline has no parameter sise; did you mean size?"
        );
        assert!(first(&format!("x a=${{n}} ! {BODY}")).contains("neither a default nor a value"));
    }

    #[test]
    fn independent_faults_are_told_at_once() {
        let (_, told) = examine("#: titel x\n! a\nc ! ! d 'b");
        assert!(told.len() >= 4, "{told:#?}");
    }

    #[test]
    fn what_cannot_be_placed_is_told_of_the_file() {
        assert!(first("# nothing").starts_with("demo.launch: the description has no pipeline"));
        let missing = Description::load(Path::new("none.launch"), &Parameters::default());
        assert_eq!(
            missing.unwrap_err().to_string(),
            "none.launch: there is no such file"
        );
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
            "\\",
            "'",
            "\"",
            "$",
            "{",
            "}",
            ":-",
            "#",
            "\n",
            " ",
            "a",
            "`",
            "[",
            "é",
            "!",
            "(",
            ")",
            "=",
            ".",
            "video/x-raw",
            ",",
            "\r",
            "#: ",
            "tee",
            "name=video",
            "://",
            "@",
            "\u{feff}",
        ];
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..1500 {
            let text: String = (0..40)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    alphabet[(seed % alphabet.len() as u64) as usize]
                })
                .collect();
            let (_, diagnostics) = Description::examine_text(Path::new("demo.launch"), &text);
            for diagnostic in diagnostics {
                assert!(diagnostic.to_string().len() <= 240);
                assert!(!diagnostic.render(false).is_empty());
            }
        }
    }
}
