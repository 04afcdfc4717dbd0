//! The text form: a runbook from top to bottom, with a lane for what is still needed below.

use std::fmt::Write as _;

use console::Style;
use requorum_steps::Danger;

use super::words::{width, wrap};
use super::{Drawing, Node, lanes};

/// How the text form looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How many columns a line may have.
    pub columns: usize,
    /// Whether it may be coloured.
    pub colour: bool,
}

/// The fewest columns that are left for the texts, however many lanes there are.
const LEAST: usize = 36;

pub(super) fn draw(drawing: &Drawing<'_>, look: Look) -> String {
    let mut page = Page { out: String::new(), look };
    page.lines("", "", &drawing.title(), &page.style().bold());
    for fact in drawing.facts() {
        page.lines("", "", &fact, &page.style());
    }
    page.out.push('\n');
    match lanes::draw(drawing) {
        Some(rows) => page.with_lanes(drawing, &rows),
        None => page.by_levels(drawing),
    }
    page.legend(drawing);
    page.out
}

struct Page {
    out: String,
    look: Look,
}

impl Page {
    fn style(&self) -> Style {
        Style::new().force_styling(self.look.colour)
    }

    fn with_lanes(&mut self, drawing: &Drawing<'_>, rows: &[lanes::Row]) {
        let wide = rows.iter().map(|row| width(&row.left) + 1 + width(&row.right)).max().unwrap_or(1);
        let mut above = String::new();
        for (at, (node, row)) in drawing.nodes.iter().zip(rows).enumerate() {
            if node.no_return {
                self.no_return(&format!("{above:<wide$}"));
            }
            let mark = self.mark_style(node).apply_to(mark(node));
            let pad = " ".repeat(wide - (width(&row.left) + 1 + width(&row.right)));
            let first = format!("{}{mark}{}{pad}  ", row.left, row.right);
            let rest = format!("{:<wide$}  ", row.below);
            let plain = if self.look.colour { self.dim(&rest) } else { rest };
            self.lines(&first, &plain, node.name(), &self.style().bold());
            let is_next = at > 0 && node.needs == [at - 1];
            let needs = if is_next || node.needs.is_empty() { None } else { Some(needs(drawing, node)) };
            self.details(&plain, node, needs);
            above.clone_from(&row.below);
        }
    }

    /// Where there would be too many lanes: what may go side by side, wave by wave.
    fn by_levels(&mut self, drawing: &Drawing<'_>) {
        let mut order: Vec<&Node<'_>> = drawing.nodes.iter().collect();
        order.sort_by_key(|node| node.level);
        let digits = order.last().map_or(1, |node| (node.level + 1).to_string().len());
        let mut last = None;
        for node in order {
            if node.no_return {
                self.no_return(&" ".repeat(digits));
            }
            let number = if last == Some(node.level) { String::new() } else { (node.level + 1).to_string() };
            last = Some(node.level);
            let mark = self.mark_style(node).apply_to(mark(node));
            let rest = " ".repeat(digits + 4);
            self.lines(&format!("{number:>digits$} {mark}  "), &rest, node.name(), &self.style().bold());
            let needs = (!node.needs.is_empty()).then(|| needs(drawing, node));
            self.details(&rest, node, needs);
        }
    }

    fn details(&mut self, before: &str, node: &Node<'_>, needs: Option<String>) {
        let id = (!node.title.is_empty()).then(|| node.step.id.as_str().to_owned());
        let before = format!("{before}  ");
        let parts: Vec<String> =
            id.into_iter().chain([node.work()]).chain(node.danger().map(str::to_owned)).chain(needs).collect();
        self.lines(&before, &before, &parts.join(" · "), &self.style().dim());
        for remark in node.remarks().iter().skip(usize::from(node.danger().is_some())) {
            self.lines(&before, &before, remark, &self.style().dim());
        }
    }

    fn no_return(&mut self, before: &str) {
        let red = self.style().red();
        let _ = writeln!(self.out, "{before}  {}", red.apply_to("── point of no return: no rollback from here on ──"));
    }

    /// Writes a text over as many lines as it takes, the first and the others with their own beginning.
    fn lines(&mut self, first: &str, rest: &str, text: &str, style: &Style) {
        let room = self.look.columns.saturating_sub(width(first)).max(LEAST);
        for (at, line) in wrap(text, room).iter().enumerate() {
            let before = if at == 0 { first } else { rest };
            let _ = writeln!(self.out, "{before}{}", style.apply_to(line));
        }
    }

    fn dim(&self, text: &str) -> String {
        self.style().dim().apply_to(text).to_string()
    }

    fn mark_style(&self, node: &Node<'_>) -> Style {
        match node.step.danger {
            Danger::Safe if node.is_gate() => self.style().cyan(),
            Danger::Safe => self.style(),
            Danger::Disruptive => self.style().yellow(),
            Danger::Destructive => self.style().red(),
        }
    }

    fn legend(&mut self, drawing: &Drawing<'_>) {
        let known = [(GATE, "asks a person"), (DISRUPTIVE, "disruptive"), (DESTRUCTIVE, "destructive")];
        let used = known.iter().filter(|(sign, _)| drawing.nodes.iter().any(|node| mark(node) == *sign));
        let used: Vec<String> = used.map(|(sign, word)| format!("{sign} {word}")).collect();
        if !used.is_empty() {
            let _ = writeln!(self.out, "\n{}", used.join("   "));
        }
    }
}

const SAFE: char = '●';
const GATE: char = '◆';
const DISRUPTIVE: char = '▲';
const DESTRUCTIVE: char = '■';

fn mark(node: &Node<'_>) -> char {
    match node.step.danger {
        Danger::Safe if node.is_gate() => GATE,
        Danger::Safe => SAFE,
        Danger::Disruptive => DISRUPTIVE,
        Danger::Destructive => DESTRUCTIVE,
    }
}

fn needs(drawing: &Drawing<'_>, node: &Node<'_>) -> String {
    let ids: Vec<String> = node.needs.iter().map(|need| drawing.nodes[*need].step.id.as_str().to_owned()).collect();
    format!("after {}", super::listed(&ids))
}
