//! The options that several commands share.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use requorum_steps::units;

use super::load;
pub use crate::report::phrase::quote;
use crate::report::{Report, json::Json, lines::Lines, live::Live, summary::Invocation};

/// The options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where runs are kept [default: `$XDG_STATE_HOME/requorum`]
    #[arg(long, global = true, env = "REQUORUM_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// How progress is written to standard error
    #[arg(long, global = true, env = "REQUORUM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
}

/// How progress is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A live view on a terminal, lines elsewhere
    Auto,
    /// One timestamped line for each event
    Text,
    /// One JSON object for each event
    Json,
}

/// The format of what is printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person
    Text,
    /// For a program
    Json,
}

/// What is given for the inputs of a plan.
#[derive(Debug, Clone, Default, Args)]
pub struct Inputs {
    /// Gives a value for an input of the plan
    #[arg(long, value_name = "NAME=VALUE", value_parser = load::assignment)]
    pub set: Vec<(String, String)>,

    /// Gives the content of a file for an input of the plan; the way for secrets
    #[arg(long, value_name = "NAME=PATH", value_parser = load::file_assignment)]
    pub set_file: Vec<(String, PathBuf)>,
}

/// How long things may take in this process.
#[derive(Debug, Clone, Args)]
pub struct Pace {
    /// Ends this process after a while; the run can be resumed (for example 2h)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub budget: Option<Duration>,

    /// How long to wait for a host that cannot be reached, where what became of an attempt there is to be found out
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub patience: Duration,
}

/// Reads a duration with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|error| error.to_string())
}

impl Global {
    /// Says whether what is written to standard error may be coloured.
    #[must_use]
    pub fn colour(&self) -> bool {
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Makes the report of a run with this many items.
    #[must_use]
    pub fn report(&self, items: usize) -> Arc<dyn Report> {
        match self.log_format {
            LogFormat::Json => Arc::new(Json),
            LogFormat::Auto if std::io::stderr().is_terminal() => Arc::new(Live::new(items as u64)),
            LogFormat::Auto | LogFormat::Text => Arc::new(Lines::default()),
        }
    }

    /// Returns the words with which this program is called, for commands that are printed to be pasted.
    #[must_use]
    pub fn invocation(&self) -> Invocation {
        let program = std::env::args().next().unwrap_or_else(|| "requorum".to_owned());
        let mut words = vec![program];
        if let Some(dir) = &self.state_dir {
            // Made absolute, so that the command works from any directory.
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
            words.extend(["--state-dir".to_owned(), dir.display().to_string()]);
        }
        Invocation { program: words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ") }
    }
}

/// Returns who runs this process: `user@machine`.
#[must_use]
pub fn operator() -> String {
    // The system knows the user better than the environment, which a service or `sudo` leaves empty or wrong.
    let user = whoami::username().unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{machine}")
}
