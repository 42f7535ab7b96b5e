//! One call: from the INVITE to a minute after its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::{ClientId, Dialog, Endpoint, Method, Name, Reason, Request, Response, StatusCode};

use super::informing::{Info, Informing, result_of};
use super::{Accepted, Reply};
use crate::error::Error;
use crate::secret::secret;

/// How long the reason of an end can be asked for (design section 4). Also covers the 32 s during
/// which retransmitted 2xx may still come.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);

/// The media type of offers and answers.
pub(super) const SDP: &str = "application/sdp";

/// A call and where it stands.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) stream: String,
    /// Names the session towards HTTP.
    pub(super) secret: String,
    pub(super) call_id: String,
    /// The INVITE's transaction.
    pub(super) invite: ClientId,
    pub(super) state: State,
}

/// Where a call stands. Time limits of the first, second and fourth state are those of their
/// transactions: 32 s.
#[derive(Debug)]
pub(super) enum State {
    /// INVITE sent. `heard` once any provisional answer came.
    Inviting { reply: Reply<Accepted>, heard: bool },
    /// Given up before its answer.
    Cancelling,
    /// Answered and acknowledged.
    Established {
        dialog: Box<Dialog>,
        ack: Box<Request>,
        since: Instant,
        informing: Informing,
    },
    /// Our BYE is on its way.
    Ending {
        bye: ClientId,
        ack: Box<Request>,
        reason: String,
    },
    /// Over; remembered for its reason and for late 2xx.
    Ended {
        ack: Option<Box<Request>>,
        reason: String,
        until: Instant,
    },
}

/// What a call needs to act: the time, the endpoint and where everything is sent.
pub(super) struct Hands<'a> {
    pub(super) now: Instant,
    pub(super) endpoint: &'a mut Endpoint,
    pub(super) signaling: SocketAddr,
}

impl Call {
    pub(super) fn new(
        stream: &str,
        call_id: &str,
        invite: ClientId,
        reply: Reply<Accepted>,
    ) -> Self {
        Self {
            stream: stream.to_owned(),
            secret: secret(),
            call_id: call_id.to_owned(),
            invite,
            state: State::Inviting {
                reply,
                heard: false,
            },
        }
    }

    /// Whether somebody still waits for an answer to this request, the INVITE.
    pub(super) fn is_waiting(&self, request: ClientId) -> bool {
        request == self.invite && matches!(self.state, State::Inviting { .. })
    }

    /// An answer to the INVITE, final or not. Returns the transaction of a BYE it led to.
    pub(super) fn handle_answer(
        &mut self,
        hands: &mut Hands<'_>,
        response: &Response,
    ) -> Option<ClientId> {
        if response.status.is_provisional() {
            if let State::Inviting { heard, .. } = &mut self.state {
                *heard = true;
            }
            return None;
        }
        if response.status.is_success() {
            return self.handle_success(hands, response);
        }
        let text = reason_text(response.headers.all(Name::Reason))
            .unwrap_or_else(|| response.reason.clone());
        self.fail(
            hands.now,
            &Error::from_sip(response.status.code(), &text, &self.stream),
        );
        None
    }

    /// The INVITE has no final answer within its time.
    pub(super) fn handle_failure(&mut self, hands: &Hands<'_>, too_large: bool) {
        let heard = matches!(self.state, State::Inviting { heard: true, .. });
        let error = if too_large {
            let limit = sip::endpoint::MAX_DATAGRAM;
            Error::TooLarge { limit }
        } else if heard {
            let stream = self.stream.clone();
            Error::NoAnswer { stream }
        } else {
            let address = hands.signaling;
            Error::SignalingUnreachable { address }
        };
        self.fail(hands.now, &error);
    }

    /// Nobody waits for the answer any more, or the program stops: CANCEL, or BYE when the answer
    /// was there already. Who still waits gets `error`. Returns the transaction of a BYE.
    pub(super) fn give_up(
        &mut self,
        hands: &mut Hands<'_>,
        reason: &Reason,
        error: Error,
    ) -> Option<ClientId> {
        match &self.state {
            State::Inviting { .. } => {
                hands.endpoint.cancel(hands.now, self.invite);
                let old = std::mem::replace(&mut self.state, State::Cancelling);
                if let State::Inviting { reply, .. } = old {
                    // Who asked may have gone: that is why we are here.
                    let _ = reply.send(Err(error));
                }
                tracing::info!(
                    call_id = self.call_id,
                    stream = self.stream,
                    "call cancelled"
                );
                None
            }
            State::Established { .. } => self.hang_up(hands, reason),
            State::Cancelling | State::Ending { .. } | State::Ended { .. } => None,
        }
    }

    /// Sends BYE when the call is established. Returns its transaction.
    pub(super) fn hang_up(&mut self, hands: &mut Hands<'_>, reason: &Reason) -> Option<ClientId> {
        let State::Established { dialog, ack, .. } = &mut self.state else {
            return None;
        };
        let bye = send_bye(hands, dialog, reason);
        tracing::info!(
            call_id = self.call_id,
            stream = self.stream,
            reason = reason.text,
            "call ended by us"
        );
        self.state = State::Ending {
            bye,
            ack: ack.clone(),
            reason: reason.text.clone(),
        };
        Some(bye)
    }

    /// The other side's BYE; the status to answer it with when it is not one of this call.
    pub(super) fn handle_bye(&mut self, now: Instant, request: &Request) -> Result<(), StatusCode> {
        match &mut self.state {
            State::Established { dialog, ack, .. } => {
                dialog.accepts(request)?;
                let reason = reason_text(request.headers.all(Name::Reason))
                    .unwrap_or_else(|| "the streamer ended the stream".to_owned());
                tracing::info!(
                    call_id = self.call_id,
                    stream = self.stream,
                    reason,
                    "call ended by the streamer"
                );
                self.state = State::Ended {
                    ack: Some(ack.clone()),
                    reason,
                    until: now + REMEMBERED,
                };
                Ok(())
            }
            // Both hung up at the same time: theirs is answered, ours goes on.
            State::Ending { .. } => Ok(()),
            State::Inviting { .. } | State::Cancelling | State::Ended { .. } => {
                Err(StatusCode::CALL_DOES_NOT_EXIST)
            }
        }
    }

    /// Our BYE was answered or given up: over either way.
    pub(super) fn handle_bye_done(&mut self, now: Instant, id: ClientId) {
        if let State::Ending { bye, ack, reason } = &self.state {
            if *bye == id {
                self.state = State::Ended {
                    ack: Some(ack.clone()),
                    reason: reason.clone(),
                    until: now + REMEMBERED,
                };
            }
        }
    }

    /// Passes on what a browser tells or asks. Returns the transaction that it led to.
    pub(super) fn inform(
        &mut self,
        hands: &mut Hands<'_>,
        info: Info,
        reply: Reply<Bytes>,
    ) -> Option<ClientId> {
        let error = match &mut self.state {
            State::Established {
                dialog, informing, ..
            } => return informing.push(hands, dialog, info, reply),
            State::Ending { reason, .. } | State::Ended { reason, .. } => Error::Ended {
                reason: reason.clone(),
            },
            State::Inviting { .. } | State::Cancelling => Error::NoSuchSession,
        };
        // Who asked may have gone: nothing was begun.
        let _ = reply.send(Err(error));
        None
    }

    /// The final answer to it, or none in its time. Returns the transaction of the next one.
    pub(super) fn handle_informed(
        &mut self,
        hands: &mut Hands<'_>,
        id: ClientId,
        answer: Option<&Response>,
    ) -> Option<ClientId> {
        let result = match answer {
            Some(response) => result_of(response, &self.stream),
            None => Err(Error::NoAnswer {
                stream: self.stream.clone(),
            }),
        };
        match &mut self.state {
            State::Established {
                dialog, informing, ..
            } => informing.handle_answer(hands, dialog, id, result),
            _ => None,
        }
    }

    fn handle_success(&mut self, hands: &mut Hands<'_>, response: &Response) -> Option<ClientId> {
        let known = match &self.state {
            State::Established { ack, .. } | State::Ending { ack, .. } => Some(ack),
            State::Ended { ack, .. } => ack.as_ref(),
            State::Inviting { .. } | State::Cancelling => None,
        };
        if let Some(ack) = known {
            if ack.to().tag() == response.to().tag() {
                let ack = ack.clone();
                hands.endpoint.send_request(hands.signaling, *ack);
                return None;
            }
        }
        // Gone from the endpoint only if this answer came after the transaction's end, and then
        // it is a stray and never gets here.
        let invite = hands.endpoint.client_request(self.invite)?;
        let mut dialog = Box::new(Dialog::uac(invite, response));
        let ack = Box::new(dialog.ack());
        hands.endpoint.send_request(hands.signaling, (*ack).clone());

        if known.is_some() {
            // A second callee answered: one is enough.
            let reason = Reason::new(200, "Call completed elsewhere");
            return Some(send_bye(hands, &mut dialog, &reason));
        }
        if !matches!(self.state, State::Inviting { .. }) {
            // The answer crossed our CANCEL, or came after we had given up.
            let reason = Reason::new(487, "The viewer has left");
            let bye = send_bye(hands, &mut dialog, &reason);
            self.state = State::Ending {
                bye,
                ack,
                reason: reason.text,
            };
            return Some(bye);
        }
        let since = hands.now;
        let established = State::Established {
            dialog,
            ack,
            since,
            informing: Informing::default(),
        };
        let old = std::mem::replace(&mut self.state, established);
        let State::Inviting { reply, .. } = old else {
            return None;
        };
        if response.content_type().as_deref() != Some(SDP) || response.body.is_empty() {
            let reason = "the answer holds no SDP".to_owned();
            let status = response.status.code();
            let stream = self.stream.clone();
            // Who asked may have gone: the call ends in any case.
            let _ = reply.send(Err(Error::Refused {
                stream,
                status,
                reason,
            }));
            return self.hang_up(hands, &Reason::new(488, "The answer holds no SDP"));
        }
        let answer = Accepted {
            sdp: Bytes::clone(&response.body),
            secret: self.secret.clone(),
        };
        tracing::info!(
            call_id = self.call_id,
            stream = self.stream,
            "call established"
        );
        if reply.send(Ok(answer)).is_err() {
            return self.hang_up(hands, &Reason::new(487, "The viewer has left"));
        }
        None
    }

    fn fail(&mut self, now: Instant, error: &Error) {
        let ended = State::Ended {
            ack: None,
            reason: error.to_string(),
            until: now + REMEMBERED,
        };
        match &self.state {
            State::Inviting { .. } | State::Cancelling => {}
            // A refusal after a 2xx belongs to another branch of a forked call.
            State::Established { .. } | State::Ending { .. } | State::Ended { .. } => return,
        }
        if let State::Inviting { reply, .. } = std::mem::replace(&mut self.state, ended) {
            tracing::info!(call_id = self.call_id, stream = self.stream, %error, "call failed");
            // Who asked may have gone: the guard's message follows and finds nothing to do.
            let _ = reply.send(Err(error.clone()));
        }
    }
}

fn send_bye(hands: &mut Hands<'_>, dialog: &mut Dialog, reason: &Reason) -> ClientId {
    let mut bye = dialog.request(Method::Bye);
    bye.headers.push(Name::Reason, &reason.to_string());
    hands.endpoint.request(hands.now, hands.signaling, bye)
}

/// The text of the first SIP reason that has one (RFC 3326).
fn reason_text<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<String> {
    values
        .find_map(Reason::parse)
        .map(|reason| reason.text)
        .filter(|text| !text.is_empty())
}
