//! What is wrong with words that gst-launch can do nothing with: signs and habits of other languages.

use super::Graph;
use super::token::is_media_type;
use crate::description::text::Texts;
use crate::description::word::Word;

/// What people write for a `!`.
pub(super) const LINKS: [&str; 6] = ["|", ">", "->", "=>", "→", "！"];
/// The end of what is told of those.
pub(super) const NO_LINK: &str = "links nothing";

/// What is wrong with a word that gst-launch can do nothing with, and what to do.
pub(super) fn bad(texts: &Texts, graph: &Graph, word: &Word) -> (String, String) {
    let text = word.text.as_str();
    let bare = text.trim_matches(['\'', '"']);
    let plain = text
        .replace(['–', '—', '−', '‐', '‑'], "-")
        .replace('！', "!");
    let of_word = |what: &str, help: &str| (format!("{text} {what}"), help.to_owned());
    let whole = |message: &str, help: &str| (message.to_owned(), help.to_owned());
    if bare.len() < text.len() && is_media_type(bare) {
        whole(
            "GStreamer takes no caps in quotes, and these reach it",
            &format!("leave one pair of quotes away: '{bare}'"),
        )
    } else if LINKS.contains(&text) {
        of_word(NO_LINK, "write ! between elements")
    } else if text.trim().is_empty() {
        whole(
            "this is a word without text",
            "take it out, or the blank behind a \\ at the end of the line",
        )
    } else if text == "\\" {
        of_word(
            "is one \\ too many",
            "write one, or none: lines join without it",
        )
    } else if text == "$" {
        of_word(
            "is what a shell shows before a command",
            "begin with the first element",
        )
    } else if matches!(text, "{" | "}" | "[" | "]") {
        of_word(
            "means nothing to gst-launch",
            "take it out; a bin stands between '(' and ')'",
        )
    } else if plain.starts_with('-') {
        let help = match plain.trim_start_matches('-') {
            property if property.contains('=') => format!("write {property}"),
            "preset" => "write speed-preset=VALUE for x264enc, or leave it out".to_owned(),
            name if name.len() > 2 => {
                format!("write {name}=VALUE if it is a property, or leave it out")
            }
            _ => "leave it out; a property is written name=value".to_owned(),
        };
        of_word("looks like an option of gst-launch", &help)
    } else if plain != text {
        of_word(
            "holds a sign that only looks like another",
            &format!("type {plain}"),
        )
    } else if text.contains(' ') {
        whole(
            "these quotes make several words one",
            "leave them away, or put them around one value only",
        )
    } else if let Some(quoted) = graph.in_quotes(texts, word.span) {
        let message = format!("a blank ends the value before {text}");
        (message, format!("write {quoted}"))
    } else if let Some(name) = text.strip_suffix([',', ';']).filter(|n| !n.is_empty()) {
        (
            format!("something follows {name} that does not belong there"),
            format!("write {name}"),
        )
    } else {
        (
            format!("gst-launch can do nothing with \"{text}\""),
            "here stands an element, name=value, !, caps or name.".to_owned(),
        )
    }
}
