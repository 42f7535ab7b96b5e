//! Calls between sipp and sipp: one side answers, the other one calls, each by a scenario of ours
//! and by what is changed in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::interop::{end, free_port, scenario, sipp, succeeded};
use crate::measure;
use crate::support::{Directory, PATIENCE, Program};

/// A scenario of ours, and what is changed in it: each of these by the other, wherever it stands.
pub(crate) type Scenario<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// How many calls pass.
pub(crate) fn count() -> usize {
    measure::times(30, 300) as usize
}

/// A server with a stream, whose streamer answers at that port.
pub(crate) struct Calls {
    directory: Directory,
    program: Program,
    port: String,
}

/// A message of a call, as signaling has kept it.
#[derive(Debug)]
pub(crate) struct Message {
    /// Which way it went and what it is: `in INVITE`, `out 200 BYE`.
    what: String,
    pub(crate) transport: String,
    /// How often it passed once more.
    pub(crate) again: u64,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let program = Program::start(&directory.data());
        let (port, server) = (free_port(), program.sip.to_string());
        let at = ["-s", "test", "-p", &port, "-m", "1", &server];
        succeeded(&sipp(&scenario("register.xml"), &at).output().unwrap());
        Calls {
            directory,
            program,
            port,
        }
    }

    /// A command that runs a scenario.
    pub(crate) fn sipp(&self, scenario: Scenario<'_>) -> Command {
        sipp(&changed(&self.directory.0, scenario), &[])
    }

    /// Lets one side answer, if there is one, and the other one call.
    pub(crate) fn pass(&self, answering: Option<Command>, mut calling: Command) {
        let count = count().to_string();
        let retries = ["-max_invite_retrans", "10", "-max_non_invite_retrans", "14"];
        let answering = answering.map(|mut answering| {
            answering.args(["-p", &self.port, "-m", &count]);
            answering.args(retries).spawn().unwrap()
        });
        calling.args(["-s", "test", "-m", &count, "-r", "50"]);
        calling.args(retries).arg(self.program.sip.to_string());
        succeeded(&calling.output().unwrap());
        if let Some(answering) = answering {
            succeeded(&answering.wait_with_output().unwrap());
        }
    }

    /// The same by scenarios.
    pub(crate) fn between(&self, streamer: Scenario<'_>, front: Scenario<'_>) {
        self.pass(Some(self.sipp(streamer)), self.sipp(front));
    }

    /// The messages of each call.
    pub(crate) fn ladders(&self) -> Vec<Vec<Message>> {
        ladders(&self.program, "test")
    }

    /// Waits until nothing is left, and returns what was logged.
    pub(crate) fn end(self) -> String {
        let none = |state: &Value| state["sessions"] == 0 && state["calls"] == 0;
        self.program.wait_for(PATIENCE, none);
        if measure::times(0, 1) == 1 {
            // What waits in vain, and then absorbs what is late, does so for 64 s.
            let forgotten = Duration::from_secs(90);
            self.program
                .wait_for(forgotten, |state| state["transactions"] == 0);
        }
        end(self.program)
    }
}

/// A scenario with its changes, in a file of that directory.
pub(crate) fn changed(directory: &Path, (name, changes): Scenario<'_>) -> PathBuf {
    let mut text = std::fs::read_to_string(scenario(name)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    let file = directory.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// The messages of each call to a stream, the latest call first.
pub(crate) fn ladders(program: &Program, stream: &str) -> Vec<Vec<Message>> {
    let json = |path: &str| -> Value {
        let (_, body) = program.get(path, "");
        serde_json::from_slice(&body).unwrap()
    };
    let calls = json("/calls");
    let calls = calls.as_array().unwrap().iter();
    let calls = calls.filter(|call| call["stream"] == stream);
    let ladders = calls.map(|call| {
        let call = json(&format!("/calls/{}", call["call_id"].as_str().unwrap()));
        let messages = call["ladder"].as_array().unwrap().iter();
        messages.map(Message::read).collect()
    });
    ladders.collect()
}

impl Message {
    pub(crate) fn is(&self, what: &str) -> bool {
        self.what == what
    }

    fn read(json: &Value) -> Self {
        let direction = json["direction"].as_str().unwrap();
        let cseq = json["cseq"].as_str().unwrap();
        let method = cseq.split(' ').next_back().unwrap();
        let what = match &json["status"] {
            Value::Null => format!("{direction} {method}"),
            status => format!("{direction} {status} {method}"),
        };
        Message {
            what,
            transport: json["transport"].as_str().unwrap().to_owned(),
            again: json["retransmissions"].as_u64().unwrap(),
        }
    }
}

/// How many of these messages a call has.
pub(crate) fn number(call: &[Message], what: &str) -> usize {
    call.iter().filter(|message| message.is(what)).count()
}

/// The only one of these messages that a call has.
#[track_caller]
pub(crate) fn only<'a>(call: &'a [Message], what: &str) -> &'a Message {
    assert_eq!(number(call, what), 1, "{what} in {call:?}");
    call.iter().find(|message| message.is(what)).unwrap()
}
