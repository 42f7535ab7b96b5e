//! The transaction machines against a bad network, under a virtual clock.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

mod net;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use net::{CALLEE, CALLER, Net, Random, address};
use sip::endpoint::{Config, Endpoint};
use sip::timer::{T1, TRANSACTION_LIMIT};
use sip::{Dialog, Event, Failure, Method, Name, NameAddr, Response, StatusCode, Uri};

fn accepted(net: &mut Net, request: &sip::Request) -> Response {
    let mut answer = Response::to_request(request, StatusCode::ACCEPTED);
    answer.set_to_tag(&net.ends[CALLEE].generate_tag());
    let contact = NameAddr::new(Uri::at(Some("test"), address(CALLEE)));
    answer.headers.push(Name::Contact, &contact.to_string());
    answer
}

#[test]
fn every_request_is_answered_once_at_30_percent_loss() {
    let mut net = Net::new(1, 30);
    let mut asked = Vec::new();
    for _ in 0..500 {
        let request = net.request(Method::Options);
        let now = net.now;
        asked.push(net.ends[CALLER].request(now, address(CALLEE), request));
    }
    let mut seen = HashMap::new();
    let mut answered = HashMap::new();
    net.run(|net, _, event| match event {
        Event::Request { id, request, .. } => {
            *seen.entry(request.call_id().to_owned()).or_insert(0) += 1;
            let now = net.now;
            let answer = Response::to_request(&request, StatusCode::OK);
            net.ends[CALLEE].respond(now, id, answer);
        }
        Event::Response { id, response, .. } => {
            assert_eq!(response.status, StatusCode::OK);
            assert_eq!(response.top_via(), None);
            *answered.entry(id).or_insert(0) += 1;
        }
        other => panic!("{other:?}"),
    });
    assert!(seen.len() == 500 && seen.values().all(|&times| times == 1));
    assert!(asked.iter().all(|id| answered[id] == 1));
    net.assert_empty();
}

#[test]
fn a_dead_network_fails_every_kind_of_request_after_32_seconds() {
    for method in [Method::Register, Method::Invite, Method::Bye] {
        let mut net = Net::new(2, 100);
        let request = net.request(method);
        let now = net.now;
        let id = net.ends[CALLER].request(now, address(CALLEE), request);
        let mut failed = 0;
        net.run(|net, _, event| match event {
            Event::Failed { id: of, failure } => {
                assert_eq!((of, failure), (id, Failure::Timeout));
                assert_eq!(net.elapsed(), TRANSACTION_LIMIT);
                failed += 1;
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(failed, 1);
        net.assert_empty();
    }
}

#[test]
fn an_invite_is_sent_seven_times_at_doubling_intervals() {
    let mut net = Net::new(3, 100);
    let request = net.request(Method::Invite);
    let now = net.now;
    net.ends[CALLER].request(now, address(CALLEE), request);
    net.run(|_, _, _| {});
    assert_eq!(net.count("INVITE"), 7);
}

/// Runs calls with answer, ACK and BYE; returns how many were set up.
fn calls(seed: u64, loss: u64, count: usize) -> usize {
    let mut net = Net::new(seed, loss);
    for _ in 0..count {
        let invite = net.request(Method::Invite);
        let now = net.now;
        net.ends[CALLER].request(now, address(CALLEE), invite);
    }
    let mut dialogs: HashMap<String, Dialog> = HashMap::new();
    let mut callee_calls: HashMap<String, Dialog> = HashMap::new();
    let mut set_up = 0;
    net.run(|net, _, event| {
        let now = net.now;
        match event {
            Event::Request { id, request, .. } if request.method == Method::Invite => {
                let answer = accepted(net, &request);
                let tag = answer.to().tag().unwrap().to_owned();
                let dialog = Dialog::uas(&request, &tag);
                let twice = callee_calls.insert(request.call_id().to_owned(), dialog);
                assert!(twice.is_none(), "one call was offered twice");
                net.ends[CALLEE].accept(now, id, answer);
            }
            Event::Request { id, request, .. } => {
                let status = match callee_calls.get_mut(request.call_id()) {
                    Some(dialog) => dialog.accepts(&request).err().unwrap_or(StatusCode::OK),
                    None => StatusCode::CALL_DOES_NOT_EXIST,
                };
                assert_eq!(status, StatusCode::OK);
                callee_calls.remove(request.call_id());
                let answer = Response::to_request(&request, status);
                net.ends[CALLEE].respond(now, id, answer);
            }
            Event::Response { id, response, .. } if response.cseq().method == Method::Invite => {
                if response.status.is_provisional() {
                    return;
                }
                if !dialogs.contains_key(response.call_id()) {
                    let invite = net.ends[CALLER].client_request(id).unwrap();
                    let dialog = Dialog::uac(invite, &response);
                    dialogs.insert(response.call_id().to_owned(), dialog);
                    set_up += 1;
                }
                let ack = dialogs[response.call_id()].ack();
                net.ends[CALLER].send_request(address(CALLEE), ack);
            }
            // The first ACK is the callee's sign that the call stands; the caller hangs up.
            Event::Ack { request, .. } if callee_calls.contains_key(request.call_id()) => {
                if let Some(mut dialog) = dialogs.get(request.call_id()).cloned() {
                    let bye = dialog.request(Method::Bye);
                    net.ends[CALLER].request(now, address(CALLEE), bye);
                }
            }
            _ => {}
        }
    });
    net.assert_empty();
    set_up
}

#[test]
fn calls_are_set_up_over_a_lossy_network() {
    assert_eq!(calls(4, 0, 20), 20);
    assert_eq!(calls(5, 10, 200), 200);
    assert!(calls(6, 30, 200) >= 198);
}

#[test]
fn a_2xx_is_sent_until_its_ack_comes_and_then_no_more() {
    let mut net = Net::new(7, 0);
    let mut acks = 0;
    net.eats = Box::new(move |line| {
        acks += usize::from(line.starts_with("ACK"));
        line.starts_with("ACK") && acks <= 2
    });
    let invite = net.request(Method::Invite);
    let now = net.now;
    net.ends[CALLER].request(now, address(CALLEE), invite);
    let mut acknowledged = 0;
    net.run(|net, _, event| {
        let now = net.now;
        match event {
            Event::Request { id, request, .. } => {
                let answer = accepted(net, &request);
                net.ends[CALLEE].accept(now, id, answer);
            }
            Event::Response { id, response, .. } if response.status.is_success() => {
                let invite = net.ends[CALLER].client_request(id).unwrap();
                let ack = Dialog::uac(invite, &response).ack();
                net.ends[CALLER].send_request(address(CALLEE), ack);
            }
            Event::Ack { .. } => acknowledged += 1,
            Event::Unacknowledged { .. } => panic!("it was acknowledged"),
            _ => {}
        }
    });
    assert_eq!(acknowledged, 1);
    assert_eq!(net.count("1 SIP/2.0 202"), 3);
    net.assert_empty();
}

#[test]
fn a_2xx_never_acknowledged_is_reported_after_32_seconds() {
    let mut net = Net::new(8, 0);
    net.eats = Box::new(|line| line.starts_with("ACK"));
    let invite = net.request(Method::Invite);
    let now = net.now;
    net.ends[CALLER].request(now, address(CALLEE), invite);
    let mut reported = 0;
    net.run(|net, end, event| {
        let now = net.now;
        match event {
            Event::Request { id, request, .. } => {
                let answer = accepted(net, &request);
                net.ends[CALLEE].accept(now, id, answer);
            }
            Event::Unacknowledged { .. } => {
                assert_eq!(end, CALLEE);
                reported += 1;
            }
            _ => {}
        }
    });
    assert_eq!(reported, 1);
    net.assert_empty();
}

#[test]
fn a_refusal_is_delivered_once_and_acknowledged_inside_the_transaction() {
    for seed in 0..20 {
        let mut net = Net::new(100 + seed, 30);
        let invite = net.request(Method::Invite);
        let now = net.now;
        net.ends[CALLER].request(now, address(CALLEE), invite);
        let mut finals = 0;
        net.run(|net, _, event| {
            let now = net.now;
            match event {
                Event::Request { id, request, .. } => {
                    let answer = Response::to_request(&request, StatusCode::BUSY_HERE);
                    net.ends[CALLEE].respond(now, id, answer);
                }
                Event::Response { response, .. } if !response.status.is_provisional() => {
                    finals += 1;
                }
                Event::Ack { .. } => panic!("the ACK of a refusal concerns no role"),
                _ => {}
            }
        });
        assert_eq!(finals, 1);
        net.assert_empty();
    }
}

#[test]
fn a_cancel_waits_for_a_provisional_answer() {
    let mut net = Net::new(9, 0);
    let mut trying = 0;
    net.eats = Box::new(move |line| {
        trying += usize::from(line.contains("100"));
        line.contains("100") && trying == 1
    });
    let invite = net.request(Method::Invite);
    let now = net.now;
    let id = net.ends[CALLER].request(now, address(CALLEE), invite);
    net.ends[CALLER].cancel(now, id);
    let mut last = None;
    net.run(|net, end, event| {
        let now = net.now;
        match event {
            Event::Cancel { invite, .. } => {
                assert!(net.elapsed() >= T1, "it was held until the second 100");
                let request = net.ends[end].server_request(invite).unwrap();
                let answer = Response::to_request(request, StatusCode::REQUEST_TERMINATED);
                net.ends[end].respond(now, invite, answer);
            }
            Event::Response { response, .. } => last = Some(response.status),
            _ => {}
        }
    });
    assert_eq!(last, Some(StatusCode::REQUEST_TERMINATED));
    assert_eq!(net.count("0 CANCEL"), 1);
    net.assert_empty();
}

#[test]
fn a_cancel_that_crosses_the_answer_leaves_the_answer_standing() {
    let mut net = Net::new(10, 0);
    let invite = net.request(Method::Invite);
    let now = net.now;
    let call = net.ends[CALLER].request(now, address(CALLEE), invite);
    let mut answers = 0;
    net.run(|net, end, event| {
        let now = net.now;
        match event {
            Event::Request { id, request, .. } => {
                let answer = accepted(net, &request);
                net.ends[end].respond(now, id, answer);
                // The caller gives up at the very moment of the answer.
                net.ends[CALLER].cancel(now, call);
            }
            Event::Cancel { .. } => panic!("the call was accepted before"),
            Event::Response { response, .. } if response.status.is_success() => answers += 1,
            _ => {}
        }
    });
    assert_eq!(answers, 1);
    net.assert_empty();
}

#[test]
fn a_callee_that_only_says_trying_is_cancelled_when_the_caller_runs_out_of_patience() {
    let mut net = Net::new(11, 0);
    let invite = net.request(Method::Invite);
    let now = net.now;
    net.ends[CALLER].request(now, address(CALLEE), invite);
    let (mut failed, mut cancelled) = (0, 0);
    net.run(|net, end, event| {
        let now = net.now;
        match event {
            Event::Failed { .. } => {
                assert_eq!(net.elapsed(), TRANSACTION_LIMIT);
                failed += 1;
            }
            Event::Cancel { invite, .. } => {
                cancelled += 1;
                let request = net.ends[end].server_request(invite).unwrap();
                let answer = Response::to_request(request, StatusCode::REQUEST_TERMINATED);
                net.ends[end].respond(now, invite, answer);
            }
            Event::Response { response, .. } => assert!(response.status.is_provisional()),
            _ => {}
        }
    });
    assert_eq!((failed, cancelled), (1, 1));
    net.assert_empty();
}

#[test]
fn a_cancel_of_nothing_is_answered_481() {
    let mut net = Net::new(12, 0);
    let cancel = net.request(Method::Cancel);
    let now = net.now;
    net.ends[CALLER].request(now, address(CALLEE), cancel);
    let mut status = None;
    net.run(|_, _, event| match event {
        Event::Response { response, .. } => status = Some(response.status),
        other => panic!("{other:?}"),
    });
    assert_eq!(status, Some(StatusCode::CALL_DOES_NOT_EXIST));
    net.assert_empty();
}

#[test]
fn a_cancel_of_another_call_or_caller_ends_no_invite_whose_branch_it_has() {
    let mut net = Net::new(17, 0);
    let text = |method: &str, call: &str, tag: &str, number: u32| {
        Bytes::from(format!(
            "{method} sip:a@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:a@h>;tag={tag}\r\nTo: <sip:a@h>\r\nCall-ID: {call}\r\n\
             CSeq: {number} {method}\r\n\r\n"
        ))
    };
    let (now, end) = (net.now, &mut net.ends[CALLEE]);
    end.handle_datagram(now, address(CALLER), text("INVITE", "call", "caller", 1));
    assert!(matches!(end.poll_event(), Some(Event::Request { .. })));
    for (call, tag, number) in [
        ("other", "caller", 1),
        ("call", "other", 1),
        ("call", "caller", 2),
    ] {
        end.handle_datagram(now, address(CALLER), text("CANCEL", call, tag, number));
        assert!(end.poll_event().is_none(), "{call} {tag} {number}");
    }
    end.handle_datagram(now, address(CALLER), text("CANCEL", "call", "caller", 1));
    assert!(matches!(end.poll_event(), Some(Event::Cancel { .. })));
    net.run(|_, _, _| {});
    assert_eq!(
        (net.count("1 SIP/2.0 481"), net.count("1 SIP/2.0 200")),
        (3, 1)
    );
    net.assert_empty();
}

#[test]
fn an_answer_of_another_call_is_none_though_it_has_the_branch() {
    let mut net = Net::new(18, 0);
    let invite = net.request(Method::Invite);
    let (now, end) = (net.now, &mut net.ends[CALLER]);
    let id = end.request(now, address(CALLEE), invite);
    let sent = end.client_request(id).unwrap().clone();
    let right = Response::to_request(&sent, StatusCode::BUSY_HERE).to_bytes();
    let right = String::from_utf8(right.to_vec()).unwrap();
    let tag = sent.from().tag().unwrap().to_owned();
    for (own, another) in [
        (sent.call_id(), "another"),
        (&*tag, "another"),
        ("1 INVITE", "2 INVITE"),
    ] {
        let answer = Bytes::from(right.replace(own, another));
        end.handle_datagram(now, address(CALLEE), answer);
        assert!(
            matches!(end.poll_event(), Some(Event::Stray { .. })),
            "{own}"
        );
    }
    end.handle_datagram(now, address(CALLEE), Bytes::from(right));
    assert!(matches!(end.poll_event(), Some(Event::Response { .. })));
}

#[test]
fn beyond_the_cap_requests_are_refused_with_503() {
    let mut net = Net::new(13, 0);
    let mut random = Random(5);
    let config = Config {
        max_transactions: 10,
        ..Config::new(address(CALLEE))
    };
    net.ends[CALLEE] = Endpoint::new(config, move || random.next());
    for _ in 0..25 {
        let request = net.request(Method::Options);
        let now = net.now;
        net.ends[CALLER].request(now, address(CALLEE), request);
    }
    let mut refused = 0;
    net.run(|net, end, event| {
        let now = net.now;
        match event {
            Event::Request { id, request, .. } => {
                let answer = Response::to_request(&request, StatusCode::OK);
                net.ends[end].respond(now, id, answer);
            }
            Event::Response { response, .. } if response.status != StatusCode::OK => {
                assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(response.headers.get(Name::RetryAfter), Some("5"));
                refused += 1;
            }
            _ => {}
        }
    });
    assert_eq!(refused, 15);
    net.assert_empty();
}

#[test]
fn what_is_refused_is_answered_once_each_time_it_comes_and_leaves_nothing() {
    for method in [Method::Invite, Method::Options] {
        for seed in 0..20 {
            // The refusal gets lost at times, and the request comes again.
            let mut net = Net::new(300 + seed, 20);
            let request = net.request(method.clone());
            let now = net.now;
            net.ends[CALLER].request(now, address(CALLEE), request);
            let (mut came, mut tags) = (0, Vec::new());
            net.run(|net, _, event| match event {
                Event::Request { id, request, .. } => {
                    came += 1;
                    let answer = Response::to_request(&request, StatusCode::NOT_FOUND);
                    let now = net.now;
                    net.ends[CALLEE].refuse(now, id, answer);
                    assert_eq!(net.ends[CALLEE].transactions(), 0);
                }
                Event::Response { response, .. } => {
                    assert_eq!(response.status, StatusCode::NOT_FOUND);
                    tags.push(response.to().tag().unwrap().to_owned());
                }
                // The ACK of what is forgotten.
                Event::Ack { .. } => {}
                other => panic!("{other:?}"),
            });
            assert_eq!(net.count("100"), 0);
            assert_eq!(net.count("404"), came);
            assert_eq!(tags.len(), 1);
            net.assert_empty();
        }
    }
}

#[test]
fn an_answer_to_a_stranger_is_never_longer_than_the_request() {
    // How much shorter an answer is with a challenge of so many bytes, if it came.
    let refuse = |method: Method, challenge: usize| {
        let mut net = Net::new(7, 0);
        let mut random = Random(5);
        net.ends[CALLEE] = Endpoint::new(Config::new(address(CALLEE)), move || random.next())
            .with_trust(|_| false);
        let mut request = net.request(method);
        request.headers.push(Name::UserAgent, &"x".repeat(400));
        let now = net.now;
        net.ends[CALLER].request(now, address(CALLEE), request);
        let asked = net.ends[CALLER].poll_transmit().unwrap().payload;
        let end = &mut net.ends[CALLEE];
        end.handle_datagram(now, address(CALLER), asked.clone());
        let Some(Event::Request { id, request, .. }) = end.poll_event() else {
            panic!("no request");
        };
        let mut answer = Response::to_request(&request, StatusCode::UNAUTHORIZED);
        let value = "y".repeat(challenge);
        answer.headers.push(Name::WwwAuthenticate, &value);
        let said = end.refuse(now, id, answer);
        let sent = end.poll_transmit().map(|transmit| transmit.payload.len());
        assert_eq!(said, sent.is_some());
        assert_eq!(end.transactions(), 0);
        sent.map(|sent| asked.len() - sent)
    };
    for method in [Method::Invite, Method::Options] {
        let room = refuse(method.clone(), 1).unwrap();
        assert_eq!(refuse(method.clone(), 1 + room), Some(0));
        assert_eq!(refuse(method, 2 + room), None);
    }
}

#[test]
fn what_is_no_message_is_answered_400_or_ignored() {
    let mut net = Net::new(14, 0);
    let (now, end) = (net.now, &mut net.ends[CALLEE]);
    for ignored in ["", "\r\n\r\n", "\r\n", "hello"] {
        end.handle_datagram(now, address(CALLER), Bytes::from(ignored));
        assert_eq!(end.poll_transmit(), None, "{ignored:?}");
    }
    let bad = "OPTIONS sip:a@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
               From: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: x OPTIONS\r\n\r\n";
    end.handle_datagram(now, address(CALLER), Bytes::from(bad));
    let answer = end.poll_transmit().unwrap();
    assert!(answer.payload.starts_with(b"SIP/2.0 400 CSeq"));
    assert_eq!(end.malformed(), 2);
    // What the header of a request holds beside UTF-8, or beyond its limit, keeps nobody waiting.
    let good = bad.replace("x OPTIONS", "1 OPTIONS");
    let latin = [good.trim_end().as_bytes(), b"\r\nSubject: caf\xe9\r\n\r\n"].concat();
    let long = good.replace(
        "\r\n\r\n",
        &format!("\r\nSubject: {}\r\n\r\n", "x".repeat(20_000)),
    );
    for (message, status) in [(latin, "400 the header"), (long.into(), "513 the header")] {
        end.handle_datagram(now, address(CALLER), Bytes::from(message));
        let answer = end.poll_transmit().unwrap();
        let text = String::from_utf8_lossy(&answer.payload);
        assert!(text.starts_with(&format!("SIP/2.0 {status}")), "{text}");
        assert!(text.contains(";branch=z9hG4bK1\r\n"));
    }
    net.assert_empty();
}

#[test]
fn a_message_larger_than_a_datagram_fails_at_once() {
    let mut net = Net::new(15, 0);
    let mut invite = net.request(Method::Invite);
    invite.set_body("application/sdp", Bytes::from(vec![b'x'; 70_000]));
    let now = net.now;
    net.ends[CALLER].request(now, address(CALLEE), invite);
    let events = net.step().unwrap();
    let [(CALLER, Event::Failed { failure, .. })] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*failure, Failure::TooLarge);
    net.assert_empty();
}

#[test]
fn another_answer_after_the_final_one_is_none_of_the_request() {
    let mut net = Net::new(17, 0);
    let request = net.request(Method::Register);
    let now = net.now;
    net.ends[CALLER].request(now, address(CALLEE), request);
    let mut heard = Vec::new();
    net.run(|net, end, event| match event {
        Event::Request { id, request, .. } => {
            let now = net.now;
            for status in [StatusCode::OK, StatusCode::OK, StatusCode::FORBIDDEN] {
                let answer = Response::to_request(&request, status);
                if status == StatusCode::OK {
                    net.ends[end].respond(now, id, answer);
                } else {
                    // As a restarted server does that asks for a new registration.
                    net.ends[end].send_response(address(CALLER), answer);
                }
            }
        }
        Event::Response { response, .. } => heard.push(response.status),
        Event::Stray { response, .. } => {
            assert!(response.top_via().is_some());
            heard.push(response.status);
        }
        other => panic!("{other:?}"),
    });
    heard.sort();
    assert_eq!(heard, [StatusCode::OK, StatusCode::FORBIDDEN]);
    net.assert_empty();
}

#[test]
fn senders_older_than_rfc_3261_are_matched_by_their_fields() {
    let mut net = Net::new(16, 0);
    let text = "OPTIONS sip:a@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=old\r\n\
                From: <sip:a@h>\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
    let (now, end) = (net.now, &mut net.ends[CALLEE]);
    end.handle_datagram(now, address(CALLER), Bytes::from(text));
    end.handle_datagram(now, address(CALLER), Bytes::from(text));
    assert_eq!(end.transactions(), 1);
    assert!(matches!(end.poll_event(), Some(Event::Request { .. })));
    assert!(end.poll_event().is_none());
    net.run(|_, _, _| {});
    net.assert_empty();
}

#[test]
fn any_sequence_of_packets_and_clock_steps_leaves_nothing_behind() {
    for seed in 0..50 {
        let mut net = Net::new(1000 + seed, 20);
        let mut random = Random(seed);
        let mut seen: Vec<Bytes> = Vec::new();
        for _ in 0..100 {
            let now = net.now;
            match random.next() % 6 {
                0 => {
                    let request = net.request(Method::Invite);
                    seen.push(request.to_bytes());
                    let id = net.ends[CALLER].request(now, address(CALLEE), request);
                    if random.next() % 2 == 0 {
                        net.ends[CALLER].cancel(now, id);
                    }
                }
                1 => {
                    let request = net.request(Method::Bye);
                    net.ends[CALLER].request(now, address(CALLEE), request);
                }
                2 => net.now += Duration::from_millis(random.next() % 3000),
                3 => {
                    // Bytes seen before, one of them changed, from either side.
                    if let Some(data) = seen.get(random.next() as usize % seen.len().max(1)) {
                        let mut data = data.to_vec();
                        let at = random.next() as usize % data.len();
                        data[at] = random.next() as u8;
                        let end = random.next() as usize % 2;
                        net.ends[end].handle_datagram(now, address(1 - end), data.into());
                    }
                }
                _ => {
                    let events = net.step().unwrap_or_default();
                    for (end, event) in events {
                        react(&mut net, &mut random, end, event);
                    }
                }
            }
        }
        net.run(|net, end, event| react(net, &mut random, end, event));
        net.assert_empty();
    }
}

fn react(net: &mut Net, random: &mut Random, end: usize, event: Event) {
    let now = net.now;
    if let Event::Request { id, request, .. } = event {
        let status = [StatusCode::OK, StatusCode::BUSY_HERE, StatusCode::RINGING]
            [random.next() as usize % 3];
        let answer = Response::to_request(&request, status);
        match random.next() % 4 {
            // A role that forgets to answer leaks nothing either, except a pending INVITE.
            0 if request.method != Method::Invite => {}
            1 => net.ends[end].accept(now, id, answer),
            _ => net.ends[end].respond(now, id, answer),
        }
        if status.is_provisional() && request.method == Method::Invite {
            let last = Response::to_request(&request, StatusCode::REQUEST_TIMEOUT);
            net.ends[end].respond(now, id, last);
        }
    }
}

#[test]
fn a_request_that_the_role_never_answers_is_forgotten() {
    for method in [Method::Invite, Method::Options] {
        let mut net = Net::new(30, 0);
        let request = net.request(method);
        let now = net.now;
        net.ends[CALLER].request(now, address(CALLEE), request);
        net.run(|_, _, _| {});
        net.assert_empty();
    }
}

#[test]
fn requests_whose_branch_is_only_the_cookie_do_not_collide() {
    let mut net = Net::new(31, 0);
    let mut seen = 0;
    for _ in 0..2 {
        let mut request = net.request(Method::Options);
        let via = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK";
        request.headers.push_front(Name::Via, via);
        let now = net.now;
        net.ends[CALLEE].handle_datagram(now, address(CALLER), request.to_bytes());
        while let Some(event) = net.ends[CALLEE].poll_event() {
            assert!(matches!(event, Event::Request { .. }));
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}
