//! What a person or a program reads of a triage.

use std::fmt::Write as _;

use requorum_steps::HostName;
use serde_json::{Value, json};

use super::phrase::{self, quote};
use crate::triage::{
    Asked, Command, Data, EtcdLook, Facts, Finding, HostLook, HostSeen, Level, Look, MemberState, Observation, Quorum,
    Running, Verdict, state_of,
};

/// How wide advice is written.
const WIDTH: usize = 100;

/// A triage, and the words with which its commands are written.
pub struct Report<'a> {
    /// What was seen.
    pub seen: &'a Observation,
    /// What is known by it.
    pub facts: &'a Facts,
    /// What it comes to.
    pub verdict: &'a Verdict,
    /// The program with its global options, quoted.
    pub program: &'a str,
    /// The site file.
    pub site: &'a str,
}

impl Report<'_> {
    /// Renders it for a program.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .verdict
            .findings
            .iter()
            .map(|finding| {
                let mut value = json!(finding);
                if let Some(run) = &finding.run {
                    value["run"]["command"] = self.command(run).into();
                }
                value
            })
            .collect();
        json!({
            "cluster": self.seen.cluster, "decision": self.verdict.decision, "findings": findings, "facts": self.facts,
            "observation": self.seen,
        })
    }

    /// Renders it for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} ({}): {}\n\n", self.seen.cluster, self.seen.platform, self.head());
        let wide = self.seen.hosts.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
        for (name, host) in &self.seen.hosts {
            let _ = writeln!(text, "{name:<wide$}  {}", member(host));
            for line in self.evidence(name, host) {
                let _ = writeln!(text, "{:wide$}    {line}", "");
            }
        }
        let now = self.verdict.now();
        let Some(now) = now else {
            text.push_str("\nNothing is needed.\n");
            self.others(&mut text, None);
            return text;
        };
        let _ = writeln!(text, "\nWHAT IS WRONG\n{}", wrapped(&now.finding, "  "));
        let _ = writeln!(text, "\nWHAT TO DO\n{}", wrapped(&now.advice, "  "));
        if let Some(run) = &now.run {
            self.run(&mut text, run);
        }
        self.others(&mut text, Some(now));
        text
    }

    fn head(&self) -> String {
        let Facts { healthy, voters, needed, .. } = self.facts;
        let verdict = match self.facts.quorum {
            Quorum::Holds => "the quorum holds",
            Quorum::Lost => "the quorum is lost",
            Quorum::Unseen => "no quorum was seen",
        };
        format!("{verdict}; {healthy} of {} work together, {needed} are needed", phrase::count(*voters, "voter"))
    }

    /// The command with which the plan is run. What the operator has to fill in is in capital letters.
    fn command(&self, run: &Command) -> String {
        let mut text = format!("{} run {} -i {}", self.program, run.plan, quote(self.site));
        for (name, value) in &run.set {
            let _ = write!(text, " --set {}", quote(&format!("{name}={value}")));
        }
        for name in &run.missing {
            let _ = write!(text, " --set {name}={}", name.to_uppercase());
        }
        if run.revert {
            text.push_str(" --revert");
        }
        text
    }

    fn run(&self, text: &mut String, run: &Command) {
        if let Some(only_if) = &run.only_if {
            let _ = writeln!(text, "\n  If {only_if}:");
        }
        let _ = writeln!(text, "\n    {}", self.command(run));
        for name in &run.missing {
            let _ = writeln!(text, "\n  Put the {name} in place of {}.", name.to_uppercase());
        }
    }

    fn others(&self, text: &mut String, now: Option<&Finding>) {
        let others = || self.verdict.findings.iter().filter(|finding| Some(*finding) != now);
        for (level, title) in [(Level::Wrong, "ALSO"), (Level::Notice, "TO BE KNOWN")] {
            let mut of_level = others().filter(|finding| finding.level == level).peekable();
            if of_level.peek().is_some() {
                let _ = writeln!(text, "\n{title}");
            }
            for finding in of_level {
                let _ = writeln!(text, "{}", wrapped(&finding.finding, "  "));
                let _ = writeln!(text, "{}", wrapped(&finding.advice, "      "));
                if let Some(run) = &finding.run {
                    self.run(text, run);
                }
            }
        }
    }

    /// What of a host is worth a line.
    fn evidence(&self, name: &HostName, host: &HostSeen) -> Vec<String> {
        let mut lines = Vec::new();
        match &host.ssh {
            Look::Seen(look) => of_host(&mut lines, look, host),
            Look::Silent(silence) => lines.push(format!("ssh: {}", silence.why)),
        }
        match (&host.etcd, &self.seen.asked) {
            (Some(Look::Seen(etcd)), _) => of_member(&mut lines, etcd),
            (Some(Look::Silent(silence)), _) => lines.push(silence.why.clone()),
            (None, Asked::Not { .. }) if host.member.is_some() => lines.push("etcd: was not asked".to_owned()),
            (None, _) => {}
        }
        let of_here = |place: &&String| place.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(':'));
        for (places, what) in [(&self.facts.expired, "is not valid now"), (&self.facts.expiring, "ends within 30 days")]
        {
            lines.extend(places.iter().filter(of_here).map(|place| format!("certificate: {place} {what}")));
        }
        lines
    }
}

/// What a member comes to, in a few words.
fn member(host: &HostSeen) -> &'static str {
    match state_of(host) {
        None => "no member",
        Some(MemberState::Healthy) => "healthy",
        Some(MemberState::Slow) => "slow",
        Some(MemberState::Learner) => "a learner",
        Some(MemberState::Leaderless) => "answers, without a leader",
        Some(MemberState::Refusing) => "refused us",
        Some(MemberState::Unasked) => "was not asked",
        Some(MemberState::Stopped) => "does not run, its data is there",
        Some(MemberState::Looping) => "does not stay up",
        Some(MemberState::Broken) => "does not stay up, its data is damaged",
        Some(MemberState::Wiped) => "has no data",
        Some(MemberState::Silent) => "does not answer",
        Some(MemberState::Off) => "cannot be reached",
        Some(MemberState::Lost) => "lost, as the site says",
    }
}

fn of_host(lines: &mut Vec<String>, look: &HostLook, host: &HostSeen) {
    for (name, service) in &look.services {
        let fine = match service.state {
            Running::Running => service.restarts < 3,
            Running::Unknown => host.etcd.as_ref().is_some_and(|etcd| etcd.seen().is_some()) || name != "etcd",
            Running::Changing | Running::Looping | Running::Failed | Running::Down | Running::Absent => false,
        };
        if !fine {
            let restarts =
                if service.restarts > 0 { format!(", {} restarts", service.restarts) } else { String::new() };
            lines.push(format!("service {name}: {}{restarts}", service.detail));
        }
        if service.state != Running::Running {
            lines.extend(service.log.iter().map(|line| format!("log of {name}: {line}")));
        }
    }
    match look.data {
        Some(Data::Empty) => lines.push("data directory: no data in it".to_owned()),
        Some(Data::Absent) => lines.push("data directory: not there".to_owned()),
        Some(Data::Unknown) => lines.push("data directory: could not be looked into".to_owned()),
        Some(Data::There) | None => {}
    }
    if let Some(disk) = look.disk.filter(|disk| disk.free_kib < disk.size_kib / 20) {
        lines.push(format!("disk: {} of {} MiB free", disk.free_kib / 1024, disk.size_kib / 1024));
    }
    if look.clock_ahead_ms.abs() > 1000 {
        let way = if look.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
        lines.push(format!("clock: {} s {way} this machine's", look.clock_ahead_ms.abs() / 1000));
    }
    if let Some(state) = look.kubelet.as_ref().filter(|state| *state != "active") {
        lines.push(format!("kubelet: {state}"));
    }
    if let Some(answer) = look.api.as_ref().filter(|answer| *answer != "ok") {
        lines.push(format!("api: {answer}"));
    }
    if let Some(up) = look.up_s.filter(|up| *up < 600) {
        lines.push(format!("up since {up} s only"));
    }
}

fn of_member(lines: &mut Vec<String>, etcd: &EtcdLook) {
    let status = &etcd.status;
    let mib = |bytes: i64| bytes / (1 << 20);
    let role = match (status.is_learner, status.leader) {
        (true, _) => "learner",
        (false, 0) => "no leader",
        (false, leader) if leader == status.member_id => "leader",
        (false, _) => "follower",
    };
    lines.push(format!(
        "etcd {}: {role}, term {}, applied {}, revision {}, {} MiB ({} in use)",
        status.version,
        status.raft_term,
        status.raft_applied,
        status.revision,
        mib(status.db_size),
        mib(status.db_size_in_use),
    ));
    lines.extend(status.errors.iter().map(|error| format!("etcd says: {}", error.trim())));
    for (what, silence) in [("member list", etcd.listed.silence()), ("agreed read", etcd.serves.silence())] {
        lines.extend(silence.filter(|_| !status.is_learner).map(|silence| format!("{what}: {}", silence.why)));
    }
}

/// Breaks a text into lines, each behind an indent.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("{indent}{word}")),
        }
    }
    lines.join("\n")
}
