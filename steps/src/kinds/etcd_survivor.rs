//! `etcd.survivor`: which member a cluster without quorum is to be brought back from.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::etcd_members::{Answers, Members, ask, find};
use crate::action::{Action, Preview};
use crate::args::{self, Arg, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::site::Site;
use crate::transport::etcd::Status;
use crate::world::{Reader, Writer};

/// The word for a survivor that nobody has chosen.
const FURTHEST: &str = "furthest";

/// `etcd.survivor`
pub static SURVIVOR: Kind = Kind {
    name: "etcd.survivor",
    summary: "Finds the member whose data go furthest, when the quorum is lost and there is no snapshot.",
    details: "It asks every member of the site that is not lost what it has committed, which needs no quorum, and takes the \
              one with the highest committed index; of several the one that has applied most. A member that does not answer \
              might hold more, so that it is refused to choose without it: start etcd there, mark its host as lost, or name \
              the survivor. One that is named must answer, and is refused where another that answers has committed more.",
    seat: Seat::Cluster,
    args: &[Arg::optional(
        "member",
        Type::OneOf(&[Type::Word(&[FURTHEST]), Type::Host]),
        "`furthest` (the default), or the survivor that a person has chosen: a host, or a member's name. Members that do \
         not answer are left out then.",
    )],
    effect: Effect::Pure,
    danger: Danger::Safe,
    result: &[
        Field { name: "host", help: "The host of the survivor." },
        Field { name: "member", help: "The survivor's name." },
        Field { name: "committed", help: "Its committed raft index." },
        Field { name: "applied", help: "Its applied raft index." },
        Field { name: "term", help: "Its raft term." },
        Field { name: "revision", help: "The revision of its store." },
        Field { name: "seen", help: "What every member said, for a person." },
    ],
    source: "\"Breaking down and fixing etcd cluster\", quorum lost; etcd documentation, `etcdctl endpoint status`",
    example: "{}",
    make: Make::Action(|args| Ok(Box::new(args::read::<Survivor>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    #[serde(default)]
    member: Members,
}

#[async_trait]
impl Action for Survivor {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _reader: &Reader<'_>) -> Preview {
        Preview::of("etcdctl endpoint status, of each member by itself")
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let reader = writer.reader();
        let site = reader.site();
        let named = match &self.member {
            Members::All => None,
            Members::Named(names) if names == &[FURTHEST] => None,
            Members::Named(names) => Some(one(site, names)?),
        };
        let hosts = Members::All.hosts(site)?;
        choose(&ask(&reader, &hosts, |etcd| async move { etcd.status().await }).await, named, site)
    }
}

/// Returns the host that was named.
fn one<'w>(site: &'w Site, names: &[String]) -> Result<&'w str, Fault> {
    match names {
        [name] => Ok(find(site, name)?.name.as_str()),
        _ => Err(Fault::refused("there is one survivor").expected("one host or member").seen(names.join(", "))),
    }
}

/// Chooses among the answers, or holds the one that was named against them.
fn choose(answers: &Answers<Status>, named: Option<&str>, site: &Site) -> Result<Value, Fault> {
    let seen = answers.sum_up("", |status| (true, progress(status))).seen;
    let silent: Vec<&str> =
        answers.0.iter().filter(|(_, answer)| answer.is_err()).map(|(name, _)| name.as_str()).collect();
    // A learner may lag behind without knowing it, and a leader never waited for it.
    let mut voters: Vec<(&str, &Status)> = answers.came().filter(|(_, status)| !status.is_learner).collect();
    voters.sort_by_key(|(_, status)| (status.raft_index, status.raft_applied));
    let Some((furthest, best)) = voters.last() else {
        return Err(Fault::refused("no member answers, so that none can be taken for the survivor")
            .seen(seen)
            .hint("start etcd where its data are whole; without such a member restore a snapshot"));
    };
    let (host, status) = match named {
        None if silent.is_empty() => (furthest, best),
        None => {
            return Err(Fault::refused(format!("{} might hold more than those that answer", silent.join(" and ")))
                .expected("an answer of every member that is not lost")
                .seen(seen)
                .hint(format!(
                    "start etcd there, mark the host as lost, or name the survivor: {furthest} of those seen"
                )));
        }
        Some(named) => {
            let (host, status) = voters.iter().find(|(name, _)| *name == named).ok_or_else(|| {
                Fault::refused(format!("{named} does not answer as a voter"))
                    .seen(seen.clone())
                    .hint("start etcd there")
            })?;
            if status.raft_index < best.raft_index {
                return Err(Fault::refused(format!("{furthest} has committed more than {named}"))
                    .expected(format!("the member with the highest committed index, {}", best.raft_index))
                    .seen(seen)
                    .hint(format!("name {furthest}, or mark its host as lost if it must not be used")));
            }
            (host, status)
        }
    };
    let member = find(site, host)?.etcd.as_ref().map_or(*host, |member| member.name.as_str());
    Ok(json!({
        "host": host,
        "member": member,
        "committed": status.raft_index,
        "applied": status.raft_applied,
        "term": status.raft_term,
        "revision": status.revision,
        "seen": seen,
    }))
}

fn progress(status: &Status) -> String {
    let role = if status.is_learner { "learner, " } else { "" };
    let Status { raft_index, raft_applied, revision, .. } = status;
    format!("{role}committed {raft_index}, applied {raft_applied}, at revision {revision}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn site() -> Site {
        let host = |name: &str| {
            json!({ "name": name, "address": name, "etcd": {
                "name": format!("m-{name}"), "client_urls": [], "peer_urls": [], "data_dir": "/d", "service": "etcd",
            } })
        };
        serde_json::from_value(json!({
            "cluster": "test", "platform": "any", "capsule_root": "/r",
            "hosts": { "cp1": host("cp1"), "cp2": host("cp2"), "cp3": host("cp3") },
        }))
        .unwrap()
    }

    fn answers(of: &[(&str, Option<(u64, u64)>)]) -> Answers<Status> {
        let status = |(index, applied)| Status {
            cluster_id: 1,
            member_id: 1,
            version: "3.5.21".to_owned(),
            revision: 7,
            db_size: 1,
            db_size_in_use: 1,
            leader: 0,
            raft_term: 2,
            raft_index: index,
            raft_applied: applied,
            is_learner: false,
            errors: Vec::new(),
        };
        let answer = |seen: Option<(u64, u64)>| seen.map(status).ok_or_else(|| Fault::unreachable("refused"));
        Answers(of.iter().map(|(name, seen)| ((*name).to_owned(), answer(*seen))).collect())
    }

    #[test]
    fn the_survivor_is_the_one_that_committed_most() {
        let seen = answers(&[("cp1", Some((40, 40))), ("cp2", Some((42, 41))), ("cp3", Some((42, 42)))]);
        let chosen = choose(&seen, None, &site()).unwrap();
        assert_eq!((&chosen["host"], &chosen["member"]), (&json!("cp3"), &json!("m-cp3")));
    }

    #[test]
    fn a_silent_member_is_not_passed_over_in_silence() {
        let seen = answers(&[("cp1", Some((40, 40))), ("cp2", None)]);
        let fault = choose(&seen, None, &site()).unwrap_err();
        assert_eq!(fault.what, "cp2 might hold more than those that answer");
        assert_eq!(choose(&seen, Some("cp1"), &site()).unwrap()["host"], "cp1");
    }

    #[test]
    fn a_person_cannot_choose_a_member_that_would_lose_what_another_has() {
        let seen = answers(&[("cp1", Some((40, 40))), ("cp2", Some((42, 42)))]);
        let fault = choose(&seen, Some("cp1"), &site()).unwrap_err();
        assert_eq!(fault.what, "cp2 has committed more than cp1");
        assert!(choose(&seen, Some("cp3"), &site()).is_err(), "one that did not answer");
    }

    #[test]
    fn without_an_answer_there_is_no_survivor() {
        let fault = choose(&answers(&[("cp1", None)]), None, &site()).unwrap_err();
        assert!(fault.what.starts_with("no member answers"), "{fault:?}");
    }
}
