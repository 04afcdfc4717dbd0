//! The words for what happened, shared by the live view, the plain lines and `runs logs`.

use std::time::Duration;

use requorum_steps::Fault;
use requorum_steps::capsule::CapsuleState;

use crate::run::record::{Ending, Event, Finding, Override, Record, Verdict};

/// How a phrase is meant: what a colour would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As expected, finished.
    Good,
    /// On the way.
    Plain,
    /// Worth a look.
    Notice,
    /// Wrong.
    Bad,
}

/// One line about a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// How it is meant.
    pub tone: Tone,
    /// What it is about: an item, or the run.
    pub subject: String,
    /// What happened, in one to three words.
    pub verb: &'static str,
    /// More; may be empty.
    pub detail: String,
}

/// Quotes a word for a POSIX shell where it needs it.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Counts things in words: `1 check`, `2 checks`.
#[must_use]
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Says how many of all checks do not hold.
#[must_use]
pub fn do_not_hold(failing: usize, all: usize) -> String {
    format!("{failing} of {} {} not hold", count(all, "check"), if failing == 1 { "does" } else { "do" })
}

/// Puts a record into words. `None`: nothing that a person needs as a line of its own.
#[must_use]
pub fn of(record: &Record) -> Option<Phrase> {
    let subject = record.event.item().map_or_else(|| "run".to_owned(), ToString::to_string);
    let (tone, verb, detail) = match &record.event {
        Event::Began(beginning) => {
            (Tone::Plain, "began", format!("{} on cluster {}: {}", beginning.run, beginning.cluster, beginning.plan))
        }
        Event::TakenUp { reason: None, .. } if record.seq == 2 => return None,
        Event::TakenUp { by, reason, .. } => {
            (Tone::Notice, "taken up", join(&[&format!("by {by}"), reason.as_deref().unwrap_or("")], ": "))
        }
        Event::Preflight { findings } => match findings.iter().filter(|finding| !finding.holds).count() {
            0 => {
                let unseen = findings.iter().filter(|finding| finding.outcome.is_err()).map(finding_line);
                let unseen: Vec<String> = unseen.map(|line| format!("; could not be looked at: {line}")).collect();
                let all = format!("all holds ({}){}", count(findings.len(), "check"), unseen.concat());
                (Tone::Good, "preflight", all)
            }
            bad => (Tone::Bad, "preflight", do_not_hold(bad, findings.len())),
        },
        Event::Fence { host, unreachable: None } => (Tone::Plain, "fenced", host.to_string()),
        Event::Fence { host, unreachable: Some(fault) } => (Tone::Notice, "not fenced", format!("{host}: {fault}")),
        Event::GateOpened { message, .. } => (Tone::Notice, "asks", message.clone()),
        Event::GateAnswered { approved, by, reason, .. } => {
            (Tone::Notice, if *approved { "approved" } else { "rejected" }, join(&[&format!("by {by}"), reason], ": "))
        }
        Event::Skipped { because, .. } => (Tone::Plain, "skipped", format!("`{because}` is false")),
        Event::Blocked { findings, .. } => (Tone::Bad, "blocked", failing(findings)),
        Event::Satisfied { evidence, .. } => (Tone::Plain, "already so", evidence.clone()),
        Event::Started { attempt, title, command, .. } => {
            let again = if *attempt > 1 { format!("attempt {attempt}") } else { String::new() };
            (Tone::Plain, "started", join(&[&again, title, first_line(command)], ": "))
        }
        Event::Acted { .. } => return None,
        Event::Failed { fault, .. } => (Tone::Bad, "failed", fault_line(fault)),
        Event::Doubted { fault, .. } => (Tone::Notice, "in doubt", fault_line(fault)),
        Event::Reconciled { verdict, evidence, .. } => {
            let verb = match verdict {
                Verdict::Adopt => "adopted",
                Verdict::Reattach => "re-attached",
                Verdict::Launch => "launched",
                Verdict::Repeat => "repeats",
                Verdict::Ask => "needs you",
                Verdict::Withdraw => "withdrawn",
            };
            (Tone::Notice, verb, evidence.clone())
        }
        Event::Lapsed { evidence, .. } => (Tone::Bad, "lapsed", evidence.clone()),
        Event::VerifyFailed { findings, .. } => (Tone::Bad, "not verified", failing(findings)),
        Event::Succeeded { .. } => (Tone::Good, "done", String::new()),
        Event::Overridden { how, by, reason, .. } => {
            let verb = match how {
                Override::Done => "forced done",
                Override::Skip => "forced skip",
                Override::Retry => "to be retried",
            };
            (Tone::Notice, verb, format!("by {by}: {reason}"))
        }
        Event::Amended { by, reason, changes, .. } => {
            (Tone::Notice, "amended", format!("by {by}: {reason}: {}", changes.join("; ")))
        }
        Event::SiteChanged { by, reason, changes, .. } => {
            (Tone::Notice, "site changed", format!("by {by}: {reason}: {}", changes.join("; ")))
        }
        Event::Committed { by, hosts, purged } => {
            let what = if purged.is_empty() { "what was set aside is kept" } else { "what was set aside is removed" };
            (Tone::Notice, "committed", format!("by {by}, on {}; {what}", count(hosts.len(), "host")))
        }
        Event::Recovered { by, reason, evidence } => {
            (Tone::Notice, "journal recovered", format!("by {by}: {reason}: {evidence}"))
        }
        Event::Ended { ending, reason } => {
            let (tone, verb) = match ending {
                Ending::Done => (Tone::Good, "done"),
                Ending::Refused => (Tone::Bad, "refused"),
                Ending::Failed => (Tone::Bad, "failed"),
                Ending::NeedsPerson => (Tone::Notice, "needs you"),
                Ending::Interrupted => (Tone::Notice, "interrupted"),
                Ending::Aborted => (Tone::Notice, "aborted"),
            };
            (tone, verb, reason.clone())
        }
    };
    Some(Phrase { tone, subject, verb, detail })
}

/// Puts a fault into one line.
#[must_use]
pub fn fault_line(fault: &Fault) -> String {
    let host = fault.place.host.as_ref().map(|host| format!("on {host}")).unwrap_or_default();
    let seen = fault.seen.as_deref().map(first_line).unwrap_or_default();
    // What was seen often begins with what went wrong.
    let seen = match seen.split_once(": ") {
        Some((again, rest)) if fault.what.ends_with(again) => rest,
        Some(_) | None => seen,
    };
    let what = join(&[&fault.what, &host], " ");
    join(&[&what, seen], ": ")
}

/// Says how a command was cut off that left no status, as the beginning of a line; empty for any other state.
#[must_use]
pub fn cut_off(state: &CapsuleState) -> &'static str {
    match state {
        CapsuleState::Dead { rebooted: true } => "the host rebooted while its command was running; ",
        CapsuleState::Dead { rebooted: false } => {
            "its command is gone and left no exit status (killed, or the disk was full); "
        }
        CapsuleState::Absent | CapsuleState::NotStarted | CapsuleState::Running | CapsuleState::Exited { .. } => "",
    }
}

/// Puts a finding into one line.
#[must_use]
pub fn finding_line(finding: &Finding) -> String {
    let host = finding.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let seen = match &finding.outcome {
        Ok(observation) if finding.holds => observation.seen.clone(),
        Ok(observation) => format!("expected {}, seen {}", observation.expected, observation.seen),
        Err(fault) => fault_line(fault),
    };
    let message = finding.message.as_deref().filter(|_| !finding.holds).unwrap_or_default();
    join(&[&format!("{}{host}", finding.check), message, &seen], ": ")
}

fn failing(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().filter(|finding| !finding.holds).map(finding_line).collect();
    lines.join("; ")
}

/// Puts a duration into words of at most two units, for example `1m 12s` or `0.4s`.
#[must_use]
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Returns the first line of a text.
#[must_use]
pub fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default()
}

fn join(parts: &[&str], with: &str) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_many() {
        assert_eq!((count(0, "check"), count(1, "check")), ("0 checks".to_owned(), "1 check".to_owned()));
        assert_eq!(do_not_hold(1, 2), "1 of 2 checks does not hold");
        assert_eq!(do_not_hold(2, 2), "2 of 2 checks do not hold");
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(span(Duration::from_millis(420)), "0.4s");
        assert_eq!(span(Duration::from_secs(72)), "1m 12s");
        assert_eq!(span(Duration::from_secs(3725)), "1h 02m");
    }
}
