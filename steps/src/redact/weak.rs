//! Short values and common words: found only as tokens of their own.

use super::Hit;
use super::forms::decode;

/// The shortest run of base64 that is looked into, and the shortest value that is looked for there: less is chance.
const RUN: usize = 4;
const TELLING: usize = 3;

/// Finds a value as a token, as it is or somewhere in what a run of base64 holds.
pub(super) fn hits(text: &[u8], value: &[u8], secret: usize) -> Vec<Hit> {
    let plain = tokens(text, value).into_iter().map(|start| Hit { start, end: start + value.len(), secret });
    let encoded = runs(text).filter(|(start, end)| {
        value.len() >= TELLING
            && decode(&text[*start..*end]).is_some_and(|decoded| !tokens(decoded.as_bytes(), value).is_empty())
    });
    plain.chain(encoded.map(|(start, end)| Hit { start, end, secret })).collect()
}

/// Returns where a value stands as a token: what is beside it is no letter, digit or `_`, unless its own end is none.
fn tokens(text: &[u8], value: &[u8]) -> Vec<usize> {
    let is_word =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80);
    let stands_alone = |start: usize| {
        let before = start.checked_sub(1).and_then(|place| text.get(place));
        let after = text.get(start + value.len());
        !(is_word(value.first()) && is_word(before) || is_word(value.last()) && is_word(after))
    };
    let starts = text.windows(value.len().max(1)).enumerate().filter(|(_, window)| *window == value);
    starts.map(|(start, _)| start).filter(|start| stands_alone(*start)).collect()
}

/// Returns the runs of characters that may be base64, with their padding.
fn runs(text: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut place = 0;
    std::iter::from_fn(move || {
        while place < text.len() {
            let start = place;
            place += text[start..].iter().take_while(|byte| in_run(**byte)).count();
            let digits = place - start;
            place += text[place..].iter().take(2).take_while(|byte| **byte == b'=').count();
            if digits >= RUN {
                return Some((start, place));
            }
            place = place.max(start + 1);
        }
        None
    })
}

/// Says whether a byte may belong to a run of base64, padding aside.
pub(super) fn in_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}
