//! Agents that have only TCP.

use std::net::SocketAddr;

use sip::driver::Role;

use super::*;

/// A world whose streamer is reached by the stream that it has opened.
fn over_tcp(agent: usize) -> (World, SocketAddr) {
    let mut world = World::new(1);
    let stream = SocketAddr::from(([192, 0, 2, 1], 55_555));
    world.agents[agent].stream = Some(stream);
    world.register(STREAMER, "test", &[("Expires", "60")]);
    (world, stream)
}

/// The values of Record-Route in the last INVITE that came to the streamer, topmost first.
fn recorded(world: &World) -> Vec<&str> {
    let mut invites = world.agents[STREAMER].requests.iter().rev();
    let invite = invites.find(|request| request.method == Method::Invite);
    invite.unwrap().headers.values(Name::RecordRoute).collect()
}

const UDP: &str = "<sip:192.0.2.100:5060;lr>";
const TCP: &str = "<sip:192.0.2.100:5060;transport=tcp;lr>";

#[test]
fn a_streamer_with_nothing_but_a_stream_is_called_over_it() {
    for hangs_up in [FRONT, STREAMER] {
        let (mut world, stream) = over_tcp(STREAMER);
        let (_, call_id) = world.call("test");
        world.run_until(|world| world.agents[STREAMER].acks == 1);
        assert_eq!(recorded(&world), [TCP, UDP]);
        world.hang_up(hangs_up, &call_id);
        world.run_until(|world| world.agents[hangs_up].answers.len() > 1 - hangs_up);
        assert_eq!(last_status(&world, hangs_up), StatusCode::OK);
        let (front, elsewhere) = (world.agents[FRONT].address, world.agents[STREAMER].address);
        for sent in &world.sent {
            assert_ne!(sent.to, elsewhere, "{}", sent.line);
            let text = String::from_utf8_lossy(&sent.payload);
            let via = text.lines().nth(1).unwrap();
            let own = via.contains("192.0.2.100");
            let transport = match sent.to == stream {
                true => "SIP/2.0/TCP",
                false => "SIP/2.0/UDP",
            };
            assert!(!own || via.contains(transport), "{via}");
            assert!(sent.to == stream || sent.to == front);
        }
        world.register(STREAMER, "test", &[("Expires", "0")]);
        world.assert_nothing_left();
    }
}

#[test]
fn a_caller_with_nothing_but_a_stream_is_hung_up_over_it() {
    let (mut world, stream) = over_tcp(FRONT);
    let (_, call_id) = world.call("test");
    world.run_until(|world| world.agents[STREAMER].acks == 1);
    assert_eq!(recorded(&world), [UDP, TCP]);
    world.hang_up(STREAMER, &call_id);
    world.run_until(|world| world.agents[STREAMER].answers.len() == 1);
    assert_eq!(last_status(&world, STREAMER), StatusCode::OK);
    let bye = world.sent.iter().find(|sent| sent.line.starts_with("BYE"));
    assert_eq!(bye.unwrap().to, stream);
}

#[test]
fn a_streamer_whose_stream_has_ended_is_offline_at_once_and_another_is_called() {
    let (mut world, stream) = over_tcp(STREAMER);
    world.agents[STREAMER].stream = Some(([192, 0, 2, 1], 55_556).into());
    let begin = world.now;
    world.call("test");
    world.run_until(|world| !world.agents[FRONT].answers.is_empty());
    assert_eq!(
        last_status(&world, FRONT),
        StatusCode::TEMPORARILY_UNAVAILABLE
    );
    assert!(world.now - begin < SECOND / 2);
    assert_eq!(listed(&mut world)["state"], "offline");

    let other = world.join();
    world.register(other, "test", &[("Expires", "60")]);
    assert_eq!(listed(&mut world)["state"], "live");
    for calls in [1, 2] {
        world.call("test");
        world.run_until(|world| world.agents[other].acks == calls);
        assert_eq!(last_status(&world, FRONT), StatusCode::ACCEPTED);
    }
    // It was looked for at its stream, then at its address, and never again.
    let address = world.agents[STREAMER].address;
    let tried = |to: SocketAddr| {
        let invites = world.sent.iter();
        let invites = invites.filter(|sent| sent.to == to && sent.line.starts_with("INVITE"));
        invites.count()
    };
    assert_eq!((tried(stream), tried(address)), (1, 1));
}

#[test]
fn a_streamer_that_is_nowhere_but_at_its_stream_leaves_with_it() {
    let mut world = World::new(1);
    // Its Contact is the end of its stream.
    let address = world.agents[STREAMER].address;
    world.agents[STREAMER].stream = Some(address);
    world.register(STREAMER, "test", &[("Expires", "60")]);
    assert_eq!(listed(&mut world)["state"], "live");
    let now = world.now;
    world.endpoint.handle_stream_end(now, address);
    world.role.handle_stream_end(now, address);
    assert_eq!(listed(&mut world)["state"], "offline");
    world.register(STREAMER, "test", &[("Expires", "60")]);
    assert_eq!(listed(&mut world)["state"], "live");
}

#[test]
fn an_agent_whose_stream_has_ended_is_reached_at_its_address_if_it_listens() {
    for silent in [STREAMER, FRONT] {
        let (mut world, _) = over_tcp(silent);
        if silent == STREAMER {
            world.agents[STREAMER].stream = Some(([192, 0, 2, 1], 55_556).into());
        }
        world.agents[silent].listens = true;
        let (_, call_id) = world.call("test");
        world.run_until(|world| world.agents[STREAMER].acks == 1);
        world.agents[silent].stream = Some(([192, 0, 2, 1], 55_557).into());
        let other = FRONT + STREAMER - silent;
        world.agents[other].answers.clear();
        world.hang_up(other, &call_id);
        world.run_until(|world| !world.agents[other].answers.is_empty());
        assert_eq!(last_status(&world, other), StatusCode::OK);
        let address = world.agents[silent].address;
        let bye = world.sent.iter().rfind(|sent| sent.line.starts_with("BYE"));
        assert_eq!(bye.unwrap().to, address);
        assert_eq!(world.agents[silent].failures, 0);
    }
}

#[test]
fn a_stream_survives_a_restart_in_name_only() {
    let (mut world, _) = over_tcp(STREAMER);
    let before = world.role.snapshot();
    let text = before.streamers[0].address.to_string();
    assert!(text.ends_with(";transport=tcp"), "{text}");
    world.restart();
    assert_eq!(world.role.snapshot(), before);
}
