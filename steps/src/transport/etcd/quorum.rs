//! Whether the quorum of the cluster holds, as seen from its members.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Serialize;

use super::reader::{Listed, Status};
use crate::fault::{Fault, FaultKind};
use crate::site::Host;
use crate::world::Reader;

/// What one member of the site answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Voter {
    /// The member's name, as the site gives it.
    pub name: String,
    /// Its id, where it answered.
    pub id: Option<u64>,
    /// The leader it follows; 0: none.
    pub leader: u64,
    /// Whether a linearizable read from it was answered.
    pub serves: bool,
    /// Why it did not answer; empty: it did.
    pub trouble: String,
    /// Whether it may be alive though it did not answer: it was reached, and refused us.
    pub unclear: bool,
}

/// What is known of the quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuorumView {
    /// How many voters the cluster has, by the member list of one that answered; by the site, if none answered.
    pub voters: usize,
    /// How many of the voters answer and follow one common leader, or serve.
    pub healthy: usize,
    /// The members of the site, in the order of their hosts.
    pub members: Vec<Voter>,
    /// Whether a majority of the voters works together: a linearizable read was answered, or a majority follows one leader.
    pub holds: bool,
    /// What was seen, in one line.
    pub evidence: String,
}

impl QuorumView {
    /// Returns how many voters make a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.voters / 2 + 1
    }

    /// Says whether the quorum is surely lost: even if those who refused us are alive, there is no majority.
    #[must_use]
    pub fn surely_lost(&self) -> bool {
        let unclear = self.members.iter().filter(|member| member.unclear).count();
        !self.holds && self.healthy + unclear < self.majority()
    }
}

/// What one member told.
struct Seen<'w> {
    host: &'w Host,
    status: Result<(Status, Vec<Listed>), Fault>,
    serves: bool,
}

/// Asks all members of the site that are not lost whether they have a quorum.
pub async fn quorum(reader: &Reader<'_>) -> QuorumView {
    let seen = join_all(reader.site().members().map(|host| ask(reader, host))).await;
    judge(&seen, reader.site().hosts.values().filter(|host| host.etcd.is_some()).count())
}

async fn ask<'w>(reader: &Reader<'w>, host: &'w Host) -> Seen<'w> {
    let told = async {
        let etcd = reader.etcd(&host.name).await?;
        let status = etcd.status().await?;
        let listed = etcd.members().await?;
        let serves = !status.is_learner && etcd.read_linearizable().await.is_ok();
        Ok((status, listed, serves))
    };
    match Box::pin(told).await {
        Ok((status, listed, serves)) => Seen { host, status: Ok((status, listed)), serves },
        Err(fault) => Seen { host, status: Err(fault), serves: false },
    }
}

fn judge(seen: &[Seen<'_>], configured: usize) -> QuorumView {
    let answers: Vec<&(Status, Vec<Listed>)> = seen.iter().filter_map(|s| s.status.as_ref().ok()).collect();
    // The newest view of the membership: of those who answered, the one that applied most.
    let newest = answers.iter().max_by_key(|(status, _)| (status.raft_term, status.raft_applied));
    let voters = newest.map_or(configured, |(_, listed)| listed.iter().filter(|m| !m.is_learner).count());
    let mut followers: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (status, _) in answers.iter().filter(|(status, _)| status.leader != 0 && !status.is_learner) {
        *followers.entry((status.cluster_id, status.leader)).or_default() += 1;
    }
    let common = followers.values().copied().max().unwrap_or(0);
    let serving = seen.iter().filter(|s| s.serves).count();
    let holds = serving > 0 || common > voters / 2;
    let members: Vec<Voter> = seen.iter().map(voter).collect();
    let evidence = evidence(&members, voters, holds);
    QuorumView { voters, healthy: common.max(serving), members, holds, evidence }
}

fn voter(seen: &Seen<'_>) -> Voter {
    let name = seen.host.etcd.as_ref().map_or_else(|| seen.host.name.to_string(), |member| member.name.clone());
    match &seen.status {
        Ok((status, _)) => Voter {
            name,
            id: Some(status.member_id),
            leader: status.leader,
            serves: seen.serves,
            trouble: String::new(),
            unclear: false,
        },
        Err(fault) => Voter {
            name,
            id: None,
            leader: 0,
            serves: false,
            trouble: fault.what.clone(),
            unclear: fault.kind != FaultKind::Unreachable,
        },
    }
}

fn evidence(members: &[Voter], voters: usize, holds: bool) -> String {
    let said: Vec<String> = members
        .iter()
        .map(|m| match (m.serves, m.trouble.is_empty(), m.leader) {
            (true, _, _) => format!("{} serves", m.name),
            (false, false, _) => format!("{}: {}", m.name, m.trouble),
            (false, true, 0) => format!("{} answers and has no leader", m.name),
            (false, true, leader) => format!("{} answers, follows {leader:x}, does not serve", m.name),
        })
        .collect();
    let verdict = if holds { "holds" } else { "does not hold" };
    if said.is_empty() {
        return "the site names no etcd member that is not lost".to_owned();
    }
    format!("the quorum of {voters} voters {verdict}: {}", said.join("; "))
}
