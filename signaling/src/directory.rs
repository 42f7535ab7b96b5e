//! What is known of each stream, and the list of streams as callers ask for it.
//!
//! A streamer describes its stream in the JSON body of REGISTER; what enters here is checked and
//! bounded once, and is plain data ever after. The list goes out in pages, because one datagram
//! must hold each of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest stream name in bytes.
pub const NAME_LIMIT: usize = 64;
/// Longest description, in any one language, in bytes.
pub const DESCRIPTION_LIMIT: usize = 1024;
/// Longest title, in any one language, in bytes.
pub const TITLE_LIMIT: usize = 256;
/// Longest error line in bytes.
pub const ERROR_LIMIT: usize = 256;
/// Longest image address in bytes.
pub const IMAGE_LIMIT: usize = 512;
/// Longest JSON of one stream in bytes. A page below 4 kB must hold any single one of them beside
/// the headers of its response.
pub const ENTRY_LIMIT: usize = 3 * 1024;
/// Most Call-IDs one REGISTER may name.
pub const CALLS_LIMIT: usize = 10_000;

/// Bytes of JSON in one page when the asker is on this machine (datagrams below 60 kB).
pub const PAGE_LONG: usize = 58_000;
/// Bytes of JSON in one page over a network (datagrams below 4 kB).
pub const PAGE_DATAGRAM: usize = 3_300;

/// True when `name` may name a stream: `[A-Za-z0-9_-]{1,64}`.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_LIMIT).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Texts by language tag; the empty tag holds the text for every other language.
pub type Texts = BTreeMap<String, String>;

/// Where the picture of a stream comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Image {
    /// `true`: ask the stream itself, with OPTIONS and `Accept: image/jpeg`. `false` is none.
    Own(bool),
    /// An `https` address.
    Address(String),
}

/// Whether a stream can be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// It is on air.
    #[default]
    Live,
    /// Its pipeline is being started.
    Starting,
    /// Its pipeline does not work; `error` says why.
    Failed,
    /// Its pipeline starts with the first viewer.
    Idle,
    /// Its streamer is not heard of. It never says so itself.
    #[serde(skip_deserializing)]
    Offline,
}

impl StreamState {
    /// The word used in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            StreamState::Live => "live",
            StreamState::Starting => "starting",
            StreamState::Failed => "failed",
            StreamState::Idle => "idle",
            StreamState::Offline => "offline",
        }
    }

    /// How likely it is to play when somebody asks.
    fn promise(self) -> u8 {
        match self {
            StreamState::Live => 4,
            StreamState::Idle => 3,
            StreamState::Starting => 2,
            StreamState::Failed => 1,
            StreamState::Offline => 0,
        }
    }
}

/// What a streamer tells of one stream: the JSON body of REGISTER and an entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamerInfo {
    /// The stream's name; the user part of the address it registers.
    pub name: String,
    /// Short title by language.
    #[serde(default)]
    pub title: Texts,
    /// Description by language.
    #[serde(default)]
    pub description: Texts,
    /// Picture for lists.
    #[serde(default)]
    pub image: Option<Image>,
    /// Codecs in the spelling of SDP (`VP8`, `opus`).
    #[serde(default)]
    pub codecs: Vec<String>,
    /// Outputs of the same codec a viewer can choose from; kept as the streamer wrote them.
    #[serde(default)]
    pub rungs: Vec<Value>,
    /// Whether it can be played now.
    #[serde(default)]
    pub state: StreamState,
    /// One line on what went wrong.
    #[serde(default)]
    pub error: Option<String>,
    /// Viewers at the time of the report.
    #[serde(default)]
    pub viewers: u32,
    /// Most viewers the streamer takes, when it says so.
    #[serde(default)]
    pub capacity: Option<u32>,
}

/// A JSON body of REGISTER that is not taken. The text is meant for the Reason-Phrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// Not the JSON that was agreed on.
    #[error("streamer info is not as expected: {0}")]
    Json(String),
    /// The name in the body differs from the one being registered.
    #[error("streamer info names another stream")]
    Name,
    /// A text that is too long, too many entries, or control characters within.
    #[error("streamer info: bad or oversized {0}")]
    Field(&'static str),
    /// More than [`ENTRY_LIMIT`] bytes in all.
    #[error("streamer info is larger than {ENTRY_LIMIT} bytes")]
    Size,
}

/// What a body tells: the info, and the Call-IDs that live on the streamer.
pub type Reported = (StreamerInfo, Option<Vec<String>>);

/// The parts of a body: the info, and the Call-IDs that live on the streamer.
#[derive(Deserialize)]
struct Report {
    #[serde(flatten)]
    info: StreamerInfo,
    #[serde(default)]
    calls: Option<Vec<String>>,
}

impl StreamerInfo {
    /// The info of a streamer that sent none: its name, and the hope that it is live.
    pub fn named(name: &str) -> StreamerInfo {
        StreamerInfo {
            name: name.to_owned(),
            ..StreamerInfo::default()
        }
    }

    /// Reads and checks the body of a REGISTER for `name`; also returns the Call-IDs it lists, if
    /// it has such a list.
    pub fn from_json(name: &str, body: &[u8]) -> Result<Reported, InfoError> {
        let mut report: Report = serde_json::from_slice(body).map_err(|error| {
            // Only the place: serde's text repeats the body's own words, which then would travel
            // in a header line.
            InfoError::Json(format!("line {} column {}", error.line(), error.column()))
        })?;
        if let Some(error) = &mut report.info.error {
            one_line(error);
        }
        if report.info.name != name {
            return Err(InfoError::Name);
        }
        report.info.check()?;
        if report
            .calls
            .as_ref()
            .is_some_and(|calls| calls.len() > CALLS_LIMIT)
        {
            return Err(InfoError::Field("calls"));
        }
        Ok((report.info, report.calls))
    }

    fn check(&self) -> Result<(), InfoError> {
        check_texts(&self.title, TITLE_LIMIT)
            .then_some(())
            .ok_or(InfoError::Field("title"))?;
        check_texts(&self.description, DESCRIPTION_LIMIT)
            .then_some(())
            .ok_or(InfoError::Field("description"))?;
        if let Some(Image::Address(address)) = &self.image {
            let plain = address.bytes().all(|byte| byte.is_ascii_graphic());
            if !address.starts_with("https://") || address.len() > IMAGE_LIMIT || !plain {
                return Err(InfoError::Field("image"));
            }
        }
        let codec =
            |codec: &String| codec.len() <= 32 && codec.bytes().all(|b| b.is_ascii_graphic());
        if self.codecs.len() > 16 || !self.codecs.iter().all(codec) {
            return Err(InfoError::Field("codecs"));
        }
        if self.rungs.len() > 16 {
            return Err(InfoError::Field("rungs"));
        }
        let size = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if size > ENTRY_LIMIT {
            return Err(InfoError::Size);
        }
        Ok(())
    }

    /// The same stream with nobody to play it.
    pub fn offline(self) -> StreamerInfo {
        StreamerInfo {
            state: StreamState::Offline,
            error: None,
            viewers: 0,
            ..self
        }
    }

    /// Adds another streamer of the same stream: its viewers and its room.
    pub fn join(&mut self, other: &StreamerInfo) {
        self.viewers = self.viewers.saturating_add(other.viewers);
        self.capacity = match (self.capacity, other.capacity) {
            (Some(one), Some(two)) => Some(one.saturating_add(two)),
            _ => None,
        };
        if other.state.promise() > self.state.promise() {
            self.state = other.state;
            self.error.clone_from(&other.error);
        }
    }
}

/// Cuts an error down to one line of [`ERROR_LIMIT`] bytes. It was made by a machine out of
/// whatever went wrong, and the stream must be listed as failed all the same.
fn one_line(error: &mut String) {
    let mut end = error.len().min(ERROR_LIMIT);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    error.truncate(end);
    if error.contains(char::is_control) {
        *error = error.replace(char::is_control, " ");
    }
}

/// Texts of at most `limit` bytes under at most 16 language tags. Line breaks are the only control
/// characters a text may hold.
fn check_texts(texts: &Texts, limit: usize) -> bool {
    texts.len() <= 16
        && texts.iter().all(|(language, text)| {
            language.len() <= 35
                && language
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && text.len() <= limit
                && !text.chars().any(|c| c.is_control() && c != '\n')
        })
}

/// One page of the directory, `{"streams":[…],"more":…}`, of at most `limit` bytes of entries;
/// always at least one entry, so that every page brings the asker further.
pub fn page<I>(entries: I, limit: usize) -> String
where
    I: IntoIterator,
    I::Item: std::borrow::Borrow<StreamerInfo>,
{
    use std::borrow::Borrow;

    let mut json = String::from("{\"streams\":[");
    let mut first = true;
    let mut more = false;
    for entry in entries {
        let Ok(text) = serde_json::to_string(entry.borrow()) else {
            continue;
        };
        if !first && json.len() + text.len() > limit {
            more = true;
            break;
        }
        if !first {
            json.push(',');
        }
        first = false;
        json.push_str(&text);
    }
    json.push_str(if more {
        "],\"more\":true}"
    } else {
        "],\"more\":false}"
    });
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"name":"test","title":{"":"Test pattern","es":"Carta de ajuste"},
        "description":{"":"Bars\nand a clock"},"image":"https://example.org/a.jpg",
        "codecs":["VP8","opus"],"rungs":[{"name":"low"}],"state":"starting","error":null,
        "viewers":3,"capacity":100,"calls":["a@b","c@d"],"unknown":{"later":1}}"#;

    #[test]
    fn a_body_is_read_with_its_calls_and_unknown_fields_are_left_out() {
        let (info, calls) = StreamerInfo::from_json("test", BODY.as_bytes()).unwrap();
        assert_eq!(info.title["es"], "Carta de ajuste");
        assert_eq!(info.state, StreamState::Starting);
        assert_eq!(info.capacity, Some(100));
        assert_eq!(calls.unwrap(), ["a@b", "c@d"]);
        let json = serde_json::to_string(&info).unwrap();
        assert!(!json.contains("unknown") && !json.contains("calls"));
        let again = StreamerInfo::from_json("test", json.as_bytes()).unwrap().0;
        assert_eq!(again, info);
    }

    #[test]
    fn images_are_a_flag_an_https_address_or_nothing() {
        let read = |image: &str| {
            let body = format!(r#"{{"name":"a","image":{image}}}"#);
            StreamerInfo::from_json("a", body.as_bytes()).map(|(info, _)| info.image)
        };
        assert_eq!(read("true"), Ok(Some(Image::Own(true))));
        assert_eq!(read("null"), Ok(None));
        assert!(read("\"https://example.org/x\"").is_ok());
        assert_eq!(
            read("\"javascript:alert(1)\""),
            Err(InfoError::Field("image"))
        );
        assert_eq!(read("\"https://exa mple\""), Err(InfoError::Field("image")));
    }

    #[test]
    fn bodies_out_of_bounds_are_refused() {
        let read = |body: String| StreamerInfo::from_json("a", body.as_bytes()).map(|_| ());
        assert!(matches!(read("{".into()), Err(InfoError::Json(_))));
        assert!(matches!(read("[]".into()), Err(InfoError::Json(_))));
        assert_eq!(read(r#"{"name":"b"}"#.into()), Err(InfoError::Name));
        let long = "x".repeat(DESCRIPTION_LIMIT + 1);
        let refused = read(format!(r#"{{"name":"a","description":{{"":"{long}"}}}}"#));
        assert_eq!(refused, Err(InfoError::Field("description")));
        let refused = read(r#"{"name":"a","title":{"":"\u0000"}}"#.into());
        assert_eq!(refused, Err(InfoError::Field("title")));
        let rung = format!(r#"{{"name":"a","rungs":["{}"]}}"#, "x".repeat(ENTRY_LIMIT));
        assert_eq!(read(rung), Err(InfoError::Size));
    }

    #[test]
    fn errors_are_cut_to_one_line() {
        let body = format!(r#"{{"name":"a","error":"two\nlines {}"}}"#, "é".repeat(200));
        let error = StreamerInfo::from_json("a", body.as_bytes())
            .unwrap()
            .0
            .error
            .unwrap();
        assert!(error.starts_with("two lines é") && error.len() <= ERROR_LIMIT);
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(is_name("test-h264_2"));
        assert!(is_name(&"x".repeat(64)));
        for bad in ["", "a b", "ñ", "../x", "a/b", "a%20", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn pages_stay_below_their_limit_and_hold_every_stream_once() {
        let infos: Vec<StreamerInfo> = (0..1000)
            .map(|number| {
                let mut info = StreamerInfo::named(&format!("stream{number:04}"));
                info.description.insert(String::new(), "d".repeat(number));
                info
            })
            .collect();
        for limit in [PAGE_LONG, PAGE_DATAGRAM] {
            let mut after = String::new();
            let mut seen = Vec::new();
            loop {
                let rest = infos.iter().filter(|info| info.name > after);
                let text = page(rest, limit);
                assert!(text.len() <= limit + 16);
                let value: Value = serde_json::from_str(&text).unwrap();
                for entry in value["streams"].as_array().unwrap() {
                    seen.push(entry["name"].as_str().unwrap().to_owned());
                }
                if value["more"] == Value::Bool(false) {
                    break;
                }
                after = seen.last().cloned().unwrap();
            }
            assert_eq!(seen.len(), infos.len());
            assert!(
                seen.iter()
                    .zip(&infos)
                    .all(|(name, info)| *name == info.name)
            );
        }
    }

    #[test]
    fn several_streamers_of_a_stream_add_up() {
        let mut one = StreamerInfo {
            viewers: 2,
            capacity: Some(10),
            ..StreamerInfo::named("a")
        };
        one.state = StreamState::Failed;
        one.error = Some("no camera".into());
        let two = StreamerInfo {
            viewers: 1,
            capacity: Some(5),
            ..StreamerInfo::named("a")
        };
        one.join(&two);
        assert_eq!(
            (one.viewers, one.capacity, one.state),
            (3, Some(15), StreamState::Live)
        );
        assert_eq!(one.error, None);
    }
}
