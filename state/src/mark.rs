//! The high-water mark: one number in a file of its own, of the last record that is known to be durable.
//!
//! The witness tells that the store lost records; the mark tells it even where the witness lost the same ones. It is
//! overwritten in place after each barrier and not synced then: behind what is durable it may lag, never lead.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::error::{StoreError, at};
use crate::layout::private_file;

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct Mark {
    path: PathBuf,
    file: File,
}

impl Mark {
    /// Opens the file, and makes it if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = private_file().write(true).create(true).truncate(false).open(path).map_err(at(path))?;
        Ok(Self { path: path.into(), file })
    }

    /// Writes the number. It always takes the same bytes, so a full disk or a torn end of the file cannot take them.
    pub(crate) fn set(&self, number: u64) -> Result<(), StoreError> {
        self.file.write_all_at(format!("{number:020}\n").as_bytes(), 0).map_err(at(&self.path))
    }

    /// Makes the number durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(at(&self.path))
    }
}

/// Returns the number; 0 where there is none, or none that can be read: it is a help, and nothing rests on it alone.
pub(crate) fn read(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.strip_suffix('\n').filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_number_comes_back_and_garbage_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water");
        assert_eq!(read(&path), 0);
        let mark = Mark::open(&path).unwrap();
        mark.set(123_456).unwrap();
        mark.set(99).unwrap();
        mark.sync().unwrap();
        assert_eq!(read(&path), 99);
        for garbage in [&b""[..], b"99\n", b"0000000000000000009x\n", &[0; 21], &[0xff; 21]] {
            fs::write(&path, garbage).unwrap();
            assert_eq!(read(&path), 0);
        }
    }
}
