//! YAML text to a tree of values with places: the only module that knows the YAML packages.
//!
//! One pass over the events of `saphyr-parser` builds the tree. What a plain scalar is, a number, a boolean, nothing or a text,
//! is what `serde_yaml` says of it. A large plan is mostly tree, so its nodes are small, and equal keys share their text.

mod plain;
mod reader;
mod slip;

use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::Source;
use super::diagnostic::{File, Problems, Span};

/// The largest text that is read, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// How deep lists and maps may nest.
const MAX_DEPTH: usize = 128;
/// How many values may be copied for aliases.
const MAX_ALIASED: usize = 100_000;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub span: Span,
    pub value: Tree,
}

/// A YAML value with string keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Box<[Node]>),
    Map(Box<[Entry]>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: Key,
    pub key_span: Span,
    pub node: Node,
}

/// The key of a map. A large plan has few keys many times, so they share their text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(Rc<str>);

impl Key {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether it shares its text with another. The reader of a document makes each text once, so that keys that do not
    /// share theirs differ.
    fn shares(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl std::ops::Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One step of the way from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A key of a map.
    Key(String),
    /// An element of a list.
    Index(usize),
}

impl Node {
    /// Returns the text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Tree::Text(text) => Some(text),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::List(_) | Tree::Map(_) => None,
        }
    }

    /// Returns the value of a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Tree::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::List(_) => None,
        }
    }

    /// Names the sort of value, for messages.
    pub fn sort(&self) -> &'static str {
        match &self.value {
            Tree::Null => "nothing",
            Tree::Bool(_) => "a boolean",
            Tree::Number(_) => "a number",
            Tree::Text(_) => "text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }

    /// Returns the value without places.
    pub fn to_json(&self) -> Value {
        match &self.value {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::Text(text) => Value::String(text.to_string()),
            Tree::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Tree::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.to_string(), entry.node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

/// Finds places inside a value, many one after the other: in a large map a search begins where the last one ended.
#[derive(Debug)]
pub(super) struct Finder<'n> {
    node: &'n Node,
    /// For each level, which entry was found last.
    near: Vec<usize>,
}

impl<'n> Finder<'n> {
    /// Makes one for a value.
    pub fn of(node: &'n Node) -> Self {
        Self { node, near: Vec::new() }
    }

    /// Returns the place of the last key on the way, or of what is nearest to it.
    pub fn key_place(&mut self, way: &[Step]) -> Span {
        self.follow(way).span
    }

    /// Returns the place of what is at the end of the way, or of the last that exists on it.
    pub fn place(&mut self, way: &[Step]) -> Span {
        self.follow(way).node.span
    }

    /// Returns the text at the end of the way, if the way goes there and it is one.
    pub fn text(&mut self, way: &[Step]) -> Option<&'n str> {
        let found = self.follow(way);
        found.node.text().filter(|_| found.steps == way.len())
    }

    /// Follows a way as far as it goes.
    fn follow(&mut self, way: &[Step]) -> Found<'n> {
        let (mut span, mut node, mut steps) = (self.node.span, self.node, 0);
        self.near.resize(self.near.len().max(way.len()), 0);
        for (step, near) in way.iter().zip(&mut self.near) {
            let next = match (step, &node.value) {
                (Step::Key(key), Tree::Map(entries)) => {
                    let from = *near % entries.len().max(1);
                    let mut ways = (from..entries.len()).chain(0..from);
                    ways.find(|at| entries[*at].key == key.as_str()).map(|at| {
                        *near = at;
                        (entries[at].key_span, &entries[at].node)
                    })
                }
                (Step::Index(index), Tree::List(items)) => items.get(*index).map(|item| (item.span, item)),
                (Step::Key(_) | Step::Index(_), _) => None,
            };
            let Some(next) = next else { break };
            (span, node) = next;
            steps += 1;
        }
        Found { span, node, steps }
    }
}

/// What is at the end of a way, or the last that exists on it.
struct Found<'n> {
    /// The place of its key, or of itself in a list.
    span: Span,
    node: &'n Node,
    /// How many steps of the way lead there.
    steps: usize,
}

/// Reads a document. `None`: it is malformed, which is reported; duplicate keys are reported too, and the first counts.
pub(super) fn parse(source: &Source, file: File, problems: &mut Problems) -> Option<Node> {
    reader::read(source.text.strip_prefix('\u{FEFF}').unwrap_or(&source.text), file, problems)
}

/// Reads the text of a value that was given outside a file, as `--set list=[a, b]` does.
pub(super) fn value(text: &str) -> Result<Value, String> {
    let source = Source { name: String::new(), text: text.to_owned(), directory: None };
    let mut problems = Problems::of(&source);
    match parse(&source, File::MAIN, &mut problems) {
        Some(node) if problems.count() == 0 => Ok(node.to_json()),
        Some(_) | None => {
            Err(problems.sorted().into_iter().next().map_or_else(String::new, |p| p.cause.unwrap_or(p.message)))
        }
    }
}

#[cfg(test)]
mod tests;
