//! The tables of a plan.

use requorum_steps::{Danger, Effect};

use super::super::inputs;
use super::{ID, IDENTIFIER, Key, PLAN_NAME, Shape, Table};

/// The platforms that a plan can be written for.
pub const PLATFORMS: [&str; 6] = ["any", "systemd-etcd", "kubeadm", "uk8s", "openshift-4.4", "openshift-4.12"];
/// The effect classes that a step can say.
pub(in crate::plan) const EFFECTS: [Effect; 4] = [Effect::Pure, Effect::Idempotent, Effect::Probed, Effect::Once];
/// The dangers that a step can say.
pub(in crate::plan) const DANGERS: [Danger; 3] = [Danger::Safe, Danger::Disruptive, Danger::Destructive];

pub(in crate::plan) static PLAN: Table = Table {
    name: "plan",
    what: "a plan",
    help: "A recovery plan of requorum: what must be true, what each step does, and how one knows that it worked.",
    keys: &[
        Key::needed("requorum", Shape::Version, "The version of the plan language.").like("1"),
        Key::needed("name", Shape::Form(PLAN_NAME), "Its name: kebab-case, in parts between slashes.")
            .like("site/defragment"),
        Key::optional("title", Shape::Text, "What it does, in one line.").like("Defragment one member after the other"),
        Key::optional(
            "description",
            Shape::Text,
            "Purpose, blast radius, what it was run against, and the document and section that it follows.",
        ),
        Key::optional(
            "platforms",
            Shape::List(&Shape::Word(|| PLATFORMS.to_vec())),
            "What it is written for; a site of another platform is refused. Default: any.",
        )
        .like("[systemd-etcd]"),
        Key::optional(
            "reverts",
            Shape::Bool,
            "Whether it takes the cluster back in time. On a cluster whose quorum is not surely lost it then needs --revert.",
        )
        .like("true"),
        Key::optional(
            "inputs",
            Shape::Map(Some(IDENTIFIER), &Shape::Input),
            "What the operator gives with --set or --set-file; templates read `inputs.NAME`.",
        )
        .like("{ pause: { type: duration, default: 10s, help: How long to let a member settle } }"),
        Key::optional(
            "vars",
            Shape::Map(Some(IDENTIFIER), &Shape::Any),
            "Names for values; templates read `vars.NAME`. They are rendered in order, and each sees those above it.",
        )
        .like("{ members: \"{{ site.hosts | role('etcd') }}\" }"),
        Key::optional(
            "preflight",
            Shape::List(&Shape::Precheck),
            "Checks that are all evaluated and reported together before anything is changed.",
        )
        .like("[ { etcd.quorum: {} } ]"),
        Key::needed(
            "steps",
            Shape::Filled(&Shape::Step),
            "The work. The order in the file does not matter: `needs` says what comes before what.",
        ),
    ],
};

pub(in crate::plan) static STEP: Table = Table {
    name: "step",
    what: "a step",
    help: "A step: its id, exactly one key that names a kind, and what else is said about it.",
    keys: &[
        Key::needed("id", Shape::Form(ID), "Its id: kebab-case, unique in the plan.").like("stop-etcd"),
        Key::optional("title", Shape::Text, "What it does, for a person who could follow it by hand; a template.")
            .like("Stop etcd on {{ host.name }}"),
        Key::optional(
            "needs",
            Shape::List(&Shape::Form(ID)),
            "The ids of the steps that come before. It starts when all items of all of them are done.",
        )
        .like("[stop-etcd]"),
        Key::optional(
            "when",
            Shape::Condition,
            "A bare expression, without braces, for each item; false: the item is skipped, which counts as done.",
        )
        .like("not host.lost"),
        Key::optional(
            "on",
            Shape::Elements,
            "A list of hosts or values that is known before the run: one item of the step for each element, which \
             templates see as `host` or `item`.",
        )
        .like("\"{{ site.hosts | role('etcd') }}\""),
        Key::optional(
            "max_parallel",
            Shape::Count(1, u64::MAX),
            "How many items run at once; default: all. 1: one after the other, and the first failure stops the rest.",
        )
        .like("1"),
        Key::optional("canary", Shape::Bool, "true: the first item alone, the others when it is done.").like("true"),
        Key::optional("confirm", Shape::Text, "A question that a person answers before the item starts; a template.")
            .like("Is {{ host.name }} out of the load balancer?"),
        Key::optional(
            "require",
            Shape::List(&Shape::Check),
            "Checks that must hold before the item starts; with `within` they are waited for, else it is blocked.",
        )
        .like("[ { etcd.quorum: {}, within: 1m } ]"),
        Key::optional(
            "verify",
            Shape::List(&Shape::Check),
            "Checks that must hold afterwards; with `within` they are waited for.",
        )
        .like("[ { etcd.healthy: { members: all }, within: 5m, every: 2s } ]"),
        Key::optional(
            "probe",
            Shape::Check,
            "For commands: a check that says whether the effect of this very step is there.",
        )
        .like("{ ssh.check: { run: id backup-etcd } }"),
        Key::optional(
            "retry",
            Shape::Table(&RETRY),
            "How often it is tried. More than one attempt needs an effect class below `once`.",
        )
        .like("{ attempts: 3, backoff: 2s }"),
        Key::optional(
            "timeout",
            Shape::Span,
            "How long one attempt may take; default 10m. Then it is stopped and seen dead, or its outcome is in doubt.",
        )
        .like("2m"),
        Key::optional(
            "effect",
            Shape::Word(|| EFFECTS.iter().map(|effect| effect.word()).collect()),
            "Whether it may be done twice, where the kind's own class does not fit: `pure` only reads; `idempotent` may be \
             repeated; `probed` is repeated only if a probe says that it did not happen; `once` never without a person.",
        )
        .like("idempotent"),
        Key::optional(
            "danger",
            Shape::Word(|| DANGERS.iter().map(|danger| danger.word()).collect()),
            "What it can do to a working cluster, where the kind's own word does not fit. Anything above `safe` must be \
             confirmed by the operator.",
        )
        .like("disruptive"),
        Key::optional(
            "undo",
            Shape::Action,
            "A kind with its arguments, which see `result`: what `requorum rollback` does to take an item back. \
             Default: the kind's own undo.",
        )
        .like("{ service.start: { service: etcd } }"),
        Key::optional(
            "outputs",
            Shape::Map(Some(IDENTIFIER), &Shape::Any),
            "Names for templates over `result`; later steps read `steps.ID.outputs.NAME`.",
        )
        .like("{ aside: \"{{ result.aside }}\" }"),
        // Where it stands, the entry is read by `INCLUDED_STEPS`.
        Key::optional("include", Shape::Text, INCLUDE_STEPS).like("etcd/snapshot"),
    ],
};

const INCLUDE_STEPS: &str = "Another plan whose steps take this place: the name of a shipped plan, or a path to a file \
    .yaml from the directory of this one.";
const WITH: &str =
    "Values for the inputs of the included plan; templates over `inputs`, `vars` and `site` of this one.";

pub(in crate::plan) static INCLUDED_STEPS: Table = Table {
    name: "included-steps",
    what: "an `include`",
    help: "The steps of another plan.",
    keys: &[
        Key::needed("include", Shape::Text, INCLUDE_STEPS).like("etcd/snapshot"),
        Key::optional("with", Shape::Map(None, &Shape::Any), WITH).like("{ file: /backup/etcd.db }"),
        Key::optional("as", Shape::Form(ID), "What goes before their ids: with `old`, `remove` becomes `old-remove`.")
            .like("old"),
        Key::optional(
            "needs",
            Shape::List(&Shape::Form(ID)),
            "The ids of the steps that come before those of them that need nothing themselves.",
        )
        .like("[stop-etcd]"),
    ],
};

pub(in crate::plan) static INCLUDED_CHECKS: Table = Table {
    name: "included-checks",
    what: "an `include`",
    help: "The preflight of another plan.",
    keys: &[
        Key::needed(
            "include",
            Shape::Text,
            "Another plan whose preflight takes this place: the name of a shipped plan, or a path to a file .yaml from \
             the directory of this one.",
        )
        .like("etcd/snapshot"),
        Key::optional("with", Shape::Map(None, &Shape::Any), WITH).like("{ file: /backup/etcd.db }"),
    ],
};

pub(in crate::plan) static CHECK: Table = Table {
    name: "check",
    what: "a check",
    help: "A check: exactly one key that names a kind which only looks, and what else is said about it.",
    keys: &[
        Key::optional("within", Shape::Span, "Look again until it holds, at most this long. Without it, look once.")
            .like("5m"),
        Key::optional("every", Shape::Span, "How often to look while waiting; default 2s.").like("2s"),
        Key::optional("not", Shape::Bool, "true: the contrary must hold. What could not be seen is never a success.")
            .like("true"),
        Key::optional("message", Shape::Text, "What to tell the operator when it does not hold; a template.")
            .like("a snapshot of a cluster with an alarm is not a good backup"),
    ],
};

pub(in crate::plan) static RETRY: Table = Table {
    name: "retry",
    what: "`retry`",
    help: "How often a step is tried. The pause doubles, with jitter.",
    keys: &[
        Key::optional("attempts", Shape::Count(1, u64::MAX), "How many attempts in all; default 1: no retry.")
            .like("3"),
        Key::optional("backoff", Shape::Duration, "The first pause; default 1s.").like("2s"),
        Key::optional("max_backoff", Shape::Duration, "The longest pause; default 30s.").like("1m"),
    ],
};

/// `undo` has a kind and nothing else.
pub(in crate::plan) static UNDO: Table =
    Table { name: "undo", what: "`undo`", help: "A kind with its arguments.", keys: &[] };

pub(in crate::plan) static INPUT: Table = Table {
    name: "input",
    what: "an input",
    help: "An input of the plan.",
    keys: &[
        Key::needed("type", Shape::Word(|| inputs::types().map(|ty| ty.word).collect()), "The type of its value.")
            .like("string"),
        // What fits `default`, `min` and `max` depends on the type: see `inputs::types`.
        Key::optional("default", Shape::Any, "Its value if none is given. A secret has none."),
        Key::optional("required", Shape::Bool, "Whether it must be given; default: true without a default.")
            .like("false"),
        Key::optional("pattern", Shape::Text, "A regular expression for the whole text.").like("'[a-z0-9-]+'"),
        Key::optional("values", Shape::List(&Shape::Text), "The values of an enum.").like("[first, second]"),
        Key::optional("min", Shape::Any, "The least value; of text, lists and maps the least length."),
        Key::optional("max", Shape::Any, "The greatest value; of text, lists and maps the greatest length."),
        Key::optional("help", Shape::Text, "What it is, for the operator who has not given it.")
            .like("Name of the dead member, as the member list shows it"),
    ],
};
