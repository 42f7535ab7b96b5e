//! CANCEL in every state of a call between sipp and sipp. While it rings: see `interop`.

use crate::calls::{Calls, number, only};

/// A CANCEL of the INVITE that many elements from here, with this tag of From, and its answer.
pub(crate) fn cancel(from_here: i32, tag: &str, status: u16) -> String {
    format!(
        r#"  <send retrans="500"><![CDATA[
CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch{from_here:+}]
Max-Forwards: 70
From: "Viewer [call_number]" <sip:viewer@[local_ip]:[local_port]>{tag}
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 CANCEL
Content-Length: 0

]]></send>
  <recv response="{status}"/>
"#
    )
}

/// The tag of front.xml.
const FRONT: &str = ";tag=[pid]f[call_number]";

/// Keeps whom an answer is from, for when it is not the last that was heard.
pub(crate) const HEARD: (&str, &str) = (
    r#"<recv response="202" rrs="true"/>"#,
    r#"<recv response="202" rrs="true">
    <action>
      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="heard"/>
    </action>
  </recv>"#,
);
pub(crate) const TO_HEARD: (&str, &str) = ("[last_To:]", "To:[$heard]");

const BEGIN: &str = "<scenario name=\"front\">\n";
const ACK: &str = "  <send><![CDATA[\nACK";
const BYE: &str = "  <send retrans=\"500\"><![CDATA[\nBYE";
const END: &str = "</scenario>";

#[test]
fn a_cancel_before_its_invite_is_481_and_the_call_passes() {
    let early = format!("{BEGIN}{}", cancel(2, FRONT, 481));
    let calls = Calls::new();
    calls.between(("streamer.xml", &[]), ("front.xml", &[(BEGIN, &early)]));
    calls.end();
}

#[test]
fn a_cancel_before_the_streamer_is_heard_of_waits_for_it() {
    let calls = Calls::new();
    let slow = (
        "<recv request=\"INVITE\"/>",
        "<recv request=\"INVITE\"/>\n  <pause milliseconds=\"200\"/>",
    );
    // Something in its place: branches are counted.
    let unheard = ("<recv response=\"180\"/>", "<nop/>");
    calls.between(
        ("ringing_streamer.xml", &[slow]),
        ("cancelling_front.xml", &[unheard]),
    );
    for call in calls.ladders() {
        let place = |what: &str| {
            only(&call, what);
            call.iter().position(|message| message.is(what))
        };
        let places = ["out 487 INVITE", "in 180 INVITE", "out CANCEL"].map(place);
        assert!(places.is_sorted(), "{call:?}");
    }
    calls.end();
}

#[test]
fn a_cancel_with_a_wrong_tag_leaves_the_call_ringing() {
    let calls = Calls::new();
    let ringing = "<recv response=\"180\"/>\n";
    let wrong = cancel(-3, ";tag=nobody", 481);
    let front = [
        ("[branch-3]", "[branch-5]"),
        ("[branch-6]", "[branch-8]"),
        (ringing, &*format!("{ringing}{wrong}")),
    ];
    calls.between(
        ("ringing_streamer.xml", &[]),
        ("cancelling_front.xml", &front),
    );
    for call in calls.ladders() {
        only(&call, "out CANCEL");
    }
    calls.end();
}

/// Hung up by BYE, as in streamer.xml.
const HUNG_UP: &str = r#"  <recv request="ACK"/>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
"#;

#[test]
fn a_cancel_that_crosses_the_answer_ends_the_call_by_a_bye() {
    let calls = Calls::new();
    let streamer = [
        ("487 Request Terminated", "202 Accepted"),
        (
            "CSeq: 1 INVITE\n",
            "CSeq: 1 INVITE\nContact: <sip:[local_ip]:[local_port]>\n",
        ),
        ("  <recv request=\"ACK\"/>\n", HUNG_UP),
    ];
    calls.between(
        ("ringing_streamer.xml", &streamer),
        ("cancelling_front.xml", &[]),
    );
    for call in calls.ladders() {
        for what in ["out 487 INVITE", "in 202 INVITE", "out BYE"] {
            only(&call, what);
        }
        assert_eq!(number(&call, "out 202 INVITE"), 0, "{call:?}");
    }
    calls.end();
}

#[test]
fn a_cancel_after_the_answer_has_no_effect() {
    // Before the ACK, after it, and after the BYE.
    for (place, from_here) in [(ACK, -3), (BYE, -4), (END, -6)] {
        let calls = Calls::new();
        let late = format!("{}{place}", cancel(from_here, FRONT, 200));
        let front = [HEARD, TO_HEARD, (place, &*late)];
        calls.between(("streamer.xml", &[]), ("front.xml", &front));
        for call in calls.ladders() {
            assert_eq!(number(&call, "out CANCEL"), 0, "{call:?}");
            only(&call, "out BYE");
        }
        calls.end();
    }
}

#[test]
fn a_cancel_after_a_refusal_has_no_effect() {
    let calls = Calls::new();
    let ringing = "<recv request=\"CANCEL\"/>";
    let text = std::fs::read_to_string(crate::interop::scenario("ringing_streamer.xml")).unwrap();
    // It refuses where it rings, and all that follows is the ACK.
    let (_, cancelled) = text.split_once(ringing).unwrap();
    let streamer = [
        ("180 Ringing", "486 Busy Here"),
        (
            &*format!("  {ringing}{cancelled}"),
            "  <recv request=\"ACK\"/>\n</scenario>\n",
        ),
    ];
    let front = [
        (
            "<recv response=\"180\"/>",
            &*HEARD.1.replace("202\" rrs=\"true", "486"),
        ),
        ("<recv response=\"487\"/>", "<nop/>"),
        TO_HEARD,
    ];
    calls.between(
        ("ringing_streamer.xml", &streamer),
        ("cancelling_front.xml", &front),
    );
    for call in calls.ladders() {
        assert_eq!(number(&call, "out CANCEL"), 0, "{call:?}");
        only(&call, "out 486 INVITE");
    }
    calls.end();
}

#[test]
fn a_cancel_of_what_was_refused_at_once_is_481() {
    let calls = Calls::new();
    let front = [
        ("sip:[service]@", "sip:nobody@"),
        ("<recv response=\"100\"/>", "<recv response=\"404\"/>"),
        ("<recv response=\"180\"/>", "<nop/>"),
        ("<recv response=\"200\"/>", "<recv response=\"481\"/>"),
        ("<recv response=\"487\"/>", "<nop/>"),
    ];
    calls.pass(None, calls.sipp(("cancelling_front.xml", &front)));
    calls.end();
}

#[test]
fn a_cancel_is_answered_though_the_streamer_is_gone() {
    let calls = Calls::new();
    let unheard = ("<recv response=\"180\"/>", "<nop/>");
    calls.pass(None, calls.sipp(("cancelling_front.xml", &[unheard])));
    for call in calls.ladders() {
        assert_eq!(number(&call, "out CANCEL"), 0, "{call:?}");
    }
    calls.end();
}

/// Asks for something else within the call, and gives up when it rings.
const ASKING: &str = r#"  <send retrans="500"><![CDATA[
INVITE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: "Viewer [call_number]" <sip:viewer@[local_ip]:[local_port]>;tag=[pid]f[call_number]
To:[$heard]
Call-ID: [call_id]
CSeq: 2 INVITE
Contact: <sip:viewer@[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>
  <recv response="100"/>
  <recv response="180"/>
  <send retrans="500"><![CDATA[
CANCEL [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch-3]
[routes]
Max-Forwards: 70
From: "Viewer [call_number]" <sip:viewer@[local_ip]:[local_port]>;tag=[pid]f[call_number]
To:[$heard]
Call-ID: [call_id]
CSeq: 2 CANCEL
Content-Length: 0

]]></send>
  <recv response="200"/>
  <recv response="487"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch-6]
[routes]
Max-Forwards: 70
From: "Viewer [call_number]" <sip:viewer@[local_ip]:[local_port]>;tag=[pid]f[call_number]
To:[$heard]
Call-ID: [call_id]
CSeq: 2 ACK
Content-Length: 0

]]></send>
"#;

#[test]
fn a_cancel_within_a_call_leaves_the_call_as_it_was() {
    let calls = Calls::new();
    // The streamer lets it ring as it would a new call.
    let ringing =
        std::fs::read_to_string(crate::interop::scenario("ringing_streamer.xml")).unwrap();
    let (_, ringing) = ringing.split_once("ringing streamer\">\n").unwrap();
    let ringing = ringing.replace(";tag=[pid]t[call_number]", "");
    let ringing = ringing.replace("CSeq: 1 ", "CSeq: 2 ");
    let ringing = ringing.replace("</scenario>\n", BYE);
    // The streamer hangs up, since front hears of the end of its INVITE before the streamer does.
    let hung_up = "  <recv request=\"BYE\"/>\n";
    let front = [HEARD, (hung_up, &*format!("{ASKING}{hung_up}"))];
    calls.between(
        ("hanging_up_streamer.xml", &[(BYE, &ringing)]),
        ("waiting_front.xml", &front),
    );
    for call in calls.ladders() {
        for what in ["out CANCEL", "out 487 INVITE", "out BYE"] {
            only(&call, what);
        }
    }
    calls.end();
}
