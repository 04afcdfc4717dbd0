//! The supervisors of attempts on this machine: processes of this program, which take one order after the other.
//!
//! To start one takes longer than many a command runs, and to make its last status durable takes a sync that nobody waits for.
//! So those that are done wait for their next order here, and when none does, one is started ahead. They are not lost with the
//! engine but end: nobody is left then who could write to their standard input.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// Where supervisors come from.
pub(crate) struct Supervisors {
    program: PathBuf,
    waiting: Arc<Waiting>,
}

/// How many wait at most: each is a process and has two files open.
const MOST: usize = 16;

/// Those that wait for an order.
#[derive(Default)]
struct Waiting(Mutex<Vec<Supervisor>>);

/// A supervisor that has no order.
struct Supervisor {
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// A supervisor at work. Dropped, it does its order alone and ends.
pub(crate) struct AtWork {
    supervisor: Supervisor,
    /// Whether it has said that it can take another order.
    free: bool,
    waiting: Arc<Waiting>,
}

impl Supervisors {
    /// Makes a source of supervisors that has started none; see [`crate::world::Settings::supervisor`].
    pub(crate) fn of(program: PathBuf) -> Self {
        Self { program, waiting: Arc::default() }
    }

    /// Orders an attempt, by its directory.
    pub(crate) async fn order(&self, attempt: &Path) -> io::Result<AtWork> {
        let supervisor = loop {
            let Some(waiting) = self.waiting.take() else { break self.start()?.order(attempt).await? };
            // One that was killed while it waited takes no order.
            if let Ok(ordered) = waiting.order(attempt).await {
                break ordered;
            }
        };
        if self.waiting.is_empty() {
            // If it cannot be started, the next order says so.
            self.start().ok().into_iter().for_each(|next| self.waiting.put(next));
        }
        Ok(AtWork { supervisor, free: false, waiting: self.waiting.clone() })
    }

    /// Lets those that wait end.
    pub(crate) fn dismiss(&self) {
        while self.waiting.take().is_some() {}
    }

    fn start(&self) -> io::Result<Supervisor> {
        let mut command = Command::new(&self.program);
        command.arg("capsule-supervise").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(Supervisor { stdin, stdout }),
            (_, _) => Err(io::Error::other("the supervisor has no pipes")),
        }
    }
}

impl Waiting {
    fn take(&self) -> Option<Supervisor> {
        self.all().pop()
    }

    /// Keeps one that is free, or lets it end if there are enough.
    fn put(&self, supervisor: Supervisor) {
        let mut all = self.all();
        if all.len() < MOST {
            all.push(supervisor);
        }
    }

    fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Supervisor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervisor {
    async fn order(mut self, attempt: &Path) -> io::Result<Self> {
        // The zero byte tells that the path is whole.
        let order = [attempt.as_os_str().as_encoded_bytes(), b"\0"].concat();
        self.stdin.write_all(&order).await?;
        Ok(self)
    }
}

impl AtWork {
    /// Waits until there may be something new: the status is in place, or the supervisor has ended. Then it is `false`.
    pub(crate) async fn goes_on(&mut self) -> io::Result<bool> {
        let mut words = [0; 64];
        let read = self.supervisor.stdout.read(&mut words).await?;
        self.free |= words[..read].contains(&0);
        Ok(read > 0)
    }

    /// Says whether it could take another order, so that nothing more comes of this one.
    pub(crate) fn is_free(&self) -> bool {
        self.free
    }

    /// Has it wait for its next order as soon as it can take one, unless it ends instead.
    pub(crate) fn done(mut self) {
        tokio::spawn(async move {
            while !self.free {
                if !self.goes_on().await.unwrap_or(false) {
                    return;
                }
            }
            self.waiting.put(self.supervisor);
        });
    }
}
