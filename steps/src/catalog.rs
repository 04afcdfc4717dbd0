//! The catalog of kinds. A kind is one file under `kinds/` and one line here.

use serde_json::Value;

use crate::action::{Action, Check};
use crate::args::{Arg, BadArgs, Rule};
use crate::effect::{Danger, Effect};

/// Says where a kind works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// On a host: an action needs `on`, a check also takes the argument `hosts`, which every such check has.
    Host,
    /// On the machine that runs requorum.
    Here,
    /// At the API of the cluster.
    Cluster,
}

/// The kinds that the engine itself carries out, because they need its clock, its journal or a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// `gate.confirm`
    Gate,
    /// `wait.for`
    WaitFor,
    /// `wait.until`
    WaitUntil,
    /// `assert.that`
    Assert,
    /// `set.values`
    Set,
}

/// How a kind is made from rendered arguments.
#[derive(Clone, Copy)]
pub enum Make {
    /// It changes something.
    Action(fn(Value) -> Result<Box<dyn Action>, BadArgs>),
    /// It only looks.
    Check(fn(Value) -> Result<Box<dyn Check>, BadArgs>),
    /// The engine carries it out.
    Builtin(Builtin),
}

/// One field of an action's result, for the reference and for the check of `result.…` in plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it means and its unit.
    pub help: &'static str,
}

/// The description of a kind.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name, for example `file.set_aside`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// What else an author must know; may be empty.
    pub details: &'static str,
    /// Where it works.
    pub seat: Seat,
    /// Its arguments.
    pub args: &'static [Arg],
    /// Rules over several arguments.
    pub rules: &'static [Rule],
    /// Its effect class, which a plan may tighten. A check is [`Effect::Pure`].
    pub effect: Effect,
    /// What it can do to a working cluster. A check is [`Danger::Safe`].
    pub danger: Danger,
    /// Whether what it does must still hold when later steps begin, so that a resume observes it again: something was put
    /// out of action.
    pub lasting: bool,
    /// The fields of its result.
    pub result: &'static [Field],
    /// How its probe tells whether the effect happened; empty: it has none.
    pub probe: &'static str,
    /// How it is taken back; empty: it is not.
    pub undo: &'static str,
    /// The field of its result that names what it set aside on the host, under a name that requorum gave; empty: none.
    pub sets_aside: &'static str,
    /// What it needs on the host beyond the capsule's tools; empty: nothing.
    pub needs: &'static str,
    /// An example of its arguments, as YAML; empty: none.
    pub example: &'static str,
    /// The document and section that it follows; empty: none.
    pub source: &'static str,
    /// How it is made.
    pub make: Make,
}

impl Kind {
    /// A kind with every description empty, for `..Kind::BLANK` in the files of the kinds.
    pub const BLANK: Self = Self {
        name: "",
        summary: "",
        details: "",
        seat: Seat::Here,
        args: &[],
        rules: &[],
        effect: Effect::Pure,
        danger: Danger::Safe,
        lasting: false,
        result: &[],
        probe: "",
        undo: "",
        sets_aside: "",
        needs: "",
        example: "",
        source: "",
        make: Make::Builtin(Builtin::Assert),
    };

    /// Says whether it is a check.
    #[must_use]
    pub fn is_check(&self) -> bool {
        matches!(self.make, Make::Check(_))
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Returns all kinds, actions and checks, in the order of their names.
#[must_use]
pub fn all() -> &'static [&'static Kind] {
    crate::kinds::ALL
}

/// Returns the kind of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Kind> {
    let all = all();
    all.binary_search_by(|kind| kind.name.cmp(name)).ok().map(|index| all[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_sorted_and_every_kind_is_described() {
        for pair in all().windows(2) {
            assert!(pair[0].name < pair[1].name, "{} before {}", pair[0].name, pair[1].name);
        }
        for kind in all() {
            assert!(!kind.summary.is_empty(), "{} has no summary", kind.name);
            for arg in kind.args {
                assert!(!arg.help.is_empty(), "{}: `{}` has no help", kind.name, arg.name);
            }
            if !kind.sets_aside.is_empty() {
                assert!(kind.result.iter().any(|field| field.name == kind.sets_aside), "{}: sets_aside", kind.name);
            }
            if matches!(kind.make, Make::Action(_)) {
                assert_eq!(kind.effect == Effect::Probed, !kind.probe.is_empty(), "{}: probe", kind.name);
            }
        }
    }
}
