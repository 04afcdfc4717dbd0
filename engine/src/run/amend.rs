//! Whether a run may go on with another plan: what has begun must be as it was, and rest on what it rested on.

use std::collections::BTreeSet;
use std::fmt;

use requorum_steps::StepId;

use super::state::{Phase, RunState};
use crate::plan::compiled::{Plan, Step};
use crate::plan::difference::{Change, Difference, Part};
use crate::plan::uses;

/// Why a difference is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// What differs.
    pub part: Part,
    /// Why it may not.
    pub why: String,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.why)
    }
}

/// Returns why a run may not go on with another plan; nothing where it may.
#[must_use]
pub fn objections(state: &RunState, new: &Plan, differences: &[Difference]) -> Vec<Objection> {
    let mut found = Vec::new();
    for Difference { part, change } in differences {
        let why = match part {
            Part::Plan => about_the_plan(state.plan(), new),
            Part::Input(name) => used_by(state, |step| is_read(step, None, &format!("inputs.{name}"))),
            Part::Var(name) => used_by(state, |step| is_read(step, None, &format!("vars.{name}"))),
            Part::InputOf { included, name } => {
                used_by(state, |step| is_read(step, Some(included), &format!("inputs.{name}")))
            }
            Part::VarOf { included, name } => {
                used_by(state, |step| is_read(step, Some(included), &format!("vars.{name}")))
            }
            Part::Secret(name) => used_by(state, |step| uses::reads_secret(state.plan(), step, name)),
            // It was evaluated when the run began, and is not evaluated again.
            Part::Preflight => None,
            Part::Step(id) => about_a_step(state, id, change),
        };
        found.extend(why.map(|why| Objection { part: part.clone(), why }));
    }
    found.extend(under_what_ran(state, new, differences));
    found
}

fn about_the_plan(old: &Plan, new: &Plan) -> Option<String> {
    if old.name != new.name {
        return Some(format!("`{}` is another plan than `{}`, which the run carries out", new.name, old.name));
    }
    let becomes = new.reverts && !old.reverts;
    becomes.then(|| "a run that was not begun as one may not come to take the cluster back in time".to_owned())
}

/// Says whether a step reads a value of the plan itself, or of an included one.
fn is_read(step: &Step, part: Option<&String>, value: &str) -> bool {
    step.part.as_ref() == part && uses::reads(step, value)
}

fn used_by(state: &RunState, uses: impl Fn(&Step) -> bool) -> Option<String> {
    let users: Vec<String> = begun(state).filter(|step| uses(step)).map(|step| word(state, step)).collect();
    (!users.is_empty()).then(|| format!("it is used by what has begun: {}", users.join(", ")))
}

fn about_a_step(state: &RunState, id: &StepId, change: &Change) -> Option<String> {
    let step = begun(state).find(|step| step.id == *id)?;
    let word = word(state, step);
    match change {
        Change::Added { .. } => None,
        Change::Removed => Some(format!("it has begun and cannot be taken out: {word}")),
        Change::Changed(_) => Some(format!("it has begun and cannot be changed: {word}")),
    }
}

/// Steps that are new or changed, and that something needs which has run.
fn under_what_ran(state: &RunState, new: &Plan, differences: &[Difference]) -> Vec<Objection> {
    let step = |id: &StepId| new.steps.iter().find(|step| step.id == *id);
    let mut under: BTreeSet<&StepId> = BTreeSet::new();
    let mut open: Vec<&StepId> = begun(state).filter(|one| has_run(state, one)).map(|step| &step.id).collect();
    while let Some(id) = open.pop() {
        open.extend(step(id).into_iter().flat_map(|step| &step.needs).filter(|need| under.insert(need)));
    }
    let differing = differences.iter().filter(|difference| match &difference.part {
        Part::Step(id) => under.contains(id) && !begun(state).any(|step| step.id == *id),
        Part::Plan
        | Part::Input(_)
        | Part::Var(_)
        | Part::InputOf { .. }
        | Part::VarOf { .. }
        | Part::Secret(_)
        | Part::Preflight => false,
    });
    let why = "a step that has run would rest on it";
    differing.map(|difference| Objection { part: difference.part.clone(), why: why.to_owned() }).collect()
}

/// Returns the steps of which an item has begun.
fn begun(state: &RunState) -> impl Iterator<Item = &Step> {
    state.plan().steps.iter().filter(|step| state.items_of(&step.id).any(|(_, item)| item.has_begun()))
}

/// Says whether any item of a step has run, and was not just left out.
fn has_run(state: &RunState, step: &Step) -> bool {
    let left_out = |phase: &Phase| matches!(phase, Phase::Forced { .. });
    state.items_of(&step.id).any(|(_, item)| item.has_begun() && !(left_out(&item.phase) && item.attempt == 0))
}

/// Returns a step with how the items stand that have begun.
fn word(state: &RunState, step: &Step) -> String {
    let begun = state.items_of(&step.id).filter(|(_, item)| item.has_begun());
    begun.map(|(id, item)| format!("{id} ({})", item.phase.word())).collect::<Vec<_>>().join(", ")
}
