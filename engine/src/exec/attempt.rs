//! One item at work: from ready as far as it goes.
//!
//! Every step on the way is a record that the driver commits; the work goes on when the driver says that it is committed.
//! The intent is durable before the act, because `commit` returns only after the barrier.

use std::time::Duration;

use requorum_steps::{Action, Builtin, Effect, Fault, FaultKind, Kind, Make, Probe, Seat};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};

use super::clock;
use super::context::{self, Context, Entry};
use super::look::{self, Spot};
use crate::plan::compiled::CheckUse;
use crate::plan::template;
use crate::run::record::{Event, Finding};
use crate::run::state::nothing_was_done;

/// The bound for one attempt whose step has no `timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);

/// How long a command may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(10);

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

impl Work<'_> {
    /// Brings a ready item as far as it goes.
    pub async fn start(&self) -> Result<(), Stopping> {
        if let Some(because) = self.entry.step.when.clone() {
            match template::holds(&because, &self.entry.scope) {
                Ok(true) => {}
                Ok(false) => return self.commit(Event::Skipped { id: self.entry.id.clone(), because }).await,
                Err(error) => return self.fail(0, context::bad_template(&error)).await,
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
        let asked = match (&self.entry.step.confirm, self.entry.step.kind.as_str()) {
            (Some(text), _) => template::render_text(text, &self.entry.scope),
            (None, "gate.confirm") => template::render(&self.entry.step.args, &self.entry.scope).map(|args| {
                let show = args.get("show").filter(|show| !show.is_null());
                let show = show.map(|show| format!("\n{}", pretty(show))).unwrap_or_default();
                format!("{}{show}", args.get("message").and_then(Value::as_str).unwrap_or_default())
            }),
            (None, _) => return Ok(false),
        };
        match asked {
            Ok(message) => self.commit(Event::GateOpened { id: self.entry.id.clone(), message }).await?,
            Err(error) => self.fail(0, context::bad_template(&error)).await?,
        }
        Ok(true)
    }

    /// Carries out a kind that needs the engine's own clock or scope.
    async fn carry_out(&self, builtin: Builtin, kind: &Kind) -> Result<(), Stopping> {
        let args = &self.entry.step.args;
        match builtin {
            Builtin::Gate => self.acted(0, json!({ "approved": true })).await,
            Builtin::Set => match self.context.render_args(kind, args, &self.entry.scope) {
                Ok(values) => self.acted(0, values).await,
                Err(fault) => self.fail(0, fault).await,
            },
            Builtin::Assert => self.assert(args).await,
            Builtin::WaitFor => self.wait_for(kind, args).await,
            Builtin::WaitUntil => self.wait_until(args).await,
        }
    }

    async fn assert(&self, args: &Value) -> Result<(), Stopping> {
        let expression = args.get("expr").and_then(Value::as_str).unwrap_or_default();
        match template::holds(expression, &self.entry.scope) {
            Ok(true) => self.acted(0, json!({ "holds": true })).await,
            Ok(false) => {
                let message = args.get("message").and_then(Value::as_str).unwrap_or("it is false");
                let message = template::render_text(message, &self.entry.scope).unwrap_or_else(|_| message.to_owned());
                let fault = Fault::refused(message).expected(format!("`{expression}` is true")).seen("it is false");
                self.fail(0, fault).await
            }
            Err(error) => self.fail(0, context::bad_template(&error)).await,
        }
    }

    /// Waits for a time that began with the recorded start, so that an interruption does not begin it anew.
    async fn wait_for(&self, kind: &Kind, args: &Value) -> Result<(), Stopping> {
        let args = match self.context.render_args(kind, args, &self.entry.scope) {
            Ok(args) => args,
            Err(fault) => return self.fail(0, fault).await,
        };
        let text = args.get("duration").and_then(Value::as_str).unwrap_or_default().to_owned();
        let command = format!("wait {text}");
        let id = self.entry.id.clone();
        self.commit(Event::Started { id, attempt: 1, args, before: Value::Null, title: self.title(), command }).await?;
        self.wait_out(&text, clock::now()).await
    }

    /// Waits out the rest of a wait that started at the given time.
    pub async fn wait_out(&self, text: &str, since: jiff::Timestamp) -> Result<(), Stopping> {
        let Ok(whole) = requorum_steps::units::duration(text) else {
            return self.fail(1, Fault::refused(format!("`{text}` is no duration"))).await;
        };
        let passed = Duration::try_from(clock::now().duration_since(since)).unwrap_or_default();
        tokio::time::sleep(whole.saturating_sub(passed)).await;
        self.acted(1, json!({ "waited": text })).await
    }

    async fn wait_until(&self, args: &Value) -> Result<(), Stopping> {
        let checks = args.get("checks").cloned().map(serde_json::from_value::<Vec<CheckUse>>);
        let checks = match checks {
            Some(Ok(checks)) => checks,
            Some(Err(error)) => return self.fail(0, Fault::refused(format!("`checks`: {error}"))).await,
            None => Vec::new(),
        };
        // The start is recorded for its time; there is nothing to undo or to doubt about it.
        let (id, attempt) = (self.entry.id.clone(), self.entry.item.attempt + 1);
        let names: Vec<&str> = checks.iter().map(|check| check.kind.as_str()).collect();
        let command = format!("wait until {}", names.join(", "));
        self.commit(Event::Started {
            id,
            attempt,
            args: Value::Null,
            before: Value::Null,
            title: self.title(),
            command,
        })
        .await?;
        let findings = look::settle(self.context, &checks, &self.spot()).await;
        match findings.iter().find(|finding| !finding.holds) {
            None => self.acted(attempt, json!({ "held": findings.len() })).await,
            Some(finding) => self.fail(attempt, expired(finding)).await,
        }
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
        let mut number = self.entry.item.attempt;
        loop {
            number += 1;
            let Some(fault) = self.attempt(action.as_ref(), &args, number).await? else { return Ok(()) };
            let again = number < self.entry.step.retry.attempts && self.entry.step.effect < Effect::Once;
            let id = self.entry.id.clone();
            self.commit(Event::Failed { id, attempt: number, fault: fault.clone() }).await?;
            if !again || fault.kind == FaultKind::Fenced || !self.may_repeat(action.as_ref(), &fault).await {
                return Ok(());
            }
            tokio::time::sleep(clock::backoff(&self.entry.step.retry, number)).await;
        }
    }

    /// Says whether a failed attempt may be followed by another: a probed effect only where its probe says no.
    async fn may_repeat(&self, action: &dyn Action, fault: &Fault) -> bool {
        match self.entry.step.effect {
            Effect::Pure | Effect::Idempotent => true,
            Effect::Once => false,
            Effect::Probed => {
                nothing_was_done(fault) || matches!(self.probe(action, &Value::Null).await, Ok(Probe::No { .. }))
            }
        }
    }

    /// Makes one attempt. Returns the fault where it failed and may be followed by another.
    async fn attempt(&self, action: &dyn Action, args: &Value, number: u32) -> Result<Option<Fault>, Stopping> {
        if self.entry.step.effect == Effect::Probed {
            match self.probe(action, &Value::Null).await {
                Ok(Probe::Yes { result, evidence }) => {
                    self.commit(Event::Satisfied { id: self.entry.id.clone(), result: result.clone(), evidence })
                        .await?;
                    self.verify(&result).await?;
                    return Ok(None);
                }
                Ok(Probe::No { .. } | Probe::Partly { .. } | Probe::Unknown { .. }) => {}
                Err(fault) => return Ok(Some(fault)),
            }
        }
        let reader = self.context.world.reader(self.entry.host());
        let before = match action.before(&reader).await {
            Ok(before) => before,
            Err(fault) => return Ok(Some(fault)),
        };
        let command = action.preview(&reader).command;
        let id = self.entry.id.clone();
        self.commit(Event::Started {
            id,
            attempt: number,
            args: args.clone(),
            before: before.clone(),
            title: self.title(),
            command,
        })
        .await?;
        self.finish_attempt(action, number, &before).await
    }

    /// Takes an attempt whose intent is durable to its end. Returns the fault where it failed.
    pub async fn finish_attempt(
        &self,
        action: &dyn Action,
        number: u32,
        before: &Value,
    ) -> Result<Option<Fault>, Stopping> {
        match self.do_it(action, number, before).await {
            Outcome::Acted(result) => {
                self.acted(number, result).await?;
                Ok(None)
            }
            Outcome::Failed(fault) => Ok(Some(fault)),
            Outcome::InDoubt(fault) => {
                self.commit(Event::Doubted { id: self.entry.id.clone(), attempt: number, fault }).await?;
                Ok(None)
            }
        }
    }

    /// Lets the action act under its time bound. The intent is durable.
    async fn do_it(&self, action: &dyn Action, number: u32, before: &Value) -> Outcome {
        let attempt = self.context.attempt(&self.entry.id, number);
        let writer = self.context.world.writer(self.entry.host(), attempt.clone(), self.context.holder.clone());
        let bound = self.entry.step.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let fault = match tokio::time::timeout(bound, action.act(&writer)).await {
            Ok(Ok(result)) => return Outcome::Acted(result),
            Ok(Err(fault)) if fault.kind == FaultKind::InDoubt => return Outcome::InDoubt(fault),
            Ok(Err(fault)) => return Outcome::Failed(fault),
            Err(_) => {
                Fault::new(FaultKind::TimedOut, format!("it took longer than {}", crate::report::phrase::span(bound)))
                    .hint("raise `timeout` of the step if it needs longer")
            }
        };
        self.stop(action, &attempt, fault, before).await
    }

    /// Stops an attempt whose time is over: seen dead it has timed out, else its outcome is in doubt.
    async fn stop(
        &self,
        action: &dyn Action,
        attempt: &requorum_steps::AttemptId,
        fault: Fault,
        before: &Value,
    ) -> Outcome {
        use requorum_steps::capsule::CapsuleState as C;
        if action.contained() {
            return match self.context.world.stop_attempt(self.entry.host(), attempt, GRACE).await {
                Ok(C::Absent | C::NotStarted | C::Exited { .. } | C::Dead { .. }) => Outcome::Failed(fault),
                Ok(C::Running) => Outcome::InDoubt(Fault::in_doubt("it took too long and could not be stopped")),
                Err(error) => Outcome::InDoubt(
                    Fault::in_doubt("it took too long, and whether it was stopped could not be seen").seen(error.what),
                ),
            };
        }
        match self.probe(action, before).await {
            Ok(Probe::No { .. }) => Outcome::Failed(fault),
            Ok(Probe::Yes { result, .. }) => Outcome::Acted(result),
            Ok(Probe::Partly { evidence } | Probe::Unknown { evidence }) => {
                Outcome::InDoubt(Fault::in_doubt(fault.what).seen(evidence))
            }
            Err(error) => Outcome::InDoubt(Fault::in_doubt(fault.what).seen(error.what)),
        }
    }

    /// Asks the author's probe, else the kind's.
    pub async fn probe(&self, action: &dyn Action, before: &Value) -> Result<Probe, Fault> {
        let Some(check) = &self.entry.step.probe else {
            return action.probe(&self.context.world.reader(self.entry.host()), before).await;
        };
        let findings = look::look(self.context, check, &self.spot()).await;
        let evidence = findings.iter().map(crate::report::phrase::finding_line).collect::<Vec<_>>().join("; ");
        if findings.iter().any(|finding| finding.outcome.is_err()) {
            return Ok(Probe::Unknown { evidence });
        }
        if findings.iter().all(|finding| finding.holds) {
            return Ok(Probe::Yes { result: Value::Null, evidence });
        }
        Ok(Probe::No { evidence })
    }

    /// Records that it acted, and verifies it.
    pub async fn acted(&self, attempt: u32, result: Value) -> Result<(), Stopping> {
        self.commit(Event::Acted { id: self.entry.id.clone(), attempt, result: result.clone() }).await?;
        self.verify(&result).await
    }

    /// Verifies what has acted, and computes its outputs.
    pub async fn verify(&self, result: &Value) -> Result<(), Stopping> {
        let scope = self.entry.scope.clone().result(result);
        let spot = Spot { id: Some(&self.entry.id), host: self.entry.host(), scope: &scope };
        let findings = look::settle(self.context, &self.entry.step.verify, &spot).await;
        if findings.iter().any(|finding| !finding.holds) {
            return self.commit(Event::VerifyFailed { id: self.entry.id.clone(), findings }).await;
        }
        let mut outputs = Map::new();
        for (name, template) in &self.entry.step.outputs {
            match template::render(template, &scope) {
                Ok(value) => outputs.insert(name.clone(), value),
                Err(error) => return self.fail(self.entry.item.attempt, context::bad_template(&error)).await,
            };
        }
        self.commit(Event::Succeeded { id: self.entry.id.clone(), outputs }).await
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
    fn title(&self) -> String {
        let title = &self.entry.step.title;
        template::render_text(title, &self.entry.scope).unwrap_or_else(|_| title.clone())
    }

    fn spot(&self) -> Spot<'_> {
        Spot { id: Some(&self.entry.id), host: self.entry.host(), scope: &self.entry.scope }
    }
}

/// The fault of a wait whose time is over.
fn expired(finding: &Finding) -> Fault {
    let fault = Fault::refused(format!("the time to wait for `{}` is over", finding.check));
    let fault = match &finding.outcome {
        Ok(observation) => fault.expected(&observation.expected).seen(&observation.seen),
        Err(error) => fault.seen(crate::report::phrase::fault_line(error)),
    };
    match &finding.host {
        Some(host) => fault.on(host),
        None => fault,
    }
}

fn pretty(value: &Value) -> String {
    value.as_str().map_or_else(|| serde_json::to_string_pretty(value).unwrap_or_default(), str::to_owned)
}
