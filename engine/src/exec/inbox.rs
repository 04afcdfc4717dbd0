//! The inbox of a run: the operator's decisions on their way to a process that holds the run.
//!
//! A decision is a small file that is written beside and renamed into the inbox; the driver looks there, commits it to the
//! journal, and only then removes the file. What does not fit the state is answered by a file of the same name with the
//! reason.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run::record::{Event, ItemId, Override};

/// What an operator decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What is to be done.
    pub order: Order,
    /// Who decided.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Order {
    /// A gate is answered.
    Answer {
        /// The item.
        id: ItemId,
        /// The answer.
        approved: bool,
    },
    /// An item is overridden.
    Override {
        /// The item.
        id: ItemId,
        /// How.
        how: Override,
    },
    /// The run is given up.
    Abort,
}

impl Decision {
    /// Returns the event that records it; `None` for an abort, which ends the run.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        let (by, reason) = (self.by.clone(), self.reason.clone());
        match &self.order {
            Order::Answer { id, approved } => {
                Some(Event::GateAnswered { id: id.clone(), approved: *approved, by, reason })
            }
            Order::Override { id, how } => Some(Event::Overridden { id: id.clone(), how: *how, by, reason }),
            Order::Abort => None,
        }
    }
}

/// The inbox of one run.
#[derive(Debug, Clone)]
pub struct Inbox {
    directory: PathBuf,
}

impl Inbox {
    /// Names the inbox of a run's directory.
    #[must_use]
    pub fn of(run: &Path) -> Self {
        Self { directory: run.join("inbox") }
    }

    /// Puts a decision in and returns the file that is gone once it was taken.
    pub fn put(&self, decision: &Decision, name: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(format!("{name}.json"));
        let beside = self.directory.join(format!(".{name}.tmp"));
        fs::write(&beside, serde_json::to_vec(decision)?)?;
        fs::rename(&beside, &path)?;
        Ok(path)
    }

    /// Returns what is in, oldest name first. A file that cannot be read as a decision is answered at once.
    #[must_use]
    pub fn look(&self) -> Vec<(PathBuf, Decision)> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        paths.sort();
        paths
            .into_iter()
            .filter_map(|path| {
                let read = fs::read(&path).map_err(|error| error.to_string());
                match read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())) {
                    Ok(decision) => Some((path, decision)),
                    Err(why) => {
                        self.refuse(&path, &why);
                        None
                    }
                }
            })
            .collect()
    }

    /// Removes a decision that was taken.
    pub fn taken(&self, path: &Path) {
        // Left behind, it would be refused as already decided; nothing depends on its removal.
        let _ = fs::remove_file(path);
    }

    /// Answers a decision that cannot be taken.
    pub fn refuse(&self, path: &Path, why: &str) {
        // The asker sees the answer or times out; the run does not depend on it.
        let _ = fs::write(path.with_extension("refused"), why);
        let _ = fs::remove_file(path);
    }
}
