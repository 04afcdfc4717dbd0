//! The way back from the text of a scalar to the file: where in the YAML do these words stand?
//!
//! What is read from a scalar is not what stands in the file: indentation is left out, lines are folded, escapes are undone.
//! But each character that can be seen stands there once, and in the same order. So words are found by counting: as many
//! characters can be seen before them in the file as in the text that was read.

/// Words of a scalar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Words {
    /// How many characters can be seen before them.
    before: usize,
    /// What can be seen of them.
    seen: Box<str>,
}

impl Words {
    /// Takes a part of a text. `None` where nothing of it can be seen, or where the text has no such part.
    pub fn of(text: &str, part: std::ops::Range<usize>) -> Option<Self> {
        let seen: Box<str> = text.get(part.clone())?.chars().filter(|c| !c.is_whitespace()).collect();
        let before = text.get(..part.start)?.chars().filter(|c| !c.is_whitespace()).count();
        (!seen.is_empty()).then_some(Self { before, seen })
    }

    /// Finds them in the YAML that begins with their scalar: from which byte to which. `None` where something else stands
    /// there, as it does where an alias is used.
    pub fn find(&self, yaml: &str) -> Option<(usize, usize)> {
        self.find_in(Seen::of(yaml))
    }

    /// Finds them in a text that is no YAML.
    pub fn find_bare(&self, text: &str) -> Option<(usize, usize)> {
        self.find_in(Seen { yaml: text, at: 0, style: Style::Bare })
    }

    fn find_in(&self, seen: Seen<'_>) -> Option<(usize, usize)> {
        let mut there = seen.skip(self.before);
        let mut found: Option<(usize, usize)> = None;
        for expected in self.seen.chars() {
            let (start, end, character) = there.next()?;
            if character != expected {
                return None;
            }
            found = Some((found.map_or(start, |(start, _)| start), end));
        }
        found
    }
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As it is: plain, and the lines of a block.
    Bare,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
}

/// The characters of a scalar that can be seen, each with the bytes that it takes in the file.
struct Seen<'a> {
    yaml: &'a str,
    at: usize,
    style: Style,
}

impl<'a> Seen<'a> {
    fn of(yaml: &'a str) -> Self {
        let (style, at) = match yaml.chars().next() {
            Some('"') => (Style::Double, 1),
            Some('\'') => (Style::Single, 1),
            // The text of a block begins in the line after its mark.
            Some('|' | '>') => (Style::Bare, yaml.find(['\n', '\r']).unwrap_or(yaml.len())),
            Some(_) | None => (Style::Bare, 0),
        };
        Self { yaml, at, style }
    }

    /// Reads what a backslash stands for, and how long the rest of it is.
    fn escaped(rest: &str) -> Option<(char, usize)> {
        let name = rest.chars().next()?;
        let digits = match name {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let code = u32::from_str_radix(rest.get(1..=digits)?, 16).ok()?;
            return Some((char::from_u32(code)?, 1 + digits));
        }
        let stands_for = match name {
            '0' => '\0',
            'a' => '\x07',
            'b' => '\x08',
            'e' => '\x1b',
            // What the others stand for cannot be seen, or they stand for themselves.
            't' | 'n' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P' => ' ',
            other => other,
        };
        Some((stands_for, name.len_utf8()))
    }
}

impl Iterator for Seen<'_> {
    type Item = (usize, usize, char);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            let rest = &self.yaml[start..];
            let written = rest.chars().next()?;
            let (stands_for, length) = match (self.style, written) {
                (Style::Double, '\\') => {
                    let (stands_for, length) = Self::escaped(&rest[1..])?;
                    (stands_for, 1 + length)
                }
                (Style::Single, '\'') if rest[1..].starts_with('\'') => ('\'', 2),
                (Style::Double, '"') | (Style::Single, '\'') => return None,
                (Style::Bare | Style::Single | Style::Double, _) => (written, written.len_utf8()),
            };
            self.at = start + length;
            if !stands_for.is_whitespace() {
                return Some((start, self.at, stands_for));
            }
        }
    }
}

/// The lines of a text, as YAML ends them.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines. A byte order mark at the beginning belongs to none.
    pub fn of(text: &'a str) -> Self {
        let first = if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 };
        let bytes = text.as_bytes();
        let ends = (first..bytes.len())
            .filter(|at| bytes[*at] == b'\n' || (bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n')));
        Self { text, starts: std::iter::once(first).chain(ends.map(|end| end + 1)).collect() }
    }

    /// Returns the byte at which a place begins, line and column counted from 1. A place beyond the text is put at its end,
    /// one beyond its line at the end of that.
    pub fn byte(&self, line: u32, column: u32) -> usize {
        let number = line.saturating_sub(1) as usize;
        let Some(start) = self.starts.get(number).copied() else { return self.text.len() };
        let line = self.line_from(start);
        let before = column.saturating_sub(1) as usize;
        start + line.char_indices().nth(before).map_or(line.len(), |(offset, _)| offset)
    }

    /// Returns the line and the column of a byte, counted from 1.
    pub fn place(&self, byte: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        let column = self.text.get(self.starts[line - 1]..byte).map_or(0, |before| before.chars().count());
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (number(line), number(column + 1))
    }

    /// Returns the text from a byte on.
    pub fn from(&self, byte: usize) -> &'a str {
        self.text.get(byte..).unwrap_or_default()
    }

    /// Returns the rest of the line from a byte on.
    pub fn line_from(&self, byte: usize) -> &'a str {
        self.from(byte).split(['\n', '\r']).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Finds words that stand once in a text where they stand in its YAML.
    fn found<'a>(text: &str, words: &str, yaml: &'a str) -> Option<&'a str> {
        let start = text.rfind(words).unwrap();
        let (start, end) = Words::of(text, start..start + words.len()).unwrap().find(yaml)?;
        Some(&yaml[start..end])
    }

    #[test]
    fn words_are_found_in_every_style() {
        assert_eq!(found("a b", "b", "a\n    b"), Some("b"));
        assert_eq!(found("it's b", "b", "'it''s\n  b'"), Some("b"));
        assert_eq!(found("é \"b\" c", "\"b\"", "\"\\u00e9 \\\n  \\\"b\\\" c\""), Some("\\\"b\\\""));
        assert_eq!(found("x\n  b b2\n", "b2", "| # b2\n    x\n      b b2\n"), Some("b2"));
        assert_eq!(found("one b\n", "b", ">-\r\n  one\r\n  b\r\n"), Some("b"));
    }

    #[test]
    fn the_words_that_are_meant_are_found_where_they_stand_more_than_once() {
        let text = "{{ x }} {{ x }}";
        let words = Words::of(text, 11..12).unwrap();
        assert_eq!(words.find("\"{{ x }} {{ x }}\""), Some((12, 13)));
    }

    #[test]
    fn where_something_else_stands_nothing_is_found() {
        assert_eq!(found("a b", "b", "*alias"), None);
        assert_eq!(found("a b", "b", "'a' b"), None);
        assert_eq!(Words::of("a b", 1..2), None);
        assert_eq!(Words::of("é", 1..2), None);
    }

    #[test]
    fn lines_end_as_yaml_ends_them() {
        let lines = Lines::of("\u{FEFF}aé\r\nb\rc\n");
        assert_eq!(lines.byte(1, 3), 6);
        assert_eq!([lines.place(3), lines.place(6), lines.place(8), lines.place(10)], [(1, 1), (1, 3), (2, 1), (3, 1)]);
        assert_eq!((lines.byte(9, 1), lines.byte(2, 9)), (12, 9));
        assert_eq!(lines.line_from(lines.byte(3, 1)), "c");
    }

    proptest! {
        #[test]
        fn words_are_found_in_what_a_yaml_writer_makes_of_a_text(text in "[ -~é\n]{1,60}", at in 0_usize..60, length in 1_usize..9) {
            let yaml = serde_yaml::to_string(&text).unwrap();
            let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).chain([text.len()]).collect();
            let part = starts[at.min(starts.len() - 1)]..starts[(at + length).min(starts.len() - 1)];
            let Some(words) = Words::of(&text, part) else { return Ok(()) };
            let (start, end) = words.find(&yaml).unwrap();
            let read: String = Seen { yaml: &yaml[..end], at: start, style: Seen::of(&yaml).style }.map(|(_, _, c)| c).collect();
            prop_assert_eq!(read, words.seen.into_string());
        }
    }
}
