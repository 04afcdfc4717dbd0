//! What is done about commands under way when a person gives a run up.

use futures_util::future::join_all;
use requorum_steps::capsule::CapsuleState;
use requorum_steps::{AttemptId, Fault, RunId, World};

use super::attempt::GRACE;
use crate::plan::compiled::Subject;
use crate::report::phrase;
use crate::run::record::{Event, ItemId};
use crate::run::state::{Item, Phase, RunState};

/// What became of the commands that a run which is given up had under way.
#[derive(Default)]
pub struct Stopped {
    /// What is to be recorded: none of them counts as running any more.
    pub events: Vec<Event>,
    /// A line for each that could not be seen to have ended.
    pub complaints: Vec<String>,
}

/// Stops the commands that a run which is given up has under way: nobody would wait for them any more.
pub async fn stop_what_runs(world: &World, state: &RunState, run: &RunId) -> Stopped {
    let under_way = state.items().filter(|(_, item)| matches!(item.phase, Phase::Started | Phase::InDoubt { .. }));
    let stops = under_way.map(|(id, item)| async move {
        let host = match state.subject(&id) {
            Some(Subject::Host(host)) => Some(host),
            Some(Subject::None | Subject::Value(_)) | None => None,
        };
        let attempt =
            AttemptId { run: run.clone(), step: id.step.clone(), item: id.item.clone(), number: item.attempt };
        let seen = world.stop_attempt(host, &attempt, GRACE).await;
        (id, item, seen)
    });
    let mut stopped = Stopped::default();
    for (id, item, seen) in join_all(stops).await {
        match &seen {
            Ok(CapsuleState::Running) => {
                stopped.complaints.push(format!("{id} could not be stopped and is still running"));
            }
            Ok(_) => {}
            Err(fault) => {
                stopped.complaints.push(format!("{id} may still be running: {}", phrase::fault_line(fault)));
            }
        }
        stopped.events.push(outcome(id, item, seen));
    }
    stopped
}

/// Says what is known of an attempt after it was told to end.
fn outcome(id: ItemId, item: &Item, seen: Result<CapsuleState, Fault>) -> Event {
    let attempt = item.attempt;
    let what = match seen {
        Ok(CapsuleState::Absent | CapsuleState::NotStarted) if item.phase == Phase::Started => {
            let fault = Fault::refused("the run was given up before it had begun anything that lasts");
            return Event::Failed { id, attempt, fault };
        }
        Ok(CapsuleState::Absent | CapsuleState::NotStarted) => "its command had not begun".to_owned(),
        Ok(CapsuleState::Exited { status }) => format!("its command ended with status {status}"),
        Ok(CapsuleState::Dead { .. }) => "its command was stopped; what it did by then is not known".to_owned(),
        Ok(CapsuleState::Running) => "its command could not be stopped".to_owned(),
        Err(fault) => format!("whether its command was stopped could not be seen: {}", phrase::fault_line(&fault)),
    };
    Event::Doubted { id, attempt, fault: Fault::in_doubt(format!("the run was given up: {what}")) }
}
