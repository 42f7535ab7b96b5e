//! What `media` and `viewers` tell each other: a JSON object a line on stdin and stdout.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rtp::Media;

/// To `viewers`: its first line, on which it joins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Join {
    /// The kind of server.
    pub server: Server,
    /// Where its HTTP is.
    pub http: SocketAddr,
    /// Local address of the viewers' sockets.
    pub address: IpAddr,
    /// Whether they offer feedback on each packet.
    pub transport_cc: bool,
    /// How many viewers.
    pub viewers: usize,
    /// Between one viewer's join and the next one's.
    pub apart: Duration,
}

/// How one joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Server {
    /// By WHEP: the viewer's offer in a POST, the answer in its response.
    Rusticast,
    /// By the API of Janus: the server's offer after "watch", the viewer's answer with "start".
    Janus,
}

/// From `viewers`, when all have a picture or time is up.
#[derive(Debug, Serialize, Deserialize)]
pub struct Joined {
    /// Viewers with a whole keyframe.
    pub playing: usize,
}

/// To `viewers`: its second line, after the window.
#[derive(Debug, Serialize, Deserialize)]
pub struct Window {
    /// Its bounds on the wall clock in nanoseconds.
    pub from: u64,
    /// Its end.
    pub until: u64,
    /// What was sent to the server in it.
    pub sent: Vec<Sent>,
}

/// A frame of video or packet of audio that the server got.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sent {
    /// What tells it from others of the recording.
    pub key: u64,
    /// Its stream.
    pub media: Media,
    /// When the last byte of it was sent, on the wall clock in nanoseconds.
    pub at: u64,
}

/// From `viewers`: what they saw. Times are in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Viewers that got packets in the window.
    pub playing: usize,
    /// Request → SDP of the server.
    pub answered: Spread,
    /// Request → first RTP packet.
    pub first_packet: Spread,
    /// Request → first whole keyframe.
    pub first_keyframe: Spread,
    /// Packets received in the window, by all viewers.
    pub packets: u64,
    /// Packets of video that never came, since the first of each viewer.
    pub lost: u64,
    /// Packets of video that came a second time, or late, by retransmission or reordering.
    pub late: u64,
    /// Whole frames per viewer and second in the window.
    pub frames_per_second: f64,
    /// Last packet of a frame sent → last packet of it received.
    pub video_latency: Spread,
    /// The same of audio packets.
    pub audio_latency: Spread,
    /// Mean difference of a frame's latency from that of the one before.
    pub jitter: f64,
    /// Bytes by which SRTP lengthens a packet: 10 is AES-CM with HMAC-SHA1-80, 16 is AES-GCM.
    pub srtp_overhead: usize,
}

/// A distribution; zeros when there was nothing.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Half of them are at most this.
    pub p50: f64,
    /// 95 % of them are at most this.
    pub p95: f64,
    /// 99 % of them are at most this.
    #[serde(default)]
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these values, in any order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (values.len() as f64 * share).ceil() as usize;
            values.get(place.saturating_sub(1)).copied()
        };
        Self {
            p50: at(0.5).unwrap_or_default(),
            p95: at(0.95).unwrap_or_default(),
            p99: at(0.99).unwrap_or_default(),
            max: at(1.0).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let spread = Spread::of((1..=20).rev().map(f64::from).collect());
        let Spread { p50, p95, p99, max } = spread;
        assert_eq!([p50, p95, p99, max], [10.0, 19.0, 20.0, 20.0]);
        assert_eq!(Spread::of(vec![7.0]).p95, 7.0);
        assert_eq!(Spread::of(Vec::new()).max, 0.0);
    }
}
