//! The threads that serve all viewers: as many as there are cores, so that a frame for a hundred
//! viewers wakes a few threads and not a hundred, which costs more than sending does.
//!
//! What serves one viewer may block. A pool whose threads are all held up gets another one, at
//! worst a thread per viewer, so nobody waits for anybody else for long.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Work that is ready and that no thread has taken for this long is given to a new thread.
const HELD_UP: Duration = Duration::from_millis(20);

/// Something with work to do, one piece at a time and never two at once.
pub(super) trait Lane: Send + Sync {
    /// Does a piece of work; whether there is more.
    fn turn(&self) -> bool;
}

/// The threads. They end when this is dropped, which waits for what is ready.
pub(super) struct Pool(Arc<Shared>);

/// Where lanes report work.
#[derive(Clone)]
pub(super) struct Door(Arc<Shared>);

struct Shared {
    work: Mutex<Work>,
    came: Condvar,
    ended: Condvar,
    cores: usize,
}

struct Work {
    ready: VecDeque<Arc<dyn Lane>>,
    threads: usize,
    idle: usize,
    /// Idle threads that have been told to wake up.
    waking: usize,
    /// When a thread last took a lane, or was started.
    taken: Instant,
    over: bool,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self::with_cores(thread::available_parallelism().map_or(1, usize::from))
    }

    fn with_cores(cores: usize) -> Self {
        Self(Arc::new(Shared {
            work: Mutex::new(Work {
                ready: VecDeque::new(),
                threads: 0,
                idle: 0,
                waking: 0,
                taken: Instant::now(),
                over: false,
            }),
            came: Condvar::new(),
            ended: Condvar::new(),
            cores,
        }))
    }

    /// Where work is reported, with a thread behind it.
    ///
    /// # Errors
    /// The system has no threads.
    pub(super) fn door(&self) -> std::io::Result<Door> {
        let mut work = self.0.lock();
        if work.threads == 0 {
            self.0.spawn(&mut work)?;
        }
        drop(work);
        Ok(Door(self.0.clone()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut work = self.0.lock();
        work.over = true;
        self.0.came.notify_all();
        while work.threads > 0 {
            let waited = self.0.ended.wait(work);
            work = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Door {
    /// A lane that had nothing to do has work. To be called once until [`Lane::turn`] says that
    /// there is no more.
    pub(super) fn ready(&self, lane: Arc<dyn Lane>) {
        let mut work = self.0.lock();
        work.ready.push_back(lane);
        self.0.find_thread(work);
    }

    /// A lane that has work has still more. This is when it shows that all threads are held up.
    pub(super) fn still_ready(&self) {
        self.0.find_thread(self.0.lock());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that somebody takes what is ready.
    fn find_thread(self: &Arc<Self>, mut work: MutexGuard<'_, Work>) {
        if work.ready.len() <= work.waking {
            return;
        }
        if work.idle > work.waking {
            work.waking += 1;
            self.came.notify_one();
        } else if work.waking == 0 && (work.threads < self.cores || work.taken.elapsed() > HELD_UP)
        {
            // Where the system has no more threads, those there are have to do.
            if let Err(error) = self.spawn(&mut work) {
                tracing::debug!(%error, "no further thread for viewers");
            }
        }
    }

    fn spawn(self: &Arc<Self>, work: &mut Work) -> std::io::Result<()> {
        let shared = self.clone();
        let serve = move || shared.serve();
        thread::Builder::new()
            .name("viewers".to_owned())
            .spawn(serve)?;
        work.threads += 1;
        work.taken = Instant::now();
        Ok(())
    }

    fn serve(&self) {
        let mut work = self.lock();
        loop {
            if let Some(lane) = work.ready.pop_front() {
                work.taken = Instant::now();
                drop(work);
                let more = lane.turn();
                work = self.lock();
                if more {
                    work.ready.push_back(lane);
                }
            } else if work.over || work.threads > self.cores {
                // Where there are more than cores, those that were held up are back.
                break;
            } else {
                work.idle += 1;
                let waited = self.came.wait(work);
                work = waited.unwrap_or_else(PoisonError::into_inner);
                work.idle -= 1;
                work.waking = work.waking.saturating_sub(1);
            }
        }
        work.threads -= 1;
        self.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Takes so many turns, and tells of each; the first waits until it is let go.
    struct Turns {
        name: usize,
        left: AtomicUsize,
        told: Sender<usize>,
        gate: Mutex<Receiver<()>>,
    }

    impl Lane for Turns {
        fn turn(&self) -> bool {
            let _ = self.gate.lock().unwrap().recv();
            let _ = self.told.send(self.name);
            self.left.fetch_sub(1, Ordering::Relaxed) > 1
        }
    }

    fn lane(name: usize, turns: usize, told: &Sender<usize>) -> (Arc<dyn Lane>, Sender<()>) {
        let (open, gate) = channel();
        let lane = Turns {
            name,
            left: AtomicUsize::new(turns),
            told: told.clone(),
            gate: Mutex::new(gate),
        };
        (Arc::new(lane), open)
    }

    #[test]
    fn lanes_take_turns() {
        let pool = Pool::with_cores(1);
        let (told, seen) = channel();
        let (first, hold) = lane(0, 1, &told);
        pool.door().unwrap().ready(first);
        for name in 1..=3 {
            let (lane, open) = lane(name, 2, &told);
            drop(open);
            pool.door().unwrap().ready(lane);
        }
        drop(hold);
        let order: Vec<usize> = (0..7)
            .map(|_| seen.recv_timeout(DEADLINE).unwrap())
            .collect();
        assert_eq!(order, [0, 1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn who_is_held_up_holds_up_nobody() {
        let pool = Pool::with_cores(2);
        let (told, seen) = channel();
        let held = [(); 10].map(|()| lane(0, 1, &told));
        for (lane, _) in &held {
            pool.door().unwrap().ready(lane.clone());
        }
        let (free, open) = lane(1, 1, &told);
        drop(open);
        pool.door().unwrap().ready(free);
        let start = Instant::now();
        // Frames keep coming.
        while seen.recv_timeout(Duration::from_millis(5)).is_err() {
            pool.door().unwrap().still_ready();
            assert!(start.elapsed() < DEADLINE, "it still waits");
        }
        drop(held);
        while pool.0.lock().threads > 2 {
            assert!(start.elapsed() < DEADLINE, "threads stay");
            thread::yield_now();
        }
    }
}
