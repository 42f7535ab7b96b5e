use super::*;

const CHROMIUM: &str = include_str!("../../tests/offers/chromium.sdp");
const FIREFOX: &str = include_str!("../../tests/offers/firefox.sdp");
const BARESIP: &str = include_str!("../../tests/offers/baresip.sdp");
const RECORDED: [(&str, &str); 11] = [
    ("chromium", CHROMIUM),
    (
        "chromium-audio-only",
        include_str!("../../tests/offers/chromium-audio-only.sdp"),
    ),
    (
        "chromium-video-only",
        include_str!("../../tests/offers/chromium-video-only.sdp"),
    ),
    (
        "chromium-max-bundle",
        include_str!("../../tests/offers/chromium-max-bundle.sdp"),
    ),
    (
        "chromium-h264-only",
        include_str!("../../tests/offers/chromium-h264-only.sdp"),
    ),
    (
        "chromium-datachannel",
        include_str!("../../tests/offers/chromium-datachannel.sdp"),
    ),
    ("firefox", FIREFOX),
    (
        "firefox-audio-only",
        include_str!("../../tests/offers/firefox-audio-only.sdp"),
    ),
    (
        "firefox-video-only",
        include_str!("../../tests/offers/firefox-video-only.sdp"),
    ),
    (
        "firefox-max-bundle",
        include_str!("../../tests/offers/firefox-max-bundle.sdp"),
    ),
    ("baresip", BARESIP),
];

fn outputs(codecs: &[Codec]) -> Vec<Available> {
    codecs
        .iter()
        .map(|codec| Available {
            output: codec.kind().name().to_owned(),
            codec: *codec,
        })
        .collect()
}

fn plan(sdp: &str, codecs: &[Codec]) -> Result<Plan, Error> {
    Offer::parse(sdp.as_bytes())?.plan(&outputs(codecs))
}

fn test_stream(sdp: &str) -> Plan {
    plan(sdp, &[Codec::Vp8, Codec::Opus]).unwrap()
}

/// Answers as an engine does: same m-lines, own transport, sendonly.
fn engine_answer(plan: &Plan) -> String {
    let mut answer = String::new();
    for line in plan.sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            answer += &format!(
                "m={media}\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 UDP 2015363327 10.9.8.7 5004 typ host\r\na=candidate:2 1 UDP 3015363327 2001:db8::7 5006 typ host\r\na=ice-ufrag:ours\r\na=ice-pwd:ourPasswordOfTwentyTwo\r\na=fingerprint:sha-256 AA:BB\r\na=setup:active\r\na=sendonly\r\n"
            );
        } else if [
            "a=mid",
            "a=group",
            "a=rtpmap",
            "a=rtcp-mux",
            "a=fmtp",
            "v=",
            "o=",
        ]
        .iter()
        .any(|kept| line.starts_with(kept))
        {
            answer += &format!("{line}\r\n");
        }
    }
    answer
}

fn m_lines(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|line| line.starts_with("m=")).collect()
}

/// Lines of one m-line and below.
fn section(sdp: &str, index: usize) -> String {
    sdp.split("\r\nm=").nth(index + 1).unwrap().to_owned()
}

fn reason(sdp: &str) -> String {
    plan(sdp, &[Codec::Vp8, Codec::Opus])
        .unwrap_err()
        .to_string()
}

#[test]
fn every_recorded_offer_is_understood() {
    for (name, sdp) in RECORDED {
        let offer = Offer::parse(sdp.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let plan = offer
            .plan(&outputs(&[Codec::Vp8, Codec::Opus]))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        // What the engine gets is a complete offer by the same rules.
        let again = Offer::parse(plan.sdp.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let same = again.plan(&outputs(&[Codec::Vp8, Codec::Opus])).unwrap();
        assert_eq!(same.sdp, plan.sdp, "{name}");
        let answer = plan.answer(&engine_answer(&plan)).unwrap();
        assert_eq!(m_lines(&answer).len(), m_lines(sdp).len(), "{name}");
    }
}

#[test]
fn payload_types_are_the_offers() {
    let payloads = |sdp| -> Vec<(Codec, u8)> {
        test_stream(sdp)
            .tracks
            .iter()
            .map(|track| (track.codec, track.payload))
            .collect()
    };
    assert_eq!(payloads(CHROMIUM), [(Codec::Vp8, 96), (Codec::Opus, 111)]);
    assert_eq!(payloads(FIREFOX), [(Codec::Vp8, 120), (Codec::Opus, 109)]);
    assert_eq!(payloads(BARESIP), [(Codec::Opus, 96), (Codec::Vp8, 96)]);
}

#[test]
fn a_payload_type_no_payloader_makes_is_passed_over() {
    let low = CHROMIUM.replace("SAVPF 96", "SAVPF 58 96").replacen(
        "a=rtpmap:96",
        "a=rtpmap:58 VP8/90000\r\na=rtpmap:96",
        1,
    );
    assert_eq!(test_stream(&low).tracks[0].payload, 96);
}

#[test]
fn h264_is_constrained_baseline_in_packetization_mode_1() {
    let plan = plan(CHROMIUM, &[Codec::H264]).unwrap();
    let payload = plan.tracks[0].payload;
    let line = plan
        .sdp
        .lines()
        .find(|line| line.starts_with(&format!("a=fmtp:{payload} ")))
        .unwrap();
    assert!(line.contains("packetization-mode=1"), "{line}");
    assert!(line.contains("profile-level-id=42e01f"), "{line}");
    let error = super::tests::plan(FIREFOX, &[Codec::H264]).unwrap_err();
    assert!(matches!(error, Error::NoCommonCodec(_)), "{error}");
}

#[test]
fn vp9_is_profile_0_said_or_not() {
    let chromium = plan(CHROMIUM, &[Codec::Vp9]).unwrap();
    assert!(chromium.sdp.contains("profile-id=0"));
    let firefox = plan(FIREFOX, &[Codec::Vp9]).unwrap();
    assert_eq!(firefox.tracks[0].payload, 121);
}

#[test]
fn an_alternative_output_is_taken_when_the_first_cannot_be_decoded() {
    let available = [
        Available {
            output: "video".to_owned(),
            codec: Codec::H264,
        },
        Available {
            output: "video_vp8".to_owned(),
            codec: Codec::Vp8,
        },
    ];
    let plan = |sdp: &str| {
        let offer = Offer::parse(sdp.as_bytes()).unwrap();
        offer.plan(&available).unwrap().tracks[0].output.clone()
    };
    assert_eq!(plan(CHROMIUM), "video");
    assert_eq!(plan(FIREFOX), "video_vp8");
}

#[test]
fn a_line_is_measured_where_the_offer_allows_it() {
    let output = |name: &str, codec| Available {
        output: name.to_owned(),
        codec,
    };
    let picture = [output("video", Codec::Vp8)];
    let both = [picture[0].clone(), output("audio", Codec::Opus)];
    let measured = |sdp: &str, available: &[Available]| {
        let plan = Offer::parse(sdp.as_bytes()).unwrap().plan(available);
        let plan = plan.unwrap();
        let id = plan.tracks[0].transport_cc;
        let line = |id| format!("a=extmap:{id} {TRANSPORT_CC}\r\n");
        assert_eq!(id.is_some(), plan.sdp.contains("transport-cc\r\n"));
        assert_eq!(id.is_some(), plan.sdp.contains(TRANSPORT_CC));
        assert!(id.is_none_or(|id| plan.sdp.contains(&line(id))));
        id
    };
    assert_eq!(measured(CHROMIUM, &both), Some(4));
    assert_eq!(measured(FIREFOX, &both), Some(7));
    assert_eq!(measured(BARESIP, &both), None);
    // With a transport for each of two m-lines there are two lines to measure.
    let apart: String = CHROMIUM
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("a=group:"))
        .collect();
    assert_eq!(measured(&apart, &picture), Some(4));
    assert_eq!(measured(&apart, &both), None);
    let unasked = CHROMIUM.replace("96 transport-cc", "96 goog-remb");
    assert_eq!(measured(&unasked, &picture), None);
}

#[test]
fn the_rungs_of_a_viewer_are_the_pictures_it_can_decode() {
    let available = [
        ("video", Codec::Vp8),
        ("video_h264", Codec::H264),
        ("audio", Codec::Opus),
        ("video_low", Codec::Vp8),
    ]
    .map(|(name, codec)| Available {
        output: name.to_owned(),
        codec,
    });
    let names = |codec| -> Vec<&str> {
        let rungs = rungs(&available, codec);
        rungs.iter().map(|rung| rung.output.as_str()).collect()
    };
    assert_eq!(names(Codec::Vp8), ["video", "video_low"]);
    assert_eq!(names(Codec::H264), ["video_h264"]);
    assert_eq!(names(Codec::Vp9), [""; 0]);
    assert_eq!(names(Codec::Opus), [""; 0]);
}

#[test]
fn retransmission_is_taken_where_offered() {
    assert!(test_stream(CHROMIUM).sdp.contains("a=fmtp:97 apt=96"));
    assert!(test_stream(FIREFOX).sdp.contains("a=fmtp:124 apt=120"));
    assert!(!test_stream(BARESIP).sdp.contains("apt="));
}

#[test]
fn session_values_reach_every_m_line() {
    let plan = test_stream(BARESIP);
    assert!(!plan.bundled);
    assert_eq!(plan.sdp.matches("a=ice-ufrag:GQ8F02m").count(), 2);
    assert_eq!(plan.sdp.matches("a=setup:actpass").count(), 2);
    assert_eq!(plan.sdp.matches("a=fingerprint:sha-256 08:B1").count(), 2);
    assert_eq!(plan.sdp.matches("a=mid:").count(), 2);
    assert!(!plan.sdp.contains("a=group"));
    assert!(plan.sdp.contains("a=rtcp-fb:96 nack pli"));
    let firefox = test_stream(FIREFOX);
    assert_eq!(firefox.sdp.matches("a=fingerprint:").count(), 2);
}

#[test]
fn mids_we_added_do_not_come_back() {
    let plan = test_stream(BARESIP);
    let answer = plan.answer(&engine_answer(&plan)).unwrap();
    assert!(!answer.contains("a=mid:"));
    assert!(!answer.contains("a=group:"));
    let plan = test_stream(CHROMIUM);
    let answer = plan.answer(&engine_answer(&plan)).unwrap();
    assert!(answer.contains("a=mid:0"));
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"));
}

#[test]
fn the_default_candidate_is_named_in_m_and_c() {
    for sdp in [CHROMIUM, BARESIP] {
        let plan = test_stream(sdp);
        let answer = plan.answer(&engine_answer(&plan)).unwrap();
        for line in m_lines(&answer) {
            assert_eq!(line.split(' ').nth(1), Some("5004"), "{line}");
        }
        assert_eq!(answer.matches("c=IN IP4 10.9.8.7\r\n").count(), 2);
        assert!(!answer.contains("c=IN IP4 0.0.0.0"));
    }
}

#[test]
fn link_local_addresses_are_not_offered() {
    let plan = test_stream(CHROMIUM);
    let engine = engine_answer(&plan).replace("2001:db8::7", "fe80::7");
    let answer = plan.answer(&engine).unwrap();
    assert!(!answer.contains("fe80") && answer.contains("10.9.8.7"));
}

#[test]
fn every_answer_has_an_origin_of_its_own() {
    let plan = test_stream(CHROMIUM);
    let engine = engine_answer(&plan);
    let origin = |answer: String| answer.lines().nth(1).unwrap().to_owned();
    let one = origin(plan.answer(&engine).unwrap());
    let other = origin(plan.answer(&engine.replace("ours", "more")).unwrap());
    assert!(one.starts_with("o=- ") && one != other);
}

#[test]
fn m_lines_without_media_are_inactive_on_the_shared_transport() {
    let plan = test_stream(include_str!("../../tests/offers/chromium-datachannel.sdp"));
    assert_eq!(plan.tracks.len(), 2);
    assert_eq!(m_lines(&plan.sdp).len(), 2);
    let answer = plan.answer(&engine_answer(&plan)).unwrap();
    assert_eq!(m_lines(&answer).len(), 4);
    assert!(answer.contains("a=group:BUNDLE 0 1 2\r\n"));
    let spare = section(&answer, 2);
    assert!(spare.contains("a=inactive") && spare.contains("a=ice-ufrag:ours"));
    assert!(spare.contains("a=rtpmap:96 VP8/90000") && spare.contains("a=mid:2"));
    assert!(section(&answer, 3).starts_with("application 0 UDP/DTLS/SCTP webrtc-datachannel"));
}

#[test]
fn without_a_group_m_lines_without_media_are_rejected() {
    let plan = plan(BARESIP, &[Codec::Opus]).unwrap();
    let answer = plan.answer(&engine_answer(&plan)).unwrap();
    assert!(section(&answer, 1).starts_with("video 0 "), "{answer}");
}

#[test]
fn audio_plays_when_the_picture_cannot() {
    let plan = plan(FIREFOX, &[Codec::H264, Codec::Opus]).unwrap();
    assert_eq!(plan.tracks.len(), 1);
    assert_eq!(plan.tracks[0].codec, Codec::Opus);
    let answer = plan.answer(&engine_answer(&plan)).unwrap();
    // Firefox takes candidates only from the first m-line of a group, whatever it carries.
    let picture = section(&answer, 0);
    assert!(picture.contains("a=inactive") && picture.contains("a=candidate:1 1 UDP"));
    assert!(section(&answer, 1).contains("a=sendonly"));
    // The transport of a group is that of its first m-line, even an inactive one.
    assert!(plan.sdp.contains("a=ice-ufrag:65a0893a"));
}

#[test]
fn a_bundle_only_m_line_borrows_its_groups_transport() {
    let mut in_second = false;
    let sdp: String = include_str!("../../tests/offers/firefox-max-bundle.sdp")
        .lines()
        .filter(|line| {
            in_second |= line.starts_with("m=video");
            !(in_second && (line.starts_with("a=ice-") || line.starts_with("a=setup")))
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    let plan = test_stream(&sdp);
    assert_eq!(plan.sdp.matches("a=ice-ufrag:e29eeb17").count(), 2);
    assert!(m_lines(&plan.sdp)[1].starts_with("m=video 9 "));
}

#[test]
fn candidates_by_name_are_dropped_and_literal_ones_kept() {
    assert!(!test_stream(FIREFOX).sdp.contains(".local"));
    assert!(
        test_stream(BARESIP)
            .sdp
            .contains("a=candidate:0a4d0001 1 UDP 2113929471 10.77.0.1 18502 typ host")
    );
}

#[test]
fn only_the_strongest_fingerprints_count() {
    let weak = "a=fingerprint:sha-1 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33";
    let strong = format!("a=fingerprint:sha-512 {}", vec!["5C"; 64].join(":"));
    let sdp = BARESIP.replace("a=setup", &format!("{weak}\r\n{strong}\r\na=setup"));
    let plan = test_stream(&sdp);
    for track in &plan.tracks {
        assert_eq!(track.fingerprints.len(), 1);
        assert_eq!(track.fingerprints[0].function, HashFunction::Sha512);
        assert_eq!(track.fingerprints[0].digest, [0x5c; 64]);
    }
}

#[test]
fn a_candidate_more_than_the_limit_is_too_many() {
    let with = |count: usize| {
        let lines: String = (0..count)
            .map(|n| format!("a=candidate:{n} 1 UDP 1 10.0.0.1 {} typ host\r\n", 1000 + n))
            .collect();
        let one = CHROMIUM
            .lines()
            .filter(|line| !line.starts_with("a=candidate"))
            .map(|line| format!("{line}\r\n"))
            .collect::<String>();
        one.replacen("a=mid:0", &format!("{lines}a=mid:0"), 1)
    };
    assert!(plan(&with(MAX_CANDIDATES), &[Codec::Vp8]).is_ok());
    assert!(reason(&with(MAX_CANDIDATES + 1)).contains("candidates"));
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    let without = |name: &str| -> String {
        CHROMIUM
            .lines()
            .filter(|line| !line.starts_with(name))
            .map(|line| format!("{line}\r\n"))
            .collect()
    };
    let cases = [
        (String::new(), "empty"),
        ("hello world".to_owned(), "v=0"),
        ("{\"sdp\":\"v=0\"}".to_owned(), "v=0"),
        (
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned(),
            "no m-line",
        ),
        ("v=0\r\nhello".to_owned(), "line 2 is not SDP"),
        (without("a=ice-ufrag"), "ice-ufrag"),
        (without("a=ice-pwd"), "ice-pwd"),
        (without("a=fingerprint"), "fingerprint"),
        (without("a=setup"), "setup"),
        (
            CHROMIUM.replace("a=setup:actpass", "a=setup:holdconn"),
            "setup",
        ),
        (CHROMIUM.replace("a=recvonly", "a=sendonly"), "receive"),
        (CHROMIUM.replace("a=recvonly", "a=inactive"), "receive"),
        (
            CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0 7"),
            "unknown mid 7",
        ),
        (CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0"), "leaves out"),
        (CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0 0 1"), "twice"),
        (
            CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0 1\r\na=group:BUNDLE 1"),
            "one BUNDLE",
        ),
        (
            CHROMIUM.replace("a=mid:1", "a=mid:0"),
            "mid 0 is given twice",
        ),
        (
            CHROMIUM.replacen("a=extmap:2 ", "a=extmap:1 ", 1),
            "extmap id 1",
        ),
        (
            CHROMIUM.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 ZZ:"),
            "fingerprint",
        ),
        (CHROMIUM.replace("sha-256", "md5"), "sha-256"),
        (
            CHROMIUM.replace("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 RTP/AVP"),
            "RTP/AVP",
        ),
        (CHROMIUM.replace("m=video 9", "m=video none"), "no port"),
        (
            CHROMIUM
                .replace("m=video 9", "m=video 0")
                .replace("m=audio 9", "m=audio 0"),
            "in use",
        ),
        (
            CHROMIUM.replace("a=ice-ufrag:", &format!("a=ice-ufrag:{}", "x".repeat(5000))),
            "ICE",
        ),
        (
            format!("{CHROMIUM}a=x:{}\r\n", "y".repeat(MAX_BYTES)),
            "128 KiB",
        ),
        (
            format!("v=0\r\n{}", "m=audio 0 RTP/AVP 0\r\n".repeat(300)),
            "m-lines",
        ),
        (CHROMIUM.replace("a=mid:0", "a=mid:\0"), "control character"),
    ];
    for (sdp, expected) in cases {
        let reason = reason(&sdp);
        assert!(reason.starts_with("bad offer: "), "{reason}");
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    assert!(matches!(Offer::parse(&[0xff, 0xfe]), Err(Error::Bad(_))));
}

/// Offers of the largest size whose reading once took time in the square or cube of it.
fn laborious() -> Vec<(&'static str, String)> {
    let with = |attributes: String, formats: &str| {
        CHROMIUM
            .replacen("a=mid:0", &format!("{attributes}a=mid:0"), 1)
            .replacen("SAVPF 96", &format!("SAVPF{formats} 96"), 1)
    };
    let parameters: String = (0..8_000).map(|n| format!("k{n}=v;")).collect();
    vec![
        ("formats", with(String::new(), &" 97".repeat(30_000))),
        (
            "parameters",
            with(format!("a=fmtp:97 {parameters}\r\n"), &" 97".repeat(240)),
        ),
        (
            "extensions",
            with(
                (0..5_500)
                    .map(|n| format!("a=extmap:{} u\r\n", 100 + n))
                    .collect(),
                "",
            ),
        ),
        ("attributes", with("a=x\r\n".repeat(20_000), "")),
        (
            "session attributes",
            CHROMIUM.replacen("m=", &format!("{}m=", "a=x\r\n".repeat(20_000)), 1),
        ),
        (
            "m-lines",
            format!("v=0\r\n{}", "m=audio 9 X 0\r\n".repeat(8_000)),
        ),
    ]
}

#[test]
fn no_offer_takes_long_to_read() {
    for (name, sdp) in laborious() {
        assert!(sdp.len() <= MAX_BYTES, "{name}: {}", sdp.len());
        let begun = std::time::Instant::now();
        let _ = plan(&sdp, &[Codec::Vp8, Codec::Opus]);
        let took = begun.elapsed().as_millis();
        // Milliseconds, unless the machine is busy; without bounds it would be minutes.
        assert!(took < 5000, "{name} took {took} ms");
    }
}

#[test]
fn an_agent_that_is_ice_lite_stays_so() {
    let sdp = CHROMIUM.replacen("a=group", "a=ice-lite\r\na=group", 1);
    assert!(test_stream(&sdp).sdp.contains("\r\na=ice-lite\r\n"));
    assert!(!test_stream(CHROMIUM).sdp.contains("ice-lite"));
}

#[test]
fn one_payload_type_in_a_group_has_one_meaning() {
    let sdp = BARESIP
        .replace("t=0 0", "t=0 0\r\na=group:BUNDLE a v")
        .replace("a=label:1", "a=mid:a")
        .replace("a=label:2", "a=mid:v");
    assert!(reason(&sdp).contains("two codecs"));
    // Retransmissions of the picture count as well.
    let sdp = CHROMIUM
        .replace("SAVPF 111", "SAVPF 97")
        .replace("a=rtpmap:111", "a=rtpmap:97");
    assert!(reason(&sdp).contains("two codecs"));
}

#[test]
fn an_engine_that_did_not_take_a_track_is_noticed() {
    let plan = test_stream(CHROMIUM);
    let answer = engine_answer(&plan);
    for broken in [
        answer.replacen("a=sendonly", "a=inactive", 1),
        answer.replacen(
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "m=video 9 UDP/TLS/RTP/SAVPF 98",
            1,
        ),
        "v=0\r\n".to_owned(),
        "m=video".to_owned(),
    ] {
        assert!(plan.answer(&broken).is_err());
    }
}

#[test]
fn mutated_offers_are_refused_or_made_uniform() {
    let mut random = crate::mutation::Random::new(7);
    let mut taken = 0;
    for round in 0..4000 {
        let (_, sdp) = RECORDED[round % RECORDED.len()];
        let mutated = match round % 2 {
            0 => crate::mutation::mutate(sdp, &mut random),
            _ => crate::mutation::restructure(sdp, &mut random).into_bytes(),
        };
        let Ok(offer) = Offer::parse(&mutated) else {
            continue;
        };
        let Ok(plan) = offer.plan(&outputs(&[Codec::Vp8, Codec::Opus])) else {
            continue;
        };
        taken += 1;
        Offer::parse(plan.sdp.as_bytes()).unwrap();
        plan.answer(&engine_answer(&plan)).unwrap();
    }
    assert!(taken > 400, "{taken}");
}
