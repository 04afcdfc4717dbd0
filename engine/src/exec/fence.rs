//! The fence, as acts meet it that go through no host's capsule: those of an API, or of this machine.
//!
//! A launch on a host compares the fence by itself, under its lock. Whatever else changes something reads it before, on
//! every host where this process has raised it. Between the look and the act another holder can still take over: an API
//! knows no fence. What is sure is that a holder who was pushed aside before the look does nothing more.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use requorum_steps::capsule::Holder;
use requorum_steps::world::SeenFence;
use requorum_steps::{Fault, FaultKind, HostName, World};
use tokio::time::timeout;

/// How long one host may take to tell its fence. One that died since must not hold up the others' recovery.
const ONE_LOOK: Duration = Duration::from_secs(5);

/// Where this process has raised the fence.
#[derive(Debug, Default)]
pub struct Fence {
    hosts: Mutex<BTreeSet<HostName>>,
}

/// What a look at the fence came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The hosts that did not tell, with the reason in one line; each is named only once.
    pub silent: Vec<(HostName, String)>,
}

impl Fence {
    /// Takes note of the hosts that have it.
    pub fn raised_on(&self, hosts: impl IntoIterator<Item = HostName>) {
        if let Ok(mut known) = self.hosts.lock() {
            known.extend(hosts);
        }
    }

    /// Looks whether it is still this holder's on every host that has it. `Err`: another holder has pushed it aside.
    ///
    /// A host that does not tell is not asked again by this process: it is not known to be another's, and a recovery must
    /// go on without the hosts that have died.
    pub async fn is_ours(&self, world: &World, holder: &Holder) -> Result<Look, Fault> {
        let hosts = self.hosts.lock().map(|hosts| hosts.clone()).unwrap_or_default();
        let looks = join_all(hosts.into_iter().map(|host| async move {
            let seen = timeout(ONE_LOOK, world.see_fence(&host)).await;
            (host, seen)
        }));
        let mut look = Look::default();
        for (host, seen) in looks.await {
            match seen {
                Ok(Ok(Some(seen))) if is_another(&seen, holder) => return Err(pushed_aside(&seen).on(&host)),
                Ok(Ok(_)) => {}
                Ok(Err(fault)) => look.silent.push((host, fault.to_string())),
                Err(_) => look.silent.push((host, format!("no answer within {} s", ONE_LOOK.as_secs()))),
            }
        }
        if let Ok(mut known) = self.hosts.lock() {
            known.retain(|host| look.silent.iter().all(|(silent, _)| silent != host));
        }
        Ok(look)
    }
}

/// Says whether a fence belongs to somebody who came after this holder. An older one can only be there if the host's disk
/// was taken back, and then the next launch there raises it again.
fn is_another(seen: &SeenFence, holder: &Holder) -> bool {
    let other = &seen.holder;
    (&other.run, other.epoch, &other.token) != (&holder.run, holder.epoch, &holder.token) && other.epoch >= holder.epoch
}

fn pushed_aside(seen: &SeenFence) -> Fault {
    let Holder { run, epoch, label, .. } = &seen.holder;
    Fault::new(FaultKind::Fenced, "another operator has taken this cluster over")
        .expected("this run's own fence")
        .seen(format!("run {run}, epoch {epoch}, held by {label}"))
        .hint("ask them; if they are gone for good, take over with `--take-over --reason …`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use requorum_steps::RunId;

    use super::*;

    fn holder(run: &str, epoch: u64, token: &str) -> Holder {
        let (cluster, run, label) = ("c".to_owned(), RunId::new(run).unwrap(), String::new());
        Holder { cluster, run, epoch, token: token.to_owned(), label }
    }

    #[test]
    fn whoever_came_later_or_holds_the_same_epoch_with_another_token_is_another() {
        let ours = holder("run-1", 3, "a");
        let seen = |holder: Holder| is_another(&SeenFence { holder, finished: false }, &ours);
        assert!(!seen(holder("run-1", 3, "a")));
        assert!(seen(holder("run-1", 3, "b")), "a copied state directory");
        assert!(seen(holder("run-1", 4, "b")), "the same run, taken up elsewhere");
        assert!(seen(holder("run-2", 4, "b")), "another run that has taken over");
        assert!(!seen(holder("run-0", 2, "b")), "older: the host's disk was taken back");
    }
}
