//! What is made sure before anything is changed: hosts, identity, quorum, preflight, fences.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use requorum_steps::capsule::Holder;
use requorum_steps::crossing::crossing;
use requorum_steps::redact::Given;
use requorum_steps::transport::{etcd, kube};
use requorum_steps::world::SeenFence;
use requorum_steps::{Danger, Fault, FaultKind, HostName, Observation, RunId, Seat, Site, World, catalog};

use crate::exec::context::Context;
use crate::exec::look::{self, Spot};
use crate::plan::compiled::{Plan, Step, Subject};
use crate::run::record::{Event, Finding, Record};

/// Returns the hosts on which a plan acts, without those that were given up.
#[must_use]
pub fn hosts_of(plan: &Plan, given_up: &BTreeSet<HostName>) -> BTreeSet<HostName> {
    let acting = plan.steps.iter().filter(|step| catalog::find(&step.kind).is_some_and(|kind| kind.seat == Seat::Host));
    acting
        .flat_map(|step| step.items.iter().flatten())
        .filter_map(|item| match &item.subject {
            Subject::Host(name) => Some(name.clone()),
            Subject::None | Subject::Value(_) => None,
        })
        .filter(|name| !given_up.contains(name))
        .collect()
}

/// Returns the hosts that carry the fence of a run: those on which the plan acts. Where a working cluster would notice what
/// it does on a host or by the API, every host of the site that is not lost: the fence is the cluster's, and two plans that
/// act on different hosts must meet at it. A plan that only runs commands on this machine needs no host.
#[must_use]
pub fn fenced_hosts(plan: &Plan, site: &Site, given_up: &BTreeSet<HostName>) -> BTreeSet<HostName> {
    let mut hosts = hosts_of(plan, given_up);
    let reaches_the_cluster = |step: &Step| {
        step.danger > Danger::Safe && catalog::find(&step.kind).is_some_and(|kind| kind.seat != Seat::Here)
    };
    if plan.steps.iter().any(reaches_the_cluster) {
        hosts.extend(site.hosts.values().map(|host| host.name.clone()));
    }
    hosts.retain(|name| !given_up.contains(name) && site.hosts.get(name).is_some_and(|host| !host.lost));
    hosts
}

/// Evaluates all that must hold before a run begins, everything at once, and returns what was seen.
pub async fn preflight(context: &Context, revert: bool) -> Vec<Finding> {
    let (mut findings, checks) = tokio::join!(ground(context, revert), async {
        let given = Given::new();
        let looks = context.plan.preflight.iter().map(|check| {
            let scope = context.base.of(check.part.as_deref());
            let spot = Spot { id: None, host: None, scope, given: &given };
            async move { look::settle(context, std::slice::from_ref(check), &spot).await }
        });
        join_all(looks).await
    });
    findings.extend(checks.into_iter().flatten());
    findings
}

/// Evaluates what must hold for every plan: hosts can be reached, the cluster is the one meant, and it is not taken back
/// in time by mistake.
async fn ground(context: &Context, revert: bool) -> Vec<Finding> {
    let hosts = hosts_of(&context.plan, &context.given_up);
    let world = &context.world;
    let may_have_begun_anew = context.plan.reverts && revert && world.site().identity.etcd_ca_sha256.is_some();
    let (mut findings, etcd, kube, quorum) = tokio::join!(
        join_all(hosts.iter().map(|host| ready(world, host))),
        etcd_identity(world),
        kube_identity(world, may_have_begun_anew),
        async { if context.plan.reverts && !revert { Some(not_reverted(world).await) } else { None } },
    );
    findings.extend(etcd);
    findings.extend(kube);
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

/// Compares the CA of the cluster's etcd with what the site says.
async fn etcd_identity(world: &World) -> Option<Finding> {
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

/// Compares the uid of the namespace kube-system with what the site says, where there is an API that tells it. A recovery has
/// to begin while there is none, so that an API that cannot be asked is only said. So is another uid where a cluster is to be
/// taken back that is known by its etcd's CA: members that lost their data begin an empty cluster, and API servers fill it.
async fn kube_identity(world: &World, may_have_begun_anew: bool) -> Option<Finding> {
    let reader = world.reader(None);
    let uid = world.site().identity.kube_system_uid.clone().filter(|_| kube::is_known(&reader))?;
    let unless = if may_have_begun_anew { ", or another, begun since the data were lost" } else { "" };
    let expected = format!("the namespace kube-system with the uid {uid}, where the API can be asked{unless}");
    let outcome = kube::system_uid(&reader).await;
    let outcome = outcome.map(|seen| {
        let holds = may_have_begun_anew || seen.as_ref() == Some(&uid);
        Observation::new(holds, expected, seen.unwrap_or_else(|| "there is no namespace kube-system".to_owned()))
    });
    let mut finding = finding("site.identity", None, outcome);
    finding.holds |= finding.outcome.is_err();
    finding.message = Some("the API is that of another cluster than the site file says".to_owned());
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
    /// The hosts whose fence could not be read. They are not waited for again.
    pub unseen: BTreeMap<HostName, Fault>,
    /// A fence of this very run that its journal here knows nothing of: a copy of the state directory is at work, or was.
    pub copy: Option<Fault>,
}

/// What the state directory here knows, against which fences are held.
pub struct Known<'a> {
    /// The run.
    pub run: &'a RunId,
    /// What its journal says.
    pub records: &'a [Record],
    /// Says whether another run is over.
    pub is_over: &'a dyn Fn(&RunId) -> bool,
}

impl Known<'_> {
    /// Says whether a fence is one that this journal has raised. Taking a run up is durable before its fence is raised, and
    /// the end of a run before its fence is lowered.
    fn has_raised(&self, seen: &SeenFence) -> bool {
        let taken_up = self.records.iter().any(|record| match &record.event {
            Event::TakenUp { token, .. } => record.epoch == seen.holder.epoch && *token == seen.holder.token,
            _ => false,
        });
        taken_up && !seen.finished
    }
}

/// Looks at the fences before a run is taken up. A fence gives way if its run is over, also where only the state
/// directory here knows that, or if another holder is pushed aside. A host that cannot be reached is met by the preflight.
pub async fn stand(world: &World, hosts: &BTreeSet<HostName>, known: &Known<'_>, take_over: bool) -> Standing {
    let seen = join_all(hosts.iter().map(|host| world.see_fence(host))).await;
    let last = known.records.iter().map(|record| record.epoch).max().unwrap_or(0);
    let mut standing = Standing { epoch: last, give_way: BTreeSet::new(), unseen: BTreeMap::new(), copy: None };
    for (host, seen) in hosts.iter().zip(seen) {
        let seen = match seen {
            Ok(Some(seen)) => seen,
            Ok(None) => continue,
            Err(fault) => {
                standing.unseen.insert(host.clone(), fault);
                continue;
            }
        };
        if seen.holder.run == *known.run && !take_over && !known.has_raised(&seen) {
            standing.copy = Some(copied(&seen).on(host));
        }
        let unknowing = !seen.finished && (take_over || (known.is_over)(&seen.holder.run));
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

/// The fault of a run that was taken up from a copy of its state directory: what was done since is not in the journal here.
fn copied(seen: &SeenFence) -> Fault {
    let how = if seen.finished { "and has finished it" } else { "and may be at work" };
    Fault::new(FaultKind::Fenced, format!("a copy of this run's state directory has taken it up, {how}"))
        .expected("a fence that this journal knows")
        .seen(format!("epoch {}: {}", seen.holder.epoch, seen.holder.label))
        .hint("go on with that copy; what it has done is not in the journal here, and would be done again")
}

/// Says on which hosts an unfinished run holds the cluster, one line each. A host that cannot be reached is met by the preflight.
pub async fn held(context: &Context) -> Vec<String> {
    let hosts = fenced_hosts(&context.plan, context.world.site(), &context.given_up);
    let seen = join_all(hosts.iter().map(|host| context.world.see_fence(host))).await;
    let unfinished =
        hosts.iter().zip(seen).filter_map(|(host, seen)| Some((host, seen.ok()??))).filter(|(_, seen)| !seen.finished);
    unfinished.map(|(host, seen)| format!("{host}: run {}, {}", seen.holder.run, seen.holder.label)).collect()
}

/// Raises the fence on every host that can be reached. `Err`: another holder owns the cluster.
pub async fn raise_fences(
    context: &Context,
    hosts: &BTreeSet<HostName>,
    standing: &Standing,
) -> Result<Vec<Event>, Fault> {
    let raised = join_all(hosts.iter().map(|host| async move {
        crossing(|| format!("before raising the fence on {host}"));
        let outcome = match standing.unseen.get(host) {
            Some(fault) => Err(fault.clone()),
            None => context.world.raise_fence(host, &context.holder, standing.give_way.contains(host)).await,
        };
        crossing(|| format!("after raising the fence on {host}"));
        (host.clone(), outcome)
    }))
    .await;
    let mut events = Vec::new();
    for (host, outcome) in raised {
        match outcome {
            Ok(()) => {
                context.fence.raised_on([host.clone()]);
                events.push(Event::Fence { host, unreachable: None });
            }
            Err(fault) if fault.kind == FaultKind::Fenced => return Err(fault.on(&host)),
            Err(fault) => events.push(Event::Fence { host, unreachable: Some(fault) }),
        }
    }
    Ok(events)
}

/// Lowers the fences of a run that is over, and says which it could not. A host that cannot be reached keeps its fence.
pub async fn lower_fences(world: &World, hosts: &BTreeSet<HostName>, holder: &Holder) -> Vec<String> {
    let lowered = join_all(hosts.iter().map(|host| async move {
        crossing(|| format!("before lowering the fence on {host}"));
        let outcome = world.lower_fence(host, holder).await;
        crossing(|| format!("after lowering the fence on {host}"));
        outcome
    }))
    .await;
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
