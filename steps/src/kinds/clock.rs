//! `clock.in_step`: the clocks of hosts and of this machine show the same time.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;

use crate::action::{Check, Observation};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::clock::{self, Ahead};
use crate::fault::Fault;
use crate::name::HostName;
use crate::units;
use crate::world::Reader;

/// `clock.in_step`
pub const IN_STEP: Kind = Kind {
    name: "clock.in_step",
    summary: "The clocks of hosts, and this machine's, are not further apart than a bound.",
    details: "Each clock is read over SSH, and the difference is known to half of the round trip, which is said with it. What the \
              round trip may explain is no finding. That a host cannot be asked is a fault, unless the others are apart already.",
    seat: Seat::Here,
    args: &[
        Arg::required("within", Type::Duration, "How far apart they may be."),
        Arg::optional("hosts", Type::Hosts, "The hosts whose clocks count; default: all that are not lost."),
    ],
    needs: "date",
    source: "etcd documentation, Frequently Asked Questions and Transport security model; Kubernetes documentation, PKI \
             certificates and requirements, and Leases: certificates and leases are judged by each host's own clock",
    example: r#"{ within: 5s, hosts: "{{ site.hosts | role('etcd') }}" }"#,
    make: Make::Check(|args| Ok(Box::new(InStep::from_args(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InStep {
    #[serde(with = "units::serde_duration")]
    within: Duration,
    hosts: Option<Value>,
}

impl InStep {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        args::read(args)
    }

    fn hosts(&self, reader: &Reader<'_>) -> Result<Vec<HostName>, Fault> {
        let there = || reader.site().hosts.values().filter(|host| !host.lost).map(|host| host.name.clone());
        let hosts = match &self.hosts {
            Some(named) => args::host_names(named)
                .map_err(|error| Fault::refused("`hosts` names no hosts of the site").seen(error.to_string()))?,
            None => there().collect(),
        };
        if hosts.is_empty() {
            return Err(Fault::refused("there is no clock to look at: `hosts` is empty"));
        }
        Ok(hosts)
    }

    fn judge(&self, clocks: &[(&HostName, Ahead)]) -> Observation {
        let apart_ms = clock::apart_ms(clocks.iter().map(|(_, ahead)| ahead.surely_ms()));
        let holds = u128::from(apart_ms.unsigned_abs()) <= self.within.as_millis();
        let mut seen: Vec<String> = clocks.iter().map(|(host, ahead)| line(host, *ahead)).collect();
        if !holds {
            seen.insert(0, format!("at least {} apart", seconds(apart_ms)));
        }
        let within = humantime::format_duration(self.within);
        Observation::new(holds, format!("clocks, this machine's too, at most {within} apart"), seen.join("; "))
    }
}

fn line(host: &HostName, ahead: Ahead) -> String {
    let uncertain = format!("± {}", seconds(ahead.uncertain_ms()));
    let way = match ahead.surely_ms() {
        0 => return format!("{host} shows no difference to this machine ({uncertain})"),
        1.. => "ahead of",
        _ => "behind",
    };
    format!("{host} is {} {way} this machine ({uncertain})", seconds(ahead.middle_ms()))
}

fn seconds(ms: i64) -> String {
    let ms = ms.unsigned_abs();
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

#[async_trait]
impl Check for InStep {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let hosts = self.hosts(reader)?;
        let looks = hosts.iter().map(|host| async move { clock::look(&reader.at(host)?).await });
        let (mut clocks, mut silent) = (Vec::new(), None);
        for (host, look) in hosts.iter().zip(join_all(looks).await) {
            match look {
                Ok(ahead) => clocks.push((host, ahead)),
                Err(fault) => silent = silent.or(Some(fault)),
            }
        }
        let seen = self.judge(&clocks);
        match silent {
            // A clock that was not seen may be in step or not; what is apart without it is apart with it.
            Some(fault) if seen.holds => Err(fault),
            Some(_) | None => Ok(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn judge(within: &str, clocks: &[(&str, i64, i64)]) -> Observation {
        let names: Vec<HostName> = clocks.iter().map(|(host, ..)| HostName::new(*host).unwrap()).collect();
        let clocks = clocks.iter().map(|(_, least, most)| Ahead::of(*least, *most));
        let clocks: Vec<_> = names.iter().zip(clocks).collect();
        InStep::from_args(json!({ "within": within })).unwrap().judge(&clocks)
    }

    #[test]
    fn clocks_within_the_bound_are_in_step_and_the_uncertainty_is_said() {
        let seen = judge("5s", &[("cp1", -10, 10), ("cp2", 1990, 2010)]);
        assert!(seen.holds);
        assert_eq!(
            seen.seen,
            "cp1 shows no difference to this machine (± 0.010 s); cp2 is 2.000 s ahead of this machine (± 0.010 s)"
        );
        assert_eq!(seen.expected, "clocks, this machine's too, at most 5s apart");
    }

    #[test]
    fn two_hosts_that_are_off_in_opposite_ways_are_apart_by_both() {
        let clocks = [("cp1", 3000, 3100), ("cp2", -3100, -3000)];
        assert!(judge("6s", &clocks).holds);
        let seen = judge("5s", &clocks);
        assert!(!seen.holds);
        assert!(seen.seen.starts_with("at least 6.000 s apart; cp1 is 3.050 s ahead of this machine (± 0.050 s)"));
        assert!(seen.seen.ends_with("cp2 is 3.050 s behind this machine (± 0.050 s)"), "{}", seen.seen);
    }

    #[test]
    fn what_the_round_trip_may_explain_is_no_finding() {
        assert!(judge("1s", &[("cp1", -9000, 10_000)]).holds);
        assert!(judge("1s", &[("cp1", 900, 10_000)]).holds, "it may be 0.9 s");
        assert!(!judge("1s", &[("cp1", 1001, 10_000)]).holds);
    }
}
