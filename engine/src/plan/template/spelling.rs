//! Looks at the text of templates where minijinja gives no access to what it parsed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use minijinja::ErrorKind;

use super::{BadTemplate, LANGUAGE};

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

/// Spells the step ids of a template so that minijinja takes them for names.
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

/// Spells the step ids of an expression so that minijinja takes them for names.
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
            out.push_str("steps.");
            out.push_str(&id.replace('-', "_"));
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

/// Says whether an expression is a name with attributes and nothing else.
pub(super) fn is_path(expression: &str) -> bool {
    expression.split('.').all(|name| !name.is_empty() && name.bytes().all(is_name))
}

/// Returns a template without the `{{ path }}` that stand in it as they are. A statement that would change what is printed
/// inside it is an error.
pub(super) fn without_bare_paths(text: &str) -> Result<String, BadTemplate> {
    let mut out = String::new();
    for part in parts(text) {
        match part {
            Part::Output(text) => {
                let inner = text[2..text.len() - 2].trim_matches('-').trim();
                if !is_path(inner) {
                    out.push_str(text);
                }
            }
            Part::Statement(text) => {
                let word = text[2..text.len() - 2].trim_matches('-').trim().split(char::is_whitespace).next();
                let word = word.unwrap_or_default();
                if !["if", "elif", "else", "endif", "for", "endfor"].contains(&word) {
                    return Err(BadTemplate::new(format!("`{word}` would change the secret that is printed in it")));
                }
                out.push_str(text);
            }
            Part::Outside(text) => out.push_str(text),
        }
    }
    Ok(out)
}

/// Refuses filters and tests that do not exist; minijinja looks for them only when it comes to them.
pub(super) fn unknown_words(text: &str, is_expression: bool) -> Result<(), BadTemplate> {
    if is_expression {
        return unknown_in_expression(text);
    }
    for part in parts(text) {
        match part {
            Part::Outside(_) => {}
            Part::Output(text) | Part::Statement(text) => unknown_in_expression(text)?,
        }
    }
    Ok(())
}

fn unknown_in_expression(text: &str) -> Result<(), BadTemplate> {
    let tokens = tokens(text);
    for (index, token) in tokens.iter().enumerate() {
        let next = |skip: usize| tokens.get(index + skip).copied().filter(|word| word.bytes().all(is_name));
        let unknown = match *token {
            "|" => next(1).filter(|name| !is_filter(name)).map(|name| ("filter", name)),
            "is" if next(1) == Some("not") => next(2).filter(|name| !is_test(name)).map(|name| ("test", name)),
            "is" => next(1).filter(|name| !is_test(name)).map(|name| ("test", name)),
            _ => None,
        };
        if let Some((what, name)) = unknown {
            return Err(BadTemplate { message: format!("there is no {what} `{name}`"), part: Some(name.to_owned()) });
        }
    }
    Ok(())
}

/// Adds the names in expressions that take a slice: minijinja leaves out what is sliced when it looks for names.
pub(super) fn add_sliced(text: &str, paths: &mut BTreeSet<String>) {
    for part in parts(&format!("{{{{{text}}}}}")).into_iter().chain(parts(text)) {
        let (Part::Output(inside) | Part::Statement(inside)) = part else { continue };
        let tokens = tokens(inside);
        let has = |sign: &str| tokens.contains(&sign);
        if !(has("[") && has(":")) {
            continue;
        }
        for (index, root) in tokens.iter().enumerate() {
            let alone = index.checked_sub(1).is_none_or(|before| tokens[before] != ".");
            if alone && ["inputs", "vars", "site", "run", "steps", "result"].contains(root) {
                let rest = tokens[index + 1..]
                    .chunks_exact(2)
                    .take_while(|pair| pair[0] == "." && pair[1].bytes().all(is_name));
                paths.insert(rest.fold((*root).to_owned(), |path, pair| path + "." + pair[1]));
            }
        }
    }
}

/// Cuts an expression into words and signs; strings are left out.
fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                at = end_of_string(bytes, at, quote) + 1;
                continue;
            }
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
        tokens.push(&text[start..at]);
    }
    tokens
}

fn is_filter(name: &str) -> bool {
    !matches!(LANGUAGE.empty_state().apply_filter(name, &[]), Err(error) if error.kind() == ErrorKind::UnknownFilter)
}

fn is_test(name: &str) -> bool {
    !matches!(LANGUAGE.empty_state().perform_test(name, &[]), Err(error) if error.kind() == ErrorKind::UnknownTest)
}
