//! The form for a browser or a printer: one page that loads nothing. The drawing above, whose boxes are links, the steps in
//! words below; danger is told by words and borders as well as by colour.

use std::fmt::Write as _;

use requorum_steps::Danger;

use super::dot::xml;
use super::layout::{Layout, Point, Size, lay_out};
use super::words::clean;
use super::{Caption, Drawing, Node};
use crate::plan::compiled::CheckUse;
use crate::report::phrase;

pub(super) const STYLE: &str = include_str!("html.css");
/// The width of a box.
const WIDE: f64 = 262.0;
/// The height of a line in it.
const LINE: f64 = 17.0;
/// What is left free in a box above and below its lines, and around the drawing.
const PAD: f64 = 12.0;

pub(super) fn draw(drawing: &Drawing<'_>) -> String {
    let title = xml(&drawing.title());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<ul class=\"facts\">\n"
    );
    for fact in drawing.facts() {
        let _ = writeln!(out, "<li>{}</li>", xml(&fact));
    }
    out.push_str("</ul>\n</header>\n<main>\n");
    legend(&mut out, drawing);
    picture(&mut out, drawing);
    steps(&mut out, drawing);
    let about: Vec<String> = drawing.plan.description.lines().map(|line| xml(&clean(line))).collect();
    if !drawing.plan.description.trim().is_empty() {
        let _ = writeln!(out, "<h2>About this plan</h2>\n<p class=\"about\">{}</p>", about.join("\n"));
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn class(node: &Node<'_>) -> &'static str {
    match node.step.danger {
        Danger::Safe if node.is_gate() => "gate",
        Danger::Safe => "safe",
        Danger::Disruptive => "disruptive",
        Danger::Destructive => "destructive",
    }
}

fn legend(out: &mut String, drawing: &Drawing<'_>) {
    let known = [("gate", "asks a person"), ("disruptive", "disruptive"), ("destructive", "destructive")];
    let mut used = known.iter().filter(|(name, _)| drawing.nodes.iter().any(|node| class(node) == *name)).peekable();
    if used.peek().is_none() {
        return;
    }
    out.push_str("<ul class=\"legend\">\n");
    for (name, word) in used {
        let _ = writeln!(
            out,
            "<li><svg viewBox=\"0 0 32 20\" aria-hidden=\"true\"><g class=\"{name}\"><rect class=\"box\" x=\"2\" y=\"2\" \
             width=\"28\" height=\"16\" rx=\"4\"/></g></svg>{word}</li>"
        );
    }
    out.push_str("</ul>\n");
}

/// A box with its lines.
struct Card {
    caption: Caption,
    size: (f64, f64),
}

fn card(node: &Node<'_>) -> Card {
    let caption = node.caption();
    let lines = caption.title.len() + caption.details.len() + usize::from(node.no_return);
    let height = (0..lines).fold(2.0 * PAD, |height, _| height + LINE);
    Card { caption, size: (WIDE, height) }
}

fn picture(out: &mut String, drawing: &Drawing<'_>) {
    let cards: Vec<Card> = drawing.nodes.iter().map(card).collect();
    let levels: Vec<usize> = drawing.nodes.iter().map(|node| node.level).collect();
    let edges: Vec<(usize, usize)> = drawing.edges().collect();
    let turned = drawing.is_wide();
    let size = |(wide, high): (f64, f64)| {
        if turned { Size { along: high, across: wide } } else { Size { along: wide, across: high } }
    };
    let sizes: Vec<Size> = cards.iter().map(|card| size(card.size)).collect();
    let canvas = Canvas { turned, layout: lay_out(&sizes, &levels, &edges) };
    let (wide, high) = canvas.extent();
    let _ = writeln!(
        out,
        "<figure tabindex=\"0\" aria-label=\"The steps and what they need\">\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide:.0}\" height=\"{high:.0}\" viewBox=\"0 0 {wide:.0} {high:.0}\">\n\
         <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path class=\"head\" d=\"M0 0.5 8 4 0 7.5z\"/></marker></defs>"
    );
    for way in &canvas.layout.edges {
        let _ = writeln!(out, "<path class=\"edge\" marker-end=\"url(#head)\" d=\"{}\"/>", canvas.path(way));
    }
    for ((node, card), place) in drawing.nodes.iter().zip(&cards).zip(&canvas.layout.boxes) {
        draw_card(out, node, card, canvas.xy(*place));
    }
    out.push_str("</svg>\n</figure>\n");
}

fn draw_card(out: &mut String, node: &Node<'_>, card: &Card, (x, y): (f64, f64)) {
    let (wide, high) = card.size;
    let (left, top) = (x - wide / 2.0, y - high / 2.0);
    let id = node.step.id.as_str();
    let _ = writeln!(
        out,
        "<a href=\"#s-{id}\" class=\"{}\"><rect class=\"box\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.0}\" \
         height=\"{high:.0}\" rx=\"{}\"/>",
        class(node),
        if node.is_gate() { 20 } else { 7 }
    );
    let warning = node.no_return.then_some(("turn", "point of no return"));
    let title = card.caption.title.iter().map(|line| ("title", line.as_str()));
    let details = card.caption.details.iter().map(|line| ("detail", line.as_str()));
    let mut at = top + PAD + LINE * 0.75;
    for (class, line) in warning.into_iter().chain(title).chain(details) {
        let _ = writeln!(out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{at:.1}\">{}</text>", xml(line));
        at += LINE;
    }
    out.push_str("</a>\n");
}

/// A layout on the page: layers from top to bottom, or turned, from left to right.
struct Canvas {
    turned: bool,
    layout: Layout,
}

impl Canvas {
    fn xy(&self, point: Point) -> (f64, f64) {
        let (along, across) = (point.along + PAD, point.across + PAD);
        if self.turned { (across, along) } else { (along, across) }
    }

    fn extent(&self) -> (f64, f64) {
        let Size { along, across } = self.layout.size;
        let (along, across) = (along + 2.0 * PAD, across + 2.0 * PAD);
        if self.turned { (across, along) } else { (along, across) }
    }

    /// Writes the way of an edge: a bow between two layers, a straight line where it passes one.
    fn path(&self, way: &[Point]) -> String {
        let mut path = String::new();
        for pair in way.chunks_exact(2) {
            let middle = f64::midpoint(pair[0].across, pair[1].across);
            let bend = |along| self.xy(Point { along, across: middle });
            let (from, to) = (self.xy(pair[0]), self.xy(pair[1]));
            let (out, back) = (bend(pair[0].along), bend(pair[1].along));
            let _ = write!(path, "{}{:.1} {:.1}", if path.is_empty() { "M" } else { "L" }, from.0, from.1);
            let _ = write!(path, "C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}", out.0, out.1, back.0, back.1, to.0, to.1);
        }
        path
    }
}

fn steps(out: &mut String, drawing: &Drawing<'_>) {
    out.push_str("<h2>Steps</h2>\n<ol class=\"steps\">\n");
    for (at, node) in drawing.nodes.iter().enumerate() {
        if node.no_return {
            out.push_str("<li class=\"turn\">Point of no return: no rollback from here on</li>\n");
        }
        let _ = writeln!(
            out,
            "<li id=\"s-{}\" class=\"{}\">\n<h3>{}. {}</h3>\n<dl>",
            node.step.id,
            class(node),
            at + 1,
            xml(node.name())
        );
        for (word, text) in told(drawing, node) {
            let _ = writeln!(out, "<dt>{word}</dt><dd>{text}</dd>");
        }
        out.push_str("</dl>\n</li>\n");
    }
    out.push_str("</ol>\n");
}

/// Tells a step in words; the texts are HTML.
fn told(drawing: &Drawing<'_>, node: &Node<'_>) -> Vec<(&'static str, String)> {
    let step = node.step;
    let code = |text: &str| format!("<code>{}</code>", xml(&clean(text)));
    let mut told = vec![("step", code(step.id.as_str())), ("does", xml(&node.work()))];
    told.extend(node.danger().map(|danger| ("danger", danger.to_owned())));
    if !node.needs.is_empty() {
        let links = node.needs.iter().map(|need| &drawing.nodes[*need].step.id);
        let links: Vec<String> = links.map(|id| format!("<a href=\"#s-{id}\">{id}</a>")).collect();
        told.push(("after", links.join(", ")));
    }
    told.extend(node.condition.as_ref().map(|condition| ("only if", code(condition))));
    told.extend(node.asks.as_ref().map(|asks| ("asks", xml(asks))));
    let checks = [("requires", &step.require), ("verifies", &step.verify)];
    for (word, checks) in checks.iter().filter(|(_, checks)| !checks.is_empty()) {
        told.push((word, checks.iter().map(check).collect::<Vec<_>>().join(", ")));
    }
    told.extend(step.timeout.map(|timeout| ("timeout", phrase::span(timeout))));
    told
}

fn check(check: &CheckUse) -> String {
    let not = if check.not { "not " } else { "" };
    let within = check.within.map(|within| format!(" within {}", phrase::span(within))).unwrap_or_default();
    format!("{not}{}{within}", xml(&check.kind))
}
