//! `requorum preview`: what a run would do, live and read-only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use requorum_steps::capsule::Holder;
use requorum_steps::world::Settings;
use requorum_steps::{RunId, World};

use super::error::{CommandError, Exit, chain};
use super::execute;
use super::kept::Kept;
use super::load;
use super::options::{Format, Global, Inputs};
use super::{output, prepare};
use crate::exec::context::{Context, Errand};
use crate::exec::fence::Fence;
use crate::exec::foresee::{foresee, point_of_no_return};
use crate::exec::secrets::Secrets;
use crate::plan::{Compiled, Mode};
use crate::report::Silent;
use crate::report::forecast::Forecast;

/// What stands for the id of the run in names that a run would make.
const RUN: &str = "RUN";

/// Shows what a run would do, without doing it
///
/// Preflight, preconditions and probes are looked at live; nothing is changed, neither on hosts nor in the cluster nor in the
/// state directory.
#[derive(Debug, Args)]
pub struct Preview {
    /// The plan: a file, or a name of the library
    plan: String,

    /// The site file of the cluster
    #[arg(short = 'i', long, env = "REQUORUM_SITE", value_name = "FILE")]
    site: PathBuf,

    #[command(flatten)]
    inputs: Inputs,

    /// As for a run that may take a working cluster back in time
    #[arg(long)]
    revert: bool,

    /// The format on standard output
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Preview {
    /// Carries the command out.
    pub fn run(self, global: &Global) -> Result<(), CommandError> {
        let colour = global.colour();
        let loaded = load::compiled(&self.plan, Some(&self.site), &self.inputs, Mode::Run)
            .map_err(|error| load::report(error, colour))?;
        load::show(&loaded.compiled.warnings, &loaded.sources(), colour);
        let context = context(loaded.compiled)?;
        let runtime = execute::runtime()?;
        let would_begin = runtime.block_on(async {
            let (preflight, items, held) =
                tokio::join!(prepare::preflight(&context, self.revert), foresee(&context), prepare::held(&context));
            context.world.close().await;
            let no_return = point_of_no_return(&context, &items);
            let cluster = &context.world.site().cluster;
            let forecast =
                Forecast { plan: &context.plan, cluster, preflight: &preflight, items: &items, no_return, held: &held };
            match self.output {
                Format::Text => output::print(format_args!("{}", forecast.text()))?,
                Format::Json => output::line(format_args!("{}", forecast.json()))?,
            }
            Ok::<bool, CommandError>(forecast.would_begin())
        });
        // A look that hangs must not keep the process.
        runtime.shutdown_background();
        if would_begin? { Ok(()) } else { Err(CommandError::reported(Exit::Precondition)) }
    }
}

/// Makes what looks need. There is no run: no directory, no lock, no holder that a host would know.
fn context(compiled: Compiled) -> Result<Context, CommandError> {
    let Compiled { plan, site, .. } = compiled;
    let site =
        site.ok_or_else(|| CommandError::new(Exit::Usage, "a preview needs a site").hint("give one with -i SITE"))?;
    let secrets =
        Secrets::fetch(&plan.secrets).map_err(|error| CommandError::new(Exit::Precondition, chain(&error)))?;
    let run = RunId::new(RUN).map_err(|error| CommandError::new(Exit::Internal, error.to_string()))?;
    let kept = Kept::new(plan, site);
    let (base, site) = (kept.base(&run, &[]), kept.site.site);
    let holder =
        Holder { cluster: site.cluster.clone(), run, epoch: 0, token: String::new(), label: "a preview".to_owned() };
    // No attempt is ever made, so neither a place for capsules nor a supervisor is needed.
    let nowhere = Path::new("/dev/null").to_owned();
    let settings = Settings {
        local_capsules: nowhere.clone(),
        supervisor: nowhere,
        kubeconfig: execute::kubeconfig(),
        call_timeout: execute::CALL_TIMEOUT,
        connect_timeout: execute::CONNECT_TIMEOUT,
    };
    let world = World::new(Arc::new(site), settings).with_redactor(Arc::clone(secrets.redactor()));
    Ok(Context {
        plan: kept.plan,
        world,
        holder,
        fence: Fence::default(),
        secrets,
        report: Arc::new(Silent),
        base,
        given_up: BTreeSet::new(),
        patience: Duration::ZERO,
        errand: Errand::CarryOut,
    })
}
