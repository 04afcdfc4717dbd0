//! What a template uses of the names of a plan: each is looked up, and what is wrong with it is reported at its place.

use std::collections::BTreeMap;
use std::rc::Rc;

use requorum_steps::Kind;
use serde_json::{Map, Value};

use super::at::NameOf;
use super::{At, Here, Names, Subjects, Use, malformed};
use crate::plan::diagnostic::{Place, Problems, nearest};
use crate::plan::document::Outline;
use crate::plan::fields::list;
use crate::plan::site::{HOST_KEYS, SITE_KEYS};
use crate::plan::template::{Hole, Paths, hole_in, hole_of, paths_of_text, placeholders_in, without_bare_paths};

/// The fields of `run` in templates.
const RUN_KEYS: [&str; 4] = ["id", "started", "started_s", "mark"];

/// What one text says about the names that it uses.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub hole: bool,
    pub per_item: bool,
    /// The secrets in it, each with the path that leads to it.
    pub secrets: BTreeMap<String, String>,
}

impl Names<'_> {
    pub(super) fn check_secrets(
        &mut self,
        secrets: &BTreeMap<String, String>,
        here: Here,
        at: At<'_>,
        problems: &mut Problems,
    ) {
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
    pub(super) fn look(&mut self, paths: &Paths, here: Here, at: At<'_>, problems: &mut Problems) -> Sight {
        let mut sight = Sight::default();
        let (mut text, before) = (None, self.uses.len());
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
                    self.look_at_step(path, here, at, &mut text, problems);
                }
                "result" if here.result.is_some() => {
                    sight.hole = true;
                    known_result("result", first, here.result, NameOf(at, path, 1), problems);
                    if let (Some(step), Some(field)) = (here.step, first) {
                        self.look_at_probed(step, field, NameOf(at, path, 1), problems);
                    }
                }
                _ => undefined_root(root, here, at.name(path, 0, problems), problems),
            }
        }
        if self.uses.len() > before && at.written.is_guarded() {
            let asks = at.written.text.contains(" is defined");
            for used in &mut self.uses[before..] {
                used.guarded = !(asks && at.written.asks_for_the_whole(&used.path));
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

    fn look_at_step(
        &mut self,
        path: &str,
        here: Here,
        at: At<'_>,
        text: &mut Option<Rc<str>>,
        problems: &mut Problems,
    ) {
        let mut parts = path.split('.').skip(1);
        let Some(spelled) = parts.next() else { return };
        // Ids have no underscores of their own.
        let written = spelled.replace('_', "-");
        let Some(index) = self.step(&written) else {
            if !self.is_missing(&written) {
                unknown_name("step", &written, self.ids(), at.name(path, 1, problems), problems);
            }
            return;
        };
        if let Some(step) = here.step {
            let text = Rc::clone(text.get_or_insert_with(|| at.written.text.into()));
            let (span, is_bare, path) = (at.span, at.written.is_bare, path.into());
            self.uses.push(Use { step, other: index, span, text, is_bare, path, guarded: false });
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
                if let Some(field) = field {
                    self.look_at_probed(index, field, NameOf(at, path, 3), problems);
                }
            }
            (Some("outputs") | None, _) => {}
            (Some(key), _) => {
                known_key(&format!("steps.{id}"), Some(key), &["outputs", "result"], NameOf(at, path, 2), problems);
            }
        }
    }

    /// Warns of the use of what a command said, where its probe may find the effect there and no one has heard the command.
    fn look_at_probed(&self, step: usize, field: &str, name: NameOf<'_>, problems: &mut Problems) {
        if !self.steps[step].is_probed || name.0.written.is_guarded() {
            return;
        }
        let id = self.id(step);
        problems
            .warning(name.place(problems), "no-result", format!("`{id}` may have no `{field}`"))
            .cause(format!(
                "where the probe of `{id}` finds the effect, the command does not run, and its result is none"
            ))
            .help(
                "let a step that only looks find it, after this one, or say what counts instead: \
                 {{ … if result else 'none' }}",
            );
    }

    /// The type of the hole that a path leads into.
    pub(super) fn hole_at(&self, path: &str) -> Option<Hole> {
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

pub(super) fn secret_shown(name: &str, what: &str, place: Place, problems: &mut Problems) {
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
    let names: Vec<&str> = if problems.is_full() { Vec::new() } else { names.collect() };
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
