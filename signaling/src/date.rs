//! Times as text: the header Date, and what operators read.

use std::time::SystemTime;

/// RFC 3261 section 20.17: the date of RFC 1123, always in GMT.
pub(crate) fn date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let at = Calendar::new(time);
    // Seven days a week: the remainder fits into any integer.
    let weekday = DAYS[(at.days % 7) as usize];
    format!(
        "{weekday}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        at.day,
        MONTHS[at.month],
        at.year,
        at.second / 3600,
        at.second / 60 % 60,
        at.second % 60
    )
}

/// RFC 3339 with microseconds, in UTC, as the log has it.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let at = Calendar::new(time);
    format!(
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year,
        at.month + 1,
        at.day,
        at.second / 3600,
        at.second / 60 % 60,
        at.second % 60,
        at.microsecond
    )
}

/// A time as calendars and clocks of UTC show it.
struct Calendar {
    /// Since 1970.
    days: u64,
    year: u64,
    /// From 0.
    month: usize,
    /// From 1.
    day: u64,
    /// Of the day.
    second: u64,
    /// Of the second.
    microsecond: u32,
}

impl Calendar {
    fn new(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let seconds = since.as_secs();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut day) = (1970, days);
        loop {
            let length = if is_leap(year) { 366 } else { 365 };
            if day < length {
                break;
            }
            day -= length;
            year += 1;
        }
        let february = if is_leap(year) { 29 } else { 28 };
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while day >= lengths[month] {
            day -= lengths[month];
            month += 1;
        }
        Calendar {
            days,
            year,
            month,
            day: day + 1,
            second,
            microsecond: since.subsec_micros(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(at(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(at(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
    }

    #[test]
    fn timestamps_have_microseconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(951_786_061_000_042);
        assert_eq!(timestamp(time), "2000-02-29T01:01:01.000042Z");
    }
}
