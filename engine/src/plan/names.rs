//! What templates may name, and what is known of it while a plan is compiled.
//!
//! Every text goes through two passes. *Prepare* compiles it, checks each name that it uses, and puts a hole in place of
//! what only the run can know. *Fill* renders the rest, once for each item.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map};
use std::rc::Rc;

use requorum_steps::Kind;
use serde_json::{Map, Value};

use super::diagnostic::{Place, Problems, Span, nearest};
use super::document::{Outline, StepDecl};
use super::expand::{Part, Whole};
use super::fields::list;
use super::site::{HOST_KEYS, ReadSite, SITE_KEYS};
use super::template::{
    BadTemplate, Hole, Paths, Scope, Written, bare_path, hole_in, hole_of, paths_of_expression, paths_of_text,
    placeholders_in, render, without_bare_paths,
};
use super::yaml::{Entry, Node, Tree};

/// The fields of `run` in templates.
const RUN_KEYS: [&str; 3] = ["id", "started", "mark"];

/// What the items of a step are about, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subjects {
    /// The step does not fan out.
    None,
    /// `host` is there.
    Hosts,
    /// `item` is there.
    Values,
    /// One of them will be there.
    Unknown,
}

/// Where a template stands, and so what it may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here {
    /// The step that it belongs to.
    pub step: Option<usize>,
    pub subjects: Subjects,
    /// Whether it is rendered only during the run, so that `run` and other steps are there.
    pub live: bool,
    /// The kind whose `result` is there.
    pub result: Option<&'static Kind>,
    /// Where a secret would be shown, if it stood here.
    pub shown_in: Option<&'static str>,
}

impl Here {
    /// Where vars and other values stand that are known before the run.
    pub const BEFORE: Self = Self { step: None, subjects: Subjects::None, live: false, result: None, shown_in: None };

    /// The same place, where a secret would be shown.
    pub fn shown_in(self, what: &'static str) -> Self {
        Self { shown_in: Some(what), ..self }
    }
}

/// A text that uses names, with its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'t> {
    span: Span,
    written: Written<'t>,
}

impl<'t> At<'t> {
    /// A template.
    pub fn text(span: Span, text: &'t str) -> Self {
        Self { span, written: Written { text, is_bare: false } }
    }

    /// A bare expression.
    pub fn expression(span: Span, text: &'t str) -> Self {
        Self { span, written: Written { text, is_bare: true } }
    }

    /// The place of one of the names of a path, counted from 0.
    fn name(self, path: &str, name: usize, problems: &Problems) -> Place {
        let found = if problems.is_full() { None } else { self.written.find(path, name) };
        self.part(found)
    }

    /// The place of a path.
    pub fn path(self, path: &str, problems: &Problems) -> Place {
        let found = if problems.is_full() { None } else { self.written.find_whole(path) };
        self.part(found)
    }

    fn part(self, range: Option<std::ops::Range<usize>>) -> Place {
        match range {
            Some(range) => Place::part(self.span, self.written.text, range),
            None => self.span.into(),
        }
    }
}

/// One of the names of a path, counted from 0: in `inputs.member` the `member` is the name 1.
#[derive(Debug, Clone, Copy)]
struct NameOf<'t>(At<'t>, &'t str, usize);

impl NameOf<'_> {
    /// Where it stands. To look for it takes a while, so it is done only for what is reported.
    fn place(self, problems: &Problems) -> Place {
        self.0.name(self.1, self.2, problems)
    }
}

/// A value that went through the first pass.
#[derive(Debug)]
pub(super) struct Prepared {
    pub value: Value,
    /// Whether it depends on the item.
    pub per_item: bool,
}

/// What one text says about the names that it uses.
#[derive(Debug, Default)]
struct Sight {
    hole: bool,
    per_item: bool,
    /// The secrets in it, each with the path that leads to it.
    secrets: BTreeMap<String, String>,
}

/// A step that uses another, which has to be its ancestor.
#[derive(Debug)]
pub(super) struct Use {
    pub step: usize,
    pub other: usize,
    pub place: Place,
    /// Whether the text has a way out where the other step was skipped.
    pub guarded: bool,
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
            steps,
            by_id,
            clashing,
            used_inputs: BTreeSet::new(),
            used_vars: BTreeSet::new(),
            used_secrets: BTreeSet::new(),
            uses: Vec::new(),
        }
    }

    /// Adds the next part with the values of its inputs, and enters it; its vars are added with [`Names::add_var`].
    pub fn add_part(&mut self, values: Map<String, Value>) {
        let mut scope = Scope::default().inputs(&values).growing_vars();
        if let Some(site) = self.site {
            scope = scope.site(&site.value);
        }
        self.at = self.own.len();
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

    /// Checks a bare expression.
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

    fn check_secrets(&mut self, secrets: &BTreeMap<String, String>, here: Here, at: At<'_>, problems: &mut Problems) {
        let Some((name, path)) = secrets.first_key_value() else { return };
        self.used_secrets.extend(secrets.keys().cloned());
        if let Some(what) = here.shown_in {
            secret_shown(name, what, at.path(path, problems), problems);
            return;
        }
        let changed = match without_bare_paths(at.written.text) {
            Ok(rest) => match paths_of_text(&rest) {
                Ok(paths) => self.look(&paths, here, at, &mut Problems::unread()).secrets,
                Err(_) => BTreeMap::new(),
            },
            Err(error) => {
                malformed(&error, at, problems);
                return;
            }
        };
        if let Some((name, path)) = changed.first_key_value() {
            let place = at.path(path, problems);
            problems
                .error(place, "secret-changed", format!("the secret `{name}` goes through an expression"))
                .cause("its value is not known while templates are rendered, so nothing can be computed from it")
                .help(format!("use it as it is: \"{{{{ {path} }}}}\""));
        }
    }

    /// Checks each name, and says what is known of them together.
    fn look(&mut self, paths: &Paths, here: Here, at: At<'_>, problems: &mut Problems) -> Sight {
        let mut sight = Sight::default();
        for path in paths {
            let mut parts = path.split('.');
            let root = parts.next().unwrap_or_default();
            let first = parts.next();
            match root {
                "inputs" => self.look_at_input(path, first, at, &mut sight, problems),
                "vars" => self.look_at_var(path, first, at, &mut sight, problems),
                "site" => self.look_at_site(path, first, at, &mut sight, problems),
                "host" | "item" => look_at_item(path, here, at, &mut sight, problems),
                "run" if here.live => {
                    sight.hole = true;
                    known_key("run", first, &RUN_KEYS, NameOf(at, path, 1), problems);
                }
                "steps" if here.live && here.step.is_some() => {
                    sight.hole = true;
                    self.look_at_step(path, here, at, problems);
                }
                "result" if here.result.is_some() => {
                    sight.hole = true;
                    known_result("result", first, here.result, NameOf(at, path, 1), problems);
                }
                _ => undefined_root(root, here, at.name(path, 0, problems), problems),
            }
        }
        self.look_at_roles(at, problems);
        sight
    }

    /// Warns of a role that is probably misspelt. A role that no host has is no mistake by itself.
    fn look_at_roles(&self, at: At<'_>, problems: &mut Problems) {
        let Some(site) = self.site else { return };
        for (role, range) in at.written.roles() {
            let roles = || site.site.hosts.values().flat_map(|host| host.roles.iter().map(String::as_str));
            if roles().any(|known| known == role) {
                continue;
            }
            if let Some(near) = nearest(role, roles()) {
                problems
                    .warning(at.part(Some(range)), "unknown-role", format!("no host of the site has the role `{role}`"))
                    .help(format!("did you mean `{near}`?"));
            }
        }
    }

    fn look_at_input(
        &mut self,
        path: &str,
        first: Option<&str>,
        at: At<'_>,
        sight: &mut Sight,
        problems: &mut Problems,
    ) {
        let inputs = &self.part().document.inputs;
        match first {
            Some(name) if !self.own().values.contains_key(name) => {
                // An input whose declaration is wrong has no value; that is reported where it is declared.
                if !inputs.iter().any(|input| input.name == name) {
                    let place = at.name(path, 1, problems);
                    unknown_name("input", name, inputs.iter().map(|input| input.name), place, problems);
                }
                sight.hole = true;
                return;
            }
            // An included plan need not use all that it can be given.
            Some(_) | None if self.at > 0 => {}
            Some(name) => drop(self.used_inputs.insert(name.to_owned())),
            None => self.used_inputs.extend(inputs.iter().map(|input| input.name.to_owned())),
        }
        see(&self.own().values, path, sight);
    }

    fn look_at_var(&mut self, path: &str, first: Option<&str>, at: At<'_>, sight: &mut Sight, problems: &mut Problems) {
        match first {
            Some(name) if !self.own().vars.contains_key(name) => {
                sight.hole = true;
                self.unknown_var(path, name, at, problems);
                return;
            }
            Some(_) | None if self.at > 0 => {}
            Some(name) => drop(self.used_vars.insert(name.to_owned())),
            None => self.used_vars.extend(self.own[0].vars.keys().cloned()),
        }
        see(&self.own().vars, path, sight);
    }

    fn unknown_var(&self, path: &str, name: &str, at: At<'_>, problems: &mut Problems) {
        let place = at.name(path, 1, problems);
        let declared = self.part().document.vars;
        if declared.iter().any(|entry| entry.key == name) {
            problems
                .error(place, "undefined-name", format!("the var `{name}` is not known here"))
                .cause("vars are rendered in their order, and it comes later")
                .help("move it further up");
        } else {
            unknown_name("var", name, declared.iter().map(|entry| entry.key.as_str()), place, problems);
        }
    }

    fn look_at_site(&self, path: &str, first: Option<&str>, at: At<'_>, sight: &mut Sight, problems: &mut Problems) {
        known_key("site", first, &SITE_KEYS, NameOf(at, path, 1), problems);
        let Some(site) = self.site else {
            sight.hole = true;
            return;
        };
        if let (true, Value::Object(map)) = (first.is_none_or(|first| first == "secrets"), &site.value) {
            see(map, path, sight);
        }
    }

    fn look_at_step(&mut self, path: &str, here: Here, at: At<'_>, problems: &mut Problems) {
        let mut parts = path.split('.').skip(1);
        let Some(spelled) = parts.next() else { return };
        let place = at.name(path, 1, problems);
        // Ids have no underscores of their own.
        let written = spelled.replace('_', "-");
        let Some(index) = self.step(&written) else {
            if !self.is_missing(&written) {
                unknown_name("step", &written, self.ids(), place, problems);
            }
            return;
        };
        if let Some(step) = here.step {
            self.uses.push(Use { step, other: index, place, guarded: at.written.is_guarded() });
        }
        let other = &self.steps[index];
        let id = self.id(index);
        match (parts.next(), parts.next()) {
            (Some("outputs"), Some(name)) if !other.outputs.iter().any(|entry| entry.key == name) => {
                unknown_output(other, id, name, at.name(path, 3, problems), problems);
            }
            (Some("result"), Some(field)) if other.fans_out => {
                let place = at.name(path, 3, problems);
                problems
                    .error(place, "result-is-a-list", format!("the result of `{id}` is a list, which has no `{field}`"))
                    .cause("the step fans out, and each item has its own result")
                    .help(format!("for example `steps.{id}.result | map(attribute='{field}') | list`"));
            }
            (Some("result"), field) => {
                known_result(&format!("steps.{id}.result"), field, other.kind, NameOf(at, path, 3), problems);
            }
            (Some("outputs") | None, _) => {}
            (Some(key), _) => {
                known_key(&format!("steps.{id}"), Some(key), &["outputs", "result"], NameOf(at, path, 2), problems);
            }
        }
    }

    /// The type of the hole that a path leads into.
    fn hole_at(&self, path: &str) -> Option<Hole> {
        let (root, rest) = path.split_once('.')?;
        let map = match root {
            "inputs" => &self.own().values,
            "vars" => &self.own().vars,
            _ => return None,
        };
        map.get(rest)?.as_str().and_then(hole_of)
    }
}

fn unknown_output(step: &Outline<'_>, id: &str, name: &str, place: Place, problems: &mut Problems) {
    let names: Vec<&str> = step.outputs.iter().map(|entry| entry.key.as_str()).collect();
    let found = problems.error(place, "unknown-output", format!("the step `{id}` has no output `{name}`"));
    match nearest(name, names.iter().copied()) {
        Some(near) => found.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => found.help(format!("give `{id}` an `outputs: {{ {name}: … }}`")),
        None => found.help(format!("it has {}", list(&names))),
    };
}

fn look_at_item(path: &str, here: Here, at: At<'_>, sight: &mut Sight, problems: &mut Problems) {
    let mut parts = path.split('.');
    let (root, first) = (parts.next().unwrap_or_default(), parts.next());
    match (here.subjects, root) {
        (Subjects::Hosts, "host") | (Subjects::Values, "item") => sight.per_item = true,
        (Subjects::Unknown, _) => sight.hole = true,
        (Subjects::None, _) => {
            let place = at.name(path, 0, problems);
            problems
                .error(place, "undefined-name", format!("`{root}` is not defined here"))
                .help("only a step with `on` has it");
            return;
        }
        (Subjects::Hosts | Subjects::Values, _) => {
            let (is, other) = if root == "item" { ("hosts", "host") } else { ("values", "item") };
            let place = at.name(path, 0, problems);
            problems
                .error(place, "undefined-name", format!("`{root}` is not defined here"))
                .cause(format!("the elements of `on` are {is}"))
                .help(format!("write `{other}`"));
            return;
        }
    }
    if root == "host" {
        known_key("host", first, &HOST_KEYS, NameOf(at, path, 1), problems);
    }
}

/// What is known of a bare expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub known: bool,
    pub per_item: bool,
}

/// Adds what the value at the end of a path says: whether it is known, and which secrets are in it.
fn see(map: &Map<String, Value>, path: &str, sight: &mut Sight) {
    let mut parts = path.split('.').skip(1);
    let Some(mut value) = parts.next().and_then(|name| map.get(name)) else {
        for value in map.values() {
            see_value(value, path, sight);
        }
        return;
    };
    for part in parts {
        match value.get(part) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    see_value(value, path, sight);
}

fn see_value(value: &Value, path: &str, sight: &mut Sight) {
    sight.hole |= hole_in(value);
    sight.secrets.extend(placeholders_in(value).into_iter().map(|name| (name, path.to_owned())));
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

fn secret_shown(name: &str, what: &str, place: Place, problems: &mut Problems) {
    problems
        .error(place, "secret-shown", format!("the secret `{name}` would be shown in {what}"))
        .help("a secret may only go to an argument that keeps it, such as `stdin` of a command or `content` of a file");
}

fn unknown_name<'n>(
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'n str>,
    place: Place,
    problems: &mut Problems,
) {
    let names: Vec<&str> = names.collect();
    let found = problems.error(place, "undefined-name", format!("the plan has no {what} `{name}`"));
    if names.is_empty() {
        found.help(format!("it has no {what}s at all"));
    } else if names.len() <= 12 {
        found.help(format!("it has {}", list(&names)));
    }
    found.did_you_mean(name, names);
}

fn known_key(what: &str, key: Option<&str>, known: &[&str], name: NameOf<'_>, problems: &mut Problems) {
    let Some(key) = key.filter(|key| !known.contains(key)) else { return };
    problems
        .error(name.place(problems), "undefined-name", format!("`{what}` has no `{key}`"))
        .help(format!("it has {}", list(known)))
        .did_you_mean(key, known.iter().copied());
}

fn known_result(
    what: &str,
    field: Option<&str>,
    kind: Option<&'static Kind>,
    name: NameOf<'_>,
    problems: &mut Problems,
) {
    let fields: Vec<&str> = kind.map(|kind| kind.result.iter().map(|field| field.name).collect()).unwrap_or_default();
    if !fields.is_empty() {
        known_key(what, field, &fields, name, problems);
    }
}

fn undefined_root(root: &str, here: Here, place: Place, problems: &mut Problems) {
    let found = problems.error(place, "undefined-name", format!("`{root}` is not defined here"));
    match root {
        "steps" | "run" => found.cause("this is rendered before the run begins"),
        "result" => found.help("only `outputs` and `undo` of a step see its result"),
        _ => {
            let mut roots = vec!["inputs", "vars", "site"];
            if here.live {
                roots.push("run");
            }
            if here.step.is_some() {
                roots.push("steps");
            }
            if here.subjects != Subjects::None {
                roots.extend(["host", "item"]);
            }
            found.help(format!("there are {}", list(&roots))).did_you_mean(root, roots)
        }
    };
}
