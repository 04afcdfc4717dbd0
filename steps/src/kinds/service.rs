//! `service.start`, `service.stop`, `service.restart`, `service.enable`.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::service_state::{Managed, Seen, Up};
use super::shell;
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::site::Service;
use crate::world::{Reader, Writer};

pub(super) const SERVICE: Arg = Arg::required(
    "service",
    Type::Str,
    "The service by its name in the site; `etcd` is the host's etcd, and any other name is a systemd unit.",
);
const RESULT: &[Field] = &[
    Field { name: "service", help: "The service as given." },
    Field { name: "changed", help: "Whether it was in another state before." },
    Field { name: "state", help: "Its state afterwards, for a person." },
];
const STOP_RESULT: &[Field] = &[
    RESULT[0],
    RESULT[1],
    RESULT[2],
    Field { name: "manifest", help: "Where the manifest of a static pod is kept meanwhile; of others, empty." },
];
const NEEDS: &str = "systemctl, or crictl for a static pod, or what the site's commands need";
const SOURCE: &str = "UK8S recovery notes (systemctl); OpenShift 4.12 backup and restore and kubeadm recovery notes (manifests \
    moved out of the manifest directory); systemd 219, systemctl(1)";

/// `service.start`
pub const START: Kind = Kind {
    name: "service.start",
    summary: "Starts a service and ends its being held down.",
    details: "Whether it was enabled at boot before it was stopped is restored. Does not wait until it serves, because the \
        first etcd of several does so only when a quorum is up: wait with `verify`. A service that ends at once is a failure. \
        A static pod's manifest is put back, and a container of it is waited for (4 minutes) if a kubelet runs.",
    seat: Seat::Host,
    args: &[SERVICE],
    effect: Effect::Probed,
    danger: Danger::Safe,
    result: RESULT,
    probe: "It runs or is being started, and is not held down.",
    undo: "`service.stop`, where it did not run before, and `service.release` where it was not held down",
    needs: NEEDS,
    source: SOURCE,
    example: "{ service: etcd }",
    make: Make::Action(|args| Ok(Box::new(Act::from_args(args, Verb::Start)?))),
    ..Kind::BLANK
};

/// `service.stop`
pub const STOP: Kind = Kind {
    name: "service.stop",
    summary: "Stops a service and keeps it down, across a reboot too, until it is started again.",
    details: "A unit is disabled, and the host remembers below the capsule root whether it was enabled. A static pod's \
        manifest is renamed to a place beside the manifest directory, and its containers are waited for (45 s). Where no \
        kubelet runs, or it does not do that, they are stopped through crictl. A service of the site's own commands has no \
        boot to be kept from.",
    seat: Seat::Host,
    args: &[SERVICE],
    effect: Effect::Probed,
    lasting: true,
    danger: Danger::Disruptive,
    result: STOP_RESULT,
    probe: "It does not run and is held down.",
    undo: "`service.start` where it ran before, else `service.release`",
    needs: NEEDS,
    source: SOURCE,
    example: "{ service: etcd }",
    make: Make::Action(|args| Ok(Box::new(Act::from_args(args, Verb::Stop)?))),
    ..Kind::BLANK
};

/// `service.restart`
pub const RESTART: Kind = Kind {
    name: "service.restart",
    summary: "Restarts a service.",
    details: "Waits until it has started anew (3 minutes), not until it serves. Refused while it is held down. The container \
        of a static pod is stopped, and the kubelet starts another, after up to five minutes where they have ended often.",
    seat: Seat::Host,
    args: &[SERVICE],
    effect: Effect::Probed,
    danger: Danger::Disruptive,
    result: RESULT,
    probe: "It runs and was started later than before: the start time of the main process and the invocation id; the container's id; \
        what the site's status command prints, such as a process id.",
    undo: "nothing to take back",
    needs: NEEDS,
    source: SOURCE,
    example: "{ service: kubelet }",
    make: Make::Action(|args| Ok(Box::new(Act::from_args(args, Verb::Restart)?))),
    ..Kind::BLANK
};

/// `service.enable`
pub const ENABLE: Kind = Kind {
    name: "service.enable",
    summary: "Makes a unit start at boot.",
    details: "One that is held down stays down until it is started, and is enabled then. A static pod runs after a boot as \
        long as its manifest is there: nothing to do. Refused for a service of the site's own commands.",
    seat: Seat::Host,
    args: &[SERVICE],
    effect: Effect::Probed,
    danger: Danger::Safe,
    result: RESULT,
    probe: "systemd says that it is enabled, or it is held down and will be enabled.",
    needs: NEEDS,
    source: SOURCE,
    example: "{ service: etcd }",
    make: Make::Action(|args| Ok(Box::new(Act::from_args(args, Verb::Enable)?))),
    ..Kind::BLANK
};

/// `service.release`
pub const RELEASE: Kind = Kind {
    name: "service.release",
    summary: "Ends that a service is held down, and leaves it stopped.",
    details: "What `service.stop` does to a service that did not run is taken back with this: a unit is enabled again if it \
        was. Refused where `service.stop` keeps a static pod's manifest: `service.start` puts it back.",
    seat: Seat::Host,
    args: &[SERVICE],
    effect: Effect::Probed,
    danger: Danger::Safe,
    result: RESULT,
    probe: "It is not held down.",
    needs: NEEDS,
    source: SOURCE,
    example: "{ service: etcd }",
    make: Make::Action(|args| Ok(Box::new(Act::from_args(args, Verb::Release)?))),
    ..Kind::BLANK
};

/// What is done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
    Enable,
    Release,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Enable => "enable",
            Self::Release => "release",
        }
    }
}

/// One thing done to one service.
pub(super) struct Act {
    service: String,
    verb: Verb,
}

impl Act {
    pub(super) fn from_args(args: Value, verb: Verb) -> Result<Self, BadArgs> {
        Ok(Self { service: read_service(args)?, verb })
    }

    /// `kept`: where the manifest of a static pod is kept.
    fn result(&self, changed: bool, state: &str, kept: &str) -> Value {
        let mut result = json!({ "service": self.service, "changed": changed, "state": state });
        if self.verb == Verb::Stop {
            result["manifest"] = kept.into();
        }
        result
    }

    /// Tells whether it happened, from what was seen before and is seen now.
    pub(super) fn judge(&self, before: Option<&Seen>, now: &Seen) -> Probe {
        let held = if now.held { ", held down" } else { "" };
        let evidence = format!("{}{held}", now.state);
        let yes = |changed: bool| Probe::Yes {
            result: self.result(changed, &now.state, &now.kept),
            evidence: evidence.clone(),
        };
        let no = || Probe::No { evidence: evidence.clone() };
        let partly = || Probe::Partly { evidence: evidence.clone() };
        match self.verb {
            Verb::Start => match now.up {
                Up::Running | Up::Starting if !now.held => yes(before.is_some_and(|seen| !is_up(seen) || seen.held)),
                Up::Running | Up::Starting | Up::Looping | Up::Down => no(),
                Up::Stopping => partly(),
            },
            Verb::Stop => match now.up {
                Up::Down if now.held => {
                    yes(before.is_none_or(|seen| is_up(seen) || seen.enabled.starts_with("enabled")))
                }
                Up::Running | Up::Starting | Up::Looping | Up::Down => no(),
                Up::Stopping => partly(),
            },
            Verb::Restart => self.judge_restart(before, now, &evidence),
            Verb::Enable => match now.enabled.as_str() {
                _ if now.held && now.held_enabled == "enabled" => {
                    yes(before.is_some_and(|seen| seen.held_enabled != "enabled"))
                }
                "enabled" | "static" | "indirect" | "generated" | "alias" => {
                    yes(before.is_some_and(|seen| seen.enabled != now.enabled))
                }
                _ => no(),
            },
            Verb::Release if now.held => no(),
            Verb::Release => yes(before.is_some_and(|seen| seen.held)),
        }
    }

    fn judge_restart(&self, before: Option<&Seen>, now: &Seen, state: &str) -> Probe {
        let Some(before) = before else {
            return Probe::Unknown { evidence: "when it was started before is not known".to_owned() };
        };
        let evidence = format!("{state}; start {:?}, before {:?}", now.since, before.since);
        match now.up {
            Up::Running | Up::Starting if is_up(before) && before.since.is_empty() => {
                Probe::Unknown { evidence: format!("{state}; nothing tells one start from the next") }
            }
            // Being started counts: an etcd that waits for its quorum was restarted.
            Up::Running | Up::Starting if now.since != before.since && !now.since.is_empty() => {
                Probe::Yes { result: self.result(true, &now.state, &now.kept), evidence }
            }
            Up::Running | Up::Starting if now.since == before.since => Probe::No { evidence },
            Up::Starting | Up::Running | Up::Stopping | Up::Looping => Probe::Partly { evidence },
            Up::Down if is_up(before) => Probe::Partly { evidence },
            Up::Down => Probe::No { evidence },
        }
    }
}

fn is_up(seen: &Seen) -> bool {
    seen.up != Up::Down
}

/// Reads the argument `service`.
pub(super) fn read_service(args: Value) -> Result<String, BadArgs> {
    #[derive(Deserialize)]
    struct Given {
        service: String,
    }
    let Given { service } = args::read(args)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:\\".contains(c);
    if service.is_empty() || service.starts_with('-') || !service.chars().all(plain) {
        return Err(BadArgs::at("service", format!("`{}` is no name of a service or unit", service.escape_debug())));
    }
    Ok(service)
}

#[async_trait]
impl Action for Act {
    fn preview(&self, reader: &Reader<'_>) -> Preview {
        let word = self.verb.word();
        let Ok(managed) = Managed::find(reader, &self.service) else {
            return Preview::of(format!("{word} {}", self.service));
        };
        let command = match (&managed.service, self.verb) {
            (Service::Systemd { unit }, Verb::Stop) => format!("systemctl disable {unit}; systemctl stop {unit}"),
            (Service::Systemd { unit }, Verb::Start | Verb::Restart | Verb::Enable) => {
                format!("systemctl {word} {unit}")
            }
            (Service::StaticPod { manifest, .. }, Verb::Stop) => format!("move {manifest} out of its directory"),
            (Service::StaticPod { manifest, .. }, Verb::Start) => format!("move {manifest} back"),
            (Service::StaticPod { container, .. }, Verb::Restart) => format!("crictl stop {container}"),
            (Service::StaticPod { .. }, Verb::Enable) => "nothing: a static pod starts with the kubelet".to_owned(),
            (Service::Command { start, .. }, Verb::Start) => start.clone(),
            (Service::Command { stop, .. }, Verb::Stop) => stop.clone(),
            (Service::Command { start, stop, .. }, Verb::Restart) => format!("{stop}; {start}"),
            (Service::Command { .. }, Verb::Enable) => "refused: the site's commands know no boot".to_owned(),
            (_, Verb::Release) => format!("no longer keep {} down; do not start it", managed.shown()),
        };
        Preview::of(command)
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        Ok(json!(Managed::find(reader, &self.service)?.look(reader).await?))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let managed = Managed::find(reader, &self.service)?;
        let now = managed.look(reader).await?;
        if self.verb == Verb::Enable && matches!(managed.service, Service::StaticPod { .. }) {
            let evidence = format!("a static pod starts with the kubelet; {}", now.state);
            return Ok(Probe::Yes { result: self.result(false, &now.state, &now.kept), evidence });
        }
        let before: Option<Seen> = serde_json::from_value(before.clone()).ok();
        Ok(self.judge(before.as_ref(), &now))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let reader = writer.reader();
        let managed = Managed::find(&reader, &self.service)?;
        if self.verb == Verb::Enable && matches!(managed.service, Service::Command { .. }) {
            return Err(Fault::refused(format!("{} cannot be enabled", managed.shown()))
                .on(&reader.host()?.name)
                .expected("a systemd unit or a static pod")
                .seen("commands of the site's own, which know no boot")
                .hint("leave the step out, or run a command that does it (ssh.run)"));
        }
        let script = managed.script(self.verb.word(), &shell::tag(writer.attempt()));
        let answer = shell::run(writer, script).await?;
        Ok(self.result(answer.get("changed") != "false", answer.get("state"), answer.get("kept")))
    }

    /// A stopped service is started by the plan itself, also one that was found stopped; or no longer held down.
    fn ended_by(&self, _: &Value, kind: &str, args: &Value) -> bool {
        matches!(kind, "service.start" | "service.restart" | "service.release")
            && args["service"] == self.service.as_str()
    }

    /// Goes by what was seen before, not by the result: starting, stopping and releasing are harmless where it is so already,
    /// so they also take back an attempt of which nobody knows how far it came.
    fn undo(&self, before: &Value, _: Option<&Value>) -> Undo {
        let by = |kinds: &[&'static str]| {
            Undo::By(kinds.iter().map(|kind| (*kind, json!({ "service": self.service }))).collect())
        };
        let Ok(before) = serde_json::from_value::<Seen>(before.clone()) else { return Undo::Never };
        let ran = matches!(before.up, Up::Running | Up::Starting | Up::Looping);
        match self.verb {
            // One that ended each time it was started may run now.
            Verb::Start if ran && before.up != Up::Looping && !before.held => Undo::Nothing("it ran already"),
            Verb::Start if before.held => by(&["service.stop"]),
            Verb::Start => by(&["service.stop", "service.release"]),
            Verb::Stop if ran => by(&["service.start"]),
            Verb::Stop if before.held => Undo::Nothing("it was held down already"),
            Verb::Stop => by(&["service.release"]),
            Verb::Restart => Undo::Nothing("it runs, as it did before"),
            Verb::Enable | Verb::Release => Undo::Never,
        }
    }
}
