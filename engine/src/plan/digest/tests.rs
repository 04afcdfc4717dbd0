//! The digest is that of the JSON of a plan, whatever way it is taken.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::plan::tests::Try;

/// A plan that has most of what a plan can have.
const RICH: &str = include_str!("rich.yaml");

/// Feeds a value so that no two values feed the same bytes: what [`Feed`] writes, by way of JSON.
fn feed(value: &Value, bytes: &mut Vec<u8>) {
    fn text(sort: u8, text: &str, bytes: &mut Vec<u8>) {
        count(sort, text.len(), bytes);
        bytes.extend_from_slice(text.as_bytes());
    }
    fn count(sort: u8, count: usize, bytes: &mut Vec<u8>) {
        bytes.push(sort);
        bytes.extend_from_slice(&(count as u64).to_be_bytes());
    }
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => text(b's', &value.to_string(), bytes),
        Value::String(string) => text(b't', string, bytes),
        Value::Array(items) => {
            count(b'l', items.len(), bytes);
            for item in items {
                feed(item, bytes);
            }
        }
        Value::Object(map) => {
            let entries: BTreeMap<_, _> = map.iter().collect();
            count(b'm', entries.len(), bytes);
            for (key, item) in entries {
                text(b'k', key, bytes);
                feed(item, bytes);
            }
        }
    }
}

fn by_way_of_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    feed(&without_places(serde_json::to_value(value).unwrap_or_default()), &mut bytes);
    bytes
}

fn fed(value: &impl Serialize) -> Vec<u8> {
    let mut feed = Feed::default();
    feed.value(value);
    feed.bytes().to_vec()
}

#[test]
fn a_plan_keeps_the_digest_that_it_had_in_earlier_versions() {
    let plan = Try::plan(RICH).set("member", "two").accepted().plan;
    assert_eq!(plan.digest, "f3a1e5c1813df62f5080f69c407209129c75fdd24771952594ba42d862ba3e1f");
    let mut value = serde_json::to_value(&plan).unwrap();
    for other in ["digest", "directories"] {
        value.as_object_mut().unwrap().remove(other).unwrap();
    }
    assert_eq!(plan.digest, hex::encode(Sha256::digest(by_way_of_json(&value))));
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(u8),
    Tuple(i64, char),
    Struct { zeta: Option<bool>, alpha: f32 },
}

#[derive(Serialize)]
struct Unit;

#[test]
fn every_sort_of_value_is_fed_as_its_json() {
    let shapes = [Shape::Unit, Shape::Newtype(255), Shape::Tuple(-5, 'é'), Shape::Struct { zeta: None, alpha: 1.5 }];
    for shape in &shapes {
        assert_eq!(fed(shape), by_way_of_json(shape));
    }
    assert_eq!(fed(&Unit), by_way_of_json(&Unit));
    assert_eq!(fed(&f64::NAN), by_way_of_json(&f64::NAN));
    for number in [0.1, 1e300, -0.0, 5.0] {
        assert_eq!(fed(&number), by_way_of_json(&number));
    }
    let numbered: BTreeMap<i32, bool> = [(10, true), (9, false)].into();
    assert_eq!(fed(&numbered), by_way_of_json(&numbered));
    let impossible: BTreeMap<Option<u8>, u8> = [(None, 1)].into();
    assert_eq!(fed(&[&impossible]), by_way_of_json(&[&impossible]));
    assert_eq!(fed(&[&impossible]), fed(&()));
}

#[test]
fn only_the_places_of_steps_and_checks_are_left_out() {
    let check = json!({ "place": "p", "kind": "k", "args": { "place": "x" }, "z": 1, "a": 2 });
    let without = json!({ "a": 2, "args": { "place": "x" }, "kind": "k", "z": 1 });
    assert_eq!(fed(&check), fed(&without));
    assert_eq!(fed(&json!([[check], { "place": 1 }])), fed(&json!([[without], { "place": 1 }])));
    assert_ne!(fed(&json!({ "kind": 1, "place": 2 })), fed(&json!({ "kind": 1 })));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let key = prop_oneof![Just("kind".to_owned()), Just("args".to_owned()), Just("place".to_owned()), ".{0,4}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..6).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_is_fed_as_its_json(value in any_json()) {
        prop_assert_eq!(fed(&value), by_way_of_json(&value));
    }
}
