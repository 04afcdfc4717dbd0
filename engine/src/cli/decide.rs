//! `requorum approve`, `reject`, `skip` and `retry`: a person's decisions, recorded with who and why.
//!
//! A run that is live gets them through its inbox; of one that is not, the journal is written directly.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use requorum_steps::{ItemKey, StepId};

use super::error::{CommandError, Exit};
use super::execute;
use super::home::{Glance, Home, kept, run_id};
use super::options::{Global, operator};
use super::output;
use crate::exec::inbox::{Decision, Inbox, Order};
use crate::exec::journal::{Journal, JournalError};
use crate::report::Silent;
use crate::run::record::{Ending, Event, ItemId, Override};

/// How long a live run may take to take a decision.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// A decision about one item of a run.
#[derive(Debug, Args)]
pub struct About {
    /// The run
    run: String,

    /// The step, or STEP@ITEM
    step: String,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// What is decided.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// A gate is answered with yes.
    Approve,
    /// A gate is answered with no.
    Reject,
    /// The item counts as done.
    Skip,
    /// The item is tried again.
    Retry,
}

impl About {
    /// Carries the command out.
    pub fn run(self, global: &Global, what: What) -> Result<(), CommandError> {
        let home = Home::open(global.state_dir.as_deref())?;
        let ids = items(&home, &self.run, &self.step)?;
        for id in ids {
            let order = match what {
                What::Approve => Order::Answer { id: id.clone(), approved: true },
                What::Reject => Order::Answer { id: id.clone(), approved: false },
                What::Skip => Order::Override { id: id.clone(), how: Override::Skip },
                What::Retry => Order::Override { id: id.clone(), how: Override::Retry },
            };
            deliver(&Target { home: &home, run: &self.run, reason: self.reason.clone() }, order)?;
            output::line(format_args!("recorded for {id}"))?;
        }
        let glance = home.glance(&run_id(&self.run)?)?;
        if glance.held.is_none() {
            output::line(format_args!("go on with  {} resume {}", global.invocation().program, self.run))?;
        }
        Ok(())
    }
}

/// Returns the items that `STEP` or `STEP@ITEM` names.
fn items(home: &Home, run: &str, named: &str) -> Result<Vec<ItemId>, CommandError> {
    let usage = |message: String| CommandError::new(Exit::Usage, message);
    let glance = home.glance(&run_id(run)?)?;
    let beginning = glance.beginning().ok_or_else(|| usage(format!("run `{run}` never began")))?;
    let (step, item) = named.split_once('@').map_or((named, None), |(step, item)| (step, Some(item)));
    let step = StepId::new(step).map_err(|error| usage(error.to_string()))?;
    let Some((_, count)) = beginning.steps.iter().find(|(id, _)| *id == step) else {
        let names = beginning.steps.iter().map(|(id, _)| id.as_str());
        let near = crate::plan::diagnostic::nearest(step.as_str(), names);
        let error = usage(format!("run `{run}` has no step `{step}`"));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    let item = match item {
        Some(item) => ItemKey::new(item).map_err(|error| usage(error.to_string()))?,
        None if *count == 1 => only_item(&glance, &step),
        None => {
            return Err(usage(format!("step `{step}` has {count} items: name one as {step}@ITEM"))
                .hint(format!("`requorum runs show {run}` names them")));
        }
    };
    Ok(vec![ItemId { step, item }])
}

/// Returns the only item of a step, whose key is a host's name where the step fans out over one host.
fn only_item(glance: &Glance, step: &StepId) -> ItemKey {
    let seen = glance.records.iter().filter_map(|record| record.event.item()).find(|id| id.step == *step);
    seen.map_or_else(ItemKey::single, |id| id.item.clone())
}

/// A run, and why something is decided about it.
pub struct Target<'a> {
    /// The state directory.
    pub home: &'a Home,
    /// The run.
    pub run: &'a str,
    /// Why.
    pub reason: String,
}

/// Brings a decision into the journal of a run.
pub fn deliver(target: &Target<'_>, order: Order) -> Result<(), CommandError> {
    let glance = target.home.find_unfinished(Some(target.run))?;
    if order == Order::Abort && glance.beginning().is_some_and(|b| b.rolls_back.is_some()) && glance.has_acted() {
        let message = format!("run `{}` is a rollback that has begun: half of it leaves nothing whole", glance.id);
        return Err(CommandError::new(Exit::Usage, message)
            .hint("go on with it: `requorum resume`")
            .hint("leave out what cannot be done: `requorum skip RUN STEP --reason TEXT`"));
    }
    let decision = Decision { order, by: operator(), reason: target.reason.clone() };
    if glance.held.is_some() { send(&glance, &decision) } else { write(target.home, &glance, &decision) }
}

/// Puts a decision into the inbox of a live run and waits until it was taken.
fn send(glance: &Glance, decision: &Decision) -> Result<(), CommandError> {
    let name = format!("{:020}-{}", crate::exec::clock::now().as_microsecond(), std::process::id());
    let path = Inbox::of(&glance.directory).put(decision, &name)?;
    let ends = Instant::now() + TAKEN_WITHIN;
    while path.exists() {
        if Instant::now() >= ends {
            // Withdrawn, so that it does not take effect after this command said that it did not.
            std::fs::remove_file(&path)?;
            return Err(CommandError::new(Exit::Failed, "the live run did not take the decision; it is withdrawn"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    refusal(&path.with_extension("refused"))
}

fn refusal(path: &Path) -> Result<(), CommandError> {
    match std::fs::read_to_string(path) {
        Ok(why) => {
            std::fs::remove_file(path)?;
            Err(CommandError::new(Exit::Usage, format!("the run refuses: {why}")))
        }
        Err(_) => Ok(()),
    }
}

/// Writes a decision into the journal of a run that nobody holds.
fn write(home: &Home, glance: &Glance, decision: &Decision) -> Result<(), CommandError> {
    let cluster = glance.beginning().map(|beginning| beginning.cluster.clone()).unwrap_or_default();
    let _lock = home.lock(&cluster, &format!("{}, run {}", operator(), glance.id))?;
    let (store, records) = home.open_run(&glance.id)?;
    let Some(Event::Began(beginning)) = records.first().map(|record| &record.event) else {
        return Err(CommandError::new(Exit::Internal, "the run never began"));
    };
    let beginning = beginning.as_ref().clone();
    let (plan, site) = kept(store.as_ref(), &beginning)?;
    let plan = Arc::new(plan);
    let epoch = records.last().map_or(0, |record| record.epoch);
    let mut journal = Journal::new(store, Arc::clone(&plan), &records, epoch, Arc::new(Silent))?;
    let mut events = Vec::new();
    match decision.event() {
        Some(event) => events.push(event),
        None => events
            .push(Event::Ended { ending: Ending::Aborted, reason: format!("by {}: {}", decision.by, decision.reason) }),
    }
    journal.commit(events).map_err(|error| match error {
        JournalError::State(error) => {
            CommandError::new(Exit::Usage, format!("this cannot be decided now: {}", error.refusal()))
                .hint(format!("`requorum runs show {}` tells how the run stands", glance.id))
        }
        other => CommandError::from(other),
    })?;
    if decision.order == Order::Abort {
        execute::give_back(home, &beginning, journal.state(), site, &records)?;
    }
    Ok(())
}
