//! What every kind implements: [`Action`] changes something, [`Check`] only looks.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::Fault;
use crate::world::{Reader, Writer};

/// What a check saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Whether the expectation holds.
    pub holds: bool,
    /// What was seen: one line for a person.
    pub seen: String,
    /// What was expected: one line for a person.
    pub expected: String,
}

impl Observation {
    /// Makes an observation.
    pub fn new(holds: bool, expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { holds, seen: seen.into(), expected: expected.into() }
    }
}

/// What a probe can say about one effect: not whether the world looks right, but whether *this* happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Probe {
    /// It happened; with what the action would have returned, and the evidence.
    Yes {
        /// What the action would have returned.
        result: Value,
        /// What was seen.
        evidence: String,
    },
    /// It did not happen.
    No {
        /// What was seen.
        evidence: String,
    },
    /// It happened in part.
    Partly {
        /// What was seen.
        evidence: String,
    },
    /// It cannot be told.
    Unknown {
        /// Why not.
        evidence: String,
    },
}

/// What an action would do, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// The exact command or call, secrets hidden.
    pub command: String,
    /// What it would set aside, a path on its host.
    pub sets_aside: Option<String>,
}

impl Preview {
    /// Makes the preview of an action that sets nothing aside.
    pub fn of(command: impl Into<String>) -> Self {
        Self { command: command.into(), sets_aside: None }
    }

    /// Says what it would set aside.
    #[must_use]
    pub fn sets_aside(mut self, path: impl Into<String>) -> Self {
        self.sets_aside = Some(path.into());
        self
    }
}

/// What takes an action back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// It left nothing to take back, for this reason.
    Nothing(&'static str),
    /// These do, one after the other: kinds and their arguments, which are not templates.
    By(Vec<(&'static str, Value)>),
    /// Only its result could tell, and there is none.
    NeedsResult,
    /// It cannot be taken back.
    Never,
}

/// An action made from rendered arguments.
///
/// An action that runs on a host does all its changes in one [`Writer::run`]: the host then knows the attempt, and calling
/// `act` again for the same attempt finds what became of it instead of doing it twice.
#[async_trait]
pub trait Action: Send + Sync {
    /// Says what `act` would do.
    fn preview(&self, reader: &Reader<'_>) -> Preview;

    /// Observes what a later probe has to be compared with; it becomes durable with the intent.
    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let _ = reader;
        Ok(Value::Null)
    }

    /// Tells whether this effect happened, given what `before` saw. The default cannot tell.
    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let _ = (reader, before);
        Ok(Probe::Unknown { evidence: "this kind has no probe".to_owned() })
    }

    /// Does it and returns its result.
    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault>;

    /// Says whether all its changes are one command in the attempt's capsule, so that the capsule tells what became of it.
    /// An action that changes this machine or calls an API itself says no: only its probe can tell.
    fn contained(&self) -> bool {
        true
    }

    /// Says whether a later act on the same host, which has begun, may end what this one put out of action: then a resume no
    /// longer looks whether it holds. Asked only of kinds that are [`lasting`](crate::Kind::lasting).
    fn ended_by(&self, result: &Value, kind: &str, args: &Value) -> bool {
        let _ = (result, kind, args);
        false
    }

    /// Says what takes it back, given what `before` saw and its result. `None`: the attempt failed or was cut off, so that it
    /// may have done all of it, a part, or nothing.
    fn undo(&self, before: &Value, result: Option<&Value>) -> Undo {
        let _ = (before, result);
        Undo::Never
    }
}

/// A check made from rendered arguments. It can only look.
#[async_trait]
pub trait Check: Send + Sync {
    /// Looks once. A fault means that nothing could be seen, which is not the same as seeing the contrary.
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault>;
}
