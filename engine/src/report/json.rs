//! Records as JSON lines on standard error, for programs.

use std::io::Write as _;
use std::time::Duration;

use requorum_steps::capsule::Stream;
use serde_json::json;

use super::Report;
use crate::run::record::{Finding, ItemId, Record};
use crate::run::state::RunState;

/// Writes each record, and what waits see, as one JSON object a line.
pub struct Json;

impl Json {
    fn line(value: &serde_json::Value) {
        // Nobody is left to tell when standard error is closed; the journal has it all.
        let _ = writeln!(std::io::stderr().lock(), "{value}");
    }
}

impl Report for Json {
    fn record(&self, record: &Record, _state: &RunState) {
        Self::line(&json!({ "record": record }));
    }

    fn waiting(&self, id: Option<&ItemId>, finding: &Finding, left: Duration) {
        Self::line(&json!({ "waiting": { "id": id, "finding": finding, "left_s": left.as_secs() } }));
    }

    fn output(&self, id: &ItemId, stream: Stream, text: &str) {
        Self::line(&json!({ "output": { "id": id, "stream": stream, "text": text } }));
    }

    fn say(&self, line: &str) {
        Self::line(&json!({ "note": line }));
    }
}
