//! One item: where it stands, what is known of it, and the table of the step machine.

use jiff::Timestamp;
use requorum_steps::{Effect, Fault, FaultKind};
use serde_json::{Map, Value};

use super::record::{Event, Finding, Override, Record, Verdict};
use crate::plan::compiled::Step;

/// Where an item stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Something that it needs is not done.
    Pending,
    /// It may start.
    Ready,
    /// A person is asked before it starts.
    GateOpen {
        /// What the person is asked.
        message: String,
    },
    /// A person agreed; it may start.
    Approved,
    /// An attempt is acting.
    Started,
    /// An attempt had started, and its outcome is not known.
    InDoubt {
        /// Why.
        why: String,
    },
    /// A person must decide what became of it.
    Asked {
        /// The evidence.
        evidence: String,
        /// Whether it had succeeded and no longer holds; else the outcome of its attempt is not known.
        lapsed: bool,
    },
    /// It acted and is to be verified.
    Acted,
    /// It acted, but is not as it should be.
    VerifyFailed {
        /// What was seen.
        findings: Vec<Finding>,
    },
    /// It acted and is verified.
    Succeeded,
    /// Its effect was there already.
    Satisfied,
    /// `when` was false.
    Skipped,
    /// A person decided it.
    Forced {
        /// Whether it happened; else it is left out.
        happened: bool,
        /// The reason given.
        reason: String,
    },
    /// It did not succeed.
    Failed {
        /// Why.
        fault: Fault,
    },
    /// `require` did not hold.
    Blocked {
        /// What was seen.
        findings: Vec<Finding>,
        /// Whether an attempt was to be launched whose intent is recorded: then no other may take its place.
        launching: bool,
    },
    /// A person said no.
    Rejected {
        /// The reason given.
        reason: String,
    },
}

impl Phase {
    /// Says whether what needs this item may go on.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Succeeded | Self::Satisfied | Self::Skipped | Self::Forced { .. } => true,
            Self::Pending
            | Self::Ready
            | Self::GateOpen { .. }
            | Self::Approved
            | Self::Started
            | Self::InDoubt { .. }
            | Self::Asked { .. }
            | Self::Acted
            | Self::VerifyFailed { .. }
            | Self::Failed { .. }
            | Self::Blocked { .. }
            | Self::Rejected { .. } => false,
        }
    }

    /// Says whether nothing more happens to it in this process without a person.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        match self {
            Self::Asked { .. }
            | Self::VerifyFailed { .. }
            | Self::Failed { .. }
            | Self::Blocked { .. }
            | Self::Rejected { .. } => true,
            Self::Pending
            | Self::Ready
            | Self::GateOpen { .. }
            | Self::Approved
            | Self::Started
            | Self::InDoubt { .. }
            | Self::Acted
            | Self::Succeeded
            | Self::Satisfied
            | Self::Skipped
            | Self::Forced { .. } => false,
        }
    }

    /// Says whether it acted or may have, and the engine has still to verify it or to find out.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        matches!(self, Self::InDoubt { .. } | Self::Acted)
    }

    /// Says whether it has acted: `Some(false)` where it may have, `None` where it surely has not in this run, or a person
    /// answers for it.
    #[must_use]
    pub fn may_have_acted(&self) -> Option<bool> {
        match self {
            Self::Succeeded | Self::Satisfied | Self::Acted | Self::VerifyFailed { .. } => Some(true),
            Self::Started | Self::InDoubt { .. } | Self::Asked { .. } => Some(false),
            Self::Failed { fault } if !nothing_was_done(fault) => Some(false),
            Self::Pending
            | Self::Ready
            | Self::GateOpen { .. }
            | Self::Approved
            | Self::Skipped
            | Self::Forced { .. }
            | Self::Failed { .. }
            | Self::Blocked { .. }
            | Self::Rejected { .. } => None,
        }
    }

    /// Returns the word that views show.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::GateOpen { .. } => "asks",
            Self::Approved => "approved",
            Self::Started => "running",
            Self::InDoubt { .. } => "in doubt",
            Self::Asked { .. } => "needs you",
            Self::Acted => "verifying",
            Self::VerifyFailed { .. } => "not verified",
            Self::Succeeded => "done",
            Self::Satisfied => "already so",
            Self::Skipped => "skipped",
            Self::Forced { happened: true, .. } => "forced done",
            Self::Forced { happened: false, .. } => "left out",
            Self::Failed { .. } => "failed",
            Self::Blocked { .. } => "blocked",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// What is known of one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where it stands.
    pub phase: Phase,
    /// The latest attempt; 0: none yet.
    pub attempt: u32,
    /// The rendered arguments of the latest attempt.
    pub args: Value,
    /// The command or call of the latest attempt, for a person.
    pub command: String,
    /// What the latest attempt's action saw before it acted.
    pub before: Value,
    /// What it returned.
    pub result: Value,
    /// Its outputs.
    pub outputs: Map<String, Value>,
    /// When its first attempt started.
    pub started: Option<Timestamp>,
    /// When it came to rest.
    pub ended: Option<Timestamp>,
    /// Whether a person agreed to it.
    pub approved: bool,
    /// Whether its effect was found there and not made.
    pub found: bool,
    /// Why its latest attempt failed after it had started, until another begins or a person has decided about it.
    pub fault: Option<Fault>,
}

impl Item {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Pending,
            attempt: 0,
            args: Value::Null,
            command: String::new(),
            before: Value::Null,
            result: Value::Null,
            outputs: Map::new(),
            started: None,
            ended: None,
            approved: false,
            found: false,
            fault: None,
        }
    }

    /// Returns where it stands when it may start, or start again.
    pub(super) fn may_start(&self) -> Phase {
        if self.approved { Phase::Approved } else { Phase::Ready }
    }

    /// Returns what it is when it is done and verified.
    fn done(&self) -> Phase {
        if self.found { Phase::Satisfied } else { Phase::Succeeded }
    }

    /// Returns where a new process finds it. What had started is in doubt; what may be tried again without a person may start.
    pub(super) fn taken_up(&self, step: &Step) -> Option<Phase> {
        match &self.phase {
            Phase::Started => Some(Phase::InDoubt { why: "the process that started it is gone".to_owned() }),
            Phase::VerifyFailed { .. } => Some(Phase::Acted),
            Phase::Blocked { launching: true, .. } => {
                Some(Phase::InDoubt { why: "what it requires did not hold when it was to be launched".to_owned() })
            }
            Phase::Blocked { launching: false, .. } => Some(self.may_start()),
            Phase::Failed { .. } => {
                let nothing = self.fault.as_ref().is_none_or(nothing_was_done);
                (nothing || self.attempts_left(step)).then(|| self.may_start())
            }
            Phase::Pending
            | Phase::Ready
            | Phase::GateOpen { .. }
            | Phase::Approved
            | Phase::InDoubt { .. }
            | Phase::Asked { .. }
            | Phase::Acted
            | Phase::Succeeded
            | Phase::Satisfied
            | Phase::Skipped
            | Phase::Forced { .. }
            | Phase::Rejected { .. } => None,
        }
    }

    /// Says whether the engine has something to do about it, or waits for an answer.
    pub(super) fn is_active(&self) -> bool {
        !self.phase.is_done() && !self.phase.is_stuck() && self.phase != Phase::Pending
    }

    /// Says whether anything was done about it or decided that lasts: then its step has to stay as it is.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.attempt > 0
            || match &self.phase {
                Phase::Started
                | Phase::InDoubt { .. }
                | Phase::Asked { .. }
                | Phase::Acted
                | Phase::VerifyFailed { .. }
                | Phase::Succeeded
                | Phase::Satisfied
                | Phase::Skipped
                | Phase::Forced { .. } => true,
                Phase::Pending
                | Phase::Ready
                | Phase::GateOpen { .. }
                | Phase::Approved
                | Phase::Failed { .. }
                | Phase::Blocked { .. }
                | Phase::Rejected { .. } => false,
            }
    }

    /// Says whether the plan lets the latest attempt be followed by another. Of a probed effect the probe has the last word.
    #[must_use]
    pub fn attempts_left(&self, step: &Step) -> bool {
        self.attempt < step.retry.attempts && step.effect < Effect::Once
    }
}

/// Says whether a fault means that nothing was changed, so that trying again needs no decision.
#[must_use]
pub fn nothing_was_done(fault: &Fault) -> bool {
    match fault.kind {
        FaultKind::Refused | FaultKind::Unreachable | FaultKind::Fenced => true,
        FaultKind::Failed | FaultKind::TimedOut | FaultKind::InDoubt => false,
    }
}

/// The table of the step machine. An error names the event that is not allowed.
pub(super) fn transition(item: &mut Item, record: &Record, effect: Effect) -> Result<(), &'static str> {
    use Phase as P;
    let next = match (&record.event, &item.phase) {
        (Event::GateOpened { message, .. }, P::Ready) => P::GateOpen { message: message.clone() },
        (Event::GateAnswered { approved: true, .. }, P::GateOpen { .. }) => {
            item.approved = true;
            P::Approved
        }
        (Event::GateAnswered { approved: false, reason, .. }, P::GateOpen { .. }) => {
            P::Rejected { reason: reason.clone() }
        }
        (Event::Skipped { .. }, P::Ready | P::Approved) => P::Skipped,
        (Event::Blocked { findings, .. }, P::Ready | P::Approved | P::InDoubt { .. }) => {
            let launching = matches!(item.phase, P::InDoubt { .. });
            P::Blocked { findings: findings.clone(), launching }
        }
        (Event::Satisfied { result, .. }, P::Ready | P::Approved | P::Failed { .. }) => {
            item.result = result.clone();
            item.found = true;
            item.fault = None;
            P::Acted
        }
        (Event::Started { attempt, args, before, command, .. }, phase)
            if may_act(phase, effect) && *attempt > item.attempt =>
        {
            item.attempt = *attempt;
            item.args = args.clone();
            item.command.clone_from(command);
            item.found = false;
            item.before = before.clone();
            item.fault = None;
            item.started.get_or_insert(record.at);
            P::Started
        }
        // A step that only reads, or that the engine carries out itself, has no intent.
        (Event::Acted { attempt: 0, result, .. }, P::Ready | P::Approved) => {
            item.result = result.clone();
            item.started.get_or_insert(record.at);
            P::Acted
        }
        (Event::Acted { attempt, result, .. }, P::Started) if *attempt == item.attempt => {
            item.result = result.clone();
            P::Acted
        }
        (
            Event::Failed { fault, .. },
            P::Ready | P::Approved | P::Started | P::Failed { .. } | P::VerifyFailed { .. },
        ) => {
            // What fails before it has started changes nothing, and nothing about what an earlier attempt left.
            if item.phase == P::Started {
                item.fault = Some(fault.clone());
            }
            P::Failed { fault: fault.clone() }
        }
        (Event::Doubted { fault, .. }, P::Started | P::InDoubt { .. }) => P::InDoubt { why: in_short(fault) },
        (Event::Reconciled { verdict, evidence, .. }, P::InDoubt { .. }) => match verdict {
            Verdict::Adopt | Verdict::Reattach | Verdict::Launch => P::Started,
            Verdict::Repeat | Verdict::Withdraw => item.may_start(),
            Verdict::Ask => P::Asked { evidence: evidence.clone(), lapsed: false },
        },
        (Event::Lapsed { evidence, .. }, P::Succeeded | P::Satisfied) => {
            P::Asked { evidence: evidence.clone(), lapsed: true }
        }
        // It was seen to hold again, before a person had decided.
        (Event::Reconciled { verdict: Verdict::Adopt, .. }, P::Asked { lapsed: true, .. }) => item.done(),
        (Event::VerifyFailed { findings, .. }, P::Acted) => P::VerifyFailed { findings: findings.clone() },
        (Event::Succeeded { outputs, .. }, P::Acted) => {
            item.outputs = outputs.clone();
            item.done()
        }
        (Event::Overridden { how: how @ (Override::Done | Override::Skip), reason, .. }, phase)
            if !phase.is_done() && *phase != P::Started =>
        {
            P::Forced { happened: *how == Override::Done, reason: reason.clone() }
        }
        // Pending, until its needs are known to be done; the fold releases it at once where they are.
        (Event::Overridden { how: Override::Retry, .. }, phase)
            if phase.is_stuck() || matches!(phase, P::InDoubt { .. }) =>
        {
            item.fault = None;
            P::Pending
        }
        (event, _) => return Err(event.name()),
    };
    item.phase = next;
    Ok(())
}

/// Says whether an attempt may begin. After one that failed or is not verified it depends on the effect class, whatever the
/// work thinks: this is the last place where a blind repetition can be refused.
fn may_act(phase: &Phase, effect: Effect) -> bool {
    match phase {
        Phase::Ready | Phase::Approved => true,
        Phase::Failed { .. } => effect < Effect::Once,
        Phase::VerifyFailed { .. } => effect < Effect::Probed,
        Phase::Pending
        | Phase::GateOpen { .. }
        | Phase::Started
        | Phase::InDoubt { .. }
        | Phase::Asked { .. }
        | Phase::Acted
        | Phase::Succeeded
        | Phase::Satisfied
        | Phase::Skipped
        | Phase::Forced { .. }
        | Phase::Blocked { .. }
        | Phase::Rejected { .. } => false,
    }
}

fn in_short(fault: &Fault) -> String {
    match &fault.seen {
        Some(seen) => format!("{}: {seen}", fault.what),
        None => fault.what.clone(),
    }
}
