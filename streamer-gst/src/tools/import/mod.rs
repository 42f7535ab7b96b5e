//! `streamer-gst import`: makes a description of a gst-launch line.

mod outputs;
mod plan;
mod text;
mod words;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::quoted;
use crate::description::{self, Diagnostic, EXTENSION};
use crate::gst::check;
use plan::Plan;

/// Make a description of a gst-launch line: sinks and payloaders go, outputs come
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The line in one pair of quotes, or as it is behind --
    #[arg(value_name = "LINE", required = true)]
    line: Vec<String>,

    /// Write this file instead of standard output; it must not exist yet
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Import {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let line = match self.line.as_slice() {
            [line] => line.clone(),
            words => words
                .iter()
                .map(|w| quoted(w))
                .collect::<Vec<_>>()
                .join(" "),
        };
        let (text, warnings) = match import(&line) {
            Ok(imported) => imported,
            Err(diagnostics) => {
                super::tell(std::io::stderr(), &diagnostics);
                return ExitCode::FAILURE;
            }
        };
        let path = match &self.output {
            Some(path) if path.extension().is_none() => path.with_extension(EXTENSION),
            Some(path) => path.clone(),
            None => PathBuf::from(format!("imported.{EXTENSION}")),
        };
        if self.output.is_none() {
            super::print(text.trim_end());
        } else if let Err(error) =
            fs::File::create_new(&path).and_then(|mut f| f.write_all(text.as_bytes()))
        {
            return super::fail("import", &format!("{}: {error}", path.display()));
        }
        super::tell(std::io::stderr(), &warnings);
        let (_, diagnostics) = check::examine_text(&path, &text);
        super::tell(std::io::stderr(), &diagnostics);
        match diagnostics.iter().any(Diagnostic::is_error) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// The description of a line, and what of the line is not in it.
fn import(line: &str) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let line = line.trim_start().trim_start_matches("$ ");
    let (_, words) = description::line_words(&line.replace("\\\n", " "))?;
    let words = words::of_pipeline(words.into_iter().map(|word| word.text).collect());
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let sketch = description::sketch(&words.join(" "))?;
    let graph = &sketch.graph;
    // Brackets without properties only group, and the links inside are known.
    let mut bins = graph.elements.iter().filter(|e| plan::is_bin(e));
    if let Some(bin) = bins.find(|bin| !bin.properties.is_empty()) {
        let message = "bins with properties cannot be imported";
        let error = sketch.texts.error(bin.factory.span, message);
        return Err(vec![error.help("take the brackets out")]);
    }
    let plan = Plan::of(graph);
    Ok((text::of(&plan), plan.warnings(&sketch.texts)))
}
