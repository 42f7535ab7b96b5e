//! Reading request bodies: right type, bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time;

use crate::call::FRAGMENT;
use crate::error::Error;

/// Largest SDP (design section 7).
pub(super) const SDP_BYTES: usize = 128 * 1024;
/// Largest body of the candidates that come after an offer: what SIP takes besides SDP (design
/// section 7), less its head.
const FRAGMENT_BYTES: usize = 12 * 1024;
/// Largest JSON body: an SDP with its line ends escaped, and a little around it.
const JSON_BYTES: usize = SDP_BYTES + 32 * 1024;
/// A body must be whole after this long (design section 7).
const BODY_TIME: Duration = Duration::from_secs(10);
/// How much of a body that is too large is read and thrown away, so that its sender is still
/// listening when the 413 comes; who sends more finds the connection closed.
const DRAIN_BYTES: usize = 1024 * 1024;

/// The body as SDP.
pub(super) async fn sdp(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    typed(headers, "application/sdp")?;
    let sdp = read(body, SDP_BYTES).await?;
    if sdp.is_empty() {
        return Err(Error::BadRequest {
            why: "the offer is empty".to_owned(),
        });
    }
    Ok(sdp)
}

/// The body as candidates that come after an offer (RFC 8840 section 9).
pub(super) async fn fragment(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    typed(headers, FRAGMENT)?;
    read(body, FRAGMENT_BYTES).await
}

/// The body as JSON of type `T`.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Error> {
    typed(headers, "application/json")?;
    let text = read(body, JSON_BYTES).await?;
    serde_json::from_slice(&text).map_err(|error| Error::BadRequest {
        why: format!("this JSON is not what is expected here: {error}"),
    })
}

fn typed(headers: &HeaderMap, expected: &'static str) -> Result<(), Error> {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case(expected) => Ok(()),
        _ => Err(Error::WrongType { expected }),
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Error> {
    match time::timeout(BODY_TIME, read_bounded(body, limit)).await {
        Ok(read) => read,
        Err(_) => Err(Error::SlowBody {
            seconds: BODY_TIME.as_secs(),
        }),
    }
}

async fn read_bounded(body: Body, limit: usize) -> Result<Bytes, Error> {
    let mut chunks = body.into_data_stream();
    let mut read = BytesMut::new();
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Error::BadRequest {
            why: format!("the body broke off: {error}"),
        })?;
        length += chunk.len();
        if length > DRAIN_BYTES {
            break;
        }
        if length <= limit {
            read.extend_from_slice(&chunk);
        }
    }
    if length > limit {
        return Err(Error::TooLarge { limit });
    }
    Ok(read.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn an_offer_may_be_as_large_as_the_limit_and_no_larger() {
        let sdp_headers = headers("application/sdp");
        let fits = Body::from("v".repeat(SDP_BYTES));
        assert_eq!(sdp(&sdp_headers, fits).await.unwrap().len(), SDP_BYTES);
        let over = Body::from("v".repeat(SDP_BYTES + 1));
        assert_eq!(
            sdp(&sdp_headers, over).await,
            Err(Error::TooLarge { limit: SDP_BYTES })
        );
    }

    #[tokio::test]
    async fn parameters_of_a_media_type_do_not_matter_and_the_type_does() {
        let body = || Body::from("v=0");
        assert!(
            sdp(&headers("Application/SDP; charset=utf-8"), body())
                .await
                .is_ok()
        );
        assert!(matches!(
            sdp(&headers("text/plain"), body()).await,
            Err(Error::WrongType { .. })
        ));
        assert!(matches!(
            sdp(&HeaderMap::new(), body()).await,
            Err(Error::WrongType { .. })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let endless =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        assert_eq!(
            sdp(&headers("application/sdp"), endless).await,
            Err(Error::SlowBody { seconds: 10 })
        );
    }
}
