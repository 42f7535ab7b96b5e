//! What is relayed: 20 seconds of 720p30 VP8 at 2 Mbit/s with a keyframe every 2 seconds, and Opus
//! at 64 kbit/s, as RTP packets. Made once by gst-launch and kept, so that runs can be compared.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::rtp::{self, Media};

/// How long it is; the sender begins again then.
pub const LENGTH: Duration = Duration::from_secs(20);
/// Between packets of one frame: a camera's line at 100 Mbit/s. All at once, a keyframe would
/// overrun a socket's buffer, and what is lost before the server is nobody's fault.
const SPREAD: Duration = Duration::from_micros(100);

/// The snow in a corner of the test card costs what the encoder may spend, and the card moves.
const VIDEO: &str = "videotestsrc num-buffers=600 pattern=smpte horizontal-speed=2 \
    ! video/x-raw,width=1280,height=720,framerate=30/1 \
    ! vp8enc target-bitrate=1750000 end-usage=cbr deadline=1 cpu-used=8 keyframe-max-dist=60 \
    ! rtpvp8pay pt=96 ssrc=1 mtu=1200 timestamp-offset=0 seqnum-offset=0 \
    ! rtpstreampay ! filesink location=";
/// Noise, so that no two packets are alike.
const AUDIO: &str = "audiotestsrc num-buffers=1000 samplesperbuffer=960 wave=pink-noise \
    ! audio/x-raw,rate=48000,channels=2 ! opusenc bitrate=64000 bitrate-type=cbr \
    ! rtpopuspay pt=111 ssrc=2 timestamp-offset=0 seqnum-offset=0 \
    ! rtpstreampay ! filesink location=";

/// A packet of the recording.
#[derive(Debug, Clone)]
pub struct Packet {
    /// When it is sent, from the beginning of a round.
    pub at: Duration,
    /// Which of the two streams it is of.
    pub media: Media,
    /// The whole packet, with the numbers of the first round.
    pub bytes: Vec<u8>,
    /// Set where a frame of video, or a packet of audio, is complete with this packet: what tells
    /// it from others, as viewers see it.
    pub completes: Option<u64>,
}

/// One round of packets in the order of their times.
#[derive(Debug)]
pub struct Recording {
    /// All packets of both streams.
    pub packets: Vec<Packet>,
}

impl Recording {
    /// Reads the recording kept in `directory`, or makes it.
    pub fn load(directory: &Path) -> Result<Self> {
        let mut packets = stream(directory, "video", VIDEO, Media::Video)?;
        packets.extend(stream(directory, "audio", AUDIO, Media::Audio)?);
        packets.sort_by_key(|packet| packet.at);
        let keys: Vec<_> = packets
            .iter()
            .filter_map(|packet| packet.completes)
            .collect();
        let different: HashSet<_> = keys.iter().collect();
        if keys.len() != different.len() {
            return Err("two frames of the recording look alike".into());
        }
        Ok(Self { packets })
    }

    /// Packets of a stream in one round.
    pub fn count(&self, media: Media) -> usize {
        let of_stream = self.packets.iter().filter(|packet| packet.media == media);
        of_stream.count()
    }

    /// Packets and bits a second of a stream, headers included.
    pub fn rates(&self, media: Media) -> (f64, f64) {
        let of_stream = self.packets.iter().filter(|packet| packet.media == media);
        let bytes: usize = of_stream.map(|packet| packet.bytes.len()).sum();
        let seconds = LENGTH.as_secs_f64();
        (
            self.count(media) as f64 / seconds,
            bytes as f64 * 8.0 / seconds,
        )
    }
}

fn stream(directory: &Path, name: &str, pipeline: &str, media: Media) -> Result<Vec<Packet>> {
    let file = directory.join(format!("{name}.rtpstream"));
    if !file.exists() {
        // Under another name until it is whole.
        let made = directory.join(format!("{name}.part"));
        let line = format!("{pipeline}{}", made.display());
        let status = Command::new("gst-launch-1.0")
            .arg("-q")
            .args(line.split_whitespace())
            .status()?;
        if !status.success() {
            return Err(format!("gst-launch-1.0 could not make {}", file.display()).into());
        }
        fs::rename(&made, &file)?;
    }
    let packets = packets(&fs::read(&file)?, media);
    packets.ok_or_else(|| format!("{} is damaged: remove it", file.display()).into())
}

/// Packets out of RFC 4571 framing: each after its length.
fn packets(mut framed: &[u8], media: Media) -> Option<Vec<Packet>> {
    let mut packets = Vec::new();
    let (mut frame, mut place) = (0, 0);
    while let Some((length, rest)) = framed.split_first_chunk() {
        let (bytes, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        framed = rest;
        let payload = bytes.get(rtp::HEADER..)?;
        let seconds = f64::from(rtp::timestamp(bytes)) / f64::from(media.clock_rate());
        let time = Duration::from_secs_f64(seconds);
        if time >= LENGTH {
            break;
        }
        let completes = match media {
            Media::Audio => Some(rtp::key(payload)),
            Media::Video => {
                if let Some(start) = rtp::frame_start(payload) {
                    (frame, place) = (start.key, 0);
                }
                rtp::is_marked(bytes).then_some(frame)
            }
        };
        packets.push(Packet {
            at: time + SPREAD * place,
            media,
            bytes: bytes.to_vec(),
            completes,
        });
        if media == Media::Video {
            place += 1;
        }
    }
    Some(packets)
}
