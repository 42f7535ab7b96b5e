//! Cuts the body of a description into words as a POSIX shell does, so that a file means the same
//! here as in the gst-launch line of the README. Expands `${name:-default}`; a value stays inside
//! its word and is never cut or read again.

mod habits;

use super::diagnostic::Diagnostic;
use super::parameters::is_parameter_name;
use super::text::{Span, Texts};
use super::word::Word;

/// What a shell would act on outside quotes.
const SHELL: &[char] = &['(', ')', ';', '&', '<', '>', '*', '|'];

/// Words behind which a shell's part of a line begins; `|` and `>` are not among them, since people
/// write them for a `!`.
pub(super) const ENDS: [&str; 9] = [
    "&",
    "&&",
    "||",
    ">>",
    "2>",
    "2>&1",
    "&>",
    "1>/dev/null",
    "2>/dev/null",
];

/// What the body says.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) words: Vec<Word>,
    pub(super) uses: Vec<Use>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// A `${name}` or `${name:-default}` in the text.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) default: Option<String>,
    pub(super) value: String,
    pub(super) span: Span,
}

/// A character and where it stands.
#[derive(Clone, Copy)]
struct Character {
    value: char,
    span: Span,
}

struct Lexer<'a> {
    texts: &'a Texts,
    value_of: &'a dyn Fn(&str) -> Option<String>,
    characters: Vec<Character>,
    at: usize,
    word: Option<Word>,
    /// The word holds something a shell would act on.
    shell: Option<Character>,
    /// The typographic quotes in it.
    typographic: Vec<Character>,
    lexed: Lexed,
}

/// The words of the given lines, comments already taken out. `value_of` knows the values that
/// stand against the defaults.
pub(super) fn words(
    texts: &Texts,
    lines: &[Span],
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Lexed {
    let mut characters = Vec::new();
    for line in lines {
        for (offset, value) in texts.slice(*line).char_indices() {
            let start = line.start + offset;
            let end = start + value.len_utf8();
            let span = Span {
                start,
                end,
                ..*line
            };
            characters.push(Character { value, span });
        }
        let start = line.end;
        let span = Span { start, ..*line };
        characters.push(Character { value: '\n', span });
    }
    let mut lexer = Lexer {
        texts,
        value_of,
        characters,
        at: 0,
        word: None,
        shell: None,
        typographic: Vec::new(),
        lexed: Lexed::default(),
    };
    lexer.run();
    lexer.lexed
}

/// `element name=value` for `element(name=value)`.
fn call(source: &str) -> Option<String> {
    let (name, properties) = source.strip_suffix(')')?.split_once('(')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    let plain = properties.contains('=') && !properties.contains(['(', ')']);
    (is_name && plain).then(|| format!("{name} {}", properties.replace(',', " ")))
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).map(|c| c.value)
    }

    fn next(&mut self) -> Option<Character> {
        let character = self.characters.get(self.at).copied()?;
        self.at += 1;
        Some(character)
    }

    fn error(&mut self, span: Span, message: impl Into<String>, help: &str) {
        let error = self.texts.error(span, message).help(help);
        self.lexed.diagnostics.push(error);
    }

    fn warning(&mut self, span: Span, message: impl Into<String>, help: String) {
        let warning = self.texts.warning(span, message).help(help);
        self.lexed.diagnostics.push(warning);
    }

    /// The word that is being read, begun at `span` if there is none.
    fn word(&mut self, span: Span) -> &mut Word {
        let begin = Span {
            end: span.start,
            ..span
        };
        self.word.get_or_insert_with(|| Word::new(begin))
    }

    fn run(&mut self) {
        while let Some(character) = self.next() {
            let Character { value, span } = character;
            match value {
                ' ' | '\t' | '\n' => self.finish(),
                '\\' if self.peek() == Some('\n') => {
                    self.next();
                }
                '\\' => {
                    if let Some(escaped) = self.next() {
                        self.word(span).push(escaped.value, escaped.span);
                    }
                }
                _ if self.word.is_none() && self.comment(character) => {}
                '\'' => self.single_quoted(span),
                '"' => self.double_quoted(span),
                '$' => self.dollar(span, false),
                '`' => self.command(span, '`'),
                _ => {
                    if SHELL.contains(&value) {
                        self.shell.get_or_insert(character);
                    }
                    self.look_alike(character);
                    if let '“' | '”' | '„' | '‘' | '’' = value {
                        self.typographic.push(character);
                    }
                    self.word(span).push(value, span);
                }
            }
        }
        self.finish();
    }

    /// Ends the word, and warns when a shell would not have read it so.
    fn finish(&mut self) {
        let (Some(mut word), shell) = (self.word.take(), self.shell.take()) else {
            return;
        };
        self.quotes_of_print(&mut word);
        // A sign alone is told as a word.
        let sign = |word: &Word| {
            ENDS.contains(&word.text.as_str())
                || !word
                    .text
                    .contains(|c: char| c.is_alphanumeric() || "()".contains(c))
        };
        if let Some(character) = shell.filter(|_| !sign(&word)) {
            let source = self.texts.slice(word.span);
            let whole = self.up_to_link(word.span);
            if source.ends_with(';') && whole == source {
                word.unknown = true;
                let message = "a ; does not belong at the end";
                self.error(character.span, message, "take it out");
                return self.lexed.words.push(word);
            }
            if let Some(written) = call(source) {
                word.unknown = true;
                let message = "properties stand behind an element, without brackets";
                self.error(word.span, message, &format!("write {written}"));
                return self.lexed.words.push(word);
            }
            let whole = whole.replace("; ", ";");
            let source = if source.ends_with(';') {
                whole.as_str()
            } else {
                source
            };
            // In between single quotes a parameter would be plain text.
            let quote = if word.has_value() { '"' } else { '\'' };
            let help = match source.contains(['\'', '"', '\\']) {
                false => format!("write {quote}{source}{quote}"),
                true => format!("put {quote} around the {} as well", character.value),
            };
            self.warning(
                character.span,
                format!("a shell acts on {} outside quotes", character.value),
                help,
            );
        }
        if word.text.starts_with("~/") || word.text.contains("=~/") {
            let message = "nothing makes a home directory of this ~";
            self.warning(word.span, message, "write the whole path".to_owned());
        }
        if word.has_value() && !word.unknown && word.text.contains(['"', '\\']) {
            // A value holds neither; GStreamer would read on in the value.
            self.error(
                word.span,
                "a parameter cannot stand in a word with quotes or backslashes of GStreamer's own",
                "leave the \" or \\ away that stands in the shell's quotes",
            );
        }
        self.lexed.words.push(word);
    }

    /// The text from a word to the next `!` on its line.
    fn up_to_link(&self, span: Span) -> &str {
        let text = &self.texts.text(span.file)[span.start..];
        let end = text.find(['!', '\n', '\r']).unwrap_or(text.len());
        text[..end].trim_end()
    }

    fn single_quoted(&mut self, open: Span) {
        self.word(open);
        while let Some(Character { value, span }) = self.next() {
            match value {
                '\'' => return self.word(open).cover(span),
                // The line by hand joins lines with spaces.
                '\n' => self.word(open).push(' ', span),
                _ => self.word(open).push(value, span),
            }
        }
        self.word(open).unknown = true;
        self.error(open, "this ' is never closed", "add the second '");
    }

    fn double_quoted(&mut self, open: Span) {
        self.word(open);
        while let Some(Character { value, span }) = self.next() {
            match value {
                '"' => return self.word(open).cover(span),
                '\\' => match self.next() {
                    Some(next) if matches!(next.value, '"' | '\\' | '$' | '`') => {
                        self.word(open).push(next.value, next.span);
                    }
                    Some(next) if next.value == '\n' => {}
                    Some(next) => {
                        self.word(open).push('\\', span);
                        self.word(open).push(next.value, next.span);
                    }
                    None => break,
                },
                '$' => self.dollar(span, true),
                '`' => self.command(span, '`'),
                '\n' => self.word(open).push(' ', span),
                _ => self.word(open).push(value, span),
            }
        }
        self.word(open).unknown = true;
        self.error(open, "this \" is never closed", "add the second \"");
    }

    /// Passes over what a shell would run, up to where it ends.
    fn command(&mut self, open: Span, close: char) {
        let mut span = open;
        while self.peek().is_some_and(|c| c != '\n') {
            let Some(character) = self.next() else {
                break;
            };
            span = open.to(character.span);
            if character.value == close {
                break;
            }
        }
        self.word(open).push_unknown(span);
        let inside = self.texts.slice(span).trim_matches(['$', '(', ')', '`']);
        let name = inside.split_once(":-").map_or(inside, |(name, _)| name);
        let help = match close == ')' && is_parameter_name(name) {
            true => {
                let default = &inside[name.len()..];
                let default = if default.is_empty() {
                    ":-default"
                } else {
                    default
                };
                format!("write what it prints, or ${{{name}{default}}} for a parameter")
            }
            false => "write what it prints, or put it between single quotes if it is meant as text"
                .to_owned(),
        };
        self.error(span, "commands are never run", &help);
    }

    /// What stands after a `$`: `{name:-default}`, or something that is no name, and then the `$`
    /// is one.
    fn dollar(&mut self, dollar: Span, quoted: bool) {
        match self.peek() {
            Some('{') => self.parameter(dollar, quoted),
            Some('(') => self.command(dollar, ')'),
            Some(next) if next.is_ascii_alphanumeric() || "_@*#?-$!".contains(next) => {
                let start = self.at;
                while self
                    .peek()
                    .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
                {
                    self.next();
                }
                self.at = self.at.max(start + 1);
                let span = dollar.to(self.characters[self.at - 1].span);
                let name = self.texts.slice(span)[1..].to_owned();
                let help = match is_parameter_name(&name) {
                    true => format!(
                        "write ${{{name}:-default}} for a parameter, or put the $ between single \
                         quotes"
                    ),
                    false => "put the $ between single quotes".to_owned(),
                };
                self.error(
                    span,
                    format!("a shell puts something else in the place of ${name}"),
                    &help,
                );
                self.word(dollar).push_unknown(span);
            }
            _ => self.word(dollar).push('$', dollar),
        }
    }

    fn parameter(&mut self, dollar: Span, quoted: bool) {
        self.next();
        let mut inside = String::new();
        let close = loop {
            match self.next() {
                Some(Character { value: '}', span }) => break span,
                Some(character) if character.value != '\n' => inside.push(character.value),
                _ => {
                    self.at -= usize::from(self.at > 0);
                    let span = dollar.to(self.characters[self.at].span);
                    self.word(dollar).push_unknown(span);
                    return self.error(
                        span,
                        "this ${ is never closed",
                        "write ${name:-default} on one line",
                    );
                }
            }
        };
        let span = dollar.to(close);
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (inside.as_str(), None),
        };
        if !is_parameter_name(name) {
            self.word(dollar).push_unknown(span);
            let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let (meant, default) = name.split_at(end.unwrap_or(name.len()));
            let default = default.trim_start_matches([':', '=', '-', '+', '?', '|']);
            let dashed = name.replace('-', "_");
            let help = if inside.contains(":-") && is_parameter_name(&dashed) {
                format!("write ${{{dashed}{}}}", &inside[name.len()..])
            } else if is_parameter_name(meant) && !default.is_empty() {
                format!("write ${{{meant}:-{default}}}")
            } else {
                "write ${name:-default}".to_owned()
            };
            return self.error(
                span,
                format!("\"{name}\" is no parameter's name, which has A-Z a-z 0-9 _"),
                &help,
            );
        }
        if let Some(default) = &default {
            self.check_default(default, span, quoted);
        }
        let given = (self.value_of)(name);
        let Some(value) = given.clone().or(default.clone()) else {
            self.word(dollar).push_unknown(span);
            self.error(
                span,
                format!("parameter {name} has neither a default nor a value"),
                &format!("write ${{{name}:-default}}, or give {name}=value"),
            );
            return self.used(name, None, String::new(), span);
        };
        if given.is_some() && value.contains(|c: char| matches!(c, '"' | '\\') || c.is_control()) {
            self.error(
                span,
                format!("the value of {name} holds a \", a \\ or a control character"),
                "leave it out",
            );
            self.word(dollar).unknown = true;
        }
        self.word(dollar).push_value(&value, span);
        self.used(name, default, value, span);
    }

    fn used(&mut self, name: &str, default: Option<String>, value: String, span: Span) {
        self.lexed.uses.push(Use {
            name: name.to_owned(),
            default,
            value,
            span,
        });
    }

    /// A default is plain text for us; a shell has to find the same in it.
    fn check_default(&mut self, default: &str, span: Span, quoted: bool) {
        if let Some(bad) = default
            .chars()
            .find(|c| matches!(c, '"' | '\'' | '\\' | '$' | '`') || c.is_control())
        {
            let shown = if bad == '\t' {
                "tab".into()
            } else {
                bad.to_string()
            };
            self.error(
                span,
                format!("a default is plain text and cannot hold a {shown}"),
                "leave it out; blanks need no quotes when the whole word has double quotes",
            );
            self.word(span).unknown = true;
        } else if !quoted && default.contains(' ') {
            self.warning(
                span,
                "a shell cuts this default at its blank",
                "put the whole word between double quotes".to_owned(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn lex(text: &str) -> (Texts, Lexed) {
        let mut texts = Texts::default();
        let file = texts.add(Path::new("a.launch"), text);
        let mut lines = Vec::new();
        let mut start = 0;
        for line in text.split('\n') {
            let end = start + line.len();
            lines.push(Span { file, start, end });
            start = end + 1;
        }
        let value_of = |name: &str| (name == "given").then(|| "a ! b".to_owned());
        let lexed = words(&texts, &lines, &value_of);
        (texts, lexed)
    }

    fn words_of(text: &str) -> Vec<String> {
        let (_, lexed) = lex(text);
        let errors: Vec<_> = lexed.diagnostics.iter().filter(|d| d.is_error()).collect();
        assert!(errors.is_empty(), "{text}: {errors:?}");
        lexed.words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn quotes_and_backslashes_work_as_in_a_shell() {
        assert_eq!(
            words_of("a 'b c' \"d \\\"e\\\" \\x\" f\\ g h'i'\"j\""),
            ["a", "b c", "d \"e\" \\x", "f g", "hij"]
        );
        assert_eq!(words_of("'a\nb' ''"), ["a b", ""]);
    }

    #[test]
    fn lines_join_with_or_without_a_trailing_backslash() {
        assert_eq!(
            words_of("a !\n  b \\\n ! c\td"),
            ["a", "!", "b", "!", "c", "d"]
        );
    }

    #[test]
    fn a_parameter_expands_inside_its_word() {
        assert_eq!(
            words_of("device=${device:-/dev/video 0 ! x}"),
            ["device=/dev/video 0 ! x"]
        );
        assert_eq!(words_of("\"a ${b:-c d}\" e$"), ["a c d", "e$"]);
        assert_eq!(words_of("'${b}'"), ["${b}"]);
    }

    #[test]
    fn a_value_adds_no_word_and_nothing_for_gst_launch_to_read() {
        let (_, lexed) = lex("x=${given} \"y ${given:-1}\"");
        let texts: Vec<_> = lexed.words.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(texts, ["x=a ! b", "y a ! b"]);
        assert_eq!(lexed.words[0].argument(), "x=a \\! b");
    }

    #[test]
    fn every_part_of_a_word_knows_where_it_stands() {
        let (texts, lexed) = lex("a  \"p=x\"'y z' q=${given}v");
        let at = |word: usize, part: std::ops::Range<usize>| {
            texts.slice(lexed.words[word].span_of(part)).to_owned()
        };
        assert_eq!(at(0, 0..1), "a");
        assert_eq!(at(1, 0..6), "\"p=x\"'y z'");
        assert_eq!(at(1, 2..3), "x");
        assert_eq!(at(1, 3..6), "y z");
        assert_eq!(at(2, 0..1), "q");
        assert_eq!(at(2, 4..5), "${given}");
        assert_eq!(at(2, 7..8), "v");
        let sliced = lexed.words[2].slice(2..8);
        assert_eq!(sliced.text, "a ! bv");
        assert_eq!(texts.slice(sliced.span_of(5..6)), "v");
    }

    #[test]
    fn what_a_shell_would_run_or_swallow_is_refused() {
        for text in [
            "a $(b)",
            "a `b`",
            "a \"`b`\"",
            "a 'b",
            "a \"b",
            "a \"b\\",
            "${a",
            "${a}",
            "${:-b}",
            "${a-b:-c}",
            "$a",
            "$1",
            "$$",
            "a # b",
            " # a",
            "${a:-\"b\"}",
            "x=${a:-${b}}",
            "x='\"'${a:-b}",
            "x=\\\\${a:-b}",
        ] {
            let (_, lexed) = lex(text);
            assert!(lexed.diagnostics.iter().any(Diagnostic::is_error), "{text}");
        }
    }

    #[test]
    fn what_a_shell_reads_otherwise_is_shown_in_quotes() {
        let help = |text: &str| lex(text).1.diagnostics[0].help.clone().unwrap();
        assert_eq!(
            help("caps=video/x-raw(memory:NVMM)"),
            "write 'caps=video/x-raw(memory:NVMM)'"
        );
        assert_eq!(help("a=${given}&b"), "write \"a=${given}&b\"");
        assert_eq!(help("a='b'*"), "put ' around the * as well");
        assert_eq!(
            help("x=${a:-b c}"),
            "put the whole word between double quotes"
        );
        assert_eq!(help("x\u{a0}y"), "type a plain blank instead");
        for quoted in ["'a(b)'", "\"a;b\"", "a\\&b"] {
            assert!(lex(quoted).1.diagnostics.is_empty(), "{quoted}");
        }
    }
}
