//! One socket's worth of SIP: datagrams and time in; datagrams, events and the next deadline out.
//!
//! After each call the owner drains [`Endpoint::poll_transmit`] and [`Endpoint::poll_event`] and
//! asks [`Endpoint::poll_timeout`] when to come back.

mod clients;
mod servers;

use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::header::{Name, Via};
use crate::message::{Message, Request, Response};
pub use crate::transaction::Transmit;
use crate::transaction::{Outbox, Route};
use crate::transport::{Peer, Transport};
use clients::{ClientEntry, ClientKey, ClientMachine};
use servers::{ServerEntry, ServerKey, ServerMachine};

/// The largest payload of a UDP datagram over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

/// What is longer goes by a stream where the other side takes one (RFC 3261 section 18.1.1).
const LONGEST_DATAGRAM: usize = 1300;
/// Whoever has refused a stream is not asked again for so long.
const REFUSAL_LIMIT: Duration = Duration::from_secs(60);
/// So many refusals are remembered; of more it is not known, and streams are tried.
const MAX_REFUSALS: usize = 10_000;

/// What begins every branch that follows RFC 3261 (section 8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// True of a branch as endpoints make them: the cookie and 64 bits in hexadecimal.
pub fn is_made_branch(branch: &str) -> bool {
    branch.strip_prefix(MAGIC_COOKIE).is_some_and(|bits| {
        bits.len() == 16
            && bits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// What an endpoint is told when it is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of the socket, as others reach it: it goes into Via.
    pub local: SocketAddr,
    /// Its address in the other version of IP, where the socket serves both.
    pub other: Option<SocketAddr>,
    /// Transactions at most; beyond them requests are refused with 503.
    pub max_transactions: usize,
    /// Whether there are streams beside datagrams.
    pub streams: bool,
}

impl Config {
    /// The defaults for a socket at this address.
    pub fn new(local: SocketAddr) -> Self {
        Config {
            local,
            other: None,
            max_transactions: 100_000,
            streams: false,
        }
    }
}

/// A request that we sent and whose answers we wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(u64);

/// A request that came and that the role answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(u64);

/// Why a request of ours has no final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing came for 32 s (timers B, C and F).
    #[error("no answer within 32 s")]
    Timeout,
    /// It does not fit into a datagram.
    #[error("the message is larger than a datagram can be")]
    TooLarge,
    /// There is no stream to the other side, or it has ended.
    #[error("the other side cannot be reached over TCP")]
    Unreachable,
}

/// What happened, for the role.
#[derive(Debug)]
pub enum Event {
    /// A new request, never ACK or CANCEL. An INVITE is answered 100 Trying unless the role answers
    /// it at once.
    Request {
        /// Answer it under this.
        id: ServerId,
        /// The request, its top Via completed with `received` and `rport`.
        request: Request,
        /// Where it came from.
        source: Peer,
    },
    /// An ACK for a 2xx, which travels end to end.
    Ack {
        /// The ACK.
        request: Request,
        /// Where it came from.
        source: Peer,
    },
    /// The caller gave up. The CANCEL has been answered; the INVITE wants its 487.
    Cancel {
        /// The pending INVITE.
        invite: ServerId,
        /// The CANCEL, for its Reason.
        request: Request,
    },
    /// An answer to a request of ours; of an INVITE also every retransmitted 2xx.
    Response {
        /// The request.
        id: ClientId,
        /// The answer, our Via taken off.
        response: Response,
        /// Where it came from.
        source: Peer,
    },
    /// A request of ours will have no final answer. A 2xx that comes all the same is still
    /// reported, with [`Endpoint::client_request`] to answer it.
    Failed {
        /// The request.
        id: ClientId,
        /// Why.
        failure: Failure,
    },
    /// A 2xx given to [`Endpoint::accept`] was not acknowledged within 32 s.
    Unacknowledged {
        /// The INVITE.
        id: ServerId,
    },
    /// A response that belongs to no request of ours.
    Stray {
        /// The response, with all its Vias.
        response: Response,
        /// Where it came from.
        source: Peer,
    },
}

/// The transactions of one socket.
pub struct Endpoint {
    config: Config,
    random: Box<dyn FnMut() -> u64 + Send>,
    /// Whose address is not forged.
    trusts: Box<dyn Fn(IpAddr) -> bool + Send>,
    /// What makes tags that are not kept hard to guess.
    secret: u64,
    last_id: u64,
    clients: HashMap<ClientId, ClientEntry>,
    client_keys: HashMap<ClientKey, ClientId>,
    servers: HashMap<ServerId, ServerEntry>,
    server_keys: HashMap<Arc<ServerKey>, ServerId>,
    unacknowledged: HashMap<AckKey, ServerId>,
    /// INVITEs that have not been answered 100 Trying.
    fresh: VecDeque<ServerId>,
    wakes: BTreeSet<(Instant, Wake)>,
    outbox: Outbox,
    events: VecDeque<Event>,
    malformed: u64,
    /// Streams that are open, by their other ends.
    open: BTreeSet<SocketAddr>,
    /// Streams that were refused, and until when that is remembered.
    refusals: HashMap<SocketAddr, Instant>,
    /// What waits for an answer over a stream, by its other end.
    streaming: BTreeSet<(SocketAddr, ClientId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    Client(ClientId),
    Server(ServerId),
}

/// How the ACK of a 2xx finds its INVITE: by the dialog, which both tags are part of (RFC 3261
/// section 12), and the CSeq number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AckKey {
    call_id: String,
    cseq: u32,
    from: Option<String>,
    to: Option<String>,
}

impl Endpoint {
    /// An endpoint without transactions. `random` gives 64 unpredictable bits at each call;
    /// branches, tags and Call-IDs are made of them.
    pub fn new(config: Config, mut random: impl FnMut() -> u64 + Send + 'static) -> Self {
        Endpoint {
            config,
            secret: random(),
            random: Box::new(random),
            trusts: Box::new(|_| true),
            last_id: 0,
            clients: HashMap::new(),
            client_keys: HashMap::new(),
            servers: HashMap::new(),
            server_keys: HashMap::new(),
            unacknowledged: HashMap::new(),
            fresh: VecDeque::new(),
            wakes: BTreeSet::new(),
            outbox: Outbox::new(),
            events: VecDeque::new(),
            malformed: 0,
            open: BTreeSet::new(),
            refusals: HashMap::new(),
            streaming: BTreeSet::new(),
        }
    }

    /// The same, for a socket that strangers reach. Whoever `trusts` does not hold for may have
    /// forged their address, as long as they use datagrams. So nothing that is answered outside of
    /// calls goes there if it is longer than the request was: what may be left out of it is, and an
    /// answer that is too long even then is none.
    #[must_use]
    pub fn with_trust(mut self, trusts: impl Fn(IpAddr) -> bool + Send + 'static) -> Self {
        self.trusts = Box::new(trusts);
        self
    }

    /// The address in our Vias.
    pub fn local(&self) -> SocketAddr {
        self.config.local
    }

    /// The address in our Vias to this peer: one of its version of IP, if there is one.
    pub fn local_towards(&self, peer: SocketAddr) -> SocketAddr {
        let near = |local: &SocketAddr| local.is_ipv4() == peer.is_ipv4();
        let mut ours = [Some(self.config.local), self.config.other].into_iter();
        ours.find_map(|local| local.filter(near))
            .unwrap_or(self.config.local)
    }

    /// Transactions that are not over, those that only absorb retransmissions included.
    pub fn transactions(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Those of them that wait for an answer over a stream.
    pub fn streaming(&self) -> usize {
        self.streaming.len()
    }

    /// Datagrams so far that were no SIP message.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// A fresh tag (RFC 3261 section 19.3).
    pub fn generate_tag(&mut self) -> String {
        tag((self.random)())
    }

    /// A fresh Call-ID.
    pub fn generate_call_id(&mut self) -> String {
        format!("{:016x}{:016x}", (self.random)(), (self.random)())
    }

    /// Takes in one datagram.
    pub fn handle_datagram(&mut self, now: Instant, source: SocketAddr, data: Bytes) {
        self.handle_message(now, source.into(), data);
    }

    /// Takes in one message of a stream.
    pub fn handle_stream_message(&mut self, now: Instant, source: SocketAddr, data: Bytes) {
        self.handle_message(now, Peer::tcp(source), data);
    }

    /// A stream is open, one that was asked for by [`Endpoint::poll_transmit`] or that the other side
    /// has opened. What goes by it needs no datagrams until it ends.
    pub fn handle_stream_open(&mut self, peer: SocketAddr) {
        self.open.insert(peer);
        self.refusals.remove(&peer);
        for id in self.streaming_to(peer) {
            self.client_stream_open(id);
        }
    }

    /// A stream that was asked for cannot be had. What waits for it goes by datagrams, and so does
    /// what follows in the next minute.
    pub fn handle_stream_refused(&mut self, now: Instant, peer: SocketAddr) {
        self.remember_refusal(now, peer);
        self.handle_stream_end(now, peer);
    }

    fn remember_refusal(&mut self, now: Instant, peer: SocketAddr) {
        if self.refusals.len() >= MAX_REFUSALS {
            self.refusals.retain(|_, until| *until > now);
        }
        if self.refusals.len() < MAX_REFUSALS {
            self.refusals.insert(peer, now + REFUSAL_LIMIT);
        }
    }

    /// A stream has ended. What waits for answers over it is sent anew.
    pub fn handle_stream_end(&mut self, now: Instant, peer: SocketAddr) {
        self.open.remove(&peer);
        for id in self.streaming_to(peer) {
            self.client_stream_end(now, id);
        }
    }

    fn streaming_to(&self, peer: SocketAddr) -> Vec<ClientId> {
        let all = (peer, ClientId(0))..=(peer, ClientId(u64::MAX));
        self.streaming.range(all).map(|(_, id)| *id).collect()
    }

    fn handle_message(&mut self, now: Instant, peer: Peer, data: Bytes) {
        // Empty lines keep bindings of address translators alive (RFC 5626 section 3.5.1) and
        // may come before a message (RFC 3261 section 7.5).
        let blank = data
            .iter()
            .take_while(|b| matches!(b, b'\r' | b'\n'))
            .count();
        let data = data.slice(blank..);
        if data.is_empty() {
            return;
        }
        let size = data.len();
        match Message::parse(data) {
            Ok(Message::Request(request)) => self.handle_request(now, peer, request, size),
            Ok(Message::Response(response)) => self.handle_response(now, peer, response),
            Err(error) => {
                self.malformed += 1;
                tracing::debug!(source = %peer, %error, "malformed message");
                if let Some((via, payload)) = error.answer() {
                    let peer = via.answer_peer(peer);
                    if payload.len() <= size || self.is_proven(peer) {
                        self.send(peer, payload);
                    }
                }
            }
        }
    }

    /// Runs every deadline that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, wake)) = self.wakes.first() {
            if at > now {
                break;
            }
            match wake {
                Wake::Client(id) => self.client_timeout(now, id),
                Wake::Server(id) => self.server_timeout(now, id),
            }
        }
    }

    /// The next datagram to send. Events come first: what the role has not answered by now, it
    /// takes its time for.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if self.events.is_empty() {
            self.say_trying();
        }
        self.outbox.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// True while [`Endpoint::poll_event`] has something to give.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// When [`Endpoint::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wakes.first().map(|&(at, _)| at)
    }

    /// Sends a request and sees to its retransmissions. Our Via is put on top.
    ///
    /// The answers come as [`Event::Response`], or [`Event::Failed`] comes within 32 s.
    pub fn request(
        &mut self,
        now: Instant,
        destination: impl Into<Peer>,
        request: Request,
    ) -> ClientId {
        let is_long = |request: &Request| request.to_bytes().len() > LONGEST_DATAGRAM;
        self.begin(now, destination.into(), request, is_long)
    }

    /// Sends a request whose answer may be long, as [`Endpoint::request`] does: by a stream where the
    /// other side has one, however short the request is.
    pub fn request_much(
        &mut self,
        now: Instant,
        destination: impl Into<Peer>,
        request: Request,
    ) -> ClientId {
        self.begin(now, destination.into(), request, |_| true)
    }

    fn begin(
        &mut self,
        now: Instant,
        peer: Peer,
        mut request: Request,
        is_long: impl FnOnce(&Request) -> bool,
    ) -> ClientId {
        let route = self.route(now, peer, || is_long(&request));
        let branch = self.push_via(&mut request, route.peer);
        self.start_client(now, route, request, branch, false)
    }

    /// By what a request goes (RFC 3261 section 18.1.1).
    fn route(&self, now: Instant, peer: Peer, is_long: impl FnOnce() -> bool) -> Route {
        let refused = || {
            let until = self.refusals.get(&peer.address);
            until.is_some_and(|until| *until > now)
        };
        let either =
            peer.transport == Transport::Udp && self.config.streams && is_long() && !refused();
        match either {
            true => Route {
                peer: Peer::tcp(peer.address),
                either,
            },
            false => Route { peer, either },
        }
    }

    /// The request behind a handle, as it was sent, while its transaction lasts; of an accepted INVITE
    /// without its body.
    pub fn client_request(&self, id: ClientId) -> Option<&Request> {
        self.clients.get(&id).map(|entry| entry.machine.request())
    }

    /// The request that came under a handle, until its final answer.
    pub fn server_request(&self, id: ServerId) -> Option<&Request> {
        self.servers.get(&id)?.machine.request()
    }

    /// Gives up a pending INVITE: CANCEL goes to the next hop at once, or as soon as a
    /// provisional answer comes (RFC 3261 section 9.1). The INVITE still ends by an answer, a
    /// 2xx perhaps, or by [`Event::Failed`].
    pub fn cancel(&mut self, now: Instant, id: ClientId) {
        if let Some(entry) = self.clients.get_mut(&id) {
            if let ClientMachine::Invite(invite) = &mut entry.machine {
                if invite.cancel(now) {
                    self.send_cancel(now, id);
                }
                self.arm_client(id);
            }
        }
    }

    /// Lets an INVITE that was answered provisionally go on for so long: timer C of a proxy (RFC 3261
    /// section 16.8). Otherwise it ends after 32 s.
    pub fn keep_ringing(&mut self, now: Instant, id: ClientId, limit: Duration) {
        if let Some(entry) = self.clients.get_mut(&id) {
            if let ClientMachine::Invite(invite) = &mut entry.machine {
                invite.keep_ringing(now + limit);
                self.arm_client(id);
            }
        }
    }

    /// Answers a request. A relayed 2xx comes through here each time that its maker sends it.
    pub fn respond(&mut self, now: Instant, id: ServerId, response: Response) {
        self.answer(now, id, response, false);
    }

    /// Refuses a request and forgets it. The answer is sent once, and nothing else if the role does
    /// it at once: if it gets lost, the request comes again, as a new one (RFC 3261 section 8.2.7).
    /// So whoever forges their address has no more sent there than they send; see
    /// [`Endpoint::with_trust`]. False when nothing could be sent for that reason.
    pub fn refuse(&mut self, now: Instant, id: ServerId, response: Response) -> bool {
        self.answer_once(now, id, response)
    }

    /// Accepts an INVITE as its user agent: the 2xx is sent again until its ACK comes, 32 s at
    /// most (RFC 3261 section 13.3.1.4).
    pub fn accept(&mut self, now: Instant, id: ServerId, response: Response) {
        self.answer(now, id, response, true);
    }

    /// Stops sending an accepted INVITE's 2xx again, as its ACK would: the caller has shown by
    /// another request that it has the answer.
    pub fn acknowledge(&mut self, id: ServerId) {
        let Some(entry) = self.servers.get_mut(&id) else {
            return;
        };
        if let ServerMachine::Invite(invite) = &mut entry.machine {
            invite.acknowledge();
            if let Some(key) = entry.ack.take() {
                self.unacknowledged.remove(&key);
            }
            self.arm_server(id);
        }
    }

    /// Sends a request that has no transaction: the ACK of a 2xx. Our Via is put on top.
    pub fn send_request(&mut self, destination: impl Into<Peer>, mut request: Request) {
        let peer = destination.into();
        self.push_via(&mut request, peer);
        self.send(peer, request.to_bytes());
    }

    /// Sends a response that has no transaction.
    pub fn send_response(&mut self, destination: impl Into<Peer>, response: Response) {
        self.send(destination.into(), response.to_bytes());
    }

    fn send(&mut self, peer: Peer, payload: Bytes) {
        self.outbox.push_back(Transmit {
            destination: peer.address,
            transport: peer.transport,
            payload,
        });
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn push_via(&mut self, request: &mut Request, peer: Peer) -> String {
        let branch = format!("{MAGIC_COOKIE}{:016x}", (self.random)());
        let local = self.local_towards(peer.address);
        let via = Via::over(peer.transport, local, &branch);
        request.headers.push_front(Name::Via, &via.to_string());
        branch
    }
}

/// A number as a tag (RFC 3261 section 19.3).
fn tag(number: u64) -> String {
    format!("{number:016x}")
}

/// Moves a transaction's place in the queue of deadlines.
fn arm(
    wakes: &mut BTreeSet<(Instant, Wake)>,
    wake: Wake,
    armed: &mut Option<Instant>,
    next: Option<Instant>,
) {
    if *armed == next {
        return;
    }
    if let Some(at) = armed.take() {
        wakes.remove(&(at, wake));
    }
    if let Some(at) = next {
        wakes.insert((at, wake));
    }
    *armed = next;
}
