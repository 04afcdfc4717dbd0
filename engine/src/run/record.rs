//! The records of a run's journal: its persisted form.
//!
//! The state of a run is a fold over these and nothing else. The form is versioned by [`FORMAT`]; an event is never
//! changed, only added.

use std::fmt;

use jiff::Timestamp;
use requorum_steps::{Fault, HostName, ItemKey, Observation, RunId, StepId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the persisted form of records.
///
/// - 1: the first.
/// - 2: runs that roll another back; plans and sites amended on the way; runs that were committed; journals that were
///   recovered; attempts withdrawn.
pub const FORMAT: u32 = 2;

/// One record: the envelope and what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the journal, from 1.
    pub seq: u64,
    /// When it was made, by the clock of the machine that ran requorum.
    pub at: Timestamp,
    /// Which taking-up of the run made it; it grows with each process, and beyond the epochs that hosts have seen.
    pub epoch: u64,
    /// What happened.
    pub event: Event,
}

/// Names one item of one step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemId {
    /// The step.
    pub step: StepId,
    /// The item.
    pub item: ItemKey,
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.item.is_single() { write!(f, "{}", self.step) } else { write!(f, "{}@{}", self.step, self.item) }
    }
}

/// What a check saw, kept as evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The kind of the check.
    pub check: String,
    /// The host that it looked at, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// Where the plan has it, `FILE:LINE`.
    pub place: String,
    /// Whether it holds, after `not`.
    pub holds: bool,
    /// The author's words for when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was seen last, or why nothing could be seen.
    pub outcome: Result<Observation, Fault>,
}

/// How a person overrode an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Override {
    /// It counts as done.
    Done,
    /// It is left out.
    Skip,
    /// It is tried again from the start.
    Retry,
}

/// What was decided about an attempt whose outcome was in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Its effect or status is there: it counts as acted.
    Adopt,
    /// It is still running: its end is waited for.
    Reattach,
    /// It never began: the same attempt is launched.
    Launch,
    /// It did not happen, or may be repeated: a new attempt is made.
    Repeat,
    /// A person must decide.
    Ask,
    /// It never began, and will not: the run is about to be rolled back, so nothing more begins.
    Withdraw,
}

/// How the part of a run that one process carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Everything is done and verified.
    Done,
    /// A precondition did not hold; nothing was changed. The run is over.
    Refused,
    /// A step failed; the run can be resumed.
    Failed,
    /// A person is needed; the run can be resumed.
    NeedsPerson,
    /// It was interrupted, or its time budget ended; the run can be resumed.
    Interrupted,
    /// A person gave it up. The run is over.
    Aborted,
}

impl Ending {
    /// Says whether the run is over, so that it cannot be resumed.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Done | Self::Refused | Self::Aborted => true,
            Self::Failed | Self::NeedsPerson | Self::Interrupted => false,
        }
    }
}

/// What a run began with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beginning {
    /// [`FORMAT`] when it began.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The version of requorum.
    pub version: String,
    /// The cluster.
    pub cluster: String,
    /// The plan's name.
    pub plan: String,
    /// The plan's title.
    pub title: String,
    /// The digest of the compiled plan.
    pub digest: String,
    /// The blob that holds the compiled plan as JSON.
    pub plan_blob: String,
    /// The blob that holds the site as JSON.
    pub site_blob: String,
    /// Its steps and how many items each has, in the plan's order.
    pub steps: Vec<(StepId, usize)>,
    /// How many items may run at once.
    pub parallel: usize,
    /// Whether the operator allowed the plan to take a working cluster back in time.
    pub revert: bool,
    /// The run that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<RunId>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run began.
    Began(Box<Beginning>),
    /// A process took the run up. What was started and has no result is in doubt from here on.
    TakenUp {
        /// `user@machine, pid N`.
        by: String,
        /// The random token of the process, as the fence has it.
        token: String,
        /// Why, where a person gave a reason (taking over).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The preflight checks were evaluated.
    Preflight {
        /// What they saw.
        findings: Vec<Finding>,
    },
    /// The fence was raised on a host, or could not be.
    Fence {
        /// The host.
        host: HostName,
        /// Why it could not be raised; the host is not protected against another operator.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unreachable: Option<Fault>,
    },
    /// A gate waits for a person.
    GateOpened {
        /// The item.
        id: ItemId,
        /// What the person is asked.
        message: String,
    },
    /// A person answered a gate.
    GateAnswered {
        /// The item.
        id: ItemId,
        /// The answer.
        approved: bool,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// `when` was false.
    Skipped {
        /// The item.
        id: ItemId,
        /// The expression.
        because: String,
    },
    /// `require` did not hold within its time.
    Blocked {
        /// The item.
        id: ItemId,
        /// What was seen.
        findings: Vec<Finding>,
    },
    /// The effect was there already.
    Satisfied {
        /// The item.
        id: ItemId,
        /// What the action would have returned.
        result: Value,
        /// What was seen.
        evidence: String,
    },
    /// An attempt is about to act: its intent.
    Started {
        /// The item.
        id: ItemId,
        /// The attempt, from 1.
        attempt: u32,
        /// The rendered arguments, secrets as placeholders; they are never rendered again.
        args: Value,
        /// What the action saw before, for its probe.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        before: Value,
        /// The rendered title of the step; empty where the author gave none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        title: String,
        /// The command or call, for a person.
        command: String,
    },
    /// An attempt acted.
    Acted {
        /// The item.
        id: ItemId,
        /// The attempt.
        attempt: u32,
        /// What it returned.
        result: Value,
    },
    /// An attempt did not succeed, or the item could not be started.
    Failed {
        /// The item.
        id: ItemId,
        /// The attempt; 0 where none had started.
        attempt: u32,
        /// Why.
        fault: Fault,
    },
    /// The outcome of an attempt is not known.
    Doubted {
        /// The item.
        id: ItemId,
        /// The attempt.
        attempt: u32,
        /// Why.
        fault: Fault,
    },
    /// An outcome that was in doubt was decided.
    Reconciled {
        /// The item.
        id: ItemId,
        /// The attempt.
        attempt: u32,
        /// The decision.
        verdict: Verdict,
        /// On what evidence.
        evidence: String,
    },
    /// What had succeeded, and later steps rely on, no longer holds.
    Lapsed {
        /// The item.
        id: ItemId,
        /// What was seen.
        evidence: String,
    },
    /// It acted, but `verify` did not hold within its time.
    VerifyFailed {
        /// The item.
        id: ItemId,
        /// What was seen.
        findings: Vec<Finding>,
    },
    /// It acted and is verified.
    Succeeded {
        /// The item.
        id: ItemId,
        /// Its outputs.
        outputs: serde_json::Map<String, Value>,
    },
    /// A person overrode an item.
    Overridden {
        /// The item.
        id: ItemId,
        /// How.
        how: Override,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A person changed steps of the plan that had not begun.
    Amended {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// The blob that holds the new compiled plan as JSON.
        plan_blob: String,
        /// The digest of the new plan.
        digest: String,
        /// What changed, a line for each step, for a person.
        changes: Vec<String>,
    },
    /// A person changed how hosts are reached, or gave hosts up.
    SiteChanged {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// The blob that holds the new site as JSON.
        site_blob: String,
        /// What changed, a line for each host or value, for a person.
        changes: Vec<String>,
    },
    /// What the finished run kept on hosts was removed: it can no longer be asked what became of its attempts.
    Committed {
        /// Who.
        by: String,
        /// The hosts whose capsules were removed.
        hosts: Vec<HostName>,
        /// What was set aside and is removed now, `HOST:/path`; after that the run cannot be rolled back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        purged: Vec<String>,
    },
    /// The store was damaged, and was made anew from what was left of it and from the witness.
    Recovered {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Which records were found where.
        evidence: String,
    },
    /// The process that carried the run out ended.
    Ended {
        /// How.
        ending: Ending,
        /// More, for a person.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
}

impl Event {
    /// Returns the item that it is about.
    #[must_use]
    pub fn item(&self) -> Option<&ItemId> {
        match self {
            Self::Began(_)
            | Self::TakenUp { .. }
            | Self::Preflight { .. }
            | Self::Fence { .. }
            | Self::Amended { .. }
            | Self::SiteChanged { .. }
            | Self::Committed { .. }
            | Self::Recovered { .. }
            | Self::Ended { .. } => None,
            Self::GateOpened { id, .. }
            | Self::GateAnswered { id, .. }
            | Self::Skipped { id, .. }
            | Self::Blocked { id, .. }
            | Self::Satisfied { id, .. }
            | Self::Started { id, .. }
            | Self::Acted { id, .. }
            | Self::Failed { id, .. }
            | Self::Doubted { id, .. }
            | Self::Reconciled { id, .. }
            | Self::Lapsed { id, .. }
            | Self::VerifyFailed { id, .. }
            | Self::Succeeded { id, .. }
            | Self::Overridden { id, .. } => Some(id),
        }
    }

    /// Says whether this record must be durable before the driver goes on.
    ///
    /// Only what precedes an effect, and every decision, asks for a barrier. A result rides along: whatever depends on it
    /// begins with an intent of its own, whose barrier covers all earlier records; and if a crash comes first, the
    /// attempt is in doubt and its capsule still has the result.
    #[must_use]
    pub fn needs_barrier(&self) -> bool {
        match self {
            Self::Began(_)
            | Self::TakenUp { .. }
            | Self::GateAnswered { .. }
            | Self::Started { .. }
            | Self::Reconciled { .. }
            | Self::Overridden { .. }
            | Self::Amended { .. }
            | Self::SiteChanged { .. }
            | Self::Committed { .. }
            | Self::Recovered { .. }
            | Self::Ended { .. } => true,
            Self::Preflight { .. }
            | Self::Fence { .. }
            | Self::GateOpened { .. }
            | Self::Skipped { .. }
            | Self::Blocked { .. }
            | Self::Satisfied { .. }
            | Self::Acted { .. }
            | Self::Failed { .. }
            | Self::Doubted { .. }
            | Self::Lapsed { .. }
            | Self::VerifyFailed { .. }
            | Self::Succeeded { .. } => false,
        }
    }
}

impl Event {
    /// Returns its name as the journal has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Began(_) => "began",
            Self::TakenUp { .. } => "taken-up",
            Self::Preflight { .. } => "preflight",
            Self::Fence { .. } => "fence",
            Self::GateOpened { .. } => "gate-opened",
            Self::GateAnswered { .. } => "gate-answered",
            Self::Skipped { .. } => "skipped",
            Self::Blocked { .. } => "blocked",
            Self::Satisfied { .. } => "satisfied",
            Self::Started { .. } => "started",
            Self::Acted { .. } => "acted",
            Self::Failed { .. } => "failed",
            Self::Doubted { .. } => "doubted",
            Self::Reconciled { .. } => "reconciled",
            Self::Lapsed { .. } => "lapsed",
            Self::VerifyFailed { .. } => "verify-failed",
            Self::Succeeded { .. } => "succeeded",
            Self::Overridden { .. } => "overridden",
            Self::Amended { .. } => "amended",
            Self::SiteChanged { .. } => "site-changed",
            Self::Committed { .. } => "committed",
            Self::Recovered { .. } => "recovered",
            Self::Ended { .. } => "ended",
        }
    }
}
