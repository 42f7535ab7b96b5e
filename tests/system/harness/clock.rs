//! A picture that says when it was taken, in blocks that survive every encoder: a source in the
//! place of `videotestsrc`, read again off the screen by `tests/browser/probe.js`.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Frames per second.
pub const RATE: u32 = 30;
/// Size of what is painted: small enough for one datagram, which is one frame.
const WIDTH: usize = 160;
const HEIGHT: usize = 90;
/// Width and height of a block.
const BLOCK: usize = 10;
/// Blocks in a row, the highest bit first: two rows of time, one of both combined with this.
const BITS: usize = 16;
const CHECK: u16 = 0x5a5a;
/// Ports from here up to 32767 nobody gets who does not ask for them; each test asks for others.
static NEXT_PORT: AtomicU16 = AtomicU16::new(20_000);

/// The painter; ends when dropped.
#[derive(Debug)]
pub struct PaintedClock {
    port: u16,
    over: Option<Sender<()>>,
    painter: Option<JoinHandle<()>>,
}

impl PaintedClock {
    /// Begins to paint; who is not there yet misses frames.
    pub fn start() -> Self {
        let port = free_port();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket
            .connect((Ipv4Addr::LOCALHOST, port))
            .expect("loopback is there");
        let (over, end) = channel();
        let painter = thread::spawn(move || {
            let begin = Instant::now();
            for number in 0.. {
                let due = begin + number * Duration::from_secs(1) / RATE;
                let wait = due.saturating_duration_since(Instant::now());
                if end.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                // Nobody listens yet, or any more.
                let _ = socket.send(&frame(number as usize, now()));
            }
        });
        Self {
            port,
            over: Some(over),
            painter: Some(painter),
        }
    }

    /// What stands in a description for this picture, in the place of a source.
    pub fn source(&self) -> String {
        let port = self.port;
        format!(
            "udpsrc address=127.0.0.1 port={port} \
             caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={RATE}/1 \
             ! videoscale method=nearest-neighbour"
        )
    }
}

impl Drop for PaintedClock {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(painter) = self.painter.take() {
            let _ = painter.join();
        }
    }
}

/// A port for datagrams that nobody has.
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| NEXT_PORT.fetch_add(1, Ordering::Relaxed))
        .find(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a port is free")
}

/// The lower half of the time since 1970 in milliseconds.
fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a time after 1970").as_millis() as u32
}

/// A picture as I420: the time, and below it bars that wander.
fn frame(number: usize, time: u32) -> Vec<u8> {
    let mut frame = Vec::with_capacity(WIDTH * HEIGHT * 3 / 2);
    let rows = [(time >> 16) as u16, time as u16];
    let rows = [rows[0], rows[1], rows[0] ^ rows[1] ^ CHECK];
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let light = match rows.get(y / BLOCK) {
                Some(bits) if (bits >> (BITS - 1 - x / BLOCK)) & 1 == 1 => 235,
                Some(_) => 16,
                None => bar(number, x) * 25 + 50,
            };
            frame.push(light);
        }
    }
    for shift in [0, 3] {
        for y in 0..HEIGHT / 2 {
            for x in 0..WIDTH / 2 {
                let colour = bar(number, x * 2 + shift * 20) * 30 + 20;
                frame.push(if y * 2 < 3 * BLOCK { 128 } else { colour });
            }
        }
    }
    frame
}

/// Which of the seven bars is here.
fn bar(number: usize, x: usize) -> u8 {
    ((x + number) % WIDTH * 7 / WIDTH) as u8
}
