//! The arguments of kinds, described by data: one description serves the check of a plan, the reference and the schema.
//!
//! The engine checks a plan's arguments against it twice: when the plan is compiled, with holes for what only the run can
//! know, and again when they are rendered. Only then is the kind made from them, by serde.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::name::{BadName, HostName};

/// The type of an argument, as a plan writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Str,
    /// Text that is a path.
    Path,
    /// Text that is a path of this machine. The engine lays a relative one on the directory of the plan, so that a kind is
    /// made with a path that means the same file wherever a process stands.
    LocalPath,
    /// Likewise, or `HOST:/path`, a path on a host of the site.
    Place,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A duration with a unit, such as `90s`.
    Duration,
    /// A size with a unit, such as `512MiB`.
    Size,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A host: its name, or the host itself as templates see it.
    Host,
    /// A list of hosts, or one.
    Hosts,
    /// A list.
    List(&'static Type),
    /// A map with free keys.
    Map(&'static Type),
    /// A map with these keys.
    Object(&'static [Arg]),
    /// One of these types.
    OneOf(&'static [Type]),
    /// A list of checks, as `require` and `verify` have it. Only the engine's own kinds take it.
    Checks,
    /// A bare template expression, evaluated and not rendered. Only the engine's own kinds take it.
    Expression,
    /// Anything.
    Any,
}

/// One argument of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether it must be there.
    pub required: bool,
    /// Whether a secret may be used in it. Elsewhere a secret would be shown, and is refused.
    pub secret: bool,
    /// What it means, its unit and its default: one or two sentences.
    pub help: &'static str,
}

impl Arg {
    /// Describes an argument that must be there.
    #[must_use]
    pub const fn required(name: &'static str, ty: Type, help: &'static str) -> Self {
        Self { name, ty, required: true, secret: false, help }
    }

    /// Describes an argument that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, ty: Type, help: &'static str) -> Self {
        Self { name, ty, required: false, secret: false, help }
    }

    /// Lets a secret be used in it.
    #[must_use]
    pub const fn may_be_secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// A rule over several arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Exactly one of them is there.
    ExactlyOne(&'static [&'static str]),
    /// At most one of them is there.
    AtMostOne(&'static [&'static str]),
    /// At least one of them is there.
    AtLeastOne(&'static [&'static str]),
}

/// Says why a kind could not be made from its arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadArgs {
    /// The argument at fault, where it is one.
    pub arg: Option<String>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl BadArgs {
    /// Blames one argument.
    pub fn at(arg: impl Into<String>, message: impl Into<String>) -> Self {
        Self { arg: Some(arg.into()), message: message.into() }
    }
}

/// Reads the names of hosts out of what an argument of [`Type::Hosts`] holds: a host, its name, or a list of either.
pub fn host_names(value: &Value) -> Result<Vec<HostName>, BadName> {
    let one = |value: &Value| HostName::new(value.get("name").unwrap_or(value).as_str().unwrap_or_default());
    match value {
        Value::Array(list) => list.iter().map(one).collect(),
        single => one(single).map(|name| vec![name]),
    }
}

/// Reads a kind's own struct from arguments that were checked against its description.
pub fn read<T: DeserializeOwned>(args: Value) -> Result<T, BadArgs> {
    serde_json::from_value(args).map_err(|error| BadArgs { arg: None, message: error.to_string() })
}
