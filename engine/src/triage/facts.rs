//! An observation summed up: the facts that the rules of the table are about. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use requorum_steps::{HostName, clock};
use serde::Serialize;

use super::membership::{self, Membership, Quorum};
use super::observation::{Asked, Data, HostLook, HostSeen, Look, Observation, PlacedCertificate, Running};
use super::state::{MemberState, state_of};

/// How long before its end a certificate is worth a word.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// etcd's own quota where none is configured, in bytes. Source: etcd documentation, System limits.
const USUAL_QUOTA: u64 = 2 << 30;
/// How far clocks may be apart, in milliseconds. Certificates and leases bear more; raft needs none of it.
const APART_MS: i64 = 5_000;
/// A disk with less free than this, in KiB, counts as full: a write-ahead log file of etcd has 64 MB.
const FULL_KIB: u64 = 80 * 1024;

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
    /// The name of the member of each host, as the site has it.
    pub member_of: BTreeMap<String, String>,
    /// Whether it is the right cluster.
    pub identity: Identity,
    /// The fingerprint of the CA that was seen; empty where none was.
    pub ca: String,
    /// Whether the Kubernetes in it is the one that the site means.
    pub kubernetes: Identity,
    /// The uid of the namespace kube-system that was seen; empty where there is none, or none was seen.
    pub kube_system_uid: String,
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
    /// Hosts of those without data on which there is nothing else of etcd either: new, reinstalled or rebuilt.
    pub bare: Vec<String>,
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
    /// Those of the strays that serve: two clusters work beside each other.
    pub rivals: Vec<String>,
    /// Whether the members that answer are of more than one cluster id.
    pub split: bool,
    /// Members that answer, are alone in their member list, and began that cluster themselves a short while ago.
    pub reborn: Vec<String>,
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
            kube_system: None,
            asked: Asked::AsTheSiteSays,
            certificates: Vec::new(),
            hosts: BTreeMap::new(),
        };
        Self::of(&nothing, None)
    }

    /// Sums an observation up. `snapshot` is the file that the operator would restore from.
    #[must_use]
    pub fn of(seen: &Observation, snapshot: Option<&str>) -> Self {
        use MemberState as S;
        let states: BTreeMap<&HostName, MemberState> =
            seen.hosts.iter().filter_map(|(name, host)| Some((name, state_of(host)?))).collect();
        let of = |wanted: &[MemberState]| {
            let fits = states.iter().filter(|(_, state)| wanted.contains(state));
            fits.map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        let is = |state| of(&[state]);
        let where_host = |holds: &dyn Fn(&HostSeen) -> bool| names(seen.hosts.iter().filter(|(_, host)| holds(host)));
        let where_look = |holds: &dyn Fn(&HostLook) -> bool| where_host(&|host| host.ssh.seen().is_some_and(holds));
        let cluster = Membership::of(seen);
        let (quorum, healthy) = cluster.quorum(&states);
        let (expired, expiring) = certificates(seen);
        let apart = clocks_apart_ms(seen);
        let (identity, ca) = identity(seen);
        let (kubernetes, kube_system_uid) = kubernetes(seen);
        let (asked, asked_from, asked_why) = match &seen.asked {
            Asked::AsTheSiteSays => (true, String::new(), String::new()),
            Asked::From { host, why } => (true, host.to_string(), why.clone()),
            Asked::Not { why } => (false, String::new(), why.clone()),
        };
        Self {
            platform: seen.platform.clone(),
            member_of: seen
                .hosts
                .iter()
                .filter_map(|(name, host)| Some((name.to_string(), host.member.as_ref()?.name.clone())))
                .collect(),
            identity,
            ca,
            kubernetes,
            kube_system_uid,
            asked,
            asked_why,
            asked_from,
            quorum,
            voters: cluster.voters,
            needed: cluster.needed(),
            healthy,
            reached: where_look(&|_| true),
            no_ssh: where_host(&|host| {
                host.ssh.seen().is_none() && host.etcd.as_ref().is_some_and(|e| e.seen().is_some())
            }),
            slow: is(S::Slow),
            learners: is(S::Learner),
            leaderless: is(S::Leaderless),
            refusing: is(S::Refusing),
            stopped: is(S::Stopped),
            looping: is(S::Looping),
            broken: is(S::Broken),
            wiped: is(S::Wiped),
            bare: where_host(&|host| is_bare(host, &seen.platform)),
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
            rivals: is(S::Healthy).into_iter().filter(|name| cluster.strays.contains(name)).collect(),
            strays: cluster.strays.clone(),
            split: cluster.ids > 1,
            reborn: membership::reborn(seen),
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

fn kubernetes(seen: &Observation) -> (Identity, String) {
    let Some(Look::Seen(namespace)) = &seen.kube_system else { return (Identity::Unknown, String::new()) };
    let is_same = namespace.seen.as_ref() == Some(&namespace.expected);
    (if is_same { Identity::Same } else { Identity::Other }, namespace.seen.clone().unwrap_or_default())
}

/// Says whether nothing of etcd is on a host. A static pod is no service that could be missing: there it is the certificates.
fn is_bare(host: &HostSeen, platform: &str) -> bool {
    state_of(host) == Some(MemberState::Wiped)
        && host.ssh.seen().is_some_and(|look| {
            let etcd = look.services.get("etcd").map(|etcd| etcd.state);
            etcd == Some(Running::Absent)
                || platform == "kubeadm" && etcd == Some(Running::Down) && look.root && look.certificates.is_empty()
        })
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

fn is_valid(placed: &PlacedCertificate, at: Timestamp) -> bool {
    placed.certificate.begins <= at && at <= placed.certificate.ends
}

/// The certificates that are not valid, and those that end soon.
fn certificates(seen: &Observation) -> (Vec<String>, Vec<String>) {
    let on_hosts = seen.hosts.values().filter_map(|host| host.ssh.seen()).flat_map(|look| &look.certificates);
    let (mut expired, mut expiring) = (BTreeSet::new(), BTreeSet::new());
    for placed in seen.certificates.iter().chain(on_hosts) {
        if !is_valid(placed, seen.at) {
            expired.insert(placed.place.clone());
        } else if placed.certificate.ends.duration_since(seen.at) < SOON {
            expiring.insert(placed.place.clone());
        }
    }
    (expired.into_iter().collect(), expiring.into_iter().collect())
}

/// The greatest distance between two clocks, this machine's among them.
fn clocks_apart_ms(seen: &Observation) -> i64 {
    clock::apart_ms(seen.hosts.values().filter_map(|host| host.ssh.seen()).map(|look| look.clock_ahead_ms))
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
