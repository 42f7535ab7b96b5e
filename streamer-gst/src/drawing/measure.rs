//! How much room text takes. All of it is set in one fixed-width font, so that no font need be
//! asked.

use super::{Caps, Node};

/// Width of a letter in units of its size, for the widest of the usual fixed-width fonts.
const LETTER: f64 = 0.61;
/// Size of factories.
pub(super) const TITLE: f64 = 14.0;
/// Size of everything else.
pub(super) const SMALL: f64 = 11.0;
/// From line to line of small text.
pub(super) const LINE: f64 = 15.0;
/// Height of factory and name.
pub(super) const HEAD: f64 = 42.0;
/// Between a box and the text in it.
pub(super) const PADDING: f64 = 12.0;
/// Letters of a property that are shown.
const LONGEST: usize = 38;

/// Width of a text.
pub(super) fn width(text: &str, size: f64) -> f64 {
    // What is not ASCII may well be twice as wide.
    let letters: usize = text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
    letters as f64 * size * LETTER
}

/// A text no longer than there is room for; the end is what can be missed.
pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let kept: String = text.chars().take(LONGEST - 1).collect();
    format!("{}…", kept.trim_end())
}

/// The lines of an element's properties. Caps are long, and break behind commas.
pub(super) fn property_lines(node: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in &node.properties {
        if name != "caps" {
            lines.push(shortened(&format!("{name}={value}")));
            continue;
        }
        let mut line = String::new();
        for part in fields(value) {
            if !line.is_empty() && line.len() + part.len() > LONGEST - 8 {
                lines.push(shortened(line.trim()));
                line.clear();
            }
            line.push_str(part);
        }
        lines.push(shortened(line.trim()));
    }
    lines
}

/// Caps cut behind the commas that are not in brackets.
fn fields(caps: &str) -> Vec<&str> {
    let (mut fields, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, c) in caps.char_indices() {
        match c {
            '[' | '{' | '(' | '<' => depth += 1,
            ']' | '}' | ')' | '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                fields.push(&caps[start..=at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(&caps[start..]);
    fields
}

/// Width and height of an element without anything inside, or of a bin's heading.
pub(super) fn box_of(node: &Node) -> (f64, f64) {
    let lines = property_lines(node);
    let widest = lines
        .iter()
        .map(|line| width(line, SMALL))
        .chain([width(&node.factory, TITLE), width(&node.name, SMALL)])
        .fold(70.0, f64::max);
    let properties = match lines.len() {
        0 => 0.0,
        count => count as f64 * LINE + 8.0,
    };
    (widest + 2.0 * PADDING, HEAD + properties)
}

/// Width of the format on a link.
pub(super) fn caps_width(caps: &Caps) -> f64 {
    let lines = caps.lines.iter().map(|line| width(line, SMALL));
    lines.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_caps_are_broken() {
        let node = Node {
            factory: "capsfilter".to_owned(),
            properties: vec![
                ("location".to_owned(), "x".repeat(100)),
                (
                    "caps".to_owned(),
                    "video/x-raw,format=I420,width=640,height=[2,1280],framerate=30/1".to_owned(),
                ),
            ],
            ..Node::default()
        };
        let lines = property_lines(&node);
        assert!(lines.iter().all(|line| line.chars().count() <= LONGEST));
        assert!(lines[0].ends_with('…'));
        assert_eq!(lines[1], "video/x-raw,format=I420,");
        assert_eq!(lines[2], "width=640,height=[2,1280],");
        assert_eq!(lines.last().unwrap(), "framerate=30/1");
        let (width, height) = box_of(&node);
        assert!(width > 200.0 && height > HEAD + 3.0 * LINE);
    }
}
