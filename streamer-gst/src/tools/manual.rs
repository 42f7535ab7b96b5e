//! `streamer-gst completions` and `streamer-gst man`: what a package installs beside the program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

/// Print a script that completes commands and flags in a shell
///
/// For bash: streamer-gst completions bash >~/.local/share/bash-completion/completions/streamer-gst
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// Print the manual page, or write those of all commands
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Write a page for every command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Completions {
    /// Does it, for a program with these flags.
    pub fn run(self, mut program: Command) -> ExitCode {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, &name, &mut script);
        let mut script = String::from_utf8_lossy(&script).into_owned();
        if self.shell == Shell::Bash {
            // clap_complete 4.6 sets one name of a command and asks for another where the
            // program's has a hyphen.
            let (asked, set) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
            script = script.replace(&format!("{asked}__"), &format!("{set}__"));
        }
        super::print(script.trim_end());
        ExitCode::SUCCESS
    }
}

impl Man {
    /// Does it, for a program with these flags.
    pub fn run(self, program: Command) -> ExitCode {
        let done = match &self.dir {
            Some(dir) => {
                std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(program, dir))
            }
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(program)
                    .render(&mut page)
                    .map(|()| super::print(String::from_utf8_lossy(&page).trim_end()))
            }
        };
        match (done, self.dir) {
            (Ok(()), _) => ExitCode::SUCCESS,
            (Err(error), Some(dir)) => {
                let dir = dir.display();
                super::fail("man", &format!("{dir} cannot be written: {error}"))
            }
            (Err(error), None) => super::fail("man", &error.to_string()),
        }
    }
}
