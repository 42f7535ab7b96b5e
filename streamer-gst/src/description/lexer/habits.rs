//! Signs of other languages and of print that stand where a shell knows none.

use super::{Character, Lexer};
use crate::description::word::Word;

const PRINT: &str = "this is a typographic quote, which keeps nothing together";

impl Lexer<'_> {
    /// Passes over a comment in the way of some language, to the end of its line.
    pub(super) fn comment(&mut self, begin: Character) -> bool {
        let next = self.peek();
        let sign = match (begin.value, next) {
            ('#', _) => "#",
            ('/', Some('/')) => "//",
            ('/', Some('*')) => "/*",
            ('-', Some('-'))
                if self
                    .characters
                    .get(self.at + 1)
                    .is_none_or(|c| c.value == ' ') =>
            {
                "--"
            }
            (';', _) if self.at < 2 || self.characters[self.at - 2].value == '\n' => ";",
            _ => return false,
        };
        let (message, help) = match sign {
            "#" => (
                "a comment begins in the first column of its line".to_owned(),
                "move the # to the first column, or quote it as '#'".to_owned(),
            ),
            _ => (
                format!("{sign} begins no comment here"),
                "begin the line with #".to_owned(),
            ),
        };
        let mut span = begin.span;
        for _ in 1..sign.len() {
            span = self.next().map_or(span, |next| span.to(next.span));
        }
        self.error(span, message, &help);
        let mut last = ' ';
        while let Some(next) = self.peek().filter(|c| sign == "/*" || *c != '\n') {
            self.next();
            if (sign, last, next) == ("/*", '*', '/') {
                break;
            }
            last = next;
        }
        true
    }

    /// Quotes of print come from web pages. In pairs inside of a word they are text.
    pub(super) fn quotes_of_print(&mut self, word: &mut Word) {
        let signs = std::mem::take(&mut self.typographic);
        let Some(first) = signs.first() else {
            return;
        };
        let opens = matches!(first.value, '“' | '„' | '‘');
        let help = match first.value {
            '‘' | '’' => "type a plain ' instead",
            _ => "type a plain \" instead",
        };
        if !opens && signs.len() == 1 && self.lexed.diagnostics.iter().any(|d| d.message == PRINT) {
            word.unknown = true;
        } else if word.span.start == first.span.start || opens && signs.len() == 1 {
            word.unknown = true;
            self.error(first.span, PRINT, help);
        } else {
            let message = "this is a typographic quote, which is plain text";
            self.warning(first.span, message, help.to_owned());
        }
    }

    /// Characters that only look like what they should be; they come from web pages.
    pub(super) fn look_alike(&mut self, character: Character) {
        let (what, help) = match character.value {
            c if c.is_whitespace() => {
                ("a blank of another kind, part of the word", "a plain blank")
            }
            '\u{feff}' | '\u{200b}' => ("an invisible character, part of the word", "nothing"),
            _ => return,
        };
        let message = format!("this is {what}");
        // In a value it may be meant.
        if !self.word(character.span).text.contains('=') {
            self.error(character.span, message, &format!("type {help} instead"));
            self.word(character.span).unknown = true;
            return;
        }
        self.warning(character.span, message, format!("type {help} instead"));
    }
}
