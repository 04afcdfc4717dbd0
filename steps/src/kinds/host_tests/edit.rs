use serde_json::json;

use super::*;
use crate::action::Probe;
use crate::kinds::file_checks::{FreeSpace, NotOpen, Presence};
use crate::kinds::file_line::Line;
use crate::kinds::file_put::Target;
use crate::kinds::file_unpack::{Remove, Unpack};
use crate::kinds::survey::Survey;

impl Trial {
    fn line(&self, path: &str, key: &str, value: &str, attempt: &AttemptId) -> Result<Value, Fault> {
        let kind = Line::from_args(json!({ "path": path, "key": key, "value": value })).unwrap();
        let result = kind.result(&self.act(&kind.script(&site("/c"), attempt), attempt)?);
        let probe = kind.judge(&self.look(&kind.look()));
        assert!(matches!(probe, Probe::Yes { .. }), "{probe:?}");
        Ok(result)
    }

    fn unpack(&self, src: &str, into: &str, attempt: &AttemptId) -> Result<Value, Fault> {
        let kind = Unpack::from_args(json!({ "src": src, "into": into })).unwrap();
        Ok(kind.result(&self.act(&kind.script(attempt), attempt)?))
    }

    fn remove(&self, path: &str, attempt: &AttemptId) -> Result<Answer, Fault> {
        let kind = Remove::from_args(json!({ "path": path })).unwrap();
        self.act(&kind.script(attempt), attempt)
    }

    /// Packs members, given as tar transforms them, and returns the archive's path.
    fn archive(&self, name: &str, options: &[&str]) -> String {
        self.file("src/pki/ca.crt", "ca");
        self.file("src/it's $x", "y");
        let archive = self.path(name);
        let packed =
            Command::new("tar").args(["-cf", &archive, "-C", &self.path("src")]).args(options).arg(".").status();
        assert!(packed.unwrap().success());
        fs::remove_dir_all(self.path("src")).unwrap();
        archive
    }
}

#[test]
fn a_key_is_set_where_it_stands_and_appended_where_it_does_not() {
    Trial::each(|trial| {
        let path = trial.file("etcd conf", "# ETCD_NAME=no\nETCD_NAME=\"a\"\nexport ETCD_DEBUG=1\nETCD_NAME_2=x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let kind = Line::from_args(json!({ "path": path, "key": "ETCD_NAME", "value": "b" })).unwrap();
        assert!(matches!(kind.judge(&trial.look(&kind.look())), Probe::No { .. }));
        let result = trial.line(&path, "ETCD_NAME", "b", &attempt("name", 1)).unwrap();
        trial.line(&path, "ETCD_DEBUG", "a b\"c$d`e\\f", &attempt("debug", 1)).unwrap();
        trial.line(&path, "ETCD_INITIAL_CLUSTER_STATE", "existing", &attempt("state", 1)).unwrap();
        assert_eq!(
            read(&path),
            "# ETCD_NAME=no\nETCD_NAME=b\nexport ETCD_DEBUG=\"a b\\\"c\\$d\\`e\\\\f\"\nETCD_NAME_2=x\nETCD_INITIAL_CLUSTER_STATE=existing\n"
        );
        assert_eq!(mode(&path), 0o640);
        assert!(read(text(&result["aside"])).ends_with("ETCD_NAME_2=x"), "the original is kept as it was");
        let sourced =
            Command::new("sh").args(["-c", ". \"$1\"; printf %s \"$ETCD_DEBUG\"", "sh", &path]).output().unwrap();
        assert_eq!(String::from_utf8(sourced.stdout).unwrap(), "a b\"c$d`e\\f");
        // Set already: nothing is written, nothing kept.
        let number = inode(&path);
        let again = trial.line(&path, "ETCD_NAME", "b", &attempt("again", 1)).unwrap();
        assert_eq!((&again["changed"], &again["aside"], inode(&path)), (&json!(false), &Value::Null, number));
        assert_eq!(trial.all().len(), 4);
    });
}

#[test]
fn every_line_that_sets_a_key_gets_the_value() {
    Trial::each(|trial| {
        let path = trial.file("conf", "A=1\nB=2\n A=3\n");
        trial.line(&path, "A", "http://10.0.0.1:2380", &attempt("a", 1)).unwrap();
        assert_eq!(read(&path), "A=http://10.0.0.1:2380\nB=2\n A=http://10.0.0.1:2380\n");
    });
}

#[test]
fn keys_and_values_that_would_break_the_file_are_refused() {
    for (key, value) in [("A B", "x"), ("", "x"), ("1A", "x"), ("A=", "x"), ("A", "x\ny")] {
        assert!(Line::from_args(json!({ "path": "/x", "key": key, "value": value })).is_err(), "{key:?} {value:?}");
    }
}

#[test]
fn a_file_that_is_not_there_has_no_lines_to_set() {
    Trial::each(|trial| {
        let kind = Line::from_args(json!({ "path": trial.path("x"), "key": "A", "value": "1" })).unwrap();
        assert!(refused(trial.act(&kind.script(&site("/c"), &attempt("a", 1)), &attempt("a", 1))).contains("no file"));
    });
}

#[test]
fn an_archive_is_unpacked_whole_and_known_as_this_runs() {
    Trial::each(|trial| {
        for (name, options) in [("plain.tar", &[][..]), ("packed.tgz", &["-z"][..]), ("packed", &["-z"][..])] {
            let archive = trial.archive(name, options);
            let into = trial.path(&format!("into {name}"));
            let kind = Unpack::from_args(json!({ "src": archive, "into": into })).unwrap();
            let look = kind.look(format!("{}/c1", trial.capsules()));
            let before = json!({ "id": null });
            assert!(matches!(kind.judge(&before, &trial.look(&look)), Probe::No { .. }));
            let step = attempt(&format!("unpack-{}", name.replace('.', "-")), 1);
            let result = trial.unpack(&archive, &into, &step).unwrap();
            assert_eq!(read(&format!("{into}/pki/ca.crt")), "ca");
            assert_eq!(read(&format!("{into}/it's $x")), "y");
            assert!(result["members"].as_u64().unwrap() >= 3);
            let probe = kind.judge(&before, &trial.look(&look));
            assert!(matches!(probe, Probe::Yes { .. }), "{probe:?}");
            let refusal = trial.unpack(&archive, &into, &attempt("again", 1));
            assert!(refused(refusal.map(|_| Answer::default())).contains("not empty"));
            trial.remove(&into, &attempt("remove", 1)).unwrap();
            assert_eq!(trial.all(), [name.to_owned()]);
            fs::remove_file(archive).unwrap();
        }
    });
}

#[test]
fn an_archive_that_would_leave_its_directory_or_is_damaged_unpacks_nothing() {
    Trial::each(|trial| {
        let evil = trial.archive("evil.tar", &["--transform=s,^./pki,../pki,", "-P"]);
        let absolute = trial.archive("absolute.tar", &["--transform=s,^./pki,/pki,", "-P"]);
        let damaged = trial.archive("damaged.tgz", &["-z"]);
        let mut bytes = fs::read(&damaged).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&damaged, bytes).unwrap();
        let into = trial.path("into");
        for (archive, why) in
            [(&evil, "leave the directory"), (&absolute, "leave the directory"), (&damaged, "damaged")]
        {
            let seen = refused(trial.unpack(archive, &into, &attempt("unpack", 1)).map(|_| Answer::default()));
            assert!(seen.contains(why), "{seen}");
        }
        assert_eq!(trial.all(), ["absolute.tar", "damaged.tgz", "evil.tar"]);
    });
}

#[test]
fn only_what_this_run_made_is_removed() {
    Trial::each(|trial| {
        let (theirs, ours) = (trial.file("theirs", "1"), trial.path("ours"));
        let target = Target::from_args(&json!({ "path": ours })).unwrap();
        let sha256 = hex::encode(sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix("x")));
        let script = target.script(&site("/c"), &attempt("put", 1), &sha256, Stdin::Bytes(b"x".to_vec()));
        trial.act(&script, &attempt("put", 1)).unwrap();
        assert!(refused(trial.remove(&theirs, &attempt("remove", 1))).contains("not made by this run"));
        // Another file under the same name is not the one that was made.
        fs::rename(&ours, trial.path("kept")).unwrap();
        fs::write(&ours, "theirs now").unwrap();
        assert!(refused(trial.remove(&ours, &attempt("remove", 2))).contains("not made by this run"));
        fs::rename(trial.path("kept"), &ours).unwrap();
        assert_eq!(trial.remove(&ours, &attempt("remove", 3)).unwrap().get("removed"), "true");
        assert_eq!(trial.remove(&ours, &attempt("remove", 4)).unwrap().get("removed"), "false");
        assert_eq!(trial.all(), ["theirs"]);
    });
}

#[test]
fn checks_say_what_is_there() {
    Trial::each(|trial| {
        let file = trial.file("dir/file", "x");
        let see = |path: &str| Survey::read(&trial.look(&Survey::script(path, &format!("{path}.requorum-"), None)));
        let holds = |args: Value, wanted| {
            let path = text(&args["path"]).to_owned();
            Presence::from_args(args, wanted).unwrap().judge(&see(&path)).holds
        };
        assert!(holds(json!({ "path": file }), true));
        assert!(holds(json!({ "path": file, "kind": "file" }), true));
        assert!(!holds(json!({ "path": file, "kind": "directory" }), true));
        assert!(!holds(json!({ "path": file }), false));
        assert!(holds(json!({ "path": trial.path("no") }), false));
        let link = trial.path("dangling");
        std::os::unix::fs::symlink("/no/such", &link).unwrap();
        assert!(!holds(json!({ "path": link }), false));

        let room = |size: &str| {
            let check = FreeSpace::from_args(json!({ "path": trial.path("not/yet"), "at_least": size })).unwrap();
            check.judge(&trial.look(&check.look())).unwrap()
        };
        assert!(room("1KiB").holds);
        assert!(!room("9999TiB").holds, "{:?}", room("9999TiB"));

        let open = NotOpen::from_args(json!({ "path": trial.path("dir") })).unwrap();
        assert!(open.judge(&trial.look(&open.look())).holds);
        let handle = fs::File::open(&file).unwrap();
        let seen = open.judge(&trial.look(&open.look()));
        assert!(!seen.holds && seen.seen.contains(&std::process::id().to_string()), "{seen:?}");
        drop(handle);
    });
}
