//! Text in drawings: without what could play tricks on a reader, and broken into lines.

use console::measure_text_width;

/// Makes one line of a text, without control characters and without those that turn the direction of reading.
pub(super) fn clean(text: &str) -> String {
    let plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{E000}'..='\u{F8FF}')
    };
    let spaced: String = text.chars().map(|c| if plain(c) { c } else { ' ' }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Breaks a clean text into lines of at most so many columns, between words where it can.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let wide = width(word);
        if used > 0 && used + 1 + wide > columns {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        if wide <= columns {
            line.push_str(word);
            used += wide;
            continue;
        }
        for c in word.chars() {
            let wide = width(c.encode_utf8(&mut [0; 4]));
            if used + wide > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += wide;
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Keeps so many lines, and shows where something is left out.
pub(super) fn shorten(mut lines: Vec<String>, most: usize) -> Vec<String> {
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.push('…');
        }
    }
    lines
}

/// Returns how many columns a clean text takes.
pub(super) fn width(text: &str) -> usize {
    measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole_where_they_fit() {
        assert_eq!(wrap("stop etcd on every host", 10), ["stop etcd", "on every", "host"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", 10), [""; 0]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(wrap("停止停止", 4), ["停止", "停止"]);
    }

    #[test]
    fn what_is_left_out_is_marked() {
        assert_eq!(shorten(wrap("a b c d", 1), 2), ["a", "b…"]);
        assert_eq!(shorten(wrap("a b", 1), 2), ["a", "b"]);
    }

    #[test]
    fn nothing_in_a_title_moves_the_cursor_or_turns_the_line() {
        assert_eq!(clean("a\u{1b}[31m\tb\r\n\u{202E}c \u{0}é"), "a [31m b c é");
    }
}
