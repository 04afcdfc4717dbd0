//! `container.stop`, `container.remove`, `container.running`, `container.absent`: containers of a host, through crictl.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::file_checks::HOSTS;
use super::shell;
use crate::action::{Action, Check, Observation, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::world::{Reader, Script, Writer};

const SCRIPT: &str = concat!(include_str!("sh/crictl.sh"), "\n", include_str!("sh/container.sh"));
const NAME: Arg = Arg::required("name", Type::Str, "The container's name in its pod; not a part of it.");
const NAMESPACE: Arg = Arg::optional("namespace", Type::Str, "The namespace of its pod; default: any.");
const POD: Arg = Arg::optional("pod", Type::Str, "The pod's name, such as `etcd-cp1`; default: any.");
const ALL: Arg = Arg::optional("all", Type::Bool, "Whether those that have ended count as well; default: false.");
const RESULT: &[Field] = &[Field { name: "containers", help: "The ids of those that were meant." }];
const NEEDS: &str = "crictl, and root; its endpoint from /etc/crictl.yaml, the kubelet's configuration, or the socket of containerd \
    or CRI-O";
const SOURCE: &str = "kubeadm recovery notes; Kubernetes documentation, Debugging Kubernetes nodes with crictl";

/// `container.stop`
pub const STOP: Kind = Kind {
    name: "container.stop",
    summary: "Stops the running containers of a name.",
    details: "They have 30 s to end. A kubelet that knows the pod starts another at once: to keep a static pod down, use \
        `service.stop`, which sets its manifest aside first.",
    seat: Seat::Host,
    args: &[NAME, NAMESPACE, POD],
    effect: Effect::Probed,
    danger: Danger::Disruptive,
    result: RESULT,
    probe: "None of those that ran before runs.",
    undo: "nothing to take back: the kubelet starts the containers of the pods that it knows",
    needs: NEEDS,
    source: SOURCE,
    example: "{ name: kube-apiserver, namespace: kube-system }",
    make: Make::Action(|args| Ok(Box::new(Act { verb: Verb::Stop, which: Which::from_args(args)? }))),
    ..Kind::BLANK
};

/// `container.remove`
pub const REMOVE: Kind = Kind {
    name: "container.remove",
    summary: "Removes containers of a name that have ended.",
    details: "Refused while one of them runs: stop it first.",
    seat: Seat::Host,
    args: &[NAME, NAMESPACE, POD],
    effect: Effect::Probed,
    danger: Danger::Disruptive,
    result: RESULT,
    probe: "None of those that were there before is there.",
    undo: "nothing to take back: the kubelet makes the containers of the pods that it knows",
    needs: NEEDS,
    source: SOURCE,
    example: "{ name: etcd, namespace: kube-system }",
    make: Make::Action(|args| Ok(Box::new(Act { verb: Verb::Remove, which: Which::from_args(args)? }))),
    ..Kind::BLANK
};

/// `container.running`
pub const RUNNING: Kind = Kind {
    name: "container.running",
    summary: "Holds if a container of a name runs.",
    details: "That it serves is for other checks to say.",
    seat: Seat::Host,
    args: &[NAME, NAMESPACE, POD, HOSTS],
    needs: NEEDS,
    example: "{ name: etcd, namespace: kube-system }",
    make: Make::Check(|args| Ok(Box::new(Is { running: true, which: Which::from_args(args)? }))),
    ..Kind::BLANK
};

/// `container.absent`
pub const ABSENT: Kind = Kind {
    name: "container.absent",
    summary: "Holds if no container of a name runs.",
    details: "Others whose names only contain it, such as operators and guards, do not count.",
    seat: Seat::Host,
    args: &[NAME, NAMESPACE, POD, ALL, HOSTS],
    needs: NEEDS,
    example: "{ name: etcd, namespace: kube-system }",
    make: Make::Check(|args| Ok(Box::new(Is { running: false, which: Which::from_args(args)? }))),
    ..Kind::BLANK
};

/// The containers that are meant, by the labels that the kubelet gives them.
#[derive(Debug, Deserialize)]
struct Which {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    pod: String,
    #[serde(default)]
    all: bool,
}

impl Which {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let which: Self = args::read(args)?;
        for (arg, text) in [("name", &which.name), ("namespace", &which.namespace), ("pod", &which.pod)] {
            let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
            if !plain || (arg == "name" && text.is_empty()) {
                return Err(BadArgs::at(arg, format!("`{}` is no name in Kubernetes", text.escape_debug())));
            }
        }
        Ok(which)
    }

    /// Names them for a person.
    fn shown(&self) -> String {
        let part = |word: &str, text: &str| if text.is_empty() { String::new() } else { format!(" {word} {text}") };
        format!("container {}{}{}", self.name, part("of the pod", &self.pod), part("in", &self.namespace))
    }

    fn script(&self, verb: &str, more: &str) -> Script {
        shell::script(SCRIPT, [verb, &self.name, &self.namespace, &self.pod, more])
    }

    /// Returns the ids of those that run, or with `all` of those that are there.
    async fn ids(&self, reader: &Reader<'_>, all: bool) -> Result<Vec<String>, Fault> {
        let answer = shell::look(reader, &self.script("list", if all { "all" } else { "" }), None).await?;
        Ok(answer.get("containers").split_whitespace().map(str::to_owned).collect())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Stop,
    Remove,
}

/// One thing done to containers.
struct Act {
    verb: Verb,
    which: Which,
}

impl Act {
    /// Judges by those that were there before: what the kubelet started since is not what was meant.
    fn judge(before: &[String], now: &[String]) -> Probe {
        let left = before.iter().filter(|id| now.contains(id)).count();
        let evidence = format!("{left} of {} are still there", before.len());
        match left {
            0 => Probe::Yes { result: json!({ "containers": before }), evidence },
            some if some == before.len() => Probe::No { evidence },
            _ => Probe::Partly { evidence },
        }
    }
}

#[async_trait]
impl Action for Act {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        let word = match self.verb {
            Verb::Stop => "stop --timeout 30",
            Verb::Remove => "rm",
        };
        Preview::of(format!("crictl {word}  # each {}", self.which.shown()))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        Ok(json!(self.which.ids(reader, self.verb == Verb::Remove).await?))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let Ok(before) = serde_json::from_value::<Vec<String>>(before.clone()) else {
            return Ok(Probe::Unknown { evidence: "which containers there were before is not known".to_owned() });
        };
        Ok(Self::judge(&before, &self.which.ids(reader, self.verb == Verb::Remove).await?))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let verb = match self.verb {
            Verb::Stop => "stop",
            Verb::Remove => "remove",
        };
        let answer = shell::run(writer, self.which.script(verb, "")).await?;
        Ok(json!({ "containers": answer.get("containers").split_whitespace().collect::<Vec<_>>() }))
    }

    fn undo(&self, _: &Value, _: Option<&Value>) -> Undo {
        Undo::Nothing("the kubelet starts the containers of the pods that it knows")
    }
}

struct Is {
    running: bool,
    which: Which,
}

#[async_trait]
impl Check for Is {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let ids = self.which.ids(reader, self.which.all).await?;
        let expected = match (self.running, self.which.all) {
            (true, _) => format!("a {} runs", self.which.shown()),
            (false, false) => format!("no {} runs", self.which.shown()),
            (false, true) => format!("there is no {}, not even one that has ended", self.which.shown()),
        };
        let seen = if ids.is_empty() { "none".to_owned() } else { ids.join(" ") };
        Ok(Observation::new(ids.is_empty() != self.running, expected, seen))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_kubelet_started_since_is_not_what_was_stopped() {
        let ids = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let judge = |before, now| match Act::judge(&ids(before), &ids(now)) {
            Probe::Yes { .. } => "yes",
            Probe::No { .. } => "no",
            Probe::Partly { .. } => "partly",
            Probe::Unknown { .. } => "unknown",
        };
        assert_eq!((judge("a b", "c"), judge("a b", "b c"), judge("a b", "a b")), ("yes", "partly", "no"));
        assert_eq!(judge("", "c"), "yes", "there was none to stop");
    }

    #[test]
    fn a_name_that_is_no_label_is_refused() {
        for bad in ["", "a b", "Etcd", "a;b"] {
            assert!(Which::from_args(json!({ "name": bad })).is_err(), "{bad:?}");
        }
        assert!(Which::from_args(json!({ "name": "etcd", "namespace": "kube-system" })).is_ok());
    }
}
