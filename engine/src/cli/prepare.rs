//! What is made sure before anything is changed: hosts, identity, quorum, preflight, fences.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use requorum_steps::capsule::Holder;
use requorum_steps::transport::etcd;
use requorum_steps::{Fault, FaultKind, HostName, Observation, RunId, Seat, World, catalog};

use crate::exec::context::Context;
use crate::exec::look::{self, Spot};
use crate::plan::compiled::{Plan, Subject};
use crate::run::record::{Event, Finding};

/// Returns the hosts on which a plan acts.
#[must_use]
pub fn hosts_of(plan: &Plan) -> BTreeSet<HostName> {
    let acting = plan.steps.iter().filter(|step| catalog::find(&step.kind).is_some_and(|kind| kind.seat == Seat::Host));
    acting
        .flat_map(|step| step.items.iter().flatten())
        .filter_map(|item| match &item.subject {
            Subject::Host(name) => Some(name.clone()),
            Subject::None | Subject::Value(_) => None,
        })
        .collect()
}

/// Evaluates all that must hold before a run begins, everything at once, and returns what was seen.
pub async fn preflight(context: &Context, revert: bool) -> Vec<Finding> {
    let (mut findings, checks) = tokio::join!(ground(context, revert), async {
        let spot = Spot { id: None, host: None, scope: &context.base };
        look::settle(context, &context.plan.preflight, &spot).await
    });
    findings.extend(checks);
    findings
}

/// Evaluates what must hold for every plan: hosts can be reached, the cluster is the one meant, and it is not taken back
/// in time by mistake.
async fn ground(context: &Context, revert: bool) -> Vec<Finding> {
    let hosts = hosts_of(&context.plan);
    let (mut findings, identity, quorum) =
        tokio::join!(join_all(hosts.iter().map(|host| ready(&context.world, host))), identity(&context.world), async {
            if context.plan.reverts && !revert { Some(not_reverted(&context.world).await) } else { None }
        },);
    findings.extend(identity);
    findings.extend(quorum);
    findings
}

/// Looks whether a host can be reached and has what capsules need, and whether another holder owns the cluster there.
async fn ready(world: &World, host: &HostName) -> Finding {
    let expected = "it answers, and has what attempts need";
    let outcome = world
        .greet(host)
        .await
        .map(|facts| Observation::new(true, expected, format!("user {}, boot {}", facts.user, short(&facts.boot_id))));
    finding("host.ready", Some(host.clone()), outcome)
}

/// Compares the cluster's identity with what the site says.
async fn identity(world: &World) -> Option<Finding> {
    let expected = world.site().identity.etcd_ca_sha256.clone()?;
    let seen = etcd::ca_fingerprint(&world.reader(None)).await;
    let outcome = seen.map(|seen| {
        let holds = seen.eq_ignore_ascii_case(&expected.replace(':', ""));
        Observation::new(holds, format!("the etcd CA with SHA-256 {expected}"), seen)
    });
    let mut finding = finding("site.identity", None, outcome);
    finding.message = Some("this is another cluster than the site file says, or its CA was replaced".to_owned());
    Some(finding)
}

/// Says whether the quorum is surely lost, and what was seen.
pub async fn is_quorum_lost(world: &World) -> (bool, String) {
    let view = etcd::quorum(&world.reader(None)).await;
    (view.surely_lost(), view.evidence)
}

/// Looks whether the quorum is lost, as a plan that takes the cluster back in time expects.
async fn not_reverted(world: &World) -> Finding {
    let expected = "the quorum is surely lost (or `--revert` is given)";
    let (lost, seen) = is_quorum_lost(world).await;
    let outcome = Ok(Observation::new(lost, expected, seen));
    let mut finding = finding("cluster.quorum", None, outcome);
    finding.message = Some(
        "this plan takes the cluster back to the snapshot, and everything written since is gone; the cluster works, or may \
         work: \
         give --revert if that is meant"
            .to_owned(),
    );
    finding
}

fn finding(check: &str, host: Option<HostName>, outcome: Result<Observation, Fault>) -> Finding {
    let holds = outcome.as_ref().is_ok_and(|observation| observation.holds);
    Finding { check: check.to_owned(), host, place: "before every run".to_owned(), holds, message: None, outcome }
}

/// How a process stands towards the holders that the hosts have seen.
#[derive(Debug)]
pub struct Standing {
    /// Its epoch: above all that the run had, and above those that give way to it.
    pub epoch: u64,
    /// The hosts whose fence gives way although the host does not know it.
    pub give_way: BTreeSet<HostName>,
}

/// Looks at the fences before a run is taken up. A fence gives way if its run is over, also where only the state
/// directory here knows that (`is_over`), or if another holder is pushed aside. A host that cannot be reached is met by the
/// preflight.
pub async fn stand(
    world: &World,
    plan: &Plan,
    last: u64,
    is_over: &dyn Fn(&RunId) -> bool,
    take_over: bool,
) -> Standing {
    let hosts = hosts_of(plan);
    let seen = join_all(hosts.iter().map(|host| world.see_fence(host))).await;
    let mut standing = Standing { epoch: last, give_way: BTreeSet::new() };
    for (host, seen) in hosts.iter().zip(seen) {
        let Ok(Some(seen)) = seen else { continue };
        let unknowing = !seen.finished && (take_over || is_over(&seen.holder.run));
        if seen.finished || unknowing {
            standing.epoch = standing.epoch.max(seen.holder.epoch);
        }
        if unknowing {
            standing.give_way.insert(host.clone());
        }
    }
    standing.epoch += 1;
    standing
}

/// Raises the fence on every host that can be reached. `Err`: another holder owns the cluster.
pub async fn raise_fences(context: &Context, give_way: &BTreeSet<HostName>) -> Result<Vec<Event>, Fault> {
    let hosts = hosts_of(&context.plan);
    let raised = join_all(hosts.into_iter().map(|host| async move {
        let outcome = context.world.raise_fence(&host, &context.holder, give_way.contains(&host)).await;
        (host, outcome)
    }))
    .await;
    let mut events = Vec::new();
    for (host, outcome) in raised {
        match outcome {
            Ok(()) => events.push(Event::Fence { host, unreachable: None }),
            Err(fault) if fault.kind == FaultKind::Fenced => return Err(fault.on(&host)),
            Err(fault) => events.push(Event::Fence { host, unreachable: Some(fault) }),
        }
    }
    Ok(events)
}

/// Lowers the fences of a run that is over, and says which it could not. A host that cannot be reached keeps its fence.
pub async fn lower_fences(world: &World, plan: &Plan, holder: &Holder) -> Vec<String> {
    let hosts = hosts_of(plan);
    let lowered = join_all(hosts.iter().map(|host| world.lower_fence(host, holder))).await;
    let failed = hosts.iter().zip(lowered).filter_map(|(host, outcome)| Some((host, outcome.or_else(not_ours).err()?)));
    failed.map(|(host, fault)| format!("the fence on {host} could not be lowered: {fault}")).collect()
}

/// A fence that another holder raised is not ours to lower.
fn not_ours(fault: Fault) -> Result<(), Fault> {
    if fault.kind == FaultKind::Fenced { Ok(()) } else { Err(fault) }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
