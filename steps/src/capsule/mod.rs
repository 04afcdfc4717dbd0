//! The capsule: how an attempt runs on a host so that its outcome can be learnt after any interruption.
//!
//! # On a host
//! Every attempt has a directory of its own, `ROOT/CLUSTER/RUN/STEP@ITEM.N`. `host.sh`, which comes with every call and is
//! never installed, launches it:
//!
//! 1. Under `ROOT/CLUSTER/fence.lock` it compares the fence with the holder who asks, refuses or sets it, and makes the
//!    directory. An attempt that has begun is only followed, whoever asks and whatever the fence says.
//! 2. It spools the standard input (a secret to a tmpfs) and compares its length; the lock is free meanwhile.
//! 3. Under the lock again it looks at fence and attempt once more: of two clients, or a client and a taker-over, one wins.
//!    It takes the attempt's own `lock` and starts the wrapper, a session of its own that inherits that lock.
//! 4. The wrapper writes `start` (boot id, session, start time of the leader, `end`), syncs it with all that came before,
//!    and only then runs the command. A `start` without its `end` was never synced, so its command never began. The fence's
//!    lock is freed when `start` is durable: whoever takes it later sees either a durable start or one that never will be.
//! 5. When the command has ended, the wrapper syncs what it kept of the output, renames `status` into place and syncs that.
//!
//! Following blocks on the attempt's `lock`, which is free once the wrapper is gone, however it went. Then: `status` there,
//! *exited*; another boot id, or no process left of the session, *dead*; else *running*, without a wrapper.
//!
//! The first 512 KiB of each stream grow in `out.head` and `err.head` as the command writes them; of what follows the last
//! 512 KiB are kept, and are in `out.tail` and `err.tail` at the end. While it follows, the script sends once a second what is
//! new in the heads, in frames with their offsets: `chunk out|err OFFSET LENGTH`, then the bytes. After a lost connection they
//! come again from the start, and `watch` tells each byte once. The answer at the end has it all, whatever was sent before.
//!
//! Launching is idempotent, so a client that lost the connection launches again. Whoever finds an attempt absent or not
//! started must launch *that* attempt again, not a next one: a launch under way somewhere would else run beside it.
//!
//! # On this machine
//! The same files, made by [`supervise`] in a directory of the run's own: each attempt is followed by a
//! supervisor, a process with a session of its own, as the wrapper is on a host. A supervisor takes one attempt after the other,
//! the next only when nothing of the last is left in its session. There is no fence; the engine locks the cluster. What is synced, and why:
//!
//! - before the command begins, `start`, its name, and the name of the directory: after a crash of the machine they tell that
//!   it may have begun. What the supervisor only reads is not synced: the command and the input are written anew if `start`
//!   was lost, and needed by nobody if it was not;
//! - before `status` gets its name, the output that belongs to it;
//! - after that, `status` and its name. The engine does not wait for this: as long as the result is in no durable record,
//!   nothing that depends on it has begun, and without a durable `status` the attempt counts as cut off, as it would if the
//!   machine had crashed a moment before.

mod answer;
pub(crate) mod capped;
pub(crate) mod here;
pub(crate) mod look;
pub(crate) mod remote;
mod session;
pub(crate) mod shell;
mod supervise;
pub(crate) mod supervisors;
pub(crate) mod watch;

use std::os::unix::process::ExitStatusExt;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::name::RunId;
use crate::world::Output;

pub use supervise::supervise;
pub use watch::{SHOWN, Stream, Watch};

/// Who holds a cluster: what the fence on each host is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The cluster, as the site names it.
    pub cluster: String,
    /// The run.
    pub run: RunId,
    /// Grows with every process that takes the run up.
    pub epoch: u64,
    /// Random, of the process: two processes never share it.
    pub token: String,
    /// Who and where, for a person: `user@machine, pid 123, since …`.
    pub label: String,
}

/// What a host (or this machine) knows of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum CapsuleState {
    /// There is no directory: it was never launched.
    Absent,
    /// The directory is there, but no start record, and nobody holds the lock: the command never began.
    NotStarted,
    /// The command is running.
    Running,
    /// It has ended and left its status.
    Exited {
        /// The exit status.
        status: i32,
    },
    /// It was started, nothing of its session is left, and it left no status: a crash or a reboot cut it off.
    Dead {
        /// Whether the host has rebooted since.
        rebooted: bool,
    },
}

/// Makes the fault of an attempt that ended without a status.
pub(crate) fn cut_off(state: &CapsuleState, output: &Output) -> Fault {
    let what = match state {
        CapsuleState::Dead { rebooted: true } => "the host rebooted while the command was running",
        CapsuleState::Dead { rebooted: false } => "the command is gone and left no exit status",
        CapsuleState::Absent | CapsuleState::NotStarted | CapsuleState::Running | CapsuleState::Exited { .. } => {
            "the command has no outcome"
        }
    };
    let fault = Fault::in_doubt(what)
        .expected("an exit status")
        .hint("look at the host: what it did until then is not known; it may have been killed, or the disk was full");
    let tail = output.tail(10);
    if tail.is_empty() { fault.seen("no output") } else { fault.seen(tail) }
}

/// Returns an exit status as a shell would: 128 + n where signal n ended the process.
pub(crate) fn status_number(status: std::process::ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}
