//! Whether the quorum of the cluster holds, as seen from its members.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde::Serialize;

use super::NoLink;
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
    /// Whether it may be alive though it did not answer: it was reached and refused us, or it could not be asked.
    pub unclear: bool,
}

/// What is known of the quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuorumView {
    /// How many voters the cluster has, by the member list of one that answered; by the site, if none answered.
    pub voters: usize,
    /// How many of the voters answer and follow one common leader, or serve.
    pub healthy: usize,
    /// The members of the site that are not lost, in the order of their hosts.
    pub members: Vec<Voter>,
    /// The newest member list that a member gave; empty, if none answered. Where a member [serves](Voter::serves), it is one
    /// that a majority agrees on: the member was asked for it after its linearizable read.
    pub listed: Vec<Listed>,
    /// Whether a majority of the voters works together: a linearizable read was answered, or a majority follows one leader; and
    /// the cluster is not [split](Self::split).
    pub holds: bool,
    /// Whether members of different clusters serve beside each other, as when members that were given up are switched on again
    /// after the others were restored. Nobody can count them together.
    pub split: bool,
    /// What was seen, in one line.
    pub evidence: String,
}

impl QuorumView {
    /// Returns how many voters make a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.voters / 2 + 1
    }

    /// Says whether the quorum is surely lost: even if those who refused us or could not be asked are alive, there is no
    /// majority.
    #[must_use]
    pub fn surely_lost(&self) -> bool {
        let unclear = self.members.iter().filter(|member| member.unclear).count();
        !self.holds && !self.split && self.healthy + unclear < self.majority()
    }
}

/// What one member told.
struct Seen<'w> {
    host: &'w Host,
    status: Result<(Status, Vec<Listed>), Silence>,
    serves: bool,
}

/// Why a member told nothing.
enum Silence {
    /// It could not be asked, for want of credentials.
    Unasked(Fault),
    /// It gave no answer.
    Unanswered(Fault),
}

impl From<Fault> for Silence {
    fn from(fault: Fault) -> Self {
        Self::Unanswered(fault)
    }
}

impl From<NoLink> for Silence {
    fn from(none: NoLink) -> Self {
        match none {
            NoLink::Credentials(fault) => Self::Unasked(fault),
            NoLink::Way(fault) => Self::Unanswered(fault),
        }
    }
}

/// Asks all members of the site that are not lost whether they have a quorum.
pub async fn quorum(reader: &Reader<'_>) -> QuorumView {
    let seen = join_all(reader.site().members().map(|host| ask(reader, host))).await;
    judge(&seen, reader.site().hosts.values().filter(|host| host.etcd.is_some()).count())
}

async fn ask<'w>(reader: &Reader<'w>, host: &'w Host) -> Seen<'w> {
    let told = async {
        let etcd = reader.linked(&host.name).await?;
        let status = etcd.status().await?;
        let serves = !status.is_learner && etcd.read_linearizable().await.is_ok();
        // After the read: then the list has every change that a majority had agreed on before.
        let listed = etcd.members().await?;
        Ok((status, listed, serves))
    };
    match Box::pin(told).await {
        Ok((status, listed, serves)) => Seen { host, status: Ok((status, listed)), serves },
        Err(silence) => Seen { host, status: Err(silence), serves: false },
    }
}

fn judge(seen: &[Seen<'_>], configured: usize) -> QuorumView {
    let answers: Vec<(&Status, &Vec<Listed>, bool)> =
        seen.iter().filter_map(|s| s.status.as_ref().ok().map(|(status, listed)| (status, listed, s.serves))).collect();
    // The newest view of the membership: of those who answered, one that serves, else the one that applied most.
    let newest = answers.iter().max_by_key(|(status, _, serves)| (*serves, status.raft_term, status.raft_applied));
    let listed = newest.map(|(_, listed, _)| (*listed).clone()).unwrap_or_default();
    let voters = newest.map_or(configured, |(_, listed, _)| listed.iter().filter(|m| !m.is_learner).count());
    let mut followers: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (status, ..) in answers.iter().filter(|(status, ..)| status.leader != 0 && !status.is_learner) {
        *followers.entry((status.cluster_id, status.leader)).or_default() += 1;
    }
    let common = followers.values().copied().max().unwrap_or(0);
    let serving = seen.iter().filter(|s| s.serves).count();
    let clusters: BTreeSet<u64> =
        answers.iter().filter(|(_, _, serves)| *serves).map(|(status, ..)| status.cluster_id).collect();
    let split = clusters.len() > 1;
    let holds = !split && (serving > 0 || common > voters / 2);
    let members: Vec<Voter> = seen.iter().map(voter).collect();
    let evidence = if split { evidence_of_split(&answers) } else { evidence(&members, voters, holds) };
    let healthy = if split { common } else { common.max(serving) };
    QuorumView { voters, healthy, members, listed, holds, split, evidence }
}

fn voter(seen: &Seen<'_>) -> Voter {
    let name = seen.host.etcd.as_ref().map_or_else(|| seen.host.name.to_string(), |member| member.name.clone());
    let silent = |trouble, unclear| Voter { name: name.clone(), id: None, leader: 0, serves: false, trouble, unclear };
    match &seen.status {
        Ok((status, _)) => Voter {
            name,
            id: Some(status.member_id),
            leader: status.leader,
            serves: seen.serves,
            trouble: String::new(),
            unclear: false,
        },
        Err(Silence::Unasked(fault)) => silent(format!("may work and cannot be asked: {}", fault.what), true),
        Err(Silence::Unanswered(fault)) => silent(fault.what.clone(), fault.kind != FaultKind::Unreachable),
    }
}

fn evidence_of_split(answers: &[(&Status, &Vec<Listed>, bool)]) -> String {
    let name = |status: &Status, listed: &[Listed]| {
        let own = listed.iter().find(|member| member.id == status.member_id);
        own.map_or_else(|| format!("{:x}", status.member_id), |member| member.name.clone())
    };
    let said: Vec<String> = answers
        .iter()
        .filter(|(_, _, serves)| *serves)
        .map(|(status, listed, _)| {
            let voters = listed.iter().filter(|member| !member.is_learner).count();
            format!("{} serves cluster {:x} of {voters} voters", name(status, listed), status.cluster_id)
        })
        .collect();
    format!("two clusters serve beside each other, so stop etcd where the data is not to stay: {}", said.join("; "))
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::world::{Settings, World};

    /// Looks at a cluster whose TLS files are on cp1, where nothing listens for SSH.
    async fn seen_without_cp1(members: &[&str], cp1_is_lost: bool) -> QuorumView {
        let host = |name: &str| {
            json!({
                "name": name, "address": "127.0.0.1", "roles": [], "ssh": { "port": 1 },
                "lost": cp1_is_lost && name == "cp1", "vars": {},
                "etcd": {
                    "name": name, "client_urls": ["https://127.0.0.1:1"], "peer_urls": ["https://127.0.0.1:2"],
                    "data_dir": "/var/lib/etcd", "service": "etcd",
                },
            })
        };
        let hosts: serde_json::Map<String, Value> =
            members.iter().map(|name| ((*name).to_owned(), host(name))).collect();
        let site = json!({
            "cluster": "test", "platform": "systemd-etcd", "capsule_root": "/var/lib/requorum", "hosts": hosts,
            "etcd": { "tls": { "ca": "cp1:/etc/ca.crt", "cert": "cp1:/etc/c.crt", "key": "cp1:/etc/c.key" } },
        });
        let settings = Settings {
            local_capsules: "/nonexistent".into(),
            supervisor: "/nonexistent".into(),
            kubeconfig: Vec::new(),
            call_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(3),
        };
        let world = World::new(Arc::new(serde_json::from_value(site).unwrap()), settings);
        quorum(&world.reader(None)).await
    }

    #[tokio::test]
    async fn members_that_cannot_be_asked_for_want_of_tls_files_may_work() {
        for (members, cp1_is_lost) in [(&["cp1", "cp2", "cp3"] as &[&str], false), (&["cp1", "cp2", "cp3"], true)] {
            let view = seen_without_cp1(members, cp1_is_lost).await;
            assert!(!view.holds && !view.surely_lost(), "{view:?}");
            assert!(view.members.iter().all(|member| member.unclear), "{view:?}");
            let said =
                "cp2: may work and cannot be asked: the TLS files of etcd come from `cp1`, which cannot be reached";
            assert!(view.evidence.contains(said), "{}", view.evidence);
            assert!(!view.evidence.contains("127.0.0.1"), "an address of cp1 beside cp2: {}", view.evidence);
        }
        // Also the member of the very host that does not give the files: etcd is not sshd.
        let alone = seen_without_cp1(&["cp1"], false).await;
        assert!(!alone.surely_lost(), "{alone:?}");
    }

    /// What a member answered that serves in a cluster of these members.
    fn serving<'w>(host: &'w Host, cluster_id: u64, id: u64, members: &[u64]) -> Seen<'w> {
        let status = json!({
            "cluster_id": cluster_id, "member_id": id, "version": "3.5.21", "revision": 1, "db_size": 1, "db_size_in_use": 1,
            "leader": members[0], "raft_term": 2, "raft_index": 8, "raft_applied": 8, "is_learner": false, "errors": [],
        });
        let line = |id: &u64| Listed {
            id: *id,
            name: format!("m{id}"),
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            is_learner: false,
        };
        let listed = members.iter().map(line).collect();
        Seen { host, status: Ok((serde_json::from_value(status).unwrap(), listed)), serves: true }
    }

    #[test]
    fn members_that_serve_different_clusters_are_never_counted_together() {
        let host: Host = serde_json::from_value(json!({ "name": "cp1", "address": "127.0.0.1" })).unwrap();
        let (old, new) = (0xaa, 0xbb);
        let one = judge(&[serving(&host, old, 2, &[2, 3]), serving(&host, old, 3, &[2, 3])], 3);
        assert!(one.holds && !one.split && one.healthy == 2, "{one:?}");
        let two =
            judge(&[serving(&host, new, 1, &[1]), serving(&host, old, 2, &[2, 3]), serving(&host, old, 3, &[2, 3])], 3);
        assert!(two.split && !two.holds && !two.surely_lost(), "{two:?}");
        assert_eq!(two.healthy, 2);
        assert!(
            two.evidence.contains("m1 serves cluster bb of 1 voters; m2 serves cluster aa of 2 voters"),
            "{}",
            two.evidence
        );
    }
}
