//! Steps and checks as written to steps and checks as compiled.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use requorum_steps::{Effect, HostName, ItemKey, Kind, Seat, Site, StepId, Type};
use serde_json::{Map, Value};

use super::compile::{Order, Request};
use super::compiled::{CheckUse, Item, Retry, Step, Subject};
use super::diagnostic::{Problems, Span};
use super::document::{CheckDecl, KindUse, Kinds, StepDecl, Steps, checks_in};
use super::expand::Whole;
use super::fields::list;
use super::names::{At, Here, Names, Subjects, fill, malformed};
use super::paths;
use super::template::{Scope, hole_in};
use super::validate::{self, Bad, sort};
use super::yaml::{Entry, Finder, Node, Tree};

/// The steps, each after all that it needs, and the checks before them. Steps that cannot be used are not there.
pub(super) struct Parts {
    pub preflight: Vec<CheckUse>,
    pub steps: Vec<Step>,
}

/// Compiles steps and checks.
pub(super) struct Compiler<'a, 'p> {
    pub request: &'a Request<'a>,
    pub kinds: &'a Kinds,
    pub site: Option<&'a Site>,
    pub names: Names<'a>,
    pub problems: &'p mut Problems,
}

/// The items that arguments are tried with.
#[derive(Clone, Copy)]
struct Around<'i> {
    here: Here,
    items: &'i [Item],
    /// Whether a `when` may keep a run from using them.
    may_be_skipped: bool,
}

impl Compiler<'_, '_> {
    /// Compiles everything, the steps in their order.
    pub fn parts(&mut self, whole: &Whole<'_>, steps: Steps<'_>, order: &Order) -> Parts {
        let here = Here { live: true, ..Here::BEFORE };
        let around = Around { here, items: &[], may_be_skipped: false };
        let mut preflight = Vec::with_capacity(whole.preflight.len());
        for (part, check) in &whole.preflight {
            self.enter(*part);
            preflight.push(CheckUse { part: self.names.part().key.clone(), ..self.check(check, around) });
        }
        // Each is freed when it is compiled: of a large plan they take as much memory as what they become.
        let mut decls: Vec<_> = steps.into_iter().map(Some).collect();
        let mut steps = Vec::with_capacity(order.steps.len());
        for index in &order.steps {
            let Some(decl) = decls[*index].take() else { continue };
            self.enter(decl.part);
            let step = self.step(*index, &decl);
            steps.extend(step.map(|step| Step { needs: self.needs(&order.needs.0[*index]), ..step }));
        }
        // What is in or behind a cycle has no order, and problems of its own.
        for (index, decl) in decls.into_iter().enumerate() {
            let Some(decl) = decl else { continue };
            self.enter(decl.part);
            self.step(index, &decl);
        }
        self.enter(0);
        Parts { preflight, steps }
    }

    fn needs(&self, needs: &[usize]) -> Vec<StepId> {
        let mut ids = Vec::with_capacity(needs.len());
        ids.extend(needs.iter().filter_map(|need| StepId::new(&*self.names.steps()[*need].id).ok()));
        ids
    }

    /// Goes on in a part of the plan: with its names, and where its problems are.
    fn enter(&mut self, part: usize) {
        self.names.enter(part);
        self.problems.enter(&self.names.part().via);
    }

    fn step(&mut self, index: usize, decl: &StepDecl<'_>) -> Option<Step> {
        let (items, subjects) = self.items(decl);
        let here = Here { step: Some(index), subjects, live: true, result: None, shown_in: None };
        let items_tried = items.as_deref().unwrap_or_default();
        let around = Around { here, items: items_tried, may_be_skipped: decl.when.is_some() };
        let title = self.shown_text(decl.title, around, "the title");
        let confirm = self.shown_text(decl.confirm, around, "the text of a gate");
        if let Some((when, span)) = &decl.when {
            self.expression(when, *span, around, "`when`");
        }
        let require = decl.require.iter().map(|check| self.check(check, around)).collect();
        let verify = decl.verify.iter().map(|check| self.check(check, around)).collect();
        let probe = decl.probe.as_ref().map(|check| Box::new(self.check(check, around)));
        let with_result = Here { result: decl.action.map(|used| used.kind), ..here };
        let undo = decl.undo.as_ref().map(|undo| {
            self.seat(undo, decl);
            let args = self.arguments(undo, Around { here: with_result, ..around });
            Box::new((undo.kind.name.to_owned(), args))
        });
        let outputs = self.outputs(decl, with_result);
        let action = decl.action?;
        let args = self.arguments(&action, around);
        self.seat(&action, decl);
        self.fan_out_keys(decl);
        let effect = self.effect(decl, action.kind);
        let id = decl.id.clone()?;
        Some(Step {
            id,
            title: title.unwrap_or_default(),
            needs: Vec::new(),
            when: decl.when.as_ref().map(|(when, _)| when.clone()),
            items,
            fans_out: decl.on.is_some(),
            max_parallel: decl.max_parallel,
            canary: decl.canary,
            require,
            verify,
            probe,
            retry: decl.retry.map_or_else(Retry::default, |(retry, _)| retry),
            timeout: decl.timeout,
            effect,
            danger: decl.danger.unwrap_or(action.kind.danger),
            kind: action.kind.name.to_owned(),
            args,
            undo,
            outputs,
            confirm,
            place: self.problems.place(decl.span),
            part: self.names.part().key.clone(),
        })
    }

    /// Checks a text that is shown to people, and renders it where all is known.
    fn shown_text(&mut self, text: Option<(&str, Span)>, around: Around<'_>, what: &'static str) -> Option<String> {
        let (text, span) = text?;
        if !text.contains('{') {
            return Some(text.to_owned());
        }
        let node = Node { span, value: Tree::Text(text.into()) };
        let prepared = self.names.prepare(&node, around.here.shown_in(what), self.problems);
        for scope in self.scopes(prepared.per_item, around) {
            fill(&prepared.value, &node, &scope, self.problems);
        }
        Some(text.to_owned())
    }

    /// What templates see: once for each item where it makes a difference.
    fn scopes(&self, per_item: bool, around: Around<'_>) -> Vec<Scope> {
        let base = self.names.scope();
        if per_item {
            around.items.iter().map(|item| base.clone().subject(&item.subject)).collect()
        } else {
            vec![base.clone()]
        }
    }

    /// Checks a condition, and evaluates it where all is known: for each item, as the run will.
    fn expression(&mut self, text: &str, span: Span, around: Around<'_>, what: &'static str) {
        let here = around.here.shown_in(what);
        let Some(seen) = self.names.prepare_expression(text, span, here, self.problems) else { return };
        if !seen.known {
            return;
        }
        for scope in self.scopes(seen.per_item, around) {
            if let Err(error) = super::template::holds(text, &scope) {
                malformed(&error, At::expression(span, text), self.problems);
            }
        }
    }

    fn outputs(&mut self, decl: &StepDecl<'_>, here: Here) -> BTreeMap<String, Value> {
        let mut outputs = BTreeMap::new();
        for entry in decl.outputs {
            self.names.prepare(&entry.node, here.shown_in("an output"), self.problems);
            outputs.insert(entry.key.to_string(), entry.node.to_json());
        }
        outputs
    }

    fn check(&mut self, decl: &CheckDecl<'_>, around: Around<'_>) -> CheckUse {
        let kind = decl.check.kind;
        // What a check looks at host by host may use `host`, also where the step or the preflight has none.
        let looked_at = decl.check.args.get("hosts").filter(|_| kind.seat == Seat::Host);
        let looked_at = looked_at.map(|node| self.hosts_looked_at(node, around));
        let args = match &looked_at {
            Some(items) => {
                let here = Here { subjects: Subjects::Hosts, ..around.here };
                self.arguments(&decl.check, Around { here, items, ..around })
            }
            None => self.arguments(&decl.check, around),
        };
        if kind.seat == Seat::Host && decl.check.args.get("hosts").is_none() {
            match around.here.subjects {
                Subjects::Hosts | Subjects::Unknown => {}
                Subjects::None | Subjects::Values => {
                    self.problems
                        .error(
                            decl.check.span,
                            "no-host",
                            format!("`{}` does not know on which hosts to look", kind.name),
                        )
                        .help(
                            "give it `hosts`; only in a step whose `on` lists hosts it looks at the host of the item",
                        );
                }
            }
        }
        let message = self.shown_text(decl.message, around, "a message");
        CheckUse {
            kind: kind.name.to_owned(),
            args,
            within: decl.within,
            every: decl.every,
            not: decl.not,
            message,
            place: self.problems.place(decl.span),
            part: None,
        }
    }

    /// Returns the hosts that a check names, as far as they are known before the run.
    fn hosts_looked_at(&mut self, node: &Node, around: Around<'_>) -> Vec<Item> {
        // What is wrong with it is reported with the other arguments.
        let mut unreported = Problems::unread();
        let prepared = self.names.prepare(node, around.here, &mut unreported);
        let value = fill(&prepared.value, node, self.names.scope(), &mut unreported);
        let elements = match value {
            Value::Array(elements) => elements,
            other => vec![other],
        };
        let Some(site) = self.site else { return Vec::new() };
        let hosts = elements.iter().filter_map(|element| host_of(element, site));
        hosts.map(|host| Item { key: ItemKey::from(&host), subject: Subject::Host(host), args: None }).collect()
    }

    /// Checks the arguments of a kind for every item, and returns them as the plan keeps them.
    fn arguments(&mut self, used: &KindUse<'_>, around: Around<'_>) -> Value {
        let node = self.with_template_file(used);
        let Tree::Map(entries) = &node.value else {
            let value = node.to_json();
            self.report(used, &node, &value, around);
            return Value::Object(Map::new());
        };
        if is_literal(used.kind, entries) {
            let value = node.to_json();
            self.report(used, &node, &value, around);
            return value;
        }
        // As large as they have to be: a plan keeps many of them.
        let (mut kept, mut prepared) = (Map::with_capacity(entries.len()), Map::with_capacity(entries.len()));
        let mut per_item = false;
        for entry in entries {
            let ty = used.kind.args.iter().find(|arg| entry.key == arg.name).map(|arg| arg.ty);
            match ty {
                Some(Type::Expression) => {
                    if let Some(text) = entry.node.text() {
                        self.expression(text, entry.node.span, around, "an expression");
                    }
                    kept.insert(entry.key.to_string(), entry.node.to_json());
                    prepared.insert(entry.key.to_string(), entry.node.to_json());
                }
                Some(Type::Checks) => {
                    let within = used.args.get("within");
                    let checks = checks_in(&entry.node, within.is_some(), self.kinds, self.problems);
                    self.deadlines(used, &entry.node, &checks);
                    let checks: Vec<CheckUse> = checks.iter().map(|check| self.check(check, around)).collect();
                    let value = serde_json::to_value(checks).unwrap_or_default();
                    prepared.insert(entry.key.to_string(), Value::Array(Vec::new()));
                    kept.insert(entry.key.to_string(), value);
                }
                Some(_) | None => {
                    let value = self.names.prepare(&entry.node, around.here, self.problems);
                    per_item |= value.per_item;
                    prepared.insert(entry.key.to_string(), value.value);
                    kept.insert(entry.key.to_string(), entry.node.to_json());
                }
            }
        }
        let prepared = Value::Object(prepared);
        for scope in self.scopes(per_item, around) {
            let args = fill(&prepared, &node, &scope, self.problems);
            self.report(used, &node, &args, around);
        }
        Value::Object(kept)
    }

    /// Refuses a wait that has nothing to wait for, or that would look only once.
    fn deadlines(&mut self, used: &KindUse<'_>, node: &Node, checks: &[CheckDecl<'_>]) {
        if matches!(&node.value, Tree::List(items) if items.is_empty()) {
            self.problems
                .error(node.span, "no-checks", format!("`{}` has no checks, so it would wait for nothing", used.kind.name))
                .help("name at least one check with its deadline: checks: [ { etcd.healthy: { members: all }, within: 5m } ]");
        }
        let has_none = |check: &&CheckDecl<'_>| check.within.is_none() && !check.within_is_bad;
        let awaited = used.args.get("within").is_some();
        for check in checks.iter().filter(has_none).filter(|_| !awaited) {
            self.problems
                .error(check.span, "no-deadline", format!("`{}` would look at this check only once", used.kind.name))
                .cause("it has no `within`, so there is no time in which it may come to hold")
                .help(
                    "add `within` beside the check's kind, or beside `checks` for all of them, for example within: 5m",
                );
        }
    }

    fn report(&mut self, used: &KindUse<'_>, node: &Node, args: &Value, around: Around<'_>) {
        let mut finder = Finder::of(node);
        let mut found = validate::arguments(used.kind, args, self.site);
        if found.is_empty() {
            let unusable = validate::unusable(used.kind, args);
            // What a template makes of an empty input may be bad, and the author has thought of it in `when`.
            let mut written = |bad: &Bad| finder.text(&bad.way).is_some_and(|text| !text.contains('{'));
            found.extend(unusable.filter(|bad| !around.may_be_skipped || written(bad)));
            found.extend(paths::not_laid(used.kind, args, self.names.scope().start()));
        }
        for bad in found {
            let span = match bad.code {
                "missing-argument" | "argument-rule" if bad.way.is_empty() => used.span,
                "unknown-argument" => finder.key_place(&bad.way),
                _ => finder.place(&bad.way),
            };
            // Where the arguments are about a name in a text, it stands there as the author wrote it, if not through a var.
            let named = bad.name.as_ref().and_then(|name| Some((name, finder.text(&bad.way)?)));
            let place = match named {
                Some((name, text)) => At::text(span, text).path(name, self.problems),
                None => span.into(),
            };
            let found = self.problems.error(place, bad.code, bad.message);
            if let Some(help) = bad.help {
                found.help(help);
            }
        }
    }

    /// Replaces the argument `template: FILE` of a kind that also takes `content` by the text of the file.
    fn with_template_file<'n>(&mut self, used: &KindUse<'n>) -> Cow<'n, Node> {
        let takes = |name: &str| used.kind.args.iter().any(|arg| arg.name == name);
        let (Tree::Map(entries), true) = (&used.args.value, takes("template") && takes("content")) else {
            return match used.args.value {
                Tree::Null => Cow::Owned(Node { span: used.args.span, value: Tree::Map(Box::default()) }),
                _ => Cow::Borrowed(used.args),
            };
        };
        let both = used.args.get("content").is_some();
        let file = entries.iter().find(|entry| entry.key == "template" && !both);
        let Some((file, written)) = file.and_then(|entry| Some((entry, entry.node.text()?))) else {
            return Cow::Borrowed(used.args);
        };
        let source = self.names.part().source;
        let path = source.resolve(written, self.request.home);
        let name = source.beside(written).display().to_string();
        let (span, text) = match self.request.files.read(&path) {
            // What is wrong in the file is shown there.
            Ok(text) => match self.problems.read(&name, &text) {
                Some(file) => (Span { file, line: 1, column: 1, length: 0 }, text),
                None => (file.node.span, text),
            },
            Err(error) => {
                self.problems
                    .error(file.node.span, "unreadable-file", format!("cannot read the template {name}"))
                    .cause(error)
                    .help("the path starts from the directory of the plan");
                (file.node.span, String::new())
            }
        };
        let content = Node { span, value: Tree::Text(text.into()) };
        let entries = entries.iter().map(|entry| match entry.key.as_str() {
            "template" => Entry { key: "content".into(), key_span: entry.key_span, node: content.clone() },
            _ => entry.clone(),
        });
        Cow::Owned(Node { span: used.args.span, value: Tree::Map(entries.collect()) })
    }

    fn seat(&mut self, action: &KindUse<'_>, decl: &StepDecl<'_>) {
        if action.kind.seat == Seat::Host && decl.on.is_none() {
            self.problems
                .error(
                    action.span,
                    "no-host",
                    format!("`{}` works on a host, and the step does not say on which", action.kind.name),
                )
                .help("add `on`, for example on: \"{{ site.hosts | role('etcd') }}\"");
        }
    }

    fn fan_out_keys(&mut self, decl: &StepDecl<'_>) {
        if decl.on.is_none() && (decl.canary || decl.max_parallel.is_some()) {
            self.problems
                .warning(decl.span, "no-items", "`canary` and `max_parallel` say nothing without `on`")
                .help("remove them, or add `on`");
        }
    }

    /// The effect class: the kind's, the stricter or looser one that is written, or what a probe makes of a command.
    fn effect(&mut self, decl: &StepDecl<'_>, kind: &Kind) -> Effect {
        if let (Some(probe), true) = (&decl.probe, kind.effect != Effect::Once) {
            self.problems
                .error(probe.span, "needless-probe", format!("`{}` takes no probe", kind.name))
                .cause("only a command does; other kinds know themselves whether they happened");
        }
        let by_kind = if decl.probe.is_some() { kind.effect.min(Effect::Probed) } else { kind.effect };
        let effect = decl.effect.map_or(by_kind, |(effect, _)| effect);
        if let Some((written, span)) = decl.effect {
            if written == Effect::Pure && matches!(kind.effect, Effect::Idempotent | Effect::Probed) {
                self.problems
                    .error(span, "loose-effect", format!("`{}` is not pure: it changes something", kind.name))
                    .help(format!("leave `effect` away, or write `{}` or a stricter class", kind.effect));
            }
            if written == Effect::Probed && kind.effect != Effect::Probed && decl.probe.is_none() {
                self.problems
                    .error(span, "effect-without-probe", "`effect: probed` needs a `probe`")
                    .cause(format!("`{}` cannot tell by itself whether it happened", kind.name))
                    .help("add `probe`: a check that says whether this effect is there");
            }
        }
        if let Some((_, span)) = decl.retry.filter(|(retry, _)| retry.attempts > 1 && effect == Effect::Once) {
            self.problems
                .error(span, "unsafe-retry", format!("a retry could do `{}` twice", kind.name))
                .cause("its effect is `once`: nothing can tell whether a failed attempt did its work")
                .help("remove `retry`, add a `probe`, or write `effect: idempotent` if doing it twice is harmless");
        }
        effect
    }

    /// Finds the items of a step, and what they are about.
    fn items(&mut self, decl: &StepDecl<'_>) -> (Option<Vec<Item>>, Subjects) {
        let Some(node) = decl.on else {
            return (Some(vec![Item { key: ItemKey::single(), subject: Subject::None, args: None }]), Subjects::None);
        };
        let (before, told) = (self.problems.count(), self.problems.len());
        let prepared = self.names.prepare(node, Here::BEFORE.shown_in("`on`"), self.problems);
        let value = fill(&prepared.value, node, self.names.scope(), self.problems);
        if hole_in(&value) || self.problems.count() > before {
            return (None, Subjects::Unknown);
        }
        let elements = match value {
            Value::Array(elements) => elements,
            Value::Object(hosts) if hosts.values().all(|host| host.get("name").is_some()) => {
                hosts.into_values().collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                self.problems
                    .error(node.span, "wrong-type", "`on` has to be a list")
                    .cause(format!("it is {}", sort(&value)))
                    .help("one element also stands in brackets: on: [cp1]");
                return (None, Subjects::Unknown);
            }
        };
        let on_hosts = decl.action.is_some_and(|used| used.kind.seat == Seat::Host);
        if elements.is_empty() {
            // An author who wrote `when` has thought of sites where there is nothing to do.
            if decl.when.is_none() && self.problems.len() == told {
                self.nothing_to_do(node.span);
            }
            return (Some(Vec::new()), Subjects::Unknown);
        }
        let Some(site) = self.site else {
            let could_be_host = |element: &Value| element.is_string() || element.get("name").is_some();
            if on_hosts || elements.iter().any(could_be_host) {
                return (None, Subjects::Unknown);
            }
            return (Some(values(elements)), Subjects::Values);
        };
        let hosts: Vec<Option<HostName>> = elements.iter().map(|element| host_of(element, site)).collect();
        if !on_hosts && hosts.iter().all(Option::is_none) {
            return (Some(values(elements)), Subjects::Values);
        }
        if on_hosts && decl.when.is_none() {
            self.lost(node, hosts.iter().flatten(), site);
        }
        self.hosts(node, &elements, hosts, site)
    }

    /// Warns of a step that would work on a host that is given up. An author who wrote `when` has thought of it.
    fn lost<'h>(&mut self, node: &Node, hosts: impl Iterator<Item = &'h HostName>, site: &Site) {
        let lost = hosts.filter(|name| site.hosts.get(name).is_some_and(|host| host.lost));
        let lost: Vec<&str> = lost.map(AsRef::as_ref).collect();
        let Some(first) = lost.first() else { return };
        let written = match &node.value {
            Tree::List(nodes) => nodes.iter().find(|node| node.text() == Some(*first)),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::Map(_) => None,
        };
        let message = format!("the step works on {}, given up as `lost: true` in the site", list(&lost));
        self.problems
            .warning(written.unwrap_or(node).span, "lost-host", message)
            .cause("nothing can be done there, so the run would stop")
            .help("leave it out, as the filter `role` does, or write when: not host.lost");
    }

    fn nothing_to_do(&mut self, span: Span) {
        let roles = self.site.map(|site| site.hosts.values().filter(|host| !host.lost).flat_map(|host| &host.roles));
        let mut roles: Vec<&String> = roles.into_iter().flatten().collect();
        roles.sort_unstable();
        roles.dedup();
        let found = self.problems.warning(span, "no-items", "`on` is empty, so the step does nothing");
        if roles.is_empty() {
            found.help("is the role right, and are there hosts that have it and are not lost?");
        } else {
            found.help(format!("the hosts of the site that are not lost have the roles {}", list(&roles)));
        }
    }

    fn hosts(
        &mut self,
        node: &Node,
        elements: &[Value],
        hosts: Vec<Option<HostName>>,
        site: &Site,
    ) -> (Option<Vec<Item>>, Subjects) {
        let span = |index: usize| match &node.value {
            Tree::List(nodes) => nodes.get(index).map_or(node.span, |node| node.span),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::Map(_) => node.span,
        };
        let mut items = Vec::with_capacity(hosts.len());
        let mut seen = HashSet::new();
        for (index, host) in hosts.into_iter().enumerate() {
            match host {
                None => {
                    let shown = elements[index].as_str().map_or_else(|| elements[index].to_string(), str::to_owned);
                    self.problems
                        .error(span(index), "unknown-host", format!("the site has no host `{shown}`"))
                        .did_you_mean(&shown, site.hosts.keys().map(AsRef::as_ref));
                }
                Some(host) if seen.insert(host.clone()) => {
                    items.push(Item { key: ItemKey::from(&host), subject: Subject::Host(host), args: None });
                }
                Some(host) => {
                    self.problems.error(span(index), "duplicate-item", format!("`on` has the host `{host}` twice"));
                }
            }
        }
        (Some(items), Subjects::Hosts)
    }
}

fn values(elements: Vec<Value>) -> Vec<Item> {
    let keyed = elements.into_iter().enumerate();
    keyed
        .filter_map(|(index, value)| {
            Some(Item { key: ItemKey::new(index.to_string()).ok()?, subject: Subject::Value(value.into()), args: None })
        })
        .collect()
}

/// The host of the site that an element of `on` is: its name, or the host as templates see it.
fn host_of(element: &Value, site: &Site) -> Option<HostName> {
    let name = element.as_str().or_else(|| element.get("name")?.as_str())?;
    let name = HostName::new(name).ok()?;
    site.hosts.contains_key(&name).then_some(name)
}

/// Says whether arguments are as they are: no templates, expressions or checks. Most of a large plan are.
fn is_literal(kind: &Kind, entries: &[Entry]) -> bool {
    fn no_template(node: &Node) -> bool {
        match &node.value {
            Tree::Text(text) => !text.contains('{'),
            Tree::List(items) => items.iter().all(no_template),
            Tree::Map(entries) => entries.iter().all(|entry| no_template(&entry.node)),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) => true,
        }
    }
    let plain = |entry: &Entry| {
        let arg = kind.args.iter().find(|arg| entry.key == arg.name);
        !matches!(arg.map(|arg| arg.ty), Some(Type::Expression | Type::Checks)) && no_template(&entry.node)
    };
    entries.iter().all(plain)
}
