//! The command line: one file for each command. Only this module and `report` print.

pub mod change;
pub mod check;
pub mod commit;
pub mod completion;
pub mod confirm;
pub mod decide;
pub mod error;
pub mod execute;
pub mod export;
pub mod graph;
pub mod home;
pub mod kept;
pub mod load;
pub mod new;
pub mod options;
pub mod output;
pub mod plans;
pub mod prepare;
pub mod preview;
pub mod recover;
pub mod reference;
pub mod resume;
pub mod rollback;
pub mod run;
pub mod runs;
pub mod schema;
mod settle;
pub mod triage;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::decide::What;
use self::error::CommandError;
use self::options::Global;

/// Executes declarative recovery plans for etcd and Kubernetes control planes.
///
/// A plan says what must be true, what each step does, and how one knows that it worked. What a run does is kept on disk, so
/// that a recovery that was interrupted goes on where it was, and does nothing blindly twice.
#[derive(Debug, Parser)]
#[command(name = "requorum", version, max_term_width = 100, after_help = EXITS)]
pub struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

const EXITS: &str = "Exit status: 0 done, 1 internal error, 2 usage, 3 plan or site invalid, 4 a precondition does not hold \
    and nothing was changed, 5 a step failed or the time --budget was over (resumable), 6 a person is needed, 7 held by \
    another operator, 8 the plan or the site differs from the run's in what may not change, or without a reason, \
    9 confirmation needed, 130 and 143 interrupted (resumable)";

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Graph(graph::Graph),
    Preview(preview::Preview),
    Run(run::Run),
    Resume(resume::Resume),
    Rollback(rollback::Rollback),
    Commit(commit::Commit),
    Runs(runs::Runs),
    Triage(triage::Triage),
    /// Answers a gate with yes
    Approve(decide::About),
    /// Answers a gate with no
    Reject(decide::About),
    /// Leaves a step out, or with --done counts it as done because it happened; what needs it goes on
    Skip(decide::Skip),
    /// Lets a step be tried again
    Retry(decide::About),
    Plans(plans::Plans),
    New(new::New),
    Schema(schema::Schema),
    /// Prints the reference of step kinds as Markdown
    #[command(hide = true)]
    Reference,
    Completion(completion::Completion),
    Man(completion::Man),
    /// Prints the version
    Version,
}

/// Parses the command line, carries the command out, and reports what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.run(&cli.global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

impl Command {
    fn run(self, global: &Global) -> Result<(), CommandError> {
        match self {
            Self::Check(command) => command.run(global),
            Self::Graph(command) => command.run(global),
            Self::Preview(command) => command.run(global),
            Self::Run(command) => command.run(global),
            Self::Resume(command) => command.run(global),
            Self::Rollback(command) => command.run(global),
            Self::Commit(command) => command.run(global),
            Self::Runs(command) => command.run(global),
            Self::Triage(command) => command.run(global),
            Self::Approve(about) => about.run(global, What::Approve),
            Self::Reject(about) => about.run(global, What::Reject),
            Self::Skip(command) => command.run(global),
            Self::Retry(about) => about.run(global, What::Retry),
            Self::Plans(command) => command.run(),
            Self::New(command) => command.run(),
            Self::Schema(command) => command.run(),
            Self::Reference => {
                output::print(format_args!("{}", reference::render()))?;
                Ok(())
            }
            Self::Completion(command) => command.run(Cli::command()),
            Self::Man(command) => command.run(Cli::command()),
            Self::Version => {
                output::line(format_args!("requorum {}", env!("CARGO_PKG_VERSION")))?;
                Ok(())
            }
        }
    }
}

fn report(error: &CommandError) -> ExitCode {
    if !error.message.is_empty() {
        output::tell_line(format_args!("error: {}", error.message));
    }
    for hint in &error.hints {
        output::tell_line(format_args!("  hint: {hint}"));
    }
    ExitCode::from(error.exit as u8)
}
