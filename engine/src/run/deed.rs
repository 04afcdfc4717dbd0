//! What a run has done at its items, read from its records: what a rollback takes back.

use std::collections::BTreeMap;

use serde_json::Value;

use super::record::{Event, ItemId, Record, Verdict};
use super::state::nothing_was_done;

/// What a run did at one item, over all attempts that may have changed something.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// The rendered arguments of the last attempt, secrets as placeholders.
    pub args: Value,
    /// What was seen before the first attempt: what there was before the run.
    pub before: Value,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its effect was there already.
    Found,
    /// It acted and returned this.
    Acted(Value),
    /// It may have acted wholly, in part, or not at all, for this reason.
    Perhaps(String),
}

/// One attempt.
struct Try {
    number: u32,
    /// Whether nothing has been recorded yet of how it ended.
    open: bool,
    args: Value,
    before: Value,
    /// `None`: it surely changed nothing.
    outcome: Option<Outcome>,
}

/// Reads what was done at each item. Items at which nothing can have been changed are not there.
#[must_use]
pub fn deeds(records: &[Record]) -> BTreeMap<ItemId, Deed> {
    let mut tries: BTreeMap<ItemId, Vec<Try>> = BTreeMap::new();
    for record in records {
        if let Some(id) = record.event.item() {
            note(tries.entry(id.clone()).or_default(), &record.event);
        }
    }
    tries.into_iter().filter_map(|(id, tries)| Some((id, sum(tries)?))).collect()
}

/// Takes an event into the attempts at its item.
fn note(tries: &mut Vec<Try>, event: &Event) {
    let perhaps = |why: &str| Some(Outcome::Perhaps(why.to_owned()));
    match event {
        Event::Started { attempt, args, before, .. } => {
            let outcome = perhaps("its outcome is not known");
            tries.push(Try { number: *attempt, open: true, args: args.clone(), before: before.clone(), outcome });
        }
        // Found after an attempt of this very run: it was that attempt.
        Event::Satisfied { result, .. } => {
            if let Some(earlier) = tries.iter_mut().rev().find(|one| one.outcome.is_some()) {
                earlier.outcome = Some(Outcome::Acted(result.clone()));
            } else {
                let outcome = Some(Outcome::Found);
                tries.push(Try { number: 0, open: false, args: Value::Null, before: Value::Null, outcome });
            }
        }
        Event::Acted { attempt: 1.., result, .. } => end(tries, Some(Outcome::Acted(result.clone()))),
        // What fails before it has started says nothing about an earlier attempt.
        Event::Failed { attempt, fault, .. } if tries.last().is_some_and(|one| one.open && one.number == *attempt) => {
            let why = format!("it failed: {}", fault.what);
            end(tries, if nothing_was_done(fault) { None } else { perhaps(&why) });
        }
        Event::Reconciled { verdict: Verdict::Withdraw, .. } => end(tries, None),
        Event::Reconciled { verdict: Verdict::Repeat | Verdict::Ask, evidence, .. } => end(tries, perhaps(evidence)),
        Event::Reconciled { verdict: Verdict::Adopt | Verdict::Reattach | Verdict::Launch, .. }
        | Event::Began(_)
        | Event::TakenUp { .. }
        | Event::Preflight { .. }
        | Event::Fence { .. }
        | Event::GateOpened { .. }
        | Event::GateAnswered { .. }
        | Event::Recovered { .. }
        | Event::Skipped { .. }
        | Event::Blocked { .. }
        | Event::Acted { .. }
        | Event::Failed { .. }
        | Event::Doubted { .. }
        | Event::Lapsed { .. }
        | Event::VerifyFailed { .. }
        | Event::Succeeded { .. }
        | Event::Overridden { .. }
        | Event::Amended { .. }
        | Event::SiteChanged { .. }
        | Event::Committed { .. }
        | Event::Ended { .. } => {}
    }
}

fn end(tries: &mut [Try], outcome: Option<Outcome>) {
    if let Some(last) = tries.last_mut() {
        last.outcome = outcome;
        last.open = false;
    }
}

/// Sums the attempts up: the last that may have changed something tells how it is now, the first how it was before.
fn sum(tries: Vec<Try>) -> Option<Deed> {
    let acted = tries.iter().any(|one| one.number > 0 && one.outcome.is_some());
    let mut touched = tries.into_iter().filter(|one| one.outcome.is_some() && (one.number > 0 || !acted));
    let first = touched.next()?;
    let before = first.before.clone();
    let last = touched.next_back().unwrap_or(first);
    Some(Deed { args: last.args, before, outcome: last.outcome? })
}
