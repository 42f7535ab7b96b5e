//! `streamer-gst export`: a description as one line for a shell.

use std::path::PathBuf;
use std::process::ExitCode;

use admin::SettingsFile;

use super::quoted;
use crate::description::{Description, Diagnostic};
use crate::gst::check;

/// Print a description as one gst-launch line that runs
///
/// Includes are put in, parameters have their values, and what a shell would act on is quoted.
#[derive(Debug, clap::Args)]
pub struct Export {
    #[command(flatten)]
    settings: SettingsFile,

    /// The description (NAME.launch)
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Values of its parameters
    #[arg(value_name = "name=value")]
    values: Vec<String>,

    /// End the outputs in windows and loudspeakers
    #[arg(long)]
    play: bool,

    /// Go where its relative paths count from, so that it runs anywhere: eval "$(… --sh FILE)"
    #[arg(long)]
    sh: bool,
}

impl Export {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let parameters = match super::parameters(&self.values, &self.settings) {
            Ok(parameters) => parameters,
            Err(why) => return super::fail("export", &why),
        };
        let (description, diagnostics) = check::examine(&self.file, &parameters);
        // Nothing that does not run is worth a line.
        if diagnostics.iter().any(Diagnostic::is_error) {
            super::tell(std::io::stderr(), &diagnostics);
            return ExitCode::FAILURE;
        }
        if let Err(why) = super::check_used(&parameters, [&description]) {
            return super::fail("export", &why);
        }
        let line = line(&description, self.play);
        if !self.sh {
            super::print(&line);
            return ExitCode::SUCCESS;
        }
        // The directory above the description's own, as for a running stream.
        let above = std::path::absolute(&self.file)
            .ok()
            .and_then(|path| path.parent()?.parent().map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("/"));
        let above = quoted(&above.to_string_lossy());
        super::print(&format!("(cd {above} && exec {line})"));
        ExitCode::SUCCESS
    }
}

/// The whole command.
fn line(description: &Description, play: bool) -> String {
    let mut line = String::from("gst-launch-1.0");
    for argument in description.arguments() {
        line.push(' ');
        line.push_str(&quoted(&argument));
    }
    for output in description.outputs() {
        let end = match (play, output) {
            // One that is not linked would never end, and nobody would see why.
            (false, _) => "queue ! fakesink",
            (true, "audio") => "queue ! decodebin ! audioconvert ! audioresample ! autoaudiosink",
            (true, _) => "queue ! decodebin ! videoconvert ! autovideosink",
        };
        line.push_str(&format!(" {output}. ! {end}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_line_is_quoted_and_ends_every_output() {
        let text = "videotestsrc pattern=${p:-smpte} ! 'video/x-raw,format=(string)I420'\n\
                    ! vp8enc ! tee name=video allow-not-linked=true\n";
        let description = Description::parse(Path::new("a.launch"), text).unwrap();
        assert_eq!(
            line(&description, false),
            "gst-launch-1.0 videotestsrc pattern=smpte ! 'video/x-raw,format=(string)I420' ! \
             vp8enc ! tee name=video allow-not-linked=true video. ! queue ! fakesink"
        );
        assert!(line(&description, true).ends_with("videoconvert ! autovideosink"));
    }
}
