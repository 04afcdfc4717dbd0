//! The capsule: how an attempt runs on a host so that its outcome can be learnt after any interruption.
//!
//! Every attempt has a directory of its own below the capsule root, `ROOT/CLUSTER/RUN/STEP@ITEM.N`, which is created only
//! once. The command runs detached from the connection, under a lock, with its output in files; its exit status is renamed
//! into place and synced. See `docs/` for the protocol.

mod answer;
pub(crate) mod capped;
pub(crate) mod look;
pub(crate) mod remote;
pub(crate) mod shell;

use std::os::unix::process::ExitStatusExt;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::name::RunId;
use crate::world::Output;

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
        CapsuleState::Dead { rebooted: false } => "the command was killed before it left an exit status",
        CapsuleState::Absent | CapsuleState::NotStarted | CapsuleState::Running | CapsuleState::Exited { .. } => {
            "the command has no outcome"
        }
    };
    let fault =
        Fault::in_doubt(what).expected("an exit status").hint("look at the host: what it did until then is not known");
    let tail = output.tail(10);
    if tail.is_empty() { fault.seen("no output") } else { fault.seen(tail) }
}

/// Returns an exit status as a shell would: 128 + n where signal n ended the process.
pub(crate) fn status_number(status: std::process::ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}
