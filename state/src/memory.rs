//! A store in memory, for simulated runs and for tests. It passes the same conformance suite as the one on disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::blob::digest_of;
use crate::store::check_record;
use crate::{Frame, Store, StoreError};

/// A store in memory. Clones share the content, so that a run can be "opened again".
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    frames: Vec<Frame>,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl MemoryStore {
    fn content(&self) -> MutexGuard<'_, Content> {
        // Every change is a single push or insert, so a thread that panicked left nothing half done.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn append(&self, payload: &[u8]) -> Result<u64, StoreError> {
        check_record(payload)?;
        let mut content = self.content();
        let seq = content.frames.last().map_or(0, |frame| frame.seq) + 1;
        content.frames.push(Frame { seq, payload: payload.to_vec() });
        Ok(seq)
    }

    fn barrier(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn read(&self) -> Result<Vec<Frame>, StoreError> {
        Ok(self.content().frames.clone())
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<String, StoreError> {
        let digest = digest_of(bytes);
        self.content().blobs.insert(digest.clone(), bytes.to_vec());
        Ok(digest)
    }

    fn get_blob(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        self.content().blobs.get(digest).cloned().ok_or_else(|| StoreError::NoSuchBlob { digest: digest.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_memory_conforms() {
        crate::conformance::run(|| {
            let store = MemoryStore::default();
            move || Arc::new(store.clone()) as Arc<dyn Store>
        });
    }
}
