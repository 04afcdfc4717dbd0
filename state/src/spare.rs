//! A copy of sled's files, made before sled opens them and removed once they turned out whole.
//!
//! sled takes the first place that it cannot read for the end of its log, and overwrites what lies behind with zeros
//! (sled 0.34.7, `pagecache/snapshot.rs`, `advance_snapshot`). After one flipped bit that is the very data that a person
//! would want to save. The copy is what [`salvage`](crate::salvage) reads then.

use std::fs::{self, File};
use std::path::Path;

use crate::error::{StoreError, at};
use crate::layout::{Layout, create_dir, sync_dir};

/// Makes the copy, durably. One that is there is left: it is from an opening that did not come to its end, and older.
pub(crate) fn keep(layout: &Layout) -> Result<(), StoreError> {
    let copy = layout.before();
    if copy.exists() {
        return Ok(());
    }
    let unfinished = copy.with_extension("new");
    remove(&unfinished)?;
    create_dir(&unfinished)?;
    copy_files(&layout.store(), &unfinished)?;
    fs::rename(&unfinished, &copy).map_err(at(&copy))?;
    sync_dir(layout.root())
}

/// Removes the copy. The caller makes the names of the run's directory durable.
pub(crate) fn forget(layout: &Layout) -> Result<(), StoreError> {
    let unfinished = layout.before().with_extension("new");
    remove(&unfinished)?;
    // Renamed first: what was removed in part must not be taken for the copy.
    fs::rename(layout.before(), &unfinished).map_err(at(&unfinished))?;
    remove(&unfinished)
}

fn remove(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(dir)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies the files of a directory; those below it are sled's blobs, which it never has here.
fn copy_files(from: &Path, to: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let path = entry.map_err(at(from))?.path();
        if path.is_file() {
            let copy = to.join(path.file_name().unwrap_or_default());
            fs::copy(&path, &copy).and_then(|_| File::open(&copy)?.sync_all()).map_err(at(&copy))?;
        }
    }
    sync_dir(to)
}
