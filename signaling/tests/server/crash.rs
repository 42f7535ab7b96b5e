//! The data base is whole after its writer was killed at any moment.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use signaling::store::file::DataFile;
use signaling::store::{SessionRecord, SessionState, Snapshot};

/// Set for the child: the file that it writes for ever.
const WRITER: &str = "RUSTICAST_TEST_WRITER";
/// How many writers are killed.
const KILLS: u64 = 40;

/// A snapshot that can be told from the others and checked for completeness.
fn snapshot(number: usize) -> Snapshot {
    let session = |index: usize| SessionRecord {
        front: "127.0.0.1:1".parse().unwrap(),
        streamer: "127.0.0.1:2".parse().unwrap(),
        name: number.to_string(),
        call_id: index.to_string(),
        stream: "test".into(),
        front_tag: "f".into(),
        streamer_tag: Some("s".into()),
        offer: vec![b'v'; 4000].into(),
        answer: b"v=0\r\n".as_slice().into(),
        state: SessionState::Established,
    };
    let sessions = (0..number % 7 + 1)
        .map(|index| Arc::new(session(index)))
        .collect();
    Snapshot {
        streamers: Vec::new(),
        sessions,
    }
}

/// Not a test by itself: the writer that the test below starts and kills.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(WRITER) else {
        return;
    };
    let (file, _) = DataFile::open(&PathBuf::from(path), SystemTime::now()).unwrap();
    let mut out = std::io::stderr();
    for number in 0.. {
        file.write(&snapshot(number)).unwrap();
        if writeln!(out, "written").is_err() {
            return;
        }
    }
}

#[test]
fn a_killed_writer_leaves_a_whole_file() {
    let directory = std::env::temp_dir().join(format!("rusticast-crash-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("data.xml");
    let mut seed = 1u64;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::writer", "--nocapture"])
            .env(WRITER, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..1 + seed % 5 {
            assert_eq!(lines.next().unwrap().unwrap(), "written");
        }
        // Somewhere within the next write, which takes about a millisecond.
        let moment = Instant::now() + Duration::from_micros((seed >> 32) & 2047);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let (_, found) = DataFile::open(&path, SystemTime::now()).unwrap();
        let number = found.sessions[0].name.parse().unwrap();
        assert!(
            found == snapshot(number),
            "kill {kill} left half of snapshot {number}"
        );
        let names = std::fs::read_dir(&directory)
            .unwrap()
            .map(|it| it.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["data.xml", "data.xml.lock"]);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
