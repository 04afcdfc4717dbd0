//! What went wrong while looking or acting, in the words an operator needs: expected, seen, where, what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::HostName;

/// Says what a fault means for the attempt it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// It was refused before anything was changed: a precondition, a wrong argument, a missing tool.
    Refused,
    /// It was tried, has ended, and did not succeed.
    Failed,
    /// It ran out of time and was seen dead afterwards.
    TimedOut,
    /// Whether it happened is not known: the link was lost, or a process died without leaving its status.
    InDoubt,
    /// The host or server could not be reached; nothing was sent to it.
    Unreachable,
    /// Another run or holder owns this cluster.
    Fenced,
}

/// Says where something was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The host of the site, where it was not this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The command or call, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// A fault: reported to the operator and kept in the journal, so it is plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Fault {
    /// What it means for the attempt.
    pub kind: FaultKind,
    /// What went wrong: a lower-case fragment that completes "failed: …".
    pub what: String,
    /// What was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was seen instead (an error text, the end of an output).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Where.
    #[serde(default)]
    pub place: Place,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Fault {
    /// Makes a fault of the given kind.
    pub fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), expected: None, seen: None, place: Place::default(), hint: None }
    }

    /// Makes a fault for what was tried, has ended and did not succeed.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(FaultKind::Failed, what)
    }

    /// Makes a fault for what was refused before anything was changed.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(FaultKind::Refused, what)
    }

    /// Makes a fault for what may or may not have happened.
    pub fn in_doubt(what: impl Into<String>) -> Self {
        Self::new(FaultKind::InDoubt, what)
    }

    /// Makes a fault for what could not be reached; nothing was sent.
    pub fn unreachable(what: impl Into<String>) -> Self {
        Self::new(FaultKind::Unreachable, what)
    }

    /// Adds what was expected.
    #[must_use]
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = Some(text.into());
        self
    }

    /// Adds what was seen.
    #[must_use]
    pub fn seen(mut self, text: impl Into<String>) -> Self {
        self.seen = Some(text.into());
        self
    }

    /// Adds the host, unless one is named already.
    #[must_use]
    pub fn on(mut self, host: &HostName) -> Self {
        self.place.host.get_or_insert_with(|| host.clone());
        self
    }

    /// Adds the command or call, unless one is named already.
    #[must_use]
    pub fn during(mut self, command: impl Into<String>) -> Self {
        self.place.command.get_or_insert_with(|| command.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into());
        self
    }
}
