use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;
use crate::action::Probe;
use crate::action::Undo;
use crate::kinds::file_put::{Content, CopyFile, Target, WriteFile, undo_put};

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

impl Trial {
    fn put(&self, args: &Value, content: &str, attempt: &AttemptId) -> Result<Value, Fault> {
        let target = Target::from_args(args).unwrap();
        let content_bytes = Stdin::Bytes(content.as_bytes().to_vec());
        let script = target.script(&site("/c"), attempt, &sha256(content), content_bytes);
        Ok(Target::result(&self.act(&script, attempt)?))
    }

    fn content(&self, path: &str) -> Content {
        Content::read(&self.look(&Content::script(path, &format!("{path}.requorum-"))))
    }
}

#[test]
fn a_new_file_gets_content_mode_and_nothing_stays_beside_it() {
    Trial::each(|trial| {
        let path = trial.path("new 'file' $x");
        let args = json!({ "path": path, "mode": "0640", "replace": false });
        let target = Target::from_args(&args).unwrap();
        let before = trial.content(&path);
        assert!(matches!(target.judge(Some(&before), &before, &sha256("one\n")), Probe::No { .. }));
        let result = trial.put(&args, "one\n", &attempt("put", 1)).unwrap();
        assert_eq!((read(&path).as_str(), mode(&path)), ("one\n", 0o640));
        assert_eq!(
            (result["size"].as_u64(), &result["aside"], &result["changed"]),
            (Some(4), &Value::Null, &json!(true))
        );
        assert_eq!(trial.all(), ["new 'file' $x"]);
        let Probe::Yes { result: probed, .. } = target.judge(Some(&before), &trial.content(&path), &sha256("one\n"))
        else {
            panic!("the content is there");
        };
        assert_eq!(probed, result);
        assert!(matches!(undo_put(Some(&result)), Undo::By(acts) if acts[0].0 == "file.set_aside"));
        assert_eq!(undo_put(None), Undo::NeedsResult);
        // Once more it is there already, and with another mode only that changes.
        let again = json!({ "path": path, "mode": "0600" });
        let wanted = Target::from_args(&again).unwrap();
        assert!(matches!(wanted.judge(None, &trial.content(&path), &sha256("one\n")), Probe::No { .. }));
        assert_eq!(trial.put(&again, "one\n", &attempt("again", 1)).unwrap()["changed"], json!(false));
        assert_eq!(mode(&path), 0o600);
    });
}

#[test]
fn a_different_file_stays_unless_it_is_to_be_replaced() {
    Trial::each(|trial| {
        let path = trial.file("conf", "old");
        let refusal = trial.put(&json!({ "path": path }), "new", &attempt("put", 1));
        assert!(refused(refusal.map(|_| Answer::default())).contains("different file"));
        assert_eq!((read(&path).as_str(), trial.all()), ("old", vec!["conf".to_owned()]));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let args = json!({ "path": path, "replace": true });
        let before = trial.content(&path);
        let result = trial.put(&args, "new", &attempt("put", 2)).unwrap();
        let aside = format!("{path}.requorum-r1-put");
        assert_eq!(text(&result["aside"]), aside);
        assert_eq!((read(&path).as_str(), read(&aside).as_str(), mode(&path)), ("new", "old", 0o604));
        let Probe::Yes { result: probed, .. } =
            Target::from_args(&args).unwrap().judge(Some(&before), &trial.content(&path), &sha256("new"))
        else {
            panic!("the content is there");
        };
        assert_eq!(probed, result);
        assert!(matches!(undo_put(Some(&result)), Undo::By(acts) if acts[0].0 == "file.restore_aside"));
        let again = trial.put(&args, "third", &attempt("put", 3));
        assert!(refused(again.map(|_| Answer::default())).contains("taken"));
        assert_eq!(trial.all(), ["conf", "conf.requorum-r1-put"]);
    });
}

#[test]
fn a_content_that_arrives_damaged_leaves_nothing() {
    Trial::each(|trial| {
        let target = Target::from_args(&json!({ "path": trial.path("x") })).unwrap();
        let script = target.script(&site("/c"), &attempt("put", 1), &sha256("sent"), Stdin::Bytes(b"arrived".to_vec()));
        assert!(refused(trial.act(&script, &attempt("put", 1))).contains("differs from what was sent"));
        assert!(trial.all().is_empty());
    });
}

#[test]
fn an_owner_that_does_not_exist_leaves_what_was_there() {
    Trial::each(|trial| {
        let path = trial.file("conf", "old");
        let args = json!({ "path": path, "replace": true, "owner": "no-such-user-here" });
        assert_eq!(trial.put(&args, "new", &attempt("put", 1)).unwrap_err().kind, FaultKind::Failed);
        assert_eq!((read(&path).as_str(), trial.all()), ("old", vec!["conf".to_owned()]));
    });
}

#[test]
fn a_put_that_was_cut_off_before_the_rename_is_done_by_the_next_attempt() {
    Trial::each(|trial| {
        let path = trial.file("conf", "old");
        // The second `mv` is the one into place; the old file has its second name by then.
        let mv =
            format!("[ \"$1\" != -f ] || {{ kill -9 $PPID; exit 1; }}\nPATH={}\nexec mv \"$@\"\n", trial.shell.path);
        trial.tool("mv", &mv);
        let target = Target::from_args(&json!({ "path": path, "replace": true })).unwrap();
        let script = |n| target.script(&site("/c"), &attempt("put", n), &sha256("new"), Stdin::Bytes(b"new".to_vec()));
        assert_eq!(trial.run(&script(1), &attempt("put", 1)).status, 137);
        trial.untool("mv");
        assert_eq!(read(&path), "old");
        assert!(matches!(target.judge(None, &trial.content(&path), &sha256("new")), Probe::No { .. }));
        trial.act(&script(2), &attempt("put", 2)).unwrap();
        assert_eq!((read(&path).as_str(), read(&format!("{path}.requorum-r1-put")).as_str()), ("new", "old"));
        assert_eq!(trial.all(), ["conf", "conf.requorum-r1-put"]);
    });
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    Trial::each(|trial| {
        let Some(mount) = Mount::new(trial, "small", "size=64k") else { return };
        let path = trial.file("small/conf", "old");
        let args = json!({ "path": path, "replace": true });
        let fault = trial.put(&args, &"x".repeat(200_000), &attempt("put", 1)).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Failed);
        assert_eq!((read(&path).as_str(), fs::read_dir(&mount.0).unwrap().count()), ("old", 1));
    });
}

#[test]
fn through_a_link_the_file_that_it_points_to_is_replaced() {
    Trial::each(|trial| {
        let real = trial.file("real/conf", "old");
        let link = trial.path("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let (args, before) = (json!({ "path": link, "replace": true }), trial.content(&link));
        let result = trial.put(&args, "new", &attempt("put", 1)).unwrap();
        let probe = Target::from_args(&args).unwrap().judge(Some(&before), &trial.content(&link), &sha256("new"));
        assert!(matches!(probe, Probe::Yes { result: probed, .. } if probed["aside"] == result["aside"]));
        assert!(Path::new(&link).is_symlink());
        assert_eq!((text(&result["path"]), read(&real).as_str()), (real.as_str(), "new"));
        assert_eq!(read(text(&result["aside"])), "old");
        assert_eq!(text(&result["aside"]), format!("{real}.requorum-r1-put"));
    });
}

#[test]
fn a_directory_in_the_way_and_a_missing_one_are_refused() {
    Trial::each(|trial| {
        trial.file("dir/x", "");
        for path in ["dir", "missing/x"] {
            let args = json!({ "path": trial.path(path), "replace": true });
            refused(trial.put(&args, "new", &attempt("put", 1)).map(|_| Answer::default()));
        }
        assert_eq!(trial.all(), ["dir", "dir/x"]);
    });
}

#[test]
fn modes_owners_and_checksums_are_checked_when_the_kind_is_made() {
    for bad in [json!({ "mode": "rw" }), json!({ "mode": "9999" }), json!({ "owner": "a b" }), json!({ "owner": "-R" })]
    {
        let mut args = json!({ "path": "/x" });
        args.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        assert!(Target::from_args(&args).is_err(), "{args}");
    }
    assert!(CopyFile::from_args(json!({ "src": "x", "path": "/x", "sha256": "12" })).is_err());
    assert!(WriteFile::from_args(json!({ "path": "/x" })).is_err());
}

#[test]
fn a_source_that_is_not_what_the_plan_names_is_refused_before_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let src = directory.path().join("src");
    fs::write(&src, "this").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let copy = |sha256: &str| CopyFile::from_args(json!({ "src": src, "path": "/x", "sha256": sha256 })).unwrap();
    assert_eq!(runtime.block_on(copy(&sha256("this")).hashed()), Ok(sha256("this")));
    assert_eq!(runtime.block_on(copy(&sha256("other")).hashed()).unwrap_err().kind, FaultKind::Refused);
}
