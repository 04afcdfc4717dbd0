//! A store of opaque framed records: append and barrier, read, blobs, lock.
//!
//! The engine appends the records of a run and asks for a barrier before it acts on them; a record is durable once a
//! barrier that came after it has returned. The store knows nothing of what the records mean.

/// One record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its place in the order, from 1, without gaps.
    pub seq: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// A store of the records of one run. One process holds it at a time.
pub trait Store: Send + Sync {
    /// Appends a record and returns its sequence number. It is not durable yet.
    fn append(&self, payload: &[u8]) -> Result<u64, StoreError>;

    /// Returns once everything appended before the call is durable. Calls from several threads share one sync.
    fn barrier(&self) -> Result<(), StoreError>;

    /// Returns all records in order.
    fn read(&self) -> Result<Vec<Frame>, StoreError>;

    /// Stores bytes under the SHA-256 of their content, durably, and returns it in hexadecimal.
    fn put_blob(&self, bytes: &[u8]) -> Result<String, StoreError>;

    /// Returns the bytes of a digest, after comparing them with it.
    fn get_blob(&self, digest: &str) -> Result<Vec<u8>, StoreError>;
}

/// Says why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// To be built.
    #[error("not built yet")]
    Unbuilt,
}
