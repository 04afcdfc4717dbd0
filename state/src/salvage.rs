//! What can still be had of a run whose store or witness is damaged, and a new store made of it.
//!
//! Reading needs no lock and no sled, which would change the files: frames are found in them by their checksums. So it works
//! while the run is live, too. What was never acknowledged may be among what is found; nothing was done upon it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::blob::Blobs;
use crate::error::{StoreError, at};
use crate::frame::{self, Body};
use crate::layout::{Layout, sync_dir};
use crate::lock::FileLock;
use crate::sled_store::{INLINE, SledStore};
use crate::{mark, witness};

/// What is left of a run's records.
#[derive(Debug, Default)]
pub struct Remains {
    /// The records that can be had, by their numbers.
    pub records: BTreeMap<u64, Remnant>,
    /// The highest number that any source knows.
    pub known: u64,
    /// What could not be read or is not what was written, one sentence each.
    pub complaints: Vec<String>,
    /// Whether something is there that could not be read, so that no records does not mean that there were none.
    pub unread: bool,
}

/// A record that can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remnant {
    /// The record.
    pub payload: Vec<u8>,
    /// Where it is.
    pub source: Source,
    /// Why it may not be what was acknowledged, if it may.
    pub doubt: Option<&'static str>,
}

/// Where a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the store and in the witness.
    Both,
    /// In the store alone.
    Store,
    /// In the witness alone.
    Witness,
}

impl Remains {
    /// Returns the numbers that are missing, from 1 to the highest that is known.
    #[must_use]
    pub fn missing(&self) -> Vec<RangeInclusive<u64>> {
        ranges((1..=self.known).filter(|number| !self.records.contains_key(number)))
    }

    /// Returns the records, if every one that is known of is there and none is doubtful.
    #[must_use]
    pub fn whole(&self) -> Option<Vec<Vec<u8>>> {
        let nothing = self.unread && self.records.is_empty();
        let whole =
            !nothing && self.missing().is_empty() && self.records.values().all(|remnant| remnant.doubt.is_none());
        whole.then(|| self.records.values().map(|remnant| remnant.payload.clone()).collect())
    }
}

/// Joins numbers that follow each other.
#[must_use]
pub fn ranges(numbers: impl IntoIterator<Item = u64>) -> Vec<RangeInclusive<u64>> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if *last.end() + 1 == number => *last = *last.start()..=number,
            _ => ranges.push(number..=number),
        }
    }
    ranges
}

/// Finds what is left of a run's records. It changes nothing.
///
/// Gives [`StoreError::Missing`] if the directory holds nothing of a run; what cannot be read otherwise is a complaint.
pub fn look(run_dir: &Path) -> Result<Remains, StoreError> {
    let layout = Layout::of(run_dir);
    // From what is written last to what is written first, so that nothing seems missing of a live run.
    let marked = mark::read(&layout.mark());
    let mut remains = Remains::default();
    let testimony = match witness::testimony(&layout.witness()) {
        Ok(found) => found,
        Err(error) => {
            remains.complain(&error);
            Some(witness::Testimony::default())
        }
    };
    let any = testimony.is_some() || layout.store().exists() || layout.before().exists() || marked > 0;
    if !any {
        if !fs::read_dir(layout.blobs()).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(StoreError::Missing { path: run_dir.into() });
        }
        // Blobs are stored only where there is a store.
        remains.known = 1;
    }
    let said = testimony.unwrap_or_else(|| {
        remains.complaints.push(format!("{} is not there", layout.witness().display()));
        witness::Testimony::default()
    });
    for line in &said.bad {
        remains.complaints.push(format!("{}: line {line} is not what was written", layout.witness().display()));
    }
    let mut frames = BTreeMap::new();
    let blobs = Blobs::at(&layout.blobs());
    for dir in [layout.store(), layout.before()] {
        if dir.exists() || dir == layout.store() {
            remains.carve(&dir, &blobs, &mut frames);
        }
    }
    remains.known = remains.known.max(said.known).max(marked).max(frames.keys().last().copied().unwrap_or(0));
    let numbers: BTreeSet<u64> = frames.keys().chain(said.records.keys()).copied().collect();
    for number in numbers {
        let held = frames.remove(&number).unwrap_or_default();
        if let Some(remnant) = weigh(held, said.records.get(&number)) {
            remains.records.insert(number, remnant);
        }
    }
    Ok(remains)
}

/// Decides what a record was, from the forms of it in the store and the line of the witness with whether it is proved.
fn weigh(held: BTreeSet<Vec<u8>>, line: Option<&(Vec<u8>, bool)>) -> Option<Remnant> {
    if let Some((said, _)) = line.filter(|(said, _)| held.contains(said)) {
        return Some(Remnant { payload: said.clone(), source: Source::Both, doubt: None });
    }
    let several = held.len() > 1;
    let Some(payload) = held.into_iter().next() else {
        let (said, proved) = line?;
        let doubt = (!proved).then_some("it stands in the witness alone, in a line without a checksum");
        return Some(Remnant { payload: said.clone(), source: Source::Witness, doubt });
    };
    let doubt = match line {
        Some((_, true)) => Some("the witness has another record under this number"),
        Some((_, false)) | None if several => Some("the store holds different records under this number"),
        Some((_, false)) | None => None,
    };
    Some(Remnant { payload, source: Source::Store, doubt })
}

impl Remains {
    /// Notes what could not be read.
    fn complain(&mut self, error: &dyn std::error::Error) {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        self.complaints.push(format!("{error}{cause}"));
        self.unread = true;
    }

    /// Finds the frames in all files below a directory.
    fn carve(&mut self, dir: &Path, blobs: &Blobs, frames: &mut BTreeMap<u64, BTreeSet<Vec<u8>>>) {
        let mut bad_blobs = BTreeSet::new();
        for path in self.files(dir) {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.complain(&at(&path)(error));
                    continue;
                }
            };
            frame::carve(&bytes, INLINE, |number, body| {
                let payload = match body {
                    Body::Inline(payload) => Ok(payload.into_owned()),
                    Body::Blob(digest) => blobs.get(&digest).map_err(|error| format!("record {number}: {error}")),
                };
                match payload {
                    // Record 0 is the header.
                    Ok(payload) if number > 0 => drop(frames.entry(number).or_default().insert(payload)),
                    Ok(_) => {}
                    Err(why) => drop(bad_blobs.insert(why)),
                }
            });
        }
        self.complaints.extend(bad_blobs);
    }

    fn files(&mut self, dir: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        match entries {
            Ok(entries) => {
                let (dirs, mut files): (Vec<_>, Vec<_>) =
                    entries.into_iter().map(|entry| entry.path()).partition(|path| path.is_dir());
                files.extend(dirs.iter().flat_map(|dir| self.files(dir)));
                files
            }
            Err(error) => {
                self.complain(&at(dir)(error));
                Vec::new()
            }
        }
    }
}

/// Makes the store of a run anew from its records, and returns it open, with the names of what was set aside.
///
/// The witness is made whole first, so that from there on nothing rests on the damaged store; if this is cut off, it can be
/// done again. What is replaced is renamed, never removed.
pub fn rebuild(run_dir: &Path, records: &[Vec<u8>]) -> Result<(SledStore, Vec<PathBuf>), StoreError> {
    let layout = Layout::of(run_dir);
    let lock = FileLock::acquire(&layout.lock(), "the recovery of this run's store")?;
    let mut set_aside = Vec::new();
    if layout.witness().exists() {
        let aside = layout.aside(&layout.witness());
        // Linked, so that there is a witness at every moment.
        fs::hard_link(layout.witness(), &aside).map_err(at(&aside))?;
        set_aside.push(aside);
    }
    witness::replace(&layout, records)?;
    for dir in [layout.store(), layout.before()] {
        if dir.exists() {
            let aside = layout.aside(&dir);
            fs::rename(&dir, &aside).map_err(at(&aside))?;
            set_aside.push(aside);
        }
    }
    sync_dir(layout.root())?;
    let store = SledStore::fill(layout, lock, records)?;
    Ok((store, set_aside))
}
