//! Datagrams of a stranger, at the ports of somebody else's media.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::hop::Die;

/// So many at a time, and so much between: some thousands a second.
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(2);

/// What looks like STUN (RFC 8489 section 5): requests, indications, answers, with what follows the
/// header being anything.
const STUN: [[u8; 2]; 4] = [[0x00, 0x01], [0x00, 0x11], [0x01, 0x01], [0x01, 0x11]];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// What looks like DTLS 1.2 (RFC 6347 section 4.1): a change of cipher, an alert that says goodbye,
/// a handshake, data; in the clear.
const DTLS: [u8; 4] = [20, 21, 22, 23];
/// What looks like RTCP (RFC 3550 section 12.1, RFC 4585 section 6.1): reports, BYE, and requests to
/// send again and for keyframes.
const RTCP: [u8; 5] = [200, 201, 203, 205, 206];

/// The stranger; it ends when dropped.
#[derive(Debug)]
pub struct Garbage {
    sent: Arc<AtomicU64>,
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Garbage {
    /// Begins to send to these ports.
    pub fn to(ports: Vec<SocketAddr>, seed: u64) -> Self {
        let sockets: Vec<UdpSocket> = ports.iter().map(|port| connected(*port)).collect();
        Self::start(seed, move |bytes| {
            for socket in &sockets {
                // A port that is gone answers with an ICMP error.
                let _ = socket.send(bytes);
            }
        })
    }

    /// Begins to send somehow.
    pub fn start(seed: u64, send: impl Fn(&[u8]) + Send + 'static) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        let (over, end) = channel();
        let thread = thread::spawn(move || {
            let mut die = Die(seed);
            while end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                for _ in 0..BURST {
                    send(&datagram(&mut die));
                }
                counted.fetch_add(BURST as u64, Ordering::Relaxed);
            }
        });
        Self {
            sent,
            over: Some(over),
            thread: Some(thread),
        }
    }

    /// How many datagrams were sent to each port.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn connected(port: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((port.ip(), 0)).expect("an address of ours has a free port");
    socket.connect(port).expect("a port of ours can be reached");
    socket
}

/// One datagram of any kind.
fn datagram(die: &mut Die) -> Vec<u8> {
    let length = die.roll(1400) as usize;
    let mut rest: Vec<u8> = (0..length).map(|_| die.roll(256) as u8).collect();
    let mut pick = |kinds: usize| die.roll(kinds as u64) as usize;
    match pick(8) {
        // Also none at all.
        0 => rest.truncate(pick(4)),
        1 => {}
        2 | 3 => {
            let [high, low] = (rest.len() as u16 & !3).to_be_bytes();
            let header = [&STUN[pick(STUN.len())][..], &[high, low], &COOKIE, &[7; 12]];
            rest.splice(..0, header.concat());
        }
        4 => {
            // Epoch 0, number 0, a body of two bytes: at the warning level, close_notify.
            let content = DTLS[pick(DTLS.len())];
            rest = vec![content, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0];
        }
        5 => {
            let [high, low] = (rest.len() as u16).to_be_bytes();
            let content = DTLS[pick(DTLS.len())];
            let header = [content, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, high, low];
            rest.splice(..0, header);
        }
        6 => {
            let header = [0x80, 96 + pick(30) as u8];
            rest.splice(..0, header);
        }
        _ => {
            let [high, low] = (rest.len() as u16 / 4).to_be_bytes();
            let header = [0x81, RTCP[pick(RTCP.len())], high, low];
            rest.splice(..0, header);
        }
    }
    rest
}
