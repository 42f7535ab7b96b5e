//! Who may register and call, when there is a file of users.

use std::net::SocketAddr;

use sip::auth::{Algorithm, Asker, Challenge, Credentials, WRONG};
use sip::{Message, Method, Name, Request, Response, StatusCode};

use super::super::world::{FRONT, STREAMER, World};
use super::{SECOND, last_status};

const USERS: &str = "ana:the first password\nbob:another password\nyard:a third password:yard\n\
                     front:the front door:\n";
const LEASE: [(&str, &str); 1] = [("Expires", "60")];

fn world() -> World {
    World::with_users(1, USERS, false)
}

fn ana(world: &mut World) -> usize {
    world.join_as("ana", "the first password")
}

fn bob(world: &mut World) -> usize {
    world.join_as("bob", "another password")
}

fn register(world: &mut World, agent: usize, stream: &str) -> Response {
    world.register_with(agent, stream, &LEASE, "")
}

/// The last request of an agent that came to the server.
fn came(world: &World, agent: usize) -> Request {
    let address = world.agents[agent].address;
    let mut of_agent = world.came.iter().filter(|(source, _)| *source == address);
    let (_, payload) = of_agent.next_back().unwrap();
    match Message::parse(payload.clone()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// What the server sent to this address, in order.
fn sent_to(world: &World, address: SocketAddr) -> Vec<Response> {
    let sent = world.sent.iter().filter(|sent| sent.to == address);
    sent.map(|sent| match Message::parse(sent.payload.clone()) {
        Ok(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn who_sends_no_password_is_asked_for_one_and_registers_nothing() {
    let mut world = world();
    let asked = register(&mut world, STREAMER, "test");
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    let challenges = Challenge::all(&asked.headers, Asker::Server);
    let algorithms: Vec<Algorithm> = challenges.iter().map(|it| it.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
    assert!(
        challenges
            .iter()
            .all(|it| it.counts && !it.stale && it.realm == "rusticast")
    );
    assert_eq!(asked.headers.count(Name::WwwAuthenticate), 2);
    assert_eq!(world.role.counts().streamers, 0);
    world.assert_nothing_left();
}

#[test]
fn who_knows_the_password_registers() {
    let mut world = world();
    let ana = ana(&mut world);
    assert_eq!(register(&mut world, ana, "test").status, StatusCode::OK);
    // The next one brings its password along.
    assert_eq!(register(&mut world, ana, "test").status, StatusCode::OK);
    assert_eq!(world.count("401"), 1);
    assert_eq!(world.role.denied(), 0);
    world.assert_nothing_left();
}

#[test]
fn a_nonce_that_is_too_old_costs_one_more_question() {
    let mut world = world();
    let ana = ana(&mut world);
    register(&mut world, ana, "test");
    world.run_for(61 * SECOND);
    let address = world.agents[ana].address;
    world.sent.clear();
    assert_eq!(register(&mut world, ana, "test").status, StatusCode::OK);
    let asked = &sent_to(&world, address)[0];
    assert!(
        Challenge::best(&asked.headers, Asker::Server)
            .unwrap()
            .stale
    );
    assert_eq!(world.count("401"), 1);
    world.assert_nothing_left();
}

#[test]
fn after_a_restart_streamers_come_back_without_being_told_of_the_new_key() {
    let mut world = world();
    let ana = ana(&mut world);
    register(&mut world, ana, "test");
    world.restart();
    assert_eq!(register(&mut world, ana, "test").status, StatusCode::OK);
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let mut world = world();
    let answers = [
        ("ana", "the second password"),
        ("eve", "the first password"),
    ]
    .map(|(user, password)| {
        let agent = world.join_as(user, password);
        let refused = register(&mut world, agent, "test");
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let now = world.now;
        assert!(world.agents[agent].account.is_barred(now));
        let mut answer = refused;
        for name in [Name::From, Name::To, Name::CallId] {
            answer.headers.remove(name);
        }
        (answer.reason.clone(), answer.headers.to_string())
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, WRONG);
    assert_eq!(world.role.denied(), 2);
    assert_eq!(world.role.counts().streamers, 0);
}

#[test]
fn what_was_overheard_is_good_for_nothing() {
    let mut world = world();
    let ana = ana(&mut world);
    register(&mut world, ana, "test");
    let heard = came(&world, ana);
    let thief = SocketAddr::from(([192, 0, 2, 66], 5060));
    // The same once more, but for another transaction, and the stream is to go elsewhere.
    let text = String::from_utf8(heard.to_bytes().to_vec()).unwrap();
    let text = text.replace("branch=z9hG4bK", "branch=z9hG4bKother");
    let text = text.replace(&world.agents[ana].address.to_string(), "192.0.2.66:5060");
    let stolen = text.replace("CSeq: 2 ", "CSeq: 3 ");
    assert_ne!(stolen, text);
    world.inject(thief, stolen.into());
    world.run_for(SECOND);
    let [refused] = &sent_to(&world, thief)[..] else {
        panic!("{:?}", sent_to(&world, thief));
    };
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(
        Challenge::best(&refused.headers, Asker::Server)
            .unwrap()
            .stale
    );
    let snapshot = world.role.snapshot();
    assert_eq!(
        snapshot.streamers[0].address,
        world.agents[ana].address.into()
    );
    assert_eq!(world.role.denied(), 0);
}

#[test]
fn of_two_users_the_first_has_the_name_and_keeps_it_over_a_restart() {
    let mut world = world();
    let (ana, bob) = (ana(&mut world), bob(&mut world));
    assert_eq!(register(&mut world, ana, "test").status, StatusCode::OK);
    for _ in 0..2 {
        let refused = register(&mut world, bob, "test");
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_ne!(refused.reason, WRONG);
        let withdrawn = world.register_with(bob, "test", &[("Contact", "*"), ("Expires", "0")], "");
        assert_eq!(withdrawn.status, StatusCode::FORBIDDEN);
        assert_eq!(world.role.counts().streamers, 1);
        let snapshot = world.role.snapshot();
        assert_eq!(snapshot.streamers[0].binding.user.as_deref(), Some("ana"));
        world.restart();
    }
    assert_eq!(register(&mut world, ana, "test").status, StatusCode::OK);
    assert_eq!(register(&mut world, bob, "other").status, StatusCode::OK);
    // What is not registered any more belongs to nobody.
    world.run_for(61 * SECOND);
    assert_eq!(register(&mut world, bob, "test").status, StatusCode::OK);
}

#[test]
fn who_has_a_list_registers_what_is_on_it_and_nobody_else_does() {
    let mut world = world();
    let (ana, yard) = (ana(&mut world), world.join_as("yard", "a third password"));
    for (agent, stream, status) in [
        (ana, "yard", StatusCode::FORBIDDEN),
        (yard, "test", StatusCode::FORBIDDEN),
        (yard, "yard", StatusCode::OK),
    ] {
        assert_eq!(
            register(&mut world, agent, stream).status,
            status,
            "{stream}"
        );
    }
}

#[test]
fn calls_are_asked_for_passwords_only_if_that_is_wanted() {
    for calls in [false, true] {
        let mut world = World::with_users(1, USERS, calls);
        let ana = ana(&mut world);
        register(&mut world, ana, "test");
        world.call("test");
        world.run_for(SECOND);
        let expected = match calls {
            true => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            false => StatusCode::ACCEPTED,
        };
        assert_eq!(last_status(&world, FRONT), expected);
        assert_eq!(world.role.counts().sessions, usize::from(!calls));
        // The directory is open to everybody.
        let options = world.agents[FRONT].make(Method::Options, None);
        world.send(FRONT, options);
        world.run_for(SECOND);
        assert_eq!(last_status(&world, FRONT), StatusCode::OK);
    }
}

#[test]
fn a_call_with_a_password_is_one_call_whose_password_goes_no_further() {
    let mut world = World::with_users(1, USERS, true);
    let ana = ana(&mut world);
    register(&mut world, ana, "test");
    world.agents[FRONT].account =
        sip::auth::Account::new("front", sip::auth::Secret::new("the front door"));
    let (_, call_id) = world.call("test");
    world.run_until(|world| world.agents[ana].acks == 1);
    let invite = world
        .came
        .iter()
        .filter(|(_, payload)| payload.starts_with(b"INVITE"));
    let lines = invite.map(|(_, payload)| {
        String::from_utf8_lossy(payload).contains("Proxy-Authorization: Digest")
    });
    assert_eq!(lines.collect::<Vec<_>>(), [false, true]);
    let passed = world.sent.iter().filter(|sent| {
        let out = sent.line.starts_with("INVITE") || sent.line.starts_with("ACK");
        out && sent.to == world.agents[ana].address
    });
    let passed: Vec<_> = passed.collect();
    assert_eq!(passed.len(), 2);
    for sent in passed {
        assert!(!String::from_utf8_lossy(&sent.payload).contains("Authorization"));
    }
    // Within the call nobody is asked.
    world.hang_up(FRONT, &call_id);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::OK);
    assert_eq!(world.count("407"), 1);
    world.assert_nothing_left();
}

#[test]
fn credentials_for_another_proxy_are_passed_on() {
    let mut world = World::with_users(1, USERS, true);
    let ana = ana(&mut world);
    register(&mut world, ana, "test");
    world.agents[FRONT].account =
        sip::auth::Account::new("front", sip::auth::Secret::new("the front door"));
    // The first call learns the nonce.
    world.call("test");
    world.run_until(|world| world.agents[ana].acks == 1);
    let mut request = world.came.iter().rev().find_map(|(_, payload)| {
        let Ok(Message::Request(request)) = Message::parse(payload.clone()) else {
            return None;
        };
        (request.method == Method::Invite).then_some(request)
    });
    let request = request.as_mut().unwrap();
    let ours = request
        .headers
        .get(Name::ProxyAuthorization)
        .unwrap()
        .to_owned();
    let other = ours.replace("rusticast", "elsewhere");
    request.headers.push(Name::ProxyAuthorization, &other);
    request.headers.push(Name::ProxyAuthorization, "Basic YTpi");
    let kept = crate::auth::without_credentials(request);
    let kept: Vec<&str> = kept.headers.all(Name::ProxyAuthorization).collect();
    assert_eq!(kept, [other.as_str(), "Basic YTpi"]);
}

/// A REGISTER of a stranger, with these lines.
fn stranger(world: &mut World, number: usize, lines: &str) -> usize {
    let text = format!(
        "REGISTER sip:192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK{number}\r\n\
         From: <sip:test@h>;tag={number}\r\nTo: <sip:test@h>\r\nCall-ID: {number}\r\n\
         CSeq: 1 REGISTER\r\nContact: <sip:test@198.51.100.1>\r\n{lines}\r\n"
    );
    let size = text.len();
    world.inject(STRANGER.into(), text.into());
    world.run_for(SECOND / 100);
    size
}

const STRANGER: ([u8; 4], u16) = ([198, 51, 100, 1], 5060);
const GUESS: &str = "Authorization: Digest username=\"ana\",realm=\"rusticast\",nonce=\"n\",\
                     uri=\"sip:192.0.2.100\",response=\"0123456789abcdef0123456789abcdef\"\r\n";

#[test]
fn passwords_can_be_guessed_ten_times_a_second_and_no_oftener() {
    let mut world = world();
    for number in 0..60 {
        stranger(&mut world, number, GUESS);
    }
    let answers = sent_to(&world, STRANGER.into());
    let count = |status| answers.iter().filter(|it| it.status == status).count();
    // Those of two seconds, and of the 0.6 s that this took.
    let (wrong, later) = (
        count(StatusCode::FORBIDDEN),
        count(StatusCode::SERVICE_UNAVAILABLE),
    );
    assert!((20..=27).contains(&wrong), "{wrong}");
    assert_eq!(wrong + later, 60);
    assert_eq!(world.role.denied(), wrong as u64);
    // Others are let in.
    let ana = ana(&mut world);
    assert_eq!(register(&mut world, ana, "test").status, StatusCode::OK);
}

#[test]
fn a_stranger_gets_no_longer_question_than_its_request_was() {
    let mut world = world();
    // What phones tell of themselves, of different lengths.
    let mut answered = 0;
    for (number, length) in (0..500).step_by(50).enumerate() {
        let before = sent_to(&world, STRANGER.into()).len();
        let line = format!("User-Agent: {}\r\n", "x".repeat(length));
        let size = stranger(&mut world, number, &line);
        let sent = &sent_to(&world, STRANGER.into())[before..];
        let sizes: Vec<usize> = sent.iter().map(|it| it.to_bytes().len()).collect();
        assert!(
            sizes.len() <= 1 && sizes.iter().all(|sent| *sent <= size),
            "{sizes:?} {size}"
        );
        answered += sizes.len();
    }
    assert!((3..=7).contains(&answered), "{answered}");
    assert_eq!(world.endpoint.transactions(), 0);
    // Who is trusted may be brief.
    let asked = register(&mut world, STREAMER, "test");
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn what_cannot_be_read_or_is_for_another_address_is_400_and_other_schemes_are_asked_again() {
    let mut world = world();
    for (number, (lines, status)) in [
        (GUESS.replace("nonce=\"n\",", ""), StatusCode::BAD_REQUEST),
        (
            GUESS.replace("192.0.2.100", "192.0.2.101"),
            StatusCode::BAD_REQUEST,
        ),
        (
            GUESS.replace("sip:192", "sip:ana@192"),
            StatusCode::BAD_REQUEST,
        ),
        (
            GUESS.replace("sip:192.0.2.100", "nonsense"),
            StatusCode::BAD_REQUEST,
        ),
        (
            GUESS.replace("\"rusticast\"", "\"other\""),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "Authorization: Basic YW5hOmFuYQ==\r\n".to_owned(),
            StatusCode::UNAUTHORIZED,
        ),
        (GUESS.to_owned(), StatusCode::FORBIDDEN),
        (
            format!("Authorization: Basic YQ==\r\n{GUESS}"),
            StatusCode::FORBIDDEN,
        ),
        (
            GUESS.replace("Authorization", "Proxy-Authorization"),
            StatusCode::UNAUTHORIZED,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        // Long enough to be answered.
        stranger(
            &mut world,
            number,
            &format!("{lines}User-Agent: {}\r\n", "x".repeat(400)),
        );
        let answers = sent_to(&world, STRANGER.into());
        assert_eq!(answers.last().unwrap().status, status, "{lines}");
    }
}

#[test]
fn hostile_credentials_never_panic_let_nobody_in_and_leave_nothing() {
    let mut state = 5u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let mut world = World::with_users(1, USERS, true);
    let ana = ana(&mut world);
    register(&mut world, ana, "mine");
    let line = came(&world, ana)
        .headers
        .get(Name::Authorization)
        .unwrap()
        .to_owned();
    let seen = Credentials::parse(&line).unwrap().unwrap();
    assert_eq!(seen.user, "ana");
    world.run_for(61 * SECOND);
    for round in 0..5000 {
        let mut data = line.clone().into_bytes();
        for _ in 0..1 + random() % 8 {
            let at = random() % data.len();
            match random() % 4 {
                0 => data[at] = random() as u8,
                1 => data[at] = b' ',
                2 => data.truncate(at + 1),
                _ => data.insert(at, b"\r\n\t:;,<>\"\\% @*=0fAuth"[random() % 21]),
            }
        }
        let (method, field) = match random() % 2 {
            0 => ("REGISTER sip:192.0.2.100", "Authorization"),
            _ => ("INVITE sip:mine@192.0.2.100", "Proxy-Authorization"),
        };
        let head = format!(
            "{method} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:40000;branch=z9hG4bK{round}\r\n\
             From: <sip:test@h>;tag=1\r\nTo: <sip:test@h>\r\nCall-ID: r\r\n\
             CSeq: 1 {}\r\nContact: <sip:test@192.0.2.1:40001>;expires=60\r\n{field}: ",
            method.split(' ').next().unwrap()
        );
        let message = [head.as_bytes(), &data, b"\r\n\r\n"].concat();
        let source = world.agents[random() % 2].address;
        world
            .endpoint
            .handle_datagram(world.now, source, message.into());
        if round % 50 == 0 {
            world.run_for(SECOND);
            assert_eq!(world.role.counts().streamers, 0);
            assert_eq!(world.role.counts().sessions, 0);
        }
    }
    world.assert_nothing_left();
}
