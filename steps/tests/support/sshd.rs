//! A real sshd on loopback, with keys of its own in a directory that is removed with it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use requorum_steps::site::{Become, EtcdAccess, Host, Identity, KubeAccess, SshAccess};
use requorum_steps::world::Settings;
use requorum_steps::{AttemptId, HostName, Site, World};

/// An sshd that listens on a free port of 127.0.0.1.
pub struct Sshd {
    pub port: u16,
    directory: tempfile::TempDir,
    process: Option<Child>,
}

impl Sshd {
    /// Starts one. `None`, said aloud: there is no sshd on this machine, or it needs root.
    pub fn start() -> Option<Self> {
        if !Path::new("/usr/sbin/sshd").exists() || !rustix::process::getuid().is_root() {
            eprintln!("SKIPPED: these tests need /usr/sbin/sshd and root");
            return None;
        }
        fs::create_dir_all("/run/sshd").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut sshd = Self { port, directory, process: None };
        for name in ["host", "user", "stranger"] {
            sshd.make_key(name);
        }
        let public = fs::read_to_string(sshd.path("user.pub")).unwrap();
        fs::write(sshd.path("authorized_keys"), public).unwrap();
        let host_key = fs::read_to_string(sshd.path("host.pub")).unwrap();
        fs::write(sshd.path("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        sshd.up();
        Some(sshd)
    }

    /// Starts it again on the same port.
    pub fn up(&mut self) {
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nPermitRootLogin yes\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel ERROR\n\
             SetEnv HOME={}\n",
            self.port,
            self.path("host").display(),
            self.path("authorized_keys").display(),
            // The start-up files of the user's shell are none of the test's.
            self.directory.path().display()
        );
        fs::write(self.path("sshd_config"), config).unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(self.path("sshd_config"));
        self.process = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "sshd does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the listener and all its connections, as a crash of the network would cut them.
    pub fn down(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let listener = process.id();
        // The sessions first: they are children of the listener, and their connections go with them.
        for pid in children_of(listener) {
            for below in children_of(pid) {
                if comm(below).starts_with("sshd") {
                    kill(below);
                }
            }
            kill(pid);
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The capsule root of [`Self::world`].
    pub fn root(&self) -> PathBuf {
        self.path("capsules")
    }

    /// A site with the one host `h`, which is this sshd.
    pub fn site(&self) -> Site {
        let name = HostName::new("h").unwrap();
        let ssh = SshAccess {
            user: Some("root".to_owned()),
            port: Some(self.port),
            key: Some(self.path("user")),
            known_hosts: Some(self.path("known_hosts")),
            config: Some("/dev/null".into()),
            elevate: Become::None,
        };
        let host = Host {
            name: name.clone(),
            address: "127.0.0.1".to_owned(),
            roles: Vec::new(),
            ssh,
            capsule_root: None,
            etcd: None,
            lost: false,
            vars: serde_json::Map::new(),
        };
        Site {
            cluster: "testbed".to_owned(),
            platform: "any".to_owned(),
            identity: Identity::default(),
            capsule_root: self.root().display().to_string(),
            hosts: [(name, host)].into(),
            services: [].into(),
            etcd: EtcdAccess::default(),
            kube: KubeAccess::default(),
            env: [].into(),
            vars: serde_json::Map::new(),
        }
    }

    /// The directory of an attempt on the host.
    pub fn capsule(&self, attempt: &AttemptId) -> PathBuf {
        self.root().join("testbed").join(attempt.run.as_str()).join(attempt.directory())
    }

    /// A new world of that site: what a new process would have.
    pub fn world(&self) -> World {
        self.world_of(self.site())
    }

    pub fn world_of(&self, site: Site) -> World {
        let settings = Settings {
            local_capsules: self.path("local"),
            supervisor: "/nonexistent".into(),
            kubeconfig: Vec::new(),
            call_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
        };
        World::new(Arc::new(site), settings)
    }

    fn make_key(&self, name: &str) {
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(self.path(name))
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.down();
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        if rest.split(' ').nth(1) == Some(parent.to_string().as_str()) {
            found.push(pid);
        }
    }
    found
}

fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

fn kill(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
