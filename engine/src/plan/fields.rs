//! Reads maps with known keys, and reports what is unknown or of another type.

use std::time::Duration;

use requorum_steps::units;

use super::diagnostic::{Problems, Span};
use super::keys::Table;
use super::yaml::{Entry, Node, Tree};

/// A sort of file that may be given by mistake.
pub(super) struct OtherFile {
    /// Its keys.
    pub table: &'static Table,
    /// The code of the problem.
    pub code: &'static str,
    /// How it is given.
    pub help: &'static str,
}

/// A map whose keys are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    entries: &'a [Entry],
    /// The place of the map.
    pub span: Span,
    /// What the map is, for messages: "a step".
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// Takes a map and reports keys that are not among the known ones.
    pub fn read(node: &'a Node, known: &Table, problems: &mut Problems) -> Option<Self> {
        let fields = Self::open(node, known.what, problems)?;
        for entry in fields.entries.iter().filter(|entry| !known.has(&entry.key)) {
            problems
                .error(entry.key_span, "unknown-key", format!("{} has no key `{}`", known.what, entry.key))
                .help(format!("known are {}", list(&known.names().collect::<Vec<_>>())))
                .did_you_mean(&entry.key, known.names());
        }
        Some(fields)
    }

    /// Takes a file with known keys. One that has those of another sort of file gets one problem, instead of one for each key.
    pub fn of_file(node: &'a Node, known: &Table, other: &OtherFile, problems: &mut Problems) -> Option<Self> {
        let entries = Self::open(node, known.what, problems)?.entries;
        if other.table.is_rather(known, entries.iter().map(|entry| entry.key.as_str())) {
            problems
                .error(node.span, other.code, format!("this is {}, and not {}", other.table.what, known.what))
                .help(other.help);
            return None;
        }
        Self::read(node, known, problems)
    }

    /// Takes a map with free keys.
    pub fn open(node: &'a Node, what: &'static str, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Tree::Map(entries) => Some(Self { entries, span: node.span, what }),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::List(_) => {
                wrong(problems, node, what, "a map");
                None
            }
        }
    }

    /// Returns all entries.
    pub fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Returns the value of a key that must be there.
    pub fn need(&self, key: &str, problems: &mut Problems) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            problems
                .error(self.span, "missing-key", format!("{} needs `{key}`", self.what))
                .help(format!("add `{key}: …`"));
        }
        node
    }

    /// Returns a text.
    pub fn text(&self, key: &str, problems: &mut Problems) -> Option<&'a str> {
        text(self.get(key)?, key, problems)
    }

    /// Returns a text that must be there.
    pub fn need_text(&self, key: &str, problems: &mut Problems) -> Option<&'a str> {
        text(self.need(key, problems)?, key, problems)
    }

    /// Returns a boolean.
    pub fn bool(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let node = self.get(key)?;
        match node.value {
            Tree::Bool(value) => Some(value),
            Tree::Null | Tree::Number(_) | Tree::Text(_) | Tree::List(_) | Tree::Map(_) => {
                wrong(problems, node, &quoted(key), "`true` or `false`");
                None
            }
        }
    }

    /// Returns a whole number that is not negative.
    pub fn count(&self, key: &str, problems: &mut Problems) -> Option<(u64, Span)> {
        let node = self.get(key)?;
        let number = match &node.value {
            Tree::Number(number) => number.as_u64(),
            Tree::Null | Tree::Bool(_) | Tree::Text(_) | Tree::List(_) | Tree::Map(_) => None,
        };
        if number.is_none() {
            wrong(problems, node, &quoted(key), "a whole number that is not negative");
        }
        number.map(|number| (number, node.span))
    }

    /// Returns a duration with its unit.
    pub fn duration(&self, key: &str, problems: &mut Problems) -> Option<(Duration, Span)> {
        let node = self.get(key)?;
        let read = match &node.value {
            Tree::Text(text) => units::duration(text),
            // A bare number has no unit, not even 0.
            Tree::Number(number) => Err(units::BadUnit::Duration(number.to_string())),
            Tree::Null | Tree::Bool(_) | Tree::List(_) | Tree::Map(_) => {
                wrong(problems, node, &quoted(key), "a duration, for example `90s`");
                return None;
            }
        };
        match read {
            Ok(duration) => Some((duration, node.span)),
            Err(error) => {
                problems
                    .error(node.span, "bad-unit", format!("`{key}` needs a duration with a unit"))
                    .cause(error.to_string());
                None
            }
        }
    }

    /// Returns a list of texts.
    pub fn texts(&self, key: &str, problems: &mut Problems) -> Option<Vec<(&'a str, Span)>> {
        let items = self.list(key, problems)?;
        let mut texts = Vec::with_capacity(items.len());
        texts.extend(items.iter().filter_map(|item| Some((text(item, key, problems)?, item.span))));
        Some(texts)
    }

    /// Returns a list.
    pub fn list(&self, key: &str, problems: &mut Problems) -> Option<&'a [Node]> {
        let node = self.get(key)?;
        match &node.value {
            Tree::List(items) => Some(items),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::Map(_) => {
                let found = wrong(problems, node, &quoted(key), "a list");
                match node.text() {
                    Some(text) => found.help(format!("one element also stands in brackets: {key}: [{text}]")),
                    None => found.help("begin each element with a dash, in a line of its own"),
                };
                None
            }
        }
    }

    /// Returns one of some words, as what it stands for.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)], problems: &mut Problems) -> Option<(T, Span)> {
        let node = self.get(key)?;
        let written = text(node, key, problems)?;
        let found = words.iter().find(|(word, _)| *word == written).map(|(_, value)| (*value, node.span));
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            problems
                .error(node.span, "unknown-word", format!("`{key}` cannot be `{written}`"))
                .help(format!("known are {}", list(&names)))
                .did_you_mean(written, names);
        }
        found
    }
}

/// Returns the text of a node, or reports that it is none.
pub(super) fn text<'a>(node: &'a Node, key: &str, problems: &mut Problems) -> Option<&'a str> {
    let text = node.text();
    if text.is_none() {
        let found = wrong(problems, node, &quoted(key), "text");
        if matches!(node.value, Tree::Bool(_) | Tree::Number(_)) {
            found.help("put it in quotes if it is meant as text");
        }
    }
    text
}

fn quoted(key: &str) -> String {
    format!("`{key}`")
}

/// Reports a value of the wrong type; `what` is what has to be of another.
pub(super) fn wrong<'p>(
    problems: &'p mut Problems,
    node: &Node,
    what: &str,
    expected: &str,
) -> &'p mut super::Diagnostic {
    problems
        .error(node.span, "wrong-type", format!("{what} has to be {expected}"))
        .cause(format!("it is {}", node.sort()))
}

/// Shows words as `a`, `b`, `c`.
pub(super) fn list<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}
