//! Every text of an event that somebody else wrote: a command, a host, a person, a plan.
//!
//! Names that the engine itself goes by (steps, hosts, digests, blobs) are not among them. The events are taken apart field by
//! field, so that a new field has to be decided about here before the program compiles.

use requorum_steps::Fault;
use serde_json::Value;

use super::record::{Event, Finding};

/// Changes texts and values.
pub trait Texts {
    /// Changes a text.
    fn text(&mut self, text: &mut String);

    /// Changes a value.
    fn value(&mut self, value: &mut Value);

    /// Changes some texts.
    fn texts<'t>(&mut self, texts: impl IntoIterator<Item = &'t mut String>) {
        for text in texts {
            self.text(text);
        }
    }

    /// Changes what a fault says.
    fn fault(&mut self, fault: &mut Fault) {
        let Fault { kind: _, what, expected, seen, place, hint } = fault;
        self.text(what);
        self.texts([expected, seen, &mut place.command, hint].into_iter().flatten());
    }

    /// Changes what checks say.
    fn findings<'t>(&mut self, findings: impl IntoIterator<Item = &'t mut Finding>) {
        for Finding { check: _, host: _, place: _, holds: _, message, outcome } in findings {
            self.texts(message);
            match outcome {
                Ok(observation) => self.texts([&mut observation.seen, &mut observation.expected]),
                Err(fault) => self.fault(fault),
            }
        }
    }
}

impl Event {
    /// Changes every text of it that somebody else wrote.
    pub fn change_texts(&mut self, change: &mut impl Texts) {
        match self {
            // It is written before any secret is known.
            Self::Began(_) => {}
            Self::TakenUp { by, token: _, reason } => change.texts([by].into_iter().chain(reason)),
            Self::Fence { host: _, unreachable } => {
                if let Some(fault) = unreachable {
                    change.fault(fault);
                }
            }
            Self::GateOpened { id: _, message: text }
            | Self::Skipped { id: _, because: text }
            | Self::Reconciled { id: _, attempt: _, verdict: _, evidence: text }
            | Self::Lapsed { id: _, evidence: text }
            | Self::Ended { ending: _, reason: text } => change.text(text),
            Self::GateAnswered { id: _, approved: _, by, reason } | Self::Overridden { id: _, how: _, by, reason } => {
                change.texts([by, reason]);
            }
            Self::Satisfied { id: _, result, evidence } => {
                change.text(evidence);
                change.value(result);
            }
            Self::Started { id: _, attempt: _, args, before, title, command } => {
                change.texts([title, command]);
                change.value(args);
                change.value(before);
            }
            Self::Acted { id: _, attempt: _, result } => change.value(result),
            Self::Failed { id: _, attempt: _, fault } | Self::Doubted { id: _, attempt: _, fault } => {
                change.fault(fault);
            }
            Self::Preflight { findings }
            | Self::Blocked { id: _, findings }
            | Self::VerifyFailed { id: _, findings } => change.findings(findings),
            Self::Succeeded { id: _, outputs } => {
                for output in outputs.values_mut() {
                    change.value(output);
                }
            }
            Self::Amended { by, reason, plan_blob: _, digest: _, changes }
            | Self::SiteChanged { by, reason, site_blob: _, changes } => {
                change.texts([by, reason].into_iter().chain(changes));
            }
            Self::Committed { by, hosts: _, purged } => change.texts([by].into_iter().chain(purged)),
            Self::Recovered { by, reason, evidence } => change.texts([by, reason, evidence]),
        }
    }
}
