//! A reader of etcd snapshots: whether one is whole, and what is in it.
//!
//! `etcdctl snapshot status` does not look at the SHA-256 at the end of the file; this does, and walks all pages besides.
//! The facts are those that `etcdutl snapshot status` prints. Nothing is mapped into memory and nothing is trusted: every
//! offset is checked, every page is read once, and a snapshot of any size needs little memory.
//!
//! A snapshot is the file of a bbolt database with 32 bytes of SHA-256 behind it (etcd `server/etcdserver/api/v3rpc/
//! maintenance.go`). A copied `member/snap/db` file has no hash: its size is a multiple of 512.

mod bolt;
mod facts;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use bolt::Damage;

/// The length of the hash at the end.
const TRAILER: usize = 32;
/// The size of a bbolt file is a multiple of this.
const SECTOR: u64 = 512;

/// What is in a snapshot that was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFacts {
    /// SHA-256 of the whole file, in lower-case hexadecimal.
    pub sha256: String,
    /// The size of the whole file, in bytes.
    pub size: u64,
    /// Whether the file ends with a hash that was compared. Without one it is a copied database file, of which nobody can
    /// say whether it is whole.
    pub has_trailer: bool,
    /// CRC-32C over the names, keys and values of all buckets, as `snapshot status` prints it.
    pub hash: u32,
    /// The revision of the store.
    pub revision: i64,
    /// The number of records in all buckets, as `snapshot status` prints it: revisions, not keys.
    pub total_keys: u64,
    /// The size of the database, in bytes, as `snapshot status` prints it.
    pub total_size: u64,
    /// The number of keys that a client would see.
    pub live_keys: u64,
    /// The version of the cluster, `major.minor`, which a binary must not be older than. Unknown of a cluster that had just
    /// begun.
    pub version: Option<String>,
    /// The index of the last raft entry that is in it.
    pub consistent_index: u64,
    /// The names of the members that the cluster had.
    pub members: Vec<String>,
}

/// Says why a file is not a snapshot that can be relied on.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It could not be read.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// It was cut off: its size is impossible.
    #[error("it was cut off: {0} bytes are neither a database nor a database with its hash")]
    CutOff(u64),
    /// The hash at the end is not that of what comes before it.
    #[error("it is damaged: its SHA-256 is {computed}, and {stored} is written at its end")]
    WrongHash {
        /// What was computed.
        computed: String,
        /// What the file says.
        stored: String,
    },
    /// The database in it is damaged, or it is no database.
    #[error("it is damaged, or no etcd snapshot: {0}")]
    Damaged(#[from] Damage),
}

/// Reads a snapshot completely and returns what is in it, or why it cannot be relied on.
///
/// It blocks and takes about as long as `sha256sum`: call it from `spawn_blocking`.
pub fn verify(path: &Path) -> Result<SnapshotFacts, SnapshotError> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    let has_trailer = match size % SECTOR {
        0 if size > 0 => false,
        rest if rest == TRAILER as u64 && size > rest => true,
        _ => return Err(SnapshotError::CutOff(size)),
    };
    let body = if has_trailer { size - TRAILER as u64 } else { size };
    // The hash is read in the order of the file, the database in the order of its keys: side by side, on one cache.
    let (hashed, walked) = std::thread::scope(|scope| {
        let walk = scope.spawn(|| facts::collect(&file, body));
        let hashed = File::open(path).map_err(SnapshotError::from).and_then(|file| hash(file, body, has_trailer));
        (hashed, walk.join())
    });
    let sha256 = hashed?;
    let walked = walked.map_err(|_| Damage::new("the reader gave up on it"))??;
    Ok(SnapshotFacts { sha256, size, has_trailer, ..walked })
}

/// Returns the version of the cluster in a snapshot, `major.minor`, without reading all of it: nothing is said of whether it
/// is whole. `None`: it was taken before the cluster had agreed on one.
pub fn version(path: &Path) -> Result<Option<String>, SnapshotError> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    facts::version(&file, size - size % SECTOR)
}

/// Opens a regular file. To open anything else could wait for ever, as a pipe does for who writes to it.
fn open(path: &Path) -> Result<File, SnapshotError> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file").into());
    }
    Ok(File::open(path)?)
}

/// Compares the hash at the end, if there is one, and returns the hash of the whole file.
fn hash(mut file: File, body: u64, has_trailer: bool) -> Result<String, SnapshotError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut left = body;
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = file.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(SnapshotError::CutOff(body - left));
        }
        hasher.update(&buffer[..got]);
        left -= got as u64;
    }
    if has_trailer {
        let computed = hasher.clone().finalize();
        let mut stored = [0; TRAILER];
        file.read_exact(&mut stored)?;
        if computed.as_slice() != stored {
            return Err(SnapshotError::WrongHash { computed: hex::encode(computed), stored: hex::encode(stored) });
        }
        hasher.update(stored);
    }
    Ok(hex::encode(hasher.finalize()))
}
