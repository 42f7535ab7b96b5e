//! Whether the signaling server answers, so that its silence is told once and not by each stream.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A request without any answer for this long is called a silence.
const SILENCE: Duration = Duration::from_secs(5);

/// What is known of the signaling server.
#[derive(Debug)]
pub(super) enum Reach {
    /// Nothing is owed to us.
    Answering,
    /// We sent something then, and heard nothing since.
    Asked { at: Instant },
    /// It was told to be silent.
    Silent,
}

impl Reach {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Reach::Asked { at } => Some(*at + SILENCE),
            Reach::Answering | Reach::Silent => None,
        }
    }

    /// Something was sent that is answered at once.
    pub(super) fn handle_asked(&mut self, now: Instant) {
        if let Reach::Answering = self {
            *self = Reach::Asked { at: now };
        }
    }

    /// Something came from the server.
    pub(super) fn handle_answer(&mut self, signaling: SocketAddr) {
        if let Reach::Silent = self {
            tracing::info!(%signaling, "the signaling server answers again");
        }
        *self = Reach::Answering;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, signaling: SocketAddr) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            tracing::warn!(%signaling, "the signaling server does not answer; trying again");
            *self = Reach::Silent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_begins_with_the_first_request_and_ends_with_any_answer() {
        let start = Instant::now();
        let signaling = SocketAddr::from(([127, 0, 0, 1], 5060));
        let mut reach = Reach::Answering;
        assert_eq!(reach.poll_timeout(), None);
        reach.handle_asked(start);
        reach.handle_asked(start + Duration::from_secs(3));
        assert_eq!(reach.poll_timeout(), Some(start + SILENCE));
        reach.handle_timeout(start + Duration::from_secs(4), signaling);
        assert!(matches!(reach, Reach::Asked { .. }));
        reach.handle_timeout(start + SILENCE, signaling);
        assert!(matches!(reach, Reach::Silent));
        reach.handle_asked(start + SILENCE);
        assert_eq!(reach.poll_timeout(), None);
        reach.handle_answer(signaling);
        assert!(matches!(reach, Reach::Answering));
    }
}
