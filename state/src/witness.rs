//! The witness: `events.jsonl` beside the store, one line per durable record.
//!
//! It serves two ends. Readers without the lock follow a live run by it ([`read_lines`]). And it knows how many records
//! were durable, should the store come back with fewer: sled can lose data silently, and a run that forgets what it did
//! would do it twice. For that a line is written only after its record is durable, so more complete lines than records
//! always mean a loss. Lines are not synced one by one; a line that a power loss took is added again from the store.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{StoreError, at};
use crate::layout::private_file;
use crate::store::check_record;

/// At most this long a written line stays unsynced while records are written; one sync more per second costs nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Returns the records of a run in order, without any lock. The run may be live: a last line that is not complete, or
/// that a power loss left unreadable, is passed over.
///
/// Gives [`StoreError::Missing`] if there is no such file, [`StoreError::Damaged`] if an unreadable line stands before
/// readable ones.
pub fn read_lines(path: &Path) -> Result<Vec<String>, StoreError> {
    let Some(content) = content(path)? else {
        return Err(StoreError::Missing { path: path.into() });
    };
    let pieces: Vec<Option<&str>> = complete_lines(&content).map(readable).collect();
    let end = pieces.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let lines = pieces[..end].iter().enumerate().map(|(index, piece)| {
        piece.map(str::to_owned).ok_or_else(|| StoreError::Damaged {
            path: path.into(),
            what: format!("line {} is not readable", index + 1),
            hint: "resume the run: it writes the lines again from the store".into(),
        })
    });
    lines.collect()
}

/// Returns how many records the witness knows, or `None` if there is no file.
pub(crate) fn count(path: &Path) -> Result<Option<usize>, StoreError> {
    Ok(content(path)?.map(|content| complete_lines(&content).filter(|line| readable(line).is_some()).count()))
}

/// The file, open for appending.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    file: File,
    synced: Mutex<Instant>,
}

impl Witness {
    /// Creates an empty file, durably but for its name.
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        let file = private_file().append(true).create_new(true).open(path).map_err(at(path))?;
        file.sync_all().map_err(at(path))?;
        Ok(Self::from_file(path, file))
    }

    /// Opens the file and makes it agree with the records of the store, in order: a torn or unreadable end is cut off,
    /// what is missing is appended.
    ///
    /// Gives [`StoreError::Damaged`] if the witness knows more records than the store, or a different one. Then it
    /// changes nothing: it is what is left.
    pub(crate) fn reconcile(path: &Path, records: &[Vec<u8>]) -> Result<Self, StoreError> {
        let content = content(path)?.unwrap_or_default();
        let known = complete_lines(&content).filter(|line| readable(line).is_some()).count();
        if known > records.len() {
            return Err(lost(path, known, records.len()));
        }
        let mut kept = 0;
        let mut agreed = 0;
        for (line, record) in complete_lines(&content).zip(records) {
            if line != record.as_slice() {
                if readable(line).is_some() {
                    return Err(differs(path, agreed + 1));
                }
                break;
            }
            kept += line.len() + 1;
            agreed += 1;
        }

        let mut file = private_file().append(true).create(true).open(path).map_err(at(path))?;
        if kept < content.len() {
            file.set_len(kept as u64).map_err(at(path))?;
        }
        let mut rest = Vec::new();
        for record in &records[agreed..] {
            rest.extend_from_slice(record);
            rest.push(b'\n');
        }
        file.write_all(&rest).and_then(|()| file.sync_all()).map_err(at(path))?;
        Ok(Self::from_file(path, file))
    }

    /// Appends lines, each with its line break. One thread at a time.
    pub(crate) fn write(&self, lines: &[u8]) -> Result<(), StoreError> {
        (&self.file).write_all(lines).map_err(at(&self.path))?;
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.elapsed() >= SYNC_EVERY {
            self.sync()?;
            *synced = Instant::now();
        }
        Ok(())
    }

    /// Makes the lines durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(at(&self.path))
    }

    fn from_file(path: &Path, file: File) -> Self {
        Self { path: path.into(), file, synced: Mutex::new(Instant::now()) }
    }
}

/// The error that the witness knows more records than the store.
pub(crate) fn lost(path: &Path, known: usize, held: usize) -> StoreError {
    StoreError::Damaged {
        path: path.with_file_name("store"),
        what: format!(
            "it holds {held} records, but {known} were durable according to {}: {} acknowledged records are lost",
            path.display(),
            known - held
        ),
        hint: format!(
            "do not run the plan again blindly: {} still shows what was done; keep a copy of the directory, finish by \
             hand from there, or begin a new run",
            path.display()
        ),
    }
}

fn differs(path: &Path, line: usize) -> StoreError {
    StoreError::Damaged {
        path: path.into(),
        what: format!("line {line} is not record {line} of the store"),
        hint: "the file was changed or belongs to another run: set it aside, then resume; it is written again from \
               the store"
            .into(),
    }
}

fn content(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Returns the lines that end with a line break, without it.
fn complete_lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

/// Returns a line as text, if it can have been a record. After a power loss a file may hold zeros where it was extended.
fn readable(line: &[u8]) -> Option<&str> {
    check_record(line).ok().and_then(|()| std::str::from_utf8(line).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn records(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    /// Reconciles a file of this content with these records and returns the content afterwards.
    fn reconciled(before: &[u8], names: &[&str]) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        fs::write(&path, before).unwrap();
        let result = Witness::reconcile(&path, &records(names));
        let after = fs::read(&path).unwrap();
        match result {
            Ok(_) => Ok(after),
            Err(error) => {
                assert_eq!(after, before, "evidence was changed");
                Err(error.to_string())
            }
        }
    }

    #[test]
    fn a_torn_end_is_cut_off_and_what_is_missing_is_appended() {
        assert_eq!(reconciled(b"", &["a", "b"]).unwrap(), b"a\nb\n");
        assert_eq!(reconciled(b"a\n", &["a", "b"]).unwrap(), b"a\nb\n");
        assert_eq!(reconciled(b"a\nxy", &["a", "b"]).unwrap(), b"a\nb\n");
        assert_eq!(reconciled(b"a\nb\ntorn", &["a", "b"]).unwrap(), b"a\nb\n");
        assert_eq!(reconciled(b"a\n\0\0\n\0\0", &["a", "b"]).unwrap(), b"a\nb\n");
    }

    #[test]
    fn more_lines_than_records_are_a_loss_and_the_number_is_told() {
        let error = reconciled(b"a\nb\nc\n", &["a"]).unwrap_err();
        assert!(error.contains("holds 1 records, but 3 were durable"), "{error}");
        assert!(error.ends_with("2 acknowledged records are lost"), "{error}");
        // Also behind a hole.
        assert!(reconciled(b"a\n\0\0\nc\n", &["a"]).is_err());
    }

    #[test]
    fn a_line_that_is_another_record_is_not_overwritten() {
        let error = reconciled(b"a\nx\n", &["a", "b"]).unwrap_err();
        assert!(error.ends_with("line 2 is not record 2 of the store"), "{error}");
    }

    #[test]
    fn readers_pass_over_an_unfinished_end_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        assert!(matches!(read_lines(&path), Err(StoreError::Missing { .. })));
        for (content, lines) in [(&b""[..], vec![]), (b"a\nb\n{\"to", vec!["a", "b"]), (b"a\n\0\0\n", vec!["a"])] {
            fs::write(&path, content).unwrap();
            assert_eq!(read_lines(&path).unwrap(), lines);
        }
        fs::write(&path, b"a\n\0\nb\n").unwrap();
        assert!(read_lines(&path).unwrap_err().to_string().ends_with("line 2 is not readable"));
    }
}
