//! YAML text to a tree of values with places: the only module that knows the YAML packages.
//!
//! The values are those of `serde_yaml`; it bounds depth and aliases. It knows no places and lets duplicate keys pass, so a second
//! pass goes over the events of `saphyr-parser` in lockstep and adds both.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Source;
use super::diagnostic::{File, Problems, Span};

/// The largest text that is read, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// How many values aliases may add.
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
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
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
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Tree::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Returns the place of the last key on the way, or of what is nearest to it.
    pub fn key_place(&self, way: &[Step]) -> Span {
        let mut node = self;
        let mut span = self.span;
        for step in way {
            let next = match (step, &node.value) {
                (Step::Key(key), Tree::Map(entries)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| (entry.key_span, &entry.node))
                }
                (Step::Index(index), Tree::List(items)) => items.get(*index).map(|item| (item.span, item)),
                (Step::Key(_) | Step::Index(_), _) => None,
            };
            let Some(next) = next else { break };
            (span, node) = next;
        }
        span
    }

    /// Returns the place of what is at the end of the way, or of the last that exists on it.
    pub fn place(&self, way: &[Step]) -> Span {
        let mut node = self;
        for step in way {
            match node.inner(step) {
                Some(next) => node = next,
                None => break,
            }
        }
        node.span
    }

    /// Returns what is at the end of the way.
    pub fn at(&self, way: &[Step]) -> Option<&Node> {
        way.iter().try_fold(self, |node, step| node.inner(step))
    }

    fn inner(&self, step: &Step) -> Option<&Node> {
        match (step, &self.value) {
            (Step::Key(key), Tree::Map(_)) => self.get(key),
            (Step::Index(index), Tree::List(items)) => items.get(*index),
            (Step::Key(_) | Step::Index(_), _) => None,
        }
    }
}

/// Reads a document. `None`: it is malformed, which is reported; duplicate keys are reported too, and the first counts.
pub(super) fn parse(source: &Source, file: File, problems: &mut Problems) -> Option<Node> {
    let text = source.text.strip_prefix('\u{FEFF}').unwrap_or(&source.text);
    if text.len() > MAX_BYTES {
        problems
            .error(place(file, 0, 0, 0), "yaml", "the file is too large")
            .cause(format!("it has {} bytes; at most {MAX_BYTES} are read", text.len()));
        return None;
    }
    let budget = Cell::new(text.len() + MAX_ALIASED);
    let raw = match Seed(&budget).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(raw) => raw,
        Err(error) => {
            let (span, cause) = explain(&error, file);
            malformed(text, span, cause, problems);
            return None;
        }
    };
    if matches!(raw, Raw::Scalar(Tree::Null)) {
        problems.error(place(file, 1, 1, 0), "yaml", "the file is empty");
        return None;
    }
    let mut lockstep = Lockstep { events: Parser::new_from_str(text), file, problems };
    match lockstep.document(raw) {
        Ok(node) => Some(node),
        Err(Mismatch(span, message)) => {
            malformed(text, span, message, problems);
            None
        }
    }
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

/// Takes the place and the words out of an error of `serde_yaml`.
fn explain(error: &serde_yaml::Error, file: File) -> (Span, String) {
    let span = error
        .location()
        .map_or_else(|| place(file, 0, 0, 0), |at| place(file, at.line(), at.column(), usize::from(at.line() > 0)));
    let text = error.to_string();
    let text = text.find(" at line ").map_or(text.as_str(), |end| &text[..end]);
    let text = match text {
        "EOF while parsing a value" => "there is nothing in it",
        "recursion limit exceeded" => "it nests too deep, or an alias contains itself",
        text => text,
    };
    (span, text.to_owned())
}

fn malformed(text: &str, span: Span, cause: String, problems: &mut Problems) {
    let found = problems.error(within(text, span), "yaml", "malformed YAML").cause(cause);
    let line = span.line.checked_sub(1).and_then(|before| text.lines().nth(before as usize)).unwrap_or_default();
    if [": {{", "- {{", "[{{", ": *"].iter().any(|mark| line.contains(mark)) {
        found.help("a value that begins with `{{`, `*` or `&` has to stand in quotes: \"{{ … }}\"");
    } else if line.starts_with('\t') {
        found.help("indent with spaces; YAML takes no tabs");
    }
}

/// Moves a place below the text to its end: without a last line break, YAML still begins a line after it.
fn within(text: &str, span: Span) -> Span {
    let lines = text.split('\n').count();
    if span.line as usize <= lines {
        return span;
    }
    let last = text.rsplit('\n').next().unwrap_or_default();
    place(span.file, lines, last.chars().count() + 1, 1)
}

/// A value as `serde_yaml` reads it, duplicate keys included.
enum Raw {
    Scalar(Tree),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

/// Reads a [`Raw`], and counts its values so that aliases cannot multiply them without end.
#[derive(Clone, Copy)]
struct Seed<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Raw;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Raw, D::Error> {
        match self.0.get().checked_sub(1) {
            Some(rest) => self.0.set(rest),
            None => return Err(de::Error::custom("its aliases multiply to too many values")),
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, number, boolean, list or map without a tag")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Tree::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Tree::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Tree::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Tree::Number(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Tree::Number(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("infinity and NaN are no values here"))?;
        Ok(Raw::Scalar(Tree::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Tree::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry_seed(self, self)? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

/// The two readings of a document disagree, or the second cannot read on.
struct Mismatch(Span, String);

/// Goes over the events beside the values.
struct Lockstep<'a, 'p> {
    events: Parser<'a, StrInput<'a>>,
    file: File,
    problems: &'p mut Problems,
}

impl<'a> Lockstep<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mismatch> {
        match self.events.next_event() {
            Some(Ok((event, at))) => Ok((event, span(self.file, &at))),
            Some(Err(error)) => {
                let at = error.marker();
                let span = place(self.file, at.line(), at.col() + 1, 1);
                Err(Mismatch(span, error.info().to_owned()))
            }
            None => Err(Mismatch(place(self.file, 0, 0, 0), "it ends too early".to_owned())),
        }
    }

    fn document(&mut self, raw: Raw) -> Result<Node, Mismatch> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd
                | Event::DocumentEnd
                | Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => return self.node(raw, &event, span),
            }
        }
    }

    fn node(&mut self, raw: Raw, event: &Event<'_>, span: Span) -> Result<Node, Mismatch> {
        let value = match (raw, event) {
            (raw, Event::Alias(_)) => return self.aliased(raw, span),
            (Raw::Scalar(value), Event::Scalar(..)) => value,
            (Raw::List(items), Event::SequenceStart(..)) => {
                let mut nodes = Vec::with_capacity(items.len());
                for item in items {
                    let (event, span) = self.next()?;
                    nodes.push(self.node(item, &event, span)?);
                }
                self.expect_end(&Event::SequenceEnd)?;
                Tree::List(nodes)
            }
            (Raw::Map(pairs), Event::MappingStart(..)) => {
                let mut entries = Entries::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let (event, key_span) = self.next()?;
                    let key = key_of(key, &event, key_span)?;
                    let (event, span) = self.next()?;
                    let node = self.node(value, &event, span)?;
                    entries.add(key, key_span, node, self.problems);
                }
                self.expect_end(&Event::MappingEnd)?;
                Tree::Map(entries.list)
            }
            (Raw::Scalar(_) | Raw::List(_) | Raw::Map(_), _) => return Err(disagree(span)),
        };
        // A map without braces begins with its first key.
        let span = match &value {
            Tree::Map(entries) if span.length == 0 => entries.first().map_or(span, |entry| entry.key_span),
            _ => span,
        };
        Ok(Node { span, value })
    }

    fn expect_end(&mut self, end: &Event<'_>) -> Result<(), Mismatch> {
        let (event, span) = self.next()?;
        if event == *end { Ok(()) } else { Err(disagree(span)) }
    }

    /// What an alias stands for has the place of the alias.
    fn aliased(&mut self, raw: Raw, span: Span) -> Result<Node, Mismatch> {
        let value = match raw {
            Raw::Scalar(value) => value,
            Raw::List(items) => {
                Tree::List(items.into_iter().map(|item| self.aliased(item, span)).collect::<Result<_, _>>()?)
            }
            Raw::Map(pairs) => {
                let mut entries = Entries::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let Raw::Scalar(Tree::Text(key)) = key else {
                        return Err(Mismatch(span, "a key of what it stands for is no text".to_owned()));
                    };
                    let node = self.aliased(value, span)?;
                    entries.add(key, span, node, self.problems);
                }
                Tree::Map(entries.list)
            }
        };
        Ok(Node { span, value })
    }
}

fn key_of(raw: Raw, event: &Event<'_>, span: Span) -> Result<String, Mismatch> {
    match (raw, event) {
        (Raw::Scalar(_), Event::Scalar(text, ScalarStyle::Plain, ..)) => Ok(text.to_string()),
        (Raw::Scalar(Tree::Text(text)), _) => Ok(text),
        (Raw::Scalar(_) | Raw::List(_) | Raw::Map(_), _) => {
            Err(Mismatch(span, "a key has to be a plain word or a text".to_owned()))
        }
    }
}

/// The entries of a map, each key once.
struct Entries {
    list: Vec<Entry>,
    lines: HashMap<String, u32>,
}

impl Entries {
    fn with_capacity(count: usize) -> Self {
        Self { list: Vec::with_capacity(count), lines: HashMap::with_capacity(count) }
    }

    fn add(&mut self, key: String, key_span: Span, node: Node, problems: &mut Problems) {
        if let Some(line) = self.lines.get(&key) {
            problems
                .error(key_span, "duplicate-key", format!("the key `{key}` is there twice"))
                .cause(format!("it is already in line {line}"))
                .help("remove one of them, or give it another name");
            return;
        }
        self.lines.insert(key.clone(), key_span.line);
        self.list.push(Entry { key, key_span, node });
    }
}

fn disagree(span: Span) -> Mismatch {
    Mismatch(span, "it can be read in two ways; write it in a plainer way".to_owned())
}

/// The place of an event. Of what ends in another line, the first character.
fn span(file: File, at: &saphyr_parser::Span) -> Span {
    let length = if at.start.line() == at.end.line() { at.end.col().saturating_sub(at.start.col()) } else { 1 };
    place(file, at.start.line(), at.start.col() + 1, length)
}

/// Makes a place. No text that is read has more lines or columns than its numbers hold.
fn place(file: File, line: usize, column: usize, length: usize) -> Span {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Span { file, line: number(line), column: number(column), length: number(length) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "x.yaml".to_owned(), text: text.to_owned(), directory: None }
    }

    fn read(text: &str) -> (Option<Node>, Vec<super::super::Diagnostic>) {
        let source = source(text);
        let mut problems = Problems::of(&source);
        let node = parse(&source, File::MAIN, &mut problems);
        (node, problems.sorted())
    }

    fn at(node: &Node, keys: &[&str]) -> (u32, u32, u32) {
        let way: Vec<Step> = keys.iter().map(|key| Step::Key((*key).to_owned())).collect();
        let span = node.place(&way);
        (span.line, span.column, span.length)
    }

    #[test]
    fn places_count_characters_in_every_line_ending() {
        for end in ["\n", "\r\n"] {
            let text = ["a: 1", "é: { ü: x, b: yy }", "c: |", "  l", "", "d: 3"].join(end);
            let (node, problems) = read(&text);
            assert_eq!(problems, []);
            let node = node.unwrap();
            assert_eq!(at(&node, &["é", "b"]), (2, 15, 2), "{end:?}");
            assert_eq!(at(&node, &["d"]), (6, 4, 1), "{end:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_moves_nothing() {
        assert_eq!(at(&read("\u{FEFF}a: b").0.unwrap(), &["a"]), (1, 4, 1));
    }

    #[test]
    fn duplicate_keys_are_all_reported_with_their_places() {
        let (_, problems) = read("a: 1\nb: { x: 1, x: 2 }\na: 3\n");
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["x.yaml:2:12: the key `x` is there twice", "x.yaml:3:1: the key `a` is there twice"]);
    }

    #[test]
    fn aliases_are_bounded_and_have_the_place_of_their_use() {
        let node = read("a: &x { k: [1] }\nb: *x\n").0.unwrap();
        assert_eq!(at(&node, &["b", "k"]), (2, 4, 2));
        let mut bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n".to_owned();
        for (next, last) in ('b'..='i').zip('a'..) {
            use std::fmt::Write as _;
            writeln!(bomb, "{next}: &{next} [{}]", vec![format!("*{last}"); 9].join(",")).unwrap();
        }
        assert!(read(&bomb).0.is_none());
        assert!(read("a: &a [*a]").0.is_none());
    }

    #[test]
    fn depth_tags_and_second_documents_are_refused() {
        for bad in ["[".repeat(100_000).as_str(), "a: !x y", "a: 1\n---\nb: 2", "", "a: .inf", "? [a]\n: b"] {
            let (node, problems) = read(bad);
            assert!(node.is_none() && problems.len() == 1, "{bad:.20}");
        }
    }

    #[test]
    fn what_ends_too_early_is_shown_at_the_end() {
        for (text, place) in [("[é, [", (1, 6)), ("a: 1\nb: [", (2, 5)), ("a: 1\nb: [\n", (3, 1))] {
            let (_, problems) = read(text);
            assert_eq!((problems[0].line, problems[0].column), place, "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn words_and_numbers_are_those_of_yaml_1_2() {
        let node = read("{ a: no, b: 0644, c: 10, d: true, e: ~, f: 1.5, 0: x }").0.unwrap();
        let expected = serde_json::json!({"a": "no", "b": "0644", "c": 10, "d": true, "e": null, "f": 1.5, "0": "x"});
        assert_eq!(node.to_json(), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_never_panics(text in "[ -~\n\t\r\u{85}\u{2028}é&*!|>?:{}\\[\\]#'\"-]{0,80}") {
            let (node, problems) = read(&text);
            prop_assert!(node.is_some() || !problems.is_empty());
        }
    }
}
