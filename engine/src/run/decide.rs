//! What to do next, decided from the state alone.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use requorum_steps::capsule::CapsuleState;
use requorum_steps::{Effect, Probe, StepId};

use super::record::{Ending, ItemId, Verdict};
use super::state::{Phase, RunState};
use crate::plan::compiled::Step;

/// Something that the driver does about one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Brings it from ready as far as it goes: gate, `when`, `require`, probe, attempt, `verify`.
    Start(ItemId),
    /// Finds out what became of an attempt whose outcome is in doubt.
    Reconcile(ItemId),
    /// Verifies what has acted.
    Verify(ItemId),
}

impl Act {
    /// Returns the item.
    #[must_use]
    pub fn item(&self) -> &ItemId {
        match self {
            Self::Start(id) | Self::Reconcile(id) | Self::Verify(id) => id,
        }
    }
}

/// Decides what to begin now, given what is being worked on.
///
/// An item whose needs are not all done (any more) is left alone, whatever its phase: something it relies on has lapsed.
#[must_use]
pub fn decide<S: BuildHasher>(state: &RunState, working: &HashSet<ItemId, S>, parallel: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut free = parallel.saturating_sub(working.len());
    if free == 0 {
        return acts;
    }
    let mut busy: HashMap<StepId, usize> = HashMap::new();
    for id in working {
        *busy.entry(id.step.clone()).or_default() += 1;
    }
    // What acted or may still act comes before what has not begun, and takes its place.
    let mut owed: HashMap<StepId, usize> = HashMap::new();
    for id in state.owed().filter(|id| !working.contains(id)) {
        *owed.entry(id.step).or_default() += 1;
    }
    let mut next_in_turn: HashMap<StepId, Option<ItemId>> = HashMap::new();
    for (id, item) in state.active() {
        if free == 0 {
            break;
        }
        if working.contains(&id) || !state.is_released(&id.step) {
            continue;
        }
        let Some(step) = state.step(&id.step) else { continue };
        let at_work = busy.get(&id.step).copied().unwrap_or(0);
        if step.max_parallel.is_some_and(|most| at_work >= most) {
            continue;
        }
        let act = match &item.phase {
            Phase::Ready | Phase::Approved => {
                let owed = owed.get(&id.step).copied().unwrap_or(0);
                if step.max_parallel.is_some_and(|most| at_work + owed >= most) {
                    continue;
                }
                if step.max_parallel == Some(1) || step.canary {
                    let next = next_in_turn.entry(id.step.clone()).or_insert_with(|| in_turn(state, step));
                    if next.as_ref().is_some_and(|next| *next != id) {
                        continue;
                    }
                }
                Act::Start(id.clone())
            }
            Phase::InDoubt { .. } => settles(&mut owed, Act::Reconcile(id.clone())),
            Phase::Acted => settles(&mut owed, Act::Verify(id.clone())),
            Phase::Pending
            | Phase::GateOpen { .. }
            | Phase::Started
            | Phase::Asked { .. }
            | Phase::VerifyFailed { .. }
            | Phase::Succeeded
            | Phase::Satisfied
            | Phase::Skipped
            | Phase::Forced { .. }
            | Phase::Failed { .. }
            | Phase::Blocked { .. }
            | Phase::Rejected { .. } => continue,
        };
        *busy.entry(id.step).or_default() += 1;
        free -= 1;
        acts.push(act);
    }
    acts
}

/// Decides what to find out where nothing more is to begin: what became of every attempt in doubt, whatever it rests on.
#[must_use]
pub fn settle<S: BuildHasher>(state: &RunState, working: &HashSet<ItemId, S>) -> Vec<Act> {
    let in_doubt = state.active().filter(|(_, item)| matches!(item.phase, Phase::InDoubt { .. }));
    in_doubt.map(|(id, _)| id).filter(|id| !working.contains(id)).map(Act::Reconcile).collect()
}

/// Begins what was owed.
fn settles(owed: &mut HashMap<StepId, usize>, act: Act) -> Act {
    if let Some(owed) = owed.get_mut(&act.item().step) {
        *owed -= 1;
    }
    act
}

/// Returns the only item of a step that may begin: of a serial one the first that is not done, of a canary the first item
/// of all until it is done. `None`: any may.
fn in_turn(state: &RunState, step: &Step) -> Option<ItemId> {
    let mut items = state.items_of(&step.id);
    let open = if step.max_parallel == Some(1) {
        items.find(|(_, item)| !item.phase.is_done())
    } else {
        items.next().filter(|(_, item)| !item.phase.is_done())
    };
    open.map(|(id, _)| id)
}

/// Says how the run stands once nothing is being worked on and nothing can begin.
#[must_use]
pub fn ending(state: &RunState) -> Ending {
    if state.is_done() {
        return Ending::Done;
    }
    let needs_person = state.items().any(|(_, item)| match &item.phase {
        Phase::GateOpen { .. } | Phase::Asked { .. } | Phase::InDoubt { .. } => true,
        Phase::Pending
        | Phase::Ready
        | Phase::Approved
        | Phase::Started
        | Phase::Acted
        | Phase::VerifyFailed { .. }
        | Phase::Succeeded
        | Phase::Satisfied
        | Phase::Skipped
        | Phase::Forced { .. }
        | Phase::Failed { .. }
        | Phase::Blocked { .. }
        | Phase::Rejected { .. } => false,
    });
    if needs_person { Ending::NeedsPerson } else { Ending::Failed }
}

/// What the capsule says about an attempt in doubt, before any probe. `None`: it cannot tell, so the probe is asked.
#[must_use]
pub fn judge_capsule(seen: &CapsuleState) -> Option<(Verdict, String)> {
    match seen {
        CapsuleState::Absent => Some((Verdict::Launch, "its capsule was never created".to_owned())),
        CapsuleState::NotStarted => {
            Some((Verdict::Launch, "its capsule is there, but the command never began".to_owned()))
        }
        CapsuleState::Running => Some((Verdict::Reattach, "its command is still running".to_owned())),
        CapsuleState::Exited { status } => {
            Some((Verdict::Adopt, format!("its command has ended with status {status}")))
        }
        CapsuleState::Dead { .. } => None,
    }
}

/// What is done about an attempt that was cut off, by its effect class and what its probe says.
#[must_use]
pub fn judge_probe(effect: Effect, probe: &Probe) -> (Verdict, String) {
    let repeatable = match effect {
        Effect::Pure | Effect::Idempotent => true,
        Effect::Probed | Effect::Once => false,
    };
    match probe {
        Probe::Yes { evidence, .. } => (Verdict::Adopt, evidence.clone()),
        Probe::No { evidence } if effect < Effect::Once => (Verdict::Repeat, evidence.clone()),
        Probe::No { evidence } | Probe::Partly { evidence } | Probe::Unknown { evidence } => {
            if repeatable {
                (Verdict::Repeat, format!("{evidence}; it may be repeated"))
            } else {
                (Verdict::Ask, evidence.clone())
            }
        }
    }
}
