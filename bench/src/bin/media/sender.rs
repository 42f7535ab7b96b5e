//! The source of both servers: plays the recording to two UDP ports, over and over, and knows when
//! each frame went out.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bench::protocol::Sent;
use bench::recording::{LENGTH, Recording};
use bench::rtp::{self, Media};
use bench::{Result, wall_clock};

/// A running sender; it ends with this.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    sent: Mutex<Vec<Sent>>,
}

/// Where a server receives the two streams.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Port for VP8.
    pub video: u16,
    /// Port for Opus.
    pub audio: u16,
}

impl Ports {
    /// Two that are free now.
    pub fn free() -> Result<Self> {
        let sockets = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
        let [video, audio] = sockets.map(|socket| socket?.local_addr());
        Ok(Self {
            video: video?.port(),
            audio: audio?.port(),
        })
    }
}

impl Sender {
    /// Begins; the calling thread's cores are the sender's, too.
    pub fn start(recording: Arc<Recording>, ports: Ports) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || play(&recording, ports, &socket, &for_thread));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// What was sent from a time on the wall clock on.
    pub fn sent_since(&self, from: u64) -> Vec<Sent> {
        let sent = self
            .shared
            .sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sent.iter()
            .filter(|each| each.at >= from)
            .copied()
            .collect()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has told of itself.
            let _ = thread.join();
        }
    }
}

fn play(recording: &Recording, ports: Ports, socket: &UdpSocket, shared: &Shared) {
    let packets = |media| recording.count(media) as u64;
    let counts = (packets(Media::Video), packets(Media::Audio));
    let start = Instant::now();
    for round in 0.. {
        let begun = start + LENGTH * round;
        for packet in &recording.packets {
            if shared.over.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep((begun + packet.at).saturating_duration_since(Instant::now()));
            let (port, count) = match packet.media {
                Media::Video => (ports.video, counts.0),
                Media::Audio => (ports.audio, counts.1),
            };
            let mut bytes = packet.bytes.clone();
            // Both wrap, and no more than their lowest bits count.
            let numbers = (count * u64::from(round)) as u16;
            let rate = u64::from(packet.media.clock_rate());
            let ticks = (LENGTH.as_secs() * rate * u64::from(round)) as u32;
            rtp::shift(&mut bytes, numbers, ticks);
            if let Some(key) = packet.completes {
                let mut sent = shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
                sent.push(Sent {
                    key,
                    media: packet.media,
                    at: wall_clock(),
                });
            }
            // Nobody may listen yet.
            let _ = socket.send_to(&bytes, (Ipv4Addr::LOCALHOST, port));
        }
    }
}
