//! A lock file with one holder, who can be named. The lock is the kernel's (`flock`): it ends with the process, however
//! that ends. The content of the file only tells others who holds it, and never decides anything; the file stays.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{StoreError, at};
use crate::layout::{create_dir, parent, private_file};

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What the holder calls itself, for example `run 7f3a of operator@host`.
    pub label: String,
    /// Its process id on the machine that the lock file lies on.
    pub pid: u32,
    /// Since when, in RFC 3339.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.label.is_empty() {
            return write!(f, "another process");
        }
        write!(f, "{} (process {}) since {}", self.label, self.pid, self.since)
    }
}

impl Holder {
    /// A holder that took the lock but has not written its name yet.
    pub(crate) fn unnamed() -> Self {
        Self { label: String::new(), pid: 0, since: String::new() }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split_terminator('\n');
        let holder =
            Self { label: lines.next()?.to_owned(), pid: lines.next()?.parse().ok()?, since: lines.next()?.to_owned() };
        text.ends_with('\n').then_some(holder)
    }
}

/// The lock that makes one process at a time work on a cluster.
pub type ClusterLock = FileLock;

/// A lock that is held until it is dropped or the process ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Takes the lock without waiting, and writes the label, the process id and the time into the file.
    ///
    /// Gives [`StoreError::Locked`] with the holder if another process, or another part of this one, holds it.
    pub fn acquire(path: &Path, label: &str) -> Result<Self, StoreError> {
        create_dir(parent(path))?;
        let mut file =
            private_file().read(true).write(true).create(true).truncate(false).open(path).map_err(at(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Whatever the content is, the lock is held; an unreadable name does not change that.
                let by = file.read_to_string(&mut text).ok().and_then(|_| Holder::parse(&text));
                return Err(StoreError::Locked { path: path.into(), by: by.unwrap_or_else(Holder::unnamed) });
            }
            Err(TryLockError::Error(source)) => return Err(StoreError::from_io(path, source)),
        }
        let label = label.replace(char::is_control, " ");
        let text = format!("{label}\n{}\n{:.0}\n", std::process::id(), jiff::Timestamp::now());
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(at(path))?;
        Ok(Self { file, path: path.into() })
    }

    /// Returns the file that is locked.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // The name goes before the lock does, so that the next holder is not taken for this one.
        let _ = self.file.set_len(0);
        // Closing is not enough: a child that another thread has just forked shares the open file until it executes.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_holder_learns_who_holds_it_and_since_when() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/prod.lock");
        let held = FileLock::acquire(&path, "run 7f3a of\nroot@bastion").unwrap();
        let StoreError::Locked { by, .. } = FileLock::acquire(&path, "another").unwrap_err() else {
            panic!("the lock was not held");
        };
        assert_eq!(by.label, "run 7f3a of root@bastion");
        assert_eq!(by.pid, std::process::id());
        assert!(by.since.parse::<jiff::Timestamp>().is_ok(), "{by}");
        drop(held);
        FileLock::acquire(&path, "another").unwrap();
        assert!(path.exists());
    }

    #[test]
    fn stale_or_strange_content_neither_holds_nor_breaks_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "a dead one\n1\n2020-01-01T00:00:00Z\n").unwrap();
        let held = FileLock::acquire(&path, "alive").unwrap();
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        let error = FileLock::acquire(&path, "late").unwrap_err();
        assert!(error.to_string().ends_with("is locked by another process"), "{error}");
        drop(held);
    }
}
