//! What has to be known of a run before it can be rolled back: what became of its attempts, and what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use requorum_steps::redact::Given;
use requorum_steps::{Fault, FaultKind, HostName, RunId};

use super::error::{CommandError, Exit};
use super::execute::{fenced, holder, lower, secrets, stopped, world};
use super::home::{self, Home};
use super::options::{Global, operator};
use super::prepare;
use super::rollback::Original;
use crate::exec::context::{Context, Errand};
use crate::exec::driver::{Driver, Ended, Setting};
use crate::exec::fence::Fence;
use crate::exec::inbox::Inbox;
use crate::exec::journal::Journal;
use crate::exec::secrets::Secrets;
use crate::exec::signals;
use crate::exec::veil::Veil;
use crate::report::summary;
use crate::run::deed::{Deed, Outcome, deeds};
use crate::run::record::{Ending, Event, ItemId};
use crate::run::state::{Phase, RunState};

/// A run of which nothing is in doubt any more.
pub(super) struct Seen {
    /// The connections to its site.
    pub context: Arc<Context>,
    /// How it stands.
    pub state: RunState,
    /// What it did.
    pub deeds: BTreeMap<ItemId, Deed>,
}

/// Finds out what became of a run: attempts that ended are adopted, those that run are waited for, those that never began are
/// withdrawn. Nothing begins and nothing is repeated. Where only a person can tell, it says so and ends with exit 6.
pub(super) async fn settle(global: &Global, home: &Home, original: &mut Original) -> Result<Seen, CommandError> {
    let before = home::ending(&original.records);
    let state = original.journal()?.state().clone();
    let in_doubt = state.items().any(|(_, item)| matches!(item.phase, Phase::Started | Phase::InDoubt { .. }));
    let unclear = deeds(&original.records).values().any(|deed| matches!(deed.outcome, Outcome::Perhaps(_)));
    let secrets = if unclear || in_doubt { secrets(&original.kept)? } else { Secrets::default() };
    let (id, kept) = (&original.id, &original.kept);
    let world = world(home, id, kept.site.site.clone())?.with_redactor(Arc::clone(secrets.redactor()));
    let is_over = |other: &RunId| home.glance(other).is_ok_and(|glance| glance.ending().is_some_and(Ending::is_final));
    let given_up = kept.lost();
    let hosts = prepare::fenced_hosts(&kept.plan, world.site(), &given_up);
    let known = prepare::Known { run: id, records: &original.records, is_over: &is_over };
    let standing = prepare::stand(&world, &hosts, &known, false).await;
    let context = Arc::new(Context {
        plan: Arc::clone(&kept.plan),
        holder: holder(&world, id, standing.epoch),
        world,
        fence: Fence::default(),
        report: Veil::new(&secrets, Given::new()).over_report(global.report(0)),
        secrets,
        base: kept.base(id, &original.records),
        given_up,
        patience: Duration::ZERO,
        errand: Errand::Settle,
    });
    if in_doubt {
        drive(home, original, &context, (&hosts, &standing)).await?;
        if before == Some(Ending::Aborted) {
            // Whoever gave it up did not mean it to be unfinished again.
            let reason = "it had been given up before".to_owned();
            original.journal()?.commit(vec![Event::Ended { ending: Ending::Aborted, reason }])?;
            lower(&context).await;
        }
        original.read_again()?;
    }
    let state = original.journal()?.state().clone();
    if state.is_unsettled() {
        let calls = global.invocation();
        let text = summary::outcome(&state, original.id.as_str(), Ending::NeedsPerson, &calls);
        // Standard error may be closed; the exit status tells the same.
        let _ = write!(std::io::stderr().lock(), "{text}");
        context.world.close().await;
        let message = format!("what run `{}` did is not known everywhere; nothing was taken back", original.id);
        return Err(CommandError::new(Exit::NeedsPerson, message)
            .hint("decide as said above")
            .hint(format!("then go back with  {} rollback {}", calls.program, original.id)));
    }
    Ok(Seen { context, state, deeds: deeds(&original.records) })
}

/// Takes the run up, only to find out what became of what is in doubt.
async fn drive(
    home: &Home,
    original: &Original,
    context: &Arc<Context>,
    (hosts, standing): (&BTreeSet<HostName>, &prepare::Standing),
) -> Result<(), CommandError> {
    if let Some(fault) = &standing.copy {
        return Err(fenced(fault));
    }
    let (store, report) = (Arc::clone(&original.store), Arc::clone(&context.report));
    let journal = Journal::new(store, original.kept.plans(), &original.records, context.holder.epoch, report)?;
    let mut journal = journal.with_veil(Veil::new(&context.secrets, Given::new()));
    let by = format!("{}, pid {}", operator(), std::process::id());
    let reason = Some("to roll it back".to_owned());
    journal.commit(vec![Event::TakenUp { by, token: context.holder.token.clone(), reason }])?;
    let stops = signals::listen()?;
    let interrupted = |reason: &str| Event::Ended { ending: Ending::Interrupted, reason: reason.to_owned() };
    let fences = match prepare::raise_fences(context, hosts, standing).await {
        Ok(fences) => fences,
        Err(fault) => {
            journal.commit(vec![interrupted(&fault.what)])?;
            return Err(fenced(&fault));
        }
    };
    // Only under the fence is it sure that a launch which is still on its way is refused.
    let unfenced = fences.iter().find_map(|event| match event {
        Event::Fence { host, unreachable: Some(fault) } => Some((host.clone(), fault.clone())),
        _ => None,
    });
    journal.commit(fences)?;
    if let Some((host, fault)) = unfenced {
        journal.commit(vec![interrupted("a host could not be reached")])?;
        return Err(unreachable(&host, &fault));
    }
    let inbox = Inbox::of(&home.run(&original.id));
    let setting = Setting { parallel: 1, budget: None, inbox, stops, asker: None };
    let mut driver = Driver::new(Arc::clone(context), journal, setting);
    let ended = driver.drive().await;
    context.report.close();
    match ended? {
        Ended::Settled(_) => Ok(()),
        Ended::Stopped(stop) => Err(stopped(stop)),
        Ended::OutOfTime | Ended::Fenced => Err(fenced(&Fault::new(FaultKind::Fenced, "another holder came between"))),
    }
}

fn unreachable(host: &HostName, fault: &Fault) -> CommandError {
    let message = format!("{host} cannot be reached, and what became of the run there is not known: {}", fault.what);
    CommandError::new(Exit::Precondition, message).hint("nothing was changed; make it reachable, then try again")
}
