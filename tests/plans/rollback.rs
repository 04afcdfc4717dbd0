//! A restore is taken back: whenever it was cut off, the cluster is as it was before, and nothing is lost.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::recovery::{Saved, fill_and_save, set_aside};
use crate::support::{HOSTS, Laptop, Outcome, Run, Testbed, content_of, etcd, wait_until, words};

/// Where the restore is killed: once before anything, and then in and between its steps.
const MOMENTS: [&str; 6] = [
    "after barrier taken-up",
    "after barrier started rehearse@cp1",
    "after act stop@cp1.1",
    "capsule begun set-data-aside@cp2.1",
    "before act restore@cp3.1",
    "after act start@cp1.1",
];

/// Where the rollback is killed, one after the other: each time it goes on where it was.
const MOMENTS_OF_ROLLBACK: [&str; 7] = [
    "before append ended",
    "after barrier ended",
    "before append taken-up",
    "after barrier started undo-start@cp1",
    "capsule begun undo-restore@cp2.1",
    "after act undo-set-data-aside@cp3.1",
    "after act undo-stop@cp2.1",
];

/// How the hosts are, apart from what requorum keeps for itself.
#[derive(Debug, PartialEq)]
struct Standing {
    data: [BTreeMap<PathBuf, String>; 3],
    running: [bool; 3],
    held: [usize; 3],
}

fn standing(bed: &Testbed) -> Standing {
    let held = |host: &str| fs::read_dir(bed.dir.join(host).join("requorum/testbed/held")).map_or(0, Iterator::count);
    Standing { data: HOSTS.map(|host| content_of(&bed.data_dir(host))), running: running(bed), held: HOSTS.map(held) }
}

fn running(bed: &Testbed) -> [bool; 3] {
    HOSTS.map(|host| bed.try_do("member-status", &[host]).status.success())
}

/// Runs requorum, which is killed when it first comes to a place.
fn killed_at(laptop: &Laptop, moment: &str, args: &[&str]) -> Outcome {
    let mut command = laptop.command(args);
    command.env("REQUORUM_DIE_AT", moment);
    let outcome = laptop.spawn(command).wait();
    assert_eq!(outcome.code, 137, "it did not come to {moment:?}:\n{outcome}");
    outcome
}

/// Puts a file of nobody's into each data directory, with an owner and a mode of its own.
fn mark(bed: &Testbed) {
    for host in HOSTS {
        let path = bed.data_dir(host).join("marker");
        fs::write(&path, format!("of {host}")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
    }
}

fn rollback<'a>(laptop: &Laptop, run: &'a str) -> (Run, [&'a str; 3]) {
    let line = ["rollback", run, "--yes"];
    laptop.expect(0, &line);
    let back = laptop.newest();
    let began = back.events("began", "").pop().unwrap();
    assert_eq!(began["rolls_back"], run);
    (back, line)
}

/// The moments at which a restore can be killed: a few, or with `REQUORUM_LONG` each that an uninterrupted one comes to.
fn moments(bed: &Testbed, laptop: &Laptop, saved: &Saved) -> Vec<String> {
    if std::env::var_os("REQUORUM_LONG").is_none() {
        return MOMENTS.map(str::to_owned).to_vec();
    }
    let list = laptop.path("crossings");
    let mut command = laptop.command(&words(&saved.restore(bed)));
    command.env("REQUORUM_CROSSINGS", &list);
    laptop.spawn(command).wait().expect(0);
    rollback(laptop, &laptop.newest().id);
    let mut seen = std::collections::BTreeSet::new();
    let text = fs::read_to_string(list).unwrap();
    // What is followed by nothing but the end of the process leaves nothing to be killed for.
    let names = text.lines().filter(|name| seen.insert((*name).to_owned()) && !name.ends_with(" began"));
    names.map(str::to_owned).collect()
}

#[test]
fn a_restore_killed_anywhere_is_taken_back_and_the_old_data_is_as_it_was() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let saved = fill_and_save(&bed, &laptop);
    bed.destroy("corrupt");
    mark(&bed);
    let before = standing(&bed);
    assert_eq!(before.running, [false; 3]);
    for moment in moments(&bed, &laptop, &saved) {
        println!("killed at {moment}");
        killed_at(&laptop, &moment, &words(&saved.restore(&bed)));
        let run = laptop.newest();
        let outcome = laptop.expect(0, &["rollback", &run.id, "--yes"]);
        assert_eq!(standing(&bed), before, "after {moment}:\n{outcome}");
        laptop.expect(2, &["resume"]).says("no unfinished run");
    }

    // Done is not too late.
    laptop.expect(0, &words(&saved.restore(&bed)));
    saved.is_back(&bed);
    let run = laptop.newest();
    let (back, line) = rollback(&laptop, &run.id);
    assert_eq!(standing(&bed), before);
    // What the run had put there is set aside, not deleted.
    for host in HOSTS {
        let displaced = bed.dir.join(host).join(format!("etcd.requorum-{}-undo-restore", back.id));
        assert!(displaced.join("member/snap/db").exists(), "{host}");
    }

    laptop.expect(2, &line).says("was rolled back already");
    laptop.expect(2, &["rollback", &back.id, "--yes"]).says("is itself a rollback");
    laptop.expect(0, &["runs", "list"]).prints(&format!("rolled back by {}", back.id));
    laptop.expect(0, &["runs", "show", &back.id]).prints(&format!("takes back  {}", run.id));
}

#[test]
fn a_rollback_killed_again_and_again_goes_on_and_does_nothing_twice() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let saved = fill_and_save(&bed, &laptop);
    bed.destroy("corrupt");
    mark(&bed);
    let before = standing(&bed);
    killed_at(&laptop, "after act start@cp1.1", &words(&saved.restore(&bed)));
    let run = laptop.newest();
    for moment in MOMENTS_OF_ROLLBACK {
        killed_at(&laptop, moment, &["rollback", &run.id, "--yes"]);
    }
    // Either command goes on with it.
    let back = laptop.newest();
    laptop.expect(0, &["resume", &back.id]);
    assert_eq!(standing(&bed), before);
    for id in ["undo-restore", "undo-set-data-aside"] {
        for host in HOSTS {
            let item = format!("{id}@{host}");
            assert_eq!(back.events("acted", &item).len(), 1, "{item}");
            assert_eq!(back.events("started", &item).len(), 1, "{item}");
        }
    }
    laptop.expect(0, &words(&saved.restore(&bed)));
    saved.is_back(&bed);
}

#[test]
fn what_ran_runs_again_on_its_old_data_and_what_was_down_stays_down() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let saved = fill_and_save(&bed, &laptop);
    mark(&bed);
    let (data, revision) = bed.data();
    bed.run("kill-member", &["cp3"]);
    let down = content_of(&bed.data_dir("cp3"));
    let inodes = HOSTS.map(|host| fs::metadata(bed.data_dir(host)).unwrap().ino());
    let mut restore = saved.restore(&bed);
    restore.push("--revert".to_owned());
    for moment in [Some("after act stop@cp1.1"), Some("after act restore@cp2.1"), None] {
        match moment {
            Some(moment) => drop(killed_at(&laptop, moment, &words(&restore))),
            None => drop(laptop.expect(0, &words(&restore))),
        }
        let run = laptop.newest();
        let preview = laptop.expect(0, &["rollback", &run.id, "--preview", "-o", "json"]);
        let preview: Value = serde_json::from_str(&preview.stdout).unwrap();
        let kinds: Vec<&str> =
            preview["steps"].as_array().unwrap().iter().map(|s| s["kind"].as_str().unwrap()).collect();
        let place = |kind: &str| kinds.iter().position(|seen| *seen == kind);
        assert!(place("service.stop").is_none_or(|stop| stop < place("file.restore_aside").unwrap()), "{kinds:?}");
        assert_eq!(
            kinds.iter().filter(|kind| **kind == "service.release").count(),
            usize::from(kinds.contains(&"service.release"))
        );
        laptop.expect(9, &["rollback", &run.id]).says("nobody has confirmed");
        laptop.expect(0, &["rollback", &run.id, "--confirm", "testbed"]);

        assert_eq!(running(&bed), [true, true, false], "after {moment:?}");
        assert_eq!(content_of(&bed.data_dir("cp3")), down, "after {moment:?}");
        assert_eq!(HOSTS.map(|host| fs::metadata(bed.data_dir(host)).unwrap().ino()), inodes);
        assert!(HOSTS.iter().all(|host| bed.data_dir(host).join("marker").exists()));
        assert!(HOSTS.iter().all(|host| !set_aside(&bed, host, &run).exists()));
        wait_until("the two to serve", std::time::Duration::from_mins(1), || {
            bed.try_do("etcdctl", &["get", "x"]).status.success()
        });
        let (now, now_revision) = bed.data();
        assert_eq!((now, now_revision), (data.clone(), revision), "after {moment:?}");
    }
}

#[test]
fn commit_removes_the_capsules_and_only_a_confirmed_purge_what_was_set_aside() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let saved = fill_and_save(&bed, &laptop);
    bed.destroy("corrupt");
    mark(&bed);
    let before = standing(&bed);
    let restored = || {
        laptop.expect(0, &words(&saved.restore(&bed)));
        laptop.newest()
    };
    let capsules = |run: &Run| HOSTS.map(|host| bed.capsules(host, &run.id).len());
    let asides = |run: &Run| HOSTS.map(|host| set_aside(&bed, host, run).exists());

    let run = restored();
    let aside = set_aside(&bed, "cp1", &run).display().to_string();
    bed.run("sshd-stop", &["cp2"]);
    laptop.expect(5, &["commit", &run.id]).says("cp2");
    bed.run("sshd-start", &["cp2"]);
    laptop.expect(0, &["commit", &run.id]).prints(&aside);
    assert_eq!((capsules(&run), asides(&run)), ([0; 3], [true; 3]));
    assert!(!run.dir.join("capsules").exists());
    assert!(HOSTS.iter().all(|host| bed.dir.join(host).join("requorum/testbed/fence").exists()));
    assert_eq!(run.events("committed", "").len(), 2);
    // What was committed can still be taken back.
    rollback(&laptop, &run.id);
    assert_eq!(standing(&bed), before);

    let run = restored();
    laptop.expect(9, &["commit", &run.id, "--purge"]).says("nobody has confirmed");
    assert_eq!(asides(&run), [true; 3]);
    let mut holder = std::process::Command::new("sleep")
        .arg("600")
        .stdin(fs::File::open(set_aside(&bed, "cp3", &run).join("marker")).unwrap())
        .spawn()
        .unwrap();
    let outcome = laptop.run(&["commit", &run.id, "--purge", "--yes"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    outcome.expect(5);
    outcome.says("sleep");
    assert_eq!(asides(&run), [false, false, true], "{outcome}");
    laptop.expect(0, &["commit", &run.id, "--purge", "--yes"]);
    assert_eq!(asides(&run), [false; 3]);
    laptop.expect(2, &["rollback", &run.id, "--yes"]).says("--purge");
    saved.is_back(&bed);
}
