//! What templates may name, and what is known of it while a plan is compiled.
//!
//! Every text goes through two passes. *Prepare* compiles it, checks each name that it uses, and puts a hole in place of
//! what only the run can know. *Fill* renders the rest, once for each item.

mod at;
mod look;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, hash_map};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::diagnostic::{Place, Problems, Span};
use super::document::{Outline, StepDecl};
use super::expand::{Part, Whole};
use super::paths::Start;
use super::site::ReadSite;
use super::template::{BadTemplate, Hole, Scope, bare_path, hole_in, paths_of_expression, paths_of_text, render};
use super::yaml::{Entry, Node, Tree};
pub(super) use at::{At, Here, Subjects};
use look::secret_shown;

/// A value that went through the first pass.
#[derive(Debug)]
pub(super) struct Prepared {
    pub value: Value,
    /// Whether it depends on the item.
    pub per_item: bool,
}

/// A step that uses another, which has to be its ancestor.
#[derive(Debug)]
pub(super) struct Use {
    pub step: usize,
    pub other: usize,
    span: Span,
    /// The text that it uses it in, and the path.
    text: Rc<str>,
    is_bare: bool,
    path: Box<str>,
    /// Whether the text has a way out where the other step was skipped.
    pub guarded: bool,
}

impl Use {
    /// Where it stands in the text. To look for it takes a while, so it is done only for what is reported.
    pub fn place(&self, problems: &Problems) -> Place {
        let at = if self.is_bare { At::expression(self.span, &self.text) } else { At::text(self.span, &self.text) };
        at.name(&self.path, 1, problems)
    }
}

/// All names of a plan. One of its parts is entered at a time: what follows is about the names that are seen from there.
#[derive(Debug)]
pub(super) struct Names<'a> {
    whole: &'a Whole<'a>,
    /// What is known of the parts, as far as they were added.
    own: Vec<Own>,
    /// The part that is entered.
    at: usize,
    site: Option<&'a ReadSite>,
    /// What all parts see.
    common: Scope,
    steps: Vec<Outline<'a>>,
    by_id: HashMap<Rc<str>, usize>,
    /// Further steps with an id that is taken, in their order. That is reported, and a part means its own by it.
    clashing: HashMap<Rc<str>, Vec<usize>>,
    /// The inputs of the plan itself that are used.
    pub used_inputs: BTreeSet<String>,
    /// The vars of the plan itself that are used.
    pub used_vars: BTreeSet<String>,
    pub used_secrets: BTreeSet<String>,
    pub uses: Vec<Use>,
}

/// What is known of a part and of no other.
#[derive(Debug)]
struct Own {
    values: Map<String, Value>,
    vars: Map<String, Value>,
    scope: Scope,
}

impl<'a> Names<'a> {
    /// Knows the site and the steps; parts are added with [`Names::add_part`].
    pub fn new(whole: &'a Whole<'a>, steps: &[Box<StepDecl<'a>>], site: Option<&'a ReadSite>) -> Self {
        let steps: Vec<Outline<'_>> = steps.iter().map(|step| Outline::of(step)).collect();
        let mut by_id = HashMap::with_capacity(steps.len());
        let mut clashing: HashMap<Rc<str>, Vec<usize>> = HashMap::new();
        for (index, step) in steps.iter().enumerate().filter(|(_, step)| !step.id.is_empty()) {
            match by_id.entry(Rc::clone(&step.id)) {
                hash_map::Entry::Vacant(free) => drop(free.insert(index)),
                hash_map::Entry::Occupied(taken) => clashing.entry(taken.key().clone()).or_default().push(index),
            }
        }
        Self {
            whole,
            own: Vec::with_capacity(whole.parts.len()),
            at: 0,
            site,
            common: site.map_or_else(Scope::default, |site| Scope::default().site(&site.value)),
            steps,
            by_id,
            clashing,
            used_inputs: BTreeSet::new(),
            used_vars: BTreeSet::new(),
            used_secrets: BTreeSet::new(),
            uses: Vec::new(),
        }
    }

    /// Adds the next part with the values of its inputs and where its paths start, and enters it; its vars are added with [`Names::add_var`].
    pub fn add_part(&mut self, values: Map<String, Value>, start: Start) {
        self.at = self.own.len();
        let scope = self.common.clone().starting(start).inputs(&values).growing_vars();
        self.own.push(Own { values, vars: Map::new(), scope });
    }

    /// Enters a part that was added.
    pub fn enter(&mut self, part: usize) {
        self.at = part;
    }

    /// Returns the part that is entered.
    pub fn part(&self) -> &'a Part<'a> {
        &self.whole.parts[self.at]
    }

    fn own(&self) -> &Own {
        &self.own[self.at]
    }

    /// Returns the index of a step that the part calls by an id: one of its own, or of what it includes.
    pub fn step(&self, id: &str) -> Option<usize> {
        let prefix = self.part().prefix.as_str();
        let id = if prefix.is_empty() { Cow::Borrowed(id) } else { format!("{prefix}{id}").into() };
        let first = self.by_id.get(id.as_ref()).copied().filter(|index| self.is_inside(*index));
        first.or_else(|| {
            let others = self.clashing.get(id.as_ref())?;
            let begin = others.partition_point(|index| *index < self.part().steps.start);
            others.get(begin).copied().filter(|index| self.is_inside(*index))
        })
    }

    /// Returns what others may know of the steps.
    pub fn steps(&self) -> &[Outline<'a>] {
        &self.steps
    }

    /// Says whether the part would know a step if there were not what is reported: an include that cannot be opened.
    pub fn is_missing(&self, id: &str) -> bool {
        self.whole.is_missing(&format!("{}{id}", self.part().prefix))
    }

    /// Says whether a step is of the part that is entered, or of what that includes.
    fn is_inside(&self, step: usize) -> bool {
        self.at == 0 || self.part().steps.contains(&step)
    }

    /// Returns what the part calls a step of its own, or of what it includes.
    pub fn id(&self, step: usize) -> &str {
        let id = &*self.steps[step].id;
        id.strip_prefix(self.part().prefix.as_str()).unwrap_or(id)
    }

    /// Returns the ids of the steps that are seen from the part.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let seen = (0..self.steps.len()).filter(|step| !self.steps[*step].id.is_empty() && self.is_inside(*step));
        seen.map(|step| self.id(step))
    }

    /// Returns what templates see before an item is known.
    pub fn scope(&self) -> &Scope {
        &self.own().scope
    }

    /// Returns the inputs and the vars of each part, for the compiled plan.
    pub fn into_values(self) -> impl Iterator<Item = (Map<String, Value>, Map<String, Value>)> {
        self.own.into_iter().map(|own| (own.values, own.vars))
    }

    /// Renders a value that is known before the run.
    pub fn value(&mut self, node: &Node, problems: &mut Problems) -> Value {
        let prepared = self.prepare(node, Here::BEFORE, problems);
        fill(&prepared.value, node, self.scope(), problems)
    }

    /// Renders a var and lets what follows see it.
    pub fn add_var(&mut self, entry: &Entry, problems: &mut Problems) {
        let value = self.value(&entry.node, problems);
        let own = &mut self.own[self.at];
        own.scope.add_var(&entry.key, &value);
        own.vars.insert(entry.key.to_string(), value);
    }

    /// Checks every text inside a value, and puts holes where only the run can know.
    pub fn prepare(&mut self, node: &Node, here: Here, problems: &mut Problems) -> Prepared {
        let mut per_item = false;
        let value = self.prepare_node(node, here, &mut per_item, problems);
        Prepared { value, per_item }
    }

    fn prepare_node(&mut self, node: &Node, here: Here, per_item: &mut bool, problems: &mut Problems) -> Value {
        match &node.value {
            Tree::Text(text) => {
                let (value, depends) = self.prepare_text(text, node.span, here, problems);
                *per_item |= depends;
                value
            }
            Tree::List(items) => items.iter().map(|item| self.prepare_node(item, here, per_item, problems)).collect(),
            Tree::Map(entries) => {
                let map = entries
                    .iter()
                    .map(|entry| (entry.key.to_string(), self.prepare_node(&entry.node, here, per_item, problems)));
                Value::Object(map.collect())
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) => node.to_json(),
        }
    }

    /// Checks a text. Returns it, or a hole, and whether it depends on the item.
    pub fn prepare_text(&mut self, text: &str, span: Span, here: Here, problems: &mut Problems) -> (Value, bool) {
        let before = problems.count();
        let at = At::text(span, text);
        let paths = match paths_of_text(text) {
            Ok(paths) => paths,
            Err(error) => {
                malformed(&error, at, problems);
                return (Hole::Any.value(), false);
            }
        };
        if paths.is_empty() {
            return (Value::String(text.to_owned()), false);
        }
        let sight = self.look(&paths, here, at, problems);
        self.check_secrets(&sight.secrets, here, at, problems);
        if problems.count() > before {
            return (Hole::Any.value(), false);
        }
        if !sight.hole {
            return (Value::String(text.to_owned()), sight.per_item);
        }
        let bare = bare_path(text);
        let hole = match bare.as_deref() {
            Some(path) => self.hole_at(path).unwrap_or(Hole::Any),
            None if text.trim().starts_with("{{") && text.trim().ends_with("}}") => Hole::Any,
            None => Hole::Text,
        };
        let Value::String(hole) = hole.value() else { return (Value::Null, false) };
        let secrets: String = sight.secrets.keys().map(|name| super::template::placeholder(name)).collect();
        (Value::String(secrets + &hole), false)
    }

    /// Checks a bare expression, which is a condition.
    pub fn prepare_expression(&mut self, text: &str, span: Span, here: Here, problems: &mut Problems) -> Option<Known> {
        let before = problems.count();
        let at = At::expression(span, text);
        let paths = paths_of_expression(text).map_err(|error| malformed(&error, at, problems)).ok()?;
        let sight = self.look(&paths, here, at, problems);
        if let Some((name, path)) = sight.secrets.first_key_value() {
            secret_shown(name, here.shown_in.unwrap_or("an expression"), at.path(path, problems), problems);
        }
        (problems.count() == before).then_some(Known { known: !sight.hole, per_item: sight.per_item })
    }
}

/// What is known of a bare expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub known: bool,
    pub per_item: bool,
}

/// Renders what was prepared, text by text, so that a problem has its place. What cannot be rendered becomes a hole.
pub(super) fn fill(prepared: &Value, node: &Node, scope: &Scope, problems: &mut Problems) -> Value {
    match (prepared, &node.value) {
        (Value::String(text), _) if text.contains('{') && !hole_in(prepared) => match render(prepared, scope) {
            Ok(value) => value,
            Err(error) => {
                // What is prepared is what is written, else it would have a hole.
                malformed(&error, At::text(node.span, text), problems);
                Hole::Any.value()
            }
        },
        (Value::Array(items), Tree::List(nodes)) => {
            items.iter().zip(nodes).map(|(item, node)| fill(item, node, scope, problems)).collect()
        }
        (Value::Object(map), Tree::Map(entries)) => {
            // What was prepared has the keys of the node, in their order.
            let filled = map.iter().zip(entries).map(|((key, item), entry)| {
                debug_assert!(entry.key == key.as_str());
                (key.clone(), fill(item, &entry.node, scope, problems))
            });
            Value::Object(filled.collect())
        }
        (_, _) => prepared.clone(),
    }
}

/// Reports a template or expression that cannot be used.
pub(super) fn malformed(error: &BadTemplate, at: At<'_>, problems: &mut Problems) {
    let found = problems.error(at.part(error.at.clone()), error.code(), error.message.clone());
    if let Some(cause) = &error.cause {
        found.cause(cause);
    }
    if let Some(help) = &error.help {
        found.help(help);
    }
}
