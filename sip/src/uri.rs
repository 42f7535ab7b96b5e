//! Whom a message is for.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::header::HeaderError;

/// The port of SIP over UDP and TCP where none is named (RFC 3261 section 19.1.2).
pub const DEFAULT_PORT: u16 = 5060;

/// A SIP URI (RFC 3261 section 19.1), or any other absolute URI kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    /// `sip`, `sips`, or another scheme, as it was written.
    pub scheme: String,
    /// The user part with its escapes and password, if any.
    pub user: Option<String>,
    /// The host; of a foreign scheme, everything after the colon.
    pub host: Host,
    /// The port, where one is named.
    pub port: Option<u16>,
    /// `;name=value` parameters.
    pub params: Params,
    /// What follows `?`.
    pub headers: Option<String>,
}

/// A host in a URI or in Via.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IP literal; IPv6 stands in brackets on the wire.
    Ip(IpAddr),
    /// A name, not resolved here.
    Name(String),
}

/// Parameters in the order they came; names compare without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params(Vec<(String, Option<String>)>);

impl Uri {
    /// `sip:user@address:port`.
    pub fn at(user: Option<&str>, address: SocketAddr) -> Self {
        Uri {
            scheme: "sip".to_owned(),
            user: user.map(str::to_owned),
            host: Host::Ip(address.ip()),
            port: Some(address.port()),
            params: Params::default(),
            headers: None,
        }
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// When it does not follow RFC 3261 section 25.1: no scheme, white space, a bad escape, a
    /// bad host or port.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        let bad = HeaderError::new("URI");
        let (scheme, rest) = text.split_once(':').ok_or(bad)?;
        let starts_well = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts_well
            || !scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            || rest.is_empty()
            || text.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"".contains(c))
            || !escapes_are_whole(rest)
        {
            return Err(bad);
        }
        if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
            return Ok(Uri {
                scheme: scheme.to_owned(),
                user: None,
                host: Host::Name(rest.to_owned()),
                port: None,
                params: Params::default(),
                headers: None,
            });
        }
        // The user part may hold `;` and `?`, so it is cut off first.
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, rest),
        };
        if user.as_deref().is_some_and(str::is_empty) {
            return Err(bad);
        }
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers.to_owned())),
            None => (rest, None),
        };
        let (place, params) = match rest.split_once(';') {
            Some((place, params)) => (place, Params::parse(params)?),
            None => (rest, Params::default()),
        };
        let (host, port) = split_host_port(place).ok_or(bad)?;
        Ok(Uri {
            scheme: scheme.to_owned(),
            user,
            host,
            port,
            params,
            headers,
        })
    }

    /// True of `sip` and `sips`.
    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sip") || self.scheme.eq_ignore_ascii_case("sips")
    }

    /// The address of an IP literal with its port, 5060 where none is named. `None` for a name:
    /// nothing here asks DNS.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) if self.is_sip() => {
                Some(SocketAddr::new(ip, self.port.unwrap_or(DEFAULT_PORT)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)?;
        if let Some(headers) = &self.headers {
            write!(f, "?{headers}")?;
        }
        Ok(())
    }
}

impl Host {
    /// Reads a host name, an IPv4 address or a bracketed IPv6 address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']')?;
            let v6: Ipv6Addr = match inner.split_once(":::") {
                // The grammar of RFC 3261 made some write `:::` before an IPv4 address (RFC 5118
                // section 4.10).
                Some((before, v4)) if v4.parse::<std::net::Ipv4Addr>().is_ok() => {
                    format!("{before}::{v4}").parse().ok()?
                }
                _ => inner.parse().ok()?,
            };
            return Some(Host::Ip(v6.into()));
        }
        if let Ok(ip) = text.parse::<std::net::Ipv4Addr>() {
            return Some(Host::Ip(ip.into()));
        }
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        (!text.is_empty() && text.chars().all(good)).then(|| Host::Name(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl Params {
    /// Reads `a=1;b;c="x;y"`, without the first semicolon.
    pub(crate) fn parse(text: &str) -> Result<Self, HeaderError> {
        let mut params = Params::default();
        for part in crate::header::scan::split(text, b';') {
            let part = part.trim();
            if part.is_empty() {
                return Err(HeaderError::new("parameter"));
            }
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start().to_owned())),
                None => (part, None),
            };
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(HeaderError::new("parameter"));
            }
            params.0.push((name.to_owned(), value));
        }
        Ok(params)
    }

    /// The value of a parameter as it was written, quotes included; empty when it has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_deref().unwrap_or(""))
    }

    /// Sets or adds a parameter.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(str::to_owned);
        match self
            .0
            .iter_mut()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
        {
            Some(slot) => slot.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Takes a parameter out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            f.write_char(';')?;
            f.write_str(name)?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Splits `host:port`, white space around the colon allowed as in Via.
pub(crate) fn split_host_port(text: &str) -> Option<(Host, Option<u16>)> {
    let colon = match text.rfind(']') {
        Some(end) => text[end..].find(':').map(|at| end + at),
        None => text.find(':'),
    };
    match colon {
        Some(at) => {
            let port = text[at + 1..].trim();
            if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            Some((Host::parse(text[..at].trim())?, Some(port.parse().ok()?)))
        }
        None => Some((Host::parse(text.trim())?, None)),
    }
}

fn escapes_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, &b)| {
        b != b'%'
            || bytes
                .get(at + 1..at + 3)
                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_every_part() {
        let text = "sip:ana;day=tuesday:pw@[2001:db8::10]:5070;lr;transport=udp?subject=x";
        let uri = Uri::parse(text).unwrap();
        assert_eq!(uri.user.as_deref(), Some("ana;day=tuesday:pw"));
        assert_eq!(uri.params.get("LR"), Some(""));
        assert_eq!(
            uri.socket_addr().unwrap().to_string(),
            "[2001:db8::10]:5070"
        );
        assert_eq!(uri.to_string(), text);
    }

    #[test]
    fn names_have_no_address_and_ports_have_a_default() {
        assert_eq!(
            Uri::parse("sip:test@example.org").unwrap().socket_addr(),
            None
        );
        let uri = Uri::parse("sip:127.0.0.1").unwrap();
        assert_eq!(uri.socket_addr().unwrap().port(), DEFAULT_PORT);
    }

    #[test]
    fn foreign_schemes_are_kept_as_text() {
        let uri = Uri::parse("http://[::1]/x;y").unwrap();
        assert!(!uri.is_sip());
        assert_eq!(uri.to_string(), "http://[::1]/x;y");
    }

    #[test]
    fn bad_uris_are_refused() {
        for bad in [
            "",
            "sip",
            "sip:",
            "sip:@host",
            "sip:a@",
            "sip:a b@host",
            "<sip:a@h>",
            "sip:h:port",
            "sip:h:99999",
            "sip:a%4@h",
            "sip:[::1",
            "sip:a@h;",
            "1x:abc",
            "sip:a@h:",
        ] {
            assert!(Uri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn three_colons_before_an_ipv4_address_are_read_as_two() {
        // RFC 5118 section 4.10: the grammar of RFC 3261 made some write it so.
        let uri = Uri::parse("sip:user@[2001:db8:::192.0.2.1]").unwrap();
        assert_eq!(uri.host.to_string(), "[2001:db8::c000:201]");
        assert!(Uri::parse("sip:user@[2001:db8:::1]").is_err());
        assert!(Uri::parse("sip:user@[2001:db8::::192.0.2.1]").is_err());
    }
}
