//! Files that hold passwords: whoever starts a program with one is told when others can read it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Bytes of such a file at most.
const LIMIT: u64 = 1 << 20;
/// The rights of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Reads a file that nobody but its owner may touch.
///
/// # Errors
/// One line that names the file and says what to do.
pub fn private_file(path: &Path) -> Result<String, String> {
    let name = path.display();
    let failed = |error| format!("{name}: {error}");
    let file = File::open(path).map_err(failed)?;
    // Asked of the file that was opened: its name may be another's by now.
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(format!(
            "{name} holds passwords and is open to others than its owner: chmod 600 {name}"
        ));
    }
    let mut text = String::new();
    let read = file.take(LIMIT + 1).read_to_string(&mut text);
    read.map_err(failed)?;
    if text.len() as u64 > LIMIT {
        return Err(format!("{name} is larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn only_files_that_nobody_else_can_touch_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        write(&path, "ana:secret").unwrap();
        for (mode, good) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
        ] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = private_file(&path);
            assert_eq!(read.is_ok(), good, "{mode:o}");
            if let Err(error) = read {
                assert!(
                    error.ends_with(&format!("chmod 600 {}", path.display())),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_without_a_part_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let missing = private_file(&path).unwrap_err();
        assert!(
            missing.starts_with(&path.display().to_string()),
            "{missing}"
        );
        for content in [vec![0xff; 10], vec![b'x'; (1 << 20) + 1]] {
            write(&path, content).unwrap();
            set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let error = private_file(&path).unwrap_err();
            assert!(error.len() < 200, "{error}");
        }
    }
}
