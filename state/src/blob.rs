//! Content-addressed files: what is too large for a record lies in a file named by the SHA-256 of its content.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::StoreError;
use crate::error::at;
use crate::layout::{create_dir, private_file, sync_dir};

/// The ending of a file that is being written.
const UNFINISHED: &str = ".tmp";

/// A directory of blobs. Reading needs no lock: a file appears complete, under its final name, and never changes.
#[derive(Debug, Clone)]
pub struct Blobs {
    dir: PathBuf,
}

impl Blobs {
    /// Names the directory; nothing is created or read.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// Creates the directory if it is not there, and removes what a killed writer left unfinished. Only for the holder
    /// of the store's lock.
    pub(crate) fn prepare(&self) -> Result<(), StoreError> {
        create_dir(&self.dir)?;
        for entry in fs::read_dir(&self.dir).map_err(at(&self.dir))? {
            let path = entry.map_err(at(&self.dir))?.path();
            if path.to_string_lossy().ends_with(UNFINISHED) {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        Ok(())
    }

    /// Stores bytes durably and returns their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<String, StoreError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let digest = digest_of(bytes);
        if !matches!(self.get(&digest), Ok(there) if there == bytes) {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let unfinished = self.dir.join(format!("{digest}.{}-{count}{UNFINISHED}", std::process::id()));
            let written = write_synced(&unfinished, bytes)
                .and_then(|()| fs::rename(&unfinished, self.dir.join(&digest)))
                .map_err(at(&unfinished));
            if let Err(error) = written {
                let _ = fs::remove_file(&unfinished);
                return Err(error);
            }
        }
        // Also when it was there: whoever wrote it may not have come to this point.
        sync_dir(&self.dir)?;
        Ok(digest)
    }

    /// Returns the bytes of a digest, after comparing them with it.
    ///
    /// Gives [`StoreError::NoSuchBlob`] if there is none, or if the text is no digest, and [`StoreError::Damaged`] if
    /// the content is not what the name says.
    pub fn get(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        let none = || StoreError::NoSuchBlob { digest: digest.to_owned() };
        if !is_digest(digest) {
            return Err(none());
        }
        let path = self.dir.join(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
            Err(error) => return Err(at(&path)(error)),
        };
        let seen = digest_of(&bytes);
        if seen != digest {
            return Err(StoreError::Damaged {
                path,
                what: format!("its content has the SHA-256 {seen} ({} bytes)", bytes.len()),
                hint: "restore the file from a copy; its name is the SHA-256 of its content".into(),
            });
        }
        Ok(bytes)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private_file().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Returns the SHA-256 in lower-case hexadecimal.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::at(&dir.path().join("blobs"));
        blobs.prepare().unwrap();
        (dir, blobs)
    }

    #[test]
    fn a_changed_file_is_reported_and_writing_it_again_repairs_it() {
        let (_dir, blobs) = blobs();
        let digest = blobs.put(b"one").unwrap();
        fs::write(blobs.dir.join(&digest), b"two").unwrap();
        assert!(matches!(blobs.get(&digest), Err(StoreError::Damaged { .. })));
        assert_eq!(blobs.put(b"one").unwrap(), digest);
        assert_eq!(blobs.get(&digest).unwrap(), b"one");
    }

    #[test]
    fn what_is_no_digest_reaches_no_file() {
        let (dir, blobs) = blobs();
        fs::write(dir.path().join("secret"), "s").unwrap();
        for text in ["../secret", "", &"A".repeat(64), &"0".repeat(63)] {
            assert!(matches!(blobs.get(text), Err(StoreError::NoSuchBlob { .. })), "{text}");
        }
    }

    #[test]
    fn leftovers_of_a_killed_writer_are_removed_and_blobs_stay() {
        let (_dir, blobs) = blobs();
        let digest = blobs.put(b"kept").unwrap();
        fs::write(blobs.dir.join("abc.1-0.tmp"), b"half").unwrap();
        blobs.prepare().unwrap();
        let names: Vec<_> = fs::read_dir(&blobs.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [digest.as_str()]);
    }
}
