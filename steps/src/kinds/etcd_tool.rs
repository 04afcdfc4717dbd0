//! What the kinds that use etcd's own tools on a host share: their script prelude and how their answers are read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Fault, FaultKind};
use crate::site::{Host, Member};
use crate::world::{Output, Reader};

/// The beginning of every script: verdicts, fields, and the choice of the tool.
const PRELUDE: &str = include_str!("sh/etcd_prelude.sh");

/// Puts the prelude before a script.
pub(super) fn with_prelude(body: &str) -> String {
    format!("{PRELUDE}\n{body}")
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
        let fault = verdict.unwrap_or_else(|| {
            Fault::failed(format!("{what} ended with status {}", output.status)).seen(output.tail(15))
        });
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
