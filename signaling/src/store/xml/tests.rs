use super::print::is_xml;
use super::*;

/// A small generator, so that a failure can be repeated (xorshift64).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn session(offer: Bytes, answer: Bytes) -> SessionRecord {
    SessionRecord {
        front: "127.0.0.1:40001".parse().unwrap(),
        streamer: "[2001:db8::1]:40002".parse().unwrap(),
        name: "Zoë <\"the\" viewer> & co]]>".into(),
        call_id: "a84b4c76e66710@host".into(),
        stream: "test".into(),
        front_tag: "f<1>".into(),
        streamer_tag: Some("s&'\"2".into()),
        offer,
        answer,
        state: SessionState::Established,
    }
}

fn streamer() -> StreamerRecord {
    let body = br#"{"name":"test","title":{"":" Test ","es":"Carta\nde ajuste"},
        "description":{"":"<b>&amp;</b>"},"image":true,"codecs":["VP8","opus"],
        "rungs":[{"name":"low","bitrate":300000}],"state":"failed","error":"no camera",
        "viewers":2,"capacity":100}"#;
    StreamerRecord {
        address: "127.0.0.1:40002".parse().unwrap(),
        name: "test".into(),
        call_id: "reg@host".into(),
        info: StreamerInfo::from_json("test", body).unwrap().0,
        binding: BindingRecord {
            contact: "sip:test@127.0.0.1:40002".into(),
            path: vec!["<sip:127.0.0.1:5070;lr>".into()],
            via: vec![
                "SIP/2.0/UDP a;branch=z9hG4bK1".into(),
                "SIP/2.0/UDP b".into(),
            ],
            from: "\"A \\\" B\" <sip:test@h>;tag=1".into(),
            to: "<sip:test@h>".into(),
            cseq: 7,
            instance: Some("<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>".into()),
            expires: 60,
            user: Some("ana".into()),
        },
    }
}

fn round_trip(snapshot: &Snapshot) -> String {
    let mut text = Vec::new();
    write(snapshot, &mut text).unwrap();
    assert_eq!(read(text.as_slice()).unwrap(), *snapshot);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_snapshot_comes_back_as_it_went() {
    let sdp = Bytes::from_static(b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=<&>\r\n\r\n");
    let mut snapshot = Snapshot {
        streamers: vec![Arc::new(streamer())],
        sessions: vec![Arc::new(session(sdp, Bytes::new()))],
    };
    let text = round_trip(&snapshot);
    assert!(
        text.contains("o=- 1 1 IN IP4 0.0.0.0&#13;\n"),
        "SDP is legible: {text}"
    );
    let record = Arc::make_mut(&mut snapshot.streamers[0]);
    record.info = StreamerInfo::named("test");
    record.binding.instance = None;
    record.binding.user = None;
    record.binding.path.clear();
    Arc::make_mut(&mut snapshot.sessions[0]).streamer_tag = None;
    round_trip(&snapshot);
    round_trip(&Snapshot::default());
}

#[test]
fn sdp_of_any_bytes_comes_back() {
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let alphabets: [&[u8]; 3] = [
        b"\r\n\t a=<>&;\"']-",
        b"\0\x01\x1b\x7f\xc3\xa9\xff\r\n",
        b"",
    ];
    for round in 0..600 {
        let alphabet = alphabets[round % 3];
        let body = |seed: &mut u64| -> Bytes {
            let length = random(seed) as usize % 64;
            let byte = |seed: &mut u64| match alphabet.len() {
                0 => random(seed) as u8,
                length => alphabet[random(seed) as usize % length],
            };
            (0..length).map(|_| byte(seed)).collect()
        };
        let session = session(body(&mut seed), body(&mut seed));
        round_trip(&Snapshot {
            streamers: vec![],
            sessions: vec![Arc::new(session)],
        });
    }
}

#[test]
fn texts_with_control_characters_come_back_and_the_file_stays_xml() {
    let mut session = session(Bytes::new(), Bytes::new());
    session.name = "\u{0}\u{1}\u{fffe}\r\n\t".into();
    let snapshot = Snapshot {
        streamers: vec![],
        sessions: vec![Arc::new(session)],
    };
    let text = round_trip(&snapshot);
    assert!(text.chars().all(is_xml));
    assert!(text.contains("<name encoding=\"hex\">"));
}

#[test]
fn elements_have_the_names_of_the_schema() {
    let session = session(Bytes::from_static(b"o"), Bytes::from_static(b"a"));
    let snapshot = Snapshot {
        streamers: vec![Arc::new(streamer())],
        sessions: vec![Arc::new(session)],
    };
    let mut text = Vec::new();
    write(&snapshot, &mut text).unwrap();
    let root = Element::read(text.as_slice()).unwrap();
    let names = |element: &Element| -> Vec<String> {
        element
            .children
            .iter()
            .map(|child| child.name.clone())
            .collect()
    };
    assert_eq!(root.name, "data-base");
    assert_eq!(names(&root), ["streamers", "sessions"]);
    let streamer = &root.children[0].children[0];
    assert_eq!(
        names(streamer),
        ["address", "name", "call_id", "info", "binding"]
    );
    let session = &root.children[1].children[0];
    assert_eq!(
        names(session),
        ["addresses", "name", "call_id", "sdp", "state"]
    );
    assert_eq!(names(&session.children[0]), ["front", "streamer"]);
    assert_eq!(names(&session.children[3]), ["offer", "answer"]);
}

#[test]
fn every_truncation_is_noticed() {
    let snapshot = Snapshot {
        streamers: vec![Arc::new(streamer())],
        sessions: vec![],
    };
    let mut text = Vec::new();
    write(&snapshot, &mut text).unwrap();
    let whole = text.trim_ascii_end().len();
    for length in 0..whole {
        assert!(read(&text[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn strange_documents_are_errors_and_not_panics() {
    let deep = format!("{}x", "<a>".repeat(200_000));
    for text in [
        "",
        "<other/>",
        "<data-base></data-bas>",
        "<data-base>&unknown;</data-base>",
        "<data-base><streamers><streamer/></streamers></data-base>",
        "<data-base>&#0;</data-base>",
        "</data-base>",
        &deep,
    ] {
        assert!(
            read(text.as_bytes()).is_err(),
            "{}",
            &text[..text.len().min(60)]
        );
    }
    let mut seed = 7;
    let mut text = Vec::new();
    let sessions = vec![Arc::new(session(
        Bytes::from_static(b"v=0\r\n"),
        Bytes::new(),
    ))];
    write(
        &Snapshot {
            streamers: vec![Arc::new(streamer())],
            sessions,
        },
        &mut text,
    )
    .unwrap();
    for _ in 0..2000 {
        let mut changed = text.clone();
        let place = random(&mut seed) as usize % changed.len();
        changed[place] = random(&mut seed) as u8;
        let _ = read(changed.as_slice());
    }
}
