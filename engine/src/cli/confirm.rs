//! Makes sure that the operator means this cluster, before something is done that a working cluster would notice.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;

use super::error::{CommandError, Exit};
use super::output;

/// How the operator confirms.
#[derive(Debug, Args)]
pub struct Confirm {
    /// Confirms without asking
    #[arg(long, conflicts_with = "confirm")]
    yes: bool,

    /// Confirms by naming the cluster that is meant
    #[arg(long, value_name = "CLUSTER")]
    confirm: Option<String>,
}

impl Confirm {
    /// Refuses a cluster that is not the one named. Says whether one was named.
    pub fn names(&self, cluster: &str) -> Result<bool, CommandError> {
        match &self.confirm {
            None => Ok(false),
            Some(named) if named == cluster => Ok(true),
            Some(named) => {
                let message = format!("--confirm names `{named}`, but the site is cluster `{cluster}`");
                Err(CommandError::new(Exit::Unconfirmed, message).hint("is this the right site file?"))
            }
        }
    }

    /// Lets the operator confirm: by an option, or by typing the name of the cluster after reading what `show` returns.
    /// `what` is done, in words that complete "…, and nobody has confirmed it".
    pub fn of(&self, cluster: &str, what: &str, show: impl FnOnce() -> String) -> Result<(), CommandError> {
        if self.names(cluster)? || self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            let message = format!("{what}, and nobody has confirmed it");
            return Err(
                CommandError::new(Exit::Unconfirmed, message).hint(format!("give --confirm {cluster}, or --yes"))
            );
        }
        output::tell(format_args!("{}\ntype the name of the cluster ({cluster}) to go on: ", show()));
        // A terminal that cannot be written to will not answer either.
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        if line.trim() == cluster { Ok(()) } else { Err(CommandError::new(Exit::Unconfirmed, "not confirmed")) }
    }
}
