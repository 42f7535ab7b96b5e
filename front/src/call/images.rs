//! Pictures of streams: one request upstream however many browsers ask, kept for ten seconds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Reply;
use crate::error::Error;

/// How long a picture is good (design section 4).
const FRESH: Duration = Duration::from_secs(10);
/// How long a failure is remembered, so that a list of broken cameras asks no more than this.
const FAILED: Duration = Duration::from_secs(2);
/// How long a streamer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest picture: one datagram with its head.
const BYTES: usize = 60 * 1024;
/// Pictures asked for at once.
const ASKING: usize = 64;
/// Pictures kept: as many as there can be streams.
const KEPT: usize = 1000;

#[derive(Debug)]
enum Image {
    Asking {
        waiters: Vec<Reply<Bytes>>,
        until: Instant,
    },
    Known {
        result: Result<Bytes, Error>,
        until: Instant,
    },
}

/// Pictures known or asked for, by stream.
#[derive(Debug, Default)]
pub(super) struct Images {
    by_stream: HashMap<String, Image>,
}

impl Images {
    /// Somebody wants the picture of `stream`. True when the role has to ask the streamer.
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        stream: &str,
        reply: Reply<Bytes>,
    ) -> bool {
        self.expire(now);
        match self.by_stream.get_mut(stream) {
            Some(Image::Asking { waiters, .. }) => {
                waiters.push(reply);
                return false;
            }
            Some(Image::Known { result, .. }) => {
                // Who asked may have gone: nothing to clean up.
                let _ = reply.send(result.clone());
                return false;
            }
            None => {}
        }
        let asking = |image: &&Image| matches!(image, Image::Asking { .. });
        if self.by_stream.values().filter(asking).count() >= ASKING || self.by_stream.len() >= KEPT
        {
            let what = "pictures asked for at once";
            // Who asked may have gone: nothing to clean up.
            let _ = reply.send(Err(Error::TooMany { what }));
            return false;
        }
        let image = Image::Asking {
            waiters: vec![reply],
            until: now + PATIENCE,
        };
        self.by_stream.insert(stream.to_owned(), image);
        true
    }

    /// The streamer answered, or the request failed.
    pub(super) fn handle_result(
        &mut self,
        now: Instant,
        stream: &str,
        result: Result<Bytes, Error>,
    ) {
        let result = result.and_then(|jpeg| {
            if jpeg.starts_with(&[0xff, 0xd8]) && jpeg.len() <= BYTES {
                Ok(jpeg)
            } else {
                Err(Error::NoImage {
                    stream: stream.to_owned(),
                })
            }
        });
        let until = now + if result.is_ok() { FRESH } else { FAILED };
        let image = Image::Known {
            result: result.clone(),
            until,
        };
        // An answer nobody waits for any more is still good for who asks next.
        if let Some(Image::Asking { waiters, .. }) = self.by_stream.insert(stream.to_owned(), image)
        {
            for reply in waiters {
                // Who asked may have gone: nothing to clean up.
                let _ = reply.send(result.clone());
            }
        }
    }

    /// When the next entry expires.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.by_stream.values().map(Image::until).min()
    }

    /// Drops what is too old; who waited too long is told.
    pub(super) fn expire(&mut self, now: Instant) {
        self.by_stream.retain(|stream, image| {
            if image.until() > now {
                return true;
            }
            if let Image::Asking { waiters, .. } = image {
                for reply in waiters.drain(..) {
                    // Who asked may have gone: nothing to clean up.
                    let _ = reply.send(Err(Error::NoAnswer {
                        stream: stream.clone(),
                    }));
                }
            }
            false
        });
    }
}

impl Image {
    fn until(&self) -> Instant {
        match self {
            Self::Asking { until, .. } | Self::Known { until, .. } => *until,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0];

    #[test]
    fn many_who_ask_share_one_request_and_its_answer_for_ten_seconds() {
        let (mut images, now) = (Images::default(), Instant::now());
        let (one, mut first) = oneshot::channel();
        let (two, mut second) = oneshot::channel();
        let (three, mut third) = oneshot::channel();
        assert!(images.handle_request(now, "test", one));
        assert!(!images.handle_request(now, "test", two));
        images.handle_result(now, "test", Ok(Bytes::from_static(JPEG)));
        assert_eq!(first.try_recv().unwrap().unwrap(), JPEG);
        assert_eq!(second.try_recv().unwrap().unwrap(), JPEG);
        assert!(!images.handle_request(now + FRESH - PATIENCE, "test", three));
        assert_eq!(third.try_recv().unwrap().unwrap(), JPEG);
        assert!(images.handle_request(now + FRESH, "test", oneshot::channel().0));
    }

    #[test]
    fn a_streamer_that_does_not_answer_is_given_up_and_forgotten() {
        let (mut images, now) = (Images::default(), Instant::now());
        let (reply, mut answered) = oneshot::channel();
        images.handle_request(now, "test", reply);
        assert_eq!(images.poll_timeout(), Some(now + PATIENCE));
        images.expire(now + PATIENCE);
        assert!(matches!(
            answered.try_recv().unwrap(),
            Err(Error::NoAnswer { .. })
        ));
        assert_eq!(images.poll_timeout(), None);
    }

    #[test]
    fn what_is_no_jpeg_is_no_image() {
        let (mut images, now) = (Images::default(), Instant::now());
        let (reply, mut answered) = oneshot::channel();
        images.handle_request(now, "test", reply);
        images.handle_result(now, "test", Ok(Bytes::from_static(b"<svg onload=x>")));
        assert!(matches!(
            answered.try_recv().unwrap(),
            Err(Error::NoImage { .. })
        ));
    }

    #[test]
    fn names_made_up_cannot_ask_without_bound() {
        let (mut images, now) = (Images::default(), Instant::now());
        let asked = (0..ASKING * 2)
            .filter(|n| images.handle_request(now, &n.to_string(), oneshot::channel().0))
            .count();
        assert_eq!(asked, ASKING);
    }
}
