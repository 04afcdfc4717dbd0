//! Plain timestamped lines on standard error, where there is no terminal.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use requorum_steps::capsule::Stream;
use requorum_steps::redact::marks::readable;

use super::Report;
use super::phrase::{self, Phrase};
use crate::run::record::{Event, Finding, ItemId, Record};
use crate::run::state::RunState;

/// Writes a line a record, and a line when what a wait sees changes.
#[derive(Default)]
pub struct Lines {
    last_seen: Mutex<HashMap<String, String>>,
}

/// Renders the line of a record, as `runs logs` and the plain view show it.
#[must_use]
pub fn line(record: &Record, took: Option<Duration>) -> Option<String> {
    phrase::of(record).map(|phrase| format_line(record.at, &phrase, took))
}

fn format_line(at: Timestamp, phrase: &Phrase, took: Option<Duration>) -> String {
    let took = took.map(|took| format!(" in {}", phrase::span(took))).unwrap_or_default();
    let detail = if phrase.detail.is_empty() { String::new() } else { format!("  {}", readable(&phrase.detail)) };
    format!("{}  {:<28} {}{took}{detail}", clock(at), phrase.subject, phrase.verb)
}

fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M:%SZ").to_string()
}

/// Returns how long an item has taken, once it is done.
#[must_use]
pub fn took(record: &Record, state: &RunState) -> Option<Duration> {
    let Event::Succeeded { id, .. } = &record.event else { return None };
    let item = state.item(id)?;
    Duration::try_from(record.at.duration_since(item.started?)).ok()
}

impl Lines {
    fn print(text: &str) {
        // Nobody is left to tell when standard error is closed; the journal has it all.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

impl Report for Lines {
    fn record(&self, record: &Record, state: &RunState) {
        if let Some(text) = line(record, took(record, state)) {
            Self::print(&text);
        }
    }

    fn waiting(&self, id: Option<&ItemId>, finding: &Finding, left: Duration) {
        if finding.holds {
            return;
        }
        let subject = id.map_or_else(|| "preflight".to_owned(), ToString::to_string);
        let text = phrase::finding_line(finding);
        let key = format!("{subject} {} {:?}", finding.check, finding.host);
        let Ok(mut last) = self.last_seen.lock() else { return };
        if last.insert(key, text.clone()).as_ref() != Some(&text) {
            let detail = format!("{text} (at most {} more)", phrase::span(left));
            let phrase = Phrase { tone: phrase::Tone::Plain, subject, verb: "waits for", detail };
            Self::print(&format_line(Timestamp::now(), &phrase, None));
        }
    }

    fn output(&self, id: &ItemId, _stream: Stream, text: &str) {
        Self::print(&format!("{}  {:<28} | {text}", clock(Timestamp::now()), id.to_string()));
    }

    fn say(&self, text: &str) {
        Self::print(&format!("{}  {text}", clock(Timestamp::now())));
    }
}
