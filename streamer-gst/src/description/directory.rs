//! A directory of descriptions, read at the start and again whenever something in it changes.

mod watch;

use std::path::Path;

pub use watch::Watch;

use super::{
    Description, Diagnostic, EXTENSION, Faults, Parameters, Place, Severity, is_valid_name,
};

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
    for name in misnamed(&found) {
        warn_of_name(name);
    }
    let loaded = load(directory, found, parameters);
    check_parameters(directory, &loaded, parameters)?;
    if let Some(text) = unused_of_settings(names, &loaded, parameters) {
        tracing::warn!("{text}");
    }
    Ok(loaded)
}

/// The files whose names cannot be those of streams.
fn misnamed(found: &[String]) -> impl Iterator<Item = &String> {
    found.iter().filter(|name| !is_valid_name(name))
}

fn warn_of_name(file: &str) {
    tracing::warn!(
        file,
        "not a stream: its name has other characters than A-Z a-z 0-9 _ -, or more than 64"
    );
}

/// What is to be said of a value in the settings file that no stream asks for. Where not all
/// streams are wanted it may be for the others.
fn unused_of_settings(
    wanted: &[String],
    loaded: &[Loaded],
    parameters: &Parameters,
) -> Option<String> {
    if !wanted.is_empty() {
        return None;
    }
    let read = loaded.iter().filter_map(|one| one.result.as_ref().ok());
    let (message, help) = parameters.unused_of_file(read)?;
    let help = help.unwrap_or_else(|| "take it out of [parameters]".to_owned());
    Some(format!("settings file: {message}; {help}"))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const BODY: &str = "videotestsrc ! vp8enc ! tee name=video allow-not-linked=true\n";

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
}
