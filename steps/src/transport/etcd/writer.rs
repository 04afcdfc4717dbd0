//! The calls to one member that change something.

use std::future::Future;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions, MemberAddOptions};

use super::reader::{EtcdReader, Listed};
use crate::fault::{Fault, FaultKind};

/// Calls one member to change something. It exists only inside an attempt.
pub struct EtcdWriter<'w> {
    pub(super) reader: EtcdReader<'w>,
}

impl<'w> EtcdWriter<'w> {
    /// Returns the calls to the same member that only look.
    #[must_use]
    pub fn reader(&self) -> &EtcdReader<'w> {
        &self.reader
    }

    /// Adds a member, which is not started yet, and returns it with the new member list. A learner does not count for the
    /// quorum until it is promoted (etcd 3.4 and later).
    pub async fn member_add(&self, peer_urls: &[String], learner: bool) -> Result<(Listed, Vec<Listed>), Fault> {
        let options = learner.then(|| MemberAddOptions::new().with_is_learner());
        let mut client = self.reader.client.clone();
        let answer = self.call("member add", client.member_add(peer_urls, options)).await?;
        let added = answer.member().map(Listed::from).ok_or_else(|| {
            Fault::in_doubt(format!("etcd at {} did not say which member it added", self.reader.url()))
        })?;
        Ok((added, answer.member_list().iter().map(Listed::from).collect()))
    }

    /// Removes a member and returns the new member list.
    pub async fn member_remove(&self, id: u64) -> Result<Vec<Listed>, Fault> {
        let mut client = self.reader.client.clone();
        let answer = self.call("member remove", client.member_remove(id)).await?;
        Ok(answer.members().iter().map(Listed::from).collect())
    }

    /// Makes a learner a voter and returns the new member list. etcd refuses while the learner lags behind.
    pub async fn member_promote(&self, id: u64) -> Result<Vec<Listed>, Fault> {
        let mut client = self.reader.client.clone();
        let answer = self.call("member promote", client.member_promote(id)).await?;
        Ok(answer.members().iter().map(Listed::from).collect())
    }

    /// Hands the leadership to another voter. Only the leader itself can be asked to.
    pub async fn move_leader(&self, id: u64) -> Result<(), Fault> {
        let mut client = self.reader.client.clone();
        self.call("move leader", client.move_leader(id)).await.map(drop)
    }

    /// Rewrites the member's database without its free pages. The member answers nothing meanwhile: `within` is the bound.
    pub async fn defragment(&self, within: Duration) -> Result<(), Fault> {
        let mut client = self.reader.client.clone();
        self.call_within(within, "defragmentation", client.defragment()).await.map(drop)
    }

    /// Forgets the history before a revision, and returns when that is done on the disk.
    pub async fn compact(&self, revision: i64, within: Duration) -> Result<(), Fault> {
        let options = CompactionOptions::new().with_physical();
        let mut client = self.reader.client.clone();
        self.call_within(within, "compaction", client.compact(revision, Some(options))).await.map(drop)
    }

    /// Clears one member's alarm for want of space; an alarm for corruption stays.
    pub async fn disarm_no_space(&self, member: u64) -> Result<(), Fault> {
        let mut options = AlarmOptions::new();
        options.with_member(member);
        let mut client = self.reader.client.clone();
        let disarmed = client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options));
        self.call("alarm disarm", disarmed).await.map(drop)
    }

    async fn call<T>(&self, what: &str, call: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, Fault> {
        self.call_within(self.reader.timeout(), what, call).await
    }

    /// Makes a changing call. One that lost its connection or ran out of time may have been carried out, and is in doubt.
    async fn call_within<T>(
        &self,
        within: Duration,
        what: &str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Fault> {
        self.reader.try_call(within, call).await.map_err(|trouble| {
            let maybe_done = trouble.maybe_done;
            let mut fault = self.reader.fault(trouble, what);
            if maybe_done {
                fault.kind = FaultKind::InDoubt;
            }
            fault
        })
    }
}
