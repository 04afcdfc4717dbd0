//! The form for Graphviz. Labels are HTML-like, so that only the five characters of XML need escaping.

use std::fmt::Write as _;

use requorum_steps::Danger;

use super::{Drawing, Node};

pub(super) fn draw(drawing: &Drawing<'_>) -> String {
    let direction = if drawing.is_wide() { "LR" } else { "TB" };
    let facts = drawing.facts().iter().map(|fact| format!("<br/>{}", xml(fact))).collect::<Vec<_>>().concat();
    let mut out = format!(
        "digraph plan {{\n  rankdir={direction};\n  charset=\"UTF-8\";\n  fontname=\"Helvetica,Arial,sans-serif\";\n  \
         labelloc=t;\n  label=<<b>{}</b>{facts}<br/> >;\n  node [shape=box, style=\"rounded,filled\", fontsize=12, \
         margin=\"0.16,0.10\", fontname=\"Helvetica,Arial,sans-serif\"];\n  edge [color=\"#5b6472\"];\n",
        xml(&drawing.title())
    );
    for (at, node) in drawing.nodes.iter().enumerate() {
        // Ids are kebab-case; in quotes they are safe.
        let _ = writeln!(out, "  \"{}\" [label=<{}>, {}];", id(drawing, at), label(node), look(node));
    }
    for (need, at) in drawing.edges() {
        let _ = writeln!(out, "  \"{}\" -> \"{}\";", id(drawing, need), id(drawing, at));
    }
    out.push_str("}\n");
    out
}

fn id<'d>(drawing: &'d Drawing<'_>, at: usize) -> &'d str {
    drawing.nodes[at].step.id.as_str()
}

fn label(node: &Node<'_>) -> String {
    let caption = node.caption();
    let title: Vec<String> = caption.title.iter().map(|line| format!("<b>{}</b>", xml(line))).collect();
    let details: Vec<String> = caption.details.iter().map(|line| xml(line)).collect();
    let warning = if node.no_return { "<font color=\"#b3261e\"><b>point of no return</b></font><br/>" } else { "" };
    format!("{warning}{}<br/><font point-size=\"10\">{}</font>", title.join("<br/>"), details.join("<br/>"))
}

fn look(node: &Node<'_>) -> String {
    let shape = if node.is_gate() { "shape=octagon, style=filled, " } else { "" };
    let colours = match node.step.danger {
        Danger::Safe if node.is_gate() => "fillcolor=\"#e7f0fd\", color=\"#1a56b0\"",
        Danger::Safe => "fillcolor=\"#ffffff\", color=\"#5b6472\"",
        Danger::Disruptive => "fillcolor=\"#fff3cd\", color=\"#9a6c00\"",
        Danger::Destructive => "fillcolor=\"#fde2e1\", color=\"#b3261e\", penwidth=2.5",
    };
    format!("{shape}{colours}")
}

/// Escapes a text for HTML-like labels, and for HTML itself.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
