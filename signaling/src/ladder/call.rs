//! One call: its messages in the order in which they passed, and what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use sip::Transport;
use sip::driver::{Datagram, Way};

use super::glance::{Glance, Start};

/// Messages kept of one call, at most.
pub(crate) const MAX_MESSAGES: usize = 256;
/// Memory of one call in bytes, at most: no call by itself can push out all others.
const MAX_COST: usize = 2 << 20;
/// How a call began stays, however long it gets; what follows makes room. That many of the
/// largest datagrams still fit.
const KEPT_FIRST: usize = 16;
/// Times kept of one message that came again: as often as RFC 3261 section 17 sends one in 32 s.
const MAX_REPEATS: usize = 11;
/// What a message takes beside its bytes.
const MESSAGE_COST: usize = 640;
/// What a call takes beside its messages.
const CALL_COST: usize = 512;

/// A message of a call.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) time: SystemTime,
    pub(crate) way: Way,
    pub(crate) transport: Transport,
    pub(crate) peer: SocketAddr,
    pub(crate) payload: Bytes,
    /// How often it passed once more.
    pub(crate) repeats: u32,
    /// When it did; of many times the first ones.
    pub(crate) repeated: Vec<SystemTime>,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was not seen from its beginning.
    Partial,
    /// It is not answered yet.
    Calling,
    /// A 2xx was passed on, its ACK was not.
    Accepted,
    Established,
    /// The caller gave up.
    Cancelled,
    /// The caller was told this status.
    Refused(u16),
    /// A BYE came.
    Ended,
}

/// A call's messages.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) head: Head,
    pub(crate) messages: Vec<Message>,
    /// Our end of all of them.
    pub(crate) local: SocketAddr,
    /// Messages that had to make room, at [`Call::gap`].
    pub(crate) left_out: u64,
    cost: usize,
}

/// What a list of calls tells of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) call_id: Arc<str>,
    /// The user whom the INVITE is for.
    pub(crate) stream: Option<Arc<str>>,
    pub(crate) state: State,
    pub(crate) begin: SystemTime,
    pub(crate) last: SystemTime,
    /// Since when nothing but repetitions is expected.
    pub(crate) end: Option<SystemTime>,
    /// Those that were left out included.
    pub(crate) messages: u64,
    pub(crate) repeats: u64,
}

impl Call {
    /// A call that begins with this message; `None` for what begins none: registrations, and
    /// questions for the directory.
    pub(crate) fn begin(datagram: &Datagram, glance: &Glance<'_>) -> Option<Self> {
        if matches!(glance.method()?, "REGISTER" | "OPTIONS") {
            return None;
        }
        let stream = match glance.start {
            Start::Request {
                method: "INVITE",
                uri,
            } => user(uri).map(Arc::from),
            _ => None,
        };
        let head = Head {
            call_id: Arc::from(glance.call_id),
            stream,
            state: State::Partial,
            begin: datagram.time,
            last: datagram.time,
            end: None,
            messages: 0,
            repeats: 0,
        };
        let mut call = Call {
            head,
            // What a call takes that is answered and ended, on its two ways.
            messages: Vec::with_capacity(12),
            local: datagram.local,
            left_out: 0,
            cost: CALL_COST,
        };
        call.record(datagram, glance);
        Some(call)
    }

    /// Adds a message, or counts it where it only comes again.
    pub(crate) fn record(&mut self, datagram: &Datagram, glance: &Glance<'_>) {
        self.head.last = datagram.time;
        let mut known = self.messages.iter_mut().rev();
        if let Some(message) = known.find(|message| message.is(datagram)) {
            message.repeats = message.repeats.saturating_add(1);
            if message.repeated.len() < MAX_REPEATS {
                message.repeated.push(datagram.time);
            }
            self.head.repeats += 1;
            return;
        }
        let over = self.head.state.is_over();
        self.head.state = self.head.state.after(datagram.way, glance);
        if over != self.head.state.is_over() {
            self.head.end = (!over).then_some(datagram.time);
        }
        self.head.messages += 1;
        let message = Message {
            time: datagram.time,
            way: datagram.way,
            transport: datagram.transport,
            peer: datagram.peer,
            payload: datagram.payload.clone(),
            repeats: 0,
            repeated: Vec::new(),
        };
        self.cost += message.cost();
        self.messages.push(message);
        while self.messages.len() > MAX_MESSAGES
            || (self.cost > MAX_COST && self.messages.len() > KEPT_FIRST)
        {
            let message = self.messages.remove(KEPT_FIRST);
            self.cost -= message.cost();
            self.left_out += 1;
        }
    }

    /// Moves all of it to memory that is allocated now.
    pub(crate) fn move_out(&mut self) {
        self.head.call_id = Arc::from(&*self.head.call_id);
        self.head.stream = self.head.stream.as_deref().map(Arc::from);
        let moved = self.messages.iter().map(|message| Message {
            payload: Bytes::copy_from_slice(&message.payload),
            ..message.clone()
        });
        self.messages = moved.collect();
    }

    /// The memory that it takes, nearly.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Every datagram of which the time is known, in the order in which they passed.
    pub(crate) fn datagrams(&self) -> Vec<Datagram> {
        let mut all: Vec<Datagram> = Vec::new();
        for message in &self.messages {
            let times = std::iter::once(&message.time).chain(&message.repeated);
            all.extend(times.map(|time| Datagram {
                time: *time,
                way: message.way,
                transport: message.transport,
                peer: message.peer,
                local: self.local,
                payload: message.payload.clone(),
            }));
        }
        all.sort_by_key(|datagram| datagram.time);
        all
    }

    /// Before which message some were left out, if any were.
    pub(crate) fn gap(&self) -> Option<usize> {
        (self.left_out > 0).then_some(KEPT_FIRST)
    }
}

impl Message {
    fn is(&self, other: &Datagram) -> bool {
        self.way == other.way && self.peer == other.peer && self.payload == other.payload
    }

    fn cost(&self) -> usize {
        self.payload.len() + MESSAGE_COST
    }
}

impl State {
    /// What follows a message. A relay has every answer twice, coming and going: that which goes
    /// counts, for only its caller's view is that of the call. A streamer that is busy is no
    /// refusal, when the next one is asked.
    fn after(self, way: Way, glance: &Glance<'_>) -> State {
        use State::{Accepted, Calling, Cancelled, Ended, Established, Partial, Refused};
        let begins = self == Partial || self.is_over();
        match (glance.start, way) {
            (Start::Request { method, .. }, Way::In) => match (method, self) {
                ("INVITE", _) if begins => Calling,
                ("ACK", Accepted) => Established,
                ("CANCEL", Calling) => Cancelled,
                ("BYE", _) => Ended,
                _ => self,
            },
            (Start::Response { status, .. }, Way::Out) if glance.method() == Some("INVITE") => {
                match (status, self) {
                    (200..300, Calling) => Accepted,
                    (300.., Calling) => Refused(status),
                    _ => self,
                }
            }
            _ => self,
        }
    }

    fn is_over(self) -> bool {
        matches!(self, State::Cancelled | State::Refused(_) | State::Ended)
    }
}

/// The user in a URI.
fn user(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once(':')?;
    let (user, _) = rest.split_once('@')?;
    // What follows a colon there is a password.
    user.split(':').next().filter(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::tests::{Traffic, invite};

    fn call(traffic: &mut Traffic, messages: &[(Way, &str)]) -> Call {
        let mut call: Option<Call> = None;
        for (way, start) in messages {
            let datagram = traffic.message(*way, start, "x");
            let glance = Glance::at(&datagram.payload).unwrap();
            match &mut call {
                None => call = Call::begin(&datagram, &glance),
                Some(call) => call.record(&datagram, &glance),
            }
        }
        call.unwrap()
    }

    #[test]
    fn a_call_is_what_its_caller_saw_of_it() {
        use Way::{In, Out};
        let begun = [(In, "INVITE"), (Out, "100 INVITE"), (Out, "INVITE")];
        let busy = [(In, "486 INVITE"), (Out, "ACK"), (Out, "INVITE")];
        let taken = [(In, "202 INVITE"), (Out, "202 INVITE")];
        let stands = [(In, "ACK"), (Out, "ACK")];
        let changed = [(In, "INVITE"), (Out, "488 INVITE"), (In, "ACK")];
        let hung_up = [(In, "BYE"), (Out, "BYE")];
        let given_up = [(In, "CANCEL"), (Out, "200 CANCEL"), (Out, "487 INVITE")];
        for (parts, state, over) in [
            (&[&begun[..]][..], State::Calling, false),
            (&[&begun, &busy], State::Calling, false),
            (&[&begun, &busy, &taken], State::Accepted, false),
            (&[&begun, &taken, &stands], State::Established, false),
            (
                &[&begun, &taken, &stands, &changed],
                State::Established,
                false,
            ),
            (&[&begun, &taken, &stands, &hung_up], State::Ended, true),
            (&[&begun, &given_up], State::Cancelled, true),
            (&[&begun, &[(Out, "486 INVITE")]], State::Refused(486), true),
            (
                &[&begun, &[(Out, "401 INVITE")], &begun],
                State::Calling,
                false,
            ),
            (
                &[&[(Out, "BYE")], &[(In, "200 BYE")]],
                State::Partial,
                false,
            ),
            (&[&hung_up], State::Ended, true),
        ] {
            let head = call(&mut Traffic::new(), &parts.concat()).head;
            assert_eq!((head.state, head.end.is_some()), (state, over), "{parts:?}");
        }
    }

    #[test]
    fn its_stream_is_the_user_of_the_invite() {
        for (uri, stream) in [
            ("sip:test@127.0.0.1", Some("test")),
            ("sips:test:secret@h;lr", Some("test")),
            ("sip:127.0.0.1", None),
            ("sip:@h", None),
            ("nonsense", None),
        ] {
            assert_eq!(user(uri), stream, "{uri}");
        }
        let head = call(&mut Traffic::new(), &[(Way::In, "BYE")]).head;
        assert_eq!(head.stream, None);
    }

    #[test]
    fn registrations_and_questions_are_no_calls() {
        let mut traffic = Traffic::new();
        for start in ["REGISTER", "OPTIONS", "200 OPTIONS"] {
            let datagram = traffic.message(Way::In, start, "x");
            let glance = Glance::at(&datagram.payload).unwrap();
            assert!(Call::begin(&datagram, &glance).is_none(), "{start}");
        }
        let call = call(&mut traffic, &[(Way::In, "INVITE"), (Way::In, "OPTIONS")]);
        assert_eq!(call.messages.len(), 2);
    }

    #[test]
    fn what_comes_again_is_counted_where_it_was_first() {
        let mut traffic = Traffic::new();
        let first = invite("x", 100);
        let mut elsewhere = traffic.datagram(Way::In, &first);
        elsewhere.peer.set_port(9);
        let passes = [
            traffic.datagram(Way::In, &first),
            traffic.datagram(Way::Out, &first),
            elsewhere,
            traffic.datagram(Way::In, &first),
        ];
        let glance = Glance::at(&first).unwrap();
        let mut call = Call::begin(&passes[0], &glance).unwrap();
        for datagram in &passes[1..] {
            call.record(datagram, &glance);
        }
        assert_eq!((call.head.messages, call.head.repeats), (3, 1));
        assert_eq!(call.messages[0].repeats, 1);
        assert_eq!(call.messages[0].repeated, [passes[3].time]);
        assert_eq!(call.head.last, passes[3].time);
        for _ in 0..100 {
            call.record(&traffic.datagram(Way::In, &first), &glance);
        }
        assert_eq!(call.messages[0].repeats, 101);
        assert_eq!(call.messages[0].repeated.len(), MAX_REPEATS);
    }

    #[test]
    fn a_long_call_keeps_its_beginning_and_its_end() {
        for (size, kept) in [(0, MAX_MESSAGES), (65_000, 31)] {
            let mut traffic = Traffic::new();
            let first = traffic.datagram(Way::In, &invite("x", size));
            let glance = Glance::at(&first.payload).unwrap();
            let mut call = Call::begin(&first, &glance).unwrap();
            let mut last = first.clone();
            for number in 1..400 {
                let mut text = invite("x", size).to_vec();
                text.extend(number.to_string().bytes());
                last = traffic.datagram(Way::In, &text.into());
                call.record(&last, &glance);
            }
            assert_eq!(call.messages.len(), kept);
            assert_eq!(call.left_out, 400 - kept as u64);
            assert_eq!(call.gap(), Some(KEPT_FIRST));
            assert!(call.cost() <= MAX_COST);
            assert_eq!(call.messages[0].payload, first.payload);
            assert_eq!(call.messages[kept - 1].payload, last.payload);
            assert_eq!(call.head.messages, 400);
        }
    }
}
