//! Carries a run out in this process, whether it has just begun or is taken up again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use requorum_state::Store;
use requorum_steps::capsule::Holder;
use requorum_steps::redact::Given;
use requorum_steps::redact::marks::readable;
use requorum_steps::world::Settings;
use requorum_steps::{HostName, RunId, World};
use tokio::sync::mpsc;

use super::error::{CommandError, Exit, chain};
use super::home::Home;
use super::kept::Kept;
use super::options::{Global, Pace, operator};
use super::output;
use super::prepare;
use crate::exec::context::{Context, Errand};
use crate::exec::driver::{Answer, Asker, Driver, Ended, Setting};
use crate::exec::fence::Fence;
use crate::exec::give_up::stop_what_runs;
use crate::exec::inbox::Inbox;
use crate::exec::journal::Journal;
use crate::exec::secrets::Secrets;
use crate::exec::signals::{self, Stop};
use crate::exec::veil::Veil;
use crate::report::{notes, summary};
use crate::run::record::{Beginning, Ending, Event, Finding, ItemId, Override, Record};
use crate::run::state::RunState;

/// The bound for one look or API call that has none of its own.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The bound for connecting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A run to carry out.
pub struct Execution {
    /// Its store, held by this process.
    pub store: Arc<dyn Store>,
    /// The records that there are.
    pub records: Vec<Record>,
    /// What it began with.
    pub beginning: Beginning,
    /// Its plan and its site, with the change of either that `how` is to record.
    pub kept: Kept,
    /// The values of its secrets.
    pub secrets: Secrets,
    /// How it is carried out.
    pub how: How,
}

/// How a run is carried out in this process.
pub struct How {
    /// How many items may run at once.
    pub parallel: usize,
    /// How long this process may take, and how long it waits for a host.
    pub pace: Pace,
    /// Whether another holder is pushed aside.
    pub take_over: bool,
    /// Why, where a person gave a reason.
    pub reason: Option<String>,
    /// What a person has changed about the plan or the site, recorded right after the run was taken up.
    pub change: Option<Event>,
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

/// Fetches the secrets of a run. A run is made only after this: one that cannot have them would be left behind unfinished,
/// and keep every other from its cluster.
pub(super) fn secrets(kept: &Kept) -> Result<Secrets, CommandError> {
    Secrets::fetch(&kept.secrets())
        .map_err(|error| CommandError::new(Exit::Precondition, chain(&error)).hint("nothing was changed"))
}

/// Makes the runtime of a command.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(Exit::Internal, format!("the runtime cannot start: {error}")))
}

async fn carry_out(global: &Global, home: &Home, execution: Execution) -> Result<(), CommandError> {
    let Execution { store, records, beginning, kept, secrets, how } = execution;
    // Only a preflight that held lets a run go on: one that was cut off before, or between a preflight that did not hold and
    // its end, evaluates it now.
    let fresh = !records.iter().any(|record| match &record.event {
        Event::Preflight { findings } => findings.iter().all(|finding| finding.holds),
        _ => false,
    });
    let plan = Arc::clone(&kept.plan);
    let items = plan.steps.iter().map(|step| step.items.as_ref().map_or(0, Vec::len)).sum();
    let veil = Veil::new(&secrets, Given::new());
    let report = veil.clone().over_report(global.report(items));
    notes::hand_to(Arc::clone(&report));
    let run = beginning.run.clone();
    let given_up = kept.lost();
    let world = world(home, &run, kept.site.site.clone())?.with_redactor(Arc::clone(secrets.redactor()));
    let is_over = |other: &RunId| home.glance(other).is_ok_and(|glance| glance.ending().is_some_and(Ending::is_final));
    let hosts = prepare::fenced_hosts(&plan, world.site(), &given_up);
    let known = prepare::Known { run: &run, records: &records, is_over: &is_over };
    let standing = prepare::stand(&world, &hosts, &known, how.take_over).await;
    if let Some(fault) = &standing.copy {
        return Err(fenced(fault));
    }
    let epoch = standing.epoch;
    let holder = holder(&world, &run, epoch);
    let journal = Journal::new(store, kept.plans(), &records, epoch, Arc::clone(&report))?;
    let mut journal = journal.with_veil(veil.clone());
    let by = format!("{}, pid {}", operator(), std::process::id());
    journal.commit(vec![Event::TakenUp { by, token: holder.token.clone(), reason: how.reason.clone() }])?;
    // Nothing is started any more: what was, is in doubt, and can be left out where its host is given up.
    journal.commit(how.change.iter().cloned().collect())?;
    journal.commit(left_out(journal.state(), &kept.given_up))?;
    let base = kept.base(&run, &records);
    let patience = how.pace.patience;
    let context = Arc::new(Context {
        plan,
        world,
        holder,
        fence: Fence::default(),
        secrets,
        report: Arc::clone(&report),
        base,
        given_up,
        patience,
        errand: Errand::CarryOut,
    });
    let mut stops = signals::listen()?;

    let finish = Finish { global, run: &run };
    if fresh && let Err(error) = preflight(&context, &mut journal, beginning.revert, &veil, &mut stops).await {
        report.close();
        return Err(error);
    }
    if let Err(fault) = raise(&context, &mut journal, &hosts, &standing).await {
        let ending = if fresh { Ending::Refused } else { Ending::Interrupted };
        if fresh {
            // The hosts that let this run in must not refuse the one that is at work.
            lower(&context).await;
        }
        journal.commit(vec![Event::Ended { ending, reason: fault.what.clone() }])?;
        report.close();
        return Err(fenced(&veil.fault(fault)));
    }
    journal.commit(retries(&how, journal.state()))?;
    let setting = Setting {
        parallel: how.parallel,
        budget: how.pace.budget,
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

/// Evaluates what must hold before anything is changed. Where it does not, or a signal comes, the run is over.
async fn preflight(
    context: &Context,
    journal: &mut Journal,
    revert: bool,
    veil: &Veil,
    stops: &mut mpsc::UnboundedReceiver<Stop>,
) -> Result<(), CommandError> {
    let findings = tokio::select! {
        findings = prepare::preflight(context, revert) => findings,
        stop = stops.recv() => {
            let reason = "by a signal, before anything was changed".to_owned();
            journal.commit(vec![Event::Ended { ending: Ending::Refused, reason }])?;
            return Err(stopped(stop.unwrap_or(Stop::Terminate)));
        }
    };
    let findings: Vec<Finding> = findings.into_iter().map(|finding| veil.finding(finding)).collect();
    let any_fails = findings.iter().any(|finding| !finding.holds);
    let mut events = vec![Event::Preflight { findings: findings.clone() }];
    if any_fails {
        let reason = "a precondition does not hold".to_owned();
        events.push(Event::Ended { ending: Ending::Refused, reason });
    }
    journal.commit(events)?;
    if any_fails { Err(refused(&findings)) } else { Ok(()) }
}

pub(super) async fn lower(context: &Context) {
    let hosts = prepare::fenced_hosts(&context.plan, context.world.site(), &context.given_up);
    for complaint in prepare::lower_fences(&context.world, &hosts, &context.holder).await {
        context.report.say(&complaint);
    }
}

/// Gives the cluster back that a run held which is given up while no process works on it: what it left running is stopped,
/// and its fences are lowered, which would refuse the next run.
pub fn give_back(
    home: &Home,
    run: &RunId,
    kept: &Kept,
    records: &[Record],
    journal: &mut Journal,
) -> Result<(), CommandError> {
    let last = records.iter().rev().find_map(|record| match &record.event {
        Event::TakenUp { token, .. } => Some((record.epoch, token.clone())),
        _ => None,
    });
    let Some((epoch, token)) = last else { return Ok(()) };
    let world = world(home, run, kept.site.site.clone())?;
    let mut holder = holder(&world, run, epoch);
    holder.token = token;
    let stopped = runtime()?.block_on(async {
        let mut stopped = stop_what_runs(&world, journal.state(), run).await;
        if stopped.complaints.is_empty() {
            let hosts = prepare::fenced_hosts(&kept.plan, world.site(), &kept.lost());
            stopped.complaints = prepare::lower_fences(&world, &hosts, &holder).await;
        }
        world.close().await;
        stopped
    });
    for complaint in &stopped.complaints {
        output::tell_line(format_args!("{complaint}"));
    }
    journal.commit(stopped.events)?;
    Ok(())
}

async fn raise(
    context: &Context,
    journal: &mut Journal,
    hosts: &BTreeSet<HostName>,
    standing: &prepare::Standing,
) -> Result<(), requorum_steps::Fault> {
    let events = prepare::raise_fences(context, hosts, standing).await?;
    journal.commit(events).map_err(|error| requorum_steps::Fault::failed(chain(&error)))
}

/// Returns the decisions that leave out what is not done on hosts that were given up.
fn left_out(state: &RunState, given_up: &BTreeMap<HostName, String>) -> Vec<Event> {
    let about = |(host, reason): (&HostName, &String)| {
        let reason = format!("{host} is lost: {reason}");
        let left_out = state.open_on(host).map(|(id, _)| id).collect::<Vec<_>>().into_iter();
        left_out.map(move |id| Event::Overridden { id, how: Override::Skip, by: operator(), reason: reason.clone() })
    };
    given_up.iter().flat_map(about).collect()
}

/// Returns the decisions that let what failed be tried again.
fn retries(how: &How, state: &RunState) -> Vec<Event> {
    use crate::run::state::Phase as P;
    if !how.retry_failed {
        return Vec::new();
    }
    let failed = state
        .items()
        .filter(|(_, item)| matches!(item.phase, P::Failed { .. } | P::Blocked { .. } | P::VerifyFailed { .. }));
    let reason = how.reason.clone().unwrap_or_else(|| "resume --retry-failed".to_owned());
    failed
        .map(|(id, _)| Event::Overridden { id, how: Override::Retry, by: operator(), reason: reason.clone() })
        .collect()
}

pub(super) fn world(home: &Home, run: &RunId, site: requorum_steps::Site) -> Result<World, CommandError> {
    let supervisor = std::env::current_exe()?;
    let settings = Settings {
        local_capsules: home.run(run).join("capsules"),
        supervisor,
        kubeconfig: kubeconfig(),
        call_timeout: CALL_TIMEOUT,
        connect_timeout: CONNECT_TIMEOUT,
    };
    Ok(World::new(Arc::new(site), settings))
}

/// Returns the kubeconfig files of the environment.
pub(super) fn kubeconfig() -> Vec<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect()
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
    output::tell(format_args!("{}", readable(&text)));
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
    output::tell(format_args!("{}", readable(&text)));
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
            output::tell(format_args!("\n{id} asks:\n{}\ngo on? [yes/no] ", readable(message)));
        }
        loop {
            let line = self.lines.recv().await?;
            let approved = match line.trim() {
                "yes" | "y" => true,
                "no" | "n" => false,
                _ => {
                    output::tell(format_args!("go on? [yes/no] "));
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
