//! The checks of what runs on a Kubernetes cluster: `kube.nodes_ready`, `kube.pods_ready`, `kube.leases_fresh`.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::kube_object::{condition, is_going, name, sum_up};
use crate::action::{Check, Observation};
use crate::args::{self, Arg, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::fault::Fault;
use crate::transport::kube::{KubeReader, Object, Sort};
use crate::world::Reader;

/// `kube.nodes_ready`
pub static NODES_READY: Kind = Kind {
    name: "kube.nodes_ready",
    summary: "Nodes are there and ready.",
    details: "It reads what the API has in its store. After a restore that is the past, until the node controller and the \
              kubelets have written again: first let `kube.leases_fresh` hold in `kube-node-lease`.",
    seat: Seat::Cluster,
    args: &[Arg::optional(
        "nodes",
        Type::OneOf(&[Type::Word(&["all"]), Type::List(&Type::Str)]),
        "The names of the nodes, or `all` (the default): every node that the API has, at least one.",
    )],
    source: "Kubernetes documentation, Node status",
    example: "{ nodes: [cp1, cp2, cp3] }",
    make: Make::Check(|args| Ok(Box::new(args::read::<NodesReady>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodesReady {
    #[serde(default)]
    nodes: Value,
}

impl NodesReady {
    fn judge(&self, found: &[Value]) -> Observation {
        let line = |node: &Value| match condition(node, "Ready") {
            Some(("True", _)) => (true, format!("{} is ready", name(node))),
            Some((_, why)) => (false, format!("{} is not ready ({why})", name(node))),
            None => (false, format!("{} says nothing of being ready", name(node))),
        };
        let lines: Vec<(bool, String)> = match &self.nodes {
            Value::Array(names) => names
                .iter()
                .filter_map(Value::as_str)
                .map(|wanted| {
                    let node = found.iter().find(|node| name(node) == wanted);
                    node.map_or_else(|| (false, format!("{wanted} is no node")), line)
                })
                .collect(),
            _ => found.iter().map(line).collect(),
        };
        let (holds, seen) = sum_up(&lines);
        let seen = if lines.is_empty() { "there is no node".to_owned() } else { seen };
        Observation::new(holds && !lines.is_empty(), "every node is ready", seen)
    }
}

#[async_trait]
impl Check for NodesReady {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let nodes = reader.kube(None).await?.list(&Sort::new("v1", "Node"), None, None).await?;
        Ok(self.judge(&nodes))
    }
}

/// `kube.pods_ready`
pub static PODS_READY: Kind = Kind {
    name: "kube.pods_ready",
    summary: "The pods of a namespace that a selector chooses are ready, and there are enough of them.",
    details: "Pods that have done their work and pods that are being deleted do not count. What it reads is what kubelets \
              have last written: after a restore, first let `kube.leases_fresh` hold in `kube-node-lease`.",
    seat: Seat::Cluster,
    args: &[
        Arg::required("namespace", Type::Str, "The namespace."),
        Arg::optional("selector", Type::Str, "A label selector, for example `k8s-app=kube-dns`; default: all pods."),
        Arg::optional("at_least", Type::Int, "How many must be ready; default: 1."),
    ],
    source: "Kubernetes documentation, Pod lifecycle, Pod conditions",
    example: "{ namespace: kube-system, selector: component=etcd, at_least: 3 }",
    make: Make::Check(|args| Ok(Box::new(args::read::<PodsReady>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PodsReady {
    namespace: String,
    selector: Option<String>,
    #[serde(default = "one")]
    at_least: usize,
}

fn one() -> usize {
    1
}

impl PodsReady {
    fn judge(&self, found: &[Value]) -> Observation {
        let counts = |pod: &&Value| !is_going(pod) && pod["status"]["phase"] != "Succeeded";
        let line = |pod: &Value| match condition(pod, "Ready") {
            Some(("True", _)) => (true, format!("{} is ready", name(pod))),
            Some((_, why)) => (false, format!("{} is not ready ({why})", name(pod))),
            None => (false, format!("{} is {}", name(pod), pod["status"]["phase"].as_str().unwrap_or("not started"))),
        };
        let lines: Vec<(bool, String)> = found.iter().filter(counts).map(line).collect();
        let (all_ready, seen) = sum_up(&lines);
        let ready = lines.iter().filter(|(ready, _)| *ready).count();
        let seen = if lines.is_empty() { "there is no such pod".to_owned() } else { format!("{ready} ready: {seen}") };
        let holds = all_ready && ready >= self.at_least;
        Observation::new(holds, format!("all of them are ready, at least {}", self.at_least), seen)
    }
}

#[async_trait]
impl Check for PodsReady {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let api = reader.kube(None).await?;
        let pods = api.list(&Sort::new("v1", "Pod"), Some(&self.namespace), self.selector.as_deref()).await?;
        Ok(self.judge(&pods))
    }
}

/// `kube.leases_fresh`
pub static LEASES_FRESH: Kind = Kind {
    name: "kube.leases_fresh",
    summary: "Leases are being renewed: whoever holds them is alive and reaches the API.",
    details: "A lease counts when it is seen to be renewed while this looks, for at most the time that the lease is good for. \
              No clock is compared: after a restore a lease of the past can look as good as new.",
    seat: Seat::Cluster,
    args: &[
        Arg::required(
            "names",
            Type::List(&Type::Str),
            "The names of the leases; in `kube-node-lease` those of the nodes.",
        ),
        Arg::optional("namespace", Type::Str, "Their namespace; default: kube-system."),
    ],
    source: "Kubernetes documentation, Leases",
    example: "{ names: [kube-controller-manager, kube-scheduler] }",
    make: Make::Check(|args| Ok(Box::new(args::read::<LeasesFresh>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeasesFresh {
    names: Vec<String>,
    #[serde(default = "system")]
    namespace: String,
}

fn system() -> String {
    "kube-system".to_owned()
}

/// The pause between two looks at a lease.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a lease that does not say it is watched: what leader election uses by default.
const USUAL: u64 = 15;

/// The longest that a lease is watched, in seconds; the lease of a node is good for 40.
const LONGEST: u64 = 60;

impl LeasesFresh {
    /// Watches one lease until it is renewed.
    async fn watch(&self, api: &KubeReader<'_>, name: &str) -> Result<(bool, String), Fault> {
        let lease = Object {
            sort: Sort::new("coordination.k8s.io/v1", "Lease"),
            namespace: Some(self.namespace.clone()),
            name: name.to_owned(),
        };
        let Some(first) = api.get(&lease).await? else { return Ok((false, format!("there is no lease {name}"))) };
        let good_for = first["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(USUAL).min(LONGEST);
        let ends = Instant::now() + Duration::from_secs(good_for);
        loop {
            let last = Instant::now() >= ends;
            sleep(AGAIN).await;
            let Some(now) = api.get(&lease).await? else { return Ok((false, format!("the lease {name} is gone"))) };
            let holder = now["spec"]["holderIdentity"].as_str().unwrap_or("nobody");
            if now["spec"]["renewTime"] != first["spec"]["renewTime"] && !now["spec"]["renewTime"].is_null() {
                return Ok((true, format!("{name} is renewed by {holder}")));
            }
            if last {
                let since = now["spec"]["renewTime"].as_str().unwrap_or("ever");
                return Ok((false, format!("{name} was not renewed for {good_for} s, last by {holder} at {since}")));
            }
        }
    }
}

#[async_trait]
impl Check for LeasesFresh {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let api = reader.kube(None).await?;
        let watched = join_all(self.names.iter().map(|name| self.watch(&api, name))).await;
        let lines = watched.into_iter().collect::<Result<Vec<_>, Fault>>()?;
        let (renewed, seen) = sum_up(&lines);
        let holds = renewed && !lines.is_empty();
        let seen = if lines.is_empty() { "no lease is named".to_owned() } else { seen };
        Ok(Observation::new(holds, "every lease is renewed while it is watched", seen))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, ready: &str) -> Value {
        json!({
            "metadata": { "name": name },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready, "reason": "Why" }] },
        })
    }

    #[test]
    fn nodes_are_ready_if_each_of_those_that_are_meant_says_so() {
        let nodes = [object("a", "True"), object("b", "Unknown")];
        let judge = |nodes: Value, found: &[Value]| NodesReady { nodes }.judge(found);
        assert!(judge(json!(["a"]), &nodes).holds);
        assert_eq!(judge(json!(["a", "c"]), &nodes).seen, "c is no node (as expected: 1 of 2)");
        assert_eq!(judge(json!("all"), &nodes).seen, "b is not ready (Why) (as expected: 1 of 2)");
        assert!(judge(Value::Null, &nodes[..1]).holds);
        assert!(!judge(Value::Null, &[]).holds);
    }

    #[test]
    fn pods_that_have_ended_or_go_do_not_count() {
        let mut ended = object("ended", "False");
        ended["status"]["phase"] = json!("Succeeded");
        let mut going = object("going", "True");
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let check = |at_least| PodsReady { namespace: "n".to_owned(), selector: None, at_least };
        let pods = [object("a", "True"), ended, going];
        assert!(check(1).judge(&pods).holds);
        assert!(!check(2).judge(&pods).holds);
        assert!(!check(1).judge(&[object("a", "True"), object("b", "False")]).holds);
        assert!(!check(0).judge(&[object("b", "False")]).holds);
    }
}
