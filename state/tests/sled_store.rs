//! The store on disk: conformance, locks, and what it does with damaged, full and read-only places.
#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use requorum_state::{SledStore, Store, StoreError, conformance, salvage, witness};
use tempfile::TempDir;

/// A run directory in which this many records are durable, closed.
fn run_with(records: u64) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("runs/r1");
    let store = SledStore::create(&run).unwrap();
    for number in 1..=records {
        store.append(payload(number).as_bytes()).unwrap();
    }
    store.barrier().unwrap();
    (dir, run)
}

fn payload(number: u64) -> String {
    format!(r#"{{"number":{number},"fill":"{}"}}"#, "x".repeat(200))
}

fn open_error(run: &Path) -> StoreError {
    let error = SledStore::open(run).expect_err("the store opened");
    assert!(!error.hint().is_empty());
    error
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

#[test]
fn the_store_on_disk_conforms() {
    conformance::run(|| {
        let dir = tempfile::tempdir().unwrap();
        move || {
            let run = dir.path().join("run");
            let store = if run.exists() { SledStore::open(&run) } else { SledStore::create(&run) };
            Arc::new(store.unwrap()) as Arc<dyn Store>
        }
    });
}

#[test]
fn a_second_opener_learns_who_holds_the_store() {
    let (_dir, run) = run_with(1);
    let held = SledStore::open(&run).unwrap();
    let StoreError::Locked { by, .. } = open_error(&run) else { panic!("not locked") };
    assert_eq!(by.pid, std::process::id());
    assert!(matches!(SledStore::create(&run), Err(StoreError::Locked { .. })));
    drop(held);
    SledStore::open(&run).unwrap();
}

#[test]
fn a_store_is_neither_created_twice_nor_opened_where_none_is() {
    let (dir, run) = run_with(1);
    assert!(matches!(SledStore::create(&run), Err(StoreError::Exists { .. })));
    let nothing = dir.path().join("nothing");
    assert!(matches!(open_error(&nothing), StoreError::Missing { .. }));
    assert!(!nothing.exists(), "looking for a run created something");
}

#[test]
fn a_creation_that_was_interrupted_is_no_run() {
    let (_dir, run) = run_with(0);
    fs::remove_file(run.join("events.jsonl")).unwrap();
    fs::remove_dir_all(run.join("store")).unwrap();
    fs::create_dir(run.join("store")).unwrap();
    assert!(matches!(open_error(&run), StoreError::Missing { .. }));
}

#[test]
fn only_the_user_may_read_a_run() {
    let (_dir, run) = run_with(3);
    let store = SledStore::open(&run).unwrap();
    store.put_blob(b"secret").unwrap();
    let mut dirs = vec![run];
    while let Some(dir) = dirs.pop() {
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
            }
        }
    }
}

#[test]
fn an_unfinished_snapshot_of_sled_does_no_harm() {
    let (_dir, run) = run_with(30);
    fs::write(run.join("store/snap.7FFFFFFFFFFFFFFF.generating"), b"torn").unwrap();
    assert_eq!(SledStore::open(&run).unwrap().read().unwrap().len(), 30);
}

#[test]
fn the_witness_shows_durable_records_while_the_run_is_live() {
    let (_dir, run) = run_with(2);
    let store = SledStore::open(&run).unwrap();
    store.append(payload(3).as_bytes()).unwrap();
    assert_eq!(witness::read_lines(&run).unwrap().len(), 2, "a record that is not durable yet was shown");
    store.barrier().unwrap();
    assert_eq!(witness::read_lines(&run).unwrap(), [payload(1), payload(2), payload(3)]);
}

#[test]
fn a_record_without_a_barrier_is_saved_when_the_store_is_closed() {
    let (_dir, run) = run_with(1);
    SledStore::open(&run).unwrap().append(payload(2).as_bytes()).unwrap();
    assert_eq!(witness::read_lines(&run).unwrap().len(), 2);
    assert_eq!(SledStore::open(&run).unwrap().read().unwrap().len(), 2);
}

#[test]
fn a_torn_or_lost_witness_is_written_again_from_the_store() {
    let (_dir, run) = run_with(5);
    let path = run.join("events.jsonl");
    let whole = fs::read(&path).unwrap();
    for kept in [whole.len() - 10, 100, 0] {
        fs::write(&path, &whole[..kept]).unwrap();
        drop(SledStore::open(&run).unwrap());
        assert_eq!(fs::read(&path).unwrap(), whole, "{kept} bytes were left");
    }
    fs::remove_file(&path).unwrap();
    drop(SledStore::open(&run).unwrap());
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn an_emptied_store_is_damaged_and_says_how_many_records_are_lost() {
    let (_dir, run) = run_with(12);
    let (_other_dir, other) = run_with(0);
    let empty: [fn(&Path, &Path); 4] = [
        |store, _| fs::remove_dir_all(store).unwrap(),
        |store, _| fs::remove_file(store.join("db")).unwrap(),
        |store, _| files_of(store).iter().for_each(|file| fs::remove_file(file).unwrap()),
        // A store that is valid but knows nothing.
        |store, other| {
            fs::remove_dir_all(store).unwrap();
            fs::rename(other, store).unwrap();
        },
    ];
    for (number, empty) in empty.iter().enumerate() {
        let _ = fs::create_dir(run.join("store"));
        let _ = fs::write(run.join("store/db"), "");
        empty(&run.join("store"), &other.join("store"));
        let error = open_error(&run);
        assert!(matches!(error, StoreError::Damaged { .. }), "case {number}: {error}");
        assert!(error.to_string().contains("12 acknowledged records are lost"), "case {number}: {error}");
        assert_eq!(witness::read_lines(&run).unwrap().len(), 12, "evidence was changed");
    }
}

/// Opens a store that something was done to. All records, or an error that says that it is damaged; nothing between.
fn opens_whole_or_damaged(run: &Path, records: usize, what: &str) -> bool {
    match SledStore::open(run) {
        Ok(store) => {
            assert_eq!(store.read().unwrap().len(), records, "{what}");
            true
        }
        Err(StoreError::Damaged { .. }) => false,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

#[test]
fn a_truncated_database_is_damaged_never_shorter() {
    const RECORDS: usize = 400;
    let (_dir, whole) = run_with(RECORDS as u64);
    let db = whole.join("store/db");
    let len = fs::metadata(&db).unwrap().len();
    let mut damaged = 0;
    for percent in [0, 1, 10, 33, 50, 75, 90] {
        let (_copy_dir, run) = copy_of(&whole);
        OpenOptions::new().write(true).open(run.join("store/db")).unwrap().set_len(len * percent / 100).unwrap();
        damaged += u32::from(!opens_whole_or_damaged(&run, RECORDS, &format!("{percent} percent are left")));
    }
    assert_eq!(damaged, 7, "a store that lost its end was taken for whole");
}

#[test]
fn overwritten_bytes_give_all_records_or_damaged() {
    const RECORDS: usize = 300;
    let (_dir, whole) = run_with(RECORDS as u64);
    // Opened once more, so that there is a snapshot of sled's to be overwritten too.
    drop(SledStore::open(&whole).unwrap());
    let mut damaged = 0;
    for file in files_of(&whole.join("store")) {
        let len = fs::metadata(&file).unwrap().len();
        for part in 0..16 {
            let (_copy_dir, run) = copy_of(&whole);
            let name = file.file_name().unwrap();
            let place = len * part / 16;
            let copy = OpenOptions::new().write(true).open(run.join("store").join(name)).unwrap();
            let size = usize::try_from((len - place).min(64)).unwrap();
            copy.write_all_at(&vec![0x5a; size], place).unwrap();
            let what = format!("{} from byte {place}", name.display());
            damaged += u32::from(!opens_whole_or_damaged(&run, RECORDS, &what));
        }
    }
    assert!(damaged > 0, "nothing that was overwritten was noticed");
}

#[test]
fn a_damaged_store_that_sled_was_let_at_still_gives_what_it_held() {
    const RECORDS: u64 = 300;
    let (_dir, run) = run_with(RECORDS);
    // Nothing but the store is left; one byte of it is wrong, amid the records.
    fs::write(run.join("events.jsonl"), "").unwrap();
    let db = run.join("store/db");
    let mut content = fs::read(&db).unwrap();
    let place = content.windows(12).position(|bytes| bytes == br#"{"number":15"#).unwrap();
    content[place + 30] ^= 1;
    fs::write(&db, content).unwrap();
    for _ in 0..2 {
        assert!(matches!(open_error(&run), StoreError::Damaged { .. }));
        let found = salvage::look(&run).unwrap();
        assert_eq!(found.known, RECORDS);
        let missing: u64 = found.missing().into_iter().map(|range| range.end() - range.start() + 1).sum();
        assert!(missing <= 1, "{:?} are missing: sled took more than was damaged", found.missing());
    }
}

fn copy_of(run: &Path) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("run");
    let status = Command::new("cp").arg("-a").arg(run).arg(&copy).status().unwrap();
    assert!(status.success());
    (dir, copy)
}

/// A small file system that is unmounted when it is dropped, or `None` where this user may not mount.
struct Mounted(TempDir);

impl Mounted {
    fn of_kib(size: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={size}k");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        eprintln!("not run: mounting needs root");
        None
    }

    fn remount(&self, option: &str) {
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", &format!("remount,{option}")]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_stops_the_store_and_loses_nothing_that_was_acknowledged() {
    let Some(place) = Mounted::of_kib(2048) else { return };
    let run = place.0.path().join("run");
    let store = SledStore::create(&run).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match store.append(payload(acknowledged + 1).as_bytes()).and_then(|_| store.barrier()) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(matches!(store.append(b"{}"), Err(StoreError::Full { .. })), "the store did not stop");
    assert!(matches!(store.put_blob(&vec![1; 4 << 20]), Err(StoreError::Full { .. })));
    drop(store);
    place.remount("size=16m");
    let records = SledStore::open(&run).unwrap().read().unwrap();
    assert!(records.len() as u64 >= acknowledged, "{} of {acknowledged}", records.len());
    for (number, frame) in (1..).zip(&records) {
        assert_eq!(frame.payload, payload(number).as_bytes());
    }
}

#[test]
fn a_read_only_place_is_told_as_such() {
    let Some(place) = Mounted::of_kib(4096) else { return };
    let run = place.0.path().join("run");
    drop(SledStore::create(&run).unwrap());
    place.remount("ro");
    assert!(matches!(open_error(&run), StoreError::ReadOnly { .. }));
    let created = SledStore::create(&place.0.path().join("other"));
    assert!(matches!(created, Err(StoreError::ReadOnly { .. })), "{created:?}");
}
