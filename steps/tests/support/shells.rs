//! The shells under which `host.sh` is tried: dash, bash and busybox, as far as this machine has them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// The host's half of the capsule.
pub const SCRIPT: &str = include_str!("../../src/capsule/host.sh");

/// A shell, with the directory in PATH where all tools are its own (busybox), or nothing.
pub struct Shell {
    pub words: Vec<String>,
    _tools: Option<tempfile::TempDir>,
    path: Option<String>,
}

/// Returns all that are here. One that is missing is said aloud.
pub fn shells() -> Vec<Shell> {
    let mut shells = Vec::new();
    for name in ["dash", "bash"] {
        match which(name) {
            Some(_) => shells.push(Shell { words: vec![name.to_owned()], _tools: None, path: None }),
            None => eprintln!("SKIPPED: {name} is not installed"),
        }
    }
    let Some(busybox) = std::env::var_os("REQUORUM_TEST_BUSYBOX").map(PathBuf::from).or_else(|| which("busybox"))
    else {
        eprintln!("SKIPPED: busybox is not installed, and REQUORUM_TEST_BUSYBOX names none");
        return shells;
    };
    // All that the script uses is busybox's then, `sh` too.
    let tools = tempfile::tempdir().unwrap();
    let list = Command::new(&busybox).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines() {
        symlink(&busybox, tools.path().join(applet)).unwrap();
    }
    // Some builds (Debian's) come without flock.
    if let (false, Some(flock)) = (tools.path().join("flock").exists(), which("flock")) {
        symlink(flock, tools.path().join("flock")).unwrap();
    }
    let path = Some(tools.path().display().to_string());
    shells.push(Shell { words: vec![tools.path().join("ash").display().to_string()], _tools: Some(tools), path });
    shells
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

impl Shell {
    /// Calls the script and returns the lines that it answers.
    pub fn call(&self, stdin: &[u8], args: &[&str]) -> Vec<String> {
        let output = self.raw(stdin, args);
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Calls the script and returns all that it answers, but for what it told meanwhile.
    pub fn raw(&self, stdin: &[u8], args: &[&str]) -> Output {
        let mut child = self.spawn(args);
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = child.wait_with_output().unwrap();
        Output { stdout: without_chunks(&output.stdout), ..output }
    }

    /// Starts a call of the script.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.prepare(SCRIPT, args).spawn().unwrap()
    }

    /// Prepares a call of a variant of the script, with pipes.
    pub fn prepare(&self, script: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(["-c", "me=$1; shift; eval \"$me\"", "sh", script, "N"]).args(args);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Says whether a text is a script for it.
    pub fn parses(&self, script: &str) -> bool {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(["-n", "-c", script]).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

/// Leaves out what was told meanwhile: how much that is depends on how fast the machine is.
fn without_chunks(mut said: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    while !said.is_empty() {
        let end = said.iter().position(|&byte| byte == b'\n').map_or(said.len(), |at| at + 1);
        let (line, after) = said.split_at(end);
        let words: Vec<&str> = std::str::from_utf8(line).unwrap_or_default().split_whitespace().collect();
        if let ["N", "chunk", _, _, length] = words[..] {
            said = &after[length.parse::<usize>().unwrap()..];
        } else {
            rest.extend_from_slice(line);
            said = after;
        }
    }
    rest
}
