//! What a person may change about a run on a resume: steps of the plan that have not begun, how hosts are reached, and that
//! hosts are given up. What is not allowed is refused before anything is recorded.

use std::path::Path;
use std::sync::Arc;

use requorum_state::Store;
use requorum_steps::HostName;

use super::error::{CommandError, Exit};
use super::kept::Kept;
use super::load;
use super::options::{Global, Inputs, operator};
use super::output;
use crate::plan::diagnostic::nearest;
use crate::plan::difference::{self, Field};
use crate::plan::uses::reads_step;
use crate::plan::{ReadSite, site_change};
use crate::run::amend;
use crate::run::record::{Event, ItemId, Record};
use crate::run::state::RunState;

/// A run that is to go on otherwise than it began.
pub struct Change<'a> {
    /// The options of every command.
    pub global: &'a Global,
    /// Its store.
    pub store: &'a dyn Store,
    /// Its records.
    pub records: &'a [Record],
    /// What it keeps; brought up to date where the change is allowed.
    pub kept: &'a mut Kept,
    /// Why, where a person gave a reason.
    pub reason: Option<&'a str>,
    /// The options that ask for the change, to be shown with a reason added.
    pub asked: String,
}

impl Change<'_> {
    /// Goes on with another plan. `None`: it does not differ.
    pub fn amend(&mut self, named: &str, inputs: &Inputs) -> Result<Option<Event>, CommandError> {
        let colour = self.global.colour();
        let loaded = load::recompiled(named, inputs, self.kept).map_err(|error| load::report(error, colour))?;
        load::show(&loaded.compiled.warnings, &loaded.sources(), colour);
        let new = loaded.compiled.plan;
        let differences = difference::between(&self.kept.plan, &new);
        if differences.is_empty() {
            output::tell_line(format_args!("the plan does not differ from the one of the run"));
            return Ok(None);
        }
        let state = self.kept.state(self.records)?;
        let objections = amend::objections(&state, &new, &differences);
        let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
        if !objections.is_empty() {
            let why: Vec<String> = objections.iter().map(ToString::to_string).collect();
            return refused("the plan differs in what may not change any more", &lines, &why);
        }
        let Some(reason) = self.reason else { return self.unconfirmed("the plan", &lines) };
        tell(&lines);
        let plan_blob = self.store.put_blob(&load::json(&new)?)?;
        let changes = differences.iter().map(difference::Difference::in_short).collect();
        let (by, digest) = (operator(), new.digest.clone());
        self.kept.amend(Arc::new(new));
        Ok(Some(Event::Amended { by, reason: reason.to_owned(), plan_blob, digest, changes }))
    }

    /// Goes on with another site. `None`: it does not differ.
    pub fn site(&mut self, path: &Path) -> Result<Option<Event>, CommandError> {
        let source = load::site(path)?;
        let mut new = load::read_site(&source, self.global.colour())?;
        // What was given up stays so: the file need not know of it.
        for (name, host) in &self.kept.site.site.hosts {
            if host.lost {
                mark_lost(&mut new, name);
            }
        }
        let (allowed, not_allowed) = site_change::between(&self.kept.site, &new);
        if !not_allowed.is_empty() {
            let why = not_allowed.iter().map(|field| format!("{}: the run was planned with it", field.path.join(".")));
            let what = "the site differs in what may not change during a run";
            return refused(what, &texts(&not_allowed), &why.collect::<Vec<_>>());
        }
        if allowed.is_empty() {
            output::tell_line(format_args!("the site does not differ from the one of the run"));
            return Ok(None);
        }
        let lines = texts(&allowed);
        let Some(reason) = self.reason else { return self.unconfirmed("the site", &lines) };
        tell(&lines);
        self.change_site(new, reason, lines).map(Some)
    }

    /// Goes on without hosts. `None`: they were given up already.
    pub fn lose(&mut self, names: &[String]) -> Result<Option<Event>, CommandError> {
        let mut new = self.kept.site.clone();
        let mut lines = Vec::new();
        for name in names {
            let host = self.host(name)?;
            if mark_lost(&mut new, &host) {
                lines.push(format!("{host} is lost"));
            } else {
                output::tell_line(format_args!("{host} is lost already"));
            }
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let Some(reason) = self.reason else { return self.unconfirmed("the site", &lines) };
        self.change_site(new, reason, lines).map(Some)
    }

    fn host(&self, name: &str) -> Result<HostName, CommandError> {
        let hosts = &self.kept.site.site.hosts;
        let found = HostName::new(name).ok().filter(|name| hosts.contains_key(name));
        found.ok_or_else(|| {
            let names: Vec<&str> = hosts.keys().map(AsRef::as_ref).collect();
            let error = CommandError::new(Exit::Usage, format!("the site of the run has no host `{name}`"));
            match nearest(name, names.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("its hosts are {}", names.join(", "))),
            }
        })
    }

    fn change_site(&mut self, new: ReadSite, reason: &str, changes: Vec<String>) -> Result<Event, CommandError> {
        let before = self.kept.lost();
        let site_blob = self.store.put_blob(&load::json(&new)?)?;
        self.kept.change_site(new, reason);
        let state = self.kept.state(self.records)?;
        for host in self.kept.lost().difference(&before) {
            tell_left_out(&state, host);
        }
        Ok(Event::SiteChanged { by: operator(), reason: reason.to_owned(), site_blob, changes })
    }

    /// Shows the differences, and how the run goes on with them.
    fn unconfirmed(&self, what: &str, lines: &[String]) -> Result<Option<Event>, CommandError> {
        print(lines)?;
        let message = format!("{what} differs from the one of the run, and nobody gave a reason; nothing was changed");
        let run = self.run();
        let program = self.global.invocation().program;
        Err(CommandError::new(Exit::Differs, message)
            .hint(format!("go on with the change:  {program} resume {run} {} --reason TEXT", self.asked))
            .hint(format!("go on without it:       {program} resume {run}")))
    }

    fn run(&self) -> String {
        let began = self.records.iter().find_map(|record| match &record.event {
            Event::Began(beginning) => Some(beginning.run.to_string()),
            _ => None,
        });
        began.unwrap_or_default()
    }
}

fn mark_lost(site: &mut ReadSite, name: &HostName) -> bool {
    let Some(host) = site.site.hosts.get_mut(name) else { return false };
    let is_new = !host.lost;
    host.lost = true;
    if let Some(host) = site.value["hosts"].get_mut(name.as_str()) {
        host["lost"] = true.into();
    }
    is_new
}

fn texts(fields: &[Field]) -> Vec<String> {
    fields.iter().map(ToString::to_string).collect()
}

fn print(lines: &[String]) -> Result<(), CommandError> {
    lines.iter().try_for_each(|line| output::line(format_args!("{line}")))
}

fn tell(lines: &[String]) {
    for line in lines {
        output::tell_line(format_args!("{line}"));
    }
}

/// Shows the differences, and why the run may not go on with them.
fn refused(what: &str, lines: &[String], why: &[String]) -> Result<Option<Event>, CommandError> {
    print(lines)?;
    let message = format!("{what}; nothing was changed\n  {}", why.join("\n  "));
    Err(CommandError::new(Exit::Differs, message))
}

/// Says what will be left out because a host is given up, and which later steps look for something from it.
fn tell_left_out(state: &RunState, host: &HostName) {
    let left: Vec<ItemId> = state.open_on(host).map(|(id, _)| id).collect();
    if left.is_empty() {
        output::tell_line(format_args!("{host} is given up; nothing of the plan was left to be done there"));
        return;
    }
    output::tell_line(format_args!("{host} is given up, and these are left out:"));
    for id in &left {
        output::tell_line(format_args!("  {id} ({})", state.item(id).map_or("", |item| item.phase.word())));
    }
    for step in &state.plan().steps {
        let open = state.items_of(&step.id).any(|(id, item)| !item.phase.is_done() && !left.contains(&id));
        for id in left.iter().filter(|id| open && reads_step(state.plan(), step, &id.step)) {
            output::tell_line(format_args!(
                "  `{}` uses what `{}` returns: it finds nothing from {host}",
                step.id, id.step
            ));
        }
    }
}
