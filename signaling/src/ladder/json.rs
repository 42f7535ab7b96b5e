//! Calls and their messages as JSON.

use std::time::SystemTime;

use serde_json::{Value, json};
use sip::driver::Way;

use super::call::{Call, Head, Message, State};
use super::glance::{Glance, Lines, Start, body, value};
use super::redact;
use crate::date::timestamp;

/// A list of calls.
pub(crate) fn list(heads: &[Head]) -> Value {
    heads.iter().map(head).collect()
}

/// A call with its messages.
pub(crate) fn call(call: &Call) -> Value {
    let mut shown = head(&call.head);
    shown["local"] = json!(call.local.to_string());
    shown["left_out"] = json!(call.left_out);
    shown["ladder"] = call.messages.iter().map(message).collect();
    shown
}

fn head(head: &Head) -> Value {
    let status = match head.state {
        State::Refused(status) => Some(status),
        _ => None,
    };
    json!({
        "call_id": &*head.call_id,
        "stream": head.stream.as_deref(),
        "state": name(head.state),
        "status": status,
        "begin": timestamp(head.begin),
        "last": timestamp(head.last),
        "end": head.end.map(timestamp),
        "messages": head.messages,
        "retransmissions": head.repeats,
    })
}

/// The word for a state.
pub(crate) fn name(state: State) -> &'static str {
    match state {
        State::Partial => "partial",
        State::Calling => "calling",
        State::Accepted => "accepted",
        State::Established => "established",
        State::Cancelled => "cancelled",
        State::Refused(_) => "refused",
        State::Ended => "ended",
    }
}

fn message(message: &Message) -> Value {
    let payload = &message.payload;
    let times = |times: &[SystemTime]| -> Value {
        let times = times.iter();
        times.map(|time| timestamp(*time)).collect()
    };
    let mut shown = json!({
        "time": timestamp(message.time),
        "direction": match message.way {
            Way::In => "in",
            Way::Out => "out",
        },
        "transport": message.transport.as_str(),
        "peer": message.peer.to_string(),
        "bytes": payload.len(),
        "retransmissions": message.repeats,
        "retransmitted": times(&message.repeated),
        "head": redact::head(payload),
    });
    if let Some(glance) = Glance::at(payload) {
        match glance.start {
            Start::Request { method, uri } => {
                shown["method"] = json!(method);
                shown["uri"] = json!(uri);
            }
            Start::Response { status, reason } => {
                shown["status"] = json!(status);
                shown["reason"] = json!(reason);
            }
        }
        let cseq = glance.cseq;
        shown["cseq"] = json!(cseq.map(|cseq| format!("{} {}", cseq.number, cseq.method)));
    }
    let masked = redact::masked(payload);
    let text = String::from_utf8_lossy(body(&masked));
    if is_sdp(payload) {
        shown["sdp"] = json!(text);
    } else if !text.is_empty() {
        shown["body"] = json!(text);
    }
    shown
}

/// True when the body is a session description, by its type.
pub(crate) fn is_sdp(payload: &[u8]) -> bool {
    let kind =
        Lines::of(payload).find_map(|line| value(&payload[line], "Content-Type", Some(b'c')));
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/sdp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Ladder;
    use crate::ladder::tests::{Traffic, invite};

    #[test]
    fn a_call_is_shown_with_its_messages() {
        let mut traffic = Traffic::new();
        let ladder = Ladder::new(10);
        let offer = invite("a b/ä@host", 0);
        assert!(Glance::at(&offer).is_none(), "a Call-ID has no spaces");
        let offer = invite("a/ä@host", 10);
        for datagram in [
            traffic.datagram(Way::In, &offer),
            traffic.datagram(Way::In, &offer),
            traffic.message(Way::Out, "486 INVITE", "a/ä@host"),
        ] {
            ladder.record(&datagram);
        }
        let shown = list(&ladder.heads());
        let head = json!({
            "call_id": "a/ä@host", "stream": "test", "state": "refused", "status": 486,
            "begin": "2000-02-29T00:00:00.124456Z", "last": "2000-02-29T00:00:00.126456Z",
            "end": "2000-02-29T00:00:00.126456Z", "messages": 2, "retransmissions": 1,
        });
        assert_eq!(shown, json!([head]));

        let shown = call(&ladder.call("a/ä@host").unwrap());
        assert_eq!(shown["state"], "refused");
        assert_eq!(
            (&shown["local"], &shown["left_out"]),
            (&json!("127.0.0.1:5060"), &json!(0))
        );
        let ladder = shown["ladder"].as_array().unwrap();
        let text = String::from_utf8(offer.to_vec()).unwrap();
        let (head, sdp) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            ladder[0],
            json!({
                "time": "2000-02-29T00:00:00.124456Z", "direction": "in", "transport": "UDP",
                "peer": "127.0.0.1:40000",
                "method": "INVITE", "uri": "sip:test@127.0.0.1", "cseq": "1 INVITE",
                "bytes": offer.len(), "retransmissions": 1,
                "retransmitted": ["2000-02-29T00:00:00.125456Z"],
                "head": format!("{head}\r\n"), "sdp": sdp,
            })
        );
        assert_eq!(
            (&ladder[1]["direction"], &ladder[1]["status"]),
            (&json!("out"), &json!(486))
        );
        assert_eq!(
            (&ladder[1]["reason"], &ladder[1]["sdp"]),
            (&json!("Reason"), &Value::Null)
        );
    }

    #[test]
    fn only_what_says_so_is_sdp() {
        for (field, sdp) in [
            ("Content-Type: application/sdp", true),
            ("c : Application/SDP;charset=utf-8", true),
            ("Content-Type: application/sdpfrag", false),
            ("X: application/sdp", false),
        ] {
            assert_eq!(
                is_sdp(format!("BYE a SIP/2.0\r\n{field}\r\n\r\nv=0").as_bytes()),
                sdp,
                "{field}"
            );
        }
    }
}
