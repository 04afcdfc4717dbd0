//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod sshd;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use requorum_steps::capsule::{Holder, Stream, Watch};
use requorum_steps::{AttemptId, HostName, ItemKey, RunId, Script, StepId};
use rustix::process::{Pid, Signal};

/// The name of the only host of [`sshd::Sshd::site`].
pub fn host() -> HostName {
    HostName::new("h").unwrap()
}

pub fn attempt(number: u32) -> AttemptId {
    let step = StepId::new("step").unwrap();
    AttemptId { run: RunId::new("run-1").unwrap(), step, item: ItemKey::from(&host()), number }
}

pub fn holder(run: &str, epoch: u64) -> Holder {
    Holder {
        cluster: "testbed".to_owned(),
        run: RunId::new(run).unwrap(),
        epoch,
        token: format!("token-{run}-{epoch}"),
        label: format!("ann@desk, run {run}"),
    }
}

pub fn script(text: impl Into<String>) -> Script {
    Script::new(text, [""; 0])
}

/// Waits until a condition holds, for at most 20 s.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a watch was told of both streams.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<[Vec<u8>; 2]>>);

impl Seen {
    pub fn watch(&self) -> Watch {
        let seen = self.0.clone();
        Arc::new(move |stream, bytes| seen.lock().unwrap()[stream as usize].extend_from_slice(bytes))
    }

    pub fn bytes(&self, stream: Stream) -> Vec<u8> {
        self.0.lock().unwrap()[stream as usize].clone()
    }

    pub fn text(&self, stream: Stream) -> String {
        String::from_utf8(self.bytes(stream)).unwrap()
    }
}

/// A script whose output is for people.
pub fn shown(text: impl Into<String>) -> Script {
    Script { shown: true, ..script(text) }
}

/// Makes a supervisor of this very test binary: its test `supervisor` supervises if this variable is set. It holds
/// the directory, for [`supervisors`].
pub fn supervisor(directory: &Path) -> PathBuf {
    let path = directory.join("supervisor");
    let me = std::env::current_exe().unwrap();
    let (at, me) = (directory.display(), me.display());
    let text = format!("#!/bin/sh\nSUPERVISE={at} exec {me} supervisor --exact --nocapture\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The body of the test `supervisor` that [`supervisor`] runs.
pub fn supervise_if_asked() {
    if std::env::var_os("SUPERVISE").is_some() {
        let code = requorum_steps::capsule::supervise();
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
}

/// The supervisors, at work or waiting, that were started as [`supervisor`] has it.
pub fn supervisors(directory: &Path) -> Vec<i32> {
    let ours = format!("SUPERVISE={}", directory.display());
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    all.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == ours.as_bytes())
    })
    .collect()
}

/// Kills a process by its number, and sees it dead with all its threads: its locks are free then.
pub fn kill(number: i32) {
    send(number, Signal::KILL);
    let start = Instant::now();
    let lives = || {
        let threads = fs::read_dir(format!("/proc/{number}/task")).map_or(0, Iterator::count);
        let stat = fs::read_to_string(format!("/proc/{number}/stat"));
        threads > 1 || stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    while lives() {
        assert!(start.elapsed() < Duration::from_secs(20), "{number} does not die");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process by its number.
pub fn send(number: i32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(number).unwrap(), signal).unwrap();
}

/// The session of an attempt's directory: the second line of its start record.
pub fn session_of(directory: &Path) -> i32 {
    fs::read_to_string(directory.join("start")).unwrap().lines().nth(1).unwrap().parse().unwrap()
}
