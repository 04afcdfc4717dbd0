//! The plan as written: its structure, without what templates say.

use std::rc::Rc;
use std::time::Duration;

use requorum_steps::{Danger, Effect, Kind, StepId};

use super::compiled::Retry;
use super::diagnostic::{Problems, Span, nearest};
use super::fields::{Fields, OtherFile, list, text, wrong};
use super::inputs::{Input, declared};
use super::keys::{self, PLATFORMS, Table};
use super::yaml::{Entry, Node, Tree};

/// How often a check is looked at while waiting, unless the plan says.
const EVERY: Duration = Duration::from_secs(2);
/// The plan as written.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub name: String,
    pub title: String,
    pub description: String,
    pub platforms: Vec<(&'a str, Span)>,
    pub reverts: bool,
    pub inputs: Vec<Input<'a>>,
    pub vars: &'a [Entry],
    pub preflight: List<'a, CheckDecl<'a>>,
    pub steps: List<'a, Box<StepDecl<'a>>>,
}

/// A list of what a plan has itself, and of what it includes between.
#[derive(Debug)]
pub(super) struct List<'a, T> {
    pub own: Vec<T>,
    /// The includes in their order, each with how many of its own are before it.
    pub includes: Vec<(usize, IncludeDecl<'a>)>,
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self { own: Vec::new(), includes: Vec::new() }
    }
}

/// An `include` as written.
#[derive(Debug, Clone)]
pub(super) struct IncludeDecl<'a> {
    /// The name of a plan, or a path.
    pub of: (&'a str, Span),
    /// The values for its inputs.
    pub with: &'a [Entry],
    /// What its ids get before them.
    pub prefix: Option<(StepId, Span)>,
    pub needs: Vec<(&'a str, Span)>,
}

/// Steps as written. Each is freed by itself, when it is compiled.
pub(super) type Steps<'a> = Vec<Box<StepDecl<'a>>>;

/// A kind and its arguments.
#[derive(Debug, Clone, Copy)]
pub(super) struct KindUse<'a> {
    pub kind: &'static Kind,
    pub span: Span,
    pub args: &'a Node,
}

/// A check as written.
#[derive(Debug)]
pub(super) struct CheckDecl<'a> {
    pub check: KindUse<'a>,
    pub span: Span,
    pub within: Option<Duration>,
    /// Whether `within` is there and was refused.
    pub within_is_bad: bool,
    pub every: Duration,
    pub not: bool,
    pub message: Option<(&'a str, Span)>,
}

/// A step as written. What was reported and left out is `None`.
#[derive(Debug)]
pub(super) struct StepDecl<'a> {
    /// The part of the plan that it comes from: 0 is the plan itself, others are what it includes.
    pub part: usize,
    /// Its id, in an included plan with the prefix.
    pub id: Option<StepId>,
    pub span: Span,
    pub title: Option<(&'a str, Span)>,
    pub needs: Vec<(&'a str, Span)>,
    pub when: Option<(String, Span)>,
    pub on: Option<&'a Node>,
    pub max_parallel: Option<usize>,
    pub canary: bool,
    pub require: Vec<CheckDecl<'a>>,
    pub verify: Vec<CheckDecl<'a>>,
    pub probe: Option<Box<CheckDecl<'a>>>,
    pub retry: Option<(Retry, Span)>,
    pub timeout: Option<Duration>,
    pub effect: Option<(Effect, Span)>,
    pub danger: Option<Danger>,
    pub action: Option<KindUse<'a>>,
    pub undo: Option<KindUse<'a>>,
    pub outputs: &'a [Entry],
    pub confirm: Option<(&'a str, Span)>,
}

/// What is known of a step once it is compiled, for other steps and for what is said about the plan as a whole.
#[derive(Debug)]
pub(super) struct Outline<'a> {
    /// The part of the plan that it comes from.
    pub part: usize,
    /// Its id; empty where it has none.
    pub id: Rc<str>,
    pub outputs: &'a [Entry],
    /// Whether it has `on`.
    pub fans_out: bool,
    pub kind: Option<&'static Kind>,
    pub when: Option<Box<str>>,
    /// Whether it has a probe of its own, which finds an effect and not what the command said.
    pub is_probed: bool,
    /// Where it destroys something: neither its kind nor its author says how to bring it back, and nobody is asked.
    pub destroys: Option<Span>,
}

impl<'a> Outline<'a> {
    /// Takes from a step what others may know.
    pub fn of(step: &StepDecl<'a>) -> Self {
        Self {
            part: step.part,
            id: step.id.as_ref().map_or("", AsRef::as_ref).into(),
            outputs: step.outputs,
            fans_out: step.on.is_some(),
            kind: step.action.map(|used| used.kind),
            when: step.when.as_ref().map(|(when, _)| when.as_str().into()),
            is_probed: step.probe.is_some(),
            destroys: step.action.filter(|used| destroys(step, used.kind)).map(|used| used.span),
        }
    }
}

fn destroys(step: &StepDecl<'_>, kind: &Kind) -> bool {
    let returns = step.undo.is_some() || !kind.undo.is_empty();
    step.danger.unwrap_or(kind.danger) == Danger::Destructive && !returns && step.confirm.is_none()
}

/// The kinds that a plan may use, found by name.
#[derive(Debug)]
pub(super) struct Kinds(pub std::collections::HashMap<&'static str, &'static Kind>);

impl Kinds {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

/// Checks the key that says which version of the language a file is written in.
pub(super) fn version(fields: &Fields<'_>, problems: &mut Problems) {
    let Some(node) = fields.get("requorum") else {
        problems
            .error(fields.span, "missing-version", "the file does not say its version")
            .help("write `requorum: 1` in its first line");
        return;
    };
    if node.to_json() != 1 {
        problems
            .error(node.span, "unknown-version", "the file is written in a version that is not known here")
            .cause("this requorum knows version 1")
            .help("write `requorum: 1`, or use a newer requorum");
    }
}

/// Checks that templates can use a name after a dot.
pub(super) fn name_is_an_identifier(what: &str, entry: &Entry, problems: &mut Problems) {
    let mut bytes = entry.key.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        problems
            .error(entry.key_span, "bad-name", format!("`{}` cannot be the name of this {what}", entry.key))
            .cause("a name has letters, digits and `_`, and does not begin with a digit")
            .help("templates write it after a dot, where a `-` would subtract");
    }
}

/// What is given in place of a plan by mistake.
const SITE: OtherFile = OtherFile {
    table: &keys::SITE,
    code: "not-a-plan",
    help: "a site is given with `-i`, beside a plan: requorum check PLAN -i SITE",
};

/// Says for what a plan is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is the plan itself, or is included for its steps, so that it has to have some.
    Steps,
    /// It is included for its preflight.
    Preflight,
}

/// Reads a plan. `None` where it is too broken to go on.
pub(super) fn read<'a>(
    node: &'a Node,
    reading: Reading,
    kinds: &Kinds,
    problems: &mut Problems,
) -> Option<Document<'a>> {
    let fields = Fields::of_file(node, &keys::PLAN, &SITE, problems)?;
    version(&fields, problems);
    let vars = fields.get("vars").and_then(|node| Fields::open(node, "`vars`", problems));
    let vars = vars.map_or(&[] as &[Entry], |vars| vars.entries());
    for entry in vars {
        name_is_an_identifier("var", entry, problems);
    }
    let mut reader = Reader { kinds, problems, awaited: false };
    Some(Document {
        name: reader.name(&fields),
        title: fields.text("title", reader.problems).unwrap_or_default().to_owned(),
        description: fields.text("description", reader.problems).unwrap_or_default().to_owned(),
        platforms: reader.platforms(&fields),
        reverts: fields.bool("reverts", reader.problems).unwrap_or_default(),
        inputs: fields.get("inputs").map(|node| declared(node, reader.problems)).unwrap_or_default(),
        vars,
        preflight: reader.preflight(&fields),
        steps: reader.steps(&fields, reading),
    })
}

/// Reads the checks inside an argument, as `wait.until` has them; `awaited`: with a deadline for all of them.
pub(super) fn checks_in<'a>(
    node: &'a Node,
    awaited: bool,
    kinds: &Kinds,
    problems: &mut Problems,
) -> Vec<CheckDecl<'a>> {
    let mut reader = Reader { kinds, problems, awaited };
    match &node.value {
        Tree::List(items) => items.iter().filter_map(|item| reader.check(item)).collect(),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::Map(_) => {
            wrong(reader.problems, node, "`checks`", "a list of checks");
            Vec::new()
        }
    }
}

struct Reader<'k, 'p> {
    kinds: &'k Kinds,
    problems: &'p mut Problems,
    /// Whether checks have a deadline from elsewhere where they have none of their own.
    awaited: bool,
}

impl Reader<'_, '_> {
    fn name(&mut self, fields: &Fields<'_>) -> String {
        let Some(name) = fields.need_text("name", self.problems) else { return String::new() };
        if let Some(Err(error)) = name.split('/').map(StepId::new).find(Result::is_err) {
            let span = fields.get("name").map_or(fields.span, |node| node.span);
            self.problems
                .error(span, "bad-name", format!("`{name}` is no name for a plan"))
                .cause(format!("each part between slashes is {}", error.rule));
        }
        name.to_owned()
    }

    fn platforms<'a>(&mut self, fields: &Fields<'a>) -> Vec<(&'a str, Span)> {
        let Some(platforms) = fields.texts("platforms", self.problems) else {
            return vec![("any", Span::default())];
        };
        for (name, span) in &platforms {
            if !PLATFORMS.contains(name) {
                self.problems
                    .error(*span, "unknown-platform", format!("there is no platform `{name}`"))
                    .help(format!("known are {}", list(&PLATFORMS)))
                    .did_you_mean(name, PLATFORMS);
            }
        }
        platforms
    }

    fn steps<'a>(&mut self, fields: &Fields<'a>, reading: Reading) -> List<'a, Box<StepDecl<'a>>> {
        let mut steps = List::default();
        let needed = match reading {
            Reading::Steps => fields.need("steps", self.problems),
            Reading::Preflight => fields.get("steps"),
        };
        let Some((node, items)) = needed.zip(fields.list("steps", self.problems)) else { return steps };
        if items.is_empty() && reading == Reading::Steps {
            self.problems
                .error(node.span, "no-steps", "the plan has no steps")
                .help("write what is to be done, each step with `id` and a kind: - { id: stop, service.stop: … }");
        }
        steps.own.reserve_exact(items.len());
        for item in items {
            if item.get("include").is_some() {
                let include = self.include(item, &keys::INCLUDED_STEPS).map(|include| (steps.own.len(), include));
                steps.includes.extend(include);
            } else {
                steps.own.extend(self.step(item).map(Box::new));
            }
        }
        steps
    }

    fn preflight<'a>(&mut self, fields: &Fields<'a>) -> List<'a, CheckDecl<'a>> {
        let mut preflight = List::default();
        for item in fields.list("preflight", self.problems).unwrap_or_default() {
            if item.get("include").is_some() {
                let include = self.include(item, &keys::INCLUDED_CHECKS);
                preflight.includes.extend(include.map(|include| (preflight.own.len(), include)));
            } else {
                preflight.own.extend(self.check(item));
            }
        }
        preflight
    }

    fn include<'a>(&mut self, node: &'a Node, known: &Table) -> Option<IncludeDecl<'a>> {
        let fields = Fields::open(node, known.what, self.problems)?;
        let beside: Vec<&str> = known.names().filter(|name| *name != "include").collect();
        for entry in fields.entries().iter().filter(|entry| !known.has(&entry.key)) {
            let key = entry.key.as_str();
            let found = self.problems.error(
                entry.key_span,
                "beside-include",
                format!("`{key}` cannot stand beside `include` here"),
            );
            found.help(format!("there can be {}", list(&beside)));
            if keys::INCLUDED_STEPS.has(key) {
                found.cause("checks have neither ids nor needs");
            } else if keys::STEP.has(key) || self.kinds.0.contains_key(key) {
                found.cause("an include is no step: it stands for the steps of another plan");
            }
            found.did_you_mean(key, beside.iter().copied());
        }
        let of = (fields.text("include", self.problems)?, fields.get("include")?.span);
        let with = fields.get("with").and_then(|node| Fields::open(node, "`with`", self.problems));
        Some(IncludeDecl {
            of,
            with: with.map_or(&[], |with| with.entries()),
            prefix: self.prefix(&fields),
            needs: fields.texts("needs", self.problems).unwrap_or_default(),
        })
    }

    fn prefix(&mut self, fields: &Fields<'_>) -> Option<(StepId, Span)> {
        let (prefix, span) = self.spanned(fields, "as")?;
        match StepId::new(prefix) {
            Ok(prefix) => Some((prefix, span)),
            Err(error) => {
                self.problems
                    .error(span, "bad-name", format!("`{prefix}` cannot be before ids"))
                    .cause(format!("a prefix is {}", error.rule));
                None
            }
        }
    }

    fn step<'a>(&mut self, node: &'a Node) -> Option<StepDecl<'a>> {
        let fields = Fields::open(node, keys::STEP.what, self.problems)?;
        Some(StepDecl {
            part: 0,
            id: self.id(&fields),
            span: node.span,
            title: self.spanned(&fields, "title"),
            needs: fields.texts("needs", self.problems).unwrap_or_default(),
            when: self.when(&fields),
            on: fields.get("on"),
            max_parallel: self.max_parallel(&fields),
            canary: fields.bool("canary", self.problems).unwrap_or_default(),
            require: self.checks(&fields, "require"),
            verify: self.checks(&fields, "verify"),
            probe: fields.get("probe").and_then(|node| self.check(node)).map(Box::new),
            retry: self.retry(&fields),
            timeout: self.positive(&fields, "timeout"),
            effect: self.effect(&fields),
            danger: self.danger(&fields),
            action: self.action(&fields),
            undo: fields.get("undo").and_then(|node| {
                let fields = Fields::open(node, keys::UNDO.what, self.problems)?;
                self.kind_of(&fields, &keys::UNDO).filter(|undo| self.is_action(undo, keys::UNDO.what))
            }),
            outputs: self.outputs(&fields),
            confirm: self.spanned(&fields, "confirm"),
        })
    }

    fn id(&mut self, fields: &Fields<'_>) -> Option<StepId> {
        let id = fields.need_text("id", self.problems)?;
        match StepId::new(id) {
            Ok(id) => Some(id),
            Err(error) => {
                let span = fields.get("id").map_or(fields.span, |node| node.span);
                self.problems
                    .error(span, "bad-name", format!("`{id}` is no id for a step"))
                    .cause(format!("an id is {}", error.rule));
                None
            }
        }
    }

    fn spanned<'a>(&mut self, fields: &Fields<'a>, key: &str) -> Option<(&'a str, Span)> {
        Some((fields.text(key, self.problems)?, fields.get(key)?.span))
    }

    fn when(&mut self, fields: &Fields<'_>) -> Option<(String, Span)> {
        let node = fields.get("when")?;
        if let Tree::Bool(value) = node.value {
            return Some((value.to_string(), node.span));
        }
        let written = text(node, "when", self.problems)?.trim();
        if written.starts_with("{{") || written.starts_with("{%") {
            self.problems
                .error(node.span, "braces", "`when` is a bare expression")
                .help("leave the braces away: when: inputs.x == 'y'");
            return None;
        }
        Some((written.to_owned(), node.span))
    }

    fn max_parallel(&mut self, fields: &Fields<'_>) -> Option<usize> {
        let (count, span) = fields.count("max_parallel", self.problems)?;
        if count == 0 {
            self.problems
                .error(span, "bad-number", "`max_parallel: 0` would run nothing")
                .help("1 is one item after the other; without it all run at once");
        }
        usize::try_from(count).ok().filter(|count| *count > 0)
    }

    fn retry(&mut self, fields: &Fields<'_>) -> Option<(Retry, Span)> {
        let node = fields.get("retry")?;
        let fields = Fields::read(node, &keys::RETRY, self.problems)?;
        let mut retry = Retry::default();
        if let Some((attempts, span)) = fields.count("attempts", self.problems) {
            retry.attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            if attempts == 0 {
                self.problems
                    .error(span, "bad-number", "`attempts: 0` would not even try once")
                    .help("it counts all attempts; 1 is no retry");
            }
        }
        if let Some((backoff, _)) = fields.duration("backoff", self.problems) {
            retry.backoff = backoff;
            retry.max_backoff = retry.max_backoff.max(backoff);
        }
        if let Some((max, span)) = fields.duration("max_backoff", self.problems) {
            retry.max_backoff = max;
            if max < retry.backoff {
                self.problems.error(span, "bad-number", "`max_backoff` is below `backoff`");
            }
        }
        Some((retry, node.span))
    }

    /// A duration above zero.
    fn positive(&mut self, fields: &Fields<'_>, key: &str) -> Option<Duration> {
        let (duration, span) = fields.duration(key, self.problems)?;
        if duration.is_zero() {
            self.problems.error(span, "bad-number", format!("`{key}` has to be longer than nothing"));
        }
        Some(duration)
    }

    fn effect(&mut self, fields: &Fields<'_>) -> Option<(Effect, Span)> {
        fields.word("effect", &keys::EFFECTS.map(|effect| (effect.word(), effect)), self.problems)
    }

    fn danger(&mut self, fields: &Fields<'_>) -> Option<Danger> {
        let danger = fields.word("danger", &keys::DANGERS.map(|danger| (danger.word(), danger)), self.problems);
        danger.map(|(danger, _)| danger)
    }

    fn outputs<'a>(&mut self, fields: &Fields<'a>) -> &'a [Entry] {
        let outputs = fields.get("outputs").and_then(|node| Fields::open(node, "`outputs`", self.problems));
        let outputs = outputs.map_or(&[] as &[Entry], |outputs| outputs.entries());
        for entry in outputs {
            name_is_an_identifier("output", entry, self.problems);
        }
        outputs
    }

    fn action<'a>(&mut self, fields: &Fields<'a>) -> Option<KindUse<'a>> {
        let action = self.kind_of(fields, &keys::STEP)?;
        self.is_action(&action, keys::STEP.what).then_some(action)
    }

    fn is_action(&mut self, used: &KindUse<'_>, place: &str) -> bool {
        if used.kind.is_check() {
            self.problems
                .error(
                    used.span,
                    "not-an-action",
                    format!("`{}` is a check, and {place} needs an action", used.kind.name),
                )
                .help("a check stands in `preflight`, `require`, `verify`, or in `wait.until`");
        }
        !used.kind.is_check()
    }

    fn checks<'a>(&mut self, fields: &Fields<'a>, key: &str) -> Vec<CheckDecl<'a>> {
        let items = fields.list(key, self.problems).unwrap_or_default();
        items.iter().filter_map(|item| self.check(item)).collect()
    }

    fn check<'a>(&mut self, node: &'a Node) -> Option<CheckDecl<'a>> {
        let fields = Fields::open(node, keys::CHECK.what, self.problems)?;
        let within = self.positive(&fields, "within");
        let every = self.positive(&fields, "every");
        self.interval(&fields, within, every);
        let not = fields.bool("not", self.problems).unwrap_or_default();
        let message = self.spanned(&fields, "message");
        let check = self.kind_of(&fields, &keys::CHECK)?;
        if !check.kind.is_check() {
            self.problems
                .error(
                    check.span,
                    "not-a-check",
                    format!("`{}` is an action, and only a check can stand here", check.kind.name),
                )
                .cause("a check looks and changes nothing");
            return None;
        }
        let within_is_bad = within.is_none() && fields.get("within").is_some();
        Some(CheckDecl { check, span: node.span, within, within_is_bad, every: every.unwrap_or(EVERY), not, message })
    }

    fn interval(&mut self, fields: &Fields<'_>, within: Option<Duration>, every: Option<Duration>) {
        let (Some(every), Some(node)) = (every, fields.get("every")) else { return };
        match within {
            None if fields.get("within").is_none() && !self.awaited => {
                self.problems
                    .error(node.span, "every-without-within", "`every` says nothing without `within`")
                    .help("add `within`: how long to wait for the check to hold");
            }
            Some(within) if every > within => {
                self.problems.error(node.span, "bad-number", "`every` is longer than `within`");
            }
            None | Some(_) => {}
        }
    }

    /// Finds the one key that names a kind.
    fn kind_of<'a>(&mut self, fields: &Fields<'a>, known: &Table) -> Option<KindUse<'a>> {
        let what = known.what;
        let mut found: Option<KindUse<'a>> = None;
        let mut unknown = false;
        for entry in fields.entries().iter().filter(|entry| !known.has(&entry.key)) {
            let Some(kind) = self.kinds.0.get(entry.key.as_str()).copied() else {
                self.unknown_kind(entry, known);
                unknown = true;
                continue;
            };
            if let Some(first) = &found {
                self.problems
                    .error(
                        entry.key_span,
                        "several-kinds",
                        format!("{what} names exactly one kind, and this is another"),
                    )
                    .cause(format!("`{}` is already there", first.kind.name))
                    .help("write one of them by itself, with an entry of its own");
                continue;
            }
            found = Some(KindUse { kind, span: entry.key_span, args: &entry.node });
        }
        if found.is_none() && !unknown {
            self.problems
                .error(fields.span, "no-kind", format!("{what} has to name one kind"))
                .help("for example `etcd.healthy: { members: all }` for a check, `ssh.run: { run: … }` for a step");
        }
        found
    }

    fn unknown_kind(&mut self, entry: &Entry, known: &Table) {
        let key = entry.key.as_str();
        let near = nearest(key, known.names().chain(self.kinds.names()));
        let family = key.split('.').next().unwrap_or_default();
        let found = if key.contains('.') {
            self.problems.error(entry.key_span, "unknown-kind", format!("there is no kind `{key}`"))
        } else {
            self.problems.error(entry.key_span, "unknown-key", format!("{} has no key `{key}`", known.what))
        };
        if key == "include" {
            found.help("an `include` stands in `steps` or `preflight`");
            return;
        }
        if let Some(near) = near {
            found.help(format!("did you mean `{near}`?"));
            return;
        }
        let mut relatives: Vec<&str> =
            self.kinds.names().filter(|name| name.split('.').next() == Some(family)).collect();
        relatives.sort_unstable();
        if !relatives.is_empty() {
            found.help(format!("of `{family}` there are {}", list(&relatives)));
        }
    }
}
