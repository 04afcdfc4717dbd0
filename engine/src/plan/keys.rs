//! The keys of plans and sites: one table for each map.
//!
//! The readers take the names that they know from these tables, and [`super::schema`] makes the JSON Schema of them, so that
//! the two cannot drift apart. The arguments of kinds are not here: the catalog describes them.

mod of_plan;
mod of_site;

pub use of_plan::PLATFORMS;
pub(super) use of_plan::{CHECK, DANGERS, EFFECTS, INCLUDED_CHECKS, INCLUDED_STEPS, INPUT, PLAN, RETRY, STEP, UNDO};
pub(super) use of_site::{ELEVATIONS, ETCD, HOST, IDENTITY, KUBE, MANAGERS, MEMBER, SECRET, SITE, SSH, TLS, VIAS};

/// A map of a plan or site with known keys.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name in the schema.
    pub name: &'static str,
    /// What it is, for messages: "a step".
    pub what: &'static str,
    /// What it is for, for editors.
    pub help: &'static str,
    /// Its keys, in the order in which an author would write them.
    pub keys: &'static [Key],
}

impl Table {
    /// Returns the names of its keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }

    /// Says whether a map with these keys is rather of this table than of another: two at least are only in this one, and none
    /// only in the other.
    pub fn is_rather<'k>(&self, other: &Self, keys: impl Iterator<Item = &'k str> + Clone) -> bool {
        let of_this = keys.clone().filter(|key| self.has(key) && !other.has(key)).count();
        of_this >= 2 && !keys.into_iter().any(|key| other.has(key) && !self.has(key))
    }

    /// Says whether it has a key.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

/// A key of a map.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether it has to be there.
    pub needed: bool,
    /// What it means, its unit and its default.
    pub help: &'static str,
    /// An example of its value, as YAML; empty: none.
    pub example: &'static str,
}

impl Key {
    /// Describes a key that has to be there.
    const fn needed(name: &'static str, shape: Shape, help: &'static str) -> Self {
        Self { name, shape, needed: true, help, example: "" }
    }

    /// Describes a key that may be left out.
    const fn optional(name: &'static str, shape: Shape, help: &'static str) -> Self {
        Self { name, shape, needed: false, help, example: "" }
    }

    /// Gives an example of its value, as YAML.
    const fn like(self, example: &'static str) -> Self {
        Self { example, ..self }
    }
}

/// The form of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// What it matches, an anchored regular expression.
    pub pattern: &'static str,
    /// What it has to be, for a person.
    pub words: &'static str,
}

/// What the value of a key looks like. Where nothing is said of templates, it is taken as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// The version of the language.
    Version,
    /// Text, or where the reader renders it, a template.
    Text,
    /// Text, or a list of texts with at least one.
    TextOrTexts,
    /// Text of a form.
    Form(Form),
    /// A bare expression, or a boolean.
    Condition,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// A whole number between two, both included.
    Count(u64, u64),
    /// A duration with a unit.
    Duration,
    /// A duration with a unit that is longer than nothing.
    Span,
    /// A size with a unit.
    Size,
    /// One of some words.
    Word(fn() -> Vec<&'static str>),
    /// A list.
    List(&'static Shape),
    /// A list with at least one element.
    Filled(&'static Shape),
    /// A map with free keys, which may have to be of a form.
    Map(Option<Form>, &'static Shape),
    /// A map with known keys.
    Table(&'static Table),
    /// A map with exactly one of some known keys.
    OneOf(&'static Table),
    /// A map whose known keys depend on the word of one of them.
    ByWord(&'static str, &'static [(&'static str, &'static Table)]),
    /// An input of a plan: what fits some of its keys depends on its type.
    Input,
    /// A list, or a template that becomes one.
    Elements,
    /// A check, which names one kind.
    Check,
    /// An entry of `preflight`: a check, or checks that are included.
    Precheck,
    /// An entry of `steps`: a step, or steps that are included.
    Step,
    /// A kind with its arguments.
    Action,
    /// Anything.
    Any,
    /// It must not be there.
    Nothing,
}

/// The form of a step's id: what [`requorum_steps::StepId`] takes.
const ID: Form = Form {
    pattern: "^[a-z0-9][a-z0-9-]{0,127}$",
    words: "kebab-case: lower-case letters, digits and `-`, beginning with a letter or digit",
};
/// The form of a plan's name: ids between slashes.
const PLAN_NAME: Form = Form {
    pattern: "^[a-z0-9][a-z0-9-]{0,127}(/[a-z0-9][a-z0-9-]{0,127})*$",
    words: "lower-case letters, digits and `-`, in parts between slashes",
};
/// The form of a host's name: what [`requorum_steps::HostName`] takes.
const HOST_NAME: Form = Form {
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
    words: "letters, digits, `-`, `.` and `_`, beginning with a letter or digit",
};
/// The form of what templates write after a dot.
const IDENTIFIER: Form = Form {
    pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
    words: "letters, digits and `_`, not beginning with a digit, because templates write it after a dot",
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use regex::Regex;
    use requorum_steps::{HostName, StepId};

    use super::*;

    #[test]
    fn the_forms_of_names_are_those_that_are_read() {
        let (id, host) = (Regex::new(ID.pattern).unwrap(), Regex::new(HOST_NAME.pattern).unwrap());
        let long = ["a".repeat(128), "a".repeat(129)];
        let names = ["", "a", "A", "1", "-a", "a-", "a.b", "a_b", "_a", "a/b", "stop-etcd", "é", "a b", "a\n"];
        for name in names.into_iter().chain(long.iter().map(String::as_str)) {
            assert_eq!(id.is_match(name), StepId::new(name).is_ok(), "{name:?}");
            assert_eq!(host.is_match(name), HostName::new(name).is_ok(), "{name:?}");
        }
    }
}
