//! The driver: the one place where everything that happens in a run is put in order.
//!
//! Work on items runs as tasks; they hand in events. The driver commits what has come in together (append, barrier, fold,
//! report), lets the work go on, and decides what to begin next.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use requorum_steps::crossing::crossing;
use requorum_steps::{Fault, FaultKind};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::again;
use super::attempt::{Desk, Request, Stopping, Work};
use super::context::{self, Context, Entry, Errand};
use super::give_up::stop_what_runs;
use super::inbox::{Inbox, Order};
use super::journal::{Journal, JournalError};
use super::reconcile::Reconciled;
use super::signals::Stop;
use crate::run::decide::{Act, decide, ending, settle};
use crate::run::record::{Ending, Event, ItemId, Verdict};
use crate::run::state::{Phase, RunState};

/// How long work may take to come to rest after a first signal, before it is left to a resume.
const REST: Duration = Duration::from_secs(3);
/// How often the inbox is looked at, and what rides along is made visible.
const INBOX: Duration = Duration::from_millis(300);
/// How often one process tries to learn what became of one item.
const RECONCILES: u32 = 3;

/// Asks a person at the terminal.
pub trait Asker: Send {
    /// Asks about a gate, or goes on asking. `None`: nobody answered, and nobody will. Dropping the future takes nothing
    /// back, so that the driver can look elsewhere meanwhile.
    fn ask<'a>(&'a mut self, id: &'a ItemId, message: &'a str) -> BoxFuture<'a, Option<Answer>>;
}

/// A person's answer to a gate.
pub struct Answer {
    /// The answer.
    pub approved: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// The bounds of a run and its connections to the outside.
pub struct Setting {
    /// How many items may run at once.
    pub parallel: usize,
    /// How long the run may take in this process.
    pub budget: Option<Duration>,
    /// Where decisions arrive.
    pub inbox: Inbox,
    /// Where signals arrive.
    pub stops: mpsc::UnboundedReceiver<Stop>,
    /// Asks at the terminal, if there is one.
    pub asker: Option<Box<dyn Asker>>,
}

/// How a process ended its part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing more could be done.
    Settled(Ending),
    /// A signal stopped it.
    Stopped(Stop),
    /// Its time budget was over.
    OutOfTime,
    /// Another holder fenced it off.
    Fenced,
}

type Finished = (ItemId, Result<Reconciled, Stopping>);

/// Drives one run in one process.
pub struct Driver {
    context: Arc<Context>,
    journal: Journal,
    setting: Setting,
    desk: Desk,
    requests: mpsc::UnboundedReceiver<Request>,
    tasks: JoinSet<Finished>,
    working: HashMap<ItemId, AbortHandle>,
    /// Items that this process leaves alone: what became of them could not be seen.
    left_alone: HashSet<ItemId>,
    reconciles: HashMap<ItemId, u32>,
    /// Attempts whose host has rebooted under them, each with whether what must still hold has been looked at since.
    reboots: HashMap<(ItemId, u32), bool>,
    stopping: Option<Ended>,
    aborted: Option<Abort>,
    unstopped: bool,
}

/// A person gave the run up.
struct Abort {
    /// The order in the inbox, which stays there until it is recorded.
    path: PathBuf,
    /// Who and why.
    reason: String,
}

impl Driver {
    /// Makes a driver. The journal has been taken up by this process.
    #[must_use]
    pub fn new(context: Arc<Context>, journal: Journal, setting: Setting) -> Self {
        let (to, requests) = mpsc::unbounded_channel();
        Self {
            context,
            journal,
            setting,
            desk: Desk { to },
            requests,
            tasks: JoinSet::new(),
            working: HashMap::new(),
            left_alone: HashSet::new(),
            reconciles: HashMap::new(),
            reboots: HashMap::new(),
            stopping: None,
            aborted: None,
            unstopped: false,
        }
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> &RunState {
        self.journal.state()
    }

    /// Drives the run until nothing more can be done, or something stops it.
    pub async fn drive(&mut self) -> Result<Ended, JournalError> {
        if self.context.errand == Errand::CarryOut {
            self.observe_again().await?;
        }
        let budget_ends = self.setting.budget.map(|budget| Instant::now() + budget);
        let mut tick = tokio::time::interval(INBOX);
        while self.stopping.is_none() {
            if self.reboots.values().any(|observed| !observed) {
                self.reboots.values_mut().for_each(|observed| *observed = true);
                self.observe_again().await?;
                continue;
            }
            self.begin();
            if self.tasks.is_empty() && !self.has_question() {
                // A decision that came at the last moment is not left behind.
                if self.take_decisions()? {
                    continue;
                }
                break;
            }
            tokio::select! {
                biased;
                Some(request) = self.requests.recv() => self.commit(request)?,
                Some(finished) = self.tasks.join_next_with_id() => self.finish(finished)?,
                Some(stop) = self.setting.stops.recv() => {
                    self.stop(Ended::Stopped(stop), "stopping: nothing new begins; once more to leave at once");
                }
                () = until(budget_ends) => self.stop(Ended::OutOfTime, "the time budget is over: nothing new begins"),
                answer = ask(&mut self.setting.asker, self.journal.state()), if self.tasks.is_empty() => {
                    self.answer(answer)?;
                }
                _ = tick.tick() => {
                    self.take_decisions()?;
                    tokio::task::block_in_place(|| self.journal.settle())?;
                }
            }
        }
        self.come_to_rest().await?;
        if self.aborted.is_some() {
            let stopped = stop_what_runs(&self.context.world, self.journal.state(), &self.context.holder.run).await;
            for complaint in &stopped.complaints {
                self.context.report.say(complaint);
                self.unstopped = true;
            }
            self.journal.commit(stopped.events)?;
        }
        self.end()
    }

    /// Says whether something of a run that was given up may still be running, so that the cluster is not free.
    #[must_use]
    pub fn may_still_run(&self) -> bool {
        self.unstopped
    }

    /// Begins what the state asks for.
    fn begin(&mut self) {
        while self.begin_some() {}
    }

    /// Begins what can be begun at once. Says whether to look again, because something was left alone and made room.
    fn begin_some(&mut self) -> bool {
        let excluded: HashSet<ItemId> = self.working.keys().chain(&self.left_alone).cloned().collect();
        // What is left alone takes no place among those at work.
        let parallel = self.setting.parallel + excluded.len() - self.working.len();
        let mut left_some = false;
        let acts = match self.context.errand {
            Errand::CarryOut => decide(self.journal.state(), &excluded, parallel),
            Errand::Settle => settle(self.journal.state(), &excluded),
        };
        for act in acts {
            let id = act.item().clone();
            if matches!(act, Act::Reconcile(_)) {
                let tries = self.reconciles.entry(id.clone()).or_default();
                *tries += 1;
                if *tries > RECONCILES {
                    self.left_alone.insert(id);
                    left_some = true;
                    continue;
                }
            }
            let Some(entry) = Entry::of(&self.context, self.journal.state(), &id) else { continue };
            let observed = self.reboots.contains_key(&(id.clone(), entry.item.attempt));
            let (context, desk) = (Arc::clone(&self.context), self.desk.clone());
            let task = self.tasks.spawn(async move {
                let work = Work { context: &context, desk: &desk, entry: &entry };
                let outcome = match act {
                    Act::Start(_) => work.start().await.map(|()| Reconciled::Decided),
                    Act::Verify(_) => work.verify_again().await.map(|()| Reconciled::Decided),
                    Act::Reconcile(_) => work.reconcile(observed).await,
                };
                (entry.id, outcome)
            });
            self.working.insert(id, task);
        }
        left_some
    }

    /// Commits what has come in, all of it with one barrier, and lets the work go on.
    fn commit(&mut self, first: Request) -> Result<(), JournalError> {
        let mut requests = vec![first];
        while let Ok(request) = self.requests.try_recv() {
            requests.push(request);
        }
        // Dropping a request tells its work to stop. While the run stops, nothing new begins; what has ended is recorded,
        // even if its work was aborted meanwhile. Else only work that a decision has called off no longer waits for an answer.
        let (stopping, working) = (self.stopping.is_some(), &self.working);
        requests.retain(|request| {
            let mut events = request.events.iter();
            if stopping {
                return !events.any(begins_something);
            }
            !request.done.is_closed() && events.filter_map(Event::item).all(|id| working.contains_key(id))
        });
        let mut events = Vec::new();
        let mut waiting = Vec::new();
        for request in requests {
            events.extend(request.events);
            waiting.push(request.done);
        }
        let fenced = events.iter().any(is_fenced);
        tokio::task::block_in_place(|| self.journal.commit(events))?;
        for done in waiting {
            // Work that no longer waits has been left to a resume.
            let _ = done.send(());
        }
        if fenced && self.stopping.is_none() {
            self.stop(Ended::Fenced, "another holder has fenced this process off: nothing new begins");
        }
        Ok(())
    }

    fn finish(&mut self, finished: Result<(Id, Finished), JoinError>) -> Result<(), JournalError> {
        match finished {
            Ok((_, (id, outcome))) => {
                self.working.remove(&id);
                match outcome {
                    Ok(Reconciled::Unseen) => drop(self.left_alone.insert(id)),
                    Ok(Reconciled::Rebooted) => {
                        let attempt = self.journal.state().item(&id).map_or(0, |item| item.attempt);
                        self.reboots.insert((id, attempt), false);
                    }
                    Ok(Reconciled::Decided) | Err(Stopping) => {}
                }
                Ok(())
            }
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => self.panicked(&error),
        }
    }

    /// Work on an item panicked, which is a fault of requorum: the item is left alone, and what it had started is in doubt.
    fn panicked(&mut self, error: &JoinError) -> Result<(), JournalError> {
        tracing::error!(%error, "work on an item panicked");
        let Some(id) = self.working.iter().find(|(_, task)| task.id() == error.id()).map(|(id, _)| id.clone()) else {
            return Ok(());
        };
        self.working.remove(&id);
        self.left_alone.insert(id.clone());
        let Some(item) = self.journal.state().item(&id) else { return Ok(()) };
        let fault = Fault::in_doubt("requorum itself failed while it worked on this").seen(error.to_string());
        let attempt = item.attempt;
        match &item.phase {
            Phase::Started | Phase::InDoubt { .. } => self.journal.commit(vec![Event::Doubted { id, attempt, fault }]),
            Phase::Ready | Phase::Approved => {
                let fault = Fault { kind: FaultKind::Failed, ..fault };
                self.journal.commit(vec![Event::Failed { id, attempt: 0, fault }])
            }
            Phase::Pending
            | Phase::GateOpen { .. }
            | Phase::Asked { .. }
            | Phase::Acted
            | Phase::VerifyFailed { .. }
            | Phase::Succeeded
            | Phase::Satisfied
            | Phase::Skipped
            | Phase::Forced { .. }
            | Phase::Failed { .. }
            | Phase::Blocked { .. }
            | Phase::Rejected { .. } => Ok(()),
        }
    }

    /// Stops: nothing new begins from here on.
    fn stop(&mut self, why: Ended, words: &str) {
        self.stopping = Some(why);
        self.context.report.say(words);
    }

    /// Gives what is at work a moment to come to rest, and leaves the rest to a resume.
    async fn come_to_rest(&mut self) -> Result<(), JournalError> {
        let ends = Instant::now() + if self.aborted.is_some() { Duration::ZERO } else { REST };
        while !self.tasks.is_empty() {
            tokio::select! {
                biased;
                Some(request) = self.requests.recv() => self.commit(request)?,
                Some(finished) = self.tasks.join_next_with_id() => self.finish(finished)?,
                Some(_) = self.setting.stops.recv() => break,
                () = tokio::time::sleep_until(ends) => break,
            }
        }
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        // What came to its end meanwhile is recorded still.
        while let Ok(request) = self.requests.try_recv() {
            self.commit(request)?;
        }
        Ok(())
    }

    /// Records how it ended.
    fn end(&mut self) -> Result<Ended, JournalError> {
        let ended = self.stopping.unwrap_or_else(|| Ended::Settled(ending(self.journal.state())));
        let (ending, reason) = match (&self.aborted, ended) {
            (Some(abort), _) => (Ending::Aborted, abort.reason.clone()),
            (None, Ended::Settled(ending)) if self.context.errand == Errand::Settle => {
                let ending = if ending == Ending::NeedsPerson { ending } else { Ending::Interrupted };
                (ending, "it was looked at, to be rolled back".to_owned())
            }
            (None, Ended::Settled(ending)) => (ending, String::new()),
            (None, Ended::Stopped(_)) => (Ending::Interrupted, "by a signal".to_owned()),
            (None, Ended::OutOfTime) => (Ending::Interrupted, "the time budget was over".to_owned()),
            (None, Ended::Fenced) => (Ending::Interrupted, "another holder fenced this process off".to_owned()),
        };
        self.journal.commit(vec![Event::Ended { ending, reason }])?;
        let Some(abort) = &self.aborted else { return Ok(ended) };
        self.setting.inbox.taken(&abort.path);
        Ok(Ended::Settled(Ending::Aborted))
    }

    /// Takes decisions out of the inbox. Says whether there were any.
    fn take_decisions(&mut self) -> Result<bool, JournalError> {
        let decisions = self.setting.inbox.look();
        let any = !decisions.is_empty();
        for (path, decision) in decisions {
            let Some(event) = decision.event() else {
                debug_assert_eq!(decision.order, Order::Abort);
                self.aborted = Some(Abort { path, reason: format!("by {}: {}", decision.by, decision.reason) });
                self.stop(Ended::Settled(Ending::Aborted), "a person gives the run up");
                return Ok(true);
            };
            let overridden = matches!(event, Event::Overridden { .. }).then(|| event.item().cloned()).flatten();
            crossing(|| format!("before taking {}", event.name()));
            match self.journal.commit(vec![event]) {
                Ok(()) => {
                    crossing(|| "before emptying the inbox".to_owned());
                    self.setting.inbox.taken(&path);
                }
                Err(JournalError::State(error)) => {
                    self.setting.inbox.refuse(&path, &error.refusal());
                    continue;
                }
                Err(error) => return Err(error),
            }
            if let Some(id) = overridden {
                self.call_off(&id);
            }
        }
        Ok(any)
    }

    /// Calls off work on an item that a person has overridden. It was waiting or looking: while an attempt acts, the
    /// journal refuses an override.
    fn call_off(&mut self, id: &ItemId) {
        self.left_alone.remove(id);
        self.reconciles.remove(id);
        if let Some(task) = self.working.remove(id) {
            task.abort();
        }
    }

    fn has_question(&self) -> bool {
        self.setting.asker.is_some() && question(self.journal.state()).is_some()
    }

    /// Takes what was answered at the terminal. Where nobody answers, no other gate is asked about either.
    fn answer(&mut self, answer: Option<(ItemId, Answer)>) -> Result<(), JournalError> {
        let Some((id, Answer { approved, by, reason })) = answer else {
            self.setting.asker = None;
            return Ok(());
        };
        self.journal.commit(vec![Event::GateAnswered { id, approved, by, reason }])
    }

    /// Looks again at what has succeeded and must still hold: something was put out of action, and a host may have rebooted
    /// since. What had lapsed may hold again. What the plan itself has since begun to take back is not looked at, nor what is
    /// on a host that was given up.
    async fn observe_again(&mut self) -> Result<(), JournalError> {
        let state = self.journal.state();
        let entries: Vec<Entry> = state
            .items()
            .filter(|(_, item)| item.attempt > 0 && again::is_relied_on(&item.phase))
            .filter(|(id, _)| {
                let step = state.step(&id.step);
                step.and_then(|step| context::kind(&step.kind).ok()).is_some_and(|kind| kind.lasting)
            })
            .filter_map(|(id, _)| Entry::of(&self.context, state, &id))
            .filter(|entry| entry.host().is_none_or(|host| !self.context.given_up.contains(host)))
            .collect();
        let looks = join_all(entries.iter().map(|entry| again::look_again(&self.context, state, entry)));
        let looks = tokio::select! {
            looks = looks => looks,
            Some(stop) = self.setting.stops.recv() => {
                self.stop(Ended::Stopped(stop), "stopping: nothing has begun");
                return Ok(());
            }
        };
        let mut seen = Vec::new();
        for (entry, look) in entries.iter().zip(looks) {
            match look {
                Ok(event) => seen.extend(event),
                // What cannot be seen is not known to have lapsed; and nothing may rely on it.
                Err(fault) => self.stop(
                    Ended::Settled(Ending::NeedsPerson),
                    &format!(
                        "whether `{}` still holds cannot be seen, and later steps rely on it: {}; make it reachable, then \
                         resume, or give the host up with `resume --lost`",
                        entry.id,
                        crate::report::phrase::fault_line(&fault)
                    ),
                ),
            }
        }
        if seen.is_empty() { Ok(()) } else { self.journal.commit(seen) }
    }
}

/// Returns the first open gate and what it asks.
fn question(state: &RunState) -> Option<(ItemId, &str)> {
    state.active().find_map(|(id, item)| match &item.phase {
        Phase::GateOpen { message } => Some((id, message.as_str())),
        _ => None,
    })
}

/// Asks about the first open gate at the terminal, if there is one.
async fn ask(asker: &mut Option<Box<dyn Asker>>, state: &RunState) -> Option<(ItemId, Answer)> {
    let asker = asker.as_mut()?;
    let (id, message) = question(state)?;
    let answer = asker.ask(&id, message).await?;
    Some((id, answer))
}

/// Says whether an event begins something, so that it is refused while the run is stopping.
fn begins_something(event: &Event) -> bool {
    match event {
        Event::Started { .. } | Event::GateOpened { .. } => true,
        // Only launching makes something happen that was not under way.
        Event::Reconciled { verdict, .. } => match verdict {
            Verdict::Launch => true,
            Verdict::Adopt | Verdict::Reattach | Verdict::Repeat | Verdict::Ask | Verdict::Withdraw => false,
        },
        Event::Began(_)
        | Event::TakenUp { .. }
        | Event::Preflight { .. }
        | Event::Fence { .. }
        | Event::GateAnswered { .. }
        | Event::Skipped { .. }
        | Event::Blocked { .. }
        | Event::Satisfied { .. }
        | Event::Acted { .. }
        | Event::Failed { .. }
        | Event::Doubted { .. }
        | Event::Lapsed { .. }
        | Event::VerifyFailed { .. }
        | Event::Succeeded { .. }
        | Event::Overridden { .. }
        | Event::Amended { .. }
        | Event::SiteChanged { .. }
        | Event::Committed { .. }
        | Event::Recovered { .. }
        | Event::Ended { .. } => false,
    }
}

fn is_fenced(event: &Event) -> bool {
    matches!(event, Event::Failed { fault: Fault { kind: FaultKind::Fenced, .. }, .. })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
