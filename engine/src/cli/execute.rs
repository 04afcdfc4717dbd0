//! Carries a run out in this process, whether it has just begun or is taken up again.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use requorum_state::Store;
use requorum_steps::capsule::Holder;
use requorum_steps::world::Settings;
use requorum_steps::{HostName, RunId, World};
use serde_json::json;
use tokio::sync::mpsc;

use super::error::{CommandError, Exit, chain};
use super::home::{Home, KeptSite};
use super::options::{Global, operator};
use super::prepare;
use crate::exec::context::{Context, Errand};
use crate::exec::driver::{Answer, Asker, Driver, Ended, Setting};
use crate::exec::give_up::stop_what_runs;
use crate::exec::inbox::Inbox;
use crate::exec::journal::Journal;
use crate::exec::secrets::Secrets;
use crate::exec::signals::{self, Stop};
use crate::plan::compiled::Plan;
use crate::plan::template::Scope;
use crate::report::summary;
use crate::run::record::{Beginning, Ending, Event, Finding, ItemId, Record};
use crate::run::state::RunState;

/// The bound for one look or API call that has none of its own.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The bound for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A run to carry out.
pub struct Execution {
    /// Its store, held by this process.
    pub store: Arc<dyn Store>,
    /// The records that there are.
    pub records: Vec<Record>,
    /// What it began with.
    pub beginning: Beginning,
    /// Its plan.
    pub plan: Plan,
    /// Its site.
    pub site: KeptSite,
    /// How it is carried out.
    pub how: How,
}

/// How a run is carried out in this process.
pub struct How {
    /// How many items may run at once.
    pub parallel: usize,
    /// How long this process may take.
    pub budget: Option<Duration>,
    /// Whether another holder is pushed aside.
    pub take_over: bool,
    /// Why, where a person gave a reason.
    pub reason: Option<String>,
    /// What is recorded right after the run was taken up: a person's decisions.
    pub decisions: Vec<Event>,
    /// Whether what failed is tried again.
    pub retry_failed: bool,
}

/// Carries the run out and says how the command ends.
pub fn execute(global: &Global, home: &Home, execution: Execution) -> Result<(), CommandError> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(carry_out(global, home, execution));
    // A read that hangs must not keep the process: what it was for has been given up.
    runtime.shutdown_background();
    outcome
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(Exit::Internal, format!("the runtime cannot start: {error}")))
}

async fn carry_out(global: &Global, home: &Home, execution: Execution) -> Result<(), CommandError> {
    let Execution { store, records, beginning, plan, site, how } = execution;
    // Only a preflight that held lets a run go on: one that was cut off before, or between a preflight that did not hold and
    // its end, evaluates it now.
    let fresh = !records.iter().any(|record| match &record.event {
        Event::Preflight { findings } => findings.iter().all(|finding| finding.holds),
        _ => false,
    });
    let secrets = Secrets::fetch(&plan.secrets)
        .map_err(|error| CommandError::new(Exit::Precondition, chain(&error)).hint("nothing was changed"))?;
    let items = plan.steps.iter().map(|step| step.items.as_ref().map_or(0, Vec::len)).sum();
    let report = global.report(items);
    let plan = Arc::new(plan);
    let run = beginning.run.clone();
    let world = world(home, &run, site.site)?;
    let last = records.iter().map(|record| record.epoch).max().unwrap_or(0);
    let is_over = |other: &RunId| home.glance(other).is_ok_and(|glance| glance.ending().is_some_and(Ending::is_final));
    let prepare::Standing { epoch, give_way } = prepare::stand(&world, &plan, last, &is_over, how.take_over).await;
    let holder = holder(&world, &run, epoch);
    let mut journal = Journal::new(store, Arc::clone(&plan), &records, epoch, Arc::clone(&report))?;
    let by = format!("{}, pid {}", operator(), std::process::id());
    journal.commit(vec![Event::TakenUp { by, token: holder.token.clone(), reason: how.reason.clone() }])?;
    let base = base_scope(&plan, &site.value, &run, &records);
    let context =
        Arc::new(Context { plan, world, holder, secrets, report: Arc::clone(&report), base, errand: Errand::CarryOut });
    let mut stops = signals::listen()?;

    let finish = Finish { global, run: &run };
    if fresh {
        let findings = tokio::select! {
            findings = prepare::preflight(&context, beginning.revert) => findings,
            stop = stops.recv() => {
                let reason = "by a signal, before anything was changed".to_owned();
                journal.commit(vec![Event::Ended { ending: Ending::Refused, reason }])?;
                report.close();
                return Err(stopped(stop.unwrap_or(Stop::Terminate)));
            }
        };
        let any_fails = findings.iter().any(|finding| !finding.holds);
        let mut events = vec![Event::Preflight { findings: findings.clone() }];
        if any_fails {
            let reason = "a precondition does not hold".to_owned();
            events.push(Event::Ended { ending: Ending::Refused, reason });
        }
        journal.commit(events)?;
        if any_fails {
            report.close();
            return Err(refused(&findings));
        }
    }
    if let Err(fault) = raise(&context, &mut journal, &give_way).await {
        let ending = if fresh { Ending::Refused } else { Ending::Interrupted };
        if fresh {
            // The hosts that let this run in must not refuse the one that is at work.
            lower(&context).await;
        }
        journal.commit(vec![Event::Ended { ending, reason: fault.what.clone() }])?;
        report.close();
        return Err(fenced(&fault));
    }
    journal.commit(decisions(&how, journal.state()))?;
    let setting = Setting {
        parallel: how.parallel,
        budget: how.budget,
        inbox: Inbox::of(&home.run(&run)),
        stops,
        asker: std::io::stdin().is_terminal().then(|| Box::new(Terminal::open()) as Box<dyn Asker>),
    };
    let mut driver = Driver::new(Arc::clone(&context), journal, setting);
    let ended = match driver.drive().await {
        Ok(ended) => ended,
        Err(error) => {
            report.close();
            return Err(error.into());
        }
    };
    if matches!(ended, Ended::Settled(ending) if ending.is_final()) && !driver.may_still_run() {
        lower(&context).await;
    }
    report.close();
    let outcome = finish.outcome(driver.state(), ended);
    drop(driver);
    context.world.close().await;
    outcome
}

pub(super) async fn lower(context: &Context) {
    for complaint in prepare::lower_fences(&context.world, &context.plan, &context.holder).await {
        context.report.say(&complaint);
    }
}

/// Gives the cluster back that a run held which is given up while no process works on it: what it left running is stopped,
/// and its fences are lowered, which would refuse the next run.
pub fn give_back(
    home: &Home,
    beginning: &Beginning,
    state: &RunState,
    site: KeptSite,
    records: &[Record],
) -> Result<(), CommandError> {
    let last = records.iter().rev().find_map(|record| match &record.event {
        Event::TakenUp { token, .. } => Some((record.epoch, token.clone())),
        _ => None,
    });
    let Some((epoch, token)) = last else { return Ok(()) };
    let world = world(home, &beginning.run, site.site)?;
    let mut holder = holder(&world, &beginning.run, epoch);
    holder.token = token;
    runtime()?.block_on(async {
        let mut complaints = stop_what_runs(&world, state, &beginning.run).await;
        if complaints.is_empty() {
            complaints = prepare::lower_fences(&world, state.plan(), &holder).await;
        }
        for complaint in complaints {
            eprintln!("{complaint}");
        }
        world.close().await;
    });
    Ok(())
}

async fn raise(
    context: &Context,
    journal: &mut Journal,
    give_way: &BTreeSet<HostName>,
) -> Result<(), requorum_steps::Fault> {
    let events = prepare::raise_fences(context, give_way).await?;
    journal.commit(events).map_err(|error| requorum_steps::Fault::failed(chain(&error)))
}

/// Returns what a person decided, as events.
fn decisions(how: &How, state: &RunState) -> Vec<Event> {
    let mut events = how.decisions.clone();
    if how.retry_failed {
        let failed = state.items().filter(|(_, item)| {
            use crate::run::state::Phase as P;
            matches!(item.phase, P::Failed { .. } | P::Blocked { .. } | P::VerifyFailed { .. })
        });
        events.extend(failed.map(|(id, _)| Event::Overridden {
            id,
            how: crate::run::record::Override::Retry,
            by: operator(),
            reason: how.reason.clone().unwrap_or_else(|| "resume --retry-failed".to_owned()),
        }));
    }
    events
}

pub(super) fn world(home: &Home, run: &RunId, site: requorum_steps::Site) -> Result<World, CommandError> {
    let supervisor = std::env::current_exe()?;
    let settings = Settings {
        local_capsules: home.run(run).join("capsules"),
        supervisor,
        call_timeout: CALL_TIMEOUT,
        connect_timeout: CONNECT_TIMEOUT,
    };
    Ok(World::new(Arc::new(site), settings))
}

/// Makes the holder of this process.
pub(super) fn holder(world: &World, run: &RunId, epoch: u64) -> Holder {
    let label = format!("{}, pid {}, run {run}", operator(), std::process::id());
    Holder {
        cluster: world.site().cluster.clone(),
        run: run.clone(),
        epoch,
        token: format!("{:032x}", rand::random::<u128>()),
        label,
    }
}

pub(super) fn base_scope(plan: &Plan, site: &serde_json::Value, run: &RunId, records: &[Record]) -> Scope {
    let started = records.first().map(|record| record.at.to_string()).unwrap_or_default();
    let run = json!({ "id": run.as_str(), "started": started, "mark": format!("requorum/{run}") });
    Scope::default().inputs(&plan.inputs).vars(&plan.vars).site(site).run(&run)
}

/// What is told at the end.
struct Finish<'a> {
    global: &'a Global,
    run: &'a RunId,
}

impl Finish<'_> {
    fn outcome(&self, state: &RunState, ended: Ended) -> Result<(), CommandError> {
        let ending = match ended {
            Ended::Settled(ending) => ending,
            Ended::Stopped(_) | Ended::OutOfTime | Ended::Fenced => Ending::Interrupted,
        };
        let calls = self.global.invocation();
        let text = summary::outcome(state, self.run.as_str(), ending, &calls);
        let took =
            state.began().and_then(|began| Duration::try_from(crate::exec::clock::now().duration_since(began)).ok());
        let took = took.map(crate::report::phrase::span).unwrap_or_default();
        let head = format!("run {} on {}: {} after {took}", self.run, state.plan().name, word(ending));
        // Standard error may be closed; the exit status tells the same.
        let _ = write!(std::io::stderr().lock(), "\n{head}\n{}{text}", summary::table(state));
        match ended {
            Ended::Settled(Ending::Done) => Ok(()),
            Ended::Settled(Ending::Aborted) => Err(CommandError::reported(Exit::Failed)),
            Ended::Settled(Ending::NeedsPerson) => Err(CommandError::reported(Exit::NeedsPerson)),
            Ended::Settled(Ending::Refused) => Err(CommandError::reported(Exit::Precondition)),
            Ended::Settled(Ending::Failed | Ending::Interrupted) | Ended::OutOfTime => {
                Err(CommandError::reported(Exit::Failed))
            }
            Ended::Stopped(stop) => Err(stopped(stop)),
            Ended::Fenced => Err(CommandError::reported(Exit::Locked)),
        }
    }
}

fn refused(findings: &[Finding]) -> CommandError {
    let mut text = String::from("\nnothing was changed: these do not hold\n");
    for finding in findings.iter().filter(|finding| !finding.holds) {
        summary::failed_check(&mut text, finding);
    }
    eprint!("{text}");
    CommandError::reported(Exit::Precondition)
}

fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "done",
        Ending::Refused => "refused",
        Ending::Failed => "failed",
        Ending::NeedsPerson => "waits for a person",
        Ending::Interrupted => "interrupted",
        Ending::Aborted => "aborted",
    }
}

pub(super) fn stopped(stop: Stop) -> CommandError {
    CommandError::reported(match stop {
        Stop::Interrupt => Exit::Interrupted,
        Stop::Terminate => Exit::Terminated,
    })
}

pub(super) fn fenced(fault: &requorum_steps::Fault) -> CommandError {
    let mut text = String::new();
    summary::fault_block(&mut text, "the cluster is held by another operator", fault);
    eprint!("{text}");
    CommandError::reported(Exit::Locked)
}

/// Asks at the terminal.
///
/// One thread reads all lines, so that a question that was taken back leaves no reader behind that would take the answer to
/// the next; what was typed before a question is no answer to it.
struct Terminal {
    lines: mpsc::UnboundedReceiver<String>,
    /// What was asked last and is not answered.
    asked: Option<ItemId>,
}

impl Terminal {
    fn open() -> Self {
        let (to, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines, asked: None }
    }

    async fn answer(&mut self, id: &ItemId, message: &str) -> Option<Answer> {
        if self.asked.as_ref() != Some(id) {
            while self.lines.try_recv().is_ok() {}
            self.asked = Some(id.clone());
            eprint!("\n{id} asks:\n{message}\ngo on? [yes/no] ");
        }
        loop {
            let line = self.lines.recv().await?;
            let approved = match line.trim() {
                "yes" | "y" => true,
                "no" | "n" => false,
                _ => {
                    eprint!("go on? [yes/no] ");
                    continue;
                }
            };
            self.asked = None;
            return Some(Answer { approved, by: operator(), reason: "at the terminal".to_owned() });
        }
    }
}

impl Asker for Terminal {
    fn ask<'a>(&'a mut self, id: &'a ItemId, message: &'a str) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(self.answer(id, message))
    }
}
