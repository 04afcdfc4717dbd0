//! `new` and `graph`, as a person who begins uses them.

use std::fs;

use super::Laptop;

#[test]
fn a_new_plan_and_a_new_site_can_be_checked_drawn_previewed_run_and_taken_back() {
    let laptop = Laptop::new();
    laptop.expect(0, &["new", "my-plan.yaml"]).prints("my-plan.yaml");
    laptop.expect(0, &["new", "site", "site.yaml"]).says("check PLAN -i site.yaml");
    for line in [&["check", "my-plan.yaml"] as &[&str], &["check", "my-plan.yaml", "-i", "site.yaml"]] {
        let outcome = laptop.expect(0, line);
        outcome.prints("my-plan is valid");
        assert_eq!(outcome.stderr, "", "a skeleton has a warning");
    }
    let with_site = |command| [command, "my-plan.yaml", "-i", "site.yaml"];
    laptop.expect(0, &with_site("graph")).prints("192.0.2.11");
    laptop.expect(0, &with_site("preview")).prints("would run");

    let notes = laptop.path("home").join("requorum-notes");
    laptop.expect(0, &with_site("run"));
    assert_eq!(fs::read_to_string(notes.join("192.0.2.12")).unwrap(), "192.0.2.12\n");
    let changed = |note: &str| fs::metadata(notes.join(note)).unwrap().modified().unwrap();
    let before = changed("192.0.2.12");
    laptop.expect(0, &with_site("run")).says("already so");
    assert_eq!(changed("192.0.2.12"), before, "the second run has written again");

    let first = laptop.runs().remove(0).id;
    laptop.expect(0, &["rollback", &laptop.newest().id, "--yes"]);
    laptop.expect(0, &["rollback", &first, "--yes"]);
    assert!(!notes.exists(), "a rollback has left the notes there");
    assert_eq!(fs::read_dir(laptop.path("home")).unwrap().count(), 0);
}

#[test]
fn a_skeleton_overwrites_nothing_and_can_be_printed() {
    let laptop = Laptop::new();
    laptop.write("plan.yaml", "mine");
    laptop.expect(2, &["new"]).says("plan.yaml");
    laptop.expect(2, &["new", "plan", "plan.yaml"]).says("does not exist yet");
    laptop.expect(2, &["new", "site", "no/such/directory.yaml"]).says("directory");
    assert_eq!(fs::read_to_string(laptop.path("plan.yaml")).unwrap(), "mine");
    let printed = laptop.expect(0, &["new", "site", "-", "--platform", "kubeadm"]);
    printed.prints("platform: kubeadm");
    printed.prints("static-pod");
    laptop.expect(2, &["new", "plan", "x.yaml", "--platform", "windows"]).says("systemd-etcd");
    laptop.expect(0, &["new", "--platform", "uk8s", "x.yaml"]);
    assert!(fs::read_to_string(laptop.path("x.yaml")).unwrap().contains("platforms: [uk8s]"));
    assert!(!laptop.path("-").exists());
}

#[test]
fn each_form_of_a_drawing_is_printed_and_a_pipe_gets_no_colours() {
    let laptop = Laptop::new();
    for (form, sign) in [("text", "●"), ("dot", "digraph"), ("mermaid", "flowchart TB"), ("html", "<!doctype html>")]
    {
        let outcome = laptop.expect(0, &["graph", "etcd/restore-all-members", "-o", form]);
        outcome.prints(sign);
        assert!(!outcome.stdout.contains('\u{1b}'));
    }
}
