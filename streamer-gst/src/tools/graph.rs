//! `streamer-gst graph`: a picture of the real pipeline.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use admin::SettingsFile;

use crate::description::Diagnostic;
use crate::drawing;
use crate::gst::portrait;

/// Elements decide on formats while they play; a camera needs a moment.
const PLAYING: Duration = Duration::from_secs(4);

/// Draw the pipeline of a description as SVG: elements, links, and the formats on them
///
/// Plays it until every output had a frame, at most 4 s, so that what is put in while playing is
/// drawn as well. What goes wrong meanwhile is told, and the rest is drawn; the status is 1 then.
#[derive(Debug, clap::Args)]
pub struct Graph {
    #[command(flatten)]
    settings: SettingsFile,

    /// The description (NAME.launch)
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Values of its parameters
    #[arg(value_name = "name=value")]
    values: Vec<String>,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "OUT.svg")]
    output: Option<PathBuf>,

    /// Only build the pipeline: formats are those that are possible
    #[arg(long = "static")]
    fixed: bool,
}

impl Graph {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let description = match super::load("graph", &self.file, &self.values, &self.settings) {
            Ok(description) => description,
            Err(failed) => return failed,
        };
        if let Err(why) = crate::gst::Timeline::begin() {
            return super::fail("graph", &why);
        }
        let time = (!self.fixed).then_some(PLAYING);
        let (pipeline, diagnostics) = match portrait(&description, time) {
            Ok(drawn) => drawn,
            Err(diagnostic) => {
                super::tell(std::io::stderr(), &[diagnostic]);
                return ExitCode::FAILURE;
            }
        };
        let svg = drawing::render(&self.file.display().to_string(), &pipeline);
        match &self.output {
            Some(path) => {
                if let Err(error) = std::fs::write(path, svg) {
                    let path = path.display();
                    return super::fail("graph", &format!("{path} cannot be written: {error}"));
                }
            }
            None => super::print(svg.trim_end()),
        }
        super::tell(std::io::stderr(), &diagnostics);
        match diagnostics.iter().any(Diagnostic::is_error) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}
