//! A lock file with one holder, who can be named. The lock is the kernel's (`flock`): it ends with the process, however
//! that ends. The content of the file only tells others who holds it, and never decides who gets it; the file stays.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{StoreError, at};
use crate::layout::{create_dir, parent, private_file};

/// How long a lock may stay taken although nobody alive is named in it.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

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
    /// Says whether its process is there. Where that cannot be told, it counts as there.
    fn is_alive(&self) -> bool {
        let processes = Path::new("/proc");
        !processes.join("self").exists() || processes.join(self.pid.to_string()).exists()
    }

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
    /// Takes the lock, and writes the label, the process id and the time into the file.
    ///
    /// Gives [`StoreError::Locked`] with the holder if another process, or another part of this one, holds it. It waits
    /// only where nobody alive is named, and at most two seconds: a process that was killed may leave the lock for a
    /// moment to a child that it has just forked, and who only looks ([`FileLock::holder`]) holds it for a moment.
    pub fn acquire(path: &Path, label: &str) -> Result<Self, StoreError> {
        create_dir(parent(path))?;
        let mut file =
            private_file().read(true).write(true).create(true).truncate(false).open(path).map_err(at(path))?;
        let ends = Instant::now() + LEFT_BEHIND;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let by = read_holder(&mut file);
                    if by.as_ref().is_some_and(Holder::is_alive) || Instant::now() >= ends {
                        return Err(StoreError::Locked { path: path.into(), by: by.unwrap_or_else(Holder::unnamed) });
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::Error(source)) => return Err(StoreError::from_io(path, source)),
            }
        }
        let label = label.replace(char::is_control, " ");
        let text = format!("{label}\n{}\n{:.0}\n", std::process::id(), jiff::Timestamp::now());
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(at(path))?;
        Ok(Self { file, path: path.into() })
    }

    /// Says who holds the lock now, without getting into the way of who wants it.
    pub fn holder(path: &Path) -> Result<Option<Holder>, StoreError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::from_io(path, error)),
        };
        match file.try_lock_shared() {
            Ok(()) => {
                // Closing is not enough, as with a lock that is dropped.
                let _ = file.unlock();
                Ok(None)
            }
            Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file).unwrap_or_else(Holder::unnamed))),
            Err(TryLockError::Error(source)) => Err(StoreError::from_io(path, source)),
        }
    }

    /// Returns the file that is locked.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads who wrote the file last. Whatever its content is, the lock is held; an unreadable name does not change that.
fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    Holder::parse(&text)
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
    fn who_only_looks_learns_the_holder_and_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(FileLock::holder(&path).unwrap(), None);
        let held = FileLock::acquire(&path, "alive").unwrap();
        assert_eq!(FileLock::holder(&path).unwrap().unwrap().label, "alive");
        drop(held);
        assert_eq!(FileLock::holder(&path).unwrap(), None);
        // A look that is under way while somebody wants the lock.
        let looking = File::open(&path).unwrap();
        looking.try_lock_shared().unwrap();
        let taker = std::thread::spawn({
            let path = path.clone();
            move || FileLock::acquire(&path, "patient").map(|lock| lock.path().to_owned())
        });
        looking.unlock().unwrap();
        assert_eq!(taker.join().unwrap().unwrap(), path);
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
