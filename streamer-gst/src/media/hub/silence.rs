//! What is told when nothing comes. No element reports that, so the pipeline is asked where its
//! data went.

use super::*;

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

/// What was live is so no longer.
pub(super) fn live_ended(description: &Description, source: Option<&dyn Source>) -> Failure {
    let output = first_output(description);
    let message = "the live source has ended";
    why(description, source, output, Duration::ZERO, message)
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
