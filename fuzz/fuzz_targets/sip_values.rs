//! Reads any text as the values of header fields: what is read is printed and read again as the same.

#![no_main]

use std::fmt::{Debug, Display};

use libfuzzer_sys::fuzz_target;
use sip::{CSeq, NameAddr, Reason, Uri, Via};

fn same<T: Display + Debug + PartialEq>(value: Option<T>, parse: impl Fn(&str) -> Option<T>) {
    if let Some(value) = value {
        let text = value.to_string();
        assert!(!text.contains(['\r', '\n']), "{text:?}");
        assert_eq!(parse(&text).as_ref(), Some(&value), "{text:?}");
    }
}

fuzz_target!(|text: &str| {
    // A header field has no line ends: those of a folded one were taken for blanks before.
    if text.contains(['\r', '\n']) {
        return;
    }
    let uri = |text: &str| Uri::parse(text).ok();
    same(uri(text), uri);
    let address = |text: &str| NameAddr::parse(text).ok();
    same(address(text), address);
    let via = |text: &str| Via::parse(text).ok();
    same(via(text), via);
    let cseq = |text: &str| CSeq::parse(text).ok();
    same(cseq(text), cseq);
    same(Reason::parse(text), Reason::parse);
});
