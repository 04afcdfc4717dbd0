//! What a run keeps and resumes from: its plans and its sites, as its records tell.
//!
//! Plans are compiled for the site that the run began with, also those that it is amended to: what differs between them is
//! then only what their author changed. How hosts are reached now, and which were given up, is laid over that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use requorum_state::StoreError;
use requorum_steps::{HostName, RunId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::error::{CommandError, Exit, chain};
use crate::exec::context::Base;
use crate::plan::compiled::{FORMAT, Included, Plan, SecretSource};
use crate::plan::site_change::with_hosts_of;
use crate::plan::{ReadSite, Scope};
use crate::run::plans::Plans;
use crate::run::record::{Beginning, Event, Record};
use crate::run::state::RunState;

/// What a run keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    plans: Plans,
    /// The plan that counts now.
    pub plan: Arc<Plan>,
    /// The site that the plans are compiled for: the one that the run began with.
    pub compiled_for: ReadSite,
    /// The site that counts now.
    pub site: ReadSite,
    /// The hosts that were given up since the run began, and why.
    pub given_up: BTreeMap<HostName, String>,
}

impl Kept {
    /// Makes what a run keeps that begins now.
    #[must_use]
    pub fn new(plan: Plan, site: ReadSite) -> Self {
        let plan = Arc::new(plan);
        let plans = Plans::from(Arc::clone(&plan));
        Self { plans, plan, compiled_for: site.clone(), site, given_up: BTreeMap::new() }
    }

    /// Reads what a run keeps, in the order of its records. `blob` reads the content that a record names.
    pub fn read(records: &[Record], blob: impl Fn(&str) -> Result<Vec<u8>, StoreError>) -> Result<Self, CommandError> {
        let Some(Event::Began(beginning)) = records.first().map(|record| &record.event) else {
            return Err(CommandError::new(Exit::Internal, "the run was cut off before it began; nothing was done"));
        };
        let blobs = Blobs { beginning, read: &blob };
        let mut kept = Self::new(blobs.plan(&beginning.plan_blob)?, blobs.value(&beginning.site_blob, "site")?);
        for record in records {
            if let Event::Amended { plan_blob, .. } = &record.event {
                kept.amend(Arc::new(blobs.plan(plan_blob)?));
            }
            if let Event::SiteChanged { site_blob, reason, .. } = &record.event {
                kept.change_site(blobs.value(site_blob, "site")?, reason);
            }
        }
        Ok(kept)
    }

    /// Goes on with another plan.
    pub fn amend(&mut self, plan: Arc<Plan>) {
        self.plans.add(Arc::clone(&plan));
        self.plan = plan;
    }

    /// Goes on with another site. What it marks as lost that was not is given up for this reason.
    pub fn change_site(&mut self, site: ReadSite, reason: &str) {
        let was_lost = |name: &HostName| self.site.site.hosts.get(name).is_some_and(|host| host.lost);
        let lost = site.site.hosts.values().filter(|host| host.lost && !was_lost(&host.name));
        let lost: Vec<_> = lost.map(|host| (host.name.clone(), reason.to_owned())).collect();
        self.given_up.extend(lost);
        self.site = site;
    }

    /// Returns the plans, for folding records.
    #[must_use]
    pub fn plans(&self) -> Plans {
        self.plans.clone()
    }

    /// Folds the records of the run.
    pub fn state(&self, records: &[Record]) -> Result<RunState, CommandError> {
        RunState::fold(self.plans(), records).map_err(|error| CommandError::new(Exit::Internal, chain(&error)))
    }

    /// Returns the hosts that were given up.
    #[must_use]
    pub fn lost(&self) -> BTreeSet<HostName> {
        self.given_up.keys().cloned().collect()
    }

    /// Returns where the secrets of the plan come from, by the site that counts now.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretSource> {
        let now = |name: &str| self.site.secrets.iter().find(|source| source.name == name);
        let moved = |source: &SecretSource| {
            // An input may have been taken from a secret of the site.
            let of_site = self.compiled_for.secrets.iter().find(|then| then.origin == source.origin);
            let now = now(&source.name).or_else(|| now(&of_site?.name));
            let origin = now.map_or_else(|| source.origin.clone(), |now| now.origin.clone());
            SecretSource { name: source.name.clone(), origin }
        };
        self.plan.secrets.iter().map(moved).collect()
    }

    /// Returns what all templates of the run see: inputs and vars as they were compiled, but with the hosts as they are now.
    #[must_use]
    pub fn base(&self, run: &RunId, records: &[Record]) -> Base {
        // A preview shows what it would be now.
        let started = records.first().map_or_else(Timestamp::now, |record| record.at);
        let run = json!({
            "id": run.as_str(),
            "started": started.to_string(),
            "started_s": started.as_second(),
            "mark": format!("requorum/{run}"),
        });
        let now = |values: &Map<String, Value>| {
            let hosts = |value| with_hosts_of(value, &self.compiled_for.value, &self.site.value);
            values.iter().map(|(name, value)| (name.clone(), hosts(value))).collect()
        };
        let common = Scope::default().site(&self.site.value).run(&run);
        let scope = |part: Option<&str>, inputs: &Map<String, Value>, vars: &Map<String, Value>| {
            common.clone().starting(self.plan.directories.start(part)).inputs(&now(inputs)).vars(&now(vars))
        };
        let of = |(part, own): (&String, &Included)| (part.clone(), scope(Some(part), &own.inputs, &own.vars));
        let included = self.plan.included.iter().map(of).collect();
        Base { plan: scope(None, &self.plan.inputs, &self.plan.vars), included }
    }
}

/// The blobs of one run.
struct Blobs<'a> {
    beginning: &'a Beginning,
    read: &'a dyn Fn(&str) -> Result<Vec<u8>, StoreError>,
}

impl Blobs<'_> {
    /// Reads a plan. What a later form says of it would be missing here, and its templates would mean something else.
    fn plan(&self, digest: &str) -> Result<Plan, CommandError> {
        let plan: Plan = self.value(digest, "plan")?;
        if plan.format <= FORMAT {
            return Ok(plan);
        }
        let Beginning { run, version, .. } = self.beginning;
        let why = format!("it is in format {}, this version knows formats up to {FORMAT}", plan.format);
        Err(CommandError::new(Exit::Internal, format!("the plan of run `{run}` cannot be read by this version: {why}"))
            .hint(format!("it began with requorum {version}; resume with that version, or a later one")))
    }

    fn value<T: DeserializeOwned>(&self, digest: &str, what: &str) -> Result<T, CommandError> {
        let bytes = (self.read)(digest).map_err(|error| {
            let run = &self.beginning.run;
            let message = format!("the {what} of run `{run}` cannot be had: {}", chain(&error));
            CommandError { message, ..CommandError::from(error) }
                .hint(format!("or finish by hand: `requorum runs export {run} --to DIR` writes what was done"))
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let Beginning { run, version, .. } = self.beginning;
            CommandError::new(
                Exit::Internal,
                format!("the {what} of run `{run}` cannot be read by this version: {error}"),
            )
            .hint(format!("it began with requorum {version}; resume with that version"))
        })
    }
}
