//! A request that is not done, and what its sender is told.

use sip::{Name, Request, Response, StatusCode};

/// A final answer that says no.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Replaces the usual reason phrase when not empty.
    reason: String,
    headers: Vec<(Name, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode) -> Self {
        Refusal {
            status,
            reason: String::new(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn because(status: StatusCode, reason: impl Into<String>) -> Self {
        Refusal {
            reason: reason.into(),
            ..Refusal::new(status)
        }
    }

    pub(crate) fn header(mut self, name: Name, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Too much of something; the sender may come back.
    pub(crate) fn overload(reason: &str) -> Self {
        Refusal::because(StatusCode::SERVICE_UNAVAILABLE, reason).header(Name::RetryAfter, "5")
    }

    pub(crate) fn response(&self, request: &Request) -> Response {
        let mut response = Response::to_request(request, self.status);
        if !self.reason.is_empty() {
            response = response.with_reason(&self.reason);
        }
        for (name, value) in &self.headers {
            response.headers.push(name.clone(), value);
        }
        response
    }
}
