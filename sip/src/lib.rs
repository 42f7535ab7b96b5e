//! The SIP that Rusticast's three programs speak: messages, the transaction machines of
//! RFC 3261 and RFC 6026, dialogs as far as a call needs them, and one driver for UDP and TCP.
//!
//! The core does no I/O. It is given bytes, time and random identifiers, and hands back
//! datagrams to send, events for the role and the time at which it wants to be woken. Only
//! [`driver`] knows sockets and the runtime. The crate must not know what a stream is, what an
//! SDP body says, or how any role uses the messages it carries.

pub mod auth;
pub mod dialog;
pub mod driver;
pub mod endpoint;
pub mod framing;
pub mod header;
pub mod message;
pub mod method;
pub mod status;
pub mod table;
pub mod timer;
mod transaction;
pub mod transport;
pub mod uri;

pub use dialog::Dialog;
pub use endpoint::{ClientId, Endpoint, Event, Failure, ServerId};
pub use header::{CSeq, Headers, Name, NameAddr, Reason, Via};
pub use message::{Message, ParseError, Request, Response};
pub use method::Method;
pub use status::StatusCode;
pub use transport::{Peer, Transport};
pub use uri::{Host, Params, Uri};
