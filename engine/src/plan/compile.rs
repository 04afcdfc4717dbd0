//! Document, site and inputs to a plan that passed every check.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use requorum_steps::Kind;

use super::compiled::{FORMAT, Plan};
use super::diagnostic::{File, Problems, Severity, Span};
use super::document::{self, Document, Kinds, StepDecl};
use super::inputs::{self, Values};
use super::names::Names;
use super::order::Needs;
use super::parts::{Compiler, Parts};
use super::site::{self, ReadSite};
use super::{Diagnostic, Files, Given, Source, digest, foresight, yaml};

/// Says how much has to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is not given is unknown but has its type; [`Step::items`] is `None` where it cannot be known.
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
}

/// Compiles a plan, or returns all that is wrong with it and its site, those of the plan first, each by its place.
pub fn compile(request: &Request<'_>) -> Result<Compiled, Vec<Diagnostic>> {
    let mut site_problems = request.site.map_or_else(Problems::unread, Problems::of);
    let site = request.site.and_then(|source| site::read(source, request.home, &mut site_problems));
    compile_with(request, site, site_problems)
}

/// Compiles a plan for a site that was read before: the one that a run keeps.
pub fn compile_for(request: &Request<'_>, site: ReadSite) -> Result<Compiled, Vec<Diagnostic>> {
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

fn compile_with(
    request: &Request<'_>,
    site: Option<ReadSite>,
    site_problems: Problems,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut problems = Problems::of(request.plan);
    if site.is_none() && request.site.is_none() && request.mode == Mode::Run {
        problems
            .error(Span::default(), "missing-site", "there is no site to run the plan on")
            .help("give one with -i SITE");
    }
    let plan = compile_plan(request, site.as_ref(), &mut problems);
    let refused = problems.refuse() || site_problems.refuse();
    problems.pinpoint(&[request.plan]);
    let mut found = problems.sorted();
    found.extend(site_problems.sorted());
    match plan {
        Some(plan) if !refused => Ok(Compiled { plan, site, warnings: found }),
        Some(_) | None => {
            debug_assert!(found.iter().any(|found| found.severity == Severity::Error));
            Err(found)
        }
    }
}

fn compile_plan(request: &Request<'_>, site: Option<&ReadSite>, problems: &mut Problems) -> Option<Plan> {
    let kinds = Kinds(request.kinds.iter().map(|kind| (kind.name, *kind)).collect());
    let node = yaml::parse(request.plan, File::MAIN, problems)?;
    let mut document = document::read(&node, &kinds, problems)?;
    platform_fits(&document, site, problems);
    let site_secrets = site.map(|read| read.secrets.as_slice()).unwrap_or_default();
    let Values { values, secrets } =
        inputs::values(&document.inputs, request, site.map(|read| &read.site), site_secrets, problems);
    let decls = std::mem::take(&mut document.steps);
    let mut names = Names::new(&document.inputs, values, document.vars, site, &decls);
    for entry in document.vars {
        names.add_var(entry, problems);
    }
    let order = order(&decls, &names, problems);
    let mut compiler = Compiler { request, kinds: &kinds, site: site.map(|read| &read.site), names, problems };
    let Parts { preflight, steps } = compiler.parts(&document.preflight, decls, &order.steps);
    let names = compiler.names;
    ancestors(&order, &names, problems);
    if !problems.refuse() {
        foresight::warnings(&order, &names, problems);
        unused(&document, &names, problems);
    }
    let all_secrets = secrets.into_iter().chain(site_secrets.iter().cloned());
    let secrets = all_secrets.filter(|secret| names.used_secrets.contains(&secret.name)).collect();
    let (inputs, vars) = names.into_values();
    let platforms = document.platforms.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut plan = Plan {
        format: FORMAT,
        name: document.name,
        title: document.title,
        description: document.description,
        platforms,
        reverts: document.reverts,
        digest: String::new(),
        inputs,
        vars,
        secrets,
        preflight,
        steps,
    };
    plan.digest = digest(&plan);
    Some(plan)
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

fn order(steps: &[Box<StepDecl<'_>>], names: &Names<'_>, problems: &mut Problems) -> Order {
    duplicate_ids(steps, problems);
    let mut needs = Vec::with_capacity(steps.len());
    // For each step, which other needed it last: a need that is there twice is noticed without a set for each step.
    let mut needed_by = vec![usize::MAX; steps.len()];
    for (index, step) in steps.iter().enumerate() {
        let mut found = Vec::with_capacity(step.needs.len());
        for (id, span) in &step.needs {
            match names.step(id) {
                _ if step.id.as_ref().is_some_and(|own| own.as_str() == *id) => {
                    problems
                        .error(*span, "self-need", format!("the step `{id}` needs itself"))
                        .help("remove it from its `needs`");
                }
                None => {
                    let ids = steps.iter().filter_map(|step| step.id.as_ref().map(AsRef::as_ref));
                    problems.error(*span, "unknown-step", format!("there is no step `{id}`")).did_you_mean(id, ids);
                }
                Some(need) if needed_by[need] != index => {
                    needed_by[need] = index;
                    found.push(need);
                }
                Some(_) => {
                    problems
                        .warning(*span, "duplicate-need", format!("`{id}` is already among the needs"))
                        .help("remove one of them");
                }
            }
        }
        needs.push(found);
    }
    let needs = Needs(needs);
    let order = needs.order();
    if order.len() < steps.len() {
        for cycle in needs.cycles() {
            report_cycle(&cycle, steps, names, problems);
        }
    }
    Order { needs, steps: order }
}

fn duplicate_ids(steps: &[Box<StepDecl<'_>>], problems: &mut Problems) {
    let mut lines = HashMap::with_capacity(steps.len());
    for step in steps {
        let Some(id) = &step.id else { continue };
        if let Some(line) = lines.insert(id, step.span.line) {
            problems
                .error(step.span, "duplicate-id", format!("the step `{id}` is there twice"))
                .cause(format!("it is already in line {line}"))
                .help("give one of them another id");
        }
    }
}

fn report_cycle(cycle: &[usize], steps: &[Box<StepDecl<'_>>], names: &Names<'_>, problems: &mut Problems) {
    /// How many steps of a cycle are named.
    const NAMED: usize = 12;
    let id = |index: usize| steps[index].id.as_ref().map_or("?", AsRef::as_ref);
    let next = |at: usize| cycle[(at + 1) % cycle.len()];
    let span = |at: usize| {
        let mut needs = steps[cycle[at]].needs.iter();
        needs.find(|(id, _)| names.step(id) == Some(next(at))).map(|(_, span)| *span).unwrap_or_default()
    };
    let mut way: Vec<String> = cycle.iter().take(NAMED).map(|step| format!("`{}`", id(*step))).collect();
    if cycle.len() > NAMED {
        way.push(format!("… {} more …", cycle.len() - NAMED));
    }
    way.push(format!("`{}`", id(cycle[0])));
    let mut causes: Vec<String> = (0..cycle.len().min(NAMED))
        .map(|at| format!("line {}: `{}` needs `{}`", span(at).line, id(cycle[at]), id(next(at))))
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
fn ancestors(order: &Order, names: &Names<'_>, problems: &mut Problems) {
    if names.uses.is_empty() {
        return;
    }
    let ordered: HashSet<usize> = order.steps.iter().copied().collect();
    let pairs: Vec<(usize, usize)> = names.uses.iter().map(|used| (used.step, used.other)).collect();
    let answers = order.needs.ancestors(&order.steps, &pairs);
    for (used, _) in names.uses.iter().zip(answers).filter(|(_, ancestor)| !ancestor) {
        // In or behind a cycle the question has no answer; the cycle is reported.
        if used.step != used.other && !(ordered.contains(&used.step) && ordered.contains(&used.other)) {
            continue;
        }
        let (own, other) = (names.id(used.step), names.id(used.other));
        if used.step == used.other {
            problems
                .error(used.place.clone(), "not-an-ancestor", format!("`{own}` uses its own result before it has one"))
                .cause("a step sees only what comes before it on the way of its needs")
                .help("in `outputs` and `undo` its own result is `result`");
        } else {
            problems
                .error(used.place.clone(), "not-an-ancestor", format!("`{own}` uses `{other}`, which it does not need"))
                .cause("a step sees only what comes before it on the way of its needs")
                .help(format!("add `{other}` to the `needs` of `{own}`"));
        }
    }
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
