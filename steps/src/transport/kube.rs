//! The way to the API of Kubernetes: one client for the address that the kubeconfig names, which is usually balanced over all
//! API servers, and one for each host whose own API server is asked. Each is made when it is first needed.
//!
//! Every call has a bound of its own, and none is repeated here: a client that repeats hides for how long an API has been
//! away, and would repeat a deletion. A call that found no connection forgets the client, so that the next one begins anew,
//! with the kubeconfig read again: a recovery renews certificates and restarts hosts.

mod access;
mod object;
mod reader;
mod words;
mod writer;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, PoisonError};

use kube::{Client, Config};

pub use object::{Object, Sort};
pub use reader::{KubeReader, Readiness};
pub use writer::{FIELD_MANAGER, KubeWriter};

use access::Access;

use crate::fault::Fault;
use crate::name::HostName;
use crate::site::{Host, KUBE_NAME, KUBE_PORT};
use crate::world::{Reader, Writer};

/// The clients of one world: of the kubeconfig's address (`None`), and of the API servers of hosts.
#[derive(Default)]
pub struct KubePool {
    links: Mutex<BTreeMap<Option<HostName>, Link>>,
    access: tokio::sync::Mutex<Option<Arc<Access>>>,
}

/// A client of one address.
#[derive(Clone)]
struct Link {
    client: Client,
    url: String,
}

impl KubePool {
    fn known(&self, at: Option<&HostName>) -> Option<Link> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(&at.cloned()).cloned()
    }

    fn remember(&self, at: Option<&HostName>, link: &Link) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(at.cloned(), link.clone());
    }

    /// Drops a client and what was read of the kubeconfig, so that the next call begins anew.
    fn forget(&self, at: Option<&HostName>) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(&at.cloned());
        if let Ok(mut access) = self.access.try_lock() {
            *access = None;
        }
    }
}

impl<'w> Reader<'w> {
    /// Returns the read-only calls to the API: at the address that the kubeconfig names, or at the API server of a host, past
    /// whatever balances between them.
    pub async fn kube(&self, at: Option<&HostName>) -> Result<KubeReader<'w>, Fault> {
        let host = at.map(|name| self.world.host(name)).transpose()?;
        let link = if let Some(link) = self.world.kube.known(at) {
            link
        } else {
            let link = Box::pin(self.link_of_kube(host)).await?;
            self.world.kube.remember(at, &link);
            link
        };
        Ok(KubeReader { world: self.world, at: host.map(|host| &host.name), client: link.client, url: link.url })
    }

    /// Makes a client. This does not connect: the first call does.
    async fn link_of_kube(&self, host: Option<&Host>) -> Result<Link, Fault> {
        let access = self.kube_access().await?;
        let url = host.map_or_else(|| access.server.clone(), |host| self.own_url(host));
        let unusable = |error: &dyn std::fmt::Display| {
            Fault::refused(format!("the kubeconfig {} cannot be used", access.place)).seen(error.to_string())
        };
        let mut config = Config::new(url.parse().map_err(|error: http::uri::InvalidUri| unusable(&error))?);
        config.root_cert.clone_from(&access.ca);
        config.accept_invalid_certs = access.insecure;
        config.tls_server_name.clone_from(&access.server_name);
        if host.is_some() {
            let name = self.site().kube.server_name.clone().or(access.server_name.clone());
            config.tls_server_name = Some(name.unwrap_or_else(|| KUBE_NAME.to_owned()));
        }
        config.auth_info = access.user.clone();
        config.connect_timeout = Some(self.world.settings.connect_timeout);
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| unusable(&error))?;
        Ok(Link { client, url })
    }

    /// The address of a host's own API server.
    fn own_url(&self, host: &Host) -> String {
        let port = self.site().kube.port.unwrap_or(KUBE_PORT);
        match host.address.parse::<Ipv6Addr>() {
            Ok(address) => format!("https://[{address}]:{port}"),
            Err(_) => format!("https://{}:{port}", host.address),
        }
    }

    /// Returns what the kubeconfig says, read once and kept in memory.
    async fn kube_access(&self) -> Result<Arc<Access>, Fault> {
        let mut kept = self.world.kube.access.lock().await;
        if let Some(access) = &*kept {
            return Ok(Arc::clone(access));
        }
        let access = Arc::new(Access::read(self).await?);
        *kept = Some(Arc::clone(&access));
        Ok(access)
    }
}

impl<'w> Writer<'w> {
    /// Returns the changing calls to the API, at the address that the kubeconfig names.
    pub async fn kube(&self) -> Result<KubeWriter<'w>, Fault> {
        Ok(KubeWriter { reader: self.reader().kube(None).await? })
    }
}

/// Says whether the site or the environment names a kubeconfig, so that there is an API to ask.
#[must_use]
pub fn is_known(reader: &Reader<'_>) -> bool {
    !reader.site().kube.kubeconfig.is_empty() || !reader.world.settings.kubeconfig.is_empty()
}

/// Returns the uid of the namespace kube-system, which lasts as long as a cluster and survives a restore: what
/// `identity.kube_system_uid` is compared with. `None`: there is no such namespace, as under API servers that go on while the data of
/// etcd were lost.
pub async fn system_uid(reader: &Reader<'_>) -> Result<Option<String>, Fault> {
    let object = Object::cluster_wide("v1", "Namespace", "kube-system");
    let found = reader.kube(None).await?.get(&object).await?;
    Ok(found.as_ref().and_then(|found| found["metadata"]["uid"].as_str()).map(str::to_owned))
}
