//! Error messages of GStreamer's, made fit for people: they name what they are about.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_is_missing() {
        let place = "gstx.c(1): f (): /GstPipeline:pipeline0/GstX:x0:\n";
        let of = |text: &str, details: &str| explained(text, &format!("{place}{details}"));
        assert_eq!(
            of("Resource not found.", "No such file \"/home/me/film.webm\""),
            "Resource not found. (No such file \"/home/me/film.webm\")"
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
            "Cannot identify device '/dev/video9'."
        );
    }
}
