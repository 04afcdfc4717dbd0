//! Events to the tree, within bounds.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::{Entry, Key, MAX_ALIASED, MAX_BYTES, MAX_DEPTH, Node, Tree, plain, slip};
use crate::plan::diagnostic::{File, Problems, Span};

/// Up to how many entries of a map are compared one by one with a new one.
const FEW: usize = 32;

/// Reads a text without byte order mark.
pub(super) fn read(text: &str, file: File, problems: &mut Problems) -> Option<Node> {
    if text.len() > MAX_BYTES {
        problems
            .error(place(file, 0, 0, 0), "yaml", "the file is too large")
            .cause(format!("it has {} bytes; at most {MAX_BYTES} are read", text.len()));
        return None;
    }
    let reader = Reader {
        text,
        events: Parser::new_from_str(text),
        file,
        problems: &mut *problems,
        keys: HashSet::new(),
        anchors: None,
        copies: MAX_ALIASED,
        lists: Vec::new(),
        maps: Vec::new(),
    };
    match unprintable(text, file).map_or_else(|| reader.document(), Err) {
        Ok(Some(node)) => Some(node),
        Ok(None) => {
            problems.error(place(file, 1, 1, 0), "yaml", "the file is empty");
            None
        }
        Err(malformed) => {
            report(text, malformed, problems);
            None
        }
    }
}

/// Why a document cannot be read, and where.
struct Malformed(Span, Cow<'static, str>);

/// Finds a character that YAML does not allow: a terminal could take it for a command.
fn unprintable(text: &str, file: File) -> Option<Malformed> {
    let allowed = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
            && c != '\u{FEFF}'
    };
    let at = text.find(|c| !allowed(c))?;
    let before = text[..at].replace("\r\n", "\n");
    let line = 1 + before.matches(['\n', '\r']).count();
    let column = 1 + before.rsplit(['\n', '\r']).next().unwrap_or_default().chars().count();
    let cause = match text[at..].chars().next() {
        Some('\u{FEFF}') => "a byte order mark can only begin a file".to_owned(),
        other => format!("the character U+{:04X} is not allowed", other.map_or(0, u32::from)),
    };
    Some(Malformed(place(file, line, column, 1), cause.into()))
}

fn report(text: &str, Malformed(span, cause): Malformed, problems: &mut Problems) {
    let late = [NO_KEY_HERE, NO_COLON, NO_ENTRY, NO_ELEMENT].contains(&&*cause);
    if let Some(slip) = slip::near(text, span.line as usize).filter(|_| late) {
        let place = place(span.file, slip.line, slip.column, 1);
        problems.error(place, "yaml", "malformed YAML").cause(slip.cause).help(slip.help);
        return;
    }
    let (span, line) = shown(text, span, cause == TAB);
    let tabs = cause == TAB;
    let found = problems.error(span, "yaml", "malformed YAML").cause(cause);
    if [": {{", "- {{", "[{{", ": *"].iter().any(|mark| line.contains(mark)) {
        found.help("a value that begins with `{{`, `*` or `&` has to stand in quotes: \"{{ … }}\"");
    } else if tabs || line.starts_with('\t') {
        found.help("indent with spaces; YAML takes no tabs");
    }
}

/// Returns where a fault is shown, and the line: a tab where it is, and what is missing at the end behind the last line.
fn shown(text: &str, span: Span, is_tab: bool) -> (Span, &str) {
    let line = span.line.checked_sub(1).and_then(|before| text.lines().nth(before as usize));
    if is_tab {
        // A text that the next line could go on with ends only there.
        let mut below = text.lines().enumerate().skip(span.line.saturating_sub(1) as usize);
        let tab = below.find_map(|(above, line)| Some((above, line, line.chars().position(|c| c == '\t')?)));
        if let Some((above, line, before)) = tab {
            return (place(span.file, above + 1, before + 1, 1), line);
        }
    }
    if let (None, Some((before, last))) =
        (line, text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).last())
        && span.line > 0
    {
        return (place(span.file, before + 1, last.trim_end().chars().count() + 1, 0), last);
    }
    (span, line.unwrap_or_default())
}

/// The anchors that aliases refer to, each with what it stands for once that is read.
type Anchors = HashMap<usize, Option<Node>>;

struct Reader<'a, 'p> {
    text: &'a str,
    events: Parser<'a, StrInput<'a>>,
    file: File,
    problems: &'p mut Problems,
    /// Every key of the document, once.
    keys: HashSet<Key>,
    /// What aliases refer to; found out when the first anchor is met.
    anchors: Option<Anchors>,
    /// How many values may still be copied for aliases.
    copies: usize,
    /// Room for the elements of lists whose number is not known yet.
    lists: Vec<Vec<Node>>,
    /// Room for the entries of maps.
    maps: Vec<Vec<Entry>>,
}

impl<'a> Reader<'a, '_> {
    /// Reads the one document of the file. `None`: there is nothing in it.
    fn document(mut self) -> Result<Option<Node>, Malformed> {
        let root = loop {
            let (event, span) = self.next()?;
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd => return Ok(None),
                Event::DocumentEnd
                | Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => break self.node(event, span, 0)?,
            }
        };
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) => {
                    return Err(Malformed(span, "a second document begins here, and a file has one".into()));
                }
                _ => {}
            }
        }
        Ok(Some(root).filter(|root| root.value != Tree::Null))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Malformed> {
        match self.events.next_event() {
            Some(Ok((event, at))) => Ok((event, span(self.file, &at))),
            Some(Err(error)) => {
                let at = error.marker();
                Err(Malformed(place(self.file, at.line(), at.col() + 1, 1), words(error.info())))
            }
            None => Err(Malformed(place(self.file, 0, 0, 0), "it ends too early".into())),
        }
    }

    /// Reads the value that an event begins. It recurses no deeper than [`MAX_DEPTH`].
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Malformed> {
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.aliased(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, style, tag.as_deref()).map_err(|cause| Malformed(span, cause))?;
                (anchor, Node { span, value })
            }
            Event::SequenceStart(anchor, tag) => {
                untagged(span, tag.as_deref())?;
                (anchor, Node { span, value: Tree::List(self.items(span, depth)?) })
            }
            Event::MappingStart(anchor, tag) => {
                untagged(span, tag.as_deref())?;
                let entries = self.entries(span, depth)?;
                // A map without braces begins with its first key.
                let first = entries.first().filter(|_| span.length == 0);
                (anchor, Node { span: first.map_or(span, |entry| entry.key_span), value: Tree::Map(entries) })
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(Malformed(span, "a value is missing here".into())),
        };
        if anchor > 0 {
            self.keep(anchor, &node)?;
        }
        Ok(node)
    }

    fn items(&mut self, span: Span, depth: usize) -> Result<Box<[Node]>, Malformed> {
        let depth = deeper(span, depth)?;
        let mut room = self.lists.pop().unwrap_or_default();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            room.push(self.node(event, span, depth)?);
        }
        let items = room.drain(..).collect();
        self.lists.push(room);
        Ok(items)
    }

    fn entries(&mut self, span: Span, depth: usize) -> Result<Box<[Entry]>, Malformed> {
        let depth = deeper(span, depth)?;
        let mut entries = Entries { list: self.maps.pop().unwrap_or_default(), lines: HashMap::new() };
        loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.key(event, key_span)?;
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth)?;
            match entries.line_of(&key) {
                None => entries.add(Entry { key, key_span, node }),
                Some(line) => {
                    self.problems
                        .error(key_span, "duplicate-key", format!("the key `{key}` is there twice"))
                        .cause(format!("it is already in line {line}"))
                        .help("remove one of them, or give it another name");
                }
            }
        }
        let mut room = entries.list;
        let entries = room.drain(..).collect();
        self.maps.push(room);
        Ok(entries)
    }

    /// Reads a key: a plain word as it is written, or a text.
    fn key(&mut self, event: Event<'a>, span: Span) -> Result<Key, Malformed> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let key = self.shared(&text);
                // What is written counts; whether it could be a number only matters to an alias.
                let is_odd = tag.is_some() || text.starts_with('?');
                if anchor > 0 || is_odd {
                    let value = scalar(text, style, tag.as_deref()).map_err(|cause| Malformed(span, cause))?;
                    if anchor > 0 {
                        self.keep(anchor, &Node { span, value })?;
                    }
                }
                Ok(key)
            }
            Event::Alias(anchor) => match self.aliased(anchor, span, 0)?.value {
                Tree::Text(text) => Ok(self.shared(&text)),
                Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::List(_) | Tree::Map(_) => Err(no_key(span)),
            },
            _ => Err(no_key(span)),
        }
    }

    fn shared(&mut self, text: &str) -> Key {
        if let Some(key) = self.keys.get(text) {
            return key.clone();
        }
        let key = Key::from(text);
        self.keys.insert(key.clone());
        key
    }

    /// Keeps what an anchor stands for, if an alias refers to it.
    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), Malformed> {
        let anchors = match self.anchors.take() {
            Some(anchors) => anchors,
            None => referred_to(self.text, self.file)?,
        };
        if let Some(kept) = self.anchors.insert(anchors).get_mut(&anchor) {
            *kept = Some(copy(node, node.span, 0, &mut self.copies)?);
        }
        Ok(())
    }

    /// Copies what an alias stands for. It has the place of the alias.
    fn aliased(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Node, Malformed> {
        // What is not there yet is still being read: the alias is inside.
        let kept = self.anchors.as_ref().and_then(|anchors| anchors.get(&anchor)?.as_ref());
        let kept = kept.ok_or(Malformed(span, "the alias stands for something that contains it".into()))?;
        copy(kept, span, depth, &mut self.copies)
    }
}

/// Finds the anchors that aliases refer to: only what these stand for is kept.
fn referred_to(text: &str, file: File) -> Result<Anchors, Malformed> {
    let mut anchors = Anchors::new();
    let mut rest = text.chars();
    let mut read = 0;
    // What is malformed is reported by the reader.
    for (event, at) in Parser::new_from_str(text).map_while(Result::ok) {
        match event {
            Event::Alias(anchor) => drop(anchors.insert(anchor, None)),
            Event::Scalar(_, _, 1.., _) | Event::SequenceStart(1.., _) | Event::MappingStart(1.., _) => {
                if let Some(skipped) = at.start.index().checked_sub(read + 1) {
                    rest.nth(skipped);
                    read = at.start.index();
                }
                anchor_name(rest.as_str()).map_err(|cause| Malformed(span(file, &at), cause.into()))?;
            }
            _ => {}
        }
    }
    Ok(anchors)
}

/// Checks the name of an anchor, given the text from it on, or from a tag before it. `&a: b` is refused, and `&a? b`: to one version
/// of YAML the name is `a`, to another `a:`, and what follows is another value.
fn anchor_name(text: &str) -> Result<(), &'static str> {
    let name = text.split_whitespace().take(2).find_map(|word| word.strip_prefix('&'));
    let name = name.and_then(|rest| rest.split([',', '[', ']', '{', '}']).next()).unwrap_or_default();
    if name.ends_with(':') {
        return Err("a space is missing between an anchor and `:`");
    }
    let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if is_plain {
        Ok(())
    } else {
        Err("the name of an anchor has letters, digits, `-` and `_`, and a space follows it")
    }
}

/// Copies a value to a place. Its nodes are counted, so that aliases cannot multiply them without end.
fn copy(node: &Node, span: Span, depth: usize, left: &mut usize) -> Result<Node, Malformed> {
    *left = left.checked_sub(1).ok_or(Malformed(span, "its aliases multiply to too many values".into()))?;
    let value = match &node.value {
        Tree::List(items) => {
            let depth = deeper(span, depth)?;
            Tree::List(items.iter().map(|item| copy(item, span, depth, left)).collect::<Result<_, _>>()?)
        }
        Tree::Map(entries) => {
            let depth = deeper(span, depth)?;
            let entries = entries.iter().map(|entry| {
                Ok(Entry { key: entry.key.clone(), key_span: span, node: copy(&entry.node, span, depth, left)? })
            });
            Tree::Map(entries.collect::<Result<_, _>>()?)
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => node.value.clone(),
    };
    Ok(Node { span, value })
}

fn deeper(span: Span, depth: usize) -> Result<usize, Malformed> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Malformed(span, TOO_DEEP.into())) }
}

const TOO_DEEP: &str = "it nests too deep";
const TAB: &str = "a tab cannot indent";
const NO_KEY_HERE: &str =
    "a `:` makes a key, and there cannot be one here; a text with `: ` in it has to stand in quotes";
const NO_COLON: &str = "a `:` has to follow this key, or a line before it is amiss";
const NO_ENTRY: &str = "this is not indented like the keys before it, or it is no key";
const NO_ELEMENT: &str = "this is not indented like the elements before it, or its `-` is missing";

fn no_key(span: Span) -> Malformed {
    Malformed(span, "a key has to be a plain word or a text".into())
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Tree, Cow<'static, str>> {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if tag.is_some() && !is_text {
        return Err(tagged());
    }
    // In brackets it is a key to one version of YAML, and part of the text to another.
    if style == ScalarStyle::Plain && text.starts_with('?') {
        return Err("a text that begins with `?` has to stand in quotes".into());
    }
    if style == ScalarStyle::Plain && !is_text {
        return plain::read(&text).map_err(Cow::Owned);
    }
    Ok(Tree::Text(text.into_owned().into_boxed_str()))
}

fn untagged(span: Span, tag: Option<&Tag>) -> Result<(), Malformed> {
    tag.map_or(Ok(()), |_| Err(Malformed(span, tagged())))
}

fn tagged() -> Cow<'static, str> {
    "tags are not taken; a text that begins with `!` has to stand in quotes".into()
}

/// The entries of a map, each key once.
struct Entries {
    list: Vec<Entry>,
    /// The lines of the keys, once there are more than [`FEW`].
    lines: HashMap<Key, u32>,
}

impl Entries {
    /// Returns the line of an entry that is there.
    fn line_of(&self, key: &Key) -> Option<u32> {
        if self.list.len() > FEW {
            return self.lines.get(key).copied();
        }
        self.list.iter().find(|entry| entry.key.shares(key)).map(|entry| entry.key_span.line)
    }

    fn add(&mut self, entry: Entry) {
        if self.list.len() > FEW {
            self.lines.insert(entry.key.clone(), entry.key_span.line);
        } else if self.list.len() == FEW {
            let all = self.list.iter().chain([&entry]);
            self.lines = all.map(|entry| (entry.key.clone(), entry.key_span.line)).collect();
        }
        self.list.push(entry);
    }
}

/// Says in words for authors of plans what the parser says in words for those who know the grammar of YAML.
fn words(info: &str) -> Cow<'static, str> {
    let plain = match info {
        "recursion limit exceeded" => TOO_DEEP,
        "while parsing node, found unknown anchor" => "there is no anchor of this name before it",
        "while parsing a node, did not find expected node content" => "a value is missing here",
        "while parsing a flow mapping, did not find expected ',' or '}'" => "a `,` or a `}` is missing here",
        "while parsing a flow sequence, expected ',' or ']'" => "a `,` or a `]` is missing here",
        "while parsing a block mapping, did not find expected key" => NO_ENTRY,
        "while parsing a block collection, did not find expected '-' indicator" => NO_ELEMENT,
        "while scanning a quoted scalar, found unexpected end of stream"
        | "while scanning a quoted scalar, found unexpected document indicator" => "a quote is not closed",
        "while parsing a quoted scalar, found unknown escape character" => {
            "there is no such escape in double quotes; in single quotes a backslash is a backslash"
        }
        "invalid trailing content after double-quoted scalar" => "something follows the closing quote",
        // In brackets, of which one line has the key and the next its `:`.
        "illegal placement of ':' indicator" => "a `]` is missing before this key",
        "invalid indentation" | "invalid indentation in flow construct" => {
            "a `]` or `}` is missing before this, or it is not indented"
        }
        "invalid indentation in quoted scalar" => "this quote is not closed, or a line of its text is not indented",
        "mapping values are not allowed in this context" => NO_KEY_HERE,
        "simple key expected" | "simple key expect ':'" => NO_COLON,
        "comment intercepting the multiline text" => "a comment cannot stand inside a text of several lines",
        "tabs disallowed within this context (block indentation)"
        | "tabs disallowed in this context"
        | "tab cannot be used as indentation"
        | "while scanning a plain scalar, found a tab"
        | "a block scalar content cannot start with a tab" => TAB,
        "did not find expected <document start>" => "something follows the end of the document",
        other => {
            let after = other.strip_prefix("while ").and_then(|rest| rest.split_once(", "));
            return after.map_or(other, |(_, what)| what).to_owned().into();
        }
    };
    plain.into()
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
