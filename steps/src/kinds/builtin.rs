//! The kinds that the engine carries out itself: they need its clock, its journal, its scope of templates, or a person.

use crate::args::{Arg, Type};
use crate::catalog::{Builtin, Field, Kind, Make};

/// `gate.confirm`
pub const GATE: Kind = Kind {
    name: "gate.confirm",
    summary: "Asks a person, and goes on only when the person agrees.",
    details: "On a terminal the question is asked there. Elsewhere the run ends with exit 6 and prints the `approve` and \
              `reject` commands. `--yes` does not answer a gate.",
    args: &[
        Arg::required("message", Type::Str, "The question, with all that is needed to decide."),
        Arg::optional("show", Type::Any, "A value that is shown below the question."),
    ],
    result: &[Field { name: "approved", help: "Always true." }],
    example: r#"{ message: Is the load balancer switched over?, show: "{{ vars.members }}" }"#,
    make: Make::Builtin(Builtin::Gate),
    ..Kind::BLANK
};

/// `wait.for`
pub const WAIT_FOR: Kind = Kind {
    name: "wait.for",
    summary: "Waits for a while; an interruption does not begin the wait anew.",
    details: "Waiting for a condition with `wait.until` is nearly always better.",
    args: &[Arg::required("duration", Type::Duration, "How long.")],
    result: &[Field { name: "waited", help: "The duration, as text." }],
    example: "{ duration: 30s }",
    make: Make::Builtin(Builtin::WaitFor),
    ..Kind::BLANK
};

/// `wait.until`
pub const WAIT_UNTIL: Kind = Kind {
    name: "wait.until",
    summary: "Waits until checks hold, at most as long as each says.",
    args: &[
        Arg::required("checks", Type::Checks, "The checks; each has `within`, its deadline, or that of all counts."),
        Arg::optional("within", Type::Duration, "The deadline of the checks that have none of their own."),
    ],
    result: &[Field { name: "held", help: "How many checks held." }],
    example: "{ checks: [ { etcd.healthy: { members: all }, every: 2s }, { etcd.same_hash: {}, within: 1m } ], within: 5m }",
    make: Make::Builtin(Builtin::WaitUntil),
    ..Kind::BLANK
};

/// `assert.that`
pub const ASSERT: Kind = Kind {
    name: "assert.that",
    summary: "Goes on only if an expression is true.",
    args: &[
        Arg::required("expr", Type::Expression, "A bare expression over what templates see."),
        Arg::optional("message", Type::Str, "What is wrong if it is false, and what to do."),
    ],
    result: &[Field { name: "holds", help: "Always true." }],
    example: "{ expr: steps.save.outputs.revision > 0, message: the snapshot is empty }",
    make: Make::Builtin(Builtin::Assert),
    ..Kind::BLANK
};

/// `set.values`
pub const SET: Kind = Kind {
    name: "set.values",
    summary: "Gives names to values for later steps.",
    details: "Its arguments are its result: any names with any values. Later steps read `steps.ID.result.NAME`.",
    args: &[],
    example: r#"{ revision: "{{ steps.save.outputs.revision }}" }"#,
    make: Make::Builtin(Builtin::Set),
    ..Kind::BLANK
};
