//! Header values that the programs act on, each read once and printed back.

use std::fmt;
use std::net::SocketAddr;

use super::{HeaderError, scan};
use crate::method::Method;
use crate::transport::{Peer, Transport};
use crate::uri::{DEFAULT_PORT, Host, Params, Uri, split_host_port};

/// The value of From, To, Contact, Route, Record-Route and Path (RFC 3261 section 20.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name without its quotes.
    pub display: Option<String>,
    /// The address.
    pub uri: Uri,
    /// Parameters of the header field, such as `tag`.
    pub params: Params,
}

impl NameAddr {
    /// An address without display name or parameters.
    pub fn new(uri: Uri) -> Self {
        NameAddr {
            display: None,
            uri,
            params: Params::default(),
        }
    }

    /// The same address with a display name.
    #[must_use]
    pub fn with_display(mut self, display: &str) -> Self {
        self.display = Some(display.to_owned());
        self
    }

    /// The same address with this `tag` (RFC 3261 section 19.3).
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", Some(tag));
        self
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// Reads one value.
    ///
    /// # Errors
    /// When quotes or brackets are not closed, or the URI is bad.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        let bad = HeaderError::new("address");
        let text = text.trim();
        if let Some((display, rest)) = scan::unquote(text) {
            let rest = rest.trim_start();
            let inner = rest.strip_prefix('<').ok_or(bad)?;
            return Self::bracketed(Some(display), inner);
        }
        if text.starts_with('"') {
            return Err(bad);
        }
        if let Some((display, inner)) = text.split_once('<') {
            let display = display.trim();
            let tokens_only = display.split_whitespace().all(scan::is_token);
            if !tokens_only {
                return Err(bad);
            }
            let display = (!display.is_empty()).then(|| display.to_owned());
            return Self::bracketed(display, inner);
        }
        // Without brackets, parameters belong to the header field (RFC 3261 section 20.10).
        let (uri, params) = match text.split_once(';') {
            Some((uri, params)) => (uri.trim_end(), Params::parse(params)?),
            None => (text, Params::default()),
        };
        if uri.contains([',', '?']) {
            return Err(bad);
        }
        Ok(NameAddr {
            display: None,
            uri: Uri::parse(uri)?,
            params,
        })
    }

    fn bracketed(display: Option<String>, inner: &str) -> Result<Self, HeaderError> {
        let bad = HeaderError::new("address");
        let (uri, rest) = inner.split_once('>').ok_or(bad)?;
        let rest = rest.trim();
        let params = match rest.strip_prefix(';') {
            Some(params) => Params::parse(params)?,
            None if rest.is_empty() => Params::default(),
            None => return Err(bad),
        };
        Ok(NameAddr {
            display: display.as_deref().map(as_printed),
            uri: Uri::parse(uri)?,
            params,
        })
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", scan::quote(display))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

/// One hop of the way back (RFC 3261 section 20.42, RFC 3581).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// `SIP/2.0`.
    pub protocol: String,
    /// `UDP`, `TCP`, …
    pub transport: String,
    /// Sent-by host.
    pub host: Host,
    /// Sent-by port, where one is named.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport`, …
    pub params: Params,
}

impl Via {
    /// A hop of ours over UDP that asks for symmetric answers (RFC 3581).
    pub fn udp(address: SocketAddr, branch: &str) -> Self {
        Self::over(Transport::Udp, address, branch)
    }

    /// The same over any transport.
    pub fn over(transport: Transport, address: SocketAddr, branch: &str) -> Self {
        let mut params = Params::default();
        params.set("branch", Some(branch));
        params.set("rport", None);
        Via {
            protocol: "SIP/2.0".to_owned(),
            transport: transport.as_str().to_owned(),
            host: Host::Ip(address.ip()),
            port: Some(address.port()),
            params,
        }
    }

    /// The `branch` parameter.
    pub fn branch(&self) -> Option<&str> {
        self.params
            .get("branch")
            .filter(|branch| !branch.is_empty())
    }

    /// Notes where the request really came from (RFC 3261 section 18.2.1, RFC 3581 section 4).
    pub fn note_source(&mut self, source: SocketAddr) {
        let asked = self.params.get("rport").is_some();
        if asked {
            self.params.set("rport", Some(&source.port().to_string()));
        }
        if asked || self.host != Host::Ip(source.ip()) {
            self.params.set("received", Some(&source.ip().to_string()));
        }
    }

    /// Where the answer to a request from `source` goes (RFC 3261 section 18.2.2, RFC 3581
    /// section 4).
    pub fn answer_address(&self, source: SocketAddr) -> SocketAddr {
        match self.params.get("rport") {
            Some(_) => source,
            None => SocketAddr::new(source.ip(), self.port.unwrap_or(DEFAULT_PORT)),
        }
    }

    /// The same of a request that came over any transport: over a stream the answer goes back
    /// where the request came from.
    pub fn answer_peer(&self, source: Peer) -> Peer {
        match source.transport {
            Transport::Udp => self.answer_address(source.address).into(),
            Transport::Tcp => source,
        }
    }

    /// Reads one value.
    ///
    /// # Errors
    /// When it is not `SIP/version/transport host[:port][;params]`. The version is that of the
    /// sender, which a 505 has to reach.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        let bad = HeaderError::new("Via");
        let mut protocol = text.trim().splitn(3, '/');
        let (name, version, rest) = (protocol.next(), protocol.next(), protocol.next());
        let (Some(name), Some(version), Some(rest)) = (name, version, rest) else {
            return Err(bad);
        };
        let version = version.trim();
        if !name.trim().eq_ignore_ascii_case("SIP") || !scan::is_token(version) {
            return Err(bad);
        }
        let rest = rest.trim_start();
        let (transport, rest) = rest.split_once(char::is_whitespace).ok_or(bad)?;
        if !scan::is_token(transport) {
            return Err(bad);
        }
        let (place, params) = match rest.split_once(';') {
            Some((place, params)) => (place, Params::parse(params)?),
            None => (rest, Params::default()),
        };
        let (host, port) = split_host_port(place.trim()).ok_or(bad)?;
        Ok(Via {
            protocol: format!("SIP/{version}"),
            transport: transport.to_owned(),
            host,
            port,
            params,
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.protocol, self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}

/// The order of requests within a dialog (RFC 3261 section 20.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2³¹.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// Reads the value.
    ///
    /// # Errors
    /// When it is not a number below 2³¹ and a method.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        let bad = HeaderError::new("CSeq");
        let mut words = text.split_whitespace();
        let (Some(number), Some(method), None) = (words.next(), words.next(), words.next()) else {
            return Err(bad);
        };
        if !number.bytes().all(|b| b.is_ascii_digit()) || !scan::is_token(method) {
            return Err(bad);
        }
        let number: u32 = number.parse().map_err(|_| bad)?;
        if number >= 1 << 31 {
            return Err(bad);
        }
        let Ok(method) = method.parse();
        Ok(CSeq { number, method })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// Why a call ended (RFC 3326); `text` is what a person reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A SIP status code.
    pub cause: u16,
    /// One sentence.
    pub text: String,
}

impl Reason {
    /// A reason in the protocol `SIP`.
    pub fn new(cause: u16, text: &str) -> Self {
        Reason {
            cause,
            text: text.to_owned(),
        }
    }

    /// Reads the first value of protocol `SIP`; `None` when there is none.
    pub fn parse(text: &str) -> Option<Self> {
        scan::split(text, b',').find_map(|value| {
            let (protocol, params) = value.split_once(';')?;
            if !protocol.trim().eq_ignore_ascii_case("SIP") {
                return None;
            }
            let params = Params::parse(params).ok()?;
            let text = params.get("text").unwrap_or("");
            let text = scan::unquote(text).map_or_else(|| text.to_owned(), |(inner, _)| inner);
            Some(Reason {
                cause: params.get("cause")?.parse().ok()?,
                text: as_printed(&text),
            })
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SIP;cause={};text={}",
            self.cause,
            scan::quote(&self.text)
        )
    }
}

/// `text` as it is printed, so that nobody is shown anything else than what is sent on.
fn as_printed(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_addr_keeps_display_name_uri_and_parameters() {
        for (text, display, tag) in [
            (
                "\"Ana \\\"A\\\" B\" <sip:ana@h;lr>;tag=1",
                Some("Ana \"A\" B"),
                Some("1"),
            ),
            ("Ana B <sip:ana@h>", Some("Ana B"), None),
            ("Ana\tB <sip:ana@h>", Some("Ana B"), None),
            ("\"Ana \u{11}\\\u{7f}B\" <sip:ana@h>", Some("Ana   B"), None),
            ("<sip:ana@h>;tag=x", None, Some("x")),
            ("sip:ana@h;tag=x", None, Some("x")),
        ] {
            let read = NameAddr::parse(text).unwrap();
            assert_eq!(read.display.as_deref(), display, "{text}");
            assert_eq!(read.tag(), tag, "{text}");
            assert_eq!(NameAddr::parse(&read.to_string()).unwrap(), read);
        }
    }

    #[test]
    fn bad_addresses_are_refused() {
        for bad in [
            "",
            "\"Ana <sip:a@h>",
            "<sip:a@h",
            "a, b <sip:a@h>",
            "<sip:a@h> x",
            "sip:a@h?x=y",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn via_reads_loose_white_space_and_notes_the_source() {
        let mut via =
            Via::parse("SIP  / 2.0\r\n /UDP\r\n  192.0.2.2 : 5061 ;branch=z9;rport").unwrap();
        assert_eq!((via.port, via.branch()), (Some(5061), Some("z9")));
        let source = "198.51.100.7:4000".parse().unwrap();
        via.note_source(source);
        assert_eq!(via.params.get("rport"), Some("4000"));
        assert_eq!(via.params.get("received"), Some("198.51.100.7"));
        assert_eq!(via.answer_address(source), source);
    }

    #[test]
    fn without_rport_the_answer_goes_to_the_sent_by_port() {
        let via = Via::parse("SIP/2.0/UDP host.example;branch=z9").unwrap();
        let source = "198.51.100.7:4000".parse().unwrap();
        assert_eq!(via.answer_address(source).to_string(), "198.51.100.7:5060");
    }

    #[test]
    fn cseq_stays_below_two_to_the_31() {
        assert_eq!(CSeq::parse("0009 INVITE").unwrap().number, 9);
        for bad in ["2147483648 BYE", "-1 BYE", "1", "BYE 1", "1 BYE x", "1 B,E"] {
            assert!(CSeq::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reason_text_comes_through_word_for_word() {
        let reason = Reason::new(480, "The \"camera\" stopped; sorry");
        assert_eq!(
            Reason::parse(&format!("Q.850;cause=16, {reason}")),
            Some(reason)
        );
        assert_eq!(Reason::parse("Q.850;cause=16"), None);
        let odd = Reason::parse("SIP;cause=200;text=\"bye,\u{11}\0all\"").unwrap();
        assert_eq!(odd.text, "bye,  all");
        assert_eq!(Reason::parse(&odd.to_string()), Some(odd));
    }
}
