//! `requorum rollback`
//!
//! The order of what is recorded makes it safe to kill this anywhere: first what is in doubt in the run is settled in its own
//! journal, then the run is given up, and only then does the rollback begin, a run of its own with a journal of its own.
//! Killed before that, `rollback RUN` derives the same way again; killed after, it goes on with the rollback that there is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use clap::Args;
use futures_util::future::join_all;
use requorum_state::Store;
use requorum_steps::{Danger, RunId};

use super::confirm::Confirm;
use super::error::{CommandError, Exit, chain};
use super::execute::{self, Execution, How, execute};
use super::home::{self, Glance, Home, run_id};
use super::kept::Kept;
use super::options::{Format, Global, Pace, operator};
use super::run::{Start, Wanted, begin, new_run_id, refuse_a_second_run};
use super::settle::{Seen, settle};
use super::{output, prepare};
use crate::exec::journal::{self, Journal};
use crate::exec::undo;
use crate::report::Silent;
use crate::report::way::{self, Outlook};
use crate::run::record::{Beginning, Ending, Event, Record};
use crate::run::rollback::{Way, derive};

/// Takes back what a run has done: a run of its own, in reverse order
#[derive(Debug, Args)]
pub struct Rollback {
    /// The run
    run: String,

    /// Shows what would be done, in which order, and what is left; does nothing
    #[arg(long)]
    preview: bool,

    /// The format of the preview on standard output
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text, requires = "preview")]
    output: Format,

    #[command(flatten)]
    confirm: Confirm,

    /// How many items may run at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: u16,

    #[command(flatten)]
    pace: Pace,
}

/// The run that is taken back, held by this process.
pub(super) struct Original {
    /// The run.
    pub id: RunId,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its records.
    pub records: Vec<Record>,
    /// What it began with.
    pub beginning: Beginning,
    /// What it keeps: its plan and its site.
    pub kept: Kept,
}

impl Original {
    /// Opens a run, also one that is over. The caller holds the lock of its cluster.
    pub fn open(home: &Home, id: RunId) -> Result<Self, CommandError> {
        let (store, records) = home.open_any(&id)?;
        let Some(Event::Began(beginning)) = records.first().map(|record| &record.event) else {
            return Err(CommandError::new(Exit::Internal, format!("run `{id}` has no beginning; nothing was done")));
        };
        let beginning = beginning.as_ref().clone();
        let kept = Kept::read(&records, |digest| store.get_blob(digest))?;
        Ok(Self { id, store, records, beginning, kept })
    }

    /// Reads its records anew.
    pub fn read_again(&mut self) -> Result<(), CommandError> {
        self.records = journal::read(self.store.as_ref())?;
        Ok(())
    }

    /// Opens its journal in the epoch of who took it up last.
    pub fn journal(&self) -> Result<Journal, CommandError> {
        let epoch = self.records.last().map_or(0, |record| record.epoch);
        Ok(Journal::new(Arc::clone(&self.store), self.kept.plans(), &self.records, epoch, Arc::new(Silent))?)
    }

    /// Ends the run, unless it is over, and gives the cluster back.
    fn give_up(mut self, home: &Home, reason: String) -> Result<(), CommandError> {
        if home::ending(&self.records).is_some_and(Ending::is_final) {
            return Ok(());
        }
        let mut journal = self.journal()?;
        journal.commit(vec![Event::Ended { ending: Ending::Aborted, reason }])?;
        self.read_again()?;
        execute::give_back(home, &self.id, &self.kept, &self.records, &mut journal)
    }
}

impl Rollback {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let home = Home::open(global.state_dir.as_deref())?;
        let id = run_id(&self.run)?;
        let glance = home.glance(&id)?;
        let cluster = glance.beginning().map(|beginning| beginning.cluster.clone()).unwrap_or_default();
        let new = new_run_id()?;
        let lock = home.lock(&cluster, &format!("{}, run {new}, which takes back {id}", operator()))?;
        // Only now nobody changes it any more.
        let glance = home.glance(&id)?;
        let outcome = match standing(&home, &glance, global)? {
            Some(begun) if self.preview => Err(unfinished(&id, &begun, global)),
            Some(begun) => self.go_on(global, &home, &begun),
            None => self.begin(global, &home, (id, new)),
        };
        drop(lock);
        outcome
    }

    /// Goes on with a rollback that was interrupted.
    fn go_on(self, global: &Global, home: &Home, begun: &RunId) -> Result<(), CommandError> {
        // What was confirmed when it began need not be confirmed again.
        let original = Original::open(home, begun.clone())?;
        let Original { store, records, beginning, kept, .. } = original;
        let secrets = execute::secrets(&kept)?;
        let how = self.how(beginning.parallel);
        execute(global, home, Execution { store, records, beginning, kept, secrets, how })
    }

    fn how(&self, parallel: usize) -> How {
        How { parallel, pace: self.pace.clone(), take_over: false, reason: None, change: None, retry_failed: true }
    }

    fn begin(self, global: &Global, home: &Home, (id, new): (RunId, RunId)) -> Result<(), CommandError> {
        let mut original = Original::open(home, id)?;
        let runtime = execute::runtime()?;
        let outlook = runtime.block_on(self.look(global, home, &mut original));
        // A look that hangs must not keep the process.
        runtime.shutdown_background();
        let Some(way) = outlook? else { return Ok(()) };
        let site = original.kept.site.clone();
        let id = original.id.clone();
        if way.plan.steps.is_empty() {
            original.give_up(home, "rolled back: there was nothing to take back".to_owned())?;
            output::line(format_args!("run {id} has changed nothing that would have to be taken back"))?;
            return Ok(());
        }
        let kept = Kept::new(way.plan, site);
        let secrets = execute::secrets(&kept)?;
        original.give_up(home, format!("rolled back by {new}"))?;
        let start = Start { parallel: usize::from(self.parallel), revert: true, rolls_back: Some(id) };
        let how = self.how(start.parallel);
        let (store, beginning, record) = begin(home, &new, &kept.plan, &kept.site, start)?;
        execute(global, home, Execution { store, records: vec![record], beginning, kept, secrets, how })
    }

    /// Finds the way back, shows it and has it confirmed. `None`: it was only to be shown.
    async fn look(&self, global: &Global, home: &Home, original: &mut Original) -> Result<Option<Way>, CommandError> {
        let Seen { context, state, deeds } = settle(global, home, original).await?;
        let undoings = undo::find(&context, &state, &deeds).await;
        let way = derive(&state, &original.id, &undoings).map_err(|barriers| {
            // Standard error may be closed; the exit status tells the same.
            let _ = write!(std::io::stderr().lock(), "{}", way::no_way(&barriers));
            let message = format!("run `{}` cannot be rolled back", original.id);
            CommandError::new(Exit::Precondition, message).hint("what is left is to go on with it, or to work by hand")
        })?;
        let Beginning { plan, cluster, .. } = &original.beginning;
        let commands = undo::commands(&context, &way.plan);
        let touches_etcd =
            way.plan.danger() > Danger::Safe && context.world.site().hosts.values().any(|host| host.etcd.is_some());
        let seen = if touches_etcd { Some(prepare::is_quorum_lost(&context.world).await) } else { None };
        let of = format!("run {} ({plan} on cluster {cluster})", original.id);
        let outlook = Outlook { of: &of, way: &way, commands: &commands, cluster: seen };
        if self.preview {
            match self.output {
                Format::Text => output::print(format_args!("{}", outlook.text()))?,
                Format::Json => output::line(format_args!("{}", outlook.json()))?,
            }
            context.world.close().await;
            return Ok(None);
        }
        let _ = writeln!(std::io::stderr().lock(), "{}", outlook.text());
        // All members or none: a host that cannot be reached is met before the run is given up.
        let hosts = prepare::hosts_of(&way.plan, &BTreeSet::new());
        let greetings = join_all(hosts.iter().map(|host| context.world.greet(host))).await;
        context.world.close().await;
        if let Some((host, fault)) = hosts.iter().zip(greetings).find_map(|(host, seen)| Some((host, seen.err()?))) {
            let message = format!("{host} cannot be worked on, and all is taken back or nothing: {}", chain(&fault));
            return Err(CommandError::new(Exit::Precondition, message).hint("nothing was changed; make it reachable"));
        }
        let danger = match &outlook.cluster {
            Some((false, _)) => Danger::Destructive,
            Some((true, _)) | None => way.plan.danger(),
        };
        if danger > Danger::Safe {
            let what = format!("taking run `{}` back is {danger} for cluster `{cluster}`", original.id);
            // What is to be read before has just been shown.
            self.confirm.of(cluster, &what, String::new)?;
        } else {
            self.confirm.names(cluster)?;
        }
        Ok(Some(way))
    }
}

/// Says how a run stands towards a rollback: `Some`, one that has begun and can go on. What cannot be rolled back is refused.
fn standing(home: &Home, glance: &Glance, global: &Global) -> Result<Option<RunId>, CommandError> {
    let id = &glance.id;
    let usage = |message: String| CommandError::new(Exit::Usage, message);
    let Some(beginning) = glance.beginning() else { return Err(usage(format!("run `{id}` never began"))) };
    if let Some(of) = &beginning.rolls_back {
        return Err(usage(format!("run `{id}` is itself a rollback, of run `{of}`"))
            .hint("to go forward again, run the plan again; what the rollback displaced is set aside on the hosts"));
    }
    let purged = glance.records.iter().any(|record| match &record.event {
        Event::Committed { purged, .. } => !purged.is_empty(),
        _ => false,
    });
    if purged {
        return Err(usage(format!("run `{id}` was committed with --purge: what it had set aside is gone")));
    }
    for other in home.rollbacks_of(id)? {
        match other.ending() {
            Some(Ending::Done) => {
                return Err(usage(format!("run `{id}` was rolled back already, by run `{}`", other.id)));
            }
            Some(Ending::Aborted) if other.has_acted() => {
                return Err(usage(format!("the rollback `{}` of run `{id}` was given up half-way", other.id))
                    .hint("finish by hand: `requorum runs show` tells what each of the two has done"));
            }
            Some(Ending::Aborted | Ending::Refused) => {}
            Some(Ending::Failed | Ending::NeedsPerson | Ending::Interrupted) | None => {
                return Ok(Some(other.id));
            }
        }
    }
    refuse_a_second_run(home, &beginning.cluster, global, &Wanted::WayBack(id))?;
    refuse_under_a_later_run(home, glance, &beginning.cluster, global)?;
    Ok(None)
}

/// Refuses to take a run back whose effects a later one has built on: the newest goes first.
fn refuse_under_a_later_run(home: &Home, glance: &Glance, cluster: &str, global: &Global) -> Result<(), CommandError> {
    let began = glance.records.first().map(|record| record.at);
    for other in home.glance_all()? {
        let Some(beginning) = other.beginning() else { continue };
        let is_later = other.id != glance.id && other.records.first().map(|record| record.at) > began;
        if !is_later || beginning.cluster != cluster || beginning.rolls_back.is_some() || !changed_something(&other)? {
            continue;
        }
        let rolled_back = home.rollbacks_of(&other.id)?.iter().any(|back| back.ending() == Some(Ending::Done));
        if !rolled_back {
            let program = global.invocation().program;
            let message = format!("run `{}` of `{}` came after run `{}`", other.id, beginning.plan, glance.id);
            return Err(CommandError::new(Exit::Precondition, message)
                .hint(format!("nothing was changed; take that one back first: {program} rollback {}", other.id)));
        }
    }
    Ok(())
}

/// Says whether a run has begun something that a working cluster would notice.
fn changed_something(glance: &Glance) -> Result<bool, CommandError> {
    if !glance.has_acted() {
        return Ok(false);
    }
    let plan = glance.kept()?.plan;
    let danger: BTreeMap<_, _> = plan.steps.iter().map(|step| (&step.id, step.danger)).collect();
    Ok(glance.records.iter().any(|record| match &record.event {
        Event::Started { id, .. } => danger.get(&id.step).is_some_and(|danger| *danger > Danger::Safe),
        _ => false,
    }))
}

fn unfinished(id: &RunId, begun: &RunId, global: &Global) -> CommandError {
    let program = global.invocation().program;
    CommandError::new(Exit::Usage, format!("the rollback of run `{id}` has begun: it is run `{begun}`"))
        .hint(format!("look at it: {program} runs show {begun}"))
        .hint(format!("go on with it: {program} resume {begun}"))
}
