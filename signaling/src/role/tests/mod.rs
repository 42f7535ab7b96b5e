//! The server between a front and streamers, on a virtual clock.

mod calls;
mod doors;
mod restart;
mod streamers;

use std::time::Duration;

use sip::StatusCode;

use super::world::{STREAMER, World};

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
