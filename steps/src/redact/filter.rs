//! A stream of bytes without its secrets, however it is cut into chunks.

use std::sync::Arc;

use super::weak::in_run;
use super::{Given, Hit, Redactor, groups, marks};

/// The longest token that is waited for, for the sake of a short secret in it.
const TOKEN: usize = 4096;

/// Takes secrets out of a stream.
///
/// It gives each byte as soon as it cannot be a part of a secret any more; what it holds back is at most about twice as long
/// as the longest form of a secret. Marks may come out in pieces.
pub struct Filter {
    redactor: Arc<Redactor>,
    given: Given,
    /// What is held back.
    held: Vec<u8>,
    /// How many bytes of it belong to a mark that was given already.
    marked: usize,
}

impl Filter {
    /// Begins a stream that comes from where these secrets were given.
    #[must_use]
    pub fn new(redactor: Arc<Redactor>, given: Given) -> Self {
        Self { redactor, given, held: Vec::new(), marked: 0 }
    }

    /// Takes what came, and returns what can be shown now.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let mut safe = self.held.len() - self.open_end();
        let groups = self.groups();
        if let Some(across) = groups.iter().find(|group| group.start < safe && safe < group.end) {
            // A form that overlaps its own next occurrence could go on without end: then its mark is given now.
            let too_long = safe - across.start > 2 * self.redactor.longest;
            safe = if too_long { safe } else { across.start };
        }
        self.give(&groups, safe)
    }

    /// Ends the stream, and returns what was held back. What is pushed later begins another.
    pub fn finish(&mut self) -> Vec<u8> {
        let groups = self.groups();
        self.give(&groups, self.held.len())
    }

    /// Returns how many bytes are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns how many bytes at the end have to wait for what follows them.
    fn open_end(&self) -> usize {
        // The beginning of a character that is replaced.
        let reserved = match self.held.as_slice() {
            [.., 0xEE, 0x80] => 2,
            [.., 0xEE] => 1,
            _ => 0,
        };
        let weak = self.redactor.weak(&self.given).map(|(_, value)| {
            // What is beside a token tells whether it is one; and a run of base64 is looked into as a whole.
            let token = self.held.iter().rev().take(TOKEN).take_while(|byte| in_run(**byte) || **byte == b'=').count();
            let begun = (1..=value.len()).rev().find(|length| self.held.ends_with(&value[..*length]));
            token.max(begun.unwrap_or(0))
        });
        self.redactor.open_end(&self.held).max(reserved).max(weak.max().unwrap_or(0))
    }

    /// Finds what tells a secret in what is held back; what is marked already counts.
    fn groups(&self) -> Vec<Hit> {
        let mut hits = self.redactor.hits(&self.held, &self.given);
        if self.marked > 0 {
            hits.insert(0, Hit { start: 0, end: self.marked, secret: 0 });
        }
        groups(&hits)
    }

    /// Gives what is held back up to a place.
    fn give(&mut self, groups: &[Hit], safe: usize) -> Vec<u8> {
        if safe == 0 {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(safe);
        let mut done = 0;
        let mut marked = 0;
        for group in groups.iter().take_while(|group| group.start < safe) {
            out.extend(own(&self.held[done..group.start]));
            if group.start > 0 || self.marked == 0 {
                out.extend(self.redactor.mark(&self.held[group.start..group.end], group.secret).into_bytes());
            }
            done = group.end.min(safe);
            marked = group.end.saturating_sub(safe);
        }
        out.extend(own(&self.held[done..safe]));
        self.held.drain(..safe);
        self.marked = marked;
        out
    }
}

/// Replaces the characters that marks are made of.
fn own(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        if let [0xEE, 0x80, 0x80..=0x83, behind @ ..] = rest {
            out.extend_from_slice(marks::FOREIGN.as_bytes());
            rest = behind;
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}
