//! Values of properties that were written with a habit from elsewhere: units, addresses where paths
//! belong, parameters in other signs.

use crate::description::Severity;

/// What a property counts, by what its description says, and how many of it make one bit, one
/// second or one whole.
const UNITS: [(&str, &str, f64); 9] = [
    ("kbit", "kbit/s", 0.001),
    ("bits/sec", "bit/s", 1.0),
    ("bits per second", "bit/s", 1.0),
    ("bps", "bit/s", 1.0),
    ("nanosec", "ns", 1e9),
    ("in ns", "ns", 1e9),
    ("usec", "µs", 1e6),
    ("of ms", "ms", 1e3),
    ("millisec", "ms", 1e3),
];

/// The multiples people write behind numbers.
const MULTIPLES: [(&str, f64); 14] = [
    ("kbit/s", 1e3),
    ("kbps", 1e3),
    ("kbit", 1e3),
    ("Mbit/s", 1e6),
    ("Mbps", 1e6),
    ("Mbit", 1e6),
    ("ms", 1e-3),
    ("us", 1e-6),
    ("ns", 1e-9),
    ("k", 1e3),
    ("K", 1e3),
    ("M", 1e6),
    ("s", 1.0),
    ("%", 0.01),
];

/// Most that is plausible of a property that counts kbit/s.
const MAX_KILOBITS: f64 = 100_000.0;

/// Least that is plausible of a picture's bitrate that counts bit/s.
const MIN_BITS: f64 = 20_000.0;

/// The unit of a property, by its description.
pub(super) fn unit(blurb: &str) -> Option<(&'static str, f64)> {
    let blurb = blurb.to_lowercase();
    let found = UNITS.iter().find(|(sign, ..)| blurb.contains(sign))?;
    Some((found.1, found.2))
}

/// A number with a multiple behind it as the property wants it: `2M` is `2000` of `kbit/s`.
pub(super) fn converted(shown: &str, blurb: &str, whole: bool) -> Option<String> {
    let mut multiples = MULTIPLES.iter();
    let (number, factor) = multiples.find_map(|(sign, factor)| {
        let number: f64 = shown.strip_suffix(sign)?.trim_end().parse().ok()?;
        number.is_finite().then_some((number, *factor))
    })?;
    let number = number * factor * unit(blurb).map_or(1.0, |(_, per)| per);
    match whole {
        true if number.fract().abs() > 1e-6 => None,
        true => Some(format!("{number:.0}")),
        false => Some(number.to_string()),
    }
}

/// Why a value is not what was meant although GStreamer takes it, and what to write. It is an error
/// where nothing can come of it.
pub(super) fn doubt(
    factory: &str,
    name: &str,
    shown: &str,
    blurb: &str,
) -> Option<(Severity, String, String)> {
    let fault = |cause: &str, cure: String| Some((Severity::Error, cause.to_owned(), cure));
    let doubt = |cause: String, cure: String| Some((Severity::Warning, cause, cure));
    let (drive, _) = shown.split_once(':').unwrap_or_default();
    let number = shown.parse::<f64>().ok();
    match (factory, name) {
        (_, "location" | "uri")
            if drive.len() == 1 && drive.as_bytes()[0].is_ascii_alphabetic() =>
        {
            let cure = format!("write it with /, as {name}=/home/me/film.mp4");
            fault("this is a path of Windows", cure)
        }
        ("filesrc" | "filesink", "location") => match shown.split_once("://")? {
            ("file", path) => fault(
                "location is a path, not an address",
                format!("write location={path}"),
            ),
            (_, _) => fault(
                "filesrc reads files, not addresses",
                format!("write uridecodebin uri={shown}"),
            ),
        },
        (_, "uri") if shown.starts_with(['/', '.', '~']) => fault(
            "uri is an address, not a path",
            match shown.strip_prefix('/') {
                Some(_) => format!("write uri=file://{shown}"),
                None => "write uri=file:///… with the whole path".to_owned(),
            },
        ),
        ("v4l2src", "device") if number.is_some() => fault(
            "device is a file, not a number",
            format!("write device=/dev/video{shown}; streamer-gst devices lists them"),
        ),
        (_, "target-bitrate") | ("openh264enc", "bitrate")
            if unit(blurb)?.0 == "bit/s" && (1.0..MIN_BITS).contains(&number?) =>
        {
            doubt(
                format!("{name} counts bit/s, and this is {} kbit/s", number? / 1e3),
                format!("write {name}={} if you meant kbit/s", number? * 1e3),
            )
        }
        (_, "bitrate") if unit(blurb)?.0 == "kbit/s" && number? >= MAX_KILOBITS => doubt(
            format!(
                "bitrate counts kbit/s, and this is {} Gbit/s",
                number? / 1e6
            ),
            format!("write bitrate={} if you meant bit/s", number? / 1e3),
        ),
        _ => None,
    }
}

/// `0xffff0000` for the colour `#FF0000`.
pub(super) fn colour(shown: &str) -> Option<String> {
    let digits = shown.strip_prefix('#')?.to_lowercase();
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
    match digits.len() {
        6 if hexadecimal => Some(format!("0xff{digits}")),
        // Of the web, where opacity comes last.
        8 if hexadecimal => Some(format!("0x{}{}", &digits[6..], &digits[..6])),
        _ => None,
    }
}

/// `${name:-default}` for a parameter in the signs of another language: `{name}`, `%{name}`,
/// `{{name}}`, `<name>`.
pub(super) fn parameter(shown: &str) -> Option<String> {
    let inner = shown.trim_start_matches(['%', '$', '#', '@']);
    let name = inner.trim_matches(['{', '}', '<', '>', '(', ')', '%', ' ']);
    let (name, default) = name.split_once(":-").unwrap_or((name, "default"));
    let opened = inner.starts_with(['{', '<', '(']) || inner.len() < shown.len();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let plain = !default.contains(['{', '}', '$']);
    (opened && is_name && plain).then(|| format!("${{{name}:-{default}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_are_converted_to_what_the_property_counts() {
        let of = |shown, blurb| converted(shown, blurb, true);
        assert_eq!(of("2M", "Bitrate in kbit/sec").as_deref(), Some("2000"));
        assert_eq!(of("64k", "(in bps)").as_deref(), Some("64000"));
        assert_eq!(of("1s", "(in ns, 0=off)").as_deref(), Some("1000000000"));
        assert_eq!(of("1.5s", "Amount of ms").as_deref(), Some("1500"));
        assert_eq!(of("50%", ""), None);
        assert_eq!(converted("50%", "", false).as_deref(), Some("0.5"));
        for shown in ["", "M", "x2M", "infs", "NaNk", "30fps"] {
            assert_eq!(of(shown, ""), None, "{shown}");
        }
    }

    #[test]
    fn parameters_in_other_signs_are_known() {
        for shown in ["{p:-1}", "%{p:-1}", "{{p:-1}}", "<p:-1>", "$(p:-1)"] {
            assert_eq!(parameter(shown).as_deref(), Some("${p:-1}"), "{shown}");
        }
        for shown in ["p", "{1}", "{}", "{a,b}", "5", "{a b}"] {
            assert_eq!(parameter(shown), None, "{shown}");
        }
    }
}
