//! Brings the data base to the disk, off the task that handles SIP and no oftener than is useful.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info};

use super::Snapshot;
use super::file::DataFile;

/// At most ten writes per second.
const INTERVAL: Duration = Duration::from_millis(100);
/// A write that was much work is followed by this many times its duration of rest, so that a large
/// data base costs one part in twenty of a core at most. Waiting for the disk is no work, and the
/// file must not lag behind the calls because of it.
const REST: u32 = 20;
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// A wish for the present content, answered by the task that owns it.
#[derive(Debug)]
pub struct SnapshotRequest(pub oneshot::Sender<Snapshot>);

/// When the next write may begin.
#[derive(Debug, Clone, Copy)]
struct Pace {
    earliest: Instant,
}

impl Pace {
    fn written(&mut self, started: Instant, took: Duration) {
        self.earliest = (started + INTERVAL).max(started + took * (REST + 1));
    }

    fn failed(&mut self, ended: Instant) {
        self.earliest = ended + RETRY;
    }
}

/// Writes a snapshot after each change of `revision`, until its sender or the owner of the data
/// is gone. A write that was begun is finished before this returns.
pub async fn run(
    file: DataFile,
    mut revision: watch::Receiver<u64>,
    owner: mpsc::Sender<SnapshotRequest>,
) {
    let mut pace = Pace {
        earliest: Instant::now(),
    };
    let mut failing = false;
    loop {
        // After a failure the change is still to be written, whether or not another one follows.
        if !failing && revision.changed().await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(pace.earliest.into()) => {}
            () = closed(&mut revision) => return,
        }
        revision.mark_unchanged();
        let (sender, receiver) = oneshot::channel();
        if owner.send(SnapshotRequest(sender)).await.is_err() {
            return;
        }
        let Ok(snapshot) = receiver.await else {
            return;
        };
        let disk = file.clone();
        let started = Instant::now();
        let written = tokio::task::spawn_blocking(move || disk.write(&snapshot)).await;
        let result = written.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        match (&result, failing) {
            (Err(error), false) => error!("data base cannot be written, trying again: {error}"),
            (Ok(_), true) => info!("data base is written again"),
            _ => {}
        }
        failing = result.is_err();
        match result {
            Ok(took) => pace.written(started, took),
            Err(_) => pace.failed(Instant::now()),
        }
    }
}

/// Ends when no more changes can come.
async fn closed(revision: &mut watch::Receiver<u64>) {
    while revision.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_keep_their_distance() {
        let start = Instant::now();
        let mut pace = Pace { earliest: start };
        pace.written(start, Duration::from_millis(2));
        assert_eq!(pace.earliest, start + INTERVAL);
        pace.written(start, Duration::from_millis(295));
        assert_eq!(pace.earliest, start + Duration::from_millis(295 * 21));
        pace.failed(start);
        assert_eq!(pace.earliest, start + RETRY);
    }

    #[tokio::test]
    async fn a_stream_of_changes_is_written_ten_times_a_second_at_most() {
        let directory = format!("rusticast-writer-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("data.xml");
        let (file, _) = DataFile::open(&path, std::time::SystemTime::now()).unwrap();
        let (revision, changes) = watch::channel(0);
        let (requests, mut owner) = mpsc::channel(1);
        let started = Instant::now();
        let writer = tokio::spawn(run(file, changes, requests));
        for written in 1..=3 {
            // Many changes before each write.
            for _ in 0..100 {
                revision.send_modify(|revision| *revision += 1);
            }
            let SnapshotRequest(asker) = owner.recv().await.unwrap();
            assert!(started.elapsed() >= INTERVAL * (written - 1));
            asker.send(Snapshot::default()).unwrap();
        }
        drop(revision);
        writer.await.unwrap();
        assert!(path.exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
