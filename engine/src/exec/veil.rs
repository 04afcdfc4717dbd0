//! What a kind that was given secrets says, without them.
//!
//! [`Context::action`](super::context::Context::action) puts the values of secrets in and draws a veil over the kind that is
//! made, so that nothing comes out of it but through here: neither a result nor a fault reaches a template, the journal or a
//! report before it is redacted. What was seen before an act comes back as a kind once said it. What reaches the journal
//! and the report on other ways goes through [`Veil::event`] and `Veiled` once more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use requorum_steps::capsule::Stream;
use requorum_steps::redact::{Given, marks};
use requorum_steps::{Action, Check, Fault, Observation, Preview, Probe, Reader, Undo, Writer};
use serde_json::Value;

use super::secrets::Secrets;
use crate::report::Report;
use crate::run::record::{Event, Finding, ItemId, Record};
use crate::run::state::RunState;
use crate::run::texts::Texts;

/// Hides the secrets of a run in what is said where some of them were given.
#[derive(Clone, Default)]
pub struct Veil {
    secrets: Secrets,
    given: Given,
}

impl Veil {
    /// Makes one for what was given these secrets.
    #[must_use]
    pub fn new(secrets: &Secrets, given: Given) -> Self {
        Self { secrets: secrets.clone(), given }
    }

    /// Draws it over an action.
    #[must_use]
    pub fn over_action(self, action: Box<dyn Action>) -> Box<dyn Action> {
        Box::new(Veiled { veil: self, inner: action })
    }

    /// Draws it over a check.
    #[must_use]
    pub fn over_check(self, check: Box<dyn Check>) -> Box<dyn Check> {
        Box::new(Veiled { veil: self, inner: check })
    }

    /// Draws it over a report.
    #[must_use]
    pub fn over_report(self, report: Arc<dyn Report>) -> Arc<dyn Report> {
        Arc::new(Veiled { veil: self, inner: report })
    }

    /// Takes secrets out of an event that was put together here.
    #[must_use]
    pub fn event(&self, mut event: Event) -> Event {
        event.change_texts(&mut Inside(self));
        event
    }

    /// Takes secrets out of what was found by other ways than a check.
    #[must_use]
    pub fn finding(&self, mut finding: Finding) -> Finding {
        Inside(self).findings([&mut finding]);
        finding
    }

    /// Takes secrets out of a fault of other ways than a kind.
    #[must_use]
    pub fn fault(&self, mut fault: Fault) -> Fault {
        Inside(self).fault(&mut fault);
        fault
    }

    fn text(&self, text: &str) -> String {
        self.secrets.redactor().outside(text, &self.given).into_owned()
    }

    fn value(&self, mut value: Value) -> Value {
        self.secrets.redactor().outside_value(&mut value, &self.given);
        value
    }

    fn said<T>(&self, outcome: Result<T, Fault>, said: impl FnOnce(T) -> T) -> Result<T, Fault> {
        outcome.map(said).map_err(|mut fault| {
            Outside(self).fault(&mut fault);
            fault
        })
    }
}

/// Redacts what comes from outside: marks in it are nobody's.
struct Outside<'v>(&'v Veil);

impl Texts for Outside<'_> {
    fn text(&mut self, text: &mut String) {
        *text = self.0.text(text);
    }

    fn value(&mut self, value: &mut Value) {
        *value = self.0.value(value.take());
    }
}

/// Redacts what was made here, of which the most is redacted already.
struct Inside<'v>(&'v Veil);

impl Texts for Inside<'_> {
    fn text(&mut self, text: &mut String) {
        *text = self.0.secrets.redactor().inside(text, &self.0.given).into_owned();
    }

    fn value(&mut self, value: &mut Value) {
        self.0.secrets.redactor().inside_value(value, &self.0.given);
    }
}

/// Something with a veil over it.
struct Veiled<T> {
    veil: Veil,
    inner: T,
}

#[async_trait]
impl Action for Veiled<Box<dyn Action>> {
    fn preview(&self, reader: &Reader<'_>) -> Preview {
        let Preview { command, sets_aside } = self.inner.preview(reader);
        Preview { command: self.veil.text(&command), sets_aside: sets_aside.map(|path| self.veil.text(&path)) }
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        self.veil.said(self.inner.before(reader).await, |before| self.veil.value(before))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let answer = self.inner.probe(reader, &self.veil.secrets.reveal(before)).await;
        self.veil.said(answer, |probe| match probe {
            Probe::Yes { result, evidence } => {
                Probe::Yes { result: self.veil.value(result), evidence: self.veil.text(&evidence) }
            }
            Probe::No { evidence } => Probe::No { evidence: self.veil.text(&evidence) },
            Probe::Partly { evidence } => Probe::Partly { evidence: self.veil.text(&evidence) },
            Probe::Unknown { evidence } => Probe::Unknown { evidence: self.veil.text(&evidence) },
        })
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        self.veil.said(self.inner.act(writer).await, |result| self.veil.value(result))
    }

    fn contained(&self) -> bool {
        self.inner.contained()
    }

    fn ended_by(&self, result: &Value, kind: &str, args: &Value) -> bool {
        self.inner.ended_by(&self.veil.secrets.reveal(result), kind, &self.veil.secrets.reveal(args))
    }

    fn undo(&self, before: &Value, result: Option<&Value>) -> Undo {
        let secrets = &self.veil.secrets;
        match self.inner.undo(&secrets.reveal(before), result.map(|result| secrets.reveal(result)).as_ref()) {
            Undo::By(acts) => Undo::By(acts.into_iter().map(|(kind, args)| (kind, self.veil.value(args))).collect()),
            undo @ (Undo::Nothing(_) | Undo::NeedsResult | Undo::Never) => undo,
        }
    }
}

#[async_trait]
impl Check for Veiled<Box<dyn Check>> {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        self.veil.said(self.inner.observe(reader).await, |Observation { holds, seen, expected }| Observation {
            holds,
            seen: self.veil.text(&seen),
            expected: self.veil.text(&expected),
        })
    }
}

impl Report for Veiled<Arc<dyn Report>> {
    fn record(&self, record: &Record, state: &RunState) {
        // The journal has redacted it.
        self.inner.record(record, state);
    }

    fn waiting(&self, id: Option<&ItemId>, finding: &Finding, left: Duration) {
        self.inner.waiting(id, &self.veil.finding(finding.clone()), left);
    }

    fn output(&self, id: &ItemId, stream: Stream, text: &str) {
        // What comes here went through a filter, as bytes.
        self.inner.output(id, stream, text);
    }

    fn say(&self, line: &str) {
        let mut line = line.to_owned();
        Inside(&self.veil).text(&mut line);
        self.inner.say(&marks::readable(&line));
    }

    fn close(&self) {
        self.inner.close();
    }
}
