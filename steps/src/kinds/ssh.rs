//! `ssh.run`, `ssh.check`, `ssh.reachable`: commands on hosts, and whether a host can be reached at all.

use async_trait::async_trait;

use super::command::{Expectation, HOST_CHECK_ARGS, Invocation, RUN_ARGS, RUN_RESULT, RUN_RULES};
use crate::action::{Check, Observation};
use crate::args::{Arg, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::{Fault, FaultKind};
use crate::world::Reader;

pub(super) const HOSTS: Arg =
    Arg::optional("hosts", Type::Hosts, "The hosts to look at, each by itself. Default: the host of the step.");

/// `ssh.run`
pub const RUN: Kind = Kind {
    name: "ssh.run",
    summary: "Runs a command on a host.",
    details: "It runs apart from the connection, which it survives; requorum finds it again. Give a `probe` if one can tell \
              whether it happened; else an unknown outcome asks a person. `$REQUORUM_ATTEMPT` names a directory of the \
              attempt's own, for what a probe may look at later.",
    seat: Seat::Host,
    args: RUN_ARGS,
    rules: RUN_RULES,
    effect: Effect::Once,
    danger: Danger::Disruptive,
    result: RUN_RESULT,
    example: "{ run: systemctl reset-failed etcd.service, exit_codes: [0, 1] }",
    make: Make::Action(|args| Ok(Box::new(Invocation::from_args(args)?))),
    ..Kind::BLANK
};

/// `ssh.check`
pub const CHECK: Kind = Kind {
    name: "ssh.check",
    summary: "Looks with a command on hosts.",
    details: "The command must only look: it is repeated as often as is needed, in previews too.",
    seat: Seat::Host,
    args: HOST_CHECK_ARGS,
    example: r#"{ run: cat /proc/sys/vm/overcommit_memory, stdout: { equals: "0" } }"#,
    make: Make::Check(|args| Ok(Box::new(Expectation::from_args(args)?))),
    ..Kind::BLANK
};

/// `ssh.reachable`
pub const REACHABLE: Kind = Kind {
    name: "ssh.reachable",
    summary: "Sees whether hosts can be reached by SSH and have what capsules need.",
    details: "It logs in, becomes root where the site says so, and looks for a shell with `flock`, `setsid` and `sync FILE` and \
              for a capsule root that can be written.",
    seat: Seat::Host,
    args: &[HOSTS],
    example: r#"{ hosts: "{{ site.hosts | role('etcd') }}" }"#,
    make: Make::Check(|_| Ok(Box::new(Reachable))),
    ..Kind::BLANK
};

struct Reachable;

#[async_trait]
impl Check for Reachable {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let expected = "an SSH login with what capsules need";
        let name = &reader.host()?.name;
        match reader.world.greet(name).await {
            Ok(facts) => Ok(Observation::new(true, expected, format!("{name} answers {}", facts.user))),
            Err(fault) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Refused) => {
                let seen =
                    fault.seen.iter().fold(format!("{name}: {}", fault.what), |all, seen| format!("{all}: {seen}"));
                Ok(Observation::new(false, expected, seen))
            }
            Err(fault) => Err(fault),
        }
    }
}
