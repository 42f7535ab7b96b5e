//! Front through its public face: real HTTP and real SIP on loopback, against a signaling server
//! and streamer played by the `sip` crate.

#![expect(clippy::unwrap_used, reason = "a step that fails must fail the test")]

mod calls;
mod doors;
mod fake;
mod http;
mod lists;

use std::net::SocketAddr;
use std::time::Duration;

use front::{Config, Server};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time;

use fake::Fake;
use http::{Answer, Client};

/// Longer than anything here takes, shorter than patience.
const LIMIT: Duration = Duration::from_secs(10);
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\n";

/// A running front and what it talks to.
struct Front {
    fake: Fake,
    http: Client,
    admin: Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), front::Error>>,
}

impl Front {
    async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    async fn start_with(config: Config) -> Self {
        let fake = Fake::start();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(Config {
            http: any,
            signaling: fake.address,
            admin: Some(any),
            ..config
        })
        .await
        .unwrap();
        let http = Client(server.addr());
        let admin = Client(server.admin_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self {
            fake,
            http,
            admin,
            stop,
            running,
        }
    }

    /// Posts an offer to `stream` the WHEP way.
    async fn offer(&self, path: &str) -> Answer {
        let sdp = ("Content-Type", "application/sdp");
        self.http.send("POST", path, &[sdp], OFFER).await
    }

    /// Places a call that is answered; the path of its session.
    async fn session(&mut self) -> String {
        let answer = self.offer("/whep/test").await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        self.fake.heard("ACK").await;
        answer.header("location").unwrap().to_owned()
    }

    async fn state(&self) -> Value {
        self.admin.get("/api/state").await.json()
    }

    /// The status of `/ready`.
    async fn ready(&self) -> u16 {
        self.admin.get("/ready").await.status
    }

    /// Waits until no call and no session is left.
    async fn is_at_rest(&self) {
        let rest = async {
            loop {
                let state = self.state().await;
                if state["calls"] == 0 && state["sessions"] == 0 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        time::timeout(LIMIT, rest).await.expect("nothing is left");
    }
}
