//! Calls between sipp and sipp where messages get lost, cross or come again: all are set up and
//! hung up, and nothing is left of them. Those agents that sipp has built in call as well.

use std::process::Command;

use crate::calls::Calls;
use crate::interop::quiet;

/// A call that is over is remembered, so that what comes again is answered again.
const REMEMBERED: (&str, &str) = (
    "</scenario>",
    "<timewait milliseconds=\"20000\"/></scenario>",
);
/// 202 may be the first that is heard.
pub(crate) const UNHEARD: (&str, &str) = (
    "<recv response=\"100\"/>",
    "<recv response=\"100\" optional=\"true\"/>",
);

/// A BYE may come before the ACK, and says that the answer was heard.
pub(crate) const NO_ACK: (&str, &str) = (
    "<recv request=\"ACK\"/>",
    "<recv request=\"ACK\" optional=\"true\"/>",
);

/// Passes calls between scenarios with changes.
fn pass(streamer: &[(&str, &str)], front: &[(&str, &str)]) {
    let calls = Calls::new();
    calls.between(("streamer.xml", streamer), ("front.xml", front));
    calls.end();
}

#[test]
fn an_accepted_call_whose_answer_is_lost() {
    let lost = ("response=\"202\"", "response=\"202\" lost=\"40\"");
    pass(&[], &[lost]);
}

#[test]
fn an_ack_that_is_lost_before_the_server() {
    let lost = ("<send><![CDATA[\nACK", "<send lost=\"40\"><![CDATA[\nACK");
    pass(&[NO_ACK], &[lost]);
}

#[test]
fn an_ack_that_is_lost_behind_the_server() {
    let lost = (
        "<recv request=\"ACK\"/>",
        "<recv request=\"ACK\" optional=\"true\" lost=\"40\"/>",
    );
    pass(&[lost], &[]);
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
    pass(&[answer, REMEMBERED], &[bye]);
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
    pass(&[request], &[invite, trying]);
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
    calls.pass(Some(answering), calling);
    calls.end();
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
    let front = calls.sipp(("front.xml", &[ringing]));
    calls.pass(Some(answering), front);
    calls.end();
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
    pass(&streamer, &front);
}
