//! What a REGISTER asks for, and what it tells: read and checked before anything is changed.

use std::net::SocketAddr;

use sip::{Name, NameAddr, Peer, Request, StatusCode, Uri};

use super::{MAX_EXPIRES, MIN_EXPIRES};
use crate::directory::StreamerInfo;
use crate::refusal::Refusal;
use crate::routing::{proxy, reachable};

/// Longest Contact in bytes: those of [`super::MAX_INSTANCES`] must fit into one answer.
const CONTACT_LIMIT: usize = 256;

/// A Contact of a REGISTER that has been checked.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) contact: Uri,
    pub(super) address: Peer,
    pub(super) instance: Option<String>,
    /// Seconds; 0 withdraws.
    pub(super) expires: u32,
}

/// What the body of a REGISTER tells.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) info: Option<StreamerInfo>,
    pub(super) calls: Option<Vec<String>>,
}

impl Wish {
    /// Reads one Contact. `own` are addresses of this server, which nobody may register as theirs.
    pub(super) fn read(
        contact: &str,
        request: &Request,
        source: Peer,
        own: &[SocketAddr],
    ) -> Result<Wish, Refusal> {
        let bad = |reason: &str| Refusal::because(StatusCode::BAD_REQUEST, reason);
        if contact.len() > CONTACT_LIMIT {
            return Err(bad("Contact is too long"));
        }
        let header = request.headers.get(Name::Expires).map(seconds);
        let contact = NameAddr::parse(contact).map_err(|_| bad("Malformed Contact"))?;
        let expires = contact.params.get("expires").map(seconds);
        let expires = expires.or(header).unwrap_or(MAX_EXPIRES);
        if (1..MIN_EXPIRES).contains(&expires) {
            return Err(Refusal::new(StatusCode::INTERVAL_TOO_BRIEF)
                .header(Name::MinExpires, MIN_EXPIRES.to_string()));
        }
        if !contact.uri.is_sip() {
            return Err(bad("Contact is not a SIP address"));
        }
        let path = request.headers.values(Name::Path).next();
        let address = match path.map(NameAddr::parse) {
            Some(Ok(path)) => proxy(&path.uri, source),
            Some(Err(_)) => return Err(bad("Malformed Path")),
            None => reachable(&contact.uri, request.top_via().as_ref(), source),
        };
        if own.contains(&address.address) {
            return Err(bad("Contact is this server"));
        }
        let instance = contact.params.get("+sip.instance");
        Ok(Wish {
            instance: instance
                .map(|text| text.trim_matches('"').to_owned())
                .filter(|instance| !instance.is_empty()),
            contact: contact.uri,
            address,
            expires: expires.min(MAX_EXPIRES),
        })
    }
}

impl Report {
    pub(super) fn read(name: &str, request: &Request) -> Result<Report, Refusal> {
        if request.body.is_empty() {
            return Ok(Report::default());
        }
        if request.content_type().as_deref() != Some("application/json") {
            let disposition = request
                .headers
                .get(Name::ContentDisposition)
                .unwrap_or_default();
            let mut params = disposition.split(';').map(str::trim);
            if params.any(|param| param.eq_ignore_ascii_case("handling=optional")) {
                return Ok(Report::default());
            }
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .header(Name::Accept, "application/json"));
        }
        let (info, calls) = StreamerInfo::from_json(name, &request.body)
            .map_err(|error| Refusal::because(StatusCode::BAD_REQUEST, error.to_string()))?;
        Ok(Report {
            info: Some(info),
            calls,
        })
    }
}

/// delta-seconds; what is malformed or larger than any lease counts as the longest (RFC 3261
/// sections 20.10 and 20.19).
pub(super) fn seconds(text: &str) -> u32 {
    text.trim().parse().unwrap_or(MAX_EXPIRES)
}
