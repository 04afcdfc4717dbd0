//! `requorum graph`: the steps and what they need, drawn.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::error::CommandError;
use super::load;
use super::options::{Global, Inputs};
use super::output;
use crate::plan::Mode;
use crate::report::graph::{Drawing, Look};

/// How many columns the text has where no terminal says how many there are.
const COLUMNS: u16 = 80;

/// Draws the steps of a plan and what they need
///
/// Shows in what order the steps go and which side by side, on which hosts, what is disruptive or destructive, what a person is
/// asked, and from where on there is no rollback. Nothing is looked at but the files: `preview` tells what a run would do now.
#[derive(Debug, Args)]
pub struct Graph {
    /// The plan: a file, or a name of the library
    plan: String,

    /// The site file; without it, hosts are left open
    #[arg(short = 'i', long, env = "REQUORUM_SITE", value_name = "FILE")]
    site: Option<PathBuf>,

    #[command(flatten)]
    inputs: Inputs,

    /// The form of the drawing
    #[arg(short = 'o', long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For a terminal
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// For a browser or a printer: one file
    Html,
}

impl Graph {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let loaded = load::compiled(&self.plan, self.site.as_deref(), &self.inputs, Mode::Check)
            .map_err(|error| load::report(error, global.colour()))?;
        let drawing = Drawing::new(&loaded.compiled.plan, loaded.compiled.site.as_ref());
        let drawn = match self.output {
            Form::Text => drawing.text(look()),
            Form::Dot => drawing.dot(),
            Form::Mermaid => drawing.mermaid(),
            Form::Html => drawing.html(),
        };
        output::print(format_args!("{drawn}"))
    }
}

/// Finds out how standard output looks.
fn look() -> Look {
    let columns = console::Term::stdout().size_checked().map_or(COLUMNS, |(_, columns)| columns);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Look { columns: usize::from(columns.clamp(40, 110)), colour: std::io::stdout().is_terminal() && !plain }
}
