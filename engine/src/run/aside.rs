//! What a run has set aside, as its records say.

use std::collections::BTreeSet;

use requorum_steps::{HostName, RunId, catalog};

use super::record::{Event, Record};
use super::state::RunState;
use crate::plan::compiled::Subject;

/// Something that was set aside on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Aside {
    /// The host.
    pub host: HostName,
    /// Where it was moved.
    pub path: String,
    /// Whether requorum gave it the name; else the plan did, and it is never removed.
    pub own_name: bool,
}

/// Reads what a run has set aside, in the order of hosts and paths.
#[must_use]
pub fn asides(state: &RunState, run: &RunId, records: &[Record]) -> BTreeSet<Aside> {
    let marks = [format!(".requorum-{run}-"), format!(".requorum-aside-{run}-")];
    let of = |record: &Record| {
        let (Event::Acted { id, result, .. } | Event::Satisfied { id, result, .. }) = &record.event else {
            return None;
        };
        let field = catalog::find(&state.step(&id.step)?.kind)?.sets_aside;
        let path = result.get(field)?.as_str()?.to_owned();
        let Subject::Host(host) = state.subject(id)? else { return None };
        let name = path.rsplit('/').next().unwrap_or_default();
        let own_name = marks.iter().any(|mark| name.contains(mark.as_str()));
        Some(Aside { host: host.clone(), path, own_name })
    };
    records.iter().filter_map(of).collect()
}
