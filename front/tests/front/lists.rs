//! The list of streams, its events, and pictures.

use std::time::{Duration, Instant};

use bytes::Bytes;
use front::{Config, Limits};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time;

use super::fake::{Command, entry};
use super::{Front, LIMIT};

/// A browser that follows the list.
struct Follower(BufReader<TcpStream>);

impl Follower {
    async fn new(front: &Front) -> Self {
        let stream = front
            .http
            .begin("GET", "/api/streams/events", &[], "")
            .await;
        Self(BufReader::new(stream))
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        time::timeout(Duration::from_secs(15), self.0.read_line(&mut line))
            .await
            .expect("a line in time")
            .unwrap();
        line
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(data) = self.line().await.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

async fn limited(limits: Limits) -> Front {
    Front::start_with(Config {
        limits,
        ..Config::default()
    })
    .await
}

#[tokio::test]
async fn the_list_is_the_directory_with_live_added() {
    let front = Front::start().await;
    let mut broken = entry("camera");
    broken["state"] = json!("failed");
    let streams = json!([entry("test"), broken]);
    front.fake.tell(Command::Streams(streams)).await;
    let list = front.http.get("/api/streams").await;
    assert_eq!(list.status, 200);
    let list = list.json();
    assert_eq!(list["signaling"], "reachable");
    assert_eq!(list["streams"][0]["name"], "camera");
    assert_eq!(list["streams"][0]["live"], false);
    assert_eq!(list["streams"][1]["live"], true);
    assert_eq!(list["streams"][1]["title"][""], "Test pattern");
}

#[tokio::test]
async fn followers_hear_of_changes_and_share_one_poll_a_second() {
    let mut front = Front::start().await;
    let start = Instant::now();
    let mut followers = Vec::new();
    for _ in 0..5 {
        followers.push(Follower::new(&front).await);
    }
    for follower in &mut followers {
        assert_eq!(follower.next().await["streams"][0]["name"], "test");
    }
    assert_eq!(front.state().await["events"], 5);
    front.fake.tell(Command::Streams(json!([]))).await;
    for follower in &mut followers {
        let entry = &follower.next().await["streams"][0];
        assert_eq!(entry["state"], "offline");
        assert_eq!(entry["live"], false);
    }
    let most = start.elapsed().as_secs() as usize + 1;
    let polls = front.fake.count("OPTIONS");
    assert!(polls <= most, "{polls} polls in {most} s");

    drop(followers);
    let gone = async {
        while front.state().await["events"] != 0 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(LIMIT, gone).await.expect("nobody follows");
}

#[tokio::test]
async fn a_quiet_event_stream_shows_that_it_lives() {
    let keep_alive = Duration::from_millis(300);
    let front = limited(Limits {
        keep_alive,
        ..Limits::default()
    })
    .await;
    let mut follower = Follower::new(&front).await;
    follower.next().await;
    let start = Instant::now();
    while !follower.line().await.starts_with(':') {}
    assert!(start.elapsed() <= keep_alive + Duration::from_secs(1));
}

#[tokio::test]
async fn a_crowd_that_follows_the_list_leaves_room_for_others() {
    let front = Front::start().await;
    let mut followers = Vec::new();
    for _ in 0..256 {
        let mut follower = Follower::new(&front).await;
        follower.next().await;
        followers.push(follower);
    }
    let refused = front.http.get("/api/streams/events").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.problem(), "too-many");
    assert_eq!(front.http.get("/").await.status, 200);
    assert_eq!(front.http.get("/api/streams").await.status, 200);
    assert_eq!(front.state().await["events"], 256);
}

#[tokio::test]
async fn a_silent_signaling_server_is_said_and_found_again() {
    let front = limited(Limits {
        silence: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    front.fake.tell(Command::Silent(true)).await;
    let answer = front.http.get("/api/streams").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.problem(), "signaling-unreachable");
    let mut follower = Follower::new(&front).await;
    assert_eq!(follower.next().await["signaling"], "unreachable");
    front.fake.tell(Command::Silent(false)).await;
    let list = follower.next().await;
    assert_eq!(list["signaling"], "reachable");
    assert_eq!(list["streams"][0]["live"], true);
}

#[tokio::test]
async fn ready_is_who_reaches_the_signaling_server() {
    let front = limited(Limits {
        silence: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    assert_eq!(front.ready().await, 200);
    front.fake.tell(Command::Silent(true)).await;
    let silent = async { while front.ready().await == 200 {} };
    time::timeout(LIMIT, silent).await.expect("not ready");
    front.fake.tell(Command::Silent(false)).await;
    let back = async { while front.ready().await != 200 {} };
    time::timeout(LIMIT, back).await.expect("ready again");
}

#[tokio::test]
async fn a_picture_is_asked_for_once_however_many_want_it() {
    let mut front = Front::start().await;
    let jpeg = Bytes::from_static(&[0xff, 0xd8, 0xff, 0xe0, 1, 2, 3]);
    front.fake.tell(Command::Image(Some(jpeg.clone()))).await;
    let wanted = (0..20).map(|_| {
        let http = front.http;
        tokio::spawn(async move { http.get("/api/streams/test/image").await })
    });
    for answer in wanted.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("image/jpeg"));
        assert_eq!(answer.body, jpeg);
    }
    assert_eq!(front.fake.count("OPTIONS"), 1);
}

#[tokio::test]
async fn a_stream_without_a_picture_has_none() {
    let front = Front::start().await;
    let answer = front.http.get("/api/streams/test/image").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.problem(), "no-image");
}

#[tokio::test]
async fn a_stop_ends_event_streams() {
    let front = Front::start().await;
    let mut follower = Follower::new(&front).await;
    follower.next().await;
    front.stop.send(()).unwrap();
    let end = async { while !follower.line().await.is_empty() {} };
    time::timeout(LIMIT, end).await.expect("the stream ends");
    front.running.await.unwrap().unwrap();
}
