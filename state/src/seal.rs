//! The form of a line of the witness. Persisted: a change must leave old lines readable.
//!
//! ```text
//! record   {"seq":17,"event":"acted"}
//! line     {"seq":17,"event":"acted","line":17,"crc32":"5d41402a"}
//! ```
//!
//! A line is the record with two keys more: the number that the store gave it, and the CRC-32 of all that stands before
//! `,"crc32"`. So it is still JSON, a line that was changed, moved or lost is noticed, and whoever reads records passes over
//! the two keys. Lines of before have none; they stand only at the beginning of a file.

use crate::store::{is_object, is_text};

const NUMBER: &str = "\"line\":";
const CHECKSUM: &str = ",\"crc32\":\"";
const END: &str = "\"}";
/// The length of a CRC-32 in hexadecimal.
const DIGITS: usize = 8;

/// What a line is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A record, as it was written.
    Sealed {
        /// Its number.
        number: u64,
        /// The record.
        record: Vec<u8>,
    },
    /// What can be a record, with nothing that could prove it: a line of before.
    Plain(Vec<u8>),
    /// Text that is not what was written.
    Changed,
    /// No text. After a power loss a file may hold zeros where it was extended.
    Torn,
}

/// Returns the line of a record, without the line break.
pub(crate) fn seal(number: u64, record: &[u8]) -> Vec<u8> {
    let mut line = record.strip_suffix(b"}").unwrap_or(record).to_vec();
    if line != b"{" {
        line.push(b',');
    }
    line.extend_from_slice(format!("{NUMBER}{number}").as_bytes());
    let checksum = checksum_of(&line);
    line.extend_from_slice(format!("{CHECKSUM}{checksum}{END}").as_bytes());
    line
}

/// Reads a line, without its line break.
pub(crate) fn read(line: &[u8]) -> Line {
    if !is_text(line) {
        return Line::Torn;
    }
    match split(line) {
        Some((head, checksum)) if checksum_of(head).as_bytes() == checksum => unsealed(head).unwrap_or(Line::Changed),
        None if is_object(line) => Line::Plain(line.to_vec()),
        Some(_) | None => Line::Changed,
    }
}

/// Returns what stands before the checksum of a line, and the checksum, if there is one.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, checksum) = line.strip_suffix(END.as_bytes())?.split_last_chunk::<DIGITS>()?;
    Some((rest.strip_suffix(CHECKSUM.as_bytes())?, checksum))
}

fn checksum_of(head: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(head))
}

/// Takes the number from what stands before the checksum.
fn unsealed(head: &[u8]) -> Option<Line> {
    let digits = head.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, number) = head.split_at(head.len() - digits);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    let rest = rest.strip_suffix(NUMBER.as_bytes())?;
    let mut record = rest.strip_suffix(b",").unwrap_or(rest).to_vec();
    record.push(b'}');
    Some(Line::Sealed { number, record })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_line_does_not_change() {
        assert_eq!(seal(17, br#"{"a":1}"#), br#"{"a":1,"line":17,"crc32":"c2484046"}"#);
        assert_eq!(seal(1, b"{}"), br#"{"line":1,"crc32":"2905d65e"}"#);
    }

    #[test]
    fn a_record_comes_back_with_its_number() {
        for record in [&b"{}"[..], br#"{"a":1}"#, br#"{"line":3,"crc32":"00000000"}"#, "{\"ä\":\"}\"}".as_bytes()] {
            assert_eq!(read(&seal(7, record)), Line::Sealed { number: 7, record: record.to_vec() });
        }
    }

    #[test]
    fn every_flipped_bit_of_the_record_or_its_number_is_noticed() {
        let record = br#"{"seq":17,"event":"acted"}"#;
        let line = seal(17, record);
        for bit in 0..line.len() * 8 {
            let mut flipped = line.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Where the words around the checksum are hit, the line may pass for one of before; what stands in front of
            // it in the file tells.
            assert!(!matches!(read(&flipped), Line::Sealed { .. }), "bit {bit}: {}", String::from_utf8_lossy(&flipped));
        }
    }

    #[test]
    fn lines_of_before_are_plain_and_zeros_are_torn() {
        assert_eq!(read(br#"{"a":1}"#), Line::Plain(br#"{"a":1}"#.to_vec()));
        assert_eq!(read(b"{\"a\":"), Line::Changed);
        for line in [&b""[..], b"\0\0", b"{\"a\":\0}", b"{\xff}"] {
            assert_eq!(read(line), Line::Torn);
        }
    }
}
