//! `data.xml` on disk: whole or not at all.
//!
//! A new version is written beside the old one, flushed to the disk and renamed over it, so that
//! whoever reads the file after a crash finds one of the two. Two servers on one file would undo
//! each other's work: a lock beside it, which the kernel takes back from the dead, keeps the
//! second one out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use tracing::{debug, error};

use super::{Snapshot, xml};

/// The file, and the place beside it where new versions grow.
#[derive(Debug, Clone)]
pub struct DataFile {
    path: PathBuf,
    temporary: PathBuf,
    /// Locked as long as this is open.
    _lock: Arc<File>,
}

/// Why a data base cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it.
    #[error("in use by another signaling server")]
    InUse,
    /// The directory is not there or not writable, or the file not readable.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl DataFile {
    /// Reads the data base at `path`, which need not exist yet.
    ///
    /// A file that cannot be read as a data base is kept as `PATH.bad-SECONDS` (Unix time `now`),
    /// an error is logged, and the data base starts empty.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, now: SystemTime) -> Result<(DataFile, Snapshot), OpenError> {
        if path.is_dir() {
            let kind = io::ErrorKind::IsADirectory;
            return Err(io::Error::new(kind, "is a directory").into());
        }
        let file = DataFile {
            path: path.to_owned(),
            temporary: suffixed(path, ".tmp"),
            _lock: Arc::new(lock(&suffixed(path, ".lock"))?),
        };
        // Also removes what a killed predecessor left, and tells early when nothing can be written.
        file.create_temporary()?;
        fs::remove_file(&file.temporary)?;
        let input = match File::open(path) {
            Ok(input) => input,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((file, Snapshot::default()));
            }
            Err(error) => return Err(error.into()),
        };
        let snapshot = match xml::read(BufReader::new(input)) {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                let seconds = now
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                let kept = suffixed(path, &format!(".bad-{}", seconds.as_secs()));
                fs::rename(path, &kept)?;
                error!(
                    "{} is not a data base ({reason}); kept as {}, starting empty",
                    path.display(),
                    kept.display()
                );
                Snapshot::default()
            }
        };
        if snapshot != Snapshot::default() {
            debug!(
                "{}: {} streamers and {} sessions from before",
                path.display(),
                snapshot.streamers.len(),
                snapshot.sessions.len()
            );
        }
        Ok((file, snapshot))
    }

    /// Replaces the file's content, durably and at once. Blocks for as long as the disk needs, and
    /// returns how long the work before that wait took.
    pub fn write(&self, snapshot: &Snapshot) -> io::Result<Duration> {
        let started = Instant::now();
        let mut out = BufWriter::with_capacity(1 << 16, self.create_temporary()?);
        xml::write(snapshot, &mut out)?;
        out.flush()?;
        let took = started.elapsed();
        out.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        // The rename itself lives in the directory.
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        File::open(directory)?.sync_all()?;
        Ok(took)
    }

    fn create_temporary(&self) -> io::Result<File> {
        private().truncate(true).open(&self.temporary)
    }
}

/// Takes the lock, which stays in place: removing it would let two servers have one each.
fn lock(path: &Path) -> Result<File, OpenError> {
    let file = private().truncate(false).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

/// To write a file that is made when it is missing.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    // Calls hold addresses of viewers: nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::{SessionRecord, SessionState};
    use super::*;

    /// A directory of its own for each test, removed afterwards.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Directory {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = format!("rusticast-store-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(path);
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<String> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn snapshot() -> Snapshot {
        let session = SessionRecord {
            front: "127.0.0.1:1".parse().unwrap(),
            streamer: "127.0.0.1:2".parse().unwrap(),
            name: "viewer".into(),
            call_id: "call".into(),
            stream: "test".into(),
            front_tag: "f".into(),
            streamer_tag: None,
            offer: b"v=0\r\n".as_slice().into(),
            answer: Default::default(),
            state: SessionState::Trying,
        };
        Snapshot {
            streamers: vec![],
            sessions: vec![Arc::new(session)],
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is_left() {
        let directory = Directory::new();
        let path = directory.0.join("data.xml");
        fs::write(directory.0.join("data.xml.tmp"), "from a killed writer").unwrap();
        let (file, empty) = DataFile::open(&path, at(0)).unwrap();
        assert_eq!(empty, Snapshot::default());
        assert_eq!(directory.names(), ["data.xml.lock"]);
        file.write(&snapshot()).unwrap();
        assert_eq!(directory.names(), ["data.xml", "data.xml.lock"]);
        drop(file);
        assert_eq!(DataFile::open(&path, at(0)).unwrap().1, snapshot());
    }

    #[test]
    fn a_corrupt_file_is_kept_aside() {
        let directory = Directory::new();
        let path = directory.0.join("data.xml");
        fs::write(&path, "<data-base><streamers>").unwrap();
        let (file, empty) = DataFile::open(&path, at(1234)).unwrap();
        assert_eq!(empty, Snapshot::default());
        assert_eq!(directory.names(), ["data.xml.bad-1234", "data.xml.lock"]);
        file.write(&snapshot()).unwrap();
        let all = ["data.xml", "data.xml.bad-1234", "data.xml.lock"];
        assert_eq!(directory.names(), all);
    }

    #[test]
    fn a_file_belongs_to_one_server_at_a_time() {
        let directory = Directory::new();
        let path = directory.0.join("data.xml");
        let (first, _) = DataFile::open(&path, at(0)).unwrap();
        let second = DataFile::open(&path, at(0)).unwrap_err();
        assert!(matches!(second, OpenError::InUse), "{second}");
        DataFile::open(&directory.0.join("other.xml"), at(0)).unwrap();
        drop(first);
        DataFile::open(&path, at(0)).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_written_is_noticed_at_start() {
        let directory = Directory::new();
        assert!(DataFile::open(&directory.0.join("no/data.xml"), at(0)).is_err());
        assert!(DataFile::open(&directory.0, at(0)).is_err());
    }
}
