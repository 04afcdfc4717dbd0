//! What a new process looks at again: what a run has put out of action must be so still, since later steps rely on it.

use requorum_steps::{Fault, Probe};

use super::context::{self, Context, Entry};
use super::look;
use crate::run::record::{Event, Verdict};
use crate::run::state::{Item, Phase, RunState};

/// Looks whether what an item did still holds, or holds again. `None`: nothing has changed about it.
pub(super) async fn look_again(context: &Context, state: &RunState, entry: &Entry) -> Result<Option<Event>, Fault> {
    let kind = context::kind(&entry.step.kind)?;
    let action = context.action(kind, &entry.item.args)?;
    let is_later = |item: &Item| item.started.is_some_and(|began| entry.item.ended.is_none_or(|ended| began >= ended));
    let ended = state.items().any(|(id, item)| {
        id.item == entry.id.item
            && is_later(item)
            && state.step(&id.step).is_some_and(|step| action.ended_by(&entry.item.result, &step.kind, &item.args))
    });
    if ended {
        return Ok(None);
    }
    let spot = entry.spot();
    let reader = context.world.reader(entry.host());
    let probe = look::patiently(context, &spot, || action.probe(&reader, &entry.item.before)).await?;
    let had_lapsed = matches!(entry.item.phase, Phase::Asked { .. });
    let (id, attempt) = (entry.id.clone(), entry.item.attempt);
    Ok(match probe {
        Probe::Yes { evidence, .. } if had_lapsed => {
            let evidence = format!("it holds again: {evidence}");
            Some(Event::Reconciled { id, attempt, verdict: Verdict::Adopt, evidence })
        }
        Probe::No { evidence } | Probe::Partly { evidence } | Probe::Unknown { evidence } if !had_lapsed => {
            Some(Event::Lapsed { id, evidence })
        }
        Probe::Yes { .. } | Probe::No { .. } | Probe::Partly { .. } | Probe::Unknown { .. } => None,
    })
}

/// Says whether later steps rely on an item, or would if it had not lapsed.
pub(super) fn is_relied_on(phase: &Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Satisfied | Phase::Asked { lapsed: true, .. })
}
