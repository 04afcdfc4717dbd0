//! The witness: `events.jsonl` beside the store, one line per durable record.
//!
//! It serves two ends. Readers without the lock follow a live run by it ([`read_lines`]). And it knows which records were
//! durable, should the store come back without them: sled can lose data silently, and a run that forgets what it did would
//! do it twice. For that a line is written only after its record is durable, so more complete lines than records always mean
//! a loss. Lines are not synced one by one; a line that a power loss took is added again from the store. Each line carries
//! its number and a checksum (`seal.rs`), and the number of the last stands in a file of its own (`mark.rs`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{StoreError, at};
use crate::layout::{Layout, parent, private_file, sync_dir};
use crate::mark::{self, Mark};
use crate::seal::{self, Line};

/// At most this long a written line stays unsynced while records are written; one sync more per second costs nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Returns the records of a run in order, without any lock. The run may be live: a last line that is not complete, or
/// that a power loss left unreadable, is passed over.
///
/// Gives [`StoreError::Missing`] if there is no such file, [`StoreError::Damaged`] if a line is not what was written, or
/// records are missing between others or, as far as that is known, at the end.
pub fn read_lines(run_dir: &Path) -> Result<Vec<String>, StoreError> {
    let layout = Layout::of(run_dir);
    // Before the lines, which are written first.
    let marked = mark::read(&layout.mark());
    let path = layout.witness();
    let Some(content) = content(&path)? else {
        return Err(StoreError::Missing { path });
    };
    let mut lines = lines_of(&content);
    while lines.last() == Some(&Line::Torn) {
        lines.pop();
    }
    let damaged = |what| StoreError::Damaged {
        path: path.clone(),
        what,
        hint: "the store should have what is missing; when the run is taken up again, the file is written anew from it"
            .into(),
    };
    if marked > lines.len() as u64 {
        return Err(damaged(format!("it holds {} records, but {marked} were durable", lines.len())));
    }
    (1..)
        .zip(lines)
        .map(|(place, line)| match line {
            Line::Sealed { number, .. } if number != place => {
                Err(damaged(format!("line {place} holds record {number}, so others are missing")))
            }
            Line::Sealed { record, .. } | Line::Plain(record) => {
                String::from_utf8(record).map_err(|_| damaged(format!("line {place} is no text")))
            }
            Line::Changed => Err(damaged(format!("line {place} is not what was written"))),
            Line::Torn => Err(damaged(format!("line {place} is not readable"))),
        })
        .collect()
}

/// What a witness holds.
#[derive(Debug, Default)]
pub(crate) struct Testimony {
    /// The records, by their numbers; whether a checksum proves each.
    pub(crate) records: std::collections::BTreeMap<u64, (Vec<u8>, bool)>,
    /// The highest number of a record that it knows was durable.
    pub(crate) known: u64,
    /// The lines that cannot be used, from 1.
    pub(crate) bad: Vec<usize>,
}

/// Reads what can be had of a witness, with all its damage. `None`: there is no file.
pub(crate) fn testimony(path: &Path) -> Result<Option<Testimony>, StoreError> {
    Ok(content(path)?.map(|content| Testimony::of(&lines_of(&content))))
}

impl Testimony {
    fn of(lines: &[Line]) -> Self {
        let mut found = Self::default();
        let mut readable = 0;
        // The number of the next line, as long as it follows from its place.
        let mut next = Some(1);
        for (place, line) in (1..).zip(lines) {
            let (number, record, proved) = match line {
                Line::Sealed { number, record } => (Some(*number), record, true),
                Line::Plain(record) => (next, record, false),
                Line::Changed | Line::Torn => {
                    found.bad.push(place);
                    next = None;
                    continue;
                }
            };
            readable += 1;
            match number {
                Some(number) => drop(found.records.entry(number).or_insert((record.clone(), proved))),
                None => found.bad.push(place),
            }
            next = number.map(|number| number + 1);
        }
        // Every readable line was a record, also one whose number is not known.
        found.known = found.records.keys().last().copied().unwrap_or(0).max(readable);
        found
    }
}

/// Returns how many records witness and mark know, or `None` if there is no witness and no mark.
pub(crate) fn known(layout: &Layout) -> Result<Option<u64>, StoreError> {
    let marked = mark::read(&layout.mark());
    let seen = testimony(&layout.witness())?.map(|found| found.known);
    Ok(if marked == 0 { seen } else { Some(seen.unwrap_or(0).max(marked)) })
}

/// The file, open for appending.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    file: File,
    mark: Mark,
    /// When it was synced; `None`: its first lines are not written yet. Those are synced at once: a run that began is known
    /// to whoever looks without the lock, also after a power loss.
    synced: Mutex<Option<Instant>>,
}

impl Witness {
    /// Creates an empty file, durably but for its name.
    pub(crate) fn create(layout: &Layout) -> Result<Self, StoreError> {
        let path = layout.witness();
        let file = private_file().append(true).create_new(true).open(&path).map_err(at(&path))?;
        file.sync_all().map_err(at(&path))?;
        Self::from_file(layout, file, 0)
    }

    /// Opens the file and makes it agree with the records of the store, in order: a torn or unreadable end is cut off,
    /// what is missing is appended, what was damaged is written anew.
    ///
    /// Gives [`StoreError::Damaged`] if the witness or the mark knows more records than the store, or a different one. Then
    /// it changes nothing: it is what is left.
    pub(crate) fn reconcile(layout: &Layout, records: &[Vec<u8>]) -> Result<Self, StoreError> {
        let path = layout.witness();
        let content = content(&path)?.unwrap_or_default();
        let lines = lines_of(&content);
        let held = records.len() as u64;
        let (seen, marked) = (Testimony::of(&lines).known, mark::read(&layout.mark()));
        if seen > held {
            return Err(lost(layout, &path, seen, held));
        }
        if marked > held {
            return Err(lost(layout, &layout.mark(), marked, held));
        }
        let agreeing =
            (1..).zip(records).zip(&lines).take_while(|((number, record), line)| says(line, *number, record));
        let agreed = agreeing.count();
        if let (Some(Line::Sealed { number, .. }), true) = (lines.get(agreed), agreed < records.len())
            && *number == agreed as u64 + 1
        {
            return Err(differs(&path, agreed + 1));
        }
        if let (Some(Line::Plain(_)), true) = (lines.get(agreed), agreed < records.len()) {
            return Err(differs(&path, agreed + 1));
        }
        if lines[agreed..].iter().all(|line| *line == Line::Torn) {
            let kept: usize = complete_lines(&content).take(agreed).map(|line| line.len() + 1).sum();
            let mut file = private_file().append(true).create(true).open(&path).map_err(at(&path))?;
            if kept < content.len() {
                file.set_len(kept as u64).map_err(at(&path))?;
            }
            let rest = sealed((agreed as u64 + 1..).zip(&records[agreed..]));
            file.write_all(&rest).and_then(|()| file.sync_all()).map_err(at(&path))?;
            return Self::from_file(layout, file, held);
        }
        replace(layout, records)?;
        let file = private_file().append(true).open(&path).map_err(at(&path))?;
        Self::from_file(layout, file, held)
    }

    /// Appends lines, each with its line break; the last one has the number `reached`. One thread at a time.
    pub(crate) fn write(&self, reached: u64, lines: &[u8]) -> Result<(), StoreError> {
        (&self.file).write_all(lines).map_err(at(&self.path))?;
        self.mark.set(reached)?;
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.is_none_or(|at| at.elapsed() >= SYNC_EVERY) {
            self.sync()?;
            *synced = Some(Instant::now());
        }
        Ok(())
    }

    /// Makes the lines durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(at(&self.path))?;
        self.mark.sync()
    }

    fn from_file(layout: &Layout, file: File, held: u64) -> Result<Self, StoreError> {
        let mark = Mark::open(&layout.mark())?;
        mark.set(held)?;
        mark.sync()?;
        Ok(Self { path: layout.witness(), file, mark, synced: Mutex::new((held > 0).then(Instant::now)) })
    }
}

/// Writes the witness anew, durably, and as a whole or not at all.
pub(crate) fn replace(layout: &Layout, records: &[Vec<u8>]) -> Result<(), StoreError> {
    let path = layout.witness();
    let unfinished = path.with_extension("jsonl.new");
    let mut file = private_file().write(true).create(true).truncate(true).open(&unfinished).map_err(at(&unfinished))?;
    file.write_all(&sealed((1..).zip(records))).and_then(|()| file.sync_all()).map_err(at(&unfinished))?;
    fs::rename(&unfinished, &path).map_err(at(&path))?;
    sync_dir(parent(&path))
}

/// Returns the lines of records.
fn sealed<'a>(records: impl Iterator<Item = (u64, &'a Vec<u8>)>) -> Vec<u8> {
    let mut lines = Vec::new();
    for (number, record) in records {
        lines.extend(seal::seal(number, record));
        lines.push(b'\n');
    }
    lines
}

/// Says whether a line is this record.
fn says(line: &Line, number: u64, record: &[u8]) -> bool {
    match line {
        Line::Sealed { number: its, record: said } => *its == number && said == record,
        Line::Plain(said) => said == record,
        Line::Changed | Line::Torn => false,
    }
}

/// The error that a witness, in this file, knows more records than the store.
pub(crate) fn lost(layout: &Layout, path: &Path, known: u64, held: u64) -> StoreError {
    StoreError::Damaged {
        path: layout.store(),
        what: format!(
            "it holds {held} records, but {known} were durable according to {}: {} acknowledged records are lost",
            path.display(),
            known - held
        ),
        hint: format!("do not run the plan again blindly: {} still shows what was done", layout.witness().display()),
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

/// Reads the complete lines. One without a checksum behind one that has it was changed.
fn lines_of(content: &[u8]) -> Vec<Line> {
    let mut any_sealed = false;
    let read = |line| {
        let line = seal::read(line);
        any_sealed |= matches!(line, Line::Sealed { .. });
        if any_sealed && matches!(line, Line::Plain(_)) { Line::Changed } else { line }
    };
    complete_lines(content).map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: &str = r#"{"a":1}"#;
    const B: &str = r#"{"b":2}"#;
    const C: &str = r#"{"c":3}"#;

    fn records(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    /// Returns the content of a witness of these records.
    fn lines(names: &[&str]) -> String {
        String::from_utf8(sealed((1..).zip(&records(names)))).unwrap()
    }

    fn place() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::of(dir.path());
        (dir, layout)
    }

    /// Reconciles a file of this content with these records and returns the content afterwards.
    fn reconciled(before: impl AsRef<[u8]>, names: &[&str]) -> Result<String, String> {
        let (_dir, layout) = place();
        fs::write(layout.witness(), &before).unwrap();
        let result = Witness::reconcile(&layout, &records(names));
        let after = fs::read(layout.witness()).unwrap();
        match result {
            Ok(_) => Ok(String::from_utf8(after).unwrap()),
            Err(error) => {
                assert_eq!(after, before.as_ref(), "evidence was changed");
                Err(error.to_string())
            }
        }
    }

    #[test]
    fn a_torn_end_is_cut_off_and_what_is_missing_is_appended() {
        let whole = lines(&[A, B]);
        let first = lines(&[A]);
        for before in ["", &first, &format!("{first}xy"), &format!("{whole}torn"), &format!("{first}\0\0\n\0\0")] {
            assert_eq!(reconciled(before, &[A, B]).unwrap(), whole, "{before:?}");
        }
    }

    #[test]
    fn lines_of_before_are_kept_and_go_on_with_checksums() {
        assert_eq!(
            reconciled(format!("{A}\n"), &[A, B]).unwrap(),
            format!("{A}\n{}\n", lines(&[A, B]).lines().nth(1).unwrap())
        );
    }

    #[test]
    fn a_line_that_was_changed_is_written_anew_with_all_behind_it() {
        let whole = lines(&[A, B, C]);
        assert_eq!(reconciled(whole.replace("\"b\":2", "\"b\":3"), &[A, B, C]).unwrap(), whole);
        assert_eq!(
            reconciled(whole.replacen("2}", "2]", 1).replace("\"b\":2,", "\"b\":2 "), &[A, B, C]).unwrap(),
            whole
        );
        // A line break that became a letter joins two.
        assert_eq!(reconciled(whole.replacen('\n', "x", 1), &[A, B, C]).unwrap(), whole);
        // A line that is not there any more.
        let hole: Vec<&str> =
            whole.split_inclusive('\n').enumerate().filter(|(n, _)| *n != 1).map(|(_, l)| l).collect();
        assert_eq!(reconciled(hole.concat(), &[A, B, C]).unwrap(), whole);
    }

    #[test]
    fn more_lines_than_records_are_a_loss_and_the_number_is_told() {
        let error = reconciled(lines(&[A, B, C]), &[A]).unwrap_err();
        assert!(error.contains("holds 1 records, but 3 were durable"), "{error}");
        assert!(error.ends_with("2 acknowledged records are lost"), "{error}");
        // Also behind a hole, and without checksums.
        assert!(reconciled(format!("{A}\n\0\0\n{C}\n"), &[A]).is_err());
        let third = lines(&[A, B, C]).lines().nth(2).unwrap().to_owned();
        assert!(reconciled(format!("{third}\n"), &[A, B]).unwrap_err().contains("3 were durable"));
    }

    #[test]
    fn the_mark_tells_a_loss_that_the_witness_lost_too() {
        let (_dir, layout) = place();
        let witness = Witness::create(&layout).unwrap();
        witness.write(2, lines(&[A, B]).as_bytes()).unwrap();
        fs::write(layout.witness(), lines(&[A])).unwrap();
        let error = Witness::reconcile(&layout, &records(&[A])).unwrap_err().to_string();
        assert!(error.contains("holds 1 records, but 2 were durable") && error.contains("high-water"), "{error}");
        Witness::reconcile(&layout, &records(&[A, B])).unwrap();
    }

    #[test]
    fn a_line_that_is_another_record_is_not_overwritten() {
        for before in [lines(&[A, C]), format!("{A}\n{C}\n")] {
            let error = reconciled(before, &[A, B]).unwrap_err();
            assert!(error.ends_with("line 2 is not record 2 of the store"), "{error}");
        }
    }

    #[test]
    fn readers_pass_over_an_unfinished_end_only() {
        let (dir, layout) = place();
        let path = layout.witness();
        assert!(matches!(read_lines(dir.path()), Err(StoreError::Missing { .. })));
        let both = lines(&[A, B]);
        let first = lines(&[A]);
        for (content, records) in [
            (String::new(), vec![]),
            (format!("{both}{{\"to"), vec![A, B]),
            (format!("{first}\0\0\n"), vec![A]),
            (format!("{A}\n{B}\n"), vec![A, B]),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(read_lines(dir.path()).unwrap(), records);
        }
        for (content, end) in [
            (format!("{A}\n\0\n{B}\n"), "line 2 is not readable"),
            (both.replace("\"b\":2", "\"b\":3"), "line 2 is not what was written"),
            (both.lines().nth(1).unwrap().to_owned() + "\n", "line 1 holds record 2, so others are missing"),
        ] {
            fs::write(&path, content).unwrap();
            let error = read_lines(dir.path()).unwrap_err().to_string();
            assert!(error.ends_with(end), "{error}");
        }
        Mark::open(&layout.mark()).unwrap().set(2).unwrap();
        fs::write(&path, first).unwrap();
        let error = read_lines(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("it holds 1 records, but 2 were durable"), "{error}");
    }
}
