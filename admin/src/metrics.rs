//! Prometheus text exposition (format 0.0.4) of a state's numeric leaves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Content type of the text this module writes.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a number of the state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// One line for whoever meets the number in a dashboard.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
}

/// How a number behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until the program ends.
    Counter,
    /// An object of numbers that go up and down, told apart by this label.
    By(&'static str),
}

/// Writes each numeric leaf of `state` as `rusticast_<role>_<path>`, in the way in which
/// `describe` describes its path.
///
/// Elements of an array become samples of one metric, told apart by a label: `name` when the
/// element has one, else its index. The format wants all samples of a metric together, so they
/// are gathered by name first.
pub(crate) fn exposition(state: &Value, describe: impl Fn(&str) -> Option<Metric>) -> String {
    let mut gathered = Gathered {
        describe,
        families: BTreeMap::new(),
    };
    let name = match state["role"].as_str() {
        Some(role) => format!("rusticast_{}", metric_name(role)),
        None => "rusticast".to_owned(),
    };
    gathered.value(&name, "", &[], state);

    let mut text = String::new();
    for (name, Family { metric, samples }) in gathered.families {
        let (help, kind) = match metric {
            Some(metric) if metric.kind == Kind::Counter => (metric.help, "counter"),
            Some(metric) => (metric.help, "gauge"),
            None => ("see /api/state", "gauge"),
        };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

struct Gathered<'a, D> {
    describe: D,
    families: BTreeMap<String, Family<'a>>,
}

/// All samples of one name.
struct Family<'a> {
    metric: Option<Metric>,
    samples: Vec<(String, &'a Number)>,
}

type Labels = [(String, String)];

impl<'a, D: Fn(&str) -> Option<Metric>> Gathered<'a, D> {
    fn value(&mut self, name: &str, path: &str, labels: &Labels, value: &'a Value) {
        let metric = (self.describe)(path);
        match value {
            Value::Number(number) => self.sample(name, labels, metric, number),
            Value::Object(fields) => match metric.map(|metric| metric.kind) {
                Some(Kind::By(label)) => {
                    for (key, field) in fields {
                        if let Value::Number(number) = field {
                            let labels = with(labels, label, key);
                            self.sample(name, &labels, metric, number);
                        }
                    }
                }
                _ => {
                    for (key, field) in fields {
                        let slash = if path.is_empty() { "" } else { "/" };
                        let path = format!("{path}{slash}{key}");
                        let name = format!("{name}_{}", metric_name(key));
                        self.value(&name, &path, labels, field);
                    }
                }
            },
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
                    self.value(name, path, &with(labels, &label, &shown), element);
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    fn sample(&mut self, name: &str, labels: &Labels, metric: Option<Metric>, number: &'a Number) {
        let total = match metric {
            Some(metric) if metric.kind == Kind::Counter => "_total",
            _ => "",
        };
        let samples = Vec::new();
        self.families
            .entry(format!("{name}{total}"))
            .or_insert(Family { metric, samples })
            .samples
            .push((label_set(labels), number));
    }
}

fn with(labels: &Labels, label: &str, value: &str) -> Vec<(String, String)> {
    let mut labels = labels.to_vec();
    labels.push((label.to_owned(), value.to_owned()));
    labels
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

    /// The text without its help, where nothing is described.
    fn plain(state: &Value) -> String {
        let text = exposition(state, |_| None);
        let lines = text.lines().filter(|line| !line.starts_with("# HELP"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn every_number_is_a_gauge_named_by_its_path() {
        let text = plain(&json!({
            "role": "streamer", "viewers": 2, "process": {"fds": 1}, "load": 0.5,
        }));
        assert_eq!(
            text,
            "# TYPE rusticast_streamer_load gauge\n\
             rusticast_streamer_load 0.5\n\
             # TYPE rusticast_streamer_process_fds gauge\n\
             rusticast_streamer_process_fds 1\n\
             # TYPE rusticast_streamer_viewers gauge\n\
             rusticast_streamer_viewers 2\n"
        );
    }

    #[test]
    fn what_is_described_has_help_its_type_and_its_label() {
        let describe = |path: &str| {
            let (help, kind) = match path {
                "malformed" => ("Datagrams.", Kind::Counter),
                "encoders" => ("Encoders.", Kind::By("factory")),
                "streams/viewers" => ("Viewers.", Kind::Gauge),
                _ => return None,
            };
            Some(Metric { help, kind })
        };
        let state = json!({
            "role": "x", "malformed": 4, "encoders": {"vp8enc": 1, "opusenc": 2},
            "streams": [{"name": "test", "viewers": 1}],
        });
        assert_eq!(
            exposition(&state, describe),
            "# HELP rusticast_x_encoders Encoders.\n\
             # TYPE rusticast_x_encoders gauge\n\
             rusticast_x_encoders{factory=\"opusenc\"} 2\n\
             rusticast_x_encoders{factory=\"vp8enc\"} 1\n\
             # HELP rusticast_x_malformed_total Datagrams.\n\
             # TYPE rusticast_x_malformed_total counter\n\
             rusticast_x_malformed_total 4\n\
             # HELP rusticast_x_streams_viewers Viewers.\n\
             # TYPE rusticast_x_streams_viewers gauge\n\
             rusticast_x_streams_viewers{name=\"test\"} 1\n"
        );
    }

    #[test]
    fn array_elements_share_a_metric_and_differ_by_label() {
        let text = plain(&json!({
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
        let text = plain(&json!({
            "role": "x", "streams": [{"name": "test", "rungs": [{"name": "low", "viewers": 1}]}],
        }));
        assert!(
            text.ends_with("rusticast_x_streams_rungs_viewers{name=\"test\",name2=\"low\"} 1\n")
        );
    }

    #[test]
    fn names_and_labels_cannot_break_the_format() {
        let text = plain(&json!({
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
        assert_eq!(plain(&json!({"ready": true, "text": "a"})), "");
        assert_eq!(plain(&json!(null)), "");
    }
}
