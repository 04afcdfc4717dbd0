//! The live view on a terminal: what is being worked on, for how long, and what is waited for.
//!
//! Finished items scroll up as lines; below them each item at work has a line of its own, and the last line counts.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use requorum_steps::capsule::Stream;
use requorum_steps::redact::marks::readable;

use super::Report;
use super::lines::took;
use super::phrase::{self, Phrase, Tone};
use crate::run::record::{Event, Finding, ItemId, Record};
use crate::run::state::{Phase, RunState};

/// Draws on standard error.
pub struct Live {
    all: MultiProgress,
    total: ProgressBar,
    at_work: Mutex<HashMap<Option<ItemId>, ProgressBar>>,
}

fn template(text: &str) -> ProgressStyle {
    // The templates are constants of this file; a fault in one would only cost the layout.
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Live {
    /// Makes a view of a run with this many items.
    #[must_use]
    pub fn new(items: u64) -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::new(items));
        total.set_style(template("{bar:24.cyan/dim} {pos}/{len} items · {elapsed}"));
        total.enable_steady_tick(Duration::from_millis(250));
        Self { all, total, at_work: Mutex::default() }
    }

    fn bar(&self, id: Option<&ItemId>) -> Option<ProgressBar> {
        let mut at_work = self.at_work.lock().ok()?;
        let bar = at_work.entry(id.cloned()).or_insert_with(|| {
            let bar = self.all.insert_before(&self.total, ProgressBar::new_spinner());
            bar.set_style(template("{spinner:.cyan} {prefix:<28} {elapsed:>4} {wide_msg}"));
            bar.set_prefix(id.map_or_else(|| "preflight".to_owned(), ToString::to_string));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Some(bar.clone())
    }

    fn put_away(&self, id: Option<&ItemId>) {
        let Ok(mut at_work) = self.at_work.lock() else { return };
        if let Some(bar) = at_work.remove(&id.cloned()) {
            bar.finish_and_clear();
        }
    }

    fn print(&self, record: &Record, phrase: &Phrase, took: Option<Duration>) {
        let mark = match phrase.tone {
            Tone::Good => style("✔").green(),
            Tone::Plain => style("·").dim(),
            Tone::Notice => style("!").yellow(),
            Tone::Bad => style("✘").red(),
        };
        let took = took.map(phrase::span).unwrap_or_default();
        let verb = if record.event.item().is_some() && phrase.verb == "done" { "" } else { phrase.verb };
        let text = [verb, phrase.detail.as_str()].join(" ");
        let line = format!("{mark} {:<28} {took:>6} {}", phrase.subject, text.trim());
        // Drawing can only fail when the terminal is gone; the journal has it all.
        let _ = self.all.println(readable(line.trim_end()));
    }
}

impl Report for Live {
    fn record(&self, record: &Record, state: &RunState) {
        if let Some(id) = record.event.item() {
            match state.item(id).map(|item| &item.phase) {
                Some(Phase::Started | Phase::Acted) => {
                    if let (Some(bar), Event::Started { title, command, .. }) = (self.bar(Some(id)), &record.event) {
                        let text = if title.is_empty() { command } else { title };
                        bar.set_message(readable(phrase::first_line(text)).into_owned());
                    }
                }
                Some(_) | None => self.put_away(Some(id)),
            }
            let done = state.items().filter(|(_, item)| item.phase.is_done()).count();
            self.total.set_position(done as u64);
        } else if matches!(record.event, Event::Preflight { .. }) {
            self.put_away(None);
        }
        if matches!(record.event, Event::Started { .. }) {
            return;
        }
        if let Some(phrase) = phrase::of(record) {
            self.print(record, &phrase, took(record, state));
        }
    }

    fn waiting(&self, id: Option<&ItemId>, finding: &Finding, left: Duration) {
        if let Some(bar) = self.bar(id) {
            let sees = phrase::finding_line(finding);
            bar.set_message(format!("waits (at most {} more): {}", phrase::span(left), readable(&sees)));
        }
    }

    fn output(&self, id: &ItemId, _stream: Stream, text: &str) {
        let line = format!("  {:<28} {} {text}", id.to_string(), style("|").dim());
        let _ = self.all.println(line);
    }

    fn say(&self, line: &str) {
        let _ = self.all.println(line);
    }

    fn close(&self) {
        if let Ok(mut at_work) = self.at_work.lock() {
            for (_, bar) in at_work.drain() {
                bar.finish_and_clear();
            }
        }
        self.total.finish_and_clear();
    }
}
