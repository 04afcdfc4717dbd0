//! A store of opaque framed records: append and barrier, read, blobs, lock.
//!
//! The engine appends the records of a run and asks for a barrier before it acts on them; a record is durable once a
//! barrier that came after it has returned. The store knows nothing of what the records mean, except that each is a JSON
//! object on one line, so that the witness beside the store (`events.jsonl`) can be read line by line.
//!
//! | module | holds |
//! | --- | --- |
//! | [`store`] | the trait [`Store`] and the record as it is read back, [`Frame`] |
//! | [`error`] | why a store could not do it, [`StoreError`] |
//! | [`sled_store`] | [`SledStore`], on disk |
//! | [`memory`] | [`MemoryStore`], for simulations and tests |
//! | [`blob`] | content-addressed files for what is large |
//! | [`witness`] | `events.jsonl`, for readers without the lock and as evidence against a silent loss |
//! | [`salvage`] | what can still be had of a run whose store or witness is damaged, and a new store made of it |
//! | [`lock`] | [`FileLock`]: one holder, who can be named |
//! | [`layout`] | where these lie in the directory of a run |
//! | [`conformance`] | what every store must pass |

pub mod blob;
mod commit;
pub mod conformance;
pub mod error;
mod frame;
pub mod layout;
pub mod lock;
mod mark;
pub mod memory;
mod quiet;
pub mod salvage;
mod seal;
pub mod sled_store;
mod spare;
pub mod store;
pub mod witness;

pub use error::StoreError;
pub use lock::{ClusterLock, FileLock, Holder};
pub use memory::MemoryStore;
pub use sled_store::SledStore;
pub use store::{Frame, Store};
