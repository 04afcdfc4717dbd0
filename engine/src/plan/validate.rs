//! Checks arguments against the description of their kind.
//!
//! It is done twice with the same code: when the plan is compiled, with holes for what only the run can know, and again
//! with the rendered arguments, just before a kind is made from them.

use requorum_steps::{Arg, BadArgs, Builtin, HostName, Kind, Make, Rule, Seat, Site, Type, units};
use serde_json::{Map, Value};

use super::diagnostic::nearest;
use super::fields::list;
use super::paths::{self, Start};
use super::template::{Hole, hole_in, hole_of, placeholders_in};
use super::yaml::Step;

/// A problem and the way to it from the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub way: Vec<Step>,
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
    /// The name that is at fault in the text at the end of the way, such as `inputs.password`.
    pub name: Option<String>,
}

/// Checks rendered arguments, and makes their paths of this machine absolute: all problems, each with the argument at fault.
pub fn rendered(kind: &Kind, args: &mut Value, start: &Start) -> Result<(), Vec<BadArgs>> {
    let mut found = arguments(kind, args, None);
    if found.is_empty() {
        found = paths::lay(kind, args, start);
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(found
        .into_iter()
        .map(|bad| BadArgs {
            arg: show(&bad.way),
            message: bad.help.map_or(bad.message.clone(), |help| format!("{}; {help}", bad.message)),
        })
        .collect())
}

/// Shows the way to an argument as `stdout.contains` or `hosts[1]`.
fn show(way: &[Step]) -> Option<String> {
    let mut shown = String::new();
    for step in way {
        match step {
            Step::Key(key) if shown.is_empty() => shown.push_str(key),
            Step::Key(key) => shown.extend([".", key]),
            Step::Index(index) => shown.extend(["[", &index.to_string(), "]"]),
        }
    }
    (!shown.is_empty()).then_some(shown)
}

/// Checks arguments that may have holes. With a site, hosts have to be hosts of it.
pub(super) fn arguments(kind: &Kind, args: &Value, site: Option<&Site>) -> Vec<Bad> {
    let mut walk = Walk { way: Vec::new(), found: Vec::new(), site };
    match args {
        Value::Null => walk.object(kind.name, kind.args, kind.rules, &Map::new()),
        Value::Object(map) if matches!(kind.make, Make::Builtin(Builtin::Set)) => walk.names(map),
        Value::Object(map) => walk.object(kind.name, kind.args, kind.rules, map),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let message = format!("the arguments of `{}` have to be a map, not {}", kind.name, sort(args));
            let first = kind.args.first().map_or("…".to_owned(), |arg| format!("{}: …", arg.name));
            walk.bad("wrong-type", message).help = Some(format!("for example {}: {{ {first} }}", kind.name));
        }
    }
    walk.found
}

/// Has a kind made from arguments that passed [`arguments`], to hear what it has against what they say. It is heard where
/// all is known: a kind could take a hole or the placeholder of a secret for what the author wrote.
pub(super) fn unusable(kind: &Kind, args: &Value) -> Option<Bad> {
    if matches!(kind.make, Make::Builtin(_)) || hole_in(args) {
        return None;
    }
    let mut own = args.clone();
    let refused = match kind.make {
        Make::Action(make) => make(own).err(),
        Make::Check(make) => {
            // The engine itself goes from host to host, and a check does not hear of the others.
            own.as_object_mut().filter(|_| kind.seat == Seat::Host).and_then(|own| own.remove("hosts"));
            make(own).err()
        }
        Make::Builtin(_) => None,
    }?;
    let way: Vec<Step> = refused.arg.iter().flat_map(|arg| arg.split('.')).map(|key| Step::Key(key.into())).collect();
    let blamed = way.iter().try_fold(args, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    });
    if !placeholders_in(blamed.unwrap_or(args)).is_empty() {
        return None;
    }
    let message = match &refused.arg {
        Some(arg) => format!("`{arg}`: {}", refused.message),
        None => format!("`{}` cannot use these arguments: {}", kind.name, refused.message),
    };
    Some(Bad { way, code: "bad-argument", message, help: None, name: None })
}

struct Walk<'a> {
    way: Vec<Step>,
    found: Vec<Bad>,
    site: Option<&'a Site>,
}

impl Walk<'_> {
    fn bad(&mut self, code: &'static str, message: String) -> &mut Bad {
        self.found.push(Bad { way: self.way.clone(), code, message, help: None, name: None });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    fn inside(&mut self, step: Step, check: impl FnOnce(&mut Self)) {
        self.way.push(step);
        check(self);
        self.way.pop();
    }

    fn object(&mut self, what: &str, args: &[Arg], rules: &[Rule], map: &Map<String, Value>) {
        for (key, value) in map {
            self.inside(Step::Key(key.clone()), |walk| {
                if let Some(arg) = args.iter().find(|arg| arg.name == key) {
                    walk.argument(arg, value);
                } else {
                    walk.unknown_argument(what, key, args);
                }
            });
        }
        for arg in args.iter().filter(|arg| arg.required && !map.contains_key(arg.name)) {
            self.bad("missing-argument", format!("`{what}` needs the argument `{}`", arg.name)).help =
                Some(format!("add `{}: …`. {}", arg.name, arg.help));
        }
        for rule in rules {
            self.rule(what, *rule, map);
        }
    }

    /// Any names with any values, which later steps can read.
    fn names(&mut self, map: &Map<String, Value>) {
        for (name, value) in map {
            self.inside(Step::Key(name.clone()), |walk| walk.no_secret(name, value));
        }
    }

    fn unknown_argument(&mut self, what: &str, key: &str, args: &[Arg]) {
        let names: Vec<&str> = args.iter().map(|arg| arg.name).collect();
        let help = match nearest(key, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "it takes none".to_owned(),
            None => format!("known are {}", list(&names)),
        };
        self.bad("unknown-argument", format!("`{what}` has no argument `{key}`")).help = Some(help);
    }

    fn rule(&mut self, what: &str, rule: Rule, map: &Map<String, Value>) {
        let (names, least, most, words) = match rule {
            Rule::ExactlyOne(names) => (names, 1, 1, "exactly one"),
            Rule::AtMostOne(names) => (names, 0, 1, "at most one"),
            Rule::AtLeastOne(names) => (names, 1, usize::MAX, "at least one"),
        };
        let there: Vec<&str> = names.iter().copied().filter(|name| map.contains_key(*name)).collect();
        if there.len() < least || there.len() > most {
            let help = match there.as_slice() {
                [] => "it has none of them: add one".to_owned(),
                there => format!("it has {}: leave out all but one", list(there)),
            };
            self.bad("argument-rule", format!("`{what}` takes {words} of {}", list(names))).help = Some(help);
        }
    }

    fn argument(&mut self, arg: &Arg, value: &Value) {
        if !arg.secret {
            self.no_secret(arg.name, value);
        }
        self.value(arg.name, &arg.ty, value);
    }

    fn no_secret(&mut self, argument: &str, value: &Value) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.inside(Step::Index(index), |walk| walk.no_secret(argument, item));
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    self.inside(Step::Key(key.clone()), |walk| walk.no_secret(argument, item));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                for name in placeholders_in(value) {
                    let bad = self.bad("secret-shown", format!("the secret `{name}` would be shown in `{argument}`"));
                    bad.help =
                        Some("give it to an argument that keeps secrets, such as `stdin` of a command".to_owned());
                    bad.name = Some(name);
                }
            }
        }
    }

    fn value(&mut self, name: &str, ty: &Type, value: &Value) {
        if let Some(hole) = value.as_str().and_then(hole_of) {
            if !fits_hole(ty, hole) {
                let message = format!("`{name}` has to be {}, and this will be {}", describe(ty), hole.word());
                self.bad("wrong-type", message);
            }
            return;
        }
        match (ty, value) {
            (Type::List(inner), Value::Array(items)) => self.items(name, inner, items),
            (Type::Hosts, Value::Array(items)) => self.items(name, &Type::Host, items),
            (Type::Hosts, _) => self.value(name, &Type::Host, value),
            (Type::Map(inner), Value::Object(map)) => {
                for (key, item) in map {
                    self.inside(Step::Key(key.clone()), |walk| walk.value(key, inner, item));
                }
            }
            (Type::Object(args), Value::Object(map)) => self.object(name, args, &[], map),
            (Type::OneOf(types), _) => self.one_of(name, types, value),
            (Type::Duration, Value::String(text)) if !hole_in(value) => {
                if let Err(error) = units::duration(text) {
                    self.bad("bad-unit", format!("`{name}`: {error}"));
                }
            }
            (Type::Size, Value::String(text)) if !hole_in(value) => {
                if let Err(error) = units::size(text) {
                    self.bad("bad-unit", format!("`{name}`: {error}"));
                }
            }
            (Type::Duration, Value::Number(number)) => {
                let error = units::BadUnit::Duration(number.to_string());
                self.bad("bad-unit", format!("`{name}`: {error}"));
            }
            (Type::Size, Value::Number(number)) => {
                let error = units::BadUnit::Size(number.to_string());
                self.bad("bad-unit", format!("`{name}`: {error}"));
            }
            (Type::Word(words), Value::String(text)) if !hole_in(value) => self.word(name, words, text),
            (Type::Host, _) if fits(ty, value) => self.host(value),
            (_, _) if fits(ty, value) => {}
            (_, _) => {
                let bad = self.bad("wrong-type", format!("`{name}` has to be {}, not {}", describe(ty), sort(value)));
                if matches!(
                    (ty, value),
                    (Type::Str | Type::Path | Type::LocalPath | Type::Place, Value::Bool(_) | Value::Number(_))
                ) {
                    bad.help =
                        Some("put it in quotes if it is meant as text; after a template write `~ ''`".to_owned());
                }
            }
        }
    }

    fn items(&mut self, name: &str, ty: &Type, items: &[Value]) {
        for (index, item) in items.iter().enumerate() {
            self.inside(Step::Index(index), |walk| walk.value(name, ty, item));
        }
    }

    fn word(&mut self, name: &str, words: &[&str], text: &str) {
        if !words.contains(&text) {
            let help = match nearest(text, words.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("known are {}", list(words)),
            };
            self.bad("unknown-word", format!("`{name}` cannot be `{text}`")).help = Some(help);
        }
    }

    fn host(&mut self, value: &Value) {
        let name = value.as_str().or_else(|| value.get("name")?.as_str()).unwrap_or_default();
        let Some(site) = self.site.filter(|_| !hole_in(value)) else { return };
        if !HostName::new(name).is_ok_and(|name| site.hosts.contains_key(&name)) {
            let names: Vec<&str> = site.hosts.keys().map(AsRef::as_ref).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", list(&names)),
            };
            self.bad("unknown-host", format!("the site has no host `{name}`")).help = Some(help);
        }
    }

    /// One of the types has to accept it. If exactly one is of its sort, that one's problems are the ones to show.
    fn one_of(&mut self, name: &str, types: &[Type], value: &Value) {
        let mut of_its_sort = Vec::new();
        for ty in types {
            let mut alone = Self { way: self.way.clone(), found: Vec::new(), site: self.site };
            alone.value(name, ty, value);
            if alone.found.is_empty() {
                return;
            }
            if alone.found.iter().any(|bad| bad.code != "wrong-type" || bad.way.len() > self.way.len()) {
                of_its_sort.push(alone.found);
            }
        }
        match of_its_sort.pop() {
            Some(found) if of_its_sort.is_empty() => self.found.extend(found),
            Some(_) if value.is_string() => self.none_of(name, types, value.as_str().unwrap_or_default()),
            Some(_) | None => {
                let choices: Vec<String> = types.iter().map(describe).collect();
                let message = format!("`{name}` has to be {}, not {}", choices.join(" or "), sort(value));
                self.bad("wrong-type", message);
            }
        }
    }

    /// Refuses a text that could be one of several things, and is none.
    fn none_of(&mut self, name: &str, types: &[Type], text: &str) {
        let mut known: Vec<&str> = Vec::new();
        for ty in types {
            if let Type::Word(words) = ty {
                known.extend(*words);
            }
        }
        let help = match nearest(text, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it takes {}", types.iter().map(describe).collect::<Vec<_>>().join(" or ")),
        };
        self.bad("unknown-word", format!("`{name}` cannot be `{text}`")).help = Some(help);
    }
}

/// Says whether a value without holes of its own, or a text with holes in it, has the sort that a type asks for.
fn fits(ty: &Type, value: &Value) -> bool {
    match ty {
        Type::Any => true,
        Type::Str
        | Type::Path
        | Type::LocalPath
        | Type::Place
        | Type::Duration
        | Type::Size
        | Type::Word(_)
        | Type::Expression => value.is_string(),
        Type::Int => value.is_i64() || value.is_u64(),
        Type::Bool => value.is_boolean(),
        Type::Host | Type::Hosts => value.is_string() || value.get("name").is_some_and(Value::is_string),
        Type::List(_) | Type::Checks => value.is_array(),
        Type::Map(_) | Type::Object(_) => value.is_object(),
        Type::OneOf(types) => types.iter().any(|ty| fits(ty, value)),
    }
}

fn fits_hole(ty: &Type, hole: Hole) -> bool {
    let fitting: &[Hole] = match ty {
        Type::Any => return true,
        Type::OneOf(types) => return types.iter().any(|ty| fits_hole(ty, hole)),
        Type::Str | Type::Path | Type::LocalPath | Type::Place => &[Hole::Text, Hole::Duration, Hole::Size, Hole::Host],
        Type::Duration => &[Hole::Duration, Hole::Text],
        Type::Size => &[Hole::Size, Hole::Text],
        Type::Word(_) | Type::Expression => &[Hole::Text],
        Type::Int => &[Hole::Integer],
        Type::Bool => &[Hole::Boolean],
        Type::Host => &[Hole::Host, Hole::Text, Hole::Map],
        Type::Hosts => &[Hole::Host, Hole::Text, Hole::Map, Hole::List],
        Type::List(_) | Type::Checks => &[Hole::List],
        Type::Map(_) | Type::Object(_) => &[Hole::Map],
    };
    hole == Hole::Any || fitting.contains(&hole)
}

/// Names a type for a person.
fn describe(ty: &Type) -> String {
    match ty {
        Type::Str => "text".to_owned(),
        Type::Path | Type::LocalPath => "a path".to_owned(),
        Type::Place => "a path or `HOST:/path`".to_owned(),
        Type::Int => "a whole number".to_owned(),
        Type::Bool => "`true` or `false`".to_owned(),
        Type::Duration => "a duration such as `90s`".to_owned(),
        Type::Size => "a size such as `512MiB`".to_owned(),
        Type::Word([word]) => format!("`{word}`"),
        Type::Word(words) => format!("one of {}", list(words)),
        Type::Host => "a host".to_owned(),
        Type::Hosts => "a list of hosts".to_owned(),
        Type::List(inner) => format!("a list, each {}", describe(inner)),
        Type::Map(inner) => format!("a map, each value {}", describe(inner)),
        Type::Object(_) => "a map".to_owned(),
        Type::OneOf(types) => types.iter().map(describe).collect::<Vec<_>>().join(" or "),
        Type::Checks => "a list of checks".to_owned(),
        Type::Expression => "an expression".to_owned(),
        Type::Any => "anything".to_owned(),
    }
}

/// Names the sort of a value.
pub(super) fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
