//! The embedded data base, `data.xml`: what must outlive the process.
//!
//! Records are shared, so that a [`Snapshot`] of ten thousand calls copies pointers and no SDP.
//! Only this module knows XML; only [`mod@file`] and [`writer`] touch the disk.

use std::sync::Arc;

use bytes::Bytes;
use sip::Peer;

use crate::directory::StreamerInfo;

pub mod file;
pub mod writer;
pub mod xml;

/// Everything `data.xml` holds at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Streamers, one for each binding.
    pub streamers: Vec<Arc<StreamerRecord>>,
    /// Calls.
    pub sessions: Vec<Arc<SessionRecord>>,
}

/// Element `streamer`: one binding of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamerRecord {
    /// Where requests for it are sent.
    pub address: Peer,
    /// Name of the stream.
    pub name: String,
    /// Call-ID of its registration.
    pub call_id: String,
    /// What it told of itself.
    pub info: StreamerInfo,
    /// What is needed to route to it and to send it a 403 after a restart.
    pub binding: BindingRecord,
}

/// Element `binding`: parts of the last REGISTER, as they were received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingRecord {
    /// The URI of its Contact.
    pub contact: String,
    /// Values of Path (RFC 3327), topmost first.
    pub path: Vec<String>,
    /// Values of Via, topmost first, with `received` and `rport` filled in.
    pub via: Vec<String>,
    /// Header From.
    pub from: String,
    /// Header To.
    pub to: String,
    /// Number of the header CSeq.
    pub cseq: u32,
    /// `+sip.instance` of the Contact (RFC 5626 section 4.1), when it had one.
    pub instance: Option<String>,
    /// Granted lease in seconds.
    pub expires: u32,
    /// Who registered it, when passwords are asked for.
    pub user: Option<String>,
}

/// Element `session`: one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Where requests towards the front are sent.
    pub front: Peer,
    /// Where requests towards the streamer are sent.
    pub streamer: Peer,
    /// The viewer's name.
    pub name: String,
    /// Call-ID of the call.
    pub call_id: String,
    /// Name of the stream (attribute `stream`).
    pub stream: String,
    /// The tag the front chose (attribute of `call_id`): with the next one it tells the direction
    /// of a request.
    pub front_tag: String,
    /// The tag the streamer chose, known once it answered (attribute of `call_id`).
    pub streamer_tag: Option<String>,
    /// SDP of the INVITE.
    pub offer: Bytes,
    /// SDP of the answer; empty before it.
    pub answer: Bytes,
    /// How far the call is.
    pub state: SessionState,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The INVITE has no final answer yet.
    Trying,
    /// Answered with a 2xx.
    Established,
    /// Read from the store after a restart, and not confirmed by its streamer since.
    Stale,
}

impl SessionState {
    /// The word used in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::Trying => "trying",
            SessionState::Established => "connection-established",
            SessionState::Stale => "stale",
        }
    }

    fn from_str(word: &str) -> Option<SessionState> {
        match word {
            "trying" => Some(SessionState::Trying),
            "connection-established" => Some(SessionState::Established),
            "stale" => Some(SessionState::Stale),
            _ => None,
        }
    }
}
