//! Messages that are hard to read or must not be read: those of RFC 4475 and RFC 5118 where their
//! files are at hand, and ours for each of their rules.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use sip::{Message, Method, Name, Request, StatusCode};

use super::super::world::{FRONT, Mood, STREAMER, Sent, World};
use super::SECOND;

/// What becomes of a message.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    /// It goes on to the streamer as it came.
    Relayed,
    /// It is answered with one of these, and goes nowhere.
    Refused(&'static [u16]),
    /// So many bindings come of it.
    Registered(usize),
    /// It is answered with 200 and changes nothing.
    Answered,
    /// Nothing is sent.
    Dropped,
}
use Verdict::{Answered, Dropped, Refused, Registered, Relayed};

/// Streams that the requests of the RFCs name.
const STREAMS: [&str; 5] = ["user", "vivekg", "kumiko", "UserB", "remote-target"];
/// Where the messages come from.
const SENDER: ([u8; 4], u16) = ([203, 0, 113, 9], 5060);
/// Every deadline is over.
const LONG: Duration = Duration::from_secs(150);

/// A streamer that refuses calls, so that nothing is left of those that reach it.
fn world(registered: bool) -> World {
    let mut world = World::new(1);
    world.agents[STREAMER].mood = Mood::Refuse(StatusCode::BUSY_HERE);
    if registered {
        for stream in STREAMS {
            world.register(STREAMER, stream, &[("Expires", "3600")]);
            // Each has a Call-ID of its own.
            let call_id = world.agents[STREAMER].endpoint.generate_call_id();
            world.agents[STREAMER].registration = call_id;
        }
    }
    world
}

/// Feeds the server a message and sees what becomes of it, and that the server is none the worse.
#[track_caller]
fn judge(name: &str, message: &Bytes, verdict: Verdict) {
    let registers = matches!(verdict, Registered(_));
    let mut world = world(!registers);
    let (streamers, before) = (world.role.counts().streamers, world.sent.len());
    let sender = SocketAddr::from(SENDER);
    world.inject(sender, message.clone());
    world.run_for(SECOND);
    let sent = &world.sent[before..];
    let there = world.agents[STREAMER].address;
    let relayed: Vec<&Sent> = sent.iter().filter(|sent| sent.to == there).collect();
    let answers: Vec<&Sent> = sent.iter().filter(|sent| sent.to != there).collect();
    // Of what is not even a message the answer may not be one.
    let codes = answers.iter().filter_map(|answer| status(&answer.line));
    let mut finals: Vec<u16> = codes.filter(|code| *code >= 200).collect();
    // A refused INVITE is refused again until its ACK comes.
    finals.dedup();
    let told = format!("{name}: {verdict:?}, but: {sent:#?}");
    let now = world.role.counts().streamers;
    match verdict {
        Relayed => {
            let went = relayed.iter().find_map(|sent| request(&sent.payload));
            let went = went.unwrap_or_else(|| panic!("{told}"));
            let came = request(message).unwrap_or_else(|| panic!("{told}"));
            assert_eq!(went.body, came.body, "{told}");
            assert_eq!(went.method, came.method, "{told}");
            assert_eq!(untouched(&went), untouched(&came), "{told}");
            assert!(went.headers.get(Name::MaxForwards).is_some(), "{told}");
            let routes = |it: &Request| it.headers.count(Name::Route);
            assert_eq!(routes(&went), routes(&came), "{told}");
            assert!(!finals.contains(&400), "{told}");
        }
        Refused(codes) => {
            assert!(relayed.is_empty(), "{told}");
            assert_eq!(finals.len(), 1, "{told}");
            assert!(codes.contains(&finals[0]), "{told}");
        }
        Registered(bindings) => {
            assert_eq!(finals, [200], "{told}");
            assert_eq!(now, bindings, "{told}");
        }
        Answered => assert_eq!((relayed.len(), &finals[..]), (0, &[200][..]), "{told}"),
        Dropped => assert!(sent.is_empty(), "{told}"),
    }
    if !registers {
        assert_eq!(now, streamers, "{told}");
    }
    // Answers go where the message came from, whatever it says.
    for answer in answers {
        assert_eq!(answer.to.ip(), sender.ip(), "{told}");
    }

    let ping = world.agents[FRONT].make(Method::Options, None);
    world.send(FRONT, ping);
    world.run_for(SECOND);
    let pong = world.agents[FRONT].answers.pop().map(|it| it.status);
    assert_eq!(pong, Some(StatusCode::OK), "{name}: no ping is answered");
    world.run_for(LONG);
    let counts = world.role.counts();
    assert_eq!((counts.calls, counts.sessions), (0, 0), "{name}");
    assert_eq!(world.endpoint.transactions(), 0, "{name}");
}

/// The code in the first line of an answer.
fn status(line: &str) -> Option<u16> {
    line.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
}

fn request(bytes: &Bytes) -> Option<Request> {
    match Message::parse(bytes.clone()) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

/// The header lines that a relay has no business with, as they stand.
fn untouched(request: &Request) -> Vec<String> {
    let mut mine = request.headers.clone();
    for name in [
        Name::Via,
        Name::MaxForwards,
        Name::RecordRoute,
        Name::Route,
        Name::ContentLength,
    ] {
        mine.remove(name);
    }
    let vias = request.headers.values(Name::Via).map(str::to_owned);
    let mut vias: Vec<String> = vias.collect();
    // The first one is the sender's, to which we add; above it is ours.
    let known = vias.iter().position(|via| via.contains("192.0.2.100"));
    vias.drain(..known.map_or(1, |ours| ours + 2).min(vias.len()));
    vias.push(mine.to_string());
    vias
}

/// Of RFC 4475, and of RFC 5118 where the name begins so.
const OF_THE_RFCS: &[(&str, Verdict)] = &[
    // Its To has a tag, and no such call is known.
    ("wsinv", Refused(&[481])),
    // No stream can have such a name.
    ("intmeth", Refused(&[404])),
    ("esc01", Refused(&[404])),
    ("escnull", Refused(&[404])),
    ("esc02", Refused(&[501])),
    ("lwsdisp", Relayed),
    ("longreq", Relayed),
    ("dblreq", Refused(&[404])),
    ("semiuri", Refused(&[404])),
    ("transports", Relayed),
    ("mpart01", Relayed),
    ("unreason", Dropped),
    ("noreason", Dropped),
    ("badinv01", Dropped),
    ("clerr", Refused(&[400])),
    ("ncl", Refused(&[400])),
    ("scalar02", Refused(&[400])),
    ("scalarlg", Dropped),
    ("quotbal", Refused(&[400])),
    ("ltgtruri", Refused(&[400])),
    ("lwsruri", Refused(&[400])),
    ("lwsstart", Refused(&[400])),
    ("trws", Refused(&[400])),
    // What follows "?" is left out.
    ("escruri", Relayed),
    // Nothing here reads Date.
    ("baddate", Relayed),
    ("regbadct", Refused(&[400])),
    ("badaspec", Refused(&[400])),
    ("baddn", Refused(&[400])),
    ("badvers", Refused(&[505])),
    ("mismatch01", Refused(&[400])),
    ("mismatch02", Refused(&[400])),
    ("bigcode", Dropped),
    ("badbranch", Relayed),
    ("insuf", Refused(&[400])),
    ("unkscm", Refused(&[416])),
    ("novelsc", Refused(&[416])),
    ("unksm2", Refused(&[404])),
    ("bext01", Refused(&[420])),
    ("invut", Relayed),
    ("regaut01", Refused(&[404])),
    ("multi01", Refused(&[400])),
    ("mcl01", Refused(&[400])),
    ("bcast", Dropped),
    ("zeromf", Refused(&[483])),
    ("cparam01", Registered(1)),
    ("cparam02", Registered(1)),
    ("regescrt", Registered(1)),
    ("sdp01", Relayed),
    ("inv2543", Relayed),
    ("rfc5118-ipv6-good", Registered(1)),
    ("rfc5118-ipv6-bad", Refused(&[400])),
    ("rfc5118-port-ambiguous", Registered(1)),
    ("rfc5118-port-unambiguous", Registered(1)),
    // A BYE of no call.
    ("rfc5118-via-received-param-with-delim", Refused(&[481])),
    ("rfc5118-via-received-param-no-delim", Answered),
    ("rfc5118-ipv6-in-sdp", Relayed),
    ("rfc5118-mult-ip-in-header", Refused(&[481])),
    ("rfc5118-mult-ip-in-sdp", Relayed),
    ("rfc5118-ipv4-mapped-ipv6", Relayed),
    ("rfc5118-ipv6-bug-abnf-3-colons", Relayed),
    ("rfc5118-ipv6-correct-abnf-2-colons", Relayed),
];

/// The folder with the messages of the RFCs, where there is one.
fn folder() -> Option<PathBuf> {
    let beside = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/conformance/sip-torture"
    );
    Some(PathBuf::from(beside)).filter(|folder| folder.is_dir())
}

#[test]
fn messages_of_rfc_4475_and_rfc_5118_have_their_verdict() {
    let Some(folder) = folder() else {
        return;
    };
    for (name, verdict) in OF_THE_RFCS {
        let file = folder.join(name).with_extension("dat");
        let message = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        judge(name, &message.into(), *verdict);
    }
    let files = fs::read_dir(folder).unwrap().flatten();
    let messages = files.filter(|file| file.path().extension().is_some_and(|it| it == "dat"));
    assert_eq!(messages.count(), OF_THE_RFCS.len());
}

const INVITE: &str = "INVITE sip:user@192.0.2.100 SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKour
Max-Forwards: 9
From: <sip:ana@example.org>;tag=a
To: <sip:user@192.0.2.100>
Call-ID: ours@example.org
CSeq: 1 INVITE
Contact: <sip:ana@203.0.113.9>
Content-Type: application/sdp
Content-Length: 5

v=0
";
const OPTIONS: &str = "OPTIONS sip:user@192.0.2.100 SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKour
Max-Forwards: 9
From: <sip:ana@example.org>;tag=a
To: <sip:user@192.0.2.100>
Call-ID: ours@example.org
CSeq: 1 OPTIONS
Content-Length: 0

";
const REGISTER: &str = "REGISTER sip:192.0.2.100 SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKour
From: <sip:user@192.0.2.100>;tag=a
To: <sip:user@192.0.2.100>
Call-ID: ours@example.org
CSeq: 1 REGISTER
Contact: <sip:user@203.0.113.9>
Content-Length: 0

";
const RESPONSE: &str = "SIP/2.0 200 OK
Via: SIP/2.0/UDP 192.0.2.100;branch=z9hG4bKour
From: <sip:ana@example.org>;tag=a
To: <sip:user@192.0.2.100>;tag=b
Call-ID: ours@example.org
CSeq: 1 INVITE
Content-Length: 0

";

/// A rule, a message, what of it is written otherwise, and what becomes of it.
type Ours = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    Verdict,
);

#[rustfmt::skip]
const OURS: &[Ours] = &[
    ("fields may be folded, spaced and short", INVITE,
        &[("From: ", "f  :\n\t"), ("To: ", "t :"), ("Call-ID:", "I  :"), ("CSeq: 1 ", "cseq:\n 001\n  ")],
        Relayed),
    ("names of fields have any case", INVITE, &[("Call-ID", "cAlL-iD"), ("Via", "VIA")], Relayed),
    ("fields that nobody knows go on", INVITE, &[("Contact:", "X-Odd_1 :;,\"<\u{e9}\nContact:")], Relayed),
    ("any token is a method", OPTIONS, &[("OPTIONS", "!x-Y0_*+`.%'~")], Relayed),
    ("methods have a case", INVITE, &[("INVITE", "invite")], Relayed),
    ("users have escapes, which are none of others", INVITE, &[("sip:user@", "sip:user%40x@")], Refused(&[404])),
    ("methods have no escapes", REGISTER, &[("REGISTER", "REG%49STER")], Refused(&[501])),
    ("contacts may hold NUL", REGISTER,
        &[("Contact: ", "Contact: <sip:%00@203.0.113.9>, <sip:%00%00@203.0.113.9>\nX: ")], Registered(2)),
    ("names of people touch their address", OPTIONS, &[("From: <", "From: \"Ana\"<")], Relayed),
    ("names of people are words", OPTIONS, &[("From: <", "From: Ana of Goa <")], Relayed),
    ("values may be long", INVITE, &[("Contact:", concat!("X: ",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "\nContact:"))], Relayed),
    ("what follows the body is none of it", OPTIONS, &[("0\n\n", "0\n\nINVITE sip:user@192.0.2.100 SIP/2.0\n\n")], Relayed),
    ("semicolons belong to the user", OPTIONS, &[("sip:user@192", "sip:user;x=1@192")], Refused(&[404])),
    ("transports may be unknown", OPTIONS, &[("Max", "Via: SIP/2.0/SCTP a, SIP/2.0/NEW b;branch=z9hG4bK1\nMax")], Relayed),
    ("bodies are bytes", INVITE, &[("application/sdp", "multipart/mixed;boundary=x"), ("v=0\n", "\0\u{7f}=\n")], Relayed),
    ("reasons are any text", RESPONSE, &[("200 OK", "200 \u{43d}\u{43e} = 2**3")], Dropped),
    ("reasons may be missing", RESPONSE, &[("200 OK", "100 ")], Dropped),
    ("separators of nothing are refused", INVITE, &[("CSeq: 1", "Contact: ;,<sip:x>;;;\nFrom: \nCSeq: 1")], Refused(&[400])),
    ("without a Via that can be read nobody is answered", INVITE, &[("9;branch", "9;;,;branch")], Dropped),
    ("bodies are whole", INVITE, &[("Length: 5", "Length: 999")], Refused(&[400])),
    ("lengths are not negative", INVITE, &[("Length: 5", "Length: -5")], Refused(&[400])),
    ("sequence numbers have 31 bits", REGISTER, &[("CSeq: 1 ", "CSeq: 36893488147419103232 ")], Refused(&[400])),
    ("those of answers, too", RESPONSE, &[("CSeq: 1 ", "CSeq: 2147483648 ")], Dropped),
    ("hops have 8 bits", OPTIONS, &[("wards: 9", "wards: 300")], Refused(&[400])),
    ("endless leases have an end", REGISTER, &[("Length: 0", "Length: 0\nExpires: 99999999999999999999")], Registered(1)),
    ("quotes are closed", INVITE, &[("To: <", "To: \"Ana <")], Refused(&[400])),
    ("the request's address has no brackets", INVITE, &[("INVITE sip:user@192.0.2.100", "INVITE <sip:user@192.0.2.100>")], Refused(&[400])),
    ("nor blanks", INVITE, &[("100 SIP", "100; lr SIP")], Refused(&[400])),
    ("one blank is between words", INVITE, &[("INVITE sip", "INVITE  sip")], Refused(&[400])),
    ("nothing follows the version", OPTIONS, &[("SIP/2.0\nVia", "SIP/2.0 \nVia")], Refused(&[400])),
    ("fields in the request's address are none", INVITE, &[("100 SIP", "100?Route=%3Csip:x%3E SIP")], Relayed),
    ("dates are not ours to read", INVITE, &[("Contact:", "Date: Fri, 01 Jan 2010 16:00:00 EST\nContact:")], Relayed),
    ("fields of a contact stand in brackets", REGISTER, &[("<sip:user@203.0.113.9>", "sip:user@203.0.113.9?Route=x")], Refused(&[400])),
    ("addresses have no blanks", OPTIONS, &[("To: <sip", "To: < sip")], Refused(&[400])),
    ("names of people without quotes have no commas", OPTIONS, &[("From: <", "From: Ana, Goa <")], Refused(&[400])),
    ("there is one version", OPTIONS, &[("100 SIP/2.0", "100 SIP/7.0")], Refused(&[505])),
    ("CSeq names the method", OPTIONS, &[("1 OPTIONS", "1 INVITE")], Refused(&[400])),
    ("also one that nobody knows", OPTIONS, &[("OPTIONS sip", "NEW sip")], Refused(&[400])),
    ("codes have three digits", RESPONSE, &[("200 OK", "4294967496 OK")], Dropped),
    ("a branch that says nothing is none", OPTIONS, &[("z9hG4bKour", "z9hG4bK")], Relayed),
    ("From is needed", INVITE, &[("From:", "X:")], Refused(&[400])),
    ("To is needed", INVITE, &[("To:", "X:")], Refused(&[400])),
    ("Call-ID is needed", INVITE, &[("Call-ID:", "X:")], Refused(&[400])),
    ("schemes are ours", OPTIONS, &[("OPTIONS sip:user@192.0.2.100", "OPTIONS odd:anything")], Refused(&[416])),
    ("that of HTTP is not", OPTIONS, &[("OPTIONS sip:user@192.0.2.100", "OPTIONS http://192.0.2.100:80/x")], Refused(&[416])),
    ("names of another scheme are not registered", REGISTER, &[("To: <sip:user@192.0.2.100>", "To: isbn:2983792873")], Refused(&[404])),
    ("extensions that a proxy must know are told", OPTIONS, &[("CSeq", "Proxy-Require: new, newer\nCSeq")], Refused(&[420])),
    ("those that a streamer must know go on", OPTIONS, &[("CSeq", "Require: new\nCSeq")], Relayed),
    ("types of bodies are not ours to know", INVITE, &[("application/sdp", "application/odd")], Relayed),
    ("what is accepted is not, either", INVITE, &[("Contact:", "Accept: text/odd\nContact:")], Relayed),
    ("credentials of another scheme are passed over", REGISTER, &[("CSeq", "Authorization: Odd opaque=\"x\"\nCSeq")], Registered(1)),
    ("there is one CSeq", INVITE, &[("CSeq", "CSeq: 2 INVITE\nCSeq")], Refused(&[400])),
    ("there is one From", INVITE, &[("From", "From: <sip:x>;tag=x\nFrom")], Refused(&[400])),
    ("there is one Max-Forwards", INVITE, &[("Max", "Max-Forwards: 3\nMax")], Refused(&[400])),
    ("there is one length", OPTIONS, &[("Content-Length: 0", "Content-Length: 0\nContent-Length: 5")], Refused(&[400])),
    ("answers go to nobody who has not asked", RESPONSE,
        &[("From", "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK2\nFrom")], Dropped),
    ("without hops left nothing goes on", OPTIONS, &[("wards: 9", "wards: 0")], Refused(&[483])),
    ("fields in a contact are kept from requests", REGISTER,
        &[("203.0.113.9>", "203.0.113.9?Route=%3Csip:x%3E>")], Registered(1)),
    ("older senders have no branch", INVITE,
        &[(";branch=z9hG4bKour", ""), (";tag=a", ""), ("Content-Length: 5\n", ""), ("Max-Forwards: 9\n", "")], Relayed),
    ("addresses of version 6 stand in brackets", REGISTER,
        &[("R sip:192.0.2.100", "R sip:[2001:db8::10]"), ("203.0.113.9;", "[2001:db8::9:1];"), ("@203.0.113.9", "@[2001:db8::1]")],
        Registered(1)),
    ("without them they are no address", REGISTER, &[("R sip:192.0.2.100", "R sip:2001:db8::10")], Refused(&[400])),
    ("what stands in them is no port", REGISTER, &[("R sip:192.0.2.100", "R sip:[2001:db8::10:5070]")], Registered(1)),
    ("a port follows them", REGISTER, &[("R sip:192.0.2.100", "R sip:[2001:db8::10]:5070")], Registered(1)),
    ("received may stand in them", OPTIONS, &[(";branch", ";received=[2001:db8::9:255];branch")], Relayed),
    ("or not", OPTIONS, &[(";branch", ";received=2001:db8::9:255;branch")], Relayed),
    ("hops of both versions mix", OPTIONS, &[("Max", "Via: SIP/2.0/UDP [2001:db8::1]:6050;branch=z9hG4bK1, SIP/2.0/TCP 192.0.2.7\nMax")], Relayed),
    ("version 4 stands within 6", INVITE, &[("9;branch", "9;x=1;branch"), ("ana@203.0.113.9", "ana@[::ffff:192.0.2.7]:19823")], Relayed),
    ("three colons are a mistake of old", OPTIONS, &[("user@192.0.2.100 ", "user@[2001:db8:::192.0.2.1] ")], Relayed),
    ("a request of no call is none", INVITE, &[("2.100>", "2.100>;tag=x")], Refused(&[481])),
];

#[test]
fn rules_hold_for_messages_of_our_own() {
    for (rule, message, edits, verdict) in OURS {
        let mut text = (*message).to_owned();
        for (old, new) in *edits {
            assert!(text.contains(old), "{rule}: {old:?}");
            text = text.replace(old, new);
        }
        judge(rule, &text.replace('\n', "\r\n").into(), *verdict);
    }
}

#[test]
fn what_follows_a_contact_belongs_to_it_or_to_its_address_by_the_brackets() {
    for (contact, stored) in [
        ("sip:a@203.0.113.9;odd", "sip:a@203.0.113.9"),
        ("<sip:a@203.0.113.9;odd>", "sip:a@203.0.113.9;odd"),
    ] {
        let text = REGISTER.replace("<sip:user@203.0.113.9>", contact);
        let mut world = World::new(1);
        world.inject(SENDER.into(), text.replace('\n', "\r\n").into());
        world.run_for(SECOND);
        let records = world.role.snapshot().streamers;
        assert_eq!(records[0].binding.contact, stored);
    }
}
