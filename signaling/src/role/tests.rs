use std::time::Duration;

use sip::driver::Role;
use sip::{Method, Name, Reason, StatusCode, Uri};

use super::world::{FRONT, Mood, STREAMER, World, server_address};
use crate::store::SessionState;

const SECOND: Duration = Duration::from_secs(1);
const INSTANCE: &str = ";+sip.instance=\"<urn:uuid:1>\"";

fn ready() -> World {
    let mut world = World::new(1);
    world.register(STREAMER, "test", &[("Expires", "60")]);
    world
}

/// A world in which a call stands.
fn talking() -> (World, String) {
    let mut world = ready();
    let (_, call_id) = world.call("test");
    world.run_until(|world| world.agents[STREAMER].acks == 1);
    (world, call_id)
}

fn last_status(world: &World, agent: usize) -> StatusCode {
    world.agents[agent].answers.last().unwrap().status
}

/// Registers an agent with an instance, as our streamers do.
fn register_instance(world: &mut World, agent: usize, body: &str) {
    let contact = format!("<sip:test@{}>{INSTANCE}", world.agents[agent].address);
    let extra = [("Contact", contact.as_str()), ("Expires", "60")];
    let status = world.register_with(agent, "test", &extra, body).status;
    assert_eq!(status, StatusCode::OK);
}

#[test]
fn a_call_goes_through_and_ends_from_the_front() {
    let (mut world, call_id) = talking();
    let record = world.role.snapshot().sessions[0].clone();
    assert_eq!(record.state, SessionState::Established);
    assert_eq!(record.name, "Zoë Q");
    assert_eq!(record.call_id, call_id);
    assert_eq!(record.front, world.agents[FRONT].address);
    assert_eq!(record.streamer, world.agents[STREAMER].address);
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
        .find(|(_, line)| line.starts_with("ACK"))
        .unwrap();
    assert_eq!(ack.0, world.agents[STREAMER].address);
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
fn a_silent_streamer_is_passed_over_after_two_seconds() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Dead;
    let second = world.join();
    world.register(second, "test", &[("Expires", "3600")]);
    let before = world.now;
    world.call("test");
    world.run_until(|world| !world.agents[FRONT].answers.is_empty());
    assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
    assert!(world.now - before < 2 * SECOND + SECOND / 10);
    // From now on the silent one goes last.
    let before = world.now;
    world.call("test");
    world.run_until(|world| world.agents[FRONT].answers.len() == 2);
    assert!(world.now - before < SECOND / 10);
    assert_eq!(world.agents[second].calls.len(), 2);
}

#[test]
fn the_late_answer_of_a_streamer_passed_over_is_hung_up() {
    let mut world = ready();
    let second = world.join();
    world.agents[second].mood = Mood::Hold;
    world.register(second, "test", &[("Expires", "3600")]);
    // The first one hears of the call only once it was passed over.
    world.agents[STREAMER].mood = Mood::Dead;
    world.call("test");
    world.run_for(Duration::from_millis(2500));
    world.agents[STREAMER].mood = Mood::Accept;
    world.run_for(10 * SECOND);
    assert!(
        world.agents[STREAMER].calls.is_empty(),
        "accepted, then hung up"
    );
    let methods: Vec<&str> = world.agents[STREAMER]
        .requests
        .iter()
        .map(|it| it.method.as_str())
        .collect();
    assert_eq!(methods, ["INVITE", "BYE"]);
    let (id, invite) = world.agents[second].held.pop().unwrap();
    let now = world.now;
    world.agents[second].accept(now, id, &invite);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
    assert_eq!(world.role.counts().sessions, 1);
}

#[test]
fn a_full_streamer_is_followed_by_the_next() {
    for status in [StatusCode::BUSY_HERE, StatusCode::SERVICE_UNAVAILABLE] {
        let mut world = ready();
        world.agents[STREAMER].mood = Mood::Refuse(status);
        let second = world.join();
        world.register(second, "test", &[("Expires", "60")]);
        let (_, call_id) = world.call("test");
        world.run_for(SECOND);
        assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
        assert!(world.agents[second].calls.contains_key(&call_id));
        world.agents[second].mood = Mood::Refuse(status);
        world.call("test");
        world.run_for(SECOND);
        assert_eq!(last_status(&world, FRONT), status);
        world.hang_up(FRONT, &call_id);
        world.run_for(SECOND);
        world.assert_nothing_left();
    }
}

#[test]
fn calls_go_to_the_streamer_with_fewer_viewers() {
    let mut world = World::new(1);
    let second = world.join();
    let body = |viewers: u32| format!(r#"{{"name":"test","viewers":{viewers}}}"#);
    world.register_with(STREAMER, "test", &[("Expires", "3600")], &body(3));
    world.register_with(second, "test", &[("Expires", "3600")], &body(1));
    for _ in 0..4 {
        world.call("test");
        world.run_for(SECOND);
    }
    // Two make both equal; then they take turns.
    assert_eq!(world.agents[second].calls.len(), 3);
    assert_eq!(world.agents[STREAMER].calls.len(), 1);
}

#[test]
fn a_call_moves_to_the_streamer_that_was_started_again() {
    for mood in [Mood::Dead, Mood::Hold] {
        let mut world = World::new(1);
        register_instance(&mut world, STREAMER, "");
        world.agents[STREAMER].mood = mood;
        world.call("test");
        world.run_for(SECOND);
        world.agents[STREAMER].mood = Mood::Dead;
        let again = world.join();
        register_instance(&mut world, again, "");
        world.run_for(SECOND / 10);
        assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
        assert_eq!(world.agents[again].calls.len(), 1);
        assert_eq!(world.role.counts().streamers, 1);
        let session = world.role.snapshot().sessions[0].clone();
        assert_eq!(session.streamer, world.agents[again].address);
    }
}

#[test]
fn the_calls_of_a_streamer_that_was_started_again_are_over() {
    let mut world = World::new(1);
    register_instance(&mut world, STREAMER, "");
    let (_, call_id) = world.call("test");
    world.run_until(|world| world.agents[STREAMER].acks == 1);
    world.agents[STREAMER].mood = Mood::Dead;
    let again = world.join();
    register_instance(&mut world, again, "");
    assert_eq!(world.role.counts().sessions, 0);
    world.hang_up(FRONT, &call_id);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::CALL_DOES_NOT_EXIST);
    world.assert_nothing_left();
}

#[test]
fn a_streamer_that_ends_can_still_hang_up_its_calls() {
    let (mut world, call_id) = talking();
    world.register(STREAMER, "test", &[("Contact", "*"), ("Expires", "0")]);
    assert_eq!(world.role.counts().streamers, 0);
    world.hang_up(STREAMER, &call_id);
    world.run_for(SECOND);
    assert!(world.agents[FRONT].calls.is_empty());
    assert_eq!(world.role.counts().sessions, 0);
    world.assert_nothing_left();
}

#[test]
fn sessions_leave_with_the_lease_of_their_streamer() {
    let (mut world, _) = talking();
    world.agents[STREAMER].mood = Mood::Dead;
    world.run_for(66 * SECOND);
    assert_eq!(world.role.counts().sessions, 0);
    world.assert_nothing_left();
}

#[test]
fn after_a_restart_streamers_are_asked_to_register_again() {
    let (mut world, call_id) = talking();
    // The streamer's transaction of its REGISTER is over, else it would take the 403 for a
    // repeated answer.
    world.run_for(10 * SECOND);
    world.restart();
    assert_eq!(world.role.snapshot().sessions[0].state, SessionState::Stale);
    world.run_for(SECOND / 10);
    let asked = world.agents[STREAMER].strays[0].clone();
    assert_eq!(asked.status, StatusCode::FORBIDDEN);
    assert_eq!(asked.call_id(), world.agents[STREAMER].registration);
    assert_eq!(asked.cseq().method, Method::Register);
    let body = format!(r#"{{"name":"test","calls":["{call_id}","unknown"]}}"#);
    world.register_with(STREAMER, "test", &[("Expires", "60")], &body);
    assert_eq!(
        world.role.snapshot().sessions[0].state,
        SessionState::Established
    );
    world.run_for(30 * SECOND);
    assert_eq!(
        world.agents[STREAMER].strays.len(),
        1,
        "asked once, for it registered"
    );
    world.hang_up(FRONT, &call_id);
    world.run_for(SECOND);
    assert!(world.agents[STREAMER].calls.is_empty());
    world.assert_nothing_left();
}

#[test]
fn a_refresh_that_names_no_calls_is_asked_for_them_again() {
    let (mut world, call_id) = talking();
    world.restart();
    world.register(STREAMER, "test", &[("Expires", "60")]);
    world.run_for(10 * SECOND);
    assert!(!world.agents[STREAMER].strays.is_empty());
    let body = format!(r#"{{"name":"test","calls":["{call_id}"]}}"#);
    world.register_with(STREAMER, "test", &[("Expires", "3600")], &body);
    let asked = world.count("403 Forbidden");
    world.run_for(70 * SECOND);
    assert_eq!(world.count("403 Forbidden"), asked);
    assert_eq!(world.role.counts().sessions, 1);
}

#[test]
fn a_streamer_that_does_not_return_is_asked_eight_times_and_expires() {
    let (mut world, _) = talking();
    world.agents[STREAMER].mood = Mood::Dead;
    world.restart();
    world.run_for(59 * SECOND);
    assert_eq!(world.count("403 Forbidden"), 8);
    assert_eq!(world.role.counts().streamers, 1);
    assert_eq!(world.role.counts().sessions, 1);
    world.run_for(7 * SECOND);
    assert_eq!(world.count("403 Forbidden"), 8);
    assert_eq!(world.role.counts().streamers, 0);
    assert_eq!(world.role.counts().sessions, 0);
    world.assert_nothing_left();
}

#[test]
fn demands_to_register_again_are_paced() {
    let mut world = World::new(1);
    for number in 0..100 {
        let name = format!("s{number}");
        world.agents[STREAMER].registration = format!("registration-{number}");
        world.register(STREAMER, &name, &[("Expires", "60")]);
    }
    world.restart();
    world.run_for(SECOND);
    let sent = world.count("403 Forbidden");
    assert!((45..=51).contains(&sent), "{sent} in the first second");
}

#[test]
fn stale_bindings_still_route() {
    let mut world = ready();
    world.restart();
    world.call("test");
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
}

#[test]
fn a_call_from_before_a_restart_is_hung_up_from_either_side() {
    for (agent, other) in [(FRONT, STREAMER), (STREAMER, FRONT)] {
        let (mut world, call_id) = talking();
        world.restart();
        world.run_for(SECOND);
        world.hang_up(agent, &call_id);
        world.run_for(SECOND);
        assert_eq!(last_status(&world, agent), StatusCode::OK);
        assert!(world.agents[other].calls.is_empty());
        assert_eq!(world.role.counts().sessions, 0);
        world.assert_nothing_left();
    }
}

#[test]
fn stale_sessions_leave_after_a_minute_unless_they_are_named() {
    let (mut world, _) = talking();
    world.restart();
    world.register(STREAMER, "test", &[("Expires", "3600")]);
    world.run_for(55 * SECOND);
    assert_eq!(world.role.counts().sessions, 1);
    world.run_for(6 * SECOND);
    assert_eq!(world.role.counts().sessions, 0);
}

#[test]
fn a_call_whose_answer_falls_into_a_restart_is_answered_all_the_same() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Hold;
    let (_, call_id) = world.call("test");
    world.run_for(SECOND);
    world.restart();
    let (id, invite) = world.agents[STREAMER].held.pop().unwrap();
    let now = world.now;
    world.agents[STREAMER].accept(now, id, &invite);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
    assert_eq!(world.agents[STREAMER].acks, 1);
    world.hang_up(FRONT, &call_id);
    world.run_for(SECOND);
    assert!(world.agents[STREAMER].calls.is_empty());
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
