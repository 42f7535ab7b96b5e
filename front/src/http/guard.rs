//! What holds for every request and response: same origin, content security, no caching.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
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
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE, OPTIONS");

/// Refuses what pages of foreign origins send, and dresses every response.
pub(super) async fn guard(State(web): State<Web>, request: Request, next: Next) -> Response {
    let verdict = origin(request.headers(), &web.origins);
    let harmless = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let mut response = match &verdict {
        Origin::Foreign(origin) if !harmless => Error::CrossOrigin {
            origin: origin.clone(),
        }
        .into_response(),
        _ => next.run(request).await,
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
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// Where a request comes from, as its browser says.
#[derive(Debug, PartialEq)]
enum Origin {
    /// Our own page, or a program that is no browser.
    Own,
    /// A page of an origin the operator listed.
    Listed(HeaderValue),
    /// Any other page.
    Foreign(String),
}

fn origin(headers: &HeaderMap, listed: &[String]) -> Origin {
    let Some(value) = headers.get(header::ORIGIN) else {
        return match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
            Some(b"cross-site") => Origin::Foreign("another site".to_owned()),
            _ => Origin::Own,
        };
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let authority = text.split_once("://").map(|(_, authority)| authority);
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Origin::Own,
        _ if listed.iter().any(|one| one.eq_ignore_ascii_case(&text)) => {
            Origin::Listed(value.clone())
        }
        _ => Origin::Foreign(text.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            origin(&other, &["https://a.example".to_owned()]),
            Origin::Listed(HeaderValue::from_static("https://a.example"))
        );
        let hidden = headers(&[("host", "x"), ("origin", "null")]);
        assert_eq!(origin(&hidden, &[]), Origin::Foreign("null".to_owned()));
        let port = headers(&[("host", "a.example:8080"), ("origin", "http://a.example:9")]);
        assert!(matches!(origin(&port, &[]), Origin::Foreign(_)));
        let cross = headers(&[("host", "x"), ("sec-fetch-site", "cross-site")]);
        assert!(matches!(origin(&cross, &[]), Origin::Foreign(_)));
    }
}
