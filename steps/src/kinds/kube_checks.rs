//! The checks of the API of Kubernetes itself and of single objects: `kube.api_ready`, `kube.get`, `kube.deleted`.

use async_trait::async_trait;
use futures_util::future::join_all;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::kube_object::{API_VERSION, KIND, NAME, NAMESPACE, Named, UID, is_going, sum_up, uid};
use crate::action::{Check, Observation};
use crate::args::{self, Arg, BadArgs, Rule, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::fault::Fault;
use crate::name::HostName;
use crate::transport::kube::Object;
use crate::world::Reader;

/// `kube.api_ready`
pub static API_READY: Kind = Kind {
    name: "kube.api_ready",
    summary: "The API of Kubernetes is ready to serve: at the balanced address, or on each of some hosts.",
    details: "Without `servers` it asks the address of the kubeconfig, and one API server behind it answers. With them each \
              host's own API server is asked, at the host's address and the site's `kube.port`.",
    seat: Seat::Cluster,
    args: &[Arg::optional(
        "servers",
        Type::Hosts,
        "The hosts whose API servers are asked; default: the balanced address.",
    )],
    source: "Kubernetes documentation, API health endpoints (/readyz)",
    example: r#"{ servers: "{{ site.hosts | role('control-plane') }}" }"#,
    make: Make::Check(|args| Ok(Box::new(args::read::<ApiReady>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiReady {
    servers: Option<Value>,
}

impl ApiReady {
    /// Returns the hosts to ask; `None` is the balanced address.
    fn hosts(&self) -> Result<Vec<Option<HostName>>, Fault> {
        let Some(named) = &self.servers else { return Ok(vec![None]) };
        let names = args::host_names(named)
            .map_err(|error| Fault::refused("`servers` names no hosts of the site").seen(error.to_string()))?;
        if names.is_empty() {
            return Err(Fault::refused("there is no API server to ask: `servers` is empty"));
        }
        Ok(names.into_iter().map(Some).collect())
    }
}

#[async_trait]
impl Check for ApiReady {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let hosts = self.hosts()?;
        let answers = join_all(hosts.iter().map(|host| async move {
            let api = reader.kube(host.as_ref()).await?;
            let readiness = api.readiness().await?;
            Ok((readiness.ready, format!("{} {}", api.url(), readiness.shown())))
        }));
        let mut lines = Vec::new();
        for (host, answer) in hosts.iter().zip(answers.await) {
            lines.push(match (answer, host) {
                (Ok((ready, text)), _) => (ready, text),
                // Of one address that nothing answers at, nothing was seen; of one host among others, that it is away.
                (Err(fault), None) => return Err(fault),
                (Err(fault), Some(host)) => (false, format!("{host}: {}", fault.what)),
            });
        }
        let (holds, seen) = sum_up(&lines);
        Ok(Observation::new(holds, "the API is ready", seen))
    }
}

/// `kube.get`
pub static GET: Kind = Kind {
    name: "kube.get",
    summary: "An object is there, or a part of it is as expected.",
    details: "With a `jsonpath` alone, the path must lead to something. Of a Secret no value is shown. That an object is not \
              there is `kube.deleted`. After a restore a status can be of the past until its controllers have looked again.",
    seat: Seat::Cluster,
    args: &[
        API_VERSION,
        KIND,
        NAME,
        NAMESPACE,
        Arg::optional("jsonpath", Type::Str, "What to look at (RFC 9535), for example `$.status.phase`; default: all."),
        Arg::optional("equals", Type::Any, "What the one value there must be."),
        Arg::optional("contains", Type::Str, "A text that one of the values there, as text, must contain."),
        Arg::optional("matches", Type::Str, "A regular expression that must match one of the values there, as text."),
    ],
    rules: &[Rule::AtMostOne(&["equals", "contains", "matches"])],
    example: "{ kind: Namespace, name: kube-system, jsonpath: $.status.phase, equals: Active }",
    make: Make::Check(|args| Ok(Box::new(Get::from_args(args)?))),
    ..Kind::BLANK
};

struct Get {
    object: Object,
    path: Option<JsonPath>,
    wanted: Wanted,
    /// The path and what is wanted there, for a person.
    expected: String,
}

enum Wanted {
    Something,
    Equals(Value),
    Contains(String),
    Matches(Regex),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    jsonpath: Option<String>,
    equals: Option<Value>,
    contains: Option<String>,
    matches: Option<String>,
}

impl Get {
    fn from_args(mut args: Value) -> Result<Self, BadArgs> {
        let object = Named::take(&mut args)?;
        let asked: Asked = args::read(args)?;
        let path = asked.jsonpath.as_deref().map(|text| {
            let bad = |error| BadArgs::at("jsonpath", format!("`{text}` is no JSON path (RFC 9535): {error}"));
            JsonPath::parse(text).map_err(bad)
        });
        let path = path.transpose()?;
        let place = asked.jsonpath.map_or_else(|| object.to_string(), |path| format!("{path} of {object}"));
        let (expected, wanted) = match (asked.equals, asked.contains, asked.matches) {
            (Some(value), _, _) => (format!("{place} is {value}"), Wanted::Equals(value)),
            (None, Some(part), _) => (format!("{place} contains `{part}`"), Wanted::Contains(part)),
            (None, None, Some(text)) => {
                let bad = |_| BadArgs::at("matches", format!("`{}` is no regular expression", text.escape_debug()));
                (format!("{place} matches `{text}`"), Wanted::Matches(Regex::new(&text).map_err(bad)?))
            }
            (None, None, None) => (format!("{place} is there"), Wanted::Something),
        };
        Ok(Self { object, path, wanted, expected })
    }

    /// Judges an object: apart from the looking, so that a test needs no API.
    fn judge(&self, found: Option<&Value>) -> Observation {
        let Some(found) = found else {
            return Observation::new(false, &self.expected, format!("there is no {}", self.object));
        };
        let values = self.path.as_ref().map_or_else(|| vec![found], |path| path.query(found).all());
        let text = |value: &&Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let holds = match &self.wanted {
            Wanted::Something => !values.is_empty(),
            Wanted::Equals(wanted) => values.len() == 1 && values[0] == wanted,
            Wanted::Contains(part) => values.iter().any(|value| text(value).contains(part)),
            Wanted::Matches(pattern) => values.iter().any(|value| pattern.is_match(&text(value))),
        };
        let seen = if values.is_empty() {
            "nothing is there".to_owned()
        } else if self.path.is_none() {
            "it is there".to_owned()
        } else if self.object.sort.kind == "Secret" {
            format!("{}, not shown", counted(values.len()))
        } else {
            cut(&values.iter().map(text).collect::<Vec<_>>().join(", "))
        };
        Observation::new(holds, &self.expected, seen)
    }
}

fn counted(values: usize) -> String {
    if values == 1 { "1 value".to_owned() } else { format!("{values} values") }
}

/// What is shown of a value in one line, in characters.
const SHOWN: usize = 300;

fn cut(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() { format!("{cut} …") } else { cut }
}

#[async_trait]
impl Check for Get {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        Ok(self.judge(reader.kube(None).await?.get(&self.object).await?.as_ref()))
    }
}

/// `kube.deleted`
pub static DELETED: Kind = Kind {
    name: "kube.deleted",
    summary: "An object is gone, or with `uid`: the very one that is meant.",
    details: "An object that is being deleted is there until its finalizers let go.",
    seat: Seat::Cluster,
    args: &[API_VERSION, KIND, NAME, NAMESPACE, UID],
    example: "{ kind: Pod, namespace: kube-system, name: web, uid: 0f6e1c9a-5d0b-4f0e-9d5b-3c8f0a1b2c3d }",
    make: Make::Check(|args| Ok(Box::new(Deleted::from_args(args)?))),
    ..Kind::BLANK
};

struct Deleted {
    object: Object,
    uid: Option<String>,
}

impl Deleted {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let (object, uid) = Named::take_with_uid(args)?;
        Ok(Self { object, uid })
    }

    fn judge(&self, found: Option<&Value>) -> Observation {
        let expected = format!("{} is gone", self.object);
        let Some(found) = found else { return Observation::new(true, expected, "it is not there") };
        if self.uid.as_deref().is_some_and(|meant| meant != uid(found)) {
            return Observation::new(true, expected, format!("another one has its name, with the uid {}", uid(found)));
        }
        let seen = if is_going(found) { "it is being deleted" } else { "it is there" };
        let held = found["metadata"]["finalizers"].as_array().filter(|all| is_going(found) && !all.is_empty());
        let held = held.map_or_else(String::new, |all| format!(", held by {}", Value::Array(all.clone())));
        Observation::new(false, expected, format!("{seen}, with the uid {}{held}", uid(found)))
    }
}

#[async_trait]
impl Check for Deleted {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        Ok(self.judge(reader.kube(None).await?.get(&self.object).await?.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn looks(extra: &Value, found: &Value) -> Observation {
        let mut args = json!({ "kind": "Pod", "name": "a", "namespace": "b" });
        args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Get::from_args(args).map_or_else(|error| panic!("{error}"), |get| get.judge(Some(found)))
    }

    #[test]
    fn a_part_of_an_object_is_held_against_what_is_wanted() {
        let pod = json!({ "status": { "phase": "Running", "restarts": 3, "podIPs": [{ "ip": "10.0.0.1" }] } });
        for (extra, holds) in [
            (json!({}), true),
            (json!({ "jsonpath": "$.status.phase" }), true),
            (json!({ "jsonpath": "$.status.reason" }), false),
            (json!({ "jsonpath": "$.status.phase", "equals": "Running" }), true),
            (json!({ "jsonpath": "$.status.restarts", "equals": 3 }), true),
            (json!({ "jsonpath": "$.status.restarts", "equals": "3" }), false),
            (json!({ "jsonpath": "$.status.podIPs[*].ip", "contains": "10.0" }), true),
            (json!({ "jsonpath": "$.status.phase", "matches": "^Fail" }), false),
            (json!({ "jsonpath": "$.status.reason", "equals": null }), false),
        ] {
            assert_eq!(looks(&extra, &pod).holds, holds, "{extra}");
        }
        assert!(Get::from_args(json!({ "kind": "Pod", "name": "a", "jsonpath": "status" })).is_err());
        assert!(Get::from_args(json!({ "kind": "Pod", "name": "a", "matches": "(" })).is_err());
        assert!(Get::from_args(json!({ "kind": "Pod", "name": "" })).is_err());
    }

    #[test]
    fn no_value_of_a_secret_is_shown() {
        let get = json!({ "kind": "Secret", "name": "a", "namespace": "b", "jsonpath": "$.data.key" });
        let seen = Get::from_args(get).map(|get| get.judge(Some(&json!({ "data": { "key": "c2VjcmV0" } }))));
        assert_eq!(seen.unwrap_or_else(|error| panic!("{error}")).seen, "1 value, not shown");
    }

    #[test]
    fn another_object_of_the_same_name_is_not_the_one_that_was_deleted() {
        let deleted = |uid: Option<&str>, found: Option<&Value>| {
            let args = json!({ "kind": "Pod", "name": "a", "namespace": "b", "uid": uid });
            Deleted::from_args(args).map_or_else(|error| panic!("{error}"), |check| check.judge(found).holds)
        };
        let there = json!({ "metadata": { "uid": "2" } });
        assert!(deleted(None, None));
        assert!(!deleted(None, Some(&there)));
        assert!(deleted(Some("1"), Some(&there)));
        assert!(!deleted(Some("2"), Some(&there)));
    }
}
