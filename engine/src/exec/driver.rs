//! The driver: the one place where everything that happens in a run is put in order.
//!
//! Work on items runs as tasks; they hand in events. The driver commits what has come in together (append, barrier, fold,
//! report), lets the work go on, and decides what to begin next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use requorum_steps::{Fault, FaultKind, Probe};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::attempt::{Desk, Request, Stopping, Work};
use super::context::{self, Context, Entry};
use super::inbox::{Inbox, Order};
use super::journal::{Journal, JournalError};
use super::reconcile::Reconciled;
use super::signals::Stop;
use crate::run::decide::{Act, decide, ending};
use crate::run::record::{Ending, Event, ItemId};
use crate::run::state::{Item, Phase, RunState};
use futures_util::future::join_all;

/// How long work may take to come to rest after a first signal, before it is left to a resume.
const REST: Duration = Duration::from_secs(3);
/// How often the inbox is looked at.
const INBOX: Duration = Duration::from_millis(300);
/// How often one process tries to learn what became of one item.
const RECONCILES: u32 = 3;

/// Asks a person at the terminal.
pub trait Asker: Send + Sync {
    /// Asks about a gate; blocks. `None`: nobody answered.
    fn ask(&self, id: &ItemId, message: &str) -> Option<Answer>;
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
    pub asker: Option<Arc<dyn Asker>>,
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
    working: HashSet<ItemId>,
    /// Items that this process leaves alone: what became of them could not be seen.
    left_alone: HashSet<ItemId>,
    reconciles: HashMap<ItemId, u32>,
    stopping: Option<Ended>,
    aborted: Option<String>,
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
            working: HashSet::new(),
            left_alone: HashSet::new(),
            reconciles: HashMap::new(),
            stopping: None,
            aborted: None,
        }
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> &RunState {
        self.journal.state()
    }

    /// Drives the run until nothing more can be done, or something stops it.
    pub async fn drive(&mut self) -> Result<Ended, JournalError> {
        self.observe_again().await?;
        let budget_ends = self.setting.budget.map(|budget| Instant::now() + budget);
        let mut tick = tokio::time::interval(INBOX);
        loop {
            if self.stopping.is_none() {
                self.begin();
            }
            if self.tasks.is_empty() {
                if self.stopping.is_some() || !self.ask().await? {
                    break;
                }
                continue;
            }
            tokio::select! {
                biased;
                Some(request) = self.requests.recv() => self.commit(request)?,
                Some(finished) = self.tasks.join_next() => self.finish(finished),
                Some(stop) = self.setting.stops.recv() => {
                    if self.stopping.is_some() {
                        break;
                    }
                    self.stop(Ended::Stopped(stop), "stopping: nothing new begins; once more to leave at once").await?;
                }
                () = until(budget_ends), if self.stopping.is_none() => {
                    self.stop(Ended::OutOfTime, "the time budget is over: nothing new begins").await?;
                }
                _ = tick.tick() => self.take_decisions()?,
            }
        }
        self.end()
    }

    /// Begins what the state asks for.
    fn begin(&mut self) {
        let excluded: HashSet<ItemId> = self.working.union(&self.left_alone).cloned().collect();
        // What is left alone takes no place among those at work.
        let parallel = self.setting.parallel + excluded.len() - self.working.len();
        for act in decide(self.journal.state(), &excluded, parallel) {
            let id = act.item().clone();
            if matches!(act, Act::Reconcile(_)) {
                let tries = self.reconciles.entry(id.clone()).or_default();
                *tries += 1;
                if *tries > RECONCILES {
                    self.left_alone.insert(id);
                    continue;
                }
            }
            let Some(entry) = Entry::of(&self.context, self.journal.state(), &id) else { continue };
            let (context, desk) = (Arc::clone(&self.context), self.desk.clone());
            self.working.insert(id);
            self.tasks.spawn(async move {
                let work = Work { context: &context, desk: &desk, entry: &entry };
                let outcome = match act {
                    Act::Start(_) => work.start().await.map(|()| Reconciled::Decided),
                    Act::Verify(_) => work.verify(&entry.item.result).await.map(|()| Reconciled::Decided),
                    Act::Reconcile(_) => work.reconcile().await,
                };
                (entry.id, outcome)
            });
        }
    }

    /// Commits what has come in, all of it with one barrier, and lets the work go on.
    fn commit(&mut self, first: Request) -> Result<(), JournalError> {
        let mut requests = vec![first];
        while let Ok(request) = self.requests.try_recv() {
            requests.push(request);
        }
        if self.stopping.is_some() {
            // Dropping the request tells its work that nothing new begins.
            requests.retain(|request| !request.events.iter().any(begins_something));
        }
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
            self.stopping = Some(Ended::Fenced);
        }
        Ok(())
    }

    fn finish(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        match finished {
            Ok((id, outcome)) => {
                self.working.remove(&id);
                if matches!(outcome, Ok(Reconciled::Unseen)) {
                    self.left_alone.insert(id);
                }
            }
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                // A fault of the engine: the item stays as the journal has it, and a resume reconciles it.
                tracing::error!(%error, "work on an item panicked");
                let lost: Vec<ItemId> = self.working.drain().collect();
                self.left_alone.extend(lost);
            }
        }
    }

    /// Stops: nothing new begins, what is at work gets a moment to come to rest, the rest is left to a resume.
    async fn stop(&mut self, why: Ended, words: &str) -> Result<(), JournalError> {
        self.stopping = Some(why);
        self.context.report.say(words);
        let ends = Instant::now() + REST;
        while !self.tasks.is_empty() {
            tokio::select! {
                biased;
                Some(request) = self.requests.recv() => self.commit(request)?,
                Some(finished) = self.tasks.join_next() => self.finish(finished),
                Some(_) = self.setting.stops.recv() => break,
                () = tokio::time::sleep_until(ends) => break,
            }
        }
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// Records how it ended.
    fn end(&mut self) -> Result<Ended, JournalError> {
        let ended = self.stopping.unwrap_or_else(|| Ended::Settled(ending(self.journal.state())));
        let (ending, reason) = match (&self.aborted, ended) {
            (Some(reason), _) => (Ending::Aborted, reason.clone()),
            (None, Ended::Settled(ending)) => (ending, String::new()),
            (None, Ended::Stopped(_)) => (Ending::Interrupted, "by a signal".to_owned()),
            (None, Ended::OutOfTime) => (Ending::Interrupted, "the time budget was over".to_owned()),
            (None, Ended::Fenced) => (Ending::Interrupted, "another holder fenced this process off".to_owned()),
        };
        self.journal.commit(vec![Event::Ended { ending, reason }])?;
        Ok(if self.aborted.is_some() { Ended::Settled(Ending::Aborted) } else { ended })
    }

    /// Takes decisions out of the inbox.
    fn take_decisions(&mut self) -> Result<(), JournalError> {
        for (path, decision) in self.setting.inbox.look() {
            let Some(event) = decision.event() else {
                debug_assert_eq!(decision.order, Order::Abort);
                self.aborted = Some(format!("by {}: {}", decision.by, decision.reason));
                self.stopping = Some(Ended::Settled(Ending::Aborted));
                self.setting.inbox.taken(&path);
                self.tasks.abort_all();
                continue;
            };
            match self.journal.commit(vec![event]) {
                Ok(()) => self.setting.inbox.taken(&path),
                Err(JournalError::State(error)) => self.setting.inbox.refuse(&path, &error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Asks about an open gate at the terminal. Says whether anything changed.
    async fn ask(&mut self) -> Result<bool, JournalError> {
        let Some(asker) = self.setting.asker.clone() else { return Ok(false) };
        let open = self.journal.state().active().find_map(|(id, item)| match &item.phase {
            Phase::GateOpen { message } if !self.left_alone.contains(&id) => Some((id, message.clone())),
            _ => None,
        });
        let Some((id, message)) = open else { return Ok(false) };
        let asked = id.clone();
        let answer = tokio::task::spawn_blocking(move || asker.ask(&asked, &message)).await.unwrap_or_default();
        let Some(Answer { approved, by, reason }) = answer else {
            self.left_alone.insert(id);
            return Ok(true);
        };
        self.journal.commit(vec![Event::GateAnswered { id, approved, by, reason }])?;
        Ok(true)
    }

    /// Looks again at what succeeded before this process and must still hold: something was put out of action, and a host
    /// may have rebooted meanwhile. What the plan itself has since begun to take back is not looked at.
    async fn observe_again(&mut self) -> Result<(), JournalError> {
        let state = self.journal.state();
        let entries: Vec<Entry> = state
            .items()
            .filter(|(_, item)| matches!(item.phase, Phase::Succeeded | Phase::Satisfied) && item.attempt > 0)
            .filter(|(id, _)| {
                let step = state.step(&id.step);
                step.and_then(|step| context::kind(&step.kind).ok()).is_some_and(|kind| kind.lasting)
            })
            .filter_map(|(id, _)| Entry::of(&self.context, state, &id))
            .collect();
        let looks = entries.iter().map(|entry| self.has_lapsed(entry));
        let lapsed: Vec<Event> = join_all(looks).await.into_iter().flatten().collect();
        if lapsed.is_empty() { Ok(()) } else { self.journal.commit(lapsed) }
    }

    async fn has_lapsed(&self, entry: &Entry) -> Option<Event> {
        let kind = context::kind(&entry.step.kind).ok()?;
        let action = self.context.action(kind, &entry.item.args).ok()?;
        let state = self.journal.state();
        let is_later =
            |item: &Item| item.started.is_some_and(|began| entry.item.ended.is_none_or(|ended| began >= ended));
        let ended = state.items().any(|(id, item)| {
            id.item == entry.id.item
                && is_later(item)
                && state.step(&id.step).is_some_and(|step| action.ended_by(&entry.item.result, &step.kind, &item.args))
        });
        if ended {
            return None;
        }
        let reader = self.context.world.reader(entry.host());
        let evidence = match action.probe(&reader, &entry.item.before).await {
            Ok(Probe::Yes { .. }) => return None,
            Ok(Probe::No { evidence } | Probe::Partly { evidence } | Probe::Unknown { evidence }) => evidence,
            Err(fault) => crate::report::phrase::fault_line(&fault),
        };
        Some(Event::Lapsed { id: entry.id.clone(), evidence })
    }
}

/// Says whether an event begins something, so that it is refused while the run is stopping.
fn begins_something(event: &Event) -> bool {
    match event {
        Event::Started { .. } | Event::GateOpened { .. } => true,
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
        | Event::Reconciled { .. }
        | Event::Lapsed { .. }
        | Event::VerifyFailed { .. }
        | Event::Succeeded { .. }
        | Event::Overridden { .. }
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
