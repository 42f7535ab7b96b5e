//! What a viewer's line carries, by Google congestion control (draft-ietf-rmcat-gcc-02), from the
//! viewer's feedback on each packet (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;

use super::{element, swallow};
use crate::engine::Line;

/// What the estimate keeps to, in bits per second. It begins with the most, for a picture is better
/// than the fear that it does not fit, and congestion shows within a second or two. The least is a
/// keyframe now and then, without which nothing would tell that the line recovers.
const LEAST: u32 = 20_000;
const MOST: u32 = 50_000_000;

/// The event with which an rtpsession passes on feedback.
const FEEDBACK: &str = "RTPTWCCPackets";
/// An rtpsession remembers each numbered packet until there is feedback on it, and would do so for
/// ever where none is given. This is a minute of picture and sound.
const MOST_UNANSWERED: u32 = 20_000;
/// What is known from earlier feedback counts so much less with each that comes, of which there are
/// ten to twenty in a second. Where one packet of ten gets lost by chance, the share was never below
/// 0.87 in a minute, and came down to 0.86 when it was taken over [`FADING_SOON`].
const FADING: f64 = 0.98;
/// The same where it has to be told soon.
const FADING_SOON: f64 = 0.95;
/// So little arrives by no chance.
const LITTLE: f64 = 0.7;
/// Count as carried at first, in bytes and in seconds, so that a moment's losses or jitter say nothing.
const BENEFIT: f64 = 50_000.0;
const BENEFIT_TIME: f64 = 1.0;
/// Without feedback for so long, in nanoseconds, the line was dead, or the viewer stood still. What was
/// lost meanwhile says nothing of how wide it is.
const DEAD: u64 = 1_000_000_000;

/// An rtpgccbwe that is given the feedback, but no media and no thread: running, it would send each
/// packet by itself and up to 5 ms later, for twice the CPU of a viewer.
pub(super) struct Estimator {
    element: gst::Element,
    unanswered: Arc<Unanswered>,
    carried: Arc<Carried>,
}

/// Of what was sent the share that arrived in as much time. Only packets that there is feedback on
/// count, for feedback may get lost where packets do not: a session's own `twcc-stats` take what it
/// was about for lost.
struct Carried(Mutex<Record>);

/// What there was feedback on lately.
struct Record {
    long: Sums,
    soon: Sums,
    /// When feedback came last, and before when what was sent does not count, in nanoseconds of the
    /// system's clock.
    heard: u64,
    since: u64,
}

/// Sums that fade.
struct Sums {
    fading: f64,
    /// Bytes.
    sent: f64,
    received: f64,
    /// Seconds between packets that arrived, here and there.
    here: f64,
    there: f64,
    /// The number that the next feedback begins with, if none is lost.
    next: Option<u16>,
    /// When the last packet that arrived was sent, and when it came, in nanoseconds of two clocks.
    last: Option<(u64, u64)>,
}

impl Carried {
    fn new() -> Self {
        Self(Mutex::new(Record {
            long: Sums::new(FADING),
            soon: Sums::new(FADING_SOON),
            heard: u64::MAX,
            since: 0,
        }))
    }

    fn note(&self, now: u64, packets: &[glib::Value]) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        record.note(now, packets);
    }

    /// That of a few seconds, and that of the last one or two.
    fn shares(&self) -> (f64, f64) {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = record.soon.share();
        match lately < LITTLE {
            true => (lately, lately),
            false => (record.long.share(), lately),
        }
    }
}

impl Record {
    fn note(&mut self, now: u64, packets: &[glib::Value]) {
        if now.saturating_sub(self.heard) > DEAD {
            (self.long, self.soon) = (Sums::new(FADING), Sums::new(FADING_SOON));
            self.since = now;
        }
        self.heard = now;
        for sums in [&mut self.long, &mut self.soon] {
            sums.fade();
            for packet in packets {
                if let Ok(packet) = packet.get::<&gst::StructureRef>() {
                    sums.note(self.since, packet);
                }
            }
        }
    }
}

impl Sums {
    fn new(fading: f64) -> Self {
        Self {
            fading,
            sent: BENEFIT,
            received: BENEFIT,
            here: BENEFIT_TIME,
            there: BENEFIT_TIME,
            next: None,
            last: None,
        }
    }

    fn share(&self) -> f64 {
        if self.there <= 0.0 {
            return 1.0;
        }
        (self.received / self.sent * (self.here / self.there)).min(1.0)
    }

    fn fade(&mut self) {
        let sums = [
            &mut self.sent,
            &mut self.received,
            &mut self.here,
            &mut self.there,
        ];
        sums.into_iter().for_each(|sum| *sum *= self.fading);
    }

    fn note(&mut self, since: u64, packet: &gst::StructureRef) {
        let Ok(number) = packet.get::<u32>("seqnum").map(|number| number as u16) else {
            return;
        };
        if self.next.is_some_and(|next| next != number) {
            self.last = None;
        }
        self.next = Some(number.wrapping_add(1));
        let time = |name: &str| packet.get::<u64>(name).ok().filter(|at| *at != u64::MAX);
        // Of one that the session has forgotten it knows no more than the number.
        let (Some(sent), Ok(size)) = (time("local-ts"), packet.get::<u32>("size")) else {
            return;
        };
        if sent < since {
            return;
        }
        self.sent += f64::from(size);
        let Some(came) = time("remote-ts") else {
            return;
        };
        self.received += f64::from(size);
        if let Some((last_sent, last_came)) = self.last.replace((sent, came)) {
            let seconds = |from: u64, to: u64| (to as f64 - from as f64) / 1e9;
            self.here += seconds(last_sent, sent);
            self.there += seconds(last_came, came);
        }
    }
}

/// Numbered packets since the last one that there was feedback on.
#[derive(Default)]
pub(super) struct Unanswered(AtomicU32);

impl Unanswered {
    /// Whether one more packet may be numbered.
    pub(super) fn ask(&self) -> bool {
        let more = |count: u32| (count < MOST_UNANSWERED).then_some(count + 1);
        let asked = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        asked.is_ok()
    }

    fn note(&self, packets: &[glib::Value]) {
        // The last packet, if the session knows it: what came before is forgotten with it.
        let last = packets.last().map(|last| last.get::<&gst::StructureRef>());
        let known = last.is_some_and(|last| {
            last.is_ok_and(|last| last.get::<gst::ClockTime>("local-ts").is_ok())
        });
        if known {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

impl Estimator {
    /// One for all that a webrtcbin will send. To be called before it has sessions.
    ///
    /// # Errors
    /// There is no rtpgccbwe, or not the one that is known here.
    pub(super) fn new(webrtc: &gst::Element) -> Result<Self, String> {
        let estimator = element("rtpgccbwe")?;
        estimator.set_property("min-bitrate", LEAST);
        estimator.set_property("max-bitrate", MOST);
        estimator.set_property("estimated-bitrate", MOST);
        let ear = estimator
            .static_pad("src")
            .ok_or("rtpgccbwe has no src pad")?;
        // A pad of an element that does not run refuses events.
        ear.unset_pad_flags(gst::PadFlags::FLUSHING);
        let webrtc = webrtc
            .downcast_ref::<gst::Bin>()
            .ok_or("webrtcbin is not a bin")?;
        let unanswered = Arc::<Unanswered>::default();
        let carried = Arc::new(Carried::new());
        let (answered, share) = (unanswered.clone(), carried.clone());
        webrtc.connect_deep_element_added(move |_, _, element| {
            if element.factory().is_some_and(|f| f.name() == "rtpsession") {
                let (ear, answered, share) = (ear.clone(), answered.clone(), share.clone());
                element.connect_pad_added(move |_, pad| {
                    if pad.name() == "send_rtp_sink" {
                        listen(pad, ear.clone(), answered.clone(), share.clone());
                    }
                });
            }
        });
        Ok(Self {
            element: estimator,
            unanswered,
            carried,
        })
    }

    /// What to ask before a packet is numbered.
    pub(super) fn unanswered(&self) -> Arc<Unanswered> {
        self.unanswered.clone()
    }

    /// What is known of the line.
    pub(super) fn line(&self) -> Line {
        let (carried, lately) = self.carried.shares();
        Line {
            bandwidth: self.element.property::<u32>("estimated-bitrate").into(),
            carried,
            lately,
        }
    }
}

/// Takes the feedback out of the way to payloaders, which have no use for it.
fn listen(session: &gst::Pad, ear: gst::Pad, unanswered: Arc<Unanswered>, carried: Arc<Carried>) {
    // The one by which a session notes when it sends.
    let clock = gst::SystemClock::obtain();
    session.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let structure = info.event().and_then(|event| event.structure());
        let Some(feedback) = structure.filter(|structure| structure.name() == FEEDBACK) else {
            return gst::PadProbeReturn::Ok;
        };
        if let Ok(packets) = feedback.get::<glib::ValueArray>("packets") {
            unanswered.note(&packets);
            carried.note(clock.time().nseconds(), &packets);
        }
        if let Some(event) = info.event() {
            ear.send_event(event.clone());
        }
        swallow(info)
    });
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::extension::insert;
    use super::super::feeder::{open, source_pad};
    use super::*;
    use crate::offer::TRANSPORT_CC;

    /// A session that an estimator listens to, and where its packets and its feedback go in.
    struct Session {
        pipeline: gst::Pipeline,
        estimator: Estimator,
        packets: gst::Pad,
        feedback: gst::Pad,
        sent: u16,
    }

    impl Session {
        fn new() -> Self {
            gst::init().unwrap();
            gstrsrtp::plugin_register_static().unwrap();
            let pipeline = gst::Pipeline::new();
            let estimator = Estimator::new(pipeline.upcast_ref()).unwrap();
            let session = element("rtpsession").unwrap();
            pipeline.add(&session).unwrap();
            let pad = |name: &str, caps: &str| {
                let from = source_pad(name);
                from.link(&session.request_pad_simple(name).unwrap())
                    .unwrap();
                (from, caps.parse::<gst::Caps>().unwrap())
            };
            let rtp = format!(
                "application/x-rtp,media=video,clock-rate=90000,encoding-name=VP8,payload=96,\
                 ssrc=(uint)2,extmap-5=(string)\"{TRANSPORT_CC}\""
            );
            let pads = [
                ("send_rtp_sink", rtp.as_str()),
                ("recv_rtcp_sink", "application/x-rtcp"),
            ]
            .map(|(name, caps)| pad(name, caps));
            pipeline.set_state(gst::State::Playing).unwrap();
            let [packets, feedback] = pads.map(|(pad, caps)| {
                open(&pad, "test", &caps).unwrap();
                pad
            });
            Self {
                pipeline,
                estimator,
                packets,
                feedback,
                sent: 0,
            }
        }

        /// Sends so many numbered packets.
        fn send(&mut self, count: u16) {
            for _ in 0..count {
                let [high, low] = self.sent.to_be_bytes();
                let header = [0x80, 96, high, low, 0, 0, 0, 1, 0, 0, 0, 2];
                let mut packet = gst::Buffer::from_slice([&header[..], &[0; 500]].concat());
                insert(packet.make_mut(), [0xbe, 0xde, 0, 1, 0x51, 0, 0, 0]);
                // Nobody takes them.
                let _ = self.packets.push(packet);
                self.sent = self.sent.wrapping_add(1);
            }
        }

        /// Feedback that so many packets from the first of them on are lost.
        fn lose(&self, first: u16, count: u16) {
            let mut feedback = vec![0x8f, 205, 0, 5, 0, 0, 0, 9, 0, 0, 0, 2];
            feedback.extend(first.to_be_bytes());
            feedback.extend(count.to_be_bytes());
            feedback.extend([0, 0, 1, 0]);
            // A run of the same (section 3.1.3), and padding.
            feedback.extend(count.to_be_bytes());
            feedback.extend([0, 0]);
            let _ = self.feedback.push(gst::Buffer::from_slice(feedback));
        }
    }

    impl Drop for Session {
        fn drop(&mut self) {
            let _ = self.pipeline.set_state(gst::State::Null);
        }
    }

    #[test]
    fn without_feedback_packets_are_no_longer_numbered() {
        let mut session = Session::new();
        let unanswered = session.estimator.unanswered();
        let asked = || (0..MOST_UNANSWERED).filter(|_| unanswered.ask()).count() as u32;
        session.send(10);
        assert_eq!(asked(), MOST_UNANSWERED);
        assert!(!unanswered.ask());
        // On packets that were never sent.
        session.lose(1000, 10);
        assert!(!unanswered.ask());
        session.lose(0, 10);
        assert_eq!(asked(), MOST_UNANSWERED);
    }

    #[test]
    fn what_is_lost_lowers_the_estimate_of_an_element_that_does_not_run() {
        let mut session = Session::new();
        let line = session.estimator.line();
        assert_eq!((line.bandwidth, line.carried), (MOST.into(), 1.0));
        let begin = Instant::now();
        while session.estimator.line().bandwidth == u64::from(MOST) {
            session.send(10);
            session.lose(session.sent - 10, 10);
            // It goes by time, too.
            std::thread::sleep(Duration::from_millis(5));
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
        let element = &session.estimator.element;
        assert_eq!(element.current_state(), gst::State::Null);
    }

    /// A line in virtual time: a packet of 1000 bytes every 10 ms, feedback on each 10 of them.
    struct Line {
        carried: Carried,
        number: u16,
        /// When the next packet is sent, and how late it will come, in milliseconds.
        at: u64,
        late: i64,
    }

    impl Line {
        fn new() -> Self {
            gst::init().unwrap();
            Self {
                carried: Carried::new(),
                number: u16::MAX - 50,
                at: 5_000,
                late: 0,
            }
        }

        /// What one feedback is on.
        fn packets(&mut self, lost: u64, later: i64) -> Vec<glib::Value> {
            let packets = (0..10).map(|place| {
                let came = (self.at as i64 + self.late) as u64 * 1_000_000;
                let came = if place < lost { u64::MAX } else { came };
                let packet = gst::Structure::builder("RTPTWCCPacket")
                    .field("seqnum", u32::from(self.number))
                    .field("local-ts", self.at * 1_000_000)
                    .field("remote-ts", came)
                    .field("size", 1000_u32)
                    .build();
                self.number = self.number.wrapping_add(1);
                self.at += 10;
                self.late += later;
                packet.to_value()
            });
            packets.collect()
        }

        /// So many feedbacks: of each ten packets so many are lost, and each comes so much later
        /// than the one before; of the feedbacks, every `heard`th arrives.
        fn pass(&mut self, feedbacks: usize, lost: u64, later: i64, heard: usize) -> f64 {
            for feedback in 0..feedbacks {
                let packets = self.packets(lost, later);
                if feedback % heard == 0 {
                    self.carried.note(self.at * 1_000_000, &packets);
                }
            }
            self.carried.shares().0
        }
    }

    #[test]
    fn what_is_carried_is_the_share_of_a_few_seconds_and_little_is_told_soon() {
        let mut line = Line::new();
        assert!(line.carried.shares().0 > 0.999);
        assert!(line.pass(60, 0, 0, 1) > 0.999);
        // A moment's loss or delay is none.
        assert!(line.pass(3, 5, 0, 1) > 0.95);
        assert!(line.pass(180, 0, 0, 1) > 0.97);
        let some = line.pass(180, 2, 0, 1);
        assert!((0.8..0.81).contains(&some), "{some}");
        let half = line.pass(30, 5, 0, 1);
        assert!((0.5..0.57).contains(&half), "{half}");
        assert!(line.pass(180, 0, 0, 1) > 0.97);
        // A queue that fills: each packet takes twice its time. When it drains, all arrives.
        let half = line.pass(60, 0, 10, 1);
        assert!((0.5..0.56).contains(&half), "{half}");
        assert!(line.pass(120, 0, -5, 1) > 0.97);
    }

    #[test]
    fn one_of_ten_lost_by_chance_is_hardly_ever_taken_for_one_of_six() {
        let mut line = Line::new();
        let mut random = 7_u64;
        let mut least = 1.0_f64;
        for _ in 0..5_000 {
            let lost = (0..10).filter(|_| {
                // A generator of Knuth's (MMIX), whose upper bits are good enough.
                random = random.wrapping_mul(6_364_136_223_846_793_005);
                random = random.wrapping_add(1_442_695_040_888_963_407);
                random >> 33 < (1 << 31) / 10
            });
            let lost = lost.count() as u64;
            least = least.min(line.pass(1, lost, 0, 1));
        }
        assert!(least > 0.85, "{least}");
    }

    #[test]
    fn a_line_that_was_dead_is_judged_by_what_is_sent_afterwards() {
        let mut line = Line::new();
        line.pass(60, 0, 0, 1);
        // Three seconds without a word; then they are all told of at once, most of it lost.
        let before = line.at;
        line.at += 3_000;
        let now = line.at;
        for sent in (before..now).step_by(100) {
            line.at = sent;
            let lost = line.packets(8, 0);
            line.carried.note(now * 1_000_000, &lost);
        }
        assert!(line.carried.shares().0 > 0.999);
        line.at = now;
        let half = line.pass(60, 5, 0, 1);
        assert!((0.5..0.53).contains(&half), "{half}");
    }

    #[test]
    fn feedback_that_is_lost_says_nothing_of_what_is_carried() {
        let mut line = Line::new();
        assert!(line.pass(200, 0, 0, 3) > 0.999);
        let half = line.pass(200, 5, 0, 3);
        assert!((0.5..0.53).contains(&half), "{half}");
    }
}
