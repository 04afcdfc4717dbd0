//! What the kinds that use etcd's own tools on a host share: their script prelude and how their answers are read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shell;
use crate::fault::{Fault, FaultKind};
use crate::site::{Host, Member, Service, Site};
use crate::world::{Output, Reader, Script};

/// The beginning of every script: verdicts, fields, and what a restore and a rehearsal have in common.
const PRELUDE: &str = include_str!("sh/etcd_prelude.sh");
/// The choice of etcd's programs.
const FIND: &str = concat!(include_str!("sh/crictl.sh"), "\n", include_str!("sh/etcd_tools.sh"));
/// Where containerd and CRI-O keep images.
const STORES: [&str; 2] = ["/var/lib/containerd", "/var/lib/containers/storage"];

/// What the kinds that use etcd's programs need, for the reference.
pub(super) const PROGRAMS: &str = "etcdutl or etcdctl, and for a rehearsal etcd and etcdctl: in `etcd.bin_dir`; of a static pod in \
    its image, as containerd (overlayfs) or CRI-O unpacked it; or in PATH";

/// Puts the prelude before a script.
pub(super) fn with_prelude(body: &str) -> String {
    format!("{PRELUDE}\n{body}")
}

/// Makes a script that uses etcd's programs on the reader's host.
pub(super) fn with_programs<A: Into<String>>(
    reader: &Reader<'_>,
    body: &str,
    args: impl IntoIterator<Item = A>,
) -> Result<Script, Fault> {
    let (host, member) = member(reader)?;
    Ok(programs_of(reader.site(), host, member, STORES).script(body, args))
}

/// Where etcd's programs may be on a host: what the script that looks for them takes off its arguments.
pub(super) struct Programs([String; 7]);

/// Says where the programs of a member may be; `stores` are the places of containerd and of CRI-O.
pub(super) fn programs_of(site: &Site, host: &Host, member: &Member, stores: [&str; 2]) -> Programs {
    let (manifest, aside, container) = match site.service(host, &member.service) {
        Service::StaticPod { manifest, container } => {
            let aside = shell::aside_stem(site, &manifest);
            (manifest, aside, container)
        }
        Service::Systemd { .. } | Service::Command { .. } => Default::default(),
    };
    let bin_dir = member.bin_dir.clone().unwrap_or_default();
    let version = site.etcd.version.clone().unwrap_or_default();
    let [containerd, crio] = stores.map(str::to_owned);
    Programs([bin_dir, manifest, aside, container, version, containerd, crio])
}

impl Programs {
    /// Makes a script that calls `find_program` and its like.
    pub(super) fn script<A: Into<String>>(self, body: &str, args: impl IntoIterator<Item = A>) -> Script {
        let args = self.0.into_iter().chain(args.into_iter().map(Into::into));
        Script::new(with_prelude(&format!("{FIND}\n{body}")), args)
    }
}

/// Returns the host that a reader looks at, and its member.
pub(super) fn member<'w>(reader: &Reader<'w>) -> Result<(&'w Host, &'w Member), Fault> {
    let host = reader.host()?;
    let member = host.etcd.as_ref().ok_or_else(|| {
        Fault::refused("the site names no etcd member on this host")
            .hint(format!("add `etcd` to `hosts.{}` in the site, or leave the host out of `on`", host.name))
            .on(&host.name)
    })?;
    Ok((host, member))
}

/// The fields that a script printed, `key=value` on each line.
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads the answer of a script: its fields, or the fault that its verdict on standard error describes.
    pub(super) fn of(output: &Output, host: &Host, what: &str) -> Result<Self, Fault> {
        if output.status == 0 {
            let text = output.text();
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            return Ok(Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()));
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let verdict = errors.lines().rev().find_map(|line| line.strip_prefix("requorum:")).and_then(verdict);
        let mut fault = verdict.unwrap_or_else(|| Fault::failed(format!("{what} ended with status {}", output.status)));
        if fault.kind == FaultKind::Failed && fault.seen.is_none() {
            // What the tool itself said stands before the verdict.
            let lines: Vec<&str> = errors.lines().filter(|line| !line.starts_with("requorum:")).collect();
            fault = fault.seen(lines[lines.len().saturating_sub(15)..].join("\n"));
        }
        Err(fault.on(&host.name).during(what))
    }

    /// Returns a field as text; empty where it is missing.
    pub(super) fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// Returns a field as a number where it is one, else as text.
    pub(super) fn value(&self, key: &str) -> Value {
        let text = self.text(key);
        text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
    }

    /// Returns fields as an object.
    pub(super) fn object(&self, keys: &[&str]) -> Value {
        Value::Object(keys.iter().map(|key| ((*key).to_owned(), self.value(key))).collect())
    }
}

/// Reads `WORD⇥what⇥expected⇥seen⇥hint`.
fn verdict(line: &str) -> Option<Fault> {
    let mut parts = line.split('\t');
    let kind = match parts.next()? {
        "refused" => FaultKind::Refused,
        "failed" => FaultKind::Failed,
        _ => return None,
    };
    let mut fault = Fault::new(kind, parts.next()?);
    let mut next = || parts.next().filter(|text| !text.is_empty()).map(str::to_owned);
    (fault.expected, fault.seen, fault.hint) = (next(), next(), next());
    Some(fault)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_verdict_becomes_a_fault() {
        let fault = verdict("refused\tit is not empty\tnothing\tmember\tset it aside").unwrap();
        assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Refused, "it is not empty"));
        assert_eq!(fault.hint.as_deref(), Some("set it aside"));
        assert!(verdict("noise").is_none());
    }
}
