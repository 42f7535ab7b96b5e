//! Prometheus text exposition (format 0.0.4) of a state's numeric leaves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Content type of the text this module writes.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes each numeric leaf of `state` as the gauge `rusticast_<role>_<path>`.
///
/// Elements of an array become samples of one metric, told apart by a label: `name` when the
/// element has one, else its index. The format wants all samples of a metric together, so they
/// are gathered by name first.
pub(crate) fn exposition(state: &Value) -> String {
    let role = state["role"].as_str().unwrap_or("unknown");
    let mut samples = BTreeMap::new();
    gather(&metric_name(role), &[], state, &mut samples);

    let mut text = String::new();
    for (name, values) in samples {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# TYPE {name} gauge");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

type Samples<'a> = BTreeMap<String, Vec<(String, &'a Number)>>;

fn gather<'a>(
    path: &str,
    labels: &[(String, String)],
    value: &'a Value,
    samples: &mut Samples<'a>,
) {
    match value {
        Value::Number(number) => samples
            .entry(format!("rusticast_{path}"))
            .or_default()
            .push((label_set(labels), number)),
        Value::Object(fields) => {
            for (key, field) in fields {
                gather(
                    &format!("{path}_{}", metric_name(key)),
                    labels,
                    field,
                    samples,
                );
            }
        }
        Value::Array(elements) => {
            // Nested arrays need labels of different names, or the sample would be ambiguous.
            let label = if labels.is_empty() {
                "name".to_owned()
            } else {
                format!("name{}", labels.len() + 1)
            };
            for (index, element) in elements.iter().enumerate() {
                let shown = element["name"]
                    .as_str()
                    .map_or_else(|| index.to_string(), str::to_owned);
                let mut labels = labels.to_vec();
                labels.push((label.clone(), shown));
                gather(path, &labels, element, samples);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// `text` with everything a metric name may not hold made an underscore.
fn metric_name(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect()
}

fn label_set(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let shown: Vec<_> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
        .collect();
    format!("{{{}}}", shown.join(","))
}

/// The three escapes a label value knows.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_number_is_a_gauge_named_by_its_path() {
        let text = exposition(&json!({
            "role": "streamer", "viewers": 2, "encoders": {"vp8enc": 1}, "load": 0.5,
        }));
        assert_eq!(
            text,
            "# TYPE rusticast_streamer_encoders_vp8enc gauge\n\
             rusticast_streamer_encoders_vp8enc 1\n\
             # TYPE rusticast_streamer_load gauge\n\
             rusticast_streamer_load 0.5\n\
             # TYPE rusticast_streamer_viewers gauge\n\
             rusticast_streamer_viewers 2\n"
        );
    }

    #[test]
    fn array_elements_share_a_metric_and_differ_by_label() {
        let text = exposition(&json!({
            "role": "streamer",
            "streams": [{"name": "test", "viewers": 1}, {"name": "camera", "viewers": 0}],
            "loads": [3, 4],
        }));
        assert_eq!(
            text,
            "# TYPE rusticast_streamer_loads gauge\n\
             rusticast_streamer_loads{name=\"0\"} 3\n\
             rusticast_streamer_loads{name=\"1\"} 4\n\
             # TYPE rusticast_streamer_streams_viewers gauge\n\
             rusticast_streamer_streams_viewers{name=\"test\"} 1\n\
             rusticast_streamer_streams_viewers{name=\"camera\"} 0\n"
        );
    }

    #[test]
    fn nested_arrays_get_labels_of_their_own() {
        let text = exposition(&json!({
            "role": "x", "streams": [{"name": "test", "rungs": [{"name": "low", "viewers": 1}]}],
        }));
        assert!(
            text.ends_with("rusticast_x_streams_rungs_viewers{name=\"test\",name2=\"low\"} 1\n")
        );
    }

    #[test]
    fn names_and_labels_cannot_break_the_format() {
        let text = exposition(&json!({
            "role": "fr ont\n", "a-b": 1, "list": [{"name": "q\"\\\nz", "n": 1}],
        }));
        assert_eq!(
            text,
            "# TYPE rusticast_fr_ont__a_b gauge\n\
             rusticast_fr_ont__a_b 1\n\
             # TYPE rusticast_fr_ont__list_n gauge\n\
             rusticast_fr_ont__list_n{name=\"q\\\"\\\\\\nz\"} 1\n"
        );
    }

    #[test]
    fn a_state_without_role_or_numbers_is_no_error() {
        assert_eq!(exposition(&json!({"ready": true, "text": "a"})), "");
        assert_eq!(exposition(&json!(null)), "");
    }
}
