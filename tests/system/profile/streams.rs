//! Who streams what, and what is told of it: Registrar, Streamer info, Directory, Asking a stream,
//! 403 after restart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sip::driver::local_ip_towards;
use sip::{Dialog, Method, Name, NameAddr, Request, Response, StatusCode, Transport, Via};

use super::agent::Caller;
use super::*;
use crate::harness::{eventually, machine, measure, seconds, wait_for, whep};

/// Where a stream is bound according to an answer to REGISTER, and for how many seconds.
fn bound(response: &Response) -> Vec<(SocketAddr, u32)> {
    let contacts = response.headers.values(Name::Contact);
    let contacts = contacts.map(|contact| {
        let contact = NameAddr::parse(contact).unwrap();
        let expires = contact.params.get("expires").unwrap();
        (contact.uri.socket_addr().unwrap(), expires.parse().unwrap())
    });
    contacts.collect()
}

/// Starts a streamer and ends it; returns how it names itself when it registers.
fn instance(pipelines: &TempDir, flags: &[&str]) -> String {
    let mut home = Agent::new(NOBODY);
    let streamer = streamer(home.address, pipelines.path(), flags);
    home.server = streamer.addr("sip");
    let contact = home.registered().contact().unwrap();
    contact.params.get("+sip.instance").unwrap().to_owned()
}

#[test]
fn registrar() {
    let mut server = Signaling::start();
    let [front, one, two, three] = [(); 4].map(|()| Agent::new(server.sip));
    let expires = |seconds| [(Name::Expires, seconds)];

    // Leases, and all of them in each answer.
    for (asked, granted) in [(None, 3600), (Some("60"), 60), (Some("3601"), 3600)] {
        let fields = asked.map(|asked| (Name::Expires, asked));
        let answer = one.register("test", fields.as_slice(), "");
        assert_eq!(bound(&answer), [(one.address, granted)]);
        let date = answer.headers.get(Name::Date).unwrap();
        assert!(date.ends_with(" GMT"), "{date}");
    }
    let brief = one.register("test", &expires("59"), "");
    assert_eq!(brief.status, StatusCode::INTERVAL_TOO_BRIEF);
    assert_eq!(brief.headers.get(Name::MinExpires), Some("60"));
    let old = one.registration("test", &expires("0"), "");
    one.register("test", &expires("60"), "");
    assert_eq!(one.ask(&old).status, StatusCode::SERVER_INTERNAL_ERROR);
    let contact = format!("<sip:test@{}>;expires=90", two.address);
    two.register("test", &[(Name::Contact, &contact)], "");
    let mut fetch = front.registration("test", &[], "");
    fetch.headers.remove(Name::Contact);
    let both = [(one.address, 60), (two.address, 90)];
    assert_eq!(bound(&front.ask(&fetch)), both);
    let everything = [(Name::Contact, "*")];
    let refused = front.register("test", &everything, "");
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let removed = front.register("test", &[&everything[..], &expires("0")].concat(), "");
    assert_eq!(bound(&removed), []);

    // An instance that comes back takes its own place, another one stands beside it.
    let as_instance = |agent: &Agent, number: u8| {
        let contact = format!(
            "<sip:test@{}>;+sip.instance=\"<urn:x:{number}>\"",
            agent.address
        );
        let fields = [(Name::Contact, contact.as_str()), (Name::Expires, "60")];
        bound(&agent.register("test", &fields, ""))
    };
    as_instance(&one, 1);
    assert_eq!(as_instance(&two, 1), [(two.address, 60)]);
    assert_eq!(
        as_instance(&three, 2),
        [(two.address, 60), (three.address, 60)]
    );
    front.register("test", &[&everything[..], &expires("0")].concat(), "");

    // Ours names itself the same after a restart, by host name and path, unless it is told to.
    let [here, elsewhere] = [(); 2].map(|()| descriptions(&[("tone", TONE)]));
    let usual = instance(&here, &[]);
    assert!(usual.contains("urn:uuid:"), "{usual}");
    assert_eq!(instance(&here, &[]), usual);
    assert_ne!(instance(&elsewhere, &[]), usual);
    let uuid = "6f1c2f0e-58f4-4b5e-9d59-2f7f2f1f0c11";
    let told = instance(&here, &["--instance", uuid]);
    assert!(told.contains(&format!("urn:uuid:{uuid}")), "{told}");

    // The streamer with fewer viewers and calls since is called.
    let reports = |agent: &Agent, viewers: u32| {
        let body = json!({"name": "test", "viewers": viewers}).to_string();
        assert_eq!(agent.register("test", &[], &body).status, StatusCode::OK);
    };
    let call = |streamer: &Agent| {
        let invite = front.invite("test", 10);
        front.send(&invite.to_bytes());
        let came = streamer.called(&invite);
        (invite, came)
    };
    let accept = |streamer: &Agent, invite: &Request, came: &Request| {
        streamer.answer(came, StatusCode::ACCEPTED);
        assert_eq!(front.answer_to(invite).status, StatusCode::ACCEPTED);
    };
    reports(&one, 1);
    reports(&two, 0);
    for streamer in [&two, &one, &two] {
        let (invite, came) = call(streamer);
        accept(streamer, &invite, &came);
    }
    reports(&two, 0);
    let (invite, came) = call(&two);
    accept(&two, &invite, &came);

    // Who is full is followed by the next one, and so is who is silent.
    reports(&one, 9);
    reports(&two, 0);
    let (invite, came) = call(&two);
    two.answer(&came, StatusCode::BUSY_HERE);
    one.answer(&one.called(&invite), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        front.answer_to(&invite).status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let begin = Instant::now();
    let (invite, _) = call(&two);
    let came = one.called(&invite);
    takes(begin.elapsed(), seconds(2));
    accept(&one, &invite, &came);
    // That goes last, until it registers again.
    let (invite, came) = call(&one);
    accept(&one, &invite, &came);
    reports(&two, 0);
    let (invite, came) = call(&two);
    accept(&two, &invite, &came);

    // Who has not come back after a restart is called all the same.
    server.restart();
    let (invite, came) = call(&two);
    accept(&two, &invite, &came);
}

/// Says all there is to say of itself, and costs next to nothing.
const ELOQUENT: &str = "#: title Yard\n#: title[es] Patio\n#: description Hens\n\
    #: image https://example.org/yard.jpg\n\
    audiotestsrc is-live=true ! opusenc ! tee name=audio allow-not-linked=true\n";
/// A picture in two sizes.
const SIZES: &str = "videotestsrc is-live=true pattern=ball\n\
    ! video/x-raw,format=I420,width=160,height=90,framerate=10/1 ! tee name=picture\n\
    picture. ! queue ! vp8enc deadline=1 ! tee name=video allow-not-linked=true\n\
    picture. ! queue ! videoscale ! video/x-raw,width=80,height=46\n\
    ! vp8enc deadline=1 ! tee name=video_small allow-not-linked=true\n";
const BROKEN: &str = "filesrc location=/nonexistent/film.ivf ! decodebin ! videoconvert\n\
    ! vp8enc ! tee name=video allow-not-linked=true\n";

/// The 403 that asks for another REGISTER, as a server sends it that was restarted since.
fn summons(register: &Request) -> Response {
    let mut register = register.clone();
    let mut via = register.top_via().unwrap();
    via.params.set("branch", Some("z9hG4bKlong-over"));
    register.headers.set(Name::Via, &via.to_string());
    Response::to_request(&register, StatusCode::FORBIDDEN)
}

#[test]
fn streamer_info() {
    let _turn = machine::shared();
    let pipelines = descriptions(&[("yard", ELOQUENT), ("sizes", SIZES), ("broken", BROKEN)]);
    let mut home = Agent::new(NOBODY);
    let streamer = streamer(home.address, pipelines.path(), &[]);
    home.server = streamer.addr("sip");

    let mut told = BTreeMap::<String, Value>::new();
    let mut hear = || {
        let register = home.registered();
        assert_eq!(register.content_type().as_deref(), Some("application/json"));
        let disposition = register.headers.get(Name::ContentDisposition).unwrap();
        assert!(disposition.ends_with(";handling=optional"), "{disposition}");
        let info: Value = serde_json::from_slice(&register.body).unwrap();
        let name = register.to().uri.user.clone().unwrap();
        assert_eq!(info["name"], name);
        told.insert(name.clone(), info.clone());
        (name, info, register, told.clone())
    };
    let last = wait_for("all have become what they will be", seconds(20), || {
        let (_, _, _, told) = hear();
        let state = |name: &str| told.get(name).and_then(|info| info["state"].as_str());
        let states = ["yard", "sizes", "broken"].map(state);
        (states == [Some("live"), Some("live"), Some("failed")]).then_some(told)
    });
    let yard = &last["yard"];
    assert_eq!(yard["title"], json!({"": "Yard", "es": "Patio"}));
    assert_eq!(yard["description"], json!({"": "Hens"}));
    assert_eq!(yard["image"], "https://example.org/yard.jpg");
    assert_eq!(
        (&yard["codecs"], &yard["rungs"]),
        (&json!(["opus"]), &json!([]))
    );
    assert_eq!(
        (&yard["error"], &yard["viewers"]),
        (&Value::Null, &json!(0))
    );
    assert!(yard["capacity"].as_u64().is_some_and(|viewers| viewers > 0));
    assert_eq!(yard.get("calls"), None);
    let sizes = &last["sizes"];
    assert_eq!(
        (&sizes["image"], &sizes["codecs"]),
        (&json!(true), &json!(["VP8"]))
    );
    assert_eq!(sizes["rungs"], json!(["video", "video_small"]));
    let error = last["broken"]["error"].as_str().unwrap();
    assert!(!error.contains(['/', '\n']), "{error}");

    // After a 403, and only then, it names the calls that live on it.
    let mut invite = home.make(Method::Invite, Some("yard"));
    invite.set_body(
        "application/sdp",
        whep::recorded("chromium-audio-only").into(),
    );
    let accepted = home.ask(&invite);
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    let mut call = Dialog::uac(&invite, &accepted);
    let within = |mut request: Request| {
        request.headers.push_front(Name::Via, &home.via());
        home.send(&request.to_bytes());
    };
    within(call.ack());
    let mut of_the_yard = || {
        loop {
            let (name, info, register, _) = hear();
            if name == "yard" {
                return (info, register);
            }
        }
    };
    let (info, register) = of_the_yard();
    assert_eq!(info.get("calls"), None);
    home.reply(&summons(&register));
    let (info, _) = of_the_yard();
    assert_eq!(info["calls"], json!([invite.call_id()]));
    within(call.request(Method::Bye));
    let (info, _) = of_the_yard();
    assert_eq!(info.get("calls"), None);
}

/// Asks for the directory, page after page; returns the size of each answer, and the streams.
fn pages(agent: &Agent, mut ask: impl FnMut(&Request) -> Response) -> (Vec<usize>, Vec<String>) {
    let (mut sizes, mut names) = (Vec::new(), Vec::<String>::new());
    loop {
        let accept = [(Name::Accept, "application/json")];
        let mut options = agent.make_with(Method::Options, None, &accept);
        let after = names.last().cloned().unwrap_or_default();
        options.uri.params.set("after", Some(&after));
        let answer = ask(&options);
        assert_eq!(answer.content_type().as_deref(), Some("application/json"));
        sizes.push(answer.to_bytes().len());
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        let streams = page["streams"].as_array().unwrap().iter();
        names.extend(streams.map(|stream| stream["name"].as_str().unwrap().to_owned()));
        if page["more"] == false {
            return (sizes, names);
        }
    }
}

#[test]
fn directory() {
    // Where packets to elsewhere come from: the address that is not of loopback.
    let elsewhere = local_ip_towards(([192, 0, 2, 1], 9).into()).unwrap();
    let trust = format!("127.0.0.1,{elsewhere}");
    let flags = ["--listen", "0.0.0.0:0", "--insecure", "--trust", &trust];
    let server = Signaling::start_with(&flags);
    let port = server.sip.port();
    let near = Agent::new(([127, 0, 0, 1], port).into());
    let far = Agent::at(elsewhere, (elsewhere, port).into());
    let text = "x".repeat(1000);
    let streams: Vec<String> = (10..50).map(|number| format!("stream{number}")).collect();
    for stream in &streams {
        let body = json!({"name": stream, "description": {"": text, "es": text}});
        let registered = near.register(stream, &[], &body.to_string());
        assert_eq!(registered.status, StatusCode::OK);
    }
    let (sizes, names) = pages(&near, |options| near.ask(options));
    assert_eq!(names, streams);
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size < 60_000), "{sizes:?}");
    let (sizes, names) = pages(&far, |options| far.ask(options));
    assert_eq!(names, streams);
    assert!(sizes.iter().all(|size| *size < 4096), "{sizes:?}");
    let mut caller = Caller::connect(far.server);
    let (sizes, names) = pages(&far, |options| {
        let mut options = options.clone();
        let via = Via::over(Transport::Tcp, caller.address(), &far.branch());
        options.headers.set(Name::Via, &via.to_string());
        caller.send(&options.to_bytes());
        caller.response()
    });
    assert_eq!(names, streams);
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size < 60_000), "{sizes:?}");

    // Who asks for nothing gets little.
    for accept in [None, Some("text/plain, application/sdp")] {
        let fields = accept.map(|accept| (Name::Accept, accept));
        let plain = far.ask(&far.make_with(Method::Options, None, fields.as_slice()));
        assert_eq!((plain.status, plain.body.len()), (StatusCode::OK, 0));
        for name in [Name::Allow, Name::Accept, Name::Supported] {
            assert!(plain.headers.get(name.clone()).is_some(), "{name:?}");
        }
    }
}

/// Width and height of a JPEG (ITU-T T.81, B.2.2).
fn sides(jpeg: &[u8]) -> (u16, u16) {
    let number = |at: usize| u16::from_be_bytes([jpeg[at], jpeg[at + 1]]);
    let mut at = 2;
    // Any start of a frame but those markers between that are none.
    while !matches!(jpeg[at + 1], 0xc0..=0xc3 | 0xc5..=0xc7) {
        at += 2 + usize::from(number(at + 2));
    }
    (number(at + 7), number(at + 5))
}

/// What else there is to ask and to say within a call has tests of its own.
#[test]
fn asking_a_stream() {
    let server = Signaling::start();
    let radio = format!("#: image cover.jpg\n{TONE}");
    let pipelines = descriptions(&[("radio", &radio), ("sizes", SIZES)]);
    let cover = pipelines.path().join("cover.jpg");
    let line = format!(
        "videotestsrc num-buffers=1 pattern=snow ! video/x-raw,width=1280,height=720 \
         ! jpegenc quality=100 ! filesink location={}",
        cover.display()
    );
    let drawn = Command::new("gst-launch-1.0")
        .args(line.split_whitespace())
        .output();
    assert!(drawn.unwrap().status.success());
    assert!(fs::metadata(&cover).unwrap().len() > 48 * 1024);
    let _streamer = streamer(server.sip, pipelines.path(), &[]);
    let agent = Agent::new(server.sip);
    let ask = |stream: &str, accept: &str| {
        let accept = [(Name::Accept, accept)];
        agent.ask(&agent.make_with(Method::Options, Some(stream), &accept))
    };
    let info = wait_for("the stream says that it is live", seconds(20), || {
        let answer = ask("sizes", "application/json");
        let info = serde_json::from_slice(&answer.body);
        info.ok().filter(|info: &Value| info["state"] == "live")
    });
    assert_eq!(info["rungs"], json!(["video", "video_small"]));

    let picture = |stream: &str| {
        let answer = ask(stream, "image/jpeg");
        assert_eq!(
            answer.content_type().as_deref(),
            Some("image/jpeg"),
            "{answer:?}"
        );
        assert!(answer.body.len() <= 48 * 1024);
        answer.body
    };
    // The file's, made smaller, or what is on air.
    let (width, height) = sides(&picture("radio"));
    assert!(width <= 640 && width * 9 == height * 16, "{width}x{height}");
    let before = picture("sizes");
    assert_eq!(sides(&before), (160, 90));
    // It is shown to everybody for 10 s.
    if measure::times(0, 1) == 1 {
        let newer = || picture("sizes") != before;
        eventually("the picture is a newer one", seconds(11), newer);
    }

    // It is there, and says what it could say.
    let plain = agent.ask(&agent.make(Method::Options, Some("radio")));
    assert_eq!((plain.status, plain.body.len()), (StatusCode::OK, 0));
    let accept: Vec<&str> = plain.headers.values(Name::Accept).collect();
    assert!(accept.contains(&"application/json") && accept.contains(&"image/jpeg"));
}

/// Agents of others take no notice, as a softphone shows.
#[test]
fn forbidden_after_restart() {
    // Every streamer that was there is sent an answer to its last REGISTER, 50 a second.
    let mut server = Signaling::start();
    let agent = Agent::new(server.sip);
    let streams = (0..30).map(|number| format!("stream{number}"));
    let registrations = streams.map(|stream| agent.registration(&stream, &[], ""));
    let mut registrations: Vec<Request> = registrations.collect();
    for register in &registrations {
        assert_eq!(agent.ask(register).status, StatusCode::OK);
    }
    let begin = Instant::now();
    server.restart();
    let pace = Duration::from_millis(20) * (registrations.len() - 1) as u32;
    while !registrations.is_empty() {
        let asked = agent.response();
        let of = registrations
            .iter()
            .position(|it| it.call_id() == asked.call_id());
        // They are sent again.
        let Some(of) = of else { continue };
        let register = registrations.remove(of);
        assert_eq!(asked.status, StatusCode::FORBIDDEN);
        assert_eq!(asked.cseq(), register.cseq());
        assert_eq!(asked.from(), register.from());
        assert_eq!(asked.to().uri, register.to().uri);
        let branch = |via: Option<Via>| via.unwrap().branch().unwrap().to_owned();
        assert_eq!(branch(asked.top_via()), branch(register.top_via()));
    }
    takes(begin.elapsed(), pace);

    // Ours registers again where it was told to, whoever asks, and that at most every 5 seconds.
    let pipelines = descriptions(&[("tone", TONE)]);
    let mut home = Agent::new(NOBODY);
    let ours = streamer(home.address, pipelines.path(), &[]);
    home.server = ours.addr("sip");
    let stranger = Agent::new(home.server);
    // What it tells of itself changes until it is live.
    let register = wait_for("it is live", seconds(20), || {
        let register = home.registered();
        let info: Value = serde_json::from_slice(&register.body).unwrap();
        (info["state"] == "live").then_some(register)
    });
    let mut of_another = register.clone();
    of_another.headers.set(Name::CallId, "another@example.org");
    stranger.reply(&summons(&of_another));
    home.hears_nothing(Duration::from_millis(300));
    stranger.reply(&summons(&register));
    let begin = Instant::now();
    let again = home.registered();
    assert_eq!(again.call_id(), register.call_id());
    stranger.reply(&summons(&register));
    if measure::times(0, 1) == 1 {
        home.registered();
        takes(begin.elapsed(), seconds(5));
    } else {
        home.hears_nothing(seconds(1));
    }
    stranger.hears_nothing(Duration::from_millis(1));
}
