//! What a person or a program reads of a preview.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use requorum_steps::{Danger, StepId};
use serde_json::{Value, json};

use super::{phrase, summary};
use crate::exec::foresee::{Foreseen, Outlook};
use crate::plan::compiled::{Plan, Step};
use crate::run::record::Finding;

/// A plan and what is foreseen of it on a cluster.
pub struct Forecast<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The cluster.
    pub cluster: &'a str,
    /// What the preflight saw.
    pub preflight: &'a [Finding],
    /// What is foreseen of each item.
    pub items: &'a [Foreseen],
    /// The first step that has no way back.
    pub no_return: Option<&'a Step>,
    /// Who holds the cluster now, one line for each host that says so.
    pub held: &'a [String],
}

impl Forecast<'_> {
    /// Says whether a run would begin.
    #[must_use]
    pub fn would_begin(&self) -> bool {
        self.held.is_empty() && self.preflight.iter().all(|finding| finding.holds)
    }

    /// Renders it for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} on cluster {}: {}\n", self.plan.name, self.cluster, self.plan.title);
        self.preflight_text(&mut text);
        for step in &self.plan.steps {
            self.step_text(&mut text, step);
        }
        let _ = writeln!(text);
        for (id, path) in self.set_aside() {
            let _ = writeln!(text, "set aside           {path} (by {id})");
        }
        for (id, asked) in self.items.iter().filter_map(|item| Some((&item.id, item.asks.as_ref()?))) {
            let _ = writeln!(text, "asks                {id}: {}", phrase::first_line(asked));
        }
        let _ = writeln!(text, "waits               {}", self.waits());
        let no_return = self.no_return.map_or_else(
            || "none: whatever would change can be taken back".to_owned(),
            |step| format!("{} ({}): from there on there is no rollback", step.id, step.kind),
        );
        let _ = writeln!(text, "point of no return  {no_return}");
        text
    }

    fn preflight_text(&self, text: &mut String) {
        let failing = self.preflight.iter().filter(|finding| !finding.holds).count();
        if self.preflight.is_empty() {
            let _ = writeln!(text, "preflight: nothing to check");
        } else if failing == 0 {
            let _ = writeln!(text, "preflight: all holds ({})", phrase::count(self.preflight.len(), "check"));
        } else {
            let failing = phrase::do_not_hold(failing, self.preflight.len());
            let _ = writeln!(text, "preflight: {failing}, a run would not begin");
            for finding in self.preflight.iter().filter(|finding| !finding.holds) {
                summary::failed_check(text, finding);
            }
        }
        for line in self.held {
            let _ = writeln!(text, "held by another operator, a run would not begin: {line}");
        }
    }

    fn step_text(&self, text: &mut String, step: &Step) {
        let items: Vec<&Foreseen> = self.items.iter().filter(|item| item.id.step == step.id).collect();
        let title = items.first().map_or(step.title.as_str(), |item| item.title.as_str());
        let danger = if step.danger > Danger::Safe { format!("  [{}]", step.danger) } else { String::new() };
        let _ = writeln!(text, "\n{}", format!("{}{danger}  {title}", step.id).trim_end());
        if items.is_empty() {
            let _ = writeln!(text, "  nothing to do");
        }
        if let Some(after) = items.iter().find_map(|item| after(&item.outlook)) {
            let _ = writeln!(text, "  looked at only then: {after} may change what it finds");
        }
        for item in items {
            let place = if item.id.item.is_single() { String::new() } else { format!("{}  ", item.id.item) };
            let (word, detail) = words(&item.outlook);
            let mut lines = detail.lines();
            let _ = writeln!(text, "  {place}{word}  {}", lines.next().unwrap_or_default());
            for line in lines {
                let _ = writeln!(text, "      {line}");
            }
        }
    }

    fn set_aside(&self) -> impl Iterator<Item = (String, &str)> {
        self.items.iter().filter_map(|item| Some((item.id.to_string(), item.sets_aside.as_deref()?)))
    }

    fn waits(&self) -> String {
        let known = match self.longest_waits() {
            Duration::ZERO => None,
            longest => Some(format!("at most {} in all", phrase::span(longest))),
        };
        let unknown = self.unknown_waits().iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        match (known, unknown.is_empty()) {
            (None, true) => "none".to_owned(),
            (Some(known), true) => known,
            (known, false) => {
                format!("{}for {unknown} not known yet", known.map_or(String::new(), |known| known + "; "))
            }
        }
    }

    /// Returns how long the waits can take in all, along the longest chain of needs, as far as they are known.
    fn longest_waits(&self) -> Duration {
        let mut waits: HashMap<&StepId, Duration> = HashMap::new();
        for item in self.items {
            let longest = waits.entry(&item.id.step).or_default();
            *longest = item.waits.unwrap_or_default().max(*longest);
        }
        let mut ends: HashMap<&StepId, Duration> = HashMap::new();
        for step in &self.plan.steps {
            let begins = step.needs.iter().filter_map(|need| ends.get(need)).max().copied().unwrap_or_default();
            let count = step.items.as_ref().map_or(1, Vec::len);
            let turns = step.max_parallel.map_or(1, |most| count.div_ceil(most.max(1)));
            let turns = u32::try_from(turns).unwrap_or(u32::MAX);
            let own = waits.get(&step.id).copied().unwrap_or_default();
            ends.insert(&step.id, begins.saturating_add(own.saturating_mul(turns)));
        }
        ends.into_values().max().unwrap_or_default()
    }

    /// The steps of which nobody can say yet how long they wait.
    fn unknown_waits(&self) -> Vec<&StepId> {
        let mut ids: Vec<&StepId> =
            self.items.iter().filter(|item| item.waits.is_none()).map(|item| &item.id.step).collect();
        ids.dedup();
        ids
    }

    /// Renders it for a program.
    #[must_use]
    pub fn json(&self) -> Value {
        let items: Vec<Value> = self
            .items
            .iter()
            .map(|item| {
                let mut value = json!({
                    "step": item.id.step,
                    "item": item.id.item,
                    "title": item.title,
                    "danger": item.danger,
                    "asks": item.asks,
                    "sets_aside": item.sets_aside,
                });
                outlook_json(&item.outlook, &mut value);
                value
            })
            .collect();
        json!({
            "plan": self.plan.name,
            "cluster": self.cluster,
            "would_begin": self.would_begin(),
            "preflight": self.preflight,
            "held": self.held,
            "items": items,
            "longest_waits_seconds": self.longest_waits().as_secs(),
            "waits_not_known": self.unknown_waits(),
            "point_of_no_return": self.no_return.map(|step| &step.id),
        })
    }
}

/// Names the steps before an item that change what it would find.
fn after(outlook: &Outlook) -> Option<String> {
    match outlook {
        Outlook::Runs { after, .. } if !after.is_empty() => {
            Some(after.iter().map(StepId::as_str).collect::<Vec<_>>().join(", "))
        }
        Outlook::Runs { .. }
        | Outlook::Satisfied { .. }
        | Outlook::Skipped { .. }
        | Outlook::Blocked { .. }
        | Outlook::Fails { .. }
        | Outlook::Unknown { .. } => None,
    }
}

/// Returns the word for an outlook, and the rest.
fn words(outlook: &Outlook) -> (&'static str, String) {
    match outlook {
        Outlook::Runs { command, .. } => ("would run", command.clone()),
        Outlook::Satisfied { evidence } => ("already so", evidence.clone()),
        Outlook::Skipped { because } => ("skipped", format!("`{because}` is false")),
        Outlook::Blocked { findings } => {
            let lines: Vec<String> =
                findings.iter().filter(|finding| !finding.holds).map(phrase::finding_line).collect();
            ("blocked", lines.join("\n"))
        }
        Outlook::Fails { fault } => ("would fail", phrase::fault_line(fault)),
        Outlook::Unknown { why } => ("cannot be known yet", why.clone()),
    }
}

fn outlook_json(outlook: &Outlook, value: &mut Value) {
    value["outlook"] = match outlook {
        Outlook::Runs { .. } => "would-run",
        Outlook::Satisfied { .. } => "already-satisfied",
        Outlook::Skipped { .. } => "skipped",
        Outlook::Blocked { .. } => "blocked",
        Outlook::Fails { .. } => "would-fail",
        Outlook::Unknown { .. } => "unknown",
    }
    .into();
    match outlook {
        Outlook::Runs { command, after } => {
            value["command"] = json!(command);
            value["looked_at_after"] = json!(after);
        }
        Outlook::Satisfied { evidence } => value["evidence"] = json!(evidence),
        Outlook::Skipped { because } => value["because"] = json!(because),
        Outlook::Blocked { findings } => value["findings"] = json!(findings),
        Outlook::Fails { fault } => value["fault"] = json!(fault),
        Outlook::Unknown { why } => value["why"] = json!(why),
    }
}
