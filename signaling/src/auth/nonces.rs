//! Nonces that nothing is kept of until somebody has used one with the right password.
//!
//! A nonce is the time at which it was made and a code that only this server can have made of
//! that. What has been used is kept as long as it is good, so that no request is good twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long a nonce is good.
pub(crate) const GOOD: Duration = Duration::from_secs(60);
/// Nonces in use, counted for each user, at most.
pub(crate) const MAX_USED: usize = 10_000;
/// Bytes of the code, half of what there is (RFC 2104 section 5).
const CODE: usize = 16;
/// Bytes of the time.
const TIME: usize = 8;
/// Bits for the number of a nonce within its millisecond.
const NUMBER: u32 = 16;

/// Makes nonces and knows them again.
#[derive(Debug)]
pub(crate) struct Nonces {
    code: Code,
    started: Instant,
    last: u16,
    used: BTreeMap<(Stamp, String), Counts>,
    /// Nonces up to this one are not good any more: there was no room to remember what had been
    /// used of them.
    forgotten: Option<Stamp>,
}

/// When a nonce was made, in milliseconds since the start, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp(u64);

/// What makes the code of a stamp.
struct Code(Hmac<Sha256>);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code")
    }
}

/// The counts that came with a nonce: the highest, and which of the 64 up to it. Requests overtake
/// one another on their way.
#[derive(Debug)]
struct Counts {
    highest: u32,
    /// The lowest bit is that of `highest`.
    seen: u64,
}

impl Nonces {
    pub(crate) fn new(key: [u8; 64], started: Instant) -> Self {
        Nonces {
            code: Code(Hmac::new(&key.into())),
            started,
            last: 0,
            used: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// A new one.
    pub(crate) fn issue(&mut self, now: Instant) -> String {
        let millis = now.saturating_duration_since(self.started).as_millis();
        self.last = self.last.wrapping_add(1);
        // 48 bits of milliseconds last for 9000 years.
        let millis = u64::try_from(millis).unwrap_or_default();
        let stamp = Stamp((millis << NUMBER) | u64::from(self.last));
        let time = stamp.0.to_be_bytes();
        let code = self
            .code
            .0
            .clone()
            .chain_update(time)
            .finalize()
            .into_bytes();
        let bytes = time.iter().chain(&code[..CODE]);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a request of this user with this nonce and count is good. It is good once. Peers
    /// that do not count use each nonce once.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        nonce: &str,
        user: &str,
        count: Option<u32>,
    ) -> bool {
        self.expire(now);
        let Some(stamp) = self.read(nonce) else {
            return false;
        };
        let forgotten = self.forgotten.is_some_and(|last| stamp <= last);
        let count = count.unwrap_or(1);
        if forgotten || self.end(stamp) <= now || count == 0 {
            return false;
        }
        if let Some(counts) = self.used.get_mut(&(stamp, user.to_owned())) {
            return counts.admit(count);
        }
        if self.used.len() >= MAX_USED {
            if let Some(((oldest, _), _)) = self.used.pop_first() {
                self.forgotten = Some(oldest);
                self.used.retain(|(stamp, _), _| *stamp > oldest);
            }
        }
        let counts = Counts {
            highest: count,
            seen: 1,
        };
        self.used.insert((stamp, user.to_owned()), counts);
        true
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let ((oldest, _), _) = self.used.first_key_value()?;
        Some(self.end(*oldest))
    }

    /// Forgets what has been used of nonces that are no longer good.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|end| end <= now) {
            self.used.pop_first();
        }
    }

    fn end(&self, stamp: Stamp) -> Instant {
        self.started + Duration::from_millis(stamp.0 >> NUMBER) + GOOD
    }

    /// The stamp of a nonce that was made here.
    fn read(&self, nonce: &str) -> Option<Stamp> {
        let bytes = hexadecimal(nonce)?;
        let (time, code) = bytes.split_at_checked(TIME)?;
        if code.len() != CODE {
            return None;
        }
        let expected = self.code.0.clone().chain_update(time);
        expected.verify_truncated_left(code).ok()?;
        Some(Stamp(u64::from_be_bytes(time.try_into().ok()?)))
    }
}

impl Counts {
    fn admit(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        match 1_u64.checked_shl(behind) {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                true
            }
            _ => false,
        }
    }
}

/// Bytes out of lower-case digits, as they are printed here: one nonce has one spelling.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces() -> (Nonces, Instant) {
        let now = Instant::now();
        (Nonces::new([7; 64], now), now)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_nonce_is_good_for_a_minute() {
        let (mut nonces, start) = nonces();
        let now = start + 10 * SECOND;
        let nonce = nonces.issue(now);
        assert!(nonces.admit(now, &nonce, "ana", Some(1)));
        assert!(nonces.admit(now + 59 * SECOND, &nonce, "ana", Some(2)));
        assert_eq!(nonces.poll_timeout(), Some(now + GOOD));
        assert!(!nonces.admit(now + GOOD, &nonce, "ana", Some(3)));
        assert!(nonces.used.is_empty());
        assert_eq!(nonces.poll_timeout(), None);
    }

    #[test]
    fn each_count_is_good_once_in_whatever_order() {
        let (mut nonces, now) = nonces();
        let nonce = nonces.issue(now);
        for (count, good) in [
            (0, false),
            (1, true),
            (1, false),
            (5, true),
            (3, true),
            (3, false),
            (5, false),
            (2, true),
            (70, true),
            (7, true),
            (6, false),
            (5, false),
            (70, false),
            (u32::MAX, true),
            (u32::MAX, false),
            (71, false),
        ] {
            assert_eq!(
                nonces.admit(now, &nonce, "ana", Some(count)),
                good,
                "{count}"
            );
        }
        // Of another user, nothing has come yet.
        assert!(nonces.admit(now, &nonce, "bob", Some(1)));
        assert_eq!(nonces.used.len(), 2);
    }

    #[test]
    fn without_a_count_a_nonce_is_good_once() {
        let (mut nonces, now) = nonces();
        let nonce = nonces.issue(now);
        assert!(nonces.admit(now, &nonce, "ana", None));
        assert!(!nonces.admit(now, &nonce, "ana", None));
        assert!(!nonces.admit(now, &nonce, "ana", Some(1)));
        assert!(nonces.admit(now, &nonce, "ana", Some(2)));
    }

    #[test]
    fn nonces_differ_and_those_of_others_are_not_known() {
        let (mut nonces, now) = nonces();
        let one = nonces.issue(now);
        assert_ne!(one, nonces.issue(now));
        let mut other = Nonces::new([8; 64], now);
        assert!(!other.admit(now, &one, "ana", Some(1)));
        assert!(nonces.read(&one).is_some());
        for bad in [
            "",
            "00",
            &one[2..],
            &format!("{one}00"),
            &one.to_uppercase(),
            &one.replace(|c: char| c.is_ascii_digit(), "0"),
            &format!("{}é", &one[..one.len() - 2]),
            &one[..16],
        ] {
            assert!(nonces.read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn when_too_many_are_in_use_the_oldest_is_forgotten_and_not_good_again() {
        let (mut nonces, start) = nonces();
        let first = nonces.issue(start);
        let now = start + SECOND;
        assert!(nonces.admit(now, &first, "ana", Some(1)));
        let second = nonces.issue(now);
        for _ in 0..MAX_USED {
            let nonce = nonces.issue(now);
            assert!(nonces.admit(now, &nonce, "ana", Some(1)));
        }
        assert_eq!(nonces.used.len(), MAX_USED);
        assert!(!nonces.admit(now, &first, "ana", Some(2)));
        assert!(nonces.admit(now, &second, "ana", Some(1)));
        nonces.expire(now + GOOD);
        assert!(nonces.used.is_empty());
    }

    #[test]
    fn the_key_shows_nowhere() {
        let (nonces, _) = nonces();
        let shown = format!("{nonces:?}");
        assert!(
            !shown.contains("7, 7") && !shown.contains("0707"),
            "{shown}"
        );
    }
}
