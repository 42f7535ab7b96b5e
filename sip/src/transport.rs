//! What carries messages (RFC 3261 section 18): datagrams, and streams, which carry what is too
//! long for them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// How a message travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// By datagrams, which get lost and are sent again.
    #[default]
    Udp,
    /// By a stream, which loses nothing as long as it lasts.
    Tcp,
}

impl Transport {
    /// As a Via has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }

    /// As the `transport` parameter of a URI names it; nothing else is known here (RFC 3261 section
    /// 19.1.1).
    pub fn of_uri(name: Option<&str>) -> Self {
        match name {
            Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            _ => Transport::Udp,
        }
    }
}

/// Where a message goes, and how.
///
/// [`Transport::Udp`] leaves the choice to the endpoint: what is too long for a datagram goes by a
/// stream where the other side has one. [`Transport::Tcp`] is for those that have nothing else; it
/// uses the stream that they have opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The other end: of a stream, its own address there.
    pub address: SocketAddr,
    /// How.
    pub transport: Transport,
}

impl Peer {
    /// The other end of a stream.
    pub fn tcp(address: SocketAddr) -> Self {
        Peer {
            address,
            transport: Transport::Tcp,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Peer {
            address,
            transport: Transport::Udp,
        }
    }
}

/// An address as others write it. A socket of version 6 that serves both versions shows those of
/// version 4 as `::ffff:192.0.2.1` (RFC 4291 section 2.5.5.2), which nobody else is to see.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// An address as a socket that is bound to `local` takes it.
pub(crate) fn mapped(local: SocketAddr, address: SocketAddr) -> SocketAddr {
    match (local, address) {
        (SocketAddr::V6(_), SocketAddr::V4(peer)) => {
            SocketAddr::new(peer.ip().to_ipv6_mapped().into(), peer.port())
        }
        _ => address,
    }
}

/// What follows the address of a stream.
const TCP: &str = ";transport=tcp";

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.transport {
            Transport::Udp => "",
            Transport::Tcp => TCP,
        };
        write!(f, "{}{suffix}", self.address)
    }
}

impl FromStr for Peer {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix(TCP) {
            Some(address) => address.parse().map(Peer::tcp),
            None => text.parse::<SocketAddr>().map(Peer::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_both_versions_knows_version_4_by_its_own_addresses() {
        let [here, there, mapped_there]: [SocketAddr; 3] =
            ["[::]:5060", "192.0.2.1:7", "[::ffff:192.0.2.1]:7"].map(|text| text.parse().unwrap());
        assert_eq!(canonical(mapped_there), there);
        assert_eq!(mapped(here, there), mapped_there);
        for same in [here, there] {
            assert_eq!(canonical(same), same);
            assert_eq!(mapped(same, same), same);
        }
    }

    #[test]
    fn a_peer_is_read_as_it_was_written() {
        for text in ["192.0.2.1:5060", "[2001:db8::1]:5060;transport=tcp"] {
            assert_eq!(text.parse::<Peer>().unwrap().to_string(), text);
        }
        assert!("192.0.2.1:5060;transport=udp".parse::<Peer>().is_err());
    }
}
