//! Threads that write down what passes, so that the task of the socket never waits for a disk or
//! a terminal. What comes faster than they write is lost to them, and counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use sip::driver::Datagram;
use tokio::sync::oneshot;
use tracing::warn;

/// Datagrams that may wait to be written: a tenth of a second of a busy relay, and 128 MiB if all
/// of them were as large as can be.
const QUEUE: usize = 2048;
/// What was written is there for others to read after this long.
const FLUSH: Duration = Duration::from_secs(1);
/// What the threads get to write the rest once nothing more comes.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where an outlet leads.
pub(crate) trait Sink: Send + 'static {
    /// Writes one datagram, perhaps only into a buffer.
    fn write(&mut self, datagram: &Datagram) -> io::Result<()>;

    /// Brings out what is in the buffer.
    fn flush(&mut self) -> io::Result<()>;
}

/// How much went through an outlet.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    written: AtomicU64,
    lost: AtomicU64,
}

impl Flow {
    /// Datagrams that are written for others to read.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Datagrams that there was no room for, here or where they should have gone.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The end of an outlet that never waits.
#[derive(Debug)]
pub(crate) struct Outlet {
    queue: SyncSender<Datagram>,
    flow: Arc<Flow>,
}

/// The thread behind an outlet.
#[derive(Debug)]
pub(crate) struct Writer {
    flag: &'static str,
    flow: Arc<Flow>,
    /// Comes at the thread's end: whether it wrote to the last.
    ended: oneshot::Receiver<bool>,
}

/// Starts a thread that writes into `sink` what is put into the outlet, for the flag of this
/// name.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn open(flag: &'static str, sink: impl Sink) -> io::Result<(Outlet, Writer)> {
    let (queue, waiting) = mpsc::sync_channel(QUEUE);
    let (ending, ended) = oneshot::channel();
    let flow = Arc::new(Flow::default());
    let written = Arc::clone(&flow);
    thread::Builder::new()
        .name(flag.trim_start_matches('-').to_owned())
        .spawn(move || {
            let drained = drain(sink, waiting, &written);
            if let Err(error) = &drained {
                warn!("{flag} ends here, nothing more is written: {error}");
            }
            // Nobody may be waiting any more.
            let _ = ending.send(drained.is_ok());
        })?;
    let outlet = Outlet {
        queue,
        flow: Arc::clone(&flow),
    };
    Ok((outlet, Writer { flag, flow, ended }))
}

impl Outlet {
    pub(crate) fn put(&self, datagram: &Datagram) {
        match self.queue.try_send(datagram.clone()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.flow.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Writer {
    /// How much went through.
    pub(crate) fn flow(&self) -> Arc<Flow> {
        Arc::clone(&self.flow)
    }
}

/// Waits until everything is written, once the outlets are gone; a moment at most.
pub(crate) async fn finish(writers: Vec<Writer>) {
    let until = tokio::time::Instant::now() + FAREWELL;
    for Writer { flag, flow, ended } in writers {
        match tokio::time::timeout_at(until, ended).await {
            Ok(Ok(true)) if flow.lost() > 0 => warn!("{flag} lacks {} datagrams", flow.lost()),
            // Of its own end it has told already.
            Ok(_) => {}
            Err(_) => warn!("{flag} could not write everything in time"),
        }
    }
}

/// Takes the queue, so that nothing can be put into it after the end.
fn drain(mut sink: impl Sink, waiting: Receiver<Datagram>, flow: &Flow) -> io::Result<()> {
    let mut buffered = 0;
    let drained = fill(&mut sink, &waiting, flow, &mut buffered);
    if drained.is_err() {
        flow.lost.fetch_add(buffered, Ordering::Relaxed);
    }
    drained
}

/// Writes until the outlet is gone. `buffered` is how many datagrams nobody can read yet.
fn fill(
    sink: &mut impl Sink,
    waiting: &Receiver<Datagram>,
    flow: &Flow,
    buffered: &mut u64,
) -> io::Result<()> {
    // When the buffer has to be brought out; `None` while nothing is in it.
    let mut due: Option<Instant> = None;
    let mut is_over = false;
    while !is_over {
        let received = match due {
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => waiting.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(datagram) => {
                *buffered += 1;
                sink.write(&datagram)?;
                due.get_or_insert(Instant::now() + FLUSH);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => is_over = true,
        }
        // A steady stream never lets the wait run out.
        if is_over || due.is_some_and(|due| due <= Instant::now()) {
            sink.flush()?;
            flow.written.fetch_add(*buffered, Ordering::Relaxed);
            *buffered = 0;
            due = None;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sip::driver::Way;
    use std::sync::Mutex;

    use super::*;
    use crate::ladder::tests::{Traffic, invite};

    /// Counts, and does as it is told.
    struct Told {
        seen: Arc<Mutex<(u64, u64)>>,
        gate: Receiver<()>,
        breaks: bool,
    }

    impl Sink for Told {
        fn write(&mut self, _: &Datagram) -> io::Result<()> {
            // Waits until the test lets it go on, or is over.
            let _ = self.gate.recv();
            self.seen.lock().unwrap().0 += 1;
            if self.breaks {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.seen.lock().unwrap().1 += 1;
            Ok(())
        }
    }

    type Opened = (Outlet, Writer, mpsc::Sender<()>, Arc<Mutex<(u64, u64)>>);

    fn opened(breaks: bool) -> Opened {
        let seen = Arc::default();
        let (go, gate) = mpsc::channel();
        let sink = Told {
            seen: Arc::clone(&seen),
            gate,
            breaks,
        };
        let (outlet, writer) = open("--test", sink).unwrap();
        (outlet, writer, go, seen)
    }

    #[tokio::test]
    async fn who_cannot_keep_up_loses_datagrams_and_holds_up_nobody() {
        let (outlet, writer, go, seen) = opened(false);
        let datagram = Traffic::new().datagram(Way::In, &invite("x", 9));
        let flow = writer.flow();
        let total = QUEUE as u64 + 10;
        for _ in 0..total {
            outlet.put(&datagram);
        }
        // The thread may hold one in its hand.
        assert!((9..=10).contains(&flow.lost()), "{}", flow.lost());
        drop((go, outlet));
        finish(vec![writer]).await;
        assert_eq!(flow.written() + flow.lost(), total);
        assert_eq!(*seen.lock().unwrap(), (flow.written(), 1));
    }

    #[tokio::test]
    async fn a_sink_that_breaks_ends_its_own_outlet_alone() {
        let (outlet, writer, go, seen) = opened(true);
        let datagram = Traffic::new().datagram(Way::In, &invite("x", 9));
        drop(go);
        outlet.put(&datagram);
        let flow = writer.flow();
        finish(vec![writer]).await;
        for _ in 0..3 {
            outlet.put(&datagram);
        }
        // The one that broke it, and those that came too late.
        assert_eq!((flow.written(), flow.lost()), (0, 4));
        assert_eq!(*seen.lock().unwrap(), (1, 0));
    }
}
