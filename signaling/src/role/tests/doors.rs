//! Requests that are answered here: the directory, and refusals.

use sip::{Method, Name, StatusCode};

use super::super::world::{FRONT, Mood, STREAMER, World, server_address};
use super::{SECOND, last_status, listed, ready, talking};

#[test]
fn unknown_streams_are_404_and_departed_ones_480() {
    let mut world = ready();
    world.call("nothing");
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::NOT_FOUND);
    world.run_for(61 * SECOND);
    assert_eq!(world.role.counts().streamers, 0);
    world.call("test");
    world.run_for(SECOND);
    assert_eq!(
        last_status(&world, FRONT),
        StatusCode::TEMPORARILY_UNAVAILABLE
    );
    world.assert_nothing_left();
}

#[test]
fn requests_of_no_call_are_481() {
    let (mut world, call_id) = talking();
    let mut other = world.agents[FRONT].calls[&call_id].clone();
    let bye = other.request(Method::Bye);
    let from = bye.from().clone().with_tag("forged");
    let forged = sip::Request::new(
        Method::Bye,
        bye.uri.clone(),
        from,
        bye.to().clone(),
        &call_id,
        9,
    );
    world.send(FRONT, forged);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::CALL_DOES_NOT_EXIST);
    assert_eq!(world.role.counts().sessions, 1);
    world.hang_up(FRONT, &call_id);
    world.run_for(SECOND);
    world.send(FRONT, other.request(Method::Info));
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::CALL_DOES_NOT_EXIST);
    world.assert_nothing_left();
}

#[test]
fn a_request_without_hops_left_is_483() {
    let mut world = ready();
    for method in [Method::Invite, Method::Options] {
        let mut request = world.agents[FRONT].make(method, Some("test"));
        request.headers.set(Name::MaxForwards, "0");
        world.send(FRONT, request);
        world.run_for(SECOND);
        assert_eq!(last_status(&world, FRONT), StatusCode::TOO_MANY_HOPS);
    }
    let mut request = world.agents[FRONT].make(Method::Options, Some("test"));
    request.headers.remove(Name::MaxForwards);
    world.send(FRONT, request);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::OK);
    let came = world.agents[STREAMER].requests.last().unwrap();
    assert_eq!(came.headers.get(Name::MaxForwards), Some("70"));
}

#[test]
fn the_directory_is_json_for_those_who_ask_for_it() {
    let mut world = ready();
    let body = r#"{"name":"camera","title":{"":"Yard"},"viewers":2}"#;
    world.register_with(STREAMER, "camera", &[("Expires", "60")], body);
    let options = world.agents[FRONT].make(Method::Options, None);
    world.send(FRONT, options);
    world.run_for(SECOND);
    let plain = world.agents[FRONT].answers.pop().unwrap();
    assert_eq!(plain.status, StatusCode::OK);
    assert!(plain.body.is_empty());
    assert!(plain.headers.get(Name::Allow).unwrap().contains("OPTIONS"));
    let mut names = Vec::new();
    for after in ["", "camera", "test"] {
        let mut options = world.agents[FRONT].make(Method::Options, None);
        options.uri.params.set("after", Some(after));
        options
            .headers
            .push(Name::Accept, "text/plain, application/json;q=0.9");
        world.send(FRONT, options);
        world.run_for(SECOND);
        let answer = world.agents[FRONT].answers.pop().unwrap();
        assert_eq!(answer.content_type().as_deref(), Some("application/json"));
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["more"], false);
        let streams = json["streams"].as_array().unwrap();
        names.push(
            streams
                .iter()
                .map(|it| it["name"].to_string())
                .collect::<String>(),
        );
    }
    assert_eq!(names, ["\"camera\"\"test\"", "\"test\"", ""]);
}

#[test]
fn a_large_directory_is_paged_below_four_kilobytes_on_the_network() {
    let mut world = World::new(1);
    for number in 0..40 {
        let name = format!("stream{number:02}");
        let text = "x".repeat(500);
        let body = format!(r#"{{"name":"{name}","description":{{"":"{text}"}}}}"#);
        let registered = world.register_with(STREAMER, &name, &[("Expires", "60")], &body);
        assert_eq!(registered.status, StatusCode::OK);
    }
    let (mut after, mut seen) = (String::new(), 0);
    loop {
        let mut options = world.agents[FRONT].make(Method::Options, None);
        options.uri.params.set("after", Some(&after));
        options.headers.push(Name::Accept, "application/json");
        world.send(FRONT, options);
        world.run_for(SECOND);
        let answer = world.agents[FRONT].answers.pop().unwrap();
        assert!(answer.to_bytes().len() < 4096);
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let streams = json["streams"].as_array().unwrap();
        seen += streams.len();
        after = streams.last().unwrap()["name"].as_str().unwrap().to_owned();
        if json["more"] == false {
            break;
        }
    }
    assert_eq!(seen, 40);
}

#[test]
fn options_for_a_stream_is_answered_by_its_streamer() {
    let mut world = ready();
    let options = world.agents[FRONT].make(Method::Options, Some("test"));
    world.send(FRONT, options);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::OK);
    assert_eq!(world.agents[STREAMER].requests.len(), 1);
    world.assert_nothing_left();
}

#[test]
fn what_is_not_ours_to_do_is_refused_with_the_right_status() {
    let mut world = ready();
    let mut ask = |method: Method, user: Option<&str>, header: Option<(Name, &str)>| {
        let mut request = world.agents[FRONT].make(method, user);
        if let Some((name, value)) = header {
            request.headers.set(name, value);
        }
        world.send(FRONT, request);
        world.run_for(SECOND);
        world.agents[FRONT].answers.pop().unwrap()
    };
    let other = Method::Other("PUBLISH".into());
    assert_eq!(ask(other, None, None).status, StatusCode::NOT_IMPLEMENTED);
    let refused = ask(Method::Info, None, None);
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(refused.headers.get(Name::Allow).is_some());
    assert_eq!(
        ask(Method::Invite, None, None).status,
        StatusCode::NOT_FOUND
    );
    let proxy = Some((Name::ProxyRequire, "foo, bar"));
    let refused = ask(Method::Options, Some("test"), proxy);
    assert_eq!(refused.status, StatusCode::BAD_EXTENSION);
    assert_eq!(refused.headers.get(Name::Unsupported), Some("foo, bar"));
    let odd = Some((Name::MaxForwards, "many"));
    assert_eq!(
        ask(Method::Options, Some("test"), odd).status,
        StatusCode::BAD_REQUEST
    );
}

#[test]
fn oversized_bodies_are_413_and_large_offers_pass() {
    let mut world = ready();
    let mut options = world.agents[FRONT].make(Method::Options, Some("test"));
    options.set_body("application/json", vec![b' '; 17 * 1024].into());
    world.send(FRONT, options);
    world.run_for(SECOND);
    assert_eq!(
        last_status(&world, FRONT),
        StatusCode::REQUEST_ENTITY_TOO_LARGE
    );
    let mut invite = world.agents[FRONT].make(Method::Invite, Some("test"));
    invite.set_body("application/sdp", vec![b'v'; 60 * 1024].into());
    world.send(FRONT, invite);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
}

#[test]
fn a_binding_that_leads_back_here_is_refused() {
    let mut world = World::new(1);
    let contact = format!("<sip:test@{}>", server_address());
    let refused = world.register_with(STREAMER, "test", &[("Contact", &contact)], "");
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[test]
fn mutated_messages_never_panic_and_leave_nothing() {
    let seeds = [
        "REGISTER sip:192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:40000;branch=z9hG4bKa\r\n\
         From: <sip:test@h>;tag=1\r\nTo: <sip:test@h>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:test@192.0.2.1:40001>;+sip.instance=\"<urn:x>\";expires=60\r\n\
         Path: <sip:192.0.2.1:40002;lr>\r\nContent-Type: application/json\r\n\r\n\
         {\"name\":\"test\",\"calls\":[\"c\"],\"viewers\":1}",
        "INVITE sip:test@192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:40000;branch=z9hG4bKb\r\n\
         Max-Forwards: 9\r\nFrom: \"A\" <sip:a@h>;tag=f\r\nTo: <sip:test@h>\r\nCall-ID: c\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.1:40000>\r\nRecord-Route: <sip:192.0.2.7;lr>\r\n\
         Route: <sip:192.0.2.100;lr>\r\n\r\nv=0\r\n",
        "SIP/2.0 202 Accepted\r\nVia: SIP/2.0/UDP 192.0.2.100:5060;branch=z9hG4bKc\r\n\
         From: <sip:a@h>;tag=f\r\nTo: <sip:test@h>;tag=s\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n",
        "BYE sip:test@192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:40000;branch=z9hG4bKd\r\n\
         From: <sip:a@h>;tag=f\r\nTo: <sip:test@h>;tag=s\r\nCall-ID: c\r\nCSeq: 2 BYE\r\n\r\n",
        "OPTIONS sip:192.0.2.100;after=a SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKe\r\n\
         From: <sip:a@h>;tag=f\r\nTo: <sip:h>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\
         Accept: application/json\r\n\r\n",
    ];
    let mut state = 11u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let mut world = World::new(1);
    for round in 0..5000 {
        let seed = seeds[random() % seeds.len()];
        let fresh = format!("z9hG4bK{round}");
        let mut data = seed.replace("z9hG4bK", &fresh).into_bytes();
        for _ in 0..random() % 6 {
            let at = random() % data.len();
            match random() % 3 {
                0 => data[at] = random() as u8,
                1 => drop(data.remove(at)),
                _ => data.insert(at, b"\r\n:;,<>\"% @*0"[random() % 13]),
            }
        }
        let source = world.agents[random() % 2].address;
        world
            .endpoint
            .handle_datagram(world.now, source, data.into());
        if round % 50 == 0 {
            world.run_for(SECOND);
        }
        if round % 1000 == 999 {
            world.restart();
        }
    }
    world.assert_nothing_left();
}

/// A request of a stranger, whose address ends in this.
fn stranger(world: &mut World, last: u8, head: &str, number: usize) {
    let method = head.split(' ').next().unwrap();
    let text = format!(
        "{head} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.{last};branch=z9hG4bK{number}\r\n\
         From: <sip:x@h>;tag={number}\r\nTo: <sip:test@h>\r\nCall-ID: {last}-{number}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:x@198.51.100.{last}>\r\nMax-Forwards: 70\r\n\
         User-Agent: a phone\r\n\r\n"
    );
    world.inject(([198, 51, 100, last], 5060).into(), text.into());
}

#[test]
fn who_floods_is_not_heard_and_others_are_served() {
    let mut world = ready();
    for number in 0..1000 {
        stranger(&mut world, 1, "OPTIONS sip:192.0.2.100", number);
    }
    stranger(&mut world, 2, "OPTIONS sip:192.0.2.100", 0);
    world.call("test");
    world.run_until(|world| world.agents[STREAMER].acks == 1);
    let answered = |world: &World, last: u8| {
        let to = std::net::SocketAddr::from(([198, 51, 100, last], 5060));
        world.sent.iter().filter(|sent| sent.to == to).count()
    };
    // What two seconds allow, and nothing for the rest: an answer would be a flood of ours.
    assert_eq!((answered(&world, 1), answered(&world, 2)), (100, 1));
    assert_eq!(world.role.refused(), 900);
}

#[test]
fn nothing_longer_than_its_request_goes_to_a_stranger() {
    let mut world = ready();
    for number in 0..40 {
        world.register(STREAMER, &format!("stream{number}"), &[("Expires", "60")]);
    }
    let victim = std::net::SocketAddr::from(([198, 51, 100, 1], 5060));
    let json = "\r\nAccept: application/json";
    let mut answered = 0;
    for (number, (first, more)) in [
        ("OPTIONS sip:192.0.2.100", json),
        (
            "OPTIONS sip:192.0.2.100",
            "\r\nUser-Agent: a phone of many words",
        ),
        ("OPTIONS sip:test@192.0.2.100", json),
        ("OPTIONS sip:nobody@192.0.2.100", ""),
        ("REGISTER sip:192.0.2.100", ""),
        ("BYE sip:test@192.0.2.100", ""),
        ("CANCEL sip:test@192.0.2.100", ""),
        ("SUBSCRIBE sip:192.0.2.100", ""),
        ("INFO sip:192.0.2.100", "\r\nCSeq: none"),
        ("INVITE sip:nobody@192.0.2.100", ""),
        ("INVITE sip:192.0.2.100", "\r\nProxy-Require: everything"),
        ("INVITE sip:192.0.2.100", "\r\nSubject: caf\u{e9}"),
    ]
    .into_iter()
    .enumerate()
    {
        let method = first.split(' ').next().unwrap();
        // Without anything that need not be there, and with what phones say of themselves.
        for length in [0, 20, 60, 400] {
            let agent = "x".repeat(length);
            let text = format!(
                "{first} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1;rport;branch=z9hG4bK{number}-{length}\r\n\
                 From: <sip:x@h>;tag=1\r\nTo: <sip:test@h>\r\nCall-ID: {number}-{length}\r\n\
                 CSeq: 1 {method}{more}\r\nServer: {agent}\r\n\r\n"
            );
            let before = world.sent.len();
            // One byte a character, so that the last one is no UTF-8.
            let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
            world.inject(victim, bytes.into());
            world.run_for(SECOND);
            let sent = world.sent[before..].iter().filter(|sent| sent.to == victim);
            for sent in sent {
                assert!(
                    sent.payload.len() <= text.chars().count(),
                    "{sent:?} to {text}"
                );
                answered += 1;
            }
        }
    }
    assert!(answered >= 24, "{answered}");
    // Whoever reads what is sent there gets all.
    assert_eq!(listed(&mut world)["name"], "stream0");
}

#[test]
fn who_calls_too_often_is_told_when_to_come_back() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Refuse(StatusCode::BUSY_HERE);
    for number in 0..40 {
        stranger(&mut world, 1, "INVITE sip:test@192.0.2.100", number);
    }
    world.run_for(SECOND / 4);
    assert_eq!(world.count("INVITE"), 10);
    let refusals = world.sent.iter().filter(|sent| sent.line.contains("503"));
    let refusals: Vec<String> = refusals
        .map(|sent| String::from_utf8_lossy(&sent.payload).into_owned())
        .collect();
    // Said once: an address may be forged.
    assert_eq!(refusals.len(), 30);
    assert!(refusals.iter().all(|text| text.contains("Retry-After: 5")));
    world.assert_nothing_left();
}

#[test]
fn a_request_that_was_here_before_is_482() {
    let mut world = ready();
    let mut options = world.agents[FRONT].make(Method::Options, Some("test"));
    let been_here = format!(
        "SIP/2.0/UDP {};branch=z9hG4bK0123456789abcdef",
        server_address()
    );
    options.headers.push_front(Name::Via, &been_here);
    world.send(FRONT, options);
    world.run_for(SECOND);
    assert_eq!(world.count("482"), 1);
    assert_eq!(world.count("OPTIONS"), 0);
}
