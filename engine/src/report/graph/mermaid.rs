//! The form for Markdown. Mermaid reads HTML, Markdown and its own words inside of labels, so that everything but letters,
//! digits and what stands inside of words is written by its number.

use std::fmt::Write as _;

use requorum_steps::Danger;

use super::{Drawing, Node};

pub(super) fn draw(drawing: &Drawing<'_>) -> String {
    let direction = if drawing.is_wide() { "LR" } else { "TB" };
    // A text of JSON is one of YAML.
    let title = serde_json::Value::String(drawing.title());
    let mut out = format!("---\ntitle: {title}\n---\nflowchart {direction}\n");
    for fact in drawing.facts() {
        let _ = writeln!(out, "  %% {}", fact.replace(['{', '}'], " "));
    }
    for node in &drawing.nodes {
        let (open, close) = if node.is_gate() { ("{{\"", "\"}}") } else { ("[\"", "\"]") };
        let _ = writeln!(out, "  {}{open}{}{close}:::{}", id(node), label(node), class(node));
    }
    for (need, at) in drawing.edges() {
        let _ = writeln!(out, "  {} --> {}", id(&drawing.nodes[need]), id(&drawing.nodes[at]));
    }
    out.push_str(
        "  classDef safe fill:#ffffff,stroke:#5b6472,color:#1b1f24\n  \
         classDef gate fill:#e7f0fd,stroke:#1a56b0,color:#1b1f24\n  \
         classDef disruptive fill:#fff3cd,stroke:#9a6c00,color:#1b1f24\n  \
         classDef destructive fill:#fde2e1,stroke:#b3261e,color:#1b1f24,stroke-width:3px\n",
    );
    out
}

/// Returns the id of a step in the drawing. `end` and the like are words of the language, and a dash may begin an arrow; an id
/// has no underscore of its own, so that none meets another.
fn id(node: &Node<'_>) -> String {
    format!("s_{}", node.step.id.as_str().replace('-', "_"))
}

fn class(node: &Node<'_>) -> &'static str {
    match node.step.danger {
        Danger::Safe if node.is_gate() => "gate",
        Danger::Safe => "safe",
        Danger::Disruptive => "disruptive",
        Danger::Destructive => "destructive",
    }
}

fn label(node: &Node<'_>) -> String {
    let caption = node.caption();
    let title: Vec<String> = caption.title.iter().map(|line| format!("<b>{}</b>", escaped(line))).collect();
    let details: Vec<String> = caption.details.iter().map(|line| escaped(line)).collect();
    let warning = if node.no_return { "<b>— point of no return —</b><br/>" } else { "" };
    format!("{warning}{}<br/>{}", title.join("<br/>"), details.join("<br/>"))
}

/// Writes a text so that nothing in it means anything to Mermaid.
fn escaped(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let in_word = |at: usize| {
        let letter = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
        letter(at.checked_sub(1)) && letter(Some(at + 1))
    };
    let mut out = String::with_capacity(text.len());
    for (at, c) in chars.iter().enumerate() {
        if c.is_alphanumeric()
            || matches!(c, ' ' | ',' | '…' | '—')
            || (matches!(c, '-' | '.' | '_' | '/') && in_word(at))
        {
            out.push(*c);
        } else {
            let _ = write!(out, "#{};", u32::from(*c));
        }
    }
    out
}
