//! What is done about commands under way when a person gives a run up.

use futures_util::future::join_all;
use requorum_steps::capsule::CapsuleState;
use requorum_steps::{AttemptId, RunId, World};

use super::attempt::GRACE;
use crate::plan::compiled::Subject;
use crate::report::phrase;
use crate::run::state::{Phase, RunState};

/// Stops the commands that a run which is given up has under way: nobody would wait for them any more. Returns a line for
/// each that could not be seen to have ended.
pub async fn stop_what_runs(world: &World, state: &RunState, run: &RunId) -> Vec<String> {
    let under_way = state.items().filter(|(_, item)| matches!(item.phase, Phase::Started | Phase::InDoubt { .. }));
    let stops = under_way.map(|(id, item)| async move {
        let host = match state.subject(&id) {
            Some(Subject::Host(host)) => Some(host),
            Some(Subject::None | Subject::Value(_)) | None => None,
        };
        let attempt =
            AttemptId { run: run.clone(), step: id.step.clone(), item: id.item.clone(), number: item.attempt };
        match world.stop_attempt(host, &attempt, GRACE).await {
            Ok(CapsuleState::Running) => Some(format!("{id} could not be stopped and is still running")),
            Ok(_) => None,
            Err(fault) => Some(format!("{id} may still be running: {}", phrase::fault_line(&fault))),
        }
    });
    join_all(stops).await.into_iter().flatten().collect()
}
