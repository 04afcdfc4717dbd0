//! The identity of a compiled plan.

mod feed;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::feed::Feed;
use super::compiled::Plan;

/// Returns the SHA-256 over a plan, in hexadecimal.
///
/// It covers everything but the digest itself, the places (`FILE:LINE`) and the directories: a comment or another directory makes no other
/// plan. Maps count by their entries and not by their order.
///
/// The steps are fed one by one, and as they are: their JSON values would take most of the time, and of a large plan many times
/// its memory.
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
        included,
        directories: _,
    } = plan;
    let mut hash = Hash::default();
    // What a plan does not have that includes no other is left out, so that its digest is that of the first format.
    hash.feed.map(11 + usize::from(!included.is_empty()));
    // In the order of their names.
    hash.field("description", description);
    hash.field("format", format);
    if !included.is_empty() {
        hash.field("included", included);
    }
    hash.field("inputs", inputs);
    hash.field("name", name);
    hash.field("platforms", platforms);
    hash.list("preflight", preflight);
    hash.field("reverts", reverts);
    hash.field("secrets", secrets);
    hash.list("steps", steps);
    hash.field("title", title);
    hash.field("vars", vars);
    hex::encode(hash.hasher.finalize())
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

/// What was fed, and what is still to be hashed of it.
#[derive(Default)]
struct Hash {
    hasher: Sha256,
    feed: Feed,
}

impl Hash {
    fn field(&mut self, name: &str, value: &impl Serialize) {
        self.feed.key(name);
        self.value(value);
    }

    fn list(&mut self, name: &str, items: &[impl Serialize]) {
        self.feed.key(name);
        self.feed.list(items.len());
        for item in items {
            self.value(item);
        }
    }

    fn value(&mut self, value: &impl Serialize) {
        self.feed.value(value);
        self.hasher.update(self.feed.bytes());
        self.feed.clear();
    }
}

#[cfg(test)]
mod tests;
