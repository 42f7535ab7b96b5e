//! The words of a command that make its pipeline: program and options go, players become what they
//! consist of.

use std::path::Path;

/// Options of gst-launch whose value is a word of its own.
const WITH_VALUE: [&str; 8] = [
    "-X",
    "--exclude",
    "-o",
    "--output",
    "--gst-debug",
    "--gst-debug-level",
    "--gst-plugin-path",
    "--gst-plugin-load",
];
/// Its short options without one.
const SHORT: &str = "vmqtcfeTip";

/// What ends a command in a shell.
const SHELL: [&str; 9] = ["|", "||", "&", "&&", ";", ">", ">>", "2>&1", "2>"];

/// Those of the pipeline alone.
pub(super) fn of_pipeline(words: Vec<String>) -> Vec<String> {
    let words = without_options(without_program(words));
    let words = words.iter().map(|word| plain(word)).collect();
    without_players(words)
}

/// Whether a word is a program of GStreamer that runs no such line.
pub(super) fn is_other_program(word: &str) -> bool {
    let name = Path::new(word).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    name.starts_with("gst-") && name.ends_with("-1.0") && !name.starts_with("gst-launch")
}

/// Between the program with variables before it and what the shell does with its output.
fn without_program(mut words: Vec<String>) -> Vec<String> {
    let is_program = |word: &String| {
        let name = Path::new(word).file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("gst-launch")
    };
    let is_variable = |word: &String| {
        let name = word.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    };
    let first_link = words.iter().position(|word| word == "!");
    let before = &words[..first_link.unwrap_or(words.len())];
    let begin = match before.iter().position(is_program) {
        Some(program) => program + 1,
        None => words.iter().take_while(|word| is_variable(word)).count(),
    };
    let mut words = words.split_off(begin);
    let end = words.iter().position(|word| SHELL.contains(&word.as_str()));
    words.truncate(end.unwrap_or(words.len()));
    words
}

/// A word without backslashes that change nothing, as `export` writes them.
fn plain(word: &str) -> String {
    if word.contains(['"', '\'']) || word.contains("\\\\") {
        return word.to_owned();
    }
    let mut plain = word.to_owned();
    for character in [':', '%', '@', '+', '?', '&', '#', '~'] {
        plain = plain.replace(&format!("\\{character}"), &character.to_string());
    }
    plain
}

/// gst-launch takes options anywhere in the line.
fn without_options(words: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let is_value = kept.last().is_some_and(|before| before.ends_with('='));
        let option = word.strip_prefix('-').filter(|_| !is_value);
        if WITH_VALUE.contains(&word.as_str()) && !is_value {
            words.next();
        } else if !option.is_some_and(|option| {
            let short = !option.is_empty() && option.chars().all(|c| SHORT.contains(c));
            short || option.starts_with('-')
        }) {
            kept.push(word);
        }
    }
    kept
}

/// A player of an address becomes its source, with a picture and a sound that are played.
fn without_players(words: Vec<String>) -> Vec<String> {
    let named = |name: &str| words.iter().any(|word| word == &format!("name={name}"));
    let mut names = (1..).map(|number| match number {
        1 => "source".to_owned(),
        _ => format!("source_{number}"),
    });
    let mut result = Vec::new();
    let mut rest = words.as_slice();
    while let Some((word, behind)) = rest.split_first() {
        let count = behind.iter().take_while(|w| w.contains('=')).count();
        let (properties, next) = behind.split_at(count);
        let of = |name: &str| {
            let mut values = properties.iter().rev();
            values.find_map(|property| property.strip_prefix(name)?.strip_prefix('='))
        };
        match (word.as_str(), of("uri")) {
            ("playbin" | "playbin3", Some(uri)) => {
                let free = || names.find(|name| !named(name)).unwrap_or_default();
                let name = of("name").map_or_else(free, str::to_owned);
                let played = format!(
                    "name={name} {name}. ! queue ! autovideosink {name}. ! queue ! autoaudiosink"
                );
                result.extend(["uridecodebin".to_owned(), format!("uri={uri}")]);
                result.extend(played.split(' ').map(str::to_owned));
                rest = next;
            }
            _ => {
                result.push(word.clone());
                rest = behind;
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_and_options_go_wherever_they_stand() {
        for (line, wanted) in [
            ("a ! b", "a ! b"),
            ("GST_DEBUG=3 /usr/bin/gst-launch-1.0 -e a ! b", "a ! b"),
            ("sudo gst-launch-1.0 -v a ! b x=1 -e", "a ! b x=1"),
            ("gst-launch-1.0 a -v ! b --gst-debug=3 -X foo", "a ! b"),
            ("a x=-1 y= -e ! b --eos-on-shutdown -mq", "a x=-1 y= -e ! b"),
            ("a -location b", "a -location b"),
            ("a ! b -e 2>&1 | tee log", "a ! b"),
            ("a x=rtsp\\://y\\:1 z=\\\\:", "a x=rtsp://y:1 z=\\\\:"),
        ] {
            let words = line.split(' ').map(str::to_owned).collect();
            assert_eq!(of_pipeline(words).join(" "), wanted);
        }
    }

    #[test]
    fn a_player_is_its_source_with_picture_and_sound() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        assert_eq!(
            of_pipeline(words("playbin flags=3 uri=file:///a")).join(" "),
            "uridecodebin uri=file:///a name=source source. ! queue ! autovideosink \
             source. ! queue ! autoaudiosink"
        );
        assert_eq!(of_pipeline(words("playbin x=1")).join(" "), "playbin x=1");
    }
}
