//! Capsules on this machine: the same protocol as `host.sh`, with the same files, carried out by the supervisor.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::timeout;

use crate::capsule::answer;
use crate::capsule::capped::CAP;
use crate::capsule::session::Session;
use crate::capsule::supervise::{Order, sync};
use crate::capsule::supervisors::Supervisors;
use crate::capsule::watch::{SHOWN, Stream, Watched};
use crate::capsule::{CapsuleState, cut_off, shell};
use crate::crossing::crossing;
use crate::fault::Fault;
use crate::name::AttemptId;
use crate::redact::{Filter, Given, Redactor};
use crate::world::{Output, Script, Settings, Stdin};

/// How often a session is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// How often is shown what a command has written since.
const SHOW: Duration = Duration::from_millis(200);

/// The capsules of this machine.
pub(crate) struct LocalCapsules<'w> {
    settings: &'w Settings,
    supervisors: &'w Supervisors,
}

impl<'w> LocalCapsules<'w> {
    pub(crate) fn new(settings: &'w Settings, supervisors: &'w Supervisors) -> Self {
        Self { settings, supervisors }
    }

    /// Says what is known of an attempt.
    pub(crate) fn state(&self, attempt: &AttemptId) -> Result<CapsuleState, Fault> {
        state(&self.directory(attempt)).map_err(|error| unreadable(&error))
    }

    /// Runs a script in the attempt's capsule, or finds what became of it; see [`crate::Writer::run`].
    pub(crate) async fn run(&self, attempt: &AttemptId, script: Script, watched: &Watched) -> Result<Output, Fault> {
        let directory = self.directory(attempt);
        if matches!(self.state(attempt)?, CapsuleState::Absent | CapsuleState::NotStarted) {
            let mut launch = pin!(self.launch(&directory, script));
            loop {
                match timeout(SHOW, &mut launch).await {
                    Ok(launched) => break launched?,
                    Err(_) => show(&directory, watched),
                }
            }
        }
        loop {
            let state = self.state(attempt)?;
            show(&directory, watched);
            match state {
                CapsuleState::Running => tokio::time::sleep(LOOK).await,
                CapsuleState::Exited { status } => {
                    return output(&directory, status).map_err(|error| unreadable(&error));
                }
                CapsuleState::NotStarted | CapsuleState::Absent => {
                    let log = fs::read_to_string(directory.join("supervisor.log")).unwrap_or_default();
                    return Err(Fault::refused("the command was not started").seen(log.trim()));
                }
                state @ CapsuleState::Dead { .. } => {
                    tidy(&directory);
                    let seen = output(&directory, -1).map_err(|error| unreadable(&error))?;
                    return Err(cut_off(&state, &seen));
                }
            }
        }
    }

    /// Makes sure that an attempt which has not begun never does: a supervisor that is on its way finds nothing to do.
    pub(crate) fn call_off(&self, attempt: &AttemptId) -> Result<CapsuleState, Fault> {
        let directory = self.directory(attempt);
        let call_off = || -> io::Result<CapsuleState> {
            if state(&directory)? == CapsuleState::NotStarted {
                let lock = OpenOptions::new().create(true).append(true).open(directory.join("lock"))?;
                // Whoever has the lock by now begins it.
                if lock.try_lock().is_ok()
                    && state_of_free(&directory)? == CapsuleState::NotStarted
                    && let Err(error) = fs::remove_file(directory.join("command"))
                    && error.kind() != io::ErrorKind::NotFound
                {
                    return Err(error);
                }
            }
            state(&directory)
        };
        call_off().map_err(|error| unreadable(&error))
    }

    /// Removes the capsules of the run, which is over, or only refuses where that cannot be done.
    pub(crate) fn forget(&self, remove: bool) -> Result<(), Fault> {
        let all = &self.settings.local_capsules;
        let entries = match fs::read_dir(all) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&error))?.path();
            if path.is_dir() && state(&path).map_err(|error| unreadable(&error))? == CapsuleState::Running {
                let name = path.file_name().unwrap_or_default().display();
                return Err(Fault::refused(format!("the attempt {name} still runs on this machine"))
                    .hint("wait for its end, or stop it"));
            }
        }
        if remove { fs::remove_dir_all(all).map_err(|error| unreadable(&error)) } else { Ok(()) }
    }

    /// Stops an attempt: tells it to end, kills it after `grace`, and sees it gone.
    pub(crate) async fn stop(&self, attempt: &AttemptId, grace: Duration) -> Result<CapsuleState, Fault> {
        let before = self.state(attempt)?;
        if before != CapsuleState::Running {
            return Ok(before);
        }
        let directory = self.directory(attempt);
        if let Some(session) = session(&directory) {
            let signal = |signal, leader_too| session.signal(signal, leader_too).map_err(|error| unreadable(&error));
            let gone = |kill: Option<Signal>| move || Ok(signal(kill, false)? == 0);
            signal(Some(Signal::TERM), false)?;
            if !within(grace, gone(None)).await? {
                within(Duration::from_secs(10), gone(Some(Signal::KILL))).await?;
            }
            // The leader still writes the status. Afterwards it is left alone: it may be at another attempt.
            let over = |kill: Option<Signal>| {
                let directory = &directory;
                move || Ok(ended(directory).is_some() || signal(kill, true)? == 0)
            };
            if !within(Duration::from_secs(5), over(None)).await? {
                within(Duration::from_secs(10), over(Some(Signal::KILL))).await?;
            }
        }
        let after = self.state(attempt)?;
        if matches!(after, CapsuleState::Dead { .. }) {
            tidy(&self.directory(attempt));
        }
        Ok(after)
    }

    /// Has the attempt supervised until its status is in place, or its supervisor has ended. Dropped before, that goes on alone.
    async fn launch(&self, directory: &Path, script: Script) -> Result<(), Fault> {
        let text = shell::text(&script, &std::collections::BTreeMap::new())?;
        let place = directory.to_owned();
        let (args, stdin) = (script.args, script.stdin);
        let prepared = tokio::task::spawn_blocking(move || prepare(&place, text, args, &stdin)).await;
        prepared.map_err(|error| Fault::failed("the capsule could not be prepared").seen(error.to_string()))??;
        crossing(|| format!("capsule before launch {}", directory.file_name().unwrap_or_default().display()));
        // One that was killed while it waited may have got the order and never read it: then another gets it, once.
        for _ in 0..2 {
            let mut supervisor = self.supervisors.order(directory).await.map_err(|error| {
                let program = self.settings.supervisor.display();
                Fault::refused(format!("the supervisor {program} could not be started")).seen(error.to_string())
            })?;
            while supervisor.goes_on().await.map_err(|error| unreadable(&error))? {
                if ended(directory).is_some() || supervisor.is_free() {
                    supervisor.done();
                    return Ok(());
                }
            }
            if state(directory).map_err(|error| unreadable(&error))? != CapsuleState::NotStarted {
                break;
            }
        }
        Ok(())
    }

    /// Takes secrets out of what an attempt has kept of its output.
    pub(crate) fn redact(&self, attempt: &AttemptId, redactor: &Arc<Redactor>, given: &Given) -> Result<(), Fault> {
        let directory = self.directory(attempt);
        let redact = |stream: &str| -> io::Result<()> {
            let (head, tail) = (directory.join(format!("{stream}.head")), directory.join(format!("{stream}.tail")));
            let mut kept = [read_kept(&head)?, read_kept(&tail)?];
            // One byte of the end too many tells that the middle was dropped, maybe inside a secret.
            let cut = kept[1].len() > CAP;
            let mut whole = [&kept[0], &kept[1][usize::from(cut)..]].concat();
            if cut {
                redactor.mend(&mut whole, CAP);
            }
            let mut filter = Filter::new(Arc::clone(redactor), given.clone());
            let mut safe = filter.push(&whole);
            safe.extend(filter.finish());
            let end = safe.split_off(safe.len().min(CAP));
            if cut {
                kept[1].remove(0);
            }
            for (path, before, after) in [(head, &kept[0], safe), (tail, &kept[1], end)] {
                if *before != after {
                    let beside = directory.join("redacted.tmp");
                    fs::write(&beside, after)?;
                    fs::rename(beside, path)?;
                }
            }
            Ok(())
        };
        ["out", "err"].into_iter().try_for_each(redact).map_err(|error| {
            Fault::failed("a secret in its output could not be taken out of its files").seen(error.to_string())
        })
    }

    fn directory(&self, attempt: &AttemptId) -> PathBuf {
        self.settings.local_capsules.join(attempt.directory())
    }
}

/// Waits until something is so, or for a time; says whether it is.
async fn within(time: Duration, mut is_so: impl FnMut() -> Result<bool, Fault>) -> Result<bool, Fault> {
    let deadline = Instant::now() + time;
    while !is_so()? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(true)
}

fn state(directory: &Path) -> io::Result<CapsuleState> {
    if !directory.try_exists()? {
        return Ok(CapsuleState::Absent);
    }
    if let Some(ended) = ended(directory) {
        return Ok(ended);
    }
    let free = match File::open(directory.join("lock")) {
        Ok(lock) => lock.try_lock_shared().is_ok(),
        Err(_) => true,
    };
    if !free {
        // Whoever holds the lock is about to write the start record, or follows the command.
        return Ok(CapsuleState::Running);
    }
    state_of_free(directory)
}

/// Says what is known of an attempt that nobody follows: its lock is free, or ours.
fn state_of_free(directory: &Path) -> io::Result<CapsuleState> {
    let Some(session) = session(directory) else { return Ok(CapsuleState::NotStarted) };
    // It may have ended just now.
    if let Some(ended) = ended(directory) {
        return Ok(ended);
    }
    let rebooted = session.rebooted()?;
    if !rebooted && !session.members()?.is_empty() {
        return Ok(CapsuleState::Running);
    }
    Ok(CapsuleState::Dead { rebooted })
}

fn ended(directory: &Path) -> Option<CapsuleState> {
    let status = fs::read_to_string(directory.join("status")).ok()?.trim().parse().ok()?;
    Some(CapsuleState::Exited { status })
}

fn session(directory: &Path) -> Option<Session> {
    Session::from_record(&fs::read_to_string(directory.join("start")).ok()?)
}

/// Tells what is new in the beginnings of the streams.
fn show(directory: &Path, watched: &Watched) {
    if !watched.is_some() {
        return;
    }
    for stream in Stream::ALL {
        let told = watched.told(stream);
        let mut new = Vec::new();
        let read = File::open(directory.join(format!("{}.head", stream.name()))).and_then(|mut file| {
            file.seek(SeekFrom::Start(told as u64))?;
            file.take((SHOWN - told) as u64).read_to_end(&mut new)
        });
        // There is no file before the first byte; what else fails will fail for the result, which tells it.
        if read.is_ok() {
            watched.take(stream, told, &new);
        }
    }
}

/// Reads a part of the output; nothing where there is none.
fn read_kept(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        kept => kept,
    }
}

fn output(directory: &Path, status: i32) -> io::Result<Output> {
    let mut bytes = Vec::new();
    let mut sizes = [0; 4];
    for (size, part) in sizes.iter_mut().zip(["out.head", "out.tail", "err.head", "err.tail"]) {
        match fs::read(directory.join(part)) {
            Ok(read) => {
                *size = read.len().min(CAP + 1);
                bytes.extend_from_slice(&read[..*size]);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer::output(status, &bytes, sizes))
}

/// Makes the directory and fills it; the supervisor makes it durable.
fn prepare(directory: &Path, text: String, args: Vec<String>, stdin: &Stdin) -> Result<(), Fault> {
    let write = || -> io::Result<()> {
        let private = |path| DirBuilder::new().mode(0o700).recursive(true).create(path);
        if let Some(all) = directory.parent().filter(|all| !all.exists()) {
            private(all)?;
            all.parent().map_or(Ok(()), sync)?;
        }
        private(directory)?;
        let stdin = spool(directory, stdin)?;
        fs::write(directory.join("command"), serde_json::to_vec(&Order { text, args, stdin })?)
    };
    write().map_err(|error| {
        Fault::refused(format!("the capsule {} could not be prepared", directory.display()))
            .seen(error.to_string())
            .hint("look at the free space and the permissions of the state directory, and at the file to be sent")
    })
}

fn spool(directory: &Path, stdin: &Stdin) -> io::Result<Option<PathBuf>> {
    let path = directory.join("stdin");
    match stdin {
        Stdin::Empty => return Ok(None),
        Stdin::Bytes(bytes) => fs::write(&path, bytes)?,
        Stdin::File(from) => drop(fs::copy(from, &path)?),
        Stdin::Secret(bytes) => {
            let memory =
                memory().ok_or_else(|| io::Error::other("a secret needs a tmpfs for its spool, such as /dev/shm"))?;
            let private = fs::Permissions::from_mode(0o700);
            let place = tempfile::Builder::new().prefix("requorum.").permissions(private).tempdir_in(memory)?.keep();
            fs::write(directory.join("secret"), place.as_os_str().as_encoded_bytes())?;
            let path = place.join("stdin");
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(bytes)?;
            return Ok(Some(path));
        }
    }
    Ok(Some(path))
}

/// Removes the spooled standard input of an attempt, unless the command has moved it away.
pub(crate) fn tidy(directory: &Path) {
    let _ = fs::remove_file(directory.join("stdin"));
    if let Ok(place) = fs::read_to_string(directory.join("secret")) {
        let _ = fs::remove_dir_all(place);
        let _ = fs::remove_file(directory.join("secret"));
    }
}

/// Returns a directory in memory, which a secret may touch.
#[cfg(target_os = "linux")]
fn memory() -> Option<PathBuf> {
    const TMPFS: i128 = 0x0102_1994;
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
    let in_memory = |path: &PathBuf| {
        rustix::fs::statfs(path).is_ok_and(|found| i128::from(found.f_type) == TMPFS)
            && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
    };
    candidates.into_iter().find(in_memory)
}

/// Returns a directory in memory, which a secret may touch: only Linux is known to have one.
#[cfg(not(target_os = "linux"))]
fn memory() -> Option<PathBuf> {
    None
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::failed("the capsule on this machine could not be read").seen(error.to_string())
}
