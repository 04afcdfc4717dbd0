//! The supervisor of one attempt on this machine: what the wrapper of `host.sh` is on a host.
//!
//! The engine starts its own binary as `capsule-supervise DIRECTORY`. The supervisor leads a session of its own, so neither
//! the end of the engine nor a Ctrl-C reaches it, holds the lock of the attempt as long as it lives, and leaves the status.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::capsule::capped::Capped;
use crate::capsule::here::tidy;
use crate::capsule::session::Session;
use crate::capsule::status_number;
use crate::crossing::crossing;

/// How long a process in the background may keep the output open after the command has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// What the supervisor is to run: the file `command` of the attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The shell text.
    pub(crate) text: String,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// The spooled standard input, if it has one.
    pub(crate) stdin: Option<PathBuf>,
}

/// Runs the command of an attempt's directory and leaves its status there. The engine calls it for its hidden command
/// `capsule-supervise`, before anything else; it returns when the command has ended.
#[must_use]
pub fn supervise(directory: &Path) -> ExitCode {
    match run(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the file `supervisor.log` of the attempt.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path) -> io::Result<()> {
    // It fails only if this process leads a process group already, and then it has no terminal to lose.
    let _ = rustix::process::setsid();
    let lock = OpenOptions::new().create(true).append(true).open(directory.join("lock"))?;
    // Only another supervisor of this attempt has it for long, and then it has begun when that one ends.
    lock.lock()?;
    if begun(directory) {
        return Err(io::Error::other("this attempt has begun already"));
    }
    let order: Order = serde_json::from_slice(&fs::read(directory.join("command"))?)?;
    let at = |place: &str| crossing(|| format!("supervisor {place} {}", attempt_of(directory)));
    at("before start record");
    record(directory, &order)?;
    at("before command");
    let status = obey(directory, &order)?;
    at("after command");
    tidy(directory);
    let unfinished = directory.join("status.tmp");
    write_synced(&unfinished, format!("{status}\n").as_bytes())?;
    at("before status");
    fs::rename(unfinished, directory.join("status"))?;
    at("after status");
    File::open(directory)?.sync_all()
}

/// Names the attempt of a directory, without the run.
fn attempt_of(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Says whether the attempt of a directory may have begun.
fn begun(directory: &Path) -> bool {
    let start = fs::read_to_string(directory.join("start")).unwrap_or_default();
    directory.join("status").exists() || Session::from_record(&start).is_some()
}

/// Writes the start record and makes it durable with all that came before it.
fn record(directory: &Path, order: &Order) -> io::Result<()> {
    write_synced(&directory.join("start"), Session::own()?.record().as_bytes())?;
    for path in order.stdin.as_deref().into_iter().chain([&*directory.join("command"), directory]) {
        File::open(path)?.sync_all()?;
    }
    directory.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn obey(directory: &Path, order: &Order) -> io::Result<i32> {
    let stdin = match &order.stdin {
        Some(spool) => Stdio::from(File::open(spool)?),
        None => Stdio::null(),
    };
    let spool = order.stdin.clone().unwrap_or_else(|| PathBuf::from("/dev/null"));
    let mut command = Command::new("sh");
    command.arg("-c").arg(&order.text).arg("sh").args(&order.args);
    command.env("REQUORUM_ATTEMPT", directory).env("REQUORUM_STDIN", spool);
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let out = child.stdout.take().map(|pipe| Kept::of(pipe.into())).transpose()?;
    let err = child.stderr.take().map(|pipe| Kept::of(pipe.into())).transpose()?;
    let status = status_number(child.wait()?);
    let deadline = Instant::now() + DRAIN;
    for (name, kept) in [("out", out), ("err", err)] {
        if let Some(kept) = kept {
            let (head, tail) = kept.finish(deadline)?;
            save(directory, name, &head, &tail)?;
        }
    }
    Ok(status)
}

/// Writes what was kept of a stream. One byte of the end too many tells that bytes were dropped, as in `host.sh`.
fn save(directory: &Path, name: &str, head: &[u8], tail: &[u8]) -> io::Result<()> {
    for (part, bytes) in [("head", head), ("tail", tail)] {
        if !bytes.is_empty() {
            write_synced(&directory.join(format!("{name}.{part}")), bytes)?;
        }
    }
    Ok(())
}

/// A stream that a thread reads to its end.
struct Kept {
    bytes: Arc<Mutex<Capped>>,
    ended: Receiver<()>,
    pipe: OwnedFd,
}

impl Kept {
    fn of(pipe: OwnedFd) -> io::Result<Self> {
        let bytes = Arc::new(Mutex::new(Capped::default()));
        let (tell, ended) = channel();
        let (keeper, mut from) = (bytes.clone(), File::from(pipe.as_fd().try_clone_to_owned()?));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                keeper.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..count]);
            }
            let _ = tell.send(());
        });
        Ok(Self { bytes, ended, pipe })
    }

    /// Waits for the end until the deadline. A process in the background that has it open still can write on: to `cat`.
    fn finish(self, deadline: Instant) -> io::Result<(Vec<u8>, Vec<u8>)> {
        if self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
            Command::new("cat").stdin(self.pipe).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        }
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *bytes).into_files())
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
