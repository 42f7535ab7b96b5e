//! Who streams what, and where: the bindings that REGISTER makes (RFC 3261 section 10.3).
//!
//! A binding is one streamer of one stream. Streamers are told apart by `+sip.instance` where
//! they have one (RFC 5626 section 4.1), so that a program that starts again on another port
//! takes the place of its former self at once.

mod reach;
mod wish;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sip::{Message, Name, NameAddr, Peer, Request, Response, StatusCode, Transport, Uri};
use tracing::{debug, info, warn};

use crate::auth::Claim;
use crate::date::date;
use crate::deadlines::Deadlines;
use crate::directory::{StreamerInfo, is_name};
use crate::refusal::Refusal;
use crate::restart;
use crate::routing::answer_address;
use crate::store::{BindingRecord, StreamerRecord};
use wish::{Report, Wish, seconds};

/// Shortest lease in seconds; less is answered 423.
pub const MIN_EXPIRES: u32 = 60;
/// Longest lease in seconds, and the one of a REGISTER that names none (RFC 3261 section 20.19).
pub const MAX_EXPIRES: u32 = 3600;
/// Bindings in all.
pub const MAX_STREAMERS: usize = 1000;
/// Bindings of one stream: each of them is a field of the answer to REGISTER, and a message has 64
/// at most.
pub const MAX_INSTANCES: usize = 40;
/// How long a stream that is gone is answered 480 and not yet 404.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Contacts in one REGISTER.
const MAX_CONTACTS: usize = 8;
/// How long a streamer from before a restart is listed as it was, once it has been asked to
/// register again.
const RETURN_LIMIT: Duration = Duration::from_secs(5);

/// One binding, as long as its contact stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId(u64);

/// One streamer of one stream.
#[derive(Debug)]
pub struct Binding {
    /// Its handle.
    pub id: BindingId,
    /// What the store keeps of it.
    pub record: Arc<StreamerRecord>,
    /// Its Contact.
    pub contact: Uri,
    /// Read from the store, and not heard of since; listed as offline from then on.
    pub stale: Option<Instant>,
    /// Read from the store, and has not named its calls since.
    pub owes_calls: bool,
    /// It let a request wait without a word: it goes last until it is heard of again, and is
    /// listed as offline from then on.
    silent: Option<Instant>,
    /// Calls placed since it last reported its viewers.
    placed: u32,
    expires: Instant,
}

/// What a REGISTER did to a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added(BindingId),
    /// It goes on at the same contact.
    Refreshed(BindingId),
    /// The same streamer is now at another contact, or of another Call-ID: it was started again.
    Replaced {
        /// The binding that is gone.
        old: BindingId,
        /// The one in its place.
        new: BindingId,
    },
    /// It was withdrawn.
    Removed(BindingId),
}

/// The outcome of a REGISTER.
#[derive(Debug)]
pub struct Registered {
    /// What to answer.
    pub response: Response,
    /// What changed.
    pub changes: Vec<Change>,
    /// Call-IDs that live on the streamer, when it named them.
    pub calls: Option<Vec<String>>,
}

/// Why there is nobody to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Never heard of.
    Unknown,
    /// It was here, and its last lease ended.
    Departed,
}

/// All bindings.
#[derive(Debug)]
pub struct Registrar {
    own: Vec<SocketAddr>,
    started: Instant,
    wall: SystemTime,
    last_id: u64,
    streams: BTreeMap<String, Vec<Binding>>,
    names: HashMap<BindingId, String>,
    leases: Deadlines<BindingId>,
    departed: VecDeque<(Instant, String)>,
}

impl Registrar {
    /// An empty table. `own` are addresses of this server, which nobody may register as theirs;
    /// `wall` is the time of day at `started`, for the header Date.
    pub fn new(own: Vec<SocketAddr>, started: Instant, wall: SystemTime) -> Self {
        Registrar {
            own,
            started,
            wall,
            last_id: 0,
            streams: BTreeMap::new(),
            names: HashMap::new(),
            leases: Deadlines::new(),
            departed: VecDeque::new(),
        }
    }

    /// Takes over what the store kept. Each binding is stale and gets its lease once more, in
    /// which its streamer is expected to register again.
    pub fn restore(&mut self, now: Instant, records: &[Arc<StreamerRecord>]) -> Vec<BindingId> {
        let mut restored = Vec::new();
        // Each is given its time from the moment at which it is its turn to be asked.
        let mut absent = now + RETURN_LIMIT;
        for record in records.iter().take(MAX_STREAMERS) {
            let contact = Uri::parse(&record.binding.contact);
            let (Ok(contact), true) = (contact, is_name(&record.name)) else {
                warn!(
                    name = record.name,
                    "streamer in the data base cannot be read, left out"
                );
                continue;
            };
            let id = self.next_id();
            let lease = record.binding.expires.clamp(MIN_EXPIRES, MAX_EXPIRES);
            let binding = Binding {
                id,
                record: Arc::clone(record),
                contact,
                stale: Some(absent),
                owes_calls: true,
                silent: None,
                placed: 0,
                expires: now + Duration::from_secs(lease.into()),
            };
            absent += restart::PACE;
            self.insert(binding);
            restored.push(id);
        }
        restored
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// How many of them are from before a restart and were not refreshed since.
    pub fn stale(&self) -> usize {
        let bindings = self.streams.values().flatten();
        bindings.filter(|binding| binding.stale.is_some()).count()
    }

    /// True when nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// A binding.
    pub fn get(&self, id: BindingId) -> Option<&Binding> {
        let bindings = self.streams.get(self.names.get(&id)?)?;
        bindings.iter().find(|binding| binding.id == id)
    }

    fn get_mut(&mut self, id: BindingId) -> Option<&mut Binding> {
        let bindings = self.streams.get_mut(self.names.get(&id)?)?;
        bindings.iter_mut().find(|binding| binding.id == id)
    }

    /// Every binding, for the store.
    pub fn records(&self) -> Vec<Arc<StreamerRecord>> {
        let bindings = self.streams.values().flatten();
        bindings
            .map(|binding| Arc::clone(&binding.record))
            .collect()
    }

    /// The streams whose names come after `after`, in order; several streamers of one stream
    /// make one entry, which is offline when all of them are.
    pub fn entries_after(&self, now: Instant, after: &str) -> impl Iterator<Item = StreamerInfo> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.streams
            .range::<str, _>(range)
            .filter_map(move |(_, bindings)| {
                let online = bindings.iter().filter(|binding| binding.is_online(now));
                let online = online.map(|binding| binding.record.info.clone());
                let joined = online.reduce(|mut info, other| {
                    info.join(&other);
                    info
                });
                joined.or_else(|| Some(bindings.first()?.record.info.clone().offline()))
            })
    }

    /// Whom to call for a stream, best first: who answers before who was silent, who has
    /// registered since the restart before who has not, and then who has fewer viewers.
    pub fn targets(&self, name: &str) -> Result<Vec<BindingId>, Absence> {
        let Some(bindings) = self.streams.get(name) else {
            let departed = self.departed.iter().any(|(_, departed)| departed == name);
            return Err(if departed {
                Absence::Departed
            } else {
                Absence::Unknown
            });
        };
        let mut bindings: Vec<&Binding> = bindings.iter().collect();
        bindings.sort_by_key(|binding| {
            let load = binding.record.info.viewers.saturating_add(binding.placed);
            let (silent, stale) = (binding.silent.is_some(), binding.stale.is_some());
            (silent, stale, load, binding.id)
        });
        Ok(bindings.into_iter().map(|binding| binding.id).collect())
    }

    /// Notes where a streamer is reached from now on.
    pub fn move_to(&mut self, id: BindingId, peer: Peer) {
        if let Some(binding) = self.get_mut(id) {
            Arc::make_mut(&mut binding.record).address = peer;
        }
    }

    /// Notes a call sent to a streamer.
    pub fn place(&mut self, id: BindingId) {
        if let Some(binding) = self.get_mut(id) {
            binding.placed = binding.placed.saturating_add(1);
        }
    }

    /// When [`Registrar::expire`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let forgotten = self.departed.front().map(|(at, _)| *at);
        [self.leases.next(), forgotten].into_iter().flatten().min()
    }

    /// Removes the bindings whose lease is over, and names them.
    pub fn expire(&mut self, now: Instant) -> Vec<BindingId> {
        while self.departed.front().is_some_and(|(at, _)| *at <= now) {
            self.departed.pop_front();
        }
        let mut expired = Vec::new();
        while let Some(id) = self.leases.pop_due(now) {
            if let Some(binding) = self.remove(now, id) {
                info!(stream = binding.record.name, "streamer's lease ended");
                expired.push(id);
            }
        }
        expired
    }

    /// Carries out a REGISTER, or says why not; a request is carried out as a whole or not at
    /// all. `claim` is who sends it, when that is asked for.
    pub fn register(
        &mut self,
        now: Instant,
        request: &Request,
        source: Peer,
        claim: Option<&Claim>,
    ) -> Registered {
        self.try_register(now, request, source, claim)
            .unwrap_or_else(|refusal| Registered {
                response: refusal.response(request),
                changes: Vec::new(),
                calls: None,
            })
    }

    fn try_register(
        &mut self,
        now: Instant,
        request: &Request,
        source: Peer,
        claim: Option<&Claim>,
    ) -> Result<Registered, Refusal> {
        let aor = &request.to().uri;
        let name = aor.user.as_deref().unwrap_or_default();
        if !aor.is_sip() || !is_name(name) {
            return Err(Refusal::because(
                StatusCode::NOT_FOUND,
                "Stream names are 1 to 64 letters, digits, - and _",
            ));
        }
        self.check_owner(name, claim)?;
        let wishes = self.wishes(request, source)?;
        self.check_order(name, request)?;
        let report = Report::read(name, request)?;
        let known = |wish: &&Wish| self.matches(name, wish).next().is_some();
        let added = wishes.iter().filter(|wish| wish.expires > 0);
        let added = added.filter(|wish| !known(wish)).count();
        let instances = self.streams.get(name).map_or(0, Vec::len);
        if self.len() + added > MAX_STREAMERS || added > 0 && instances + added > MAX_INSTANCES {
            return Err(Refusal::overload("Too many streamers"));
        }
        let changes = wishes
            .into_iter()
            .flat_map(|wish| self.apply(now, name, request, wish, &report, claim))
            .collect();
        Ok(Registered {
            response: self.confirmation(now, name, request),
            changes,
            calls: report.calls,
        })
    }

    fn check_owner(&self, name: &str, claim: Option<&Claim>) -> Result<(), Refusal> {
        let bindings = self.streams.get(name).into_iter().flatten();
        let owners = bindings.filter_map(|it| it.record.binding.user.as_deref());
        claim.map_or(Ok(()), |claim| claim.check(owners))
    }

    /// The Contacts of a REGISTER. `*` becomes one wish for each binding there is.
    fn wishes(&self, request: &Request, source: Peer) -> Result<Vec<Wish>, Refusal> {
        let bad = |reason: &str| Refusal::because(StatusCode::BAD_REQUEST, reason);
        let header = request.headers.get(Name::Expires).map(seconds);
        let contacts: Vec<&str> = request.headers.values(Name::Contact).collect();
        if contacts.contains(&"*") {
            if contacts.len() > 1 || header != Some(0) {
                return Err(bad("Contact * goes alone and with Expires: 0"));
            }
            let name = request.to().uri.user.as_deref().unwrap_or_default();
            let bindings = self.streams.get(name).into_iter().flatten();
            return Ok(bindings
                .map(|binding| Wish {
                    contact: binding.contact.clone(),
                    address: binding.record.address,
                    instance: binding.record.binding.instance.clone(),
                    expires: 0,
                })
                .collect());
        }
        if contacts.len() > MAX_CONTACTS {
            return Err(bad("Too many Contacts"));
        }
        contacts
            .into_iter()
            .map(|contact| Wish::read(contact, request, source, &self.own))
            .collect()
    }

    /// RFC 3261 section 10.3, step 7: within one Call-ID an older request changes nothing.
    fn check_order(&self, name: &str, request: &Request) -> Result<(), Refusal> {
        let bindings = self.streams.get(name).into_iter().flatten();
        let mut records = bindings.map(|binding| &binding.record);
        let newer = records.any(|record| {
            record.call_id == request.call_id() && record.binding.cseq >= request.cseq().number
        });
        if newer {
            let status = StatusCode::SERVER_INTERNAL_ERROR;
            return Err(Refusal::because(status, "CSeq is out of order"));
        }
        Ok(())
    }

    /// The bindings of `name` that a Contact speaks of.
    fn matches<'a>(
        &'a self,
        name: &str,
        wish: &'a Wish,
    ) -> impl Iterator<Item = &'a Binding> + use<'a> {
        let bindings = self.streams.get(name).into_iter().flatten();
        bindings.filter(move |binding| {
            let instance = binding.record.binding.instance.as_ref();
            let same_instance = instance.is_some() && instance == wish.instance.as_ref();
            same_instance || is_same(&binding.contact, &wish.contact)
        })
    }

    fn apply(
        &mut self,
        now: Instant,
        name: &str,
        request: &Request,
        wish: Wish,
        report: &Report,
        claim: Option<&Claim>,
    ) -> Vec<Change> {
        let matching: Vec<BindingId> = self.matches(name, &wish).map(|it| it.id).collect();
        if wish.expires == 0 {
            let removed = matching.into_iter().filter_map(|id| self.remove(now, id));
            return removed
                .map(|binding| {
                    debug!(stream = name, "streamer withdrawn");
                    Change::Removed(binding.id)
                })
                .collect();
        }
        let mut old: Vec<Binding> = matching
            .into_iter()
            .filter_map(|id| self.remove(now, id))
            .collect();
        let first = (!old.is_empty()).then(|| old.remove(0));
        let mut changes: Vec<Change> = old
            .into_iter()
            .map(|binding| Change::Removed(binding.id))
            .collect();
        let same_place = first.as_ref().filter(|binding| {
            // An instance keeps its Call-ID until it is started again (RFC 3261 section 10.2).
            let same_life = wish.instance.is_none() || binding.record.call_id == request.call_id();
            same_life
                && is_same(&binding.contact, &wish.contact)
                && binding.record.address == wish.address
        });
        let id = match same_place {
            Some(binding) => binding.id,
            None => self.next_id(),
        };
        let owes_calls = same_place.is_some_and(|binding| binding.owes_calls);
        let (kept, placed) = match &first {
            Some(binding) => (Some(&binding.record.info), binding.placed),
            None => (None, 0),
        };
        let record = Arc::new(StreamerRecord {
            address: wish.address,
            name: name.to_owned(),
            call_id: request.call_id().to_owned(),
            info: report
                .info
                .as_ref()
                .or(kept)
                .cloned()
                .unwrap_or_else(|| StreamerInfo::named(name)),
            binding: BindingRecord {
                contact: wish.contact.to_string(),
                path: strings(request, Name::Path),
                via: strings(request, Name::Via),
                from: request
                    .headers
                    .get(Name::From)
                    .unwrap_or_default()
                    .to_owned(),
                to: request.headers.get(Name::To).unwrap_or_default().to_owned(),
                cseq: request.cseq().number,
                instance: wish.instance,
                expires: wish.expires,
                user: claim.map(|claim| claim.user.clone()),
            },
        });
        changes.push(match first.as_ref().map(|binding| binding.id) {
            None => {
                debug!(stream = name, address = %wish.address, "streamer registered");
                Change::Added(id)
            }
            Some(old) if old == id => Change::Refreshed(id),
            Some(old) => {
                info!(stream = name, address = %wish.address, "streamer registered anew");
                Change::Replaced { old, new: id }
            }
        });
        self.insert(Binding {
            id,
            record,
            contact: wish.contact,
            stale: None,
            owes_calls: owes_calls && report.calls.is_none(),
            silent: None,
            placed: if report.info.is_some() { 0 } else { placed },
            expires: now + Duration::from_secs(wish.expires.into()),
        });
        changes
    }

    /// 200 with every binding of the name (RFC 3261 section 10.3, step 8).
    fn confirmation(&self, now: Instant, name: &str, request: &Request) -> Response {
        let mut response = Response::to_request(request, StatusCode::OK);
        for binding in self.streams.get(name).into_iter().flatten() {
            let mut contact = NameAddr::new(binding.contact.clone());
            let left = binding.expires.saturating_duration_since(now);
            // Rounded up: an agent that reads 0 takes its binding for gone.
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            if let Some(instance) = &binding.record.binding.instance {
                contact
                    .params
                    .set("+sip.instance", Some(&format!("\"{instance}\"")));
            }
            contact.params.set("expires", Some(&seconds.to_string()));
            response.headers.push(Name::Contact, &contact.to_string());
        }
        for path in request.headers.all(Name::Path) {
            response.headers.push(Name::Path, path);
        }
        let wall = self.wall + now.saturating_duration_since(self.started);
        response.headers.push(Name::Date, &date(wall));
        response
    }

    /// The 403 that asks a streamer to register again, made of what was kept of its REGISTER, and
    /// where it goes. It matches no transaction of a standard agent, which drops it.
    pub fn summons(&self, id: BindingId) -> Option<(Peer, Response)> {
        let record = &self.get(id)?.record;
        let kept = &record.binding;
        let via = kept.via.join("\r\nVia: ");
        let text = format!(
            "SIP/2.0 403 Forbidden\r\nVia: {via}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {} REGISTER\r\nContent-Length: 0\r\n\r\n",
            kept.from, kept.to, record.call_id, kept.cseq
        );
        let Ok(Message::Response(mut response)) = Message::parse(text.into()) else {
            return None;
        };
        if response.to().tag().is_none() {
            response.set_to_tag("restarted");
        }
        // A stream has ended with the program that it led to.
        let via = response.top_via();
        let via = via.filter(|via| Transport::of_uri(Some(&via.transport)) == Transport::Udp);
        let destination = via.and_then(|via| answer_address(&via)).map(Peer::from);
        Some((destination.unwrap_or(record.address), response))
    }

    fn next_id(&mut self) -> BindingId {
        self.last_id += 1;
        BindingId(self.last_id)
    }

    fn insert(&mut self, binding: Binding) {
        let name = binding.record.name.clone();
        self.departed.retain(|(_, departed)| *departed != name);
        self.names.insert(binding.id, name.clone());
        self.leases.set(binding.id, binding.expires);
        self.streams.entry(name).or_default().push(binding);
    }

    fn remove(&mut self, now: Instant, id: BindingId) -> Option<Binding> {
        let name = self.names.remove(&id)?;
        self.leases.clear(&id);
        let bindings = self.streams.get_mut(&name)?;
        let place = bindings.iter().position(|binding| binding.id == id)?;
        let binding = bindings.remove(place);
        if bindings.is_empty() {
            self.streams.remove(&name);
            self.departed.push_back((now + REMEMBERED, name));
            if self.departed.len() > MAX_STREAMERS {
                self.departed.pop_front();
            }
        }
        Some(binding)
    }
}

/// RFC 3261 section 19.1.4, without its leniency towards differently written escapes.
fn is_same(one: &Uri, two: &Uri) -> bool {
    let host = |uri: &Uri| uri.host.to_string().to_ascii_lowercase();
    one.user == two.user
        && one.port == two.port
        && one.params == two.params
        && host(one) == host(two)
        && one.scheme.eq_ignore_ascii_case(&two.scheme)
}

fn strings(request: &Request, name: Name) -> Vec<String> {
    request.headers.values(name).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
