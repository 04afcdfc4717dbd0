//! What the templates of a compiled step name: other steps, inputs, vars.

use std::collections::BTreeSet;

use requorum_steps::{Type, catalog};
use serde_json::Value;

use super::compiled::{CheckUse, Step};
use super::template::{each_text, paths_of_expression, paths_of_text};

/// Returns the ids of the steps whose outputs or results the templates of a step use.
#[must_use]
pub fn steps_read_by(step: &Step) -> BTreeSet<String> {
    steps_of(&names_in(step))
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

/// Says whether the templates of a step use a value: `inputs.NAME`, `vars.NAME` or `site.secrets.NAME`.
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
