//! The floor of the benchmarks: what steps cost when only the syncs of the contract and their command are done.
//!
//! `cargo run --release -p requorum-state --example floor -- DIR STEPS PARALLEL [COMMAND [ARG…]]`
//!
//! Each step appends its intent to one file and syncs it. With a command it then makes a directory with the files `command`
//! and `start`, syncs `start`, the directory and its parent, runs the command, writes and syncs `status`, renames it into
//! place and syncs the directory: six syncs and one process, which is what `docs/architecture.md` promises of a command on
//! this machine. A result needs no sync of its own, as it rides along with the next intent. Nothing here could be
//! resumed, and no shell, supervisor, output or report is paid for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// As large as an intent usually is, in bytes.
const INTENT: usize = 400;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "usage: floor DIR STEPS PARALLEL [COMMAND [ARG…]]";
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or(usage)?;
    let steps: usize = args.next().ok_or(usage)?.parse()?;
    let parallel: usize = args.next().ok_or(usage)?.parse()?;
    let command: Vec<String> = args.collect();
    run(Path::new(&dir), steps, parallel, &command)?;
    Ok(())
}

/// Carries out the steps, each thread the next one that nobody has taken.
fn run(dir: &Path, steps: usize, parallel: usize, command: &[String]) -> io::Result<()> {
    let journal = OpenOptions::new().create(true).append(true).open(dir.join("journal"))?;
    let taken = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = taken.fetch_add(1, Ordering::Relaxed);
            if number >= steps {
                return Ok(());
            }
            intent(&journal)?;
            if !command.is_empty() {
                attempt(&dir.join(number.to_string()), command)?;
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..parallel).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?)
    })
}

fn intent(mut journal: &File) -> io::Result<()> {
    let mut line = vec![b'x'; INTENT];
    line.push(b'\n');
    journal.write_all(&line)?;
    journal.sync_data()
}

fn attempt(dir: &Path, command: &[String]) -> io::Result<()> {
    fs::create_dir(dir)?;
    fs::write(dir.join("command"), command.join(" "))?;
    write_synced(&dir.join("start"), b"boot id\nsession\nstart time\nend\n")?;
    sync(dir)?;
    sync(dir.parent().unwrap_or(dir))?;
    let status = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("the command failed: {status}")));
    }
    let unfinished = dir.join("status.tmp");
    write_synced(&unfinished, b"0\n")?;
    fs::rename(unfinished, dir.join("status"))?;
    sync(dir)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
