//! ICE candidates (RFC 8839 section 5.1), as far as we use them.

use std::net::IpAddr;

/// A candidate over UDP with a literal address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Groups candidates of one base.
    pub foundation: String,
    /// Higher is preferred.
    pub priority: u32,
    /// Where packets go.
    pub address: IpAddr,
    /// Where packets go.
    pub port: u16,
    /// `host`, `srflx`, `prflx` or `relay`.
    pub kind: &'static str,
    /// The base a reflexive or relayed candidate was derived from.
    pub related: Option<(IpAddr, u16)>,
}

impl Candidate {
    /// Reads the value of `a=candidate`. `None` for what is of no use here: TCP, the RTCP
    /// component (we multiplex), names such as `.local` ones, which must never be waited for, and
    /// addresses that are no host's.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let foundation = words.next()?;
        let well_formed = (1..=32).contains(&foundation.len())
            && foundation
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        let component = words.next()?;
        let transport = words.next()?;
        if !well_formed || component != "1" || !transport.eq_ignore_ascii_case("udp") {
            return None;
        }
        let priority = words.next()?.parse().ok()?;
        let address: IpAddr = words.next()?.parse().ok()?;
        let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
        if words.next()? != "typ" {
            return None;
        }
        let kind = match words.next()? {
            "host" => "host",
            "srflx" => "srflx",
            "prflx" => "prflx",
            "relay" => "relay",
            _ => return None,
        };
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        if address.is_unspecified() || address.is_multicast() || broadcast {
            return None;
        }
        let mut related_address = None;
        let mut related_port = None;
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            match key {
                "raddr" => related_address = value.parse().ok(),
                "rport" => related_port = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self {
            foundation: foundation.to_owned(),
            priority,
            address,
            port,
            kind,
            related: related_address.zip(related_port),
        })
    }

    /// The value of `a=candidate`.
    pub fn to_sdp(&self) -> String {
        let related = self
            .related
            .map(|(address, port)| format!(" raddr {address} rport {port}"))
            .unwrap_or_default();
        format!(
            "{} 1 UDP {} {} {} typ {}{related}",
            self.foundation, self.priority, self.address, self.port, self.kind
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_prints_as_it_was_read() {
        for text in [
            "0a4d0001 1 UDP 2113929471 10.77.0.1 18502 typ host",
            "842163049 1 UDP 1677729535 203.0.113.7 61665 typ srflx raddr 10.0.0.4 rport 61665",
            "1 1 UDP 2113929471 2001:db8::1 9000 typ host",
        ] {
            assert_eq!(Candidate::parse(text).unwrap().to_sdp(), text);
        }
    }

    #[test]
    fn what_we_cannot_use_is_left_out() {
        for text in [
            "",
            "0 1 UDP 2122252543 7485db66-040c-4587-8dd3-f3dc07a71dee.local 46201 typ host",
            "1 1 TCP 2105524479 10.0.0.1 9 typ host tcptype active",
            "0 2 UDP 2122252542 10.0.0.1 44306 typ host",
            "0 1 UDP 1 10.0.0.1 0 typ host",
            "0 1 UDP 1 0.0.0.0 9 typ host",
            "0 1 UDP 1 224.0.0.251 5353 typ host",
            "0 1 UDP 1 255.255.255.255 5353 typ host",
            "0 1 UDP 99999999999 10.0.0.1 9 typ host",
            "0 1 UDP 1 10.0.0.1 9 typ other",
            "0 1 UDP 1 10.0.0.1",
        ] {
            assert_eq!(Candidate::parse(text), None, "{text}");
        }
    }
}
