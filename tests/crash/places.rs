//! Directories that are not what requorum left: of a newer version, copied half-way, not ours, read-only, full.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use requorum_state::{SledStore, Store};

use crate::Desk;
use crate::disk::Disk;
use crate::support::{Laptop, wait_until};

/// The user and group that own nothing.
const NOBODY: u32 = 65_534;

#[test]
fn a_run_of_a_newer_version_is_listed_and_left_alone() {
    let desk = Desk::new();
    let mut records = desk.run.records();
    records[0]["event"]["format"] = 99.into();
    records[0]["event"]["run"] = "20990101-000000-0000".into();
    let newer = desk.run.dir.with_file_name("20990101-000000-0000");
    let store = SledStore::create(&newer).unwrap();
    store.append(records[0].to_string().as_bytes()).unwrap();
    drop(store);
    let listed = desk.say(0, &["runs", "list"]);
    listed.prints("20990101-000000-0000   unreadable");
    listed.prints("needs you");
    listed.says("format 99");
    desk.say(1, &["resume", "20990101-000000-0000"]).says("use the version that wrote it");
    // Its plan and site are not here.
    let exported = desk.say(1, &["runs", "export", "20990101-000000-0000"]);
    exported.says("1 of 1 records");
    exported.says("not usable");

    // An event that this version does not know.
    records[1]["event"]["event"] = "transcended".into();
    let newer = desk.run.dir.with_file_name("20990101-000000-0001");
    let store = SledStore::create(&newer).unwrap();
    records[0]["event"]["format"] = 1.into();
    for record in &records {
        store.append(record.to_string().as_bytes()).unwrap();
    }
    drop(store);
    desk.say(1, &["resume", "20990101-000000-0001"]).says("record 2");
    desk.goes_on_beside(&newer);
}

impl Desk {
    /// Lets the run go on although others cannot be read.
    #[track_caller]
    fn goes_on_beside(&self, other: &std::path::Path) {
        self.say(0, &["approve", "RUN", "ask", "--reason", "test"]);
        self.say(0, &["resume", "RUN"]);
        assert!(other.exists());
    }
}

#[test]
fn a_directory_that_was_copied_half_way_is_told_and_the_others_are_listed() {
    let desk = Desk::new();
    let copy = desk.run.dir.with_file_name("20990101-000000-0000");
    let parts: [&[&str]; 4] = [&["blobs"], &["events.jsonl"], &["store"], &["blobs", "lock"]];
    for part in parts {
        fs::create_dir(&copy).unwrap();
        for name in part {
            assert!(Command::new("cp").arg("-a").arg(desk.run.dir.join(name)).arg(&copy).status().unwrap().success());
        }
        let listed = desk.say(0, &["runs", "list"]);
        listed.prints(&desk.run.id);
        listed.prints("20990101-000000-0000");
        assert!(!listed.stdout.contains("never began"), "{part:?} was taken for nothing:\n{listed}");
        let refused = desk.laptop.run(&["resume", "20990101-000000-0000"]);
        assert!(refused.code == 1 && refused.stderr.contains("hint:"), "{part:?}: {refused}");
        fs::remove_dir_all(&copy).unwrap();
    }
    // Nothing but what comes before the first record: that run never began.
    fs::create_dir(&copy).unwrap();
    desk.say(0, &["runs", "list"]).prints("20990101-000000-0000   never began");
    desk.goes_on_beside(&copy);
}

/// Runs a command about a state directory as another user; `None` where that is not possible.
fn as_nobody(laptop: &Laptop, args: &[&str]) -> Option<crate::Outcome> {
    if !rustix::process::geteuid().is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("not run: working as another user needs root and setpriv");
        return None;
    }
    let plain = laptop.command(args);
    // The binary lies where others may not go.
    let place = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let binary = place.path().join("requorum");
    fs::copy(plain.get_program(), &binary).unwrap();
    let mut command = laptop.command(&[]);
    let mut setpriv = Command::new("setpriv");
    setpriv.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
    setpriv.arg(&binary).args(args).env_clear().current_dir("/");
    setpriv
        .envs(command.stdin(std::process::Stdio::null()).get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(laptop.spawn(setpriv).wait())
}

#[test]
fn a_state_directory_of_another_user_is_told() {
    let desk = Desk::new();
    let Some(refused) = as_nobody(&desk.laptop, &["runs", "list"]) else { return };
    refused.expect(1);
    refused.says("state directory");
    refused.says("Permission denied");

    // The directory is ours, one run in it is not.
    let state = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let may_enter = |place: &Path| fs::metadata(place).unwrap().permissions().mode() & 0o001 != 0;
    if let Some(closed) = state.path().ancestors().find(|place| !may_enter(place)) {
        eprintln!("not run: another user may not enter {}", closed.display());
        return;
    }
    fs::set_permissions(desk.laptop.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let root = state.path().join("state");
    assert!(Command::new("cp").arg("-a").arg(desk.laptop.state()).arg(&root).status().unwrap().success());
    for place in [root.clone(), root.join("runs"), root.join("locks")] {
        chown(place, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let root = root.to_str().unwrap();
    let listed = as_nobody(&desk.laptop, &["--state-dir", root, "runs", "list"]).unwrap();
    listed.expect(0);
    listed.prints("unreadable");
    listed.says("Permission denied");
    for args in [&["resume", &desk.run.id][..], &["runs", "show", &desk.run.id]] {
        let refused = as_nobody(&desk.laptop, &[&["--state-dir", root], args].concat()).unwrap();
        refused.expect(1);
        refused.says("Permission denied");
        refused.says("hint:");
    }
}

#[test]
fn in_a_read_only_place_runs_can_be_looked_at_and_nothing_else() {
    let desk = Desk::new();
    let Some(disk) = Disk::new(&desk.laptop.path(""), 32) else { return };
    let state = disk.path().join("state");
    assert!(Command::new("cp").arg("-a").arg(desk.laptop.state()).arg(&state).status().unwrap().success());
    disk.remount("ro");
    let state = state.to_str().unwrap();
    desk.say(0, &["--state-dir", state, "runs", "list"]).prints("needs you");
    desk.say(0, &["--state-dir", state, "runs", "show", "RUN"]);
    desk.say(0, &["--state-dir", state, "runs", "export", "RUN"]);
    for command in [
        &["approve", "RUN", "ask", "--reason", "test"][..],
        &["resume", "RUN"],
        &["runs", "recover", "RUN", "--reason", "test"],
    ] {
        let refused = desk.say(1, &[&["--state-dir", state], command].concat());
        refused.says("Read-only file system");
        refused.says("hint:");
    }
    desk.say(1, &["--state-dir", &format!("{state}/none"), "run", &desk.plan, "-i", &desk.site, "--yes"])
        .says("Read-only");
}

/// A command that ends when it is let, a step that waits for it, and one beside it that begins when it is let.
const FULL: &str = r"requorum: 1
name: full
steps:
  - id: long
    command.run: { cwd: DIR, run: 'echo began >>long; until [ -e go -o ! -d DIR ]; do sleep 0.05; done; echo ended >>long' }
  - id: beside
    command.run: { cwd: DIR, run: 'until [ -e next -o ! -d DIR ]; do sleep 0.05; done; echo beside >>beside' }
STEPS  - id: after
    needs: [long]
    command.run: { cwd: DIR, run: 'echo after >>after' }
";

#[test]
fn a_disk_that_fills_up_in_the_middle_of_a_run_stops_it_and_it_goes_on_once_there_is_space() {
    const CHAIN: usize = 40;
    let laptop = Laptop::new();
    let Some(disk) = Disk::new(&laptop.path(""), 16) else { return };
    let home = laptop.path("home");
    let steps: Vec<String> = (0..CHAIN)
        .map(|n| {
            let need = if n == 0 { "beside".to_owned() } else { format!("s{}", n - 1) };
            format!("  - id: s{n}\n    needs: [{need}]\n    command.run: {{ cwd: DIR, run: 'echo {n} >>chain' }}\n")
        })
        .collect();
    let plan =
        laptop.write("plan.yaml", &FULL.replace("STEPS", &steps.concat()).replace("DIR", home.to_str().unwrap()));
    let site = laptop.write("site.yaml", crate::SITE);
    let state = disk.path().join("state");
    let state = state.to_str().unwrap();
    let live = laptop.start(&["--state-dir", state, "run", &plan, "-i", &site, "--yes"]);
    wait_until("the long command", std::time::Duration::from_mins(1), || home.join("long").exists());
    let filler = disk.fill();
    fs::write(home.join("next"), "").unwrap();

    let stopped = live.wait();
    assert!(!stopped.stderr.contains("panicked"), "{stopped}");
    stopped.expect(5);
    assert!(stopped.stderr.contains("space"), "it does not say that there is no space:\n{stopped}");
    // What runs goes on, and what can be read can still be read.
    laptop.expect(0, &["--state-dir", state, "runs", "list"]);
    assert_eq!(fs::read_to_string(home.join("long")).unwrap(), "began\n");

    fs::remove_file(filler).unwrap();
    fs::write(home.join("go"), "").unwrap();
    let resumed = laptop.run(&["--state-dir", state, "resume", "--retry-failed", "--reason", "there is space"]);
    let chain = || fs::read_to_string(home.join("chain")).unwrap_or_default().lines().count();
    if resumed.code == 6 {
        // A command of the chain ended while its status could not be written: only a person knows.
        let question = resumed.stderr.lines().find(|line| line.contains(" --done ")).expect("what is asked").to_owned();
        let words: Vec<&str> = question.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "skip").unwrap();
        let happened = match words[at + 2] {
            "beside" => home.join("beside").exists(),
            step => chain() > step[1..].parse::<usize>().unwrap(),
        };
        let verb: &[&str] = if happened { &["skip", "--done"] } else { &["retry"] };
        let answer = [&["--state-dir", state], verb, &[words[at + 1], words[at + 2], "--reason", "seen"]].concat();
        laptop.expect(0, &answer);
        laptop.expect(0, &["--state-dir", state, "resume"]);
    } else {
        resumed.expect(0);
    }
    let read = |name: &str| fs::read_to_string(home.join(name)).unwrap();
    assert_eq!(
        (read("long"), read("beside"), read("after")),
        ("began\nended\n".into(), "beside\n".into(), "after\n".into())
    );
    assert_eq!(chain(), CHAIN);
}
