//! The calls that pass through: who talks to whom, and until when.
//!
//! A session is known by its Call-ID; the two tags tell which way a request of it goes. It leaves
//! when its BYE passes, when its INVITE fails, with its streamer's binding, or, read from the
//! store after a restart, when its streamer does not confirm it in time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip::table::shrink;
use sip::{Peer, Request, Response, Uri};

use crate::deadlines::Deadlines;
use crate::registrar::BindingId;
use crate::store::{SessionRecord, SessionState};

/// Sessions at once.
pub const MAX_SESSIONS: usize = 10_000;
/// How long a session read from the store waits for its streamer to name it.
pub const STALE_LIMIT: Duration = Duration::from_secs(60);
/// How long the sessions of a streamer that withdrew or whose lease ended can still be hung up:
/// a program that ends sends BYE for each call beside its withdrawal, in any order.
pub const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes of a viewer's name that are kept.
const NAME_LIMIT: usize = 64;

/// Which way a request of a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the caller.
    ToStreamer,
    /// From the called.
    ToFront,
}

impl Direction {
    /// The other one.
    pub fn back(self) -> Self {
        match self {
            Direction::ToStreamer => Direction::ToFront,
            Direction::ToFront => Direction::ToStreamer,
        }
    }
}

/// One call.
#[derive(Debug)]
pub struct Session {
    /// What the store keeps of it.
    pub record: Arc<SessionRecord>,
    binding: Option<BindingId>,
    front_target: Option<Uri>,
    streamer_target: Option<Uri>,
    /// The last ACK that passed, and where it went.
    ack: Option<(Peer, Request)>,
}

/// All calls.
#[derive(Debug)]
pub struct Sessions {
    table: HashMap<String, Session>,
    deadlines: Deadlines<String>,
    revision: u64,
}

impl Session {
    /// Where a request of this direction is sent.
    pub fn address(&self, direction: Direction) -> Peer {
        match direction {
            Direction::ToStreamer => self.record.streamer,
            Direction::ToFront => self.record.front,
        }
    }

    /// True when the streamer of this call may bear this tag. A call whose answer fell into a
    /// restart has no known tag of its streamer, whether or not that has named the call since.
    pub fn is_streamer(&self, tag: &str) -> bool {
        match self.record.streamer_tag.as_deref() {
            Some(known) => known == tag,
            None => !tag.is_empty() && self.record.state != SessionState::Trying,
        }
    }

    /// Whom a request of this direction is for, when it names this server instead.
    pub fn target(&self, direction: Direction) -> Uri {
        let target = match direction {
            Direction::ToStreamer => &self.streamer_target,
            Direction::ToFront => &self.front_target,
        };
        target
            .clone()
            .unwrap_or_else(|| Uri::at(None, self.address(direction).address))
    }
}

impl Sessions {
    /// No calls.
    pub fn new() -> Self {
        Sessions {
            table: HashMap::new(),
            deadlines: Deadlines::new(),
            revision: 0,
        }
    }

    /// Takes over what the store kept, as stale. `owner` finds the streamer of a record.
    pub fn restore(
        &mut self,
        now: Instant,
        records: &[Arc<SessionRecord>],
        owner: impl Fn(&SessionRecord) -> Option<BindingId>,
    ) {
        for record in records.iter().take(MAX_SESSIONS) {
            let mut record = Arc::clone(record);
            Arc::make_mut(&mut record).state = SessionState::Stale;
            self.deadlines
                .set(record.call_id.clone(), now + STALE_LIMIT);
            let session = Session {
                binding: owner(&record),
                front_target: None,
                streamer_target: None,
                ack: None,
                record,
            };
            self.table.insert(session.record.call_id.clone(), session);
        }
        self.revision += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// How many of them are from before a restart and not yet named by their streamer.
    pub fn stale(&self) -> usize {
        let records = self.table.values().map(|session| &session.record);
        records
            .filter(|record| record.state == SessionState::Stale)
            .count()
    }

    /// True when nobody is in a call.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Every session, for the store.
    pub fn records(&self) -> Vec<Arc<SessionRecord>> {
        self.table
            .values()
            .map(|session| Arc::clone(&session.record))
            .collect()
    }

    /// A session by its Call-ID.
    pub fn get(&self, call_id: &str) -> Option<&Session> {
        self.table.get(call_id)
    }

    /// True when an INVITE that starts a call has the Call-ID of another one. A call that was
    /// still unanswered before a restart does not count: its caller may be asking again.
    pub fn is_taken(&self, call_id: &str) -> bool {
        self.table.get(call_id).is_some_and(|session| {
            session.record.state != SessionState::Stale || session.record.streamer_tag.is_some()
        })
    }

    /// Begins a session with an INVITE. Its streamer follows with [`Sessions::place`].
    pub fn begin(&mut self, invite: &Request, stream: &str, front: Peer) {
        let from = invite.from();
        let display = from
            .display
            .as_deref()
            .filter(|name| !name.trim().is_empty());
        let name = display.or(from.uri.user.as_deref()).unwrap_or_default();
        let record = SessionRecord {
            front,
            streamer: front,
            name: shortened(name).to_owned(),
            call_id: invite.call_id().to_owned(),
            stream: stream.to_owned(),
            front_tag: from.tag().unwrap_or_default().to_owned(),
            streamer_tag: None,
            offer: invite.body.clone(),
            answer: Default::default(),
            state: SessionState::Trying,
        };
        let session = Session {
            record: Arc::new(record),
            binding: None,
            front_target: invite.contact().map(|contact| contact.uri),
            streamer_target: None,
            ack: None,
        };
        self.deadlines.clear(&session.record.call_id);
        self.table.insert(session.record.call_id.clone(), session);
        self.revision += 1;
    }

    /// Notes the streamer that the INVITE went to.
    pub fn place(&mut self, call_id: &str, binding: BindingId, address: Peer, target: &Uri) {
        if let Some(session) = self.table.get_mut(call_id) {
            session.binding = Some(binding);
            session.streamer_target = Some(target.clone());
            let record = Arc::make_mut(&mut session.record);
            record.streamer = address;
            record.streamer_tag = None;
            self.revision += 1;
        }
    }

    /// Notes where one side is reached from now on.
    pub fn move_to(&mut self, call_id: &str, direction: Direction, peer: Peer) {
        if let Some(session) = self.table.get_mut(call_id) {
            let record = Arc::make_mut(&mut session.record);
            match direction {
                Direction::ToStreamer => record.streamer = peer,
                Direction::ToFront => record.front = peer,
            }
            self.revision += 1;
        }
    }

    /// Notes what an answer tells: the streamer's tag, and with a 2xx that the call stands.
    /// `hop` is the nearest proxy on the streamer's side, when it has one.
    pub fn answered(&mut self, now: Instant, response: &Response, hop: Option<Peer>) {
        let Some(session) = self.table.get_mut(response.call_id()) else {
            return;
        };
        let success = response.status.is_success();
        let tag = response.to().tag();
        let known = session.record.streamer_tag.as_deref() == tag;
        // A retransmitted answer changes nothing, and need not be written again.
        if known && (!success || session.record.state == SessionState::Established) {
            return;
        }
        let record = Arc::make_mut(&mut session.record);
        record.streamer_tag = tag.map(str::to_owned);
        if success {
            record.answer = response.body.clone();
            record.state = SessionState::Established;
            record.streamer = hop.unwrap_or(record.streamer);
            if let Some(contact) = response.contact() {
                session.streamer_target = Some(contact.uri);
            }
            match session.binding {
                Some(_) => self.deadlines.clear(&session.record.call_id),
                // Its streamer is gone already, so nobody else would remove it.
                None => self
                    .deadlines
                    .set(session.record.call_id.clone(), now + FAREWELL),
            }
        }
        self.revision += 1;
    }

    /// The session that a request within a call belongs to, by Call-ID and both tags, and the
    /// way it goes.
    pub fn find(&self, request: &Request) -> Option<(Direction, &Session)> {
        let session = self.table.get(request.call_id())?;
        let front = session.record.front_tag.as_str();
        let from = request.from().tag().unwrap_or_default();
        let to = request.to().tag().unwrap_or_default();
        let is_streamer = |tag: &str| session.is_streamer(tag);
        if from == front && is_streamer(to) {
            Some((Direction::ToStreamer, session))
        } else if to == front && is_streamer(from) {
            Some((Direction::ToFront, session))
        } else {
            None
        }
    }

    /// True when the call stands with another tag than this 2xx bears: a proxy on the way asked
    /// several streamers, and a second one accepted.
    pub fn is_second(&self, response: &Response) -> bool {
        self.table.get(response.call_id()).is_some_and(|session| {
            session.record.state == SessionState::Established
                && session.record.streamer_tag.is_some()
                && session.record.streamer_tag.as_deref() != response.to().tag()
        })
    }

    /// Notes the ACK of a 2xx that was passed on.
    pub fn acknowledged(&mut self, address: Peer, ack: Request) {
        if let Some(session) = self.table.get_mut(ack.call_id()) {
            session.ack = Some((address, ack));
        }
    }

    /// The ACK of this 2xx, when it has passed before.
    pub fn ack(&self, response: &Response) -> Option<(Peer, Request)> {
        let session = self.table.get(response.call_id())?;
        let (address, ack) = session.ack.as_ref()?;
        let matches = ack.cseq().number == response.cseq().number
            && ack.to().tag() == response.to().tag()
            && ack.from().tag() == response.from().tag();
        matches.then(|| (*address, ack.clone()))
    }

    /// The 2xx comes no more: its ACK can be forgotten.
    pub fn settle(&mut self, call_id: &str) {
        if let Some(session) = self.table.get_mut(call_id) {
            session.ack = None;
        }
    }

    /// Removes a session.
    pub fn remove(&mut self, call_id: &str) {
        if let Some(session) = self.table.remove(call_id) {
            self.deadlines.clear(&session.record.call_id);
            shrink(&mut self.table);
            self.revision += 1;
        }
    }

    /// A streamer named the calls that live on it: those that were stale stand again.
    pub fn confirm(&mut self, stream: &str, calls: &[String]) {
        for call_id in calls {
            let Some(session) = self.table.get_mut(call_id) else {
                continue;
            };
            if session.record.stream == stream && session.record.state == SessionState::Stale {
                Arc::make_mut(&mut session.record).state = SessionState::Established;
                if session.binding.is_some() {
                    self.deadlines.clear(call_id);
                }
                self.revision += 1;
            }
        }
    }

    /// True when calls of this streamer are in doubt.
    pub fn has_stale(&self, binding: BindingId) -> bool {
        self.table.values().any(|session| {
            session.binding == Some(binding) && session.record.state == SessionState::Stale
        })
    }

    /// A streamer came (again): calls at its address are its own.
    pub fn adopt(&mut self, stream: &str, address: Peer, binding: BindingId) {
        for session in self.table.values_mut() {
            let record = &session.record;
            let orphaned = session.binding.is_none();
            if orphaned && record.stream == stream && record.streamer == address {
                session.binding = Some(binding);
                if session.record.state != SessionState::Stale {
                    self.deadlines.clear(&session.record.call_id);
                }
            }
        }
    }

    /// A streamer's binding is gone; its calls follow, as soon as their BYE had time to pass.
    pub fn bereave(&mut self, now: Instant, binding: BindingId) {
        for session in self.table.values_mut() {
            if session.binding == Some(binding) {
                session.binding = None;
                let answered = session.record.state != SessionState::Trying;
                if answered {
                    self.deadlines
                        .set(session.record.call_id.clone(), now + FAREWELL);
                }
            }
        }
    }

    /// A streamer was started again, so the calls of its former self are over. Those that it had
    /// not answered yet are left: they move to the new one.
    pub fn drop_answered(&mut self, binding: BindingId) {
        let (table, deadlines) = (&mut self.table, &mut self.deadlines);
        let before = table.len();
        table.retain(|call_id, session| {
            let over =
                session.binding == Some(binding) && session.record.state != SessionState::Trying;
            if over {
                deadlines.clear(call_id);
            }
            !over
        });
        self.revision += u64::from(table.len() != before);
    }

    /// When [`Sessions::expire`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Removes the sessions whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while let Some(call_id) = self.deadlines.pop_due(now) {
            self.table.remove(&call_id);
            self.revision += 1;
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions::new()
    }
}

/// The first bytes of a name, cut between characters.
fn shortened(name: &str) -> &str {
    let mut end = name.len().min(NAME_LIMIT);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
