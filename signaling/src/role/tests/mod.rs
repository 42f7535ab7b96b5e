//! The server between a front and streamers, on a virtual clock.

mod calls;
mod doors;
mod restart;
mod streamers;
mod streams;
mod torture;
mod users;

use std::time::Duration;

use serde_json::Value;
use sip::{Method, Name, StatusCode};

use super::world::{FRONT, STREAMER, World};

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

/// The entry of the stream `test` in the directory, as the front is told it.
fn listed(world: &mut World) -> Value {
    let mut options = world.agents[FRONT].make(Method::Options, None);
    options.headers.push(Name::Accept, "application/json");
    let before = world.agents[FRONT].answers.len();
    world.send(FRONT, options);
    world.run_until(|world| world.agents[FRONT].answers.len() > before);
    let answer = world.agents[FRONT].answers.pop().unwrap();
    let page: Value = serde_json::from_slice(&answer.body).unwrap();
    page["streams"][0].clone()
}

/// Registers an agent with an instance, as our streamers do.
fn register_instance(world: &mut World, agent: usize, body: &str) {
    let contact = format!("<sip:test@{}>{INSTANCE}", world.agents[agent].address);
    let extra = [("Contact", contact.as_str()), ("Expires", "60")];
    let status = world.register_with(agent, "test", &extra, body).status;
    assert_eq!(status, StatusCode::OK);
}
