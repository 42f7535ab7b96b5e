//! Where operators find what the ladder holds.
//!
//! | Path | What |
//! |---|---|
//! | `/calls` | the calls, the latest first |
//! | `/calls/CALL-ID` | one with its messages, as JSON |
//! | `/calls/CALL-ID.txt` | the same as a ladder |
//! | `/calls/CALL-ID.pcap`, `/calls/CALL-ID.pcapng` | a capture of every datagram |
//!
//! A Call-ID may itself end in `.txt`: the ending is taken off where a call of the rest is
//! known, and `.json` after a whole Call-ID is always understood.

use admin::Document;
use serde_json::Value;

use super::call::Call;
use super::pcap::{Flows, Format};
use super::{Ladder, json, text};

/// Shows a call in one way.
type Show = fn(&Call) -> Document;

/// What a call can be shown as, by the ending of the path.
const ENDINGS: [(&str, Show); 4] = [
    (".json", as_json),
    (".txt", as_text),
    (".pcap", |call| as_capture(call, Format::Pcap)),
    (".pcapng", |call| as_capture(call, Format::PcapNg)),
];

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

fn as_capture(call: &Call, format: Format) -> Document {
    let (mut body, mut flows) = (format.begin(), Flows::default());
    for datagram in call.datagrams() {
        // What was received or sent fits into a packet.
        format.append(&mut body, &datagram, &mut flows);
    }
    let media_type = match format {
        Format::Pcap => "application/vnd.tcpdump.pcap",
        Format::PcapNg => "application/x-pcapng",
    };
    Document { media_type, body }
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

    #[test]
    fn a_capture_has_every_datagram_at_its_time() {
        let mut traffic = Traffic::new();
        let ladder = Ladder::new(10);
        let invite = traffic.message(Way::In, "INVITE", "a");
        let trying = traffic.message(Way::Out, "100 INVITE", "a");
        let mut again = invite.clone();
        again.time = trying.time + std::time::Duration::from_millis(500);
        for (ending, format) in [("pcap", Format::Pcap), ("pcapng", Format::PcapNg)] {
            let mut expected = format.begin();
            for datagram in [&invite, &trying, &again] {
                ladder.record(datagram);
                assert!(format.append(&mut expected, datagram, &mut Flows::default()));
            }
            let capture = ladder.document(&format!("/calls/a.{ending}")).unwrap();
            assert_eq!(capture.body, expected, "{ending}");
            ladder.ring().calls.clear();
            ladder.ring().places.clear();
        }
    }
}
