//! The program under test as a child process, and a user agent to talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use sip::auth::{Account, Secret};
use sip::endpoint::Config;
use sip::{ClientId, Endpoint, Event, Method, Name, NameAddr, Request, Response, Uri};

/// Nothing here takes longer, even on a machine that does other things as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of its own for each test, removed afterwards.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("rusticast-signaling-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data.xml")
    }

    /// A file of users that holds this.
    pub(crate) fn users(&self, text: &str) -> PathBuf {
        let path = self.0.join("users");
        std::fs::write(&path, text).unwrap();
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, owner_only).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_signaling");

/// The running program; killed when the test ends before it.
pub(crate) struct Program {
    child: Child,
    log: Option<JoinHandle<String>>,
    pub(crate) sip: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    /// Starts the program on any free port.
    pub(crate) fn start(data: &Path) -> Program {
        Program::start_at("127.0.0.1:0", data)
    }

    /// Starts the program there.
    pub(crate) fn start_at(listen: &str, data: &Path) -> Program {
        Program::start_with(&["--listen", listen], data)
    }

    /// Starts the program with these flags, and waits until it is ready.
    pub(crate) fn start_with(flags: &[&str], data: &Path) -> Program {
        Program::start_by(Command::new(PROGRAM), flags, data)
    }

    /// The same by a command that ends in the program.
    pub(crate) fn start_by(mut command: Command, flags: &[&str], data: &Path) -> Program {
        let mut child = command
            .args(flags)
            .args(["--admin", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Read all the while: a program that logs into a full pipe stands still.
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["signaling", "ready:", "sip", sip, "admin", admin] = words[..] else {
            panic!("not the ready line: {line:?}");
        };
        Program {
            child,
            log: Some(log),
            sip: sip.parse().unwrap(),
            admin: admin.parse().unwrap(),
        }
    }

    /// As if the machine had taken it.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log()
    }

    /// Asks it to end; returns its status and what it logged.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let status = self.child.wait().unwrap();
        (status, self.log())
    }

    fn log(&mut self) -> String {
        self.log.take().unwrap().join().unwrap()
    }

    /// The live objects.
    pub(crate) fn state(&self) -> Value {
        let (_, body) = self.get("/api/state", "");
        serde_json::from_slice(&body).unwrap()
    }

    /// What operators find at a path: the head of the answer, and its body.
    pub(crate) fn get(&self, path: &str, headers: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.unwrap() + 4;
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (head, answer[end..].to_vec())
    }

    /// Waits until the live objects are so.
    pub(crate) fn wait_for(&self, limit: Duration, done: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + limit;
        loop {
            let state = self.state();
            if done(&state) {
                return state;
            }
            assert!(Instant::now() < end, "it never happened: {state}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A user agent on a socket of its own.
pub(crate) struct Phone {
    socket: UdpSocket,
    pub(crate) address: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) account: Account,
    cseq: u32,
}

impl Phone {
    pub(crate) fn new(server: SocketAddr) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut state = (u64::from(address.port()) << 32) | u64::from(std::process::id());
        let random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state ^ (state >> 29)
        };
        Phone {
            socket,
            address,
            server,
            endpoint: Endpoint::new(Config::new(address), random),
            account: Account::default(),
            cseq: 0,
        }
    }

    /// The same with a password.
    pub(crate) fn with_password(mut self, user: &str, password: &str) -> Phone {
        self.account = Account::new(user, Secret::new(password));
        self
    }

    /// A request for a user of the server, or for the server itself.
    pub(crate) fn make(&mut self, method: Method, user: Option<&str>, call_id: &str) -> Request {
        let uri = Uri::at(user, self.server);
        let from = NameAddr::new(Uri::at(user, self.address)).with_display("Ana");
        let from = from.with_tag(&self.endpoint.generate_tag());
        self.cseq += 1;
        let to = NameAddr::new(uri.clone());
        let mut request = Request::new(method, uri, from, to, call_id, self.cseq);
        let contact = NameAddr::new(Uri::at(user, self.address));
        request.headers.push(Name::Contact, &contact.to_string());
        request
    }

    pub(crate) fn send(&mut self, request: Request) -> ClientId {
        self.endpoint.request(Instant::now(), self.server, request)
    }

    /// Sends a request and waits for its final answer, that to the password if one was asked for.
    pub(crate) fn ask(&mut self, request: Request) -> Response {
        let mut account = std::mem::take(&mut self.account);
        let server = self.server;
        let now = Instant::now();
        let mut sent = account.request(now, &mut self.endpoint, server, request);
        let answer = self.wait(|endpoint, event| match event {
            Event::Response { id, response, .. } if id == sent => {
                let now = Instant::now();
                let again = account.handle_response(now, endpoint, server, id, &response);
                if let Some(again) = again {
                    sent = again;
                    return None;
                }
                (!response.status.is_provisional()).then_some(response)
            }
            _ => None,
        });
        self.account = account;
        self.cseq += 1;
        answer
    }

    /// Registers a stream for a minute.
    pub(crate) fn register(&mut self, stream: &str, call_id: &str, body: &str) -> Response {
        let mut request = self.make(Method::Register, Some(stream), call_id);
        request.headers.push(Name::Expires, "60");
        if !body.is_empty() {
            request.set_body("application/json", Bytes::from(body.to_owned()));
        }
        self.ask(request)
    }

    /// Handles what comes until something is found in it.
    pub(crate) fn wait<T>(&mut self, mut find: impl FnMut(&mut Endpoint, Event) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 65_536];
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                if let Some(found) = find(&mut self.endpoint, event) {
                    self.flush();
                    return found;
                }
            }
            self.flush();
            let now = Instant::now();
            assert!(now < end, "it never came");
            let wake = self.endpoint.poll_timeout().unwrap_or(end).min(end);
            let pause = wake
                .saturating_duration_since(now)
                .max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(pause)).unwrap();
            if let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
                let data = Bytes::copy_from_slice(&buffer[..length]);
                self.endpoint.handle_datagram(Instant::now(), source, data);
            }
            self.endpoint.handle_timeout(Instant::now());
        }
    }

    /// Waits for a request of this method.
    pub(crate) fn expect(&mut self, method: &Method) -> (sip::ServerId, Request) {
        self.wait(|_, event| match event {
            Event::Request { id, request, .. } if request.method == *method => Some((id, request)),
            _ => None,
        })
    }

    pub(crate) fn respond(&mut self, id: sip::ServerId, response: Response) {
        self.endpoint.respond(Instant::now(), id, response);
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.socket
                .send_to(&transmit.payload, transmit.destination)
                .unwrap();
        }
    }
}
