//! What can be said of one member, by what it answered and what SSH saw of its host. Pure.

use requorum_steps::FaultKind;
use serde::Serialize;

use super::observation::{Data, EtcdLook, HostSeen, Look, Running};

/// From how many restarts on a service that runs at the moment counts as one that does not stay up.
const RESTARTS: u32 = 3;

/// What a log says where the data is what ends etcd. Source: the panics and errors of etcd's wal, snap, raft and server.
const DAMAGE: [&str; 16] = [
    "crc mismatch",
    "wal: ",
    "cannot be repaired",
    "walpb: ",
    // A write-ahead log whose first record, with the member's id, cannot be read.
    "cannot use none as id",
    "snap: ",
    "slice bounds out of range",
    "tocommit",
    "file size too small",
    "database file",
    "invalid database",
    // bbolt, of pages.
    "invalid freelist",
    "already freed",
    "assertion failed",
    "already been bootstrapped",
    "permanently removed",
];

/// What can be said of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It answers, and takes part in agreed reads.
    Healthy,
    /// It answers and follows a leader, but an agreed read was not answered in time.
    Slow,
    /// It answers and is a learner, which has no vote.
    Learner,
    /// It answers and knows no leader.
    Leaderless,
    /// Something listens and refused us.
    Refusing,
    /// It was not asked, for want of TLS files.
    Unasked,
    /// Its process does not run; its data is there.
    Stopped,
    /// Its process ends again and again, and its log does not say that the data is to blame.
    Looping,
    /// Its process ends again and again, because of its data.
    Broken,
    /// Its process does not answer and its data directory holds nothing.
    Wiped,
    /// It does not answer; nothing more can be seen, or its process runs.
    Silent,
    /// Neither the host nor the member can be reached.
    Off,
    /// As before, and the site says that the host is lost.
    Lost,
}

/// Says what is to be said of the member of a host; `None` where the site has none there.
#[must_use]
pub fn state_of(host: &HostSeen) -> Option<MemberState> {
    host.member.as_ref()?;
    Some(match &host.etcd {
        Some(Look::Seen(etcd)) => of_answer(etcd),
        Some(Look::Silent(silence)) if silence.kind == FaultKind::Refused => MemberState::Refusing,
        Some(Look::Silent(_)) => of_host(host),
        None => match of_host(host) {
            state @ (MemberState::Stopped | MemberState::Looping | MemberState::Broken | MemberState::Wiped) => state,
            _ => MemberState::Unasked,
        },
    })
}

fn of_answer(etcd: &EtcdLook) -> MemberState {
    match (etcd.status.is_learner, etcd.status.leader, &etcd.serves) {
        (true, _, _) => MemberState::Learner,
        (false, _, Look::Seen(())) => MemberState::Healthy,
        (false, 0, Look::Silent(_)) => MemberState::Leaderless,
        (false, _, Look::Silent(_)) => MemberState::Slow,
    }
}

/// What SSH lets one say of a member that does not answer.
fn of_host(host: &HostSeen) -> MemberState {
    let look = match &host.ssh {
        Look::Seen(look) => look,
        Look::Silent(_) if host.lost => return MemberState::Lost,
        Look::Silent(silence) => {
            let unreachable = matches!(silence.kind, FaultKind::Unreachable | FaultKind::TimedOut);
            return if unreachable { MemberState::Off } else { MemberState::Silent };
        }
    };
    let Some(service) = look.services.get("etcd") else { return MemberState::Silent };
    let ends = match service.state {
        Running::Looping | Running::Failed => true,
        Running::Running | Running::Changing => service.restarts >= RESTARTS,
        Running::Down | Running::Absent | Running::Unknown => false,
    };
    let no_data = matches!(look.data, Some(Data::Absent | Data::Empty));
    match service.state {
        // Started on nothing it may be joining just now, or be refused by the others; stopped on nothing it has lost its data.
        Running::Down | Running::Absent | Running::Looping | Running::Failed if no_data => MemberState::Wiped,
        _ if ends && service.log.iter().any(|line| DAMAGE.iter().any(|words| line.contains(words))) => {
            MemberState::Broken
        }
        _ if ends => MemberState::Looping,
        Running::Down => MemberState::Stopped,
        _ => MemberState::Silent,
    }
}
