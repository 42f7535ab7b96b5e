use super::*;

#[test]
fn streams_register_with_their_description_and_refresh_before_half_the_lease() {
    let mut link = Link::new();
    let (id, register) = link.request();
    assert_eq!(register.method, Method::Register);
    assert_eq!(register.headers.get(Name::Expires), Some("60"));
    let contact = register.contact().unwrap();
    assert_eq!(
        contact.params.get("+sip.instance"),
        Some("\"<urn:uuid:1>\"")
    );
    let info: serde_json::Value = serde_json::from_slice(&register.body).unwrap();
    assert_eq!(info["name"], "test");
    assert_eq!(info.get("calls"), None);
    link.answer((id, register), StatusCode::OK);
    link.wait(23);
    assert!(link.far_event().is_none());
    link.wait(2);
    let (_, refresh) = link.request();
    assert_eq!(refresh.cseq().number, 2);
}

#[test]
fn a_restarted_server_gets_a_register_that_names_the_calls() {
    let mut link = Link::new();
    let (id, register) = link.request();
    link.answer((id, register.clone()), StatusCode::OK);
    let dialog = link.call();
    link.wait(2);
    while let Some(event) = link.far_event() {
        if let Event::Request { id, request, .. } = event {
            link.answer((id, request), StatusCode::OK);
        }
    }
    let forbidden = Response::to_request(&register, StatusCode::FORBIDDEN);
    link.far.send_response(address(1), forbidden.clone());
    let (id, again) = link.request();
    let info: serde_json::Value = serde_json::from_slice(&again.body).unwrap();
    assert_eq!(info["calls"], serde_json::json!([dialog.call_id()]));
    link.answer((id, again), StatusCode::OK);
    link.far.send_response(address(1), forbidden);
    assert!(link.far_event().is_none(), "at most once per five seconds");
}

#[test]
fn an_absurd_lease_is_no_reason_to_fall_over() {
    let mut link = Link::new();
    let (id, register) = link.request();
    let mut granted = Response::to_request(&register, StatusCode::OK);
    granted.headers.push(Name::Expires, &u64::MAX.to_string());
    link.far.respond(link.now, id, granted);
    link.settle();
    assert!(link.agent.poll_timeout().is_some());
}

#[test]
fn a_server_that_refuses_every_lease_is_not_asked_at_once_again() {
    let mut link = Link::new();
    let (id, register) = link.request();
    let mut brief = Response::to_request(&register, StatusCode::INTERVAL_TOO_BRIEF);
    brief.headers.push(Name::MinExpires, "60");
    link.far.respond(link.now, id, brief);
    assert!(link.far_event().is_none());
    link.wait(2);
    assert_eq!(link.request().1.cseq().number, 2);
}

#[test]
fn a_stream_is_withdrawn_after_the_answer_to_the_register_on_its_way() {
    let mut link = Link::new();
    let register = link.request();
    link.agent.handle_shutdown(link.now, &mut link.near);
    assert!(link.far_event().is_none());
    assert!(!link.agent.is_drained());
    link.answer(register, StatusCode::OK);
    let (id, withdrawal) = link.request();
    assert_eq!(withdrawal.headers.get(Name::Expires), Some("0"));
    link.answer((id, withdrawal), StatusCode::OK);
    assert!(link.agent.is_drained());
}

#[test]
fn many_calls_are_named_in_several_registers() {
    let mut link = Link::new();
    let (id, register) = link.request();
    link.answer((id, register.clone()), StatusCode::OK);
    for _ in 0..700 {
        let invite = link.invite("test");
        link.send(invite);
    }
    let forbidden = Response::to_request(&register, StatusCode::FORBIDDEN);
    link.far.send_response(address(1), forbidden);
    let mut named = Vec::new();
    while let Some(Event::Request { id, request, .. }) = link.far_event() {
        assert!(request.body.len() < 16 * 1024);
        let info: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let calls = info["calls"].as_array().unwrap();
        named.extend(calls.iter().map(|call| call.as_str().unwrap().to_owned()));
        link.answer((id, request), StatusCode::OK);
    }
    named.sort();
    named.dedup();
    assert_eq!(named.len(), 700);
}

#[test]
fn a_stream_that_is_gone_is_withdrawn_and_registers_when_it_returns() {
    let mut link = Link::registered();
    let news = |link: &mut Link, gone: bool| {
        *link.media.1.lock().unwrap() = gone;
        let stream = "test".to_owned();
        link.event(MediaEvent::Changed { stream });
        link.request()
    };
    let withdrawal = news(&mut link, true);
    assert_eq!(withdrawal.1.headers.get(Name::Expires), Some("0"));
    let (call_id, cseq) = (
        withdrawal.1.call_id().to_owned(),
        withdrawal.1.cseq().number,
    );
    link.answer(withdrawal, StatusCode::OK);
    link.wait(100);
    assert!(link.far_event().is_none());
    let register = news(&mut link, false);
    assert_eq!(register.1.headers.get(Name::Expires), Some("60"));
    assert_eq!(register.1.call_id(), call_id);
    assert!(register.1.cseq().number > cseq);
    link.answer(register, StatusCode::OK);
}
