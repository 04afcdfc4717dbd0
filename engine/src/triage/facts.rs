//! An observation summed up: the facts that the rules of the table are about. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use requorum_steps::transport::etcd::Listed;
use requorum_steps::{FaultKind, HostName};
use serde::Serialize;

use super::observation::{Asked, Data, EtcdLook, HostLook, HostSeen, Look, Observation, Running};

/// How long before its end a certificate is worth a word.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// etcd's own quota where none is configured, in bytes. Source: etcd documentation, System limits.
const USUAL_QUOTA: u64 = 2 << 30;
/// From how many restarts on a service that runs at the moment counts as one that does not stay up.
const RESTARTS: u32 = 3;
/// How far clocks may be apart, in milliseconds. Certificates and leases bear more; raft needs none of it.
const APART_MS: i64 = 5_000;
/// A disk with less free than this, in KiB, counts as full: a write-ahead log file of etcd has 64 MB.
const FULL_KIB: u64 = 80 * 1024;

/// What a log says where the data is what ends etcd. Source: the panics and errors of etcd's wal, snap, raft and server.
const DAMAGE: [&str; 12] = [
    "crc mismatch",
    "wal: ",
    "cannot be repaired",
    "walpb: ",
    "snap: ",
    "slice bounds out of range",
    "tocommit",
    "file size too small",
    "database file",
    "invalid database",
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

/// Whether it is the cluster that the site means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// It is.
    Same,
    /// It is another, or its CA was replaced.
    Other,
    /// The site does not say, or the CA could not be read.
    Unknown,
}

/// What is known, in the words of the rules: every field is a name that the table may use after `seen.`.
///
/// Lists hold names of hosts where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The site's platform.
    pub platform: String,
    /// Whether it is the right cluster.
    pub identity: Identity,
    /// The fingerprint of the CA that was seen; empty where none was.
    pub ca: String,
    /// Whether the members were asked.
    pub asked: bool,
    /// Why not, or why with the TLS files of another host; empty otherwise.
    pub asked_why: String,
    /// The host whose TLS files were used in place of those that the site names; empty otherwise.
    pub asked_from: String,
    /// Whether the quorum holds.
    pub quorum: Quorum,
    /// How many voters the cluster has: by the newest member list, else by the site.
    pub voters: usize,
    /// How many of them make a majority.
    pub needed: usize,
    /// How many of them work together.
    pub healthy: usize,
    /// Hosts that SSH reached.
    pub reached: Vec<String>,
    /// Hosts whose member answers and that SSH does not reach.
    pub no_ssh: Vec<String>,
    /// Hosts with a member, by [`MemberState`].
    pub slow: Vec<String>,
    /// Learners.
    pub learners: Vec<String>,
    /// Without a leader.
    pub leaderless: Vec<String>,
    /// Refused us.
    pub refusing: Vec<String>,
    /// Not running, data there.
    pub stopped: Vec<String>,
    /// Does not stay up.
    pub looping: Vec<String>,
    /// Does not stay up because of its data.
    pub broken: Vec<String>,
    /// No data.
    pub wiped: Vec<String>,
    /// Runs and does not answer, or unknown.
    pub silent: Vec<String>,
    /// Cannot be reached in any way.
    pub off: Vec<String>,
    /// Cannot be reached, and is lost by the site.
    pub lost: Vec<String>,
    /// Marked as lost in the site although it can be reached.
    pub not_lost: Vec<String>,
    /// Answers: healthy, slow, learner or leaderless.
    pub answering: Vec<String>,
    /// Answers or stopped: its data can be had without repair.
    pub with_data: Vec<String>,
    /// Answers, and its data directory is empty or gone.
    pub data_gone: Vec<String>,
    /// Members that belong to another cluster id than most.
    pub strays: Vec<String>,
    /// Whether the members that answer are of more than one cluster id.
    pub split: bool,
    /// Names or ids in the member list that the site does not know.
    pub strangers: Vec<String>,
    /// Members in the list that were added and never started: names of hosts, or peer URLs.
    pub unstarted: Vec<String>,
    /// Hosts whose member is not in the member list.
    pub unlisted: Vec<String>,
    /// Members that have raised NOSPACE.
    pub no_space: Vec<String>,
    /// Members that have raised CORRUPT.
    pub corrupt: Vec<String>,
    /// Hosts with no space left for the data directory.
    pub full: Vec<String>,
    /// Members whose database uses more than four fifths of its quota.
    pub nearly_full: Vec<String>,
    /// Certificates that are not valid now: the file, with its host where it is on one.
    pub expired: Vec<String>,
    /// Certificates that end within 30 days.
    pub expiring: Vec<String>,
    /// Whether clocks are more than 5 s apart, those of hosts and this machine's.
    pub clocks_apart: bool,
    /// By how many seconds.
    pub clocks_apart_s: i64,
    /// Control planes whose API server is not ready.
    pub api_down: Vec<String>,
    /// Control planes whose API server was asked and is ready.
    pub api_ready: Vec<String>,
    /// Other services of the site that do not run: `SERVICE on HOST`.
    pub services_down: Vec<String>,
    /// Hosts whose kubelet does not run.
    pub kubelet_down: Vec<String>,
    /// Nodes that are not Ready, by their names.
    pub not_ready: Vec<String>,
    /// Hosts where commands are not root's, so that much was not seen.
    pub no_root: Vec<String>,
    /// The snapshot that the operator has named; empty where none was.
    pub snapshot: String,
}

impl Facts {
    /// The facts of a cluster of which nothing is known: what the names in a table are checked with.
    #[must_use]
    pub fn none() -> Self {
        let nothing = Observation {
            cluster: String::new(),
            platform: String::new(),
            at: Timestamp::UNIX_EPOCH,
            authority: None,
            asked: Asked::AsTheSiteSays,
            certificates: Vec::new(),
            hosts: BTreeMap::new(),
        };
        Self::of(&nothing, None)
    }

    /// Sums an observation up. `snapshot` is the file that the operator would restore from.
    #[must_use]
    pub fn of(seen: &Observation, snapshot: Option<&str>) -> Self {
        let states: BTreeMap<&HostName, MemberState> =
            seen.hosts.iter().filter_map(|(name, host)| Some((name, state_of(host)?))).collect();
        let of = |wanted: &[MemberState]| {
            let fits = states.iter().filter(|(_, state)| wanted.contains(state));
            fits.map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        let is = |state| of(&[state]);
        let where_host = |holds: &dyn Fn(&HostSeen) -> bool| names(seen.hosts.iter().filter(|(_, host)| holds(host)));
        let where_look = |holds: &dyn Fn(&HostLook) -> bool| where_host(&|host| host.ssh.seen().is_some_and(holds));
        let cluster = Cluster::of(seen);
        let (quorum, healthy) = cluster.quorum(&states);
        let (expired, expiring) = certificates(seen);
        let apart = clocks_apart_ms(seen);
        let (identity, ca) = identity(seen);
        let (asked, asked_from, asked_why) = match &seen.asked {
            Asked::AsTheSiteSays => (true, String::new(), String::new()),
            Asked::From { host, why } => (true, host.to_string(), why.clone()),
            Asked::Not { why } => (false, String::new(), why.clone()),
        };
        use MemberState as S;
        Self {
            platform: seen.platform.clone(),
            identity,
            ca,
            asked,
            asked_why,
            asked_from,
            quorum,
            voters: cluster.voters,
            needed: cluster.needed(),
            healthy,
            reached: where_look(&|_| true),
            no_ssh: where_host(&|host| host.ssh.seen().is_none() && host.etcd.as_ref().is_some_and(|e| e.seen().is_some())),
            slow: is(S::Slow),
            learners: is(S::Learner),
            leaderless: is(S::Leaderless),
            refusing: is(S::Refusing),
            stopped: is(S::Stopped),
            looping: is(S::Looping),
            broken: is(S::Broken),
            wiped: is(S::Wiped),
            silent: is(S::Silent),
            off: is(S::Off),
            lost: is(S::Lost),
            not_lost: where_host(&|host| host.lost && (host.ssh.seen().is_some() || state_of(host) != Some(S::Lost))),
            answering: of(&[S::Healthy, S::Slow, S::Learner, S::Leaderless]),
            with_data: of(&[S::Healthy, S::Slow, S::Learner, S::Leaderless, S::Stopped]),
            data_gone: where_host(&|host| {
                host.etcd.as_ref().is_some_and(|etcd| etcd.seen().is_some())
                    && host.ssh.seen().is_some_and(|look| matches!(look.data, Some(Data::Absent | Data::Empty)))
            }),
            strays: cluster.strays.clone(),
            split: cluster.ids > 1,
            strangers: cluster.strangers(seen),
            unstarted: cluster.unstarted(seen),
            unlisted: cluster.unlisted(seen, &states),
            no_space: where_host(&|host| has_alarm(host, "NOSPACE")),
            corrupt: where_host(&|host| has_alarm(host, "CORRUPT")),
            full: where_look(&|look| look.disk.is_some_and(|disk| disk.free_kib < FULL_KIB)),
            nearly_full: where_host(&is_nearly_full),
            expired,
            expiring,
            clocks_apart: apart > APART_MS,
            clocks_apart_s: apart / 1000,
            api_down: where_look(&|look| look.api.as_ref().is_some_and(|answer| answer != "ok")),
            api_ready: where_look(&|look| look.api.as_deref() == Some("ok")),
            services_down: services_down(seen),
            kubelet_down: where_look(&|look| look.kubelet.as_ref().is_some_and(|state| state != "active")),
            not_ready: not_ready(seen),
            no_root: where_look(&|look| !look.root),
            snapshot: snapshot.unwrap_or_default().to_owned(),
        }
    }
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
        _ if ends && service.log.iter().any(|line| DAMAGE.iter().any(|words| line.contains(words))) => MemberState::Broken,
        _ if ends => MemberState::Looping,
        Running::Down => MemberState::Stopped,
        _ => MemberState::Silent,
    }
}

/// The cluster as its newest member list has it.
struct Cluster {
    /// The member list of the member that applied most; absent where no member gave one.
    listed: Option<Vec<Listed>>,
    voters: usize,
    /// How many cluster ids answer.
    ids: usize,
    /// Hosts that follow one leader, of the main cluster id, and have a vote.
    followers: BTreeSet<String>,
    strays: Vec<String>,
}

impl Cluster {
    fn of(seen: &Observation) -> Self {
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
        Self { listed, voters, ids: by_id.len(), followers, strays }
    }

    fn needed(&self) -> usize {
        self.voters / 2 + 1
    }

    /// Says whether the quorum holds, and how many voters work together.
    fn quorum(&self, states: &BTreeMap<&HostName, MemberState>) -> (Quorum, usize) {
        use MemberState as S;
        let main = |name: &HostName| !self.strays.iter().any(|stray| stray == name.as_str());
        let count = |wanted: &[S]| states.iter().filter(|(name, state)| wanted.contains(state) && main(name)).count();
        let serving = count(&[S::Healthy]);
        let healthy = self.followers.len().max(serving);
        // What refused us, was not asked, hangs or cannot be reached may be alive, and be a majority among itself.
        let perhaps = count(&[S::Refusing, S::Unasked, S::Silent, S::Off]);
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

    fn strangers(&self, seen: &Observation) -> Vec<String> {
        let unknown = self.lines().filter(|line| host_of(seen, line).is_none());
        unknown.filter(|line| !line.name.is_empty()).map(|line| line.name.clone()).collect()
    }

    fn unstarted(&self, seen: &Observation) -> Vec<String> {
        let unnamed = self.lines().filter(|line| line.name.is_empty());
        unnamed.map(|line| host_of(seen, line).map_or_else(|| line.peer_urls.join(","), ToString::to_string)).collect()
    }

    /// Members of another cluster have a list of their own: strays are told as such.
    fn unlisted(&self, seen: &Observation, states: &BTreeMap<&HostName, MemberState>) -> Vec<String> {
        if self.listed.is_none() {
            return Vec::new();
        }
        let listed: BTreeSet<&HostName> = self.lines().filter_map(|line| host_of(seen, line)).collect();
        let absent = states.keys().filter(|name| !listed.contains(**name)).map(ToString::to_string);
        absent.filter(|name| !self.strays.contains(name)).collect()
    }
}

/// Finds the host of a line of the member list, by the member's name, or where it was never started by its peer URLs.
fn host_of<'o>(seen: &'o Observation, line: &Listed) -> Option<&'o HostName> {
    let fits = |host: &HostSeen| {
        host.member.as_ref().is_some_and(|member| {
            member.name == line.name || (line.name.is_empty() && member.peer_urls.iter().any(|url| line.peer_urls.contains(url)))
        })
    };
    seen.hosts.iter().find(|(_, host)| fits(host)).map(|(name, _)| name)
}

fn names<'o>(hosts: impl Iterator<Item = (&'o HostName, &'o HostSeen)>) -> Vec<String> {
    hosts.map(|(name, _)| name.to_string()).collect()
}

fn identity(seen: &Observation) -> (Identity, String) {
    let Some(Look::Seen(authority)) = &seen.authority else { return (Identity::Unknown, String::new()) };
    let identity = match &authority.expected {
        None => Identity::Unknown,
        Some(expected) if *expected == authority.seen => Identity::Same,
        Some(_) => Identity::Other,
    };
    (identity, authority.seen.clone())
}

/// Says whether a member knows of an alarm of its own. A status lists all alarms as protobuf text: `memberID:1 alarm:NOSPACE `.
fn has_alarm(host: &HostSeen, alarm: &str) -> bool {
    let Some(Look::Seen(etcd)) = &host.etcd else { return false };
    let (own, alarm) = (format!("memberID:{} ", etcd.status.member_id), format!("alarm:{alarm}"));
    etcd.status.errors.iter().any(|error| error.contains(&own) && error.contains(&alarm))
}

fn is_nearly_full(host: &HostSeen) -> bool {
    let Some(Look::Seen(etcd)) = &host.etcd else { return false };
    let quota = host.ssh.seen().and_then(|look| look.quota).filter(|quota| *quota > 0).unwrap_or(USUAL_QUOTA);
    u64::try_from(etcd.status.db_size).is_ok_and(|size| size > quota / 5 * 4)
}

/// The certificates that are not valid, and those that end soon.
fn certificates(seen: &Observation) -> (Vec<String>, Vec<String>) {
    let on_hosts = seen.hosts.values().filter_map(|host| host.ssh.seen()).flat_map(|look| &look.certificates);
    let (mut expired, mut expiring) = (BTreeSet::new(), BTreeSet::new());
    for placed in seen.certificates.iter().chain(on_hosts) {
        let (begins, ends): (Timestamp, Timestamp) = (placed.certificate.begins, placed.certificate.ends);
        if seen.at < begins || seen.at > ends {
            expired.insert(placed.place.clone());
        } else if ends.duration_since(seen.at) < SOON {
            expiring.insert(placed.place.clone());
        }
    }
    (expired.into_iter().collect(), expiring.into_iter().collect())
}

/// The greatest distance between two clocks, this machine's among them.
fn clocks_apart_ms(seen: &Observation) -> i64 {
    let clocks = seen.hosts.values().filter_map(|host| host.ssh.seen()).map(|look| look.clock_ahead_ms);
    let (least, most) = clocks.fold((0, 0), |(least, most), ahead| (least.min(ahead), most.max(ahead)));
    most - least
}

fn services_down(seen: &Observation) -> Vec<String> {
    let looks = seen.hosts.iter().filter_map(|(name, host)| Some((name, host.ssh.seen()?)));
    let others = looks.flat_map(|(host, look)| look.services.iter().map(move |(name, service)| (host, name, service)));
    let down = others.filter(|(_, name, service)| {
        *name != "etcd" && matches!(service.state, Running::Looping | Running::Failed | Running::Down | Running::Absent)
    });
    down.map(|(host, name, _)| format!("{name} on {host}")).collect()
}

fn not_ready(seen: &Observation) -> Vec<String> {
    let nodes = seen.hosts.values().filter_map(|host| host.ssh.seen()).flat_map(|look| &look.nodes);
    let bad: BTreeSet<&str> =
        nodes.filter(|node| node.status.split(',').next() != Some("Ready")).map(|node| node.name.as_str()).collect();
    bad.into_iter().map(str::to_owned).collect()
}
