//! What stands in a value for what is not known here: the value of a secret, or what only a run can know.
//!
//! Both are tokens between characters of the Unicode private use area, which no plan needs. A placeholder of a secret
//! survives rendering, and is replaced just before an action is made. A hole only lives while a plan is compiled.

use std::collections::BTreeSet;

use requorum_steps::redact::marks::{self, CLOSE as SECRET_CLOSE, OPEN as SECRET_OPEN};
use serde_json::Value;

use super::each_text;

const HOLE_OPEN: char = '\u{E002}';
const HOLE_CLOSE: char = '\u{E003}';

/// Returns what templates see in place of a secret of that name, `inputs.NAME` or `site.secrets.NAME`.
#[must_use]
pub fn placeholder(name: &str) -> String {
    marks::stand_in(name)
}

/// Says whether a text has a placeholder or a part of one.
pub(super) fn is_in(text: &str) -> bool {
    text.contains([SECRET_OPEN, SECRET_CLOSE])
}

/// Returns the names of the secrets whose placeholders or traces are in a value, each once, in order.
#[must_use]
pub fn placeholders_in(value: &Value) -> Vec<String> {
    let mut names = BTreeSet::new();
    each_text(value, &mut |text| {
        for part in text.split(SECRET_OPEN).skip(1) {
            if let Some((name, _)) = part.split_once(SECRET_CLOSE) {
                names.insert(marks::traced(name).unwrap_or(name).to_owned());
            }
        }
    });
    names.into_iter().collect()
}

/// A mark that [`reveal`] cannot turn back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// A trace of this secret.
    Trace(String),
    /// A placeholder of no known secret, or one that is no longer whole.
    Changed,
}

/// Returns the first mark in a value that [`reveal`] cannot turn back.
#[must_use]
pub fn lost_in(value: &Value, known: &dyn Fn(&str) -> bool) -> Option<Lost> {
    let mut lost = None;
    each_text(value, &mut |text| lost = lost.take().or_else(|| lost_in_text(text, known)));
    lost
}

fn lost_in_text(text: &str, known: &dyn Fn(&str) -> bool) -> Option<Lost> {
    let mut parts = text.split(SECRET_OPEN);
    if parts.next()?.contains(SECRET_CLOSE) {
        return Some(Lost::Changed);
    }
    parts.find_map(|part| match part.split_once(SECRET_CLOSE) {
        Some((name, rest)) if known(name) && !rest.contains(SECRET_CLOSE) => None,
        Some((name, _)) => Some(marks::traced(name).map_or(Lost::Changed, |name| Lost::Trace(name.to_owned()))),
        None => Some(Lost::Changed),
    })
}

/// Replaces placeholders by the values of the secrets. A name that `lookup` does not know stays a placeholder.
#[must_use]
pub fn reveal(value: &Value, lookup: &dyn Fn(&str) -> Option<String>) -> Value {
    match value {
        Value::String(text) => Value::String(reveal_text(text, lookup)),
        Value::Array(items) => Value::Array(items.iter().map(|item| reveal(item, lookup)).collect()),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, item)| (key.clone(), reveal(item, lookup))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn reveal_text(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut parts = text.split(SECRET_OPEN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some((secret, rest)) = part.split_once(SECRET_CLOSE).and_then(|(name, rest)| Some((lookup(name)?, rest)))
        {
            out.push_str(&secret);
            out.push_str(rest);
        } else {
            out.push(SECRET_OPEN);
            out.push_str(part);
        }
    }
    out
}

/// The type of what is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Hole {
    /// Anything.
    Any,
    /// Text that is not one of the others.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A duration.
    Duration,
    /// A size.
    Size,
    /// A host.
    Host,
    /// A list.
    List,
    /// A map.
    Map,
}

impl Hole {
    const ALL: [Self; 9] = [
        Self::Any,
        Self::Text,
        Self::Integer,
        Self::Boolean,
        Self::Duration,
        Self::Size,
        Self::Host,
        Self::List,
        Self::Map,
    ];

    /// Names the type, for messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text => "text",
            Self::Integer => "an integer",
            Self::Boolean => "a boolean",
            Self::Duration => "a duration",
            Self::Size => "a size",
            Self::Host => "a host",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }

    /// Makes the value that stands for it.
    pub fn value(self) -> Value {
        Value::String(format!("{HOLE_OPEN}{}{HOLE_CLOSE}", self.word()))
    }
}

/// Returns the hole that a text is.
pub(in crate::plan) fn hole_of(text: &str) -> Option<Hole> {
    let word = text.strip_prefix(HOLE_OPEN)?.strip_suffix(HOLE_CLOSE)?;
    Hole::ALL.into_iter().find(|hole| hole.word() == word)
}

/// Says whether a value has a hole anywhere inside.
pub(in crate::plan) fn hole_in(value: &Value) -> bool {
    let mut found = false;
    each_text(value, &mut |text| found |= text.contains(HOLE_OPEN));
    found
}
