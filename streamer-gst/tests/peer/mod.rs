//! A viewer without a browser: webrtcbin at the other end. Needs a network address that is not
//! loopback, as every WebRTC agent does.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test program uses a part of this, and fails by panicking"
)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gst::glib;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_sdp as gst_sdp;
use gstreamer_webrtc as gst_webrtc;
use streamer_gst::engine::ViewerId;
use streamer_gst::media::{
    Config, Media, MediaEvent, MediaHandle, Refusal, StreamInfo, StreamState, start,
};
use tokio::sync::mpsc;

/// Nothing in these tests takes this long; who waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The media half with its descriptions in a directory of its own.
pub struct Streamer {
    pub media: MediaHandle,
    events: mpsc::Receiver<MediaEvent>,
    seen: Vec<MediaEvent>,
    directory: Option<tempfile::TempDir>,
    next: u64,
}

pub const PICTURE: &str = "videotestsrc is-live=true pattern=ball \
     ! video/x-raw,format=I420,width=160,height=120,framerate=30/1 \
     ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=3000 ! tee name=video allow-not-linked=true\n";
pub const SOUND: &str = "audiotestsrc is-live=true samplesperbuffer=960 \
     ! audio/x-raw,rate=48000,channels=2 ! opusenc ! tee name=audio allow-not-linked=true\n";

impl Streamer {
    /// Starts streams from name and description text.
    pub fn start(streams: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in streams {
            std::fs::write(directory.path().join(format!("{name}.launch")), text).unwrap();
        }
        let config = Config {
            pipelines: directory.path().to_owned(),
            ..Config::default()
        };
        let mut streamer = Self::with(&config);
        streamer.directory = Some(directory);
        streamer
    }

    /// Starts whatever the configuration says.
    pub fn with(config: &Config) -> Self {
        let (media, events) = start(config).unwrap();
        Self {
            media,
            events,
            seen: Vec::new(),
            directory: None,
            next: 0,
        }
    }

    pub fn directory(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    /// Waits for an event, and keeps the others for later.
    pub fn wait<T>(&mut self, wanted: impl Fn(&MediaEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut looked = 0;
        loop {
            while looked < self.seen.len() {
                if let Some(found) = wanted(&self.seen[looked]) {
                    self.seen.remove(looked);
                    return found;
                }
                looked += 1;
            }
            let event = self.next_event(deadline);
            self.seen.push(event);
        }
    }

    fn next_event(&mut self, deadline: Instant) -> MediaEvent {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let left = deadline.saturating_duration_since(Instant::now());
        runtime
            .block_on(async { tokio::time::timeout(left, self.events.recv()).await })
            .unwrap_or_else(|_| panic!("nothing came; before: {:?}", self.seen))
            .expect("the media half lives")
    }

    /// Waits for a stream to be in a state.
    pub fn stream(&mut self, name: &str, state: StreamState) -> StreamInfo {
        loop {
            let streams = self.media.streams();
            let info = streams.into_iter().find(|s| s.name == name).unwrap();
            if info.state == state {
                return info;
            }
            self.wait(|event| match event {
                MediaEvent::Changed { stream } if stream == name => Some(()),
                _ => None,
            });
        }
    }

    /// Offers, and waits for the answer.
    pub fn open(&mut self, stream: &str, offer: &[u8]) -> (ViewerId, Result<String, Refusal>) {
        let id = self.begin(stream, offer);
        (id, self.answer(id))
    }

    /// Offers without waiting.
    pub fn begin(&mut self, stream: &str, offer: &[u8]) -> ViewerId {
        self.next += 1;
        let id = ViewerId(self.next);
        self.media.open(stream, id, Bytes::copy_from_slice(offer));
        id
    }

    pub fn answer(&mut self, id: ViewerId) -> Result<String, Refusal> {
        self.wait(|event| match event {
            MediaEvent::Answered { viewer, result } if *viewer == id => Some(result.clone()),
            _ => None,
        })
    }

    /// Why a viewer went.
    pub fn gone(&mut self, id: ViewerId) -> String {
        self.wait(|event| match event {
            MediaEvent::Gone { viewer, reason } if *viewer == id => Some(reason.clone()),
            _ => None,
        })
    }

    pub fn has_gone(&mut self, id: ViewerId) -> bool {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
        self.seen
            .iter()
            .any(|event| matches!(event, MediaEvent::Gone { viewer, .. } if *viewer == id))
    }

    /// A peer that plays a stream.
    pub fn play(&mut self, stream: &str) -> (ViewerId, Peer) {
        let peer = Peer::new();
        let (id, answer) = self.open(stream, peer.offer.as_bytes());
        peer.take(&answer.unwrap());
        (id, peer)
    }

    pub fn stop(&self) {
        let stopped = self.media.stop();
        stopped.blocking_recv().unwrap();
    }
}

/// One RTP packet that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub video: bool,
    pub timestamp: u32,
    /// The last one of its picture.
    pub marker: bool,
    pub at: Instant,
}

/// The other end of a connection.
pub struct Peer {
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    pub offer: String,
    packets: Receiver<Packet>,
    closed: Receiver<()>,
    hop: Arc<Hop>,
}

/// The peer's network, which can lose what comes or goes.
#[derive(Default)]
struct Hop {
    /// Of so many packets that come one is lost; 0 for none.
    lost: AtomicUsize,
    mute: AtomicBool,
}

impl Peer {
    /// Ready to receive picture and sound.
    pub fn new() -> Self {
        gst::init().unwrap();
        let pipeline = gst::Pipeline::new();
        let webrtc = gst::ElementFactory::make("webrtcbin").build().unwrap();
        webrtc.set_property_from_str("bundle-policy", "max-bundle");
        webrtc
            .property::<glib::Object>("ice-agent")
            .property::<glib::Object>("agent")
            .set_property("upnp", false);
        pipeline.add(&webrtc).unwrap();
        let (sender, packets) = channel();
        let (closing, closed) = channel();
        let hop = Arc::new(Hop::default());
        let net = hop.clone();
        pipeline.connect_deep_element_added(move |_, _, element| {
            let Some(factory) = element.factory() else {
                return;
            };
            if factory.name() == "nicesrc" {
                let (net, seen) = (net.clone(), AtomicUsize::new(0));
                let pad = element.static_pad("src").unwrap();
                pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                    // RTP alone: neither DTLS nor RTCP (RFC 7983, RFC 5761).
                    let map = info.buffer().and_then(|buffer| buffer.map_readable().ok());
                    let rtp = map.is_some_and(|map| {
                        matches!(map[..], [128..=191, kind, ..] if !(64..96).contains(&(kind & 127)))
                    });
                    let every = net.lost.load(Ordering::Relaxed);
                    if rtp && every > 0 && seen.fetch_add(1, Ordering::Relaxed) % every == 0 {
                        return gst::PadProbeReturn::Handled;
                    }
                    gst::PadProbeReturn::Ok
                });
            }
            if factory.name() == "nicesink" {
                let net = net.clone();
                let pad = element.static_pad("sink").unwrap();
                let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
                pad.add_probe(kinds, move |_, _| match net.mute.load(Ordering::Relaxed) {
                    true => gst::PadProbeReturn::Handled,
                    false => gst::PadProbeReturn::Ok,
                });
            }
            if factory.name() == "dtlsdec" {
                let closing = closing.clone();
                element.connect_notify(Some("connection-state"), move |element, _| {
                    let state = element.property_value("connection-state");
                    if state.serialize().is_ok_and(|state| state == "closed") {
                        let _ = closing.send(());
                    }
                });
            }
        });
        let weak = pipeline.downgrade();
        webrtc.connect_pad_added(move |_, pad| {
            if let Some(pipeline) = weak.upgrade() {
                drain(&pipeline, pad, sender.clone());
            }
        });
        for (media, name, rate, payload) in
            [("video", "VP8", 90_000, 96), ("audio", "OPUS", 48_000, 97)]
        {
            let caps = gst::Caps::builder("application/x-rtp")
                .field("media", media)
                .field("encoding-name", name)
                .field("clock-rate", rate)
                .field("payload", payload)
                .field("rtcp-fb-nack-pli", true);
            // webrtcbin 1.22 does not know that Opus has two channels.
            let caps = match media {
                "audio" => caps.field("encoding-params", "2"),
                _ => caps,
            };
            webrtc.emit_by_name::<gst_webrtc::WebRTCRTPTransceiver>(
                "add-transceiver",
                &[
                    &gst_webrtc::WebRTCRTPTransceiverDirection::Recvonly,
                    &caps.build(),
                ],
            );
        }
        pipeline.set_state(gst::State::Playing).unwrap();
        let reply = promised(&webrtc, "create-offer", &None::<gst::Structure>).unwrap();
        let offer = reply
            .get::<gst_webrtc::WebRTCSessionDescription>("offer")
            .unwrap();
        let (gathered, wait) = channel();
        webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
            let state =
                webrtc.property::<gst_webrtc::WebRTCICEGatheringState>("ice-gathering-state");
            if state == gst_webrtc::WebRTCICEGatheringState::Complete {
                let _ = gathered.send(());
            }
        });
        promised(&webrtc, "set-local-description", &offer);
        wait.recv_timeout(PATIENCE)
            .expect("an address other than loopback");
        let offer = webrtc
            .property::<gst_webrtc::WebRTCSessionDescription>("local-description")
            .sdp()
            .as_text()
            .unwrap();
        Self {
            pipeline,
            webrtc,
            offer,
            packets,
            closed,
            hop,
        }
    }

    /// From now on one of so many RTP packets that come gets lost.
    pub fn lose_one_of(&self, packets: usize) {
        self.hop.lost.store(packets, Ordering::Relaxed);
    }

    /// From now on nothing of what this peer sends arrives, but STUN.
    pub fn mute(&self) {
        self.hop.mute.store(true, Ordering::Relaxed);
    }

    /// Waits for the other end to close the DTLS connection.
    pub fn wait_closed(&self) {
        self.closed.recv_timeout(PATIENCE).expect("a close_notify");
    }

    /// Takes the answer; media may come from now on.
    pub fn take(&self, answer: &str) {
        let sdp = gst_sdp::SDPMessage::parse_buffer(answer.as_bytes()).unwrap();
        let answer =
            gst_webrtc::WebRTCSessionDescription::new(gst_webrtc::WebRTCSDPType::Answer, sdp);
        promised(&self.webrtc, "set-remote-description", &answer);
    }

    /// Waits for so many packets of picture and of sound, and returns all that came.
    pub fn receive(&self, pictures: usize, sounds: usize) -> Vec<Packet> {
        let deadline = Instant::now() + PATIENCE;
        let mut packets = Vec::new();
        let mut count: HashMap<bool, usize> = HashMap::new();
        let enough = |count: &HashMap<bool, usize>| {
            count.get(&true).copied().unwrap_or_default() >= pictures
                && count.get(&false).copied().unwrap_or_default() >= sounds
        };
        while !enough(&count) {
            let left = deadline.saturating_duration_since(Instant::now());
            let packet = self
                .packets
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("too few packets: {count:?}"));
            *count.entry(packet.video).or_default() += 1;
            packets.push(packet);
        }
        packets
    }

    /// What arrived and was not looked at yet.
    pub fn received(&self) -> usize {
        self.packets.try_iter().count()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn drain(pipeline: &gst::Pipeline, pad: &gst::Pad, sender: Sender<Packet>) {
    let video = pad
        .current_caps()
        .and_then(|caps| {
            let media = caps.structure(0)?.get::<String>("media").ok()?;
            Some(media == "video")
        })
        .unwrap_or_default();
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()
        .unwrap();
    let Some(into) = sink.static_pad("sink") else {
        return;
    };
    into.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(map) = info.buffer().and_then(|buffer| buffer.map_readable().ok()) {
            if let [_, second, _, _, a, b, c, d, ..] = map[..] {
                let _ = sender.send(Packet {
                    video,
                    timestamp: u32::from_be_bytes([a, b, c, d]),
                    marker: second & 0x80 != 0,
                    at: Instant::now(),
                });
            }
        }
        gst::PadProbeReturn::Ok
    });
    if pipeline.add(&sink).is_ok() && pad.link(&into).is_ok() {
        let _ = sink.sync_state_with_parent();
    }
}

fn promised(
    webrtc: &gst::Element,
    action: &str,
    argument: &impl glib::value::ToValue,
) -> Option<gst::Structure> {
    let promise = gst::Promise::new();
    webrtc.emit_by_name_with_values(action, &[argument.to_value(), promise.to_value()]);
    promise.wait();
    promise.get_reply().map(|reply| reply.to_owned())
}
