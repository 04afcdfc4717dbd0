//! What may change of a site while a run is under way: how hosts and servers are reached, and whether a host is given up.

use serde_json::{Map, Value, json};

use super::difference::{Field, fields};
use super::site::ReadSite;

/// Returns every value that differs between the site of a run and another: what may change, and what may not because the
/// run was planned for it or steps have relied on it.
#[must_use]
pub fn between(old: &ReadSite, new: &ReadSite) -> (Vec<Field>, Vec<Field>) {
    fields(&comparable(old), &comparable(new)).into_iter().partition(|field| may_change(&field.path))
}

fn comparable(read: &ReadSite) -> Value {
    let secrets = read.secrets.iter().map(|source| (source.name.clone(), json!(source.origin)));
    let mut value = json!(read.site);
    value["secrets"] = Value::Object(secrets.collect::<Map<_, _>>());
    value
}

/// Says whether a value is about reaching something. Where capsules are, and as whom commands run there, is not: what
/// earlier attempts left could not be found again.
fn may_change(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path.as_slice(),
        ["hosts", _, "address" | "lost"]
            | ["hosts", _, "ssh", "user" | "port" | "key" | "known_hosts" | "config"]
            | ["hosts", _, "etcd", "client_urls", ..]
            | ["etcd", "via" | "tls", ..]
            | ["kube" | "secrets", ..]
    )
}

/// Puts the hosts of a site as they are now in place of those that another value holds a copy of: vars that were rendered
/// when the plan was compiled have addresses in them, and whether a host is lost.
#[must_use]
pub fn with_hosts_of(value: &Value, then: &Value, now: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
            if then["hosts"].get(name).is_some_and(|host| host == value)
                && let Some(host) = now["hosts"].get(name)
            {
                return host.clone();
            }
            let inner = map.iter().map(|(key, value)| (key.clone(), with_hosts_of(value, then, now)));
            Value::Object(inner.collect())
        }
        Value::Array(list) => list.iter().map(|value| with_hosts_of(value, then, now)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
