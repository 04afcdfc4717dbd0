//! `requorum run`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::tz::TimeZone;
use requorum_state::{SledStore, Store};
use requorum_steps::crossing::crossing;
use requorum_steps::{Danger, RunId};

use super::confirm::Confirm;
use super::error::{CommandError, Exit};
use super::execute::{Execution, How, execute, secrets};
use super::home::{Home, hand_over};
use super::kept::Kept;
use super::load;
use super::options::{Global, Inputs, Pace, operator, quote};
use crate::exec::{clock, journal};
use crate::plan::compiled::Plan;
use crate::plan::{Compiled, Mode, ReadSite};
use crate::run::record::{Beginning, Event, FORMAT, Record};
use crate::run::rollback::ends_the_way_back;

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

    #[command(flatten)]
    confirm: Confirm,

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
        load::show(&loaded.compiled.warnings, &loaded.sources(), colour);
        let Compiled { plan, site, .. } = loaded.compiled;
        let Some(site) = site else {
            return Err(CommandError::new(Exit::Usage, "a run needs a site").hint("give one with -i SITE"));
        };
        let cluster = site.site.cluster.clone();
        let danger = plan.danger();
        if danger > Danger::Safe {
            let what = format!("plan `{}` is {danger} for cluster `{cluster}`", plan.name);
            self.confirm.of(&cluster, &what, || dangers(&plan))?;
        } else {
            self.confirm.names(&cluster)?;
        }

        let home = Home::open(global.state_dir.as_deref())?;
        let id = new_run_id()?;
        let lock = home.lock(&cluster, &format!("{}, run {id}", operator()))?;
        refuse_a_second_run(&home, &cluster, global, &Wanted::Plan(&plan, &self.plan))?;
        let parallel = usize::from(self.parallel);
        let start = Start { parallel, revert: self.revert, rolls_back: None };
        let kept = Kept::new(plan, site);
        let secrets = secrets(&kept)?;
        let (store, beginning, record) = begin(&home, &id, &kept.plan, &kept.site, start)?;
        let how = How {
            parallel,
            pace: self.pace,
            take_over: self.take_over,
            reason: self.reason,
            change: None,
            retry_failed: false,
        };
        let execution = Execution { store, records: vec![record], beginning, kept, secrets, how };
        let outcome = execute(global, &home, execution);
        drop(lock);
        outcome
    }
}

/// Lists the steps that a working cluster would notice.
fn dangers(plan: &Plan) -> String {
    let mut text = format!("{}: {}\n\n", plan.name, plan.title);
    for step in plan.steps.iter().filter(|step| step.danger > Danger::Safe) {
        let title = if step.title.is_empty() { &step.kind } else { &step.title };
        let back = if ends_the_way_back(step) { ", cannot be taken back" } else { "" };
        let _ = writeln!(text, "  {:<24} {} ({}{back})", step.id.as_str(), title, step.danger);
    }
    text
}

/// Makes a run id that sorts by time.
pub(super) fn new_run_id() -> Result<RunId, CommandError> {
    let time = clock::now().to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S");
    let text = format!("{time}-{:04x}", rand::random::<u16>());
    RunId::new(text).map_err(|error| CommandError::new(Exit::Internal, error.to_string()))
}

/// What is to be run while another run of the cluster may be unfinished.
pub(super) enum Wanted<'a> {
    /// A plan, and how it was named on the command line.
    Plan(&'a Plan, &'a str),
    /// The way back of this run, which may be unfinished itself.
    WayBack(&'a RunId),
}

/// Refuses a run while another of the same cluster is unfinished: the two would work against each other.
pub(super) fn refuse_a_second_run(
    home: &Home,
    cluster: &str,
    global: &Global,
    wanted: &Wanted<'_>,
) -> Result<(), CommandError> {
    let is_taken_back = |id: &RunId| matches!(wanted, Wanted::WayBack(of) if *of == id);
    let unfinished = home.glance_all()?.into_iter().find(|glance| {
        // One that cannot be read at all may be of this cluster.
        glance.is_unfinished()
            && !is_taken_back(&glance.id)
            && glance.beginning().is_none_or(|beginning| beginning.cluster == cluster)
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
    if let Wanted::Plan(plan, named) = wanted
        && other == plan.name
    {
        error = error.hint(if glance.digest() == Some(plan.digest.as_str()) {
            "it carries out this very plan, with these inputs".to_owned()
        } else {
            let amend = format!("{program} resume {run} --amend {}", quote(named));
            format!("its plan or inputs differ from these; to see how: {amend}")
        });
    }
    Err(error
        .hint(format!("go on with it: {program} resume {run}"))
        .hint(format!("or give it up: {program} runs abort {run} --reason TEXT")))
}

/// How a run begins.
pub(super) struct Start {
    /// How many items may run at once.
    pub parallel: usize,
    /// Whether a working cluster may be taken back in time.
    pub revert: bool,
    /// The run that it takes back.
    pub rolls_back: Option<RunId>,
}

/// Makes the run's directory and its first record.
pub(super) fn begin(
    home: &Home,
    id: &RunId,
    plan: &Plan,
    site: &ReadSite,
    start: Start,
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
        parallel: start.parallel,
        revert: start.revert,
        rolls_back: start.rolls_back,
    };
    let record = Record { seq: 1, at: clock::now(), epoch: 0, event: Event::Began(Box::new(beginning.clone())) };
    store.append(&journal::line(&record)?)?;
    at("before barrier");
    store.barrier()?;
    at("after barrier");
    Ok((Arc::new(store), beginning, record))
}
