//! A call as a ladder for people: a lane for each end, an arrow for each message.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use sip::driver::Way;

use super::call::{Call, Message, State};
use super::glance::{Glance, Start, printable};
use super::json::{is_sdp, name};
use crate::date::timestamp;

/// What stands on an arrow in letters, at most: reason phrases may be long.
const LABEL: usize = 32;
/// The least distance between two lanes.
const DISTANCE: usize = 24;
/// Columns of the time at the left.
const MARGIN: usize = 11;
/// The lane of this server. Who began the call is at its left, all others at its right.
const OWN_LANE: usize = 1;

/// Draws a call.
pub(crate) fn ladder(call: &Call) -> String {
    let mut text = summary(call);
    let lanes = Lanes::of(call);
    lanes.names(&mut text);
    for (index, message) in call.messages.iter().enumerate() {
        if call.gap() == Some(index) {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "\n{} messages left out\n", call.left_out);
        }
        lanes.arrow(&mut text, call.head.begin, message);
    }
    text
}

fn summary(call: &Call) -> String {
    let head = &call.head;
    let mut text = format!("Call-ID  {}\n", printable(&head.call_id));
    if let Some(stream) = &head.stream {
        let _ = writeln!(text, "Stream   {}", printable(stream));
    }
    let _ = match head.state {
        State::Refused(status) => writeln!(text, "State    refused with {status}"),
        state => writeln!(text, "State    {}", name(state)),
    };
    let _ = writeln!(text, "Begin    {}\n", timestamp(head.begin));
    text
}

/// Everybody in a call, from left to right.
struct Lanes {
    names: Vec<String>,
    distance: usize,
    peers: Vec<SocketAddr>,
}

impl Lanes {
    fn of(call: &Call) -> Self {
        let mut peers = Vec::new();
        for message in &call.messages {
            if !peers.contains(&message.peer) {
                peers.push(message.peer);
            }
        }
        let mut names: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
        let own = format!("signaling {}", call.local);
        names.insert(OWN_LANE.min(names.len()), own);
        let labels = call.messages.iter().map(label);
        let widest = |text: String| text.chars().count();
        // An arrow needs two dashes and a space on each side of what stands on it.
        let label = labels.map(widest).max().unwrap_or_default() + 7;
        let name = names.iter().map(String::len).max().unwrap_or_default() + 2;
        Lanes {
            names,
            distance: label.max(name).max(DISTANCE),
            peers,
        }
    }

    fn column(&self, lane: usize) -> usize {
        self.distance / 2 + lane * self.distance
    }

    fn names(&self, text: &mut String) {
        let mut line = " ".repeat(MARGIN);
        for name in &self.names {
            let _ = write!(line, "{name:^width$}", width = self.distance);
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }

    fn arrow(&self, text: &mut String, begin: SystemTime, message: &Message) {
        let peer = self.peers.iter().position(|peer| *peer == message.peer);
        // Every peer has a lane: they were collected from these messages.
        let peer = match peer.unwrap_or_default() {
            0 => 0,
            further => further + 1,
        };
        let (left, right) = (peer.min(OWN_LANE), peer.max(OWN_LANE));
        let (from, to) = (self.column(left), self.column(right));
        let mut line = vec![' '; self.column(self.names.len() - 1) + 1];
        for lane in 0..self.names.len() {
            line[self.column(lane)] = '|';
        }
        line[from + 1..to].fill('-');
        let goes_right = (peer == left) == (message.way == Way::In);
        if goes_right {
            line[to - 1] = '>';
        } else {
            line[from + 1] = '<';
        }
        let label = format!(" {} ", label(message));
        let start = from + 1 + (to - from - 1 - label.chars().count()) / 2;
        for (place, letter) in line[start..].iter_mut().zip(label.chars()) {
            *place = letter;
        }
        let line: String = line.into_iter().collect();
        let _ = write!(text, "{:>10} {line}", offset(begin, message.time));
        if message.repeats > 0 {
            let _ = write!(text, "  retransmissions: {}, at", message.repeats);
            for time in &message.repeated {
                let _ = write!(text, " {}", offset(begin, *time));
            }
        }
        text.push('\n');
    }
}

fn label(message: &Message) -> String {
    let text = match Glance::at(&message.payload).map(|glance| glance.start) {
        Some(Start::Request { method, .. }) => printable(method),
        Some(Start::Response { status, reason }) => printable(&format!("{status} {reason}")),
        None => String::new(),
    };
    let text: String = text.chars().take(LABEL).collect();
    let text = text.trim_end();
    if is_sdp(&message.payload) {
        format!("{text} (SDP)")
    } else {
        text.to_owned()
    }
}

/// Seconds since the beginning.
fn offset(begin: SystemTime, time: SystemTime) -> String {
    let since = time.duration_since(begin).unwrap_or_default();
    format!("{:.6}", since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Ladder;
    use crate::ladder::tests::{Traffic, invite};

    #[test]
    fn every_message_is_an_arrow_between_its_ends() {
        let mut traffic = Traffic::new();
        let ladder = Ladder::new(10);
        let offer = invite("x", 10);
        let mut datagrams = [
            traffic.datagram(Way::In, &offer),
            traffic.message(Way::Out, "100 INVITE", "x"),
            traffic.beyond(Way::Out, &offer),
            traffic.beyond(Way::Out, &offer),
            traffic.beyond(Way::Out, &offer),
        ];
        datagrams[4].peer.set_port(5064);
        datagrams.iter().for_each(|passed| ladder.record(passed));
        let shown = super::ladder(&ladder.call("x").unwrap());
        assert_eq!(
            shown,
            "\
Call-ID  x
Stream   test
State    calling
Begin    2000-02-29T00:00:00.124456Z

                127.0.0.1:40000       signaling 127.0.0.1:5060       127.0.0.1:5062            127.0.0.1:5064
  0.000000              |----- INVITE (SDP) ----->|                         |                         |
  0.001000              |<----- 100 Reason -------|                         |                         |
  0.002000              |                         |----- INVITE (SDP) ----->|                         |  retransmissions: 1, at 0.003000
  0.004000              |                         |------------------ INVITE (SDP) ------------------>|
"
        );
    }

    #[test]
    fn texts_from_the_network_stay_on_their_line() {
        let mut traffic = Traffic::new();
        let ladder = Ladder::new(10);
        let evil = format!(
            "SIP/2.0 486 \u{1b}[2J{}\r\nCall-ID: \u{7}\r\nCSeq: 1 BYE\r\n\r\n",
            "é".repeat(500)
        );
        ladder.record(&traffic.datagram(Way::Out, &evil.into()));
        let shown = super::ladder(&ladder.call("\u{7}").unwrap());
        assert!(
            !shown.contains(|letter: char| letter != '\n' && letter.is_control()),
            "{shown}"
        );
        assert!(
            shown.lines().all(|line| line.chars().count() < 100),
            "{shown}"
        );
    }

    #[test]
    fn what_was_left_out_leaves_a_gap() {
        let mut traffic = Traffic::new();
        let ladder = Ladder::new(10);
        for _ in 0..300 {
            ladder.record(&traffic.message(Way::In, "INFO", "x"));
        }
        let shown = super::ladder(&ladder.call("x").unwrap());
        assert!(shown.contains("\n44 messages left out\n"), "{shown}");
        assert_eq!(shown.matches("- INFO -").count(), 256);
    }
}
