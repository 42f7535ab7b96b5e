//! How many more threads the system gives, and how many mappings of memory a process may have.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A limit of threads, and what it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Threads {
    place: Place,
    /// The limit.
    pub(super) limit: u64,
    /// How many more there can be.
    pub(super) left: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Of the user, by `setrlimit`.
    User,
    /// Of the whole system, by that setting.
    System(&'static str),
    /// Of a container or service, in that file.
    Group(PathBuf),
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, others) = (self.limit, self.limit - self.left);
        match &self.place {
            Place::User => write!(f, "the user's limit of {limit}")?,
            Place::System(name) => write!(f, "{name}={limit}")?,
            Place::Group(file) => write!(f, "the limit of {limit} in {}", file.display())?,
        }
        write!(f, ", {others} of which are taken,")
    }
}

impl Threads {
    /// How to raise the limit.
    pub(super) fn cure(&self, needed: u64) -> String {
        match &self.place {
            Place::User => {
                format!("ulimit -u {needed} as root, LimitNPROC={needed} in a systemd unit")
            }
            Place::System(name) => format!("sudo sysctl {name}={needed}"),
            Place::Group(_) => {
                format!("TasksMax={needed} in a systemd unit, --pids-limit {needed} of a container")
            }
        }
    }
}

/// The limit that leaves fewest, below the root of the file system; `user` is that of `setrlimit`.
/// `None` where nothing is known.
pub(super) fn threads(root: &Path, user: Option<u64>) -> Option<Threads> {
    let mut limits = Vec::new();
    // All threads of the system stand for the user's, which nobody counts.
    if let Some(running) = running(root) {
        let mut add = |place, limit: Option<u64>| {
            limits.extend(limit.map(|limit| Threads {
                place,
                limit,
                left: limit.saturating_sub(running),
            }));
        };
        add(Place::User, user);
        for name in ["threads-max", "pid_max"] {
            let file = root.join("proc/sys/kernel").join(name);
            let name = match name {
                "pid_max" => "kernel.pid_max",
                _ => "kernel.threads-max",
            };
            add(Place::System(name), number(&file));
        }
    }
    for group in groups(root) {
        let file = group.join("pids.max");
        // No limit reads "max".
        if let Some(limit) = number(&file) {
            let taken: u64 = number(&group.join("pids.current")).unwrap_or_default();
            limits.push(Threads {
                place: Place::Group(file),
                limit,
                left: limit.saturating_sub(taken),
            });
        }
    }
    limits.into_iter().min_by_key(|threads| threads.left)
}

/// How many mappings of memory a process may have.
pub(super) fn mappings(root: &Path) -> Option<u64> {
    number(&root.join("proc/sys/vm/max_map_count"))
}

/// Threads of the whole system: "0.20 0.18 0.12 1/80 11206", proc(5).
fn running(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/loadavg")).ok()?;
    let threads = text.split_whitespace().nth(3)?.split_once('/')?.1;
    threads.parse().ok()
}

/// Directories of the control groups that this process is in and whose limits it shares, of both
/// versions: cgroups(7).
fn groups(root: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounted = root.join("sys/fs/cgroup");
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let top = match controllers {
            "" => mounted.clone(),
            "pids" => mounted.join("pids"),
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        groups.extend(path.ancestors().map(|each| top.join(each)));
    }
    groups
}

fn number<T: FromStr>(file: &Path) -> Option<T> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn system(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (name, text) in files {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    const PLAIN: [(&str, &str); 3] = [
        ("proc/loadavg", "0.20 0.18 0.12 1/300 11206\n"),
        ("proc/sys/kernel/threads-max", "96000\n"),
        ("proc/sys/kernel/pid_max", "32768\n"),
    ];

    #[test]
    fn the_limit_that_leaves_fewest_counts() {
        let root = system(&PLAIN);
        let found = threads(root.path(), None).unwrap();
        assert_eq!((found.limit, found.left), (32768, 32468));
        assert!(
            found
                .to_string()
                .starts_with("kernel.pid_max=32768, 300 of")
        );
        let found = threads(root.path(), Some(1000)).unwrap();
        assert_eq!(found.left, 700);
        assert!(found.cure(2000).contains("LimitNPROC=2000"));
        let found = threads(root.path(), Some(10)).unwrap();
        assert_eq!(found.left, 0);
    }

    #[test]
    fn a_containers_limit_counts_whatever_level_it_is_set_at() {
        let mut files = PLAIN.to_vec();
        files.extend([
            ("proc/self/cgroup", "0::/machine/one/deep\n"),
            ("sys/fs/cgroup/machine/pids.max", "512\n"),
            ("sys/fs/cgroup/machine/pids.current", "100\n"),
            ("sys/fs/cgroup/machine/one/pids.max", "max\n"),
        ]);
        let root = system(&files);
        let found = threads(root.path(), None).unwrap();
        assert_eq!((found.limit, found.left), (512, 412));
        assert!(found.to_string().contains("sys/fs/cgroup/machine/pids.max"));
        assert!(found.cure(900).contains("--pids-limit 900"));
    }

    #[test]
    fn control_groups_of_the_first_version_are_known_too() {
        let root = system(&[
            ("proc/self/cgroup", "9:name=systemd:/\n8:pids:/a\n0::/\n"),
            ("sys/fs/cgroup/pids/a/pids.max", "64\n"),
        ]);
        assert_eq!(threads(root.path(), None).unwrap().left, 64);
    }

    #[test]
    fn where_nothing_is_known_nothing_is_limited() {
        let root = system(&[("proc/loadavg", "nonsense")]);
        assert_eq!(threads(root.path(), Some(1000)), None);
        assert_eq!(mappings(root.path()), None);
    }
}
