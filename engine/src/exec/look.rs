//! Checks: looked at once, or again and again until they hold or their time is over.

use std::time::Duration;

use futures_util::future::join_all;
use requorum_steps::redact::Given;
use requorum_steps::{Action, Fault, FaultKind, HostName, Kind, Observation, Probe, Seat, Type, args};
use serde_json::Value;
use tokio::time::Instant;

use super::context::{self, Context, Entry};
use crate::plan::compiled::{CheckUse, Subject};
use crate::plan::template::{self, Scope};
use crate::report::phrase;
use crate::run::record::{Finding, ItemId};

/// The bound for one look of a check, beyond the bounds of the calls that it makes.
const ONE_LOOK: Duration = Duration::from_mins(2);

/// The pause before a host that could not be reached is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Where checks are looked at: the item that asks, its host, what its templates see.
pub struct Spot<'a> {
    /// The item, or none in the preflight.
    pub id: Option<&'a ItemId>,
    /// The host of the item.
    pub host: Option<&'a HostName>,
    /// What templates see.
    pub scope: &'a Scope,
    /// The secrets that the action of the item is given.
    pub given: &'a Given,
}

/// Asks whether an item's effect happened: the author's probe, else the kind's.
pub async fn probe(context: &Context, entry: &Entry, action: &dyn Action, before: &Value) -> Result<Probe, Fault> {
    let Some(check) = &entry.step.probe else {
        return action.probe(&context.world.reader(entry.host()), before).await;
    };
    let findings = look(context, check, &entry.spot()).await;
    let evidence = findings.iter().map(phrase::finding_line).collect::<Vec<_>>().join("; ");
    if findings.iter().any(|finding| finding.outcome.is_err()) {
        return Ok(Probe::Unknown { evidence });
    }
    if findings.iter().all(|finding| finding.holds) {
        return Ok(Probe::Yes { result: Value::Null, evidence });
    }
    Ok(Probe::No { evidence })
}

/// Looks at checks, all at once, each until it holds or its `within` is over. One finding for each, for each host.
pub async fn settle(context: &Context, checks: &[CheckUse], spot: &Spot<'_>) -> Vec<Finding> {
    let looks = checks.iter().map(|check| settle_one(context, check, spot));
    join_all(looks).await.into_iter().flatten().collect()
}

async fn settle_one(context: &Context, check: &CheckUse, spot: &Spot<'_>) -> Vec<Finding> {
    let deadline = check.within.map(|within| Instant::now() + within);
    loop {
        // Whether this is the last look is settled before it, so that there is always one after the deadline.
        let last = deadline.is_none_or(|deadline| Instant::now() >= deadline);
        let findings = look(context, check, spot).await;
        if last || findings.iter().all(|finding| finding.holds) {
            return findings;
        }
        let left = deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()));
        for finding in findings.iter().filter(|finding| !finding.holds) {
            context.report.waiting(spot.id, finding, left);
        }
        tokio::time::sleep(check.every.min(left)).await;
    }
}

/// Looks again and again while the host cannot be reached, as long as there is patience. What is waited for is shown.
pub async fn patiently<T, F: Future<Output = Result<T, Fault>>>(
    context: &Context,
    spot: &Spot<'_>,
    look: impl Fn() -> F,
) -> Result<T, Fault> {
    let ends = Instant::now() + context.patience;
    loop {
        let last = Instant::now() >= ends;
        match look().await {
            Err(fault) if fault.kind == FaultKind::Unreachable && !last => {
                let finding = Finding {
                    check: "host.ready".to_owned(),
                    host: spot.host.cloned(),
                    place: String::new(),
                    holds: false,
                    message: None,
                    outcome: Err(fault),
                };
                let left = ends.saturating_duration_since(Instant::now());
                context.report.waiting(spot.id, &finding, left);
                tokio::time::sleep(AGAIN.min(left)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Looks at a check once, on each host that it names. Its arguments are rendered for each host, which is their `host`.
pub async fn look(context: &Context, check: &CheckUse, spot: &Spot<'_>) -> Vec<Finding> {
    let hosts = match hosts(context, check, spot) {
        Ok(hosts) => hosts,
        Err(fault) => return vec![finding(check, spot, None, Err(fault))],
    };
    let looks = hosts.into_iter().map(|host| async move {
        let outcome = look_once(context, check, spot, host.as_ref()).await;
        finding(check, spot, host, outcome)
    });
    join_all(looks).await
}

/// Says on which hosts to look; one `None` where the check has no host. Hosts that were given up during the run are left
/// out, but never all: a check that looks at nothing would hold.
fn hosts(context: &Context, check: &CheckUse, spot: &Spot<'_>) -> Result<Vec<Option<HostName>>, Fault> {
    if context::kind(&check.kind)?.seat != Seat::Host {
        return Ok(vec![None]);
    }
    if let Some(named) = check.args.get("hosts") {
        let named = template::render(named, spot.scope).map_err(|error| context::bad_template(&error))?;
        let named = host_names(&named)?;
        let there: Vec<_> = named.iter().filter(|host| !context.given_up.contains(*host)).cloned().map(Some).collect();
        if there.is_empty() && !named.is_empty() {
            return Err(Fault::refused(format!("`{}` looks at hosts that were all given up", check.kind)));
        }
        return Ok(there);
    }
    if spot.host.is_none() {
        return Err(Fault::refused(format!("`{}` looks at a host, and none is given", check.kind))
            .hint("give it `hosts`, or use it in a step with `on`"));
    }
    Ok(vec![spot.host.cloned()])
}

/// Reads host names out of a host, a name, or a list of either.
pub fn host_names(value: &Value) -> Result<Vec<HostName>, Fault> {
    args::host_names(value).map_err(|error| Fault::refused(format!("`hosts` names no host: {error}")))
}

async fn look_once(
    context: &Context,
    check: &CheckUse,
    spot: &Spot<'_>,
    host: Option<&HostName>,
) -> Result<Observation, Fault> {
    let kind = context::kind(&check.kind)?;
    let mut args = check.args.clone();
    // Of a check that does not look host by host it is an argument like any other.
    let named = args.as_object_mut().filter(|_| kind.seat == Seat::Host).and_then(|args| args.remove("hosts"));
    let args = match host.filter(|_| named.is_some()) {
        Some(host) => context.render_args(kind, &args, &spot.scope.clone().subject(&Subject::Host(host.clone())))?,
        None => context.render_args(kind, &args, spot.scope)?,
    };
    let made = context.check(kind, &without_given_up(context, kind, args), spot.given)?;
    let reader = context.world.reader(host);
    match tokio::time::timeout(ONE_LOOK, made.observe(&reader)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::new(
            FaultKind::TimedOut,
            format!("`{}` gave no answer within {}s", check.kind, ONE_LOOK.as_secs()),
        )),
    }
}

/// Leaves hosts that were given up out of the lists of hosts among the arguments of a check: what a plan listed when it was
/// compiled, such as the members to ask, may hold them. A list of nothing else stays, and says so when it is looked at.
fn without_given_up(context: &Context, kind: &Kind, mut args: Value) -> Value {
    for arg in kind.args.iter().filter(|arg| takes_hosts(&arg.ty)) {
        let Some(Value::Array(hosts)) = args.get_mut(arg.name) else { continue };
        let is_there = |host: &Value| {
            let names = host_names(host).unwrap_or_default();
            !names.iter().any(|name| context.given_up.contains(name))
        };
        if hosts.iter().any(is_there) {
            hosts.retain(is_there);
        }
    }
    args
}

fn takes_hosts(ty: &Type) -> bool {
    *ty == Type::Hosts || matches!(ty, Type::OneOf(types) if types.contains(&Type::Hosts))
}

fn finding(check: &CheckUse, spot: &Spot<'_>, host: Option<HostName>, outcome: Result<Observation, Fault>) -> Finding {
    // What could not be seen is not the contrary of what was expected, so `not` does not turn a fault into a success.
    let holds = outcome.as_ref().is_ok_and(|observation| observation.holds != check.not);
    let outcome = outcome.map(|mut observation| {
        if check.not {
            observation.expected = format!("not: {}", observation.expected);
        }
        observation
    });
    let message = context::message(check, spot.scope);
    Finding { check: check.kind.clone(), host, place: check.place.clone(), holds, message, outcome }
}
