//! The checks of the member list, and the look at one member that a plan decides by.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::etcd_membership::{ID, Membership, NAME, ONE_MEMBER, OneMember, Wanted, hex, show};
use crate::action::{Action, Check, Observation, Preview};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::fault::Fault;
use crate::transport::etcd::Listed;
use crate::world::{Reader, Writer};

const SOURCE: &str = "etcd documentation, `etcdctl member list`";

/// `etcd.member_present`
pub static PRESENT: Kind = Kind {
    name: "etcd.member_present",
    summary: "A member is in the member list, started or not, voter or learner.",
    details: "The list says what the cluster is meant to be: a dead member is in it. Without a quorum it is the list of the \
              member that applied most, which may be old.",
    seat: Seat::Cluster,
    args: &[
        NAME,
        ID,
        Arg::optional("started", Type::Bool, "Whether it must have been started, or must not; default: either."),
        Arg::optional("learner", Type::Bool, "Whether it must be a learner, or a voter; default: either."),
    ],
    rules: ONE_MEMBER,
    source: SOURCE,
    example: "{ name: cp3, started: true, learner: false }",
    make: Make::Check(|args| Ok(Box::new(Present::from_args(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPresent {
    name: Option<String>,
    id: Option<String>,
    started: Option<bool>,
    learner: Option<bool>,
}

struct Present {
    member: Wanted,
    started: Option<bool>,
    learner: Option<bool>,
}

impl Present {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let WrittenPresent { name, id, started, learner } = args::read(args)?;
        Ok(Self { member: OneMember { name, id }.wanted()?, started, learner })
    }

    fn judge(&self, found: Option<&Listed>) -> (bool, String) {
        let Some(member) = found else { return (false, format!("{} is no member", self.member)) };
        let right = self.started.is_none_or(|started| started != member.name.is_empty())
            && self.learner.is_none_or(|learner| learner == member.is_learner);
        (right, format!("{} is a member", show(member)))
    }

    fn expected(&self) -> String {
        let started = self.started.map(|started| if started { ", started" } else { ", never started" });
        let learner = self.learner.map(|learner| if learner { ", a learner" } else { ", a voter" });
        format!("{} is a member{}{}", self.member, started.unwrap_or_default(), learner.unwrap_or_default())
    }
}

#[async_trait]
impl Check for Present {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let seen = listed(reader).await?;
        let (holds, text) = self.judge(seen.find(&self.member)?);
        Ok(Observation::new(holds, self.expected(), text + old(&seen)))
    }
}

/// `etcd.member_absent`
pub static ABSENT: Kind = Kind {
    name: "etcd.member_absent",
    summary: "A member is not in the member list.",
    details: "Without a quorum it is the list of the member that applied most, which may be old.",
    seat: Seat::Cluster,
    args: &[NAME, ID],
    rules: ONE_MEMBER,
    source: SOURCE,
    example: "{ name: cp3 }",
    make: Make::Check(|args| Ok(Box::new(Absent { member: args::read::<OneMember>(args)?.wanted()? }))),
    ..Kind::BLANK
};

struct Absent {
    member: Wanted,
}

#[async_trait]
impl Check for Absent {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let seen = listed(reader).await?;
        let found = seen.find(&self.member)?;
        let text = found.map_or_else(|| all(seen.listed()), |member| format!("{} is a member", show(member)));
        Ok(Observation::new(found.is_none(), format!("{} is no member", self.member), text + old(&seen)))
    }
}

/// `etcd.all_started`
pub static ALL_STARTED: Kind = Kind {
    name: "etcd.all_started",
    summary: "Every member of the member list has been started, and none is a learner.",
    details: "It holds for a member that was started once and is down: see also `etcd.healthy`.",
    seat: Seat::Cluster,
    args: &[Arg::optional("voters", Type::Int, "How many voters there must be; default: any number.")],
    source: SOURCE,
    example: "{ voters: 3 }",
    make: Make::Check(|args| Ok(Box::new(args::read::<AllStarted>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllStarted {
    voters: Option<usize>,
}

impl AllStarted {
    fn judge(&self, listed: &[Listed]) -> bool {
        let whole = listed.iter().all(|member| !member.name.is_empty() && !member.is_learner);
        whole && self.voters.is_none_or(|voters| voters == listed.len())
    }
}

#[async_trait]
impl Check for AllStarted {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let seen = listed(reader).await?;
        let expected = match self.voters {
            Some(voters) => format!("{voters} members, all started, no learner"),
            None => "all members started, no learner".to_owned(),
        };
        Ok(Observation::new(self.judge(seen.listed()), expected, all(seen.listed()) + old(&seen)))
    }
}

/// `etcd.member_state`
pub static STATE: Kind = Kind {
    name: "etcd.member_state",
    summary: "Looks at one member, so that later steps can say `when` they are needed.",
    details: "It changes nothing. A check tells whether something holds and stops the run if not; this tells a plan what to do: \
              `when: \"not steps.look.result.healthy\"`.",
    seat: Seat::Cluster,
    args: &[NAME, ID],
    rules: ONE_MEMBER,
    result: &[
        Field { name: "listed", help: "Whether it is in the member list." },
        Field { name: "id", help: "Its id, in hexadecimal; null if it is no member." },
        Field { name: "started", help: "Whether it has ever been started." },
        Field { name: "learner", help: "Whether it is a learner." },
        Field { name: "healthy", help: "Whether it is a voter that answers a linearizable read." },
        Field { name: "leads", help: "Whether it is the leader." },
        Field { name: "evidence", help: "What was seen, in one line." },
    ],
    source: SOURCE,
    example: r#"{ name: "{{ inputs.member }}" }"#,
    make: Make::Action(|args| Ok(Box::new(State { member: args::read::<OneMember>(args)?.wanted()? }))),
    ..Kind::BLANK
};

struct State {
    member: Wanted,
}

impl State {
    fn result(&self, seen: &Membership<'_>) -> Result<Value, Fault> {
        let found = seen.find(&self.member)?;
        let is = |holds: fn(&Listed) -> bool| found.is_some_and(holds);
        let listed = found.map_or_else(|| format!("{} is no member", self.member), show);
        Ok(json!({
            "listed": found.is_some(),
            "id": found.map(|member| hex(member.id)),
            "started": is(|member| !member.name.is_empty()),
            "learner": is(|member| member.is_learner),
            "healthy": found.is_some_and(|member| !member.is_learner && seen.serves(member.id)),
            "leads": found.is_some_and(|member| seen.leader() == Some(member.id)),
            "evidence": format!("{listed}; {}", seen.evidence()),
        }))
    }
}

#[async_trait]
impl Action for State {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of("etcdctl member list; etcdctl endpoint health")
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        self.result(&listed(&writer.reader()).await?)
    }
}

/// Looks at the membership, with a quorum or without; fails if no member gave a list.
async fn listed<'w>(reader: &Reader<'w>) -> Result<Membership<'w>, Fault> {
    let seen = Membership::look(reader).await;
    if seen.listed().is_empty() {
        return Err(Fault::unreachable("no member gave its member list").seen(seen.evidence()));
    }
    Ok(seen)
}

/// Shows a whole list.
fn all(listed: &[Listed]) -> String {
    listed.iter().map(show).collect::<Vec<_>>().join("; ")
}

/// Says that a list may be old.
fn old(seen: &Membership<'_>) -> &'static str {
    if seen.is_agreed() { "" } else { " (as one member has it: there is no quorum to ask)" }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::etcd_membership::tests::{listed, membership, site};
    use super::*;

    #[test]
    fn a_member_that_is_not_as_expected_is_told_as_it_is() {
        let holds = |args: Value, member: Option<&Listed>| Present::from_args(args).unwrap().judge(member).0;
        let (voter, learner) = (listed(1, "a", false), listed(2, "", true));
        assert!(holds(json!({ "name": "a" }), Some(&voter)));
        assert!(holds(json!({ "name": "a", "started": true, "learner": false }), Some(&voter)));
        assert!(!holds(json!({ "name": "a", "started": false }), Some(&voter)));
        assert!(!holds(json!({ "name": "b", "started": true }), Some(&learner)));
        assert!(!holds(json!({ "name": "b", "learner": false }), Some(&learner)));
        assert!(!holds(json!({ "name": "c" }), None));
    }

    #[test]
    fn a_list_is_whole_without_learners_and_members_that_were_never_started() {
        let voters = [listed(1, "a", false), listed(2, "b", false)];
        assert!(AllStarted { voters: None }.judge(&voters));
        assert!(AllStarted { voters: Some(2) }.judge(&voters));
        assert!(!AllStarted { voters: Some(3) }.judge(&voters));
        assert!(!AllStarted { voters: None }.judge(&[listed(1, "a", false), listed(2, "", false)]));
        assert!(!AllStarted { voters: None }.judge(&[listed(1, "a", false), listed(2, "b", true)]));
    }

    #[test]
    fn the_state_of_a_member_says_what_a_plan_decides_by() {
        let site = site(&["cp1", "cp2", "cp3"]);
        let list = [listed(1, "a", false), listed(2, "b", false), listed(3, "", true)];
        let seen = membership(&site, &list, &[1]);
        let state = |name: &str| State { member: Wanted::Named(name.to_owned()) }.result(&seen).unwrap();
        let told = |state: &Value| ["listed", "started", "learner", "healthy", "leads"].map(|key| state[key] == true);
        assert_eq!(told(&state("a")), [true, true, false, true, true]);
        assert_eq!(told(&state("b")), [true, true, false, false, false]);
        assert_eq!(told(&state("cp3")), [true, false, true, false, false]);
        assert_eq!(told(&state("x")), [false; 5]);
    }
}
