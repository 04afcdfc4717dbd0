//! `requorum resume`

use clap::Args;
use requorum_steps::RunId;

use super::error::{CommandError, Exit};
use super::execute::{Execution, How, execute};
use super::home::{Home, kept};
use super::options::{Global, Pace, operator};
use crate::run::record::Event;

/// Goes on with an unfinished run
#[derive(Debug, Args)]
pub struct Resume {
    /// The run; the only unfinished one where it is left out
    run: Option<String>,

    /// Tries what has failed again
    #[arg(long)]
    retry_failed: bool,

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
        let (plan, site) = kept(store.as_ref(), &beginning)?;
        let how = How {
            parallel: self.parallel.map_or(beginning.parallel, usize::from),
            budget: self.pace.budget,
            take_over: self.take_over,
            reason: self.reason,
            decisions: Vec::new(),
            retry_failed: self.retry_failed,
        };
        let outcome = execute(global, &home, Execution { store, records, beginning, plan, site, how });
        drop(lock);
        outcome
    }
}
