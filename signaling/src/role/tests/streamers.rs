//! Several streamers of a stream, and streamers that fall silent, return or leave.

use std::time::Duration;

use sip::StatusCode;

use super::super::world::{FRONT, Mood, STREAMER, World};
use super::{SECOND, last_status, listed, ready, register_instance, talking};

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
fn a_streamer_that_lets_a_call_wait_is_listed_as_offline_until_it_is_heard_of() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Dead;
    world.call("test");
    world.run_for(10 * SECOND);
    assert_eq!(listed(&mut world)["state"], "live");
    world.run_for(3 * SECOND);
    assert_eq!(listed(&mut world)["state"], "offline");
    // The INVITE is repeated once more.
    world.agents[STREAMER].mood = Mood::Accept;
    world.run_for(10 * SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
    assert_eq!(listed(&mut world)["state"], "live");
}

#[test]
fn a_stream_is_live_as_long_as_one_of_its_streamers_is() {
    let mut world = ready();
    world.agents[STREAMER].mood = Mood::Dead;
    let second = world.join();
    world.register(second, "test", &[("Expires", "60")]);
    world.call("test");
    world.run_for(20 * SECOND);
    assert_eq!(listed(&mut world)["state"], "live");
    world.agents[second].mood = Mood::Dead;
    world.call("test");
    world.run_for(20 * SECOND);
    assert_eq!(listed(&mut world)["state"], "offline");
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
        assert_eq!(session.streamer, world.agents[again].address.into());
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
fn a_streamer_started_again_behind_the_same_contact_is_known_by_its_call_id() {
    let mut world = World::new(1);
    register_instance(&mut world, STREAMER, "");
    let (_, call_id) = world.call("test");
    world.run_until(|world| world.agents[STREAMER].acks == 1);
    register_instance(&mut world, STREAMER, "");
    assert_eq!(world.role.counts().sessions, 1, "a refresh ends nothing");
    world.agents[STREAMER].calls.clear();
    world.agents[STREAMER].registration = "after-the-restart".to_owned();
    register_instance(&mut world, STREAMER, "");
    assert_eq!(world.role.counts().sessions, 0);
    world.hang_up(FRONT, &call_id);
    world.run_for(SECOND);
    assert_eq!(last_status(&world, FRONT), StatusCode::CALL_DOES_NOT_EXIST);
    world.assert_nothing_left();
}
