//! A writer that is killed with SIGKILL loses no record that it was told is durable.
//!
//! The writer is this test binary, executed again with [`RUN`] in its environment.
#![allow(clippy::unwrap_used)]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use requorum_state::{SledStore, Store, witness};

/// Names the directory of the run for the writer.
const RUN: &str = "REQUORUM_TEST_RUN";

const ROUNDS: u64 = 12;

fn payload(seq: u64) -> String {
    // Every seventeenth is too large for sled and goes into a blob.
    let fill = if seq.is_multiple_of(17) { 6000 } else { 150 };
    format!(r#"{{"seq":{seq},"fill":"{}"}}"#, "x".repeat(fill))
}

/// The writer: says after each barrier how far the records are durable, until it is killed.
#[test]
fn writer() {
    let Some(run) = env::var_os(RUN) else { return };
    let store = SledStore::open(Path::new(&run)).unwrap();
    let mut seq = store.read().unwrap().last().map_or(0, |frame| frame.seq);
    loop {
        for _ in 0..=seq % 3 {
            seq += 1;
            assert_eq!(store.append(payload(seq).as_bytes()).unwrap(), seq);
        }
        store.barrier().unwrap();
        println!("durable {seq}");
        std::io::stdout().flush().unwrap();
    }
}

/// A writer in a process of its own; killed at the latest when it is dropped.
struct Writer {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Writer {
    fn start(run: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(RUN, run)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// Returns the next number it was told is durable, or `None` when it has ended.
    fn next_durable(&mut self) -> Option<u64> {
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            if let Some(seq) = line.strip_suffix('\n')?.strip_prefix("durable ") {
                return Some(seq.parse().unwrap());
            }
        }
    }

    /// Kills it and returns the last number it was told, if it came that far.
    fn kill(mut self) -> Option<u64> {
        self.process.kill().unwrap();
        std::iter::from_fn(|| self.next_durable()).last()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn assert_holds(run: &Path, acknowledged: u64) -> u64 {
    let records = SledStore::open(run).unwrap().read().unwrap();
    let held = records.len() as u64;
    assert!(held >= acknowledged, "{acknowledged} records were acknowledged, {held} are there");
    for (seq, frame) in (1..).zip(&records) {
        assert_eq!((frame.seq, frame.payload.as_slice()), (seq, payload(seq).as_bytes()));
    }
    assert_eq!(witness::read_lines(run).unwrap().len() as u64, held);
    held
}

#[test]
fn a_killed_writer_loses_no_acknowledged_record() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    drop(SledStore::create(&run).unwrap());
    let mut held = 0;
    for round in 1..=ROUNDS {
        let mut writer = Writer::start(&run);
        let wanted = held + round * 37;
        let mut acknowledged = 0;
        while acknowledged < wanted {
            acknowledged = writer.next_durable().expect("the writer goes on until it is killed");
        }
        acknowledged = writer.kill().unwrap_or(acknowledged);
        held = assert_holds(&run, acknowledged);
    }
}

#[test]
fn a_writer_killed_while_it_opens_loses_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let store = SledStore::create(&run).unwrap();
    for seq in 1..=200 {
        store.append(payload(seq).as_bytes()).unwrap();
    }
    store.barrier().unwrap();
    drop(store);
    let mut acknowledged = 200;
    for round in 0..40 {
        let writer = Writer::start(&run);
        // A moment that cannot be waited for: somewhere between its start and its first records.
        thread::sleep(Duration::from_micros(500 * round));
        acknowledged = writer.kill().unwrap_or(acknowledged);
        if round % 5 == 4 {
            acknowledged = assert_holds(&run, acknowledged);
        }
    }
}
