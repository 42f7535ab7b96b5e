//! What a browser tells and asks within its call: INFO (RFC 6086) and OPTIONS, one after the other.
//!
//! The far end refuses a request that is overtaken by a later one (RFC 3261 section 12.2.2), so the
//! next one waits for the answer to the one before.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::json;
use sip::{ClientId, Dialog, Method, Name, Response};

use super::Reply;
use super::table::Hands;
use crate::error::Error;

/// The Info Package of ICE candidates that come after the offer (RFC 8840).
const PACKAGE: &str = "trickle-ice";
/// The body of its requests (RFC 8840 section 9), in HTTP as in SIP.
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// A browser finds a handful of candidates, and may send each as it finds it.
const WAITING: usize = 32;

/// What there is to tell.
#[derive(Debug)]
pub(crate) enum Info {
    /// Candidates that were found after the offer, as the browser sent them.
    Candidates(Bytes),
    /// The rung to see from now on: `auto`, `audio` or the name of one.
    Rung(String),
    /// What the stream says of itself: the one streamer of the call is asked, of several.
    Question,
}

/// What of one call waits to be told or is on its way.
#[derive(Debug)]
pub(super) struct Informing {
    sent: Option<Sent>,
    waiting: VecDeque<(Info, Reply<Bytes>)>,
    /// What was chosen last.
    rung: String,
}

#[derive(Debug)]
struct Sent {
    id: ClientId,
    rung: Option<String>,
    reply: Reply<Bytes>,
}

impl Default for Informing {
    fn default() -> Self {
        Self {
            sent: None,
            waiting: VecDeque::new(),
            rung: "auto".to_owned(),
        }
    }
}

impl Informing {
    /// Takes what there is to tell. Returns the transaction of the request that it led to.
    pub(super) fn push(
        &mut self,
        hands: &mut Hands<'_>,
        dialog: &mut Dialog,
        info: Info,
        reply: Reply<Bytes>,
    ) -> Option<ClientId> {
        if self.waiting.len() >= WAITING {
            let what = "requests of one session at a time";
            // Who asked may have gone: nothing was begun.
            let _ = reply.send(Err(Error::TooMany { what }));
            return None;
        }
        self.waiting.push_back((info, reply));
        self.send_next(hands, dialog)
    }

    /// A request was answered, or given up without an answer. Returns the transaction of the next
    /// one; `None` also when this was none of ours.
    pub(super) fn handle_answer(
        &mut self,
        hands: &mut Hands<'_>,
        dialog: &mut Dialog,
        id: ClientId,
        result: Result<Bytes, Error>,
    ) -> Option<ClientId> {
        let sent = self.sent.take_if(|sent| sent.id == id)?;
        if let (Ok(_), Some(rung)) = (&result, sent.rung) {
            self.rung = rung;
        }
        // Who asked may have gone: the streamer was told all the same.
        let _ = sent.reply.send(result);
        self.send_next(hands, dialog)
    }

    /// The rung that was chosen: `auto`, `audio` or a name.
    pub(super) fn rung(&self) -> &str {
        &self.rung
    }

    fn send_next(&mut self, hands: &mut Hands<'_>, dialog: &mut Dialog) -> Option<ClientId> {
        if self.sent.is_some() {
            return None;
        }
        let (info, reply) = self.waiting.pop_front()?;
        let mut request = dialog.request(match info {
            Info::Candidates(_) | Info::Rung(_) => Method::Info,
            Info::Question => Method::Options,
        });
        let rung = match info {
            Info::Candidates(fragment) => {
                request.headers.push(Name::InfoPackage, PACKAGE);
                request
                    .headers
                    .push(Name::ContentDisposition, "Info-Package");
                request.set_body(FRAGMENT, fragment);
                None
            }
            Info::Rung(name) => {
                let body = json!({"rung": name}).to_string();
                request.set_body("application/json", body.into());
                Some(name)
            }
            Info::Question => {
                request.headers.push(Name::Accept, "application/json");
                None
            }
        };
        let id = hands.endpoint.request(hands.now, hands.signaling, request);
        self.sent = Some(Sent { id, rung, reply });
        Some(id)
    }
}

/// What an answer means for who asked: its body, if it is one that says yes.
pub(super) fn result_of(response: &Response, stream: &str) -> Result<Bytes, Error> {
    match response.status.code() {
        200..=299 => Ok(response.body.clone()),
        400 => Err(Error::BadRequest {
            why: response.reason.clone(),
        }),
        status => Err(Error::from_sip(status, &response.reason, stream)),
    }
}
