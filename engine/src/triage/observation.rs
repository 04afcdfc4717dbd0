//! What was seen of a cluster: plain data, the shape of `requorum triage -o json` and of the recorded observations that
//! the rules are tested with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use requorum_steps::certificate::Certificate;
use requorum_steps::transport::etcd::{Listed, Status};
use requorum_steps::{Fault, FaultKind, HostName};
use serde::{Deserialize, Serialize};

/// What was seen of one cluster, at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// The cluster's name in the site.
    pub cluster: String,
    /// The site's platform.
    pub platform: String,
    /// When the looks began, by this machine's clock.
    pub at: Timestamp,
    /// The CA of etcd; absent where the site has no TLS for etcd.
    pub authority: Option<Look<Authority>>,
    /// The namespace kube-system; absent where the site does not name its uid, or no API to ask.
    #[serde(default)]
    pub kube_system: Option<Look<KubeSystem>>,
    /// With which TLS files the members were asked.
    pub asked: Asked,
    /// The client certificate and the CA with which the members were asked.
    #[serde(default)]
    pub certificates: Vec<PlacedCertificate>,
    /// The hosts of the site.
    pub hosts: BTreeMap<HostName, HostSeen>,
}

/// What came of looking at something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look<T> {
    /// It was seen.
    Seen(T),
    /// It was not, which says little of what is there.
    Silent(Silence),
}

impl<T> Look<T> {
    /// Returns what was seen.
    #[must_use]
    pub fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(seen) => Some(seen),
            Self::Silent(_) => None,
        }
    }

    /// Returns why nothing was seen.
    #[must_use]
    pub fn silence(&self) -> Option<&Silence> {
        match self {
            Self::Seen(_) => None,
            Self::Silent(silence) => Some(silence),
        }
    }
}

impl<T> From<Result<T, Fault>> for Look<T> {
    fn from(outcome: Result<T, Fault>) -> Self {
        match outcome {
            Ok(seen) => Self::Seen(seen),
            Err(fault) => Self::Silent(Silence::from(&fault)),
        }
    }
}

/// Why nothing was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Whether it could not be reached, refused us, or something else.
    pub kind: FaultKind,
    /// Why, in one line.
    pub why: String,
}

impl From<&Fault> for Silence {
    fn from(fault: &Fault) -> Self {
        let seen = fault.seen.as_deref().and_then(|seen| seen.lines().rev().find(|line| !line.trim().is_empty()));
        let why = match seen {
            Some(seen) if !fault.what.contains(seen.trim()) => format!("{}: {}", fault.what, seen.trim()),
            Some(_) | None => fault.what.clone(),
        };
        Self { kind: fault.kind, why }
    }
}

/// The CA of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// The fingerprint that the site expects; absent where it names none.
    pub expected: Option<String>,
    /// The SHA-256 of its DER form, in lower-case hexadecimal.
    pub seen: String,
}

/// The namespace kube-system, whose uid lasts as long as a cluster and survives a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubeSystem {
    /// The uid that the site expects.
    pub expected: String,
    /// The uid that the API tells; absent where there is no such namespace.
    pub seen: Option<String>,
}

/// Whether the members could be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// As the site says.
    AsTheSiteSays,
    /// With the same TLS files of another host than the site names, which did not give them.
    From {
        /// The host that gave them.
        host: HostName,
        /// Why those that the site names could not be had.
        why: String,
    },
    /// They were not asked: the TLS files could not be had.
    Not {
        /// Why.
        why: String,
    },
}

/// What was seen of one host and its member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSeen {
    /// Its member, as the site has it.
    pub member: Option<MemberOfSite>,
    /// Whether the site says that it is lost.
    #[serde(default)]
    pub lost: bool,
    /// Whether it is a control plane.
    #[serde(default)]
    pub control_plane: bool,
    /// What SSH saw.
    pub ssh: Look<HostLook>,
    /// What its member answered; absent where it has none, or was not asked.
    pub etcd: Option<Look<EtcdLook>>,
}

/// The member of a host, as the site has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberOfSite {
    /// Its name.
    pub name: String,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
}

/// What a member answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdLook {
    /// What it says of itself.
    pub status: Status,
    /// The member list as it has it, which needs no quorum.
    pub listed: Look<Vec<Listed>>,
    /// Whether a read that a majority has to agree to was answered, and if not, why.
    pub serves: Look<()>,
}

/// What SSH saw of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLook {
    /// How far its clock is ahead of this machine's, in milliseconds, at least: the time that the look took is allowed for.
    pub clock_ahead_ms: i64,
    /// Whether commands there are root's; much cannot be seen otherwise.
    pub root: bool,
    /// For how long it has been up, in seconds.
    pub up_s: Option<u64>,
    /// The member's data directory.
    pub data: Option<Data>,
    /// The file system of the data directory.
    pub disk: Option<Disk>,
    /// The quota of etcd's database, in bytes, where it is configured.
    pub quota: Option<u64>,
    /// The services of the site, by name; the member's own is `etcd`.
    #[serde(default)]
    pub services: BTreeMap<String, ServiceSeen>,
    /// What systemd says of the kubelet, where there is one.
    pub kubelet: Option<String>,
    /// What the API server of this host answers to `/readyz`, where it could be asked.
    pub api: Option<String>,
    /// The nodes as the API tells them.
    #[serde(default)]
    pub nodes: Vec<NodeSeen>,
    /// The certificates on the host.
    #[serde(default)]
    pub certificates: Vec<PlacedCertificate>,
}

/// A data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// There is data in it.
    There,
    /// It is there, and no data in it.
    Empty,
    /// It is not there.
    Absent,
    /// It could not be looked into.
    Unknown,
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Its size in KiB.
    pub size_kib: u64,
    /// What is free in KiB.
    pub free_kib: u64,
}

/// A service of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSeen {
    /// Whether it runs.
    pub state: Running,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// What its manager says.
    #[serde(default)]
    pub detail: String,
    /// The lines of its log that say why it ended.
    #[serde(default)]
    pub log: Vec<String>,
}

/// Whether a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    /// It runs.
    Running,
    /// It is being started or stopped.
    Changing,
    /// It is started again and again and ends each time.
    Looping,
    /// It has ended by itself, with an error.
    Failed,
    /// It was stopped, or never started.
    Down,
    /// There is no such service on the host.
    Absent,
    /// Nothing could say.
    Unknown,
}

/// A node of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// Its status, for example `Ready` or `NotReady,SchedulingDisabled`.
    pub status: String,
}

/// A certificate and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedCertificate {
    /// A path of this machine, or `HOST:/path`.
    pub place: String,
    /// The certificate.
    pub certificate: Certificate,
}
