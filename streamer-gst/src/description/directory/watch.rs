//! Tells of changes in a directory of descriptions, once each is complete.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};

use super::{Loaded, find, load, misnamed, unused_of_settings, warn_of_name};
use crate::description::parameters::Settings;
use crate::description::{EXTENSION, Faults, Parameters};

/// Saving a file is several changes; after this long without one it is over.
const QUIET: Duration = Duration::from_millis(40);
/// Who keeps a file open for writing is waited for no longer than this.
const WRITING_LIMIT: Duration = Duration::from_secs(2);
/// How often to look where the system does not tell of changes.
const LOOK: Duration = Duration::from_millis(500);

/// Reads a directory again when something in it has changed. Ends when it is dropped.
pub struct Watch {
    _watcher: Box<dyn Watcher + Send + Sync>,
}

impl Watch {
    /// Calls `changed` with all of the wanted descriptions after each change below the directory.
    ///
    /// # Errors
    /// The directory cannot be watched, or no thread can be had.
    pub fn start(
        directory: PathBuf,
        names: Vec<String>,
        parameters: Parameters,
        changed: impl Fn(Vec<Loaded>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (events, inbox) = channel();
        // Changes are told with whole paths, whatever the directory was called.
        let root = directory.canonicalize()?;
        let settings = parameters.file().and_then(|file| whole(&file.config));
        let beside = settings.as_deref().and_then(Path::parent);
        let beside = beside.filter(|path| !path.starts_with(&root));
        let watcher = watch(&root, beside, events).map_err(std::io::Error::other)?;
        let work = move || {
            let mut reader = Reader {
                told: HashSet::new(),
                root,
                directory,
                names,
                parameters,
                settings,
            };
            let found = find(&reader.directory, &reader.names).unwrap_or_default();
            reader.told = misnamed(&found).cloned().collect();
            let mut loaded = load(&reader.directory, found, &reader.parameters);
            while let Some(()) = next_change(&inbox, &reader.of_concern(&loaded)) {
                // A directory that cannot be read for a moment is no reason to end its streams.
                match reader.read_again() {
                    Ok((now, news)) => {
                        for text in news {
                            tracing::warn!("{text}");
                        }
                        changed(now.clone());
                        loaded = now;
                    }
                    Err(error) => tracing::warn!(%error, "the descriptions cannot be read"),
                }
            }
        };
        thread::Builder::new()
            .name("descriptions".to_owned())
            .spawn(work)?;
        Ok(Self { _watcher: watcher })
    }
}

/// Where a file is, or would be, as the system tells of changes.
fn whole(file: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(file).ok()?;
    let directory = absolute.parent()?.canonicalize().ok()?;
    Some(directory.join(absolute.file_name()?))
}

/// What is read after each change.
struct Reader {
    directory: PathBuf,
    /// The directory as the system tells of changes in it.
    root: PathBuf,
    /// The wanted streams; none for all.
    names: Vec<String>,
    parameters: Parameters,
    /// The settings file, as the system tells of its changes.
    settings: Option<PathBuf>,
    /// Files that were told to have no name of a stream.
    told: HashSet<String>,
}

impl Reader {
    /// The files to look after, as the system tells of their changes.
    fn of_concern(&self, loaded: &[Loaded]) -> HashSet<PathBuf> {
        let below = |file: &PathBuf| match file.strip_prefix(&self.directory) {
            Ok(rest) => self.root.join(rest),
            Err(_) => file.clone(),
        };
        let files = loaded.iter().flat_map(files).map(below);
        files.chain(self.settings.clone()).collect()
    }

    /// All descriptions as they are now, and what the writer of the settings should know.
    fn read_again(&mut self) -> Result<(Vec<Loaded>, Vec<String>), Faults> {
        let mut news = Vec::new();
        let settings = match self.parameters.read_again() {
            Ok(settings) => settings,
            Err(error) => {
                news.push(format!("{error}; the values from before are kept"));
                Settings::default()
            }
        };
        if settings.flags {
            news.push("settings file: changed flags count from the next start on".to_owned());
        }
        let found = find(&self.directory, &self.names)?;
        for name in misnamed(&found) {
            if !self.told.contains(name) {
                warn_of_name(name);
            }
        }
        // One that went and comes back is told again.
        self.told = misnamed(&found).cloned().collect();
        let loaded = load(&self.directory, found, &self.parameters);
        if settings.values {
            news.extend(unused_of_settings(&self.names, &loaded, &self.parameters));
        }
        Ok((loaded, news))
    }
}

/// What a description is made of.
fn files(loaded: &Loaded) -> &[PathBuf] {
    match &loaded.result {
        Ok(description) => &description.files,
        Err(faults) => &faults.files,
    }
}

type Event = notify::Result<notify::Event>;

/// Where the system tells of no changes, as on some network drives, the files are looked at.
fn watch(
    directory: &Path,
    settings: Option<&Path>,
    events: Sender<Event>,
) -> notify::Result<Box<dyn Watcher + Send + Sync>> {
    let begin = |watcher: &mut dyn Watcher| {
        watcher.watch(directory, RecursiveMode::Recursive)?;
        settings.map_or(Ok(()), |path| {
            watcher.watch(path, RecursiveMode::NonRecursive)
        })
    };
    let told = RecommendedWatcher::new(events.clone(), notify::Config::default());
    let told = told.and_then(|mut watcher| {
        begin(&mut watcher)?;
        Ok(watcher)
    });
    match told {
        Ok(watcher) => Ok(Box::new(watcher)),
        Err(error) => {
            tracing::debug!(%error, "looking at the descriptions from time to time");
            let config = notify::Config::default().with_poll_interval(LOOK);
            let mut watcher = PollWatcher::new(events, config)?;
            begin(&mut watcher)?;
            Ok(Box::new(watcher))
        }
    }
}

/// Waits until something has changed and everybody has finished writing; `None` at the end.
fn next_change(inbox: &Receiver<Event>, concerned: &HashSet<PathBuf>) -> Option<()> {
    let mut writing = HashSet::new();
    let mut limit = None::<Instant>;
    // Descriptions, what they include, their settings, and directories; not what else may be
    // written beside them.
    let concerns_us = |path: &PathBuf| {
        let extension = path.extension();
        extension.is_none_or(|extension| extension == EXTENSION) || concerned.contains(path)
    };
    loop {
        let event = match limit {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(limit) => {
                let left = limit.saturating_duration_since(Instant::now());
                let wait = if writing.is_empty() { QUIET } else { left };
                inbox.recv_timeout(wait.min(left))
            }
        };
        let event = match event {
            Ok(Ok(event)) => event,
            // Perhaps something was missed: everything is looked at.
            Ok(Err(_)) => notify::Event::new(EventKind::Any),
            Err(RecvTimeoutError::Timeout) => return Some(()),
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        if !event.paths.is_empty() && !event.paths.iter().any(concerns_us) {
            continue;
        }
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => writing.extend(event.paths),
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => writing.retain(|path| !event.paths.contains(path)),
            // Our own reading is no change.
            EventKind::Access(_) => continue,
            _ => {}
        }
        limit.get_or_insert_with(|| Instant::now() + WRITING_LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use admin::SettingsFile;

    use super::*;

    const BODY: &str = "videotestsrc ! vp8enc ! tee name=video allow-not-linked=true\n";
    const PATIENCE: Duration = Duration::from_secs(10);

    fn names(loaded: &[Loaded]) -> Vec<&str> {
        loaded.iter().map(|one| one.name.as_str()).collect()
    }

    /// The same directory, as counted from where the tests run.
    fn relative(directory: &Path) -> PathBuf {
        let here = std::env::current_dir().unwrap();
        let up = here.components().skip(1).map(|_| "..");
        let root: PathBuf = up.collect();
        root.join(directory.strip_prefix("/").unwrap())
    }

    #[test]
    fn a_change_is_told_when_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.launch");
        fs::write(&path, BODY).unwrap();
        let (sender, told) = channel();
        let watch = Watch::start(
            directory.path().to_owned(),
            Vec::new(),
            Parameters::default(),
            move |loaded| {
                let _ = sender.send(loaded);
            },
        )
        .unwrap();

        let mut file = fs::File::create(&path).unwrap();
        file.write_all(b"#: title A\nvideotestsrc ! vp8enc '")
            .unwrap();
        file.flush().unwrap();
        // Longer than a pause between two changes of one save.
        assert!(told.recv_timeout(QUIET * 5).is_err());
        file.write_all(b"target-bitrate=1' ! tee name=video\n")
            .unwrap();
        drop(file);
        let loaded = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(loaded[0].result.as_ref().unwrap().title[""], "A");

        // A log that is written all the time keeps nobody waiting.
        let mut log = fs::File::create(directory.path().join("a.log")).unwrap();
        log.write_all(b"line").unwrap();
        let other = directory.path().join("other");
        fs::write(&other, BODY).unwrap();
        fs::rename(&other, directory.path().join("b.launch")).unwrap();
        let mut loaded = told.recv_timeout(PATIENCE).unwrap();
        while names(&loaded) != ["a", "b"] {
            loaded = told.recv_timeout(PATIENCE).unwrap();
        }
        fs::remove_file(&path).unwrap();
        while names(&loaded) != ["b"] {
            loaded = told.recv_timeout(PATIENCE).unwrap();
        }
        // Reading is no change.
        assert!(told.recv_timeout(QUIET * 5).is_err());
        drop(watch);
        assert!(told.recv_timeout(PATIENCE).is_err());
    }

    #[test]
    fn what_is_included_and_the_settings_are_looked_after_from_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let part = directory.path().join("part.txt");
        fs::write(&part, BODY).unwrap();
        let text = "#: include part.txt\n";
        fs::write(directory.path().join("a.launch"), text).unwrap();
        let relative = relative(directory.path());
        let beside = relative.as_path();
        for (watched, settings) in [
            (directory.path(), directory.path()),
            (directory.path(), elsewhere.path()),
            (beside, directory.path()),
            (beside, beside),
            (beside, elsewhere.path()),
        ] {
            fs::write(&part, BODY).unwrap();
            let config = settings.join("settings.toml");
            let file = SettingsFile {
                config: config.clone(),
            };
            let parameters = Parameters::default().settings(file).unwrap();
            let (sender, told) = channel();
            let _watch = Watch::start(watched.to_owned(), Vec::new(), parameters, move |loaded| {
                let _ = sender.send(loaded);
            })
            .unwrap();
            fs::write(&part, format!("identity name=${{n:-x}} ! {BODY}")).unwrap();
            let value = || {
                let loaded = told.recv_timeout(PATIENCE).unwrap();
                loaded[0].result.as_ref().unwrap().params[0].value.clone()
            };
            assert_eq!(value(), "x");
            fs::write(&config, "[parameters]\nn = 'y'\n").unwrap();
            assert_eq!(value(), "y");
            // What cannot be read changes nothing.
            fs::write(&config, "[parameters").unwrap();
            assert_eq!(value(), "y");
            fs::remove_file(&config).unwrap();
        }
    }

    #[test]
    fn what_the_settings_say_in_vain_is_told_once_for_each_save() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("settings.toml");
        let write = |text: &str| fs::write(&config, text).unwrap();
        let body = format!("identity name=${{n:-x}} ! {BODY}");
        fs::write(directory.path().join("a.launch"), body).unwrap();
        write("[parameters]\nn = 1\n");
        let file = SettingsFile {
            config: config.clone(),
        };
        let mut reader = Reader {
            directory: directory.path().to_owned(),
            root: directory.path().to_owned(),
            names: Vec::new(),
            parameters: Parameters::default().settings(file).unwrap(),
            settings: None,
            told: HashSet::new(),
        };
        let mut news = || reader.read_again().unwrap().1;
        assert_eq!(news(), [""; 0]);
        write("[parameters]\nm = 1\n");
        assert_eq!(
            news(),
            ["settings file: no stream has a parameter m; did you mean n?"]
        );
        assert_eq!(news(), [""; 0]);
        write("[parameters]\nm = 1\n[rusticast]\nhttp = '127.0.0.1:1'\n");
        assert_eq!(
            news(),
            ["settings file: changed flags count from the next start on"]
        );
        assert_eq!(news(), [""; 0]);
        write("[parameters\n");
        assert!(news()[0].ends_with("the values from before are kept"));
        assert_eq!(news(), [""; 0]);
    }

    #[test]
    fn a_file_that_gets_a_bad_name_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut reader = Reader {
            directory: directory.path().to_owned(),
            root: directory.path().to_owned(),
            names: Vec::new(),
            parameters: Parameters::default(),
            settings: None,
            told: HashSet::new(),
        };
        fs::write(directory.path().join("a b.launch"), BODY).unwrap();
        reader.read_again().unwrap();
        assert_eq!(reader.told, HashSet::from(["a b".to_owned()]));
        fs::remove_file(directory.path().join("a b.launch")).unwrap();
        reader.read_again().unwrap();
        assert!(reader.told.is_empty());
    }
}
