//! Going back, with commands of this machine: what the author of a plan wrote takes a step back.

use super::Desk;
use super::decisions::kill_session;
use crate::support::{Outcome, wait_until};

/// How the second step waits, where it is to.
const WAIT: &str = "until [ ! -e wait -o -e go -o ! -d $HOME ]; do sleep 0.05; done";

/// Two steps with an undo each; the result of the first is text that looks like a template.
const STEPS: &str = r#"  - id: a
    command.run: { run: "printf '%s%s x }}' '{' '{'" }
    undo: { command.run: { run: "echo 'back: {{ result.stdout }}' >>ran" } }
  - id: look
    needs: [a]
    effect: pure
    command.run: { run: "true" }
  - id: b
    needs: [look]
    command.run: { run: "echo b >>ran; until [ ! -e wait -o -e go -o ! -d $HOME ]; do sleep 0.05; done; echo b ended >>ran" }
    undo: { command.run: { run: "echo back b >>ran; test ! -e broken" } }
"#;

impl Desk {
    fn id(&self) -> String {
        self.laptop.newest().id
    }

    /// Returns the run that takes a run back; within one second the ids do not tell which is newer.
    fn rollback_of(&self, run: &str) -> String {
        let runs = self.laptop.runs().into_iter();
        let mut found = runs.filter(|other| other.events("began", "").iter().any(|began| began["rolls_back"] == run));
        found.next().unwrap().id
    }

    #[track_caller]
    fn back(&self, code: i32, run: &str) -> Outcome {
        self.laptop.expect(code, &["rollback", run, "--yes"])
    }

    fn killed_at(&self, place: &str, args: &[&str]) {
        let mut command = self.laptop.command(args);
        command.env("REQUORUM_DIE_AT", place);
        self.laptop.spawn(command).wait().expect(137);
    }
}

#[test]
fn a_run_is_taken_back_in_reverse_order_with_the_results_it_had_taken_literally() {
    let desk = Desk::steps(STEPS);
    desk.run(0, &[]);
    let run = desk.id();
    let preview = desk.laptop.expect(0, &["rollback", &run, "--preview"]);
    preview.prints("echo back b >>ran");
    preview.prints("back: {{ x }}");
    assert_eq!(desk.file("ran"), "b\nb ended\n", "a preview does nothing");
    desk.laptop.expect(9, &["rollback", &run]).says("nobody has confirmed");
    desk.laptop.expect(9, &["rollback", &run, "--confirm", "another"]).says("--confirm names `another`");
    desk.back(0, &run);
    assert_eq!(desk.file("ran"), "b\nb ended\nback b\nback: {{ x }}\n");
}

#[test]
fn past_the_point_of_no_return_nothing_is_taken_back_and_the_step_is_named() {
    let last = "  - id: final\n    needs: [b]\n    command.run: { run: 'echo final >>ran; false' }\n";
    let desk = Desk::steps(&format!("{STEPS}{last}"));
    desk.run(5, &[]).says("nothing takes `final` back");
    let run = desk.id();
    desk.back(4, &run).says("final: `command.run` is disruptive, has acted, and has no undo");
    assert_eq!(desk.file("ran"), "b\nb ended\nfinal\n");
    // It can still go forward.
    desk.laptop.expect(5, &["resume", "--retry-failed"]);
}

#[test]
fn what_never_began_is_withdrawn_and_the_rest_is_taken_back() {
    let desk = Desk::steps(STEPS);
    desk.killed_at("before act b@-.1", &desk.line(&[]));
    let run = desk.id();
    desk.back(0, &run);
    assert_eq!(desk.file("ran"), "back: {{ x }}\n");
    desk.laptop.expect(0, &["runs", "logs", &run]).prints("withdrawn");

    let known = desk.laptop.runs();
    desk.killed_at("before act a@-.1", &desk.line(&[]));
    let run =
        desk.laptop.runs().into_iter().map(|run| run.id).find(|id| known.iter().all(|run| run.id != *id)).unwrap();
    desk.laptop.expect(0, &["rollback", &run, "--yes"]).prints("has changed nothing");
    desk.laptop.expect(2, &["resume"]).says("no unfinished run");
}

#[test]
fn a_command_that_still_runs_is_waited_for_and_then_taken_back() {
    let desk = Desk::steps(STEPS);
    std::fs::write(desk.laptop.path("home/wait"), "").unwrap();
    let live = desk.start();
    wait_until("the command", std::time::Duration::from_mins(1), || desk.file("ran") == "b\n");
    let run = desk.id();
    assert_eq!(desk.laptop.run(&["rollback", &run, "--yes"]).code, 7, "a live run is not rolled back");
    assert!(live.kill());
    let back = desk.laptop.start(&["rollback", &run, "--yes"]);
    wait_until("the settling", std::time::Duration::from_mins(1), || {
        !desk.laptop.runs()[0].events("reconciled", "b").is_empty()
    });
    assert_eq!(desk.file("ran"), "b\n");
    std::fs::write(desk.laptop.path("home/go"), "").unwrap();
    back.wait().expect(0);
    assert_eq!(desk.file("ran"), "b\nb ended\nback b\nback: {{ x }}\n");
}

#[test]
fn where_only_a_person_knows_what_happened_it_asks_before_anything_is_taken_back() {
    let desk = Desk::steps(&STEPS.replace(WAIT, "sleep 300"));
    let live = desk.start();
    wait_until("the command", std::time::Duration::from_mins(1), || desk.file("ran") == "b\n");
    let run = desk.laptop.newest();
    assert!(live.kill());
    kill_session(&run, "b");
    let outcome = desk.back(6, &run.id);
    outcome.says(&format!("skip {} b", run.id));
    outcome.says(&format!("rollback {}", run.id));
    assert_eq!(desk.file("ran"), "b\n");
    desk.laptop.expect(0, &["skip", "--done", &run.id, "b", "--reason", "seen to have happened"]);
    desk.back(0, &run.id);
    assert_eq!(desk.file("ran"), "b\nback b\nback: {{ x }}\n");
}

#[test]
fn a_rollback_that_failed_is_gone_on_with_and_never_given_up_half_way() {
    let desk = Desk::steps(STEPS);
    desk.run(0, &[]);
    let run = desk.id();
    std::fs::write(desk.laptop.path("home/broken"), "").unwrap();
    desk.back(5, &run);
    let back = desk.rollback_of(&run);
    desk.laptop.expect(2, &["runs", "abort", &back, "--reason", "x"]).says("half of it leaves nothing whole");
    desk.laptop.expect(2, &["commit", &run]).says(&back);
    desk.laptop.expect(2, &["rollback", &run, "--preview"]).says(&format!("resume {back}"));
    desk.laptop.expect(0, &["skip", "--done", &back, "undo-b", "--reason", "it did happen"]);
    desk.back(0, &run);
    assert_eq!(desk.file("ran"), "b\nb ended\nback b\nback: {{ x }}\n");
    desk.back(2, &run).says("was rolled back already");
    assert_eq!(desk.laptop.runs().len(), 2);
}

#[test]
fn what_a_later_run_has_built_on_is_taken_back_after_it() {
    let desk = Desk::steps(STEPS);
    desk.run(0, &[]);
    let first = desk.id();
    desk.run(0, &[]);
    let second = desk.laptop.runs().into_iter().map(|run| run.id).find(|id| *id != first).unwrap();
    desk.back(4, &first).says(&format!("rollback {second}"));
    desk.back(0, &second);
    desk.back(0, &first);
}
