//! What a rollback will do, for a person or a program, before anything is done.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::run::record::ItemId;
use crate::run::rollback::{Left, Way};

/// What is known of a rollback before it begins.
#[derive(Debug)]
pub struct Outlook<'a> {
    /// The run that is taken back, and on which cluster.
    pub of: &'a str,
    /// The way back.
    pub way: &'a Way,
    /// The exact command for each item.
    pub commands: &'a [(ItemId, String)],
    /// Whether the cluster's quorum is surely lost, and what was seen; `None` where etcd is not touched.
    pub cluster: Option<(bool, String)>,
}

impl Outlook<'_> {
    /// Renders it for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("the way back of {}, in this order:\n", self.of);
        let wide = self.commands.iter().map(|(id, _)| id.to_string().len()).max().unwrap_or(0);
        for step in &self.way.plan.steps {
            for (id, command) in self.commands.iter().filter(|(id, _)| id.step == step.id) {
                let _ = writeln!(text, "  {:<wide$}  {command}", id.to_string());
            }
        }
        if self.commands.is_empty() {
            text.push_str("  nothing is to be taken back\n");
        }
        if !self.way.left.is_empty() {
            text.push_str("left as it is:\n");
            lines(&mut text, &self.way.left);
        }
        if self.sets_aside() {
            text.push_str(
                "what is in the way is set aside beside its place (PATH.requorum-RUN-STEP); nothing is deleted\n",
            );
        }
        if let Some((lost, seen)) = &self.cluster {
            let _ = writeln!(text, "the cluster now: {seen}");
            text.push_str(if *lost {
                "its quorum is lost\n"
            } else {
                "it works, or may work: what was written to it since the run began is not in what comes back\n"
            });
        }
        text
    }

    /// Renders it for a program.
    #[must_use]
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self
            .way
            .plan
            .steps
            .iter()
            .flat_map(|step| {
                self.commands.iter().filter(|(id, _)| id.step == step.id).map(move |(id, command)| {
                    json!({
                        "step": id.step,
                        "item": id.item,
                        "needs": step.needs,
                        "kind": step.kind,
                        "danger": step.danger,
                        "command": command,
                    })
                })
            })
            .collect();
        let left: Vec<Value> = self
            .way
            .left
            .iter()
            .map(|left| json!({ "step": left.id.step, "item": left.id.item, "why": left.why }))
            .collect();
        json!({
            "of": self.of,
            "steps": steps,
            "left": left,
            "quorum_lost": self.cluster.as_ref().map(|(lost, _)| lost),
            "cluster": self.cluster.as_ref().map(|(_, seen)| seen),
        })
    }

    fn sets_aside(&self) -> bool {
        self.way.plan.steps.iter().any(|step| matches!(step.kind.as_str(), "file.set_aside" | "file.restore_aside"))
    }
}

/// Says why there is no way back.
#[must_use]
pub fn no_way(barriers: &[Left]) -> String {
    let mut text = String::from("\nnothing was changed: these cannot be taken back, so nothing is\n");
    lines(&mut text, barriers);
    text
}

fn lines(text: &mut String, items: &[Left]) {
    for Left { id, why } in items {
        let mut lines = why.lines();
        let _ = writeln!(text, "  {id}: {}", lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "    {line}");
        }
    }
}
