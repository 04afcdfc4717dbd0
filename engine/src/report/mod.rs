//! From records to what a person or a program sees. Only this module and `cli` print.

pub mod forecast;
pub mod graph;
pub mod json;
pub mod lines;
pub mod live;
pub mod notes;
pub mod phrase;
pub mod summary;
pub mod triage;
pub mod way;

use std::time::Duration;

use requorum_steps::capsule::Stream;

use crate::run::record::{Finding, ItemId, Record};
use crate::run::state::RunState;

/// Is told what happens in a run, in order. Records are durable, or ride along to the next barrier, when they arrive.
pub trait Report: Send + Sync {
    /// Takes a record, after it was folded into the state.
    fn record(&self, record: &Record, state: &RunState);

    /// Takes what a wait saw last. `id` is the waiting item, or none in the preflight.
    fn waiting(&self, id: Option<&ItemId>, finding: &Finding, left: Duration) {
        let _ = (id, finding, left);
    }

    /// Takes a line that a command of an item has written just now. It has no control characters.
    fn output(&self, id: &ItemId, stream: Stream, text: &str) {
        let _ = (id, stream, text);
    }

    /// Takes a line about the run as a whole that is no record.
    fn say(&self, line: &str) {
        let _ = line;
    }

    /// Stops drawing; what follows is printed by others.
    fn close(&self) {}
}

/// Reports nothing.
pub struct Silent;

impl Report for Silent {
    fn record(&self, _record: &Record, _state: &RunState) {}
}
