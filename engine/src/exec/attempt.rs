//! One item at work: from ready as far as it goes.
//!
//! Every step on the way is a record that the driver commits; the work goes on when the driver says that it is committed.
//! The intent is durable before the act, because `commit` returns only after the barrier.

use std::time::Duration;

use requorum_steps::capsule::CapsuleState;
use requorum_steps::crossing::crossing;
use requorum_steps::{Action, AttemptId, Effect, Fault, FaultKind, Kind, Make, Probe, Seat};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::clock;
use super::context::{self, Context, Entry, Errand};
use super::look::{self, Spot};
use super::output::Output;
use crate::plan::template::{self, BadTemplate};
use crate::report::phrase;
use crate::run::record::{Event, Finding};
use crate::run::state::nothing_was_done;

/// The bound for one attempt whose step has no `timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);

/// How long a command may take to end after it was told to.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Events to commit, and who waits for it.
pub struct Request {
    /// The events, committed together.
    pub events: Vec<Event>,
    /// Told when they are committed; dropped when they are refused, because the run is stopping.
    pub done: oneshot::Sender<()>,
}

/// The run is stopping: nothing new may begin.
#[derive(Debug)]
pub struct Stopping;

/// Where work hands in its events.
#[derive(Clone)]
pub struct Desk {
    /// The way to the driver.
    pub to: mpsc::UnboundedSender<Request>,
}

impl Desk {
    /// Hands events in and waits until they are committed.
    pub async fn commit(&self, events: Vec<Event>) -> Result<(), Stopping> {
        let (done, committed) = oneshot::channel();
        self.to.send(Request { events, done }).map_err(|_| Stopping)?;
        committed.await.map_err(|_| Stopping)
    }
}

/// Work on one item.
pub struct Work<'a> {
    /// What all work shares.
    pub context: &'a Context,
    /// Where events are handed in.
    pub desk: &'a Desk,
    /// The item.
    pub entry: &'a Entry,
}

/// What an act came to.
enum Outcome {
    Acted(Value),
    Failed(Fault),
    InDoubt(Fault),
}

impl Outcome {
    fn of(returned: Result<Value, Fault>) -> Self {
        match returned {
            Ok(result) => Self::Acted(result),
            Err(fault) if fault.kind == FaultKind::InDoubt => Self::InDoubt(fault),
            Err(fault) => Self::Failed(fault),
        }
    }
}

/// How an attempt ended.
#[expect(clippy::large_enum_variant, reason = "it lives only between two calls")]
pub(super) enum Attempted {
    /// Nothing more is to be done here: it is verified, or in doubt.
    Settled,
    /// It failed, or could not start; that is not recorded yet.
    Failed {
        /// Why.
        fault: Fault,
        /// What was seen before it.
        before: Value,
    },
    /// It acted, but is not as it should be.
    Unverified,
}

impl Work<'_> {
    /// Brings a ready item as far as it goes.
    pub async fn start(&self) -> Result<(), Stopping> {
        if let Some(because) = self.entry.step.when.clone() {
            match template::holds(&because, &self.entry.scope) {
                Ok(true) => {}
                Ok(false) => return self.commit(Event::Skipped { id: self.entry.id.clone(), because }).await,
                Err(error) => return self.fail(0, context::bad_condition(&error)).await,
            }
        }
        if self.opens_gate().await? {
            return Ok(());
        }
        let findings = look::settle(self.context, &self.entry.step.require, &self.spot()).await;
        if findings.iter().any(|finding| !finding.holds) {
            return self.commit(Event::Blocked { id: self.entry.id.clone(), findings }).await;
        }
        let kind = match context::kind(&self.entry.step.kind) {
            Ok(kind) => kind,
            Err(fault) => return self.fail(0, fault).await,
        };
        match kind.make {
            Make::Builtin(builtin) => self.carry_out(builtin, kind).await,
            Make::Action(_) => self.act(kind).await,
            Make::Check(_) => self.fail(0, Fault::refused(format!("`{}` is a check", kind.name))).await,
        }
    }

    /// Opens the gate of the item, if it has one and nobody has agreed yet.
    async fn opens_gate(&self) -> Result<bool, Stopping> {
        if self.entry.item.approved {
            return Ok(false);
        }
        let Some(asked) = question(self.entry) else { return Ok(false) };
        match asked {
            Ok(message) => self.commit(Event::GateOpened { id: self.entry.id.clone(), message }).await?,
            Err(error) => self.fail(0, context::bad_template(&error)).await?,
        }
        Ok(true)
    }

    /// Acts, as often as the plan allows.
    async fn act(&self, kind: &Kind) -> Result<(), Stopping> {
        let prepared = self.context.render_args(kind, &self.entry.step.args, &self.entry.scope);
        let prepared = prepared.and_then(|args| Ok((self.context.action(kind, &args)?, args)));
        let (action, args) = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => return self.fail(0, fault).await,
        };
        if kind.seat == Seat::Host && self.entry.host().is_none() {
            let fault = Fault::refused(format!("`{}` works on a host, and `on` names none for this item", kind.name));
            return self.fail(0, fault).await;
        }
        let item = &self.entry.item;
        if let Some(fault) = &item.fault
            && !self.may_repeat(action.as_ref(), fault, &item.before).await
        {
            return self.fail(item.attempt, fault.clone()).await;
        }
        let number = item.attempt + 1;
        let ended = self.attempt(action.as_ref(), &args, number).await?;
        self.carry_on(action.as_ref(), &args, number, ended).await
    }

    /// Makes further attempts after one that ended, as long as they are allowed and it takes them.
    pub(super) async fn carry_on(
        &self,
        action: &dyn Action,
        args: &Value,
        mut number: u32,
        mut ended: Attempted,
    ) -> Result<(), Stopping> {
        while self.goes_on(action, number, ended).await? {
            tokio::time::sleep(clock::backoff(&self.entry.step.retry, number)).await;
            number += 1;
            ended = self.attempt(action, args, number).await?;
        }
        Ok(())
    }

    /// Records what an attempt came to, and says whether another follows.
    async fn goes_on(&self, action: &dyn Action, number: u32, ended: Attempted) -> Result<bool, Stopping> {
        let effect = self.entry.step.effect;
        let left =
            self.context.errand == Errand::CarryOut && number < self.entry.step.retry.attempts && effect < Effect::Once;
        match ended {
            Attempted::Settled => Ok(false),
            Attempted::Unverified => Ok(left && effect < Effect::Probed),
            Attempted::Failed { fault, before } => {
                self.fail(number, fault.clone()).await?;
                Ok(left && fault.kind != FaultKind::Fenced && self.may_repeat(action, &fault, &before).await)
            }
        }
    }

    /// Says whether a failed attempt may be followed by another: a probed effect only where its probe says no.
    async fn may_repeat(&self, action: &dyn Action, fault: &Fault, before: &Value) -> bool {
        if nothing_was_done(fault) {
            return true;
        }
        match self.entry.step.effect {
            Effect::Pure | Effect::Idempotent => true,
            Effect::Once => false,
            Effect::Probed => matches!(self.probe(action, before).await, Ok(Probe::No { .. })),
        }
    }

    /// Makes one attempt.
    async fn attempt(&self, action: &dyn Action, args: &Value, number: u32) -> Result<Attempted, Stopping> {
        let early = |fault| Ok(Attempted::Failed { fault, before: Value::Null });
        if self.entry.step.effect == Effect::Probed {
            match self.probe(action, &Value::Null).await {
                Ok(Probe::Yes { result, evidence }) => {
                    self.commit(Event::Satisfied { id: self.entry.id.clone(), result: result.clone(), evidence })
                        .await?;
                    self.verify(&result).await?;
                    return Ok(Attempted::Settled);
                }
                Ok(Probe::No { .. } | Probe::Partly { .. } | Probe::Unknown { .. }) => {}
                Err(fault) => return early(fault),
            }
        }
        let reader = self.context.world.reader(self.entry.host());
        let before = match action.before(&reader).await {
            Ok(before) => before,
            Err(fault) => return early(fault),
        };
        self.commit(Event::Started {
            id: self.entry.id.clone(),
            attempt: number,
            args: args.clone(),
            before: before.clone(),
            title: self.title(),
            command: action.preview(&reader).command,
        })
        .await?;
        self.finish_attempt(action, number, before).await
    }

    /// Takes an attempt whose intent is durable to its end.
    pub(super) async fn finish_attempt(
        &self,
        action: &dyn Action,
        number: u32,
        before: Value,
    ) -> Result<Attempted, Stopping> {
        let ended = match self.do_it(action, number, &before).await {
            Outcome::Acted(result) => {
                let holds = self.acted(number, result).await?;
                if holds { Attempted::Settled } else { Attempted::Unverified }
            }
            Outcome::Failed(fault) => Attempted::Failed { fault, before },
            Outcome::InDoubt(fault) => {
                self.commit(Event::Doubted { id: self.entry.id.clone(), attempt: number, fault }).await?;
                Attempted::Settled
            }
        };
        self.redact_files(number);
        Ok(ended)
    }

    /// Takes secrets out of the files in which an attempt on this machine has kept its output, now that it is read.
    fn redact_files(&self, number: u32) {
        if self.entry.host().is_none() {
            let attempt = self.context.attempt(&self.entry.id, number);
            if let Err(fault) = self.context.world.redact_here(&attempt, &self.entry.given) {
                self.context.report.say(&format!("{attempt}: {}", phrase::fault_line(&fault)));
            }
        }
    }

    /// Lets the action act under its time bound. The intent is durable.
    async fn do_it(&self, action: &dyn Action, number: u32, before: &Value) -> Outcome {
        let attempt = self.context.attempt(&self.entry.id, number);
        let output = Output::of(self.context, self.entry);
        let writer = self.context.world.writer(self.entry.host(), attempt.clone(), self.context.holder.clone());
        let writer = writer.watched_by(output.watch());
        if let Err(fault) = self.holds_the_cluster(action).await {
            return Outcome::Failed(fault);
        }
        let bound = self.entry.step.timeout.unwrap_or(DEFAULT_TIMEOUT);
        crossing(|| format!("before act {}", attempt.directory()));
        if let Ok(outcome) = output.while_running(timeout(bound, action.act(&writer))).await {
            crossing(|| format!("after act {}", attempt.directory()));
            return Outcome::of(outcome);
        }
        let preview = action.preview(&writer.reader());
        let mut late = Fault::new(FaultKind::TimedOut, format!("it took longer than {}", phrase::span(bound)))
            .seen(if action.contained() {
                "it was stopped, and nothing of its session runs any more"
            } else {
                "the call was given up, and its probe says that it had no effect"
            })
            .during(phrase::first_line(&preview.command))
            .hint("raise `timeout` of the step if it needs longer");
        late.place.host = self.entry.host().cloned();
        if !action.contained() {
            return self.stop_call(action, late, before).await;
        }
        if let Ok(CapsuleState::Exited { .. }) = self.context.world.capsule_state(self.entry.host(), &attempt).await
            && let Ok(outcome) = output.while_running(timeout(GRACE, action.act(&writer))).await
        {
            // It ended by itself at the last moment: what its capsule kept is its outcome.
            return Outcome::of(outcome);
        }
        self.stop_capsule(&attempt, late).await
    }

    /// Reads the fence before an act that no host's capsule guards.
    async fn holds_the_cluster(&self, action: &dyn Action) -> Result<(), Fault> {
        let guarded = self.entry.host().is_some() && action.contained();
        if guarded || self.entry.step.effect == Effect::Pure {
            return Ok(());
        }
        let look = self.context.fence.is_ours(&self.context.world, &self.context.holder).await?;
        for (host, why) in look.silent {
            self.context.report.say(&format!("{host} does not tell whether this run still holds the cluster: {why}"));
        }
        Ok(())
    }

    /// Stops an attempt in a capsule whose time is over: seen dead it has timed out, else its outcome is in doubt.
    async fn stop_capsule(&self, attempt: &AttemptId, late: Fault) -> Outcome {
        let stopped = self.context.world.stop_attempt(self.entry.host(), attempt, GRACE).await;
        let why = match stopped {
            Ok(CapsuleState::Exited { .. } | CapsuleState::Dead { .. }) => return Outcome::Failed(late),
            Ok(CapsuleState::Running) => "it could not be stopped".to_owned(),
            // What was sent to launch it may still arrive: only launching this attempt again is safe.
            Ok(CapsuleState::Absent | CapsuleState::NotStarted) => "its command had not begun by then".to_owned(),
            Err(error) => format!("whether it was stopped could not be seen: {}", phrase::fault_line(&error)),
        };
        Outcome::InDoubt(Fault::in_doubt(format!("{}, and {why}", late.what)))
    }

    /// Asks the probe what became of a call whose time is over.
    async fn stop_call(&self, action: &dyn Action, late: Fault, before: &Value) -> Outcome {
        match self.probe(action, before).await {
            Ok(Probe::No { .. }) => Outcome::Failed(late),
            Ok(Probe::Yes { result, .. }) => Outcome::Acted(result),
            Ok(Probe::Partly { evidence } | Probe::Unknown { evidence }) => {
                Outcome::InDoubt(Fault::in_doubt(late.what).seen(evidence))
            }
            Err(error) => Outcome::InDoubt(Fault::in_doubt(late.what).seen(phrase::fault_line(&error))),
        }
    }

    /// Asks the author's probe, else the kind's.
    pub async fn probe(&self, action: &dyn Action, before: &Value) -> Result<Probe, Fault> {
        look::probe(self.context, self.entry, action, before).await
    }

    /// Records that it acted, and verifies it.
    pub(super) async fn acted(&self, attempt: u32, result: Value) -> Result<bool, Stopping> {
        self.commit(Event::Acted { id: self.entry.id.clone(), attempt, result: result.clone() }).await?;
        match self.context.errand {
            Errand::CarryOut => self.verify(&result).await,
            // What is taken back need not be as it should be.
            Errand::Settle => Ok(true),
        }
    }

    /// Verifies what has acted, and computes its outputs. Says whether all is as it should be.
    ///
    /// Outputs that cannot be computed count as not verified: it has acted, and a failure would let it act again.
    async fn verify(&self, result: &Value) -> Result<bool, Stopping> {
        let scope = self.entry.scope.clone().result(result);
        let spot = Spot { id: Some(&self.entry.id), host: self.entry.host(), scope: &scope, given: &self.entry.given };
        let mut findings = look::settle(self.context, &self.entry.step.verify, &spot).await;
        let mut outputs = Map::new();
        for (name, template) in &self.entry.step.outputs {
            match template::render(template, &scope) {
                Ok(value) => drop(outputs.insert(name.clone(), value)),
                Err(error) => findings.push(Finding {
                    check: format!("outputs.{name}"),
                    host: self.entry.host().cloned(),
                    place: self.entry.step.place.clone(),
                    holds: false,
                    message: None,
                    outcome: Err(Fault::failed(format!("it cannot be computed: {error}"))),
                }),
            }
        }
        let holds = findings.iter().all(|finding| finding.holds);
        let id = self.entry.id.clone();
        self.commit(if holds { Event::Succeeded { id, outputs } } else { Event::VerifyFailed { id, findings } })
            .await?;
        Ok(holds)
    }

    /// Verifies again what acted before this process, and acts again only where the plan allows it.
    pub async fn verify_again(&self) -> Result<(), Stopping> {
        let item = &self.entry.item;
        if self.verify(&item.result).await? || item.found || item.attempt == 0 {
            return Ok(());
        }
        let action = context::kind(&self.entry.step.kind).and_then(|kind| self.context.action(kind, &item.args));
        match action {
            Ok(action) => self.carry_on(action.as_ref(), &item.args, item.attempt, Attempted::Unverified).await,
            // What the engine carries out itself does not act.
            Err(_) => Ok(()),
        }
    }

    /// Records that it failed.
    pub async fn fail(&self, attempt: u32, fault: Fault) -> Result<(), Stopping> {
        self.commit(Event::Failed { id: self.entry.id.clone(), attempt, fault }).await
    }

    /// Hands in one event.
    pub async fn commit(&self, event: Event) -> Result<(), Stopping> {
        self.desk.commit(vec![event]).await
    }

    /// Renders the title of the step for this item.
    pub(super) fn title(&self) -> String {
        let title = &self.entry.step.title;
        template::render_text(title, &self.entry.scope).unwrap_or_else(|_| title.clone())
    }

    pub(super) fn spot(&self) -> Spot<'_> {
        self.entry.spot()
    }
}

/// Returns what a person is asked before an item starts. `None`: nothing.
pub(super) fn question(entry: &Entry) -> Option<Result<String, BadTemplate>> {
    match (&entry.step.confirm, entry.step.kind.as_str()) {
        (Some(text), _) => Some(template::render_text(text, &entry.scope)),
        (None, "gate.confirm") => Some(template::render(&entry.step.args, &entry.scope).map(|args| {
            let show = args.get("show").filter(|show| !show.is_null());
            let show = show.map(|show| format!("\n{}", pretty(show))).unwrap_or_default();
            format!("{}{show}", args.get("message").and_then(Value::as_str).unwrap_or_default())
        })),
        (None, _) => None,
    }
}

fn pretty(value: &Value) -> String {
    value.as_str().map_or_else(|| serde_json::to_string_pretty(value).unwrap_or_default(), str::to_owned)
}
