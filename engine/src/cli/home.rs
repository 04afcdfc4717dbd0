//! Where requorum keeps its runs on this machine, and how they are found.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use requorum_state::layout::Layout;
use requorum_state::{ClusterLock, SledStore, Store, StoreError, witness};
use requorum_steps::{RunId, Site};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{CommandError, Exit, chain};
use crate::exec::journal;
use crate::plan::compiled::Plan;
use crate::run::record::{Beginning, Ending, Event, Record};

/// The state directory.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

/// The site of a run as it is kept: what acts use, and what templates see.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeptSite {
    /// What acts use.
    pub site: Site,
    /// What templates see.
    pub value: Value,
}

/// A run as its witness tells, without its store's lock.
#[derive(Debug)]
pub struct Glance {
    /// The run.
    pub id: RunId,
    /// Its directory.
    pub directory: PathBuf,
    /// Its records.
    pub records: Vec<Record>,
    /// Whether a process holds it now, and who.
    pub held: Option<String>,
}

impl Glance {
    /// Returns what the run began with.
    #[must_use]
    pub fn beginning(&self) -> Option<&Beginning> {
        self.records.iter().find_map(|record| match &record.event {
            Event::Began(beginning) => Some(beginning.as_ref()),
            _ => None,
        })
    }

    /// Returns how the last process ended; `None`: one is at work, or it was cut off.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        ending(&self.records)
    }

    /// Says whether an attempt has begun that may have changed something.
    #[must_use]
    pub fn has_acted(&self) -> bool {
        self.records.iter().any(|record| matches!(record.event, Event::Started { .. }))
    }

    /// Says whether the run can be taken up.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.beginning().is_some() && !self.ending().is_some_and(Ending::is_final)
    }

    /// Returns one or two words for its state.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.ending(), self.held.is_some()) {
            _ if self.beginning().is_none() => "never began",
            (None, true) => "running",
            (None, false) => "cut off",
            (Some(Ending::Done), _) => "done",
            (Some(Ending::Refused), _) => "refused",
            (Some(Ending::Failed), _) => "failed",
            (Some(Ending::NeedsPerson), _) => "needs you",
            (Some(Ending::Interrupted), _) => "interrupted",
            (Some(Ending::Aborted), _) => "aborted",
        }
    }
}

impl Home {
    /// Opens the state directory, `--state-dir` or `$XDG_STATE_HOME/requorum`, and makes it if it is not there.
    pub fn open(given: Option<&Path>) -> Result<Self, CommandError> {
        let root = match given {
            Some(path) => std::path::absolute(path)?,
            None => default_root()?,
        };
        private_directory(&root.join("runs")).map_err(|error| unusable(&root, &error))?;
        private_directory(&root.join("locks")).map_err(|error| unusable(&root, &error))?;
        Ok(Self { root })
    }

    /// Returns the directory of a run.
    #[must_use]
    pub fn run(&self, id: &RunId) -> PathBuf {
        self.root.join("runs").join(id.as_str())
    }

    /// Takes the lock of a cluster. The label says who holds it.
    pub fn lock(&self, cluster: &str, label: &str) -> Result<ClusterLock, CommandError> {
        let path = self.root.join("locks").join(format!("{cluster}.lock"));
        ClusterLock::acquire(&path, label).map_err(|error| match error {
            StoreError::Locked { by, .. } => {
                CommandError::new(Exit::Locked, format!("cluster `{cluster}` is held by {by}"))
                    .hint("watch it with `requorum runs logs`, or wait until it has ended")
            }
            other => other.into(),
        })
    }

    /// Looks at all runs, newest first, without taking any lock. What cannot be read is told on standard error.
    pub fn glance_all(&self) -> Result<Vec<Glance>, CommandError> {
        let mut names: Vec<String> = fs::read_dir(self.root.join("runs"))?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        let mut glances = Vec::new();
        for id in names.into_iter().filter_map(|name| RunId::new(name).ok()) {
            match self.glance(&id) {
                Ok(glance) => glances.push(glance),
                Err(error) => eprintln!("warning: run {id} cannot be read: {}", error.message),
            }
        }
        Ok(glances)
    }

    /// Looks at one run without taking any lock.
    pub fn glance(&self, id: &RunId) -> Result<Glance, CommandError> {
        let directory = self.run(id);
        if !directory.is_dir() {
            return Err(CommandError::new(Exit::Usage, format!("there is no run `{id}`"))
                .hint("`requorum runs list` shows the runs there are"));
        }
        let layout = Layout::of(&directory);
        let lines = match witness::read_lines(&layout.witness()) {
            // The store is the truth: opening it writes the events anew.
            Err(StoreError::Missing { .. }) if layout.store().is_dir() => {
                drop(SledStore::open(&directory)?);
                witness::read_lines(&layout.witness())?
            }
            lines => lines?,
        };
        let records: Result<Vec<Record>, _> = lines.iter().map(|line| serde_json::from_str(line)).collect();
        let records = records.map_err(|error| {
            CommandError::new(Exit::Internal, format!("the events of run `{id}` cannot be read: {error}"))
        })?;
        let mut glance = Glance { id: id.clone(), directory, records, held: None };
        glance.held = glance.beginning().and_then(|beginning| self.holder(&beginning.cluster, id));
        Ok(glance)
    }

    /// Says who holds a run of a cluster now.
    fn holder(&self, cluster: &str, id: &RunId) -> Option<String> {
        let path = self.root.join("locks").join(format!("{cluster}.lock"));
        let holder = ClusterLock::holder(&path).ok().flatten()?.to_string();
        holder.contains(id.as_str()).then_some(holder)
    }

    /// Finds the run that is meant: the one named, or the only unfinished one.
    pub fn find_unfinished(&self, named: Option<&str>) -> Result<Glance, CommandError> {
        if let Some(name) = named {
            let id = run_id(name)?;
            let glance = self.glance(&id)?;
            return if glance.is_unfinished() { Ok(glance) } else { Err(over(&id, glance.state())) };
        }
        let mut unfinished: Vec<Glance> = self.glance_all()?.into_iter().filter(Glance::is_unfinished).collect();
        match unfinished.len() {
            0 => Err(CommandError::new(Exit::Usage, "there is no unfinished run")
                .hint("`requorum runs list` shows the runs there are")),
            1 => Ok(unfinished.remove(0)),
            _ => {
                let names: Vec<String> = unfinished
                    .iter()
                    .map(|glance| {
                        let what = glance.beginning().map(|b| format!("{} on {}", b.plan, b.cluster));
                        format!("  {}  {:<12} {}", glance.id, glance.state(), what.unwrap_or_default())
                    })
                    .collect();
                Err(CommandError::new(Exit::Usage, format!("several runs are unfinished:\n{}", names.join("\n")))
                    .hint("name the one that is meant: `requorum resume RUN`"))
            }
        }
    }

    /// Opens the store of a run and reads its records. The caller holds the lock of the cluster: only now it is sure that
    /// nobody has ended the run meanwhile.
    pub fn open_run(&self, id: &RunId) -> Result<(Arc<dyn Store>, Vec<Record>), CommandError> {
        let (store, records) = self.open_any(id)?;
        if ending(&records).is_some_and(Ending::is_final) {
            return Err(over(id, "another process has ended it just now"));
        }
        Ok((store, records))
    }

    /// Opens the store of a run, also of one that is over, and reads its records. The caller holds the lock of the cluster.
    pub fn open_any(&self, id: &RunId) -> Result<(Arc<dyn Store>, Vec<Record>), CommandError> {
        let store = SledStore::open(&self.run(id))?;
        let records = journal::read(&store)?;
        Ok((Arc::new(store), records))
    }

    /// Looks at the runs that take a run back, newest first: one, unless some came to nothing.
    pub fn rollbacks_of(&self, id: &RunId) -> Result<Vec<Glance>, CommandError> {
        let takes_back = |glance: &Glance| glance.beginning().is_some_and(|b| b.rolls_back.as_ref() == Some(id));
        Ok(self.glance_all()?.into_iter().filter(takes_back).collect())
    }
}

/// Returns how the last process ended that took a run up; decisions that were recorded since do not change that.
#[must_use]
pub fn ending(records: &[Record]) -> Option<Ending> {
    let last = records
        .iter()
        .rev()
        .find(|record| matches!(record.event, Event::Ended { .. } | Event::TakenUp { .. } | Event::Began(_)))?;
    match &last.event {
        Event::Ended { ending, .. } => Some(*ending),
        _ => None,
    }
}

fn over(id: &RunId, how: &str) -> CommandError {
    CommandError::new(Exit::Usage, format!("run `{id}` is over: {how}"))
}

/// Reads the plan and the site that a run keeps.
pub fn kept(store: &dyn Store, beginning: &Beginning) -> Result<(Plan, KeptSite), CommandError> {
    let plan = serde_json::from_slice(&store.get_blob(&beginning.plan_blob)?);
    let site = serde_json::from_slice(&store.get_blob(&beginning.site_blob)?);
    match (plan, site) {
        (Ok(plan), Ok(site)) => Ok((plan, site)),
        (Err(error), _) | (_, Err(error)) => Err(CommandError::new(
            Exit::Internal,
            format!("what run `{}` keeps cannot be read by this version: {error}", beginning.run),
        )
        .hint(format!("it began with requorum {}; resume with that version", beginning.version))),
    }
}

/// Reads a run id given on the command line.
pub fn run_id(text: &str) -> Result<RunId, CommandError> {
    RunId::new(text).map_err(|error| CommandError::new(Exit::Usage, error.to_string()))
}

/// Returns `$XDG_STATE_HOME/requorum`, usually `~/.local/state/requorum`.
fn default_root() -> Result<PathBuf, CommandError> {
    use etcetera::BaseStrategy as _;
    let base = etcetera::choose_base_strategy().map_err(|error| {
        CommandError::new(Exit::Usage, chain(&error)).hint("name a state directory with --state-dir")
    })?;
    Ok(base.state_dir().unwrap_or_else(|| base.data_dir()).join("requorum"))
}

fn private_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn unusable(root: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(Exit::Internal, format!("the state directory {} cannot be used: {error}", root.display()))
        .hint("name another with --state-dir")
}
