//! `host.sh` killed before any line of a launch: the client reconnects with the same attempt, the command has run at most
//! once, and what is told of it is true.
//!
//! Each variant of the script kills the shell that comes to one line, with SIGKILL: the shell alone, or all of its process
//! group. A sample of the variants is taken, which `REQUORUM_SEED` repeats; `REQUORUM_LONG=1` takes all.
#![allow(clippy::unwrap_used)]

#[path = "support/shells.rs"]
mod shells;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use shells::{SCRIPT, Shell, shells};

/// The functions through which a launch goes on a host.
const FUNCTIONS: [&str; 8] =
    ["launch", "hold_fence", "write_fence", "receive", "begin", "wrap", "record", "run_command"];

/// The last one, whose lines come after the command.
const DRAIN: &str = "drain";

/// How many variants of each shell are taken where not all are.
const SAMPLE: usize = 24;

/// How many variants are tried at once: most of the time they wait.
const AT_ONCE: usize = 4;

/// How long a client that reconnects may wait for a command that takes no time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A script that kills itself.
struct Variant {
    /// The line, for a message.
    line: String,
    function: &'static str,
    /// Whether the whole process group dies, or the shell alone.
    group: bool,
    script: String,
}

impl Variant {
    /// Says whether the command may have begun, or be recorded as begun, when it dies there.
    fn may_have_begun(&self) -> bool {
        ["wrap", "record", "run_command", DRAIN].contains(&self.function)
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = if self.group { "the process group" } else { "the shell" };
        write!(f, "{who} killed in {} before line {}", self.function, self.line)
    }
}

/// Makes all variants that are scripts: one for each line of the functions and each mode.
fn variants(shell: &Shell) -> Vec<Variant> {
    let lines: Vec<&str> = SCRIPT.lines().collect();
    let mut found = Vec::new();
    let mut function = None;
    for (number, line) in lines.iter().enumerate() {
        if let Some(name) = line.strip_suffix("() {") {
            function = FUNCTIONS.iter().chain([&DRAIN]).find(|known| **known == name).copied();
            continue;
        }
        let (Some(function), true) = (function, line.starts_with(' ')) else {
            function = None;
            continue;
        };
        for (group, kill) in [(false, "kill -s KILL $$"), (true, "kill -s KILL -- -$$")] {
            let mut changed = lines.clone();
            changed.insert(number, kill);
            let script = changed.join("\n");
            // In the middle of a statement there is no place to die.
            if shell.parses(&script) {
                found.push(Variant { line: format!("{}: {line}", number + 1), function, group, script });
            }
        }
    }
    found
}

#[test]
fn the_variants_reach_into_every_function_of_a_launch() {
    for shell in shells() {
        let variants = variants(&shell);
        for name in FUNCTIONS.iter().chain([&DRAIN]) {
            let count = variants.iter().filter(|variant| variant.function == *name).count();
            assert!(count >= 4, "{count} in {name} under {:?}", shell.words);
        }
    }
}

#[test]
fn a_launch_that_is_killed_before_any_line_runs_its_command_at_most_once_and_tells_the_truth() {
    let seed = std::env::var("REQUORUM_SEED").map_or_else(|_| clock_seed(), |text| text.parse().unwrap());
    for shell in shells() {
        let mut variants = variants(&shell);
        let all = variants.len();
        if std::env::var_os("REQUORUM_LONG").is_none() {
            variants = sample(variants, seed);
        }
        println!("{:?}: {} of {all} variants (REQUORUM_SEED={seed})", shell.words, variants.len());
        let (left, dead) = (Mutex::new(variants.iter()), Mutex::new(0));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let Some(variant) = left.lock().unwrap().next() else { return };
                        let is_dead = try_out(&shell, variant);
                        *dead.lock().unwrap() += usize::from(is_dead);
                    }
                });
            }
        });
        println!("{:?}: {} of {} died without a status", shell.words, dead.into_inner().unwrap(), variants.len());
    }
}

/// Launches with the variant, then as a client that reconnects. Says whether the attempt is dead.
fn try_out(shell: &Shell, variant: &Variant) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root").display().to_string();
    let count = directory.path().join("count");
    let text = format!("echo x >>{}; cat; echo err >&2; exit 3", count.display());
    let args = ["launch", &root, "c", "run", "s@h.1", "1", "token", "me", "bytes", "4", &text, "sh"];

    // A group of its own, so that its death is not the test's.
    let mut child = shell.prepare(&variant.script, &args).process_group(0).spawn().unwrap();
    // One that dies early reads nothing.
    let _ = child.stdin.take().unwrap().write_all(b"in\n\n");
    child.wait_with_output().unwrap();

    let said = reconnect(shell, &args).unwrap_or_else(|| panic!("under {:?}, {variant}: never ends", shell.words));
    let capsule = directory.path().join("root/c/run/s@h.1");
    let ran = fs::read_to_string(&count).unwrap_or_default().lines().count();
    let what = format!("under {:?}, {variant}: ran {ran} times, and then\n{said}", shell.words);
    let state = said.rsplit_once("N state ").unwrap_or_else(|| panic!("no state {what}")).1;
    assert!(!left_in(&capsule).any(|name| name.starts_with("stdin.")), "its input is still there {what}");
    if state.starts_with("dead - 0 ") {
        assert!(ran <= 1 && variant.may_have_begun(), "{what}");
        assert_eq!(session(&capsule), Vec::<u32>::new(), "it has not ended {what}");
        return true;
    }
    assert_eq!((state, ran), ("exited 3 0 4 0 4 0\nin\n\nerr\n", 1), "{what}");
    false
}

/// Launches as a client that reconnects. `None`: it does not come to an end.
fn reconnect(shell: &Shell, args: &[&str]) -> Option<String> {
    let mut child = shell.prepare(SCRIPT, args).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"in\n\n").unwrap();
    let ends = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= ends {
            child.kill().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
}

fn left_in(capsule: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(capsule).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

/// Returns what lives of the session that a capsule names.
fn session(capsule: &Path) -> Vec<u32> {
    let start = fs::read_to_string(capsule.join("start")).unwrap();
    let leader = start.lines().nth(1).unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let belongs = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields.get(3) == Some(&leader) && !["Z", "X"].contains(&fields[0])
    };
    pids.filter(belongs).collect()
}

/// Takes a sample: every so many of them, from a random one on.
fn sample(variants: Vec<Variant>, seed: u64) -> Vec<Variant> {
    let step = variants.len().div_ceil(SAMPLE);
    let first = usize::try_from(seed).unwrap_or(0) % step;
    variants.into_iter().skip(first).step_by(step).collect()
}

fn clock_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos())
}
