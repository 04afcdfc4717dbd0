//! `etcd.member_remove`: a member that is to go for good, as long as the others keep the quorum.

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

/// `etcd.member_remove`
pub static REMOVE: Kind = Kind {
    name: "etcd.member_remove",
    summary: "Removes a member from the cluster, if the others keep the quorum.",
    details: "It counts, from live members, the voters that would be left and those of them that work, and refuses unless they \
              are a majority. A removed member that still runs ends by itself and never comes back: its data cannot be used \
              to join again, so set it aside.",
    seat: Seat::Cluster,
    args: &[NAME, ID],
    rules: ONE_MEMBER,
    effect: Effect::Probed,
    danger: Danger::Destructive,
    result: &[
        Field { name: "id", help: "Its id, in hexadecimal; null if it was no member any more." },
        Field { name: "name", help: "Its name; null likewise, and empty where it was never started." },
        Field { name: "peer_urls", help: "Its peer URLs; null likewise." },
    ],
    probe: "The member list that a majority agrees on has no member of its id any more.",
    source: "etcd documentation, Runtime reconfiguration, Remove a member; UK8S recovery notes, 3.1.1; kubeadm recovery notes, \
             removing a failed member",
    example: r#"{ name: "{{ inputs.member }}" }"#,
    make: Make::Action(|args| Ok(Box::new(Remove { member: args::read::<OneMember>(args)?.wanted()? }))),
    ..Kind::BLANK
};

#[derive(Debug)]
struct Remove {
    member: Wanted,
}

/// Describes the member that goes, for `before` and the result.
fn described(member: Option<&Listed>) -> Value {
    json!({
        "id": member.map(|member| hex(member.id)),
        "name": member.map(|member| member.name.as_str()),
        "peer_urls": member.map(|member| &member.peer_urls),
    })
}

/// Refuses to remove a member without which the others would be no majority.
fn refuse_if_needed(seen: &Membership<'_>, member: &Listed) -> Result<(), Fault> {
    let left = seen.without(member.id);
    if left.has_quorum() {
        return Ok(());
    }
    Err(Fault::refused(format!("without {} the cluster would have no quorum", show(member)))
        .expected(format!("{} of the {} voters that would be left work", left.needed(), left.voters))
        .seen(format!("{} of them work; {}", left.healthy, seen.evidence()))
        .hint("bring another member back first, or add one; if all but one are lost, only a restore helps"))
}

impl Remove {
    /// Says whether the member is gone.
    fn judge(&self, seen: &Membership<'_>, before: &Value) -> Result<Probe, Fault> {
        let was = before.get("id").and_then(Value::as_str).and_then(|id| u64::from_str_radix(id, 16).ok());
        let found = seen.find(was.map(Wanted::Id).as_ref().unwrap_or(&self.member))?;
        Ok(match found {
            Some(member) => Probe::No { evidence: format!("{} is a member", show(member)) },
            None => Probe::Yes {
                result: if was.is_some() { before.clone() } else { described(None) },
                evidence: format!("{} is no member", was.map_or(self.member.to_string(), hex)),
            },
        })
    }
}

#[async_trait]
impl Action for Remove {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("etcdctl member remove <id of {}>", self.member))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let seen = Membership::agreed(reader).await?;
        Ok(described(seen.find(&self.member)?))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        self.judge(&Membership::agreed(reader).await?, before)
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let seen = Membership::agreed(&writer.reader()).await?;
        let Some(member) = seen.find(&self.member)? else { return Ok(described(None)) };
        refuse_if_needed(&seen, member)?;
        let etcd = writer.etcd(seen.way(Some(member.id))?).await?;
        etcd.member_remove(member.id).await?;
        Ok(described(Some(member)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::etcd_membership::tests::{listed, membership, site};
    use super::*;

    #[test]
    fn a_removal_that_would_cost_the_quorum_is_refused_with_the_numbers() {
        let site = site(&["cp1", "cp2", "cp3"]);
        let list = [listed(1, "a", false), listed(2, "b", false), listed(3, "c", false)];
        let seen = membership(&site, &list, &[1, 2]);
        assert!(refuse_if_needed(&seen, &list[2]).is_ok());
        let fault = refuse_if_needed(&seen, &list[1]).unwrap_err();
        assert_eq!(fault.expected.as_deref(), Some("2 of the 2 voters that would be left work"));
        assert!(fault.seen.unwrap().starts_with("1 of them work; "));
        assert!(refuse_if_needed(&membership(&site, &list[..1], &[1]), &list[0]).is_err(), "the last one");
    }

    #[test]
    fn the_member_of_the_id_that_was_there_is_gone_even_if_its_name_is_back() {
        let site = site(&["cp1", "cp2", "cp3"]);
        let remove = Remove { member: Wanted::Named("cp3".to_owned()) };
        let again = membership(&site, &[listed(1, "a", false), listed(3, "cp3", true)], &[1]);
        let before = json!({ "id": "ab", "name": "cp3", "peer_urls": ["https://10.0.0.3:2380"] });
        let Probe::Yes { result, .. } = remove.judge(&again, &before).unwrap() else { panic!() };
        assert_eq!(result, before);
        assert!(matches!(remove.judge(&again, &Value::Null).unwrap(), Probe::No { .. }));
        let gone = membership(&site, &[listed(1, "a", false)], &[1]);
        assert!(matches!(remove.judge(&gone, &Value::Null).unwrap(), Probe::Yes { .. }));
    }
}
