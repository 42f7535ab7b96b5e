//! Calls from INVITE to BYE, on good networks and bad.

use std::time::Duration;

use sip::driver::Role;
use sip::{Method, Name, Reason, Response, StatusCode, Uri};

use super::super::world::{FRONT, Mood, STREAMER, World, server_address};
use super::{SECOND, last_status, ready, talking};
use crate::store::SessionState;

#[test]
fn a_call_goes_through_and_ends_from_the_front() {
    let (mut world, call_id) = talking();
    let record = world.role.snapshot().sessions[0].clone();
    assert_eq!(record.state, SessionState::Established);
    assert_eq!(record.name, "Zoë Q");
    assert_eq!(record.call_id, call_id);
    assert_eq!(record.front, world.agents[FRONT].address.into());
    assert_eq!(record.streamer, world.agents[STREAMER].address.into());
    assert_eq!(record.offer, "v=0\r\na=offer\r\n");
    assert_eq!(record.answer, "v=0\r\na=answer\r\n");
    assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
    world.hang_up(FRONT, &call_id);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::OK);
    assert!(world.agents[STREAMER].calls.is_empty());
    assert_eq!(world.role.counts().sessions, 0);
    world.assert_nothing_left();
}

#[test]
fn a_call_ends_from_the_streamer_and_the_reason_arrives_word_for_word() {
    let (mut world, call_id) = talking();
    world.hang_up(STREAMER, &call_id);
    world.run_for(SECOND);
    let bye = world.agents[FRONT].requests.last().unwrap();
    let reason = Reason::parse(bye.headers.get(Name::Reason).unwrap()).unwrap();
    assert_eq!(reason, Reason::new(200, "bye"));
    assert_eq!(last_status(&world, STREAMER), StatusCode::OK);
    assert_eq!(world.role.counts().sessions, 0);
    world.assert_nothing_left();
}

#[test]
fn the_relay_records_itself_counts_hops_and_leaves_the_rest_alone() {
    let (world, _) = talking();
    let invite = &world.agents[STREAMER].requests[0];
    assert_eq!(invite.headers.get(Name::MaxForwards), Some("69"));
    assert_eq!(
        invite.headers.get(Name::RecordRoute),
        Some("<sip:192.0.2.100:5060;lr>")
    );
    assert_eq!(
        invite.uri,
        Uri::at(Some("test"), world.agents[STREAMER].address)
    );
    assert_eq!(invite.body, "v=0\r\na=offer\r\n");
    let ack = world
        .sent
        .iter()
        .find(|sent| sent.line.starts_with("ACK"))
        .unwrap();
    assert_eq!(ack.to, world.agents[STREAMER].address);
}

#[test]
fn calls_go_through_a_network_that_loses_a_third_each_way() {
    let mut accepted = 0;
    for seed in 1..=50 {
        let mut world = World::new(seed);
        world.loss = 30;
        world.register(STREAMER, "test", &[("Expires", "3600")]);
        let (_, call_id) = world.call("test");
        world.run_until(|world| {
            let front = &world.agents[FRONT];
            !front.answers.is_empty() || front.failures > 0
        });
        if world.agents[FRONT].calls.contains_key(&call_id) {
            world.run_for(40 * SECOND);
            accepted += 1;
            let invites = world.agents[STREAMER].requests.iter();
            let invites = invites
                .filter(|request| request.method == Method::Invite)
                .count();
            assert_eq!(invites, 1, "never a call twice");
            world.hang_up(FRONT, &call_id);
            world.run_for(40 * SECOND);
        }
        world.loss = 0;
        world.assert_nothing_left();
    }
    assert!(accepted >= 45, "{accepted} of 50");
}

#[test]
fn a_streamer_that_never_answers_is_408_within_its_time() {
    for mood in [Mood::Hold, Mood::Dead] {
        let mut world = ready();
        world.agents[STREAMER].mood = mood;
        world.call("test");
        if mood == Mood::Dead {
            let options = world.agents[FRONT].make(Method::Options, Some("test"));
            world.send(FRONT, options);
        }
        world.run_for(31 * SECOND);
        let answers = &world.agents[FRONT].answers;
        let timeouts = answers
            .iter()
            .filter(|it| it.status == StatusCode::REQUEST_TIMEOUT);
        assert_eq!(timeouts.count(), if mood == Mood::Dead { 2 } else { 1 });
        assert_eq!(world.agents[FRONT].failures, 0);
        assert_eq!(world.role.counts().sessions, 0);
        world.assert_nothing_left();
    }
}

#[test]
fn timer_c_a_call_that_rings_has_more_than_three_minutes_from_each_sign_of_life() {
    for answers in [true, false] {
        let mut world = ready();
        world.agents[STREAMER].mood = Mood::Hold;
        let (invite, _) = world.call("test");
        world.run_until(|world| !world.agents[STREAMER].held.is_empty());
        for _ in 0..2 {
            let now = world.now;
            let streamer = &mut world.agents[STREAMER];
            let (id, request) = streamer.held[0].clone();
            let ringing = StatusCode::new(180).unwrap();
            let ringing = Response::to_request(&request, ringing);
            streamer.endpoint.respond(now, id, ringing);
            world.run_for(SECOND);
            // Our caller is as patient as people are.
            let now = world.now;
            let front = &mut world.agents[FRONT].endpoint;
            front.keep_ringing(now, invite, 1000 * SECOND);
            world.run_for(180 * SECOND);
        }
        assert!(world.agents[FRONT].answers.is_empty());
        assert_eq!(world.role.counts().calls, 1);
        if answers {
            let now = world.now;
            let (id, request) = world.agents[STREAMER].held.remove(0);
            world.agents[STREAMER].accept(now, id, &request);
            world.run_until(|world| world.agents[STREAMER].acks == 1);
            assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
            continue;
        }
        world.run_for(20 * SECOND);
        assert_eq!(last_status(&world, FRONT), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(world.count("CANCEL"), 1);
        assert_eq!(world.role.counts().sessions, 0);
        world.assert_nothing_left();
    }
}

#[test]
fn refusals_come_back_as_they_are() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Refuse(StatusCode::NOT_ACCEPTABLE_HERE);
    world.call("test");
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::NOT_ACCEPTABLE_HERE);
    assert_eq!(world.role.counts().sessions, 0);
    world.assert_nothing_left();
}

#[test]
fn a_streamer_that_answers_in_the_name_of_another_call_ends_neither() {
    let (mut world, first) = talking();
    world.agents[STREAMER].mood = Mood::Hold;
    let (_, second) = world.call("test");
    world.run_until(|world| !world.agents[STREAMER].held.is_empty());
    let (_, request) = &world.agents[STREAMER].held[0];
    let answer = Response::to_request(request, StatusCode::BUSY_HERE).to_bytes();
    let answer = String::from_utf8_lossy(&answer).replace(&second, &first);
    let streamer = world.agents[STREAMER].address;
    world.inject(streamer, answer.into());
    world.run_for(SECOND);
    assert_eq!(world.role.counts().sessions, 2);
    world.hang_up(FRONT, &first);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::OK);
    world.assert_nothing_left();
}

#[test]
fn a_call_given_up_ends_on_both_sides() {
    // Before anything could arrive, before 100, after 100, and long after.
    for wait in [0, 1, 50, 3000] {
        let mut world = ready();
        world.agents[STREAMER].mood = Mood::Hold;
        let (invite, _) = world.call("test");
        world.run_for(Duration::from_millis(wait));
        let now = world.now;
        world.agents[FRONT].endpoint.cancel(now, invite);
        world.run_for(SECOND);
        assert_eq!(last_status(&world, FRONT), StatusCode::REQUEST_TERMINATED);
        world.run_for(40 * SECOND);
        assert!(world.agents[STREAMER].held.is_empty());
        assert_eq!(world.role.counts().sessions, 0);
        world.assert_nothing_left();
    }
}

#[test]
fn a_cancel_that_crosses_the_answer_leaves_nothing_behind() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.register(STREAMER, "test", &[("Expires", "60")]);
        let (invite, call_id) = world.call("test");
        // The whole exchange takes about ten milliseconds.
        world.run_for(Duration::from_micros(seed * 300));
        let now = world.now;
        world.agents[FRONT].endpoint.cancel(now, invite);
        world.run_for(2 * SECOND);
        // Either front got the 487, and the server hung up; or it got the 202 and hangs up.
        if world.agents[FRONT].calls.contains_key(&call_id) {
            world.hang_up(FRONT, &call_id);
            world.run_for(SECOND);
        } else {
            assert_eq!(last_status(&world, FRONT), StatusCode::REQUEST_TERMINATED);
        }
        world.run_for(40 * SECOND);
        assert!(world.agents[STREAMER].calls.is_empty(), "seed {seed}");
        assert_eq!(world.agents[STREAMER].failures, 0, "seed {seed}");
        assert_eq!(world.role.counts().sessions, 0);
        world.assert_nothing_left();
    }
}

#[test]
fn other_requests_pass_within_a_call_in_both_directions() {
    let (mut world, call_id) = talking();
    for (agent, other) in [(FRONT, STREAMER), (STREAMER, FRONT)] {
        let mut dialog = world.agents[agent].calls.remove(&call_id).unwrap();
        let info = dialog.request(Method::Info);
        world.agents[agent].calls.insert(call_id.clone(), dialog);
        world.send(agent, info);
        world.run_for(SECOND);
        assert_eq!(last_status(&world, agent), StatusCode::OK);
        let came = world.agents[other].requests.last().unwrap();
        assert_eq!(came.method, Method::Info);
        assert_eq!(came.headers.get(Name::Route), None);
    }
    assert_eq!(world.role.counts().sessions, 1);
}

#[test]
fn an_agent_that_ignores_record_route_is_understood() {
    let (mut world, call_id) = talking();
    let mut dialog = world.agents[FRONT].calls.remove(&call_id).unwrap();
    let mut bye = dialog.request(Method::Bye);
    bye.headers.remove(Name::Route);
    bye.uri = Uri::at(Some("test"), server_address());
    world.send(FRONT, bye);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::OK);
    let came = world.agents[STREAMER].requests.last().unwrap();
    assert_eq!(
        came.uri,
        Uri::at(Some("me"), world.agents[STREAMER].address)
    );
    world.assert_nothing_left();
}

#[test]
fn the_end_refuses_new_calls_and_waits_for_those_under_way() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Hold;
    let (_, first) = world.call("test");
    world.run_for(SECOND);
    world.role.handle_shutdown(world.now, &mut world.endpoint);
    assert!(!world.role.is_drained());
    world.call("test");
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::SERVICE_UNAVAILABLE);
    let answers = world.agents[FRONT].answers.len();
    world.run_for(2 * SECOND);
    let answer = &world.agents[FRONT].answers[answers];
    assert_eq!(
        (answer.call_id(), answer.status),
        (&*first, StatusCode::SERVICE_UNAVAILABLE)
    );
    assert!(answer.headers.get(Name::RetryAfter).is_some());
    assert!(world.role.is_drained());
    world.assert_nothing_left();
}

#[test]
fn proxies_on_either_side_stay_on_the_way() {
    let mut world = World::new(1);
    // Both proxies are played by agents that answer for whoever is behind them.
    let (near_front, near_streamer) = (world.join(), world.join());
    let at = |world: &World, agent: usize| format!("<sip:{};lr>", world.agents[agent].address);
    let path = at(&world, near_streamer);
    world.register(STREAMER, "test", &[("Path", &path), ("Expires", "60")]);
    let mut invite = world.agents[FRONT].make(Method::Invite, Some("test"));
    let recorded = at(&world, near_front);
    invite.headers.push(Name::RecordRoute, &recorded);
    let call_id = invite.call_id().to_owned();
    world.send(FRONT, invite);
    world.run_until(|world| world.agents[near_streamer].acks == 1);
    let invite = &world.agents[near_streamer].requests[0];
    assert_eq!(invite.headers.get(Name::Route), Some(path.as_str()));
    assert_eq!(
        invite.uri,
        Uri::at(Some("test"), world.agents[STREAMER].address)
    );
    world.hang_up(near_streamer, &call_id);
    world.run_for(SECOND);
    let bye = world.agents[near_front].requests.last().unwrap();
    assert_eq!(bye.method, Method::Bye);
    assert_eq!(bye.headers.get(Name::Route), Some(recorded.as_str()));
    assert_eq!(world.role.counts().sessions, 0);
}

#[test]
fn an_ack_lost_behind_the_relay_is_sent_again_for_each_repeated_answer() {
    let mut world = ready();
    world.eats = Some((STREAMER, "ACK"));
    world.call("test");
    world.run_until(|world| world.count("ACK") == 1);
    // From now on the front hears nothing more, and the relay answers for it.
    world.eats = Some((FRONT, "SIP/2.0 202"));
    world.run_for(2 * SECOND);
    assert!(world.agents[STREAMER].acks >= 1);
    world.eats = None;
    world.run_for(40 * SECOND);
    assert_eq!(world.role.counts().sessions, 1);
}

#[test]
fn a_second_answer_by_another_branch_is_hung_up_and_the_first_call_stays() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Hold;
    let (_, call_id) = world.call("test");
    world.run_for(SECOND);
    let (id, invite) = world.agents[STREAMER].held.pop().unwrap();
    let now = world.now;
    world.agents[STREAMER].accept(now, id, &invite);
    world.run_for(SECOND);
    // A proxy behind the relay had asked two: the other one accepts as well.
    let mut second = Response::to_request(&invite, StatusCode::ACCEPTED);
    second.set_to_tag("second");
    let contact = format!("<sip:second@{}>", world.agents[STREAMER].address);
    second.headers.push(Name::Contact, &contact);
    let address = server_address();
    world.agents[STREAMER]
        .endpoint
        .send_response(address, second);
    world.run_for(SECOND);
    assert_eq!(world.count("ACK sip:second@"), 1);
    assert_eq!(world.count("BYE sip:second@"), 1);
    assert_eq!(world.count("SIP/2.0 202"), 1, "the front hears of one");
    world.hang_up(FRONT, &call_id);
    world.run_for(SECOND);
    assert_eq!(world.count("BYE sip:me@"), 1);
    world.assert_nothing_left();
}

#[test]
fn hardly_an_accepted_call_goes_unacknowledged_at_30_percent_loss() {
    let mut unacknowledged = 0;
    for seed in 1..=100 {
        let mut world = World::new(seed);
        world.register(STREAMER, "test", &[("Expires", "3600")]);
        world.loss = 30;
        world.call("test");
        world.run_for(90 * SECOND);
        unacknowledged += world.agents[STREAMER].failures;
    }
    assert!(unacknowledged <= 1, "{unacknowledged} of 100");
}

#[test]
fn a_caller_that_gives_our_address_for_its_own_makes_no_loop() {
    let mut world = ready();
    let server = super::super::world::server_address();
    let mut invite = world.agents[FRONT].make(Method::Invite, Some("test"));
    invite
        .headers
        .set(sip::Name::Contact, &format!("<sip:x@{server}>"));
    invite.set_body("application/sdp", "v=0\r\na=offer\r\n".into());
    let call_id = invite.call_id().to_owned();
    world.send(FRONT, invite);
    world.run_for(SECOND);
    let ack = world.agents[STREAMER].calls[&call_id].clone().ack();
    let before = world.sent.len();
    world.agents[STREAMER].endpoint.send_request(server, ack);
    world.run_for(SECOND);
    let to_itself = world.sent[before..].iter().filter(|sent| sent.to == server);
    assert_eq!(to_itself.count(), 0);
}
