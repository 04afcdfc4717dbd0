//! The scripts of `file.*` and `service.*`, run for real on this machine: under its `sh`, and under busybox where there is
//! one (in PATH, or named by `REQUORUM_TEST_BUSYBOX`).
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::shell::{self, Answer};
use crate::fault::{Fault, FaultKind};
use crate::name::{AttemptId, ItemKey, RunId, StepId};
use crate::site::Site;
use crate::world::{Output, Script, Stdin};

mod edit;
mod programs;
mod put;
mod service;
mod set_aside;

/// A shell with its tools.
#[derive(Debug, Clone)]
struct Shell {
    program: PathBuf,
    /// The directories of its tools.
    path: String,
    _tools: Option<Arc<TempDir>>,
}

/// A host in a directory: attempts below `capsules/`, everything else in `files/`.
struct Trial {
    shell: Shell,
    root: TempDir,
    /// Programs here come before all others.
    tools: PathBuf,
}

fn busybox() -> Option<PathBuf> {
    let named = std::env::var_os("REQUORUM_TEST_BUSYBOX").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file()))
}

impl Trial {
    /// Runs a test once under each shell that this machine has.
    fn each(test: impl Fn(&Self)) {
        let path = std::env::var("PATH").unwrap();
        let mut shells = vec![Shell { program: "/bin/sh".into(), path, _tools: None }];
        match busybox() {
            Some(busybox) => {
                let tools = tempfile::tempdir().unwrap();
                let installed = Command::new(&busybox).args(["--install", "-s"]).arg(tools.path()).status().unwrap();
                assert!(installed.success());
                let path = tools.path().to_str().unwrap().to_owned();
                shells.push(Shell { program: tools.path().join("ash"), path, _tools: Some(Arc::new(tools)) });
            }
            None => eprintln!("SKIPPED under busybox: none in PATH, and REQUORUM_TEST_BUSYBOX names none"),
        }
        for shell in shells {
            let root = tempfile::tempdir().unwrap();
            let tools = root.path().join("tools");
            for directory in [&tools, &root.path().join("files"), &root.path().join("capsules/c1/r1")] {
                fs::create_dir_all(directory).unwrap();
            }
            test(&Self { shell, root, tools });
        }
    }

    /// Returns a path in the host's files, as text.
    fn path(&self, name: &str) -> String {
        self.root.path().join("files").join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file among the host's files, with its directories, and returns its path.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Returns everything below the host's files, sorted: what a test compares to see that nothing was left behind.
    fn all(&self) -> Vec<String> {
        let base = self.root.path().join("files");
        let mut found = Vec::new();
        let mut open = vec![base.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                found.push(path.strip_prefix(&base).unwrap().to_str().unwrap().to_owned());
                if path.is_dir() && !path.is_symlink() {
                    open.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// Puts a program before all others in the PATH of the scripts.
    fn tool(&self, name: &str, text: &str) {
        let path = self.tools.join(name);
        fs::write(&path, format!("#!{}\n{text}", self.shell.program.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn untool(&self, name: &str) {
        fs::remove_file(self.tools.join(name)).unwrap();
    }

    fn capsules(&self) -> String {
        self.root.path().join("capsules").to_str().unwrap().to_owned()
    }

    fn command(&self, script: &Script) -> Command {
        let mut command = Command::new(&self.shell.program);
        command.args(["-c", &script.text, "sh"]).args(&script.args).current_dir(self.root.path());
        command.env("PATH", format!("{}:{}", self.tools.display(), self.shell.path));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a script as an attempt's capsule would.
    fn run(&self, script: &Script, attempt: &AttemptId) -> Output {
        let directory = self.root.path().join("capsules/c1").join(attempt.run.as_str()).join(attempt.directory());
        fs::create_dir_all(&directory).unwrap();
        let stdin = directory.join("stdin");
        match &script.stdin {
            Stdin::Empty => fs::write(&stdin, "").unwrap(),
            Stdin::Bytes(bytes) => fs::write(&stdin, bytes).unwrap(),
            Stdin::Secret(bytes) => fs::write(&stdin, bytes.as_slice()).unwrap(),
            Stdin::File(path) => drop(fs::copy(path, &stdin).unwrap()),
        }
        let mut command = self.command(script);
        ended(command.env("REQUORUM_ATTEMPT", &directory).env("REQUORUM_STDIN", &stdin))
    }

    /// Runs a script as an attempt and reads its answer.
    fn act(&self, script: &Script, attempt: &AttemptId) -> Result<Answer, Fault> {
        shell::answer(&self.run(script, attempt), "the script")
    }

    /// Runs a script that only looks.
    fn look(&self, script: &Script) -> Answer {
        shell::answer(&ended(&mut self.command(script)), "the look").unwrap()
    }
}

/// A file system of its own in the host's files; unmounted when dropped.
struct Mount(String);

impl Mount {
    fn new(trial: &Trial, name: &str, options: &str) -> Option<Self> {
        let path = trial.path(name);
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "requorum-test", &path])
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        eprintln!("SKIPPED: this user cannot mount a tmpfs");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

fn ended(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    Output {
        status: output.status.code().unwrap_or(137),
        stdout: output.stdout,
        stderr: output.stderr,
        truncated: false,
    }
}

fn attempt(step: &str, number: u32) -> AttemptId {
    let run = RunId::new("r1").unwrap();
    AttemptId { run, step: StepId::new(step).unwrap(), item: ItemKey::new("cp1").unwrap(), number }
}

fn site(capsule_root: &str) -> Site {
    let host = serde_json::json!({ "name": "cp1", "address": "127.0.0.1" });
    let site = serde_json::json!({
        "cluster": "c1", "platform": "any", "capsule_root": capsule_root, "hosts": { "cp1": host },
    });
    serde_json::from_value(site).unwrap()
}

/// Returns a text of the fault of a script that must have refused.
fn refused(result: Result<Answer, Fault>) -> String {
    let fault = result.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused, "{fault:?}");
    format!("{} | {}", fault.what, fault.seen.unwrap_or_default())
}

fn inode(path: &str) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
