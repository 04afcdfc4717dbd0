//! What a run that is over has left on hosts and is no longer wanted: its capsules, and what it had set aside.
//!
//! This is the only place that deletes data, and only what bears the name that requorum gave it when it set it aside.

use crate::capsule::here::LocalCapsules;
use crate::capsule::remote::HostCapsules;
use crate::fault::Fault;
use crate::kinds::aside;
use crate::name::{HostName, RunId};
use crate::world::World;

/// What is done to leftovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Looks whether they can be removed, and how large they are.
    Look,
    /// Removes them.
    Remove,
}

impl World {
    /// Removes the capsules that a run has on a host, or on this machine. Refused while one of its attempts runs there. The
    /// fence stays.
    pub async fn forget(&self, host: Option<&HostName>, run: &RunId, sweep: Sweep) -> Result<(), Fault> {
        let remove = sweep == Sweep::Remove;
        match host {
            Some(name) => HostCapsules::new(self, self.host(name)?).forget(run, remove).await,
            None => LocalCapsules::new(&self.settings, &self.supervisors).forget(remove),
        }
    }

    /// Removes what a run has set aside at a path, for good. Returns its size in bytes, `None` if nothing is there. Refused
    /// where a process has something inside open, where a file system is mounted in it, and for a name that the run did not
    /// give.
    pub async fn purge(&self, host: &HostName, run: &RunId, path: &str, sweep: Sweep) -> Result<Option<u64>, Fault> {
        aside::purge(&self.reader(Some(host)), run, path, sweep == Sweep::Remove).await
    }
}
