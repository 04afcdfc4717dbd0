//! `requorum graph`: the steps and what they need, drawn.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use requorum_steps::Danger;

use super::error::CommandError;
use super::load;
use super::options::{Global, Inputs};
use super::output;
use crate::plan::Mode;
use crate::plan::compiled::{Plan, Step};

/// Draws the steps of a plan and what they need
#[derive(Debug, Args)]
pub struct Graph {
    /// The plan: a file, or a name of the library
    plan: String,

    /// The site file; without it, hosts are left open
    #[arg(short = 'i', long, env = "REQUORUM_SITE", value_name = "FILE")]
    site: Option<PathBuf>,

    #[command(flatten)]
    inputs: Inputs,

    /// The form of the drawing
    #[arg(short = 'o', long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For a terminal
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
}

impl Graph {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let loaded = load::compiled(&self.plan, self.site.as_deref(), &self.inputs, Mode::Check)
            .map_err(|error| load::report(error, global.colour()))?;
        let plan = &loaded.compiled.plan;
        output::print(format_args!(
            "{}",
            match self.output {
                Form::Text => text(plan),
                Form::Dot => dot(plan),
                Form::Mermaid => mermaid(plan),
            }
        ))?;
        Ok(())
    }
}

fn mark(danger: Danger) -> &'static str {
    match danger {
        Danger::Safe => "",
        Danger::Disruptive => "~",
        Danger::Destructive => "!",
    }
}

/// Says over what a step fans out.
fn hosts(step: &Step) -> String {
    match &step.items {
        _ if !step.fans_out => String::new(),
        None => "each of a list that the site tells".to_owned(),
        Some(items) if items.is_empty() => "nothing".to_owned(),
        Some(items) => items.iter().map(|item| item.key.as_str()).collect::<Vec<_>>().join(", "),
    }
}

/// Draws levels: a step stands one level below the lowest that it needs.
fn text(plan: &Plan) -> String {
    let wide = plan.steps.iter().map(|step| step.id.as_str().len()).max().unwrap_or(0);
    let mut levels: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    let mut rows: Vec<(usize, &Step)> = Vec::new();
    for step in &plan.steps {
        let level = step.needs.iter().filter_map(|need| levels.get(need.as_str())).max().map_or(1, |most| most + 1);
        levels.insert(step.id.as_str(), level);
        rows.push((level, step));
    }
    rows.sort_by_key(|(level, _)| *level);
    let mut out = format!("{}: {}\n", plan.name, plan.title);
    let mut last = 0;
    for (level, step) in rows {
        let number = if level == last { String::new() } else { level.to_string() };
        last = level;
        let needs: Vec<&str> = step.needs.iter().map(requorum_steps::StepId::as_str).collect();
        let needs = if needs.is_empty() { String::new() } else { format!("  after {}", needs.join(", ")) };
        let on = hosts(step);
        let on = if on.is_empty() { on } else { format!("  on {on}") };
        let line = format!("{number:>3} {:1} {:<wide$}  {:<24}{on}{needs}", mark(step.danger), step.id, step.kind);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push_str("~ disruptive  ! destructive\n");
    out
}

fn dot(plan: &Plan) -> String {
    let mut out = String::from(
        "digraph plan {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n",
    );
    for step in &plan.steps {
        let fill = match step.danger {
            Danger::Safe => "white",
            Danger::Disruptive => "lightyellow",
            Danger::Destructive => "mistyrose",
        };
        let on = hosts(step);
        let on = if on.is_empty() { on } else { format!("\\non {}", escape(&on)) };
        let _ = writeln!(out, "  \"{}\" [label=\"{}\\n{}{on}\", fillcolor={fill}];", step.id, step.id, step.kind);
    }
    for step in &plan.steps {
        for need in &step.needs {
            let _ = writeln!(out, "  \"{need}\" -> \"{}\";", step.id);
        }
    }
    out.push_str("}\n");
    out
}

fn mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart LR\n");
    for step in &plan.steps {
        let on = hosts(step);
        let on = if on.is_empty() { on } else { format!("<br/>on {}", escape(&on)) };
        let class = match step.danger {
            Danger::Safe => "",
            Danger::Disruptive => ":::disruptive",
            Danger::Destructive => ":::destructive",
        };
        // `end` and the like are words of the language, so that ids get a prefix.
        let _ = writeln!(out, "  s_{}[\"{}<br/>{}{on}\"]{class}", step.id, step.id, step.kind);
    }
    for step in &plan.steps {
        for need in &step.needs {
            let _ = writeln!(out, "  s_{need} --> s_{}", step.id);
        }
    }
    out.push_str("  classDef disruptive fill:#fff8dc\n  classDef destructive fill:#ffe4e1\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "'")
}
