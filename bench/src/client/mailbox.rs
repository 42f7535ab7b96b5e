//! What other threads have for the one that receives media, and how they wake it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::join::Answer;
use crate::Result;

/// One for every viewer at once, and the line from stdin.
const WAITING: usize = 4096;

/// A message.
#[derive(Debug)]
pub enum Mail {
    /// The server's SDP for this viewer, or why there is none.
    Answer(usize, std::result::Result<Answer, String>),
    /// A line from stdin; `None` at its end.
    Line(Option<String>),
}

/// Where messages are put.
#[derive(Debug, Clone)]
pub struct Mailbox {
    mail: SyncSender<Mail>,
    bell: Arc<EventFd>,
}

impl Mailbox {
    /// A mailbox, and what takes messages out of it.
    pub fn new() -> Result<(Self, Receiver<Mail>)> {
        let (mail, taken) = mpsc::sync_channel(WAITING);
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let bell = Arc::new(bell);
        Ok((Self { mail, bell }, taken))
    }

    /// Puts a message in.
    pub fn post(&self, mail: Mail) {
        // Whoever takes them may have ended.
        let _ = self.mail.send(mail);
        let _ = self.bell.write(1);
    }

    /// What becomes readable with a message.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Makes the bell silent again, before messages are taken.
    pub fn hush(&self) {
        let _ = self.bell.read();
    }
}
