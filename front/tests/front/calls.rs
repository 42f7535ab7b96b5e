//! Calls: WHEP, the JSON calls, and every way a call ends.

use std::time::{Duration, Instant};

use front::{Config, Limits};
use serde_json::{Value, json};
use sip::Name;
use tokio::io::AsyncReadExt;
use tokio::time;

use super::fake::{ANSWER, Command, Manner};
use super::{Front, LIMIT, OFFER};

const SDP: (&str, &str) = ("Content-Type", "application/sdp");

#[tokio::test]
async fn an_offer_becomes_a_call_and_its_answer_a_session_until_deleted() {
    let mut front = Front::start().await;
    let answer = front.offer("/whep/test?name=Ana%20G%C3%B3mez").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/sdp"));
    assert_eq!(answer.text(), ANSWER);
    let session = answer.header("location").unwrap().to_owned();
    let secret = session.strip_prefix("/whep/test/").unwrap();
    assert_eq!(secret.len(), 32);

    let invite = front.fake.heard("INVITE").await;
    assert_eq!(invite.from().display.as_deref(), Some("Ana Gómez"));
    assert_eq!(invite.body, OFFER);
    let ack = front.fake.heard("ACK").await;
    assert_eq!(ack.call_id(), invite.call_id());

    let alive = front.http.get(&session).await;
    assert_eq!(alive.status, 200);
    assert_eq!(alive.json()["state"], "established");
    assert_eq!(front.state().await["sessions"], 1);

    assert_eq!(
        front.http.send("DELETE", &session, &[], "").await.status,
        200
    );
    let bye = front.fake.heard("BYE").await;
    assert_eq!(bye.call_id(), invite.call_id());
    front.is_at_rest().await;
    assert_eq!(front.http.get(&session).await.status, 410);
    assert_eq!(
        front.http.send("DELETE", &session, &[], "").await.status,
        200
    );
}

#[tokio::test]
async fn candidates_that_come_later_become_info_within_the_call() {
    let mut front = Front::start().await;
    let answer = front.offer("/whep/test").await;
    let session = answer.header("location").unwrap().to_owned();
    let invite = front.fake.heard("INVITE").await;
    let kind = ("Content-Type", "application/trickle-ice-sdpfrag");
    let fragment = "a=ice-ufrag:abcd\r\na=candidate:1 1 UDP 1 192.0.2.1 9 typ host\r\n";
    for number in 2..4 {
        // Whatever a client takes for an ETag.
        let headers = [kind, ("If-Match", "\"generation\"")];
        let patch = front.http.send("PATCH", &session, &headers, fragment).await;
        assert_eq!((patch.status, patch.text().as_str()), (204, ""));
        let info = front.fake.heard("INFO").await;
        assert_eq!(info.call_id(), invite.call_id());
        assert_eq!(info.cseq().number, number);
        assert_eq!(info.headers.get(Name::InfoPackage), Some("trickle-ice"));
        assert_eq!(info.content_type().as_deref(), Some(kind.1));
        assert_eq!(info.body, fragment);
    }
    let large = "a".repeat(64 * 1024);
    let foreign = session.replace("/test/", "/other/");
    for (path, body, status) in [
        (session.as_str(), large.as_str(), 413),
        (foreign.as_str(), fragment, 404),
    ] {
        let patch = front.http.send("PATCH", path, &[kind], body).await;
        assert_eq!(patch.status, status);
    }
    front.http.send("DELETE", &session, &[], "").await;
    let late = front.http.send("PATCH", &session, &[kind], fragment).await;
    assert_eq!((late.status, late.problem().as_str()), (410, "ended"));
}

#[tokio::test]
async fn a_rung_is_chosen_within_the_call() {
    let mut front = Front::start().await;
    let session = front.session().await;
    let path = format!("{session}/rung");
    assert_eq!(front.http.get(&session).await.json()["rung"], "auto");
    let chosen = front.http.json(&path, &json!({"rung": "video_low"})).await;
    assert_eq!((chosen.status, chosen.text().as_str()), (204, ""));
    let info = front.fake.heard("INFO").await;
    assert_eq!(info.headers.get(Name::InfoPackage), None);
    assert_eq!(info.content_type().as_deref(), Some("application/json"));
    assert_eq!(info.body, "{\"rung\":\"video_low\"}");
    let seen = front.http.get(&session).await.json();
    assert_eq!(
        (&seen["rung"], &seen["rungs"]),
        (&json!("video_low"), &json!([]))
    );
    for (body, status) in [
        (json!({"rung": "no name"}), 400),
        (json!({"rung": 1}), 400),
        (json!({}), 400),
    ] {
        assert_eq!(front.http.json(&path, &body).await.status, status, "{body}");
    }
    assert_eq!(front.http.get(&path).await.status, 405);
    assert_eq!(front.fake.count("INFO"), 0);
}

#[tokio::test]
async fn a_session_is_found_only_by_its_secret_and_its_stream() {
    let mut front = Front::start().await;
    let session = front.session().await;
    let foreign = session.replace("/test/", "/other/");
    for path in [
        foreign.as_str(),
        "/whep/test/0123456789abcdef0123456789abcdef",
    ] {
        for method in ["GET", "DELETE"] {
            let answer = front.http.send(method, path, &[], "").await;
            assert_eq!(answer.status, 404);
            assert_eq!(answer.problem(), "no-such-session");
        }
    }
    assert_eq!(front.http.get(&session).await.status, 200);
}

#[tokio::test]
async fn the_streamers_bye_reaches_the_browser_word_for_word() {
    let mut front = Front::start().await;
    let session = front.session().await;
    let reason = "The \"camera\" was unplugged; até já";
    front.fake.tell(Command::HangUp(reason)).await;
    front.is_at_rest().await;
    let answer = front.http.get(&session).await;
    assert_eq!(answer.status, 410);
    assert_eq!(answer.problem(), "ended");
    assert_eq!(answer.json()["reason"], reason);
}

#[tokio::test]
async fn refusals_become_the_problems_of_the_design() {
    let front = Front::start().await;
    for (sip, http, code, retry) in [
        (404, 404, "no-such-stream", false),
        (480, 409, "streamer-away", true),
        (486, 503, "full", true),
        (503, 503, "busy", true),
        (488, 422, "not-acceptable", false),
        (403, 403, "forbidden", false),
        (408, 504, "no-answer", true),
        (500, 502, "refused", true),
    ] {
        front
            .fake
            .tell(Command::Manner(Manner::Refuse(sip, "because I say so")))
            .await;
        let answer = front.offer("/whep/test").await;
        assert_eq!(answer.status, http, "SIP {sip}");
        assert_eq!(answer.problem(), code);
        assert_eq!(answer.header("retry-after").is_some(), retry, "SIP {sip}");
        if let Some(reason) = answer.json().get("reason") {
            assert_eq!(reason, "because I say so");
        }
    }
    front.is_at_rest().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_its_call() {
    let mut front = Front::start().await;
    front.fake.tell(Command::Manner(Manner::Wait)).await;
    let client = front.http.begin("POST", "/whep/test", &[SDP], OFFER).await;
    let invite = front.fake.heard("INVITE").await;
    drop(client);
    let cancel = front.fake.heard("CANCEL").await;
    assert_eq!(cancel.call_id(), invite.call_id());
    front.is_at_rest().await;
}

#[tokio::test]
async fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut front = Front::start().await;
    front
        .fake
        .tell(Command::Manner(Manner::AcceptWhenCancelled))
        .await;
    let client = front.http.begin("POST", "/whep/test", &[SDP], OFFER).await;
    front.fake.heard("INVITE").await;
    drop(client);
    front.fake.heard("ACK").await;
    front.fake.heard("BYE").await;
    front.is_at_rest().await;
}

#[tokio::test]
async fn a_client_gone_in_the_moment_of_the_answer_leaves_no_session() {
    let front = Front::start().await;
    let start = Instant::now();
    let usual = front.offer("/whep/test").await;
    let usual_time = start.elapsed();
    let session = usual.header("location").unwrap().to_owned();
    front.http.send("DELETE", &session, &[], "").await;
    for round in 0..60 {
        let client = front.http.begin("POST", "/whep/test", &[SDP], OFFER).await;
        let leave = Instant::now() + usual_time * round / 40;
        while Instant::now() < leave {
            tokio::task::yield_now().await;
        }
        drop(client);
    }
    front.is_at_rest().await;
}

#[tokio::test]
async fn a_client_that_reads_its_answer_and_closes_keeps_its_session() {
    let limits = Limits {
        delivered: Duration::from_millis(250),
        ..Limits::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let mut front = Front::start_with(config).await;
    let session = front.session().await;
    // `session` has read to the end and closed; four times the time in which a reset would count.
    let watch = async {
        while front.http.get(&session).await.json()["seconds"] != 1 {
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    time::timeout(LIMIT, watch).await.expect("it lives");
}

#[tokio::test]
async fn the_json_calls_do_the_same_over_the_same_code() {
    let mut front = Front::start().await;
    let http = front.http;
    let call = async |path: &str, content: Value| {
        let body = json!({"name": "Ana", "content": content});
        let answer = http.json(path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.json()["name"], "Ana");
        answer.json()["content"].clone()
    };
    let token = call("/api/register", json!({})).await["token"].clone();
    let listed = call("/api/streamers", json!({"token": token})).await;
    assert_eq!(listed["streamers"][0]["name"], "test");
    let selected = call("/api/select", json!({"token": token, "stream": "test"})).await;
    assert_eq!(selected["stream"]["live"], true);
    let offer = json!({"token": token, "type": "offer", "sdp": OFFER});
    let answer = call("/api/offer", offer.clone()).await;
    assert_eq!(answer["type"], "answer");
    assert_eq!(answer["sdp"], ANSWER);
    let invite = front.fake.heard("INVITE").await;
    assert_eq!(invite.from().display.as_deref(), Some("Ana"));
    let session = format!("/whep/test/{}", answer["session"].as_str().unwrap());
    assert_eq!(http.get(&session).await.status, 200);

    // A second offer replaces the first call.
    call("/api/offer", offer).await;
    assert_eq!(front.fake.heard("BYE").await.call_id(), invite.call_id());
    assert_eq!(http.get(&session).await.status, 410);

    call("/api/bye", json!({"token": token})).await;
    front.fake.heard("BYE").await;
    front.is_at_rest().await;
    assert_eq!(front.state().await["users"], 1);
}

#[tokio::test]
async fn of_two_json_offers_at_once_one_call_stays() {
    let mut front = Front::start().await;
    let register = json!({"name": "Ana", "content": {}});
    let registered = front.http.json("/api/register", &register).await.json();
    let token = &registered["content"]["token"];
    let offer = json!({
        "name": "Ana",
        "content": {"token": token, "stream": "test", "sdp": OFFER},
    });
    let http = front.http;
    let (one, two) = tokio::join!(
        http.json("/api/offer", &offer),
        http.json("/api/offer", &offer)
    );
    assert_eq!((one.status, two.status), (200, 200));
    front.fake.heard("BYE").await;
    let bye = json!({"name": "Ana", "content": {"token": token}});
    assert_eq!(http.json("/api/bye", &bye).await.status, 200);
    front.is_at_rest().await;
}

#[tokio::test]
async fn the_json_calls_want_the_token_that_goes_with_the_name() {
    let front = Front::start().await;
    let register = json!({"name": "Ana", "content": {}});
    let registered = front.http.json("/api/register", &register).await.json();
    let token = &registered["content"]["token"];
    for (path, content) in [
        ("/api/streamers", json!({"token": "guess"})),
        ("/api/select", json!({"token": "guess", "stream": "test"})),
        ("/api/offer", json!({"token": "guess", "sdp": OFFER})),
        ("/api/bye", json!({"token": "guess"})),
    ] {
        let body = json!({"name": "Ana", "content": content});
        let answer = front.http.json(path, &body).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.problem(), "not-registered");
    }
    let other = json!({"name": "Bob", "content": {"token": token}});
    assert_eq!(front.http.json("/api/bye", &other).await.status, 401);
    let early = json!({"name": "Ana", "content": {"token": token, "sdp": OFFER}});
    let answer = front.http.json("/api/offer", &early).await;
    assert_eq!(answer.problem(), "nothing-selected");
    let none = json!({"name": "Ana", "content": {"token": token, "stream": "none"}});
    let answer = front.http.json("/api/select", &none).await;
    assert_eq!(answer.problem(), "no-such-stream");
}

#[tokio::test]
async fn a_stop_says_bye_to_every_session_and_ends_within_five_seconds() {
    let mut front = Front::start().await;
    front.session().await;
    front.session().await;
    front.fake.tell(Command::Manner(Manner::Wait)).await;
    let mut pending = front.http.begin("POST", "/whep/test", &[SDP], OFFER).await;
    front.fake.heard("INVITE").await;

    let start = Instant::now();
    front.stop.send(()).unwrap();
    for _ in 0..2 {
        let bye = front.fake.heard("BYE").await;
        assert!(
            bye.headers
                .get(sip::Name::Reason)
                .unwrap()
                .contains("stopping")
        );
    }
    let mut refused = String::new();
    pending.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    front.running.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_bad_second_offer_leaves_the_running_call_to_its_bye() {
    let mut front = Front::start().await;
    let http = front.http;
    let register = json!({"name": "Ana", "content": {}});
    let registered = http.json("/api/register", &register).await.json();
    let token = registered["content"]["token"].clone();
    let offer = |sdp: &str, stream: &str| {
        let content = json!({"token": token, "stream": stream, "sdp": sdp});
        json!({"name": "Ana", "content": content})
    };
    let good = offer(OFFER, "test");
    assert_eq!(http.json("/api/offer", &good).await.status, 200);
    front.fake.heard("INVITE").await;
    for bad in [offer("", "test"), offer(OFFER, "no such name")] {
        assert!(http.json("/api/offer", &bad).await.status >= 400);
    }
    let bye = json!({"name": "Ana", "content": {"token": token}});
    assert_eq!(http.json("/api/bye", &bye).await.status, 200);
    front.fake.heard("BYE").await;
}
