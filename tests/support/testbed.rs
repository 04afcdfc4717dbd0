//! A real etcd cluster and its hosts, on loopback: `tests/testbed/testbed` wrapped.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The hosts of a testbed.
pub const HOSTS: [&str; 3] = ["cp1", "cp2", "cp3"];

const TESTBED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/testbed/testbed");

/// An etcd that this machine has.
#[derive(Debug, Clone)]
pub struct Etcd {
    /// Its version, for example `3.5.16`.
    pub version: String,
    /// The directory of its programs.
    pub dir: PathBuf,
}

impl Etcd {
    /// Says whether it is of a release, for example `3.5`.
    pub fn is(&self, release: &str) -> bool {
        self.version.strip_prefix(release).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Says whether its tools can raise the revision of what they restore.
    pub fn can_bump(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        match (next(), next(), next()) {
            (3, 4, patch) => patch >= 27,
            (3, 5, patch) => patch >= 10,
            version => version >= (3, 6, 0),
        }
    }
}

/// Returns the etcds of this machine that requorum is made for: one of 3.4 and one of 3.5.
///
/// One that is missing is told on the terminal, past the test's captured output; one that `REQUORUM_REQUIRE_ETCD` lists (for
/// example `3.4 3.5`) must not be missing.
pub fn etcds() -> Vec<Etcd> {
    let output = Command::new(TESTBED).arg("list-etcd").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let all: Vec<Etcd> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(version, dir)| Etcd { version: version.to_owned(), dir: dir.into() })
        .collect();
    let required = std::env::var("REQUORUM_REQUIRE_ETCD").unwrap_or_default();
    let mut found = Vec::new();
    for release in ["3.4", "3.5"] {
        if let Some(etcd) = all.iter().find(|etcd| etcd.is(release)) {
            found.push(etcd.clone());
            continue;
        }
        assert!(
            !required.split_whitespace().any(|needed| needed == release),
            "REQUORUM_REQUIRE_ETCD asks for etcd {release}, which this machine does not have:\n{text}"
        );
        let line = format!("NOT TESTED with etcd {release}: this machine has none (testbed fetch-etcd {release})\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    assert!(!found.is_empty(), "this machine has no etcd: run ./start setup");
    found
}

/// Returns the newest of [`etcds`], for tests that one version is enough for.
pub fn etcd() -> Etcd {
    etcds().pop().unwrap()
}

/// A cluster of three members and three hosts, with a directory of its own. It ends with the value, or with the test
/// program, however that ends.
pub struct Testbed {
    /// Its directory.
    pub dir: PathBuf,
    /// The etcd that it runs.
    pub etcd: Etcd,
    keeper: Child,
}

impl Testbed {
    /// Starts one.
    pub fn up(etcd: &Etcd, options: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("bed.").tempdir().unwrap().keep();
        // The keeper waits for the end of its standard input, which comes with the end of this process at the latest.
        let keeper = Command::new("sh")
            .args(["-c", r#"read -r _; [ ! -e "$1/testbed.env" ] || "$0" down "$1"; rm -rf "$1""#, TESTBED])
            .arg(&dir)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let bed = Self { dir, etcd: etcd.clone(), keeper };
        let output = Command::new(TESTBED)
            .arg("up")
            .arg(&bed.dir)
            .arg("--etcd-dir")
            .arg(&etcd.dir)
            .args(options)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "testbed up: {}", String::from_utf8_lossy(&output.stderr));
        bed
    }

    /// Runs a command of the testbed, whose first argument is its directory.
    pub fn try_do(&self, command: &str, args: &[&str]) -> Output {
        Command::new(TESTBED).arg(command).arg(&self.dir).args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command of the testbed, which must succeed, and returns its output.
    #[track_caller]
    pub fn run(&self, command: &str, args: &[&str]) -> String {
        let output = self.try_do(command, args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "testbed {command} {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns the path of its site file.
    pub fn site(&self) -> String {
        self.path("site.yaml")
    }

    /// Returns the path of a file below its directory.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a variant of the site file, with one text replaced by another.
    #[track_caller]
    pub fn site_with(&self, name: &str, from: &str, to: &str) -> String {
        let text = fs::read_to_string(self.site()).unwrap();
        assert!(text.contains(from), "the site has no {from:?}:\n{text}");
        let path = self.path(name);
        fs::write(&path, text.replace(from, to)).unwrap();
        path
    }

    /// Runs etcdctl against all members and returns what it prints.
    #[track_caller]
    pub fn etcdctl(&self, args: &[&str]) -> String {
        self.run("etcdctl", args)
    }

    /// Writes keys, a hundred to a transaction.
    pub fn put(&self, pairs: impl IntoIterator<Item = (String, String)>) {
        let pairs: Vec<(String, String)> = pairs.into_iter().collect();
        for some in pairs.chunks(100) {
            // No comparisons, then the puts, then nothing to do otherwise: three parts, each ended by an empty line.
            let puts: Vec<String> = some.iter().map(|(key, value)| format!("put {key} \"{value}\"\n")).collect();
            let mut child = Command::new(TESTBED)
                .arg("etcdctl")
                .arg(&self.dir)
                .arg("txn")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(format!("\n{}\n\n", puts.concat()).as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        }
    }

    /// Reads all keys and values, and the revision.
    #[track_caller]
    pub fn data(&self) -> (BTreeMap<String, String>, i64) {
        // An empty key with --prefix is all there is.
        let all: Value = serde_json::from_str(&self.etcdctl(&["get", "", "--prefix", "--write-out=json"])).unwrap();
        let text = |value: &Value| {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let pairs = all["kvs"].as_array().cloned().unwrap_or_default();
        let pairs = pairs.iter().map(|pair| (text(&pair["key"]), text(&pair["value"]))).collect();
        (pairs, all["header"]["revision"].as_i64().unwrap())
    }

    /// Destroys the data of all members: `remove`, `empty` or `corrupt`.
    pub fn destroy(&self, how: &str) {
        self.run("destroy-data", &[how]);
    }

    /// Returns the data directory of a host's member.
    pub fn data_dir(&self, host: &str) -> PathBuf {
        self.dir.join(host).join("etcd")
    }

    /// Returns the capsules of a run on a host.
    pub fn capsules(&self, host: &str, run: &str) -> Vec<PathBuf> {
        let dir = self.dir.join(host).join("requorum/testbed").join(run);
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Returns everything below a directory that a change would change: path, inode, times, and of files the content.
pub fn content_of(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(path) = open.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let mut about = format!("{} {} {}.{}", meta.ino(), meta.mode(), meta.mtime(), meta.mtime_nsec());
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            use sha2::Digest as _;
            about = format!("{about} {}", hex::encode(sha2::Sha256::digest(fs::read(&path).unwrap())));
        }
        found.insert(path, about);
    }
    found
}
