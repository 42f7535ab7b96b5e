//! What outlives a restart of the server.

use sip::{Method, StatusCode};

use super::super::world::{FRONT, Mood, STREAMER, World};
use super::{SECOND, last_status, listed, ready, talking};
use crate::store::SessionState;

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
fn a_streamer_that_does_not_return_is_listed_as_offline_five_seconds_later() {
    let mut world = World::new(1);
    let body = r#"{"name":"test","title":{"":"Test"},"viewers":3}"#;
    world.register_with(STREAMER, "test", &[("Expires", "60")], body);
    world.agents[STREAMER].mood = Mood::Dead;
    world.restart();
    world.run_for(4 * SECOND);
    assert_eq!(listed(&mut world)["state"], "live");
    world.run_for(SECOND);
    let entry = listed(&mut world);
    assert_eq!(
        (&entry["state"], &entry["viewers"]),
        (&"offline".into(), &0.into())
    );
    assert_eq!(entry["title"][""], "Test");
    world.agents[STREAMER].mood = Mood::Accept;
    world.register_with(STREAMER, "test", &[("Expires", "60")], body);
    let entry = listed(&mut world);
    assert_eq!(
        (&entry["state"], &entry["viewers"]),
        (&"live".into(), &3.into())
    );
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
fn a_call_that_is_named_before_its_answer_comes_is_answered_all_the_same() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Hold;
    let (_, call_id) = world.call("test");
    world.run_for(SECOND);
    world.restart();
    let body = format!(r#"{{"name":"test","calls":["{call_id}"]}}"#);
    world.register_with(STREAMER, "test", &[("Expires", "60")], &body);
    let (id, invite) = world.agents[STREAMER].held.pop().unwrap();
    let now = world.now;
    world.agents[STREAMER].accept(now, id, &invite);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
    assert_eq!(world.agents[STREAMER].acks, 1);
    world.hang_up(STREAMER, &call_id);
    world.run_for(SECOND);
    assert!(world.agents[FRONT].calls.is_empty());
    world.assert_nothing_left();
}
