use sip::{Method, Via};

use super::*;
use crate::routing::reachable;

struct Desk {
    registrar: Registrar,
    now: Instant,
    cseq: u32,
}

const SOURCE: &str = "192.0.2.1:4000";

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        let own = vec!["192.0.2.100:5060".parse().unwrap()];
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        Desk {
            registrar: Registrar::new(own, now, wall),
            now,
            cseq: 0,
        }
    }

    /// A REGISTER of these header lines, beside those that each one needs.
    fn request(&mut self, lines: &str, body: &str) -> Request {
        self.cseq += 1;
        let from = if lines.contains("From:") {
            ""
        } else {
            "From: <sip:test@h>;tag=1\r\nTo: <sip:test@h>\r\n"
        };
        let text = format!(
            "REGISTER sip:192.0.2.100 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:4000;branch=z9hG4bK{0};rport=4000;received=192.0.2.1\r\n\
             {from}Call-ID: registration\r\nCSeq: {0} REGISTER\r\n{lines}\r\n{body}",
            self.cseq
        );
        match Message::parse(text.into()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn register(&mut self, lines: &str) -> Registered {
        self.register_with(lines, "")
    }

    fn register_with(&mut self, lines: &str, body: &str) -> Registered {
        let request = self.request(lines, body);
        assert_eq!(request.method, Method::Register);
        self.registrar
            .register(self.now, &request, SOURCE.parse().unwrap(), None)
    }

    fn register_as(&mut self, user: &str, free: bool, lines: &str) -> StatusCode {
        let request = self.request(lines, "");
        let user = user.to_owned();
        let claim = Claim { user, free };
        let source = SOURCE.parse().unwrap();
        let registered = self
            .registrar
            .register(self.now, &request, source, Some(&claim));
        registered.response.status
    }

    fn wait(&mut self, seconds: u64) -> usize {
        self.now += Duration::from_secs(seconds);
        self.registrar.expire(self.now).len()
    }
}

fn contacts(registered: &Registered) -> Vec<String> {
    registered
        .response
        .headers
        .all(Name::Contact)
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_binding_is_made_refreshed_and_withdrawn() {
    let mut desk = Desk::new();
    let made = desk.register("Contact: <sip:test@192.0.2.1:4000>\r\nExpires: 60\r\n");
    assert_eq!(made.response.status, StatusCode::OK);
    assert_eq!(contacts(&made), ["<sip:test@192.0.2.1:4000>;expires=60"]);
    assert_eq!(
        made.response.headers.get(Name::Date),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
    let [Change::Added(id)] = made.changes[..] else {
        panic!("{made:?}");
    };
    assert_eq!(desk.wait(50), 0);
    let again = desk.register("Contact: <sip:test@192.0.2.1:4000>;expires=120\r\n");
    assert_eq!(again.changes, [Change::Refreshed(id)]);
    assert_eq!(contacts(&again), ["<sip:test@192.0.2.1:4000>;expires=120"]);
    assert_eq!(desk.wait(100), 0);
    let gone = desk.register("Contact: <sip:test@192.0.2.1:4000>\r\nExpires: 0\r\n");
    assert_eq!(gone.changes, [Change::Removed(id)]);
    assert!(contacts(&gone).is_empty());
    assert!(desk.registrar.is_empty());
}

#[test]
fn leases_end_and_names_are_forgotten_after_an_hour() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:test@192.0.2.1:4000>\r\nExpires: 60\r\n");
    assert_eq!(
        desk.registrar.poll_timeout(),
        Some(desk.now + Duration::from_secs(60))
    );
    assert_eq!(desk.wait(60), 1);
    assert_eq!(desk.registrar.targets("test"), Err(Absence::Departed));
    assert_eq!(desk.wait(3600), 0);
    assert_eq!(desk.registrar.targets("test"), Err(Absence::Unknown));
    assert_eq!(desk.registrar.poll_timeout(), None);
}

#[test]
fn short_leases_are_423_and_long_ones_are_cut() {
    let mut desk = Desk::new();
    let refused = desk
        .register("Contact: <sip:a@192.0.2.1:4000>\r\nExpires: 59\r\n")
        .response;
    assert_eq!(refused.status, StatusCode::INTERVAL_TOO_BRIEF);
    assert_eq!(refused.headers.get(Name::MinExpires), Some("60"));
    assert!(desk.registrar.is_empty());
    for lines in [
        "Expires: 99999\r\n",
        "Expires: 99999999999999\r\n",
        "Expires: soon\r\n",
        "",
    ] {
        let granted = desk.register(&format!("Contact: <sip:a@192.0.2.1:4000>\r\n{lines}"));
        assert_eq!(
            contacts(&granted),
            ["<sip:a@192.0.2.1:4000>;expires=3600"],
            "{lines}"
        );
    }
}

#[test]
fn a_register_without_contact_asks_for_the_bindings() {
    let mut desk = Desk::new();
    assert!(contacts(&desk.register("")).is_empty());
    desk.register("Contact: <sip:a@192.0.2.1:4000>, <sip:b@192.0.2.2:4000>;expires=90\r\n");
    let asked = desk.register("");
    assert_eq!(contacts(&asked).len(), 2);
    assert!(asked.changes.is_empty());
}

#[test]
fn a_star_removes_everything_and_only_with_expires_0() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:a@192.0.2.1:4000>, <sip:b@192.0.2.2:4000>\r\n");
    for lines in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: *, <sip:a@192.0.2.1:4000>\r\nExpires: 0\r\n",
    ] {
        assert_eq!(
            desk.register(lines).response.status,
            StatusCode::BAD_REQUEST
        );
    }
    let gone = desk.register("Contact: *\r\nExpires: 0\r\n");
    assert_eq!(gone.changes.len(), 2);
    assert!(desk.registrar.is_empty());
}

#[test]
fn an_older_request_changes_nothing() {
    let mut desk = Desk::new();
    let old = desk.request("Contact: <sip:a@192.0.2.1:4000>\r\nExpires: 0\r\n", "");
    desk.register("Contact: <sip:a@192.0.2.1:4000>\r\nExpires: 60\r\n");
    let refused = desk
        .registrar
        .register(desk.now, &old, SOURCE.parse().unwrap(), None);
    assert_eq!(refused.response.status, StatusCode::SERVER_INTERNAL_ERROR);
    assert_eq!(desk.registrar.len(), 1);
}

#[test]
fn an_instance_is_replaced_whatever_its_port() {
    let mut desk = Desk::new();
    let at = |port: u16, instance: u8| {
        format!(
            "Contact: <sip:test@192.0.2.1:{port}>;+sip.instance=\"<urn:uuid:{instance}>\"\r\n\
             Expires: 60\r\n"
        )
    };
    let [Change::Added(first)] = desk.register(&at(4000, 1)).changes[..] else {
        panic!();
    };
    let [Change::Added(other)] = desk.register(&at(5000, 2)).changes[..] else {
        panic!();
    };
    let moved = desk.register(&at(4002, 1));
    let [Change::Replaced { old, new }] = moved.changes[..] else {
        panic!("{moved:?}");
    };
    assert_eq!(old, first);
    assert!(desk.registrar.get(first).is_none());
    assert_eq!(
        desk.registrar
            .get(new)
            .unwrap()
            .record
            .address
            .address
            .port(),
        4002
    );
    assert!(desk.registrar.get(other).is_some());
    assert!(contacts(&moved)[1].contains(";+sip.instance=\"<urn:uuid:1>\""));
    assert_eq!(desk.registrar.len(), 2);
}

#[test]
fn a_stream_of_another_name_is_another_stream() {
    let mut desk = Desk::new();
    let contact = "Contact: <sip:x@192.0.2.1:4000>;+sip.instance=\"<urn:uuid:1>\"\r\n";
    desk.register(contact);
    let to = "From: <sip:two@h>;tag=1\r\nTo: <sip:two@h>\r\n";
    desk.register(&format!("{to}{contact}"));
    assert_eq!(desk.registrar.len(), 2);
    assert_eq!(desk.registrar.entries_after(desk.now, "").count(), 2);
    assert_eq!(
        desk.registrar
            .entries_after(desk.now, "test")
            .next()
            .unwrap()
            .name,
        "two"
    );
}

#[test]
fn bad_registrations_are_refused_and_change_nothing() {
    let mut desk = Desk::new();
    let to = "From: <sip:a b>;tag=1\r\nTo: <sip:b%00@h>\r\n".replace("a b", "a@b");
    for (lines, status) in [
        (to.as_str(), StatusCode::NOT_FOUND),
        ("Contact: <tel:123>\r\n", StatusCode::BAD_REQUEST),
        ("Contact: sip:a@b?Route=x\r\n", StatusCode::BAD_REQUEST),
        (
            "Contact: <sip:a@192.0.2.100:5060>\r\n",
            StatusCode::BAD_REQUEST,
        ),
        (
            "Contact: <sip:a@b>\r\nPath: nonsense\r\n",
            StatusCode::BAD_REQUEST,
        ),
        (
            "Contact: <sip:a@b>, <sip:c@d>;expires=5\r\n",
            StatusCode::INTERVAL_TOO_BRIEF,
        ),
    ] {
        assert_eq!(desk.register(lines).response.status, status, "{lines}");
    }
    let many = "Contact: <sip:a@b>\r\n".repeat(9);
    assert_eq!(
        desk.register(&many).response.status,
        StatusCode::BAD_REQUEST
    );
    assert!(desk.registrar.is_empty());
}

#[test]
fn bodies_are_read_kept_over_a_refresh_and_checked() {
    let mut desk = Desk::new();
    let lines = "Contact: <sip:a@192.0.2.1:4000>\r\nContent-Type: application/json\r\n";
    let body = r#"{"name":"test","title":{"":"Test"},"calls":["x"]}"#;
    assert_eq!(desk.register_with(lines, body).calls.unwrap(), ["x"]);
    desk.register("Contact: <sip:a@192.0.2.1:4000>\r\n");
    let info = desk.registrar.entries_after(desk.now, "").next().unwrap();
    assert_eq!(info.title[""], "Test");
    let refused = desk.register_with(lines, "{").response;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let lines = "Contact: <sip:a@192.0.2.1:4000>\r\nContent-Type: text/plain\r\n";
    let refused = desk.register_with(lines, "hello").response;
    assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let lines = format!("{lines}Content-Disposition: render; handling=optional\r\n");
    assert_eq!(
        desk.register_with(&lines, "hello").response.status,
        StatusCode::OK
    );
}

#[test]
fn the_thousand_and_first_streamer_is_503_but_refreshes_go_on() {
    let mut desk = Desk::new();
    let to = |number: usize| {
        format!(
            "From: <sip:s{number}@h>;tag=1\r\nTo: <sip:s{number}@h>\r\n\
             Contact: <sip:a@192.0.2.1:4000>\r\nExpires: 60\r\n"
        )
    };
    for number in 0..MAX_STREAMERS {
        assert_eq!(desk.register(&to(number)).response.status, StatusCode::OK);
    }
    let refused = desk.register(&to(MAX_STREAMERS)).response;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.get(Name::RetryAfter).is_some());
    assert_eq!(desk.register(&to(5)).response.status, StatusCode::OK);
    assert_eq!(desk.wait(60), MAX_STREAMERS);
    assert_eq!(desk.wait(3600), 0);
    assert_eq!(desk.registrar.poll_timeout(), None);
}

#[test]
fn requests_go_where_they_can_arrive() {
    let source: SocketAddr = "198.51.100.1:999".parse().unwrap();
    let via = Via::parse("SIP/2.0/UDP 10.0.0.1:4000;branch=z9hG4bK1").unwrap();
    for (contact, expected) in [
        ("sip:a@203.0.113.1:4000", "203.0.113.1:4000"),
        // Behind an address translator.
        ("sip:a@10.0.0.1:4000", "198.51.100.1:999"),
        ("sip:a@host.example", "198.51.100.1:999"),
        ("sip:a@0.0.0.0:4000", "198.51.100.1:999"),
        ("sip:a@255.255.255.255", "198.51.100.1:999"),
        ("sip:a@224.0.0.1", "198.51.100.1:999"),
        ("sip:a@[2001:db8::1]", "[2001:db8::1]:5060"),
    ] {
        let contact = Uri::parse(contact).unwrap();
        assert_eq!(
            reachable(&contact, Some(&via), source.into()).to_string(),
            expected
        );
    }
}

#[test]
fn the_summons_is_the_answer_to_the_last_register() {
    let mut desk = Desk::new();
    let path = "Path: <sip:192.0.2.9;lr>\r\nContact: <sip:a@10.0.0.1:4000>\r\n";
    let [Change::Added(id)] = desk.register(path).changes[..] else {
        panic!();
    };
    assert_eq!(
        desk.registrar.get(id).unwrap().record.address.to_string(),
        "192.0.2.9:5060"
    );
    let (destination, summons) = desk.registrar.summons(id).unwrap();
    assert_eq!(destination, SOURCE.parse().unwrap());
    assert_eq!(summons.status, StatusCode::FORBIDDEN);
    assert_eq!(
        (summons.call_id(), summons.cseq().number),
        ("registration", 1)
    );
    assert_eq!(summons.top_via().unwrap().branch(), Some("z9hG4bK1"));
    assert!(summons.to().tag().is_some());
}

#[test]
fn however_many_streamers_a_stream_has_the_answer_can_be_read() {
    let mut desk = Desk::new();
    let contact = |number: usize, more: &str| {
        format!("Contact: <sip:test@192.0.2.1:{}{more}>\r\n", 4000 + number)
    };
    let mut last = desk.register(&contact(0, "")).response;
    let mut number = 0;
    while last.status.is_success() {
        let read = Message::parse(last.to_bytes());
        assert!(read.is_ok(), "with {number} streamers: {read:?}");
        number += 1;
        last = desk.register(&contact(number, "")).response;
    }
    assert_eq!(last.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(number, MAX_INSTANCES);
    let refresh = desk.register(&contact(3, "")).response;
    assert_eq!(refresh.status, StatusCode::OK);
    let long = desk.register(&contact(3, &format!(";x={}", "x".repeat(300))));
    assert_eq!(long.response.status, StatusCode::BAD_REQUEST);
}

#[test]
fn a_name_is_whose_it_is_as_long_as_it_lives() {
    let mut desk = Desk::new();
    let at = |port: u16| format!("Contact: <sip:test@192.0.2.1:{port}>\r\nExpires: 60\r\n");
    let ok = StatusCode::OK;
    assert_eq!(desk.register_as("ana", true, &at(1)), ok);
    assert_eq!(desk.register_as("ana", true, &at(2)), ok);
    for lines in [
        at(3),
        at(1),
        "Contact: *\r\nExpires: 0\r\n".into(),
        String::new(),
    ] {
        let refused = desk.register_as("bob", true, &lines);
        assert_eq!(refused, StatusCode::FORBIDDEN, "{lines}");
    }
    assert_eq!(desk.registrar.len(), 2);
    // To whom the file gives it, it is open all the same.
    assert_eq!(desk.register_as("ops", false, &at(4)), ok);
    desk.wait(60);
    assert_eq!(desk.register_as("bob", true, &at(3)), ok);
    assert_eq!(desk.register_as("ana", true, &at(1)), StatusCode::FORBIDDEN);
}

#[test]
fn a_name_from_before_there_were_users_is_for_the_first_who_proves_to_be_one() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:test@192.0.2.1:1>\r\n");
    let lines = "Contact: <sip:test@192.0.2.1:1>\r\n";
    assert_eq!(desk.register_as("ana", true, lines), StatusCode::OK);
    assert_eq!(desk.register_as("bob", true, lines), StatusCode::FORBIDDEN);
}
