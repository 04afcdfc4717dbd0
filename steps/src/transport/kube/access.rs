//! What a kubeconfig says: the server, its CA, and who asks. Read from this machine or from a host, with every file that it
//! names, and kept in memory only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster, Kubeconfig};

use crate::fault::{Fault, FaultKind};
use crate::transport::etcd::certificates;
use crate::world::Reader;

/// What it takes to speak to an API.
pub(super) struct Access {
    /// Where it was read.
    pub(super) place: String,
    /// The URL of the API.
    pub(super) server: String,
    /// The name to expect in the server's certificate, where it is not the host of the URL.
    pub(super) server_name: Option<String>,
    /// The CA certificates that may have signed the server's, in DER form; `None`: those of this machine.
    pub(super) ca: Option<Vec<Vec<u8>>>,
    /// Whether the server's certificate is not looked at, because the kubeconfig says so.
    pub(super) insecure: bool,
    /// Who asks.
    pub(super) user: AuthInfo,
}

impl Access {
    /// Reads the site's kubeconfig: the first of its places that can be read. Where the site names none, those of the
    /// environment variable `KUBECONFIG`, merged as kubectl does.
    pub(super) async fn read(reader: &Reader<'_>) -> Result<Self, Fault> {
        let (config, place) = if reader.site().kube.kubeconfig.is_empty() {
            of_environment(reader).await?
        } else {
            of_site(reader).await?
        };
        choose(&config, place, reader.site().kube.context.as_deref())?.with_files(reader).await
    }
}

/// Reads the first of the site's places that can be read.
async fn of_site(reader: &Reader<'_>) -> Result<(Kubeconfig, String), Fault> {
    let mut passed_over: Vec<Fault> = Vec::new();
    for place in &reader.site().kube.kubeconfig {
        match parse(reader, place).await {
            Ok(config) => return Ok((config, place.clone())),
            Err(fault) => passed_over.push(fault),
        }
    }
    let seen = passed_over.iter().map(told).collect::<Vec<_>>().join("; ");
    let unreachable = passed_over.iter().any(|fault| fault.kind == FaultKind::Unreachable);
    let kind = if unreachable { FaultKind::Unreachable } else { FaultKind::Refused };
    Err(Fault::new(kind, "no kubeconfig of the site can be read").seen(seen).hint(
        "name another place in `kube.kubeconfig` of the site, such as a copy on this machine or on a host that is up",
    ))
}

fn told(fault: &Fault) -> String {
    let on = fault.place.host.as_ref().map_or_else(String::new, |host| format!("{host}: "));
    let seen = fault.seen.as_ref().map_or_else(String::new, |seen| format!(": {seen}"));
    format!("{on}{}{seen}", fault.what)
}

/// Reads and merges the files that `KUBECONFIG` names.
async fn of_environment(reader: &Reader<'_>) -> Result<(Kubeconfig, String), Fault> {
    let mut merged: Option<(Kubeconfig, String)> = None;
    for path in &reader.world.settings.kubeconfig {
        let place = path.to_string_lossy().into_owned();
        let next = parse(reader, &place).await?;
        merged = Some(match merged {
            None => (next, place),
            Some((all, places)) => (all.merge(next).map_err(|error| unusable(&place, &error))?, places),
        });
    }
    merged.ok_or_else(|| {
        Fault::refused("neither the site nor the environment names a kubeconfig")
            .hint("add `kube: { kubeconfig: … }` to the site, such as `\"cp1:/etc/kubernetes/admin.conf\"`, or set KUBECONFIG")
    })
}

fn unusable(place: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::refused(format!("{place} is no kubeconfig that can be used")).seen(error.to_string())
}

/// Reads one kubeconfig. The files that it names are beside it: their paths become places.
async fn parse(reader: &Reader<'_>, place: &str) -> Result<Kubeconfig, Fault> {
    let text = reader.read(place).await?;
    let text = std::str::from_utf8(&text).map_err(|error| unusable(place, &error))?;
    // A parser's message can quote what it could not read, which may be a key.
    let mut config = Kubeconfig::from_yaml(text).map_err(|_| unusable(place, &"it is not the YAML of one"))?;
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        beside(place, &mut cluster.certificate_authority);
    }
    for user in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        beside(place, &mut user.client_certificate);
        beside(place, &mut user.client_key);
        beside(place, &mut user.token_file);
        if user.exec.is_some() && on_host(place) {
            return Err(Fault::refused(format!("{place} gets its credentials from a program of that host"))
                .hint("name a kubeconfig that holds a certificate or a token"));
        }
    }
    Ok(config)
}

fn on_host(place: &str) -> bool {
    place.split_once(':').is_some_and(|(_, path)| path.starts_with('/'))
}

/// Makes a path in a kubeconfig a place: on the host that the kubeconfig is on, from its directory.
fn beside(place: &str, path: &mut Option<String>) {
    let Some(path) = path.as_mut().filter(|path| !path.is_empty()) else { return };
    let (host, file) = match place.split_once(':') {
        Some((host, file)) if file.starts_with('/') => (format!("{host}:"), file),
        Some(_) | None => (String::new(), place),
    };
    let directory = file.rsplit_once('/').map_or(".", |(directory, _)| directory);
    *path = if path.starts_with('/') { format!("{host}{path}") } else { format!("{host}{directory}/{path}") };
}

/// What the chosen context of a kubeconfig leads to.
struct Chosen {
    place: String,
    server: String,
    cluster: Cluster,
    user: AuthInfo,
}

/// Chooses a context, or the current one.
fn choose(config: &Kubeconfig, place: String, context: Option<&str>) -> Result<Chosen, Fault> {
    let lacks = |what: String, known: Vec<&str>| {
        Fault::refused(format!("the kubeconfig {place} has no {what}"))
            .expected(format!("one of: {}", known.join(", ")))
    };
    let name = context.or(config.current_context.as_deref()).unwrap_or_default();
    let found = config.contexts.iter().find(|named| named.name == name).and_then(|named| named.context.as_ref());
    let Some(context) = found else {
        let known = config.contexts.iter().map(|named| named.name.as_str()).collect();
        return Err(lacks(format!("context `{name}`"), known).hint("set `kube.context` in the site"));
    };
    let cluster = config.clusters.iter().find(|named| named.name == context.cluster);
    let Some(cluster) = cluster.and_then(|named| named.cluster.clone()) else {
        let known = config.clusters.iter().map(|named| named.name.as_str()).collect();
        return Err(lacks(format!("cluster `{}`", context.cluster), known));
    };
    let user_name = context.user.clone().unwrap_or_default();
    let user = config.auth_infos.iter().find(|named| named.name == user_name);
    let Some(user) = user.and_then(|named| named.auth_info.clone()) else {
        let known = config.auth_infos.iter().map(|named| named.name.as_str()).collect();
        return Err(lacks(format!("user `{user_name}`"), known));
    };
    let Some(server) = cluster.server.clone() else {
        return Err(Fault::refused(format!("the kubeconfig {place} names no server")));
    };
    if cluster.proxy_url.is_some() {
        return Err(Fault::refused(format!("the kubeconfig {place} asks for a proxy, which is not supported"))
            .hint("name a kubeconfig without `proxy-url`, and reach the API directly"));
    }
    Ok(Chosen { place, server, cluster, user })
}

impl Chosen {
    /// Reads the files that it names, and puts them in their place.
    async fn with_files(self, reader: &Reader<'_>) -> Result<Access, Fault> {
        let Self { place, server, cluster, mut user } = self;
        let ca = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
            (Some(data), _) => {
                let text = STANDARD.decode(data).map_err(|error| unusable(&place, &error))?;
                Some(certificates(&place, &text)?)
            }
            (None, Some(file)) if !file.is_empty() => Some(certificates(file, &reader.read(file).await?)?),
            (None, _) => None,
        };
        if let (Some(file), None) = (user.client_certificate.take(), &user.client_certificate_data) {
            user.client_certificate_data = Some(STANDARD.encode(&*reader.read(&file).await?));
        }
        if let (Some(file), None) = (user.client_key.take(), &user.client_key_data) {
            user.client_key_data = Some(STANDARD.encode(&*reader.read(&file).await?).into());
        }
        if let (Some(file), None) = (user.token_file.take(), &user.token) {
            let token = reader.read(&file).await?;
            user.token = Some(String::from_utf8_lossy(&token).trim().to_owned().into());
        }
        let (insecure, server_name) = (cluster.insecure_skip_tls_verify.unwrap_or(false), cluster.tls_server_name);
        Ok(Access { place, server, server_name, ca, insecure, user })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_that_a_kubeconfig_names_is_on_the_same_machine_beside_it() {
        let placed = |place: &str, path: &str| {
            let mut path = Some(path.to_owned());
            beside(place, &mut path);
            path.unwrap()
        };
        assert_eq!(placed("cp1:/etc/kubernetes/kubelet.conf", "pki/ca.crt"), "cp1:/etc/kubernetes/pki/ca.crt");
        assert_eq!(placed("cp1:/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/a.pem"), "cp1:/var/lib/kubelet/a.pem");
        assert_eq!(placed("/home/op/admin.conf", "ca.crt"), "/home/op/ca.crt");
        assert_eq!(placed("/home/op/admin.conf", "/etc/ca.crt"), "/etc/ca.crt");
        assert_eq!(placed("admin.conf", "ca.crt"), "./ca.crt");
    }

    const TWO: &str = r#"
clusters:
- { name: a, cluster: { server: "https://a:6443" } }
- { name: b, cluster: { server: "https://b:6443", proxy-url: "http://proxy:3128" } }
users: [{ name: admin, user: { token: t } }]
contexts:
- { name: one, context: { cluster: a, user: admin } }
- { name: two, context: { cluster: b, user: admin } }
- { name: three, context: { cluster: c, user: admin } }
- { name: four, context: { cluster: a, user: nobody } }
current-context: one
"#;

    #[test]
    fn the_context_is_the_sites_or_the_current_one() {
        let chosen = |context| choose(&Kubeconfig::from_yaml(TWO).unwrap(), "admin.conf".to_owned(), context);
        assert_eq!(chosen(None).unwrap_or_else(|fault| panic!("{fault}")).server, "https://a:6443");
        for (context, words) in
            [("two", "proxy"), ("three", "cluster `c`"), ("four", "user `nobody`"), ("five", "context `five`")]
        {
            let fault = chosen(Some(context)).err().unwrap();
            assert!(fault.what.contains(words), "{}", fault.what);
        }
    }
}
