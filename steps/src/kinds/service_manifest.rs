//! `service.matches_manifest`: whether a static pod runs what its manifest says.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::file_checks::HOSTS;
use super::service::{SERVICE, read_service};
use super::service_state::Managed;
use super::shell::{self, Answer};
use crate::action::{Check, Observation};
use crate::catalog::{Kind, Make, Seat};
use crate::fault::Fault;
use crate::site::Service;
use crate::world::Reader;

/// How many differences are told.
const TOLD: usize = 4;

/// `service.matches_manifest`
pub const MATCHES: Kind = Kind {
    name: "service.matches_manifest",
    summary: "Holds if a static pod runs what its manifest says.",
    details: "A kubelet that missed a change runs on with what it knew, and so does one whose manifest was changed by hand in the \
        middle of a recovery. Compared are the arguments of the container and the host paths that it has mounted, with those of the \
        manifest; an argument with a variable of Kubernetes in it, `$(NAME)`, up to that.",
    seat: Seat::Host,
    args: &[SERVICE, HOSTS],
    needs: "crictl, and root",
    source: "Kubernetes documentation, Create static Pods",
    example: "{ service: etcd }",
    make: Make::Check(|args| Ok(Box::new(Matches { service: read_service(args)? }))),
    ..Kind::BLANK
};

struct Matches {
    service: String,
}

#[async_trait]
impl Check for Matches {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let managed = Managed::find(reader, &self.service)?;
        let Service::StaticPod { manifest, container } = &managed.service else {
            return Err(Fault::refused(format!("{} is no static pod", managed.shown()))
                .expected("a service of the site with a manifest")
                .hint("give the check to static pods only: `when: site.platform == 'kubeadm'`"));
        };
        judge(manifest, container, &shell::look(reader, &managed.script("inspect", ""), None).await?)
    }
}

/// A pod, as far as it is compared. Source: Kubernetes API reference, Pod.
#[derive(Debug, Deserialize)]
struct Pod {
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Spec {
    containers: Vec<Container>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    volume_mounts: Vec<VolumeMount>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeMount {
    name: String,
    mount_path: String,
    sub_path: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    host_path: Option<HostPath>,
}

#[derive(Debug, Deserialize)]
struct HostPath {
    path: String,
}

/// What `crictl inspect` says of a container: `status` is the runtime interface's, `info` what containerd and CRI-O add alike.
#[derive(Debug, Deserialize)]
struct Inspected {
    status: Status,
    info: Info,
}

#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    container_path: String,
    host_path: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    runtime_spec: RuntimeSpec,
}

#[derive(Debug, Deserialize)]
struct RuntimeSpec {
    process: Process,
}

#[derive(Debug, Deserialize)]
struct Process {
    args: Vec<String>,
}

/// Compares what the script answered.
pub(super) fn judge(manifest: &str, container: &str, answer: &Answer) -> Result<Observation, Fault> {
    let expected = format!("one container {container}, which runs what {manifest} says");
    if answer.get("manifest").is_empty() {
        return Ok(Observation::new(false, expected, "the manifest is not there"));
    }
    let unreadable = |what: &str, why: String| Fault::failed(format!("{what} cannot be read")).seen(why);
    let text = STANDARD.decode(answer.get("manifest")).map_err(|error| unreadable(manifest, error.to_string()))?;
    let pod: Pod = serde_yaml::from_slice(&text).map_err(|error| unreadable(manifest, error.to_string()))?;
    let Some(wanted) = pod.spec.containers.iter().find(|one| one.name == container) else {
        return Ok(Observation::new(false, expected, format!("the manifest has no container {container}")));
    };
    let running: Vec<&str> = answer.lines().filter(|(key, _)| *key == "container").map(|(_, value)| value).collect();
    let &[running] = running.as_slice() else {
        return Ok(Observation::new(false, expected, format!("{} of them run", running.len())));
    };
    let running: Inspected = serde_json::from_str(running)
        .map_err(|error| unreadable(&format!("what crictl says of the container {container}"), error.to_string()))?;
    let real =
        answer.lines().filter(|(key, _)| *key == "real").filter_map(|(_, value)| value.split_once('\t')).collect();
    let mut differences = arguments(wanted, &running.info.runtime_spec.process.args);
    differences.extend(mounts(wanted, &pod.spec.volumes, &running.status.mounts, &real));
    let seen = if differences.is_empty() {
        format!(
            "{} arguments and {} mounts as in it",
            wanted.command.len() + wanted.args.len(),
            wanted.volume_mounts.len()
        )
    } else {
        let more = differences.len().saturating_sub(TOLD);
        differences.truncate(TOLD);
        differences.join("; ") + &if more > 0 { format!("; and {more} more") } else { String::new() }
    };
    Ok(Observation::new(differences.is_empty(), expected, seen))
}

/// Tells in what the arguments of a process differ from those of a manifest. Without a command there, the image's own comes first.
fn arguments(wanted: &Container, running: &[String]) -> Vec<String> {
    let own = if wanted.command.is_empty() { running.len().saturating_sub(wanted.args.len()) } else { 0 };
    let wanted: Vec<&String> = wanted.command.iter().chain(&wanted.args).collect();
    let running = &running[own..];
    // The kubelet puts values in the place of variables.
    let same = |wanted: &str, running: &str| match wanted.split_once("$(") {
        Some((before, _)) => running.starts_with(before),
        None => wanted == running,
    };
    if wanted.len() == running.len() && wanted.iter().zip(running).all(|(wanted, running)| same(wanted, running)) {
        return Vec::new();
    }
    let missing = wanted.iter().filter(|one| !running.iter().any(|other| same(one, other)));
    let foreign = running.iter().filter(|one| !wanted.iter().any(|other| same(other, one)));
    let mut told: Vec<String> = missing.map(|one| format!("it runs without `{one}`")).collect();
    told.extend(foreign.map(|one| format!("it runs with `{one}`")));
    if told.is_empty() {
        told.push("its arguments are in another order, or some more than once".to_owned());
    }
    told
}

/// Tells which host paths of a manifest are not mounted where they should be. `real`: paths of the manifest, and where their
/// symbolic links lead, which some runtimes tell instead.
fn mounts(wanted: &Container, volumes: &[Volume], running: &[Mount], real: &BTreeMap<&str, &str>) -> Vec<String> {
    let plain = |path: &str| path.trim_end_matches('/').to_owned();
    let of_host = wanted.volume_mounts.iter().filter(|mount| mount.sub_path.is_none()).filter_map(|mount| {
        let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
        Some((&mount.mount_path, &volume.host_path.as_ref()?.path))
    });
    of_host
        .filter_map(|(at, path)| {
            let seen = running
                .iter()
                .find(|mount| plain(&mount.container_path) == plain(at))
                .map(|mount| plain(&mount.host_path));
            let same = |seen: &String| {
                *seen == plain(path) || real.get(path.as_str()).is_some_and(|real| *seen == plain(real))
            };
            match seen {
                Some(seen) if same(&seen) => None,
                Some(seen) => Some(format!("at {at} it has {seen}, not {path}")),
                None => Some(format!("at {at} it has nothing of the host, not {path}")),
            }
        })
        .collect()
}
