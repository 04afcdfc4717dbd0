//! What a person reads at the end: the steps with their durations, what went wrong, how things stand, how to go on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use requorum_steps::redact::marks::readable;
use requorum_steps::{Danger, Fault, FaultKind, catalog};

use super::phrase;
use crate::plan::compiled::Subject;
use crate::run::record::{Ending, Finding, ItemId};
use crate::run::rollback::point_of_no_return;
use crate::run::state::{Item, Phase, RunState};

/// The words with which this program is called, so that printed commands can be pasted.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The program and its global options, quoted for a shell.
    pub program: String,
}

/// Renders the table of steps: what each came to, and how long it took.
#[must_use]
pub fn table(state: &RunState) -> String {
    let mut text = String::new();
    let wide = state.plan().steps.iter().map(|step| step.id.as_str().len()).max().unwrap_or(0).max(4);
    for step in &state.plan().steps {
        let items: Vec<(ItemId, &Item)> = state.items_of(&step.id).collect();
        let mut words: Vec<(&str, usize)> = Vec::new();
        for (_, item) in &items {
            let word = item.phase.word();
            match words.iter_mut().find(|(known, _)| *known == word) {
                Some((_, count)) => *count += 1,
                None => words.push((word, 1)),
            }
        }
        let state_words = match words.as_slice() {
            [] => "nothing to do".to_owned(),
            [(word, 1)] => (*word).to_owned(),
            words => words.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", "),
        };
        let took = duration(items.iter().map(|(_, item)| *item)).map(phrase::span).unwrap_or_default();
        let attempts: u32 = items.iter().map(|(_, item)| item.attempt.saturating_sub(1)).sum();
        let again = if attempts > 0 { format!("  {attempts} repeated") } else { String::new() };
        let _ = writeln!(text, "  {:<wide$}  {state_words:<20} {took:>8}{again}", step.id.as_str());
    }
    text
}

fn duration<'a>(items: impl Iterator<Item = &'a Item> + Clone) -> Option<Duration> {
    let first: Timestamp = items.clone().filter_map(|item| item.started).min()?;
    let last = items.filter_map(|item| item.ended).max()?;
    Duration::try_from(last.duration_since(first)).ok()
}

/// Renders everything that needs attention, how things stand, and the exact command to go on.
#[must_use]
pub fn outcome(state: &RunState, run: &str, ending: Ending, calls: &Invocation) -> String {
    let mut text = String::new();
    if ending == Ending::Aborted {
        given_up(&mut text, state);
        return text;
    }
    let resume = format!("{} resume {run}", calls.program);
    for (id, item) in state.items() {
        match &item.phase {
            Phase::Failed { fault } => {
                fault_block(&mut text, &format!("{id} failed"), fault);
                if fault.kind == FaultKind::Unreachable {
                    without_host(&mut text, state, &id, &resume);
                }
            }
            Phase::Blocked { findings, .. } => {
                finding_block(&mut text, &format!("{id} may not start (a resume looks again)"), findings);
            }
            Phase::VerifyFailed { findings } => {
                let title = format!("{id} acted, but is not as it should be (a resume looks again first)");
                finding_block(&mut text, &title, findings);
            }
            Phase::Asked { evidence, lapsed: true } => {
                let _ = writeln!(text, "\n{id} was done, but that no longer holds\n  evidence  {evidence}");
                let _ = writeln!(text, "  to do it again       {} retry {run} {id} --reason TEXT", calls.program);
                let _ = writeln!(text, "  if it is right so    {} skip {run} {id} --done --reason TEXT", calls.program);
            }
            Phase::Asked { evidence, lapsed: false } | Phase::InDoubt { why: evidence } => {
                let _ = writeln!(text, "\n{id}: what became of it is not known\n  evidence  {evidence}");
                field(&mut text, "host", host(state, &id));
                let _ = writeln!(text, "  command   {}", item.command);
                let _ = writeln!(text, "  if it happened       {} skip {run} {id} --done --reason TEXT", calls.program);
                let _ = writeln!(text, "  if it may run again  {} retry {run} {id} --reason TEXT", calls.program);
                let _ = writeln!(text, "  to leave it out      {} skip {run} {id} --reason TEXT", calls.program);
                without_host(&mut text, state, &id, &resume);
            }
            Phase::GateOpen { message } => {
                let _ = writeln!(text, "\n{id} asks: {message}");
                let _ = writeln!(text, "  yes  {} approve {run} {} --reason TEXT", calls.program, id);
                let _ = writeln!(text, "  no   {} reject {run} {} --reason TEXT", calls.program, id);
            }
            Phase::Rejected { reason } => {
                let _ = writeln!(text, "\n{id} was rejected: {reason}");
                let _ = writeln!(text, "  to be asked again  {} retry {run} {id} --reason TEXT", calls.program);
            }
            Phase::Pending
            | Phase::Ready
            | Phase::Approved
            | Phase::Started
            | Phase::Acted
            | Phase::Succeeded
            | Phase::Satisfied
            | Phase::Skipped
            | Phase::Forced { .. } => {}
        }
    }
    standing(&mut text, state, ending);
    left_out(&mut text, state);
    if state.is_overridden() {
        let _ = writeln!(
            text,
            "\na person overrode a step of this run; `{} runs logs {run}` says which, who and why",
            calls.program
        );
    }
    match ending {
        Ending::Failed => {
            let _ = writeln!(text, "\ngo on with  {} resume {run} --retry-failed", calls.program);
        }
        Ending::Interrupted | Ending::NeedsPerson => {
            let _ = writeln!(text, "\ngo on with  {} resume {run}", calls.program);
            if state.items().any(|(_, item)| matches!(item.phase, Phase::Failed { .. })) {
                let _ = writeln!(text, "            (what failed is tried again only with --retry-failed)");
            }
        }
        Ending::Done | Ending::Refused | Ending::Aborted => {}
    }
    if !matches!(ending, Ending::Done | Ending::Refused) {
        way_back(&mut text, state, run, calls);
    }
    readable(&text).into_owned()
}

/// Renders what matters about a run that was given up: nobody goes on with it.
fn given_up(text: &mut String, state: &RunState) {
    for (id, item) in state.items() {
        if let Phase::InDoubt { why } = &item.phase {
            let _ = writeln!(text, "\n{id}: {why}");
            field(text, "host", host(state, &id));
            let _ = writeln!(text, "  command   {}", item.command);
        }
    }
    standing(text, state, Ending::Aborted);
    left_out(text, state);
}

/// Says how to go on without the host of an item.
fn without_host(text: &mut String, state: &RunState, id: &ItemId, resume: &str) {
    if let Some(host) = host(state, id) {
        let _ = writeln!(text, "  if {host} is lost        {resume} --lost {host} --reason TEXT");
    }
}

/// Lists what a person left out, by the reason: it may have to be made up for.
fn left_out(text: &mut String, state: &RunState) {
    let mut by_reason: BTreeMap<&str, Vec<ItemId>> = BTreeMap::new();
    for (id, item) in state.items() {
        if let Phase::Forced { happened: false, reason } = &item.phase {
            by_reason.entry(reason).or_default().push(id);
        }
    }
    if by_reason.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nleft out, and perhaps to be made up for");
    for (reason, items) in by_reason {
        let _ = writeln!(text, "  {reason}");
        for id in items {
            let what =
                state.step(&id.step).map_or("", |step| if step.title.is_empty() { &step.kind } else { &step.title });
            let _ = writeln!(text, "    {id}  {what}");
        }
    }
}

/// Says how to go back, or which step cannot be taken back.
fn way_back(text: &mut String, state: &RunState, run: &str, calls: &Invocation) {
    if state.rolls_back().is_some() || !state.items().any(|(_, item)| item.attempt > 0) {
        return;
    }
    let _ = match point_of_no_return(state) {
        None => writeln!(text, "to go back  {} rollback {run}", calls.program),
        Some(id) => writeln!(text, "there is no way back: nothing takes `{id}` back"),
    };
}

fn host<'a>(state: &'a RunState, id: &ItemId) -> Option<&'a str> {
    match state.subject(id)? {
        Subject::Host(name) => Some(name.as_str()),
        Subject::None | Subject::Value(_) => None,
    }
}

/// Says which steps that a cluster notices are done, and which are not.
fn standing(text: &mut String, state: &RunState, ending: Ending) {
    if matches!(ending, Ending::Done | Ending::Refused) {
        return;
    }
    let (mut done, mut perhaps, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for step in &state.plan().steps {
        for (id, item) in state.items_of(&step.id) {
            match item.phase.may_have_acted() {
                Some(true) if step.danger > Danger::Safe => done.push(id.to_string()),
                Some(false) if step.danger > Danger::Safe => perhaps.push(id.to_string()),
                Some(_) | None => {}
            }
            if !item.phase.is_done() {
                open.push(format!("{id} ({})", item.phase.word()));
            }
        }
    }
    let list = |items: Vec<String>| if items.is_empty() { "nothing".to_owned() } else { items.join(", ") };
    let _ = writeln!(text, "\nhow things stand\n  in effect  {}", list(done));
    if !perhaps.is_empty() {
        let _ = writeln!(text, "  perhaps    {} (wholly, in part, or not at all)", list(perhaps));
    }
    let _ = writeln!(text, "  not done   {}", list(open));
    for (id, item) in state.items() {
        let kind = state.step(&id.step).and_then(|step| catalog::find(&step.kind));
        let field = kind.map(|kind| kind.sets_aside).filter(|field| !field.is_empty()).unwrap_or("aside");
        if let Some(aside) = item.result.get(field).and_then(|aside| aside.as_str()) {
            let _ = writeln!(text, "  set aside  {aside} ({id})");
        }
    }
}

/// Renders a fault as a block: expected, seen, where, what to do.
pub fn fault_block(text: &mut String, title: &str, fault: &Fault) {
    let _ = writeln!(text, "\n{title}: {}", fault.what);
    field(text, "expected", fault.expected.as_deref());
    field(text, "seen", fault.seen.as_deref());
    field(text, "host", fault.place.host.as_ref().map(requorum_steps::HostName::as_str));
    field(text, "command", fault.place.command.as_deref());
    field(text, "hint", fault.hint.as_deref());
}

fn finding_block(text: &mut String, title: &str, findings: &[Finding]) {
    let _ = writeln!(text, "\n{title}");
    for finding in findings.iter().filter(|finding| !finding.holds) {
        failed_check(text, finding);
    }
}

/// Renders a check that does not hold.
pub fn failed_check(text: &mut String, finding: &Finding) {
    let host = finding.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let _ = writeln!(text, "  ✘ {}{host} ({})", finding.check, finding.place);
    field(text, "says", finding.message.as_deref());
    match &finding.outcome {
        Ok(observation) => {
            field(text, "expected", Some(&observation.expected));
            field(text, "seen", Some(&observation.seen));
        }
        Err(fault) => {
            field(text, "trouble", Some(&fault.what));
            field(text, "expected", fault.expected.as_deref());
            field(text, "seen", fault.seen.as_deref());
            field(text, "command", fault.place.command.as_deref());
            field(text, "hint", fault.hint.as_deref());
        }
    }
}

fn field(text: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else { return };
    let mut lines = value.lines();
    let _ = writeln!(text, "  {name:<9} {}", lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(text, "  {:<9} {line}", "");
    }
}
