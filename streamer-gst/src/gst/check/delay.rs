//! Encoders of outputs that keep frames back, or send them in another order than they are shown.

use super::elements::{factory, is_a};
use super::role::decider;
use crate::description::{Description, Diagnostic};

/// What encoders call the number of B-frames.
const B_FRAMES: [&str; 3] = ["bframes", "b-frames", "max-bframes"];
/// `tune=zerolatency` of x264enc as a number.
const ZERO_LATENCY: u64 = 4;

pub(super) fn check(description: &Description) -> Vec<Diagnostic> {
    let (texts, graph) = (&description.texts, &description.graph);
    let outputs = graph.elements.iter().enumerate();
    let outputs = outputs.filter(|(_, element)| element.is_output());
    let mut diagnostics = Vec::new();
    let encoders = outputs.filter_map(|(index, _)| decider(graph, index));
    for encoder in encoders.map(|index| &graph.elements[index]) {
        let encodes = factory(encoder).is_some_and(|factory| is_a(&factory, "Encoder"));
        if !encodes {
            continue;
        }
        let name = &encoder.factory.text;
        let numbers = B_FRAMES.iter().filter_map(|name| encoder.property(name));
        let is_number = |text: &str| text.parse::<u32>().is_ok_and(|number| number > 0);
        for property in numbers.filter(|property| is_number(&property.value.text)) {
            let span = property.name.span.to(property.value.span);
            let message = format!("{name} makes B-frames, which WebRTC does not know");
            let help = format!("write {}=0", property.name.text);
            diagnostics.push(texts.warning(span, message).help(help));
        }
        let tune = encoder.property("tune").map(|tune| &tune.value);
        let waits = tune.is_none_or(|tune| !tune.unknown && waits(&tune.text));
        if name == "x264enc" && waits && encoder.presets.is_empty() {
            let message = "x264enc holds back many frames";
            let warning = texts.warning(encoder.factory.span, message);
            diagnostics.push(match tune {
                Some(tune) => warning.help(format!("write tune={}+zerolatency", tune.text)),
                None => warning.help("add tune=zerolatency"),
            });
        }
    }
    diagnostics
}

/// Whether a value of `tune`, numbers or names, leaves the flag out.
fn waits(tune: &str) -> bool {
    let number = match tune.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
        None => tune.parse(),
    };
    let mut names = tune.split('+');
    match number {
        Ok(flags) => flags & ZERO_LATENCY == 0,
        Err(_) => names.all(|name| ["stillimage", "fastdecode"].contains(&name)),
    }
}
