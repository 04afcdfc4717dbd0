//! The marks that stand for a secret in every text that is kept: its name between two characters that no plan needs.
//!
//! A *stand-in* is put in place of the value itself, and the value can be put back where a kind is made. A *trace* is put in
//! place of what tells the value in another form (base64, one line of a key): what it was is not kept.

use std::borrow::Cow;

/// Begins a mark: a character of the Unicode private use area.
pub const OPEN: char = '\u{E000}';
/// Ends a mark.
pub const CLOSE: char = '\u{E001}';
/// Begins the name of a trace; no name of a secret begins with it.
const TRACE: char = '~';

/// What stands in the place of those characters where text from outside has them: it could be taken for a mark.
pub(super) const FOREIGN: &str = "\u{FFFD}";
/// The characters that text from outside must not bring in: those of marks, and those of the holes of a plan.
pub(super) const RESERVED: [char; 4] = [OPEN, CLOSE, '\u{E002}', '\u{E003}'];

/// Returns what stands for the value of a secret, and can be turned back into it.
#[must_use]
pub fn stand_in(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// Returns what stands for another form of a secret, or a part of it, and cannot be turned back.
#[must_use]
pub fn trace(name: &str) -> String {
    format!("{OPEN}{TRACE}{name}{CLOSE}")
}

/// Returns the name of the secret of which the text between the two characters of a mark is a trace.
#[must_use]
pub fn traced(inside: &str) -> Option<&str> {
    inside.strip_prefix(TRACE)
}

/// Writes marks so that a person can read them.
#[must_use]
pub fn readable(text: &str) -> Cow<'_, str> {
    if !text.contains([OPEN, CLOSE]) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(OPEN);
    let mut out = parts.next().unwrap_or_default().replace(CLOSE, "›");
    for part in parts {
        let (words, inside) = match traced(part) {
            Some(name) => ("‹a form of secret ", name),
            None => ("‹secret ", part),
        };
        out.push_str(words);
        out.push_str(&inside.replace(CLOSE, "›"));
    }
    Cow::Owned(out)
}
