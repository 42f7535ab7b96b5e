//! What holds for every request and response: same origin, content security, no caching.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Web;
use crate::error::Error;

/// Everything from here, pictures also from any https address (design section 4).
const CONTENT_SECURITY: HeaderValue =
    HeaderValue::from_static("default-src 'self'; img-src 'self' https:");
/// What a page of a listed origin may read of an answer.
const EXPOSED: HeaderValue = HeaderValue::from_static("Location, ETag, Link, Retry-After");
/// What a page of a listed origin may send.
const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Type, If-Match");
const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS");

/// How long a browser may rely on what it was told about a listed origin, in seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("600");

/// The names we answer to and the origins whose pages may call us.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    /// Only this machine can connect, so only its own names can be meant.
    loopback: bool,
    /// Origins besides our own, as `https://example.org`.
    origins: Arc<[String]>,
}

impl Doors {
    /// For a server that listens on `address`.
    pub(crate) fn new(address: SocketAddr, origins: Vec<String>) -> Self {
        Self {
            loopback: address.ip().is_loopback(),
            origins: origins.into(),
        }
    }

    /// Whether a request for `host` can be meant for us. A page of another site may point its own
    /// name at our loopback address (DNS rebinding) and is then of our origin, as far as its
    /// browser knows; only the name gives it away.
    fn answers_to(&self, host: &str) -> bool {
        let name = name_of(host);
        let loopback = match name.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            // Browsers never ask a name server for these (RFC 6761 6.3).
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        };
        !self.loopback
            || loopback
            || self
                .origins
                .iter()
                .filter_map(|origin| authority(origin))
                .any(|listed| name_of(listed) == name)
    }

    /// Where a request comes from, as its browser says.
    fn origin(&self, headers: &HeaderMap, host: Option<&str>) -> Origin {
        let Some(value) = headers.get(header::ORIGIN) else {
            return match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
                Some(b"cross-site") => Origin::Foreign("another site".to_owned()),
                _ => Origin::Own,
            };
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        match (authority(&text), host) {
            (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Origin::Own,
            _ if self
                .origins
                .iter()
                .any(|one| one.eq_ignore_ascii_case(&text)) =>
            {
                Origin::Listed(value.clone())
            }
            _ => Origin::Foreign(text.into_owned()),
        }
    }
}

/// What follows the scheme of an origin.
fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, authority)| authority)
}

/// The name or address in `NAME:PORT`, in small letters and without brackets or final dot.
fn name_of(host: &str) -> String {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The name a request is for; `None` when it names none, as HTTP/1.0 may (RFC 9112 3.2).
fn host_of(request: &Request) -> Result<Option<&str>, Error> {
    let bad = |why: &str| Error::BadRequest {
        why: why.to_owned(),
    };
    let mut lines = request.headers().get_all(header::HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(bad("the Host header is there twice"));
    }
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.as_str()));
    }
    match first {
        Some(host) => match host.to_str() {
            Ok(host) => Ok(Some(host)),
            Err(_) => Err(bad("the Host header is no name")),
        },
        None if request.version() >= Version::HTTP_11 => Err(bad("there is no Host header")),
        None => Ok(None),
    }
}

/// Refuses what is meant for others or sent by pages of foreign origins, and dresses every
/// response.
pub(super) async fn guard(State(web): State<Web>, request: Request, next: Next) -> Response {
    let host = host_of(&request);
    let named = host.as_ref().ok().copied().flatten();
    let verdict = web.doors.origin(request.headers(), named);
    let misdirected = match host {
        Ok(Some(host)) if !web.doors.answers_to(host) => Some(Error::ForeignHost {
            host: host.to_owned(),
        }),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let harmless = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let preflight = *request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (misdirected, &verdict) {
        (Some(error), _) => error.into_response(),
        (None, Origin::Foreign(origin)) if !harmless => Error::CrossOrigin {
            origin: origin.clone(),
        }
        .into_response(),
        // A question about any path: not every handler takes OPTIONS.
        (None, Origin::Listed(_)) if preflight => StatusCode::NO_CONTENT.into_response(),
        (None, _) => next.run(request).await,
    };

    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache"));
    if let Origin::Listed(origin) = verdict {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    }
    if !web.doors.origins.is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// Where a request comes from.
#[derive(Debug, PartialEq)]
enum Origin {
    /// Our own page, or a program that is no browser.
    Own,
    /// A page of an origin the operator listed.
    Listed(HeaderValue),
    /// Any other page.
    Foreign(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(headers: &HeaderMap, listed: &[&str]) -> Origin {
        let listed = listed.iter().map(|&origin| origin.to_owned()).collect();
        let doors = Doors::new(SocketAddr::from(([127, 0, 0, 1], 8080)), listed);
        let host = headers.get(header::HOST).unwrap().to_str().unwrap();
        doors.origin(headers, Some(host))
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn our_own_page_and_programs_are_at_home() {
        let own = headers(&[
            ("host", "127.0.0.1:8080"),
            ("origin", "http://127.0.0.1:8080"),
        ]);
        assert_eq!(origin(&own, &[]), Origin::Own);
        assert_eq!(origin(&headers(&[("host", "x")]), &[]), Origin::Own);
        let top = headers(&[("host", "x"), ("sec-fetch-site", "none")]);
        assert_eq!(origin(&top, &[]), Origin::Own);
    }

    #[test]
    fn pages_of_other_origins_are_foreign_until_listed() {
        let other = headers(&[("host", "127.0.0.1:8080"), ("origin", "https://a.example")]);
        assert_eq!(
            origin(&other, &[]),
            Origin::Foreign("https://a.example".to_owned())
        );
        assert_eq!(
            origin(&other, &["https://a.example"]),
            Origin::Listed(HeaderValue::from_static("https://a.example"))
        );
        let hidden = headers(&[("host", "x"), ("origin", "null")]);
        assert_eq!(origin(&hidden, &[]), Origin::Foreign("null".to_owned()));
        let port = headers(&[("host", "a.example:8080"), ("origin", "http://a.example:9")]);
        assert!(matches!(origin(&port, &[]), Origin::Foreign(_)));
        let cross = headers(&[("host", "x"), ("sec-fetch-site", "cross-site")]);
        assert!(matches!(origin(&cross, &[]), Origin::Foreign(_)));
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_and_listed_ones_are_ours() {
        let listed = vec!["https://tv.example.org".to_owned()];
        let doors = Doors::new(SocketAddr::from(([127, 0, 0, 1], 8080)), listed);
        for ours in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LocalHost",
            "rusticast.localhost:9",
            "localhost.:8080",
            "[::1]:8080",
            "127.9.9.9",
            "tv.example.org",
            "tv.example.org:443",
        ] {
            assert!(doors.answers_to(ours), "{ours}");
        }
        for foreign in [
            "evil.example:8080",
            "example.org",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:8080",
            "[::2]:8080",
            "[::1",
            "",
        ] {
            assert!(!doors.answers_to(foreign), "{foreign}");
        }
    }

    #[test]
    fn who_listens_for_other_machines_answers_to_any_name() {
        let doors = Doors::new(SocketAddr::from(([0, 0, 0, 0], 8080)), Vec::new());
        assert!(doors.answers_to("studio.lan:8080"));
    }

    #[test]
    fn a_request_names_one_host_or_is_of_an_old_kind() {
        let request = |version, hosts: &[&'static [u8]]| {
            let mut request = Request::new(axum::body::Body::empty());
            *request.version_mut() = version;
            for host in hosts {
                let host = HeaderValue::from_bytes(host).unwrap();
                request.headers_mut().append(header::HOST, host);
            }
            request
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!(host_of(&request(old, &[])), Ok(None));
        assert_eq!(host_of(&request(new, &[b"a:1"])), Ok(Some("a:1")));
        let bad: [&[&[u8]]; 3] = [&[], &[b"a", b"b"], &[b"\xff"]];
        for hosts in bad {
            assert!(matches!(
                host_of(&request(new, hosts)),
                Err(Error::BadRequest { .. })
            ));
        }
    }
}
