//! The way to the members of etcd: one client per member, made when it is first needed.
//!
//! One client per member and not one for all, because the client spreads its calls over its endpoints, and a status, a hash
//! or a snapshot says something only of the member that gave it. Every call has a bound of its own; a bound for the whole
//! client would cut off a snapshot or a defragmentation. A call that found no connection forgets the member's client, so
//! that the next one begins anew, with certificates read again: a recovery renews them and restarts hosts.

mod quorum;
mod reader;
mod tls;
mod words;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Channel, Client};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::Endpoint;

pub use quorum::{QuorumView, Voter, quorum};
pub use reader::{Alarm, EtcdReader, HashKv, Listed, SnapshotStream, Status};
pub use tls::ca_fingerprint;
pub(crate) use tls::certificates;
pub use writer::EtcdWriter;

use crate::fault::Fault;
use crate::name::HostName;
use crate::site::{Host, Member, Site, Via};
use crate::world::{Reader, Writer};

/// How often an idle connection is asked whether it still lives, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The clients of one world.
#[derive(Default)]
pub struct EtcdPool {
    links: Mutex<BTreeMap<HostName, Link>>,
    material: tokio::sync::Mutex<Option<Arc<tls::Material>>>,
}

/// Why there is no client of a member.
enum NoLink {
    /// What it takes to ask the member cannot be had, which says nothing of the member.
    Credentials(Fault),
    /// There is no way to the member.
    Way(Fault),
}

impl From<Fault> for NoLink {
    fn from(fault: Fault) -> Self {
        Self::Way(fault)
    }
}

impl NoLink {
    fn into_fault(self) -> Fault {
        match self {
            Self::Credentials(fault) | Self::Way(fault) => fault,
        }
    }
}

/// A client of one member.
#[derive(Clone)]
struct Link {
    client: Client,
    url: String,
}

impl EtcdPool {
    fn known(&self, host: &HostName) -> Option<Link> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    fn remember(&self, host: &HostName, link: &Link) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), link.clone());
    }

    /// Drops the client of a member and the TLS material, so that the next call begins anew.
    fn forget(&self, host: &HostName) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
        if let Ok(mut material) = self.material.try_lock() {
            *material = None;
        }
    }
}

impl<'w> Reader<'w> {
    /// Returns the read-only calls to the etcd member of a host, whether it answers or not.
    pub async fn etcd(&self, host: &HostName) -> Result<EtcdReader<'w>, Fault> {
        self.linked(host).await.map_err(|none| none.into_fault().on(host))
    }

    async fn linked(&self, host: &HostName) -> Result<EtcdReader<'w>, NoLink> {
        let (host, member) = member_of(self.site(), host)?;
        let link = if let Some(link) = self.world.etcd.known(&host.name) {
            link
        } else {
            let link = Box::pin(self.link(host, member)).await?;
            self.world.etcd.remember(&host.name, &link);
            link
        };
        Ok(EtcdReader { world: self.world, host, member, client: link.client, url: link.url })
    }

    /// Makes a client for a member. This does not connect: the first call does.
    async fn link(&self, host: &'w Host, member: &'w Member) -> Result<Link, NoLink> {
        let target = Target::of(host, member)?;
        let unusable = |error: tonic::transport::Error| {
            words::fault(words::explain(&etcd_client::Error::TransportError(error)), target.url, "connection")
        };
        let mut endpoint = Endpoint::from_shared(target.url.to_owned())
            .map_err(unusable)?
            .connect_timeout(self.world.settings.connect_timeout)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        if target.secure {
            let material = self.etcd_material().await.map_err(NoLink::Credentials)?;
            endpoint = endpoint.tls_config(material.options(&target.host)).map_err(unusable)?;
        }
        let channel = match self.site().etcd.via {
            Via::Direct => endpoint.connect_lazy(),
            Via::Ssh => {
                let socket = self.world.ssh.forward(host, &target.host, target.port).await?;
                endpoint.connect_with_connector_lazy(tower::service_fn(move |_| dial(socket.clone())))
            }
        };
        let client = Client::from_channel(Channel::Tonic(channel), None).await;
        let client = client.map_err(|error| words::fault(words::explain(&error), target.url, "connection"))?;
        Ok(Link { client, url: target.url.to_owned() })
    }

    /// Returns the TLS material of the site, read once and kept in memory.
    async fn etcd_material(&self) -> Result<Arc<tls::Material>, Fault> {
        let mut kept = self.world.etcd.material.lock().await;
        if let Some(material) = &*kept {
            return Ok(Arc::clone(material));
        }
        let material = Arc::new(tls::Material::read(self).await?);
        *kept = Some(Arc::clone(&material));
        Ok(material)
    }
}

/// Connects to a socket of this machine that SSH forwards to a member.
async fn dial(socket: PathBuf) -> io::Result<TokioIo<UnixStream>> {
    UnixStream::connect(socket).await.map(TokioIo::new)
}

impl<'w> Writer<'w> {
    /// Returns the changing calls to the etcd member of a host.
    pub async fn etcd(&self, host: &HostName) -> Result<EtcdWriter<'w>, Fault> {
        Ok(EtcdWriter { reader: self.reader().etcd(host).await? })
    }
}

/// Finds the member that a host carries.
fn member_of<'w>(site: &'w Site, name: &HostName) -> Result<(&'w Host, &'w Member), Fault> {
    let host = site.hosts.get(name).ok_or_else(|| {
        Fault::refused(format!("the site has no host `{name}`"))
            .hint("use the name of a host under `hosts` in the site")
    })?;
    let member = host.etcd.as_ref().ok_or_else(|| {
        Fault::refused(format!("the site names no etcd member on host `{name}`"))
            .hint(format!("add `etcd: {{ name, client_urls, … }}` to `hosts.{name}` in the site"))
    })?;
    Ok((host, member))
}

/// Where a member listens for clients: its first client URL, taken apart.
struct Target<'a> {
    url: &'a str,
    secure: bool,
    host: String,
    port: u16,
}

impl<'a> Target<'a> {
    fn of(host: &Host, member: &'a Member) -> Result<Self, Fault> {
        let name = &host.name;
        let url = member.client_urls.first().ok_or_else(|| {
            Fault::refused(format!("etcd member `{}` has no client URL in the site", member.name))
                .hint(format!("add one to `hosts.{name}.etcd.client_urls`"))
        })?;
        Self::parse(url).ok_or_else(|| {
            Fault::refused(format!("`{url}` is no client URL of etcd"))
                .expected("https://HOST:PORT or http://HOST:PORT")
                .hint(format!("correct `hosts.{name}.etcd.client_urls` in the site"))
        })
    }

    fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let valid = !host.is_empty() && !host.contains(['/', '@']);
        valid.then_some(())?;
        Some(Self { url, secure, host: host.to_owned(), port: port.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_client_url_is_taken_apart() {
        let target = Target::parse("https://[fd00::1]:2379/").unwrap();
        assert_eq!((target.secure, target.host.as_str(), target.port), (true, "fd00::1", 2379));
        assert_eq!(Target::parse("http://cp1.example:2379").unwrap().host, "cp1.example");
        for bad in ["cp1:2379", "https://cp1", "https://:2379", "https://u@cp1:1", "unix:///run/x:1", "https://cp1:x"] {
            assert!(Target::parse(bad).is_none(), "{bad}");
        }
    }
}
