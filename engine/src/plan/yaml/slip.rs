//! Slips of the keyboard: the parser takes them for text, and stops only further down, where nothing is wrong.

/// A slip, and what is meant instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slip {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    pub cause: &'static str,
    pub help: &'static str,
}

/// Signs that look like the `-` of a list. Text processors put them there.
const DASHES: [char; 7] = ['‐', '‑', '–', '—', '−', '•', '·'];

/// Looks for a slip in the line where the parser stopped, and in the one above it.
pub(super) fn near(text: &str, line: usize) -> Option<Slip> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let is_empty = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let nearest = lines.iter().enumerate().rev().filter(|(_, line)| !is_empty(line)).take(2);
    nearest.into_iter().find_map(|(above, line)| {
        let (byte, cause, help) = in_line(line)?;
        Some(Slip { line: above + 1, column: line[..byte].chars().count() + 1, cause, help })
    })
}

/// Returns the byte at fault, why it is, and what to write instead.
fn in_line(line: &str) -> Option<(usize, &'static str, &'static str)> {
    let text = line.trim_start();
    let begin = line.len() - text.len();
    if text.starts_with(DASHES) {
        let help = "begin an element of a list with `- `: the `-` of the keyboard, and a space";
        return Some((begin, "this sign only looks like a `-`", help));
    }
    let after = text.strip_prefix('-').unwrap_or(text);
    if after.len() < text.len() && after.starts_with(|c: char| c.is_ascii_alphabetic()) && after.contains(": ") {
        return Some((begin, "a space is missing after this `-`", "write an element of a list as `- id: …`"));
    }
    let entry = after.trim_start();
    let colon = entry.find(':')?;
    let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && !key.is_empty();
    // Of `https://…` the colon is no slip.
    let is_glued = entry[colon + 1..].starts_with(|c: char| !c.is_whitespace() && c != '/');
    let at = line.len() - entry.len() + colon;
    (is_key(&entry[..colon]) && is_glued).then_some((at, "a space is missing after this `:`", "write `key: value`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_in_the_line_or_above_it() {
        let place = |text: &str, line: usize| near(text, line).map(|slip| (slip.line, slip.column));
        assert_eq!(place("  - id:a\n    needs: [b]", 2), Some((1, 7)));
        assert_eq!(place("  – id: a\n\n    # more\n    needs: [b]", 4), Some((1, 3)));
        assert_eq!(place("  -id: a\n    needs: [b]", 2), Some((1, 3)));
        assert_eq!(place("é:\n  needs:[b]\n", 2), Some((2, 8)));
    }

    #[test]
    fn what_is_meant_is_no_slip() {
        for text in ["- id: a", "- https://a", "---", "- -1: a", "# a:b", "a b:c", "- a", "key:", "- {a: b}", "x: a:b"]
        {
            assert_eq!(near(text, 1), None, "{text}");
        }
    }
}
