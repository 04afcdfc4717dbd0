//! What every item at work shares: the plan, the world, the scope of templates, the secrets, the report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use requorum_steps::capsule::Holder;
use requorum_steps::redact::Given;
use requorum_steps::{Action, AttemptId, BadArgs, Check, Fault, HostName, Kind, Make, World, catalog};
use serde_json::Value;

use super::fence::Fence;
use super::look::Spot;
use super::secrets::{Secrets, given_in};
use super::veil::Veil;
use crate::plan::compiled::{CheckUse, Plan, Step, Subject};
use crate::plan::template::{self, BadTemplate, Scope};
use crate::plan::uses::steps_read_by;
use crate::plan::validate;
use crate::report::Report;
use crate::run::record::ItemId;
use crate::run::state::{Item, RunState};

/// What every item at work shares.
pub struct Context {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The site and the connections to it.
    pub world: World,
    /// Who holds the cluster.
    pub holder: Holder,
    /// Where that is written.
    pub fence: Fence,
    /// The values of secrets.
    pub secrets: Secrets,
    /// Told what happens.
    pub report: Arc<dyn Report>,
    /// What all templates see.
    pub base: Base,
    /// The hosts that were given up since the plan was compiled: nothing is done on them nor looked at.
    pub given_up: BTreeSet<HostName>,
    /// How long a host that cannot be reached is waited for, before what became of an attempt there is left open.
    pub patience: Duration,
    /// What the process is there for.
    pub errand: Errand,
}

/// What the templates of a run see, whatever item they are of: in the plan itself, and in each plan that it includes.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// In the plan itself.
    pub plan: Scope,
    /// In the included plans, by the names that the compiled plan gives them.
    pub included: BTreeMap<String, Scope>,
}

impl Base {
    /// Returns what is seen in a part of the plan. `None`: the plan itself.
    #[must_use]
    pub fn of(&self, part: Option<&str>) -> &Scope {
        part.and_then(|part| self.included.get(part)).unwrap_or(&self.plan)
    }
}

/// What a process does with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Carries it out.
    CarryOut,
    /// Finds out what became of the attempts in doubt, so that the run can be rolled back. Nothing begins, nothing is
    /// verified or tried again.
    Settle,
}

/// One item at work, as it stood when the work began.
pub struct Entry {
    /// Its name.
    pub id: ItemId,
    /// Its step.
    pub step: Step,
    /// What it is about.
    pub subject: Subject,
    /// What was known of it.
    pub item: Item,
    /// What its templates see.
    pub scope: Scope,
    /// The secrets that its action is given.
    pub given: Given,
}

impl Entry {
    /// Takes an item out of the state.
    #[must_use]
    pub fn of(context: &Context, state: &RunState, id: &ItemId) -> Option<Self> {
        let mut step = state.step(&id.step)?.clone();
        let planned = state.planned(id)?;
        let subject = planned.subject.clone();
        if let Some(args) = &planned.args {
            step.args.clone_from(args);
        }
        let item = state.item(id)?.clone();
        let steps: BTreeMap<String, Value> = steps_read_by(&step)
            .into_iter()
            .filter_map(|name| {
                let id = state.plan().id_from(step.part.as_deref(), &name);
                let needed = state.plan().steps.iter().find(|step| step.id.as_str() == id)?;
                Some((name, state.step_value(&needed.id)?))
            })
            .collect();
        let scope = context.base.of(step.part.as_deref()).clone().steps(&steps).subject(&subject);
        let mut given = given_in(&item.args);
        if let Ok(args) = template::render(&step.args, &scope) {
            given.extend(given_in(&args));
        }
        Some(Self { id: id.clone(), step, subject, item, scope, given })
    }

    /// Returns the host that the item is about.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        match &self.subject {
            Subject::Host(name) => Some(name),
            Subject::None | Subject::Value(_) => None,
        }
    }

    /// Says where its checks are looked at.
    #[must_use]
    pub fn spot(&self) -> Spot<'_> {
        Spot { id: Some(&self.id), host: self.host(), scope: &self.scope, given: &self.given }
    }
}

impl Context {
    /// Names an attempt at an item.
    #[must_use]
    pub fn attempt(&self, id: &ItemId, number: u32) -> AttemptId {
        AttemptId { run: self.holder.run.clone(), step: id.step.clone(), item: id.item.clone(), number }
    }

    /// Renders arguments and checks them once more against their kind. Their paths of this machine are absolute then.
    pub fn render_args(&self, kind: &Kind, args: &Value, scope: &Scope) -> Result<Value, Fault> {
        let mut rendered = template::render(args, scope).map_err(|error| bad_template(&error))?;
        validate::rendered(kind, &mut rendered, scope.start()).map_err(|bad| bad_args(kind, &bad))?;
        Ok(rendered)
    }

    /// Makes an action from rendered arguments. Secrets are put in here and nowhere else, and what it says has none of them.
    pub fn action(&self, kind: &Kind, args: &Value) -> Result<Box<dyn Action>, Fault> {
        let Make::Action(make) = kind.make else {
            return Err(Fault::refused(format!("`{}` is not an action", kind.name)));
        };
        let action = make(self.secrets.reveal_args(kind.name, args)?).map_err(|bad| bad_args(kind, &[bad]))?;
        Ok(Veil::new(&self.secrets, given_in(args)).over_action(action))
    }

    /// Makes a check from rendered arguments, for an item whose action is given some secrets.
    pub fn check(&self, kind: &Kind, args: &Value, given: &Given) -> Result<Box<dyn Check>, Fault> {
        let Make::Check(make) = kind.make else {
            return Err(Fault::refused(format!("`{}` is not a check", kind.name)));
        };
        let check = make(self.secrets.reveal_args(kind.name, args)?).map_err(|bad| bad_args(kind, &[bad]))?;
        Ok(Veil::new(&self.secrets, given_in(args).union(given).cloned().collect()).over_check(check))
    }
}

/// Returns the kind of a name; a compiled plan names only kinds that there were when it was compiled.
pub fn kind(name: &str) -> Result<&'static Kind, Fault> {
    catalog::find(name).ok_or_else(|| {
        Fault::refused(format!("this version of requorum has no kind `{name}`"))
            .hint("resume with the version that began the run; `requorum runs show` names it")
    })
}

/// Turns a template's error into a fault.
#[must_use]
pub fn bad_template(error: &BadTemplate) -> Fault {
    Fault::refused(format!("an argument could not be rendered: {error}"))
}

/// Turns the error of a condition into a fault.
#[must_use]
pub fn bad_condition(error: &BadTemplate) -> Fault {
    let fault = Fault::refused(format!("a condition could not be evaluated: {error}"));
    let fault = error.cause.iter().fold(fault, Fault::seen);
    error.help.iter().fold(fault, Fault::hint)
}

fn bad_args(kind: &Kind, bad: &[BadArgs]) -> Fault {
    let lines: Vec<String> = bad
        .iter()
        .map(|bad| bad.arg.as_ref().map_or_else(|| bad.message.clone(), |arg| format!("`{arg}`: {}", bad.message)))
        .collect();
    Fault::refused(format!("the rendered arguments of `{}` are not valid", kind.name)).seen(lines.join("\n"))
}

/// Renders the author's words for a check, or nothing where they cannot be rendered.
#[must_use]
pub fn message(check: &CheckUse, scope: &Scope) -> Option<String> {
    let text = check.message.as_ref()?;
    Some(template::render_text(text, scope).unwrap_or_else(|_| text.clone()))
}
