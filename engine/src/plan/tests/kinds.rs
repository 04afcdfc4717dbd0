//! A catalog of the tests' own, so that they depend on the language and not on the kinds that happen to be there.

use async_trait::async_trait;
use requorum_steps::catalog::Field;
use requorum_steps::{
    Action, Arg, BadArgs, Builtin, Check, Danger, Effect, Fault, Kind, Make, Observation, Preview, Reader, Rule, Seat,
    Type, Writer,
};
use serde_json::Value;

const CHECK: Make = Make::Check(|_| Ok(Box::new(Idle)));
const ACTION: Make = Make::Action(|args| match args["mode"].as_str() {
    Some("rw") => Err(BadArgs::at("mode", "`rw` is no mode")),
    Some(_) | None => Ok(Box::new(Idle)),
});

/// What every kind here makes: nothing is done with it.
struct Idle;

#[async_trait]
impl Action for Idle {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of("nothing".to_owned())
    }

    async fn act(&self, _: &Writer<'_>) -> Result<Value, Fault> {
        Ok(Value::Null)
    }
}

#[async_trait]
impl Check for Idle {
    async fn observe(&self, _: &Reader<'_>) -> Result<Observation, Fault> {
        Ok(Observation::new(true, "nothing", "nothing"))
    }
}

const fn action(name: &'static str, seat: Seat, effect: Effect) -> Kind {
    Kind { name, seat, effect, danger: Danger::Disruptive, make: ACTION, ..Kind::BLANK }
}

const fn check(name: &'static str, seat: Seat, args: &'static [Arg]) -> Kind {
    Kind { name, seat, args, make: CHECK, ..Kind::BLANK }
}

const fn builtin(name: &'static str, what: Builtin, args: &'static [Arg]) -> Kind {
    Kind { name, args, make: Make::Builtin(what), ..Kind::BLANK }
}

const HOSTS: Arg = Arg::optional("hosts", Type::Hosts, "Where to look.");
const SERVICE: &[Arg] = &[Arg::required("service", Type::Str, "The service."), HOSTS];
const RUN: &[Arg] = &[
    Arg::optional("run", Type::Str, "A script."),
    Arg::optional("argv", Type::List(&Type::Str), "A command."),
    Arg::optional("stdin", Type::Str, "Its input.").may_be_secret(),
    Arg::optional("env", Type::Map(&Type::Str), "Its environment.").may_be_secret(),
    Arg::optional("exit_codes", Type::List(&Type::Int), "What is a success."),
];
const RUN_RULES: &[Rule] = &[Rule::ExactlyOne(&["run", "argv"])];
const STDOUT: Type = Type::Object(&[
    Arg::optional("empty", Type::Bool, "Whether it is empty."),
    Arg::optional("contains", Type::Str, "What is in it."),
]);

/// The catalog.
pub const ALL: &[&Kind] = &[
    &builtin(
        "assert.that",
        Builtin::Assert,
        &[
            Arg::required("expr", Type::Expression, "What has to hold."),
            Arg::optional("message", Type::Str, "What to say otherwise."),
        ],
    ),
    &Kind { args: RUN, rules: RUN_RULES, ..action("command.run", Seat::Here, Effect::Once) },
    &check(
        "etcd.healthy",
        Seat::Cluster,
        &[
            Arg::optional("members", Type::OneOf(&[Type::Word(&["all"]), Type::List(&Type::Str)]), "Which."),
            Arg::optional("latency", Type::Duration, "The longest answer."),
        ],
    ),
    &Kind {
        args: &[Arg::required("name", Type::Str, "The member.")],
        ..action("etcd.member_remove", Seat::Cluster, Effect::Probed)
    },
    &check("etcd.quorum", Seat::Cluster, &[Arg::optional("without", Type::Str, "A member.")]),
    &Kind {
        args: &[
            Arg::required("snapshot", Type::Path, "The file."),
            Arg::optional("bump", Type::Int, "How far the revision jumps."),
            Arg::optional("quota", Type::Size, "The quota."),
            Arg::optional("skip_hash", Type::Bool, "Whether the hash is left alone."),
        ],
        result: &[Field { name: "revision", help: "The revision." }, Field { name: "data_dir", help: "Where it is." }],
        ..action("etcd.snapshot_restore", Seat::Host, Effect::Probed)
    },
    &Kind {
        args: &[
            Arg::required("src", Type::LocalPath, "The file here."),
            Arg::required("path", Type::Path, "The file there."),
        ],
        ..action("file.copy", Seat::Host, Effect::Probed)
    },
    &Kind {
        args: &[Arg::required("path", Type::Path, "What is set aside.")],
        result: &[Field { name: "aside", help: "Where it is now." }],
        ..action("file.set_aside", Seat::Host, Effect::Probed)
    },
    &Kind {
        args: &[
            Arg::required("path", Type::Path, "The file."),
            Arg::optional("content", Type::Str, "Its text."),
            Arg::optional("template", Type::Path, "A template of its text."),
            Arg::optional("mode", Type::Str, "Its mode."),
        ],
        rules: &[Rule::ExactlyOne(&["content", "template"])],
        ..action("file.write", Seat::Host, Effect::Probed)
    },
    &builtin("gate.confirm", Builtin::Gate, &[Arg::required("message", Type::Str, "The question.")]),
    &check("service.active", Seat::Host, SERVICE),
    &Kind { args: SERVICE, ..action("service.start", Seat::Host, Effect::Probed) },
    &Kind { args: SERVICE, ..action("service.stop", Seat::Host, Effect::Probed) },
    &builtin("set.values", Builtin::Set, &[]),
    &check(
        "ssh.check",
        Seat::Host,
        &[Arg::required("run", Type::Str, "A script."), Arg::optional("stdout", STDOUT, "What it prints."), HOSTS],
    ),
    &check("ssh.reachable", Seat::Host, &[HOSTS]),
    &Kind {
        args: RUN,
        rules: RUN_RULES,
        result: &[Field { name: "stdout", help: "What it printed." }, Field { name: "exit_code", help: "Its code." }],
        ..action("ssh.run", Seat::Host, Effect::Once)
    },
    &builtin(
        "wait.until",
        Builtin::WaitUntil,
        &[
            Arg::required("checks", Type::Checks, "What is waited for, each with its deadline."),
            Arg::optional("within", Type::Duration, "The deadline of those without one."),
        ],
    ),
];
