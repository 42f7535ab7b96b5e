//! A call between two user agents, as far as its requests need it (RFC 3261 section 12).

use crate::header::{Name, NameAddr};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::status::StatusCode;
use crate::uri::Uri;

/// One side's view of a call.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    local: NameAddr,
    remote: NameAddr,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    invite_cseq: u32,
    target: Uri,
    routes: Vec<String>,
    /// Of the INVITE: its ACK carries the same (section 13.2.2.4).
    credentials: Vec<(Name, String)>,
}

impl Dialog {
    /// The caller's side, made by a 2xx to its INVITE (section 12.1.2).
    pub fn uac(invite: &Request, response: &Response) -> Self {
        let mut routes: Vec<String> = record_route(&response.headers);
        routes.reverse();
        Dialog {
            call_id: invite.call_id().to_owned(),
            local: invite.from().clone(),
            remote: response.to().clone(),
            local_cseq: invite.cseq().number,
            remote_cseq: None,
            invite_cseq: invite.cseq().number,
            target: target(response.contact(), &invite.uri),
            routes,
            credentials: credentials(invite),
        }
    }

    /// The callee's side, made by the tag that its 2xx carries (section 12.1.1).
    pub fn uas(invite: &Request, local_tag: &str) -> Self {
        Dialog {
            call_id: invite.call_id().to_owned(),
            local: invite.to().clone().with_tag(local_tag),
            remote: invite.from().clone(),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq().number),
            invite_cseq: invite.cseq().number,
            target: target(invite.contact(), &invite.from().uri),
            routes: record_route(&invite.headers),
            credentials: Vec::new(),
        }
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        self.local.tag().unwrap_or_default()
    }

    /// The next request of ours within the call (section 12.2.1.1).
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.build(method, self.local_cseq)
    }

    /// The ACK of the 2xx that made the call; sent again for each retransmission of that 2xx
    /// (section 13.2.2.4).
    pub fn ack(&self) -> Request {
        let mut ack = self.build(Method::Ack, self.invite_cseq);
        for (name, value) in &self.credentials {
            ack.headers.push(name.clone(), value);
        }
        ack
    }

    /// Checks that a request belongs to this call and comes in order (section 12.2.2).
    ///
    /// # Errors
    /// The status to answer: 481 when it is of another call, 500 when it is older than one
    /// already seen.
    pub fn accepts(&mut self, request: &Request) -> Result<(), StatusCode> {
        let ours = request.call_id() == self.call_id
            && request.to().tag() == self.local.tag()
            && request.from().tag() == self.remote.tag();
        if !ours {
            return Err(StatusCode::CALL_DOES_NOT_EXIST);
        }
        let number = request.cseq().number;
        if request.method == Method::Ack {
            return match number == self.invite_cseq {
                true => Ok(()),
                false => Err(StatusCode::CALL_DOES_NOT_EXIST),
            };
        }
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Err(StatusCode::SERVER_INTERNAL_ERROR);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    fn build(&self, method: Method, cseq: u32) -> Request {
        let mut request = Request::new(
            method,
            self.target.clone(),
            self.local.clone(),
            self.remote.clone(),
            &self.call_id,
            cseq,
        );
        for route in &self.routes {
            request.headers.push(Name::Route, route);
        }
        request
    }
}

/// Where requests within the call go. What follows `?` in a Contact would be header fields of
/// requests that we answer for (section 19.1.5).
fn target(contact: Option<NameAddr>, otherwise: &Uri) -> Uri {
    let mut target = contact.map_or_else(|| otherwise.clone(), |contact| contact.uri);
    target.headers = None;
    target
}

fn credentials(invite: &Request) -> Vec<(Name, String)> {
    let fields = [Name::Authorization, Name::ProxyAuthorization];
    let lines = |name: Name| {
        let lines = invite.headers.all(name.clone());
        lines.map(move |line| (name.clone(), line.to_owned()))
    };
    fields.into_iter().flat_map(lines).collect()
}

fn record_route(headers: &crate::header::Headers) -> Vec<String> {
    headers
        .values(Name::RecordRoute)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Request {
        let uri = Uri::parse("sip:test@192.0.2.1").unwrap();
        let from = NameAddr::parse("<sip:ana@192.0.2.2>;tag=a").unwrap();
        let to = NameAddr::new(uri.clone());
        let mut invite = Request::new(Method::Invite, uri, from, to, "call", 7);
        invite
            .headers
            .push(Name::Contact, "<sip:ana@192.0.2.2:4000>");
        invite
            .headers
            .push(Name::RecordRoute, "<sip:p2;lr>, <sip:p1;lr>");
        invite
    }

    fn pair() -> (Dialog, Dialog) {
        let invite = invite();
        let mut answer = Response::to_request(&invite, StatusCode::ACCEPTED);
        answer.set_to_tag("b");
        answer
            .headers
            .push(Name::Contact, "<sip:test@192.0.2.3:4001>");
        answer.headers.push(Name::RecordRoute, "<sip:p2;lr>");
        answer.headers.push(Name::RecordRoute, "<sip:p1;lr>");
        (Dialog::uac(&invite, &answer), Dialog::uas(&invite, "b"))
    }

    #[test]
    fn each_side_routes_to_the_other_through_the_recorded_proxies() {
        let (mut caller, mut callee) = pair();
        let bye = caller.request(Method::Bye);
        assert_eq!(bye.uri.to_string(), "sip:test@192.0.2.3:4001");
        assert_eq!(
            bye.headers.all(Name::Route).collect::<Vec<_>>(),
            ["<sip:p1;lr>", "<sip:p2;lr>"]
        );
        assert_eq!(callee.accepts(&bye), Ok(()));
        let bye = callee.request(Method::Bye);
        assert_eq!(bye.uri.to_string(), "sip:ana@192.0.2.2:4000");
        assert_eq!(
            bye.headers.all(Name::Route).collect::<Vec<_>>(),
            ["<sip:p2;lr>", "<sip:p1;lr>"]
        );
        assert_eq!(caller.accepts(&bye), Ok(()));
    }

    #[test]
    fn the_ack_has_the_number_of_the_invite() {
        let (mut caller, _) = pair();
        caller.request(Method::Bye);
        assert_eq!(caller.ack().cseq().number, 7);
    }

    #[test]
    fn the_ack_has_the_credentials_of_the_invite_and_nothing_else_has() {
        let mut invite = invite();
        invite.headers.push(Name::ProxyAuthorization, "Digest a=1");
        let mut answer = Response::to_request(&invite, StatusCode::ACCEPTED);
        answer.set_to_tag("b");
        let mut caller = Dialog::uac(&invite, &answer);
        let credentials = |request: Request| request.headers.count(Name::ProxyAuthorization);
        assert_eq!(credentials(caller.ack()), 1);
        assert_eq!(credentials(caller.request(Method::Bye)), 0);
    }

    #[test]
    fn other_calls_and_old_requests_are_refused() {
        let (mut caller, mut callee) = pair();
        let first = caller.request(Method::Info);
        let second = caller.request(Method::Bye);
        assert_eq!(callee.accepts(&second), Ok(()));
        assert_eq!(
            callee.accepts(&first),
            Err(StatusCode::SERVER_INTERNAL_ERROR)
        );
        let (_, mut other) = pair();
        other.local = other.local.with_tag("c");
        assert_eq!(other.accepts(&second), Err(StatusCode::CALL_DOES_NOT_EXIST));
    }

    #[test]
    fn an_ack_of_another_invite_is_none_of_the_first() {
        let (caller, mut callee) = pair();
        assert_eq!(callee.accepts(&caller.ack()), Ok(()));
        let other = caller.build(Method::Ack, 8);
        assert_eq!(callee.accepts(&other), Err(StatusCode::CALL_DOES_NOT_EXIST));
    }

    #[test]
    fn header_fields_in_a_contact_are_left_out_of_requests() {
        let mut invite = invite();
        let contact = "<sip:ana@192.0.2.2?Route=%3Csip:evil%3E>";
        invite.headers.set(Name::Contact, contact);
        let mut callee = Dialog::uas(&invite, "b");
        let bye = callee.request(Method::Bye);
        assert_eq!(bye.uri.to_string(), "sip:ana@192.0.2.2");
    }
}
