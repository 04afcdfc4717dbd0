//! The journal of a run: appends records, makes them durable, folds them, and tells the report, in this order.

use std::sync::Arc;

use requorum_state::{Store, StoreError};
use requorum_steps::crossing::crossing;

use super::clock;
use super::veil::Veil;
use crate::report::Report;
use crate::run::plans::Plans;
use crate::run::record::{Event, Record};
use crate::run::state::{RunState, StateError};

/// Says why the journal could not go on. Nothing may be done after such an error.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store failed.
    #[error("the journal could not be written or read")]
    Store(#[from] StoreError),
    /// A record does not fit the state.
    #[error("the journal does not fit its plan")]
    State(#[from] StateError),
    /// A record cannot be read.
    #[error("record {seq} of the journal cannot be read")]
    Unreadable {
        /// The record.
        seq: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// The store numbered a record otherwise than the journal.
    #[error("the store wrote record {stored} where {expected} was due: another process writes to this run")]
    Sequence {
        /// The store's number.
        stored: u64,
        /// The journal's.
        expected: u64,
    },
    /// The journal has no beginning.
    #[error("the journal of this run is empty: it was cut off before it began, and nothing was done")]
    Empty,
}

/// The journal of one run, held by one process.
pub struct Journal {
    store: Arc<dyn Store>,
    state: RunState,
    epoch: u64,
    report: Arc<dyn Report>,
    veil: Veil,
    /// Whether records ride along that no barrier has covered yet. Until then others do not see them either.
    loose: bool,
}

/// Reads the records of a store.
pub fn read(store: &dyn Store) -> Result<Vec<Record>, JournalError> {
    let frames = store.read()?;
    frames
        .into_iter()
        .map(|frame| {
            serde_json::from_slice(&frame.payload).map_err(|source| JournalError::Unreadable { seq: frame.seq, source })
        })
        .collect()
}

/// Writes a record as the one line that a store takes.
pub fn line(record: &Record) -> Result<Vec<u8>, JournalError> {
    let text = serde_json::to_string(record).map_err(|source| JournalError::Unreadable { seq: record.seq, source })?;
    // JSON lets this one control character stand as it is, and a store refuses it; the output of a command may hold it.
    Ok(text.replace('\u{7f}', "\\u007f").into_bytes())
}

impl Journal {
    /// Makes the journal of a run from the records that there are; `epoch` is that of this process.
    pub fn new(
        store: Arc<dyn Store>,
        plans: impl Into<Plans>,
        records: &[Record],
        epoch: u64,
        report: Arc<dyn Report>,
    ) -> Result<Self, JournalError> {
        let state = RunState::fold(plans, records)?;
        Ok(Self { store, state, epoch, report, veil: Veil::default(), loose: false })
    }

    /// Keeps the secrets of the run out of what is recorded from here on.
    #[must_use]
    pub fn with_veil(self, veil: Veil) -> Self {
        Self { veil, ..self }
    }

    /// Returns the state that the records fold to.
    #[must_use]
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// Returns the epoch of this process.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Records events together: one barrier for all of them where any needs one; then the state changes, then the report
    /// is told. When it returns, whoever waited for the record may act.
    pub fn commit(&mut self, events: Vec<Event>) -> Result<(), JournalError> {
        let at = clock::now();
        let next = self.state.last_seq() + 1;
        let events = events.into_iter().map(|event| self.veil.event(event));
        let records: Vec<Record> =
            (next..).zip(events).map(|(seq, event)| Record { seq, at, epoch: self.epoch, event }).collect();
        self.state.admits(&records)?;
        for record in &records {
            cross("before append", record);
            let stored = self.store.append(&line(record)?)?;
            cross("after append", record);
            if stored != record.seq {
                return Err(JournalError::Sequence { stored, expected: record.seq });
            }
        }
        self.loose |= !records.is_empty();
        if let Some(record) = records.iter().find(|record| record.event.needs_barrier()) {
            cross("before barrier", record);
            self.settle()?;
            cross("after barrier", record);
        }
        for record in &records {
            self.state.apply(record)?;
            self.report.record(record, &self.state);
        }
        Ok(())
    }

    /// Makes durable what rides along, so that who looks at the run from outside sees it too.
    pub fn settle(&mut self) -> Result<(), JournalError> {
        if self.loose {
            self.store.barrier()?;
            self.loose = false;
        }
        Ok(())
    }
}

/// Marks a place in the life of a record; see [`crossing`].
fn cross(place: &str, record: &Record) {
    crossing(|| match record.event.item() {
        Some(id) => format!("{place} {} {id}", record.event.name()),
        None => format!("{place} {}", record.event.name()),
    });
}
