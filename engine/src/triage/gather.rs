//! Looks at everything that can be reached, all at once, each look with a bound of its own. It has a
//! [`Reader`] and nothing else: it cannot change anything.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use requorum_steps::certificate::Certificate;
use requorum_steps::clock::{self, Ahead};
use requorum_steps::site::{Host, Service, Tls};
use requorum_steps::transport::{etcd, kube};
use requorum_steps::{Fault, FaultKind, HostName, Reader, Script, Site};

use super::answer;
use super::observation::{
    Asked, Authority, EtcdLook, HostLook, HostSeen, KubeSystem, Look, MemberOfSite, Observation, PlacedCertificate,
};

/// The bound for connecting to a host or a member.
pub const CONNECT: Duration = Duration::from_secs(3);
/// The bound for one call to a member.
pub const CALL: Duration = Duration::from_secs(3);
/// The bound for the look at a host, once it is connected.
const HOST_LOOK: Duration = Duration::from_secs(9);
/// The bound for the look at its clock, so that what else was seen of the host is never lost over it.
const CLOCK: Duration = Duration::from_secs(5);
/// The bound for everything about one host or member.
const ALL: Duration = Duration::from_secs(10);

const HOST: &str = include_str!("host.sh");

/// Finds a site in which the TLS files of etcd can be read: the one given, or the same with the files of another host.
///
/// On kubeadm every control plane has the same files at the same paths, and the host that the site names may be the dead
/// one.
pub async fn readable(reader: &Reader<'_>) -> (Asked, Option<Tls>) {
    let Some(tls) = &reader.site().etcd.tls else { return (Asked::AsTheSiteSays, None) };
    let Err(fault) = can_read(reader, tls).await else { return (Asked::AsTheSiteSays, None) };
    let why = fault.what.clone();
    let others: Vec<(&HostName, Tls)> =
        reader.site().members().filter_map(|host| Some((&host.name, from_host(tls, &host.name)?))).collect();
    let tried =
        join_all(others.iter().map(|(host, tls)| async move { (host, tls, can_read(reader, tls).await) })).await;
    match tried.into_iter().find(|(_, _, outcome)| outcome.is_ok()) {
        Some((host, tls, _)) => (Asked::From { host: (*host).clone(), why }, Some(tls.clone())),
        None => (Asked::Not { why }, None),
    }
}

/// Looks at the cluster of the reader's site. `asked` says with which TLS files; where there are none, no member is asked.
pub async fn gather(reader: &Reader<'_>, asked: Asked) -> Observation {
    let site = reader.site();
    let at = Timestamp::now();
    let ask = !matches!(asked, Asked::Not { .. });
    let (hosts, authority, kube_system, certificates) = tokio::join!(
        join_all(
            site.hosts
                .values()
                .map(|host| async move { (host.name.clone(), Box::pin(look_at(reader, host, ask)).await) })
        ),
        authority(reader, ask),
        kube_system(reader),
        certificates(reader, ask),
    );
    Observation {
        cluster: site.cluster.clone(),
        platform: site.platform.clone(),
        at,
        authority,
        kube_system,
        asked,
        certificates,
        hosts: hosts.into_iter().collect::<BTreeMap<_, _>>(),
    }
}

async fn can_read(reader: &Reader<'_>, tls: &Tls) -> Result<(), Fault> {
    let read = join_all([&tls.ca, &tls.cert, &tls.key].map(|place| within(reader.read(place)))).await;
    read.into_iter().try_for_each(|outcome| outcome.map(drop))
}

/// The same files on another host; `None` where they are not on a host, or on this one already.
fn from_host(tls: &Tls, host: &HostName) -> Option<Tls> {
    let moved = |place: &str| {
        let path = place.split_once(':').map(|(_, path)| path).filter(|path| path.starts_with('/'))?;
        Some(format!("{host}:{path}"))
    };
    let other = Tls { ca: moved(&tls.ca)?, cert: moved(&tls.cert)?, key: moved(&tls.key)?, ..tls.clone() };
    (other != *tls).then_some(other)
}

async fn authority(reader: &Reader<'_>, ask: bool) -> Option<Look<Authority>> {
    if !ask || reader.site().etcd.tls.is_none() {
        return None;
    }
    let expected = reader.site().identity.etcd_ca_sha256.clone().map(|text| text.replace(':', "").to_lowercase());
    let seen = within(etcd::ca_fingerprint(reader)).await;
    Some(seen.map(|seen| Authority { expected, seen }).into())
}

async fn kube_system(reader: &Reader<'_>) -> Option<Look<KubeSystem>> {
    let expected = reader.site().identity.kube_system_uid.clone().filter(|_| kube::is_known(reader))?;
    Some(within(kube::system_uid(reader)).await.map(|seen| KubeSystem { expected, seen }).into())
}

/// Reads the client certificate and the CA; those on hosts are seen there as well, which does no harm.
async fn certificates(reader: &Reader<'_>, ask: bool) -> Vec<PlacedCertificate> {
    let Some(tls) = reader.site().etcd.tls.as_ref().filter(|_| ask) else { return Vec::new() };
    let read = join_all([&tls.cert, &tls.ca].map(|place| async move {
        let text = within(reader.read(place)).await?;
        Certificate::of_pem(place, &text).map(|found| (place.clone(), found))
    }))
    .await;
    let found = read.into_iter().filter_map(Result::ok);
    let placed = |(place, found): (String, Vec<Certificate>)| {
        found.into_iter().map(move |certificate| PlacedCertificate { place: place.clone(), certificate })
    };
    found.flat_map(placed).collect()
}

async fn look_at(reader: &Reader<'_>, host: &Host, ask: bool) -> HostSeen {
    let control_plane = host.roles.iter().any(|role| role == "control-plane");
    let (ssh, etcd) = tokio::join!(within(look_by_ssh(reader, host, control_plane)), async {
        if !ask || host.etcd.is_none() {
            return None;
        }
        // The chain of causes behind the words says the same in those of the libraries.
        let answer = Box::pin(within(ask_member(reader, host))).await;
        Some(answer.map_err(|fault| Fault { seen: None, ..fault }).into())
    });
    let member = host.etcd.as_ref();
    let member = member.map(|member| MemberOfSite { name: member.name.clone(), peer_urls: member.peer_urls.clone() });
    HostSeen { member, lost: host.lost, control_plane, ssh: ssh.into(), etcd }
}

async fn look_by_ssh(reader: &Reader<'_>, host: &Host, control_plane: bool) -> Result<HostLook, Fault> {
    let reader = reader.at(&host.name)?;
    let script = Script::new(HOST, words(reader.site(), host, control_plane));
    let (output, clock) =
        tokio::join!(reader.look_within(&script, HOST_LOOK), tokio::time::timeout(CLOCK, clock::look(&reader)));
    let output = output?;
    if output.status != 0 {
        let ended = format!("the look ended with status {}", output.status);
        return Err(Fault::failed(ended).seen(output.tail(3)).on(&host.name));
    }
    let look = answer::read(&host.name, &String::from_utf8_lossy(&output.stdout));
    Ok(HostLook { clock_ahead_ms: clock.ok().and_then(Result::ok).map_or(0, Ahead::surely_ms), ..look })
}

/// The arguments of `host.sh`.
fn words(site: &Site, host: &Host, control_plane: bool) -> Vec<String> {
    let data = host.etcd.as_ref().map_or("", |member| &member.data_dir);
    let conf = host.vars.get("etcd_conf").and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut words = vec![data.to_owned(), conf.to_owned(), if control_plane { "yes" } else { "no" }.to_owned()];
    // Services by which some host runs its etcd are no business of the others.
    let of_etcd: BTreeSet<&str> =
        site.hosts.values().filter_map(|host| Some(host.etcd.as_ref()?.service.as_str())).collect();
    let mut names: Vec<&str> = Vec::new();
    names.extend(host.etcd.as_ref().map(|_| "etcd"));
    if control_plane {
        names
            .extend(site.services.keys().map(String::as_str).filter(|name| *name != "etcd" && !of_etcd.contains(name)));
    }
    for name in names {
        let [manager, first, second] = match site.service(host, name) {
            Service::Systemd { unit } => ["systemd".to_owned(), unit, String::new()],
            Service::StaticPod { manifest, container } => ["static-pod".to_owned(), manifest, container],
            Service::Command { status, .. } => ["command".to_owned(), status, String::new()],
        };
        words.extend([name.to_owned(), manager, first, second]);
    }
    words
}

async fn ask_member(reader: &Reader<'_>, host: &Host) -> Result<EtcdLook, Fault> {
    let member = reader.etcd(&host.name).await?;
    let status = member.status().await?;
    let (listed, serves) = tokio::join!(member.members(), async {
        if status.is_learner {
            return Err(Fault::refused("a learner answers no reads"));
        }
        member.read_linearizable().await
    });
    Ok(EtcdLook { status, listed: listed.into(), serves: serves.into() })
}

/// Bounds all that one look may take.
async fn within<T>(look: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(ALL, look).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::new(FaultKind::TimedOut, format!("no answer within {} s", ALL.as_secs()))),
    }
}
