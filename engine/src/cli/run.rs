//! `requorum run`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::tz::TimeZone;
use requorum_state::{SledStore, Store};
use requorum_steps::{Danger, RunId, catalog};

use super::confirm::Confirm;
use super::error::{CommandError, Exit};
use super::execute::{Execution, How, execute};
use super::home::{Home, KeptSite};
use super::load;
use super::options::{Global, Inputs, Pace, operator};
use crate::exec::{clock, journal};
use crate::plan::compiled::Plan;
use crate::plan::{Compiled, Mode};
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
        load::show(&loaded.compiled.warnings, &[&loaded.plan], colour);
        let Compiled { plan, site, site_value, .. } = loaded.compiled;
        let Some(site) = site else {
            return Err(CommandError::new(Exit::Usage, "a run needs a site").hint("give one with -i SITE"));
        };
        let danger = plan.danger();
        if danger > Danger::Safe {
            let what = format!("plan `{}` is {danger} for cluster `{}`", plan.name, site.cluster);
            self.confirm.of(&site.cluster, &what, || dangers(&plan))?;
        } else {
            self.confirm.names(&site.cluster)?;
        }

        let home = Home::open(global.state_dir.as_deref())?;
        let id = new_run_id()?;
        let lock = home.lock(&site.cluster, &format!("{}, run {id}", operator()))?;
        refuse_a_second_run(&home, &site.cluster, global, None)?;
        let parallel = usize::from(self.parallel);
        let kept = KeptSite { site, value: site_value };
        let start = Start { parallel, revert: self.revert, rolls_back: None };
        let (store, beginning, record) = begin(&home, &id, &plan, &kept, start)?;
        let how = How {
            parallel,
            budget: self.pace.budget,
            take_over: self.take_over,
            reason: self.reason,
            decisions: Vec::new(),
            retry_failed: false,
        };
        let outcome =
            execute(global, &home, Execution { store, records: vec![record], beginning, plan, site: kept, how });
        drop(lock);
        outcome
    }
}

/// Lists the steps that a working cluster would notice.
fn dangers(plan: &Plan) -> String {
    let mut text = format!("{}: {}\n\n", plan.name, plan.title);
    for step in plan.steps.iter().filter(|step| step.danger > Danger::Safe) {
        let title = if step.title.is_empty() { &step.kind } else { &step.title };
        let undo = catalog::find(&step.kind).is_some_and(|kind| !kind.undo.is_empty()) || step.undo.is_some();
        let back = if undo { "" } else { ", cannot be taken back" };
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

/// Refuses a run while another of the same cluster is unfinished, other than the one that it takes back: the two would work
/// against each other.
pub(super) fn refuse_a_second_run(
    home: &Home,
    cluster: &str,
    global: &Global,
    taken_back: Option<&RunId>,
) -> Result<(), CommandError> {
    let unfinished = home.glance_all()?.into_iter().find(|glance| {
        glance.is_unfinished()
            && Some(&glance.id) != taken_back
            && glance.beginning().is_some_and(|beginning| beginning.cluster == cluster)
    });
    let Some(glance) = unfinished else { return Ok(()) };
    let plan = glance.beginning().map(|beginning| beginning.plan.clone()).unwrap_or_default();
    let program = global.invocation().program;
    let message = format!("run `{}` of `{plan}` on cluster `{cluster}` is unfinished ({})", glance.id, glance.state());
    Err(CommandError::new(Exit::Locked, message)
        .hint(format!("go on with it: {program} resume {}", glance.id))
        .hint(format!("or give it up: {program} runs abort {} --reason TEXT", glance.id)))
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
    site: &KeptSite,
    start: Start,
) -> Result<(Arc<dyn Store>, Beginning, Record), CommandError> {
    let unreadable = |error: serde_json::Error| CommandError::new(Exit::Internal, error.to_string());
    let store = SledStore::create(&home.run(id))?;
    let plan_blob = store.put_blob(&serde_json::to_vec(plan).map_err(unreadable)?)?;
    let site_blob = store.put_blob(&serde_json::to_vec(site).map_err(unreadable)?)?;
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
    store.barrier()?;
    Ok((Arc::new(store), beginning, record))
}
