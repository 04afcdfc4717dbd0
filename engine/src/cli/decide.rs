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
use super::home::{Glance, Home, run_id};
use super::kept::Kept;
use super::options::{Global, operator};
use super::output;
use crate::exec::inbox::{Decision, Inbox, Order};
use crate::exec::journal::{Journal, JournalError};
use crate::plan::compiled::Step;
use crate::plan::uses::reads_step;
use crate::report::Silent;
use crate::run::record::{Ending, Event, ItemId, Override};
use crate::run::state::RunState;

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

/// A decision that an item is not to be done any more.
#[derive(Debug, Args)]
pub struct Skip {
    #[command(flatten)]
    about: About,

    /// It happened: it counts as done, and not as left out
    #[arg(long)]
    done: bool,
}

/// What is decided.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// A gate is answered with yes.
    Approve,
    /// A gate is answered with no.
    Reject,
    /// The item counts as done.
    Done,
    /// The item is left out.
    Skip,
    /// The item is tried again.
    Retry,
}

impl Skip {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        self.about.run(global, if self.done { What::Done } else { What::Skip })
    }
}

impl About {
    /// Carries the command out.
    pub fn run(self, global: &Global, what: What) -> Result<(), CommandError> {
        let home = Home::open(global.state_dir.as_deref())?;
        let glance = home.glance(&run_id(&self.run)?)?;
        let state = glance.kept()?.state(&glance.records)?;
        let id = item(&state, &self.run, &self.step)?;
        let order = match what {
            What::Approve => Order::Answer { id: id.clone(), approved: true },
            What::Reject => Order::Answer { id: id.clone(), approved: false },
            What::Done => Order::Override { id: id.clone(), how: Override::Done },
            What::Skip => Order::Override { id: id.clone(), how: Override::Skip },
            What::Retry => Order::Override { id: id.clone(), how: Override::Retry },
        };
        if matches!(what, What::Done | What::Skip) {
            self.nothing_misses(global, &state, &id)?;
        }
        deliver(&Target { home: &home, run: &self.run, reason: self.reason.clone() }, order)?;
        output::line(format_args!("recorded for {id}"))?;
        if glance.held.is_none() {
            output::line(format_args!("go on with  {} resume {}", global.invocation().program, self.run))?;
        }
        Ok(())
    }

    /// Makes sure that no later step needs what an item would have returned: it could not be rendered.
    fn nothing_misses(&self, global: &Global, state: &RunState, id: &ItemId) -> Result<(), CommandError> {
        let (Some(item), Some(step)) = (state.item(id), state.step(&id.step)) else { return Ok(()) };
        let returned = !item.result.is_null() && (step.outputs.is_empty() || !item.outputs.is_empty());
        if item.phase.is_done() || returned {
            return Ok(());
        }
        let open = |step: &Step| state.items_of(&step.id).any(|(_, item)| !item.phase.is_done());
        let reads = |step: &&Step| open(step) && reads_step(state.plan(), step, &id.step);
        let users: Vec<&str> = state.plan().steps.iter().filter(reads).map(|step| step.id.as_str()).collect();
        let Some(first) = users.first() else { return Ok(()) };
        let message = format!("what `{id}` returns is not known, and `{}` needs it", users.join("`, `"));
        let (program, run) = (global.invocation().program, &self.run);
        Err(CommandError::new(Exit::Usage, message)
            .hint(format!("leave that out first:           {program} skip {run} {first} --reason TEXT"))
            .hint(format!("or let `{id}` be done again:    {program} retry {run} {id} --reason TEXT"))
            .hint(format!("or change what needs it:        {program} resume {run} --amend PLAN --reason TEXT")))
    }
}

/// Returns the item that `STEP` or `STEP@ITEM` names.
fn item(state: &RunState, run: &str, named: &str) -> Result<ItemId, CommandError> {
    let usage = |message: String| CommandError::new(Exit::Usage, message);
    let (step, item) = named.split_once('@').map_or((named, None), |(step, item)| (step, Some(item)));
    let step = StepId::new(step).map_err(|error| usage(error.to_string()))?;
    if state.step(&step).is_none() {
        let names = state.plan().steps.iter().map(|step| step.id.as_str());
        let near = crate::plan::diagnostic::nearest(step.as_str(), names);
        let error = usage(format!("run `{run}` has no step `{step}`"));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    }
    let mut all: Vec<ItemId> = state.items_of(&step).map(|(id, _)| id).collect();
    let hint = format!("`requorum runs show {run}` names the steps; {step} has {}", names(&all));
    match item {
        Some(item) => {
            let item = ItemKey::new(item).map_err(|error| usage(error.to_string()))?;
            let found = all.into_iter().find(|id| id.item == item);
            found.ok_or_else(|| usage(format!("step `{step}` has no item `{item}`")).hint(hint))
        }
        None if all.len() == 1 => Ok(all.remove(0)),
        None => Err(usage(format!("step `{step}` has {} items: name one as {step}@ITEM", all.len())).hint(hint)),
    }
}

/// Names the first items of a step.
fn names(items: &[ItemId]) -> String {
    const NAMED: usize = 12;
    let named: Vec<&str> = items.iter().take(NAMED).map(|id| id.item.as_str()).collect();
    let more = if items.len() > NAMED { ", …" } else { "" };
    if named.is_empty() { "no items".to_owned() } else { format!("{}{more}", named.join(", ")) }
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
    let kept = Kept::read(&records, |digest| store.get_blob(digest))?;
    let epoch = records.last().map_or(0, |record| record.epoch);
    let mut journal = Journal::new(store, kept.plans(), &records, epoch, Arc::new(Silent))?;
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
        execute::give_back(home, &glance.id, &kept, &records, &mut journal)?;
    }
    Ok(())
}
