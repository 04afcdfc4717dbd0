//! A run that goes on with another plan or another site than it began with.

use super::{Desk, SITE};
use crate::support::Outcome;

/// The middle step fails until it is mended.
const STEPS: &str = r#"  - id: before
    command.run: { run: "echo before >>ran; echo said" }
    outputs: { said: "{{ result.stdout }}" }
  - id: broken
    needs: [before]
    assert.that: { expr: "inputs.n == 2" }
  - id: after
    needs: [broken]
    command.run: { run: "echo after {{ steps.before.outputs.said }} {{ vars.word }} >>ran" }
"#;

const HEAD: &str = "inputs: { n: { type: integer, default: 1 } }\nvars: { word: 'old' }\n";

/// A run that has failed in the middle, and its id.
fn failed() -> (Desk, String) {
    let desk = Desk::with(HEAD, STEPS);
    desk.run(5, &[]);
    let run = desk.laptop.newest().id;
    (desk, run)
}

impl Desk {
    /// Writes the plan once more, otherwise.
    fn rewrite(&self, head: &str, steps: &str) {
        self.laptop.write("plan.yaml", &format!("requorum: 1\nname: try\n{head}steps:\n{steps}"));
    }

    #[track_caller]
    fn amend(&self, code: i32, more: &[&str]) -> Outcome {
        self.laptop.expect(code, &[&["resume", "--amend", &self.plan], more].concat())
    }
}

#[test]
fn a_plan_that_does_not_differ_is_simply_gone_on_with() {
    let (desk, _) = failed();
    desk.rewrite(HEAD, &format!("# a comment\n{STEPS}"));
    let outcome = desk.amend(5, &["--retry-failed"]);
    outcome.says("does not differ");
    assert!(desk.laptop.newest().events("amended", "").is_empty());
}

#[test]
fn a_difference_without_a_reason_is_shown_and_nothing_is_done() {
    let (desk, run) = failed();
    desk.rewrite(HEAD, &STEPS.replace("inputs.n == 2", "true").replace("id: after\n", "id: last\n    timeout: 9s\n"));
    let records = desk.laptop.newest().records().len();
    let outcome = desk.amend(8, &[]);
    outcome.prints("~ step broken\n    args.expr: \"inputs.n == 2\" -> \"true\"");
    outcome.prints("- step after");
    outcome.prints("+ step last");
    outcome.says(&format!("resume {run} --amend {} --reason TEXT", desk.plan));
    assert_eq!(desk.laptop.newest().records().len(), records);
    assert_eq!(desk.file("ran"), "before\n");
}

#[test]
fn what_has_not_begun_is_amended_with_a_reason_and_what_has_is_not_done_again() {
    let (desk, run) = failed();
    let more = "  - id: more\n    needs: [after]\n    command.run: { run: 'echo more >>ran' }\n";
    desk.rewrite(
        &HEAD.replace("old", "new"),
        &(STEPS.replace("expr: \"inputs.n == 2\"", "expr: \"inputs.n < 2\"") + more),
    );
    let outcome = desk.amend(0, &["--reason", "the condition was wrong"]);
    outcome.says("amended");
    assert_eq!(desk.file("ran"), "before\nafter said new\nmore\n");
    let amended = desk.laptop.newest().events("amended", "").remove(0);
    assert_eq!(amended["reason"], "the condition was wrong");
    assert!(amended["changes"].to_string().contains("step broken"), "{amended}");
    // All that looks at the run knows the new plan.
    desk.laptop.expect(0, &["runs", "show", &run]).prints("more");
    desk.laptop.expect(0, &["runs", "show", &run]).prints("(amended)");
    desk.laptop.expect(0, &["runs", "list"]).prints("(amended)");
    desk.laptop.expect(0, &["runs", "logs", &run]).prints("the condition was wrong");
}

#[test]
fn an_amended_run_that_is_cut_off_goes_on_with_the_new_plan() {
    let (desk, run) = failed();
    let held = "  - id: held\n    needs: [broken]\n    confirm: sure?\n    command.run: { run: 'echo held >>ran' }\n";
    desk.rewrite(HEAD, &(STEPS.replace("inputs.n == 2", "true") + held));
    desk.amend(6, &["--reason", "one more step"]);
    desk.laptop.expect(2, &["approve", &run, "hold", "--reason", "x"]).says("held");
    desk.laptop.expect(0, &["approve", &run, "held", "--reason", "yes"]);
    desk.laptop.expect(0, &["resume"]);
    let mut ran: Vec<String> = desk.file("ran").lines().map(str::to_owned).collect();
    ran.sort();
    assert_eq!(ran, ["after said old", "before", "held"]);
}

#[test]
fn an_input_can_be_given_anew_as_long_as_nothing_has_used_it() {
    let (desk, _) = failed();
    desk.laptop.expect(2, &["resume", "--set", "n=2"]).says("--amend");
    desk.amend(8, &["--set", "n=2"]).says("--set n=2 --reason TEXT");
    desk.amend(0, &["--set", "n=2", "--reason", "it was 2 all along"]);
    assert_eq!(desk.file("ran"), "before\nafter said old\n");
}

#[test]
fn what_has_begun_may_not_change_vanish_or_come_to_need_something_new() {
    let new = "  - id: new\n    command.run: { run: 'true' }\n";
    let cases = [
        (STEPS.replace("echo before >>ran", "echo other >>ran"), "step before: it has begun and cannot be changed"),
        (STEPS.replace("before", "first"), "step before: it has begun and cannot be taken out"),
        (
            new.to_owned() + &STEPS.replace("id: before\n", "id: before\n    needs: [new]\n"),
            "step new: a step that has run would rest on it",
        ),
    ];
    for (steps, why) in cases {
        let (desk, _) = failed();
        desk.rewrite(HEAD, &steps);
        let records = desk.laptop.newest().records().len();
        desk.amend(8, &["--reason", "because"]).says(why);
        assert_eq!(desk.laptop.newest().records().len(), records);
    }
    let (desk, _) = failed();
    desk.laptop.write("plan.yaml", &format!("requorum: 1\nname: other\n{HEAD}steps:\n{STEPS}"));
    desk.amend(8, &["--reason", "because"]).says("another plan");
}

#[test]
fn a_step_in_doubt_may_not_change() {
    let once = "  - id: once\n    command.run: { run: 'echo began >>ran; until [ -e go -o ! -d $HOME ]; do sleep 0.05; done' }\n";
    let desk = Desk::steps(once);
    let live = desk.start();
    crate::support::wait_until("the command", std::time::Duration::from_secs(30), || desk.file("ran") == "began\n");
    assert!(live.kill());
    desk.rewrite("", &once.replace("began", "changed"));
    desk.amend(8, &["--reason", "because"]).says("once (");
    std::fs::write(desk.laptop.path("home/go"), "").unwrap();
    desk.laptop.expect(0, &["resume"]);
    assert_eq!(desk.file("ran"), "began\n");
}

#[test]
fn a_new_run_beside_an_unfinished_one_is_told_whether_its_plan_differs() {
    let (desk, run) = failed();
    desk.run(7, &[]).says("this very plan");
    desk.run(7, &["--set", "n=2"]).says(&format!("resume {run} --amend"));
}

#[test]
fn a_changed_site_goes_on_with_a_reason_and_only_where_it_is_about_reaching_hosts() {
    let (desk, run) = failed();
    let moved = desk.laptop.write("moved.yaml", &SITE.replace("127.0.0.1", "127.0.0.2"));
    let outcome = desk.laptop.expect(8, &["resume", "--site", &moved]);
    outcome.prints("hosts.here.address: \"127.0.0.1\" -> \"127.0.0.2\"");
    outcome.says(&format!("resume {run} --site {moved} --reason TEXT"));
    for (from, to, field) in [
        ("roles: [etcd]", "roles: [worker]", "hosts.here.roles"),
        ("cluster: loop", "cluster: other", "cluster"),
        ("hosts: { here:", "hosts: { there: { address: 1.2.3.4 }, here:", "hosts.there"),
        ("platform: systemd-etcd", "platform: systemd-etcd\ncapsule_root: /x", "capsule_root"),
    ] {
        let site = desk.laptop.write("wrong.yaml", &SITE.replace(from, to));
        let outcome = desk.laptop.expect(8, &["resume", "--site", &site, "--reason", "because"]);
        outcome.says(&format!("{field}: the run was planned with it"));
    }
    let invalid = desk.laptop.write("invalid.yaml", &SITE.replace("hosts:", "hots:"));
    desk.laptop.expect(3, &["resume", "--site", &invalid, "--reason", "because"]);
    assert!(desk.laptop.newest().events("site-changed", "").is_empty());

    desk.rewrite(HEAD, &STEPS.replace("inputs.n == 2", "site.hosts.here.address == '127.0.0.2'"));
    desk.laptop.expect(5, &["resume", "--site", &moved, "--reason", "it has moved"]);
    desk.laptop.expect(5, &["resume", "--site", &moved]).says("does not differ");
    // The plan is compiled for the site that the run began with, and sees the one of today.
    desk.amend(0, &["--reason", "look at the address"]);
    assert_eq!(desk.laptop.newest().events("site-changed", "").len(), 1);
}
