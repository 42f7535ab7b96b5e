//! Error messages of GStreamer's, made fit for people: one line, naming what it is about, and no
//! directories.

/// Longest error line in bytes; it travels in SIP messages.
const MAX_ERROR: usize = 240;

/// GStreamer's messages for what can only be the description's fault say nothing to its writer.
pub(super) fn explained(text: &str, details: &str) -> String {
    if details.contains("not-negotiated") {
        return "two elements do not fit together (not-negotiated); a tee named video or audio \
                must carry VP8, VP9, H.264 or Opus"
            .to_owned();
    }
    // "Missing decoder: H.265 (video/x-h265, …)" stands only in the details.
    if let Some(missing) = details.lines().find_map(|line| {
        let what = &line[line.find("Missing ")?..];
        Some(what.split(" (").next().unwrap_or(what))
    }) {
        return format!("{text} ({missing})");
    }
    // "Resource not found." does not say which one; the details do.
    match details.lines().last() {
        Some(named) if named.contains('"') && !text.contains(['"', '\'']) => {
            format!("{text} ({named})")
        }
        _ => text.to_owned(),
    }
}

/// The texts between double quotes in a message of GStreamer's.
pub(super) fn quoted(message: &str) -> Vec<&str> {
    message.split('"').skip(1).step_by(2).collect()
}

/// What may be shown to anybody: one line of bounded length, directories taken out of paths.
pub(super) fn one_line(message: &str) -> String {
    let words: Vec<String> = message.split_whitespace().map(without_directory).collect();
    let mut line = words.join(" ");
    if line.len() > MAX_ERROR {
        let mut end = MAX_ERROR;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
    }
    line
}

/// `'/home/me/film.webm'` becomes `'film.webm'`; media types and addresses stay.
fn without_directory(word: &str) -> String {
    let (key, value) = word.split_at(word.find('=').map_or(0, |equals| equals + 1));
    let text = value.trim_start_matches(['\'', '"', '(', '<']);
    let opening = &value[..value.len() - text.len()];
    let path = text.strip_prefix("file://").unwrap_or(text);
    match path.rsplit_once('/') {
        Some((_, name)) if path.starts_with(['/', '.']) => format!("{key}{opening}{name}"),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_is_missing() {
        let place = "gstx.c(1): f (): /GstPipeline:pipeline0/GstX:x0:\n";
        let of =
            |text: &str, details: &str| one_line(&explained(text, &format!("{place}{details}")));
        assert_eq!(
            of("Resource not found.", "No such file \"/home/me/film.webm\""),
            "Resource not found. (No such file \"film.webm\")"
        );
        assert_eq!(
            of(
                "Your GStreamer installation is missing a plug-in.",
                "no suitable plugins found:\nMissing decoder: AMR-WB (audio/AMR-WB, rate=16000)\n",
            ),
            "Your GStreamer installation is missing a plug-in. (Missing decoder: AMR-WB)"
        );
        assert_eq!(
            of("Cannot identify device '/dev/video9'.", "errno 2 \"x\""),
            "Cannot identify device 'video9'."
        );
    }

    #[test]
    fn error_lines_show_no_directories() {
        assert_eq!(
            one_line("Could not open resource '/home/me/secret/film.webm' for\nreading."),
            "Could not open resource 'film.webm' for reading."
        );
        assert_eq!(
            one_line("no location=/home/me/a.webm, file:///home/me/b.webm; see https://a.b/c"),
            "no location=a.webm, b.webm; see https://a.b/c"
        );
        assert_eq!(
            one_line("video/x-raw and VP8/VP9"),
            "video/x-raw and VP8/VP9"
        );
        assert_eq!(
            one_line("pipelines/test.launch:3: no"),
            "pipelines/test.launch:3: no"
        );
        assert_eq!(one_line(&"é".repeat(500)).len(), MAX_ERROR);
    }
}
