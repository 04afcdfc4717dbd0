//! Where the parts of a run lie on disk, and the creation of files and directories that survive a power loss.
//!
//! ```text
//! RUN/                 0700
//!   lock               who holds the store
//!   store/             sled
//!   store.before/      a copy of it, while it is being opened
//!   blobs/DIGEST       content-addressed files
//!   events.jsonl       the records once more, one line each
//!   high-water         how many records are durable, for sure
//!   NAME.damaged-N     what was set aside when the store was made anew
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{StoreError, at};

/// The paths within the directory of a run.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Names the paths below a run's directory; nothing is created.
    #[must_use]
    pub fn of(run_dir: &Path) -> Self {
        Self { root: run_dir.to_path_buf() }
    }

    /// Returns the directory of the run.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the lock file of the store.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Returns the directory of sled.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Returns the directory of the blobs.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Returns the witness.
    #[must_use]
    pub fn witness(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// Returns the copy of the directory of sled that is there while it is being opened.
    pub(crate) fn before(&self) -> PathBuf {
        self.root.join("store.before")
    }

    /// Returns the high-water mark.
    pub(crate) fn mark(&self) -> PathBuf {
        self.root.join("high-water")
    }

    /// Returns a name that is free, for a file or directory of the run that is set aside.
    pub(crate) fn aside(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut number = 1;
        loop {
            let aside = self.root.join(format!("{name}.damaged-{number}"));
            if !aside.exists() {
                return aside;
            }
            number += 1;
        }
    }
}

/// Creates a directory with those above it that are missing, for this user only, and makes their entries durable.
pub(crate) fn create_dir(path: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(at(dir)(error)),
            _ => sync_dir(parent(dir))?,
        }
    }
    Ok(())
}

/// Makes the entries of a directory durable: a file that was synced can still lose its name.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(at(path))
}

/// Returns the directory that holds a path.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Returns the options of a file that only this user may read.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Takes what others may do from the files of a directory that another library created.
pub(crate) fn make_private(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(at(&path))?;
    }
    Ok(())
}
