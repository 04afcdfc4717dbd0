//! `requorum commit`
//!
//! What is deleted for good is recorded before it is deleted: cut off in between, a rollback is refused and never finds half of
//! what it wants to put back; a repetition removes the rest.

use std::fmt::Write as _;

use clap::Args;
use futures_util::future::join_all;
use requorum_steps::sweep::Sweep;
use requorum_steps::{Fault, FaultKind, HostName, RunId, World, units};

use super::confirm::Confirm;
use super::error::{CommandError, Exit};
use super::execute::{self, world};
use super::home::{Glance, Home, run_id};
use super::options::{Global, operator};
use super::rollback::Original;
use super::{output, prepare};
use crate::report::phrase;
use crate::run::aside::{Aside, asides};
use crate::run::record::{Ending, Event};

/// Removes what a finished run keeps on its hosts; what it set aside stays, unless --purge
#[derive(Debug, Args)]
pub struct Commit {
    /// The run
    run: String,

    /// Also deletes what the run set aside, for good; it can no longer be rolled back
    #[arg(long)]
    purge: bool,

    #[command(flatten)]
    confirm: Confirm,
}

/// What was found before anything is removed.
struct Found {
    /// The places whose capsules can be removed: hosts, and this machine as `None`.
    places: Vec<Option<HostName>>,
    /// What lies aside, with its size in bytes.
    asides: Vec<(Aside, u64)>,
    /// What could not be seen, a line each.
    unseen: Vec<String>,
}

impl Commit {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let home = Home::open(global.state_dir.as_deref())?;
        let id = run_id(&self.run)?;
        let glance = home.glance(&id)?;
        let cluster = glance.beginning().map(|beginning| beginning.cluster.clone()).unwrap_or_default();
        let lock = home.lock(&cluster, &format!("{}, run {id}, to commit it", operator()))?;
        refuse_what_is_open(&home, &home.glance(&id)?, global)?;
        let original = Original::open(&home, id)?;
        let runtime = execute::runtime()?;
        let outcome = runtime.block_on(self.sweep(&home, &original));
        runtime.shutdown_background();
        drop(lock);
        outcome
    }

    async fn sweep(&self, home: &Home, original: &Original) -> Result<(), CommandError> {
        let world = world(home, &original.id, original.kept.site.site.clone())?;
        let outcome = self.sweep_in(&world, original).await;
        world.close().await;
        outcome
    }

    async fn sweep_in(&self, world: &World, original: &Original) -> Result<(), CommandError> {
        let Found { places, asides, mut unseen } = look(world, original).await?;
        let mut journal = original.journal()?;
        if self.purge {
            let (own, named): (Vec<_>, Vec<_>) = asides.into_iter().partition(|(aside, _)| aside.own_name);
            let cluster = &original.beginning.cluster;
            let what = format!("deleting what run `{}` set aside is destructive for cluster `{cluster}`", original.id);
            output::tell(format_args!("{}", list("to be deleted for good:", &own)));
            self.confirm.of(cluster, &what, String::new)?;
            let purged: Vec<String> = own.iter().map(|(aside, _)| format!("{}:{}", aside.host, aside.path)).collect();
            journal.commit(vec![Event::Committed { by: operator(), hosts: Vec::new(), purged }])?;
            for (aside, _) in &own {
                if let Err(fault) = world.purge(&aside.host, &original.id, &aside.path, Sweep::Remove).await {
                    unseen.push(format!(
                        "{}:{} was not deleted: {}",
                        aside.host,
                        aside.path,
                        phrase::fault_line(&fault)
                    ));
                }
            }
            output::print(format_args!("{}", list("left, because the plan gave it its name:", &named)))?;
        } else {
            output::print(format_args!("{}", list("set aside, and left:", &asides)))?;
        }
        let removals =
            join_all(places.iter().map(|host| world.forget(host.as_ref(), &original.id, Sweep::Remove))).await;
        let mut hosts = Vec::new();
        for (place, removal) in places.into_iter().zip(removals) {
            match (removal, place) {
                (Ok(()), Some(host)) => hosts.push(host),
                (Ok(()), None) => {}
                (Err(fault), place) => unseen.push(trouble(place.as_ref(), &fault)),
            }
        }
        let count = hosts.len();
        journal.commit(vec![Event::Committed { by: operator(), hosts, purged: Vec::new() }])?;
        output::line(format_args!(
            "run {}: its capsules are removed on {} and on this machine",
            original.id,
            phrase::count(count, "host")
        ))?;
        if unseen.is_empty() {
            return Ok(());
        }
        let message = format!("not everything could be removed:\n  {}", unseen.join("\n  "));
        Err(CommandError::new(Exit::Failed, message).hint("commit again once that is mended"))
    }
}

/// Refuses to remove anything of a run that may still need it.
fn refuse_what_is_open(home: &Home, glance: &Glance, global: &Global) -> Result<(), CommandError> {
    let (id, program) = (&glance.id, global.invocation().program);
    if glance.is_unfinished() || glance.beginning().is_none() {
        return Err(CommandError::new(Exit::Usage, format!("run `{id}` is not over ({})", glance.state()))
            .hint(format!("go on with it: {program} resume {id}"))
            .hint(format!("or take it back: {program} rollback {id}")));
    }
    if let Some(back) = home.rollbacks_of(id)?.into_iter().find(Glance::is_unfinished) {
        let message = format!("the rollback of run `{id}` is not over: run `{}` ({})", back.id, back.state());
        return Err(
            CommandError::new(Exit::Usage, message).hint(format!("go on with it: {program} resume {}", back.id))
        );
    }
    debug_assert!(glance.ending().is_some_and(Ending::is_final));
    Ok(())
}

/// Looks what there is, everywhere at once. An attempt that still runs refuses the whole.
async fn look(world: &World, original: &Original) -> Result<Found, CommandError> {
    let id = &original.id;
    let places: Vec<Option<HostName>> =
        prepare::hosts_of(&original.kept.plan, &original.kept.lost()).into_iter().map(Some).chain([None]).collect();
    let looks = join_all(places.iter().map(|host| world.forget(host.as_ref(), id, Sweep::Look))).await;
    let mut found = Found { places: Vec::new(), asides: Vec::new(), unseen: Vec::new() };
    for (place, look) in places.into_iter().zip(looks) {
        match look {
            Ok(()) => found.places.push(place),
            Err(fault) if fault.kind == FaultKind::Refused => {
                return Err(
                    CommandError::new(Exit::Precondition, trouble(place.as_ref(), &fault)).hint("nothing was removed")
                );
            }
            Err(fault) => found.unseen.push(trouble(place.as_ref(), &fault)),
        }
    }
    let all = asides(original.journal()?.state(), id, &original.records);
    let here = all.into_iter().filter(|aside| found.places.contains(&Some(aside.host.clone())));
    let here: Vec<Aside> = here.collect();
    let sizes = join_all(here.iter().map(|aside| size(world, id, aside))).await;
    for (aside, size) in here.into_iter().zip(sizes) {
        match size {
            Ok(Some(size)) => found.asides.push((aside, size)),
            // Put back, or removed, since.
            Ok(None) => {}
            Err(fault) => found.unseen.push(trouble(Some(&aside.host), &fault)),
        }
    }
    Ok(found)
}

/// Measures what was set aside. What bears a name of the plan's is only named.
async fn size(world: &World, id: &RunId, aside: &Aside) -> Result<Option<u64>, Fault> {
    if aside.own_name { world.purge(&aside.host, id, &aside.path, Sweep::Look).await } else { Ok(Some(0)) }
}

fn trouble(place: Option<&HostName>, fault: &Fault) -> String {
    format!("{}: {}", place.map_or("this machine", HostName::as_str), phrase::fault_line(fault))
}

fn list(title: &str, asides: &[(Aside, u64)]) -> String {
    if asides.is_empty() {
        return String::new();
    }
    let mut text = format!("{title}\n");
    for (aside, size) in asides {
        let size = if *size > 0 { units::show_size(*size) } else { String::new() };
        let _ = writeln!(text, "  {}:{}  {size}", aside.host, aside.path);
    }
    text
}
