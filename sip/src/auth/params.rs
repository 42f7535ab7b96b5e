//! Schemes and their parameters (RFC 7235 section 2.1), as challenges and credentials have them.

use crate::header::scan;

/// A scheme and what belongs to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scheme<'a> {
    pub(super) name: &'a str,
    params: Vec<(&'a str, String)>,
    /// Something of it cannot be read, or is there twice.
    pub(super) broken: bool,
}

impl<'a> Scheme<'a> {
    /// The schemes of one line, in order. What belongs to none is left out.
    pub(super) fn all(line: &'a str) -> Vec<Self> {
        let mut schemes: Vec<Scheme<'a>> = Vec::new();
        for piece in pieces(line).map(trim).filter(|piece| !piece.is_empty()) {
            let mut param = param(piece);
            if param.is_none() {
                let (name, rest) = match piece.split_once(is_blank) {
                    Some((name, rest)) => (name, trim(rest)),
                    None => (piece, ""),
                };
                if scan::is_token(name) {
                    schemes.push(Scheme {
                        name,
                        ..Scheme::default()
                    });
                    // Or a word of another scheme, which says nothing here.
                    param = self::param(rest);
                } else if let Some(scheme) = schemes.last_mut() {
                    scheme.broken = true;
                }
            }
            if let (Some((name, value)), Some(scheme)) = (param, schemes.last_mut()) {
                scheme.add(name, value);
            }
        }
        schemes
    }

    fn add(&mut self, name: &'a str, value: Option<String>) {
        match value {
            Some(value) if self.get(name).is_none() => self.params.push((name, value)),
            _ => self.broken = true,
        }
    }

    pub(super) fn is_digest(&self) -> bool {
        self.name.eq_ignore_ascii_case("Digest")
    }

    /// The value of a parameter.
    pub(super) fn get(&self, wanted: &str) -> Option<&str> {
        let mut params = self.params.iter();
        let found = params.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str())
    }
}

/// What stands between commas outside of quoted strings.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
}

/// A parameter, its value `None` when that cannot be read; `None` when it is no parameter.
fn param(piece: &str) -> Option<(&str, Option<String>)> {
    let (name, value) = piece.split_once('=')?;
    let (name, value) = (trim(name), trim(value));
    scan::is_token(name).then(|| (name, read(value)))
}

fn read(value: &str) -> Option<String> {
    if value.starts_with('"') {
        let (content, rest) = scan::unquote(value)?;
        // A line may be folded within a quoted string.
        let content = content.replace("\r\n", "");
        return (rest.is_empty() && !content.contains(char::is_control)).then_some(content);
    }
    let plain = |c: char| c.is_ascii_graphic() && c != '"';
    (!value.is_empty() && value.chars().all(plain)).then(|| value.to_owned())
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schemes of a line, each with its parameters; `!` follows those that are broken.
    fn read(line: &str) -> String {
        let schemes = Scheme::all(line);
        let shown = schemes.iter().map(|scheme| {
            let params = scheme.params.iter();
            let params: String = params
                .map(|(name, value)| format!(" {name}={value}"))
                .collect();
            let broken = if scheme.broken { "!" } else { "" };
            format!("{}{params}{broken}", scheme.name)
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn schemes_and_parameters_are_told_apart() {
        for (line, found) in [
            ("Digest a=1, b=\"2\"", "Digest a=1 b=2"),
            ("Digest a=1,b=2,Digest a=3", "Digest a=1 b=2; Digest a=3"),
            ("Digest\r\n a = 1 ,\r\n\tb =\"2\"", "Digest a=1 b=2"),
            ("Basic dXNlcg==, Digest a=1", "Basic dXNlcg==; Digest a=1"),
            (
                "Negotiate, Digest a=\"x, y=\\\"z\"",
                "Negotiate; Digest a=x, y=\"z",
            ),
            (",, Digest a=1,,", "Digest a=1"),
            ("a=1, Digest b=2", "Digest b=2"),
            ("Digest", "Digest"),
            ("Digest a=\"x\r\n y\"", "Digest a=x y"),
            ("", ""),
        ] {
            assert_eq!(read(line), found, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_breaks_the_scheme_that_it_belongs_to_and_no_other() {
        for (line, found) in [
            ("Digest a=\"open", "Digest!"),
            ("Digest a=\"x\"y, Digest b=1", "Digest!; Digest b=1"),
            ("Digest a=, b=1", "Digest b=1!"),
            ("Digest a=1, A=2", "Digest a=1!"),
            ("Digest a=x y", "Digest!"),
            ("Digest a=\"\u{1}\"", "Digest!"),
            ("Digest a=1, @", "Digest a=1!"),
            ("@ Digest a=1", ""),
        ] {
            assert_eq!(read(line), found, "{line}");
        }
    }
}
