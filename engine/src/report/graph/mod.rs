//! A plan drawn: what comes after what, on which hosts, and where it becomes dangerous.
//!
//! [`Drawing`] gathers what every form shows; `text`, `dot`, `mermaid` and `html` only write it down, each with the quoting of
//! its own language. Nothing here is about a run: [`super::forecast`] says what a run would do now.

mod dot;
mod html;
mod lanes;
mod layout;
mod mermaid;
mod text;
mod words;

use std::collections::HashMap;
use std::fmt::Write as _;

use requorum_steps::{Danger, Make, Seat, StepId, catalog};
use serde_json::Value;

pub use self::text::Look;
use self::words::{clean, shorten, wrap};
use crate::plan::compiled::{Included, Item, Plan, Step, Subject};
use crate::plan::{ReadSite, Scope, template};
use crate::run::rollback::ends_the_way_back;

/// How many hosts or values of a step are named; the rest are counted.
const NAMED: usize = 5;
/// How many columns a line has in a box.
const BOX_COLUMNS: usize = 34;
/// How many lines a title may take in a box.
const TITLE_LINES: usize = 4;

/// A plan as it is drawn.
pub struct Drawing<'a> {
    plan: &'a Plan,
    site: Option<&'a ReadSite>,
    nodes: Vec<Node<'a>>,
}

/// A step as it is drawn.
struct Node<'a> {
    step: &'a Step,
    /// Its title, as far as it is known before a run; empty where it has none.
    title: String,
    /// The steps that it needs, by their place among the nodes.
    needs: Vec<usize>,
    /// How many steps are before it on the longest way.
    level: usize,
    /// Where it works, or for what.
    place: Option<String>,
    /// In which turn its items go, if not all at once.
    turns: Option<String>,
    /// What a person is asked before it.
    asks: Option<String>,
    /// What must be true of an item, or it is skipped.
    condition: Option<String>,
    /// Whether there is no rollback once it has begun, for the first time in the plan.
    no_return: bool,
}

/// What is written into a box of a drawing.
struct Caption {
    title: Vec<String>,
    details: Vec<String>,
}

impl<'a> Drawing<'a> {
    /// Gathers what is drawn. Without a site, hosts may be left open.
    #[must_use]
    pub fn new(plan: &'a Plan, site: Option<&'a ReadSite>) -> Self {
        let common = site.map_or_else(Scope::default, |site| Scope::default().site(&site.value));
        let own = common.clone().inputs(&plan.inputs).vars(&plan.vars);
        let of_part =
            |(part, of): (&'a String, &Included)| (part.as_str(), common.clone().inputs(&of.inputs).vars(&of.vars));
        let included: HashMap<&str, Scope> = plan.included.iter().map(of_part).collect();
        let by_id: HashMap<&StepId, usize> = plan.steps.iter().enumerate().map(|(at, step)| (&step.id, at)).collect();
        let mut nodes: Vec<Node<'a>> = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let scope = step.part.as_deref().and_then(|part| included.get(part)).unwrap_or(&own);
            let needs: Vec<usize> = step.needs.iter().filter_map(|need| by_id.get(need).copied()).collect();
            let level = needs.iter().filter_map(|need| nodes.get(*need)).map(|need| need.level + 1).max().unwrap_or(0);
            let asked = step.confirm.as_deref().or_else(|| gate_of(step));
            nodes.push(Node {
                step,
                title: told(&step.title, step, scope),
                needs,
                level,
                place: place(step, site),
                turns: turns(step),
                asks: asked.map(|text| told(text, step, scope)),
                condition: step.when.as_deref().map(clean),
                no_return: false,
            });
        }
        if let Some(first) = nodes.iter_mut().find(|node| ends_the_way_back(node.step)) {
            first.no_return = true;
        }
        Self { plan, site, nodes }
    }

    /// Draws it for a terminal.
    #[must_use]
    pub fn text(&self, look: Look) -> String {
        text::draw(self, look)
    }

    /// Draws it for Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        dot::draw(self)
    }

    /// Draws it for Markdown.
    #[must_use]
    pub fn mermaid(&self) -> String {
        mermaid::draw(self)
    }

    /// Draws it as one page that needs nothing else.
    #[must_use]
    pub fn html(&self) -> String {
        html::draw(self)
    }

    fn title(&self) -> String {
        let (name, title) = (clean(&self.plan.name), clean(&self.plan.title));
        if title.is_empty() { name } else { format!("{name}: {title}") }
    }

    /// Says what there is to know of the plan as a whole, one line each.
    fn facts(&self) -> Vec<String> {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let steps = count(self.nodes.len(), "step");
        let mut facts = vec![match self.plan.preflight.len() {
            0 => steps,
            checks => format!("{} before anything changes, then {steps}", count(checks, "check")),
        }];
        if let Some(site) = self.site {
            let names = |lost: bool| {
                let hosts = site.site.hosts.values().filter(|host| host.lost == lost);
                hosts.map(|host| host.name.as_str().to_owned()).collect::<Vec<_>>()
            };
            let (held, lost) = (names(false), names(true));
            let hosts = if held.is_empty() { "no hosts".to_owned() } else { listed(&held) };
            facts.push(format!("cluster {}: {hosts}", site.site.cluster));
            if !lost.is_empty() {
                facts.push(format!("given up as lost: {}", listed(&lost)));
            }
        }
        if self.plan.reverts {
            facts.push("takes the cluster back in time".to_owned());
        }
        facts
    }

    /// Says whether it is better drawn from left to right: what goes side by side is then one below the other.
    fn is_wide(&self) -> bool {
        let mut widths = vec![0_usize; self.nodes.iter().map(|node| node.level + 1).max().unwrap_or(0)];
        for node in &self.nodes {
            widths[node.level] += 1;
        }
        let widest = widths.iter().copied().max().unwrap_or(0);
        widest > 4 && widest > widths.len()
    }

    /// Returns each need as a pair: the step that is needed, and the one that needs it.
    fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        self.nodes.iter().enumerate().flat_map(|(at, node)| node.needs.iter().map(move |need| (*need, at)))
    }
}

impl Node<'_> {
    /// Returns what names it for a reader: the title, or the id.
    fn name(&self) -> &str {
        if self.title.is_empty() { self.step.id.as_str() } else { &self.title }
    }

    /// Says what it does and where: the kind, the hosts.
    fn work(&self) -> String {
        let mut work = self.step.kind.clone();
        for more in self.place.iter().chain(&self.turns) {
            work = format!("{work} {more}");
        }
        work
    }

    /// Returns the word for its danger, where there is any.
    fn danger(&self) -> Option<&'static str> {
        (self.step.danger > Danger::Safe).then(|| self.step.danger.word())
    }

    fn is_gate(&self) -> bool {
        self.asks.is_some()
    }

    /// Says what is particular about it, shortest first.
    fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self.danger().map(str::to_owned).into_iter().collect();
        remarks.extend(self.condition.as_ref().map(|condition| format!("only if {condition}")));
        remarks.extend(self.asks.as_ref().map(|asks| format!("asks: {asks}")));
        remarks
    }

    fn caption(&self) -> Caption {
        let title = shorten(wrap(self.name(), BOX_COLUMNS), TITLE_LINES);
        let mut details = Vec::new();
        if !self.title.is_empty() {
            details.extend(shorten(wrap(self.step.id.as_str(), BOX_COLUMNS), 2));
        }
        details.extend(shorten(wrap(&self.work(), BOX_COLUMNS), 4));
        for remark in self.remarks() {
            details.extend(shorten(wrap(&remark, BOX_COLUMNS), 3));
        }
        Caption { title, details }
    }
}

/// Returns the question of a step that is a gate itself.
fn gate_of(step: &Step) -> Option<&str> {
    step.args.get("message").and_then(Value::as_str).filter(|_| step.kind == "gate.confirm")
}

/// Renders a text as far as it is known. Of what is not, the expression is shown: `Move {item}`.
fn told(text: &str, step: &Step, scope: &Scope) -> String {
    let scope = match step.items.as_deref() {
        Some([Item { subject, .. }]) => scope.clone().subject(subject),
        Some(_) | None => scope.clone(),
    };
    if let Some(known) = template::known_text(text, &scope) {
        return clean(&known);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, (inner, after))) =
        rest.split_once("{{").and_then(|(before, after)| Some((before, after.split_once("}}")?)))
    {
        out.push_str(before);
        let _ = write!(out, "{{{}}}", inner.trim_matches(['-', ' ']));
        rest = after;
    }
    clean(&(out + rest))
}

/// Says where a step works, or for what; `None` where there is nothing to say.
fn place(step: &Step, site: Option<&ReadSite>) -> Option<String> {
    if !step.fans_out {
        let kind = catalog::find(&step.kind)?;
        return match (kind.make, kind.seat) {
            (Make::Action(_) | Make::Check(_), Seat::Here) => Some("on this machine".to_owned()),
            (Make::Action(_) | Make::Check(_), Seat::Cluster) => Some("by the API of the cluster".to_owned()),
            (Make::Action(_) | Make::Check(_), Seat::Host) | (Make::Builtin(_), _) => None,
        };
    }
    let Some(items) = &step.items else {
        let seat = catalog::find(&step.kind).map(|kind| kind.seat);
        let what = if seat == Some(Seat::Host) { "on hosts" } else { "for a list" };
        return Some(format!("{what} not known yet"));
    };
    if items.is_empty() {
        return Some("on nothing: its list is empty".to_owned());
    }
    let hosts = items.iter().any(|item| matches!(item.subject, Subject::Host(_)));
    let names: Vec<String> = items.iter().map(|item| subject(item, site)).collect();
    Some(format!("{} {}", if hosts { "on" } else { "for" }, listed(&names)))
}

fn subject(item: &Item, site: Option<&ReadSite>) -> String {
    match &item.subject {
        Subject::Host(name) => {
            let lost = site.and_then(|site| site.site.hosts.get(name)).is_some_and(|host| host.lost);
            format!("{name}{}", if lost { " (lost)" } else { "" })
        }
        Subject::Value(value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            shorten(wrap(&clean(&text), 24), 1).concat()
        }
        Subject::None => item.key.as_str().to_owned(),
    }
}

fn turns(step: &Step) -> Option<String> {
    let several = step.fans_out && step.items.as_ref().is_none_or(|items| items.len() > 1);
    match step.max_parallel {
        _ if !several => None,
        Some(1) => Some("(one after the other)".to_owned()),
        Some(most) if step.canary => Some(format!("(the first alone, then at most {most} at once)")),
        Some(most) => Some(format!("(at most {most} at once)")),
        None => step.canary.then(|| "(the first alone, then the others)".to_owned()),
    }
}

/// Lists names; of many, the first, and how many there are.
fn listed(names: &[String]) -> String {
    if names.len() <= NAMED + 1 {
        return names.join(", ");
    }
    format!("{} and {} more", names[..NAMED].join(", "), names.len() - NAMED)
}

#[cfg(test)]
mod tests;
