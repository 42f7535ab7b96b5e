//! A directory of descriptions, read at the start and again whenever something in it changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};

use super::{
    Description, Diagnostic, EXTENSION, Faults, Parameters, Place, Severity, is_valid_name,
};

/// Saving a file is several changes; after this long without one it is over.
const QUIET: Duration = Duration::from_millis(40);
/// Who keeps a file open for writing is waited for no longer than this.
const WRITING_LIMIT: Duration = Duration::from_secs(2);
/// How often to look where the system does not tell of changes.
const LOOK: Duration = Duration::from_millis(500);

/// One description of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The stream's name.
    pub name: String,
    /// What its file says, or why it is of no use.
    pub result: Result<Description, Faults>,
}

/// Reads the named streams' descriptions from a directory, or all of them when none is named.
///
/// # Errors
/// A named stream without a file, a directory without any description, or a value for a parameter
/// that none of them has. Files that cannot be used are no error: they can be mended.
pub fn load_directory(
    directory: &Path,
    names: &[String],
    parameters: &Parameters,
) -> Result<Vec<Loaded>, Faults> {
    let there = find(directory, &[])?;
    if there.is_empty() {
        return Err(fault(directory, format!("there is no .{EXTENSION} file")));
    }
    if let Some(name) = names.iter().find(|name| !there.contains(name)) {
        return Err(fault(directory, no_stream(name, &there)));
    }
    let found = find(directory, names)?;
    for name in found.iter().filter(|name| !is_valid_name(name)) {
        tracing::warn!(
            file = name,
            "not a stream: its name has other characters than A-Z a-z 0-9 _ -, or more than 64"
        );
    }
    let loaded = load(directory, found, parameters);
    check_parameters(directory, &loaded, parameters)?;
    if names.is_empty() {
        let read = loaded.iter().filter_map(|one| one.result.as_ref().ok());
        if let Some((message, help)) = parameters.unused_of_file(read) {
            let help = help.unwrap_or_else(|| "take it out of [parameters]".to_owned());
            tracing::warn!("settings file: {message}; {help}");
        }
    }
    Ok(loaded)
}

fn fault(directory: &Path, message: String) -> Faults {
    let place = Place::of_file(directory);
    Diagnostic::new(place, Severity::Error, message).into()
}

/// A value that no stream asks for was meant for something.
fn check_parameters(
    directory: &Path,
    loaded: &[Loaded],
    parameters: &Parameters,
) -> Result<(), Faults> {
    let descriptions = loaded.iter().map(|one| one.result.as_ref());
    let Ok(descriptions) = descriptions.collect::<Result<Vec<_>, _>>() else {
        // It may belong to what cannot be read.
        return Ok(());
    };
    match parameters.unused(descriptions.iter().copied()) {
        None => Ok(()),
        Some((message, help)) => {
            let place = Place::of_file(directory);
            let error = Diagnostic::new(place, Severity::Error, message);
            Err(error.maybe_help(help).into())
        }
    }
}

/// What is wrong with a name that none of the files has, and what may have been meant.
fn no_stream(name: &str, there: &[String]) -> String {
    let stem = Path::new(name).file_stem();
    if let Some(meant) = there.iter().find(|there| stem == Some(there.as_ref())) {
        return format!("\"{name}\" is a file: write {meant}");
    }
    format!("there is no stream \"{name}\", but {}", there.join(", "))
}

/// The names of the wanted streams that have a file.
fn find(directory: &Path, names: &[String]) -> Result<Vec<String>, Faults> {
    let fail = |error: std::io::Error| fault(directory, format!("cannot be read: {error}"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != EXTENSION)
            || !path.is_file()
        {
            continue;
        }
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

fn load(directory: &Path, names: Vec<String>, parameters: &Parameters) -> Vec<Loaded> {
    let load = |name: String| {
        let path = directory.join(&name).with_extension(EXTENSION);
        let result = Description::load(&path, parameters);
        Loaded { name, result }
    };
    let names = names.into_iter().filter(|name| is_valid_name(name));
    names.map(load).collect()
}

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
        mut parameters: Parameters,
        changed: impl Fn(Vec<Loaded>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (events, inbox) = channel();
        let settings = parameters.file().and_then(|file| full(&file.config));
        let settings = settings.map(|file| seen_from(&directory, file));
        let beside = settings.as_deref().and_then(Path::parent);
        let beside = beside.filter(|path| !path.starts_with(&directory));
        let watcher = watch(&directory, beside, events).map_err(std::io::Error::other)?;
        let concerned = move |loaded: &[Loaded]| -> HashSet<PathBuf> {
            let files = loaded.iter().flat_map(files).chain(&settings);
            files.cloned().collect()
        };
        let work = move || {
            let found = find(&directory, &names).unwrap_or_default();
            let mut of_concern = concerned(&load(&directory, found, &parameters));
            while let Some(()) = next_change(&inbox, &of_concern) {
                if let Err(error) = parameters.read_again() {
                    tracing::warn!("{error}; the values from before are kept");
                }
                // A directory that cannot be read for a moment is no reason to end its streams.
                match find(&directory, &names) {
                    Ok(found) => {
                        let loaded = load(&directory, found, &parameters);
                        of_concern = concerned(&loaded);
                        changed(loaded);
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
fn full(file: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(file).ok()?;
    let directory = absolute.parent()?.canonicalize().ok()?;
    Some(directory.join(absolute.file_name()?))
}

/// A file as the watcher of a directory names it: what is watched as `a/b` changes in `a/b/…`.
fn seen_from(directory: &Path, file: PathBuf) -> PathBuf {
    let whole = directory.canonicalize();
    let below = whole.ok().and_then(|whole| file.strip_prefix(whole).ok());
    below.map(|rest| directory.join(rest)).unwrap_or(file)
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

    #[test]
    fn all_files_or_the_named_ones_are_read_and_a_broken_one_keeps_no_other_from_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let load = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            load_directory(directory.path(), &names, &Parameters::default())
        };
        assert!(load(&[]).unwrap_err().to_string().contains("no .launch"));
        write("b.launch", BODY);
        write("a.launch", "'");
        write("no name.launch", BODY);
        write("c.txt", BODY);
        let all = load(&[]).unwrap();
        assert_eq!(names(&all), ["a", "b"]);
        assert!(all[0].result.is_err() && all[1].result.is_ok());
        assert_eq!(names(&load(&["b"]).unwrap()), ["b"]);
        assert!(load(&["c"]).unwrap_err().to_string().contains("\"c\""));
        assert!(load(&["../b"]).is_err());
        assert!(load_directory(Path::new("/nonexistent"), &[], &Parameters::default()).is_err());
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
        for settings in [directory.path(), elsewhere.path()] {
            let config = settings.join("settings.toml");
            let file = SettingsFile {
                config: config.clone(),
            };
            let parameters = Parameters::default().settings(file).unwrap();
            let (sender, told) = channel();
            let _watch = Watch::start(
                directory.path().to_owned(),
                Vec::new(),
                parameters,
                move |loaded| {
                    let _ = sender.send(loaded);
                },
            )
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
        }
    }
}
