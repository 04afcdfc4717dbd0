//! The store on disk: sled, made safe against what sled 0.34 does not guard against itself.
//!
//! - Its lock error is untyped: an own lock comes first and names the holder.
//! - A kill while it opens leaves `snap.*.generating`, which it then takes for the newest snapshot: deleted before.
//! - It can panic on damaged files: every call is caught.
//! - It overwrites what lies behind the first place that it cannot read: it is opened with a copy kept.
//! - Its `flush` does not sync the file: a barrier does both, on an own handle.
//! - It can come back empty, or short of its end, without an error: record 0 must be there, the numbers must have no
//!   gap, and the witness must not know more records.
//! - What is larger than a quarter of a segment it writes to files that it never syncs, and that counts for a whole leaf
//!   of up to 17 records: a record beyond `INLINE` goes into a blob of our own.
//! - It reuses segments without regard to what is synced: never more than `UNSYNCED` bytes wait for a barrier.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::blob::Blobs;
use crate::commit::Commit;
use crate::error::{StoreError, at};
use crate::frame::{self, Bad, Body};
use crate::layout::{Layout, create_dir, make_private, parent, sync_dir};
use crate::lock::{FileLock, Holder};
use crate::store::check_record;
use crate::witness::{self, Witness};
use crate::{Frame, Store, quiet, spare};

/// The largest record in bytes that lies within sled: 17 of them and their heads fit into a quarter of a segment of
/// 512 KiB.
pub(crate) const INLINE: usize = 4096;

/// As many bytes of records may wait for a barrier; then [`Store::append`] makes one.
const UNSYNCED: usize = 64 * 1024;

/// What sled may keep of the pages in memory, in bytes.
const CACHE: u64 = 1024 * 1024;

/// As long as this it is waited for sled's own lock: threads of a handle that was just dropped may still hold it.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// What stands in record 0, which every store has from its creation on.
const HEADER: &[u8] = b"requorum store";

/// The records, blobs and witness of one run on disk.
pub struct SledStore {
    // Declared in the order in which they are to be dropped: the lock last.
    db: Opened,
    file: File,
    commit: Commit,
    witness: Witness,
    blobs: Blobs,
    layout: Layout,
    _lock: FileLock,
}

impl SledStore {
    /// Creates the store of a new run in its directory, which is created too, for this user only.
    ///
    /// Gives [`StoreError::Exists`] if there is one.
    pub fn create(run_dir: &Path) -> Result<Self, StoreError> {
        let layout = Layout::of(run_dir);
        create_dir(layout.root())?;
        let lock = lock(&layout)?;
        if layout.store().exists() || layout.witness().exists() {
            return Err(StoreError::Exists { path: run_dir.into() });
        }
        let (db, file, blobs) = make(&layout, &[])?;
        // Last, because it says that the creation came to its end.
        let witness = Witness::create(&layout)?;
        sync_dir(layout.root())?;
        Ok(Self { db, file, commit: Commit::after(0), witness, blobs, layout, _lock: lock })
    }

    /// Makes the store again from records that the witness has already. Only for the holder of its lock.
    pub(crate) fn fill(layout: Layout, lock: FileLock, records: &[Vec<u8>]) -> Result<Self, StoreError> {
        let (db, file, blobs) = make(&layout, records)?;
        let witness = Witness::reconcile(&layout, records)?;
        sync_dir(layout.root())?;
        Ok(Self { db, file, commit: Commit::after(records.len() as u64), witness, blobs, layout, _lock: lock })
    }

    /// Opens the store of a run and verifies all its records, against the witness too.
    ///
    /// Gives [`StoreError::Missing`] if none was created, [`StoreError::Locked`] if another process has it open, and
    /// [`StoreError::Damaged`] if it does not hold what was durable; it never comes back with less.
    pub fn open(run_dir: &Path) -> Result<Self, StoreError> {
        let layout = Layout::of(run_dir);
        if !layout.store().exists() && witness::known(&layout)?.is_none() {
            return Err(StoreError::Missing { path: run_dir.into() });
        }
        let lock = lock(&layout)?;
        if !db_file(&layout).exists() {
            return Err(emptied(&layout));
        }
        let blobs = Blobs::at(&layout.blobs());
        blobs.prepare()?;
        remove_unfinished_snapshots(&layout.store())?;
        spare::keep(&layout)?;
        let db = open_sled(&layout.store())?;
        // A writer that was killed may have left records written but not synced; they count from now on.
        let file = open_file(&layout)?;
        sync(&db, &file, &layout)?;
        make_durable_names(&layout)?;

        let records = scan(&db, &blobs, &layout)?;
        let seq = records.len() as u64;
        let witness = Witness::reconcile(&layout, &records)?;
        spare::forget(&layout)?;
        sync_dir(layout.root())?;
        Ok(Self { db, file, commit: Commit::after(seq), witness, blobs, layout, _lock: lock })
    }
}

impl Store for SledStore {
    fn append(&self, payload: &[u8]) -> Result<u64, StoreError> {
        check_record(payload)?;
        let body = body_of(payload, &self.blobs)?;
        let (seq, waiting) = self.commit.append(payload, |seq| insert(&self.db, &self.layout, seq, &body))?;
        if waiting > UNSYNCED {
            self.barrier()?;
        }
        Ok(seq)
    }

    fn barrier(&self) -> Result<(), StoreError> {
        self.commit.barrier(|reached, lines| {
            sync(&self.db, &self.file, &self.layout)?;
            self.witness.write(reached, lines)
        })
    }

    fn read(&self) -> Result<Vec<Frame>, StoreError> {
        let records = scan(&self.db, &self.blobs, &self.layout)?;
        Ok((1..).zip(records).map(|(seq, payload)| Frame { seq, payload }).collect())
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<String, StoreError> {
        self.blobs.put(bytes)
    }

    fn get_blob(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        self.blobs.get(digest)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // What was never asked to be durable is saved where it can be; nobody waits for an answer any more.
        let _ = self.barrier().and_then(|()| self.witness.sync());
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not sled's own form, which prints every page.
        f.debug_struct("SledStore").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Makes the files of a store that holds these records, durably.
fn make(layout: &Layout, records: &[Vec<u8>]) -> Result<(Opened, File, Blobs), StoreError> {
    let blobs = Blobs::at(&layout.blobs());
    blobs.prepare()?;
    create_dir(&layout.store())?;
    let db = open_sled(&layout.store())?;
    insert(&db, layout, 0, &Body::Inline(HEADER.into()))?;
    let file = open_file(layout)?;
    let mut waiting = 0;
    for (seq, record) in (1..).zip(records) {
        insert(&db, layout, seq, &body_of(record, &blobs)?)?;
        waiting += record.len();
        if waiting > UNSYNCED {
            sync(&db, &file, layout)?;
            waiting = 0;
        }
    }
    sync(&db, &file, layout)?;
    make_durable_names(layout)?;
    Ok((db, file, blobs))
}

/// Returns what stands in the frame of a record; a large one becomes a blob.
fn body_of<'a>(payload: &'a [u8], blobs: &Blobs) -> Result<Body<'a>, StoreError> {
    if payload.len() > INLINE {
        return Ok(Body::Blob(blobs.put(payload)?));
    }
    Ok(Body::Inline(Cow::Borrowed(payload)))
}

fn lock(layout: &Layout) -> Result<FileLock, StoreError> {
    FileLock::acquire(&layout.lock(), "the store of this run")
}

fn db_file(layout: &Layout) -> PathBuf {
    layout.store().join("db")
}

fn open_file(layout: &Layout) -> Result<File, StoreError> {
    let path = db_file(layout);
    File::open(&path).map_err(at(&path))
}

fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn open_sled(dir: &Path) -> Result<Opened, StoreError> {
    // No thread of sled's own that flushes: only barriers do.
    let config = sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(None);
    let deadline = Instant::now() + LOCK_DEADLINE;
    loop {
        match calling(dir, || config.open()) {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            result => return result.map(|db| Opened(Some(db))),
        }
    }
}

/// sled, opened. It panics where it is dropped and the disk gives an error; so it is dropped with care.
struct Opened(Option<sled::Db>);

impl Deref for Opened {
    type Target = sled::Db;

    fn deref(&self) -> &sled::Db {
        self.0.as_ref().expect("it is taken only when it is dropped")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // What was acknowledged is durable without it.
        let _ = quiet::catch(|| drop(self.0.take()));
    }
}

fn insert(db: &sled::Db, layout: &Layout, seq: u64, body: &Body<'_>) -> Result<(), StoreError> {
    let bytes = frame::encode(seq, body);
    calling(&layout.store(), || db.insert(seq.to_be_bytes(), bytes)).map(drop)
}

/// Makes durable what was inserted: hands it to the file, then syncs the file.
fn sync(db: &sled::Db, file: &File, layout: &Layout) -> Result<(), StoreError> {
    calling(&layout.store(), || db.flush())?;
    file.sync_data().map_err(at(&db_file(layout)))
}

/// Makes durable the names of what sled and this module created, and takes the files from other users.
fn make_durable_names(layout: &Layout) -> Result<(), StoreError> {
    make_private(&layout.store())?;
    sync_dir(&layout.store())?;
    sync_dir(layout.root())?;
    sync_dir(parent(layout.root()))
}

/// Returns all records in order, verified, without record 0.
fn scan(db: &sled::Db, blobs: &Blobs, layout: &Layout) -> Result<Vec<Vec<u8>>, StoreError> {
    let dir = layout.store();
    let mut records = Vec::new();
    let mut found = 0;
    let mut entries = db.iter();
    while let Some((key, value)) = calling(&dir, || entries.next().transpose())? {
        if *key != u64::to_be_bytes(found) {
            return Err(damaged(&dir, format!("record {found} is missing, key {} was found", hex::encode(key))));
        }
        let payload = match frame::decode(found, &value) {
            Ok(Body::Inline(payload)) => payload.into_owned(),
            Ok(Body::Blob(digest)) => {
                blobs.get(&digest).map_err(|error| damaged(&dir, format!("record {found} is missing: {error}")))?
            }
            Err(Bad::Newer(version)) => {
                return Err(StoreError::Newer { path: dir, found: version, known: frame::VERSION });
            }
            Err(Bad::Damaged(what)) => {
                return Err(damaged(&dir, format!("record {found} is not what was written: {what}")));
            }
        };
        if found > 0 {
            records.push(payload);
        }
        found += 1;
    }
    if found == 0 { Err(emptied(layout)) } else { Ok(records) }
}

/// The error for a store in which nothing is found, not even record 0.
fn emptied(layout: &Layout) -> StoreError {
    match witness::known(layout) {
        // The witness is created last: without it, nobody ever got the store to write to.
        Ok(None) => StoreError::Missing { path: layout.root().into() },
        Ok(Some(0)) => damaged(&layout.store(), "it is empty, although its creation was durable".into()),
        Ok(Some(known)) => witness::lost(layout, &layout.witness(), known, 0),
        Err(error) => error,
    }
}

/// Calls sled and sorts what can go wrong.
fn calling<T>(dir: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match quiet::catch(call) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(source))) => Err(sort_io(dir, source)),
        Ok(Err(error)) => Err(damaged(dir, format!("sled says: {error}"))),
        Err(panic) => Err(damaged(dir, format!("sled gave up: {panic}"))),
    }
}

fn sort_io(dir: &Path, source: std::io::Error) -> StoreError {
    // The one error of sled's lock, with nothing but its text to tell it by.
    if source.to_string().starts_with("could not acquire lock") {
        return StoreError::Locked { path: dir.into(), by: Holder::unnamed() };
    }
    match source.kind() {
        // Something that was written is not there: a blob of sled's, or the end of a file.
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidData => {
            damaged(dir, format!("sled says: {source}"))
        }
        _ => StoreError::from_io(dir, source),
    }
}

fn damaged(dir: &Path, what: String) -> StoreError {
    let witness = dir.with_file_name("events.jsonl");
    StoreError::Damaged {
        path: dir.into(),
        what,
        hint: format!("do not run the plan again blindly: {} still shows what was done", witness.display()),
    }
}
