//! The calls to one member that only look.

use std::future::Future;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Client, GetOptions, SnapshotStreaming};
use serde::{Deserialize, Serialize};

use super::words;
use crate::fault::Fault;
use crate::site::{Host, Member};
use crate::transport::trouble::Trouble;
use crate::world::World;

/// The key that is read to see whether a member serves; the one `etcdctl endpoint health` reads. It need not exist.
const HEALTH_KEY: &str = "health";

/// Calls one member, and cannot change anything.
#[derive(Clone)]
pub struct EtcdReader<'w> {
    pub(super) world: &'w World,
    pub(super) host: &'w Host,
    pub(super) member: &'w Member,
    pub(super) client: Client,
    pub(super) url: String,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The id of its cluster.
    pub cluster_id: u64,
    /// Its own id.
    pub member_id: u64,
    /// The version of its binary.
    pub version: String,
    /// The revision of its store.
    pub revision: i64,
    /// The size of its database file, in bytes.
    pub db_size: i64,
    /// How much of that is in use, in bytes; 0 before etcd 3.4.
    pub db_size_in_use: i64,
    /// The id of the leader it follows, or its own; 0: it knows none.
    pub leader: u64,
    /// Its raft term.
    pub raft_term: u64,
    /// The last raft index that is committed, as it knows.
    pub raft_index: u64,
    /// The last raft index that it applied.
    pub raft_applied: u64,
    /// Whether it is a learner.
    pub is_learner: bool,
    /// Errors that it reports, alarms and a missing leader among them.
    pub errors: Vec<String>,
}

/// A line of the member list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The member's id.
    pub id: u64,
    /// Its name; empty while it was never started.
    pub name: String,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty while it was never started.
    pub client_urls: Vec<String>,
    /// Whether it is a learner.
    pub is_learner: bool,
}

impl From<&etcd_client::Member> for Listed {
    fn from(member: &etcd_client::Member) -> Self {
        Self {
            id: member.id(),
            name: member.name().to_owned(),
            peer_urls: member.peer_urls().to_vec(),
            client_urls: member.client_urls().to_vec(),
            is_learner: member.is_learner(),
        }
    }
}

/// The hash of a member's keys, all revisions from the last compaction to one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HashKv {
    /// The hash.
    pub hash: u32,
    /// The revision that the store was compacted at; hashes compare only if it is the same.
    pub compact_revision: i64,
    /// The member's current revision.
    pub revision: i64,
}

/// An alarm that is raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// The member it is about.
    pub member_id: u64,
    /// `NOSPACE`, `CORRUPT`, or a number that is not known here.
    pub kind: String,
}

impl<'w> EtcdReader<'w> {
    /// Returns the host that carries the member.
    #[must_use]
    pub fn host(&self) -> &'w Host {
        self.host
    }

    /// Returns the member's name, as the site gives it.
    #[must_use]
    pub fn name(&self) -> &'w str {
        &self.member.name
    }

    /// Returns the client URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns what the member says of itself. It answers without a quorum.
    pub async fn status(&self) -> Result<Status, Fault> {
        let mut client = self.client.clone();
        let answer = self.call("status", client.status()).await?;
        let header = answer.header();
        Ok(Status {
            cluster_id: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
            member_id: header.map_or(0, etcd_client::ResponseHeader::member_id),
            revision: header.map_or(0, etcd_client::ResponseHeader::revision),
            version: answer.version().to_owned(),
            db_size: answer.db_size(),
            db_size_in_use: answer.raft_used_db_size(),
            leader: answer.leader(),
            raft_term: answer.raft_term(),
            raft_index: answer.raft_index(),
            raft_applied: answer.raft_applied_index(),
            is_learner: answer.is_learner(),
            errors: answer.errors().to_vec(),
        })
    }

    /// Returns the member list as this member has it. It answers without a quorum, and may be stale.
    pub async fn members(&self) -> Result<Vec<Listed>, Fault> {
        let mut client = self.client.clone();
        let answer = self.call("member list", client.member_list()).await?;
        Ok(answer.members().iter().map(Listed::from).collect())
    }

    /// Reads a key with the agreement of a majority, as `etcdctl endpoint health` does. Being refused for want of
    /// permission is health as well: the answer was agreed on.
    pub async fn read_linearizable(&self) -> Result<(), Fault> {
        let mut client = self.client.clone();
        let read = async {
            match client.get(HEALTH_KEY, None).await {
                Err(etcd_client::Error::GRpcStatus(status)) if status.message().contains("permission denied") => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Ok(()),
            }
        };
        self.call("linearizable read", read).await
    }

    /// Returns how many keys there are, at a revision or now, and the current revision. It answers without a quorum.
    pub async fn count_keys(&self, revision: Option<i64>) -> Result<(i64, i64), Fault> {
        let mut options = GetOptions::new().with_all_keys().with_count_only().with_serializable();
        if let Some(revision) = revision {
            options = options.with_revision(revision);
        }
        let mut client = self.client.clone();
        let answer = self.call("count of the keys", client.get("", Some(options))).await?;
        Ok((answer.count(), answer.header().map_or(0, etcd_client::ResponseHeader::revision)))
    }

    /// Returns the hash of the keys up to a revision; 0 is the current one. It answers without a quorum. It reads the whole
    /// store, so it has five times the usual bound.
    pub async fn hash_kv(&self, revision: i64) -> Result<HashKv, Fault> {
        let mut client = self.client.clone();
        let answer = self.call_within(self.timeout() * 5, "hash of the keys", client.hash_kv(revision)).await?;
        Ok(HashKv {
            hash: answer.hash(),
            compact_revision: answer.compact_version(),
            revision: answer.header().map_or(0, etcd_client::ResponseHeader::revision),
        })
    }

    /// Returns the alarms that are raised in the cluster. It needs a quorum; [`Status::errors`] tells of them without one.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, Fault> {
        let mut client = self.client.clone();
        let answer = self.call("alarm list", client.alarm(AlarmAction::Get, AlarmType::None, None)).await?;
        let raised = answer.alarms().iter().map(|alarm| Alarm {
            member_id: alarm.member_id(),
            kind: match alarm.alarm() {
                AlarmType::Nospace => "NOSPACE".to_owned(),
                AlarmType::Corrupt => "CORRUPT".to_owned(),
                AlarmType::None => "unknown".to_owned(),
            },
        });
        Ok(raised.collect())
    }

    /// Begins to read a snapshot of the member's store. It answers without a quorum.
    pub async fn snapshot(&self) -> Result<SnapshotStream<'w>, Fault> {
        let mut client = self.client.clone();
        let stream = self.call("snapshot", client.snapshot()).await?;
        Ok(SnapshotStream { stream, reader: self.clone() })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.world.settings.call_timeout
    }

    pub(super) async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Fault> {
        self.call_within(self.timeout(), what, call).await
    }

    pub(super) async fn call_within<T>(
        &self,
        within: Duration,
        what: &str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Fault> {
        self.try_call(within, call).await.map_err(|trouble| self.fault(trouble, what))
    }

    pub(super) fn fault(&self, trouble: Trouble, what: &str) -> Fault {
        words::fault(trouble, &self.url, what).on(&self.host.name)
    }

    pub(super) async fn try_call<T>(
        &self,
        within: Duration,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Trouble> {
        // Boxed: the client's calls are large, and every future above would be as large.
        let trouble = match tokio::time::timeout(within, Box::pin(call)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => words::explain(&error),
            Err(_) => words::silent(within.as_secs_f32()),
        };
        if trouble.link {
            self.world.etcd.forget(&self.host.name);
        }
        Err(trouble)
    }
}

/// A snapshot on its way here: the pages of the store, and 32 bytes of SHA-256 at the end.
pub struct SnapshotStream<'w> {
    stream: SnapshotStreaming,
    reader: EtcdReader<'w>,
}

impl SnapshotStream<'_> {
    /// Returns the next piece, or `None` after the last. The hash is a piece of its own that comes after
    /// `remaining_bytes` has become 0: only `None` is the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let piece = self.reader.call("snapshot", self.stream.message()).await?;
        Ok(piece.map(|piece| piece.blob().to_vec()))
    }
}
