//! The member list, the cluster ids and the quorum, by what all members answered. Pure.

use std::collections::{BTreeMap, BTreeSet};

use requorum_steps::HostName;
use requorum_steps::transport::etcd::Listed;
use serde::Serialize;

use super::observation::{EtcdLook, HostSeen, Look, Observation};
use super::state::MemberState;

/// How many entries the log of a cluster may have that began a short while ago: some hours of an idle control plane.
const YOUNG: u64 = 100_000;

/// Whether the quorum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quorum {
    /// A majority of the voters works together.
    Holds,
    /// It is lost: even with all that could not be seen there is no majority.
    Lost,
    /// No majority was seen; what could not be seen may be one.
    Unseen,
}

/// The members as the newest member list has them.
pub(super) struct Membership {
    /// The member list of the member that applied most; absent where no member gave one.
    listed: Option<Vec<Listed>>,
    /// How many voters there are: by the list, else by the site.
    pub(super) voters: usize,
    /// How many of them the site does not know: they were not asked.
    strange_voters: usize,
    /// How many cluster ids answer.
    pub(super) ids: usize,
    /// Hosts that follow one leader, of the main cluster id, and have a vote.
    followers: BTreeSet<String>,
    /// Hosts whose member answers with another cluster id than the main one.
    pub(super) strays: Vec<String>,
}

impl Membership {
    pub(super) fn of(seen: &Observation) -> Self {
        let answers: Vec<(&HostName, &EtcdLook)> =
            seen.hosts.iter().filter_map(|(name, host)| Some((name, host.etcd.as_ref()?.seen()?))).collect();
        let mut by_id: BTreeMap<u64, Vec<(&HostName, &EtcdLook)>> = BTreeMap::new();
        for answer in &answers {
            by_id.entry(answer.1.status.cluster_id).or_default().push(*answer);
        }
        // The main one is where most members serve, then where most answer, then where most was applied.
        let weight = |members: &Vec<(&HostName, &EtcdLook)>| {
            let serving = members.iter().filter(|(_, etcd)| etcd.serves.seen().is_some()).count();
            (serving, members.len(), members.iter().map(|(_, etcd)| etcd.status.raft_applied).max())
        };
        let main = by_id.iter().max_by_key(|(_, members)| weight(members)).map(|(id, _)| *id);
        let of_main = || answers.iter().filter(|(_, etcd)| Some(etcd.status.cluster_id) == main);
        let newest = of_main().filter(|(_, etcd)| etcd.listed.seen().is_some());
        let newest = newest.max_by_key(|(_, etcd)| (etcd.status.raft_term, etcd.status.raft_applied));
        let listed = newest.and_then(|(_, etcd)| etcd.listed.seen().cloned());
        let configured = seen.hosts.values().filter(|host| host.member.is_some()).count();
        let voters = listed.as_ref().map_or(configured, |listed| listed.iter().filter(|m| !m.is_learner).count());
        let mut by_leader: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for (name, etcd) in of_main().filter(|(_, etcd)| etcd.status.leader != 0 && !etcd.status.is_learner) {
            by_leader.entry(etcd.status.leader).or_default().insert(name.to_string());
        }
        let followers = by_leader.into_values().max_by_key(BTreeSet::len).unwrap_or_default();
        let strays = answers.iter().filter(|(_, etcd)| Some(etcd.status.cluster_id) != main);
        let strays = strays.map(|(name, _)| name.to_string()).collect();
        let strange = |line: &&Listed| !line.is_learner && !line.name.is_empty() && host_of(seen, line).is_none();
        let strange_voters = listed.iter().flatten().filter(strange).count();
        Self { listed, voters, strange_voters, ids: by_id.len(), followers, strays }
    }

    pub(super) fn needed(&self) -> usize {
        self.voters / 2 + 1
    }

    /// Says whether the quorum holds, and how many voters work together.
    pub(super) fn quorum(&self, states: &BTreeMap<&HostName, MemberState>) -> (Quorum, usize) {
        use MemberState as S;
        let main = |name: &HostName| !self.strays.iter().any(|stray| stray == name.as_str());
        let count = |wanted: &[S]| states.iter().filter(|(name, state)| wanted.contains(state) && main(name)).count();
        let serving = count(&[S::Healthy]);
        let healthy = self.followers.len().max(serving);
        // What refused us, was not asked, hangs or cannot be reached may be alive, and be a majority among itself.
        let perhaps = count(&[S::Refusing, S::Unasked, S::Silent, S::Off]) + self.strange_voters;
        let quorum = if serving > 0 || healthy >= self.needed() {
            Quorum::Holds
        } else if healthy + perhaps < self.needed() {
            Quorum::Lost
        } else {
            Quorum::Unseen
        };
        (quorum, healthy)
    }

    fn lines(&self) -> impl Iterator<Item = &Listed> {
        self.listed.iter().flatten()
    }

    pub(super) fn strangers(&self, seen: &Observation) -> Vec<String> {
        let unknown = self.lines().filter(|line| host_of(seen, line).is_none());
        unknown.filter(|line| !line.name.is_empty()).map(|line| line.name.clone()).collect()
    }

    pub(super) fn unstarted(&self, seen: &Observation) -> Vec<String> {
        let unnamed = self.lines().filter(|line| line.name.is_empty());
        unnamed.map(|line| host_of(seen, line).map_or_else(|| line.peer_urls.join(","), ToString::to_string)).collect()
    }

    /// Members of another cluster have a list of their own: strays are told as such.
    pub(super) fn unlisted(&self, seen: &Observation, states: &BTreeMap<&HostName, MemberState>) -> Vec<String> {
        if self.listed.is_none() {
            return Vec::new();
        }
        let listed: BTreeSet<&HostName> = self.lines().filter_map(|line| host_of(seen, line)).collect();
        let absent = states.keys().filter(|name| !listed.contains(**name)).map(ToString::to_string);
        absent.filter(|name| !self.strays.contains(name)).collect()
    }
}

/// Members that began a cluster of their own, with nothing of the old one in it: hosts.
///
/// What a member does that is started without data, where its settings name no other member and do not say that the cluster
/// exists: the first control plane of kubeadm. Its cluster id tells nothing, since kubeadm began the old cluster in the same way
/// and etcd makes ids of peer URLs and token. What tells is that it lists itself alone although the site has other members that
/// are not lost, and a log that is short and has all of its revisions. A cluster that lives on in one member (others removed,
/// forced anew) has the long log of its life, and one that was restored from a snapshot has more revisions than entries.
pub(super) fn reborn(seen: &Observation) -> Vec<String> {
    let there = |host: &HostSeen| host.member.is_some() && !host.lost;
    let began_anew = |etcd: &EtcdLook| {
        let EtcdLook { status, listed, .. } = etcd;
        let alone = matches!(listed.seen().map(Vec::as_slice), Some([only]) if only.id == status.member_id);
        let written = u64::try_from(status.revision).is_ok_and(|revision| revision <= status.raft_applied);
        alone && written && status.raft_applied < YOUNG
    };
    let fits = seen.hosts.iter().filter(|(name, host)| {
        let has_others = seen.hosts.iter().any(|(other, host)| other != *name && there(host));
        has_others && host.etcd.as_ref().and_then(Look::seen).is_some_and(began_anew)
    });
    fits.map(|(name, _)| name.to_string()).collect()
}

/// Finds the host of a line of the member list, by the member's name, or where it was never started by its peer URLs.
fn host_of<'o>(seen: &'o Observation, line: &Listed) -> Option<&'o HostName> {
    let fits = |host: &HostSeen| {
        host.member.as_ref().is_some_and(|member| {
            member.name == line.name
                || (line.name.is_empty() && member.peer_urls.iter().any(|url| line.peer_urls.contains(url)))
        })
    };
    seen.hosts.iter().find(|(_, host)| fits(host)).map(|(name, _)| name)
}
