//! A plan and a site with every key, damaged in every place: the schema and the readers have to agree.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::corpus::{Sight, sight};
use super::{PLANS, SITES, objections, read, refusals};
use crate::plan::Mode;
use crate::plan::keys::{self, Shape, Table};

const PLAN: &str = include_str!("whole.plan.yaml");
const SITE: &str = include_str!("whole.site.yaml");

/// Returns all tables of plans and sites.
pub fn tables() -> Vec<&'static Table> {
    let mut found: Vec<&'static Table> = Vec::new();
    for table in [&keys::PLAN, &keys::SITE] {
        reach(table, &mut found);
    }
    found
}

fn reach(table: &'static Table, found: &mut Vec<&'static Table>) {
    if !found.iter().any(|known| known.name == table.name) {
        found.push(table);
        table.keys.iter().for_each(|key| below(key.shape).into_iter().for_each(|table| reach(table, found)));
    }
}

/// Returns the tables that a shape leads to.
fn below(shape: Shape) -> Vec<&'static Table> {
    match shape {
        Shape::List(of) | Shape::Filled(of) | Shape::Map(_, of) => below(*of),
        Shape::Table(table) | Shape::OneOf(table) => vec![table],
        Shape::ByWord(_, tables) => tables.iter().map(|(_, table)| *table).collect(),
        Shape::Input => vec![&keys::INPUT],
        Shape::Check => vec![&keys::CHECK],
        Shape::Precheck => vec![&keys::CHECK, &keys::INCLUDED_CHECKS],
        Shape::Step => vec![&keys::STEP, &keys::INCLUDED_STEPS],
        Shape::Action => vec![&keys::UNDO],
        Shape::Version
        | Shape::Text
        | Shape::TextOrTexts
        | Shape::Form(_)
        | Shape::Condition
        | Shape::Bool
        | Shape::Number
        | Shape::Integer
        | Shape::Count(..)
        | Shape::Duration
        | Shape::Span
        | Shape::Size
        | Shape::Word(_)
        | Shape::Elements
        | Shape::Any
        | Shape::Nothing => Vec::new(),
    }
}

/// Returns `TABLE.KEY` for each key that a value uses.
fn used(shape: Shape, value: &Value, found: &mut BTreeSet<String>) {
    match (shape, value) {
        (Shape::List(of) | Shape::Filled(of), Value::Array(items)) => {
            for item in items {
                used(*of, item, found);
            }
        }
        (Shape::Map(_, of), Value::Object(map)) => map.values().for_each(|value| used(*of, value, found)),
        (Shape::ByWord(key, tables), value) => {
            let word = value[key].as_str().unwrap();
            let (_, table) = tables.iter().find(|(one, _)| *one == word).unwrap();
            used_keys(table, value, found);
        }
        (shape, value) => below(shape).into_iter().for_each(|table| used_keys(table, value, found)),
    }
}

fn used_keys(table: &'static Table, value: &Value, found: &mut BTreeSet<String>) {
    for key in table.keys {
        if let Some(value) = value.get(key.name) {
            found.insert(format!("{}.{}", table.name, key.name));
            used(key.shape, value, found);
        }
    }
}

#[test]
fn the_whole_plan_and_site_are_good_and_have_every_key() {
    let (plan, site) = (read(PLAN).unwrap(), read(SITE).unwrap());
    assert_eq!(refusals(PLAN, Some(SITE), Mode::Run), []);
    assert_eq!(objections(&PLANS, &plan), [""; 0]);
    assert_eq!(objections(&SITES, &site), [""; 0]);
    let mut found = BTreeSet::new();
    used_keys(&keys::PLAN, &plan, &mut found);
    used_keys(&keys::SITE, &site, &mut found);
    for table in tables().into_iter().filter(|table| !table.name.starts_with("included-")) {
        for name in table.names().filter(|name| *name != "include") {
            let name = format!("{}.{name}", table.name);
            assert!(found.contains(&name), "the whole plan or site has no {name}");
        }
    }
}

/// Returns copies of a value, each damaged in one place, and says where.
fn damaged(value: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    places_in(value, String::new(), &mut places);
    let mut damaged = Vec::new();
    for place in places {
        for probe in [
            json!(null),
            json!(true),
            json!(0),
            json!(5),
            json!(-1),
            json!(1.5),
            json!("zz top"),
            json!("90s"),
            json!("0s"),
            json!([]),
            json!([5]),
            json!(["zz top"]),
            json!([{ "zz": 5 }]),
            json!({ "zz": 5 }),
        ] {
            let mut copy = value.clone();
            *copy.pointer_mut(&place).unwrap() = probe.clone();
            damaged.push((format!("{place} = {probe}"), copy));
        }
        let mut more = value.clone();
        if let Some(Value::Object(map)) = more.pointer_mut(&place) {
            map.insert("zzz".to_owned(), json!(5));
            damaged.push((format!("{place}/zzz added"), more));
        }
        let (owner, key) = place.rsplit_once('/').unwrap_or_default();
        let mut less = value.clone();
        if let Some(Value::Object(map)) = less.pointer_mut(owner) {
            map.shift_remove(key);
            damaged.push((format!("{place} removed"), less));
        }
    }
    damaged
}

fn places_in(value: &Value, place: String, found: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places_in(value, format!("{place}/{}", escaped(key)), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| places_in(item, format!("{place}/{at}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found.push(place);
}

/// Says where the two disagree: what the schema has against it, or what it should have seen.
fn disagreement(objections: &[String], codes: &[&str]) -> Option<String> {
    if !objections.is_empty() {
        return codes.is_empty().then(|| format!("the schema refuses what is read: {}", objections.join("; ")));
    }
    // What a schema sees only in part of a corpus is written out here, where there is neither site nor template to know it.
    let is_written_out = |code: &str| ["wrong-type", "unknown-word"].contains(&code) || sight(code) == Sight::Seen;
    let unseen: Vec<&&str> = codes.iter().filter(|code| is_written_out(code)).collect();
    (!unseen.is_empty()).then(|| format!("the schema takes what is refused: {unseen:?}"))
}

#[test]
fn the_schema_refuses_every_damage_of_a_plan_that_the_reader_refuses_and_no_other() {
    let plan = read(PLAN).unwrap();
    let damaged = damaged(&plan);
    let mut wrong = Vec::new();
    for (what, value) in &damaged {
        // Without a site, since no schema knows its hosts.
        let found = refusals(&value.to_string(), None, Mode::Check);
        let codes: Vec<&str> = found.iter().map(|found| found.code).collect();
        wrong.extend(disagreement(&objections(&PLANS, value), &codes).map(|words| format!("{what}: {words}")));
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), damaged.len(), wrong.join("\n"));
    assert!(damaged.len() > 1000, "{}", damaged.len());
}

#[test]
fn the_schema_refuses_every_damage_of_a_site_that_the_reader_refuses_and_no_other() {
    let good = "requorum: 1\nname: good\nsteps: [ { id: a, gate.confirm: { message: m } } ]\n";
    let site = read(SITE).unwrap();
    let damaged = damaged(&site);
    let mut wrong = Vec::new();
    for (what, value) in &damaged {
        let found = refusals(good, Some(&value.to_string()), Mode::Run);
        let codes: Vec<&str> = found.iter().map(|found| found.code).collect();
        wrong.extend(disagreement(&objections(&SITES, value), &codes).map(|words| format!("{what}: {words}")));
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), damaged.len(), wrong.join("\n"));
    assert!(damaged.len() > 500, "{}", damaged.len());
}
