//! `etcd.member_promote`: a learner that has caught up becomes a voter.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::etcd_membership::{ID, Membership, NAME, ONE_MEMBER, OneMember, Wanted, hex, show};
use crate::action::{Action, Preview, Probe};
use crate::args;
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::transport::etcd::Listed;
use crate::world::{Reader, Writer};

/// `etcd.member_promote`
pub static PROMOTE: Kind = Kind {
    name: "etcd.member_promote",
    summary: "Makes a learner a voter.",
    details: "etcd refuses while the learner lags behind the leader, and nothing has changed then: give the step a `retry`, such \
              as `{ attempts: 60, backoff: 1s, max_backoff: 5s }`. A voter cannot be made a learner again.",
    seat: Seat::Cluster,
    args: &[NAME, ID],
    rules: ONE_MEMBER,
    effect: Effect::Probed,
    danger: Danger::Destructive,
    result: &[Field { name: "id", help: "Its id, in hexadecimal." }, Field { name: "name", help: "Its name." }],
    probe: "The member list that a majority agrees on has it as a voter.",
    source: "etcd learner design; etcd documentation, `etcdctl member promote`",
    example: r#"{ name: "{{ inputs.member }}" }"#,
    make: Make::Action(|args| Ok(Box::new(Promote { member: args::read::<OneMember>(args)?.wanted()? }))),
    ..Kind::BLANK
};

#[derive(Debug)]
struct Promote {
    member: Wanted,
}

fn result(member: &Listed) -> Value {
    json!({ "id": hex(member.id), "name": member.name })
}

impl Promote {
    fn judge(&self, seen: &Membership<'_>, before: &Value) -> Result<Probe, Fault> {
        let was = before.get("id").and_then(Value::as_str).and_then(|id| u64::from_str_radix(id, 16).ok());
        let found = seen.find(was.map(Wanted::Id).as_ref().unwrap_or(&self.member))?;
        Ok(match found {
            None => Probe::No { evidence: format!("{} is no member", self.member) },
            Some(member) if member.is_learner => Probe::No { evidence: format!("{} is a learner", show(member)) },
            Some(member) => Probe::Yes { result: result(member), evidence: format!("{} is a voter", show(member)) },
        })
    }

    /// Finds the member, which must be there and started.
    fn learner<'s>(&self, seen: &'s Membership<'_>) -> Result<&'s Listed, Fault> {
        let found = seen.find(&self.member)?;
        found.ok_or_else(|| {
            Fault::refused(format!("{} is no member", self.member))
                .expected("a learner in the member list")
                .seen(seen.listed().iter().map(show).collect::<Vec<_>>().join("; "))
                .hint("add it first: etcd.member_add with `learner: true`")
        })
    }
}

#[async_trait]
impl Action for Promote {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("etcdctl member promote <id of {}>", self.member))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        Ok(result(self.learner(&Membership::agreed(reader).await?)?))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        self.judge(&Membership::agreed(reader).await?, before)
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let seen = Membership::agreed(&writer.reader()).await?;
        let member = self.learner(&seen)?;
        if member.is_learner {
            writer.etcd(seen.way(Some(member.id))?).await?.member_promote(member.id).await?;
        }
        Ok(result(member))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::etcd_membership::tests::{listed, membership, site};
    use super::*;

    #[test]
    fn only_the_member_that_was_a_learner_counts_as_promoted() {
        let site = site(&["cp1", "cp2"]);
        let promote = Promote { member: Wanted::Named("cp2".to_owned()) };
        let is_there = |last: Listed, before: Value| {
            let seen = membership(&site, &[listed(1, "a", false), last], &[1]);
            matches!(promote.judge(&seen, &before).unwrap(), Probe::Yes { .. })
        };
        assert!(is_there(listed(2, "member-cp2", false), Value::Null));
        assert!(is_there(listed(2, "member-cp2", false), json!({ "id": "2" })));
        assert!(!is_there(listed(2, "member-cp2", true), json!({ "id": "2" })));
        assert!(!is_there(listed(2, "member-cp2", false), json!({ "id": "7" })), "another one of that name");
    }

    #[test]
    fn what_is_no_member_cannot_be_promoted() {
        let site = site(&["cp1"]);
        let seen = membership(&site, &[listed(1, "a", false)], &[1]);
        let fault = Promote { member: Wanted::Named("x".to_owned()) }.learner(&seen).unwrap_err();
        assert!(fault.what.contains("`x` is no member") && fault.hint.unwrap().contains("etcd.member_add"));
    }
}
