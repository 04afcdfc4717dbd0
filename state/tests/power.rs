//! A power loss takes no record that was acknowledged; it does take records that sled only flushed.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/support/disk.rs"]
mod disk;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use disk::Disk;
use requorum_state::{SledStore, Store, StoreError, salvage};

/// How often the power is cut.
const ROUNDS: u64 = 6;

fn payload(number: u64) -> String {
    // Every ninth goes into a blob.
    let fill = if number.is_multiple_of(9) { 5000 } else { 300 };
    format!(r#"{{"number":{number},"fill":"{}"}}"#, "x".repeat(fill))
}

fn assert_holds(store: &SledStore, acknowledged: u64, round: u64) {
    let records = store.read().unwrap();
    assert_eq!(records.len() as u64, acknowledged, "in round {round}");
    for (number, frame) in (1..).zip(records) {
        assert_eq!(frame.payload, payload(number).as_bytes());
    }
}

/// Opens the store after a power loss: with all records, or damaged, with all records still to be had.
fn survives(run: &Path, acknowledged: u64, round: u64) {
    match SledStore::open(run) {
        Ok(store) => assert_holds(&store, acknowledged, round),
        Err(StoreError::Damaged { what, .. }) => {
            println!("round {round}: {what}");
            let records = salvage::look(run).unwrap().whole().expect("all records can be had");
            let (store, _) = salvage::rebuild(run, &records).unwrap();
            assert_holds(&store, acknowledged, round);
        }
        Err(error) => panic!("in round {round}: {error:?}"),
    }
}

#[test]
fn a_power_loss_takes_no_acknowledged_record() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = Disk::new(dir.path(), 64) else { return };
    let run = disk.path().join("state/run");
    drop(SledStore::create(&run).unwrap());
    let mut acknowledged = 0;
    for round in 1..=ROUNDS {
        let store = SledStore::open(&run).unwrap();
        for _ in 0..round * round * 5 {
            store.append(payload(acknowledged + 1).as_bytes()).unwrap();
            store.barrier().unwrap();
            acknowledged += 1;
        }
        if !disk.cut() {
            return;
        }
        // What it writes on its end goes nowhere any more.
        drop(store);
        disk.switch_on();
        survives(&run, acknowledged, round);
    }
}

/// The control: without it, a cut that takes nothing would prove nothing.
#[test]
fn a_power_loss_takes_what_sled_only_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = Disk::new(dir.path(), 64) else { return };
    let mut lost = 0;
    for round in 0..ROUNDS {
        let place = disk.path().join(format!("plain-{round}"));
        let db = sled::open(&place).unwrap();
        for number in 1..=100_u64 {
            db.insert(number.to_be_bytes(), payload(number).as_bytes()).unwrap();
            db.flush().unwrap();
        }
        if !disk.cut() {
            return;
        }
        let _ = catch_unwind(AssertUnwindSafe(|| drop(db)));
        disk.switch_on();
        let found = catch_unwind(|| sled::open(&place).map(|db| db.len()));
        lost += u64::from(!matches!(found, Ok(Ok(100))));
    }
    assert!(lost > 0, "flush() alone survived {ROUNDS} power losses: is the power cut at all?");
    println!("flush() alone lost records in {lost} of {ROUNDS} power losses");
}
