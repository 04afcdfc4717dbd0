//! The contract of a store: what an append, a barrier and a blob mean.

use crate::StoreError;

/// The largest record in bytes. What may be larger (the output of a command, a plan) belongs into a blob.
pub const MAX_RECORD: usize = 16 * 1024 * 1024;

/// One record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its place in the order, from 1, without gaps.
    pub seq: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// A store of the records of one run. One process holds it at a time.
///
/// After an error of [`append`](Store::append) or [`barrier`](Store::barrier) that is not about the record itself
/// (too large, not a line), the store stays stopped and gives the same error again: after a failed sync the kernel may
/// have dropped what was not written, so only opening the store again tells what is there.
pub trait Store: Send + Sync {
    /// Appends a record, one JSON object on one line of at most [`MAX_RECORD`] bytes, and returns its sequence number.
    /// It is not durable yet. Of the JSON only the braces are looked at.
    fn append(&self, payload: &[u8]) -> Result<u64, StoreError>;

    /// Returns once everything appended before the call is durable. Calls from several threads share one sync.
    fn barrier(&self) -> Result<(), StoreError>;

    /// Returns all records in order, those included that are not durable yet.
    fn read(&self) -> Result<Vec<Frame>, StoreError>;

    /// Stores bytes under the SHA-256 of their content, durably, and returns it in hexadecimal.
    fn put_blob(&self, bytes: &[u8]) -> Result<String, StoreError>;

    /// Returns the bytes of a digest, after comparing them with it.
    fn get_blob(&self, digest: &str) -> Result<Vec<u8>, StoreError>;
}

/// Refuses what cannot be a record. Every store applies it, so that a simulated run refuses what a real one would.
pub(crate) fn check_record(payload: &[u8]) -> Result<(), StoreError> {
    if payload.len() > MAX_RECORD {
        return Err(StoreError::TooLarge { size: payload.len(), limit: MAX_RECORD });
    }
    let why = if payload.iter().any(u8::is_ascii_control) {
        "it holds a line break or another control character"
    } else if !is_text(payload) {
        "it is empty or not UTF-8"
    } else if !is_object(payload) {
        "it does not stand in braces"
    } else {
        return Ok(());
    };
    Err(StoreError::NotALine { why })
}

/// Says whether bytes are a line of text.
pub(crate) fn is_text(line: &[u8]) -> bool {
    !line.is_empty() && !line.iter().any(u8::is_ascii_control) && std::str::from_utf8(line).is_ok()
}

/// Says whether a line stands in braces, as every JSON object does.
pub(crate) fn is_object(line: &[u8]) -> bool {
    line.len() > 1 && line.starts_with(b"{") && line.ends_with(b"}")
}
