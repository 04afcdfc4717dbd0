//! Looks at the text of templates where minijinja gives no access to what it parsed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use minijinja::ErrorKind;

use super::{BadTemplate, LANGUAGE, Sort};
use crate::plan::diagnostic::nearest;
use crate::plan::fields::list;

/// The filters, for suggestions.
pub(super) const FILTERS: [&str; 52] = [
    "abs",
    "all_role",
    "attr",
    "b64decode",
    "b64encode",
    "basename",
    "batch",
    "bool",
    "by_etcd_name",
    "capitalize",
    "chain",
    "default",
    "dictsort",
    "dirname",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "jsonpath",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "role",
    "round",
    "select",
    "selectattr",
    "shq",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];
/// The tests, for suggestions.
pub(super) const TESTS: [&str; 26] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "startingwith",
    "string",
    "true",
    "upper",
];

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    /// Text outside, and comments.
    Outside(&'a str),
    /// `{{ … }}` with its marks.
    Output(&'a str),
    /// `{% … %}` with its marks.
    Statement(&'a str),
}

/// Cuts a template into its parts. An unclosed part is taken for text: minijinja reports it.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text[at..].find('{') {
        at += found;
        let kind = text.as_bytes().get(at + 1);
        let end = match kind {
            Some(b'{') => closing(text, at + 2, "}}"),
            Some(b'%') => closing(text, at + 2, "%}"),
            Some(b'#') => text[at + 2..].find("#}").map(|end| at + 2 + end + 2),
            Some(_) | None => {
                at += 1;
                continue;
            }
        };
        let Some(end) = end else { break };
        let inside = &text[at..end];
        parts.push(Part::Outside(&text[start..at]));
        parts.push(match kind {
            Some(b'{') => Part::Output(inside),
            Some(b'%') => Part::Statement(inside),
            Some(_) | None => Part::Outside(inside),
        });
        (start, at) = (end, end);
    }
    parts.push(Part::Outside(&text[start..]));
    parts
}

/// Finds the end of an expression: the closing mark outside of strings and braces.
fn closing(text: &str, from: usize, mark: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => at = end_of_string(bytes, at, quote),
            _ if depth == 0 && bytes[at..].starts_with(mark.as_bytes()) => return Some(at + mark.len()),
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the index of the quote that closes a string, or of the last byte.
fn end_of_string(bytes: &[u8], open: usize, quote: u8) -> usize {
    let mut at = open + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len() - 1)
}

/// Says whether the inside of `{{ … }}` is one expression, so that the marks belong together.
pub(super) fn is_one_expression(inner: &str) -> bool {
    let whole = format!("{inner}}}}}");
    closing(&whole, 0, "}}") == Some(whole.len())
}

/// Spells the step ids of a template so that minijinja takes them for names. Everything stays at its byte.
pub(super) fn template(text: &str) -> Cow<'_, str> {
    if !text.contains("steps") {
        return Cow::Borrowed(text);
    }
    let spelled = parts(text).into_iter().map(|part| match part {
        Part::Outside(text) => Cow::Borrowed(text),
        Part::Output(text) | Part::Statement(text) => expression(text),
    });
    Cow::Owned(spelled.collect())
}

/// Spells the step ids of an expression so that minijinja takes them for names. Everything stays at its byte.
pub(super) fn expression(text: &str) -> Cow<'_, str> {
    if !text.contains("steps") {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let part_of_name = at > 0 && (is_name(bytes[at - 1]) || bytes[at - 1] == b'.');
        if matches!(bytes[at], b'"' | b'\'') {
            at = end_of_string(bytes, at, bytes[at]) + 1;
        } else if let Some((id, length)) = text[at..].strip_prefix("steps").filter(|_| !part_of_name).and_then(step_id)
        {
            out.push_str(&text[copied..at]);
            // In brackets and quotes the id begins one byte later, and something follows it.
            let bracketed = length > id.len() + 1;
            out.push_str(if bracketed { "steps ." } else { "steps." });
            out.push_str(&id.replace('-', "_"));
            out.push_str(if bracketed { "  " } else { "" });
            at += "steps".len() + length;
            copied = at;
        } else {
            at += 1;
            while !text.is_char_boundary(at) {
                at += 1;
            }
        }
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Reads `.set-aside` or `["set-aside"]`, and says how long it is.
fn step_id(rest: &str) -> Option<(&str, usize)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.bytes().position(|b| !is_name(b) && b != b'-').unwrap_or(rest.len());
        let id = rest[..end].trim_end_matches('-');
        return (!id.is_empty()).then_some((id, id.len() + 1));
    }
    let inner = rest.strip_prefix('[')?;
    let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let id = &inner[1..=inner[1..].find(quote)?];
    let known = !id.is_empty() && id.bytes().all(|b| is_name(b) || b == b'-');
    (known && inner[id.len() + 2..].starts_with(']')).then_some((id, id.len() + 4))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Returns an expression that is a name with attributes and nothing else, without the spaces in it.
pub(super) fn path(expression: &str) -> Option<String> {
    let names = expression.split('.').map(str::trim);
    let names: Vec<&str> =
        names.map(|name| (!name.is_empty() && name.bytes().all(is_name)).then_some(name)).collect::<Option<_>>()?;
    Some(names.join("."))
}

/// Returns a template without the `{{ path }}` that stand in it as they are. A statement that would change what is printed
/// inside it is an error.
pub(super) fn without_bare_paths(text: &str) -> Result<String, BadTemplate> {
    let mut out = String::new();
    let mut at = 0;
    for part in parts(text) {
        let (Part::Outside(inside) | Part::Output(inside) | Part::Statement(inside)) = part;
        let range = at..at + inside.len();
        at = range.end;
        match part {
            Part::Output(text) => {
                let inner = text[2..text.len() - 2].trim_matches('-').trim();
                if path(inner).is_none() {
                    out.push_str(text);
                }
            }
            Part::Statement(text) => {
                let word = first_word(text);
                if !["if", "elif", "else", "endif", "for", "endfor"].contains(&word) {
                    let message = format!("`{word}` would change the secret that is printed in it");
                    let bad = BadTemplate::new(Sort::Secret, message).at(range);
                    return Err(bad.help("print the secret outside of it, just as it is"));
                }
                out.push_str(text);
            }
            Part::Outside(text) => out.push_str(text),
        }
    }
    Ok(out)
}

/// Refuses signs that mean nothing in an expression. minijinja does so too, but not behind a text in quotes: there it takes the
/// expression for ended, and leaves out what follows.
pub(super) fn strange_signs(text: &str, is_expression: bool) -> Result<(), BadTemplate> {
    if is_expression {
        return strange_sign(text).map_or(Ok(()), |(at, sign)| Err(strange(at, sign)));
    }
    let parts = parts(text);
    if parts.iter().any(|part| matches!(part, Part::Statement(inside) if first_word(inside) == "raw")) {
        return Ok(());
    }
    let mut at = 0;
    for part in parts {
        let (Part::Outside(inside) | Part::Output(inside) | Part::Statement(inside)) = part;
        if !matches!(part, Part::Outside(_))
            && let Some((found, sign)) = strange_sign(inside)
        {
            return Err(strange(at + found, sign));
        }
        at += inside.len();
    }
    Ok(())
}

fn strange_sign(expression: &str) -> Option<(usize, &str)> {
    let bytes = expression.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => at = end_of_string(bytes, at, quote),
            b'!' if bytes.get(at + 1) == Some(&b'=') => at += 1,
            b'|' if bytes.get(at + 1) != Some(&b'|') => {}
            sign @ (b'&' | b'|' | b'!' | b'?' | b';' | b'$' | b'@' | b'#' | b'\\' | b'^' | b'`') => {
                let length = if bytes.get(at + 1) == Some(&sign) { 2 } else { 1 };
                return expression.get(at..at + length).map(|sign| (at, sign));
            }
            byte if !byte.is_ascii() => {
                let length = expression.get(at..)?.chars().next()?.len_utf8();
                return expression.get(at..at + length).map(|sign| (at, sign));
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn strange(at: usize, sign: &str) -> BadTemplate {
    let bad = BadTemplate::new(Sort::Syntax, format!("`{sign}` means nothing in an expression"));
    let bad = match sign {
        "&&" | "&" => bad.help("write `and`"),
        "||" => bad.help("write `or`"),
        "!" | "!!" => bad.help("write `not`"),
        "?" | "??" => bad.help("write `A if CONDITION else B`"),
        _ => bad,
    };
    bad.at(at..at + sign.len())
}

/// Refuses filters and tests that do not exist; minijinja looks for them only when it comes to them.
pub(super) fn unknown_words(text: &str, is_expression: bool) -> Result<(), BadTemplate> {
    let tokens = tokens(text, is_expression);
    for (index, token) in tokens.iter().enumerate() {
        let next = |skip: usize| tokens.get(index + skip).filter(|token| token.is_name());
        let unknown = match token.text {
            "|" => next(1).filter(|name| !is_filter(name.text)).map(|name| (Sort::UnknownFilter, name)),
            "is" if next(1).is_some_and(|word| word.text == "not") => {
                next(2).filter(|name| !is_test(name.text)).map(|name| (Sort::UnknownTest, name))
            }
            "is" => next(1).filter(|name| !is_test(name.text)).map(|name| (Sort::UnknownTest, name)),
            _ => None,
        };
        if let Some((sort, name)) = unknown {
            return Err(unknown_word(sort, name));
        }
    }
    Ok(())
}

fn unknown_word(sort: Sort, name: &Token<'_>) -> BadTemplate {
    let (what, known): (_, &[&str]) = if sort == Sort::UnknownFilter { ("filter", &FILTERS) } else { ("test", &TESTS) };
    let mut bad = BadTemplate::new(sort, format!("there is no {what} `{}`", name.text)).at(name.range());
    bad.help = match nearest(name.text, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => Some(format!("there are {}", list(known))),
    };
    bad
}

/// Adds the names in expressions that take a slice: minijinja leaves out what is sliced when it looks for names.
pub(super) fn add_sliced(text: &str, is_expression: bool, paths: &mut BTreeSet<String>) {
    if !text.contains(':') {
        return;
    }
    let tokens = tokens(text, is_expression);
    if !tokens.iter().any(|token| token.text == "[") {
        return;
    }
    for (index, root) in tokens.iter().enumerate() {
        if is_root(&tokens, index) && ["inputs", "vars", "site", "run", "steps", "result"].contains(&root.text) {
            let rest = tokens[index + 1..].chunks_exact(2).take_while(|pair| pair[0].text == "." && pair[1].is_name());
            paths.insert(rest.fold(root.text.to_owned(), |path, pair| path + "." + pair[1].text));
        }
    }
}

/// Finds a path such as `steps.a_b.outputs.x` and returns where its first names stand, as many as are asked for.
pub(super) fn find_path(text: &str, is_expression: bool, path: &str, names: usize) -> Option<Vec<Range<usize>>> {
    let tokens = tokens(text, is_expression);
    let wanted: Vec<&str> = path.split('.').take(names).collect();
    (0..tokens.len()).filter(|index| is_root(&tokens, *index)).find_map(|index| {
        let found = names_from(&tokens, index);
        let fits = found.len() >= wanted.len() && found.iter().zip(&wanted).all(|((name, _), wanted)| name == wanted);
        fits.then(|| found.into_iter().take(wanted.len()).map(|(_, range)| range).collect())
    })
}

/// Finds the path that goes over a byte, and returns its names with their places.
pub(super) fn path_over(text: &str, is_expression: bool, byte: usize) -> Option<Vec<(String, Range<usize>)>> {
    let tokens = tokens(text, is_expression);
    (0..tokens.len()).filter(|index| is_root(&tokens, *index)).map(|index| names_from(&tokens, index)).find(|names| {
        let (Some((_, first)), Some((_, last))) = (names.first(), names.last()) else { return false };
        (first.start..last.end).contains(&byte)
    })
}

/// Finds the calls of some filters with one literal text: the text, and where it stands.
pub(super) fn literal_calls<'t>(text: &'t str, is_expression: bool, filters: &[&str]) -> Vec<(&'t str, Range<usize>)> {
    let tokens = tokens(text, is_expression);
    let calls = tokens.windows(5).filter(|call| {
        let signs = [call[0].text, call[2].text, call[4].text] == ["|", "(", ")"];
        signs && filters.contains(&call[1].text) && call[3].is_string()
    });
    calls.filter_map(|call| Some((call[3].inside()?, call[3].at + 1..call[3].range().end - 1))).collect()
}

/// Says whether one of some words stands in an expression of a text, not as the attribute of something.
pub(super) fn has_word(text: &str, is_expression: bool, words: &[&str]) -> bool {
    let tokens = tokens(text, is_expression);
    (0..tokens.len()).any(|index| is_root(&tokens, index) && words.contains(&tokens[index].text))
}

/// Says whether a name stands there that is not the attribute of another.
fn is_root(tokens: &[Token<'_>], index: usize) -> bool {
    tokens[index].is_name() && index.checked_sub(1).is_none_or(|before| tokens[before].text != ".")
}

/// Reads the names of a path that begins at a token.
fn names_from(tokens: &[Token<'_>], root: usize) -> Vec<(String, Range<usize>)> {
    let mut names = vec![(tokens[root].text.to_owned(), tokens[root].range())];
    let mut rest = &tokens[root + 1..];
    loop {
        let (name, taken) = match rest {
            [dot, name, ..] if dot.text == "." && name.is_name() => ((name.text, name.range()), 2),
            [open, name, close, ..] if open.text == "[" && close.text == "]" => match name.inside() {
                Some(inside) => ((inside, name.at + 1..name.range().end - 1), 3),
                None if name.text.bytes().all(|byte| byte.is_ascii_digit()) => ((name.text, name.range()), 3),
                None => return names,
            },
            _ => return names,
        };
        names.push((name.0.to_owned(), name.1));
        rest = &rest[taken..];
    }
}

/// Finds the first `{{`, `{%` or `{#` that is not closed.
pub(super) fn unclosed(text: &str) -> Option<Range<usize>> {
    let Some(Part::Outside(rest)) = parts(text).pop() else { return None };
    let open = ["{{", "{%", "{#"].iter().filter_map(|mark| rest.find(mark)).min()?;
    let start = text.len() - rest.len() + open;
    Some(start..start + 2)
}

/// Finds the quote of a text that is not closed in what begins at a byte.
pub(super) fn unclosed_quote(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        if matches!(bytes[at], b'"' | b'\'') {
            let end = end_of_string(bytes, at, bytes[at]);
            if end == at || bytes[end] != bytes[at] {
                return Some(at..at + 1);
            }
            at = end;
        }
        at += 1;
    }
    None
}

/// Finds the innermost statement that waits for its end, such as `if`: the word, and where the statement stands.
pub(super) fn open_statement(text: &str) -> Option<(&str, Range<usize>)> {
    let mut open = Vec::new();
    let mut at = 0;
    for part in parts(text) {
        let (Part::Outside(inside) | Part::Output(inside) | Part::Statement(inside)) = part;
        let range = at..at + inside.len();
        at = range.end;
        if !matches!(part, Part::Statement(_)) {
            continue;
        }
        let word = first_word(inside);
        if BLOCKS.contains(&word) {
            open.push((word, range));
        } else if word.starts_with("end") {
            open.pop();
        }
    }
    open.pop()
}

/// The statements that have an end of their own. `set` may have one, and is mostly written without.
const BLOCKS: [&str; 9] = ["if", "for", "with", "filter", "macro", "call", "block", "raw", "autoescape"];

/// Returns the word that says what a statement does.
fn first_word(statement: &str) -> &str {
    statement[2..statement.len() - 2]
        .trim_matches(['-', '+'])
        .trim()
        .split(char::is_whitespace)
        .next()
        .unwrap_or_default()
}

/// A word, sign or text of an expression.
#[derive(Debug, Clone, Copy)]
struct Token<'t> {
    text: &'t str,
    /// Its first byte.
    at: usize,
}

impl<'t> Token<'t> {
    fn range(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn is_name(&self) -> bool {
        self.text.bytes().all(is_name)
    }

    fn is_string(&self) -> bool {
        self.text.starts_with(['"', '\''])
    }

    /// What is between the quotes of a text.
    fn inside(&self) -> Option<&'t str> {
        self.text.get(1..self.text.len().checked_sub(1)?).filter(|_| self.is_string() && self.text.len() > 1)
    }
}

/// Cuts the expressions of a text into words, signs and texts.
fn tokens(text: &str, is_expression: bool) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    if is_expression {
        add_tokens(text, 0, &mut found);
        return found;
    }
    let mut at = 0;
    for part in parts(text) {
        match part {
            Part::Outside(outside) => at += outside.len(),
            Part::Output(inside) | Part::Statement(inside) => {
                add_tokens(inside, at, &mut found);
                at += inside.len();
            }
        }
    }
    found
}

fn add_tokens<'t>(text: &'t str, from: usize, tokens: &mut Vec<Token<'t>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            quote @ (b'"' | b'\'') => at = end_of_string(bytes, at, quote) + 1,
            b if is_name(b) => {
                while at < bytes.len() && is_name(bytes[at]) {
                    at += 1;
                }
            }
            b if b.is_ascii_whitespace() || !b.is_ascii() => {
                at += 1;
                continue;
            }
            _ => at += 1,
        }
        // A text that is not closed may end inside a character.
        if let Some(text) = text.get(start..at) {
            tokens.push(Token { text, at: from + start });
        }
    }
}

fn is_filter(name: &str) -> bool {
    !matches!(LANGUAGE.empty_state().apply_filter(name, &[]), Err(error) if error.kind() == ErrorKind::UnknownFilter)
}

fn is_test(name: &str) -> bool {
    !matches!(LANGUAGE.empty_state().perform_test(name, &[]), Err(error) if error.kind() == ErrorKind::UnknownTest)
}
