//! `requorum check`

use std::path::PathBuf;

use clap::Args;

use super::error::{CommandError, Exit};
use super::load::{self, LoadError, Loaded};
use super::options::{Format, Global, Inputs};
use super::output;
use crate::plan::{Diagnostic, Mode, diagnostic};
use crate::report::phrase;

/// Checks a plan, and a site, without touching network or state
#[derive(Debug, Args)]
pub struct Check {
    /// The plan: a file, or a name of the library
    plan: String,

    /// The site file; without it, what only the site can tell is left open
    #[arg(short = 'i', long, env = "REQUORUM_SITE", value_name = "FILE")]
    site: Option<PathBuf>,

    #[command(flatten)]
    inputs: Inputs,

    /// The format on standard output
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Check {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let loaded = load::compiled(&self.plan, self.site.as_deref(), &self.inputs, Mode::Check);
        if self.output == Format::Json {
            return as_json(loaded);
        }
        let loaded = loaded.map_err(|error| load::report(error, global.colour()))?;
        load::show(&loaded.compiled.warnings, &loaded.sources(), global.colour());
        let plan = &loaded.compiled.plan;
        let open = plan.steps.iter().filter(|step| step.items.is_none()).count();
        let open =
            if open > 0 { format!(", {open} of them over hosts that only a site can tell") } else { String::new() };
        output::line(format_args!("{} is valid: {}{open}", plan.name, phrase::count(plan.steps.len(), "step")))?;
        // The process ends. Giving a large plan back piece by piece takes a tenth of the time in which it was compiled.
        std::mem::forget(loaded);
        Ok(())
    }
}

/// Prints all that is wrong as a list of objects, also where a file could not be read.
fn as_json(loaded: Result<Loaded, LoadError>) -> Result<(), CommandError> {
    let (found, outcome) = match loaded {
        Ok(loaded) => (loaded.compiled.warnings, Ok(())),
        Err(LoadError::Wrong { diagnostics, .. }) => (diagnostics, Err(CommandError::reported(Exit::Invalid))),
        Err(LoadError::Unreadable { file, error }) => {
            let mut found = Diagnostic::with_file(file, "unreadable-file", error.message);
            if !error.hints.is_empty() {
                found.help(error.hints.join("\n"));
            }
            (vec![found], Err(CommandError::reported(error.exit)))
        }
        Err(LoadError::Command(error)) => return Err(error),
    };
    output::line(format_args!("{}", diagnostic::json(&found)))?;
    outcome
}
