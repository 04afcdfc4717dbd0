//! `requorum resume`

use std::path::PathBuf;

use clap::Args;
use requorum_state::Store;
use requorum_steps::RunId;

use super::change::Change;
use super::error::{CommandError, Exit};
use super::execute::{Execution, How, execute, secrets};
use super::home::Home;
use super::kept::Kept;
use super::options::{Global, Inputs, Pace, operator, quote};
use crate::run::record::{Event, Record};

/// Goes on with an unfinished run
///
/// It goes on with the plan, the inputs and the site that it keeps; files are not read again. What changed in between is said
/// with --amend, --site or --lost: what differs is shown, and with --reason recorded and done.
#[derive(Debug, Args)]
pub struct Resume {
    /// The run; the only unfinished one where it is left out
    run: Option<String>,

    /// Tries what has failed again
    #[arg(long)]
    retry_failed: bool,

    /// Goes on with a changed plan: a file, or a name of the library. What has begun must be the same in it
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["site", "lost"])]
    amend: Option<String>,

    #[command(flatten)]
    inputs: Inputs,

    /// Goes on with a changed site: addresses, how SSH and etcd are reached, where secrets come from, lost hosts
    #[arg(long, value_name = "FILE", conflicts_with = "lost")]
    site: Option<PathBuf>,

    /// Gives a host up: what is not done there is left out, and listed at the end. May be given several times
    #[arg(long, value_name = "HOST")]
    lost: Vec<String>,

    /// How many items may run at once [default: as the run began]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,

    #[command(flatten)]
    pace: Pace,

    /// Pushes another holder of the cluster aside; needs --reason
    #[arg(long, requires = "reason")]
    take_over: bool,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Resume {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        if self.amend.is_none() && !(self.inputs.set.is_empty() && self.inputs.set_file.is_empty()) {
            let message = "--set and --set-file change inputs of a run, which goes with --amend PLAN only";
            return Err(CommandError::new(Exit::Usage, message));
        }
        let home = Home::open(global.state_dir.as_deref())?;
        let glance = home.find_unfinished(self.run.as_deref())?;
        let cluster = glance.beginning().map(|beginning| beginning.cluster.clone()).unwrap_or_default();
        let id: RunId = glance.id.clone();
        let lock = home.lock(&cluster, &format!("{}, run {id}", operator()))?;
        let (store, records) = home.open_run(&id)?;
        let Some(Event::Began(beginning)) = records.first().map(|record| &record.event) else {
            return Err(CommandError::new(Exit::Internal, format!("run `{id}` has no beginning; nothing was done")));
        };
        let beginning = beginning.as_ref().clone();
        let mut kept = Kept::read(&records, |digest| store.get_blob(digest))?;
        let change = self.change(global, store.as_ref(), &records, &mut kept)?;
        let secrets = secrets(&kept)?;
        let how = How {
            parallel: self.parallel.map_or(beginning.parallel, usize::from),
            pace: self.pace,
            take_over: self.take_over,
            reason: self.reason,
            change,
            retry_failed: self.retry_failed,
        };
        let outcome = execute(global, &home, Execution { store, records, beginning, kept, secrets, how });
        drop(lock);
        outcome
    }

    /// Finds out what the run is to go on with otherwise, and brings what it keeps up to date.
    fn change(
        &self,
        global: &Global,
        store: &dyn Store,
        records: &[Record],
        kept: &mut Kept,
    ) -> Result<Option<Event>, CommandError> {
        let reason = self.reason.as_deref();
        let mut change = Change { global, store, records, kept, reason, asked: self.asked() };
        match (&self.amend, &self.site) {
            (Some(plan), _) => change.amend(plan, &self.inputs),
            (None, Some(site)) => change.site(site),
            (None, None) => change.lose(&self.lost),
        }
    }

    /// Returns the options that ask for a change, as they are typed.
    fn asked(&self) -> String {
        let mut words = Vec::new();
        let mut add = |option: &str, value: &str| words.extend([option.to_owned(), quote(value)]);
        if let Some(plan) = &self.amend {
            add("--amend", plan);
        }
        for (name, value) in &self.inputs.set {
            add("--set", &format!("{name}={value}"));
        }
        for (name, path) in &self.inputs.set_file {
            add("--set-file", &format!("{name}={}", path.display()));
        }
        if let Some(site) = &self.site {
            add("--site", &site.display().to_string());
        }
        self.lost.iter().for_each(|host| add("--lost", host));
        words.join(" ")
    }
}
