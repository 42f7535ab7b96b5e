//! What one viewer received, and what all of them saw together.

use std::collections::{BTreeMap, HashMap, HashSet};

use bench::protocol::{Seen, Spread, Window};
use bench::rtp::{self, Media};

/// Frames that may be incomplete at a time; older ones have lost a packet for good.
const OPEN_FRAMES: usize = 64;
/// What was sent this long before it arrived is taken for another round of the recording.
const LONGEST: u64 = 10_000_000_000;

/// Of one viewer. Times are nanoseconds of the wall clock.
#[derive(Debug, Default)]
pub struct Record {
    /// When the server's SDP was asked for.
    pub asked: u64,
    /// When it was there; none was yet when it is 0, as with the next two.
    pub answered: u64,
    /// The first packet.
    pub first_packet: u64,
    /// The first whole keyframe.
    pub first_keyframe: u64,
    /// Bytes that SRTP added to a packet.
    pub srtp_overhead: usize,
    packets: Vec<u64>,
    complete: Vec<Complete>,
    frames: BTreeMap<u64, Frame>,
    numbers: HashSet<u64>,
    highest: u64,
    late: u64,
}

/// A frame of video or packet of audio that is all there.
#[derive(Debug)]
struct Complete {
    media: Media,
    key: u64,
    at: u64,
}

/// A frame of which packets are here.
#[derive(Debug, Default)]
struct Frame {
    start: Option<(u64, rtp::FrameStart)>,
    end: Option<u64>,
    packets: u64,
}

/// A packet as str0m hands it over.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Its stream.
    pub media: Media,
    /// Sequence number without wrapping.
    pub number: u64,
    /// Timestamp without wrapping.
    pub time: u64,
    /// The marker bit.
    pub marked: bool,
    /// The payload.
    pub payload: &'a [u8],
    /// When the kernel got it.
    pub at: u64,
}

impl Record {
    /// Notes a packet.
    pub fn note(&mut self, packet: &Arrival<'_>) {
        if self.first_packet == 0 {
            self.first_packet = packet.at;
        }
        self.packets.push(packet.at);
        match packet.media {
            Media::Audio => self.complete.push(Complete {
                media: Media::Audio,
                key: rtp::key(packet.payload),
                at: packet.at,
            }),
            Media::Video => self.note_video(packet),
        }
    }

    fn note_video(&mut self, packet: &Arrival<'_>) {
        if !self.numbers.insert(packet.number) {
            self.late += 1;
            return;
        }
        self.late += u64::from(packet.number < self.highest);
        self.highest = self.highest.max(packet.number);
        let frame = self.frames.entry(packet.time).or_default();
        frame.packets += 1;
        if let Some(start) = rtp::frame_start(packet.payload) {
            frame.start = Some((packet.number, start));
        }
        if packet.marked {
            frame.end = Some(packet.number);
        }
        if let (Some((first, start)), Some(last)) = (frame.start, frame.end)
            && frame.packets == last.wrapping_sub(first).wrapping_add(1)
        {
            self.frames.remove(&packet.time);
            if start.keyframe && self.first_keyframe == 0 {
                self.first_keyframe = packet.at;
            }
            self.complete.push(Complete {
                media: Media::Video,
                key: start.key,
                at: packet.at,
            });
        }
        while self.frames.len() > OPEN_FRAMES {
            self.frames.pop_first();
        }
    }

    /// Packets that never came between the first and the last one of the video.
    fn lost(&self) -> u64 {
        let first = self.numbers.iter().min();
        first.map_or(0, |first| {
            self.highest - first + 1 - self.numbers.len() as u64
        })
    }
}

/// Sums up what all viewers saw in the window.
pub fn sum_up(records: &[Record], window: &Window) -> Seen {
    let mut sent: HashMap<u64, Vec<u64>> = HashMap::new();
    for each in &window.sent {
        sent.entry(each.key).or_default().push(each.at);
    }
    let within = |at: u64| (window.from..window.until).contains(&at);
    let seconds = (window.until - window.from) as f64 / 1e9;
    let mut seen = Seen::default();
    let (mut frames, mut jitter) = (0_u64, Vec::new());
    let (mut video, mut audio) = (Vec::new(), Vec::new());
    for record in records {
        let packets = record.packets.iter().filter(|&&at| within(at)).count() as u64;
        seen.packets += packets;
        seen.playing += usize::from(packets > 0);
        seen.lost += record.lost();
        seen.late += record.late;
        seen.srtp_overhead = seen.srtp_overhead.max(record.srtp_overhead);
        let mut before = None;
        for complete in record.complete.iter().filter(|each| within(each.at)) {
            frames += u64::from(complete.media == Media::Video);
            let Some(latency) = latency(&sent, complete) else {
                continue;
            };
            match complete.media {
                Media::Audio => audio.push(latency),
                Media::Video => {
                    video.push(latency);
                    jitter.extend(before.map(|before: f64| (latency - before).abs()));
                    before = Some(latency);
                }
            }
        }
    }
    let since_asked = |time: fn(&Record) -> u64| {
        let came = records.iter().filter(|record| time(record) > 0);
        Spread::of(
            came.map(|record| milliseconds(record.asked, time(record)))
                .collect(),
        )
    };
    seen.answered = since_asked(|record| record.answered);
    seen.first_packet = since_asked(|record| record.first_packet);
    seen.first_keyframe = since_asked(|record| record.first_keyframe);
    seen.frames_per_second = frames as f64 / seconds / records.len().max(1) as f64;
    seen.jitter = jitter.iter().sum::<f64>() / jitter.len().max(1) as f64;
    seen.video_latency = Spread::of(video);
    seen.audio_latency = Spread::of(audio);
    seen
}

/// Milliseconds from when it was last sent.
fn latency(sent: &HashMap<u64, Vec<u64>>, complete: &Complete) -> Option<f64> {
    let times = sent.get(&complete.key)?.iter();
    let at = times.filter(|&&at| at <= complete.at).max()?;
    (complete.at - at < LONGEST).then(|| milliseconds(*at, complete.at))
}

fn milliseconds(from: u64, until: u64) -> f64 {
    until.saturating_sub(from) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use bench::protocol::Sent;

    use super::*;

    fn packet(number: u64, marked: bool, payload: &[u8]) -> Arrival<'_> {
        Arrival {
            media: Media::Video,
            number,
            time: 7,
            marked,
            payload,
            at: number * 1_000_000,
        }
    }

    #[test]
    fn a_frame_is_whole_when_its_repaired_packet_is_there() {
        let mut record = Record::default();
        record.note(&packet(10, false, &[0x10, 0, 1]));
        record.note(&packet(12, true, &[0, 3]));
        assert_eq!((record.first_keyframe, record.lost()), (0, 1));
        record.note(&packet(11, false, &[0, 2]));
        assert_eq!((record.first_keyframe, record.lost()), (11_000_000, 0));
        assert_eq!(record.late, 1);
    }

    #[test]
    fn latency_counts_from_the_last_time_that_frame_was_sent() {
        let mut record = Record::default();
        record.note(&packet(10, true, &[0x10, 1, 1]));
        let key = rtp::key(&[1, 1]);
        let media = Media::Video;
        let sent = [1, 8_500_000, 11_000_000].map(|at| Sent { key, media, at });
        let window = Window {
            from: 9_000_000,
            until: 1_009_000_000,
            sent: sent.to_vec(),
        };
        let seen = sum_up(&[record], &window);
        assert_eq!((seen.video_latency.p50, seen.frames_per_second), (1.5, 1.0));
    }
}
