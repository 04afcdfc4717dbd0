//! What minijinja says about a template, in the words of those who write plans.

use std::ops::Range;

use minijinja::{Error, ErrorKind};

use super::{BadTemplate, Sort, spelling};

/// Says what is wrong with a template or a bare expression.
pub(super) fn explain(error: &Error, text: &str, is_expression: bool) -> BadTemplate {
    let at = part_of(error, text);
    let part = at.clone().and_then(|at| text.get(at)).unwrap_or_default();
    let bad = match error.kind() {
        ErrorKind::SyntaxError => syntax(error.detail().unwrap_or_default(), part, text, is_expression),
        ErrorKind::UndefinedError if part.is_empty() => {
            BadTemplate::new(Sort::Undefined, "a part of the value is not defined")
        }
        ErrorKind::UndefinedError => BadTemplate::new(Sort::Undefined, format!("`{part}` is not defined")),
        ErrorKind::OutOfFuel => BadTemplate::new(Sort::Endless, "the template does not come to an end")
            .cause(format!("it was stopped after {} steps", super::FUEL))
            .help("loop over fewer values, or let a command compute it"),
        ErrorKind::MissingArgument => BadTemplate::new(Sort::Failed, format!("`{part}` needs another argument")),
        ErrorKind::TooManyArguments => BadTemplate::new(Sort::Failed, format!("`{part}` has an argument too many")),
        ErrorKind::UnknownMethod => unknown_method(error.detail().unwrap_or_default()),
        _ => failed(error.detail()),
    };
    let bad = match std::error::Error::source(error) {
        Some(source) => BadTemplate { message: format!("{}: {source}", bad.message), ..bad },
        None => bad,
    };
    match (&bad.at, at) {
        (None, Some(at)) if !part.is_empty() => bad.at(at),
        (None | Some(_), _) => bad,
    }
}

/// The part of the text that an error is about, without the space and the dot around it.
fn part_of(error: &Error, text: &str) -> Option<Range<usize>> {
    let range = error.range()?;
    let part = text.get(range.clone())?;
    let kept = part.trim_start_matches(|c: char| c == '.' || c.is_whitespace());
    let start = range.start + part.len() - kept.len();
    let kept = kept.trim_end();
    if !kept.is_empty() {
        return Some(start..start + kept.len());
    }
    // Nothing but a dot is left where a name is missing after it.
    let dot = part.trim();
    (!dot.is_empty()).then(|| range.start + part.find('.').unwrap_or_default()).map(|start| start..start + dot.len())
}

fn syntax(detail: &str, part: &str, text: &str, is_expression: bool) -> BadTemplate {
    let bad = |message: String| BadTemplate::new(Sort::Syntax, message);
    if !is_expression && let Some(open) = spelling::unclosed(text) {
        if let Some(quote) = spelling::unclosed_quote(text, open.end) {
            return bad("a text in quotes is not closed".to_owned()).at(quote);
        }
        let (mark, close) = match &text[open.clone()] {
            "{{" => ("{{", "}}"),
            "{%" => ("{%", "%}"),
            _ => ("{#", "#}"),
        };
        return bad(format!("`{mark}` is not closed")).help(format!("write `{close}` where it ends")).at(open);
    }
    if let Some((found, expected)) = detail.strip_prefix("unexpected ").and_then(|rest| rest.split_once(", expected "))
    {
        return unexpected(found, expected, part, text, is_expression);
    }
    if let Some(word) = detail.strip_prefix("unknown statement ") {
        return unknown_statement(word);
    }
    match detail {
        "unexpected input after expression" => {
            bad(format!("`{part}` does not belong here")).cause("the expression ends before it")
        }
        "unexpected character" => bad(format!("`{part}` means nothing in an expression")),
        "unexpected end of string" => bad("a text in quotes is not closed".to_owned()),
        detail => match detail.strip_prefix("unexpected `") {
            Some(sign) => bad(format!("`{sign} stands where a value should be")),
            None => bad("the template is malformed".to_owned()).cause(detail),
        },
    }
}

fn unexpected(found: &str, expected: &str, part: &str, text: &str, is_expression: bool) -> BadTemplate {
    let bad = |message: String| BadTemplate::new(Sort::Syntax, message);
    let wanted = match expected {
        "identifier" | "identifier or integer" => "a name",
        "expression" => "a value",
        "end of variable block" => "`}}`",
        "end of block" => "`%}`",
        "block keyword" | "keyword" | "statement" => "a statement such as `if`",
        "comma" => "`,`",
        "assignment operator" => "`=`",
        "in" => "`in`",
        sign => sign,
    };
    if found == "end of input" {
        let open = if is_expression { None } else { spelling::open_statement(text) };
        if let (Some((word, range)), "end of block" | "keyword") = (open, expected) {
            return bad(format!("`{word}` is not closed"))
                .help(format!("write `{{% end{word} %}}` where it ends"))
                .at(range);
        }
        return match part {
            "" => bad(format!("{wanted} is missing at the end")),
            part => bad(format!("{wanted} is missing after `{part}`")),
        };
    }
    let found = match found {
        "end of variable block" => "`}}`".to_owned(),
        "end of block" => "`%}`".to_owned(),
        "start of variable block" => "`{{`".to_owned(),
        "start of block" => "`{%`".to_owned(),
        found if part.is_empty() => found.to_owned(),
        _ => format!("`{part}`"),
    };
    if ["end of variable block", "end of block"].contains(&expected) {
        return bad(format!("{found} does not belong here")).cause("the expression ends before it");
    }
    bad(format!("{found} stands where {wanted} should be"))
}

fn unknown_statement(word: &str) -> BadTemplate {
    const STATEMENTS: [&str; 10] = ["if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith"];
    if STATEMENTS.contains(&word) {
        let bad = BadTemplate::new(Sort::Syntax, format!("`{word}` belongs to nothing that is open here"));
        return bad.help("is what it ends or continues closed already?");
    }
    let bad = BadTemplate::new(Sort::Syntax, format!("there is no statement `{word}`"));
    match crate::plan::diagnostic::nearest(word, STATEMENTS) {
        Some(near) => bad.help(format!("did you mean `{near}`?")),
        None => bad.help("there are `if`, `for`, `set` and `with`; a value is printed with `{{ … }}`"),
    }
}

/// Says what could not be done with a value.
fn failed(detail: Option<&str>) -> BadTemplate {
    let bad = |message: String| BadTemplate::new(Sort::Failed, message);
    let Some(detail) = detail else { return bad("the template cannot be rendered".to_owned()) };
    if let Some((operator, types)) =
        detail.strip_prefix("tried to use ").and_then(|rest| rest.split_once(" operator on unsupported types "))
        && let Some((one, other)) = types.split_once(" and ")
    {
        let bad = bad(format!("`{operator}` does not go with {} and {}", sort(one), sort(other)));
        return if operator == "+" { bad.help("`~` joins texts: \"{{ 'a' ~ 1 }}\"") } else { bad };
    }
    if let Some(kind) = detail.strip_suffix(" is not iterable") {
        return bad(format!("a list is needed here, and this is {}", sort(kind)));
    }
    if let Some(kind) = detail.strip_prefix("cannot calculate length of value of type ") {
        return bad(format!("{} has no length", sort(kind)));
    }
    if let Some(kind) = detail.strip_prefix("value of type ").and_then(|rest| rest.strip_suffix(" is not callable")) {
        return bad(format!("{} cannot be called", sort(kind)));
    }
    if let Some((kind, number)) = detail.strip_prefix("cannot convert ").and_then(|rest| rest.split_once(" to ")) {
        return bad(format!("{} cannot be made into {}", sort(kind), sort(number)));
    }
    match detail {
        "cannot perform a containment check on this value" => bad("`in` needs a list, a map or a text".to_owned()),
        "recursion limit exceeded" => bad("the template calls itself too often".to_owned()),
        detail => bad(detail.to_owned()),
    }
}

fn unknown_method(detail: &str) -> BadTemplate {
    let message = match detail.split_once(" has no method named ") {
        Some((kind, name)) => format!("{} has no function `{name}`", sort(kind)),
        None => "there is no such function".to_owned(),
    };
    BadTemplate::new(Sort::Failed, message).help("filters are written with a bar: \"{{ inputs.name | upper }}\"")
}

/// Names the sort of a value as the other messages do.
pub(super) fn sort(kind: &str) -> &str {
    match kind {
        "string" => "text",
        "number" => "a number",
        "integer" => "a whole number",
        "float" => "a decimal number",
        "bool" => "a boolean",
        "sequence" | "iterator" | "iterable" => "a list",
        "map" => "a map",
        "none" => "nothing",
        "undefined" => "something that is not defined",
        other => other,
    }
}
