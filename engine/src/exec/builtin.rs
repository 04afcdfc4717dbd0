//! The kinds that the engine carries out itself: they need its clock, its scope of templates, or a person.

use std::time::Duration;

use jiff::Timestamp;
use requorum_steps::{Builtin, Fault, Kind, units};
use serde_json::{Value, json};

use super::attempt::{Stopping, Work};
use super::context::{self, Context};
use super::{clock, look};
use crate::plan::compiled::CheckUse;
use crate::plan::template::{self, Scope};
use crate::report::phrase;
use crate::run::record::{Event, Finding, Verdict};

/// A wait for a time.
struct Wait {
    /// The duration, as the plan has it.
    text: String,
    /// When it began.
    since: Timestamp,
    /// The attempt.
    attempt: u32,
}

impl Work<'_> {
    /// Carries out a kind that needs the engine's own clock or scope.
    pub(super) async fn carry_out(&self, builtin: Builtin, kind: &Kind) -> Result<(), Stopping> {
        let args = &self.entry.step.args;
        match builtin {
            Builtin::Gate => self.acted(0, json!({ "approved": true })).await.map(drop),
            Builtin::Set => match self.context.render_args(kind, args, &self.entry.scope) {
                Ok(values) => self.acted(0, values).await.map(drop),
                Err(fault) => self.fail(0, fault).await,
            },
            Builtin::Assert => self.assert(args).await,
            Builtin::WaitFor => self.wait_for(kind, args).await,
            Builtin::WaitUntil => self.wait_until(kind, args).await,
        }
    }

    async fn assert(&self, args: &Value) -> Result<(), Stopping> {
        let expression = args.get("expr").and_then(Value::as_str).unwrap_or_default();
        match template::holds(expression, &self.entry.scope) {
            Ok(true) => self.acted(0, json!({ "holds": true })).await.map(drop),
            Ok(false) => {
                let message = args.get("message").and_then(Value::as_str).unwrap_or("it is false");
                let message = template::render_text(message, &self.entry.scope).unwrap_or_else(|_| message.to_owned());
                let fault = Fault::refused(message).expected(format!("`{expression}` is true")).seen("it is false");
                self.fail(0, fault).await
            }
            Err(error) => self.fail(0, context::bad_condition(&error)).await,
        }
    }

    /// Waits for a time that began with the recorded start, so that an interruption does not begin it anew.
    async fn wait_for(&self, kind: &Kind, args: &Value) -> Result<(), Stopping> {
        let args = match self.context.render_args(kind, args, &self.entry.scope) {
            Ok(args) => args,
            Err(fault) => return self.fail(0, fault).await,
        };
        let since = clock::now();
        let wait = Wait { text: duration_of(&args), since, attempt: self.entry.item.attempt + 1 };
        let command = format!("wait {}", wait.text);
        let (id, attempt, before, title) =
            (self.entry.id.clone(), wait.attempt, json!({ "since": since }), self.title());
        self.commit(Event::Started { id, attempt, args, before, title, command }).await?;
        self.wait_out(&wait).await
    }

    /// Goes on with a wait that another process began.
    pub(super) async fn go_on_waiting(&self) -> Result<(), Stopping> {
        let item = &self.entry.item;
        let since = item.before.get("since").and_then(|since| since.as_str()?.parse().ok());
        let wait = Wait {
            text: duration_of(&item.args),
            since: since.or(item.started).unwrap_or_else(clock::now),
            attempt: item.attempt,
        };
        let evidence = format!("the wait of {} began at {}", wait.text, wait.since);
        self.decided(Verdict::Reattach, evidence).await?;
        self.wait_out(&wait).await
    }

    async fn wait_out(&self, wait: &Wait) -> Result<(), Stopping> {
        let Ok(whole) = units::duration(&wait.text) else {
            return self.fail(wait.attempt, Fault::refused(format!("`{}` is no duration", wait.text))).await;
        };
        let passed = Duration::try_from(clock::now().duration_since(wait.since)).unwrap_or_default();
        let rest = whole.saturating_sub(passed);
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        self.acted(wait.attempt, json!({ "waited": wait.text })).await.map(drop)
    }

    async fn wait_until(&self, kind: &Kind, args: &Value) -> Result<(), Stopping> {
        let checks = match awaited(self.context, kind, args, &self.entry.scope) {
            Ok(checks) => checks,
            Err(fault) => return self.fail(0, fault).await,
        };
        // The start is recorded for its time; there is nothing to undo or to doubt about it.
        let (id, attempt) = (self.entry.id.clone(), self.entry.item.attempt + 1);
        let command = format!("wait until {}", names(&checks));
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
            None => self.acted(attempt, json!({ "held": findings.len() })).await.map(drop),
            Some(finding) => self.fail(attempt, expired(finding)).await,
        }
    }
}

/// Returns the checks of a wait, each with its deadline: its own, else that of all of them.
pub(super) fn awaited(context: &Context, kind: &Kind, args: &Value, scope: &Scope) -> Result<Vec<CheckUse>, Fault> {
    let mut args = args.clone();
    // The templates in them are rendered for each look.
    let checks = args.get_mut("checks").map_or(json!([]), |checks| std::mem::replace(checks, json!([])));
    let mut checks: Vec<CheckUse> =
        serde_json::from_value(checks).map_err(|error| Fault::refused(format!("`checks`: {error}")))?;
    let args = context.render_args(kind, &args, scope)?;
    let within = args.get("within").and_then(Value::as_str).map(units::duration).transpose();
    let within = within.map_err(|error| Fault::refused(format!("`within`: {error}")))?;
    for check in checks.iter_mut().filter(|check| check.within.is_none()) {
        check.within = within;
    }
    Ok(checks)
}

/// Names checks.
pub(super) fn names(checks: &[CheckUse]) -> String {
    checks.iter().map(|check| check.kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns how long a rendered `wait.for` waits, as text.
pub(super) fn duration_of(args: &Value) -> String {
    args.get("duration").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The fault of a wait whose time is over.
fn expired(finding: &Finding) -> Fault {
    let fault = Fault::refused(format!("the time to wait for `{}` is over", finding.check));
    let fault = match &finding.outcome {
        Ok(observation) => fault.expected(&observation.expected).seen(&observation.seen),
        Err(error) => fault.seen(phrase::fault_line(error)),
    };
    match &finding.host {
        Some(host) => fault.on(host),
        None => fault,
    }
}
