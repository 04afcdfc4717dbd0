//! The site as written, read into [`Site`] with its defaults, and as templates see it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use requorum_steps::site::{CAPSULE_ROOT, EtcdAccess, Host, Identity, KubeAccess, Member, Service, SshAccess, Tls};
use requorum_steps::{HostName, Site};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Source;
use super::compiled::{SecretOrigin, SecretSource};
use super::diagnostic::{File, Problems, Span, nearest};
use super::document::{name_is_an_identifier, version};
use super::fields::{Fields, OtherFile, text};
use super::keys::{self, PLATFORMS};
use super::template::placeholder;
use super::yaml::{self, Node, Tree};

/// A site that was read: what acts use, what templates see, where its secrets are. A run keeps it in this form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadSite {
    /// What acts use.
    pub site: Site,
    /// What templates see. Secrets are placeholders.
    pub value: Value,
    /// Where the site's secrets come from.
    #[serde(default)]
    pub secrets: Vec<SecretSource>,
}

/// Reads a site. `None` where it is too broken to go on; problems are reported either way.
pub(super) fn read(source: &Source, home: Option<&Path>, problems: &mut Problems) -> Option<ReadSite> {
    let node = yaml::parse(source, File::MAIN, problems)?;
    let fields = Fields::of_file(&node, &keys::SITE, &PLAN, problems)?;
    version(&fields, problems);
    let mut reader = Reader { source, home, problems, via_ssh: false };
    // How etcd is reached is written beside the hosts, and says whether two of them may have one client URL.
    let via = fields.get("etcd").and_then(|etcd| etcd.get("via")).map(|via| &via.value);
    reader.via_ssh = matches!(via, Some(Tree::Text(word)) if &**word == "ssh");
    let ssh = fields.get("ssh").map(|node| reader.ssh(node)).unwrap_or_default();
    let hosts = reader.hosts(&fields, &ssh);
    let platform = reader.platform(&fields);
    let site = Site {
        cluster: reader.cluster(&fields),
        services: reader.services(&fields, &platform),
        platform,
        identity: fields.get("identity").map(|node| reader.identity(node)).unwrap_or_default(),
        capsule_root: reader.absolute(&fields, "capsule_root").unwrap_or_else(|| CAPSULE_ROOT.to_owned()),
        etcd: fields.get("etcd").map(|node| reader.etcd(node, &hosts)).unwrap_or_default(),
        kube: fields.get("kube").map(|node| reader.kube(node, &hosts)).unwrap_or_default(),
        env: reader.texts(&fields, "env"),
        vars: reader.vars(&fields),
        hosts,
    };
    let secrets = reader.secrets(&fields);
    let value = for_templates(&site, &secrets);
    Some(ReadSite { site, value, secrets })
}

/// Says whether a text is a host name or an IP address, by the form that the schema has.
fn is_address(text: &str) -> bool {
    let is_word =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && !text.is_empty();
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && is_word(text) {
        return true;
    }
    let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
    let of_ip_v6 = |b: u8| b.is_ascii_hexdigit() || b":.".contains(&b);
    address.bytes().all(of_ip_v6) && address.matches(':').count() >= 2 && is_word(zone)
}

/// What is given in place of a site by mistake.
const PLAN: OtherFile = OtherFile {
    table: &keys::PLAN,
    code: "not-a-site",
    help: "a plan is given by itself, and a site with `-i`: requorum check PLAN -i SITE",
};

/// The keys of `site` in templates.
pub(super) const SITE_KEYS: [&str; 8] = ["cluster", "platform", "hosts", "services", "etcd", "kube", "secrets", "vars"];
/// The keys of a host in templates.
pub(super) const HOST_KEYS: [&str; 6] = ["name", "address", "roles", "etcd", "lost", "vars"];

fn for_templates(site: &Site, secrets: &[SecretSource]) -> Value {
    let host = |host: &Host| {
        json!({
            "name": host.name, "address": host.address, "roles": host.roles, "etcd": host.etcd, "lost": host.lost,
            "vars": host.vars,
        })
    };
    let hosts: Map<String, Value> = site.hosts.iter().map(|(name, one)| (name.to_string(), host(one))).collect();
    let secrets: Map<String, Value> = secrets
        .iter()
        .filter_map(|secret| Some((secret.name.rsplit_once('.')?.1.to_owned(), placeholder(&secret.name).into())))
        .collect();
    json!({
        "cluster": site.cluster, "platform": site.platform, "hosts": hosts, "services": site.services,
        "etcd": site.etcd, "kube": site.kube, "secrets": secrets, "vars": site.vars,
    })
}

struct Reader<'a, 'p> {
    source: &'a Source,
    home: Option<&'a Path>,
    problems: &'p mut Problems,
    /// Whether etcd is reached through each member's host.
    via_ssh: bool,
}

impl Reader<'_, '_> {
    fn cluster(&mut self, fields: &Fields<'_>) -> String {
        let Some(name) = fields.need_text("cluster", self.problems) else { return String::new() };
        if let (Err(error), Some(node)) = (HostName::new(name), fields.get("cluster")) {
            self.problems
                .error(node.span, "bad-name", format!("`{name}` is no name for a cluster"))
                .cause(format!("a name has {}", error.rule));
        }
        name.to_owned()
    }

    fn platform(&mut self, fields: &Fields<'_>) -> String {
        if fields.need("platform", self.problems).is_none() {
            return String::new();
        }
        let words: Vec<(&str, &str)> = PLATFORMS.iter().map(|name| (*name, *name)).collect();
        fields.word("platform", &words, self.problems).map_or_else(String::new, |(name, _)| name.to_owned())
    }

    fn identity(&mut self, node: &Node) -> Identity {
        let Some(fields) = Fields::read(node, &keys::IDENTITY, self.problems) else {
            return Identity::default();
        };
        let etcd_ca_sha256 = fields.text("etcd_ca_sha256", self.problems).map(|written| {
            let digest = written.replace(':', "").to_lowercase();
            if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                let span = fields.get("etcd_ca_sha256").map_or(node.span, |node| node.span);
                self.problems
                    .error(span, "bad-fingerprint", "`etcd_ca_sha256` is no SHA-256 fingerprint")
                    .cause("it needs 64 hexadecimal digits, with or without colons")
                    .help("openssl x509 -in ca.crt -noout -fingerprint -sha256");
            }
            digest
        });
        let kube_system_uid = fields.text("kube_system_uid", self.problems).map(str::to_owned);
        Identity { etcd_ca_sha256, kube_system_uid }
    }

    fn ssh(&mut self, node: &Node) -> SshAccess {
        let Some(fields) = Fields::read(node, &keys::SSH, self.problems) else { return SshAccess::default() };
        let elevate = fields.word("become", &keys::ELEVATIONS, self.problems);
        SshAccess {
            user: fields.text("user", self.problems).map(str::to_owned),
            port: self.port(&fields),
            key: self.path(&fields, "key"),
            known_hosts: self.path(&fields, "known_hosts"),
            config: self.path(&fields, "config"),
            elevate: elevate.map(|(elevate, _)| elevate).unwrap_or_default(),
        }
    }

    fn port(&mut self, fields: &Fields<'_>) -> Option<u16> {
        let (port, span) = fields.count("port", self.problems)?;
        match u16::try_from(port) {
            Ok(port) if port > 0 => Some(port),
            Ok(_) | Err(_) => {
                self.problems.error(span, "bad-port", format!("{port} is no port")).cause("ports go from 1 to 65535");
                None
            }
        }
    }

    /// A path on this machine.
    fn path(&mut self, fields: &Fields<'_>, key: &str) -> Option<PathBuf> {
        fields.text(key, self.problems).map(|path| self.source.resolve(path, self.home))
    }

    /// A path on a host, which has to be absolute.
    fn absolute(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let path = fields.text(key, self.problems)?;
        if !path.starts_with('/') {
            let span = fields.get(key).map_or(fields.span, |node| node.span);
            self.problems
                .error(span, "relative-path", format!("`{key}` has to be an absolute path"))
                .cause(format!("`{path}` is a path on a host, where there is nothing that it could start from"));
        }
        Some(path.to_owned())
    }

    fn hosts(&mut self, fields: &Fields<'_>, ssh: &SshAccess) -> BTreeMap<HostName, Host> {
        let mut hosts = BTreeMap::new();
        let mut taken = Taken::default();
        let Some(node) = fields.need("hosts", self.problems) else { return hosts };
        let Some(written) = Fields::open(node, "`hosts`", self.problems) else { return hosts };
        for entry in written.entries() {
            match HostName::new(entry.key.as_str()) {
                Ok(name) => {
                    if let Some(host) = self.host(&name, entry.key_span, &entry.node, ssh, &mut taken) {
                        hosts.insert(name, host);
                    }
                }
                Err(error) => {
                    self.problems
                        .error(entry.key_span, "bad-name", format!("`{}` is no name for a host", entry.key))
                        .cause(format!("a name has {}", error.rule));
                }
            }
        }
        hosts
    }

    /// Reads the address of a host: a name or an IP address and nothing else. What stands around it would be taken for a part of it.
    fn address<'n>(&mut self, fields: &Fields<'n>) -> Option<&'n str> {
        let node = fields.need("address", self.problems)?;
        let address = text(node, "address", self.problems)?;
        if is_address(address) {
            return Some(address);
        }
        let shown = address.escape_debug();
        let found = self.problems.error(node.span, "bad-address", format!("`{shown}` is no address that SSH reaches"));
        let bare = address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/');
        match bare.rsplit_once('@').map_or((None, bare), |(user, rest)| (Some(user), rest)) {
            (Some(_), _) => found.help("write the user beside it: ssh: { user: NAME }"),
            (None, rest) if rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                found.help("write the port beside it, and the address alone: ssh: { port: PORT }")
            }
            (None, _) => found.help("write a host name or an IP address alone, such as `10.0.0.11`"),
        };
        None
    }

    fn host(&mut self, name: &HostName, at: Span, node: &Node, ssh: &SshAccess, taken: &mut Taken) -> Option<Host> {
        let fields = Fields::read(node, &keys::HOST, self.problems)?;
        let own = fields.get("ssh").map(|node| (self.ssh(node), node.get("become").is_some()));
        let ssh = own.map_or_else(|| ssh.clone(), |(own, elevates)| laid_over(ssh, own, elevates));
        let address = self.address(&fields).unwrap_or_default().to_owned();
        if !address.is_empty() {
            let port = ssh.port.unwrap_or(22);
            self.claim(
                &mut taken.addresses,
                (address.clone(), port),
                name,
                at,
                &format!("the address {address}:{port}"),
            );
        }
        let etcd = fields.get("etcd").and_then(|node| self.member(name, node, taken));
        if let Some(member) = &etcd {
            self.claim(
                &mut taken.members,
                member.name.clone(),
                name,
                at,
                &format!("the etcd member `{}`", member.name),
            );
        }
        let roles = fields.texts("roles", self.problems).unwrap_or_default();
        Some(Host {
            name: name.clone(),
            address,
            roles: roles.into_iter().map(|(role, _)| role.to_owned()).collect(),
            ssh,
            capsule_root: self.absolute(&fields, "capsule_root"),
            etcd,
            lost: fields.bool("lost", self.problems).unwrap_or_default(),
            vars: self.vars(&fields),
        })
    }

    fn claim<K: Ord>(&mut self, taken: &mut BTreeMap<K, HostName>, key: K, name: &HostName, at: Span, what: &str) {
        if let Some(other) = taken.get(&key) {
            self.problems.error(at, "duplicate-host", format!("the hosts `{other}` and `{name}` both have {what}"));
        } else {
            taken.insert(key, name.clone());
        }
    }

    fn member(&mut self, host: &HostName, node: &Node, taken: &mut Taken) -> Option<Member> {
        let fields = Fields::read(node, &keys::MEMBER, self.problems)?;
        let name = fields.need_text("name", self.problems);
        let client_urls = self.urls(&fields, host, "client_urls", taken);
        let peer_urls = self.urls(&fields, host, "peer_urls", taken);
        let data_dir = self.absolute(&fields, "data_dir").unwrap_or_else(|| "/var/lib/etcd".to_owned());
        let service = fields.text("service", self.problems).unwrap_or("etcd").to_owned();
        let bin_dir = self.absolute(&fields, "bin_dir");
        Some(Member { name: name?.to_owned(), client_urls, peer_urls, data_dir, service, bin_dir })
    }

    fn urls(&mut self, fields: &Fields<'_>, host: &HostName, key: &'static str, taken: &mut Taken) -> Vec<String> {
        if fields.need(key, self.problems).is_none() {
            return Vec::new();
        }
        let urls = fields.texts(key, self.problems).unwrap_or_default();
        if let (true, Some(node)) = (urls.is_empty(), fields.get(key)) {
            self.problems.error(node.span, "bad-url", format!("`{key}` needs at least one URL"));
        }
        for (url, span) in &urls {
            if !is_url(url) {
                self.problems
                    .error(*span, "bad-url", format!("`{url}` is no URL of an etcd member"))
                    .cause("it needs http:// or https://, a host and a port")
                    .help("for example https://10.0.0.11:2379");
                continue;
            }
            // Through SSH each host has its own loopback, so that all members may listen for clients at one URL.
            if !(self.via_ssh && key == "client_urls" && is_loopback(url)) {
                self.claim_url(url, UrlAt { host: host.clone(), key, span: *span }, taken);
            }
        }
        urls.into_iter().map(|(url, _)| url.trim_end_matches('/').to_owned()).collect()
    }

    fn claim_url(&mut self, url: &str, at: UrlAt, taken: &mut Taken) {
        let url = url.trim_end_matches('/');
        let UrlAt { host, key, span } = &at;
        // The scheme is no part of it: two servers cannot listen at one address and port.
        let listener = url.split_once("://").map_or(url, |(_, listener)| listener).to_ascii_lowercase();
        let Some(other) = taken.urls.get(&listener) else {
            taken.urls.insert(listener, at);
            return;
        };
        let message = if other.host == *host {
            format!("the host `{host}` has the URL {url} twice")
        } else {
            format!("the hosts `{}` and `{host}` both have the URL {url}", other.host)
        };
        let first = self.problems.place(other.span);
        let cause = format!("it is in `{}` of `{}` at {first}, and in `{key}` of `{host}` here", other.key, other.host);
        self.problems.error(*span, "duplicate-host", message).cause(cause);
    }

    /// The services of the platform, with those of the site laid over them.
    fn services(&mut self, fields: &Fields<'_>, platform: &str) -> BTreeMap<String, Service> {
        let mut services = Service::of_platform(platform);
        if let Some(written) = fields.get("services").and_then(|node| Fields::open(node, "`services`", self.problems)) {
            let written = written.entries().iter();
            services.extend(written.filter_map(|entry| Some((entry.key.to_string(), self.service(&entry.node)?))));
        }
        services
    }

    fn service(&mut self, node: &Node) -> Option<Service> {
        let open = Fields::open(node, "a service", self.problems)?;
        open.need("manager", self.problems)?;
        let ((manager, known), _) = open.word("manager", &keys::MANAGERS.map(|one| (one.0, one)), self.problems)?;
        let fields = Fields::read(node, known, self.problems)?;
        let mut need = |key: &str| fields.need_text(key, self.problems).map(str::to_owned);
        Some(match manager {
            "systemd" => Service::Systemd { unit: need("unit")? },
            "static-pod" => {
                let (manifest, container) = (need("manifest"), need("container"));
                self.absolute(&fields, "manifest");
                Service::StaticPod { manifest: manifest?, container: container? }
            }
            _ => {
                let (start, stop, status) = (need("start"), need("stop"), need("status"));
                Service::Command { start: start?, stop: stop?, status: status? }
            }
        })
    }

    fn etcd(&mut self, node: &Node, hosts: &BTreeMap<HostName, Host>) -> EtcdAccess {
        let Some(fields) = Fields::read(node, &keys::ETCD, self.problems) else {
            return EtcdAccess::default();
        };
        let version = fields.text("version", self.problems).map(str::to_owned);
        if let (Some(version), Some(node)) = (&version, fields.get("version")) {
            let numbers: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
            if numbers.len() != 2 || numbers.iter().any(Result::is_err) {
                let found = self.problems.error(node.span, "bad-version", format!("`{version}` is no version of etcd"));
                found.help("write major.minor in quotes, for example \"3.5\"");
            }
        }
        let via = fields.word("via", &keys::VIAS, self.problems);
        let tls = fields.get("tls").and_then(|node| {
            let fields = Fields::read(node, &keys::TLS, self.problems)?;
            let [ca, cert, key] = ["ca", "cert", "key"].map(|key| self.material(&fields, key, hosts));
            let server_name = fields.text("server_name", self.problems).map(str::to_owned);
            Some(Tls { ca: ca?, cert: cert?, key: key?, server_name })
        });
        EtcdAccess { version, via: via.map(|(via, _)| via).unwrap_or_default(), tls }
    }

    /// A local path, or `HOST:/path`.
    fn material(&mut self, fields: &Fields<'_>, key: &str, hosts: &BTreeMap<HostName, Host>) -> Option<String> {
        let written = fields.need_text(key, self.problems)?;
        let span = fields.get(key).map_or(fields.span, |node| node.span);
        Some(self.place(written, span, hosts))
    }

    fn place(&mut self, written: &str, span: Span, hosts: &BTreeMap<HostName, Host>) -> String {
        let Some(host) = written.split_once(":/").and_then(|(host, _)| HostName::new(host).ok()) else {
            return self.source.resolve(written, self.home).to_string_lossy().into_owned();
        };
        if !hosts.contains_key(&host) {
            let found = self.problems.error(span, "unknown-host", format!("the site has no host `{host}`"));
            if let Some(near) = nearest(host.as_str(), hosts.keys().map(AsRef::as_ref)) {
                found.help(format!("did you mean `{near}`?"));
            }
        }
        written.to_owned()
    }

    fn kube(&mut self, node: &Node, hosts: &BTreeMap<HostName, Host>) -> KubeAccess {
        let Some(fields) = Fields::read(node, &keys::KUBE, self.problems) else { return KubeAccess::default() };
        let written = match fields.get("kubeconfig") {
            Some(Node { value: Tree::List(items), span, .. }) if items.is_empty() => {
                let found = self.problems.error(*span, "wrong-type", "`kubeconfig` names no file");
                found.help("name one, or leave it out");
                Vec::new()
            }
            Some(Node { value: Tree::List(_), .. }) => fields.texts("kubeconfig", self.problems).unwrap_or_default(),
            Some(node) => text(node, "kubeconfig", self.problems).map(|text| (text, node.span)).into_iter().collect(),
            None => Vec::new(),
        };
        let kubeconfig = written.into_iter().map(|(text, span)| self.place(text, span, hosts)).collect();
        let context = fields.text("context", self.problems).map(str::to_owned);
        let server_name = fields.text("server_name", self.problems).map(str::to_owned);
        KubeAccess { kubeconfig, context, port: self.port(&fields), server_name }
    }

    fn texts(&mut self, fields: &Fields<'_>, key: &'static str) -> BTreeMap<String, String> {
        let Some(written) = fields.get(key).and_then(|node| Fields::open(node, "`env`", self.problems)) else {
            return BTreeMap::new();
        };
        let entries = written.entries().iter();
        entries
            .filter_map(|entry| Some((entry.key.to_string(), text(&entry.node, &entry.key, self.problems)?.to_owned())))
            .collect()
    }

    fn vars(&mut self, fields: &Fields<'_>) -> Map<String, Value> {
        let Some(written) = fields.get("vars").and_then(|node| Fields::open(node, "`vars`", self.problems)) else {
            return Map::new();
        };
        written.entries().iter().map(|entry| (entry.key.to_string(), entry.node.to_json())).collect()
    }

    fn secrets(&mut self, fields: &Fields<'_>) -> Vec<SecretSource> {
        let Some(written) = fields.get("secrets").and_then(|node| Fields::open(node, "`secrets`", self.problems))
        else {
            return Vec::new();
        };
        let mut secrets = Vec::new();
        for entry in written.entries() {
            name_is_an_identifier("secret", entry, self.problems);
            let Some(fields) = Fields::read(&entry.node, &keys::SECRET, self.problems) else { continue };
            let env = fields.text("env", self.problems).map(|name| SecretOrigin::Env(name.to_owned()));
            let command = fields.text("command", self.problems).map(|line| SecretOrigin::Command(line.to_owned()));
            let file = self.path(&fields, "file").map(|path| SecretOrigin::File(path.to_string_lossy().into_owned()));
            if fields.entries().len() != 1 {
                self.problems
                    .error(fields.span, "bad-secret", format!("the secret `{}` needs exactly one origin", entry.key))
                    .help("write one of `env`, `file` and `command`");
            }
            if let Some(origin) = env.or(file).or(command) {
                secrets.push(SecretSource { name: format!("site.secrets.{}", entry.key), origin });
            }
        }
        secrets
    }
}

/// What only one host can have.
#[derive(Default)]
struct Taken {
    addresses: BTreeMap<(String, u16), HostName>,
    members: BTreeMap<String, HostName>,
    /// By address and port.
    urls: BTreeMap<String, UrlAt>,
}

/// Where a URL of an etcd member is written.
struct UrlAt {
    host: HostName,
    key: &'static str,
    span: Span,
}

fn laid_over(site: &SshAccess, host: SshAccess, elevates: bool) -> SshAccess {
    SshAccess {
        user: host.user.or_else(|| site.user.clone()),
        port: host.port.or(site.port),
        key: host.key.or_else(|| site.key.clone()),
        known_hosts: host.known_hosts.or_else(|| site.known_hosts.clone()),
        config: host.config.or_else(|| site.config.clone()),
        elevate: if elevates { host.elevate } else { site.elevate },
    }
}

/// Says whether the URL of a member leads to the machine itself.
fn is_loopback(url: &str) -> bool {
    let host =
        url.split_once("://").and_then(|(_, rest)| rest.trim_end_matches('/').rsplit_once(':')).map(|(host, _)| host);
    let host = host.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    host.is_some_and(|host| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some((host, port)) = rest.and_then(|rest| rest.trim_end_matches('/').rsplit_once(':')) else { return false };
    !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
}
