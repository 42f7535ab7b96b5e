//! Candidates that come after the offer: the body of a trickle ICE INFO (RFC 8840 section 9).

use super::{Candidate, Error, MAX_BYTES, MAX_CANDIDATES, Offer, Plan};

/// What a peer found out about itself since its offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Each username fragment that it names: the ICE generation that it belongs to.
    ufrags: Vec<String>,
    /// The candidates that are of use to us.
    pub candidates: Vec<Trickled>,
}

/// A candidate, and the m-line of the offer that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trickled {
    /// The m-line's `a=mid`; the first m-line where there is none.
    pub mid: Option<String>,
    /// Where the peer may be reached.
    pub candidate: Candidate,
}

impl Fragment {
    /// Reads a body of the type `application/trickle-ice-sdpfrag`. Lines that say nothing of
    /// candidates are passed over, as is the end of candidates: we never wait for it.
    ///
    /// # Errors
    /// [`Error::Bad`] with the reason.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Bad(reason.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8 text"))?;
        if bytes.len() > MAX_BYTES {
            return Err(bad("too large"));
        }
        let mut fragment = Self::default();
        let mut mid = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                continue;
            }
            let Some(("a" | "m", value)) = line.split_once('=') else {
                let number = index + 1;
                return Err(bad(&format!(
                    "line {number} is neither an attribute nor an m-line"
                )));
            };
            if line.starts_with("m=") {
                mid = None;
                continue;
            }
            match value.split_once(':') {
                Some(("mid", name)) => mid = Some(name.to_owned()),
                Some(("ice-ufrag", ufrag)) => fragment.ufrags.push(ufrag.to_owned()),
                Some(("candidate", candidate)) => {
                    let candidate = Candidate::parse(candidate).map(|candidate| Trickled {
                        mid: mid.clone(),
                        candidate,
                    });
                    // Each INFO repeats those of the ones before it (RFC 8840 section 4.4).
                    let new = candidate.filter(|c| !fragment.candidates.contains(c));
                    fragment.candidates.extend(new);
                }
                _ => {}
            }
        }
        if fragment.candidates.len() > MAX_CANDIDATES {
            return Err(bad(&format!("more than {MAX_CANDIDATES} candidates")));
        }
        Ok(fragment)
    }

    /// Whether it is about the connection that this offer is for; else it asks for an ICE restart
    /// (RFC 8838 section 13).
    pub fn belongs_to(&self, offer: &Offer) -> bool {
        let known = |ufrag: &String| {
            let mut transports = offer.sections.iter().filter_map(|s| s.transport.as_ref());
            transports.any(|transport| transport.ufrag == *ufrag)
        };
        self.ufrags.iter().all(known)
    }
}

/// Where in [`Plan::sdp`] the candidates for an m-line of the offer belong.
#[derive(Clone, Debug)]
pub struct Places {
    /// The mids of the plan's m-lines, where each has a transport of its own.
    apart: Option<Vec<String>>,
}

impl Plan {
    /// Where candidates that come later belong.
    pub fn places(&self) -> Places {
        let mids = self.sections.iter();
        let mids = mids.map(|section| self.offer.sections[*section].mid.clone());
        Places {
            apart: (!self.bundled).then(|| mids.collect()),
        }
    }
}

impl Places {
    /// The index of the m-line that a candidate for `mid` is for; `None` where that m-line has no
    /// media of ours.
    pub fn find(&self, mid: Option<&str>) -> Option<u32> {
        let (Some(mids), Some(mid)) = (&self.apart, mid) else {
            return Some(0);
        };
        let place = mids.iter().position(|known| known == mid)?;
        u32::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::offer::Available;

    const CHROMIUM: &[u8] = include_bytes!("../../tests/offers/chromium.sdp");

    fn ufrag() -> &'static str {
        let offer = std::str::from_utf8(CHROMIUM).unwrap();
        let mut lines = offer.lines();
        lines.find_map(|l| l.strip_prefix("a=ice-ufrag:")).unwrap()
    }

    #[test]
    fn candidates_are_read_with_their_mid_wherever_the_credentials_stand() {
        // As in RFC 8840 section 9.2 and as browsers' WHEP clients put it.
        let host = "1 1 UDP 2113929471 192.0.2.1 10100 typ host";
        let reflexive = "2 1 UDP 1677729535 192.0.2.9 10200 typ srflx raddr 192.0.2.1 rport 10100";
        for (head, inside) in [
            ("a=ice-ufrag:aaaa\r\na=ice-pwd:p\r\n", ""),
            (
                "a=group:BUNDLE 0 1\r\n",
                "a=ice-ufrag:aaaa\r\na=ice-pwd:p\r\n",
            ),
        ] {
            let text = format!(
                "{head}m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{inside}a=candidate:{host}\r\n\
                 a=candidate:{host}\r\na=candidate:1 1 UDP 1 {ufrag}.local 9 typ host\r\n\
                 m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\na=candidate:{reflexive}\r\n\
                 a=end-of-candidates\r\n",
                ufrag = "f00d"
            );
            let fragment = Fragment::parse(text.as_bytes()).unwrap();
            assert_eq!(fragment.ufrags, ["aaaa"], "{text}");
            let read: Vec<(Option<&str>, String)> = fragment
                .candidates
                .iter()
                .map(|c| (c.mid.as_deref(), c.candidate.to_sdp()))
                .collect();
            let expected = [
                (Some("0"), host.to_owned()),
                (Some("1"), reflexive.to_owned()),
            ];
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn what_is_no_fragment_is_refused_with_the_line() {
        let reason = |text: &[u8]| Fragment::parse(text).unwrap_err().to_string();
        assert!(reason(b"\xff").contains("UTF-8"));
        assert!(reason(b"a=ice-ufrag:x\r\n{\"candidate\": 1}").contains("line 2"));
        assert!(reason(b"v=0\r\n").contains("line 1"));
        let candidate = |n: usize| format!("a=candidate:1 1 UDP 1 192.0.2.1 {} typ host\n", 9 + n);
        let many: String = (0..=MAX_CANDIDATES).map(candidate).collect();
        assert!(reason(many.as_bytes()).contains("candidates"));
        assert_eq!(Fragment::parse(b""), Ok(Fragment::default()));
    }

    #[test]
    fn another_ufrag_is_a_restart() {
        let offer = Offer::parse(CHROMIUM).unwrap();
        let belongs = |text: &str| Fragment::parse(text.as_bytes()).unwrap().belongs_to(&offer);
        assert!(belongs(&format!("a=ice-ufrag:{}\r\n", ufrag())));
        assert!(belongs("a=end-of-candidates\r\n"));
        assert!(!belongs("a=ice-ufrag:other\r\na=ice-pwd:x\r\n"));
    }

    #[test]
    fn candidates_go_to_the_transport_of_their_m_line() {
        let outputs = [("audio", Codec::Opus), ("video", Codec::Vp8)];
        let outputs = outputs.map(|(output, codec)| Available {
            output: output.to_owned(),
            codec,
        });
        let places = |text: &str| {
            let offer = Offer::parse(text.as_bytes()).unwrap();
            offer.plan(&outputs).unwrap().places()
        };
        let together = std::str::from_utf8(CHROMIUM).unwrap();
        let bundled = places(together);
        assert_eq!(bundled.find(Some("1")), Some(0));
        assert_eq!(bundled.find(None), Some(0));
        let apart: String = together
            .lines()
            .filter(|line| !line.starts_with("a=group:"))
            .flat_map(|line| [line, "\r\n"])
            .collect();
        let alone = places(&apart);
        assert_eq!(alone.find(Some("1")), Some(1));
        assert_eq!(alone.find(Some("elsewhere")), None);
        assert_eq!(alone.find(None), Some(0));
    }
}
