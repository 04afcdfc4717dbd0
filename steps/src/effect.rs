//! How an action relates to being repeated, and how dangerous it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Says what may be done about an action whose outcome is not known. Ordered from the freest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It only reads; it may be repeated at will and needs no durable intent.
    Pure,
    /// It may be repeated: doing it twice is the same as doing it once.
    Idempotent,
    /// A probe can tell whether it happened; only the probe adopts it or permits its repetition.
    Probed,
    /// It is never repeated without a person.
    Once,
}

impl Effect {
    /// Returns the word that plans use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Idempotent => "idempotent",
            Self::Probed => "probed",
            Self::Once => "once",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Says what an action can do to a working cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Danger {
    /// A working cluster does not notice.
    Safe,
    /// Something stops serving for a while.
    Disruptive,
    /// Data or membership changes.
    Destructive,
}

impl Danger {
    /// Returns the word that plans use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Disruptive => "disruptive",
            Self::Destructive => "destructive",
        }
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
