//! The one place where SIP meets the runtime: a task that owns a socket, its endpoint and a role, and
//! moves messages, commands and time between them. A socket is a UDP port and the TCP port of the
//! same number.

#![expect(
    clippy::disallowed_methods,
    reason = "the driver is what gives the core its time"
)]

mod streams;

use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::auth::is_user;
use crate::endpoint::{Config, Endpoint, Event};
use crate::header::Name;
use crate::transaction::Transmit;
use crate::transport::{Transport, canonical, mapped};
use streams::{News, Streams};

/// Bytes of socket buffer asked for in each direction: a burst of browser offers, 6 kB each.
const SOCKET_BUFFER: usize = 4 << 20;
/// Free ports that are tried for one that is free for both transports.
const BIND_TRIES: usize = 32;
/// How long a role may take to say goodbye.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(4);

/// What one program does with SIP. It is called by one task only, never waits, and is given the
/// time.
pub trait Role: Send {
    /// What the rest of the program asks of it.
    type Command: Send;

    /// Whether a message of this source is looked at; if not, it is as if it had been lost.
    fn admits(&mut self, _now: Instant, _source: SocketAddr) -> bool {
        true
    }

    /// Something came from the network, or failed to.
    fn handle_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint);

    /// The program asks for something.
    fn handle_command(&mut self, now: Instant, command: Self::Command, endpoint: &mut Endpoint);

    /// A deadline that [`Role::poll_timeout`] named is due.
    fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint);

    /// A stream has ended, or could not be opened.
    fn handle_stream_end(&mut self, _now: Instant, _peer: SocketAddr) {}

    /// The role's own next deadline.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The program is ending: hang up, withdraw, refuse what is new.
    fn handle_shutdown(&mut self, now: Instant, endpoint: &mut Endpoint);

    /// True when nothing keeps the program from ending.
    fn is_drained(&self) -> bool;
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// It came from the peer.
    In,
    /// It goes to the peer.
    Out,
}

/// A datagram that passed the socket, or a message of a stream.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// When it was read, or was going to be sent.
    pub time: SystemTime,
    /// Which way.
    pub way: Way,
    /// By which transport.
    pub transport: Transport,
    /// The other end.
    pub peer: SocketAddr,
    /// This end: where the socket is bound or, when that is every address, where others reach it.
    pub local: SocketAddr,
    /// What it holds.
    pub payload: Bytes,
}

/// Sees every datagram that passes a socket, those that are no SIP as well, and before the peer
/// does, so that no answer seems to come first; of one that the system then refuses nobody else
/// will hear. It is called by the task of the socket, so it must be quick and never wait.
pub trait Tap: fmt::Debug + Send + Sync {
    /// One has passed.
    fn handle_datagram(&mut self, datagram: &Datagram);
}

/// A bound socket, not yet running.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    streams: Streams,
    local: SocketAddr,
    tap: Option<Box<dyn Tap>>,
}

impl Socket {
    /// Binds a UDP socket with large buffers, and listens at the TCP port of the same number. Port
    /// 0 takes any that is free for both.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut tries = if address.port() == 0 { BIND_TRIES } else { 1 };
        loop {
            let socket = Self::bind_udp(address)?;
            let local = socket.local_addr()?;
            tries -= 1;
            match Streams::bind(local) {
                Ok(streams) => {
                    return Ok(Socket {
                        socket,
                        streams,
                        local,
                        tap: None,
                    });
                }
                Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    let text = format!("TCP: {error}");
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
    }

    fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
        let kind = socket2::Type::DGRAM;
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
        socket.set_nonblocking(true)?;
        // The kernel grants what its limit allows; less still works.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// The same socket with this one looking on.
    #[must_use]
    pub fn with_tap(mut self, tap: Box<dyn Tap>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// The address it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// An endpoint for this socket with identifiers from the operating system's generator.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint_at(self.local)
    }

    /// The same for a socket that others reach under another address than it is bound to: this
    /// one goes into Via.
    pub fn endpoint_at(&self, advertised: SocketAddr) -> Endpoint {
        self.endpoint_at_both(advertised, None)
    }

    /// The same for a socket that others reach under an address of each version of IP.
    pub fn endpoint_at_both(&self, advertised: SocketAddr, other: Option<SocketAddr>) -> Endpoint {
        let mut config = Config::new(advertised);
        config.other = other;
        config.streams = true;
        Endpoint::new(config, random)
    }

    /// Runs a role on this socket until `shutdown` completes and the role has said goodbye.
    ///
    /// # Errors
    /// When the socket cannot be read any more.
    pub async fn run<R: Role>(
        mut self,
        mut endpoint: Endpoint,
        mut role: R,
        mut commands: mpsc::Receiver<R::Command>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ending: Option<Instant> = None;
        let mut commands_open = true;
        loop {
            self.drain(&mut endpoint, &mut role).await;
            if ending.is_some_and(|limit| role.is_drained() || limit <= Instant::now()) {
                self.streams.finish().await;
                return Ok(());
            }
            let deadline = [endpoint.poll_timeout(), role.poll_timeout(), ending]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((length, source)) => {
                        let now = Instant::now();
                        let source = canonical(source);
                        if !role.admits(now, source) {
                            continue;
                        }
                        let data = Bytes::copy_from_slice(&buffer[..length]);
                        let local = self.here(&endpoint, source);
                        self.see(Way::In, Transport::Udp, source, local, &data);
                        endpoint.handle_datagram(now, source, data);
                    }
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return Err(error),
                },
                news = self.streams.next() => {
                    let now = Instant::now();
                    match news {
                        News::Open(peer) => endpoint.handle_stream_open(peer),
                        News::Refused(peer) => {
                            endpoint.handle_stream_refused(now, peer);
                            role.handle_stream_end(now, peer);
                        }
                        News::End(peer) => {
                            endpoint.handle_stream_end(now, peer);
                            role.handle_stream_end(now, peer);
                        }
                        News::Message(source, data) => {
                            if role.admits(now, source) {
                                let local = self.here(&endpoint, source);
                                self.see(Way::In, Transport::Tcp, source, local, &data);
                                endpoint.handle_stream_message(now, source, data);
                            }
                        }
                    }
                }
                command = commands.recv(), if commands_open => match command {
                    Some(command) => role.handle_command(Instant::now(), command, &mut endpoint),
                    None => commands_open = false,
                },
                () = sleep_until(deadline) => {
                    let now = Instant::now();
                    endpoint.handle_timeout(now);
                    if role.poll_timeout().is_some_and(|at| at <= now) {
                        role.handle_timeout(now, &mut endpoint);
                    }
                }
                () = &mut shutdown, if ending.is_none() => {
                    let now = Instant::now();
                    ending = Some(now + SHUTDOWN_LIMIT);
                    role.handle_shutdown(now, &mut endpoint);
                }
            }
        }
    }

    /// This end of what passes.
    fn here(&self, endpoint: &Endpoint, peer: SocketAddr) -> SocketAddr {
        if self.local.ip().is_unspecified() {
            return endpoint.local_towards(peer);
        }
        self.local
    }

    /// Shows a message to those that look on.
    fn see(
        &mut self,
        way: Way,
        transport: Transport,
        peer: SocketAddr,
        local: SocketAddr,
        payload: &Bytes,
    ) {
        log(way, transport, peer, payload);
        if let Some(tap) = &mut self.tap {
            tap.handle_datagram(&Datagram {
                time: SystemTime::now(),
                way,
                transport,
                peer,
                local,
                payload: payload.clone(),
            });
        }
    }

    /// Hands events to the role and datagrams to the socket until neither is left.
    async fn drain<R: Role>(&mut self, endpoint: &mut Endpoint, role: &mut R) {
        loop {
            while let Some(event) = endpoint.poll_event() {
                role.handle_event(Instant::now(), event, endpoint);
            }
            while let Some(transmit) = endpoint.poll_transmit() {
                let Transmit {
                    destination,
                    transport,
                    payload,
                } = transmit;
                let local = self.here(endpoint, destination);
                self.see(Way::Out, transport, destination, local, &payload);
                match transport {
                    Transport::Tcp => self.streams.send(destination, payload),
                    // A datagram that cannot be sent is a datagram lost: timers see to it.
                    Transport::Udp => {
                        let peer = mapped(self.local, destination);
                        if let Err(error) = self.socket.send_to(&payload, peer).await {
                            tracing::debug!(%destination, %error, "not sent");
                        }
                    }
                }
            }
            if !endpoint.has_events() {
                return;
            }
        }
    }
}

/// The address of this machine that packets to `peer` come from.
///
/// # Errors
/// When no route leads there.
pub fn local_ip_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let probe = std::net::UdpSocket::bind(any)?;
    // Connecting a UDP socket sends nothing; it only looks the route up.
    probe.connect(peer)?;
    Ok(probe.local_addr()?.ip())
}

/// Where other machines reach a socket that is bound to `local`: there, or, when it is bound to all
/// addresses, at those that this machine's packets to elsewhere come from, at most one of each version
/// of IP. None when no route leads elsewhere.
pub fn outer_addresses(local: SocketAddr) -> Vec<SocketAddr> {
    if !local.ip().is_unspecified() {
        return vec![local];
    }
    // Documentation addresses (RFC 5737, RFC 3849): the default route leads there, and nothing
    // is sent.
    let version_4: SocketAddr = ([192, 0, 2, 1], 9).into();
    let version_6: SocketAddr = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into();
    let elsewhere = match local {
        SocketAddr::V4(_) => vec![version_4],
        SocketAddr::V6(_) => vec![version_6, version_4],
    };
    let ours = elsewhere
        .into_iter()
        .filter_map(|it| local_ip_towards(it).ok());
    ours.map(|ip| SocketAddr::new(ip, local.port())).collect()
}

/// The first of [`outer_addresses`], or this machine's own.
pub fn outer_address(local: SocketAddr) -> SocketAddr {
    let first = outer_addresses(local).into_iter().next();
    first.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), local.port()))
}

/// Checks the flag `--signaling`: the server that a program sends every request to. Elsewhere it
/// asks who sends, so the program should be a user.
///
/// # Errors
/// One sentence for the person who started the program.
pub fn check_signaling(
    address: SocketAddr,
    user: Option<&str>,
    insecure: bool,
) -> Result<(), String> {
    if !is_reachable(address) {
        return Err(format!(
            "--signaling {address} is not an address to send to"
        ));
    }
    if !address.ip().is_loopback() && user.is_none() && !insecure {
        return Err(format!(
            "--signaling {address} is on another machine: give the user for it with --sip-user \
             and --sip-password-file, or add --insecure if the network between them is yours alone"
        ));
    }
    Ok(())
}

/// Checks the flags `--sip-user` and `--sip-password-file`: who a program is for the signaling
/// server.
///
/// # Errors
/// One sentence for the person who started the program.
pub fn check_user(user: Option<&str>, password: Option<&Path>) -> Result<(), String> {
    let why = match (user, password) {
        (Some(_), None) => "--sip-user has a password: name its file with --sip-password-file",
        (None, Some(_)) => "--sip-password-file is whose? Name the user with --sip-user",
        (Some(user), _) if !is_user(user) => {
            "--sip-user is 1 to 64 visible ASCII characters without : , \" and \\"
        }
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

/// Checks the flag `--advertise`: the address that others are told instead of the socket's own.
///
/// # Errors
/// One sentence for the person who started the program.
pub fn check_advertised(address: Option<SocketAddr>) -> Result<(), String> {
    match address {
        Some(address) if !is_reachable(address) => Err(format!(
            "--advertise {address} is not an address others can send to"
        )),
        _ => Ok(()),
    }
}

fn is_reachable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified()
}

/// One line for each message at debug, the whole of it at trace.
fn log(way: Way, transport: Transport, peer: SocketAddr, data: &[u8]) {
    let way = match way {
        Way::In => "from",
        Way::Out => "to",
    };
    let transport = transport.as_str();
    if tracing::enabled!(tracing::Level::TRACE) {
        tracing::trace!(way, transport, %peer, "{}", without_credentials(&String::from_utf8_lossy(data)));
    } else if tracing::enabled!(tracing::Level::DEBUG) {
        let text = String::from_utf8_lossy(data);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let is_call_id = |name: &str| Name::parse(name.trim()) == Name::CallId;
        let call_id = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| is_call_id(name));
        let call_id = call_id.map_or("", |(_, value)| value.trim());
        tracing::debug!(way, transport, %peer, call_id, "{first}");
    }
}

/// A message whose proofs of passwords are left out.
fn without_credentials(text: &str) -> String {
    let mut hidden = false;
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        // A line goes on where the next one begins with white space (RFC 3261 section 7.3.1).
        let goes_on = line.starts_with([' ', '\t']);
        if goes_on && hidden {
            continue;
        }
        let name = line
            .split_once(':')
            .map(|(name, _)| Name::parse(name.trim()));
        let name = name.filter(|_| !goes_on);
        hidden = matches!(name, Some(Name::Authorization | Name::ProxyAuthorization));
        match name {
            Some(name) if hidden => {
                shown.push_str(name.as_str());
                shown.push_str(": [redacted]\r\n");
            }
            _ => shown.push_str(line),
        }
    }
    shown
}

/// 64 bits from the operating system.
fn random() -> u64 {
    // The generator fails only where the system has none, and nothing secret could be made there.
    getrandom::u64().expect("the operating system gives random numbers")
}

/// Errors that an earlier datagram of ours brought back (ICMP), not faults of the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_elsewhere_wants_a_user_or_a_network_of_ones_own() {
        let there = "192.0.2.1:5060".parse().unwrap();
        let refused = check_signaling(there, None, false).unwrap_err();
        assert!(refused.contains("--sip-user") && refused.contains("--insecure"));
        for (user, insecure) in [(Some("ana"), false), (None, true)] {
            assert_eq!(check_signaling(there, user, insecure), Ok(()));
        }
        let here = "127.0.0.1:5060".parse().unwrap();
        assert_eq!(check_signaling(here, None, false), Ok(()));
        let nowhere = "0.0.0.0:5060".parse().unwrap();
        assert!(check_signaling(nowhere, Some("ana"), true).is_err());
    }

    #[test]
    fn a_user_has_a_password_and_a_password_a_user() {
        let file = Some(Path::new("password"));
        for (user, password, good) in [
            (None, None, true),
            (Some("ana"), file, true),
            (Some("ana"), None, false),
            (None, file, false),
            (Some("a:b"), file, false),
        ] {
            assert_eq!(check_user(user, password).is_ok(), good, "{user:?}");
        }
    }

    #[test]
    fn proofs_of_passwords_are_not_logged() {
        let shown = without_credentials(
            "REGISTER sip:h SIP/2.0\r\nAUTHORIZATION : Digest a=\"b\",\r\n\tresponse=\"5ec4e7\"\r\n\
             To: <sip:h>\r\n folded\r\nproxy-authorization: 5ec4e7\r\n\r\nbody",
        );
        assert_eq!(
            shown,
            "REGISTER sip:h SIP/2.0\r\nAuthorization: [redacted]\r\nTo: <sip:h>\r\n folded\r\n\
             Proxy-Authorization: [redacted]\r\n\r\nbody"
        );
    }
}
