//! What front refuses, and the page it serves.

use std::time::{Duration, Instant};

use front::{Config, Limits, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time;

use super::{Front, LIMIT, OFFER};

const SDP: (&str, &str) = ("Content-Type", "application/sdp");

#[tokio::test]
async fn offers_of_the_wrong_kind_never_become_calls() {
    let mut front = Front::start().await;
    let large = "v".repeat(200 * 1024);
    for (headers, body, status, code) in [
        (vec![SDP], large.as_str(), 413, "too-large"),
        (
            vec![("Content-Type", "text/plain")],
            OFFER,
            415,
            "wrong-type",
        ),
        (vec![], OFFER, 415, "wrong-type"),
        (vec![SDP], "", 400, "bad-request"),
    ] {
        let answer = front.http.send("POST", "/whep/test", &headers, body).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.problem(), code);
    }
    let long = format!("/whep/test?name={}", "x".repeat(65));
    for path in [long.as_str(), "/whep/test?name=a%0d%0aVia:%20x"] {
        assert_eq!(front.offer(path).await.status, 400, "{path}");
    }
    for path in ["/whep/a%20b", "/whep/..%2f", "/whep/a;b"] {
        let answer = front.offer(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.problem(), "no-such-stream");
    }
    assert_eq!(front.fake.count("INVITE"), 0);
}

#[tokio::test]
async fn json_that_is_not_what_was_asked_for_is_refused() {
    let front = Front::start().await;
    let json = ("Content-Type", "application/json");
    for body in [
        "",
        "{",
        "[]",
        "{\"name\":1,\"content\":{}}",
        "{\"name\":\"a\"}",
    ] {
        let answer = front
            .http
            .send("POST", "/api/register", &[json], body)
            .await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.problem(), "bad-request");
    }
    let text = ("Content-Type", "text/plain");
    let answer = front
        .http
        .send("POST", "/api/register", &[text], "{}")
        .await;
    assert_eq!(answer.status, 415);
}

#[tokio::test]
async fn pages_of_other_origins_place_no_calls_until_they_are_listed() {
    let config = Config {
        allow_origins: vec!["https://friend.example".to_owned()],
        ..Config::default()
    };
    let mut front = Front::start_with(config).await;
    let foreign = ("Origin", "https://evil.example");
    let answer = front
        .http
        .send("POST", "/whep/test", &[SDP, foreign], OFFER)
        .await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.problem(), "cross-origin");
    assert_eq!(front.fake.count("INVITE"), 0);

    let friend = ("Origin", "https://friend.example");
    let answer = front
        .http
        .send("POST", "/whep/test", &[SDP, friend], OFFER)
        .await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://friend.example")
    );
    assert!(
        answer
            .header("access-control-expose-headers")
            .unwrap()
            .contains("Location")
    );

    let own = format!("http://{}", front.http.0);
    let answer = front
        .http
        .send("POST", "/whep/test", &[SDP, ("Origin", &own)], OFFER)
        .await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask_before_they_use_any_call() {
    let config = Config {
        allow_origins: vec!["https://friend.example".to_owned()],
        ..Config::default()
    };
    let front = Front::start_with(config).await;
    let friend = ("Origin", "https://friend.example");
    let session = "/whep/test/0123456789abcdef0123456789abcdef";
    for (path, method) in [
        ("/api/offer", "POST"),
        ("/whep/test", "POST"),
        (session, "DELETE"),
    ] {
        let ask = ("Access-Control-Request-Method", method);
        let answer = front.http.send("OPTIONS", path, &[friend, ask], "").await;
        assert_eq!(answer.status, 204, "{path}");
        let allowed = answer.header("access-control-allow-methods").unwrap();
        assert!(allowed.contains(method), "{path}: {allowed}");
        let foreign = ("Origin", "https://evil.example");
        let answer = front.http.send("OPTIONS", path, &[foreign, ask], "").await;
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn a_name_that_was_pointed_at_us_gets_nothing() {
    let mut front = Front::start().await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/api/streams"),
        ("POST", "/whep/test"),
        ("OPTIONS", "/whep/test"),
    ] {
        let headers = [("Origin", "http://evil.example:8080"), SDP];
        let answer = front
            .http
            .ask("evil.example:8080", method, path, &headers, OFFER)
            .await;
        assert_eq!(answer.status, 421, "{method} {path}");
        assert_eq!(answer.problem(), "foreign-host");
    }
    assert_eq!(front.fake.count("INVITE"), 0);
    let answer = front.http.ask("localhost:8080", "GET", "/", &[], "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn whep_says_what_it_takes() {
    let front = Front::start().await;
    let options = front.http.send("OPTIONS", "/whep/test", &[], "").await;
    assert_eq!(options.status, 200);
    assert_eq!(options.header("accept-post"), Some("application/sdp"));
    let head = front.http.send("HEAD", "/whep/test", &[], "").await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("application/sdp"));
    let path = "/whep/test/0123456789abcdef0123456789abcdef";
    let options = front.http.send("OPTIONS", path, &[], "").await;
    let fragment = "application/trickle-ice-sdpfrag";
    assert_eq!(options.header("accept-patch"), Some(fragment));
    assert!(options.header("allow").unwrap().contains("PATCH, DELETE"));
    let patch = front.http.send("PATCH", path, &[], "").await;
    assert_eq!(
        (patch.status, patch.problem().as_str()),
        (415, "wrong-type")
    );
    assert_eq!(patch.header("accept-patch"), Some(fragment));
    let put = front.http.send("PUT", path, &[], "").await;
    assert_eq!(
        (put.status, put.problem().as_str()),
        (405, "method-not-allowed")
    );
    assert!(put.header("allow").unwrap().contains("DELETE"));
}

#[tokio::test]
async fn the_page_is_served_whole_and_under_its_policy() {
    let front = Front::start().await;
    for path in ["/", "/watch/test", "/embed/test"] {
        let page = front.http.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(
            page.header("content-security-policy"),
            Some("default-src 'self'; img-src 'self' https:")
        );
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        assert_eq!(
            page.header("x-frame-options").is_some(),
            !path.starts_with("/embed")
        );
        let text = page.text();
        let parts: Vec<&str> = text
            .split('"')
            .filter(|part| part.starts_with("/static/"))
            .collect();
        assert!(parts.len() >= 3, "{parts:?}");
        for part in parts {
            assert_eq!(front.http.get(part).await.status, 200, "{part}");
        }
    }
    for path in [
        "/nothing",
        "/static/nothing.js",
        "/static/..%2fCargo.toml",
        "/api",
    ] {
        let answer = front.http.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.problem(), "no-such-page");
    }
}

#[tokio::test]
async fn a_directory_of_ones_own_shows_edits_at_once() {
    let directory = std::env::temp_dir().join(format!("front-static-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let index = directory.join("index.html");
    std::fs::write(&index, "one").unwrap();
    let config = Config {
        static_dir: Some(directory.clone()),
        ..Config::default()
    };
    let front = Front::start_with(config).await;
    assert_eq!(front.http.get("/").await.text(), "one");
    std::fs::write(&index, "two").unwrap();
    assert_eq!(front.http.get("/").await.text(), "two");
    assert_eq!(front.http.get("/static/app.js").await.status, 404);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_head_that_is_never_finished_loses_its_connection() {
    let limits = Limits {
        head: Duration::from_millis(300),
        ..Limits::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let front = Front::start_with(config).await;
    let start = Instant::now();
    let mut slow = TcpStream::connect(front.http.0).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let cut = time::timeout(LIMIT, slow.read_to_end(&mut rest)).await;
    assert!(cut.is_ok(), "still open");
    assert!(start.elapsed() > limits.head);
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn a_crowd_is_turned_away_at_the_door_and_let_in_when_others_leave() {
    let front = Front::start().await;
    let mut crowd = Vec::new();
    for _ in 0..512 {
        crowd.push(TcpStream::connect(front.http.0).await.unwrap());
    }
    let answer = front.http.begin("GET", "/", &[], "").await;
    let mut refused = Vec::new();
    // The server may reset the connection after its word: what counts is that it is closed.
    let mut answer = answer;
    let _ = answer.read_to_end(&mut refused).await;
    let refused = String::from_utf8_lossy(&refused);
    assert!(
        refused.is_empty() || refused.starts_with("HTTP/1.1 503"),
        "{refused}"
    );
    drop(crowd);
    let again = async {
        loop {
            let mut answer = front.http.begin("GET", "/", &[], "").await;
            let mut text = Vec::new();
            if answer.read_to_end(&mut text).await.is_ok() && text.starts_with(b"HTTP/1.1 200") {
                return;
            }
        }
    };
    time::timeout(LIMIT, again).await.expect("let in");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_at_start() {
    let front = Front::start().await;
    let config = Config {
        http: front.http.0,
        ..Config::default()
    };
    let Err(error) = Server::bind(config).await else {
        panic!("bound twice");
    };
    assert!(
        error.to_string().contains(&front.http.0.to_string()),
        "{error}"
    );
}
