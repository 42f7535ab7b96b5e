//! Where operators find what the ladder holds.
//!
//! | Path | What |
//! |---|---|
//! | `/calls` | the calls, the latest first |
//! | `/calls/CALL-ID` | one with its messages, as JSON |
//! | `/calls/CALL-ID.txt` | the same as a ladder |
//!
//! A Call-ID may itself end in `.txt`: the ending is taken off where a call of the rest is
//! known, and `.json` after a whole Call-ID is always understood.

use admin::Document;
use serde_json::Value;

use super::call::Call;
use super::{Ladder, json, text};

/// Shows a call in one way.
type Show = fn(&Call) -> Document;

/// What a call can be shown as, by the ending of the path.
const ENDINGS: [(&str, Show); 2] = [(".json", as_json), (".txt", as_text)];

impl Ladder {
    /// What there is at this path.
    pub fn document(&self, path: &str) -> Option<Document> {
        if path == "/calls" {
            return Some(json_document(&json::list(&self.heads())));
        }
        let name = path.strip_prefix("/calls/")?;
        let shown = ENDINGS.iter().find_map(|(ending, show)| {
            let call = self.call(name.strip_suffix(ending)?)?;
            Some(show(&call))
        });
        shown.or_else(|| Some(as_json(&self.call(name)?)))
    }
}

fn as_json(call: &Call) -> Document {
    json_document(&json::call(call))
}

fn as_text(call: &Call) -> Document {
    Document {
        media_type: "text/plain; charset=utf-8",
        body: text::ladder(call).into_bytes(),
    }
}

fn json_document(value: &Value) -> Document {
    Document {
        media_type: "application/json",
        body: value.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use sip::driver::Way;

    use super::*;
    use crate::ladder::tests::Traffic;

    fn shown(ladder: &Ladder, path: &str) -> Option<Value> {
        let document = ladder.document(path)?;
        Some(serde_json::from_slice(&document.body).unwrap())
    }

    #[test]
    fn every_call_has_a_path_whatever_its_call_id() {
        let mut traffic = Traffic::new();
        let ladder = Ladder::new(10);
        for call_id in ["a", "a.json", "b.txt", "c/d%20e", "."] {
            ladder.record(&traffic.message(Way::In, "INVITE", call_id));
        }
        for (path, call_id) in [
            ("/calls/a", Some("a")),
            ("/calls/a.json", Some("a")),
            ("/calls/a.json.json", Some("a.json")),
            ("/calls/b.txt", Some("b.txt")),
            ("/calls/b.txt.json", Some("b.txt")),
            ("/calls/c/d%20e", Some("c/d%20e")),
            ("/calls/.", Some(".")),
            ("/calls/b", None),
            ("/calls/", None),
            ("/call", None),
        ] {
            let shown = shown(&ladder, path);
            let found = shown.as_ref().and_then(|shown| shown["call_id"].as_str());
            assert_eq!(found, call_id, "{path}");
        }
        let text = ladder.document("/calls/b.txt.txt").unwrap();
        assert!(text.body.starts_with(b"Call-ID  b.txt\n"));
        assert_eq!(
            shown(&ladder, "/calls").unwrap().as_array().unwrap().len(),
            5
        );
    }
}
