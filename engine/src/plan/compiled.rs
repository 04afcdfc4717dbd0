//! The compiled plan: immutable, complete, and what a run keeps and resumes from.
//!
//! It is persisted with every run, so its form is versioned by [`FORMAT`]. Templates are kept as they were written, inside
//! the JSON of the arguments; they are rendered when an item is about to start.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use requorum_steps::{Danger, Effect, HostName, ItemKey, StepId, units};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::paths::Start;

/// The version of the persisted form of a compiled plan.
///
/// - 1: the first.
/// - 2: `included`, and `part` of steps and checks. A plan that includes no other is still written as 1, so that its digest
///   stays as it was.
pub const FORMAT: u32 = 2;
/// The version that a plan is written in which includes no other.
pub const ALONE: u32 = 1;

/// A plan that passed every check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT`] when it was compiled, or [`ALONE`].
    pub format: u32,
    /// Its name, for example `etcd/restore-all-members`.
    pub name: String,
    /// What it does, in one line.
    pub title: String,
    /// Purpose, blast radius, sources.
    pub description: String,
    /// The platforms that it is written for; `any` fits all.
    pub platforms: Vec<String>,
    /// Whether it takes the cluster back in time.
    pub reverts: bool,
    /// SHA-256 over everything else in here, in hexadecimal: the identity of the plan with its inputs. Empty where it was only
    /// checked.
    pub digest: String,
    /// The inputs with their values. A secret is a placeholder here.
    pub inputs: Map<String, Value>,
    /// The rendered `vars`.
    pub vars: Map<String, Value>,
    /// Where secrets come from; their values are never here.
    pub secrets: Vec<SecretSource>,
    /// The checks before anything changes.
    pub preflight: Vec<CheckUse>,
    /// The steps; each comes after all that it needs.
    pub steps: Vec<Step>,
    /// The plans that were included, by the names that [`Step::part`] and [`CheckUse::part`] give them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub included: BTreeMap<String, Included>,
    /// Where relative paths of this machine start. Another directory makes no other plan: it is no part of the digest.
    #[serde(default, skip_serializing_if = "Directories::is_empty")]
    pub directories: Directories,
}

/// Where the files of a plan were when it was compiled. A run goes on from there, wherever it is resumed from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directories {
    /// What `~/` is.
    pub home: Option<String>,
    /// The directory of the plan itself; `None`: it has none, as a plan of the library, or it was compiled by a version that did
    /// not keep it.
    pub plan: Option<String>,
    /// Likewise of the plans that were included.
    pub included: BTreeMap<String, String>,
}

impl Directories {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns where paths start in a part of the plan. `None` is the plan's own part.
    #[must_use]
    pub fn start(&self, part: Option<&str>) -> Start {
        let directory = part.map_or(self.plan.as_ref(), |part| self.included.get(part));
        Start::new(directory.map(Path::new), self.home.as_deref().map(Path::new))
    }
}

/// What the templates of an included plan see that is its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Included {
    /// What the ids of its steps have before them, for example `old-`; empty where they are as it wrote them.
    pub prefix: String,
    /// Its inputs, with the values that it was included with.
    pub inputs: Map<String, Value>,
    /// Its rendered `vars`.
    pub vars: Map<String, Value>,
}

impl Plan {
    /// Returns what the most dangerous of its steps can do to a working cluster.
    #[must_use]
    pub fn danger(&self) -> Danger {
        self.steps.iter().map(|step| step.danger).max().unwrap_or(Danger::Safe)
    }

    /// Returns the id in this plan of a step that the templates of a part call by `id`. `None` is the plan's own part.
    #[must_use]
    pub fn id_from(&self, part: Option<&str>, id: &str) -> String {
        let prefix = part.and_then(|part| self.included.get(part)).map_or("", |included| included.prefix.as_str());
        format!("{prefix}{id}")
    }
}

/// One step. What few steps have is boxed: a plan may have a hundred thousand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// Its title, a template; empty where the author gave none.
    pub title: String,
    /// The steps that it needs directly.
    pub needs: Vec<StepId>,
    /// A bare expression; an item for which it is false is skipped.
    pub when: Option<String>,
    /// The items; `None` where they cannot be known without a site or inputs.
    pub items: Option<Vec<Item>>,
    /// Whether the step has `on`, so that its result is a list for later steps.
    pub fans_out: bool,
    /// How many items may run at once; `None`: all.
    pub max_parallel: Option<usize>,
    /// Whether the first item runs alone before the others.
    pub canary: bool,
    /// What must hold before an item starts.
    pub require: Vec<CheckUse>,
    /// What must hold after it has acted.
    pub verify: Vec<CheckUse>,
    /// The author's probe for a command.
    pub probe: Option<Box<CheckUse>>,
    /// What is done about failures.
    pub retry: Retry,
    /// The bound for one attempt.
    #[serde(default, with = "optional_duration")]
    pub timeout: Option<Duration>,
    /// The effect class, the author's or the kind's.
    pub effect: Effect,
    /// The danger, the author's or the kind's.
    pub danger: Danger,
    /// The name of its kind.
    pub kind: String,
    /// The kind's arguments, an object whose texts are templates.
    pub args: Value,
    /// The author's undo: a kind and its arguments.
    pub undo: Option<Box<(String, Value)>>,
    /// The outputs: name to a template over `result`.
    pub outputs: BTreeMap<String, Value>,
    /// The text of a gate before this step.
    pub confirm: Option<String>,
    /// Where it stands, `FILE:LINE`, for messages.
    pub place: String,
    /// The included plan that it comes from, a key of [`Plan::included`]; `None`: the plan itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// One item of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its key, unique in the step and stable.
    pub key: ItemKey,
    /// What it is about.
    pub subject: Subject,
    /// Arguments of its own, templates as those of the step, in whose place they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Box<Value>>,
}

/// What an item is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The step does not fan out.
    None,
    /// A host of the site; `host` in templates.
    Host(HostName),
    /// A list element; `item` in templates.
    Value(Box<Value>),
}

/// A check with what the engine does about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckUse {
    /// The name of its kind.
    pub kind: String,
    /// The kind's arguments, templates included, `hosts` of host-seated checks too.
    pub args: Value,
    /// How long to wait for it to hold; `None`: it is looked at once.
    #[serde(default, with = "optional_duration")]
    pub within: Option<Duration>,
    /// How often to look while waiting.
    #[serde(with = "units::serde_duration")]
    pub every: Duration,
    /// Whether the contrary must hold.
    pub not: bool,
    /// The author's words for when it does not hold; a template.
    pub message: Option<String>,
    /// Where it stands, `FILE:LINE`.
    pub place: String,
    /// Of a check of the preflight: the included plan that it comes from. The checks of a step are where their step is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// What is done about failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many attempts there may be in all, at least 1.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles, with jitter.
    #[serde(with = "units::serde_duration")]
    pub backoff: Duration,
    /// The longest pause.
    #[serde(with = "units::serde_duration")]
    pub max_backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(30) }
    }
}

/// Where the value of a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSource {
    /// Its name: `inputs.NAME` or `site.secrets.NAME`.
    pub name: String,
    /// How to get it.
    pub origin: SecretOrigin,
}

/// How to get the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretOrigin {
    /// An environment variable.
    Env(String),
    /// A file; its final line break does not count.
    File(String),
    /// The output of a command of this machine's shell.
    Command(String),
}

mod optional_duration {
    use std::time::Duration;

    use requorum_steps::units;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "units::serde_duration")] Duration);

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Wrapped).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(from)?.map(|wrapped| wrapped.0))
    }
}
