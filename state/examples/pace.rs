//! Measures a directory: records per second, each with a barrier, from one thread and from many; memory; disk.
//!
//! `cargo run --release -p requorum-state --example pace [DIR]`

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use requorum_state::{SledStore, Store};

const RECORDS: u32 = 4000;
const THREADS: u32 = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("requorum-pace-{}", std::process::id()));
    fs::create_dir(&dir)?;
    let result = measure(&dir);
    fs::remove_dir_all(&dir)?;
    result
}

fn measure(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let payload = format!(r#"{{"seq":1,"fill":"{}"}}"#, "x".repeat(280));
    let payload = payload.as_bytes();

    let mut file = File::create(dir.join("raw"))?;
    report("append and fdatasync of a plain file", RECORDS, || {
        (0..RECORDS).try_for_each(|_| file.write_all(payload).and_then(|()| file.sync_data()))
    })?;

    let run = dir.join("run");
    let before = resident();
    let store = SledStore::create(&run)?;
    report("append and barrier, one thread", RECORDS, || {
        (0..RECORDS).try_for_each(|_| store.append(payload).and_then(|_| store.barrier())).map_err(io::Error::other)
    })?;
    report("append and barrier, 16 threads", RECORDS, || {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    (0..RECORDS / THREADS).try_for_each(|_| store.append(payload).and_then(|_| store.barrier()))
                });
            }
        });
        Ok(())
    })?;
    println!("memory: {before} kB before, {} kB after", resident());
    drop(store);
    println!(
        "disk: {} kB for {} kB of records",
        disk(&run.join("store"))?,
        2 * RECORDS as usize * payload.len() / 1024
    );

    let begun = Instant::now();
    let store = SledStore::open(&run)?;
    println!("open and verify {} records: {:?}", store.read()?.len(), begun.elapsed());
    Ok(())
}

fn report(what: &str, records: u32, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let begun = Instant::now();
    work()?;
    let each: Duration = begun.elapsed() / records;
    println!("{what}: {:.0} records/s, {each:?} each", 1.0 / each.as_secs_f64());
    Ok(())
}

/// Returns the memory of this process in kB, as Linux counts it.
fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("?");
    line.trim().trim_end_matches(" kB").to_owned()
}

fn disk(dir: &Path) -> io::Result<u64> {
    let mut kilobytes = 0;
    for entry in fs::read_dir(dir)? {
        kilobytes += entry?.metadata()?.len() / 1024;
    }
    Ok(kilobytes)
}
