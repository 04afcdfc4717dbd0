//! How the kinds that run a POSIX shell script on a host put it together and read its answer.
//!
//! A script answers in lines `key=value` on standard output. One that refuses or fails ends with a status of its own and a
//! line `requorum:WORD<TAB>what<TAB>expected<TAB>seen<TAB>hint` on standard error, which becomes the fault. No path holds a
//! control character, so neither form is ambiguous.

use std::time::Duration;

use crate::args::BadArgs;
use crate::fault::Fault;
use crate::name::AttemptId;
use crate::site::{Service, Site};
use crate::world::{Output, Reader, Script, Writer};

const PRELUDE: &str = include_str!("sh/prelude.sh");
/// The manifest directory of kubeadm and of `OpenShift`.
const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// The bound for a look that reads a whole file: a snapshot of some GiB on a slow disk.
pub(crate) const HASH_BOUND: Duration = Duration::from_mins(15);
/// The status of a script that refused before it changed anything.
const REFUSED: i32 = 64;

/// Puts a script together from what all share and its own text.
pub(crate) fn script<A: Into<String>>(body: &str, args: impl IntoIterator<Item = A>) -> Script {
    Script::new(format!("{PRELUDE}\n{body}"), args)
}

/// What a script answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer(Vec<(String, String)>);

impl Answer {
    /// Returns the value of a key; empty where it is missing.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// Returns the value of a key, unless it is missing or empty.
    pub(crate) fn some(&self, key: &str) -> Option<String> {
        Some(self.get(key)).filter(|value| !value.is_empty()).map(ToOwned::to_owned)
    }

    /// Returns all lines in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Reads the answer of a script that has ended, or the fault that it ended with.
pub(crate) fn answer(output: &Output, doing: &str) -> Result<Answer, Fault> {
    if output.status == 0 {
        let text = String::from_utf8_lossy(&output.stdout);
        let fields = text.lines().filter_map(|line| line.split_once('='));
        return Ok(Answer(fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let verdict = text.lines().rev().find_map(|line| line.strip_prefix("requorum:"));
    let Some(verdict) = verdict else {
        return Err(Fault::failed(format!("{doing} ended with status {}", output.status)).seen(output.tail(8)));
    };
    let mut parts = verdict.split('\t').skip(1).map(str::trim).map(|part| part.trim_end_matches([';', ' ']));
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let make = if output.status == REFUSED { Fault::refused } else { Fault::failed };
    let mut fault = make(next());
    for set in [Fault::expected, Fault::seen, Fault::hint] {
        let text = next();
        if !text.is_empty() {
            fault = set(fault, text);
        }
    }
    // What the tools said before the verdict is the cause.
    let said: Vec<&str> = text.lines().filter(|line| !line.starts_with("requorum:")).collect();
    if output.status != REFUSED && !said.is_empty() {
        let said = said[said.len().saturating_sub(4)..].join("; ");
        fault.seen = Some(fault.seen.map_or(said.clone(), |seen| format!("{seen} ({said})")));
    }
    Err(fault)
}

/// Runs a script that only looks at the reader's host and reads its answer.
pub(crate) async fn look(reader: &Reader<'_>, script: &Script, within: Option<Duration>) -> Result<Answer, Fault> {
    let host = reader.host()?;
    let output = match within {
        Some(within) => reader.look_within(script, within).await?,
        None => reader.look(script).await?,
    };
    answer(&output, "the look").map_err(|fault| fault.on(&host.name))
}

/// Runs a script in the attempt's capsule on the host and reads its answer.
pub(crate) async fn run(writer: &Writer<'_>, script: Script) -> Result<Answer, Fault> {
    let reader = writer.reader();
    let host = reader.host()?;
    let output = writer.run(script).await?;
    answer(&output, "the script").map_err(|fault| fault.on(&host.name))
}

/// Checks a path of a host and returns it without doubled or final slashes.
pub(crate) fn host_path(arg: &str, path: &str) -> Result<String, BadArgs> {
    let bad = |why: &str| BadArgs::at(arg, format!("`{}` {why}", path.escape_debug()));
    if !path.starts_with('/') {
        return Err(bad("is not an absolute path"));
    }
    if path.chars().any(char::is_control) {
        return Err(bad("holds a control character"));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(bad("holds `.` or `..`; write the place itself"));
    }
    if parts.is_empty() {
        return Err(bad("is the root of the file system"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Returns what makes a name unique by run and step.
pub(crate) fn tag(attempt: &AttemptId) -> String {
    format!("{}-{}", attempt.run, attempt.step)
}

/// Returns how the names begin under which a path is set aside: beside it; but beside the directory where that is one of the
/// kubelet's manifest directories, because the kubelet loads every file there that is not hidden.
pub(crate) fn aside_stem(site: &Site, path: &str) -> String {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let manifest = |service: &Service| match service {
        Service::StaticPod { manifest, .. } => manifest.rsplit_once('/').is_some_and(|(parent, _)| parent == directory),
        Service::Systemd { .. } | Service::Command { .. } => false,
    };
    match directory.rsplit_once('/') {
        Some((above, _)) if directory == MANIFESTS || site.services.values().any(manifest) => {
            format!("{above}/{name}.requorum-")
        }
        Some(_) | None => format!("{path}.requorum-"),
    }
}

/// Returns the name under which a step of a run sets a path aside.
pub(crate) fn aside_of(site: &Site, path: &str, attempt: &AttemptId) -> String {
    format!("{}{}", aside_stem(site, path), tag(attempt))
}

/// Returns what a result says for a text that may be missing.
pub(crate) fn or_null(text: &str) -> serde_json::Value {
    if text.is_empty() { serde_json::Value::Null } else { text.into() }
}

/// Writes a mode as plans do, with four digits.
pub(crate) fn four_digits(mode: &str) -> String {
    format!("{mode:0>4}")
}
