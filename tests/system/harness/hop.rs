//! A lossy hop between one role and signaling, losing datagrams by a seeded die.
//!
//! The role sends to [`Hop::near`] (its `--signaling`); signaling sees, and answers to,
//! [`Hop::far`] (the role's `--advertise`). The order in which datagrams meet the die depends on
//! scheduling, so a seed repeats a rate and a sequence, not a run.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the two threads look whether they shall end.
const LOOK: Duration = Duration::from_millis(50);

/// The running hop; ends when dropped.
#[derive(Debug)]
pub struct Hop {
    near: SocketAddr,
    far: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Losses per 1000 datagrams.
    per_mille: AtomicU32,
    over: AtomicBool,
    passed: AtomicU64,
    lost: AtomicU64,
    /// Where the role's datagrams came from last.
    role: Mutex<Option<SocketAddr>>,
    /// What was passed on.
    recording: Mutex<Vec<Datagram>>,
}

/// A datagram that was passed on, as if there were no hop.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// Who sent it.
    pub source: SocketAddr,
    /// Who got it.
    pub destination: SocketAddr,
    /// What was in it.
    pub bytes: Vec<u8>,
}

/// A SIP message of a call, of those that were passed on.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its Call-ID.
    pub call: String,
    /// Its method, and for an answer the code, too: `INVITE`, `INVITE 202`, `ACK`, …
    pub what: String,
    /// The tag of its To header; empty when there is none yet.
    pub to_tag: String,
}

impl Datagram {
    /// What is in it, if that is a message of a call: registrations and lists are none.
    fn message(&self) -> Option<Message> {
        let text = String::from_utf8_lossy(&self.bytes);
        let mut lines = text.lines();
        let first = lines.next()?;
        let headers: Vec<_> = lines
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_once(':'))
            .collect();
        let header = |name: &str| {
            let mut all = headers.iter();
            all.find_map(|(each, value)| each.eq_ignore_ascii_case(name).then_some(value.trim()))
        };
        let method = header("CSeq")?.split_whitespace().nth(1)?;
        if ["REGISTER", "OPTIONS"].contains(&method) {
            return None;
        }
        let code = first
            .strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3));
        Some(Message {
            call: header("Call-ID")?.to_owned(),
            what: code.map_or_else(|| method.to_owned(), |code| format!("{method} {code}")),
            to_tag: header("To")?
                .split(';')
                .find_map(|part| part.trim().strip_prefix("tag="))
                .unwrap_or_default()
                .to_owned(),
        })
    }
}

impl Hop {
    /// A hop towards `signaling` that loses nothing yet.
    pub fn start(signaling: SocketAddr, seed: u64) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let far = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let shared = Arc::<Shared>::default();
        let mut hop = Self {
            near: near.local_addr().expect("a bound socket has an address"),
            far: far.local_addr().expect("a bound socket has an address"),
            shared: Arc::clone(&shared),
            threads: Vec::new(),
        };
        for socket in [&near, &far] {
            socket
                .set_read_timeout(Some(LOOK))
                .expect("a timeout can be set");
        }
        let clone = |socket: &UdpSocket| socket.try_clone().expect("a socket can be cloned");
        let (out_from, out_to) = (clone(&near), clone(&far));
        let out = Arc::clone(&shared);
        hop.threads.push(thread::spawn(move || {
            forward(&out_from, &out_to, seed, &out, |source| {
                *out.role.lock().unwrap() = Some(source);
                Some(signaling)
            });
        }));
        hop.threads.push(thread::spawn(move || {
            let back = Arc::clone(&shared);
            forward(&far, &near, !seed, &shared, move |_| {
                *back.role.lock().unwrap()
            });
        }));
        hop
    }

    /// What the role takes for signaling.
    pub fn near(&self) -> SocketAddr {
        self.near
    }

    /// What signaling takes for the role.
    pub fn far(&self) -> SocketAddr {
        self.far
    }

    /// From now on loses `percent` of the datagrams, each way.
    pub fn lose(&self, percent: u32) {
        self.shared.per_mille.store(percent * 10, Ordering::Relaxed);
    }

    /// Datagrams passed on and lost so far.
    pub fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.shared.passed), count(&self.shared.lost))
    }

    /// Everything passed on so far, in order.
    pub fn recording(&self) -> Vec<Datagram> {
        self.shared.recording.lock().unwrap().clone()
    }

    /// The messages of calls among that, in order.
    pub fn messages(&self) -> Vec<Message> {
        let recording = self.shared.recording.lock().unwrap();
        recording.iter().filter_map(Datagram::message).collect()
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn forward(
    from: &UdpSocket,
    to: &UdpSocket,
    seed: u64,
    shared: &Shared,
    destination: impl Fn(SocketAddr) -> Option<SocketAddr>,
) {
    let mut die = Die(seed);
    let mut datagram = vec![0; 65_536];
    while !shared.over.load(Ordering::Relaxed) {
        // A timeout, or an ICMP error of a peer that is gone: nothing to forward.
        let Ok((length, source)) = from.recv_from(&mut datagram) else {
            continue;
        };
        let Some(destination) = destination(source) else {
            continue;
        };
        if die.roll(1000) < u64::from(shared.per_mille.load(Ordering::Relaxed)) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.passed.fetch_add(1, Ordering::Relaxed);
            shared.recording.lock().unwrap().push(Datagram {
                source,
                destination,
                bytes: datagram[..length].to_vec(),
            });
            // What cannot be sent is lost, which is what a hop may do.
            let _ = to.send_to(&datagram[..length], destination);
        }
    }
}

/// SplitMix64: small, seeded and good enough for dice.
#[derive(Debug)]
pub struct Die(pub u64);

impl Die {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
