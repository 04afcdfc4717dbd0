//! `etcd.member_add`: a new member, which is told how to join.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::etcd_checks::version;
use super::etcd_membership::{Membership, Wanted, hex, same_urls, show};
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::transport::etcd::{EtcdWriter, Listed};
use crate::world::{Reader, Writer};

/// `etcd.member_add`
pub static ADD: Kind = Kind {
    name: "etcd.member_add",
    summary: "Adds a member, which is not started yet, and says what it must be told to join.",
    details: "As a learner it counts for no quorum until it is promoted, so a new member that does not come up harms nothing. \
              A voter counts at once: it is refused unless those who work are a majority with the new one counted as down. \
              Refused too while a member has the same name or peer URLs: remove a dead member first. etcd allows one learner at \
              a time.",
    seat: Seat::Cluster,
    args: &[
        Arg::required("name", Type::Str, "The name that it will be started with. etcd learns it at the first start."),
        Arg::required(
            "peer_urls",
            Type::OneOf(&[Type::List(&Type::Str), Type::Str]),
            "Where the other members will reach it.",
        ),
        Arg::optional("learner", Type::Bool, "Whether it joins as a learner (etcd 3.4 and later); default: true."),
    ],
    effect: Effect::Probed,
    danger: Danger::Destructive,
    result: &[
        Field { name: "id", help: "Its id, in hexadecimal." },
        Field { name: "name", help: "Its name, as given." },
        Field { name: "peer_urls", help: "Its peer URLs." },
        Field { name: "learner", help: "Whether it is a learner." },
        Field {
            name: "initial_cluster",
            help: "The value of `ETCD_INITIAL_CLUSTER` to start it with: all members and itself, `NAME=URL,…`.",
        },
        Field { name: "initial_cluster_state", help: "The value of `ETCD_INITIAL_CLUSTER_STATE`: `existing`." },
    ],
    probe: "The member list that a majority agrees on has these peer URLs, under an id that was not there before.",
    undo: "`etcd.member_remove` of its id, while a quorum allows it",
    source: "etcd documentation, Runtime reconfiguration, Add a new member; etcd learner design",
    example: r#"{ name: cp3, peer_urls: ["https://10.0.0.13:2380"], learner: true }"#,
    make: Make::Action(|args| Ok(Box::new(Add::from_args(args)?))),
    ..Kind::BLANK
};

/// The oldest etcd that knows learners; an older one ignores the word and adds a voter.
const LEARNERS_SINCE: semver::Version = semver::Version::new(3, 4, 0);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    peer_urls: Value,
    #[serde(default = "yes")]
    learner: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug)]
struct Add {
    name: String,
    peer_urls: Vec<String>,
    learner: bool,
}

impl Add {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let Written { name, peer_urls, learner } = args::read(args)?;
        let peer_urls: Vec<String> = match peer_urls {
            Value::String(one) => vec![one],
            many => args::read(many)?,
        };
        if name.is_empty() || name.contains([',', '=', ' ']) {
            let why = format!("`{name}` cannot stand in ETCD_INITIAL_CLUSTER: no commas, equals signs or blanks");
            return Err(BadArgs::at("name", why));
        }
        let is_url = |url: &String| ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        if peer_urls.is_empty() || !peer_urls.iter().all(is_url) {
            return Err(BadArgs::at("peer_urls", "give at least one URL such as https://10.0.0.13:2380"));
        }
        Ok(Self { name, peer_urls, learner })
    }

    /// Finds who has these peer URLs.
    fn holder<'l>(&self, listed: &'l [Listed]) -> Option<&'l Listed> {
        listed.iter().find(|member| same_urls(&member.peer_urls, &self.peer_urls))
    }

    fn result(&self, seen: &Membership<'_>, listed: &[Listed], added: &Listed) -> Value {
        json!({
            "id": hex(added.id),
            "name": self.name,
            "peer_urls": added.peer_urls,
            "learner": added.is_learner,
            "initial_cluster": seen.initial_cluster(listed, added.id, &self.name),
            "initial_cluster_state": "existing",
        })
    }

    /// Says whether this addition is what gave the list a member of these URLs.
    fn judge(&self, seen: &Membership<'_>, before: &Value) -> Probe {
        let urls = self.peer_urls.join(",");
        let Some(found) = self.holder(seen.listed()) else {
            return Probe::No { evidence: format!("no member has the peer URLs {urls}") };
        };
        let yes = |how: &str| Probe::Yes {
            result: self.result(seen, seen.listed(), found),
            evidence: format!("{} is a member{how}", show(found)),
        };
        match before.get("members").and_then(Value::as_array) {
            Some(there) if there.iter().any(|id| id.as_str() == Some(&hex(found.id))) => {
                Probe::No { evidence: format!("{} was a member before", show(found)) }
            }
            Some(_) => yes(", and was none before"),
            // Nothing has begun: one that waits to be started as this, or was, is what is wanted. A learner is no voter.
            None if (found.name.is_empty() || found.name == self.name) && (self.learner || !found.is_learner) => {
                yes("")
            }
            None => Probe::No { evidence: format!("{} is another member", show(found)) },
        }
    }

    /// Refuses what would break the cluster, or a member list that could not be told apart any more.
    fn refuse_if_unsafe(&self, seen: &Membership<'_>) -> Result<(), Fault> {
        let others = seen.listed().iter().map(show).collect::<Vec<_>>().join("; ");
        let named = seen.find(&Wanted::Named(self.name.clone()))?;
        if let Some(there) = self.holder(seen.listed()).or(named) {
            return Err(Fault::refused(format!("{} is a member already", show(there)))
                .expected(format!("no member is called `{}` or has its peer URLs", self.name))
                .seen(others)
                .hint("remove the old member first (etcd.member_remove): its data cannot be used again"));
        }
        let left = seen.with_one_more();
        if !self.learner && !left.has_quorum() {
            return Err(Fault::refused("one more voter would cost the quorum until it is up")
                .expected(format!("{} of {} voters work, the new one counted as down", left.needed(), left.voters))
                .seen(format!("{} work; {}", left.healthy, seen.evidence()))
                .hint("remove dead members first, or add it as a learner and promote it when it has caught up"));
        }
        Ok(())
    }

    async fn refuse_if_old(&self, etcd: &EtcdWriter<'_>) -> Result<(), Fault> {
        let runs = etcd.reader().status().await?.version;
        if self.learner && version(&runs).is_some_and(|version| version < LEARNERS_SINCE) {
            return Err(Fault::refused(format!("etcd {runs} knows no learners, and would add a voter"))
                .expected("etcd 3.4 or later")
                .hint("say `learner: false`"));
        }
        Ok(())
    }
}

#[async_trait]
impl Action for Add {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        let learner = if self.learner { " --learner" } else { "" };
        Preview::of(format!("etcdctl member add {} --peer-urls={}{learner}", self.name, self.peer_urls.join(",")))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let seen = Membership::agreed(reader).await?;
        let ids: Vec<String> = seen.listed().iter().map(|member| hex(member.id)).collect();
        Ok(json!({ "members": ids }))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        Ok(self.judge(&Membership::agreed(reader).await?, before))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let seen = Membership::agreed(&writer.reader()).await?;
        self.refuse_if_unsafe(&seen)?;
        let etcd = writer.etcd(seen.way(None)?).await?;
        self.refuse_if_old(&etcd).await?;
        let (added, listed) = etcd.member_add(&self.peer_urls, self.learner).await?;
        Ok(self.result(&seen, &listed, &added))
    }

    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        match result {
            Some(result) => Undo::By(vec![("etcd.member_remove", json!({ "id": result["id"] }))]),
            None => Undo::NeedsResult,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::etcd_membership::tests::{listed, membership, site};
    use super::*;

    fn add(learner: bool) -> Add {
        let args = json!({ "name": "cp3", "peer_urls": "https://10.0.0.3:2380/", "learner": learner });
        Add::from_args(args).unwrap()
    }

    fn is_yes(probe: &Probe) -> bool {
        matches!(probe, Probe::Yes { .. })
    }

    #[test]
    fn the_probe_tells_this_addition_from_a_member_that_was_there() {
        let site = site(&["cp1", "cp2"]);
        let with = |last: Listed| membership(&site, &[listed(1, "a", false), listed(2, "b", false), last], &[1, 2]);
        let added = with(listed(3, "", true));
        let Probe::Yes { result, .. } = add(true).judge(&added, &json!({ "members": ["1", "2"] })) else { panic!() };
        assert_eq!(result["id"], "3");
        let cluster = "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380,cp3=https://10.0.0.3:2380";
        assert_eq!(result["initial_cluster"], cluster);
        assert!(!is_yes(&add(true).judge(&added, &json!({ "members": ["1", "2", "3"] }))));
        let without = membership(&site, &[listed(1, "a", false)], &[1]);
        assert!(!is_yes(&add(true).judge(&without, &json!({ "members": ["1"] }))));
    }

    #[test]
    fn before_anything_has_begun_a_member_that_is_as_wanted_is_taken_as_it_is() {
        let site = site(&["cp1", "cp2"]);
        let is_there = |last: Listed, learner| {
            is_yes(&add(learner).judge(&membership(&site, &[listed(1, "a", false), last], &[1]), &Value::Null))
        };
        assert!(is_there(listed(3, "", true), true));
        assert!(is_there(listed(3, "cp3", false), true), "it was promoted since");
        assert!(!is_there(listed(3, "other", false), true));
        assert!(!is_there(listed(3, "", true), false), "a learner is no voter");
    }

    #[test]
    fn an_addition_that_would_cost_the_quorum_or_meet_a_namesake_is_refused() {
        let site = site(&["cp1", "cp2"]);
        let two = [listed(1, "a", false), listed(2, "b", false)];
        let refusal = |list: &[Listed], serving: &[u64], learner| {
            add(learner).refuse_if_unsafe(&membership(&site, list, serving)).err().map(|fault| fault.what)
        };
        assert_eq!(refusal(&two, &[1, 2], false), None);
        assert_eq!(refusal(&two[..1], &[1], true), None);
        assert!(refusal(&two[..1], &[1], false).unwrap().contains("would cost the quorum"));
        let dead = [listed(1, "a", false), listed(2, "cp3", false)];
        assert!(refusal(&dead, &[1], true).unwrap().contains("2 (cp3) at https://10.0.0.2:2380 is a member already"));
        assert!(refusal(&[listed(1, "a", false), listed(3, "x", false)], &[1], true).is_some());
    }

    #[test]
    fn a_name_or_url_that_etcd_could_not_be_told_is_refused() {
        let blamed = |args: Value| Add::from_args(args).unwrap_err().arg;
        assert_eq!(blamed(json!({ "name": "a=b", "peer_urls": ["https://x:1"] })).as_deref(), Some("name"));
        assert_eq!(blamed(json!({ "name": "a", "peer_urls": [] })).as_deref(), Some("peer_urls"));
        assert_eq!(blamed(json!({ "name": "a", "peer_urls": "x:1" })).as_deref(), Some("peer_urls"));
    }
}
