//! A place at which a process is killed, and what the design says about it.

use std::collections::BTreeMap;

use crate::stage::LocalCommand;

/// A place: what a crossing is called, for example `before append started once` or `supervisor after command once@-.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub String);

/// What the design says of a process that is killed somewhere, beyond "go on as if nothing had happened".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing: the next process goes on, and everything is as without the kill.
    None,
    /// The command died without a status, and may be repeated: it may have happened once more.
    Repeated,
    /// The command died without a status, and its probe tells whether it happened; what it returned is lost.
    Probed,
    /// The command died without a status, and only a person can tell whether it happened: exit 6.
    Asked,
    /// The command was never begun, which requorum sees while it lives: the step fails, exit 5, unless the plan has it tried
    /// again.
    Failed,
}

impl Place {
    /// Says whether the process that is killed there is the supervisor of a local command, not requorum.
    pub fn is_of_supervisor(&self) -> bool {
        self.0.starts_with("supervisor ")
    }

    /// Returns the item that is at work there, as `STEP` or `STEP@ITEM`, if any is.
    pub fn item(&self) -> &str {
        let last = self.0.rsplit(' ').next().unwrap();
        let attempt = last.rsplit_once('.').map_or(last, |(item, _)| item);
        attempt.strip_suffix("@-").unwrap_or(attempt)
    }

    /// Returns the step that is at work there, if any is.
    pub fn step(&self) -> &str {
        self.item().split('@').next().unwrap()
    }

    /// Says whether it belongs to an attempt that failed or to one after that. How many of them a cluster makes a step take
    /// is another number in every play.
    pub fn is_of_trying_again(&self) -> bool {
        let last = self.0.rsplit(' ').next().unwrap();
        let attempt = last.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        attempt.is_some_and(|number: usize| number > 1) || self.0.contains(" failed ")
    }

    /// The rule.
    pub fn consequence(&self, commands: &BTreeMap<String, LocalCommand>) -> Consequence {
        if !self.is_of_supervisor() || self.0.starts_with("supervisor after status ") {
            return Consequence::None;
        }
        let command = &commands[self.step()];
        if self.0.starts_with("supervisor before start record ") {
            return if command.is_retried { Consequence::None } else { Consequence::Failed };
        }
        match command.effect.as_str() {
            "pure" | "idempotent" => Consequence::Repeated,
            "probed" => Consequence::Probed,
            "once" => Consequence::Asked,
            other => panic!("no effect class: {other}"),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
