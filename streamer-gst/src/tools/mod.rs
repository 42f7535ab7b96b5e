//! Tools for people who write descriptions: what `streamer-gst` does beside running streams.

mod check;
mod devices;
mod doctor;
mod export;
mod graph;
mod import;
mod manual;
mod nodes;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use admin::SettingsFile;
pub use check::Check;
pub use devices::Devices;
pub use doctor::Doctor;
pub use export::Export;
pub use graph::Graph;
pub use import::Import;
pub use manual::{Completions, Man};

use crate::description::{Description, Diagnostic, Parameters};

/// Values of parameters as a command line gives them, then the settings file, then the environment:
/// the same as for a running stream.
fn parameters(arguments: &[String], settings: &SettingsFile) -> Result<Parameters, String> {
    let given = Parameters::from_arguments(arguments)?;
    Ok(given.settings(settings.clone())?.environment())
}

/// Reads one description for a tool; what keeps it from that has been told.
fn load(
    tool: &str,
    file: &Path,
    values: &[String],
    settings: &SettingsFile,
) -> Result<Description, ExitCode> {
    let parameters = parameters(values, settings).map_err(|why| fail(tool, &why))?;
    let description = Description::load(file, &parameters).map_err(|faults| {
        tell(std::io::stderr(), &faults.diagnostics);
        ExitCode::FAILURE
    })?;
    check_used(&parameters, [&description]).map_err(|why| fail(tool, &why))?;
    Ok(description)
}

/// A value that no description asks for was meant for something.
fn check_used<'a>(
    parameters: &Parameters,
    descriptions: impl IntoIterator<Item = &'a Description>,
) -> Result<(), String> {
    match parameters.unused(descriptions) {
        None => Ok(()),
        Some((why, None)) => Err(why),
        Some((why, Some(help))) => Err(format!("{why}; {help}")),
    }
}

/// Prints a result. Who reads may have left already, as `head` does.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints what is wrong, in colour where that is welcome (see no-color.org).
fn tell(mut out: impl Write + IsTerminal, diagnostics: &[Diagnostic]) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = !plain && out.is_terminal();
    for diagnostic in diagnostics {
        let _ = writeln!(out, "{}\n", diagnostic.render(colour));
    }
}

/// Says why a tool did nothing.
fn fail(tool: &str, why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "streamer-gst {tool}: {why}");
    ExitCode::FAILURE
}

/// A word as a shell has to be given it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=,%+@-".contains(c);
    if word == "!" || !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_act_on_them() {
        for (word, shown) in [
            ("!", "!"),
            ("video/x-raw,width=640", "video/x-raw,width=640"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
            ("x=$(y)", "'x=$(y)'"),
            ("width=[2,1280]", "'width=[2,1280]'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
