//! The run without I/O: the table of the step machine, what is decided, the persisted form, and whole runs that are cut off
//! at every record.
#![allow(clippy::unwrap_used)]

mod amending;
mod format;
mod rollback;
mod simulator;
mod table;
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use requorum_steps::{Danger, Effect, Fault, ItemKey, StepId};
use serde_json::{Map, Value, json};

use super::record::{Event, ItemId, Record};
use super::state::{Phase, RunState, StateError};
use crate::plan::compiled::{Directories, Item, Plan, Retry, Step, Subject};

pub fn step(id: &str, needs: &[&str], items: usize) -> Step {
    Step {
        id: StepId::new(id).unwrap(),
        title: String::new(),
        needs: needs.iter().map(|need| StepId::new(*need).unwrap()).collect(),
        when: None,
        items: Some((0..items).map(|n| item(n, items)).collect()),
        fans_out: items != 1,
        max_parallel: None,
        canary: false,
        require: Vec::new(),
        verify: Vec::new(),
        probe: None,
        retry: Retry::default(),
        timeout: None,
        effect: Effect::Once,
        danger: Danger::Disruptive,
        kind: "command.run".to_owned(),
        args: json!({ "run": "true" }),
        undo: None,
        outputs: BTreeMap::new(),
        confirm: None,
        place: "plan.yaml:1".to_owned(),
        part: None,
    }
}

fn item(n: usize, of: usize) -> Item {
    if of == 1 {
        return Item { key: ItemKey::single(), subject: Subject::None, args: None };
    }
    Item { key: ItemKey::new(n.to_string()).unwrap(), subject: Subject::Value(json!(n).into()), args: None }
}

pub fn plan(steps: Vec<Step>) -> Arc<Plan> {
    Arc::new(Plan {
        format: crate::plan::compiled::ALONE,
        name: "test".to_owned(),
        title: String::new(),
        description: String::new(),
        platforms: Vec::new(),
        reverts: false,
        digest: String::new(),
        inputs: Map::new(),
        vars: Map::new(),
        secrets: Vec::new(),
        preflight: Vec::new(),
        steps,
        included: BTreeMap::new(),
        directories: Directories::default(),
    })
}

/// `step` or `step@item`.
pub fn id(text: &str) -> ItemId {
    let (step, item) = text.split_once('@').unwrap_or((text, "-"));
    ItemId { step: StepId::new(step).unwrap(), item: ItemKey::new(item).unwrap() }
}

/// Applies an event as the next record.
pub fn put(state: &mut RunState, event: Event) -> Result<(), StateError> {
    let record = Record { seq: state.last_seq() + 1, at: Timestamp::UNIX_EPOCH, epoch: 1, event };
    let admitted = state.admits(std::slice::from_ref(&record));
    let applied = state.apply(&record);
    assert_eq!(admitted, applied, "what is admitted is what can be applied");
    applied
}

pub fn taken_up() -> Event {
    Event::TakenUp { by: "a".to_owned(), token: "t".to_owned(), reason: None }
}

pub fn started(at: &str, attempt: u32) -> Event {
    let (id, title, command) = (id(at), String::new(), "true".to_owned());
    Event::Started { id, attempt, args: json!({}), before: Value::Null, title, command }
}

pub fn acted(at: &str, attempt: u32) -> Event {
    Event::Acted { id: id(at), attempt, result: Value::Null }
}

pub fn succeeded(at: &str) -> Event {
    Event::Succeeded { id: id(at), outputs: Map::new() }
}

pub fn failed(at: &str, attempt: u32) -> Event {
    Event::Failed { id: id(at), attempt, fault: Fault::failed("it did not work") }
}

/// Takes an item from ready to succeeded.
pub fn succeed(state: &mut RunState, at: &str) {
    for event in [started(at, 1), acted(at, 1), succeeded(at)] {
        put(state, event).unwrap();
    }
}

pub fn phase<'a>(state: &'a RunState, at: &str) -> &'a Phase {
    &state.item(&id(at)).unwrap().phase
}

pub fn word(state: &RunState, at: &str) -> &'static str {
    phase(state, at).word()
}
