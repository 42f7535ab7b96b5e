//! Damages text in the ways that have broken SDP parsers, repeatably. Used by this crate's tests
//! and by system tests; not part of a running streamer.

/// A small repeatable generator (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator for one seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`; 0 when the limit is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        value as usize % limit.max(1)
    }
}

/// One to three changes: a line lost, doubled, moved or cut, a number or a byte replaced.
pub(crate) fn mutate(sdp: &str, random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = sdp.lines().map(|line| line.as_bytes().to_vec()).collect();
    for _ in 0..=random.below(3) {
        let at = random.below(lines.len());
        if lines.is_empty() {
            break;
        }
        match random.below(8) {
            0 => {
                lines.remove(at);
            }
            1 => {
                let line = lines[at].clone();
                lines.insert(random.below(lines.len()), line);
            }
            2 => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            3 => {
                let length = random.below(lines[at].len());
                lines[at].truncate(length);
            }
            4 => {
                let value = [
                    "0",
                    "-1",
                    "65536",
                    "4294967296",
                    "99999999999999999999",
                    "",
                    "a",
                    "127",
                ][random.below(8)];
                replace_number(&mut lines[at], value, random);
            }
            5 => {
                let index = random.below(lines[at].len());
                if let Some(byte) = lines[at].get_mut(index) {
                    *byte = random.below(256) as u8;
                }
            }
            6 => {
                let line = lines[at].clone();
                lines[at].extend(line.repeat(random.below(40)));
            }
            _ => lines.truncate(at + 1),
        }
    }
    let mut text = lines.join(&b"\r\n"[..]);
    text.extend(b"\r\n");
    text
}

/// One to four changes that leave every line well-formed but not the whole: m-lines lost, doubled
/// or moved, other mids, directions, roles, ports, payload types, parameters, groups.
pub(crate) fn restructure(sdp: &str, random: &mut Random) -> String {
    let mut sections: Vec<Vec<String>> = vec![Vec::new()];
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line.to_owned());
        }
    }
    let mut session = sections.remove(0);
    for _ in 0..=random.below(4) {
        let (at, other) = (random.below(sections.len()), random.below(sections.len()));
        if sections.is_empty() {
            break;
        }
        match random.below(14) {
            0 => {
                sections.remove(at);
            }
            1 => {
                let copy = sections[at].clone();
                sections.insert(other, copy);
            }
            2 => sections.swap(at, other),
            3 => {
                let mids = [
                    "0",
                    "1",
                    "audio",
                    "m0",
                    "é",
                    "",
                    "a,b",
                    "99999999999999999999",
                ];
                let mid = mids[random.below(mids.len())];
                replace_lines(&mut sections[at], "a=mid:", mid);
            }
            4 => {
                let directions = ["sendrecv", "sendonly", "recvonly", "inactive", "both"];
                let direction = directions[random.below(directions.len())].to_owned();
                for line in &mut sections[at] {
                    if directions
                        .iter()
                        .any(|d| line.strip_prefix("a=") == Some(d))
                    {
                        *line = format!("a={direction}");
                    }
                }
            }
            5 => {
                let roles = ["active", "passive", "actpass", "holdconn", "", "ACTPASS"];
                let role = roles[random.below(roles.len())];
                replace_lines(&mut sections[at], "a=setup:", role);
            }
            6 => change_word(
                &mut sections[at][0],
                1,
                ["0", "9", "65535", "9/2"][random.below(4)],
            ),
            7 => {
                let protocols = [
                    "RTP/AVP",
                    "RTP/SAVPF",
                    "UDP/TLS/RTP/SAVP",
                    "TCP/DTLS/RTP/SAVPF",
                ];
                change_word(
                    &mut sections[at][0],
                    2,
                    protocols[random.below(protocols.len())],
                );
            }
            8 => renumber(&mut sections[at], random),
            9 => {
                let payload = random.below(128);
                let maps = [
                    "VP8/90000",
                    "rtx/90000",
                    "opus/48000/2",
                    "H264/90000",
                    "vp8/1",
                    "/",
                ];
                let map = maps[random.below(maps.len())];
                sections[at].push(format!("a=rtpmap:{payload} {map}"));
            }
            10 => {
                let payload = random.below(128);
                let values = [
                    "apt=96",
                    "apt=apt;apt=96;;=;a=;=b",
                    "profile-level-id=zzzzzz;packetization-mode=1",
                    "packetization-mode=4294967296",
                    "x=é",
                ];
                let value = values[random.below(values.len())];
                sections[at].insert(1, format!("a=fmtp:{payload} {value}"));
            }
            11 => {
                for payload in 0..128 {
                    sections[at][0] += &format!(" {payload}");
                    sections[at].push(format!("a=rtpmap:{payload} VP8/90000"));
                }
            }
            12 => {
                let groups = [
                    "BUNDLE",
                    "BUNDLE 0",
                    "BUNDLE 1 0",
                    "BUNDLE 0 1 2 3",
                    "LS 0 1",
                    "",
                ];
                let group = groups[random.below(groups.len())];
                replace_lines(&mut session, "a=group:", group);
            }
            _ => {
                let lines = [
                    "a=bundle-only",
                    "a=rtcp-mux",
                    "a=ice-lite",
                    "a=rtcp:9 IN IP4 é",
                ];
                sections[at].push(lines[random.below(lines.len())].to_owned());
            }
        }
    }
    session.extend(sections.into_iter().flatten());
    session.iter().map(|line| format!("{line}\r\n")).collect()
}

/// Gives all lines that begin so another end.
fn replace_lines(lines: &mut [String], prefix: &str, value: &str) {
    for line in lines.iter_mut().filter(|line| line.starts_with(prefix)) {
        *line = format!("{prefix}{value}");
    }
}

fn change_word(line: &mut String, index: usize, value: &str) {
    let mut words: Vec<&str> = line.split(' ').collect();
    if let Some(word) = words.get_mut(index) {
        *word = value;
    }
    *line = words.join(" ");
}

/// Turns one payload type of an m-line into another number wherever it stands.
fn renumber(lines: &mut [String], random: &mut Random) {
    let formats: Vec<String> = lines[0].split(' ').skip(3).map(str::to_owned).collect();
    let Some(old) = formats.get(random.below(formats.len())) else {
        return;
    };
    let new = random.below(140).to_string();
    for line in lines {
        let words: Vec<String> = line
            .split(' ')
            .map(|word| match word.split_once(':') {
                _ if word == old => new.clone(),
                Some((name, payload)) if payload == old => format!("{name}:{new}"),
                _ => word.to_owned(),
            })
            .collect();
        *line = words.join(" ");
    }
}

/// Replaces one run of digits.
fn replace_number(line: &mut Vec<u8>, value: &str, random: &mut Random) {
    let starts: Vec<usize> = (0..line.len())
        .filter(|i| line[*i].is_ascii_digit() && (*i == 0 || !line[*i - 1].is_ascii_digit()))
        .collect();
    let Some(start) = starts.get(random.below(starts.len())).copied() else {
        return;
    };
    let length = line[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    line.splice(start..start + length, value.bytes());
}
