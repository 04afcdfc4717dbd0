//! The identity of a compiled plan.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::compiled::Plan;

/// Returns the SHA-256 over a plan, in hexadecimal.
///
/// It covers everything but the digest itself and the places (`FILE:LINE`): a comment or another directory makes no other
/// plan. Maps count by their entries and not by their order.
///
/// The steps are fed one by one: a large plan as one JSON value would take many times its memory.
#[must_use]
pub fn digest(plan: &Plan) -> String {
    // Named one by one, so that a new field cannot be forgotten.
    let Plan {
        format,
        name,
        title,
        description,
        platforms,
        reverts,
        digest: _,
        inputs,
        vars,
        secrets,
        preflight,
        steps,
    } = plan;
    let mut hasher = Sha256::new();
    count(b'm', 11, &mut hasher);
    // In the order of their names.
    field("description", description, &mut hasher);
    field("format", format, &mut hasher);
    field("inputs", inputs, &mut hasher);
    field("name", name, &mut hasher);
    field("platforms", platforms, &mut hasher);
    list("preflight", preflight, &mut hasher);
    field("reverts", reverts, &mut hasher);
    field("secrets", secrets, &mut hasher);
    list("steps", steps, &mut hasher);
    field("title", title, &mut hasher);
    field("vars", vars, &mut hasher);
    hex::encode(hasher.finalize())
}

/// Returns a plan or a part of it without the places. Steps and checks have a kind, arguments and a place.
pub(super) fn without_places(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_places).collect(),
        Value::Object(mut map) => {
            if ["kind", "args", "place"].iter().all(|key| map.contains_key(*key)) {
                map.remove("place");
            }
            Value::Object(map.into_iter().map(|(key, item)| (key, without_places(item))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn field(name: &str, value: &impl Serialize, hasher: &mut Sha256) {
    text(b'k', name, hasher);
    feed(&json(value), hasher);
}

fn list(name: &str, items: &[impl Serialize], hasher: &mut Sha256) {
    text(b'k', name, hasher);
    count(b'l', items.len(), hasher);
    for item in items {
        feed(&json(item), hasher);
    }
}

fn json(value: &impl Serialize) -> Value {
    without_places(serde_json::to_value(value).unwrap_or_default())
}

/// Feeds a value so that no two values feed the same bytes: sort, length, content.
fn feed(value: &Value, hasher: &mut Sha256) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => text(b's', &value.to_string(), hasher),
        Value::String(string) => text(b't', string, hasher),
        Value::Array(items) => {
            count(b'l', items.len(), hasher);
            for item in items {
                feed(item, hasher);
            }
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            count(b'm', entries.len(), hasher);
            for (key, item) in entries {
                text(b'k', key, hasher);
                feed(item, hasher);
            }
        }
    }
}

fn text(sort: u8, text: &str, hasher: &mut Sha256) {
    count(sort, text.len(), hasher);
    hasher.update(text.as_bytes());
}

fn count(sort: u8, count: usize, hasher: &mut Sha256) {
    hasher.update([sort]);
    hasher.update((count as u64).to_be_bytes());
}

#[cfg(test)]
mod tests;
