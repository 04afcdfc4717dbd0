//! A real API of Kubernetes on loopback: etcd and two API servers, on 127.0.0.1 and 127.0.0.2, with certificates of their own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use tempfile::TempDir;

use crate::support::{etcd, wait_until};

/// How long a server may take to be ready, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// Returns the directory of kube-apiserver and kubectl: of the program that `REQUORUM_KUBE_APISERVER` names, else what the lab
/// has fetched. `None` is told on the terminal, past the captured output, unless `REQUORUM_REQUIRE_KUBE` forbids it.
pub fn programs() -> Option<&'static Path> {
    use std::io::Write as _;
    static FOUND: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let named = std::env::var_os("REQUORUM_KUBE_APISERVER").map(PathBuf::from);
        let found = named.and_then(|program| Some(program.parent()?.to_owned())).or_else(of_lab);
        if found.is_none() {
            assert!(
                std::env::var_os("REQUORUM_REQUIRE_KUBE").is_none_or(|value| value != "1"),
                "REQUORUM_REQUIRE_KUBE asks for kube-apiserver, which this machine does not have"
            );
            let line = "NOT TESTED with kube-apiserver: this machine has none (the lab builds one: docs/lab.md; or REQUORUM_KUBE_APISERVER)\n";
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        found
    });
    FOUND.as_deref()
}

fn of_lab() -> Option<PathBuf> {
    let named = std::env::var_os("REQUORUM_LAB_CACHE").map(PathBuf::from);
    let cache = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/requorum/lab")))?;
    let mut all: Vec<PathBuf> = fs::read_dir(cache).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    all.sort();
    let is_it = |dir: &PathBuf| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("kubernetes-1.34-") && dir.join("kube-apiserver").exists() && dir.join("kubectl").exists()
    };
    all.into_iter().find(is_it)
}

/// A program that ends with the value, or with the test program, however that ends.
struct Program {
    keeper: Child,
}

impl Program {
    fn start(command: &Path, args: &[String], log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let keeper = Command::new("sh")
            .args(["-c", r#""$@" </dev/null & pid=$!; read -r _; kill -KILL "$pid"; wait"#, "keeper"])
            .arg(command)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        Self { keeper }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The addresses of the API servers, and the names of their hosts in the site.
pub const SERVERS: [(&str, &str); 2] = [("cp1", "127.0.0.1"), ("cp2", "127.0.0.2")];

/// Two API servers are enough for a small machine: tests with a cluster wait for each other.
static ONE: Mutex<()> = Mutex::new(());

/// The cluster. Its servers end before its directory does.
pub struct Cluster {
    servers: Vec<Option<Program>>,
    _etcd: Program,
    programs: &'static Path,
    etcd_port: u16,
    pub port: u16,
    dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts one, with the first of the API servers; `None` where there is no program for it.
    pub fn up() -> Option<Self> {
        let programs = programs()?;
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::Builder::new().prefix("kube.").tempdir().unwrap();
        make_certificates(dir.path());
        let [etcd_port, peer_port, port] = free_ports();
        let (client, peer) = (format!("http://127.0.0.1:{etcd_port}"), format!("http://127.0.0.1:{peer_port}"));
        let args = [
            "--data-dir".to_owned(),
            dir.path().join("etcd").display().to_string(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
        ];
        let etcd = Program::start(&etcd().dir.join("etcd"), &args, &dir.path().join("etcd.log"));
        let servers = SERVERS.map(|_| None).into();
        let mut cluster = Self { servers, _etcd: etcd, programs, etcd_port, port, dir, _alone: alone };
        cluster.write_kubeconfigs();
        cluster.start(0);
        wait_until("the namespace kube-system", PATIENCE, || {
            cluster.try_kubectl(&["get", "namespace", "kube-system"], "").0
        });
        Some(cluster)
    }

    /// Names a file below its directory.
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Starts one of the API servers, and waits until it is ready.
    pub fn start(&mut self, server: usize) {
        let file = |name: &str| self.path(name);
        let address = SERVERS[server].1;
        let args = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--bind-address={address}"),
            format!("--secure-port={}", self.port),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("server.crt")),
            format!("--service-account-signing-key-file={}", file("server.key")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ];
        let log = self.dir.path().join(format!("{address}.log"));
        self.servers[server] = Some(Program::start(&self.programs.join("kube-apiserver"), &args, &log));
        let url = format!("https://{address}:{}", self.port);
        wait_until(&format!("{url}/readyz, see {}", log.display()), PATIENCE, || {
            self.try_kubectl(&["--server", &url, "get", "--raw", "/readyz"], "").0
        });
    }

    /// Kills one of the API servers.
    pub fn kill(&mut self, server: usize) {
        self.servers[server] = None;
    }

    /// Runs kubectl as an administrator, which is not requorum's own way to the API.
    pub fn try_kubectl(&self, args: &[&str], input: &str) -> (bool, String) {
        let given = self.dir.path().join(format!("stdin.{:?}", std::thread::current().id()));
        fs::write(&given, input).unwrap();
        let output = Command::new(self.programs.join("kubectl"))
            .args(["--kubeconfig", &self.path("admin.conf"), "--request-timeout=10s"])
            .args(args)
            .env("HOME", self.dir.path())
            .env_remove("KUBECONFIG")
            .stdin(File::open(given).unwrap())
            .output()
            .unwrap();
        let said = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// Runs kubectl, which must succeed.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        let (done, said) = self.try_kubectl(args, "");
        assert!(done, "kubectl {args:?}: {said}");
        said
    }

    /// Makes objects of a manifest.
    #[track_caller]
    pub fn create(&self, args: &[&str], manifest: &str) {
        let (done, said) = self.try_kubectl(&[args, &["create", "-f", "-"]].concat(), manifest);
        assert!(done, "kubectl create: {said}\n{manifest}");
    }

    /// Writes a site with these lines beside the hosts.
    pub fn site(&self, name: &str, more: &str) -> String {
        let hosts = SERVERS
            .map(|(name, address)| format!("  {name}: {{ address: {address}, roles: [control-plane], lost: true }}\n"))
            .concat();
        let text = format!("requorum: 1\ncluster: loop\nplatform: any\nhosts:\n{hosts}{more}");
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The lines of a site that name one of its kubeconfigs.
    pub fn kube(&self, kubeconfig: &str) -> String {
        format!("kube: {{ kubeconfig: {}, port: {} }}\n", self.path(kubeconfig), self.port)
    }

    /// The uid of the namespace kube-system.
    pub fn system_uid(&self) -> String {
        self.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])
    }

    /// Writes a kubeconfig for each user, one that trusts another CA, and one for a port where nothing listens. The files that
    /// they name are beside them.
    fn write_kubeconfigs(&self) {
        let [nowhere] = free_ports();
        for (name, ca, user, port) in [
            ("admin.conf", "ca.crt", "admin", self.port),
            ("nobody.conf", "ca.crt", "nobody", self.port),
            ("other-ca.conf", "other.crt", "admin", self.port),
            ("nowhere.conf", "ca.crt", "admin", nowhere),
        ] {
            let text = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                 clusters: [{{ name: c, cluster: {{ server: 'https://127.0.0.1:{port}', certificate-authority: {ca} }} }}]\n\
                 users: [{{ name: u, user: {{ client-certificate: {user}.crt, client-key: {user}.key }} }}]\n\
                 contexts: [{{ name: c, context: {{ cluster: c, user: u }} }}]\n"
            );
            fs::write(self.path(name), text).unwrap();
        }
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held at once, so that no two are the same.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn make_certificates(dir: &Path) {
    let write = |name: &str, text: String| fs::write(dir.join(name), text).unwrap();
    let make_ca = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
    };
    let ((pem, ca), (other, _)) = (make_ca("kubernetes"), make_ca("another"));
    write("ca.crt", pem);
    write("other.crt", other);
    let leaf = |name: &str, organization: &str, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        write(&format!("{name}.crt"), params.signed_by(&key, &ca).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    };
    let mut names = vec![SanType::DnsName("kubernetes.default.svc".try_into().unwrap())];
    names.extend(SERVERS.map(|(_, address)| SanType::IpAddress(address.parse().unwrap())));
    leaf("server", "servers", names, ExtendedKeyUsagePurpose::ServerAuth);
    leaf("admin", "system:masters", Vec::new(), ExtendedKeyUsagePurpose::ClientAuth);
    leaf("nobody", "nobodies", Vec::new(), ExtendedKeyUsagePurpose::ClientAuth);
}
