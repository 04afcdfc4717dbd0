//! What differs between two compiled plans, or two sites: for a person, and for deciding whether a run may go on with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use requorum_steps::StepId;
use serde_json::{Map, Value, json};

use super::compiled::{Plan, Step};
use super::digest::without_places;

/// How much of a value is shown.
const SHOWN: usize = 72;
/// How much of what two texts have in common is shown before they differ.
const COMMON: usize = 16;

/// One value that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The way to it, for example `args`, `run`.
    pub path: Vec<String>,
    /// What it was; `None`: it was not there.
    pub from: Option<Value>,
    /// What it is now; `None`: it is gone.
    pub to: Option<Value>,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An input is one value, and has no way inside.
        let path = if self.path.is_empty() { String::new() } else { self.path.join(".") + ": " };
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => {
                let (from, to) = (from.to_string(), to.to_string());
                let from_here = first_difference(&from, &to);
                write!(f, "{path}{} -> {}", shown(&from, from_here), shown(&to, from_here))
            }
            (None, Some(to)) => write!(f, "{path}+ {}", shown(&to.to_string(), 0)),
            (Some(from), None) => write!(f, "{path}- {}", shown(&from.to_string(), 0)),
            (None, None) => write!(f, "{path}no difference"),
        }
    }
}

/// Returns the place from which two long texts are worth showing.
fn first_difference(one: &str, other: &str) -> usize {
    if one.chars().count().max(other.chars().count()) <= SHOWN {
        return 0;
    }
    let common = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    common.saturating_sub(COMMON)
}

fn shown(text: &str, from: usize) -> String {
    let length = text.chars().count();
    let part: String = text.chars().skip(from).take(SHOWN).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if from + SHOWN < length { "…" } else { "" };
    format!("{before}{part}{after}")
}

/// What a difference is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The plan as a whole: its name, title, description, platforms, whether it reverts.
    Plan,
    /// An input.
    Input(String),
    /// A var.
    Var(String),
    /// An input of an included plan.
    InputOf {
        /// The included plan, as [`Plan::included`] names it.
        included: String,
        /// The input.
        name: String,
    },
    /// A var of an included plan.
    VarOf {
        /// The included plan, as [`Plan::included`] names it.
        included: String,
        /// The var.
        name: String,
    },
    /// Where a secret comes from.
    Secret(String),
    /// The checks before anything changes.
    Preflight,
    /// A step.
    Step(StepId),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan => write!(f, "plan"),
            Self::Input(name) => write!(f, "input {name}"),
            Self::Var(name) => write!(f, "var {name}"),
            Self::InputOf { included, name } => write!(f, "input {name} of {included}"),
            Self::VarOf { included, name } => write!(f, "var {name} of {included}"),
            Self::Secret(name) => write!(f, "secret {name}"),
            Self::Preflight => write!(f, "preflight"),
            Self::Step(id) => write!(f, "step {id}"),
        }
    }
}

/// How something differs.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It was not there.
    Added {
        /// In short, what it is.
        what: String,
    },
    /// It is gone.
    Removed,
    /// These values of it differ.
    Changed(Vec<Field>),
}

/// One difference between two plans. It displays as a line, and one more for each value that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What it is about.
    pub part: Part,
    /// How it differs.
    pub change: Change,
}

impl Difference {
    /// Puts it into one line, for the journal.
    #[must_use]
    pub fn in_short(&self) -> String {
        self.to_string().replacen("\n    ", ": ", 1).replace("\n    ", ", ")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            Change::Added { what } => write!(f, "+ {}{}{what}", self.part, if what.is_empty() { "" } else { ": " }),
            Change::Removed => write!(f, "- {}", self.part),
            Change::Changed(fields) => {
                write!(f, "~ {}", self.part)?;
                fields.iter().try_for_each(|field| write!(f, "\n    {field}"))
            }
        }
    }
}

/// Compares two plans. The order of needs and of steps that do not need each other makes no difference, nor do places.
#[must_use]
pub fn between(old: &Plan, new: &Plan) -> Vec<Difference> {
    let mut found = Vec::new();
    found.extend(changed(Part::Plan, &about(old), &about(new)));
    by_name(&old.inputs, &new.inputs, Part::Input, &mut found);
    by_name(&old.vars, &new.vars, Part::Var, &mut found);
    included(old, new, &mut found);
    by_name(&origins(old), &origins(new), Part::Secret, &mut found);
    let checks = |plan: &Plan| without_places(serde_json::to_value(&plan.preflight).unwrap_or_default());
    found.extend(changed(Part::Preflight, &checks(old), &checks(new)));
    let steps = |plan: &Plan| -> BTreeMap<StepId, Value> {
        plan.steps.iter().map(|step| (step.id.clone(), comparable(step))).collect()
    };
    let (before, after) = (steps(old), steps(new));
    for step in &old.steps {
        let part = Part::Step(step.id.clone());
        match (before.get(&step.id), after.get(&step.id)) {
            (Some(before), Some(after)) => found.extend(changed(part, before, after)),
            (_, None) => found.push(Difference { part, change: Change::Removed }),
            (None, Some(_)) => {}
        }
    }
    for step in new.steps.iter().filter(|step| !before.contains_key(&step.id)) {
        let title = if step.title.is_empty() { &step.kind } else { &step.title };
        let change = Change::Added { what: title.clone() };
        found.push(Difference { part: Part::Step(step.id.clone()), change });
    }
    found
}

/// Compares what included plans see. Where one is gone or new, so are its steps, which tells more.
fn included(old: &Plan, new: &Plan, found: &mut Vec<Difference>) {
    for (key, before) in &old.included {
        let Some(after) = new.included.get(key) else { continue };
        by_name(&before.inputs, &after.inputs, |name| Part::InputOf { included: key.clone(), name }, found);
        by_name(&before.vars, &after.vars, |name| Part::VarOf { included: key.clone(), name }, found);
    }
}

fn about(plan: &Plan) -> Value {
    json!({
        "name": plan.name, "title": plan.title, "description": plan.description, "platforms": plan.platforms,
        "reverts": plan.reverts,
    })
}

fn origins(plan: &Plan) -> Map<String, Value> {
    let origin = |source: &super::compiled::SecretSource| serde_json::to_value(&source.origin).unwrap_or_default();
    plan.secrets.iter().map(|source| (source.name.clone(), origin(source))).collect()
}

/// Returns a step as what counts of it: needs in order, items by their key, no places.
fn comparable(step: &Step) -> Value {
    let mut value = without_places(serde_json::to_value(step).unwrap_or_default());
    let mut needs: Vec<&StepId> = step.needs.iter().collect();
    needs.sort();
    let items = step.items.as_ref().map(|items| {
        let items = items.iter().map(|item| (item.key.to_string(), json!(item.subject)));
        items.collect::<Map<_, _>>()
    });
    value["needs"] = json!(needs);
    value["items"] = json!(items);
    value
}

fn by_name(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    part: impl Fn(String) -> Part,
    found: &mut Vec<Difference>,
) {
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let part = part(name.clone());
        let change = match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old == new => continue,
            (None, None) => continue,
            (None, Some(value)) => Change::Added { what: shown(&value.to_string(), 0) },
            (Some(_), None) => Change::Removed,
            (Some(old), Some(new)) => Change::Changed(fields(old, new)),
        };
        found.push(Difference { part, change });
    }
}

fn changed(part: Part, old: &Value, new: &Value) -> Option<Difference> {
    let fields = fields(old, new);
    (!fields.is_empty()).then_some(Difference { part, change: Change::Changed(fields) })
}

/// Returns every value inside two values that differs, by the way to it.
#[must_use]
pub fn fields(old: &Value, new: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    compare(old, new, &mut Vec::new(), &mut found);
    found
}

fn compare(old: &Value, new: &Value, path: &mut Vec<String>, found: &mut Vec<Field>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(before), Value::Object(after)) => {
            for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
                path.push(key.clone());
                match (before.get(key), after.get(key)) {
                    (Some(before), Some(after)) => compare(before, after, path, found),
                    (before, after) => {
                        found.push(Field { path: path.clone(), from: before.cloned(), to: after.cloned() });
                    }
                }
                path.pop();
            }
        }
        (Value::Array(before), Value::Array(after)) => compare_lists(before, after, path, found),
        (_, _) => found.push(Field { path: path.clone(), from: Some(old.clone()), to: Some(new.clone()) }),
    }
}

/// Lists of one length are compared element by element, unless their elements are single values; of others is told what came
/// and what went.
fn compare_lists(before: &[Value], after: &[Value], path: &mut Vec<String>, found: &mut Vec<Field>) {
    let holds_more = |list: &[Value]| list.iter().all(|value| value.is_object() || value.is_array());
    if before.len() == after.len() && holds_more(before) && holds_more(after) {
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            path.push(index.to_string());
            compare(before, after, path, found);
            path.pop();
        }
        return;
    }
    let only_in = |one: &[Value], other: &[Value]| -> Vec<Value> {
        let mut left = other.to_vec();
        let mut only = one.to_vec();
        only.retain(|value| match left.iter().position(|one| one == value) {
            Some(place) => {
                left.swap_remove(place);
                false
            }
            None => true,
        });
        only
    };
    let (gone, came) = (only_in(before, after), only_in(after, before));
    if gone.is_empty() && came.is_empty() {
        let whole = |list: &[Value]| Some(Value::Array(list.to_vec()));
        found.push(Field { path: path.clone(), from: whole(before), to: whole(after) });
    }
    found.extend(gone.into_iter().map(|value| Field { path: path.clone(), from: Some(value), to: None }));
    found.extend(came.into_iter().map(|value| Field { path: path.clone(), from: None, to: Some(value) }));
}
