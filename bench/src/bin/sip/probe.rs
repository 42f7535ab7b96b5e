//! Calls beside sipp's, one at a time, for the time until they are answered: sipp itself knows it to
//! the millisecond only.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench::Result;

use crate::sipp::{Offer, STREAM};

/// Between the begins of two calls.
const APART: Duration = Duration::from_millis(5);
/// Until an answer; nothing is sent again.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// INVITE → 202 in milliseconds.
    pub setups: Vec<f64>,
    /// Calls without an answer.
    pub failed: u32,
}

/// A caller.
struct Probe {
    socket: UdpSocket,
    server: SocketAddr,
    local: SocketAddr,
    offer: String,
    buffer: Vec<u8>,
}

/// Calls until it is told to stop.
pub fn run(server: SocketAddr, offer: Offer, stop: &AtomicBool) -> Result<Seen> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut probe = Probe {
        local: socket.local_addr()?,
        socket,
        server,
        offer: offer.sdp().replace('\n', "\r\n") + "\r\n",
        buffer: vec![0; 65536],
    };
    let mut seen = Seen::default();
    let start = Instant::now();
    for number in 0.. {
        thread::sleep((start + APART * number).saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match probe.call(number)? {
            Some(setup) => seen.setups.push(setup.as_secs_f64() * 1e3),
            None => seen.failed += 1,
        }
    }
    Ok(seen)
}

impl Probe {
    /// One call; `None` when it is not answered.
    fn call(&mut self, number: u32) -> Result<Option<Duration>> {
        let Self { server, local, .. } = *self;
        let stream = format!("sip:{STREAM}@{server}");
        let contact = format!("Contact: <sip:viewer@{local}>\r\nContent-Type: application/sdp\r\n");
        let to = format!("<{stream}>");
        let invite = self.request("INVITE", &stream, 1, number, &to, &contact, &self.offer);
        let start = Instant::now();
        self.socket.send_to(invite.as_bytes(), server)?;
        let Some(accepted) = self.answer(number, "INVITE")? else {
            return Ok(None);
        };
        let setup = start.elapsed();
        let field = |name: &str| {
            let value = field(&accepted, name);
            value.ok_or_else(|| format!("no {name} in the answer:\n{accepted}"))
        };
        let (to, routes) = (
            field("To")?,
            format!("Route: {}\r\n", field("Record-Route")?),
        );
        let target = field("Contact")?.trim_matches(['<', '>']).to_owned();
        let ack = self.request("ACK", &target, 1, number, to, &routes, "");
        self.socket.send_to(ack.as_bytes(), server)?;
        let bye = self.request("BYE", &target, 2, number, to, &routes, "");
        self.socket.send_to(bye.as_bytes(), server)?;
        Ok(self.answer(number, "BYE")?.map(|_| setup))
    }

    #[expect(clippy::too_many_arguments, reason = "each is a line of the message")]
    fn request(
        &self,
        method: &str,
        target: &str,
        cseq: u32,
        call: u32,
        to: &str,
        further: &str,
        body: &str,
    ) -> String {
        let local = self.local;
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};rport;branch=z9hG4bKprobe{call}{method}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:viewer@{local}>;tag=probe{call}\r\n\
             To: {to}\r\n\
             Call-ID: probe{call}@{local}\r\n\
             CSeq: {cseq} {method}\r\n\
             {further}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// The successful answer to a request, if it comes in time.
    fn answer(&mut self, call: u32, method: &str) -> Result<Option<String>> {
        let branch = format!("branch=z9hG4bKprobe{call}{method}");
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let length = match self.socket.recv(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            let text = String::from_utf8_lossy(&self.buffer[..length]);
            // What is of an earlier call, or provisional, is not waited for.
            if text.starts_with("SIP/2.0 2") && text.contains(&branch) {
                return Ok(Some(text.into_owned()));
            }
        }
        Ok(None)
    }
}

/// The value of a header field.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = message.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(each, _)| each.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
