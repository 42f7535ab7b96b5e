//! Calls between sipp and sipp where messages get lost, cross or come again: all are set up and
//! hung up, and nothing is left of them. Those agents that sipp has built in call as well.

use std::path::PathBuf;
use std::process::Command;

use crate::interop::{end, free_port, quiet, scenario, sipp, succeeded};
use crate::support::{Directory, PATIENCE, Program};

/// What is changed in a scenario: each of these by the other.
type Changes<'a> = &'a [(&'a str, &'a str)];

/// Set where all counts are full.
const SOAK: &str = "RUSTICAST_SOAK";

fn count() -> String {
    let full = std::env::var_os(SOAK).is_some();
    if full { "300" } else { "30" }.to_owned()
}

/// Both sides of a call that is described by their files and by what is changed in them.
struct Calls {
    directory: Directory,
    program: Program,
    port: String,
}

impl Calls {
    fn new() -> Self {
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

    /// A scenario of ours with changes.
    fn changed(&self, name: &str, changes: Changes<'_>) -> PathBuf {
        let mut text = std::fs::read_to_string(scenario(name)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{name} has no {from}");
            text = text.replace(from, to);
        }
        let file = self.directory.0.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Lets one side answer and the other one call, and waits until nothing is left.
    fn pass(self, mut answering: Command, mut calling: Command) {
        let count = count();
        let retries = ["-max_invite_retrans", "10", "-max_non_invite_retrans", "14"];
        answering
            .args(["-p", &self.port, "-m", &count])
            .args(retries);
        calling.args(["-s", "test", "-m", &count, "-r", "20"]);
        calling.args(retries).arg(self.program.sip.to_string());
        let answering = answering.spawn().unwrap();
        succeeded(&calling.output().unwrap());
        succeeded(&answering.wait_with_output().unwrap());
        let state = self
            .program
            .wait_for(PATIENCE, |state| state["sessions"] == 0);
        assert_eq!(state["calls"], 0);
        end(self.program);
    }

    fn with(self, streamer: Changes<'_>, front: Changes<'_>) {
        let streamer = sipp(&self.changed("streamer.xml", streamer), &[]);
        let front = sipp(&self.changed("front.xml", front), &[]);
        self.pass(streamer, front);
    }
}

/// A call that is over is remembered, so that what comes again is answered again.
const REMEMBERED: (&str, &str) = (
    "</scenario>",
    "<timewait milliseconds=\"20000\"/></scenario>",
);
/// 202 may be the first that is heard.
const UNHEARD: (&str, &str) = (
    "<recv response=\"100\"/>",
    "<recv response=\"100\" optional=\"true\"/>",
);

/// A BYE may come before the ACK, and says that the answer was heard.
const NO_ACK: (&str, &str) = (
    "<recv request=\"ACK\"/>",
    "<recv request=\"ACK\" optional=\"true\"/>",
);

#[test]
fn an_accepted_call_whose_answer_is_lost() {
    let lost = ("response=\"202\"", "response=\"202\" lost=\"40\"");
    Calls::new().with(&[], &[lost]);
}

#[test]
fn an_ack_that_is_lost_before_the_server() {
    let lost = ("<send><![CDATA[\nACK", "<send lost=\"40\"><![CDATA[\nACK");
    Calls::new().with(&[NO_ACK], &[lost]);
}

#[test]
fn an_ack_that_is_lost_behind_the_server() {
    let lost = (
        "<recv request=\"ACK\"/>",
        "<recv request=\"ACK\" optional=\"true\" lost=\"40\"/>",
    );
    Calls::new().with(&[lost], &[]);
}

#[test]
fn a_bye_that_is_lost_and_its_answer() {
    let bye = (
        "<send retrans=\"500\"><![CDATA[\nBYE",
        "<send retrans=\"500\" lost=\"25\"><![CDATA[\nBYE",
    );
    let answer = (
        "<send><![CDATA[\nSIP/2.0 200 OK",
        "<send lost=\"25\"><![CDATA[\nSIP/2.0 200 OK",
    );
    Calls::new().with(&[answer, REMEMBERED], &[bye]);
}

#[test]
fn an_invite_that_is_lost_and_its_100() {
    let invite = (
        "<send retrans=\"500\"><![CDATA[\nINVITE",
        "<send retrans=\"500\" lost=\"15\"><![CDATA[\nINVITE",
    );
    let trying = (
        "<recv response=\"100\"/>",
        "<recv response=\"100\" optional=\"true\" lost=\"15\"/>",
    );
    let request = ("request=\"INVITE\"", "request=\"INVITE\" lost=\"15\"");
    Calls::new().with(&[request], &[invite, trying]);
}

#[test]
fn agents_that_sipp_has_built_in() {
    let calls = Calls::new();
    let mut answering = Command::new("sipp");
    answering.args(["-sn", "uas"]);
    let mut calling = Command::new("sipp");
    calling.args(["-sn", "uac"]);
    for command in [&mut answering, &mut calling] {
        quiet(command);
    }
    calls.pass(answering, calling);
}

#[test]
fn the_streamer_that_sipp_has_built_in() {
    let calls = Calls::new();
    let mut answering = Command::new("sipp");
    answering.args(["-sn", "uas"]);
    quiet(&mut answering);
    let ringing = (
        "<recv response=\"202\"",
        "<recv response=\"180\"/>\n  <recv response=\"200\"",
    );
    let front = sipp(&calls.changed("front.xml", &[ringing]), &[]);
    calls.pass(answering, front);
}

#[test]
fn one_of_ten_of_everything_is_lost() {
    let everything = [
        ("<send", "<send lost=\"10\""),
        ("<recv", "<recv lost=\"10\""),
    ];
    let [send, receive] = everything;
    let (streamer, front) = (
        [NO_ACK, send, receive, REMEMBERED],
        [UNHEARD, send, receive],
    );
    Calls::new().with(&streamer, &front);
}
