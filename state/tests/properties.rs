//! Whatever the order of appends, barriers and openings: what was appended is there, in order, once. Whatever happens to
//! the files: all that was acknowledged is there, or the store says that it is damaged.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use requorum_state::{MemoryStore, SledStore, Store, StoreError, salvage, witness};

#[derive(Debug, Clone)]
enum Step {
    Append(String),
    Barrier,
    Reopen,
    Blob(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => "\\{[ -~äöü]{0,80}\\}".prop_map(Step::Append),
        1 => (4000_usize..9000).prop_map(|size| Step::Append(format!("{{{}}}", "x".repeat(size)))),
        3 => Just(Step::Barrier),
        1 => Just(Step::Reopen),
        1 => vec(any::<u8>(), 0..2000).prop_map(Step::Blob),
    ]
}

/// What happens to a file of a store that is closed.
#[derive(Debug, Clone)]
enum Harm {
    Overwritten(Vec<u8>),
    Zeroed(usize),
    Truncated,
    Removed,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        4 => vec(any::<u8>(), 1..200).prop_map(Harm::Overwritten),
        4 => (1_usize..8192).prop_map(Harm::Zeroed),
        2 => Just(Harm::Truncated),
        1 => Just(Harm::Removed),
    ]
}

fn inflict(harm: &Harm, file: &Path, place: Index) {
    let mut content = fs::read(file).unwrap();
    let place = place.index(content.len() + 1);
    let overwrite = |content: &mut Vec<u8>, bytes: &[u8]| {
        let end = content.len().min(place + bytes.len());
        content[place..end].copy_from_slice(&bytes[..end - place]);
    };
    match harm {
        Harm::Overwritten(bytes) => overwrite(&mut content, bytes),
        Harm::Zeroed(len) => overwrite(&mut content, &vec![0; *len]),
        Harm::Truncated => content.truncate(place),
        Harm::Removed => return fs::remove_file(file).unwrap(),
    }
    fs::write(file, content).unwrap();
}

/// Returns the files of a run that hold something, in a fixed order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn payloads(model: &MemoryStore) -> Vec<Vec<u8>> {
    model.read().unwrap().into_iter().map(|frame| frame.payload).collect()
}

/// Creates a run of so many records, some of them in blobs, closed.
fn filled(run: &Path, records: usize, reopened: bool) -> MemoryStore {
    let model = MemoryStore::default();
    let store = SledStore::create(run).unwrap();
    for number in 0..records {
        let payload = format!("{{{number}{}}}", "x".repeat(if number % 50 == 7 { 5000 } else { 120 }));
        store.append(payload.as_bytes()).unwrap();
        model.append(payload.as_bytes()).unwrap();
    }
    store.barrier().unwrap();
    drop(store);
    if reopened {
        drop(SledStore::open(run).unwrap());
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_disk_behaves_as_the_one_in_memory(steps in vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let model = MemoryStore::default();
        let mut store = SledStore::create(&run).unwrap();
        let mut blobs = Vec::new();
        for step in steps {
            match step {
                Step::Append(payload) => {
                    let payload = payload.as_bytes();
                    prop_assert_eq!(store.append(payload).unwrap(), model.append(payload).unwrap());
                }
                Step::Barrier => {
                    store.barrier().unwrap();
                    let lines = witness::read_lines(&run).unwrap();
                    prop_assert_eq!(lines.len(), model.read().unwrap().len());
                    let found = salvage::look(&run).unwrap();
                    prop_assert_eq!(found.whole().unwrap(), payloads(&model), "found without sled: {:?}", found.complaints);
                }
                Step::Reopen => {
                    drop(store);
                    store = SledStore::open(&run).unwrap();
                }
                Step::Blob(bytes) => {
                    let digest = store.put_blob(&bytes).unwrap();
                    prop_assert_eq!(&digest, &model.put_blob(&bytes).unwrap());
                    blobs.push(digest);
                }
            }
            prop_assert_eq!(store.read().unwrap(), model.read().unwrap());
        }
        for digest in blobs {
            prop_assert_eq!(store.get_blob(&digest).unwrap(), model.get_blob(&digest).unwrap());
        }
    }

    #[test]
    fn a_harmed_store_gives_all_records_or_damaged(
        records in 1_usize..200,
        harms in vec((any::<Index>(), any::<Index>(), harm()), 1..3),
        reopened in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let model = filled(&run, records, reopened);
        for (file, place, harm) in &harms {
            // Two harms to the store only, so that the witness is left to tell.
            let files = files(&if harms.len() == 1 { run.clone() } else { run.join("store") });
            inflict(harm, &files[file.index(files.len())], *place);
        }
        // A second opening must not take for whole what the first one found damaged.
        for _ in 0..2 {
            match SledStore::open(&run) {
                Ok(store) => prop_assert!(store.read().unwrap() == model.read().unwrap(), "records are lost"),
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => prop_assert!(false, "{error:?}"),
            }
        }
        // And nothing is lost: what the one does not have, the other has.
        if SledStore::open(&run).is_err() {
            let found = salvage::look(&run).unwrap();
            let whole = found.whole();
            prop_assert!(whole.is_some(), "{:?} are missing; {:?}", found.missing(), found.complaints);
            prop_assert!(whole.as_ref().unwrap() == &payloads(&model), "another record was found");
            drop(salvage::rebuild(&run, &whole.unwrap()).unwrap());
        }
        prop_assert!(SledStore::open(&run).unwrap().read().unwrap() == model.read().unwrap());
    }

    #[test]
    fn what_is_found_after_any_harm_is_what_was_written_and_the_rest_is_missing(
        records in 1_usize..120,
        harms in vec((any::<Index>(), any::<Index>(), harm()), 2..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let written = payloads(&filled(&run, records, false));
        for (file, place, harm) in &harms {
            let files = files(&run);
            if !files.is_empty() {
                inflict(harm, &files[file.index(files.len())], *place);
            }
        }
        let Ok(found) = salvage::look(&run) else { return Ok(()) };
        prop_assert!(found.known <= written.len() as u64);
        for (number, remnant) in &found.records {
            let record = &written[usize::try_from(number - 1).unwrap()];
            prop_assert!(remnant.doubt.is_some() || remnant.payload == *record, "record {number} is another");
        }
        let missing: u64 = found.missing().into_iter().map(|range| range.end() - range.start() + 1).sum();
        prop_assert_eq!(found.records.len() as u64 + missing, found.known);
    }
}
