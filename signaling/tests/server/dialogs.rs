//! What goes on within calls between sipp and sipp, and how they end: by the BYE of one of the two,
//! and by nothing else.

use std::fs;

use crate::calls::{Calls, Scenario, count, number, only};
use crate::cancels::{HEARD, TO_HEARD, cancel};
use crate::interop::scenario;

#[test]
fn either_side_holds_a_call_and_takes_it_back() {
    let calls = Calls::new();
    calls.between(("hold_streamer.xml", &[]), ("hold_front.xml", &[]));
    for call in calls.ladders() {
        for what in ["in INVITE", "out INVITE", "in ACK", "out ACK"] {
            assert_eq!(number(&call, what), 5, "{what} in {call:?}");
        }
    }
    calls.end();
}

/// The INVITE of front.xml once more, so many elements later.
fn invite_again(later: usize) -> String {
    let text = fs::read_to_string(scenario("front.xml")).unwrap();
    let (begin, end) = ("<send retrans=\"500\">", "</send>");
    let (_, text) = text.split_once(begin).unwrap();
    let (text, _) = text.split_once(end).unwrap();
    let text = text.replace("[branch]", &format!("[branch-{later}]"));
    format!("  <send>{text}{end}\n")
}

/// A question for the server, whose answer tells that it has read all that was sent before.
const QUESTION: &str = r#"  <send retrans="500"><![CDATA[
OPTIONS sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:viewer@[local_ip]:[local_port]>;tag=[pid]f[call_number]
To: <sip:[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 3 OPTIONS
Content-Length: 0

]]></send>
  <recv response="200"/>
"#;

const ACK: &str = "  <send><![CDATA[\nACK";
const BYE: &str = "  <send retrans=\"500\"><![CDATA[\nBYE";
const END: &str = "</scenario>";

#[test]
fn an_invite_that_comes_again_after_its_answer_is_absorbed() {
    let calls = Calls::new();
    // Before its ACK, after it, and after the BYE.
    let front = [
        (ACK, &*format!("{}{ACK}", invite_again(3))),
        (BYE, &*format!("{}{BYE}", invite_again(5))),
        (END, &*format!("{}{QUESTION}{END}", invite_again(8))),
    ];
    calls.between(("streamer.xml", &[]), ("front.xml", &front));
    let ladders = calls.ladders();
    assert_eq!(ladders.len(), count());
    for call in ladders {
        let came = only(&call, "in INVITE").again;
        only(&call, "out INVITE");
        assert!(came >= 3, "{call:?}");
        // 100 is for those that come before the answer, and 202 comes from the streamer alone.
        assert!(only(&call, "out 100 INVITE").again <= came - 3, "{call:?}");
        let answers = ["in 202 INVITE", "out 202 INVITE"].map(|what| only(&call, what).again);
        assert_eq!(answers[0], answers[1], "{call:?}");
    }
    let log = calls.end();
    assert_eq!(log.matches("call accepted").count(), count(), "{log}");
}

/// Of who is hung up: hangs up as well before it answers that.
const CROSSING: [(&str, &str); 2] = [
    (
        "  <recv request=\"BYE\"/>\n",
        r#"  <recv request="BYE">
    <action>
      <ereg regexp=".*" search_in="hdr" header="Via:" occurrence="1" assign_to="via"/>
      <ereg regexp=".*" search_in="hdr" header="Via:" occurrence="2" assign_to="via_below"/>
      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>
      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
      <ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="cseq"/>
    </action>
  </recv>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From:[$to]
To:[$from]
Call-ID: [call_id]
CSeq: 9 BYE
Content-Length: 0

]]></send>
  <recv response="481"/>
"#,
    ),
    (
        "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0",
        "Via:[$via]\nVia:[$via_below]\nFrom:[$from]\nTo:[$to]\nCall-ID: [call_id]\nCSeq:[$cseq]\n\
         Content-Length: 0",
    ),
];

#[test]
fn of_two_byes_that_cross_the_first_ends_the_call_and_the_other_is_481() {
    let pairs: [[Scenario<'_>; 2]; 2] = [
        [("streamer.xml", &CROSSING), ("front.xml", &[])],
        [
            ("hanging_up_streamer.xml", &[]),
            ("waiting_front.xml", &CROSSING),
        ],
    ];
    for [streamer, front] in pairs {
        let calls = Calls::new();
        calls.between(streamer, front);
        for call in calls.ladders() {
            assert_eq!(number(&call, "in BYE"), 2, "{call:?}");
            for what in ["out BYE", "out 200 BYE", "out 481 BYE"] {
                only(&call, what);
            }
        }
        calls.end();
    }
}

/// BYEs with these tags of From and To, none of which ends a call.
fn wrong_byes(pairs: [[&str; 2]; 4]) -> String {
    let byes = pairs.map(|[from, to]| {
        format!(
            r#"  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:one@[local_ip]:[local_port]>{from}
To: <sip:other@[local_ip]:[local_port]>{to}
Call-ID: [call_id]
CSeq: 2 BYE
Content-Length: 0

]]></send>
  <recv response="481"/>
"#
        )
    });
    byes.concat()
}

/// The tags of a call as its front writes them. The one of the streamer is known from its answer.
const FRONT: &str = ";tag=[pid]f[call_number]";
const STREAMER: &str = ";tag=[$tag]";
const NOBODY: &str = ";tag=nobody";

#[test]
fn what_has_a_wrong_tag_ends_no_call_of_the_fronts() {
    let tag = r#"<ereg regexp="[0-9]+t[0-9]+" search_in="hdr" header="To:" assign_to="tag"/>"#;
    let heard = HEARD
        .1
        .replace("<action>", &format!("<action>\n      {tag}"));
    let byes = wrong_byes([
        [NOBODY, STREAMER],
        [FRONT, NOBODY],
        [FRONT, ""],
        // Its own twice.
        [FRONT, FRONT],
    ]);
    let wrong = format!("{byes}{}{BYE}", cancel(-12, NOBODY, 481));
    let calls = Calls::new();
    let front = [(HEARD.0, &*heard), TO_HEARD, (BYE, &*wrong)];
    calls.between(("streamer.xml", &[]), ("front.xml", &front));
    for call in calls.ladders() {
        assert_eq!(number(&call, "in BYE"), 5, "{call:?}");
        only(&call, "out BYE");
        assert_eq!(number(&call, "out CANCEL"), 0, "{call:?}");
    }
    calls.end();
}

#[test]
fn what_has_a_wrong_tag_ends_no_call_of_the_streamers() {
    let (caller, called) = (";tag=[$tag]", ";tag=[pid]t[call_number]");
    let tag = r#"<ereg regexp="[0-9]+f[0-9]+" search_in="hdr" header="From:" assign_to="tag"/>"#;
    let byes = wrong_byes([
        [NOBODY, caller],
        [called, NOBODY],
        [called, ""],
        [called, called],
    ]);
    let calls = Calls::new();
    let streamer = [
        ("<action>", &*format!("<action>\n      {tag}")),
        (BYE, &*format!("{byes}{BYE}")),
    ];
    calls.between(
        ("hanging_up_streamer.xml", &streamer),
        ("waiting_front.xml", &[]),
    );
    for call in calls.ladders() {
        assert_eq!(number(&call, "in BYE"), 5, "{call:?}");
        only(&call, "out BYE");
    }
    calls.end();
}
