//! What one viewer received, and what all of them saw together.

use std::collections::{HashMap, HashSet};

use crate::protocol::{Seen, Spread, Window};
use crate::rtp::{self, Media};

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
    /// Those that lack packets, by their timestamps and first come first.
    frames: Vec<(u32, Frame)>,
    /// Of the video's packets, without wrapping.
    numbers: HashSet<i64>,
    highest: i64,
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
    start: Option<(i64, rtp::FrameStart)>,
    end: Option<i64>,
    packets: i64,
}

/// A packet as str0m hands it over.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Its stream.
    pub media: Media,
    /// Sequence number.
    pub number: u16,
    /// Timestamp.
    pub time: u32,
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
        let number = self.unwrapped(packet.number);
        if !self.numbers.insert(number) {
            self.late += 1;
            return;
        }
        self.late += u64::from(number < self.highest);
        self.highest = self.highest.max(number);
        let known = self
            .frames
            .iter()
            .position(|(time, _)| *time == packet.time);
        let place = known.unwrap_or_else(|| {
            if self.frames.len() == OPEN_FRAMES {
                self.frames.remove(0);
            }
            self.frames.push((packet.time, Frame::default()));
            self.frames.len() - 1
        });
        let (_, frame) = &mut self.frames[place];
        frame.packets += 1;
        if let Some(start) = rtp::frame_start(packet.payload) {
            frame.start = Some((number, start));
        }
        if packet.marked {
            frame.end = Some(number);
        }
        if let (Some((first, start)), Some(last)) = (frame.start, frame.end)
            && frame.packets == last - first + 1
        {
            self.frames.remove(place);
            if start.keyframe && self.first_keyframe == 0 {
                self.first_keyframe = packet.at;
            }
            self.complete.push(Complete {
                media: Media::Video,
                key: start.key,
                at: packet.at,
            });
        }
    }

    /// The number that is nearest to the highest one so far. str0m's own take a packet from before
    /// the first one for one of the next round.
    fn unwrapped(&self, number: u16) -> i64 {
        if self.numbers.is_empty() {
            return number.into();
        }
        // Cut to their lowest 16 bits on purpose.
        let ahead = number.wrapping_sub(self.highest as u16) as i16;
        self.highest + i64::from(ahead)
    }

    /// Whole frames of that stream.
    pub fn frames(&self, media: Media) -> usize {
        let complete = self.complete.iter();
        complete.filter(|complete| complete.media == media).count()
    }

    /// Packets that never came between the first and the last one of the video.
    fn lost(&self) -> u64 {
        let first = self.numbers.iter().min();
        first.map_or(0, |first| {
            (self.highest - first + 1) as u64 - self.numbers.len() as u64
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
    use crate::protocol::Sent;

    use super::*;

    fn packet(number: u16, marked: bool, payload: &[u8]) -> Arrival<'_> {
        Arrival {
            media: Media::Video,
            number,
            time: 7,
            marked,
            payload,
            at: u64::from(number) * 1_000_000,
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
    fn a_packet_from_before_the_first_is_not_a_loss_of_sixty_thousand() {
        let mut record = Record::default();
        for number in [0, 65535, 2, 1] {
            record.note(&packet(number, false, &[0, 2]));
        }
        assert_eq!((record.lost(), record.late), (0, 2));
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
