//! How a service is seen and spoken to: systemd, a static pod, or the site's own commands.

use serde::{Deserialize, Serialize};

use super::shell::{self, Answer};
use crate::fault::Fault;
use crate::site::{Host, Service, Site};
use crate::world::{Reader, Script};

const PRELUDE: &str = include_str!("sh/service_prelude.sh");
const SYSTEMD: &str = include_str!("sh/service_systemd.sh");
const STATIC_POD: &str = concat!(include_str!("sh/crictl.sh"), "\n", include_str!("sh/service_static_pod.sh"));
const COMMAND: &str = include_str!("sh/service_command.sh");

/// Whether a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Up {
    /// It runs.
    Running,
    /// It is being started, and has not ended.
    Starting,
    /// It is started again and again, and ends each time.
    Looping,
    /// It is being stopped.
    Stopping,
    /// It does not run.
    Down,
}

/// What a look at a service saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) up: Up,
    /// For a person.
    pub(super) state: String,
    /// Another one after each start; empty where nothing tells starts apart.
    pub(super) since: String,
    /// As systemd says it: `enabled`, `static`, …; empty where the manager knows nothing of the kind.
    pub(super) enabled: String,
    /// Whether `service.stop` holds it down.
    pub(super) held: bool,
    /// What `enabled` is to be once it is not held down.
    pub(super) held_enabled: String,
    /// Where the manifest of a static pod is kept that is held down.
    #[serde(default)]
    pub(super) kept: String,
}

/// A service of a host, with where the host keeps what requorum remembers of it.
pub(super) struct Managed {
    pub(super) service: Service,
    name: String,
    held: String,
    stem: String,
}

impl Managed {
    /// Resolves the name of a service on the reader's host.
    pub(super) fn find(reader: &Reader<'_>, name: &str) -> Result<Self, Fault> {
        Ok(Self::of(reader.site(), reader.host()?, name))
    }

    pub(super) fn of(site: &Site, host: &Host, name: &str) -> Self {
        let mut service = site.service(host, name);
        if let Service::Systemd { unit } = &mut service
            && !unit.contains('.')
        {
            unit.push_str(".service");
        }
        let root = host.capsule_root.as_ref().unwrap_or(&site.capsule_root).trim_end_matches('/');
        // Two names may mean one unit; what is held down is the unit.
        let (key, stem) = match &service {
            Service::Systemd { unit } => (unit.clone(), String::new()),
            Service::StaticPod { manifest, .. } => (manifest.clone(), shell::aside_stem(site, manifest)),
            Service::Command { .. } => (name.to_owned(), String::new()),
        };
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-@".contains(c) { c } else { '-' };
        let key: String = key.trim_start_matches('/').chars().map(plain).collect();
        Self { service, name: name.to_owned(), held: format!("{root}/{}/held/{key}", site.cluster), stem }
    }

    /// Names it for a person.
    pub(super) fn shown(&self) -> String {
        match &self.service {
            Service::Systemd { unit } => format!("the unit {unit}"),
            Service::StaticPod { manifest, .. } => format!("the static pod of {manifest}"),
            Service::Command { .. } => format!("the service {}", self.name),
        }
    }

    /// Makes the script for a verb: `status`, `start`, `stop`, `restart`, `enable`. The tag is unique by run and step.
    pub(super) fn script(&self, verb: &str, tag: &str) -> Script {
        let owned = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let (body, args) = match &self.service {
            Service::Systemd { unit } => (SYSTEMD, owned(&[verb, unit, &self.held])),
            Service::StaticPod { manifest, container } => {
                (STATIC_POD, owned(&[verb, manifest, container, &self.held, &format!("{}{tag}", self.stem)]))
            }
            Service::Command { start, stop, status } => (COMMAND, owned(&[verb, &self.held, start, stop, status])),
        };
        shell::script(&format!("{PRELUDE}\n{body}"), args)
    }

    /// Looks at it.
    pub(super) async fn look(&self, reader: &Reader<'_>) -> Result<Seen, Fault> {
        let answer = shell::look(reader, &self.script("status", ""), None).await?;
        self.read(&answer).map_err(|fault| match reader.host() {
            Ok(host) => fault.on(&host.name),
            Err(_) => fault,
        })
    }

    /// Reads the answer to `status`.
    pub(super) fn read(&self, answer: &Answer) -> Result<Seen, Fault> {
        let (up, state, since) = match &self.service {
            Service::Systemd { .. } => {
                let (active, sub) = (answer.get("active"), answer.get("sub"));
                let up = match (active, sub) {
                    ("active" | "reloading", _) => Up::Running,
                    ("activating", "auto-restart") => Up::Looping,
                    ("activating", _) => Up::Starting,
                    ("deactivating", _) => Up::Stopping,
                    (_, _) => Up::Down,
                };
                (up, format!("{active} ({sub})"), answer.get("since"))
            }
            Service::StaticPod { .. } => {
                let containers = answer.get("containers").trim();
                let up = match (answer.get("manifest"), containers.is_empty()) {
                    ("there", false) => Up::Running,
                    ("there", true) => Up::Starting,
                    (_, false) => Up::Stopping,
                    (_, true) => Up::Down,
                };
                let running = if containers.is_empty() { "no container" } else { containers };
                (up, format!("manifest {}, {running} running", answer.get("manifest")), containers)
            }
            Service::Command { .. } => {
                let up = match answer.get("code") {
                    "0" => Up::Running,
                    "3" => Up::Down,
                    code => {
                        return Err(Fault::failed(format!("the status command of {} does not say", self.shown()))
                            .expected("exit status 0 if it runs, 3 if it does not")
                            .seen(format!("exit status {code}: {}", answer.get("since")))
                            .hint("run the command by hand on the host; correct `status` in the site"));
                    }
                };
                (up, if up == Up::Running { "running" } else { "not running" }.to_owned(), answer.get("since"))
            }
        };
        Ok(Seen {
            up,
            state,
            since: since.trim().to_owned(),
            enabled: answer.get("enabled").to_owned(),
            held: answer.get("held") == "yes",
            held_enabled: answer.get("held_enabled").to_owned(),
            kept: answer.get("kept").to_owned(),
        })
    }
}
