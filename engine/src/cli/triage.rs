//! `requorum triage`: what is wrong with the cluster, and which plan to run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use requorum_steps::{Site, World, world::Settings};

use super::error::{CommandError, Exit, chain};
use super::options::{Format, Global};
use super::{execute, load, output};
use crate::report::triage::Report;
use crate::triage::{self, BadTable, Facts, Library, Observation, PlanHead, Table};

/// Says what is wrong with a cluster, and which plan to run
///
/// Looks at everything that it can reach, at once and for a few seconds: hosts, etcd members, member lists, services,
/// certificates, disks, clocks, the Kubernetes API. It changes nothing, takes no lock and writes no state. The exit status is
/// 0 whatever it found, and 4 if nothing at all could be reached; the decision is in `-o json`.
#[derive(Debug, Args)]
pub struct Triage {
    /// The site file of the cluster
    #[arg(short = 'i', long, env = "REQUORUM_SITE", value_name = "FILE")]
    site: PathBuf,

    /// The snapshot that you would restore from, for the commands that are named
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,

    /// The format on standard output
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Triage {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let site = load::read_site(&load::site(&self.site)?, global.colour())?.site;
        let table = table().map_err(|error| CommandError::new(Exit::Internal, chain(&error)))?;
        let runtime = execute::runtime()?;
        let seen = runtime.block_on(observe(site));
        // A look that hangs must not keep the process.
        runtime.shutdown_background();
        let snapshot = self.snapshot.as_deref().map(|path| path.display().to_string());
        let facts = Facts::of(&seen, snapshot.as_deref());
        let verdict = table.decide(&facts).map_err(|error| CommandError::new(Exit::Internal, chain(&error)))?;
        let program = global.invocation().program;
        let site = self.site.display().to_string();
        let report = Report { seen: &seen, facts: &facts, verdict: &verdict, program: &program, site: &site };
        match self.output {
            Format::Text => output::print(format_args!("{}", report.text()))?,
            Format::Json => output::line(format_args!("{}", report.json()))?,
        }
        if facts.reached.is_empty() && facts.answering.is_empty() && facts.refusing.is_empty() {
            return Err(CommandError::reported(Exit::Precondition));
        }
        Ok(())
    }
}

/// Reads the table of rules with the library that it names plans of.
fn table() -> Result<Table, BadTable> {
    let heads = requorum_plans::all().into_iter().map(|plan| Ok((plan.name, PlanHead::read(plan.text)?)));
    Table::read(requorum_plans::TRIAGE, heads.collect::<Result<Library, BadTable>>()?)
}

/// Looks at the cluster. What looks gets readers and nothing else.
async fn observe(site: Site) -> Observation {
    let world = world(site.clone());
    let (asked, other) = triage::readable(&world.reader(None)).await;
    let world = match other {
        None => world,
        Some(tls) => {
            world.close().await;
            let mut site = site;
            site.etcd.tls = Some(tls);
            self::world(site)
        }
    };
    let seen = triage::gather(&world.reader(None), asked).await;
    world.close().await;
    seen
}

/// Makes a world that is only looked at: no attempt is ever made, so neither a place for capsules nor a supervisor is needed.
fn world(site: Site) -> World {
    let nowhere = Path::new("/dev/null");
    let settings = Settings {
        local_capsules: nowhere.to_owned(),
        supervisor: nowhere.to_owned(),
        call_timeout: triage::CALL,
        connect_timeout: triage::CONNECT,
        kubeconfig: super::execute::kubeconfig(),
    };
    World::new(Arc::new(site), settings)
}
