//! What is told when nothing comes. No element reports that, so the pipeline is asked where its
//! data went.

use std::time::Duration;

use super::{FIRST_FRAME_LIMIT, STALL_CHECK, STALL_CHECKS};
use crate::description::Description;
use crate::source::{Failure, Source};

/// A pipeline had no first frame in its time.
pub(super) fn never_began(description: &Description, source: Option<&dyn Source>) -> Failure {
    let output = first_output(description);
    let limit = FIRST_FRAME_LIMIT.as_secs();
    let message = format!("no frame reached {output} in {limit} s");
    why(description, source, output, Duration::MAX, &message)
}

/// A pipeline has ended, and nobody saw anything of it.
pub(super) fn ended_early(description: &Description, source: Option<&dyn Source>) -> Failure {
    let output = first_output(description);
    let message = format!("it ended before a frame reached {output}");
    why(description, source, output, Duration::MAX, &message)
}

/// What was live is so no longer. Every source has ended then, so none of them is asked: the place
/// is where a number of frames is written, or the source itself.
pub(super) fn live_ended(description: &Description) -> Failure {
    let message = "the live source has ended";
    let graph = &description.graph;
    let ends = graph.named(first_output(description));
    let above = ends.map_or_else(Vec::new, |end| graph.above(end));
    let elements = || above.iter().map(|index| &graph.elements[*index]);
    let number = elements().find_map(|element| element.property("num-buffers"));
    let error = match (number, elements().next_back()) {
        (Some(number), _) => {
            let span = number.name.span.to(number.value.span);
            let error = description.texts.error(span, message);
            error.help("take it out: it ends the stream after that many frames")
        }
        (None, Some(source)) => {
            let error = description.texts.error(source.factory.span, message);
            error.help("is its sender still on? It is started again by and by")
        }
        (None, None) => description.error_at_output(first_output(description), message),
    };
    error.into()
}

/// Frames have come for a while, and come no more.
pub(super) fn stalled(
    description: &Description,
    source: Option<&dyn Source>,
    output: &str,
) -> Failure {
    let limit = STALL_CHECK * STALL_CHECKS;
    let message = format!("no frame has reached {output} for {} s", limit.as_secs());
    // What still runs was heard just now, and what stands has been silent for all that time.
    why(description, source, output, limit / 2, &message)
}

fn first_output(description: &Description) -> &str {
    description.outputs().first().copied().unwrap_or_default()
}

fn why(
    description: &Description,
    source: Option<&dyn Source>,
    output: &str,
    within: Duration,
    message: &str,
) -> Failure {
    match source {
        Some(source) => source.silence(output, within, message),
        // The call that starts it has not come back yet.
        None => {
            let message = format!("{message}: its pipeline is still being started");
            let error = description.error_at_output(output, &message);
            let help = "is there what it reads from, and does that answer?";
            error.help(help).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn ended(text: &str) -> String {
        let text = format!("{text} ! vp8enc ! tee name=video allow-not-linked=true\n");
        let (description, _) = Description::examine_text(Path::new("a.launch"), &text);
        live_ended(&description).error
    }

    #[test]
    fn a_number_of_frames_is_what_ends_a_live_source() {
        assert_eq!(
            ended("videotestsrc is-live=true num-buffers=60 ! queue"),
            "a.launch:1:27: the live source has ended; \
             take it out: it ends the stream after that many frames"
        );
        assert_eq!(
            ended("rtspsrc location=x ! queue"),
            "a.launch:1:1: the live source has ended; \
             is its sender still on? It is started again by and by"
        );
    }
}
