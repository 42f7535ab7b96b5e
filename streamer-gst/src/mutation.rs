//! Damages text in the ways that have broken SDP parsers, repeatably. Used by this crate's tests
//! and by the engine tests; not part of a running streamer.

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
