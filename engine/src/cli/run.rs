//! `requorum run`

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::tz::TimeZone;
use requorum_state::{SledStore, Store};
use requorum_steps::crossing::crossing;
use requorum_steps::{Danger, RunId, catalog};

use super::error::{CommandError, Exit};
use super::execute::{Execution, How, execute};
use super::home::{Home, hand_over};
use super::kept::Kept;
use super::load;
use super::options::{Global, Inputs, Pace, operator, quote};
use crate::exec::{clock, journal};
use crate::plan::compiled::Plan;
use crate::plan::{Compiled, Mode, ReadSite};
use crate::run::record::{Beginning, Event, FORMAT, Record};

/// Runs a plan on a cluster
#[derive(Debug, Args)]
pub struct Run {
    /// The plan: a file, or a name of the library
    plan: String,

    /// The site file of the cluster
    #[arg(short = 'i', long, env = "REQUORUM_SITE", value_name = "FILE")]
    site: PathBuf,

    #[command(flatten)]
    inputs: Inputs,

    /// Confirms without asking
    #[arg(long, conflicts_with = "confirm")]
    yes: bool,

    /// Confirms by naming the cluster that is meant
    #[arg(long, value_name = "CLUSTER")]
    confirm: Option<String>,

    /// Lets a plan take a working cluster back in time
    #[arg(long)]
    revert: bool,

    /// How many items may run at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: u16,

    #[command(flatten)]
    pace: Pace,

    /// Pushes another holder of the cluster aside; needs --reason
    #[arg(long, requires = "reason")]
    take_over: bool,

    /// Why another holder is pushed aside
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Run {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let colour = global.colour();
        let loaded = load::compiled(&self.plan, Some(&self.site), &self.inputs, Mode::Run)
            .map_err(|error| load::report(error, colour))?;
        load::show(&loaded.compiled.warnings, &[&loaded.plan], colour);
        let Compiled { plan, site, .. } = loaded.compiled;
        let Some(site) = site else {
            return Err(CommandError::new(Exit::Usage, "a run needs a site").hint("give one with -i SITE"));
        };
        let cluster = site.site.cluster.clone();
        self.confirm(&plan, &cluster)?;

        let home = Home::open(global.state_dir.as_deref())?;
        let id = new_run_id()?;
        let lock = home.lock(&cluster, &format!("{}, run {id}", operator()))?;
        self.refuse_a_second_run(&home, (&plan, &cluster), global)?;
        let parallel = usize::from(self.parallel);
        let (store, beginning, record) = begin(&home, &id, &plan, &site, (parallel, self.revert))?;
        let how = How {
            parallel,
            pace: self.pace,
            take_over: self.take_over,
            reason: self.reason,
            change: None,
            retry_failed: false,
        };
        let kept = Kept::new(plan, site);
        let outcome = execute(global, &home, Execution { store, records: vec![record], beginning, kept, how });
        drop(lock);
        outcome
    }

    /// Makes sure that the operator means this cluster, where a working cluster would notice the plan.
    fn confirm(&self, plan: &Plan, cluster: &str) -> Result<(), CommandError> {
        if let Some(named) = &self.confirm {
            if named == cluster {
                return Ok(());
            }
            let message = format!("--confirm names `{named}`, but the site is cluster `{cluster}`");
            return Err(CommandError::new(Exit::Unconfirmed, message).hint("is this the right site file?"));
        }
        let danger = plan.steps.iter().map(|step| step.danger).max().unwrap_or(Danger::Safe);
        if self.yes || danger == Danger::Safe {
            return Ok(());
        }
        let message = format!("plan `{}` is {danger} for cluster `{cluster}`, and nobody has confirmed it", plan.name);
        if !std::io::stdin().is_terminal() {
            return Err(
                CommandError::new(Exit::Unconfirmed, message).hint(format!("give --confirm {cluster}, or --yes"))
            );
        }
        eprintln!("{}: {}\n", plan.name, plan.title);
        for step in plan.steps.iter().filter(|step| step.danger > Danger::Safe) {
            let title = if step.title.is_empty() { &step.kind } else { &step.title };
            let undo = catalog::find(&step.kind).is_some_and(|kind| !kind.undo.is_empty()) || step.undo.is_some();
            let back = if undo { "" } else { ", cannot be taken back" };
            eprintln!("  {:<24} {} ({}{back})", step.id.as_str(), title, step.danger);
        }
        eprint!("\ntype the name of the cluster ({cluster}) to go on: ");
        // A terminal that cannot be written to will not answer either.
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        if line.trim() == cluster { Ok(()) } else { Err(CommandError::new(Exit::Unconfirmed, "not confirmed")) }
    }

    /// Refuses a run while another of the same cluster is unfinished: the two would work against each other.
    fn refuse_a_second_run(
        &self,
        home: &Home,
        (plan, cluster): (&Plan, &str),
        global: &Global,
    ) -> Result<(), CommandError> {
        let unfinished = home.glance_all()?.into_iter().find(|glance| {
            // One that cannot be read at all may be of this cluster.
            glance.is_unfinished() && glance.beginning().is_none_or(|beginning| beginning.cluster == cluster)
        });
        let Some(glance) = unfinished else { return Ok(()) };
        if glance.damage.is_some() {
            let message = format!("run `{}` cannot be read, and may be unfinished on cluster `{cluster}`", glance.id);
            return Err(hand_over(CommandError::new(Exit::Locked, message), &glance.directory));
        }
        let other = glance.beginning().map(|beginning| beginning.plan.clone()).unwrap_or_default();
        let (program, run) = (global.invocation().program, &glance.id);
        let message = format!("run `{run}` of `{other}` on cluster `{cluster}` is unfinished ({})", glance.state());
        let mut error = CommandError::new(Exit::Locked, message);
        if other == plan.name {
            error = error.hint(if glance.digest() == Some(plan.digest.as_str()) {
                "it carries out this very plan, with these inputs".to_owned()
            } else {
                let amend = format!("{program} resume {run} --amend {}", quote(&self.plan));
                format!("its plan or inputs differ from these; to see how: {amend}")
            });
        }
        Err(error
            .hint(format!("go on with it: {program} resume {run}"))
            .hint(format!("or give it up: {program} runs abort {run} --reason TEXT")))
    }
}

/// Makes a run id that sorts by time.
fn new_run_id() -> Result<RunId, CommandError> {
    let time = clock::now().to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S");
    let text = format!("{time}-{:04x}", rand::random::<u16>());
    RunId::new(text).map_err(|error| CommandError::new(Exit::Internal, error.to_string()))
}

/// Makes the run's directory and its first record.
fn begin(
    home: &Home,
    id: &RunId,
    plan: &Plan,
    site: &ReadSite,
    (parallel, revert): (usize, bool),
) -> Result<(Arc<dyn Store>, Beginning, Record), CommandError> {
    let at = |place: &str| crossing(|| format!("{place} began"));
    at("before store");
    let store = SledStore::create(&home.run(id))?;
    at("after store");
    let plan_blob = store.put_blob(&load::json(plan)?)?;
    let site_blob = store.put_blob(&load::json(site)?)?;
    at("after blobs");
    let beginning = Beginning {
        format: FORMAT,
        run: id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: site.site.cluster.clone(),
        plan: plan.name.clone(),
        title: plan.title.clone(),
        digest: plan.digest.clone(),
        plan_blob,
        site_blob,
        steps: plan.steps.iter().map(|step| (step.id.clone(), step.items.as_ref().map_or(0, Vec::len))).collect(),
        parallel,
        revert,
        rolls_back: None,
    };
    let record = Record { seq: 1, at: clock::now(), epoch: 0, event: Event::Began(Box::new(beginning.clone())) };
    store.append(&journal::line(&record)?)?;
    at("before barrier");
    store.barrier()?;
    at("after barrier");
    Ok((Arc::new(store), beginning, record))
}
