//! Where messages go, and what a proxy changes in them on the way (RFC 3261 section 16):
//! Max-Forwards, Route, Record-Route and the Request-URI. Everything else stays as it came.

use std::net::{IpAddr, SocketAddr};

use sip::endpoint::is_made_branch;
use sip::{Host, Method, Name, NameAddr, Peer, Request, Response, StatusCode, Transport, Uri, Via};

use crate::refusal::Refusal;
use crate::registrar::Binding;

/// Hops left to a request that does not say (RFC 3261 section 16.6, step 3).
const HOPS: u8 = 70;
/// Largest body of a message that carries no SDP, in bytes. The parser bounds the others.
const BODY_LIMIT: usize = 16 * 1024;

/// The addresses by which others know this server.
#[derive(Debug, Clone)]
pub struct Own {
    addresses: Vec<SocketAddr>,
    /// What is recorded towards peers that are reached like these.
    routes: Vec<(Peer, String)>,
}

impl Own {
    /// `advertised` goes into Via and Record-Route; the others are recognised as well.
    pub fn new(advertised: SocketAddr, others: &[SocketAddr]) -> Self {
        let mut own = Own {
            addresses: Vec::new(),
            routes: Vec::new(),
        }
        .advertising(advertised);
        own.addresses.extend(others);
        own
    }

    /// The same, reached under this address as well, of the other version of IP.
    #[must_use]
    pub fn advertising(mut self, address: SocketAddr) -> Self {
        for peer in [Peer::from(address), Peer::tcp(address)] {
            let mut uri = Uri::at(None, address);
            if peer.transport == Transport::Tcp {
                uri.params.set("transport", Some("tcp"));
            }
            uri.params.set("lr", None);
            self.routes.push((peer, NameAddr::new(uri).to_string()));
        }
        self.addresses.push(address);
        self
    }

    /// What is recorded towards a peer: an address of its version of IP, if there is one.
    fn route(&self, peer: Peer) -> &str {
        let same = |it: &&(Peer, String)| it.0.transport == peer.transport;
        let routes = || self.routes.iter().filter(same);
        let near = routes().find(|(it, _)| it.address.is_ipv4() == peer.address.is_ipv4());
        let route = near.or_else(|| routes().next());
        route.map_or("", |(_, route)| route)
    }

    /// The one that others are told.
    pub fn advertised(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The one of the other version of IP that they are told, if there is one.
    pub fn other(&self) -> Option<SocketAddr> {
        let mut told = self.routes.iter().map(|(peer, _)| peer.address);
        told.find(|address| address.is_ipv4() != self.advertised().is_ipv4())
    }

    /// Every one of them.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// True when a URI names this server itself.
    pub fn is(&self, uri: &Uri) -> bool {
        uri.socket_addr()
            .is_some_and(|address| self.addresses.contains(&address))
    }

    /// Makes a request ready to be passed on: one hop less and without the routes that led here.
    /// An INVITE is recorded, so that what follows in the call comes this way as well: once, or,
    /// between sides that are reached by different transports or versions of IP, once for each
    /// (RFC 5658). A stream that is chosen for the size of one message is no such difference: what
    /// follows is short.
    pub(crate) fn prepare(
        &self,
        request: &Request,
        from: Peer,
        to: Peer,
    ) -> Result<Request, Refusal> {
        let hops = hops_left(request)?;
        let mut prepared = request.clone();
        prepared.headers.set(Name::MaxForwards, &hops.to_string());
        self.strip_routes(&mut prepared);
        if request.method == Method::Invite {
            let (from, to) = (self.route(from), self.route(to));
            prepared.headers.push_front(Name::RecordRoute, from);
            if to != from {
                prepared.headers.push_front(Name::RecordRoute, to);
            }
        }
        Ok(prepared)
    }

    /// 482 for a request that went through here before (RFC 3261 section 16.3, step 4). Nothing
    /// has a reason to come twice: no stream is another name of one.
    pub(crate) fn check_loop(&self, request: &Request) -> Result<(), Refusal> {
        let vias = request.headers.values(Name::Via).map(Via::parse);
        let ours = vias.flatten().any(|via| {
            let Host::Ip(ip) = via.host else {
                return false;
            };
            let port = via.port.unwrap_or(sip::uri::DEFAULT_PORT);
            // Behind a translator somebody else may have our address, but not our branches.
            self.addresses.contains(&SocketAddr::new(ip, port))
                && via.branch().is_some_and(is_made_branch)
        });
        if ours {
            return Err(Refusal::new(StatusCode::LOOP_DETECTED));
        }
        Ok(())
    }

    /// Takes off the topmost routes as far as they name this server.
    pub(crate) fn strip_routes(&self, request: &mut Request) {
        loop {
            let top = request
                .headers
                .values(Name::Route)
                .next()
                .map(NameAddr::parse);
            match top {
                Some(Ok(route)) if self.is(&route.uri) => {
                    request.headers.pop_first_value(Name::Route);
                }
                _ => return,
            }
        }
    }

    /// The proxy beyond this server on the way to whoever answered, if there is one: of the
    /// routes recorded in an answer, the one above ours.
    pub(crate) fn hop_above(&self, response: &Response, source: Peer) -> Option<Peer> {
        let routes = response
            .headers
            .values(Name::RecordRoute)
            .map(NameAddr::parse);
        let mut above = None;
        for route in routes {
            match route {
                Ok(route) if self.is(&route.uri) => return above,
                Ok(route) => above = route.uri.socket_addr().map(|_| proxy(&route.uri, source)),
                Err(_) => return None,
            }
        }
        None
    }
}

/// What any request must be to be passed on or answered here.
pub(crate) fn check(request: &Request) -> Result<(), Refusal> {
    if !request.uri.is_sip() {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_URI_SCHEME));
    }
    require(request, Name::ProxyRequire, &[])?;
    let is_sdp = request.content_type().as_deref() == Some("application/sdp");
    if request.body.len() > BODY_LIMIT && !is_sdp {
        return Err(Refusal::new(StatusCode::REQUEST_ENTITY_TOO_LARGE));
    }
    Ok(())
}

/// The Max-Forwards with which a request goes on.
pub(crate) fn hops_left(request: &Request) -> Result<u8, Refusal> {
    match request.headers.get(Name::MaxForwards).map(str::parse) {
        None => Ok(HOPS),
        Some(Ok(0)) => Err(Refusal::new(StatusCode::TOO_MANY_HOPS)),
        Some(Ok(hops)) => Ok(hops - 1_u8),
        Some(Err(_)) => Err(Refusal::because(
            StatusCode::BAD_REQUEST,
            "Malformed Max-Forwards",
        )),
    }
}

/// 420 for extensions that must be understood and are not (RFC 3261 section 8.2.2.3).
pub(crate) fn require(request: &Request, name: Name, known: &[&str]) -> Result<(), Refusal> {
    let unknown: Vec<&str> = request
        .headers
        .values(name)
        .filter(|tag| !known.iter().any(|known| known.eq_ignore_ascii_case(tag)))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::BAD_EXTENSION).header(Name::Unsupported, unknown.join(", ")))
}

/// Addresses a prepared request to a binding: its Contact, by way of its Path (RFC 3327).
pub(crate) fn address_to(request: &mut Request, binding: &Binding) {
    request.uri = binding.contact.clone();
    // Whoever registers does not get to write header fields of other people's requests.
    request.uri.headers = None;
    for path in binding.record.binding.path.iter().rev() {
        request.headers.push_front(Name::Route, path);
    }
}

/// Where requests towards the maker of an INVITE go: the proxy nearest to us on its way, or
/// itself. Whoever gives an address of ours for its own gets them where it sent from.
pub(crate) fn caller_address(own: &Own, invite: &Request, source: Peer) -> Peer {
    let top = invite.headers.values(Name::RecordRoute).next();
    let address = match top.map(NameAddr::parse) {
        Some(Ok(route)) => proxy(&route.uri, source),
        _ => match invite.contact() {
            Some(contact) => reachable(&contact.uri, invite.top_via().as_ref(), source),
            None => source,
        },
    };
    if own.addresses.contains(&address.address) {
        return source;
    }
    address
}

/// Where requests by way of a proxy go whose URI came from `source`.
pub(crate) fn proxy(uri: &Uri, source: Peer) -> Peer {
    match uri.socket_addr() {
        Some(address) => over(uri, address, source),
        None => source,
    }
}

/// How requests for a URI go to its address: where it asks for a stream and came over one, by that
/// one (RFC 5626 section 5.3).
fn over(uri: &Uri, address: SocketAddr, source: Peer) -> Peer {
    match Transport::of_uri(uri.params.get("transport")) {
        Transport::Udp => address.into(),
        Transport::Tcp if source.transport == Transport::Tcp => source,
        Transport::Tcp => Peer::tcp(address),
    }
}

/// Where requests for `contact` go: to its address, or to where the message came from, when the
/// address is a name (nothing here asks DNS), cannot be sent to, or is that of a sender behind a
/// translator that does not know its outer one.
pub(crate) fn reachable(contact: &Uri, via: Option<&Via>, source: Peer) -> Peer {
    let Some(address) = contact.socket_addr() else {
        return source;
    };
    let usable = match address.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    let inner = via.is_some_and(|via| {
        via.host == Host::Ip(address.ip()) && address.ip() != source.address.ip()
    });
    if usable && !inner && address.port() != 0 {
        over(contact, address, source)
    } else {
        source
    }
}

/// Where an answer with this top Via goes, its `received` and `rport` having been filled in.
pub(crate) fn answer_address(via: &Via) -> Option<SocketAddr> {
    let received = via.params.get("received").and_then(|ip| ip.parse().ok());
    let ip = match (received, &via.host) {
        (Some(ip), _) => ip,
        (None, Host::Ip(ip)) => *ip,
        (None, Host::Name(_)) => return None,
    };
    let port = via.params.get("rport").and_then(|port| port.parse().ok());
    Some(SocketAddr::new(
        ip,
        port.or(via.port).unwrap_or(sip::uri::DEFAULT_PORT),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_told_an_address_of_its_own_version_of_ip() {
        let [four, six, near, far]: [SocketAddr; 4] = [
            "192.0.2.1:5060",
            "[2001:db8::1]:5060",
            "192.0.2.9:5070",
            "[2001:db8::9]:5070",
        ]
        .map(|text| text.parse().unwrap());
        let invite = |own: &Own, from: SocketAddr, to: Peer| {
            let at = |host| NameAddr::new(Uri::at(Some("a"), host));
            let uri = Uri::at(Some("test"), four);
            let request = Request::new(Method::Invite, uri, at(from), at(four), "1", 1);
            let prepared = own.prepare(&request, from.into(), to).unwrap();
            let routes = prepared.headers.all(Name::RecordRoute);
            routes.map(str::to_owned).collect::<Vec<_>>()
        };
        let (over_4, over_6) = ("<sip:192.0.2.1:5060;lr>", "<sip:[2001:db8::1]:5060;lr>");
        let own = Own::new(six, &[]).advertising(four);
        assert_eq!(invite(&own, near, near.into()), [over_4]);
        assert_eq!(invite(&own, far, far.into()), [over_6]);
        assert_eq!(invite(&own, near, far.into()), [over_6, over_4]);
        let over_tcp = "<sip:192.0.2.1:5060;transport=tcp;lr>";
        assert_eq!(invite(&own, far, Peer::tcp(near)), [over_tcp, over_6]);
        assert_eq!(invite(&Own::new(four, &[]), far, near.into()), [over_4]);
        assert!(own.is(&Uri::at(None, four)) && own.is(&Uri::at(None, six)));
    }
}
