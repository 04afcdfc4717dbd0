//! `requorum completion` and `requorum man`: what shells and manual readers want, made from the command line itself.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::error::{CommandError, Exit};
use super::output;

/// Prints completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "For example: requorum completion bash >~/.local/share/bash-completion/completions/requorum")]
pub struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    /// Carries the command out.
    pub fn run(&self, mut command: Command) -> Result<(), CommandError> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "requorum", &mut text);
        output::print(format_args!("{}", String::from_utf8_lossy(&text)))
    }
}

/// Prints the manual page, or writes those of all commands into a directory
#[derive(Debug, Args)]
#[command(after_help = "For example: requorum man | man -l -")]
pub struct Man {
    /// The directory, which must exist; one page for each command
    dir: Option<PathBuf>,
}

impl Man {
    /// Carries the command out.
    pub fn run(&self, command: Command) -> Result<(), CommandError> {
        let Some(dir) = &self.dir else {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text)?;
            return output::print(format_args!("{}", String::from_utf8_lossy(&text)));
        };
        clap_mangen::generate_to(command, dir).map_err(|error| {
            CommandError::new(Exit::Usage, format!("cannot write manual pages into {}: {error}", dir.display()))
                .hint("name a directory that is there")
        })
    }
}
