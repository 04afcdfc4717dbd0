//! `requorum runs recover`: makes the damaged store of a run anew, from what is left of it and from the witness.

use std::path::{Path, PathBuf};

use clap::Args;
use requorum_state::salvage::{self, Remains, Source, ranges};
use requorum_state::{SledStore, Store, StoreError};
use requorum_steps::RunId;

use super::error::{CommandError, Exit, chain};
use super::export::numbered;
use super::home::{Home, hand_over, run_id};
use super::options::{Global, operator};
use super::output;
use crate::exec::{clock, journal};
use crate::report::phrase;
use crate::run::record::{Event, Record};

/// Makes the damaged store of a run anew, if all its records can be had from what is left of it and from events.jsonl
///
/// What is damaged is set aside by rename, never deleted. If any record is missing or doubtful, nothing is changed.
#[derive(Debug, Args)]
pub struct Recover {
    /// The run
    run: String,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Recover {
    /// Carries the command out.
    pub fn run(self, global: &Global, home: &Home) -> Result<(), CommandError> {
        let id = run_id(&self.run)?;
        let glance = home.look(&id)?;
        // Whoever writes to a run holds its cluster; of a run whose cluster nothing tells, nothing can be made anew.
        let label = format!("{}, run {id}", operator());
        let _lock = glance.beginning().map(|beginning| home.lock(&beginning.cluster, &label)).transpose()?;
        if let Some(count) = opens(&glance.directory)? {
            return output::line(format_args!(
                "the store of run {id} is whole: {}; it is as it was",
                phrase::count(count, "record")
            ));
        }
        let remains = salvage::look(&glance.directory)?;
        let records = complete(&id, &glance.directory, &remains)?;
        let last = verify(&id, &glance.directory, &records)?;
        let (store, set_aside) = salvage::rebuild(&glance.directory, &records)?;
        let evidence = sources(&remains);
        let event = Event::Recovered { by: operator(), reason: self.reason, evidence: evidence.clone() };
        let record = Record { seq: last.seq + 1, at: clock::now(), epoch: last.epoch, event };
        store.append(&journal::line(&record)?)?;
        store.barrier()?;
        drop(store);
        report(&id, records.len(), &evidence, &set_aside)?;
        let glance = home.glance(&id)?;
        if glance.is_unfinished() {
            output::line(format_args!("go on with  {} resume {id}", global.invocation().program))?;
        }
        Ok(())
    }
}

/// Returns how many records the store has, if it is whole.
fn opens(directory: &Path) -> Result<Option<usize>, CommandError> {
    match SledStore::open(directory).and_then(|store| store.read()) {
        Ok(frames) => Ok(Some(frames.len())),
        Err(StoreError::Damaged { .. } | StoreError::Io { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Returns all records, or says which are missing.
fn complete(id: &RunId, directory: &Path, remains: &Remains) -> Result<Vec<Vec<u8>>, CommandError> {
    if let Some(records) = remains.whole().filter(|records| !records.is_empty()) {
        return Ok(records);
    }
    let doubtful = remains.records.iter().filter(|(_, remnant)| remnant.doubt.is_some()).map(|(number, _)| *number);
    let mut what: Vec<String> = numbered(remains.missing()).map(|numbers| format!("missing: {numbers}")).collect();
    what.extend(numbered(ranges(doubtful)).map(|numbers| format!("doubtful: {numbers}")));
    let what = if what.is_empty() { "there are none".to_owned() } else { what.join("; ") };
    let message = format!("the records of run `{id}` cannot all be had ({what}); nothing was changed");
    Err(hand_over(CommandError::new(Exit::Internal, message), directory))
}

/// Makes sure that the records are a journal: one that a person could have mixed up is not made the truth. Returns the last.
fn verify(id: &RunId, directory: &Path, records: &[Vec<u8>]) -> Result<Record, CommandError> {
    let refuse = |number: u64, why: String| {
        let message = format!("record {number} of run `{id}` does not fit: {why}; nothing was changed");
        Err(hand_over(CommandError::new(Exit::Internal, message), directory))
    };
    let mut last: Option<Record> = None;
    for (number, bytes) in (1..).zip(records) {
        let record: Record = match serde_json::from_slice(bytes) {
            Ok(record) => record,
            Err(error) => return refuse(number, error.to_string()),
        };
        if record.seq != number {
            return refuse(number, format!("it says that it is record {}", record.seq));
        }
        match (&last, &record.event) {
            (None, Event::Began(beginning)) if beginning.run == *id => {}
            (None, _) => return refuse(number, "it does not begin this run".to_owned()),
            (Some(before), _) if record.epoch < before.epoch => {
                return refuse(number, "it is from an earlier process than the one before it".to_owned());
            }
            (Some(_), _) => {}
        }
        last = Some(record);
    }
    match last {
        Some(last) => Ok(last),
        None => refuse(1, "there is none".to_owned()),
    }
}

/// Says where the records were found.
fn sources(remains: &Remains) -> String {
    let of = |wanted: &[Source]| {
        let numbers = remains.records.iter().filter(|(_, found)| wanted.contains(&found.source)).map(|(n, _)| *n);
        numbered(ranges(numbers)).next()
    };
    let parts = [
        of(&[Source::Both, Source::Store]).map(|numbers| format!("{numbers} from the damaged store")),
        of(&[Source::Witness]).map(|numbers| format!("{numbers} from events.jsonl alone")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn report(id: &RunId, count: usize, evidence: &str, set_aside: &[PathBuf]) -> Result<(), CommandError> {
    output::line(format_args!(
        "the store of run {id} was made anew from {}: {evidence}",
        phrase::count(count, "record")
    ))?;
    for path in set_aside {
        output::line(format_args!("set aside   {}", path.display()))?;
    }
    output::line(format_args!(
        "not known   whether there were records behind {count}: events.jsonl is synced once a second, so a power loss may \
         have taken its newest lines.\n            What they had started has its capsule: a resume finds it and does not \
         start it again"
    ))
}

/// Says why a run could not be read, with what to do about it.
pub(super) fn hint(error: StoreError, id: &RunId) -> CommandError {
    let is_damage = matches!(error, StoreError::Damaged { .. } | StoreError::NoSuchBlob { .. });
    let message = format!("run `{id}`: {}", chain(&error));
    let told = CommandError::from(error);
    let told = CommandError { message, ..told };
    if !is_damage {
        return told;
    }
    told.hint(format!("make it anew from what is left: requorum runs recover {id} --reason TEXT"))
        .hint(format!("or see what is left: requorum runs export {id}"))
}
