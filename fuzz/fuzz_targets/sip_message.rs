//! Reads any bytes as a SIP message. What is read is printed and read again as the same, and what is
//! not read is answered with something that fits on one line each.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::{Message, Name};

fn printed(message: &Message) -> Bytes {
    match message {
        Message::Request(request) => request.to_bytes(),
        Message::Response(response) => response.to_bytes(),
    }
}

fn body(message: &Message) -> &Bytes {
    match message {
        Message::Request(request) => &request.body,
        Message::Response(response) => &response.body,
    }
}

fuzz_target!(|data: &[u8]| {
    let data = Bytes::copy_from_slice(data);
    match Message::parse(data.clone()) {
        Ok(message) => {
            let once = printed(&message);
            let again = Message::parse(once.clone()).expect("what was printed can be read");
            assert_eq!(body(&message), body(&again));
            assert!(
                data.windows(body(&message).len().max(1))
                    .any(|it| it == body(&message))
                    || body(&message).is_empty()
            );
            assert_eq!(once, printed(&again));
            if let (Message::Request(one), Message::Request(two)) = (&message, &again) {
                assert_eq!((&one.method, &one.uri), (&two.method, &two.uri));
                assert_eq!((one.from(), one.to()), (two.from(), two.to()));
                assert_eq!((one.call_id(), one.cseq()), (two.call_id(), two.cseq()));
                let vias = |it: &sip::Request| it.headers.values(Name::Via).count();
                assert_eq!(vias(one), vias(two));
            }
        }
        Err(error) => {
            assert!(!error.reason.contains(['\r', '\n']));
            if let Some((_, answer)) = error.answer() {
                assert!(answer.starts_with(b"SIP/2.0 "));
                assert!(answer.ends_with(b"\r\n\r\n"));
            }
        }
    }
});
