//! The plan with what it includes: the steps and checks of all its parts in one order, each with the part that it is of.
//!
//! A *part* is the plan itself or one include of another plan: with inputs, vars and a prefix of its own. A file that is
//! included twice makes two parts. A part comes after the one that includes it, and its steps and those of what it includes
//! itself are one run among the steps of all.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use requorum_steps::StepId;

use super::Source;
use super::diagnostic::{Problems, Span};
use super::document::{self, CheckDecl, Document, IncludeDecl, Kinds, List, Reading, StepDecl, Steps};
use super::fields::list;
use super::include::{MAX_DEPTH, Sources};
use super::yaml::{Node, Tree};

/// How many includes there may be, counted for each time that a plan is included.
const MAX_PARTS: usize = 1_000;
/// How many steps, checks and further includes all includes may come to.
const MAX_INCLUDED: usize = 200_000;
/// How long the texts of all includes may be together, in bytes.
const MAX_TEXT: usize = 64 << 20;

/// The plan with what it includes.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    /// The parts; the first is the plan itself, and each comes after the one that includes it.
    pub parts: Vec<Part<'a>>,
    /// The steps, until they are taken to be compiled.
    pub steps: Steps<'a>,
    /// The checks before the steps, each with its part.
    pub preflight: Vec<(usize, CheckDecl<'a>)>,
    /// The prefixes of the ids that are missing because of what is reported, with the dash: no use of one is reported again.
    pub missing: HashSet<String>,
}

/// The plan itself, or one include of another.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// What it is called in the compiled plan; `None`: it is the plan itself.
    pub key: Option<String>,
    /// The part that includes it; of the plan itself it means nothing.
    pub parent: usize,
    /// The include; `None`: it is the plan itself.
    pub include: Option<IncludeDecl<'a>>,
    /// What its ids have before them, with the dash.
    pub prefix: String,
    pub source: &'a Source,
    /// Its head: its steps and checks are with those of all.
    pub document: Document<'a>,
    /// Its steps and those of what it includes, among all.
    pub steps: Range<usize>,
    /// The places that include it, the nearest first.
    pub via: Vec<String>,
}

impl<'a> Whole<'a> {
    /// Reads the documents and puts them together. `None` where the plan itself is too broken to go on, or too much comes of
    /// its includes.
    pub fn of(sources: &'a Sources<'_>, kinds: &Kinds, problems: &mut Problems) -> Option<Self> {
        let document = document::read(sources.node(0)?, Reading::Steps, kinds, problems)?;
        let whole = Self { parts: Vec::new(), steps: Vec::new(), preflight: Vec::new(), missing: HashSet::new() };
        let mut expander = Expander {
            sources,
            kinds,
            problems,
            whole,
            way: Vec::new(),
            keys: HashSet::new(),
            prefixed: HashMap::new(),
            included: 0,
            text: 0,
            full: false,
        };
        expander.part(0, document, None, &[Reading::Preflight, Reading::Steps]);
        expander.problems.enter(&[]);
        (!expander.full).then_some(expander.whole)
    }

    /// Says whether a step is missing because of what is reported, by its id in the whole plan.
    pub fn is_missing(&self, id: &str) -> bool {
        if self.missing.is_empty() {
            return false;
        }
        let id = format!("{id}-");
        let dashes = id.char_indices().filter(|(_, c)| *c == '-').map(|(at, _)| at + 1);
        std::iter::once(0).chain(dashes).any(|end| self.missing.contains(&id[..end]))
    }

    /// Returns the include that parts a part from another which comes before it: outside of it, both are one.
    pub fn parted(&self, part: usize, from: usize) -> usize {
        let way_up = |part: usize| {
            std::iter::successors(Some(part), |part| (*part > 0).then(|| self.parts[*part].parent)).collect::<Vec<_>>()
        };
        let common = way_up(from);
        way_up(part).into_iter().take_while(|part| !common.contains(part)).last().unwrap_or(part)
    }
}

struct Expander<'a, 's, 'p> {
    sources: &'a Sources<'s>,
    kinds: &'p Kinds,
    problems: &'p mut Problems,
    whole: Whole<'a>,
    /// The files on the way to here, each with the part that it is and the place where it is included.
    way: Vec<(usize, usize, Span)>,
    keys: HashSet<String>,
    /// The prefixes that a part gives, with the places.
    prefixed: HashMap<(usize, StepId), Span>,
    /// How many steps, checks and further includes came from includes.
    included: usize,
    /// How long the texts are that came from includes.
    text: usize,
    /// Whether they are too many, which is reported once.
    full: bool,
}

impl<'a> Expander<'a, '_, '_> {
    fn part(
        &mut self,
        file: usize,
        mut document: Document<'a>,
        include: Option<(usize, IncludeDecl<'a>)>,
        wanted: &[Reading],
    ) {
        let (preflight, steps) = (std::mem::take(&mut document.preflight), std::mem::take(&mut document.steps));
        let number = self.whole.parts.len();
        let reading = wanted.last().copied().unwrap_or(Reading::Steps);
        let span = include.as_ref().map(|(_, include)| include.of.1).unwrap_or_default();
        let part = self.head(file, document, include, reading);
        self.problems.enter(&part.via);
        self.preflight_left_out(file, &preflight, &steps, wanted);
        self.whole.parts.push(part);
        self.way.push((file, number, span));
        if wanted.contains(&Reading::Preflight) {
            self.preflight(number, preflight);
        }
        if wanted.contains(&Reading::Steps) {
            self.steps(number, steps);
        }
        self.way.pop();
    }

    /// Makes a part that has no steps yet.
    fn head(
        &mut self,
        file: usize,
        document: Document<'a>,
        include: Option<(usize, IncludeDecl<'a>)>,
        reading: Reading,
    ) -> Part<'a> {
        let source = self.sources.source(file);
        let Some((parent, include)) = include else {
            let (key, prefix, via) = (None, String::new(), Vec::new());
            return Part { key, parent: 0, include: None, prefix, source, document, steps: 0..0, via };
        };
        let outer = &self.whole.parts[parent];
        let own = match (&include.prefix, reading) {
            (Some((prefix, _)), _) => prefix.to_string(),
            (None, Reading::Preflight) if outer.key.is_none() => format!("preflight {}", document.name),
            (None, Reading::Preflight | Reading::Steps) => document.name.clone(),
        };
        let key = outer.key.as_ref().map_or_else(|| own.clone(), |outer| format!("{outer}/{own}"));
        let prefix = include.prefix.as_ref().map_or_else(String::new, |(prefix, _)| format!("{prefix}-"));
        let prefix = format!("{}{prefix}", outer.prefix);
        let via = std::iter::once(self.problems.place(include.of.1)).chain(outer.via.iter().cloned()).collect();
        let key = Some(self.unique(key));
        Part { key, parent, include: Some(include), prefix, source, document, steps: 0..0, via }
    }

    fn unique(&mut self, key: String) -> String {
        let numbered = (2..).map(|number| format!("{key} ({number})"));
        let free = std::iter::once(key.clone()).chain(numbered).find(|key| !self.keys.contains(key));
        let key = free.unwrap_or(key);
        self.keys.insert(key.clone());
        key
    }

    fn preflight(&mut self, part: usize, list: List<'a, CheckDecl<'a>>) {
        let mut includes = list.includes.into_iter().peekable();
        let mut own = list.own.into_iter().enumerate();
        loop {
            let next = own.next();
            let at = next.as_ref().map_or(usize::MAX, |(at, _)| *at);
            while let Some((_, include)) = includes.next_if(|(before, _)| *before <= at) {
                self.include(part, include, Reading::Preflight);
            }
            let Some((_, check)) = next else { return };
            self.whole.preflight.push((part, check));
        }
    }

    fn steps(&mut self, part: usize, list: List<'a, Box<StepDecl<'a>>>) {
        let begin = self.whole.steps.len();
        if part == 0 && list.includes.is_empty() {
            // A large plan is moved as it is: its steps would be there twice for a while.
            self.whole.steps = list.own;
        } else {
            let mut includes = list.includes.into_iter().peekable();
            let mut own = list.own.into_iter().enumerate();
            loop {
                let next = own.next();
                let at = next.as_ref().map_or(usize::MAX, |(at, _)| *at);
                while let Some((_, include)) = includes.next_if(|(before, _)| *before <= at) {
                    self.include(part, include, Reading::Steps);
                }
                let Some((_, step)) = next else { break };
                self.step(part, step);
            }
        }
        self.whole.parts[part].steps = begin..self.whole.steps.len();
    }

    fn step(&mut self, part: usize, mut step: Box<StepDecl<'a>>) {
        step.part = part;
        let prefix = self.whole.parts[part].prefix.as_str();
        if let Some(id) = step.id.take() {
            match StepId::new(format!("{prefix}{id}")) {
                Ok(id) => step.id = Some(id),
                Err(error) => {
                    self.whole.missing.insert(format!("{prefix}{id}-"));
                    self.problems
                        .error(step.span, "bad-name", format!("`{prefix}{id}` is no id for a step"))
                        .cause(format!("an id is {}", error.rule))
                        .help("choose a shorter prefix where it is included");
                }
            }
        }
        self.whole.steps.push(step);
    }

    /// Says whether another plan can be included: what all come to is bounded.
    fn has_room(&mut self, file: usize, document: &Document<'a>, span: Span) -> bool {
        let Document { preflight, steps, .. } = document;
        self.included += preflight.own.len() + preflight.includes.len() + steps.own.len() + steps.includes.len();
        self.text += self.sources.source(file).text.len();
        if self.included > MAX_INCLUDED {
            self.too_many(span, format!("the includes come to more than {MAX_INCLUDED} steps and checks"));
        } else if self.text > MAX_TEXT {
            self.too_many(span, format!("the texts of all includes are longer than {} MiB", MAX_TEXT >> 20));
        }
        !self.full
    }

    fn too_many(&mut self, span: Span, message: String) {
        if !self.full {
            self.problems
                .error(span, "too-many-includes", message)
                .help("a plan that is included in plans that are included again is there once for each of them");
        }
        self.full = true;
    }

    fn include(&mut self, parent: usize, include: IncludeDecl<'a>, reading: Reading) {
        self.same_prefix(parent, &include);
        let own = include.prefix.as_ref().map_or_else(String::new, |(prefix, _)| format!("{prefix}-"));
        let prefix = format!("{}{own}", self.whole.parts[parent].prefix);
        let outer = self.whole.parts[parent].via.clone();
        if let Some((file, document)) = self.opened(&include, &outer, reading) {
            self.fits(parent, &include, &document, reading);
            self.part(file, document, Some((parent, include)), &[reading]);
        } else if reading == Reading::Steps {
            self.whole.missing.insert(prefix);
        }
        self.problems.enter(&outer);
    }

    /// Opens what is included. `None`: it cannot be, which is reported.
    fn opened(
        &mut self,
        include: &IncludeDecl<'a>,
        outer: &[String],
        reading: Reading,
    ) -> Option<(usize, Document<'a>)> {
        let (written, span) = include.of;
        if self.full {
            return None;
        }
        if self.way.len() >= MAX_DEPTH {
            self.problems
                .error(span, "include-depth", format!("plans include each other more than {MAX_DEPTH} deep"))
                .help("include it further up");
            return None;
        }
        let from = self.way.last().map_or(0, |(file, ..)| *file);
        let file = self.sources.included_by(from, written)?;
        if self.is_cycle(file, span) {
            return None;
        }
        if self.whole.parts.len() > MAX_PARTS {
            self.too_many(span, format!("there are more than {MAX_PARTS} includes"));
            return None;
        }
        let node = self.sources.node(file)?;
        let via: Vec<String> = std::iter::once(self.problems.place(span)).chain(outer.iter().cloned()).collect();
        self.problems.enter(&via);
        let document = document::read(node, reading, self.kinds, self.problems);
        self.problems.enter(outer);
        document.filter(|document| self.has_room(file, document, span)).map(|document| (file, document))
    }

    fn same_prefix(&mut self, parent: usize, include: &IncludeDecl<'_>) {
        let Some((prefix, span)) = &include.prefix else { return };
        if let Some(first) = self.prefixed.insert((parent, prefix.clone()), *span) {
            let first = self.problems.place(first);
            self.problems
                .error(*span, "duplicate-id", format!("the prefix `{prefix}` is there twice"))
                .cause(format!("it is already in {first}"))
                .help("give each include a prefix of its own");
        }
    }

    fn is_cycle(&mut self, file: usize, span: Span) -> bool {
        let Some(first) = self.way.iter().position(|(on_way, ..)| *on_way == file) else { return false };
        let name = |file: usize| self.sources.source(file).name.as_str();
        let files: Vec<usize> = self.way[first..].iter().map(|(file, ..)| *file).chain([file]).collect();
        let places = self.way[first + 1..].iter().map(|(.., span)| *span).chain([span]);
        let way: Vec<String> = files.iter().map(|file| format!("`{}`", name(*file))).collect();
        let causes: Vec<String> = places
            .zip(files.iter().skip(1))
            .map(|(place, file)| format!("{}: includes `{}`", self.problems.place(place), name(*file)))
            .collect();
        self.problems
            .error(span, "include-cycle", format!("plans include each other in a cycle: {}", way.join(" -> ")))
            .cause(causes.join("\n"))
            .help("remove one of these includes");
        true
    }

    /// Checks that the head of an included plan promises no less than that of the one that includes it.
    fn fits(&mut self, parent: usize, include: &IncludeDecl<'_>, document: &Document<'_>, reading: Reading) {
        let outer = &self.whole.parts[parent].document;
        let span = include.of.1;
        let written_for: Vec<&str> = document.platforms.iter().map(|(name, _)| *name).collect();
        let fits = |platform: &&str| written_for.contains(&"any") || written_for.contains(platform);
        if let Some(platform) = outer.platforms.iter().map(|(name, _)| *name).find(|platform| !fits(platform)) {
            self.problems
                .error(span, "platform-mismatch", format!("`{}` is not written for `{platform}`", document.name))
                .cause(format!(
                    "it is written for {}, and the plan that includes it for `{platform}`",
                    list(&written_for)
                ))
                .help(format!("write `platforms: [{}]` in the plan that includes it", written_for.join(", ")));
        }
        if document.reverts && !outer.reverts && reading == Reading::Steps {
            self.problems
                .error(span, "reverts-inside", format!("`{}` takes the cluster back in time", document.name))
                .cause("the plan that includes it does not say so of itself")
                .help("write `reverts: true` in it as well");
        }
    }

    /// Warns of a plan whose steps are included, and whose preflight is not.
    fn preflight_left_out(
        &mut self,
        file: usize,
        preflight: &List<'a, CheckDecl<'a>>,
        steps: &List<'a, Box<StepDecl<'a>>>,
        wanted: &[Reading],
    ) {
        if !wanted.contains(&Reading::Steps) {
            return;
        }
        let meant = |include: &IncludeDecl<'_>| self.sources.included_by(file, include.of.0);
        let checked: HashSet<usize> = preflight.includes.iter().filter_map(|(_, include)| meant(include)).collect();
        let mut warned = HashSet::new();
        for (_, include) in &steps.includes {
            let Some(included) = meant(include).filter(|file| !checked.contains(file) && warned.insert(*file)) else {
                continue;
            };
            let has = |key: &str| self.sources.node(included).is_some_and(|node| has_list(node, key));
            if has("preflight") && has("steps") {
                let (written, span) = include.of;
                let with = if include.with.is_empty() { "" } else { ", with: { … }" };
                self.problems
                    .warning(span, "preflight-left-out", format!("the preflight of `{written}` is left out"))
                    .cause("an include in `steps` brings its steps alone")
                    .help(format!("add to `preflight`: - {{ include: {written}{with} }}"));
            }
        }
    }
}

fn has_list(node: &Node, key: &str) -> bool {
    matches!(node.get(key).map(|node| &node.value), Some(Tree::List(items)) if !items.is_empty())
}
