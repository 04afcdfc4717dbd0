//! `kube.apply`: server-side apply of one object.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kube_object::uid;
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::crossing::crossing;
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::transport::kube::{FIELD_MANAGER, Object};
use crate::world::{Reader, Writer};

/// `kube.apply`
pub static APPLY: Kind = Kind {
    name: "kube.apply",
    summary: "Makes an object, or brings the fields that the manifest has to their values (server-side apply).",
    details: "Fields that the manifest does not have stay as they are, but for those that requorum applied before and now \
              leaves out. The object gets the annotation `requorum/applied-by`, which names the run, the step and the attempt.",
    seat: Seat::Cluster,
    args: &[
        Arg::required(
            "manifest",
            Type::Map(&Type::Any),
            "The object: `apiVersion`, `kind`, `metadata` with `name` (and `namespace`), and what it shall have. Never shown.",
        )
        .may_be_secret(),
        Arg::optional(
            "data_from",
            Type::Map(&Type::Place),
            "Of a Secret: keys of its `data`, and the files that hold their values, each a path of this machine or HOST:/path, \
             which is read through `become`. At most 1 MiB each; kept in memory only, never shown.",
        ),
        Arg::optional(
            "force",
            Type::Bool,
            "Whether fields that somebody else set are taken over; default: false, then it is refused.",
        ),
    ],
    effect: Effect::Probed,
    danger: Danger::Disruptive,
    result: &[
        Field { name: "uid", help: "The uid of the object." },
        Field { name: "resource_version", help: "Its resource version after it." },
        Field { name: "created", help: "Whether it was made: before, there was none of this name." },
    ],
    probe: "Before an attempt: requorum has applied to the object, and it has what the manifest has. After one whose end is \
            not known: the annotation `requorum/applied-by` is another one than before.",
    undo: "`kube.delete` of an object that was made, by its uid; what was there before is not put back",
    source: "Kubernetes documentation, Server-Side Apply",
    example: "{ manifest: { apiVersion: v1, kind: ConfigMap, metadata: { name: a, namespace: default }, data: { key: value } } }",
    make: Make::Action(|args| Ok(Box::new(Apply::from_args(args)?))),
    ..Kind::BLANK
};

/// The annotation that says which attempt has applied last.
const MARK: &str = "requorum/applied-by";

struct Apply {
    object: Object,
    manifest: Value,
    /// Keys of a Secret's data, and where their values are.
    data_from: BTreeMap<String, String>,
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    manifest: Value,
    #[serde(default)]
    data_from: BTreeMap<String, String>,
    #[serde(default)]
    force: bool,
}

impl Apply {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let Asked { mut manifest, data_from, force } = args::read(args)?;
        let object = Object::of_manifest(&manifest)
            .map_err(|key| BadArgs::at("manifest", format!("it has no `{key}`, which says what it is about")))?;
        if !data_from.is_empty() && object.sort.kind != "Secret" {
            return Err(BadArgs::at("data_from", format!("it is for a Secret, and this is a {}", object.sort.kind)));
        }
        if object.sort.kind == "Secret" {
            encode(&mut manifest);
        }
        Ok(Self { object, manifest, data_from, force })
    }

    /// Returns the manifest with what is read from files.
    async fn whole(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let mut whole = self.manifest.clone();
        for (key, place) in &self.data_from {
            whole["data"][key] = STANDARD.encode(&*reader.read(place).await?).into();
        }
        Ok(whole)
    }
}

/// Writes a Secret's `stringData` as `data`: the API never returns it, so that nobody could tell whether it is there.
fn encode(manifest: &mut Value) {
    let Some(Value::Object(plain)) = manifest.as_object_mut().and_then(|map| map.remove("stringData")) else { return };
    for (key, value) in plain {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        manifest["data"][key] = STANDARD.encode(text).into();
    }
}

/// Says whether a value has all that another has: of maps the keys that it has, everything else equal.
fn has_all(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| has_all(found, wanted)))
        }
        (found, wanted) => found == wanted,
    }
}

/// Says whether requorum has applied to an object.
fn is_ours(found: &Value) -> bool {
    let managers = found["metadata"]["managedFields"].as_array();
    managers
        .is_some_and(|all| all.iter().any(|entry| entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply"))
}

fn mark(object: &Value) -> &Value {
    &object["metadata"]["annotations"][MARK]
}

fn result(object: &Value, created: bool) -> Value {
    json!({ "uid": uid(object), "resource_version": object["metadata"]["resourceVersion"], "created": created })
}

/// Tells from an object whether an attempt has applied, given what was there before it.
fn applied(found: Option<&Value>, before: &Value, object: &Object) -> Probe {
    let Some(found) = found else { return Probe::No { evidence: format!("there is no {object}") } };
    if mark(found).is_null() || *mark(found) == before["mark"] {
        return Probe::No { evidence: format!("{object} does not carry the mark of this attempt") };
    }
    let created = before["uid"] != uid(found);
    let evidence = format!("{object} was applied by {}", mark(found).as_str().unwrap_or_default());
    Probe::Yes { result: result(found, created), evidence }
}

#[async_trait]
impl Action for Apply {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        let force = if self.force { " --force-conflicts" } else { "" };
        Preview::of(format!("kubectl apply --server-side{force}   # {}", self.object))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let found = reader.kube(None).await?.get(&self.object).await?;
        let found = found.unwrap_or_default();
        Ok(json!({ "uid": uid(&found), "mark": mark(&found) }))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let found = reader.kube(None).await?.get(&self.object).await?;
        if !before.is_null() {
            return Ok(applied(found.as_ref(), before, &self.object));
        }
        let Some(found) = found else { return Ok(Probe::No { evidence: format!("there is no {}", self.object) }) };
        if is_ours(&found) && has_all(&found, &self.whole(reader).await?) {
            let evidence = format!("{} has what the manifest has", self.object);
            return Ok(Probe::Yes { result: result(&found, false), evidence });
        }
        Ok(Probe::No { evidence: format!("{} is not as the manifest", self.object) })
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let mut manifest = self.whole(&writer.reader()).await?;
        let attempt = writer.attempt();
        manifest["metadata"]["annotations"][MARK] = format!("{}/{}", attempt.run, attempt.directory()).into();
        let api = writer.kube().await?;
        let there = api.reader().get(&self.object).await?;
        crossing(|| format!("before applying {}", attempt.directory()));
        let applied = api.apply(&self.object, &manifest, self.force).await?;
        crossing(|| format!("after applying {}", attempt.directory()));
        let created = there.is_none_or(|there| uid(&there) != uid(&applied));
        Ok(result(&applied, created))
    }

    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        let Some(result) = result else { return Undo::NeedsResult };
        if result["created"] != true {
            return Undo::Never;
        }
        let Object { sort, namespace, name } = &self.object;
        let mut args =
            json!({ "api_version": sort.api_version, "kind": sort.kind, "name": name, "uid": result["uid"] });
        if let Some(namespace) = namespace {
            args["namespace"] = json!(namespace);
        }
        Undo::By(vec![("kube.delete", args)])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn secret(extra: &Value) -> Value {
        let mut args = json!({
            "manifest": { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "namespace": "b" },
                          "stringData": { "key": "value" } },
        });
        args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        args
    }

    fn apply(args: Value) -> Apply {
        Apply::from_args(args).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_text_of_a_secret_is_compared_as_the_api_keeps_it() {
        let apply = apply(secret(&json!({})));
        assert_eq!(apply.manifest["data"], json!({ "key": "dmFsdWU=" }));
        assert!(apply.manifest.get("stringData").is_none());
        assert!(has_all(
            &json!({ "data": { "key": "dmFsdWU=", "more": "" }, "type": "Opaque" }),
            &json!({ "data": { "key": "dmFsdWU=" } })
        ));
        assert!(!has_all(&json!({ "data": { "key": "bW9yZQ==" } }), &json!({ "data": { "key": "dmFsdWU=" } })));
    }

    #[test]
    fn a_manifest_must_say_what_it_is_about_and_files_are_for_secrets() {
        assert!(Apply::from_args(json!({ "manifest": { "kind": "Secret" } })).is_err());
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
        assert!(Apply::from_args(json!({ "manifest": map, "data_from": { "a": "/b" } })).is_err());
    }

    #[test]
    fn only_another_mark_than_before_says_that_an_attempt_has_applied() {
        let object = Object::cluster_wide("v1", "Namespace", "a");
        let found = |mark: &str| json!({ "metadata": { "uid": "1", "annotations": { MARK: mark } } });
        let before = json!({ "uid": "1", "mark": "run-1/a@-.1" });
        assert!(matches!(applied(None, &before, &object), Probe::No { .. }));
        assert!(matches!(applied(Some(&found("run-1/a@-.1")), &before, &object), Probe::No { .. }));
        let Probe::Yes { result, .. } = applied(Some(&found("run-2/a@-.1")), &before, &object) else { panic!() };
        assert_eq!(result["created"], false);
    }

    #[test]
    fn only_what_was_made_can_be_taken_back() {
        let apply = apply(secret(&json!({})));
        assert_eq!(apply.undo(&Value::Null, Some(&json!({ "created": false }))), Undo::Never);
        let undo = apply.undo(&Value::Null, Some(&json!({ "created": true, "uid": "1" })));
        let args = json!({ "api_version": "v1", "kind": "Secret", "name": "a", "uid": "1", "namespace": "b" });
        assert_eq!(undo, Undo::By(vec![("kube.delete", args)]));
    }
}
