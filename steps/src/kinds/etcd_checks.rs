//! The checks of living members: `etcd.healthy`, `etcd.status`, `etcd.version`, `etcd.same_hash`, `etcd.one_cluster_id`,
//! `etcd.no_alarm`, `etcd.quorum`.

use async_trait::async_trait;
use serde::Deserialize;

use super::etcd_members::{MEMBERS, Members, ask};
use crate::action::{Check, Observation};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::fault::Fault;
use crate::transport::etcd::{EtcdReader, HashKv, Status, quorum};
use crate::world::Reader;

fn make<C: Check + for<'de> Deserialize<'de> + 'static>(args: serde_json::Value) -> Result<Box<dyn Check>, BadArgs> {
    Ok(Box::new(args::read::<C>(args)?))
}

/// `etcd.healthy`
pub static HEALTHY: Kind = Kind {
    name: "etcd.healthy",
    summary: "Each member answers a linearizable read, knows a leader and reports no error or alarm.",
    details: "Without a quorum no member is healthy, though it may answer `etcd.status`.",
    seat: Seat::Cluster,
    args: &[MEMBERS],
    source: "etcd documentation, `etcdctl endpoint health`",
    example: "{ members: all }",
    make: Make::Check(make::<Healthy>),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Healthy {
    #[serde(default)]
    members: Members,
}

#[async_trait]
impl Check for Healthy {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let hosts = self.members.hosts(reader.site())?;
        let answers = ask(reader, &hosts, |etcd| async move {
            let status = etcd.status().await?;
            etcd.read_linearizable().await?;
            Ok(status)
        })
        .await;
        Ok(answers.sum_up("every member serves a linearizable read and reports no error", |status: &Status| {
            if status.errors.is_empty() {
                (true, "is healthy".to_owned())
            } else {
                (false, format!("reports {}", status.errors.join(", ")))
            }
        }))
    }
}

/// `etcd.status`
pub static STATUS: Kind = Kind {
    name: "etcd.status",
    summary: "Each member has at least a revision, a number of keys, or a hash of its keys.",
    details: "After a restore, compare with what the rehearsal of the same snapshot returned: `hash` with its revision and \
              hash, `keys` with its keys. `hash` and `keys` are read at `hash.revision`, so later writes do not disturb \
              them, but a compaction after it does: compare before API servers start.",
    seat: Seat::Cluster,
    args: &[
        MEMBERS,
        Arg::optional("revision_at_least", Type::Int, "The lowest revision that is right."),
        Arg::optional("keys", Type::Int, "The number of keys, at `hash.revision` if that is given, else now."),
        Arg::optional(
            "hash",
            Type::Object(&[
                Arg::required("revision", Type::Int, "The revision up to which keys are hashed."),
                Arg::required("value", Type::Int, "The hash of the keys (`etcdctl endpoint hashkv`)."),
            ]),
            "The hash that the keys must have. It compares only between stores that were compacted at the same revision.",
        ),
        Arg::optional("learner", Type::Bool, "Whether the members are learners."),
    ],
    source: "etcd documentation, `etcdctl endpoint status` and `etcdctl endpoint hashkv`",
    example: r#"{ revision_at_least: "{{ steps.save.outputs.revision }}", keys: 500 }"#,
    make: Make::Check(make::<StatusIs>),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusIs {
    #[serde(default)]
    members: Members,
    revision_at_least: Option<i64>,
    keys: Option<i64>,
    hash: Option<WantedHash>,
    learner: Option<bool>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct WantedHash {
    revision: i64,
    value: u32,
}

/// What `etcd.status` read of one member.
struct Read {
    status: Status,
    keys: Option<i64>,
    hash: Option<HashKv>,
}

impl StatusIs {
    async fn read(&self, etcd: EtcdReader<'_>) -> Result<Read, Fault> {
        let status = etcd.status().await?;
        let at = self.hash.map(|hash| hash.revision);
        let keys = match self.keys {
            Some(_) => Some(etcd.count_keys(at).await?.0),
            None => None,
        };
        let hash = match at {
            Some(revision) => Some(etcd.hash_kv(revision).await?),
            None => None,
        };
        Ok(Read { status, keys, hash })
    }

    fn judge(&self, read: &Read) -> (bool, String) {
        let mut shown = vec![format!("is at revision {}", read.status.revision)];
        let mut right = self.revision_at_least.is_none_or(|least| read.status.revision >= least);
        if let Some(keys) = read.keys {
            right &= self.keys == Some(keys);
            shown.push(format!("{keys} keys"));
        }
        if let (Some(wanted), Some(hash)) = (self.hash, read.hash) {
            right &= wanted.value == hash.hash;
            let compacted = hash.compact_revision;
            shown.push(format!("hash {} at {} (compacted at {compacted})", hash.hash, wanted.revision));
        }
        if let Some(learner) = self.learner {
            right &= learner == read.status.is_learner;
            shown.push(if read.status.is_learner { "a learner" } else { "a voter" }.to_owned());
        }
        (right, shown.join(", "))
    }

    fn expected(&self) -> String {
        let mut wanted = vec!["every member answers".to_owned()];
        wanted.extend(self.revision_at_least.map(|revision| format!("revision at least {revision}")));
        wanted.extend(self.keys.map(|keys| format!("{keys} keys")));
        wanted.extend(self.hash.map(|hash| format!("hash {} at {}", hash.value, hash.revision)));
        wanted.extend(self.learner.map(|learner| if learner { "a learner" } else { "a voter" }.to_owned()));
        wanted.join(", ")
    }
}

#[async_trait]
impl Check for StatusIs {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let hosts = self.members.hosts(reader.site())?;
        let answers = ask(reader, &hosts, |etcd| self.read(etcd)).await.any()?;
        Ok(answers.sum_up(self.expected(), |read| self.judge(read)))
    }
}

/// `etcd.version`
pub static VERSION: Kind = Kind {
    name: "etcd.version",
    summary: "The members run at least a version of etcd, or all the same.",
    details: "It asks running members. What a snapshot needs of the binaries on hosts is `etcd.snapshot_fits`.",
    seat: Seat::Cluster,
    args: &[
        MEMBERS,
        Arg::optional("at_least", Type::Str, "The lowest version that is right, for example `3.5` or `3.4.27`."),
        Arg::optional("same", Type::Bool, "Whether all must run the same version; default: false."),
    ],
    example: r#"{ at_least: "3.5.10", same: true }"#,
    make: Make::Check(|args| {
        let check: VersionIs = args::read(args)?;
        if let Some(text) = &check.at_least {
            version(text)
                .ok_or_else(|| BadArgs::at("at_least", format!("`{text}` is no version: write 3.5 or 3.5.16")))?;
        }
        Ok(Box::new(check))
    }),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionIs {
    #[serde(default)]
    members: Members,
    at_least: Option<String>,
    #[serde(default)]
    same: bool,
}

/// Reads a version of which the last parts may be missing.
pub(super) fn version(text: &str) -> Option<semver::Version> {
    let missing = 2_usize.checked_sub(text.matches('.').count())?;
    semver::Version::parse(&format!("{text}{}", ".0".repeat(missing))).ok()
}

#[async_trait]
impl Check for VersionIs {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let hosts = self.members.hosts(reader.site())?;
        let answers = ask(reader, &hosts, |etcd| async move { etcd.status().await }).await.any()?;
        let least = self.at_least.as_deref().and_then(version);
        let first = answers.came().next().map(|(_, status)| status.version.clone()).unwrap_or_default();
        let mut wanted = vec!["every member answers".to_owned()];
        wanted.extend(self.at_least.as_ref().map(|least| format!("runs at least etcd {least}")));
        wanted.extend(self.same.then(|| "all run the same version".to_owned()));
        Ok(answers.sum_up(wanted.join(", "), |status| {
            let new_enough = least.as_ref().is_none_or(|least| version(&status.version).is_some_and(|v| v >= *least));
            let same = !self.same || status.version == first;
            (new_enough && same, format!("runs {}", status.version))
        }))
    }
}

/// `etcd.same_hash`
pub static SAME_HASH: Kind = Kind {
    name: "etcd.same_hash",
    summary: "All members have the same keys: the hash at one revision is equal.",
    details: "The revision is the lowest that a member has. A member that was compacted at another revision cannot be \
              compared yet; give the check a `within`.",
    seat: Seat::Cluster,
    args: &[MEMBERS],
    source: "etcd documentation, `etcdctl endpoint hashkv`",
    example: "{}",
    make: Make::Check(make::<SameHash>),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SameHash {
    #[serde(default)]
    members: Members,
}

#[async_trait]
impl Check for SameHash {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let hosts = self.members.hosts(reader.site())?;
        let statuses = ask(reader, &hosts, |etcd| async move { etcd.status().await }).await.any()?;
        let revision = statuses.came().map(|(_, status)| status.revision).min().unwrap_or(0);
        let answers = ask(reader, &hosts, |etcd| async move { etcd.hash_kv(revision).await }).await.any()?;
        let first = answers.came().next().map(|(_, hash)| (hash.hash, hash.compact_revision));
        Ok(answers.sum_up(format!("every member has the same hash of its keys at revision {revision}"), |hash| {
            let same = first == Some((hash.hash, hash.compact_revision));
            (same, format!("has {} (compacted at {})", hash.hash, hash.compact_revision))
        }))
    }
}

/// `etcd.one_cluster_id`
pub static ONE_CLUSTER_ID: Kind = Kind {
    name: "etcd.one_cluster_id",
    summary: "All members belong to one cluster.",
    details: "Members that were restored with different tokens or member lists have different cluster ids and never meet.",
    seat: Seat::Cluster,
    args: &[MEMBERS],
    example: "{}",
    make: Make::Check(make::<OneClusterId>),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneClusterId {
    #[serde(default)]
    members: Members,
}

#[async_trait]
impl Check for OneClusterId {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let hosts = self.members.hosts(reader.site())?;
        let answers = ask(reader, &hosts, |etcd| async move { etcd.status().await }).await.any()?;
        let first = answers.came().next().map(|(_, status)| status.cluster_id);
        Ok(answers.sum_up("every member is of the same cluster", |status| {
            (first == Some(status.cluster_id), format!("is of cluster {:x}", status.cluster_id))
        }))
    }
}

/// `etcd.no_alarm`
pub static NO_ALARM: Kind = Kind {
    name: "etcd.no_alarm",
    summary: "No member has raised an alarm (NOSPACE, CORRUPT).",
    details: "Each member is asked for what it knows itself, so it works without a quorum.",
    seat: Seat::Cluster,
    args: &[MEMBERS],
    source: "etcd documentation, `etcdctl alarm list`",
    example: "{}",
    make: Make::Check(make::<NoAlarm>),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoAlarm {
    #[serde(default)]
    members: Members,
}

#[async_trait]
impl Check for NoAlarm {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let hosts = self.members.hosts(reader.site())?;
        let answers = ask(reader, &hosts, |etcd| async move { etcd.status().await }).await.any()?;
        Ok(answers.sum_up("every member answers and knows of no alarm", |status| {
            // A member lists alarms among its errors in the form of the protobuf text: `memberID:1 alarm:NOSPACE `.
            let alarms: Vec<&str> = status.errors.iter().map(|e| e.trim()).filter(|e| e.contains("alarm:")).collect();
            if alarms.is_empty() {
                (true, "knows of no alarm".to_owned())
            } else {
                (false, format!("knows of {}", alarms.join(", ")))
            }
        }))
    }
}

/// `etcd.quorum`
pub static QUORUM: Kind = Kind {
    name: "etcd.quorum",
    summary: "A majority of the voters works together, also without one member; or, with `holds: false`, surely not.",
    details: "The voters are those of the live member list. With `holds: false` it holds only if no majority can be alive: \
              members that refuse us (a certificate, a permission), and those that cannot be asked because the TLS files \
              cannot be read, count as perhaps alive. Neither holds while members serve different clusters \
              beside each other.",
    seat: Seat::Cluster,
    args: &[
        Arg::optional(
            "without",
            Type::Str,
            "A member that is to be removed: the others must be a majority of what is left.",
        ),
        Arg::optional(
            "stopped",
            Type::Str,
            "A member that is to be stopped, and stays a voter: the others must be a majority.",
        ),
        Arg::optional("holds", Type::Bool, "Whether the quorum must hold (the default), or be lost."),
    ],
    rules: &[args::Rule::AtMostOne(&["without", "stopped"])],
    example: r#"{ without: "{{ inputs.member }}" }"#,
    make: Make::Check(make::<Quorum>),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quorum {
    without: Option<String>,
    stopped: Option<String>,
    #[serde(default = "yes")]
    holds: bool,
}

fn yes() -> bool {
    true
}

#[async_trait]
impl Check for Quorum {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let view = quorum(reader).await;
        if !self.holds {
            let expected = "the quorum is lost: no majority of the voters can be alive";
            return Ok(Observation::new(view.surely_lost(), expected, view.evidence));
        }
        let gone = self.without.as_ref().or(self.stopped.as_ref());
        let Some(gone) = gone else {
            return Ok(Observation::new(view.holds, "a majority of the voters works together", view.evidence));
        };
        // The member that is to go may have no host in the site: then all that serve are others.
        let name = super::etcd_members::find(reader.site(), gone)
            .ok()
            .and_then(|host| host.etcd.as_ref())
            .map_or(gone.as_str(), |member| member.name.as_str());
        let others = view.members.iter().filter(|member| member.serves && member.name != name).count();
        let voters = if self.without.is_some() { view.voters.saturating_sub(1) } else { view.voters };
        let needed = voters / 2 + 1;
        let left = format!("without `{gone}`, {others} serve and {needed} are needed");
        let expected = format!("the quorum holds, and would without `{gone}`");
        Ok(Observation::new(view.holds && others >= needed, expected, format!("{left}; {}", view.evidence)))
    }
}
