//! `requorum runs`: what runs there are, how they stand, what happened in them. None of it needs a run's lock, but `abort`
//! and `recover`.

use std::time::Duration;

use clap::{Args, Subcommand};
use requorum_steps::RunId;
use serde_json::json;

use super::decide::{self, Target};
use super::error::{CommandError, Exit};
use super::home::{Glance, Home, run_id};
use super::options::{Format, Global};
use super::{export, output, recover};
use crate::exec::inbox::Order;
use crate::report::{lines, summary};
use crate::run::record::{Ending, Event};
use crate::run::state::RunState;

/// Shows runs, or gives one up
#[derive(Debug, Args)]
pub struct Runs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the runs, newest first
    List {
        /// The format on standard output
        #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Shows how a run stands, also while it is live
    Show {
        /// The run; the newest where it is left out
        run: Option<String>,
        /// The format on standard output
        #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Shows what happened in a run, also while it is live
    Logs {
        /// The run; the newest where it is left out
        run: Option<String>,
        /// The format on standard output
        #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    Export(export::Export),
    Recover(recover::Recover),
    /// Gives a run up; what it has done stays as it is
    Abort {
        /// The run
        run: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Runs {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let home = Home::open(global.state_dir.as_deref())?;
        match self.what {
            What::List { output } => list(&home, output),
            What::Show { run, output } => show(global, &home, &find(&home, run.as_deref())?.readable()?, output),
            What::Logs { run, output } => logs(find(&home, run.as_deref())?, output),
            What::Export(export) => export.run(&home),
            What::Recover(recover) => recover.run(global, &home),
            What::Abort { run, reason } => {
                let target = Target { home: &home, run: &run, reason };
                decide::deliver(&target, Order::Abort)?;
                output::line(format_args!("run {run} is given up; what it has done stays as it is"))?;
                Ok(())
            }
        }
    }
}

fn find(home: &Home, named: Option<&str>) -> Result<Glance, CommandError> {
    match named {
        Some(name) => home.look(&run_id(name)?),
        None => home.look(&home.newest()?),
    }
}

fn list(home: &Home, output: Format) -> Result<(), CommandError> {
    let glances = home.glance_all()?;
    match output {
        Format::Json => {
            let runs: Vec<_> = glances.iter().map(|glance| about(&glances, glance)).collect();
            output::line(format_args!("{}", json!(runs)))?;
        }
        Format::Text => {
            for glance in &glances {
                let (plan, cluster) = glance
                    .beginning()
                    .map_or(("", ""), |beginning| (beginning.plan.as_str(), beginning.cluster.as_str()));
                let note = match links(&glances, glance) {
                    (Some(of), _) => format!(" ({of})"),
                    (None, Some(by)) => format!(" (rolled back by {by})"),
                    (None, None) => amended(glance).to_owned(),
                };
                let line = format!("{:<22} {:<12} {cluster:<16} {plan}{note}", glance.id, glance.state());
                output::line(format_args!("{}", line.trim_end()))?;
            }
        }
    }
    Ok(())
}

/// Says that the plan of a run is not the one that it began with.
fn amended(glance: &Glance) -> &'static str {
    let amended = glance.records.iter().any(|record| matches!(record.event, Event::Amended { .. }));
    if amended { " (amended)" } else { "" }
}

/// Returns the run that a run takes back, and the run that takes it back.
fn links<'a>(all: &'a [Glance], glance: &'a Glance) -> (Option<&'a RunId>, Option<&'a RunId>) {
    let takes_back = |glance: &'a Glance| glance.beginning().and_then(|beginning| beginning.rolls_back.as_ref());
    // One that came to nothing has taken nothing back.
    let counts = |other: &Glance| match other.ending() {
        Some(Ending::Refused) => false,
        Some(Ending::Aborted) => other.has_acted(),
        Some(Ending::Done | Ending::Failed | Ending::NeedsPerson | Ending::Interrupted) | None => true,
    };
    let by = all.iter().find(|other| takes_back(other) == Some(&glance.id) && counts(other));
    (takes_back(glance), by.map(|other| &other.id))
}

fn about(all: &[Glance], glance: &Glance) -> serde_json::Value {
    let beginning = glance.beginning();
    let (rolls_back, rolled_back_by) = links(all, glance);
    json!({
        "run": glance.id,
        "state": glance.state(),
        "unfinished": glance.is_unfinished(),
        "held_by": glance.held,
        "plan": beginning.map(|b| &b.plan),
        "digest": glance.digest(),
        "cluster": beginning.map(|b| &b.cluster),
        "rolls_back": rolls_back,
        "rolled_back_by": rolled_back_by,
        "began": glance.records.first().map(|record| record.at),
        "last": glance.records.last().map(|record| record.at),
    })
}

fn show(global: &Global, home: &Home, glance: &Glance, output: Format) -> Result<(), CommandError> {
    let Some(beginning) = glance.beginning() else {
        return Err(CommandError::new(Exit::Internal, format!("run `{}` was cut off before it began", glance.id)));
    };
    let kept = glance.kept()?;
    let state = kept.state(&glance.records)?;
    let all = home.glance_all()?;
    match output {
        Format::Json => output::line(format_args!("{}", show_json(&all, glance, &state)))?,
        Format::Text => {
            output::line(format_args!("run      {}\nstate    {}", glance.id, glance.state()))?;
            if let Some(holder) = &glance.held {
                output::line(format_args!("held by  {holder}"))?;
            }
            output::line(format_args!("plan     {}: {}{}", state.plan().name, state.plan().title, amended(glance)))?;
            output::line(format_args!("cluster  {}", beginning.cluster))?;
            for (host, reason) in &kept.given_up {
                output::line(format_args!("lost     {host}: {reason}"))?;
            }
            let (rolls_back, rolled_back_by) = links(&all, glance);
            if let Some(of) = rolls_back {
                output::line(format_args!("takes back  {of}"))?;
            }
            if let Some(by) = rolled_back_by {
                output::line(format_args!("rolled back by  {by}"))?;
            }
            if let Some(began) = state.began() {
                output::line(format_args!("began    {}", began.strftime("%Y-%m-%d %H:%M:%SZ")))?;
            }
            output::line(format_args!("with     requorum {}\n", beginning.version))?;
            output::print(format_args!("{}", summary::table(&state)))?;
            if glance.held.is_none() && glance.is_unfinished() {
                let ending = glance.ending().unwrap_or(Ending::Interrupted);
                output::print(format_args!(
                    "{}",
                    summary::outcome(&state, glance.id.as_str(), ending, &global.invocation())
                ))?;
            }
        }
    }
    Ok(())
}

fn show_json(all: &[Glance], glance: &Glance, state: &RunState) -> serde_json::Value {
    let items: Vec<_> = state
        .items()
        .map(|(id, item)| {
            json!({
                "step": id.step,
                "item": id.item,
                "state": item.phase.word(),
                "attempts": item.attempt,
                "started": item.started,
                "ended": item.ended,
                "result": item.result,
                "outputs": item.outputs,
            })
        })
        .collect();
    let mut about = about(all, glance);
    about["items"] = json!(items);
    about
}

/// Prints the records that can be read, and what keeps the others from it.
fn logs(glance: Glance, output: Format) -> Result<(), CommandError> {
    for record in &glance.records {
        match output {
            Format::Json => output::line(format_args!("{}", json!(record)))?,
            Format::Text => {
                if let Some(line) = lines::line(record, took(&glance, record)) {
                    output::line(format_args!("{line}"))?;
                }
            }
        }
    }
    glance.readable().map(drop)
}

/// Returns how long an item took, from its first start to this success.
fn took(glance: &Glance, record: &crate::run::record::Record) -> Option<Duration> {
    let Event::Succeeded { id, .. } = &record.event else { return None };
    let started = glance.records.iter().find(|earlier| match &earlier.event {
        Event::Started { id: other, .. } => other == id,
        _ => false,
    })?;
    Duration::try_from(record.at.duration_since(started.at)).ok()
}
