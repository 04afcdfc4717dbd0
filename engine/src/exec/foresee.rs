//! What a run would do, found out without doing it: every precondition and probe is looked at once, live and read-only.
//!
//! The steps are walked in the plan's order, over the same fold as a run: what is skipped, there already, or only computed is
//! applied to a state that nobody keeps, so that later steps see its outputs. Where an earlier step would change something,
//! what stands now says nothing about a later one: that one is foreseen by its needs alone, and says so. No
//! [`Writer`](requorum_steps::Writer) is made here, and without one nothing can be changed.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::future::join_all;
use requorum_steps::{Action, Builtin, Danger, Effect, Fault, FaultKind, Kind, Make, Probe, Seat, StepId, units};
use serde_json::{Map, Value, json};

use super::attempt::question;
use super::context::{self, Context, Entry};
use super::look;
use super::{builtin, clock};
use crate::plan::compiled::{CheckUse, Step};
use crate::plan::{template, uses};
use crate::report::phrase;
use crate::run::record::{Event, Finding, ItemId, Record};
use crate::run::rollback::ends_the_way_back;
use crate::run::state::{Phase, RunState};

/// What is foreseen of one item.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// The item.
    pub id: ItemId,
    /// The rendered title, or the template where it cannot be rendered yet.
    pub title: String,
    /// What it would do to a working cluster.
    pub danger: Danger,
    /// What a person would be asked before it starts.
    pub asks: Option<String>,
    /// What it would set aside.
    pub sets_aside: Option<String>,
    /// How long it can wait in all: its checks, and what it is there for if it is a wait; `None`: that is not known yet.
    pub waits: Option<Duration>,
    /// What would become of it.
    pub outlook: Outlook,
}

/// What would become of an item.
#[derive(Debug, Clone)]
pub enum Outlook {
    /// It would run.
    Runs {
        /// The command or call, secrets hidden.
        command: String,
        /// The steps before it that change what it would find, so that it was not looked at now; empty: it was.
        after: Vec<StepId>,
    },
    /// Its effect is there already.
    Satisfied {
        /// What was seen.
        evidence: String,
    },
    /// It is left out.
    Skipped {
        /// The expression that is false.
        because: String,
    },
    /// What it requires does not hold.
    Blocked {
        /// What was seen.
        findings: Vec<Finding>,
    },
    /// It would fail as things stand.
    Fails {
        /// Why.
        fault: Fault,
    },
    /// It cannot be known yet.
    Unknown {
        /// Why not.
        why: String,
    },
}

impl Outlook {
    /// Says whether something may change when the run comes here.
    fn may_act(&self) -> bool {
        match self {
            Self::Runs { .. } | Self::Unknown { .. } => true,
            Self::Satisfied { .. } | Self::Skipped { .. } | Self::Blocked { .. } | Self::Fails { .. } => false,
        }
    }
}

/// Foresees every item of the plan, in its order.
pub async fn foresee(context: &Context) -> Vec<Foreseen> {
    let mut walk = Walk { context, state: RunState::new(context.plan.clone()), changing: HashMap::new() };
    let mut all = Vec::new();
    for step in &context.plan.steps {
        all.extend(walk.step(step).await);
    }
    all
}

/// Where the walk stands.
struct Walk<'a> {
    context: &'a Context,
    /// What is known so far; the items that would run stay as they are.
    state: RunState,
    /// For each step the nearest steps, itself or before it, that may change something.
    changing: HashMap<StepId, BTreeSet<StepId>>,
}

impl Walk<'_> {
    async fn step(&mut self, step: &Step) -> Vec<Foreseen> {
        let after: BTreeSet<StepId> =
            step.needs.iter().filter_map(|need| self.changing.get(need)).flatten().cloned().collect();
        let ids: Vec<ItemId> = self.state.items_of(&step.id).map(|(id, _)| id).collect();
        let entries: Vec<Entry> = ids.iter().filter_map(|id| Entry::of(self.context, &self.state, id)).collect();
        let looks: Vec<Look<'_>> = entries
            .iter()
            .map(|entry| Look { context: self.context, state: &self.state, entry, after: &after })
            .collect();
        let foreseen = join_all(looks.iter().map(Look::foresee)).await;
        let mut seen = Vec::new();
        let mut events = Vec::new();
        for (foreseen, known) in foreseen {
            events.extend(known);
            seen.push(foreseen);
        }
        self.apply(events);
        let acts = step.effect > Effect::Pure && seen.iter().any(|item: &Foreseen| item.outlook.may_act());
        self.changing.insert(step.id.clone(), if acts { BTreeSet::from([step.id.clone()]) } else { after });
        seen
    }

    /// Takes what is known for sure into the state, for the templates of later steps.
    fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            let record = Record { seq: self.state.last_seq() + 1, at: clock::now(), epoch: 0, event };
            if let Err(error) = self.state.apply(&record) {
                // What cannot be applied is not known to later steps, and they say so.
                tracing::debug!(%error, "a foreseen event does not fit");
                return;
            }
        }
    }
}

/// A look at one item.
struct Look<'a> {
    context: &'a Context,
    state: &'a RunState,
    entry: &'a Entry,
    after: &'a BTreeSet<StepId>,
}

impl Look<'_> {
    /// Returns what is foreseen, and the events that tell later steps what is known of it.
    async fn foresee(&self) -> (Foreseen, Vec<Event>) {
        let step = &self.entry.step;
        let asks = question(self.entry).map(|asked| asked.unwrap_or_else(|error| error.to_string()));
        let title = template::render_text(&step.title, &self.entry.scope).unwrap_or_else(|_| step.title.clone());
        let (outlook, events, sets_aside) = self.outlook().await;
        let asks = if outlook.may_act() { asks } else { None };
        let waits = match outlook {
            Outlook::Skipped { .. } => Some(Duration::ZERO),
            _ => self.waits(),
        };
        let id = self.entry.id.clone();
        (Foreseen { id, title, danger: step.danger, asks, sets_aside, waits, outlook }, events)
    }

    /// How long it can wait. Checks wait side by side, so the longest counts. An attempt's `timeout` is a bound, no wait.
    fn waits(&self) -> Option<Duration> {
        let step = &self.entry.step;
        let longest = |checks: &[CheckUse]| checks.iter().filter_map(|check| check.within).max().unwrap_or_default();
        let (args, scope) = (&step.args, &self.entry.scope);
        let kind = context::kind(&step.kind).ok()?;
        let own = match kind.make {
            Make::Builtin(Builtin::WaitFor) => {
                let args = self.context.render_args(kind, args, scope).ok()?;
                units::duration(&builtin::duration_of(&args)).ok()?
            }
            Make::Builtin(Builtin::WaitUntil) => longest(&builtin::awaited(self.context, kind, args, scope).ok()?),
            Make::Builtin(_) | Make::Action(_) | Make::Check(_) => Duration::ZERO,
        };
        Some(longest(&step.require).saturating_add(longest(&step.verify)).saturating_add(own))
    }

    async fn outlook(&self) -> (Outlook, Vec<Event>, Option<String>) {
        if let Some(outlook) = self.skipped() {
            let events = match &outlook {
                Outlook::Skipped { because } if self.is_ready() => {
                    vec![Event::Skipped { id: self.entry.id.clone(), because: because.clone() }]
                }
                _ => Vec::new(),
            };
            return (outlook, events, None);
        }
        if self.after.is_empty()
            && let Some(outlook) = self.blocked().await
        {
            return (outlook, Vec::new(), None);
        }
        match context::kind(&self.entry.step.kind) {
            Ok(kind) => match kind.make {
                Make::Builtin(builtin) => {
                    let (outlook, events) = self.builtin(builtin, kind);
                    (outlook, events, None)
                }
                Make::Action(_) => self.action(kind).await,
                Make::Check(_) => (fails(Fault::refused(format!("`{}` is a check", kind.name))), Vec::new(), None),
            },
            Err(fault) => (fails(fault), Vec::new(), None),
        }
    }

    /// Says whether the state lets it start, so that what is known of it can be applied.
    fn is_ready(&self) -> bool {
        matches!(self.entry.item.phase, Phase::Ready)
    }

    fn skipped(&self) -> Option<Outlook> {
        let because = self.entry.step.when.clone()?;
        if let Some(why) = self.unknown("the terms of `when`", uses::steps_in_expression(&because)) {
            return Some(why);
        }
        match template::holds(&because, &self.entry.scope) {
            Ok(true) => None,
            Ok(false) => Some(Outlook::Skipped { because }),
            Err(error) => Some(fails(context::bad_condition(&error))),
        }
    }

    /// Looks at what the item requires.
    async fn blocked(&self) -> Option<Outlook> {
        let require = &self.entry.step.require;
        let used = require.iter().flat_map(|check| uses::steps_in(&check.args));
        if let Some(why) = self.unknown("the checks of `require`", used) {
            return Some(why);
        }
        let findings: Vec<(&CheckUse, Vec<Finding>)> = join_all(
            require
                .iter()
                .map(|check| async move { (check, look::look(self.context, check, &self.entry.spot()).await) }),
        )
        .await;
        let failing = |check: &CheckUse, findings: &[Finding]| {
            findings.iter().find(|finding| !finding.holds).map(|finding| (check.within, phrase::finding_line(finding)))
        };
        let waits = findings.iter().filter_map(|(check, seen)| failing(check, seen));
        if let Some((Some(within), line)) = waits.clone().find(|(within, _)| within.is_some()) {
            let why = format!("it would wait up to {} for what does not hold now: {line}", phrase::span(within));
            return Some(Outlook::Unknown { why });
        }
        let any = waits.count() > 0;
        any.then(|| Outlook::Blocked { findings: findings.into_iter().flat_map(|(_, seen)| seen).collect() })
    }

    fn builtin(&self, builtin: Builtin, kind: &Kind) -> (Outlook, Vec<Event>) {
        let args = &self.entry.step.args;
        let command = match builtin {
            Builtin::Gate => "asks a person".to_owned(),
            Builtin::WaitFor => match self.rendered(kind) {
                Ok(args) => format!("waits {}", builtin::duration_of(&args)),
                Err(outlook) => return (outlook, Vec::new()),
            },
            Builtin::WaitUntil => match builtin::awaited(self.context, kind, args, &self.entry.scope) {
                Ok(checks) => format!("waits until {}", builtin::names(&checks)),
                Err(fault) => {
                    let outlook = self.unknown("its deadline", uses::steps_in(args));
                    return (outlook.unwrap_or_else(|| fails(fault)), Vec::new());
                }
            },
            Builtin::Set => {
                return match self.rendered(kind) {
                    Ok(values) => self.computed(&values),
                    Err(outlook) => (outlook, Vec::new()),
                };
            }
            Builtin::Assert => return self.assert(args),
        };
        (self.runs(command), Vec::new())
    }

    fn assert(&self, args: &Value) -> (Outlook, Vec<Event>) {
        let expression = args.get("expr").and_then(Value::as_str).unwrap_or_default();
        if let Some(why) = self.unknown("the terms of `expr`", uses::steps_in_expression(expression)) {
            return (why, Vec::new());
        }
        match template::holds(expression, &self.entry.scope) {
            Ok(true) => self.computed(&json!({ "holds": true })),
            Ok(false) => {
                let fault = Fault::refused(format!("`{expression}` is false"));
                (fails(fault), Vec::new())
            }
            Err(error) => (fails(context::bad_condition(&error)), Vec::new()),
        }
    }

    /// What the engine only computes is known as soon as its arguments are.
    fn computed(&self, result: &Value) -> (Outlook, Vec<Event>) {
        let id = self.entry.id.clone();
        let acted = Event::Acted { id: id.clone(), attempt: 0, result: result.clone() };
        let events = match self.outputs(result) {
            Some(outputs) if self.is_ready() => vec![acted, Event::Succeeded { id, outputs }],
            Some(_) | None => Vec::new(),
        };
        (self.runs("computes its values".to_owned()), events)
    }

    async fn action(&self, kind: &Kind) -> (Outlook, Vec<Event>, Option<String>) {
        let args = match self.rendered(kind) {
            Ok(args) => args,
            Err(outlook) => return (outlook, Vec::new(), None),
        };
        let action = match self.context.action(kind, &args) {
            Ok(action) => action,
            Err(fault) => return (fails(fault), Vec::new(), None),
        };
        if kind.seat == Seat::Host && self.entry.host().is_none() {
            let fault = Fault::refused(format!("`{}` works on a host, and `on` names none for this item", kind.name));
            return (fails(fault), Vec::new(), None);
        }
        if self.after.is_empty()
            && let Some((outlook, events)) = self.looked(action.as_ref()).await
        {
            return (outlook, events, None);
        }
        let preview = action.preview(&self.context.world.reader(self.entry.host()));
        (self.runs(preview.command), Vec::new(), preview.sets_aside)
    }

    /// Looks whether the effect is there already, and whether the action can see what it needs. `None`: it would run.
    async fn looked(&self, action: &dyn Action) -> Option<(Outlook, Vec<Event>)> {
        let reader = self.context.world.reader(self.entry.host());
        if self.entry.step.effect == Effect::Probed {
            match look::probe(self.context, self.entry, action, &Value::Null).await {
                Ok(Probe::Yes { result, evidence }) => return Some(self.satisfied(&result, evidence)),
                Ok(Probe::No { .. } | Probe::Partly { .. } | Probe::Unknown { .. }) => {}
                Err(fault) => return Some((unseen(fault), Vec::new())),
            }
        }
        action.before(&reader).await.err().map(|fault| (unseen(fault), Vec::new()))
    }

    fn satisfied(&self, result: &Value, evidence: String) -> (Outlook, Vec<Event>) {
        let id = self.entry.id.clone();
        let found = Event::Satisfied { id: id.clone(), result: result.clone(), evidence: evidence.clone() };
        let events = match self.outputs(result) {
            Some(outputs) if self.is_ready() => vec![found, Event::Succeeded { id, outputs }],
            Some(_) | None => Vec::new(),
        };
        (Outlook::Satisfied { evidence }, events)
    }

    fn outputs(&self, result: &Value) -> Option<Map<String, Value>> {
        let scope = self.entry.scope.clone().result(result);
        let outputs = self.entry.step.outputs.iter();
        outputs.map(|(name, template)| Some((name.clone(), template::render(template, &scope).ok()?))).collect()
    }

    fn rendered(&self, kind: &Kind) -> Result<Value, Outlook> {
        let args = &self.entry.step.args;
        if let Some(why) = self.unknown("its arguments", uses::steps_in(args)) {
            return Err(why);
        }
        self.context.render_args(kind, args, &self.entry.scope).map_err(fails)
    }

    fn runs(&self, command: String) -> Outlook {
        Outlook::Runs { command, after: self.after.iter().cloned().collect() }
    }

    /// Says that something uses what steps give that have not run.
    fn unknown(&self, what: &str, used: impl IntoIterator<Item = String>) -> Option<Outlook> {
        let used = used.into_iter().map(|id| self.context.plan.id_from(self.entry.step.part.as_deref(), &id));
        let open = |name: &String| {
            StepId::new(name.as_str()).is_ok_and(|id| self.state.step(&id).is_some() && !self.state.is_step_done(&id))
        };
        let mut open: Vec<String> = used.filter(open).collect();
        open.sort();
        open.dedup();
        let names = open.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        (!open.is_empty())
            .then(|| Outlook::Unknown { why: format!("what {names} will give is not known yet, and {what} use it") })
    }
}

fn fails(fault: Fault) -> Outlook {
    Outlook::Fails { fault }
}

/// What a fault of a look means: a host that cannot be reached is unknown, not failed.
fn unseen(fault: Fault) -> Outlook {
    match fault.kind {
        FaultKind::Unreachable | FaultKind::TimedOut => Outlook::Unknown { why: phrase::fault_line(&fault) },
        FaultKind::Refused | FaultKind::Failed | FaultKind::InDoubt | FaultKind::Fenced => fails(fault),
    }
}

/// Returns the first step that would run and after which there is no rollback.
#[must_use]
pub fn point_of_no_return<'a>(context: &'a Context, foreseen: &[Foreseen]) -> Option<&'a Step> {
    let acts = |step: &Step| foreseen.iter().any(|item| item.id.step == step.id && item.outlook.may_act());
    context.plan.steps.iter().find(|step| ends_the_way_back(step) && acts(step))
}
