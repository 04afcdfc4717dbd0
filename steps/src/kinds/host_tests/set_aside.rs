use std::fs::File;

use serde_json::json;

use super::*;
use crate::action::Probe;
use crate::kinds::file_set_aside::{RestoreAside, SetAside};
use crate::kinds::survey::{self, Survey};

impl Trial {
    fn set_aside(&self, path: &str, attempt: &AttemptId) -> Result<Value, Fault> {
        let kind = SetAside::from_args(json!({ "path": path })).unwrap();
        Ok(kind.result(&self.act(&kind.script(&site("/c"), attempt), attempt)?))
    }

    fn restore(&self, path: &str, aside: &str, attempt: &AttemptId) -> Result<Value, Fault> {
        let kind = RestoreAside::from_args(json!({ "path": path, "aside": aside })).unwrap();
        Ok(kind.result(&self.act(&kind.script(&site("/c"), attempt), attempt)?))
    }

    fn survey(&self, path: &str, also: Option<&str>) -> Survey {
        Survey::read(&self.look(&Survey::script(path, &format!("{path}.requorum-"), also)))
    }
}

/// A file system of its own in the host's files; unmounted when dropped.
struct Mount(String);

impl Mount {
    fn new(trial: &Trial, name: &str) -> Option<Self> {
        let path = trial.path(name);
        fs::create_dir_all(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "requorum-test", &path]).stderr(Stdio::null()).status();
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

#[test]
fn a_directory_is_renamed_with_all_that_is_in_it() {
    Trial::each(|trial| {
        trial.file("a 'dir' $x/member/db", "data");
        let path = trial.path("a 'dir' $x");
        let (before, number) = (trial.survey(&path, None), inode(&path));
        assert!(matches!(survey::was_set_aside(&path, &before, &before), Probe::No { .. }));
        let result = trial.set_aside(&path, &attempt("aside", 1)).unwrap();
        let aside = format!("{path}.requorum-r1-aside");
        assert_eq!(text(&result["aside"]), aside);
        assert_eq!(text(&result["was"]), "directory");
        assert_eq!(text(&result["mode"]), "0755");
        assert_eq!((inode(&aside), read(&format!("{aside}/member/db")).as_str()), (number, "data"));
        assert!(!Path::new(&path).exists());
        let Probe::Yes { result: probed, .. } = survey::was_set_aside(&path, &before, &trial.survey(&path, None))
        else {
            panic!("not found aside");
        };
        assert_eq!((&probed["aside"], &probed["mode"]), (&result["aside"], &result["mode"]));
        // Still so when something new has come to the path.
        fs::create_dir(&path).unwrap();
        assert!(matches!(survey::was_set_aside(&path, &before, &trial.survey(&path, None)), Probe::Yes { .. }));
    });
}

#[test]
fn what_is_absent_is_set_aside_as_nothing() {
    Trial::each(|trial| {
        let path = trial.path("gone/deeper");
        let result = trial.set_aside(&path, &attempt("aside", 1)).unwrap();
        assert_eq!((&result["aside"], text(&result["was"])), (&Value::Null, "absent"));
        let before = trial.survey(&path, None);
        assert!(matches!(survey::was_set_aside(&path, &before, &before), Probe::Yes { .. }));
    });
}

#[test]
fn a_name_is_never_used_twice() {
    Trial::each(|trial| {
        let path = trial.file("conf", "one");
        trial.set_aside(&path, &attempt("aside", 1)).unwrap();
        trial.file("conf", "two");
        assert!(refused(trial.set_aside(&path, &attempt("aside", 2)).map(|_| Answer::default())).contains("taken"));
        assert_eq!(read(&path), "two");
        assert_eq!(read(&format!("{path}.requorum-r1-aside")), "one");
    });
}

#[test]
fn an_attempt_after_one_that_did_it_says_what_that_one_would_have_said() {
    Trial::each(|trial| {
        let path = trial.file("conf", "one");
        let first = trial.set_aside(&path, &attempt("aside", 1)).unwrap();
        assert_eq!(trial.set_aside(&path, &attempt("aside", 2)).unwrap(), first);
    });
}

#[test]
fn what_a_process_has_open_or_mapped_stays() {
    Trial::each(|trial| {
        let file = trial.file("data/member/db", "data");
        let path = trial.path("data");
        let open = File::open(&file).unwrap();
        let seen = refused(trial.set_aside(&path, &attempt("aside", 1)).map(|_| Answer::default()));
        assert!(seen.contains(&std::process::id().to_string()), "{seen}");
        drop(open);
        assert_eq!(trial.all(), ["data", "data/member", "data/member/db"]);
        trial.set_aside(&path, &attempt("aside", 2)).unwrap();
    });
}

#[test]
fn links_and_the_capsules_themselves_are_refused() {
    Trial::each(|trial| {
        trial.file("data/x", "");
        let link = trial.path("link");
        std::os::unix::fs::symlink(trial.path("data"), &link).unwrap();
        assert!(
            refused(trial.set_aside(&link, &attempt("aside", 1)).map(|_| Answer::default())).contains("symbolic link")
        );
        let root = trial.root.path().to_str().unwrap();
        assert!(refused(trial.set_aside(root, &attempt("aside", 2)).map(|_| Answer::default())).contains("capsules"));
    });
}

#[test]
fn another_file_system_is_refused() {
    Trial::each(|trial| {
        let Some(mount) = Mount::new(trial, "other") else { return };
        let path = trial.file("data/x", "1");
        let kind = SetAside::from_args(json!({ "path": path, "to": format!("{}/x", mount.0) })).unwrap();
        let script = kind.script(&site("/c"), &attempt("aside", 1));
        assert!(refused(trial.act(&script, &attempt("aside", 1))).contains("another file system"));
        let parent = trial.path("");
        let parent = parent.trim_end_matches('/');
        assert!(
            refused(trial.set_aside(parent, &attempt("aside", 2)).map(|_| Answer::default())).contains("mounted below")
        );
    });
}

#[test]
fn a_mount_point_keeps_its_place_and_its_children_go() {
    Trial::each(|trial| {
        let Some(mount) = Mount::new(trial, "a data") else { return };
        for name in ["member/db", ".hidden", "lost+found/x", "odd $name"] {
            trial.file(&format!("a data/{name}"), name);
        }
        let before = trial.survey(&mount.0, None);
        let result = trial.set_aside(&mount.0, &attempt("aside", 1)).unwrap();
        let aside = format!("{}/.requorum-aside-r1-aside", mount.0);
        assert_eq!((text(&result["was"]), text(&result["aside"])), ("mountpoint", aside.as_str()));
        assert_eq!(read(&format!("{aside}/member/db")), "member/db");
        let mut left: Vec<_> = fs::read_dir(&mount.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".requorum-aside-r1-aside", "lost+found"]);
        let probe = survey::was_set_aside(&mount.0, &before, &trial.survey(&mount.0, None));
        assert!(matches!(probe, Probe::Yes { .. }), "{probe:?}");

        // New data comes, and the old is exchanged for it.
        trial.file("a data/member/db", "new");
        let before = trial.survey(&mount.0, Some(&aside));
        let restored = trial.restore(&mount.0, &aside, &attempt("back", 1)).unwrap();
        assert_eq!(read(&format!("{}/member/db", mount.0)), "member/db");
        let displaced = text(&restored["displaced"]);
        assert_eq!(read(&format!("{displaced}/member/db")), "new");
        let probe = survey::was_restored(&mount.0, &aside, &before, &trial.survey(&mount.0, Some(&aside)));
        let Probe::Yes { result, .. } = probe else { panic!("{probe:?}") };
        assert_eq!(text(&result["displaced"]), displaced);
    });
}

/// Makes `mv` end its caller as SIGKILL would, instead of doing its n-th call.
fn cut_off_at(trial: &Trial, call: u32) {
    let mv = format!(
        "count={0}/count\nn=$(($(cat $count 2>/dev/null || echo 0) + 1))\necho $n >$count\n[ $n != {call} ] || {{ kill -9 $PPID; exit 1; }}\nPATH=${{PATH#*:}}\nexec mv \"$@\"\n",
        trial.tools.display()
    );
    trial.tool("mv", &mv);
}

fn heal(trial: &Trial) {
    trial.untool("mv");
    trial.untool("count");
}

#[test]
fn a_mount_point_that_was_cut_off_between_two_moves_is_finished_by_the_next_attempt() {
    Trial::each(|trial| {
        for call in 1..=3 {
            let Some(mount) = Mount::new(trial, "data") else { return };
            for name in ["a", "b", "c"] {
                trial.file(&format!("data/{name}"), name);
            }
            let before = trial.survey(&mount.0, None);
            cut_off_at(trial, call);
            let kind = SetAside::from_args(json!({ "path": mount.0 })).unwrap();
            let (first, second) = (attempt(&format!("aside-{call}"), 1), attempt(&format!("aside-{call}"), 2));
            assert_eq!(trial.run(&kind.script(&site("/c"), &first), &first).status, 137);
            heal(trial);
            let probe = survey::was_set_aside(&mount.0, &before, &trial.survey(&mount.0, None));
            assert_eq!(matches!(probe, Probe::No { .. }), call == 1, "{probe:?}");
            assert_eq!(matches!(probe, Probe::Partly { .. }), call > 1, "{probe:?}");
            let again = trial.survey(&mount.0, None);
            let result = trial.set_aside(&mount.0, &second).unwrap();
            for name in ["a", "b", "c"] {
                assert_eq!(read(&format!("{}/{name}", text(&result["aside"]))), name);
            }
            for before in [before, again] {
                let probe = survey::was_set_aside(&mount.0, &before, &trial.survey(&mount.0, None));
                assert!(matches!(probe, Probe::Yes { .. }), "{probe:?}");
            }
        }
    });
}

#[test]
fn a_mount_point_is_exchanged_right_wherever_the_first_attempt_was_cut_off() {
    Trial::each(|trial| {
        for call in 1..=4 {
            let Some(mount) = Mount::new(trial, "data") else { return };
            let step = format!("aside-{call}");
            for name in ["a", "b"] {
                trial.file(&format!("data/{name}"), "old");
            }
            let aside = text(&trial.set_aside(&mount.0, &attempt(&step, 1)).unwrap()["aside"]).to_owned();
            for name in ["a", "b"] {
                trial.file(&format!("data/{name}"), "new");
            }
            let kind = RestoreAside::from_args(json!({ "path": mount.0, "aside": aside })).unwrap();
            cut_off_at(trial, call);
            let step = format!("back-{call}");
            let output = trial.run(&kind.script(&site("/c"), &attempt(&step, 1)), &attempt(&step, 1));
            assert_eq!(output.status, 137);
            heal(trial);
            let result = trial.restore(&mount.0, &aside, &attempt(&step, 2)).unwrap();
            for name in ["a", "b"] {
                assert_eq!(read(&format!("{}/{name}", mount.0)), "old", "cut off at {call}");
                assert_eq!(read(&format!("{}/{name}", text(&result["displaced"]))), "new", "cut off at {call}");
            }
        }
    });
}

#[test]
fn what_was_aside_comes_back_and_what_was_there_goes_aside() {
    Trial::each(|trial| {
        let path = trial.file("it's", "old");
        let aside = text(&trial.set_aside(&path, &attempt("aside", 1)).unwrap()["aside"]).to_owned();
        trial.file("it's", "new");
        let before = trial.survey(&path, Some(&aside));
        assert!(matches!(survey::was_restored(&path, &aside, &before, &before), Probe::No { .. }));
        cut_off_at(trial, 2);
        let kind = RestoreAside::from_args(json!({ "path": path, "aside": aside })).unwrap();
        assert_eq!(trial.run(&kind.script(&site("/c"), &attempt("back", 1)), &attempt("back", 1)).status, 137);
        heal(trial);
        let half = trial.survey(&path, Some(&aside));
        assert!(matches!(survey::was_restored(&path, &aside, &before, &half), Probe::Partly { .. }));
        let result = trial.restore(&path, &aside, &attempt("back", 2)).unwrap();
        assert_eq!((read(&path).as_str(), read(text(&result["displaced"])).as_str()), ("old", "new"));
        let probe = survey::was_restored(&path, &aside, &before, &trial.survey(&path, Some(&aside)));
        assert!(matches!(probe, Probe::Yes { .. }), "{probe:?}");
        assert_eq!(trial.restore(&path, &aside, &attempt("back", 3)).unwrap(), result);
        assert!(
            refused(trial.restore(&path, &aside, &attempt("other", 1)).map(|_| Answer::default()))
                .contains("nothing set aside")
        );
    });
}

#[test]
fn a_manifest_is_set_aside_outside_of_the_kubelets_directory() {
    let site = site("/c");
    let attempt = attempt("aside", 1);
    let aside = |path| shell::aside_of(&site, path, &attempt);
    assert_eq!(aside("/etc/kubernetes/manifests/etcd.yaml"), "/etc/kubernetes/etcd.yaml.requorum-r1-aside");
    assert_eq!(aside("/var/lib/etcd"), "/var/lib/etcd.requorum-r1-aside");
}

#[test]
fn paths_that_leave_their_place_are_refused() {
    for bad in ["", "/", "//", "etc", "/a/../b", "/a/./b", "/a\nb"] {
        assert!(SetAside::from_args(json!({ "path": bad })).is_err(), "{bad:?}");
    }
    assert_eq!(shell::host_path("path", "//a//b/").unwrap(), "/a/b");
    assert!(SetAside::from_args(json!({ "path": "/a", "to": "/a/b" })).is_err());
}
