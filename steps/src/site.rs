//! The site as acts see it: the hosts of one cluster, how to reach them, its etcd members and services.
//!
//! The engine reads the YAML and fills these; nothing here knows YAML. Templates see the same data as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::name::HostName;

/// The default of [`Site::capsule_root`].
pub const CAPSULE_ROOT: &str = "/var/lib/requorum";

/// One cluster: its identity, hosts, services, and how etcd is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The cluster's name; what `--confirm` asks for and what locks and fences are kept under. A [`HostName`]-like word.
    pub cluster: String,
    /// The platform, for example `systemd-etcd`.
    pub platform: String,
    /// What must be true of the cluster before anything is changed.
    #[serde(default)]
    pub identity: Identity,
    /// Where hosts keep attempts and fences; an absolute path on a persistent disk.
    pub capsule_root: String,
    /// The hosts, by name, in the order of the names.
    pub hosts: BTreeMap<HostName, Host>,
    /// What `service.*` starts and stops, by name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// How etcd is reached.
    #[serde(default)]
    pub etcd: EtcdAccess,
    /// How the API of Kubernetes is reached.
    #[serde(default)]
    pub kube: KubeAccess,
    /// Exported to commands on hosts.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The author's own values, for templates.
    #[serde(default)]
    pub vars: serde_json::Map<String, serde_json::Value>,
}

impl Site {
    /// Returns the hosts with a role that are not lost, in the order of their names.
    pub fn with_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Host> {
        self.hosts.values().filter(move |host| !host.lost && host.roles.iter().any(|r| r == role))
    }

    /// Returns the hosts that carry an etcd member and are not lost, in the order of their names.
    pub fn members(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values().filter(|host| !host.lost && host.etcd.is_some())
    }

    /// Returns the service of a name as a host has it. A host's `etcd.service` names its etcd; any name that the site does
    /// not define is a systemd unit of that name.
    #[must_use]
    pub fn service(&self, host: &Host, name: &str) -> Service {
        let name = match &host.etcd {
            Some(etcd) if name == "etcd" => etcd.service.as_str(),
            Some(_) | None => name,
        };
        self.services.get(name).cloned().unwrap_or_else(|| Service::Systemd { unit: name.to_owned() })
    }
}

/// What identifies a cluster across a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// SHA-256 of the etcd CA certificate's DER form, as lower-case hexadecimal without colons.
    pub etcd_ca_sha256: Option<String>,
    /// The uid of the namespace `kube-system`.
    pub kube_system_uid: Option<String>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name in the site.
    pub name: HostName,
    /// A host name or address that SSH can reach.
    pub address: String,
    /// Its roles, for example `etcd`, `control-plane`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// How SSH reaches it: the site's settings with the host's laid over them.
    #[serde(default)]
    pub ssh: SshAccess,
    /// The root of its capsules, where it differs from the site's.
    #[serde(default)]
    pub capsule_root: Option<String>,
    /// Its etcd member.
    #[serde(default)]
    pub etcd: Option<Member>,
    /// Whether the operator has given it up: declared branches skip it.
    #[serde(default)]
    pub lost: bool,
    /// The author's own values, for templates.
    #[serde(default)]
    pub vars: serde_json::Map<String, serde_json::Value>,
}

/// How SSH reaches a host. Whatever is left out comes from the user's `ssh_config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshAccess {
    /// The user.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The private key file.
    pub key: Option<PathBuf>,
    /// The known-hosts file. Unknown and changed keys are always refused.
    pub known_hosts: Option<PathBuf>,
    /// The `ssh_config` file to use instead of the user's.
    pub config: Option<PathBuf>,
    /// How commands become root.
    #[serde(default, rename = "become")]
    pub elevate: Become,
}

/// How commands on hosts become root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Become {
    /// They run as the SSH user.
    #[default]
    None,
    /// `sudo -n`, which must not ask for a password.
    Sudo,
}

/// The etcd member of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The member's name, as the member list shows it.
    pub name: String,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
    /// Its data directory; an absolute path.
    pub data_dir: String,
    /// The service that runs it, by its name in [`Site::services`] or a systemd unit.
    pub service: String,
    /// The directory of `etcd`, `etcdctl` and `etcdutl` on the host; the host's PATH where it is left out.
    #[serde(default)]
    pub bin_dir: Option<String>,
}

/// How `service.*` starts, stops and looks at something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "manager", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Service {
    /// A systemd unit.
    Systemd {
        /// The unit's name.
        unit: String,
    },
    /// A static pod of the kubelet.
    StaticPod {
        /// The manifest's path.
        manifest: String,
        /// The container's name.
        container: String,
    },
    /// Commands of the site's own.
    Command {
        /// Starts it and returns; it must outlive the command (its own session).
        start: String,
        /// Stops it and returns once it has stopped.
        stop: String,
        /// Exits 0 if it runs, 3 if it does not, as systemd's `is-active` does.
        status: String,
    },
}

impl Service {
    /// Returns the services that every cluster of a platform has, so that no site needs to name them. kubeadm: the static
    /// pods of the control plane, as `kubeadm init` writes them, and the kubelet (Kubernetes documentation, kubeadm
    /// implementation details). Of other platforms nothing is known.
    #[must_use]
    pub fn of_platform(platform: &str) -> BTreeMap<String, Self> {
        if platform != "kubeadm" {
            return BTreeMap::new();
        }
        let pods = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(|name| {
            let manifest = format!("/etc/kubernetes/manifests/{name}.yaml");
            (name.to_owned(), Self::StaticPod { manifest, container: name.to_owned() })
        });
        let kubelet = Self::Systemd { unit: "kubelet.service".to_owned() };
        pods.into_iter().chain([("kubelet".to_owned(), kubelet)]).collect()
    }
}

/// How etcd is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdAccess {
    /// The version that the cluster runs, `major.minor`.
    pub version: Option<String>,
    /// Directly, or forwarded through each member's host.
    #[serde(default)]
    pub via: Via,
    /// The client's TLS material; without it the connection is plain.
    pub tls: Option<Tls>,
}

/// The way to etcd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// Straight to the client URLs.
    #[default]
    Direct,
    /// Through an SSH connection to the member's host.
    Ssh,
}

/// TLS material, each a local path or `HOST:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate of the CA that signs the members' certificates.
    pub ca: String,
    /// The client certificate.
    pub cert: String,
    /// The client's private key.
    pub key: String,
    /// The name to expect in the members' certificates, where it is not the host of the URL.
    pub server_name: Option<String>,
}

/// How the API of Kubernetes is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubeAccess {
    /// Kubeconfig files, each a local path or `HOST:/path`; the first that can be read is taken. None: those of the
    /// environment variable `KUBECONFIG`.
    #[serde(default)]
    pub kubeconfig: Vec<String>,
    /// The context in it, where it is not its current one.
    #[serde(default)]
    pub context: Option<String>,
    /// The port of the API server of each control-plane host, where one is asked by itself; 6443 where it is left out.
    #[serde(default)]
    pub port: Option<u16>,
    /// The name to expect in the certificate of an API server that is asked by itself; see [`KUBE_NAME`].
    #[serde(default)]
    pub server_name: Option<String>,
}

/// The default of [`KubeAccess::port`].
pub const KUBE_PORT: u16 = 6443;

/// The default of [`KubeAccess::server_name`]: the name by which pods call the API, which the certificate of every API server
/// carries, whatever address it is reached by (Kubernetes documentation, PKI certificates and requirements).
pub const KUBE_NAME: &str = "kubernetes.default.svc";
