//! One viewer at a time: it joins, and is there when picture and sound have come.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bench::Result;
use bench::client::join::Door;
use bench::client::mailbox::{Mail, Mailbox};
use bench::client::viewer::Viewer;
use bench::protocol::Server as Kind;
use bench::rtp::Media;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use str0m::config::DtlsCert;
use str0m::crypto;

/// From the offer to picture and sound, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Whole frames of a picture and packets of sound that have to come.
const ENOUGH: usize = 3;
/// What epoll tells of the mailbox, and of the viewer.
const BELL: u64 = 0;
const SOCKET: u64 = 1;

/// Makes viewers.
pub struct Visitors {
    address: IpAddr,
    certificate: DtlsCert,
    epoll: Epoll,
    mailbox: Mailbox,
    mail: Receiver<Mail>,
}

/// A viewer that plays; dropped, it has vanished.
pub struct Visitor {
    /// Where it is ended.
    pub location: String,
    _viewer: Viewer,
}

impl Visitors {
    /// With sockets on this address.
    pub fn new(address: IpAddr) -> Result<Self> {
        let provider = crypto::from_feature_flags();
        provider.install_process_default();
        let provider = crypto::from_feature_flags().dtls_provider;
        let certificate = provider.generate_certificate();
        let (mailbox, mail) = Mailbox::new()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(mailbox.bell(), EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Self {
            address,
            certificate: certificate.ok_or("no certificate could be made")?,
            epoll,
            mailbox,
            mail,
        })
    }

    /// Joins the server at this address.
    pub fn join(&mut self, http: SocketAddr) -> Result<Visitor> {
        let door = Door::open(Kind::Rusticast, http)?;
        let certificate = self.certificate.clone();
        let mut viewer = Viewer::join(0, self.address, door, certificate, true, &self.mailbox)?;
        // Forgotten with the socket.
        self.epoll
            .add(&viewer, EpollEvent::new(EpollFlags::EPOLLIN, SOCKET))?;
        let start = Instant::now();
        let mut location = None;
        loop {
            let counts = [Media::Video, Media::Audio].map(|media| viewer.record.frames(media));
            if let (true, Some(location)) = (counts.iter().all(|count| *count >= ENOUGH), &location)
            {
                return Ok(Visitor {
                    location: String::clone(location),
                    _viewer: viewer,
                });
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("a viewer got {counts:?} in {PATIENCE:?}").into());
            }
            self.turn(&mut viewer, &mut location)?;
        }
    }

    /// Waits for something to do and does it.
    fn turn(&self, viewer: &mut Viewer, location: &mut Option<String>) -> Result<()> {
        let now = Instant::now();
        // Rounded up: a deadline that is not yet due would be asked for again and again.
        let wait = viewer.deadline.saturating_duration_since(now).as_millis() + 1;
        let wait = u64::try_from(wait)?.min(1000);
        let mut events = [EpollEvent::empty(); 2];
        let timeout = EpollTimeout::try_from(Duration::from_millis(wait))?;
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            match event.data() {
                BELL => self.mailbox.hush(),
                _ => viewer.receive()?,
            }
        }
        if viewer.deadline <= Instant::now() {
            viewer.tick()?;
        }
        while let Ok(mail) = self.mail.try_recv() {
            if let Mail::Answer(_, answer) = mail {
                let answer = answer?;
                viewer.answered(&answer)?;
                location.clone_from(&answer.location);
            }
        }
        Ok(())
    }
}
