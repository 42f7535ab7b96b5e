//! Requests that no single packet holds, over a line with an MTU of 1500 that loses one packet of
//! ten: as datagrams, which are lost with any of their fragments, and over streams.
//!
//! The test runs itself once more in a network of its own, which the line begins in.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use sip::timer::T1;

use crate::calls::{Scenario, changed, ladders};
use crate::interop::{TCP, UDP, end, free_port, quiet_at, succeeded};
use crate::losses::{NO_ACK, UNHEARD};
use crate::measure;
use crate::support::{Directory, PATIENCE, PROGRAM, Program};

/// Set in the network of its own.
const INSIDE: &str = "RUSTICAST_TEST_INSIDE";
const NEAR: &str = "10.78.0.1";
const FAR: &str = "10.78.0.2";
const PERCENT: u32 = 10;
const SEED: &str = "1";
/// Bytes of offers and answers: five fragments with what is around them.
const SDP: usize = 6000;

/// A line with a network behind it.
struct Line {
    program: Child,
    input: ChildStdin,
    /// A process in that network.
    far: String,
}

impl Line {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/lossy.py");
        let mut program = Command::new("unshare")
            .args(["--net", "python3"])
            .arg(script)
            .arg(SEED)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut far = String::new();
        let stdout = program.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut far).unwrap();
        let far = far.trim().to_owned();
        assert!(!far.is_empty(), "there is no line");
        Line {
            input: program.stdin.take().unwrap(),
            program,
            far,
        }
    }

    /// From now on loses so many of a hundred packets, each way.
    fn lose(&self, percent: u32) {
        writeln!(&self.input, "{percent}").unwrap();
    }

    /// A program behind the line.
    fn beyond(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.far, program]);
        command
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// How long calls took to be set up, from the shortest to the longest.
struct Times(Vec<Duration>);

impl Times {
    /// Reads what sipp has written with -trace_rtt into this directory.
    fn read(directory: &Path) -> Self {
        let files = fs::read_dir(directory).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        let file = files.find(|file| file.to_string_lossy().ends_with("_rtt.csv"));
        let text = fs::read_to_string(file.unwrap()).unwrap();
        let times = text.lines().skip(1).map(|line| {
            let millis: f64 = line.split(';').nth(1).unwrap().parse().unwrap();
            Duration::from_millis(millis.round() as u64)
        });
        let mut times: Vec<Duration> = times.collect();
        times.sort();
        Times(times)
    }

    fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    fn note(&self, what: &str) {
        // Nothing of SIP had to be sent again.
        let at_once = self.0.iter().filter(|time| **time < T1).count();
        let figure = format!(
            "half of the calls set up within {:?}, {} % within {T1:?}",
            self.median(),
            at_once * 100 / self.0.len()
        );
        println!("{what}: {figure}");
        let what = format!("SDP of {SDP} bytes, {PERCENT} % of the packets lost, {what}");
        measure::note(&what, &figure);
    }
}

/// Two networks, and signaling in the near one.
struct World {
    line: Line,
    directory: Directory,
    program: Program,
}

impl World {
    fn new() -> Self {
        let line = Line::start();
        let directory = Directory::new();
        let program = start(Command::new(PROGRAM), NEAR, &directory.data());
        World {
            line,
            directory,
            program,
        }
    }

    /// sipp for a stream, by a command for this end of the line or for the other one.
    fn sipp(&self, mut command: Command, stream: &str, scenario: Scenario<'_>) -> Command {
        let is_near = command.get_program() == "sipp";
        let directory = self.directory.0.join(stream);
        fs::create_dir_all(&directory).unwrap();
        command.arg("-sf").arg(changed(&directory, scenario));
        command.args(["-s", stream]);
        // It writes its times where it is.
        command.current_dir(&directory);
        quiet_at(&mut command, if is_near { NEAR } else { FAR });
        command
    }

    fn near(&self, stream: &str, scenario: Scenario<'_>) -> Command {
        self.sipp(Command::new("sipp"), stream, scenario)
    }

    fn far(&self, stream: &str, scenario: Scenario<'_>) -> Command {
        self.sipp(self.line.beyond("sipp"), stream, scenario)
    }

    /// Registers a stream at the near end, and lets so many calls pass from the far one to it.
    fn calls(&self, stream: &str, count: u64, server: SocketAddr, transport: &str) -> Times {
        let (port, count) = (free_port(), count.to_string());
        let retries = ["-max_invite_retrans", "10", "-max_non_invite_retrans", "14"];
        let mut register = self.near(stream, ("register.xml", &[]));
        register.args(["-p", &port, "-m", "1"]);
        register.arg(self.program.sip.to_string());
        succeeded(&register.output().unwrap());
        let line = format!("a=x:{}\n", "x".repeat(90));
        let long = format!("t=0 0\n{}", line.repeat(SDP / line.len()));
        let long = ("t=0 0\n", &*long);
        let mut streamer = self.near(stream, ("streamer.xml", &[NO_ACK, long]));
        streamer.args(["-p", &port, "-m", &count]).args(retries);
        let streamer = streamer.spawn().unwrap();
        let changes = [
            UNHEARD,
            ("><![CDATA[\nINVITE", " start_rtd=\"1\"><![CDATA[\nINVITE"),
            ("rrs=\"true\"", "rrs=\"true\" rtd=\"1\""),
            long,
        ];
        let mut front = self.far(stream, ("front.xml", &changes));
        front
            .args(["-t", transport, "-m", &count, "-r", "10", "-l", "1000"])
            .args(["-trace_rtt", "-rtt_freq", "1"])
            .args(retries)
            .arg(server.to_string());
        succeeded(&front.output().unwrap());
        succeeded(&streamer.wait_with_output().unwrap());
        Times::read(&self.directory.0.join(stream))
    }

    /// By which transports the INVITE of each call to a stream came, the latest call first.
    fn came_by(&self, stream: &str) -> Vec<Vec<String>> {
        let calls = ladders(&self.program, stream).into_iter();
        let transports = calls.map(|call| {
            let invites = call.into_iter().filter(|message| message.is("in INVITE"));
            invites.map(|invite| invite.transport).collect()
        });
        transports.collect()
    }
}

fn start(command: Command, ip: &str, data: &Path) -> Program {
    let listen = format!("{ip}:0");
    let flags = ["--listen", &listen, "--insecure", "--trust", "10.78.0.0/24"];
    Program::start_by(command, &flags, data)
}

/// Makes the near signaling server the streamer of a stream for another one, beyond the line. By
/// what its requests go there is its own choice.
fn register_near(world: &World, relay: &Program, stream: &str) {
    let there = format!("<sip:[service]@{}>", world.program.sip);
    let contact = "<sip:[service]@[local_ip]:[local_port];transport=[transport]>";
    let mut register = world.far(stream, ("register.xml", &[(contact, &there)]));
    register.args(["-m", "1"]).arg(relay.sip.to_string());
    succeeded(&register.output().unwrap());
}

/// Lets calls pass by datagrams, by a stream, and by signaling's own choice, all at the same time.
fn pass_by_all_ways(world: &World, relay: &Program, attempt: usize) -> [Times; 3] {
    let near = world.program.sip;
    let count = measure::times(60, 300);
    let chosen = format!("chosen-{attempt}");
    register_near(world, relay, &chosen);
    world.line.lose(PERCENT);
    let ways = [
        (format!("datagrams-{attempt}"), near, UDP),
        (format!("stream-{attempt}"), near, TCP),
        (chosen.clone(), relay.sip, UDP),
    ];
    let times = thread::scope(|scope| {
        let [first, second, third] = ways.map(|(name, server, transport)| {
            scope.spawn(move || world.calls(&name, count, server, transport))
        });
        let [second, third] = [second, third].map(|calls| calls.join().unwrap());
        // The last of those by datagrams would take minutes.
        world.line.lose(0);
        [first.join().unwrap(), second, third]
    });
    for call in world.came_by(&chosen) {
        assert_eq!(call, ["TCP"]);
    }
    times
}

fn compare() {
    let world = World::new();
    let directory = Directory::new();
    let relay = start(world.line.beyond(PROGRAM), FAR, &directory.data());
    // Its stream is open before packets get lost: one whose first packet is lost opens too late, and
    // for a while all goes by datagrams.
    register_near(&world, &relay, "first");
    world.calls("first", 1, relay.sip, UDP);
    // What follows in a stream waits for what was lost: now and then, when the same packet is lost
    // four times, for seconds.
    let sooner = (1..=3).any(|attempt| {
        let [datagrams, stream, chosen] = pass_by_all_ways(&world, &relay, attempt);
        datagrams.note("sipp by datagrams");
        stream.note("sipp by a stream");
        chosen.note("signaling by its own choice, which is a stream");
        let mut streams = [stream, chosen].into_iter();
        streams.all(|times| times.median() * 2 < datagrams.median())
    });
    assert!(sooner, "three times it takes as long; all are shown above");
    world.program.wait_for(PATIENCE, |state| {
        state["sessions"] == 0 && state["calls"] == 0
    });
    end(relay);
    end(world.program);
}

/// Another network for a command.
fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.arg("--net");
    unshare
}

const TEST: &str =
    "fragments::what_no_packet_holds_passes_sooner_by_a_stream_where_packets_get_lost";

#[test]
fn what_no_packet_holds_passes_sooner_by_a_stream_where_packets_get_lost() {
    if env::var_os(INSIDE).is_some() {
        return compare();
    }
    let allowed = unshare().arg("true").status().unwrap().success();
    assert!(
        allowed,
        "no network can be made here for a line: namespaces are forbidden"
    );
    let inside = unshare()
        .arg(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    succeeded(&inside);
    let told = String::from_utf8_lossy(&inside.stdout);
    assert!(told.contains("1 passed"), "{told}");
    print!("{told}");
}
