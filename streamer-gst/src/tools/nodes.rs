//! The files of cameras, and whether this user may use them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};

/// A file `/dev/video*`.
pub(super) struct Node {
    pub(super) path: String,
    /// Whether it may be opened as cameras have to be: for reading and writing.
    pub(super) allowed: bool,
    /// The group that owns it.
    pub(super) group: String,
}

/// Those of the system, in order of their numbers.
pub(super) fn cameras() -> Vec<Node> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix("video")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    let paths = numbers.iter().map(|number| format!("/dev/video{number}"));
    paths
        .map(|path| Node {
            allowed: access(path.as_str(), Access::READ_OK | Access::WRITE_OK).is_ok(),
            group: group_of(Path::new(&path)),
            path,
        })
        .collect()
}

/// How to be let in.
pub(super) fn cure(group: &str) -> String {
    format!("sudo usermod -aG {group} \"$USER\", then log in again")
}

fn group_of(path: &Path) -> String {
    let number = fs::metadata(path).map(|metadata| metadata.gid());
    let Ok(number) = number else {
        return "video".to_owned();
    };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    name_of(&groups, number).unwrap_or_else(|| number.to_string())
}

/// The name of a group in the text of `/etc/group`.
fn name_of(groups: &str, number: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let found: u32 = fields.nth(1)?.parse().ok()?;
        (found == number).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_names() {
        let groups = "root:x:0:\nbroken\nvideo:x:44:me,you\n";
        assert_eq!(name_of(groups, 44).as_deref(), Some("video"));
        assert_eq!(name_of(groups, 45), None);
        assert!(cure("video").contains("-aG video"));
    }
}
