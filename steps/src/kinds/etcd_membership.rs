//! The live membership, as the kinds that change it see it: who is a member, who works, and what a change would leave.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::etcd_members::find;
use crate::args::{Arg, BadArgs, Rule, Type};
use crate::fault::Fault;
use crate::name::HostName;
use crate::site::{Host, Site};
use crate::transport::etcd::{Listed, QuorumView, Voter, quorum};
use crate::world::Reader;

/// The argument `name` of kinds that work on one member.
pub(super) const NAME: Arg = Arg::optional(
    "name",
    Type::Str,
    "The member's name, as the member list shows it, or its host in the site. One that was never started has no name in the \
     list, and is known by the peer URLs that the site has.",
);

/// The argument `id` of kinds that work on one member.
pub(super) const ID: Arg =
    Arg::optional("id", Type::Str, "The member's id, in hexadecimal as etcdctl prints it, in place of its name.");

/// What kinds that take [`NAME`] and [`ID`] ask for.
pub(super) const ONE_MEMBER: &[Rule] = &[Rule::ExactlyOne(&["name", "id"])];

/// Writes the id of a member as etcd's tools do.
pub(super) fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// One member, as a plan names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// By its name or its host's.
    Named(String),
    /// By its id.
    Id(u64),
}

/// The arguments `name` and `id`, of which one is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OneMember {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
}

impl OneMember {
    /// Reads which member is meant.
    pub(super) fn wanted(self) -> Result<Wanted, BadArgs> {
        match (self.name, self.id) {
            (Some(name), _) => Ok(Wanted::Named(name)),
            (None, Some(id)) => u64::from_str_radix(&id, 16)
                .map(Wanted::Id)
                .map_err(|_| BadArgs::at("id", format!("`{id}` is no id of a member: write it in hexadecimal"))),
            (None, None) => Err(BadArgs::at("name", "give the member's `name` or its `id`")),
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => write!(f, "`{name}`"),
            Self::Id(id) => write!(f, "{id:x}"),
        }
    }
}

impl Wanted {
    /// Finds the member in a list. `None`: it is not there.
    pub(super) fn find<'l>(&self, listed: &'l [Listed], site: &Site) -> Result<Option<&'l Listed>, Fault> {
        let name = match self {
            Self::Id(id) => return Ok(listed.iter().find(|member| member.id == *id)),
            Self::Named(name) => name,
        };
        let known = find(site, name).ok().and_then(|host| host.etcd.as_ref());
        let bears = |member: &&Listed| member.name == *name || known.is_some_and(|known| member.name == known.name);
        let mut found: Vec<&Listed> = listed.iter().filter(bears).collect();
        if let (true, Some(known)) = (found.is_empty(), known) {
            let unnamed = |member: &&Listed| member.name.is_empty() && same_urls(&member.peer_urls, &known.peer_urls);
            found = listed.iter().filter(unnamed).collect();
        }
        match found[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [..] => Err(Fault::refused(format!("{} members are called `{name}`", found.len()))
                .expected("one member of that name")
                .seen(found.iter().map(|member| show(member)).collect::<Vec<_>>().join("; "))
                .hint("say which by its `id`")),
        }
    }
}

/// Says whether two lists name the same URLs.
pub(super) fn same_urls(one: &[String], other: &[String]) -> bool {
    let set = |urls: &[String]| urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect::<BTreeSet<_>>();
    set(one) == set(other)
}

/// Shows a line of the member list.
pub(super) fn show(member: &Listed) -> String {
    let name = if member.name.is_empty() { "never started" } else { member.name.as_str() };
    let learner = if member.is_learner { ", learner" } else { "" };
    format!("{:x} ({name}{learner}) at {}", member.id, member.peer_urls.join(","))
}

/// How many voters a change would leave, and how many of them are seen to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) voters: usize,
    pub(super) healthy: usize,
}

impl Left {
    /// Returns how many voters make a majority.
    pub(super) fn needed(self) -> usize {
        self.voters / 2 + 1
    }

    /// Says whether those who work are a majority.
    pub(super) fn has_quorum(self) -> bool {
        self.healthy >= self.needed()
    }
}

/// The live membership.
pub(super) struct Membership<'w> {
    site: &'w Site,
    view: QuorumView,
}

impl<'w> Membership<'w> {
    /// Asks all members of the site that are not lost.
    pub(super) async fn look(reader: &Reader<'w>) -> Self {
        Self { site: reader.site(), view: quorum(reader).await }
    }

    /// Likewise, and fails unless a majority agrees on the member list: every change, and every probe of one, needs that.
    pub(super) async fn agreed(reader: &Reader<'w>) -> Result<Self, Fault> {
        let seen = Self::look(reader).await;
        if !seen.is_agreed() {
            return Err(Fault::unreachable("no member gives a member list that a majority of the voters agrees on")
                .expected("a member that serves: the quorum holds and one of its members can be reached")
                .seen(seen.evidence())
                .hint("without a quorum the membership cannot change; bring members back, or restore the cluster"));
        }
        let listed = |voter: &&Voter| voter.id.is_none_or(|id| seen.listed().iter().any(|member| member.id == id));
        if let Some(stranger) = seen.view.members.iter().filter(|voter| voter.serves).find(|voter| !listed(voter)) {
            return Err(Fault::refused(format!("`{}` serves, but is no member for the others", stranger.name))
                .expected("the members of the site are one cluster")
                .seen(seen.listed().iter().map(show).collect::<Vec<_>>().join("; "))
                .hint(
                    "see `etcdctl member list` of each member: two clusters were made of one, or the list just changed",
                ));
        }
        Ok(seen)
    }

    /// Says whether a majority agrees on [`Self::listed`].
    pub(super) fn is_agreed(&self) -> bool {
        self.view.members.iter().any(|voter| voter.serves)
    }

    /// Returns the member list: the newest that a member gave; empty, if none answered.
    pub(super) fn listed(&self) -> &[Listed] {
        &self.view.listed
    }

    /// Returns what was seen, in one line.
    pub(super) fn evidence(&self) -> String {
        self.view.evidence.clone()
    }

    /// Finds one member in the list. `None`: it is not there.
    pub(super) fn find(&self, wanted: &Wanted) -> Result<Option<&Listed>, Fault> {
        wanted.find(self.listed(), self.site)
    }

    /// Says whether a member is a voter that serves.
    pub(super) fn serves(&self, id: u64) -> bool {
        self.view.members.iter().any(|voter| voter.serves && voter.id == Some(id))
    }

    /// Returns the leader that those who serve follow.
    pub(super) fn leader(&self) -> Option<u64> {
        self.view.members.iter().find(|voter| voter.serves && voter.leader != 0).map(|voter| voter.leader)
    }

    /// Returns what would be left of the voters without one member.
    pub(super) fn without(&self, gone: u64) -> Left {
        let voters = || self.listed().iter().filter(|member| !member.is_learner && member.id != gone);
        Left { voters: voters().count(), healthy: voters().filter(|member| self.serves(member.id)).count() }
    }

    /// Returns what there would be with one more voter, which does not work yet.
    pub(super) fn with_one_more(&self) -> Left {
        let voters = || self.listed().iter().filter(|member| !member.is_learner);
        Left { voters: voters().count() + 1, healthy: voters().filter(|member| self.serves(member.id)).count() }
    }

    /// Returns the host of a member that serves.
    pub(super) fn host_of(&self, id: u64) -> Option<&'w HostName> {
        // The view has the members in the order of the site's hosts.
        let hosts = self.site.members().zip(&self.view.members);
        hosts.filter(|(_, voter)| voter.serves && voter.id == Some(id)).map(|(host, _)| &host.name).next()
    }

    /// Returns the host whose member a change is asked of: the leader, or else any that serves, but not `spared`.
    pub(super) fn way(&self, spared: Option<u64>) -> Result<&'w HostName, Fault> {
        let leader = self.leader();
        let mut ids: Vec<u64> = self.view.members.iter().filter(|voter| voter.serves).filter_map(|v| v.id).collect();
        ids.retain(|id| spared != Some(*id));
        ids.sort_by_key(|id| leader != Some(*id));
        ids.first().and_then(|id| self.host_of(*id)).ok_or_else(|| {
            Fault::refused("there is no other member that serves, to ask for the change").seen(self.evidence())
        })
    }

    /// Returns the value of `ETCD_INITIAL_CLUSTER` for a member of this name and id: every member of the list with each of
    /// its peer URLs, by name, since etcd lists members by ids that are as good as drawn. etcd refuses a member whose list is
    /// not as long as that of the cluster.
    pub(super) fn initial_cluster(&self, listed: &[Listed], id: u64, name: &str) -> String {
        let entries = listed.iter().flat_map(|member| {
            let called = if member.id == id { name.to_owned() } else { self.name_of(member) };
            member.peer_urls.iter().map(move |url| format!("{called}={url}"))
        });
        let mut entries: Vec<String> = entries.collect();
        entries.sort();
        entries.join(",")
    }

    /// Returns the name of a member: that of the list, or of the site where it was never started, or its id.
    fn name_of(&self, member: &Listed) -> String {
        if !member.name.is_empty() {
            return member.name.clone();
        }
        let known = |host: &'w Host| host.etcd.as_ref().filter(|m| same_urls(&m.peer_urls, &member.peer_urls));
        self.site.hosts.values().find_map(known).map_or_else(|| hex(member.id), |known| known.name.clone())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn url(n: u64) -> Vec<String> {
        vec![format!("https://10.0.0.{n}:2380")]
    }

    pub(in crate::kinds) fn listed(id: u64, name: &str, is_learner: bool) -> Listed {
        Listed { id, name: name.to_owned(), peer_urls: url(id), client_urls: Vec::new(), is_learner }
    }

    pub(in crate::kinds) fn site(names: &[&str]) -> Site {
        let host = |(n, name): (usize, &&str)| {
            let etcd = json!({
                "name": format!("member-{name}"), "client_urls": [], "peer_urls": url(n as u64 + 1),
                "data_dir": "/var/lib/etcd", "service": "etcd",
            });
            ((*name).to_owned(), json!({ "name": name, "address": "127.0.0.1", "etcd": etcd }))
        };
        let hosts: serde_json::Map<String, Value> = names.iter().enumerate().map(host).collect();
        let site = json!({ "cluster": "c", "platform": "any", "capsule_root": "/c", "hosts": hosts });
        serde_json::from_value(site).unwrap()
    }

    /// A view of members 1, 2, … of which some serve and follow the first of them.
    pub(in crate::kinds) fn membership<'w>(site: &'w Site, listed: &[Listed], serving: &[u64]) -> Membership<'w> {
        let leader = serving.first().copied().unwrap_or(0);
        let voter = |(n, host): (usize, &Host)| {
            let id = n as u64 + 1;
            let name = host.etcd.as_ref().unwrap().name.clone();
            let serves = serving.contains(&id);
            let id = serves.then_some(id);
            Voter { name, id, leader, serves, trouble: String::new(), unclear: false }
        };
        let view = QuorumView {
            voters: listed.iter().filter(|member| !member.is_learner).count(),
            healthy: serving.len(),
            members: site.members().enumerate().map(voter).collect(),
            listed: listed.to_vec(),
            holds: !serving.is_empty(),
            split: false,
            evidence: "as a test has it".to_owned(),
        };
        Membership { site, view }
    }

    #[test]
    fn a_member_is_found_by_its_name_its_host_its_id_or_before_its_first_start_by_its_peer_urls() {
        let site = site(&["cp1", "cp2", "cp3"]);
        let list = [listed(1, "member-cp1", false), listed(0xab, "old", false), listed(3, "", true)];
        let find = |name: &str| Wanted::Named(name.to_owned()).find(&list, &site).unwrap().map(|member| member.id);
        assert_eq!(find("member-cp1"), Some(1));
        assert_eq!(find("cp1"), Some(1));
        assert_eq!(find("old"), Some(0xab));
        assert_eq!(find("cp3"), Some(3));
        assert_eq!(find("member-cp2"), None);
        assert_eq!(find("nobody"), None);
        assert_eq!(Wanted::Id(0xab).find(&list, &site).unwrap().map(|member| member.id), Some(0xab));

        let twice = [listed(1, "a", false), listed(2, "a", false)];
        let fault = Wanted::Named("a".to_owned()).find(&twice, &site).unwrap_err();
        assert!(fault.what.contains("2 members are called `a`"), "{fault:?}");
    }

    #[test]
    fn an_id_is_hexadecimal() {
        let read = |id: &str| OneMember { name: None, id: Some(id.to_owned()) }.wanted();
        assert_eq!(read("8e9e05c52164694d"), Ok(Wanted::Id(0x8e9e_05c5_2164_694d)));
        assert_eq!(read("xyz").unwrap_err().arg.as_deref(), Some("id"));
    }

    #[test]
    fn what_is_left_counts_voters_that_serve() {
        let site = site(&["cp1", "cp2", "cp3"]);
        let list = [listed(1, "a", false), listed(2, "b", false), listed(3, "c", false)];
        let seen = membership(&site, &list, &[1, 2]);
        assert_eq!(seen.without(3), Left { voters: 2, healthy: 2 });
        assert!(seen.without(3).has_quorum());
        assert_eq!(seen.without(1), Left { voters: 2, healthy: 1 });
        assert!(!seen.without(1).has_quorum());
        // A fourth voter needs three that work.
        assert_eq!((seen.with_one_more().needed(), seen.with_one_more().has_quorum()), (3, false));
        let alone = membership(&site, &list[..1], &[1]);
        assert!(!alone.without(1).has_quorum());
        assert!(!alone.with_one_more().has_quorum());
        // A learner does not count.
        let list = [listed(1, "a", false), listed(2, "b", false), listed(3, "", true)];
        assert_eq!(membership(&site, &list, &[1, 2]).without(3), Left { voters: 2, healthy: 2 });
    }

    #[test]
    fn a_change_is_asked_of_the_leader_but_not_of_the_member_that_it_is_about() {
        let site = site(&["cp1", "cp2", "cp3"]);
        let list = [listed(1, "a", false), listed(2, "b", false), listed(3, "c", false)];
        let seen = membership(&site, &list, &[2, 3]);
        assert_eq!(seen.leader(), Some(2));
        assert_eq!(seen.way(None).unwrap().as_str(), "cp2");
        assert_eq!(seen.way(Some(2)).unwrap().as_str(), "cp3");
        assert!(membership(&site, &list, &[2]).way(Some(2)).is_err());
    }

    #[test]
    fn the_initial_cluster_names_every_member() {
        let site = site(&["cp1", "cp2", "cp3", "cp4"]);
        let list = [listed(1, "a", false), listed(3, "", false), listed(9, "", true), listed(4, "", true)];
        let seen = membership(&site, &list, &[1]);
        let wanted = "9=https://10.0.0.9:2380,a=https://10.0.0.1:2380,member-cp3=https://10.0.0.3:2380,\
                      new=https://10.0.0.4:2380";
        assert_eq!(seen.initial_cluster(&list, 4, "new"), wanted);
    }
}
