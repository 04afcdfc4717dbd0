//! Hosts that cannot be used, or only with care: each is named, in bounded time, and nothing was changed.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::support::{Host, Outcome, Wiring, words};
use super::{Story, THEN, WAITS};

/// Runs a plan that is refused before anything was changed.
#[track_caller]
fn refused(story: &Story, site: &str) -> Outcome {
    let outcome = story.laptop.expect(4, &words(&story.plan_at(WAITS, site)));
    // Shown when it fails.
    println!("{outcome}");
    outcome.says("nothing was changed");
    assert_eq!(story.host.count("count"), 0);
    assert!(!story.host.root().exists(), "nothing was left on the host");
    outcome
}

const READS: &str = r"  - id: work
    on: [h]
    ssh.run: { cwd: WORK, run: 'echo once >>count; printf %s\\n ''a\b\\c''; echo problem >&2' }
    outputs: { said: '{{ result.stdout }}', problem: '{{ result.stderr }}' }
    verify: [{ ssh.check: { run: 'printf %s\\n ''a\b\\c''', stdout: { equals: 'a\b\\c' } } }]
";

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Runs a plan under a login shell, which must neither add to what is read nor take from it.
fn works_under(wiring: &Wiring) {
    let Some(host) = Host::boot_with(wiring) else { return };
    let story = Story::on(host);
    let outcome = story.laptop.expect(0, &words(&story.plan(READS)));
    assert_eq!(story.host.count("count"), 1, "{outcome}");
    let outputs = story.laptop.newest().outputs("work@h");
    assert_eq!((outputs["said"].as_str(), outputs["problem"].as_str()), (Some(r"a\b\\c"), Some("problem")));
}

#[test]
fn a_login_shell_may_be_noisy() {
    let noise = "echo Welcome; printf 'no line break'; echo Beware >&2\n".to_owned();
    works_under(&Wiring { shell: Some("/bin/bash".into()), home: vec![(".bashrc", noise)], ..Wiring::default() });
}

#[test]
fn a_login_shell_may_be_another_one() {
    for name in ["dash", "zsh", "fish"] {
        match which(name) {
            Some(shell) => works_under(&Wiring { shell: Some(shell), ..Wiring::default() }),
            None => not_tested(&format!("{name} as a login shell: this machine has none")),
        }
    }
}

fn not_tested(what: &str) {
    // Past the test's captured output.
    let _ = std::io::stderr().write_all(format!("NOT TESTED: {what}\n").as_bytes());
}

#[test]
fn a_login_shell_that_runs_nothing_is_refused() {
    let leaves = vec![(".bashrc", "echo leaving; exit 1\n".to_owned())];
    let mut shells = vec![("/bin/bash".into(), leaves), ("/usr/sbin/nologin".into(), Vec::new())];
    match which("tcsh").or_else(|| which("csh")) {
        Some(shell) => shells.push((shell, Vec::new())),
        None => not_tested("csh as a login shell: this machine has none"),
    }
    for (shell, home) in shells {
        let Some(host) = Host::boot_with(&Wiring { shell: Some(shell), home, ..Wiring::default() }) else { return };
        let story = Story::on(host);
        let outcome = refused(&story, &story.host.site(""));
        outcome.says("the login shell of the SSH user did not run the script");
        // A check says so too, instead of taking what the shell printed for an answer.
        let check = format!("preflight: [{{ ssh.check: {{ hosts: [h], run: 'true' }} }}]\nsteps:\n{WAITS}");
        let check = check.replace("WORK", "/nonexistent");
        let plan = story.laptop.write("check.yaml", &format!("requorum: 1\nname: test/check\ntitle: Check\n{check}"));
        let site = story.laptop.path("site.yaml").display().to_string();
        let outcome = story.laptop.expect(4, &["run", &plan, "-i", &site, "--yes"]);
        assert_eq!(outcome.stderr.matches("did not run the script").count(), 2, "{outcome}");
    }
}

#[test]
fn a_host_without_flock_is_refused() {
    let Some(mut host) = Host::boot() else { return };
    for tool in
        fs::read_dir("/usr/bin").unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.file_name() != "flock")
    {
        std::os::unix::fs::symlink(tool.path(), host.path("bin").join(tool.file_name())).unwrap();
    }
    host.search_only_tools();
    host.reboot();
    let story = Story::on(host);
    refused(&story, &story.host.site("")).says("the host has no 'flock': install the package util-linux, or busybox");
}

#[test]
fn sudo_that_asks_for_a_password_is_refused() {
    let Some(mut host) = Host::boot() else { return };
    if !Path::new("/usr/bin/sudo").exists() {
        // A stand-in, where the machine has none: it says what sudo 1.9 says.
        host.tool("sudo", "echo 'sudo: a password is required' >&2; exit 1");
        host.reboot();
    }
    let story = Story::on(host);
    refused(&story, &story.host.site("").replace("user: root", "user: op, become: sudo"))
        .says("the SSH user cannot become root");
}

#[test]
fn a_host_that_falls_silent_before_or_during_the_login_is_unreachable_in_bounded_time() {
    let begins: [&[u8]; 2] = [b"", b"SSH-2.0-OpenSSH_9.2\r\n"];
    std::thread::scope(|scope| {
        for begin in begins {
            let Some(host) = Host::boot() else { return };
            scope.spawn(move || {
                let story = Story::on(host);
                let silent = TcpListener::bind("127.0.0.1:0").unwrap();
                let port = silent.local_addr().unwrap().port();
                // Ends when the test does.
                std::thread::spawn(move || {
                    let mut kept = Vec::new();
                    for mut connection in silent.incoming().flatten() {
                        let _ = connection.write_all(begin);
                        kept.push(connection);
                    }
                });
                let site =
                    story.host.site("").replace(&format!("port: {}", story.host.port()), &format!("port: {port}"));
                refused(&story, &site).says("check the address and port");
            });
        }
    });
}

#[test]
fn another_host_key_is_refused() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let other = story.host.read("stranger.pub");
    let known = format!("[127.0.0.1]:{} {other}", story.host.port());
    story.host.write("known_hosts", &known);
    refused(&story, &story.host.site("")).says("the host key of 127.0.0.1 is unknown or has changed");
    assert_eq!(story.host.read("known_hosts"), known, "it is never added");
}

#[test]
fn a_key_that_the_host_does_not_know_is_refused() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    refused(&story, &story.host.site("").replace("/user,", "/stranger,")).says("127.0.0.1 did not let the SSH user in");
}

#[test]
fn a_capsule_root_in_memory_is_refused_because_a_reboot_would_forget_what_has_begun() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let root = story.host.root().display().to_string();
    let site = story.host.site("").replace(&format!("capsule_root: {root}"), "capsule_root: /dev/shm/requorum-test");
    refused(&story, &site).says("would be in memory");
}

/// Takes all room on the disk of a host, to the last block.
fn fill(host: &Host) {
    let to = host.path("disk/fill").display().to_string();
    // What is written later is what finds the blocks that were held back before.
    host.run(&format!(
        "exec 2>/dev/null; for round in 1 2 3; do cat /dev/zero >{to}-$round; sync {to}-$round; number=0; while echo x \
         >{to}-$round-$number && sync {to}-$round-$number; do number=$((number + 1)); done; done; true"
    ));
}

#[test]
fn on_a_full_disk_nothing_begins_and_the_run_goes_on_when_there_is_room() {
    let Some(host) = Host::boot_with(&Wiring { disk: Some(8), ..Wiring::default() }) else { return };
    let story = Story::on(host);
    let disk = story.host.path("disk").display().to_string();
    fill(&story.host);
    story.host.write("work/go", "");
    let outcome = story.laptop.run(&words(&story.plan(&format!("{WAITS}{THEN}"))));
    outcome.expect(5);
    outcome.says("is the disk full or read-only?");
    outcome.says("in effect  nothing");
    assert_eq!(story.host.count("count"), 0);
    story.host.run(&format!("rm {disk}/fill*"));
    story.laptop.expect(0, &["resume"]);
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 1));
}

#[test]
fn a_disk_that_fills_up_under_a_command_leaves_a_doubt_and_no_repetition() {
    let Some(host) = Host::boot_with(&Wiring { disk: Some(8), ..Wiring::default() }) else { return };
    let story = Story::on(host);
    let disk = story.host.path("disk").display().to_string();
    let steps = format!("{WAITS}{THEN}").replace("echo last", "echo last; head -c 100000 /dev/zero");
    let live = story.laptop.start(&words(&story.plan(&steps)));
    story.host.wait_for("began");
    fill(&story.host);
    story.host.write("work/go", "");
    let outcome = live.wait();
    outcome.expect(6);
    outcome.says("the command is gone and left no exit status");
    story.host.run(&format!("rm {disk}/fill*"));
    story.laptop.expect(6, &["resume"]);
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0));
}
