//! Cuts the body of a description into words as a POSIX shell does, so that a file means the same
//! here as in the gst-launch line of the README. Expands `${name:-default}`; a value stays inside
//! its word and is never cut again.

use super::Problem;

/// One argument of gst-launch, and where it begins (both counted from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The argument after quotes and backslashes were taken away.
    pub text: String,
    /// Line of the file.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

/// Characters with their line and column.
struct Cursor {
    characters: Vec<(char, usize, usize)>,
    at: usize,
}

impl Cursor {
    fn new(lines: &[(usize, &str)]) -> Self {
        let mut characters = Vec::new();
        for (line, text) in lines {
            let mut column = 0;
            for character in text.chars() {
                column += 1;
                characters.push((character, *line, column));
            }
            characters.push(('\n', *line, column + 1));
        }
        Self { characters, at: 0 }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).map(|c| c.0)
    }

    fn place(&self) -> (usize, usize) {
        let index = self.at.min(self.characters.len().saturating_sub(1));
        self.characters.get(index).map_or((1, 1), |c| (c.1, c.2))
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek(0)?;
        self.at += 1;
        Some(character)
    }
}

/// The words of the given lines (number and text, comments already taken out).
///
/// # Errors
/// An open quote, a command substitution, a parameter without a default, or a comment that does
/// not begin in column 1.
pub(super) fn words(lines: &[(usize, &str)]) -> Result<Vec<Word>, Problem> {
    let mut cursor = Cursor::new(lines);
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    loop {
        let (line, column) = cursor.place();
        let Some(character) = cursor.next() else {
            break;
        };
        if character.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if character == '\\' && cursor.peek(0) == Some('\n') {
            cursor.next();
            continue;
        }
        if character == '#' && word.is_none() {
            return Err(Problem::at(
                line,
                "a comment must begin in the first column of its line",
            ));
        }
        let text = &mut word
            .get_or_insert_with(|| Word {
                text: String::new(),
                line,
                column,
            })
            .text;
        match character {
            '\\' => text.extend(cursor.next()),
            '\'' => loop {
                match cursor.next() {
                    Some('\'') => break,
                    Some(inner) => text.push(inner),
                    None => return Err(Problem::at(line, "a ' is never closed")),
                }
            },
            '"' => loop {
                match cursor.next() {
                    Some('"') => break,
                    Some('\\') => match cursor.next() {
                        Some(escaped @ ('"' | '\\' | '$' | '`')) => text.push(escaped),
                        Some('\n') => {}
                        Some(other) => text.extend(['\\', other]),
                        None => return Err(Problem::at(line, "a \" is never closed")),
                    },
                    Some('$') => text.push_str(&parameter(&mut cursor, line)?),
                    Some('`') => return Err(command(line)),
                    Some(inner) => text.push(inner),
                    None => return Err(Problem::at(line, "a \" is never closed")),
                }
            },
            '$' => text.push_str(&parameter(&mut cursor, line)?),
            '`' => return Err(command(line)),
            other => text.push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn command(line: usize) -> Problem {
    Problem::at(
        line,
        "commands are never run; put $ and ` between single quotes",
    )
}

/// What stands after a `$`: `{name:-default}`, or anything else, which stays as it is.
fn parameter(cursor: &mut Cursor, line: usize) -> Result<String, Problem> {
    match cursor.peek(0) {
        Some('(') => return Err(command(line)),
        Some('{') => {}
        _ => return Ok("$".to_owned()),
    }
    cursor.next();
    let mut inside = String::new();
    loop {
        match cursor.next() {
            Some('}') => break,
            Some('\n') | None => return Err(Problem::at(line, "a ${ is never closed by }")),
            Some(character) => inside.push(character),
        }
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside.as_str(), None),
    };
    let well_named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !well_named {
        return Err(Problem::at(
            line,
            format!("\"{name}\" is no parameter name; write ${{name:-default}}"),
        ));
    }
    default.map(str::to_owned).ok_or_else(|| {
        Problem::at(
            line,
            format!("parameter {name} has no default; write ${{{name}:-default}}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Result<Vec<String>, Problem> {
        let lines: Vec<_> = text.lines().enumerate().map(|(i, l)| (i + 1, l)).collect();
        Ok(words(&lines)?.into_iter().map(|w| w.text).collect())
    }

    #[test]
    fn quotes_and_backslashes_work_as_in_a_shell() {
        assert_eq!(
            texts("a 'b c' \"d \\\"e\\\" \\x\" f\\ g h'i'\"j\"").unwrap(),
            ["a", "b c", "d \"e\" \\x", "f g", "hij"]
        );
    }

    #[test]
    fn lines_join_with_or_without_a_trailing_backslash() {
        assert_eq!(
            texts("a !\n  b \\\n ! c").unwrap(),
            ["a", "!", "b", "!", "c"]
        );
    }

    #[test]
    fn a_parameter_expands_to_its_default_inside_its_word() {
        assert_eq!(
            texts("device=${device:-/dev/video 0 ! x}").unwrap(),
            ["device=/dev/video 0 ! x"]
        );
        assert_eq!(texts("\"a ${b:-c d}\" e$").unwrap(), ["a c d", "e$"]);
    }

    #[test]
    fn words_know_where_they_begin() {
        let words = words(&[(3, "a  bc"), (5, " d")]).unwrap();
        let places: Vec<_> = words.iter().map(|w| (w.line, w.column)).collect();
        assert_eq!(places, [(3, 1), (3, 4), (5, 2)]);
    }

    #[test]
    fn what_a_shell_would_run_or_swallow_is_refused() {
        for text in [
            "a $(b)",
            "a `b`",
            "a \"`b`\"",
            "a 'b",
            "a \"b",
            "${a",
            "${a}",
            "${:-b}",
            "a # b",
            " # a",
        ] {
            assert!(texts(text).is_err(), "{text}");
        }
    }
}
