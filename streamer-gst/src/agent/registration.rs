//! One stream's lease in the directory: when its REGISTER goes out, and what its answers mean.

use std::time::{Duration, Instant};

use sip::{NameAddr, Uri};

/// The lease that we ask for.
pub(crate) const EXPIRES: Duration = Duration::from_secs(60);
/// The longest lease that we ask for or rely on.
const LONGEST: Duration = Duration::from_secs(3600);
/// After a 403 that asks for it, a stream registers again at most this often: nobody can make
/// us flood the signaling server by forging that answer.
const FORCED_INTERVAL: Duration = Duration::from_secs(5);
/// News of a stream, such as its viewers, is told at most this often.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);
/// After a failure the next try comes after this long, doubled each time up to the limit.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(4);

/// The lease of one stream.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) call_id: String,
    pub(crate) tag: String,
    /// Number of the last REGISTER.
    pub(crate) cseq: u32,
    /// Whether the server keeps us in its directory, as far as we know.
    pub(crate) live: bool,
    /// The server has forgotten which calls go on: the next REGISTER names those whose Call-ID
    /// comes after this one.
    pub(crate) unnamed: Option<String>,
    /// What `unnamed` becomes when the REGISTER on the way is granted.
    named: Option<Option<String>>,
    lease: Duration,
    next: Option<Instant>,
    pending: bool,
    news: bool,
    last: Option<Instant>,
    last_forced: Option<Instant>,
    retry: Duration,
    failing: bool,
    /// There is no such stream any more. Kept all the same: should it return, its REGISTER must
    /// count on from those before, or a late withdrawal would take it out again.
    leaving: bool,
}

impl Registration {
    pub(crate) fn new(now: Instant, call_id: String, tag: String) -> Self {
        Registration {
            call_id,
            tag,
            cseq: 0,
            live: false,
            unnamed: None,
            named: None,
            lease: EXPIRES,
            next: Some(now),
            pending: false,
            news: false,
            last: None,
            last_forced: None,
            retry: FIRST_RETRY,
            failing: false,
            leaving: false,
        }
    }

    /// The stream is gone, and nothing but its withdrawal is due.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
        self.live = false;
    }

    /// True of a stream that is gone.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The stream is back.
    pub(crate) fn return_now(&mut self, now: Instant) {
        self.leaving = false;
        self.pending = false;
        self.next = Some(now);
    }

    /// When the next REGISTER is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next.filter(|_| !self.leaving)
    }

    /// The lease to ask for in the REGISTER that goes out now.
    pub(crate) fn start(&mut self, now: Instant) -> Duration {
        self.cseq += 1;
        self.pending = true;
        self.news = false;
        self.named = None;
        self.next = None;
        self.last = Some(now);
        self.lease
    }

    /// True while a REGISTER has no final answer.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending
    }

    /// True from a failure until the next success.
    pub(crate) fn failing(&self) -> bool {
        self.failing
    }

    /// The REGISTER that goes out now names calls; others come after `rest`, if there are any.
    pub(crate) fn naming(&mut self, rest: Option<String>) {
        self.named = Some(rest);
    }

    /// The stream changed: tell it soon.
    pub(crate) fn tell_news(&mut self, now: Instant) {
        if self.pending {
            self.news = true;
            return;
        }
        let at = self.last.map_or(now, |last| now.max(last + NEWS_INTERVAL));
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// The server says that it has forgotten us.
    pub(crate) fn force(&mut self, now: Instant) {
        self.unnamed = Some(String::new());
        self.named = None;
        let at = match self.last_forced {
            // It is planned already.
            Some(planned) if planned > now => planned,
            Some(last) => now.max(last + FORCED_INTERVAL),
            None => now,
        };
        self.last_forced = Some(at);
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// The server granted a lease.
    pub(crate) fn granted(&mut self, now: Instant, lease: Duration) {
        self.pending = false;
        self.live = true;
        self.failing = false;
        self.retry = FIRST_RETRY;
        // Well before half the lease, so that a lost refresh has time for its retransmissions.
        let refresh = now + lease.max(Duration::from_secs(2)) * 2 / 5;
        self.next = Some(self.next.map_or(refresh, |next| next.min(refresh)));
        if let Some(rest) = self.named.take() {
            self.next = if rest.is_some() { Some(now) } else { self.next };
            self.unnamed = rest;
        }
        if self.news {
            self.tell_news(now);
        }
    }

    /// The server wants a longer lease (423). False when it is none that we could ask for.
    pub(crate) fn lengthen(&mut self, now: Instant, minimum: Duration) -> bool {
        if minimum <= self.lease || minimum > LONGEST {
            return false;
        }
        self.pending = false;
        self.lease = minimum;
        self.next = Some(now);
        true
    }

    /// The REGISTER failed. True for the first failure in a row.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        self.unanswered(now);
        !std::mem::replace(&mut self.failing, true)
    }

    /// The REGISTER did no good; the stream may still be listed until its lease ends.
    pub(crate) fn unanswered(&mut self, now: Instant) {
        self.pending = false;
        self.live = false;
        self.next = Some(
            self.next
                .map_or(now + self.retry, |next| next.min(now + self.retry)),
        );
        self.retry = (self.retry * 2).min(LAST_RETRY);
    }
}

/// The lease that a 200 to REGISTER grants to our contact, by its `expires` parameter or the
/// Expires field (RFC 3261 section 10.2.4).
pub(crate) fn granted_lease(response: &sip::Response, contact: &Uri) -> Duration {
    let seconds = |text: &str| text.trim().parse().ok().map(Duration::from_secs);
    response
        .headers
        .values(sip::Name::Contact)
        .filter_map(|value| NameAddr::parse(value).ok())
        .find(|bound| bound.uri.socket_addr() == contact.socket_addr())
        .and_then(|bound| seconds(bound.params.get("expires")?))
        .or_else(|| seconds(response.headers.get(sip::Name::Expires)?))
        .unwrap_or(EXPIRES)
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> (Registration, Instant) {
        let now = Instant::now();
        (Registration::new(now, "call".into(), "tag".into()), now)
    }

    #[test]
    fn a_lease_is_refreshed_before_its_half() {
        let (mut registration, now) = registration();
        assert_eq!(registration.next(), Some(now));
        registration.start(now);
        assert_eq!(registration.next(), None);
        registration.granted(now, EXPIRES);
        assert_eq!(registration.next(), Some(now + Duration::from_secs(24)));
    }

    #[test]
    fn news_waits_for_the_answer_and_for_its_interval() {
        let (mut registration, now) = registration();
        registration.start(now);
        registration.tell_news(now);
        assert_eq!(registration.next(), None);
        registration.granted(now, EXPIRES);
        assert_eq!(registration.next(), Some(now + NEWS_INTERVAL));
    }

    #[test]
    fn forged_demands_to_register_again_are_answered_every_five_seconds() {
        let (mut registration, now) = registration();
        registration.start(now);
        registration.granted(now, EXPIRES);
        registration.force(now);
        assert_eq!(registration.next(), Some(now));
        registration.start(now);
        registration.granted(now, EXPIRES);
        registration.force(now);
        assert_eq!(registration.next(), Some(now + FORCED_INTERVAL));
    }

    #[test]
    fn demands_that_come_together_do_not_put_off_a_later_one() {
        let (mut registration, now) = registration();
        let after = |seconds| now + Duration::from_secs(seconds);
        registration.start(now);
        registration.granted(now, EXPIRES);
        for second in 0..4 {
            registration.force(after(second));
        }
        registration.start(after(5));
        registration.granted(after(5), EXPIRES);
        registration.force(after(10));
        assert_eq!(registration.next(), Some(after(10)));
    }

    #[test]
    fn failures_are_tried_again_ever_more_slowly() {
        let (mut registration, mut now) = registration();
        for wait in [1, 2, 4, 4] {
            registration.start(now);
            registration.failed(now);
            now += Duration::from_secs(wait);
            assert_eq!(registration.next(), Some(now));
        }
    }
}
