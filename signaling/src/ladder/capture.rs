//! The file of `--capture`: everything that passes, in the format of its name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use sip::driver::Datagram;

use super::outlet::Sink;
use super::pcap::{Flows, Format};

/// So much is gathered before it is written, within a second.
const BUFFER: usize = 64 << 10;

/// A capture that is being written.
#[derive(Debug)]
pub(crate) struct Capture<F> {
    format: Format,
    flows: Flows,
    file: F,
    buffer: Vec<u8>,
    /// What is in the file and whole.
    length: u64,
}

/// What a capture needs of its file.
pub(crate) trait Target: Write + Send + 'static {
    /// Takes off what is beyond this length.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Target for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

impl Capture<File> {
    /// Begins a file, in place of one of the same name.
    ///
    /// # Errors
    /// When it cannot be written, or another server writes it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        // Calls hold addresses of viewers: nobody else's business.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        if let Err(rustix::io::Errno::WOULDBLOCK) =
            flock(&file, FlockOperation::NonBlockingLockExclusive)
        {
            let kind = io::ErrorKind::ResourceBusy;
            return Err(io::Error::new(kind, "in use by another signaling server"));
        }
        // A pipe has nothing to take off.
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Capture::begin(Format::of(path), file)
    }
}

impl<F: Target> Capture<F> {
    fn begin(format: Format, file: F) -> io::Result<Self> {
        let mut capture = Capture {
            format,
            flows: Flows::default(),
            file,
            buffer: format.begin(),
            length: 0,
        };
        capture.flush()?;
        Ok(capture)
    }
}

impl<F: Target> Sink for Capture<F> {
    fn write(&mut self, datagram: &Datagram) -> io::Result<()> {
        // What came or went in a datagram fits into one here.
        self.format
            .append(&mut self.buffer, datagram, &mut self.flows);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.buffer) {
            // What is whole can still be read; a pipe has nothing to take off.
            let _ = self.file.cut(self.length);
            return Err(error);
        }
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sip::driver::Way;

    use super::*;
    use crate::ladder::tests::{Traffic, invite};

    /// A disk of so many bytes.
    #[derive(Debug)]
    struct Disk {
        content: Vec<u8>,
        size: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = bytes.len().min(self.size - self.content.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.content.extend(&bytes[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Target for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.content.truncate(length as usize);
            Ok(())
        }
    }

    fn disk(size: usize) -> Disk {
        let content = Vec::new();
        Disk { content, size }
    }

    #[test]
    fn a_file_that_another_server_writes_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls.pcap");
        std::fs::write(&path, "of yesterday").unwrap();
        let first = Capture::open(&path).unwrap();
        let begun = std::fs::read(&path).unwrap();
        assert_eq!(begun, Format::Pcap.begin());
        let error = Capture::open(&path).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), begun);
        drop(first);
        Capture::open(&path).unwrap();
    }

    #[test]
    fn the_file_is_whole_after_each_flush() {
        let datagram = Traffic::new().datagram(Way::In, &invite("x", 9));
        let mut capture = Capture::begin(Format::Pcap, disk(1 << 20)).unwrap();
        let mut expected = Format::Pcap.begin();
        assert_eq!(capture.file.content, expected);
        for _ in 0..400 {
            capture.write(&datagram).unwrap();
            Format::Pcap.append(&mut expected, &datagram, &mut Flows::default());
        }
        assert!(
            capture.file.content.len() > BUFFER,
            "not all waits for a flush"
        );
        capture.flush().unwrap();
        assert_eq!(capture.file.content, expected);
    }

    #[test]
    fn a_full_disk_leaves_a_file_that_can_be_read() {
        let datagram = Traffic::new().datagram(Way::In, &invite("x", 9));
        let mut capture = Capture::begin(Format::Pcap, disk(800)).unwrap();
        capture.write(&datagram).unwrap();
        capture.flush().unwrap();
        let whole = capture.file.content.clone();
        capture.write(&datagram).unwrap();
        capture.write(&datagram).unwrap();
        assert!(capture.flush().is_err());
        assert_eq!(capture.file.content, whole);
    }

    #[test]
    fn a_disk_that_is_full_from_the_start_is_an_error_of_the_start() {
        assert!(Capture::begin(Format::Pcap, disk(10)).is_err());
        assert!(Capture::open(Path::new("/dev/full")).is_err());
        assert!(Capture::open(Path::new("/no/such/directory/x.pcap")).is_err());
    }
}
