//! `streamer-gst check`: what is wrong with descriptions, before anybody watches them.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use admin::SettingsFile;

use crate::description::{Diagnostic, Severity};
use crate::gst::check;

/// Show what is wrong with descriptions: file, line and column, the cause and the cure
///
/// Exits with 1 when there is an error; warnings do not count.
#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    settings: SettingsFile,

    /// Descriptions (NAME.launch), and values of their parameters as name=value
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Print a JSON array of {file, line, column, end_column, severity, message, help}
    #[arg(long)]
    json: bool,

    /// Play each description for a while as well, for example 3s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    run: Option<Duration>,
}

impl Check {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let (values, files): (Vec<_>, Vec<_>) = self
            .files
            .iter()
            .cloned()
            .partition(|argument| argument.contains('=') && !Path::new(argument).exists());
        let parameters = match super::parameters(&values, &self.settings) {
            Ok(parameters) => parameters,
            Err(why) => return super::fail("check", &why),
        };
        if files.is_empty() {
            return super::fail("check", "name a file");
        }
        let examine = |file: &String| check::examine(Path::new(file), &parameters);
        let examined: Vec<_> = files.iter().map(examine).collect();
        if let Err(why) = super::check_used(&parameters, examined.iter().map(|(one, _)| one)) {
            return super::fail("check", &why);
        }
        let mut all = Vec::new();
        for (file, (description, mut diagnostics)) in files.iter().zip(examined) {
            let mut carried = String::new();
            if self.run.is_none() || has_errors(&diagnostics) {
                let mut missing = check::missing_files(&description);
                // It may come before the stream begins.
                for file in &mut missing {
                    file.severity = Severity::Warning;
                }
                diagnostics.extend(missing);
                description.sort(&mut diagnostics);
            }
            if let (Some(time), false) = (self.run, has_errors(&diagnostics)) {
                let run = check::run(&description, time);
                // What shows when it runs is sure, and not just to be feared.
                let seen = |one: &Diagnostic| run.diagnostics.iter().any(|d| d.place == one.place);
                diagnostics.retain(|one| !seen(one));
                diagnostics.extend(run.diagnostics);
                let codecs = run
                    .codecs
                    .iter()
                    .map(|(output, codec)| format!("{output} {codec}"));
                let codecs = codecs.collect::<Vec<_>>().join(", ");
                if !codecs.is_empty() {
                    carried = format!(" ({codecs})");
                }
            }
            if !self.json {
                super::tell(std::io::stdout(), &diagnostics);
                super::print(&format!("{file}: {}{carried}", verdict(&diagnostics)));
            }
            all.extend(diagnostics);
        }
        if self.json {
            match serde_json::to_string(&all) {
                Ok(json) => super::print(&json),
                Err(error) => return super::fail("check", &error.to_string()),
            }
        }
        match has_errors(&all) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// `2 errors, 1 warning`, or `ok`.
fn verdict(diagnostics: &[Diagnostic]) -> String {
    let count = |severity, name: &str| {
        let number = diagnostics
            .iter()
            .filter(|d| d.severity == severity)
            .count();
        match number {
            0 => None,
            1 => Some(format!("1 {name}")),
            _ => Some(format!("{number} {name}s")),
        }
    };
    let counts = [
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
    ];
    match counts.into_iter().flatten().collect::<Vec<_>>() {
        none if none.is_empty() => "ok".to_owned(),
        counts => counts.join(", "),
    }
}

/// `3s`, `500ms` or `3`, at most ten minutes.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    match number.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&(seconds * unit)) => {
            Ok(Duration::from_secs_f64(seconds * unit))
        }
        _ => Err("write a time from 100ms to 600s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_bounds() {
        assert_eq!(duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        for text in ["", "s", "-1s", "0", "601s", "3m", "NaN", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
