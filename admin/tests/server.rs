//! The admin server through its public face, on loopback, as curl or Prometheus would see it.

#![expect(clippy::unwrap_used, reason = "a step that fails must fail the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use admin::{Document, Error, Kind, Metric, Ready, Server, Source, Together};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[derive(Default)]
struct Role {
    ready: AtomicBool,
}

impl Source for Role {
    fn ready(&self) -> Ready<'_> {
        Box::pin(async { self.ready.load(Ordering::Relaxed) })
    }

    fn state(&self) -> Value {
        json!({"role": "front", "calls": 3})
    }

    fn describe(&self, path: &str) -> Option<Metric> {
        let (help, kind) = ("Calls.", Kind::Gauge);
        (path == "calls").then_some(Metric { help, kind })
    }

    fn document(&self, path: &str) -> Option<Document> {
        let media_type = match path.strip_prefix("/papers/")? {
            "a/b c.txt" => "text/plain",
            "a/b c" | "lone" => "application/json",
            _ => return None,
        };
        let body = path.as_bytes().to_vec();
        Some(Document { media_type, body })
    }
}

struct Running {
    addr: SocketAddr,
    role: Arc<Role>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

async fn start(token: Option<&str>) -> Running {
    let role = Arc::new(Role::default());
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(loopback, token.map(str::to_owned), Arc::clone(&role) as _)
        .await
        .unwrap();
    let addr = server.addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running {
        addr,
        role,
        stop,
        task,
    }
}

/// Sends `GET path` and returns status and everything after the headers.
async fn get(addr: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(head.contains("cache-control: no-store"), "{head}");
    (status, body.to_owned())
}

#[tokio::test]
async fn health_is_ok_and_ready_follows_the_role() {
    let running = start(None).await;
    assert_eq!(get(running.addr, "/health", "").await.0, 200);
    assert_eq!(get(running.addr, "/ready", "").await.0, 503);
    running.role.ready.store(true, Ordering::Relaxed);
    assert_eq!(get(running.addr, "/ready", "").await.0, 200);
    assert_eq!(get(running.addr, "/nothing", "").await.0, 404);
}

#[tokio::test]
async fn state_is_the_roles_json_with_the_process_added() {
    let running = start(None).await;
    let (status, body) = get(running.addr, "/api/state", "").await;
    let state: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &state["role"], &state["calls"]),
        (200, &json!("front"), &json!(3))
    );
    for number in ["fds", "threads", "rss_bytes"] {
        assert!(state["process"][number].as_u64().unwrap() > 0, "{state}");
    }
}

#[tokio::test]
async fn metrics_show_the_same_numbers() {
    let running = start(None).await;
    let (status, body) = get(running.addr, "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(body.contains("# TYPE rusticast_front_calls gauge\nrusticast_front_calls 3\n"));
    assert!(body.contains("rusticast_front_process_fds "), "{body}");
}

#[tokio::test]
async fn numbers_want_the_token_but_health_does_not() {
    let running = start(Some("letmein")).await;
    for path in ["/metrics", "/api/state", "/papers/lone"] {
        assert_eq!(get(running.addr, path, "").await.0, 401);
        assert_eq!(
            get(running.addr, path, "Authorization: Bearer letmei\r\n")
                .await
                .0,
            401
        );
        assert_eq!(
            get(running.addr, path, "Authorization: Basic letmein\r\n")
                .await
                .0,
            401
        );
        assert_eq!(
            get(running.addr, path, "Authorization: Bearer letmein\r\n")
                .await
                .0,
            200
        );
    }
    assert_eq!(get(running.addr, "/health", "").await.0, 200);
}

#[tokio::test]
async fn a_roles_documents_are_found_by_their_decoded_path() {
    let running = start(None).await;
    let shown = get(running.addr, "/papers/a%2Fb%20c", "").await;
    assert_eq!(shown, (200, "/papers/a/b c".to_owned()));
    for path in ["/papers/a", "/papers", "/papers/", "/", "/papers/%ff"] {
        let (status, _) = get(running.addr, path, "").await;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
}

#[tokio::test]
async fn who_asks_for_plain_text_gets_the_document_of_that_ending() {
    let running = start(None).await;
    let text = "Accept: application/xml;q=0.1, Text/Plain; q=0.5\r\n";
    for (path, accept, found) in [
        ("/papers/a/b%20c", text, "/papers/a/b c.txt"),
        ("/papers/a/b%20c", "Accept: */*\r\n", "/papers/a/b c"),
        ("/papers/a/b%20c.txt", "", "/papers/a/b c.txt"),
        ("/papers/lone", text, "/papers/lone"),
    ] {
        let shown = get(running.addr, path, accept).await;
        assert_eq!(shown, (200, found.to_owned()), "{path} {accept}");
    }
}

#[tokio::test]
async fn an_address_others_can_reach_wants_a_token() {
    let anywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let role = || Arc::new(Role::default());
    let refused = Server::bind(anywhere, None, role()).await.unwrap_err();
    assert!(matches!(refused, Error::TokenNeeded { address } if address == anywhere));
    assert!(matches!(
        Server::bind(anywhere, Some(" ".to_owned()), role())
            .await
            .unwrap_err(),
        Error::BadToken
    ));
    Server::bind(anywhere, Some("letmein".to_owned()), role())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_token_comes_out_of_a_file() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("token");
    let anywhere = "0.0.0.0:0".parse().ok();
    let open = || Server::open(anywhere, Some(&file), Arc::new(Role::default()));
    let missing = open().await.unwrap_err();
    assert!(missing.to_string().contains("--admin-token-file"));
    for (text, good) in [("letmein\n", true), ("\n", false), ("two words", false)] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(open().await.is_ok(), good, "{text:?}");
    }
    let nowhere = Server::open(None, Some(&file), Arc::new(Role::default()));
    assert!(nowhere.await.unwrap().is_none());
}

#[tokio::test]
async fn roles_together_are_ready_when_all_are_and_keep_the_names_of_their_metrics() {
    let (one, two) = (Arc::new(Role::default()), Arc::new(Role::default()));
    let together = Together(vec![
        ("front", Arc::clone(&one) as _),
        ("other", two.clone()),
    ]);
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(loopback, None, Arc::new(together)).await;
    let server = server.unwrap();
    let addr = server.addr();
    tokio::spawn(server.run(std::future::pending()));
    one.ready.store(true, Ordering::Relaxed);
    assert_eq!(get(addr, "/ready", "").await.0, 503);
    two.ready.store(true, Ordering::Relaxed);
    assert_eq!(get(addr, "/ready", "").await.0, 200);
    let (_, metrics) = get(addr, "/metrics", "").await;
    assert!(
        metrics.contains("# HELP rusticast_front_calls Calls.\n"),
        "{metrics}"
    );
    assert!(metrics.contains("rusticast_other_calls 3\n"), "{metrics}");
    let (_, state) = get(addr, "/api/state", "").await;
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["other"]["calls"], 3);
    assert_eq!(get(addr, "/papers/lone", "").await.0, 200);
    assert_eq!(get(addr, "/papers/none", "").await.0, 404);
}

#[tokio::test]
async fn a_taken_port_is_named_in_the_error() {
    let running = start(None).await;
    let error = Server::bind(running.addr, None, Arc::new(Role::default()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&running.addr.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn shutdown_does_not_wait_for_an_idle_connection() {
    let running = start(None).await;
    let mut idle = TcpStream::connect(running.addr).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");

    running.stop.send(()).unwrap();
    timeout(Duration::from_secs(5), running.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn a_client_that_never_finishes_its_header_does_not_stop_others_or_shutdown() {
    let running = start(None).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(running.addr).await.unwrap();
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHos")
            .await
            .unwrap();
        slow.push(stream);
    }
    assert_eq!(get(running.addr, "/health", "").await.0, 200);
    running.stop.send(()).unwrap();
    timeout(Duration::from_secs(5), running.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn garbage_ends_its_own_connection_alone() {
    let running = start(None).await;
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(&[0xff; 4096]).await.unwrap();
    let mut rest = Vec::new();
    // Either an answer of 400 or a reset; never a hang.
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(get(running.addr, "/health", "").await.0, 200);
}
