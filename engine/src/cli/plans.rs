//! `requorum plans`: the shipped library.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::error::{CommandError, Exit};
use super::load;
use super::options::Format;
use super::output;
use super::schema::{self, Of};

/// Shows the shipped plans, or copies one to adapt it
#[derive(Debug, Args)]
pub struct Plans {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the plans
    List {
        /// The format on standard output
        #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Prints a plan
    Show {
        /// The plan's name
        plan: String,
    },
    /// Writes a plan to a file, to be adapted, and beside it the schema for editors
    Copy {
        /// The plan's name
        plan: String,
        /// The file [default: the last part of the name, .yaml]
        to: Option<PathBuf>,
    },
}

impl Plans {
    /// Carries the command out.
    pub fn run(self) -> Result<(), CommandError> {
        match self.what {
            What::List { output } => list(output)?,
            What::Show { plan } => output::print(format_args!("{}", load::plan(&plan)?.text))?,
            What::Copy { plan, to } => {
                let source = load::plan(&plan)?;
                let to =
                    to.unwrap_or_else(|| PathBuf::from(format!("{}.yaml", plan.rsplit('/').next().unwrap_or(&plan))));
                let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&to).map_err(|error| {
                    CommandError::new(Exit::Usage, format!("cannot write {}: {error}", to.display()))
                        .hint("name a file that does not exist yet")
                })?;
                file.write_all(schema::with_modeline(&source.text, Of::Plan).as_bytes())?;
                output::line(format_args!("{}", to.display()))?;
                schema::beside(&to, Of::Plan);
            }
        }
        Ok(())
    }
}

fn list(output: Format) -> Result<(), CommandError> {
    let plans: Vec<(String, String)> =
        requorum_plans::all().into_iter().map(|plan| (plan.name, title(plan.text))).collect();
    match output {
        Format::Json => {
            let plans: Vec<_> = plans.iter().map(|(name, title)| json!({ "name": name, "title": title })).collect();
            output::line(format_args!("{}", json!(plans)))?;
        }
        Format::Text => {
            for (name, title) in plans {
                output::line(format_args!("{name:<28} {title}"))?;
            }
        }
    }
    Ok(())
}

/// Returns the title of a shipped plan, whose `title` stands on a line of its own.
fn title(text: &str) -> String {
    text.lines().find_map(|line| line.strip_prefix("title: ")).unwrap_or_default().to_owned()
}
