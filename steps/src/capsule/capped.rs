//! Output of which the beginning and the end are kept.

use tokio::io::{AsyncRead, AsyncReadExt};

/// How many bytes are kept of the beginning, and how many of the end. `host.sh` has the same number.
pub(crate) const CAP: usize = 512 * 1024;

/// Bytes of which the first and the last [`CAP`] are kept.
#[derive(Debug, Default)]
pub(crate) struct Capped {
    head: Vec<u8>,
    /// The newest bytes after the head: up to twice the cap, cut back when it is full.
    tail: Vec<u8>,
    dropped: bool,
}

impl Capped {
    /// Adds bytes at the end, and returns how many of them belong to the beginning.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let (head, rest) = bytes.split_at(bytes.len().min(CAP - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(rest);
        if self.tail.len() >= 2 * CAP {
            self.cut();
        }
        head.len()
    }

    /// Returns the beginning and the end as they are kept in files: one byte of the end more than the cap tells that bytes
    /// were dropped.
    pub(crate) fn into_files(mut self) -> (Vec<u8>, Vec<u8>) {
        let too_much = self.tail.len().saturating_sub(CAP + 1);
        self.tail.drain(..too_much);
        if self.dropped && self.tail.len() == CAP {
            self.tail.insert(0, 0);
        }
        (self.head, self.tail)
    }

    /// Returns what was kept in one piece, and whether its middle was dropped.
    pub(crate) fn into_bytes(mut self) -> (Vec<u8>, bool) {
        self.cut();
        self.head.extend_from_slice(&self.tail);
        (self.head, self.dropped)
    }

    /// Reads a stream to its end.
    pub(crate) async fn read(&mut self, mut from: impl AsyncRead + Unpin) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from.read(&mut buffer).await? {
                0 => return Ok(()),
                count => drop(self.push(&buffer[..count])),
            }
        }
    }

    fn cut(&mut self) {
        let too_much = self.tail.len().saturating_sub(CAP);
        if too_much > 0 {
            self.tail.drain(..too_much);
            self.dropped = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_first_and_the_last_bytes_are_kept(total in 0usize..4 * CAP, chunk in 1usize..200_000) {
            let all: Vec<u8> = (0..total).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut capped = Capped::default();
            for part in all.chunks(chunk) {
                capped.push(part);
                prop_assert!(capped.head.len() + capped.tail.len() <= 3 * CAP + chunk);
            }
            let (kept, dropped) = capped.into_bytes();
            prop_assert_eq!(dropped, total > 2 * CAP);
            let end = kept.len().min(CAP);
            prop_assert_eq!(&kept[..end], &all[..end]);
            prop_assert_eq!(&kept[end..], &all[total - (kept.len() - end)..]);
            prop_assert_eq!(kept.len(), total.min(2 * CAP));
        }
    }
}
