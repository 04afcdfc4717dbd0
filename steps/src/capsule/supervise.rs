//! The supervisor of one attempt on this machine: what the wrapper of `host.sh` is on a host.
//!
//! The engine starts its own binary as `capsule-supervise`, and writes the attempt's directory to its standard input when there
//! is one for it. The supervisor leads a session of its own, so neither the end of the engine nor a Ctrl-C reaches it, holds the
//! lock of the attempt as long as it follows it, and leaves the status; then it writes a line, for the engine to look. Once the
//! status is durable, and if the command has left no process behind, it writes a zero byte and waits for the next attempt. So
//! a session never holds processes of two attempts.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::WaitOptions;
use serde::{Deserialize, Serialize};

use crate::capsule::capped::Capped;
use crate::capsule::here::tidy;
use crate::capsule::session::Session;
use crate::capsule::status_number;
use crate::capsule::watch::Stream;
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

/// Runs the commands of the attempts' directories that standard input names, one after the other, and leaves their statuses
/// there. It ends with its standard input, with what it could not do, and when a command has left processes behind. The engine
/// calls it for its hidden command `capsule-supervise`, before anything else.
#[must_use]
pub fn supervise() -> ExitCode {
    // It fails only if this process leads a process group already, and then it has no terminal to lose.
    let _ = rustix::process::setsid();
    let adopts = adopt_orphans();
    loop {
        let mut order = Vec::new();
        let read = io::stdin().lock().read_until(0, &mut order);
        let (Ok(_), Some(path)) = (read, order.strip_suffix(b"\0")) else { return ExitCode::SUCCESS };
        let directory = Path::new(OsStr::from_bytes(path));
        if let Err(error) = run(directory) {
            let _ = fs::write(directory.join("supervisor.log"), format!("{error}\n"));
            return ExitCode::FAILURE;
        }
        if !adopts || has_children() {
            return ExitCode::SUCCESS;
        }
        tell_engine(b"\0");
    }
}

/// Makes this process the parent of what its commands leave behind; says whether that is so.
#[cfg(target_os = "linux")]
fn adopt_orphans() -> bool {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok()
}

/// Says that this process does not become the parent of what its commands leave behind: only Linux can do it.
#[cfg(not(target_os = "linux"))]
fn adopt_orphans() -> bool {
    false
}

/// Says whether a process lives that this one has started or adopted; buries those that have ended.
fn has_children() -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(error) => return error != Errno::CHILD,
        }
    }
}

/// Writes to the engine, which may be gone.
fn tell_engine(word: &[u8]) {
    let mut engine = io::stdout();
    let _ = engine.write_all(word).and_then(|()| engine.flush());
}

fn run(directory: &Path) -> io::Result<()> {
    let lock = OpenOptions::new().create(true).append(true).open(directory.join("lock"))?;
    // Only another supervisor of this attempt has it for long, and then it has begun when that one ends.
    lock.lock()?;
    if begun(directory) {
        return Err(io::Error::other("this attempt has begun already"));
    }
    let order: Order = serde_json::from_slice(&fs::read(directory.join("command"))?)?;
    let at = |place: &str| crossing(|| format!("supervisor {place} {}", attempt_of(directory)));
    at("before start record");
    record(directory)?;
    at("before command");
    let status = obey(directory, &order)?;
    at("after command");
    tidy(directory);
    let (unfinished, finished) = (directory.join("status.tmp"), directory.join("status"));
    fs::write(&unfinished, format!("{status}\n"))?;
    at("before status");
    fs::rename(unfinished, &finished)?;
    at("after status");
    tell_engine(b"\n");
    sync(&finished)?;
    sync(directory)
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

/// Writes the start record and makes it durable, with the names that lead to it.
fn record(directory: &Path) -> io::Result<()> {
    write_synced(&directory.join("start"), Session::own()?.record().as_bytes())?;
    sync(directory)?;
    directory.parent().map_or(Ok(()), sync)
}

/// Makes a file durable, or the names in a directory.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn obey(directory: &Path, order: &Order) -> io::Result<i32> {
    let stdin = match &order.stdin {
        Some(spool) => Stdio::from(File::open(spool)?),
        None => Stdio::null(),
    };
    let spool = order.stdin.clone().unwrap_or_else(|| PathBuf::from("/dev/null"));
    // By its path, since a search along PATH tries to start it in each directory.
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(&order.text).arg("sh").args(&order.args);
    command.env("REQUORUM_ATTEMPT", directory).env("REQUORUM_STDIN", spool);
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut streams = Vec::new();
    for (stream, pipe) in Stream::ALL.into_iter().zip(pipes) {
        let pipe = pipe.ok_or_else(|| io::Error::other("the command has no pipe for its output"))?;
        streams.push(Reading::of(pipe, directory.join(stream.name()))?);
    }
    let status = status_number(wait_for(&child)?);
    let deadline = Instant::now() + DRAIN;
    streams.into_iter().try_for_each(|stream| stream.finish(deadline))?;
    Ok(status)
}

/// Waits for the end of a child. Buries meanwhile what it leaves behind: a command of hours may start many.
fn wait_for(child: &Child) -> io::Result<ExitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_pid().cast_unsigned() == child.id() => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A stream that a thread reads to its end.
struct Reading {
    /// Taken at the end; what comes later is not kept.
    kept: Arc<Mutex<Option<Kept>>>,
    ended: Receiver<()>,
    pipe: OwnedFd,
}

impl Reading {
    fn of(pipe: OwnedFd, path: PathBuf) -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(Some(Kept { path, head: Ok(None), bytes: Capped::default() })));
        let (tell, ended) = channel();
        let (keeper, mut from) = (kept.clone(), File::from(pipe.as_fd().try_clone_to_owned()?));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if let Some(kept) = &mut *keeper.lock().unwrap_or_else(PoisonError::into_inner) {
                    kept.push(&buffer[..count]);
                }
            }
            let _ = tell.send(());
        });
        Ok(Self { kept, ended, pipe })
    }

    /// Waits for the end until the deadline, and makes durable what was kept. A process in the background that has the stream
    /// open still can write on: to `cat`.
    fn finish(self, deadline: Instant) -> io::Result<()> {
        if self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
            Command::new("cat").stdin(self.pipe).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or(Ok(()), Kept::save)
    }
}

/// What is kept of a stream: its beginning in a file that grows as the bytes come, its end in memory.
struct Kept {
    /// The files' path, without `.head` and `.tail`.
    path: PathBuf,
    /// The file of the beginning, from the first byte on; or why it cannot be written.
    head: io::Result<Option<File>>,
    bytes: Capped,
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        let head = self.bytes.push(bytes);
        if head > 0 && self.head.is_ok() {
            self.head = self.grow(&bytes[..head]);
        }
    }

    fn grow(&mut self, bytes: &[u8]) -> io::Result<Option<File>> {
        let mut file = match mem::replace(&mut self.head, Ok(None))? {
            Some(file) => file,
            None => File::create(self.path.with_extension("head"))?,
        };
        file.write_all(bytes)?;
        Ok(Some(file))
    }

    /// Makes it durable. One byte of the end too many tells that bytes were dropped, as in `host.sh`.
    fn save(self) -> io::Result<()> {
        if let Some(head) = self.head? {
            head.sync_all()?;
        }
        let (_, tail) = self.bytes.into_files();
        if tail.is_empty() { Ok(()) } else { write_synced(&self.path.with_extension("tail"), &tail) }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
