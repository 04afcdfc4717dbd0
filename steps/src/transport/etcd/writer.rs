//! The calls to one member that change something.

use std::future::Future;
use std::time::Duration;

use etcd_client::CompactionOptions;

use super::reader::EtcdReader;
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

    /// Forgets the history before a revision, and returns when that is done on the disk.
    pub async fn compact(&self, revision: i64, within: Duration) -> Result<(), Fault> {
        let options = CompactionOptions::new().with_physical();
        let mut client = self.reader.client.clone();
        self.call(within, "compaction", client.compact(revision, Some(options))).await.map(drop)
    }

    /// Makes a changing call. One that lost its connection or ran out of time may have been carried out, and is in doubt.
    async fn call<T>(
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
