//! The state of a run: a fold over the records of its journal.
//!
//! [`RunState::apply`] is the only place that changes it, for live and resumed runs alike. An event that the step machine
//! does not allow is an error, never ignored: it means that the journal does not belong to the plan, or that the engine
//! has a fault.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use requorum_steps::{HostName, RunId, StepId};
use serde_json::{Map, Value};

use super::item::transition;
use super::plans::Plans;
use super::record::{Ending, Event, ItemId, Record};
use crate::plan::compiled::{self, Plan, Step, Subject};

pub use super::item::{Item, Phase, nothing_was_done};

/// Says why a record does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The step or item is not in the plan.
    #[error("record {seq} is about `{id}`, which the plan does not have")]
    Unknown {
        /// The record.
        seq: u64,
        /// The item.
        id: ItemId,
    },
    /// The step machine does not allow it.
    #[error("record {seq} (`{event}`) is not allowed for `{id}`, which is {phase}")]
    Illegal {
        /// The record.
        seq: u64,
        /// The item.
        id: ItemId,
        /// The event's name.
        event: &'static str,
        /// The phase's word.
        phase: &'static str,
    },
    /// The run does not have the plan that it was amended to, or what has begun is not in it.
    #[error("record {seq} amends the plan, and {why}")]
    Amendment {
        /// The record.
        seq: u64,
        /// Why it cannot be followed.
        why: String,
    },
    /// The records are not in order.
    #[error("record {seq} follows record {after}")]
    Order {
        /// The record.
        seq: u64,
        /// The one before it.
        after: u64,
    },
}

impl StateError {
    /// Says it to the person whose decision it refuses.
    #[must_use]
    pub fn refusal(&self) -> String {
        match self {
            Self::Illegal { id, phase, event, .. } => {
                format!("`{id}` is {phase}, which does not fit this decision ({event})")
            }
            Self::Unknown { id, .. } => format!("the plan of this run has no `{id}`"),
            Self::Amendment { .. } | Self::Order { .. } => self.to_string(),
        }
    }
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    plans: Plans,
    plan: Arc<Plan>,
    /// The place of each step in the plan.
    places: HashMap<StepId, usize>,
    /// The steps that need a step.
    dependents: Vec<Vec<usize>>,
    /// How many needs of a step are not done, with all that they need themselves: a step whose items are done, but which
    /// rests on something that has lapsed, counts as not done.
    unmet: Vec<usize>,
    /// How many items of a step are not done.
    open: Vec<usize>,
    items: BTreeMap<(usize, usize), Item>,
    item_places: HashMap<ItemId, (usize, usize)>,
    /// The items that the engine has something to do about, by place.
    active: BTreeSet<(usize, usize)>,
    /// Those of them that acted or may have: few, where the others may be very many.
    owed: BTreeSet<(usize, usize)>,
    last_seq: u64,
    epoch: u64,
    began: Option<Timestamp>,
    ending: Option<Ending>,
    overridden: bool,
    rolls_back: Option<RunId>,
}

impl RunState {
    /// Makes the state of a run that has no records yet.
    #[must_use]
    pub fn new(plans: impl Into<Plans>) -> Self {
        let plans = plans.into();
        let plan = Arc::clone(plans.first());
        Self::with_items(plans, plan, &mut HashMap::new())
    }

    /// Folds the records of a run.
    pub fn fold(plans: impl Into<Plans>, records: &[Record]) -> Result<Self, StateError> {
        let mut state = Self::new(plans);
        records.iter().try_for_each(|record| state.apply(record))?;
        Ok(state)
    }

    /// Makes the state of a run in which some items have a past. What may start is ready.
    fn with_items(plans: Plans, plan: Arc<Plan>, known: &mut HashMap<ItemId, Item>) -> Self {
        let places: HashMap<StepId, usize> =
            plan.steps.iter().enumerate().map(|(place, step)| (step.id.clone(), place)).collect();
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        let mut unmet = vec![0; plan.steps.len()];
        let mut open = vec![0; plan.steps.len()];
        let mut items = BTreeMap::new();
        let mut item_places = HashMap::new();
        let (mut active, mut owed) = (BTreeSet::new(), BTreeSet::new());
        for (place, step) in plan.steps.iter().enumerate() {
            for need in &step.needs {
                if let Some(&needed) = places.get(need) {
                    dependents[needed].push(place);
                    unmet[place] += 1;
                }
            }
            for (index, item) in step.items.iter().flatten().enumerate() {
                let id = ItemId { step: step.id.clone(), item: item.key.clone() };
                let mut item = known.remove(&id).unwrap_or_else(Item::new);
                if matches!(item.phase, Phase::Ready | Phase::Approved) {
                    item.phase = Phase::Pending;
                }
                open[place] += usize::from(!item.phase.is_done());
                if item.is_active() {
                    active.insert((place, index));
                }
                if item.phase.is_owed() {
                    owed.insert((place, index));
                }
                items.insert((place, index), item);
                item_places.insert(id, (place, index));
            }
        }
        let mut state = Self {
            plans,
            plan,
            places,
            dependents,
            unmet,
            open,
            items,
            item_places,
            active,
            owed,
            last_seq: 0,
            epoch: 0,
            began: None,
            ending: None,
            overridden: false,
            rolls_back: None,
        };
        let free: Vec<usize> = (0..state.unmet.len()).filter(|&place| state.unmet[place] == 0).collect();
        state.release(free);
        state
    }

    /// Returns the state under another plan. What has begun is taken along; everything else begins anew, so that a gate
    /// asks again about what has changed since.
    fn amended(&self, seq: u64, digest: &str) -> Result<Self, StateError> {
        let refused = |why: String| StateError::Amendment { seq, why };
        let plan = self.plans.with_digest(digest).ok_or_else(|| refused(format!("there is no plan {digest}")))?;
        let begun = self.items().filter(|(_, item)| item.has_begun());
        let mut begun: HashMap<ItemId, Item> = begun.map(|(id, item)| (id, item.clone())).collect();
        let mut state = Self::with_items(self.plans.clone(), Arc::clone(plan), &mut begun);
        if let Some(id) = begun.keys().min() {
            return Err(refused(format!("`{id}`, which has begun, is not in the new plan")));
        }
        (state.last_seq, state.epoch, state.overridden) = (self.last_seq, self.epoch, self.overridden);
        (state.began, state.ending) = (self.began, self.ending);
        Ok(state)
    }

    /// Lets the run be amended to a plan.
    pub fn know(&mut self, plan: Arc<Plan>) {
        self.plans.add(plan);
    }

    /// Returns the plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the sequence number of the last record.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Returns the epoch of the process that took the run up last.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns when the run began.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.began
    }

    /// Returns how the last process ended, unless one is at work or was cut off.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Returns the run that this one takes back.
    #[must_use]
    pub fn rolls_back(&self) -> Option<&RunId> {
        self.rolls_back.as_ref()
    }

    /// Says whether a person overrode anything.
    #[must_use]
    pub fn is_overridden(&self) -> bool {
        self.overridden
    }

    /// Returns a step of the plan.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.places.get(id).map(|&place| &self.plan.steps[place])
    }

    /// Returns what is known of an item.
    #[must_use]
    pub fn item(&self, id: &ItemId) -> Option<&Item> {
        self.item_places.get(id).and_then(|place| self.items.get(place))
    }

    /// Returns what the plan says of an item.
    #[must_use]
    pub fn planned(&self, id: &ItemId) -> Option<&compiled::Item> {
        let &(place, index) = self.item_places.get(id)?;
        self.plan.steps[place].items.as_ref()?.get(index)
    }

    /// Returns what an item is about.
    #[must_use]
    pub fn subject(&self, id: &ItemId) -> Option<&Subject> {
        self.planned(id).map(|item| &item.subject)
    }

    /// Says whether it is not known what became of an attempt at an item.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.items().any(|(_, item)| match item.phase {
            Phase::Started | Phase::InDoubt { .. } | Phase::Asked { lapsed: false, .. } => true,
            Phase::Pending
            | Phase::Ready
            | Phase::GateOpen { .. }
            | Phase::Approved
            | Phase::Asked { lapsed: true, .. }
            | Phase::Acted
            | Phase::VerifyFailed { .. }
            | Phase::Succeeded
            | Phase::Satisfied
            | Phase::Skipped
            | Phase::Forced { .. }
            | Phase::Failed { .. }
            | Phase::Blocked { .. }
            | Phase::Rejected { .. } => false,
        })
    }

    /// Returns the items of a step in the plan's order.
    pub fn items_of(&self, step: &StepId) -> impl Iterator<Item = (ItemId, &Item)> {
        let place = self.places.get(step).copied();
        place
            .into_iter()
            .flat_map(|place| self.items.range((place, 0)..(place + 1, 0)))
            .map(|(&place, item)| (self.id(place), item))
    }

    /// Returns all items in the plan's order.
    pub fn items(&self) -> impl Iterator<Item = (ItemId, &Item)> {
        self.items.iter().map(|(&place, item)| (self.id(place), item))
    }

    /// Returns the items about a host that are not done, in the plan's order.
    pub fn open_on<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = (ItemId, &'a Item)> {
        self.items().filter(move |(id, item)| {
            !item.phase.is_done() && matches!(self.subject(id), Some(Subject::Host(name)) if name == host)
        })
    }

    /// Returns the items that are released and neither done nor stuck, in the plan's order.
    pub fn active(&self) -> impl Iterator<Item = (ItemId, &Item)> {
        self.active.iter().map(|place| (self.id(*place), &self.items[place]))
    }

    /// Returns the items that acted or may have, and are neither verified nor settled, in the plan's order.
    pub fn owed(&self) -> impl Iterator<Item = ItemId> {
        self.owed.iter().map(|place| self.id(*place))
    }

    /// Says whether every item of a step is done and all that it needs as well.
    #[must_use]
    pub fn is_step_done(&self, step: &StepId) -> bool {
        self.places.get(step).is_some_and(|&place| self.unmet[place] == 0 && self.open[place] == 0)
    }

    /// Says whether all that a step needs is done.
    #[must_use]
    pub fn is_released(&self, step: &StepId) -> bool {
        self.places.get(step).is_some_and(|&place| self.unmet[place] == 0)
    }

    /// Says whether every step is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.open.iter().all(|&open| open == 0)
    }

    /// Returns what `steps.ID` is in templates: the outputs and the result, lists where the step fans out. `None`: not done.
    #[must_use]
    pub fn step_value(&self, step: &StepId) -> Option<Value> {
        let fans_out = self.step(step)?.fans_out;
        let items: Vec<&Item> = self.items_of(step).map(|(_, item)| item).collect();
        let mut names: Vec<&String> = items.iter().flat_map(|item| item.outputs.keys()).collect();
        names.sort();
        names.dedup();
        let gather = |read: &dyn Fn(&Item) -> Value| {
            if fans_out {
                Value::Array(items.iter().map(|item| read(item)).collect())
            } else {
                items.first().map_or(Value::Null, |item| read(item))
            }
        };
        let outputs: Map<String, Value> = names
            .into_iter()
            .map(|name| (name.clone(), gather(&|item| item.outputs.get(name).cloned().unwrap_or(Value::Null))))
            .collect();
        let mut value = Map::new();
        value.insert("outputs".to_owned(), Value::Object(outputs));
        value.insert("result".to_owned(), gather(&|item| item.result.clone()));
        Some(Value::Object(value))
    }

    /// Says whether records can be applied one after the other, without applying them: what is not allowed must not
    /// reach the journal.
    pub fn admits(&self, records: &[Record]) -> Result<(), StateError> {
        let mut touched: HashMap<&ItemId, Item> = HashMap::new();
        for record in records {
            if let Event::Amended { digest, .. } = &record.event {
                self.amended(record.seq, digest)?;
            }
            let Some(id) = record.event.item() else { continue };
            let unknown = || StateError::Unknown { seq: record.seq, id: id.clone() };
            if !touched.contains_key(id) {
                touched.insert(id, self.item(id).ok_or_else(unknown)?.clone());
            }
            let item = touched.get_mut(id).ok_or_else(unknown)?;
            let phase = item.phase.word();
            let effect = self.step(&id.step).ok_or_else(unknown)?.effect;
            transition(item, record, effect).map_err(|event| StateError::Illegal {
                seq: record.seq,
                id: id.clone(),
                event,
                phase,
            })?;
        }
        Ok(())
    }

    /// Applies a record.
    pub fn apply(&mut self, record: &Record) -> Result<(), StateError> {
        if record.seq != self.last_seq + 1 {
            return Err(StateError::Order { seq: record.seq, after: self.last_seq });
        }
        match &record.event {
            Event::Began(beginning) => {
                self.began = Some(record.at);
                self.rolls_back.clone_from(&beginning.rolls_back);
            }
            Event::TakenUp { .. } => {
                self.epoch = record.epoch;
                self.ending = None;
                self.take_up();
            }
            Event::Amended { digest, .. } => *self = self.amended(record.seq, digest)?,
            Event::Preflight { .. }
            | Event::Fence { .. }
            | Event::SiteChanged { .. }
            | Event::Committed { .. }
            | Event::Recovered { .. } => {}
            Event::Ended { ending, .. } => self.ending = Some(*ending),
            Event::GateOpened { id, .. }
            | Event::GateAnswered { id, .. }
            | Event::Skipped { id, .. }
            | Event::Blocked { id, .. }
            | Event::Satisfied { id, .. }
            | Event::Started { id, .. }
            | Event::Acted { id, .. }
            | Event::Failed { id, .. }
            | Event::Doubted { id, .. }
            | Event::Reconciled { id, .. }
            | Event::Lapsed { id, .. }
            | Event::VerifyFailed { id, .. }
            | Event::Succeeded { id, .. }
            | Event::Overridden { id, .. } => self.apply_to_item(id, record)?,
        }
        self.last_seq = record.seq;
        Ok(())
    }

    fn apply_to_item(&mut self, id: &ItemId, record: &Record) -> Result<(), StateError> {
        let unknown = || StateError::Unknown { seq: record.seq, id: id.clone() };
        let &place = self.item_places.get(id).ok_or_else(unknown)?;
        let item = self.items.get_mut(&place).ok_or_else(unknown)?;
        let was_done = item.phase.is_done();
        if let Err(event) = transition(item, record, self.plan.steps[place.0].effect) {
            let phase = item.phase.word();
            return Err(StateError::Illegal { seq: record.seq, id: id.clone(), event, phase });
        }
        if item.phase == Phase::Pending && self.unmet[place.0] == 0 {
            item.phase = item.may_start();
        }
        let is_done = item.phase.is_done();
        item.ended = (is_done || item.phase.is_stuck()).then_some(record.at);
        if item.is_active() {
            self.active.insert(place);
        } else {
            self.active.remove(&place);
        }
        if item.phase.is_owed() {
            self.owed.insert(place);
        } else {
            self.owed.remove(&place);
        }
        if matches!(record.event, Event::Overridden { .. }) {
            self.overridden = true;
        }
        match (was_done, is_done) {
            (false, true) => self.close(place.0),
            (true, false) => self.reopen(place.0),
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    /// Counts one item of a step as done, and releases what waited for the last one.
    fn close(&mut self, step: usize) {
        self.open[step] -= 1;
        if self.open[step] == 0 && self.unmet[step] == 0 {
            let free = self.meet(step);
            self.release(free);
        }
    }

    /// Takes the completion of a step back: an item lapsed. Whatever rests on it, through however many steps, waits again.
    fn reopen(&mut self, step: usize) {
        self.open[step] += 1;
        let mut taken_back = if self.open[step] == 1 && self.unmet[step] == 0 { vec![step] } else { Vec::new() };
        while let Some(step) = taken_back.pop() {
            for dependent in self.dependents[step].clone() {
                self.unmet[dependent] += 1;
                if self.unmet[dependent] > 1 {
                    continue;
                }
                for (place, item) in self.items.range_mut((dependent, 0)..(dependent + 1, 0)) {
                    if matches!(item.phase, Phase::Ready | Phase::Approved) {
                        item.phase = Phase::Pending;
                        self.active.remove(place);
                    }
                }
                if self.open[dependent] == 0 {
                    taken_back.push(dependent);
                }
            }
        }
    }

    /// Tells what needs a step that it is done, and returns the steps that wait for nothing more.
    fn meet(&mut self, step: usize) -> Vec<usize> {
        let mut free = Vec::new();
        for &dependent in &self.dependents[step] {
            self.unmet[dependent] -= 1;
            if self.unmet[dependent] == 0 {
                free.push(dependent);
            }
        }
        free
    }

    /// Makes the items of steps ready whose needs are all done. A step without open items is done at once; the work list
    /// keeps a long chain of such steps off the stack.
    fn release(&mut self, mut free: Vec<usize>) {
        while let Some(step) = free.pop() {
            for (place, item) in self.items.range_mut((step, 0)..(step + 1, 0)) {
                if item.phase == Phase::Pending {
                    item.phase = item.may_start();
                    self.active.insert(*place);
                }
            }
            if self.open[step] == 0 {
                free.extend(self.meet(step));
            }
        }
    }

    /// A new process took the run up: whatever had started is in doubt, and what may be tried again without a person is
    /// ready again.
    fn take_up(&mut self) {
        for (place, item) in &mut self.items {
            let Some(mut phase) = item.taken_up(&self.plan.steps[place.0]) else { continue };
            if self.unmet[place.0] > 0 && matches!(phase, Phase::Ready | Phase::Approved) {
                phase = Phase::Pending;
            } else {
                self.active.insert(*place);
            }
            if phase.is_owed() {
                self.owed.insert(*place);
            } else {
                self.owed.remove(place);
            }
            item.phase = phase;
            item.ended = None;
        }
    }

    fn id(&self, (step, index): (usize, usize)) -> ItemId {
        let step = &self.plan.steps[step];
        let item = step.items.as_ref().map_or_else(requorum_steps::ItemKey::single, |items| items[index].key.clone());
        ItemId { step: step.id.clone(), item }
    }
}
