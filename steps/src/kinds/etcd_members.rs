//! What the checks of etcd share: which members they ask, all at once, and how they sum up the answers.

use std::future::Future;

use futures_util::future::join_all;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::action::Observation;
use crate::args::{Arg, Type};
use crate::fault::{Fault, FaultKind};
use crate::name::HostName;
use crate::site::{Host, Site};
use crate::transport::etcd::EtcdReader;
use crate::world::Reader;

/// The argument `members`, which every check at the API of etcd takes.
pub(super) const MEMBERS: Arg = Arg::optional(
    "members",
    Type::OneOf(&[Type::Word(&["all"]), Type::Hosts]),
    "The members to ask: `all` (the default), which is every member of the site that is not lost, or hosts, or member names.",
);

/// A choice of members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Members {
    /// Every member of the site that is not lost.
    #[default]
    All,
    /// These, by the name of their host or their own.
    Named(Vec<String>),
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let one = |value: &Value| match value {
            Value::String(name) => Some(name.clone()),
            Value::Object(host) => host.get("name").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let named = match Value::deserialize(from)? {
            Value::String(word) if word == "all" => return Ok(Self::All),
            Value::Array(items) => items.iter().map(one).collect(),
            single => one(&single).map(|name| vec![name]),
        };
        named.map(Self::Named).ok_or_else(|| D::Error::custom("give `all`, hosts of the site, or names of members"))
    }
}

impl Members {
    /// Finds the hosts of the chosen members. A host that is named although it is lost counts.
    pub(super) fn hosts<'w>(&self, site: &'w Site) -> Result<Vec<&'w Host>, Fault> {
        let hosts: Vec<&Host> = match self {
            Self::All => site.members().collect(),
            Self::Named(names) => names.iter().map(|name| find(site, name)).collect::<Result<_, _>>()?,
        };
        if hosts.is_empty() {
            return Err(Fault::refused("there is no etcd member to ask")
                .expected("at least one host with `etcd` in the site that is not lost"));
        }
        Ok(hosts)
    }
}

/// Finds the host of a member by the name of the host or of the member.
pub(super) fn find<'w>(site: &'w Site, name: &str) -> Result<&'w Host, Fault> {
    let by_host = HostName::new(name).ok().and_then(|name| site.hosts.get(&name));
    let by_member = || site.hosts.values().find(|host| host.etcd.as_ref().is_some_and(|member| member.name == name));
    by_host.or_else(by_member).filter(|host| host.etcd.is_some()).ok_or_else(|| {
        let known: Vec<&str> = site.members().map(|host| host.name.as_str()).collect();
        Fault::refused(format!("the site has no etcd member `{name}`")).expected(format!("one of {}", known.join(", ")))
    })
}

/// What the chosen members answered, in the order of the choice.
pub(super) struct Answers<T>(pub(super) Vec<(String, Result<T, Fault>)>);

/// Asks members, all at once.
pub(super) async fn ask<'w, T, F>(
    reader: &Reader<'w>,
    hosts: &[&'w Host],
    question: impl Fn(EtcdReader<'w>) -> F,
) -> Answers<T>
where
    F: Future<Output = Result<T, Fault>>,
{
    let question = &question;
    let asked = hosts.iter().map(|host| async move {
        let answer = match reader.etcd(&host.name).await {
            Ok(etcd) => question(etcd).await,
            Err(fault) => Err(fault),
        };
        (host.name.to_string(), answer)
    });
    Answers(join_all(asked).await)
}

impl<T> Answers<T> {
    /// Returns the answers that came, with the member's host.
    pub(super) fn came(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().filter_map(|(name, answer)| Some((name.as_str(), answer.as_ref().ok()?)))
    }

    /// Fails if no member could be reached: then nothing was seen, which is not the same as seeing the contrary.
    pub(super) fn any(self) -> Result<Self, Fault> {
        match self.0.first() {
            Some((_, Err(fault))) if self.came().next().is_none() => Err(fault.clone()),
            _ => Ok(self),
        }
    }

    /// Sums up: it holds if every member answered and `judge` finds nothing wrong with any answer. `judge` returns whether
    /// the answer is right, and what to show of it.
    pub(super) fn sum_up(&self, expected: impl Into<String>, judge: impl Fn(&T) -> (bool, String)) -> Observation {
        let lines = self.0.iter().map(|(name, answer)| match answer {
            Ok(answer) => {
                let (right, text) = judge(answer);
                (right, format!("{name} {text}"))
            }
            Err(fault) => (false, format!("{name} {}", told(fault))),
        });
        let (right, wrong): (Vec<_>, Vec<_>) = lines.partition(|(right, _)| *right);
        let texts =
            |lines: &[(bool, String)]| lines.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
        let seen = match (right.len(), wrong.is_empty()) {
            (_, true) => texts(&right),
            (0, false) => texts(&wrong),
            (others, false) => format!("{} (as expected: {others} of {})", texts(&wrong), self.0.len()),
        };
        Observation::new(wrong.is_empty(), expected, seen)
    }
}

/// Says of a member that it gave no answer.
fn told(fault: &Fault) -> String {
    let verb = if fault.kind == FaultKind::Unreachable { "cannot be reached" } else { "gave no answer" };
    format!("{verb}: {}", fault.what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_all_or_named_by_text_or_host() {
        let read = |value: Value| serde_json::from_value::<Members>(value);
        assert_eq!(read(json!("all")).unwrap(), Members::All);
        let named = Members::Named(vec!["cp1".to_owned()]);
        assert_eq!(read(json!("cp1")).unwrap(), named);
        assert_eq!(read(json!([{ "name": "cp1", "address": "10.0.0.1" }])).unwrap(), named);
        assert!(read(json!([1])).is_err());
    }

    #[test]
    fn the_sum_shows_what_is_wrong_first() {
        let answers = Answers(vec![
            ("cp1".to_owned(), Ok(1)),
            ("cp2".to_owned(), Err(Fault::unreachable("etcd at https://cp2:2379 refused the connection"))),
        ]);
        let sum = answers.sum_up("every member answers 1", |n| (*n == 1, format!("answers {n}")));
        assert!(!sum.holds);
        assert_eq!(
            sum.seen,
            "cp2 cannot be reached: etcd at https://cp2:2379 refused the connection (as expected: 1 of 2)"
        );
    }
}
