//! Where requorum keeps its runs on this machine, and how they are found.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use requorum_state::blob::Blobs;
use requorum_state::layout::Layout;
use requorum_state::{ClusterLock, SledStore, Store, StoreError, salvage, witness};
use requorum_steps::RunId;

use super::error::{CommandError, Exit, chain};
use super::kept::Kept;
use super::output;
use super::recover;
use crate::exec::journal;
use crate::run::record::{Beginning, Ending, Event, FORMAT, Record};

/// The state directory.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

/// A run as its witness tells, without its store's lock; where the witness is damaged, as what is left of both tells.
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
    /// Why not all of it can be read; then the records are those before the first that cannot.
    pub damage: Option<CommandError>,
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

    /// Reads what the run keeps, without its store.
    pub fn kept(&self) -> Result<Kept, CommandError> {
        let blobs = Blobs::at(&Layout::of(&self.directory).blobs());
        Kept::read(&self.records, |digest| blobs.get(digest))
    }

    /// Returns the digest of the plan that counts now.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.records.iter().rev().find_map(|record| match &record.event {
            Event::Began(beginning) => Some(beginning.digest.as_str()),
            Event::Amended { digest, .. } => Some(digest.as_str()),
            _ => None,
        })
    }

    /// Returns when it was made: by its first record, or by its directory where there is none.
    fn made(&self) -> Option<Timestamp> {
        let of_directory = || fs::metadata(&self.directory).ok()?.modified().ok()?.try_into().ok();
        self.records.first().map(|record| record.at).or_else(of_directory)
    }

    /// Returns how the last process ended; `None`: one is at work, or it was cut off.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        if self.damage.is_some() { None } else { ending(&self.records) }
    }

    /// Says whether an attempt has begun that may have changed something.
    #[must_use]
    pub fn has_acted(&self) -> bool {
        self.records.iter().any(|record| matches!(record.event, Event::Started { .. }))
    }

    /// Says whether the run can be taken up, or may be such a run.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.damage.is_some() || self.beginning().is_some() && !self.ending().is_some_and(Ending::is_final)
    }

    /// Returns the run if all of it can be read.
    pub fn readable(mut self) -> Result<Self, CommandError> {
        self.damage.take().map_or(Ok(self), Err)
    }

    /// Reads records from their lines, up to the first that this version does not understand.
    fn read(&mut self, lines: &[String]) {
        for line in lines.iter().skip(self.records.len()) {
            match serde_json::from_str::<Record>(line) {
                Ok(record) => self.records.push(record),
                Err(error) => {
                    let error = newer(&self.id, &self.records, &error.to_string());
                    self.damage.get_or_insert(error);
                    break;
                }
            }
        }
        if let Some(format) = self.beginning().map(|beginning| beginning.format).filter(|format| *format > FORMAT) {
            let why = format!("it is in format {format}, this version knows formats up to {FORMAT}");
            self.damage = Some(newer(&self.id, &self.records, &why));
        }
    }

    /// Reads what the store has beyond so many lines of the witness: a power loss may have taken the newest lines of a run
    /// that was cut off, and what it did must not look as if it had not been.
    fn catch_up(&mut self, known: usize) {
        let found = salvage::look(&self.directory).ok().and_then(|remains| remains.whole());
        if let Some(found) = found.filter(|found| found.len() > known) {
            let lines: Vec<String> =
                found.into_iter().map(|line| String::from_utf8_lossy(&line).into_owned()).collect();
            self.read(&lines);
        }
    }

    /// Returns one or two words for its state.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.ending(), self.held.is_some()) {
            _ if self.damage.is_some() => "unreadable",
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

    /// Returns the ids of all runs, in no order.
    fn ids(&self) -> Result<Vec<RunId>, CommandError> {
        let runs = self.root.join("runs");
        let entries = fs::read_dir(&runs).map_err(|error| unusable(&self.root, &error))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| RunId::new(name).ok()).collect())
    }

    /// Looks at all runs, newest first: ids tell the second in which a run was made and no more.
    fn by_age(&self) -> Result<Vec<Glance>, CommandError> {
        let mut glances = self.ids()?.iter().map(|id| self.look(id)).collect::<Result<Vec<Glance>, _>>()?;
        glances.sort_by_cached_key(|glance| Reverse((glance.made(), glance.id.clone())));
        Ok(glances)
    }

    /// Returns the newest run.
    pub fn newest(&self) -> Result<RunId, CommandError> {
        let newest = self.by_age()?.into_iter().next().map(|glance| glance.id);
        newest.ok_or_else(|| CommandError::new(Exit::Usage, "there are no runs"))
    }

    /// Looks at all runs, newest first, without taking any lock. What cannot be read is told on standard error too.
    pub fn glance_all(&self) -> Result<Vec<Glance>, CommandError> {
        let glances = self.by_age()?;
        for damage in glances.iter().filter_map(|glance| glance.damage.as_ref()) {
            output::tell_line(format_args!("warning: {}", damage.message));
            for hint in &damage.hints {
                output::tell_line(format_args!("  hint: {hint}"));
            }
        }
        Ok(glances)
    }

    /// Looks at one run without taking any lock; it must be possible to read all of it.
    pub fn glance(&self, id: &RunId) -> Result<Glance, CommandError> {
        self.look(id)?.readable()
    }

    /// Looks at one run without taking any lock, however much of it can be read.
    pub fn look(&self, id: &RunId) -> Result<Glance, CommandError> {
        let directory = self.directory(id)?;
        let (lines, damage) = match witness::read_lines(&directory) {
            Ok(lines) => (lines, None),
            // The store may have what the witness has not.
            Err(error) => salvaged(id, &directory, error),
        };
        let mut glance = Glance { id: id.clone(), directory, records: Vec::new(), held: None, damage };
        glance.read(&lines);
        glance.held = glance.beginning().and_then(|beginning| self.holder(&beginning.cluster, id));
        if glance.held.is_none() && glance.damage.is_none() && glance.ending().is_none() {
            glance.catch_up(lines.len());
        }
        Ok(glance)
    }

    /// Returns the directory of a run that is there.
    pub fn directory(&self, id: &RunId) -> Result<PathBuf, CommandError> {
        let directory = self.run(id);
        if directory.is_dir() {
            return Ok(directory);
        }
        Err(CommandError::new(Exit::Usage, format!("there is no run `{id}`"))
            .hint("`requorum runs list` shows the runs there are"))
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
        let all = self.glance_all()?;
        let last = match all.first() {
            Some(last) if last.beginning().is_none() && last.damage.is_none() => {
                format!("the last one, {}, never began, so nothing was done: run the plan again", last.id)
            }
            Some(last) => format!("the last one, {0}, is {1}: `requorum runs show {0}`", last.id, last.state()),
            None => "there has been none: `requorum run PLAN -i SITE` begins one".to_owned(),
        };
        let mut unfinished: Vec<Glance> = all.into_iter().filter(Glance::is_unfinished).collect();
        match unfinished.len() {
            0 => Err(CommandError::new(Exit::Usage, "there is no unfinished run").hint(last)),
            1 => unfinished.remove(0).readable(),
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
        let store = SledStore::open(&self.run(id)).map_err(|error| recover::hint(error, id))?;
        let records = journal::read(&store)?;
        Ok((Arc::new(store), records))
    }

    /// Looks at the runs that take a run back, newest first: one, unless some came to nothing.
    pub fn rollbacks_of(&self, id: &RunId) -> Result<Vec<Glance>, CommandError> {
        let takes_back = |glance: &Glance| glance.beginning().is_some_and(|b| b.rolls_back.as_ref() == Some(id));
        Ok(self.glance_all()?.into_iter().filter(takes_back).collect())
    }
}

/// Returns the records before the first that cannot be had, and why that is so if there is one.
fn salvaged(id: &RunId, directory: &Path, error: StoreError) -> (Vec<String>, Option<CommandError>) {
    let remains = match salvage::look(directory) {
        Ok(remains) => remains,
        // A run that was cut off while it was created.
        Err(StoreError::Missing { .. }) => return (Vec::new(), None),
        Err(error) => return (Vec::new(), Some(recover::hint(error, id))),
    };
    let sound = (1..).map_while(|number| remains.records.get(&number)).take_while(|found| found.doubt.is_none());
    let lines = sound.map(|found| String::from_utf8_lossy(&found.payload).into_owned()).collect();
    let error = match error {
        StoreError::Missing { path } => {
            let hint = "copy the run's directory again, if it is a copy".to_owned();
            StoreError::Damaged { path, what: "it is not there, and the store does not have all records".into(), hint }
        }
        other => other,
    };
    (lines, remains.whole().is_none().then(|| recover::hint(error, id)))
}

/// The error for records that this version does not understand.
fn newer(id: &RunId, records: &[Record], why: &str) -> CommandError {
    let version = records.iter().find_map(|record| match &record.event {
        Event::Began(beginning) => Some(beginning.version.as_str()),
        _ => None,
    });
    let written = version.map(|version| format!(": it began with requorum {version}")).unwrap_or_default();
    let number = records.len() + 1;
    CommandError::new(Exit::Internal, format!("run `{id}` cannot be read by this version (record {number}): {why}"))
        .hint(format!("use the version that wrote it, or a newer one{written}"))
}

/// Adds how to go on with a run that requorum cannot take up.
#[must_use]
pub fn hand_over(error: CommandError, directory: &Path) -> CommandError {
    let run = directory.file_name().unwrap_or_default().display();
    error
        .hint(format!(
            "finish by hand from what there is: `requorum runs export {run} --to DIR` writes the records, the plan and the site"
        ))
        .hint(format!(
            "then move {} out of `runs`, so that the cluster is free for a new run; that one may need --take-over",
            directory.display()
        ))
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
