//! The identity of a compiled plan.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::compiled::Plan;

/// Returns the SHA-256 over a plan, in hexadecimal.
///
/// It covers everything but the digest itself and the places (`FILE:LINE`): a comment or another directory makes no other
/// plan. Maps count by their entries and not by their order.
#[must_use]
pub fn digest(plan: &Plan) -> String {
    let mut value = without_places(serde_json::to_value(plan).unwrap_or_default());
    if let Some(plan) = value.as_object_mut() {
        plan.remove("digest");
    }
    let mut hasher = Sha256::new();
    feed(&value, &mut hasher);
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
