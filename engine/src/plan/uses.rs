//! What the templates of a compiled step name: other steps, inputs, vars.

use std::collections::BTreeSet;

use requorum_steps::{StepId, Type, catalog};
use serde_json::Value;

use super::compiled::{CheckUse, Plan, Step};
use super::template::{each_text, paths_of_expression, paths_of_text, placeholders_in};

/// Returns the ids of the steps whose outputs or results the templates of a step use, as they are written there: those of an
/// included plan are without its prefix.
#[must_use]
pub fn steps_read_by(step: &Step) -> BTreeSet<String> {
    steps_of(&names_in(step))
}

/// Says whether the templates of a step use the outputs or the result of another.
#[must_use]
pub fn reads_step(plan: &Plan, step: &Step, other: &StepId) -> bool {
    steps_read_by(step).iter().any(|id| plan.id_from(step.part.as_deref(), id) == other.as_str())
}

/// Returns the ids of the steps whose outputs or results the texts of a value use.
#[must_use]
pub fn steps_in(value: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    each_text(value, &mut |text| names.extend(paths_of_text(text).unwrap_or_default()));
    steps_of(&names)
}

/// Returns the ids of the steps whose outputs or results a bare expression uses.
#[must_use]
pub fn steps_in_expression(expression: &str) -> BTreeSet<String> {
    steps_of(&paths_of_expression(expression).unwrap_or_default().into_iter().collect())
}

fn steps_of(names: &BTreeSet<String>) -> BTreeSet<String> {
    let step = |path: &String| Some(path.strip_prefix("steps.")?.split('.').next()?.replace('_', "-"));
    names.iter().filter_map(step).collect()
}

/// Says whether the templates of a step use a secret, by its own name or by that of a value which holds it.
#[must_use]
pub fn reads_secret(plan: &Plan, step: &Step, secret: &str) -> bool {
    let included = step.part.as_ref().and_then(|part| plan.included.get(part));
    let (inputs, vars) = included.map_or((&plan.inputs, &plan.vars), |own| (&own.inputs, &own.vars));
    let holds = |value: &Value| placeholders_in(value).iter().any(|name| name == secret);
    let holds_secret = |path: &String| {
        let (root, rest) = path.split_once('.').unwrap_or((path, ""));
        let values = match root {
            "inputs" => inputs,
            "vars" => vars,
            _ => return false,
        };
        match values.get(rest.split('.').next().unwrap_or_default()) {
            Some(value) => holds(value_at(value, rest)),
            None => values.values().any(holds),
        }
    };
    // An input of that name is another one in an included plan.
    (included.is_none() || secret.starts_with("site.")) && reads(step, secret)
        || names_in(step).iter().any(holds_secret)
}

/// Returns what is at the end of a path, or at the last of it that exists. The first name on it is that of the value.
fn value_at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').skip(1).try_fold(value, |value, key| value.get(key).ok_or(value)).unwrap_or_else(|last| last)
}

/// Says whether the templates of a step use a value: `inputs.NAME`, `vars.NAME` or `site.secrets.NAME`, by the names that are
/// known in its part of the plan.
#[must_use]
pub fn reads(step: &Step, value: &str) -> bool {
    let is_or_holds =
        |path: &str, inner: &str| inner.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    names_in(step).iter().any(|path| is_or_holds(path, value) || is_or_holds(value, path))
}

/// Returns the names that the templates of a step use, with the attributes after them.
fn names_in(step: &Step) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let expressions = catalog::find(&step.kind).into_iter().flat_map(|kind| kind.args);
    let expressions = expressions.filter(|arg| arg.ty == Type::Expression);
    let expressions = expressions.filter_map(|arg| step.args.get(arg.name)?.as_str());
    for expression in expressions.chain(step.when.as_deref()) {
        names.extend(paths_of_expression(expression).unwrap_or_default());
    }
    // A template that is malformed was refused when the plan was compiled.
    let mut add = |text: &str| names.extend(paths_of_text(text).unwrap_or_default());
    add(&step.title);
    if let Some(text) = &step.confirm {
        add(text);
    }
    for CheckUse { args, message, .. } in step.require.iter().chain(&step.verify).chain(step.probe.as_deref()) {
        each_text(args, &mut add);
        if let Some(text) = message {
            add(text);
        }
    }
    let undo = step.undo.as_deref().map(|(_, args)| args);
    for value in step.outputs.values().chain(undo).chain([&step.args]) {
        each_text(value, &mut add);
    }
    names
}
