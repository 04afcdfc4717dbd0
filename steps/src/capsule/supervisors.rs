//! The supervisors of attempts on this machine: processes of this program, each of which gets one order.
//!
//! To start one takes longer than many a command runs. So when one has got its order, the next is started and waits for its
//! own. It is not lost with the engine but ends: nobody is left then who could write to its standard input.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// Where supervisors come from.
pub(crate) struct Supervisors {
    program: PathBuf,
    /// The one that waits for an order.
    waiting: Mutex<Option<Supervisor>>,
}

/// A supervisor that has no order yet.
struct Supervisor {
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// A supervisor at work. Dropped, it goes on alone.
pub(crate) struct AtWork {
    stdout: ChildStdout,
}

impl Supervisors {
    /// Makes a source of supervisors that has started none; see [`crate::world::Settings::supervisor`].
    pub(crate) fn of(program: PathBuf) -> Self {
        Self { program, waiting: Mutex::default() }
    }

    /// Orders an attempt, by its directory.
    pub(crate) async fn order(&self, attempt: &Path) -> io::Result<AtWork> {
        let waiting = self.waiting().take();
        // One that was killed while it waited takes no order.
        let at_work = match waiting {
            Some(waiting) => waiting.order(attempt).await.ok(),
            None => None,
        };
        let at_work = match at_work {
            Some(at_work) => at_work,
            None => self.start()?.order(attempt).await?,
        };
        if self.waiting().is_none() {
            // If it cannot be started, the next order says so.
            let next = self.start().ok();
            *self.waiting() = next;
        }
        Ok(at_work)
    }

    /// Lets the one that waits end.
    pub(crate) fn dismiss(&self) {
        drop(self.waiting().take());
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

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Supervisor>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervisor {
    async fn order(mut self, attempt: &Path) -> io::Result<AtWork> {
        // The zero byte tells that the path is whole.
        let order = [attempt.as_os_str().as_encoded_bytes(), b"\0"].concat();
        self.stdin.write_all(&order).await?;
        Ok(AtWork { stdout: self.stdout })
    }
}

impl AtWork {
    /// Waits until there may be something new: the status is in place, or the supervisor has ended. Then it is `false`.
    pub(crate) async fn goes_on(&mut self) -> io::Result<bool> {
        Ok(self.stdout.read(&mut [0; 64]).await? > 0)
    }
}
