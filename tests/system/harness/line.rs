//! A narrow, slow or lossy line between a browser and the streamer's media.
//!
//! It stands in front of `front`, too: answers pass it with the line in the place of the streamer's
//! candidates, and offers without candidates of the browser's, so that no packet finds another way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::hop::Die;

/// How often threads look whether they shall end.
const LOOK: Duration = Duration::from_millis(50);
/// What a router keeps for a line that is too narrow, as time; more is lost.
const QUEUE: Duration = Duration::from_millis(200);

/// How a line is, towards the browser; delay and losses are the same both ways.
#[derive(Clone, Copy, Debug, Default)]
pub struct Condition {
    /// One way.
    pub delay: Duration,
    /// Percent.
    pub loss: u64,
    /// Bits per second; `None` for as many as come.
    pub rate: Option<u64>,
}

/// The line; ends when dropped.
#[derive(Debug)]
pub struct Line {
    http: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    front: SocketAddr,
    condition: Mutex<Condition>,
    over: AtomicBool,
    packets: Sender<Packet>,
    /// For each socket of a browser the one that stands for it towards the streamer.
    routes: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    /// The streamer's socket of the newest connection.
    streamer: Mutex<Option<SocketAddr>>,
}

/// A datagram on its way.
#[derive(Debug)]
struct Packet {
    by: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
    to_browser: bool,
}

impl Line {
    /// A perfect line in front of `front`.
    pub fn start(front: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let http = listener.local_addr().expect("it is bound");
        let (packets, inbox) = channel();
        let shared = Arc::new(Shared {
            front,
            condition: Mutex::default(),
            over: AtomicBool::new(false),
            packets,
            routes: Mutex::default(),
            streamer: Mutex::default(),
        });
        let (proxy, carrier) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || proxy.serve(&listener)),
            thread::spawn(move || carrier.carry(&inbox, seed)),
        ];
        Self {
            http,
            shared,
            threads,
        }
    }

    /// The address of a page, through the line.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// What sends to the streamer in the name of the newest connection's browser.
    pub fn forger(&self) -> impl Fn(&[u8]) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |bytes| {
            let streamer = *shared.streamer.lock().unwrap();
            let routes = shared.routes.lock().unwrap();
            if let Some(streamer) = streamer {
                for far in routes.values() {
                    // Whoever is gone gets nothing.
                    let _ = far.send_to(bytes, streamer);
                }
            }
        }
    }

    /// How the line is from now on.
    pub fn set(&self, condition: Condition) {
        *self.shared.condition.lock().unwrap() = condition;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the one that accepts.
        let _ = TcpStream::connect(self.http);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            if self.is_over() {
                return;
            }
            let shared = Arc::clone(self);
            // Ends with the browser's connection.
            thread::spawn(move || shared.pass_request(client));
        }
    }

    /// Passes one request on, and its answer back.
    fn pass_request(self: Arc<Self>, mut client: TcpStream) -> Option<()> {
        let (head, mut body) = read_head(&mut client)?;
        let is_offer = head.starts_with("POST /whep/");
        let length = header(&head, "content-length").and_then(|length| length.parse().ok());
        fill(&mut client, &mut body, length.unwrap_or(0))?;
        if is_offer {
            let offer = String::from_utf8(body).ok()?;
            body = without_candidates(&offer).into_bytes();
        }
        let mut server = TcpStream::connect(self.front).ok()?;
        server
            .write_all(with_length(&head, length.map(|_| body.len())).as_bytes())
            .ok()?;
        server.write_all(&body).ok()?;
        if is_offer {
            let (head, mut answer) = read_head(&mut server)?;
            server.read_to_end(&mut answer).ok()?;
            let answer = self.through_us(&String::from_utf8(answer).ok()?);
            client
                .write_all(with_length(&head, Some(answer.len())).as_bytes())
                .ok()?;
            client.write_all(answer.as_bytes()).ok()?;
        } else {
            // An event stream goes on until either side leaves.
            let mut back = server.try_clone().ok()?;
            let mut gone = client.try_clone().ok()?;
            let watch = thread::spawn(move || {
                let _ = gone.read(&mut [0; 1]);
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
            let _ = std::io::copy(&mut back, &mut client);
            let _ = client.shutdown(std::net::Shutdown::Both);
            let _ = watch.join();
        }
        Some(())
    }

    /// An answer with us for its only candidate.
    fn through_us(self: &Arc<Self>, answer: &str) -> String {
        let mut text = String::new();
        let mut shown = false;
        for line in answer.lines() {
            let Some(candidate) = line.strip_prefix("a=candidate:") else {
                text.push_str(&format!("{line}\r\n"));
                continue;
            };
            let mut words: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
            let address = (words[4].parse::<IpAddr>(), words[5].parse::<u16>());
            if let (false, (Ok(ip @ IpAddr::V4(_)), Ok(port))) = (shown, address) {
                shown = true;
                words[5] = self.open(SocketAddr::new(ip, port)).port().to_string();
                text.push_str(&format!("a=candidate:{}\r\n", words.join(" ")));
            }
        }
        text
    }

    /// A socket that leads to the streamer's.
    fn open(self: &Arc<Self>, streamer: SocketAddr) -> SocketAddr {
        let near = Arc::new(bound(streamer.ip()));
        let address = near.local_addr().expect("it is bound");
        self.routes.lock().unwrap().clear();
        *self.streamer.lock().unwrap() = Some(streamer);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            while let Some((bytes, browser)) = shared.receive(&near) {
                let by = shared.far(&near, browser, streamer.ip());
                let _ = shared.packets.send(Packet {
                    by,
                    to: streamer,
                    bytes,
                    to_browser: false,
                });
            }
        });
        address
    }

    /// The socket that stands for a browser's towards the streamer.
    fn far(
        self: &Arc<Self>,
        near: &Arc<UdpSocket>,
        browser: SocketAddr,
        ip: IpAddr,
    ) -> Arc<UdpSocket> {
        let mut routes = self.routes.lock().unwrap();
        if let Some(far) = routes.get(&browser) {
            return Arc::clone(far);
        }
        let far = Arc::new(bound(ip));
        routes.insert(browser, Arc::clone(&far));
        let (shared, near, own) = (Arc::clone(self), Arc::clone(near), Arc::clone(&far));
        thread::spawn(move || {
            while let Some((bytes, _)) = shared.receive(&own) {
                let _ = shared.packets.send(Packet {
                    by: Arc::clone(&near),
                    to: browser,
                    bytes,
                    to_browser: true,
                });
            }
        });
        far
    }

    /// The next datagram; `None` at the end.
    fn receive(&self, socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
        let mut bytes = vec![0; 2048];
        while !self.is_over() {
            if let Ok((length, source)) = socket.recv_from(&mut bytes) {
                bytes.truncate(length);
                return Some((bytes, source));
            }
        }
        None
    }

    /// Loses, delays and sends.
    fn carry(&self, inbox: &Receiver<Packet>, seed: u64) {
        let mut die = Die(seed);
        let mut waiting: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
        let mut packets: HashMap<u64, Packet> = HashMap::new();
        let mut number = 0;
        // When the narrow part of the line is free again.
        let mut free = Instant::now();
        while !self.is_over() {
            let now = Instant::now();
            while let Some(&Reverse((due, key))) = waiting.peek() {
                if due > now {
                    break;
                }
                waiting.pop();
                if let Some(packet) = packets.remove(&key) {
                    // Whoever is gone gets nothing.
                    let _ = packet.by.send_to(&packet.bytes, packet.to);
                }
            }
            let wait = waiting
                .peek()
                .map_or(LOOK, |Reverse((due, _))| due.saturating_duration_since(now));
            let packet = match inbox.recv_timeout(wait.min(LOOK)) {
                Ok(packet) => packet,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = Instant::now();
            let condition = *self.condition.lock().unwrap();
            let mut due = now + condition.delay;
            let mut lost = die.roll(100) < condition.loss;
            if let Some(rate) = condition.rate.filter(|_| packet.to_browser && !lost) {
                free = free.max(now);
                lost = free - now > QUEUE;
                if !lost {
                    free += Duration::from_secs_f64(packet.bytes.len() as f64 * 8.0 / rate as f64);
                    due += free - now;
                }
            }
            if lost {
                continue;
            }
            number += 1;
            waiting.push(Reverse((due, number)));
            packets.insert(number, packet);
        }
    }
}

fn bound(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("an address of ours has a free port");
    socket
        .set_read_timeout(Some(LOOK))
        .expect("a timeout can be set");
    socket
}

fn without_candidates(offer: &str) -> String {
    let kept = offer
        .lines()
        .filter(|line| !line.starts_with("a=candidate:"));
    kept.map(|line| format!("{line}\r\n")).collect()
}

/// The head of a message, and what came of its body with it.
fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).ok()?, body));
        }
        let length = stream.read(&mut part).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&part[..length]);
    }
}

fn fill(stream: &mut TcpStream, body: &mut Vec<u8>, length: usize) -> Option<()> {
    let have = body.len().min(length);
    body.resize(length, 0);
    stream.read_exact(&mut body[have..]).ok()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find_map(|(each, value)| each.eq_ignore_ascii_case(name).then_some(value.trim()))
}

/// The head for a body of this length, on a connection that ends with it.
fn with_length(head: &str, length: Option<usize>) -> String {
    let replaced = ["content-length", "connection", "transfer-encoding"];
    let kept = head.trim_end().lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !replaced
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
    });
    let mut text: String = kept.map(|line| format!("{line}\r\n")).collect();
    if let Some(length) = length {
        text.push_str(&format!("Content-Length: {length}\r\n"));
    }
    text.push_str("Connection: close\r\n\r\n");
    text
}
