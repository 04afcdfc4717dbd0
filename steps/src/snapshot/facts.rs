//! What etcd keeps in its buckets.
//!
//! The bucket `key` holds one record per change: the key is the revision (`main` as 8 bytes, `_`, `sub` as 8 bytes, and `t`
//! for a deletion), the value a protobuf `mvccpb.KeyValue`. See etcd `server/mvcc` and `server/storage/schema`.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::bolt::{Bucket, Damage, Database, Entry, Stop};
use super::{SnapshotError, SnapshotFacts};

/// The length of a revision, without the mark of a deletion.
const REVISION: usize = 17;

impl From<Stop> for SnapshotError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Io(error) => Self::Io(error),
            Stop::Damage(damage) => Self::Damaged(damage),
        }
    }
}

/// Reads all buckets of a database of `length` bytes.
pub(super) fn collect(file: &File, length: u64) -> Result<SnapshotFacts, SnapshotError> {
    let mut database = Database::open(file, length)?;
    let buckets = buckets(&mut database)?;
    let mut contents = Contents::default();
    for (name, bucket) in &buckets {
        contents.hash = crc32c::crc32c_append(contents.hash, name);
        database.walk(bucket, &mut |entry| contents.add(name, &entry).map_err(Stop::from))?;
    }
    if !buckets.iter().any(|(name, _)| name == b"key") {
        return Err(Damage::new("it has no bucket `key`: it is the database of something else").into());
    }
    Ok(contents.facts(database.size()))
}

/// Reads only the buckets that say which version of etcd wrote a database.
pub(super) fn version(file: &File, length: u64) -> Result<Option<String>, SnapshotError> {
    let mut database = Database::open(file, length)?;
    let mut contents = Contents::default();
    for (name, bucket) in buckets(&mut database)? {
        if matches!(name.as_slice(), b"cluster" | b"meta") {
            database.walk(&bucket, &mut |entry| contents.add(&name, &entry).map_err(Stop::from))?;
        }
    }
    Ok(contents.facts(0).version)
}

/// Returns the names and places of all buckets.
fn buckets(database: &mut Database<'_>) -> Result<Vec<(Vec<u8>, Bucket)>, Stop> {
    let mut buckets = Vec::new();
    let root = database.root();
    database.walk(&root, &mut |entry| {
        match entry {
            Entry::Bucket(name, bucket) => buckets.push((name.to_vec(), bucket)),
            Entry::Pair(key, _) => {
                let key = String::from_utf8_lossy(key).into_owned();
                return Err(Damage::new(format!("`{key}` stands outside all buckets")).into());
            }
        }
        Ok(())
    })?;
    Ok(buckets)
}

/// What was gathered so far.
#[derive(Default)]
struct Contents {
    hash: u32,
    total: u64,
    revision: i64,
    live: Live,
    cluster_version: Option<String>,
    storage_version: Option<String>,
    consistent_index: u64,
    members: Vec<String>,
}

impl Contents {
    fn add(&mut self, bucket: &[u8], entry: &Entry<'_>) -> Result<(), Damage> {
        // As in bbolt, a bucket in a bucket has a name and no value.
        let (key, value) = match entry {
            Entry::Pair(key, value) => (*key, *value),
            Entry::Bucket(name, _) => (*name, [].as_slice()),
        };
        self.hash = crc32c::crc32c_append(crc32c::crc32c_append(self.hash, key), value);
        self.total += 1;
        match (bucket, key) {
            (b"key", _) => self.add_record(key, value)?,
            (b"cluster", b"clusterVersion") => self.cluster_version = Some(text(value)),
            (b"meta", b"storageVersion") => self.storage_version = Some(text(value)),
            (b"meta", b"consistent_index") => {
                self.consistent_index = value.try_into().map_or(0, u64::from_be_bytes);
            }
            (b"members", _) => self.members.extend(member_name(value)),
            _ => {}
        }
        Ok(())
    }

    fn add_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Damage> {
        let main = key.first_chunk::<8>().filter(|_| key.len() >= REVISION);
        let Some(main) = main else {
            return Err(Damage::new("the bucket `key` holds something that is no revision"));
        };
        self.revision = i64::from_be_bytes(*main);
        // An empty record is the mark that `--bump-revision` leaves; clients do not see it.
        if !value.is_empty() {
            let name = field(value, 1).ok_or_else(|| Damage::new("a record in the bucket `key` names no key"))?;
            self.live.set(name, key.get(REVISION) != Some(&b't'));
        }
        Ok(())
    }

    fn facts(self, total_size: u64) -> SnapshotFacts {
        SnapshotFacts {
            sha256: String::new(),
            size: 0,
            has_trailer: false,
            hash: self.hash,
            revision: self.revision,
            total_keys: self.total,
            total_size,
            live_keys: self.live.0.len() as u64,
            // The storage version is what etcd 3.6 goes by. Before it, only the cluster's version is there.
            version: self.storage_version.or(self.cluster_version).map(major_minor),
            consistent_index: self.consistent_index,
            members: self.members,
        }
    }
}

/// The keys that exist after the records so far, each by a hash of 64 bits: of ten million keys, two share one with a
/// probability of 3 in a million.
#[derive(Default)]
struct Live(HashSet<u64>);

impl Live {
    fn set(&mut self, key: &[u8], exists: bool) {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        if exists {
            self.0.insert(hash);
        } else {
            self.0.remove(&hash);
        }
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn major_minor(version: String) -> String {
    match version.match_indices('.').nth(1) {
        Some((end, _)) => version[..end].to_owned(),
        None => version,
    }
}

/// Returns the name in a member's JSON; a member that was never started has none.
fn member_name(value: &[u8]) -> Option<String> {
    let member: serde_json::Value = serde_json::from_slice(value).ok()?;
    let name = member.get("name").and_then(serde_json::Value::as_str);
    name.filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Returns a field of a protobuf message that holds bytes. A message of etcd's own writes its fields in order.
fn field(message: &[u8], wanted: u64) -> Option<&[u8]> {
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => _ = varint(&mut rest)?,
            1 => rest = rest.get(8..)?,
            5 => rest = rest.get(4..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                if tag >> 3 == wanted {
                    return Some(bytes);
                }
                rest = after;
            }
            _ => return None,
        }
    }
    None
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
