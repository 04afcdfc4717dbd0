//! `kube.delete`: deletes one object, known by its uid.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::kube_object::{API_VERSION, KIND, NAME, NAMESPACE, Named, UID, is_going, uid};
use crate::action::{Action, Preview, Probe};
use crate::args::BadArgs;
use crate::catalog::{Field, Kind, Make, Seat};
use crate::crossing::crossing;
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::transport::kube::Object;
use crate::world::{Reader, Writer};

/// `kube.delete`
pub static DELETE: Kind = Kind {
    name: "kube.delete",
    summary: "Deletes an object.",
    details: "What is deleted is the very object that is there when the attempt begins, or that `uid` names: one of the same \
              name that somebody makes meanwhile stays. It is done when the API has accepted it; finalizers can hold the \
              object for longer, which `kube.deleted` waits for. What belongs to it is collected in the background.",
    seat: Seat::Cluster,
    args: &[API_VERSION, KIND, NAME, NAMESPACE, UID],
    effect: Effect::Probed,
    danger: Danger::Destructive,
    result: &[Field { name: "uid", help: "The uid of what was deleted; null if there was nothing." }],
    probe: "The object is gone, is being deleted, or another one has its name.",
    source: "Kubernetes API conventions, deletion with preconditions",
    example: "{ kind: Secret, namespace: openshift-etcd, name: etcd-peer-cp2 }",
    make: Make::Action(|args| Ok(Box::new(Delete::from_args(args)?))),
    ..Kind::BLANK
};

struct Delete {
    object: Object,
    uid: Option<String>,
}

impl Delete {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let (object, uid) = Named::take_with_uid(args)?;
        Ok(Self { object, uid })
    }

    /// Tells whether the object that is meant is gone: the one of the plan, else the one that was there before.
    fn gone(&self, found: Option<&Value>, before: &Value) -> Probe {
        let meant = self.uid.as_deref().or(before["uid"].as_str());
        let yes = |evidence: String| Probe::Yes { result: json!({ "uid": meant }), evidence };
        match found {
            None => yes(format!("there is no {}", self.object)),
            Some(found) if meant.is_some_and(|meant| meant != uid(found)) => {
                yes(format!("another {} is there, with the uid {}", self.object, uid(found)))
            }
            Some(found) if is_going(found) => yes(format!("{} is being deleted", self.object)),
            Some(found) => Probe::No { evidence: format!("{} is there, with the uid {}", self.object, uid(found)) },
        }
    }
}

#[async_trait]
impl Action for Delete {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        let uid = self.uid.as_ref().map_or_else(String::new, |uid| format!(" with the uid {uid}"));
        Preview::of(format!("kubectl delete   # {}{uid}", self.object))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let found = reader.kube(None).await?.get(&self.object).await?;
        Ok(json!({ "uid": found.as_ref().map(uid) }))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        Ok(self.gone(reader.kube(None).await?.get(&self.object).await?.as_ref(), before))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let api = writer.kube().await?;
        let found = api.reader().get(&self.object).await?;
        let Probe::No { .. } = self.gone(found.as_ref(), &Value::Null) else { return Ok(json!({ "uid": self.uid })) };
        let meant = found.as_ref().map(uid).unwrap_or_default();
        let at = |place: &str| crossing(|| format!("{place} {}", writer.attempt().directory()));
        at("before deleting");
        api.delete(&self.object, meant).await?;
        at("after deleting");
        Ok(json!({ "uid": meant }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gone_is_the_object_that_is_meant() {
        let delete = |uid: Option<&str>| Delete {
            object: Object::cluster_wide("v1", "Namespace", "a"),
            uid: uid.map(str::to_owned),
        };
        let there = json!({ "metadata": { "uid": "1" } });
        let before = |uid: &str| json!({ "uid": uid });
        let is_gone = |delete: &Delete, found, before: &Value| matches!(delete.gone(found, before), Probe::Yes { .. });
        assert!(is_gone(&delete(None), None, &Value::Null));
        assert!(!is_gone(&delete(None), Some(&there), &Value::Null));
        assert!(!is_gone(&delete(None), Some(&there), &before("1")));
        assert!(is_gone(&delete(None), Some(&there), &before("0")));
        assert!(is_gone(&delete(Some("0")), Some(&there), &Value::Null));
        let going = json!({ "metadata": { "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z" } });
        assert!(is_gone(&delete(Some("1")), Some(&going), &Value::Null));
    }
}
