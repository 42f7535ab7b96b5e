//! The client of `./dev bench media`: many WebRTC receivers in one process and on one thread, so
//! light that a server is busy before it is. What it is told on stdin, and tells on stdout, is in
//! [`bench::protocol`]; it ends with stdin.

use std::io::BufRead;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use bench::Result;
use bench::client::join::Door;
use bench::client::mailbox::{Mail, Mailbox};
use bench::client::record::{self, Record};
use bench::client::viewer::Viewer;
use bench::protocol::{Join, Joined, Window};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::Serialize;
use str0m::config::DtlsCert;
use str0m::crypto;

/// For all keyframes after the last join; a busy server may need it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest sleep.
const IDLE: Duration = Duration::from_secs(1);
/// What epoll tells of the mailbox; viewers have their numbers.
const BELL: u64 = u64::MAX;

fn main() -> Result<()> {
    let provider = crypto::from_feature_flags();
    provider.install_process_default();
    let provider = crypto::from_feature_flags().dtls_provider;
    let certificate = provider.generate_certificate();
    let certificate = certificate.ok_or("no certificate could be made")?;
    let (mailbox, mail) = Mailbox::new()?;
    let lines = mailbox.clone();
    thread::spawn(move || {
        for line in std::io::stdin()
            .lock()
            .lines()
            .map_while(std::io::Result::ok)
        {
            lines.post(Mail::Line(Some(line)));
        }
        lines.post(Mail::Line(None));
    });
    let Mail::Line(Some(line)) = mail.recv()? else {
        return Err("the first line on stdin tells what to join".into());
    };
    let join: Join = serde_json::from_str(&line)?;
    let doors = (0..join.viewers).map(|_| Door::open(join.server, join.http));
    let mut doors = doors.collect::<Result<Vec<_>>>()?.into_iter().enumerate();

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(mailbox.bell(), EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
    let mut client = Client {
        viewers: Vec::with_capacity(join.viewers),
        join,
        certificate,
        epoll,
        mailbox,
        mail,
        told: false,
    };
    let start = Instant::now();
    loop {
        let next_join = start + client.join.apart * u32::try_from(client.viewers.len())?;
        if Instant::now() >= next_join
            && let Some((number, door)) = doors.next()
        {
            client.join(number, door)?;
            continue;
        }
        let next_join = (doors.len() > 0).then_some(next_join);
        if !client.turn(next_join, start)? {
            return Ok(());
        }
    }
}

/// All viewers and what wakes them.
struct Client {
    join: Join,
    viewers: Vec<Viewer>,
    certificate: DtlsCert,
    epoll: Epoll,
    mailbox: Mailbox,
    mail: Receiver<Mail>,
    /// Whether it was told that all have joined.
    told: bool,
}

impl Client {
    fn join(&mut self, number: usize, door: Door) -> Result<()> {
        let viewer = Viewer::join(
            number,
            self.join.address,
            door,
            self.certificate.clone(),
            self.join.transport_cc,
            &self.mailbox,
        )?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        self.epoll.add(&viewer, event)?;
        self.viewers.push(viewer);
        Ok(())
    }

    /// Waits for something to do and does it; `false` at the end.
    fn turn(&mut self, next_join: Option<Instant>, start: Instant) -> Result<bool> {
        let deadlines = self.viewers.iter().map(|viewer| viewer.deadline);
        let now = Instant::now();
        let until = deadlines.chain(next_join).min().unwrap_or(now + IDLE);
        // Rounded up: a deadline that is not yet due would be asked for again and again.
        let wait = (until.min(now + IDLE) - now.min(until))
            .as_micros()
            .div_ceil(1000);
        let mut events = [EpollEvent::empty(); 64];
        let timeout = EpollTimeout::try_from(Duration::from_millis(wait.try_into()?))?;
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            if event.data() == BELL {
                self.mailbox.hush();
            } else {
                self.viewers[usize::try_from(event.data())?].receive()?;
            }
        }
        let now = Instant::now();
        for viewer in &mut self.viewers {
            if viewer.deadline <= now {
                viewer.tick()?;
            }
        }
        while let Ok(mail) = self.mail.try_recv() {
            match mail {
                Mail::Answer(viewer, Ok(answer)) => self.viewers[viewer].answered(&answer)?,
                Mail::Answer(viewer, Err(error)) => eprintln!("viewers: {viewer}: {error}"),
                Mail::Line(Some(line)) => self.sum_up(&serde_json::from_str(&line)?)?,
                Mail::Line(None) => return Ok(false),
            }
        }
        if !self.told {
            self.tell_when_joined(now, start)?;
        }
        Ok(true)
    }

    fn tell_when_joined(&mut self, now: Instant, start: Instant) -> Result<()> {
        let wanted = self.join.viewers;
        let last = start + self.join.apart * u32::try_from(wanted)?;
        let records = self.viewers.iter().map(|viewer| &viewer.record);
        let playing = records.filter(|record| record.first_keyframe > 0).count();
        if playing == wanted || now > last + PATIENCE {
            self.told = true;
            tell(&Joined { playing })?;
        }
        Ok(())
    }

    fn sum_up(&mut self, window: &Window) -> Result<()> {
        let records = self
            .viewers
            .iter_mut()
            .map(|viewer| std::mem::take(&mut viewer.record));
        let records: Vec<Record> = records.collect();
        tell(&record::sum_up(&records, window))
    }
}

fn tell(what: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}
