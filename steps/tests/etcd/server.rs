//! Real etcd members on loopback, torn down by process id when they are dropped.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use requorum_steps::capsule::Holder;
use requorum_steps::site::{EtcdAccess, Host, Identity, KubeAccess, Member, Site, SshAccess, Tls};
use requorum_steps::world::Settings;
use requorum_steps::{
    Action, AttemptId, Fault, HostName, ItemKey, Make, Observation, RunId, StepId, World, Writer, catalog,
};
use serde_json::Value;
use tempfile::TempDir;

/// The directory of etcd's binaries, where they are not in PATH.
pub fn bin_dir() -> Option<String> {
    std::env::var("REQUORUM_ETCD_DIR").ok()
}

pub fn program(name: &str) -> PathBuf {
    bin_dir().map_or_else(|| PathBuf::from(name), |dir| Path::new(&dir).join(name))
}

pub fn host_name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// Certificates of one cluster.
pub struct Pki {
    pub ca: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "etcd-ca");
        let ca = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
        Self { ca }
    }

    /// Writes `NAME.crt` and `NAME.key`, for a server and client at the address `at`.
    pub fn issue(&self, dir: &Path, name: &str, at: &str, expired: bool) {
        let mut params = rcgen::CertificateParams::new(vec![at.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        if expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        }
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.ca).unwrap();
        fs::write(dir.join(format!("{name}.crt")), cert.pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(dir.join("ca.crt"), self.ca.pem()).unwrap();
    }
}

/// A cluster of real etcd processes on loopback.
pub struct Cluster {
    pub dir: TempDir,
    pub members: BTreeMap<String, Running>,
    pub tls: bool,
}

pub struct Running {
    pub client_port: u16,
    pub peer_port: u16,
    process: Option<Child>,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Cluster {
    /// Starts members of these names, without TLS.
    pub fn start(names: &[&str]) -> Self {
        let mut cluster = Self::prepare(names, false);
        cluster.start_all();
        cluster
    }

    /// Makes a cluster of which nothing is started yet.
    pub fn prepare(names: &[&str], tls: bool) -> Self {
        let running = |_| Running { client_port: free_port(), peer_port: free_port(), process: None };
        let members = names.iter().map(|&name| (name.to_owned(), running(name))).collect();
        Self { dir: TempDir::with_prefix("requorum-etcd-").unwrap(), members, tls }
    }

    pub fn start_all(&mut self) {
        for name in self.members.keys().cloned().collect::<Vec<_>>() {
            self.start_member(&name);
        }
    }

    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("data")
    }

    pub fn client_url(&self, name: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.members[name].client_port)
    }

    pub fn peer_url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}", self.members[name].peer_port)
    }

    pub fn start_member(&mut self, name: &str) {
        let all: Vec<String> = self.members.keys().map(|name| format!("{name}={}", self.peer_url(name))).collect();
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        let (client, peer) = (self.client_url(name), self.peer_url(name));
        let mut command = Command::new(program("etcd"));
        command
            .args(["--name", name, "--data-dir"])
            .arg(self.data_dir(name))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all.join(","), "--heartbeat-interval", "50", "--election-timeout", "500"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if self.tls {
            let file = |name: &str| self.dir.path().join(name);
            command.arg("--cert-file").arg(file("server.crt")).arg("--key-file").arg(file("server.key"));
            command.arg("--trusted-ca-file").arg(file("ca.crt")).arg("--client-cert-auth");
        }
        let process = command.spawn().expect("etcd in PATH or $REQUORUM_ETCD_DIR");
        self.members.get_mut(name).unwrap().process = Some(process);
    }

    pub fn stop_all(&mut self) {
        for name in self.members.keys().cloned().collect::<Vec<_>>() {
            self.stop_member(&name);
        }
    }

    pub fn stop_member(&mut self, name: &str) {
        if let Some(mut process) = self.members.get_mut(name).unwrap().process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The site of this cluster.
    pub fn site(&self) -> Site {
        let tls = |name: &str| self.dir.path().join(name).to_string_lossy().into_owned();
        let host = |name: &String| Host {
            name: host_name(name),
            address: "127.0.0.1".to_owned(),
            roles: vec!["etcd".to_owned()],
            ssh: SshAccess::default(),
            capsule_root: None,
            etcd: Some(Member {
                name: name.clone(),
                client_urls: vec![self.client_url(name)],
                peer_urls: vec![self.peer_url(name)],
                data_dir: self.data_dir(name).to_string_lossy().into_owned(),
                service: "etcd".to_owned(),
                bin_dir: bin_dir(),
            }),
            lost: false,
            vars: serde_json::Map::default(),
        };
        Site {
            cluster: "test".to_owned(),
            platform: "systemd-etcd".to_owned(),
            identity: Identity::default(),
            capsule_root: self.dir.path().join("capsules").to_string_lossy().into_owned(),
            hosts: self.members.keys().map(|name| (host_name(name), host(name))).collect(),
            services: BTreeMap::default(),
            etcd: EtcdAccess {
                tls: self.tls.then(|| Tls {
                    ca: tls("ca.crt"),
                    cert: tls("client.crt"),
                    key: tls("client.key"),
                    server_name: None,
                }),
                ..EtcdAccess::default()
            },
            kube: KubeAccess::default(),
            env: BTreeMap::default(),
            vars: serde_json::Map::default(),
        }
    }

    pub fn world(&self) -> World {
        self.world_of(self.site())
    }

    pub fn world_of(&self, site: Site) -> World {
        let settings = Settings {
            local_capsules: self.dir.path().join("local-capsules"),
            supervisor: PathBuf::from("/nonexistent"),
            kubeconfig: Vec::new(),
            call_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(2),
        };
        World::new(Arc::new(site), settings)
    }

    /// Waits until a check holds.
    pub async fn wait_for(&self, world: &World, kind: &str, args: Value) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let seen = try_observe(world, kind, args.clone()).await;
            if matches!(&seen, Ok(seen) if seen.holds) {
                return;
            }
            assert!(Instant::now() < deadline, "{kind} {args}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn client(&self, name: &str) -> etcd_client::Client {
        etcd_client::Client::connect([self.client_url(name)], None).await.unwrap()
    }

    /// Writes keys, overwrites and deletes some, and compacts in between.
    pub async fn fill(&self, name: &str, keys: usize) {
        let mut client = self.client(name).await;
        for key in 0..keys {
            client.put(format!("/registry/{key:05}"), vec![b'x'; key % 700], None).await.unwrap();
        }
        client.compact(i64::try_from(keys / 2).unwrap(), None).await.unwrap();
        for key in (0..keys).step_by(7) {
            client.put(format!("/registry/{key:05}"), "again", None).await.unwrap();
        }
        for key in (0..keys).step_by(10) {
            client.delete(format!("/registry/{key:05}"), None).await.unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_all();
    }
}

pub async fn try_observe(world: &World, kind: &str, args: Value) -> Result<Observation, Fault> {
    try_observe_on(world, None, kind, args).await
}

pub async fn try_observe_on(world: &World, host: Option<&str>, kind: &str, args: Value) -> Result<Observation, Fault> {
    let Make::Check(make) = catalog::find(kind).unwrap().make else { panic!("{kind} is no check") };
    let host = host.map(host_name);
    make(args).unwrap().observe(&world.reader(host.as_ref())).await
}

pub async fn observe(world: &World, kind: &str, args: Value) -> Observation {
    try_observe(world, kind, args).await.unwrap()
}

pub fn action(kind: &str, args: Value) -> Box<dyn Action> {
    let Make::Action(make) = catalog::find(kind).unwrap().make else { panic!("{kind} is no action") };
    make(args).unwrap()
}

/// The writer of an attempt of a step, on a host or here.
pub fn writer<'w>(world: &'w World, host: Option<&str>, step: &str, number: u32) -> Writer<'w> {
    let host = host.map(host_name);
    let run = RunId::new("run-1").unwrap();
    let item = host.as_ref().map_or_else(ItemKey::single, ItemKey::from);
    let attempt = AttemptId { run: run.clone(), step: StepId::new(step).unwrap(), item, number };
    let holder = Holder {
        cluster: world.site().cluster.clone(),
        run,
        epoch: 1,
        token: "token".to_owned(),
        label: "a test".to_owned(),
    };
    world.writer(host.as_ref(), attempt, holder)
}
