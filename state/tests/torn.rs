//! A model of a power loss that needs no disk: what was synced stays, of what was written later a random part is there.
//!
//! The files of a real store are recorded at barriers. A crash image is one recording with a random subset of the sectors
//! that the next one changed, cut off at a random byte. Opened, it has every acknowledged record or says that it is damaged,
//! and then every acknowledged record can be had from what is left.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use requorum_state::{SledStore, Store, StoreError, salvage};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// The files of a run by their names below its directory.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files_of(root: &Path) -> Files {
    let mut found = Files::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn payload(number: u64) -> String {
    let fill = if number.is_multiple_of(40) { 6000 } else { 700 };
    format!(r#"{{"number":{number},"fill":"{}"}}"#, "x".repeat(fill))
}

/// What was on disk at a barrier, and how much of it is not synced.
struct Moment {
    files: Files,
    acknowledged: u64,
}

/// What a run came to: the files that no barrier syncs as they were at its opening, and pairs of moments, a barrier each.
struct Trace {
    opened: Files,
    pairs: Vec<(Moment, Moment)>,
}

/// Records a store at work, across the borders of sled's segments of 512 KiB.
fn trace() -> Trace {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    drop(SledStore::create(&run).unwrap());
    let store = SledStore::open(&run).unwrap();
    let opened = files_of(&run);
    let mut acknowledged = 0;
    let mut commit = |records: u64| {
        for _ in 0..records {
            acknowledged += 1;
            store.append(payload(acknowledged).as_bytes()).unwrap();
        }
        store.barrier().unwrap();
        acknowledged
    };
    let mut pairs = Vec::new();
    for number in 0..12 {
        let before = Moment { acknowledged: commit(90), files: files_of(&run) };
        let after = Moment { acknowledged: commit(1 + number * 3), files: files_of(&run) };
        pairs.push((before, after));
    }
    Trace { opened, pairs }
}

/// Makes the content of a file after the power went: `synced` surely, of `written` some sectors, cut at some byte.
fn torn(synced: &[u8], written: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let (least, most) = (synced.len().min(written.len()), synced.len().max(written.len()));
    let mut content = synced.to_vec();
    content.resize(if least == most { least } else { rng.random_range(least..=most) }, 0);
    let whole = rng.random_bool(0.2);
    for begin in (0..content.len()).step_by(SECTOR) {
        let end = content.len().min(begin + SECTOR).min(written.len());
        if begin < end && (whole || rng.random_bool(0.5)) {
            content[begin..end].copy_from_slice(&written[begin..end]);
        }
    }
    content
}

/// Writes what a power loss between two moments may have left.
fn crash(trace: &Trace, (before, after): &(Moment, Moment), root: &Path, rng: &mut StdRng) {
    for (name, written) in &after.files {
        // No barrier syncs these: only their state at the opening is sure. They are written after it.
        let unsynced = ["events.jsonl", "high-water"].iter().any(|file| name.ends_with(file));
        let (synced, written) =
            if unsynced { (trace.opened.get(name), &before.files[name]) } else { (before.files.get(name), written) };
        // A blob is synced before it has its name, and has its name before a record names it.
        let is_blob = name.starts_with("blobs");
        if synced.is_none() && !is_blob && rng.random_bool(0.5) {
            continue;
        }
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = if is_blob { written.clone() } else { torn(synced.map_or(&[], Vec::as_slice), written, rng) };
        fs::write(path, content).unwrap();
    }
}

fn holds(payloads: &[Vec<u8>], acknowledged: u64) {
    assert!(payloads.len() as u64 >= acknowledged, "{} of {acknowledged} acknowledged records", payloads.len());
    for (number, found) in (1..).zip(payloads) {
        assert!(found == payload(number).as_bytes(), "record {number} is another");
    }
}

#[test]
fn whatever_part_of_the_unsynced_writes_is_lost_every_acknowledged_record_is_there_or_can_be_had() {
    let rounds: usize = std::env::var("REQUORUM_ROUNDS").map_or(40, |rounds| rounds.parse().unwrap());
    let seed: u64 = std::env::var("REQUORUM_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("REQUORUM_SEED={seed}");
    let trace = trace();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut damaged = 0;
    for round in 0..rounds {
        let pair = &trace.pairs[round % trace.pairs.len()];
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        crash(&trace, pair, &run, &mut rng);
        match SledStore::open(&run) {
            Ok(store) => {
                let records: Vec<_> = store.read().unwrap().into_iter().map(|frame| frame.payload).collect();
                holds(&records, pair.0.acknowledged);
            }
            Err(StoreError::Damaged { what, .. }) => {
                damaged += 1;
                println!("round {round}: {what}");
                let found = salvage::look(&run).unwrap();
                // What was not acknowledged may be there in part, behind what was.
                let sound: Vec<_> = (1..=pair.0.acknowledged).map_while(|number| found.records.get(&number)).collect();
                assert!(sound.iter().all(|remnant| remnant.doubt.is_none()), "round {round}: {what}");
                holds(&sound.iter().map(|remnant| remnant.payload.clone()).collect::<Vec<_>>(), pair.0.acknowledged);
            }
            Err(error) => panic!("round {round}: {error:?}"),
        }
    }
    println!("{damaged} of {rounds} stores were damaged, none had lost an acknowledged record");
}
