//! `etcd.move_leader`: another voter leads, before the leader is stopped.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::etcd_membership::{Membership, Wanted, hex, show};
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, Rule, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::transport::etcd::Listed;
use crate::world::{Reader, Writer};

/// `etcd.move_leader`
pub static MOVE_LEADER: Kind = Kind {
    name: "etcd.move_leader",
    summary: "Hands the leadership to another voter, so that a member can be stopped without an election.",
    details: "With `from` it does nothing unless that member leads; another voter that works takes over. With `to` that member \
              leads in the end. A later election may bring the leadership back: a resume looks again.",
    seat: Seat::Cluster,
    args: &[
        Arg::optional("from", Type::Str, "The member that must not lead: its name, or its host."),
        Arg::optional("to", Type::Str, "The member that is to lead; default: any other voter that works."),
    ],
    rules: &[Rule::AtLeastOne(&["from", "to"])],
    effect: Effect::Probed,
    lasting: true,
    danger: Danger::Disruptive,
    result: &[
        Field {
            name: "from",
            help: "The id of the member that led before, in hexadecimal; null if it need not be moved.",
        },
        Field { name: "leader", help: "The id of the leader, in hexadecimal." },
    ],
    probe: "Those that serve follow a leader that is not `from`, and is `to`.",
    undo: "nothing: any voter may lead",
    source: "etcd documentation, `etcdctl move-leader`",
    example: "{ from: cp1 }",
    make: Make::Action(|args| Ok(Box::new(args::read::<MoveLeader>(args)?))),
    ..Kind::BLANK
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveLeader {
    from: Option<String>,
    to: Option<String>,
}

impl MoveLeader {
    /// Says whether the right member leads.
    fn judge(&self, seen: &Membership<'_>) -> Result<Probe, Fault> {
        let Some(leader) = seen.leader() else {
            return Ok(Probe::Unknown { evidence: format!("no leader is known: {}", seen.evidence()) });
        };
        let is = |name: &String| Ok(seen.find(&Wanted::Named(name.clone()))?.is_some_and(|member| member.id == leader));
        let from = self.from.as_ref().map(is).transpose()?.unwrap_or(false);
        let to = self.to.as_ref().map(is).transpose()?.unwrap_or(true);
        let evidence = match seen.listed().iter().find(|member| member.id == leader) {
            Some(member) => format!("{} leads", show(member)),
            None => format!("{leader:x} leads"),
        };
        Ok(if !from && to {
            Probe::Yes { result: json!({ "from": null, "leader": hex(leader) }), evidence }
        } else {
            Probe::No { evidence }
        })
    }

    /// Chooses who is to lead.
    fn heir<'s>(&self, seen: &'s Membership<'_>, leader: u64) -> Result<&'s Listed, Fault> {
        let fit = |member: &&Listed| !member.is_learner && seen.serves(member.id) && member.id != leader;
        let found = match &self.to {
            Some(name) => seen.find(&Wanted::Named(name.clone()))?.filter(fit),
            None => seen.listed().iter().find(fit),
        };
        found.ok_or_else(|| {
            let whom =
                self.to.as_ref().map_or("there is no other member".to_owned(), |name| format!("`{name}` is none"));
            Fault::refused(format!("{whom} that could lead"))
                .expected("a voter, started, that serves")
                .seen(seen.evidence())
                .hint("bring another member back before this one is stopped")
        })
    }
}

#[async_trait]
impl Action for MoveLeader {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        let to = self.to.as_ref().map_or("another voter".to_owned(), |name| format!("`{name}`"));
        Preview::of(format!("etcdctl move-leader <id of {to}>"))
    }

    async fn probe(&self, reader: &Reader<'_>, _before: &Value) -> Result<Probe, Fault> {
        self.judge(&Membership::agreed(reader).await?)
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let seen = Membership::agreed(&writer.reader()).await?;
        if let Probe::Yes { result, .. } = self.judge(&seen)? {
            return Ok(result);
        }
        let silent = || Fault::refused("the leader does not answer, and only it can be asked").seen(seen.evidence());
        let leader = seen.leader().ok_or_else(silent)?;
        let heir = self.heir(&seen, leader)?;
        let host = seen.host_of(leader).ok_or_else(silent)?;
        writer.etcd(host).await?.move_leader(heir.id).await?;
        Ok(json!({ "from": hex(leader), "leader": hex(heir.id) }))
    }

    fn ended_by(&self, _result: &Value, kind: &str, _args: &Value) -> bool {
        kind == MOVE_LEADER.name
    }

    fn undo(&self, _: &Value, _: Option<&Value>) -> Undo {
        Undo::Nothing("any voter may lead")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::etcd_membership::tests::{listed, membership, site};
    use super::*;

    #[test]
    fn the_leader_is_moved_only_if_it_is_the_wrong_one_and_to_a_voter_that_works() {
        let site = site(&["cp1", "cp2", "cp3", "cp4"]);
        let list = [listed(1, "a", false), listed(2, "b", false), listed(3, "c", false), listed(4, "d", true)];
        // The first of those that serve leads.
        let seen = membership(&site, &list, &[1, 3]);
        let moved = |from: Option<&str>, to: Option<&str>| {
            let moved = MoveLeader { from: from.map(str::to_owned), to: to.map(str::to_owned) };
            let is_there = matches!(moved.judge(&seen).unwrap(), Probe::Yes { .. });
            (is_there, moved.heir(&seen, 1).ok().map(|heir| heir.id))
        };
        assert_eq!(moved(Some("a"), None), (false, Some(3)), "b does not serve");
        assert!(moved(Some("c"), None).0);
        assert!(moved(None, Some("a")).0);
        assert_eq!(moved(None, Some("c")), (false, Some(3)));
        assert_eq!(moved(None, Some("b")), (false, None));
        assert_eq!(moved(None, Some("d")), (false, None), "a learner cannot lead");
    }
}
