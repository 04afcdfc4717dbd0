//! What the kinds of Kubernetes share: how a plan names an object, and how its state is read.

use serde::Deserialize;
use serde_json::Value;

use crate::args::{Arg, BadArgs, Type};
use crate::transport::kube::{Object, Sort};

pub(super) const API_VERSION: Arg =
    Arg::optional("api_version", Type::Str, "Its group and version, for example `apps/v1`; default: `v1`.");
pub(super) const KIND: Arg = Arg::required("kind", Type::Str, "Its kind, for example `Deployment`.");
pub(super) const NAME: Arg = Arg::required("name", Type::Str, "Its name.");
pub(super) const NAMESPACE: Arg =
    Arg::optional("namespace", Type::Str, "Its namespace; left out for what belongs to the whole cluster.");
pub(super) const UID: Arg = Arg::optional(
    "uid",
    Type::Str,
    "The uid of the very object that is meant, so that another one of the same name, made since, is not taken for it.",
);

/// An object as the arguments of a kind name it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    #[serde(default = "core")]
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub namespace: Option<String>,
}

fn core() -> String {
    "v1".to_owned()
}

impl Named {
    /// Reads it out of the arguments of a kind, and leaves the others.
    pub(super) fn take(args: &mut Value) -> Result<Object, BadArgs> {
        let mut own = serde_json::Map::new();
        if let Value::Object(args) = args {
            for key in ["api_version", "kind", "name", "namespace"] {
                own.extend(args.remove(key).map(|value| (key.to_owned(), value)));
            }
        }
        let named: Self = crate::args::read(Value::Object(own))?;
        for (arg, text) in [("api_version", &named.api_version), ("kind", &named.kind), ("name", &named.name)] {
            if text.is_empty() {
                return Err(BadArgs::at(arg, "it is empty"));
            }
        }
        let sort = Sort::new(named.api_version, named.kind);
        Ok(Object { sort, namespace: named.namespace.filter(|text| !text.is_empty()), name: named.name })
    }
}

/// The one argument that is left beside the name of an object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meant {
    uid: Option<String>,
}

impl Named {
    /// Reads the arguments of a kind that are an object and, where the very one is meant, its uid.
    pub(super) fn take_with_uid(mut args: Value) -> Result<(Object, Option<String>), BadArgs> {
        let object = Self::take(&mut args)?;
        Ok((object, crate::args::read::<Meant>(args)?.uid))
    }
}

/// Returns the name of an object.
pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Returns the uid of an object.
pub(super) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Says whether an object is being deleted: it is still there until what holds it lets go.
pub(super) fn is_going(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Returns the status of a condition (`True`, `False`, `Unknown`) and why it is so.
pub(super) fn condition<'a>(object: &'a Value, sort: &str) -> Option<(&'a str, &'a str)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == sort)?;
    Some((found["status"].as_str()?, found["reason"].as_str().unwrap_or_default()))
}

/// Sums up what was found of several: what is wrong first, in one line for a person.
pub(super) fn sum_up(lines: &[(bool, String)]) -> (bool, String) {
    let wrong: Vec<&str> = lines.iter().filter(|(right, _)| !right).map(|(_, text)| text.as_str()).collect();
    if wrong.is_empty() {
        return (true, lines.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; "));
    }
    let others = lines.len() - wrong.len();
    let others = if others == 0 { String::new() } else { format!(" (as expected: {others} of {})", lines.len()) };
    (false, format!("{}{others}", wrong.join("; ")))
}
