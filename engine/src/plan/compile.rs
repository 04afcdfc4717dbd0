//! Document, site and inputs to a plan that passed every check.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use requorum_steps::Kind;
use serde_json::{Map, Value};

use super::compiled::{ALONE, Directories, FORMAT, Included, Plan};
use super::diagnostic::{File, Problems, Severity, Span};
use super::document::{Document, Kinds, StepDecl};
use super::expand::{Part, Whole};
use super::include::Sources;
use super::inputs::{self, Passed, Values};
use super::names::Names;
use super::needs::{self, Places};
use super::order::Needs;
use super::parts::{Compiler, Parts};
use super::paths::Start;
use super::site::{self, ReadSite};
use super::{Diagnostic, Files, Given, Source, digest, foresight};

/// Says how much has to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is not given is unknown but has its type; [`items`](super::compiled::Step::items) is `None` where it cannot be known.
    Check,
    /// A site and every required input have to be there.
    Run,
}

/// What is compiled, and everything from outside that it takes.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The plan.
    pub plan: &'a Source,
    /// The site.
    pub site: Option<&'a Source>,
    /// What the operator gives for the inputs.
    pub inputs: &'a Given,
    /// What `~/` is in paths of the site.
    pub home: Option<&'a Path>,
    /// Reads the files that the plan and the inputs name.
    pub files: &'a dyn Files,
    /// How much has to be known.
    pub mode: Mode,
    /// The kinds that a plan may use, usually [`requorum_steps::catalog::all`].
    pub kinds: &'a [&'static Kind],
}

/// A compiled plan with its site.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// The site, where one is given.
    pub site: Option<ReadSite>,
    /// What does not refuse the plan.
    pub warnings: Vec<Diagnostic>,
    /// The files that the plan includes, for showing the warnings.
    pub included: Vec<Source>,
}

/// Why a plan is refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// All that is wrong with the plan and its site, those of the plan first, each by its place.
    pub found: Vec<Diagnostic>,
    /// The files that the plan includes, for showing it.
    pub included: Vec<Source>,
}

/// Compiles a plan, or returns all that is wrong with it and its site.
pub fn compile(request: &Request<'_>) -> Result<Compiled, Refused> {
    let mut site_problems = request.site.map_or_else(Problems::unread, Problems::of);
    let site = request.site.and_then(|source| site::read(source, request.home, &mut site_problems));
    compile_with(request, site, site_problems)
}

/// Compiles a plan for a site that was read before: the one that a run keeps.
pub fn compile_for(request: &Request<'_>, site: ReadSite) -> Result<Compiled, Refused> {
    compile_with(request, Some(site), Problems::unread())
}

/// Reads a site by itself, or returns all that is wrong with it.
pub fn read_site(source: &Source, home: Option<&Path>) -> Result<ReadSite, Vec<Diagnostic>> {
    let mut problems = Problems::of(source);
    let site = site::read(source, home, &mut problems);
    let refused = problems.refuse();
    problems.pinpoint(&[source]);
    site.filter(|_| !refused).ok_or_else(|| problems.sorted())
}

fn compile_with(request: &Request<'_>, site: Option<ReadSite>, site_problems: Problems) -> Result<Compiled, Refused> {
    let mut problems = Problems::of(request.plan);
    if site.is_none() && request.site.is_none() && request.mode == Mode::Run {
        problems
            .error(Span::default(), "missing-site", "there is no site to run the plan on")
            .help("give one with -i SITE");
    }
    let sources = Sources::read(request, &mut problems);
    let plan = compile_plan(request, &sources, site.as_ref(), &mut problems);
    let included = sources.into_included();
    let refused = problems.refuse() || site_problems.refuse();
    problems.pinpoint(&std::iter::once(request.plan).chain(&included).collect::<Vec<_>>());
    let mut found = problems.sorted();
    found.extend(site_problems.sorted());
    match plan {
        Some(plan) if !refused => Ok(Compiled { plan, site, warnings: found, included }),
        Some(_) | None => {
            debug_assert!(found.iter().any(|found| found.severity == Severity::Error));
            Err(Refused { found, included })
        }
    }
}

fn compile_plan(
    request: &Request<'_>,
    sources: &Sources<'_>,
    site: Option<&ReadSite>,
    problems: &mut Problems,
) -> Option<Plan> {
    let kinds = Kinds(request.kinds.iter().map(|kind| (kind.name, *kind)).collect());
    let mut whole = Whole::of(sources, &kinds, problems)?;
    let steps = std::mem::take(&mut whole.steps);
    let document = &whole.parts.first()?.document;
    platform_fits(document, site, problems);
    let site_secrets = site.map(|read| read.secrets.as_slice()).unwrap_or_default();
    let Values { values, secrets } =
        inputs::values(&document.inputs, request, site.map(|read| &read.site), site_secrets, problems);
    let mut names = names(&whole, &steps, values, request, site, problems);
    let order = order(&whole, &steps, &mut names, problems);
    let mut compiler = Compiler { request, kinds: &kinds, site: site.map(|read| &read.site), names, problems };
    let Parts { preflight, steps } = compiler.parts(&whole, steps, &order);
    let mut names = compiler.names;
    ancestors(&whole, &order, &mut names, problems);
    if !problems.refuse() {
        foresight::warnings(&whole, &order, &mut names, problems);
        unused(document, &names, problems);
    }
    let all_secrets = secrets.into_iter().chain(site_secrets.iter().cloned());
    let secrets = all_secrets.filter(|secret| names.used_secrets.contains(&secret.name)).collect();
    let mut of_parts = names.into_values();
    let (inputs, vars) = of_parts.next()?;
    let included = whole.parts.iter().skip(1).zip(of_parts).filter_map(|(part, (inputs, vars))| {
        Some((part.key.clone()?, Included { prefix: part.prefix.clone(), inputs, vars }))
    });
    let included: BTreeMap<String, Included> = included.collect();
    let mut plan = Plan {
        format: if included.is_empty() { ALONE } else { FORMAT },
        name: document.name.clone(),
        title: document.title.clone(),
        description: document.description.clone(),
        platforms: document.platforms.iter().map(|(name, _)| (*name).to_owned()).collect(),
        reverts: document.reverts,
        digest: String::new(),
        inputs,
        vars,
        secrets,
        preflight,
        steps,
        included,
        directories: directories(&whole, request),
    };
    // A plan that is only checked may have holes, and is nothing that anybody could run.
    if request.mode == Mode::Run {
        plan.digest = digest(&plan);
    }
    Some(plan)
}

/// Keeps where the files of the parts are. A name that is no Unicode cannot be kept; relative paths are refused there.
fn directories(whole: &Whole<'_>, request: &Request<'_>) -> Directories {
    let text = |path: &Path| path.to_str().map(str::to_owned);
    let of = |part: &Part<'_>| part.source.directory.as_deref().and_then(text);
    Directories {
        home: request.home.and_then(text),
        plan: whole.parts.first().and_then(of),
        included: whole.parts.iter().filter_map(|part| Some((part.key.clone()?, of(part)?))).collect(),
    }
}

/// Knows the names of all parts of a plan: of each after those of the part that includes it, which gives it its inputs.
fn names<'a>(
    whole: &'a Whole<'a>,
    steps: &[Box<StepDecl<'a>>],
    mut values: Map<String, Value>,
    request: &Request<'_>,
    site: Option<&'a ReadSite>,
    problems: &mut Problems,
) -> Names<'a> {
    let mut names = Names::new(whole, steps, site);
    let start = |part: &Part<'_>| Start::new(part.source.directory.as_deref(), request.home);
    for part in &whole.parts {
        let own = start(part);
        if let Some(include) = &part.include {
            let outer = &whole.parts[part.parent];
            names.enter(part.parent);
            problems.enter(&outer.via);
            let with =
                include.with.iter().map(|entry| (entry.key.to_string(), names.value(&entry.node, problems))).collect();
            let site = site.map(|read| &read.site);
            let name = part.document.name.as_str();
            let passed = Passed { include, name, with: &with, from: &start(outer), own: &own, site };
            values = passed.values(&part.document.inputs, problems);
        }
        problems.enter(&part.via);
        names.add_part(std::mem::take(&mut values), own);
        for entry in part.document.vars {
            names.add_var(entry, problems);
        }
    }
    names.enter(0);
    problems.enter(&[]);
    names
}

fn platform_fits(document: &Document<'_>, site: Option<&ReadSite>, problems: &mut Problems) {
    let Some(platform) = site.map(|read| read.site.platform.as_str()).filter(|platform| !platform.is_empty()) else {
        return;
    };
    let mut written = document.platforms.iter();
    if let (Some((_, span)), false) =
        (document.platforms.first(), written.any(|(name, _)| [platform, "any"].contains(name)))
    {
        let names: Vec<&str> = document.platforms.iter().map(|(name, _)| *name).collect();
        problems
            .error(
                *span,
                "platform-mismatch",
                format!("the plan is not written for the platform `{platform}` of the site"),
            )
            .cause(format!("it is written for {}", super::fields::list(&names)))
            .help("`requorum plans list` shows the plans for each platform");
    }
}

/// The order of the steps, and their needs by index.
pub(super) struct Order {
    pub needs: Needs,
    pub steps: Vec<usize>,
}

fn order(whole: &Whole<'_>, steps: &[Box<StepDecl<'_>>], names: &mut Names<'_>, problems: &mut Problems) -> Order {
    duplicate_ids(whole, steps, problems);
    let needs = needs::needs(whole, steps, names, problems);
    let order = needs.order();
    if order.len() < steps.len() {
        let places = needs::places(whole, steps, names);
        for cycle in needs.cycles() {
            report_cycle(&cycle, steps, &places, problems);
        }
    }
    Order { needs, steps: order }
}

fn duplicate_ids(whole: &Whole<'_>, steps: &[Box<StepDecl<'_>>], problems: &mut Problems) {
    let mut first = HashMap::with_capacity(steps.len());
    let mut clashing = HashSet::new();
    for step in steps {
        let Some(id) = &step.id else { continue };
        let Some(other) = first.insert(id, step) else { continue };
        if other.part == step.part {
            let at = if step.span.file == File::MAIN {
                format!("in line {}", other.span.line)
            } else {
                format!("in {}", problems.place(other.span))
            };
            problems.enter(&whole.parts[step.part].via);
            problems
                .error(step.span, "duplicate-id", format!("the step `{id}` is there twice"))
                .cause(format!("it is already {at}"))
                .help("give one of them another id");
            continue;
        }
        // All of one include clash with all of another when it is there twice, and one line tells it.
        let (outer, inner) = if other.part > step.part { (step, other) } else { (other, step) };
        let part = whole.parted(inner.part, outer.part);
        if let Some(include) = whole.parts[part].include.as_ref().filter(|_| clashing.insert(part)) {
            let (one, two) = (problems.place(outer.span), problems.place(inner.span));
            let name = &whole.parts[part].document.name;
            problems.enter(&whole.parts[whole.parts[part].parent].via);
            let found = problems.error(include.of.1, "duplicate-id", format!("the step `{id}` is there twice"));
            found.cause(format!("it is in {one}, and `{name}` has it in {two}"));
            found.help(match &include.prefix {
                None => format!("write `as: PREFIX` beside it, which makes it `PREFIX-{id}`"),
                Some((prefix, _)) => format!("choose another prefix than `{prefix}`"),
            });
        }
    }
    problems.enter(&[]);
}

fn report_cycle(cycle: &[usize], steps: &[Box<StepDecl<'_>>], places: &Places, problems: &mut Problems) {
    /// How many steps of a cycle are named.
    const NAMED: usize = 12;
    let id = |index: usize| steps[index].id.as_ref().map_or("?", AsRef::as_ref);
    let next = |at: usize| cycle[(at + 1) % cycle.len()];
    let span = |at: usize| places.get(&(cycle[at], next(at))).copied().unwrap_or_default();
    let place = |at: usize| match span(at) {
        Span { file: File::MAIN, line, .. } => format!("line {line}"),
        included => problems.place(included),
    };
    let mut way: Vec<String> = cycle.iter().take(NAMED).map(|step| format!("`{}`", id(*step))).collect();
    if cycle.len() > NAMED {
        way.push(format!("… {} more …", cycle.len() - NAMED));
    }
    way.push(format!("`{}`", id(cycle[0])));
    let mut causes: Vec<String> = (0..cycle.len().min(NAMED))
        .map(|at| format!("{}: `{}` needs `{}`", place(at), id(cycle[at]), id(next(at))))
        .collect();
    if cycle.len() > NAMED {
        causes.push("…".to_owned());
    }
    problems
        .error(span(0), "cycle", format!("steps need each other in a cycle: {}", way.join(" -> ")))
        .cause(causes.join("\n"))
        .help("remove one of these needs");
}

/// Reports the use of a step that is not an ancestor.
fn ancestors(whole: &Whole<'_>, order: &Order, names: &mut Names<'_>, problems: &mut Problems) {
    if names.uses.is_empty() {
        return;
    }
    let ordered: HashSet<usize> = order.steps.iter().copied().collect();
    let pairs: Vec<(usize, usize)> = names.uses.iter().map(|used| (used.step, used.other)).collect();
    let answers = order.needs.ancestors(&order.steps, &pairs);
    let uses = std::mem::take(&mut names.uses);
    for (used, _) in uses.iter().zip(answers).filter(|(_, ancestor)| !ancestor) {
        // In or behind a cycle the question has no answer; the cycle is reported.
        if used.step != used.other && !(ordered.contains(&used.step) && ordered.contains(&used.other)) {
            continue;
        }
        let part = names.steps()[used.step].part;
        names.enter(part);
        problems.enter(&whole.parts[part].via);
        let (own, other) = (names.id(used.step), names.id(used.other));
        if used.step == used.other {
            problems
                .error(
                    used.place(problems),
                    "not-an-ancestor",
                    format!("`{own}` uses its own result before it has one"),
                )
                .cause("a step sees only what comes before it on the way of its needs")
                .help("in `outputs` and `undo` its own result is `result`");
        } else {
            problems
                .error(
                    used.place(problems),
                    "not-an-ancestor",
                    format!("`{own}` uses `{other}`, which it does not need"),
                )
                .cause("a step sees only what comes before it on the way of its needs")
                .help(format!("add `{other}` to the `needs` of `{own}`"));
        }
    }
    problems.enter(&[]);
    names.uses = uses;
}

fn unused(document: &Document<'_>, names: &Names<'_>, problems: &mut Problems) {
    for input in document.inputs.iter().filter(|input| !names.used_inputs.contains(input.name)) {
        problems
            .warning(input.span, "unused-input", format!("the input `{}` is never used", input.name))
            .help(format!("use it as `inputs.{}`, or remove it", input.name));
    }
    for var in document.vars.iter().filter(|var| !names.used_vars.contains(var.key.as_str())) {
        problems
            .warning(var.key_span, "unused-var", format!("the var `{}` is never used", var.key))
            .help(format!("use it as `vars.{}`, or remove it", var.key));
    }
}
