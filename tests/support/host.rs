//! A host of one's own to break: a real sshd in process and mount namespaces of its own, so that the host can be stopped,
//! killed and booted again as a whole, with another boot id, users and login shells, while the machine notices nothing.
//!
//! It needs root. The host's first process ends with the test, however that ends, and all of the host with it.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::wait_until;

const FIRST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/support/host.sh");
const SSHD: &str = "/usr/sbin/sshd";
/// Where the host with a network of its own is; the machine's end is the address before it.
const ADDRESS: &str = "10.213.77.2";

/// How a host is made.
#[derive(Default)]
pub struct Wiring {
    /// More lines for `sshd_config`.
    pub sshd: String,
    /// The login shell of its users, instead of `/bin/sh`.
    pub shell: Option<PathBuf>,
    /// Gives it a network of its own, whose cable can be pulled.
    pub cable: bool,
    /// Puts its capsules on a disk of so many MiB.
    pub disk: Option<u32>,
    /// Files in the home of its users.
    pub home: Vec<(&'static str, String)>,
}

/// A host.
pub struct Host {
    dir: tempfile::TempDir,
    address: &'static str,
    port: u16,
    cable: bool,
    disk: bool,
    power: Option<Power>,
    boots: u32,
}

/// What keeps a host running.
struct Power {
    /// The parent of its first process, which dies with it.
    unshare: Child,
    /// The number of its first process on the machine.
    first: u32,
}

/// A process of a host, known by its number on the machine.
#[derive(Debug, Clone)]
pub struct Process {
    /// The number outside of the host.
    pub pid: u32,
    parent: u32,
    state: char,
    /// Its name.
    pub name: String,
}

impl Host {
    /// Boots a plain host. `None`, said aloud: this machine cannot have one.
    pub fn boot() -> Option<Self> {
        Self::boot_with(&Wiring::default())
    }

    /// Boots a host. `None`, said aloud: this machine cannot have one.
    pub fn boot_with(wiring: &Wiring) -> Option<Self> {
        if let Some(missing) = missing(wiring) {
            // Past the test's captured output.
            let _ =
                std::io::stderr().write_all(format!("NOT TESTED: a host to break, for want of {missing}\n").as_bytes());
            return None;
        }
        fs::create_dir_all("/run/sshd").unwrap();
        let dir = tempfile::Builder::new().prefix("host.").tempdir().unwrap();
        // Its users other than root reach their home and the capsules below it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = if wiring.cable { ADDRESS } else { "127.0.0.1" };
        let (cable, disk) = (wiring.cable, wiring.disk.is_some());
        let mut host = Self { dir, address, port, cable, disk, power: None, boots: 0 };
        host.furnish(wiring);
        host.start();
        Some(host)
    }

    fn furnish(&self, wiring: &Wiring) {
        for name in ["home", "work", "bin"] {
            fs::create_dir(self.path(name)).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        for name in ["host", "user", "stranger"] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(self.path(name)).status();
            assert!(made.unwrap().success());
        }
        fs::copy(self.path("user.pub"), self.path("authorized_keys")).unwrap();
        let key = fs::read_to_string(self.path("host.pub")).unwrap();
        self.write("known_hosts", &format!("[{}]:{} {key}", self.address, self.port));
        let shell = wiring.shell.clone().unwrap_or_else(|| "/bin/sh".into());
        let (home, shell) = (self.path("home").display().to_string(), shell.display().to_string());
        let others = fs::read_to_string("/etc/passwd").unwrap();
        let others: Vec<&str> = others.lines().filter(|line| !line.starts_with("root:")).collect();
        let own = format!("root:x:0:0::{home}:{shell}\nop:x:64999:64999::{home}:{shell}\n");
        self.write("passwd", &format!("{own}{}\n", others.join("\n")));
        self.write("shadow", "root:*:19000:0:99999:7:::\nop:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n");
        for (name, text) in &wiring.home {
            self.write(&format!("home/{name}"), text);
        }
        if let Some(mib) = wiring.disk {
            let (image, point) = (self.path("disk.img"), self.path("disk"));
            fs::create_dir(point).unwrap();
            fs::File::create(&image).unwrap().set_len(u64::from(mib) << 20).unwrap();
            machine(&["mkfs.ext4", "-q", "-m", "0", image.to_str().unwrap()]);
        }
        self.write_sshd_config(&wiring.sshd);
    }

    fn write_sshd_config(&self, more: &str) {
        let path = |name: &str| self.path(name).display().to_string();
        let (port, address) = (self.port, self.address);
        let mut config = format!(
            "{more}\nPort {port}\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             PermitRootLogin yes\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nUseDNS no\nPrintMotd no\nMaxStartups 100\n",
            path("host"),
            path("authorized_keys")
        );
        self.write("sshd_config", &config);
        // OpenSSH 9.8 and later lock out an address whose connections die early, which is what tests do to them.
        let mut asked = Command::new(SSHD);
        asked.args(["-t", "-o", "PerSourcePenalties=no", "-f"]).arg(self.path("sshd_config"));
        if asked.stderr(Stdio::null()).status().unwrap().success() {
            config.push_str("PerSourcePenalties no\n");
            self.write("sshd_config", &config);
        }
    }

    /// Names a file of the host. `work` is for what its commands leave.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the host and returns its path as text.
    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// Reads a file of the host; empty where there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Counts the lines of a file in `work`: how often an effect happened.
    pub fn count(&self, name: &str) -> usize {
        self.read(&format!("work/{name}")).lines().count()
    }

    /// Waits until a file in `work` is there.
    #[track_caller]
    pub fn wait_for(&self, name: &str) {
        wait_until(&format!("`{name}` on the host"), Duration::from_mins(1), || self.path("work").join(name).exists());
    }

    /// Puts a program of its own on the host's search path, for sshd to find at the next start.
    pub fn tool(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        self.search("/usr/bin:/bin");
    }

    /// Leaves only its own programs on the search path, from the next start of sshd.
    pub fn search_only_tools(&self) {
        self.search("");
    }

    fn search(&self, rest: &str) {
        let config = self.read("sshd_config");
        let line = format!("SetEnv PATH={}:{rest}\n", self.path("bin").display()).replace(":\n", "\n");
        self.write("sshd_config", &format!("{line}{config}"));
    }

    /// Returns the port of its sshd.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its capsule root.
    pub fn root(&self) -> PathBuf {
        self.path(if self.disk { "disk/capsules" } else { "capsules" })
    }

    /// Returns the directory of an attempt.
    pub fn capsule(&self, run: &str, attempt: &str) -> PathBuf {
        self.root().join("lab").join(run).join(attempt)
    }

    /// Returns a site file with this one host, `h`. `services` is more of it.
    pub fn site(&self, services: &str) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            "requorum: 1\ncluster: lab\nplatform: any\nssh: {{ user: root, port: {}, key: {}, known_hosts: {}, config: \
             /dev/null }}\ncapsule_root: {}\nhosts:\n  h: {{ address: {} }}\n{services}",
            self.port,
            path("user"),
            path("known_hosts"),
            self.root().display(),
            self.address
        )
    }

    fn start(&mut self) {
        self.boots += 1;
        self.write("boot_id", &format!("{:08x}-0000-4000-8000-{:012x}\n", self.boots, std::process::id()));
        let _ = fs::remove_file(self.path("booted"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child=KILL"]);
        if self.cable {
            command.arg("--net");
        }
        command.args(["sh", FIRST]).arg(self.dir.path());
        let log = fs::File::create(self.path("boot.log")).unwrap();
        let mut unshare = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        wait_until("the host to boot", Duration::from_secs(20), || {
            assert!(unshare.try_wait().unwrap().is_none(), "the host does not boot: {}", self.read("boot.log"));
            self.path("booted").exists()
        });
        let parent = unshare.id();
        let first = every_process().into_iter().find(|process| process.parent == parent).expect("a first process").pid;
        self.power = Some(Power { unshare, first });
        if self.cable {
            self.plug_in();
        }
        self.start_sshd();
    }

    fn plug_in(&self) {
        let (name, first) = (format!("rq{}", self.port), self.init().to_string());
        machine(&["ip", "link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &first]);
        machine(&["ip", "address", "add", "10.213.77.1/30", "dev", &name]);
        machine(&["ip", "link", "set", &name, "up"]);
        self.run("ip link set lo up && ip address add 10.213.77.2/30 dev eth0 && ip link set eth0 up");
    }

    /// Pulls the cable: packets vanish, and nobody is told.
    pub fn unplug(&self) {
        self.run("ip link set eth0 down");
    }

    /// Puts the cable back.
    pub fn plug(&self) {
        self.run("ip link set eth0 up");
    }

    /// Starts sshd, which is not running, and waits until it listens.
    pub fn start_sshd(&self) {
        let config = self.path("sshd_config").display().to_string();
        let log = self.path("sshd.log").display().to_string();
        self.run(&format!("{SSHD} -f {config} -E {log}"));
        wait_until("sshd to listen", Duration::from_secs(20), || TcpStream::connect((self.address, self.port)).is_ok());
    }

    /// Kills sshd: the listener and all its connections, but not what runs over them.
    pub fn kill_sshd(&self) {
        self.kill_all("sshd", |process| process.name.starts_with("sshd"));
    }

    /// Kills the connections, as a middlebox that resets them would. Listening goes on.
    pub fn kill_connections(&self) {
        let is_listener = |process: &Process| process.parent == self.init();
        self.kill_all("connections", |process| process.name.starts_with("sshd") && !is_listener(process));
    }

    fn kill_all(&self, what: &str, meant: impl Fn(&Process) -> bool) {
        wait_until(&format!("the end of {what}"), Duration::from_secs(10), || {
            let found: Vec<Process> = self.processes().into_iter().filter(|process| meant(process)).collect();
            signal("KILL", &found);
            found.is_empty()
        });
    }

    /// Stops the whole host, as a hypervisor would.
    pub fn freeze(&self) {
        wait_until("the host to stand still", Duration::from_secs(10), || {
            let moving: Vec<Process> = self.processes().into_iter().filter(|process| process.state != 'T').collect();
            signal("STOP", &moving);
            moving.is_empty()
        });
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal("CONT", &self.processes());
    }

    /// Cuts its power and boots it again: its processes are gone, its boot id is another, and its services start again.
    pub fn reboot(&mut self) {
        self.power_off();
        self.start();
    }

    /// Cuts its power.
    pub fn power_off(&mut self) {
        let Some(mut power) = self.power.take() else { return };
        let _ = power.unshare.kill();
        let _ = power.unshare.wait();
        // The first process is gone when all others are.
        wait_until("the host to be off", Duration::from_secs(10), || {
            every_process().iter().all(|process| process.pid != power.first || process.state == 'Z')
        });
    }

    /// Runs a command on the host, not through sshd, which must succeed.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        let output = self.try_run(command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn try_run(&self, command: &str) -> Output {
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.init().to_string(), "--mount", "--pid"]);
        if self.cable {
            enter.arg("--net");
        }
        enter.args(["sh", "-c", command]).stdin(Stdio::null()).output().unwrap()
    }

    /// Returns the number of its first process on the machine.
    fn init(&self) -> u32 {
        self.power.as_ref().expect("the host is on").first
    }

    /// Returns its processes but for the first.
    pub fn processes(&self) -> Vec<Process> {
        let init = self.init();
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(init);
        every_process()
            .into_iter()
            .filter(|process| process.pid != init && process.state != 'Z' && namespace(process.pid) == own)
            .collect()
    }

    /// Returns the process on the machine that has this number on the host.
    #[track_caller]
    pub fn process(&self, pid: &str) -> Process {
        self.try_process(pid).unwrap_or_else(|| panic!("the host has no process {pid}"))
    }

    /// Returns the living members of a session, by the number of its leader on the host.
    pub fn session(&self, leader: &str) -> Vec<Process> {
        let listed = self.run(&format!("ps -o pid= -s {leader}"));
        listed.split_whitespace().filter_map(|pid| self.try_process(pid)).collect()
    }

    /// Returns the process on the machine that has this number on the host, if there is one.
    pub fn try_process(&self, pid: &str) -> Option<Process> {
        let has_number = |process: &Process| {
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
            status
                .lines()
                .any(|line| line.strip_prefix("NSpid:").is_some_and(|all| all.split_whitespace().last() == Some(pid)))
        };
        self.processes().into_iter().find(has_number)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Sends a signal to processes of a host.
pub fn signal(name: &str, processes: &[Process]) {
    if !processes.is_empty() {
        let pids = processes.iter().map(|process| process.pid.to_string());
        // One may have ended meanwhile.
        let _ = Command::new("kill").args(["-s", name]).args(pids).stderr(Stdio::null()).status();
    }
}

/// Returns the children of a process of this machine, and theirs.
pub fn below(pid: u32) -> Vec<Process> {
    let all = every_process();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        found.extend(children.cloned());
        parents.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.pid));
    }
    found
}

/// Returns what this machine lacks for a host.
fn missing(wiring: &Wiring) -> Option<&'static str> {
    let works = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let needs = [
        (true, works(&["test", "-x", SSHD]), "sshd"),
        (true, works(&["unshare", "--mount", "--pid", "--fork", "true"]), "root, or of namespaces"),
        (wiring.cable, works(&["unshare", "--net", "ip", "link", "set", "lo", "up"]), "network namespaces and ip(8)"),
        (
            wiring.disk.is_some(),
            works(&["losetup", "--find"]) && works(&["mkfs.ext4", "-V"]),
            "loop devices and mkfs.ext4",
        ),
    ];
    needs.into_iter().find_map(|(needed, works, what)| (needed && !works).then_some(what))
}

#[track_caller]
fn machine(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn every_process() -> Vec<Process> {
    let read = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        Some(Process { pid, parent: fields.next()?.parse().ok()?, state, name: name.to_owned() })
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(read).collect()
}
