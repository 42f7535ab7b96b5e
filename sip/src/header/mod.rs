//! Header fields: the lines of a message, kept as they came, and the values that we read.

use std::fmt;
use std::mem::discriminant;
use std::ops::Range;
use std::sync::Arc;

pub(crate) mod scan;
mod typed;

pub use typed::{CSeq, NameAddr, Reason, Via};

/// A value that does not follow its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub struct HeaderError {
    /// What was being read: `Via`, `URI`, …
    pub what: &'static str,
}

impl HeaderError {
    pub(crate) fn new(what: &'static str) -> Self {
        HeaderError { what }
    }
}

macro_rules! names {
    ($($variant:ident = $full:literal $(, $compact:literal)?;)*) => {
        /// The name of a header field. Names compare without regard to case and their compact
        /// forms mean the same (RFC 3261 section 7.3.3).
        #[derive(Clone, Debug)]
        pub enum Name {
            $(#[doc = concat!("`", $full, "`")] $variant,)*
            /// Any other name, as it was written.
            Other(String),
        }

        impl Name {
            /// The name in full.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Name::$variant => $full,)*
                    Name::Other(name) => name,
                }
            }

            /// Reads a name, compact forms included.
            pub fn parse(text: &str) -> Self {
                $(if text.eq_ignore_ascii_case($full) $(|| text.eq_ignore_ascii_case($compact))? {
                    return Name::$variant;
                })*
                Name::Other(text.to_owned())
            }
        }
    };
}

names! {
    Via = "Via", "v";
    From = "From", "f";
    To = "To", "t";
    CallId = "Call-ID", "i";
    CSeq = "CSeq";
    Contact = "Contact", "m";
    MaxForwards = "Max-Forwards";
    Route = "Route";
    RecordRoute = "Record-Route";
    ContentLength = "Content-Length", "l";
    ContentType = "Content-Type", "c";
    ContentDisposition = "Content-Disposition";
    Expires = "Expires";
    MinExpires = "Min-Expires";
    Accept = "Accept";
    Allow = "Allow";
    Supported = "Supported", "k";
    Unsupported = "Unsupported";
    Require = "Require";
    ProxyRequire = "Proxy-Require";
    Reason = "Reason";
    RetryAfter = "Retry-After";
    Date = "Date";
    Path = "Path";
    Server = "Server";
    UserAgent = "User-Agent";
    Warning = "Warning";
    WwwAuthenticate = "WWW-Authenticate";
    ProxyAuthenticate = "Proxy-Authenticate";
    Authorization = "Authorization";
    ProxyAuthorization = "Proxy-Authorization";
    InfoPackage = "Info-Package";
    RecvInfo = "Recv-Info";
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Name::Other(_), _) | (_, Name::Other(_)) => {
                self.as_str().eq_ignore_ascii_case(other.as_str())
            }
            // Of those that are known the kind tells, which is asked of every line of a message.
            _ => discriminant(self) == discriminant(other),
        }
    }
}

impl Eq for Name {}

/// The header fields of one message, in order.
///
/// Lines that came from the network stay slices of what was received: a field that nobody edits
/// is printed exactly as it came, whatever its spelling, spacing and folding.
///
/// A copy shares the lines until one of the two is edited: messages are kept far more often than
/// changed.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    received: Arc<str>,
    lines: Arc<Vec<Line>>,
}

#[derive(Clone, Debug)]
struct Line {
    name: Name,
    text: Text,
}

#[derive(Clone, Debug)]
enum Text {
    /// Name and value as received, and where in it the value begins.
    Received { line: Range<usize>, value: usize },
    /// A value of ours.
    Own(String),
}

/// What is wrong with a block of header lines, and which line it is, counted from the start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) line: usize,
    pub(crate) problem: &'static str,
}

impl Headers {
    /// Reads the lines between the start line and the empty line. All good lines are returned
    /// beside the first fault, so that a bad message can still be answered.
    pub(crate) fn parse(head: &str, limit: usize) -> (Self, Option<BadLine>) {
        let received: Arc<str> = Arc::from(head);
        let mut lines: Vec<Line> = Vec::with_capacity(16);
        let mut fault = None;
        // It is printed in any case, so it counts in any case.
        let mut has_length = false;
        let mut at = 0;
        let mut number = 1;
        while at < head.len() {
            number += 1;
            let start = at;
            // A line goes on where the next one begins with white space (section 7.3.1).
            let end = loop {
                let end = scan::line_end(&head[at..]).map_or(head.len(), |found| at + found);
                at = (end + 2).min(head.len());
                if !head[at..].starts_with([' ', '\t']) || at >= head.len() {
                    break end;
                }
            };
            let mut bad = |problem| {
                fault.get_or_insert(BadLine {
                    line: number,
                    problem,
                });
            };
            let Some(colon) = head[start..end].find(':') else {
                bad("header field without a colon");
                continue;
            };
            let name = head[start..start + colon].trim_end_matches([' ', '\t']);
            if !scan::is_token(name) {
                bad("malformed header field name");
                continue;
            }
            let name = Name::parse(name);
            has_length |= name == Name::ContentLength;
            if lines.len() + usize::from(!has_length) >= limit {
                bad("too many header fields");
                break;
            }
            lines.push(Line {
                name,
                text: Text::Received {
                    line: start..end,
                    value: start + colon + 1,
                },
            });
        }
        let lines = Arc::new(lines);
        (Headers { received, lines }, fault)
    }

    fn edit(&mut self) -> &mut Vec<Line> {
        Arc::make_mut(&mut self.lines)
    }

    fn value<'a>(&'a self, line: &'a Line) -> &'a str {
        match &line.text {
            Text::Received { line, value } => self.received[*value..line.end].trim(),
            Text::Own(value) => value,
        }
    }

    /// The value of the first line of this name.
    pub fn get(&self, name: Name) -> Option<&str> {
        self.all(name).next()
    }

    /// The value of every line of this name.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .filter(move |line| line.name == name)
            .map(|line| self.value(line))
    }

    /// Every value of this name, lines that hold a comma-separated list taken apart (section
    /// 7.3.1). Not for headers whose values hold bare commas, such as Date.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.all(name)
            .flat_map(|line| scan::split(line, b','))
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// How many lines have this name.
    pub fn count(&self, name: Name) -> usize {
        self.all(name).count()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: Name, value: &str) {
        self.edit().push(Line::own(name, value));
    }

    /// Adds a line at the front, before others of its name.
    pub fn push_front(&mut self, name: Name, value: &str) {
        self.edit().insert(0, Line::own(name, value));
    }

    /// Replaces the first line of this name in its place and removes the others; adds one where
    /// there is none.
    pub fn set(&mut self, name: Name, value: &str) {
        match self.lines.iter().position(|line| line.name == name) {
            Some(first) => {
                let mut at = 0;
                let lines = self.edit();
                lines.retain(|line| {
                    at += 1;
                    at - 1 <= first || line.name != name
                });
                lines[first] = Line::own(name, value);
            }
            None => self.push(name, value),
        }
    }

    /// Removes every line of this name.
    pub fn remove(&mut self, name: Name) {
        self.edit().retain(|line| line.name != name);
    }

    /// Takes the first value of this name out, leaving the rest of its line.
    pub fn pop_first_value(&mut self, name: Name) -> Option<String> {
        let first = self.lines.iter().position(|line| line.name == name)?;
        let line = self.value(&self.lines[first]);
        let (value, rest) = match scan::find(line, b',') {
            Some(comma) => (&line[..comma], line[comma + 1..].trim()),
            None => (line, ""),
        };
        let value = value.trim().to_owned();
        let rest = rest.to_owned();
        if rest.is_empty() {
            self.edit().remove(first);
        } else {
            self.edit()[first].text = Text::Own(rest);
        }
        Some(value)
    }

    /// Replaces the first value of this name, leaving the rest of its line.
    pub fn replace_first_value(&mut self, name: Name, value: &str) {
        let Some(first) = self.lines.iter().position(|line| line.name == name) else {
            return;
        };
        let line = self.value(&self.lines[first]);
        let text = match scan::find(line, b',') {
            Some(comma) => format!("{value}{}", &line[comma..]),
            None => value.to_owned(),
        };
        self.edit()[first].text = Text::Own(text);
    }

    /// The text of all lines with their ends, piece by piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flat_map(|line| match &line.text {
            Text::Received { line, .. } => [&self.received[line.clone()], "", "", "\r\n"],
            Text::Own(value) => [line.name.as_str(), ": ", value, "\r\n"],
        })
    }

    /// Copies every line of this name from another message, as it stands there.
    pub(crate) fn copy(&mut self, name: Name, from: &Headers) {
        for line in from.lines.iter().filter(|line| line.name == name) {
            let text = Text::Own(from.value(line).to_owned());
            self.edit().push(Line {
                name: line.name.clone(),
                text,
            });
        }
    }
}

impl Line {
    fn own(name: Name, value: &str) -> Self {
        // A value of ours never carries a line end into the message: it would start a new field.
        let value = if value.contains(['\r', '\n']) {
            value.replace(['\r', '\n'], " ")
        } else {
            value.to_owned()
        };
        Line {
            name,
            text: Text::Own(value),
        }
    }
}

impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().try_for_each(|piece| f.write_str(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> Headers {
        let (headers, fault) = Headers::parse(text, 64);
        assert_eq!(fault, None);
        headers
    }

    #[test]
    fn untouched_lines_print_as_they_came() {
        let text =
            "v:  SIP/2.0/UDP a;branch=1 ,\r\n  SIP/2.0/UDP b\r\nX-odd :\tx\r\nTO: <sip:a@b>\r\n";
        let mut headers = headers(text);
        assert_eq!(headers.to_string(), text);
        assert_eq!(headers.values(Name::Via).count(), 2);
        headers.push_front(Name::Via, "SIP/2.0/UDP c");
        assert_eq!(headers.to_string(), format!("Via: SIP/2.0/UDP c\r\n{text}"));
    }

    #[test]
    fn the_first_of_a_list_can_be_taken_and_replaced() {
        let mut headers = headers("Route: <sip:a,b@h>, \"x,y\" <sip:c>\r\nRoute: <sip:d>\r\n");
        headers.replace_first_value(Name::Route, "<sip:e>");
        assert_eq!(headers.pop_first_value(Name::Route).unwrap(), "<sip:e>");
        assert_eq!(
            headers.pop_first_value(Name::Route).unwrap(),
            "\"x,y\" <sip:c>"
        );
        assert_eq!(headers.pop_first_value(Name::Route).unwrap(), "<sip:d>");
        assert_eq!(headers.pop_first_value(Name::Route), None);
    }

    #[test]
    fn set_leaves_one_line_in_its_place() {
        let mut headers = headers("A: 1\r\nExpires: 1\r\nB: 2\r\nexpires: 3\r\n");
        headers.set(Name::Expires, "60");
        assert_eq!(headers.to_string(), "A: 1\r\nExpires: 60\r\nB: 2\r\n");
    }

    #[test]
    fn a_value_of_ours_cannot_start_a_new_field() {
        let mut headers = Headers::default();
        headers.push(Name::Reason, "x\r\nEvil: 1");
        assert_eq!(headers.to_string(), "Reason: x  Evil: 1\r\n");
    }

    #[test]
    fn faults_name_their_line_and_keep_the_good_ones() {
        let (headers, fault) = Headers::parse("A: 1\r\nnonsense\r\nB: 2\r\n", 64);
        assert_eq!(fault.unwrap().line, 3);
        assert_eq!(headers.get(Name::Other("b".into())), Some("2"));
    }
}
