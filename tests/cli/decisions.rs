//! What a person decides: gates, and what became of a command that was cut off.

use std::process::Command;

use super::Desk;
use crate::support::{Run, wait_until};

const GATED: &str = r#"  - id: before
    command.run: { run: "echo before >>ran" }
  - id: gate
    needs: [before]
    gate.confirm: { message: "Is cp3 really dead?", show: { evidence: "{{ steps.before.result.status }}" } }
  - id: after
    needs: [gate]
    command.run: { run: "echo after >>ran" }
"#;

#[test]
fn a_gate_without_a_terminal_ends_with_6_and_the_run_goes_on_once_it_is_approved() {
    let desk = Desk::steps(GATED);
    let outcome = desk.run(6, &[]);
    let run = desk.laptop.newest().id;
    outcome.says("Is cp3 really dead?");
    outcome.says("evidence");
    outcome.says(&format!("approve {run} gate"));
    outcome.says(&format!("reject {run} gate"));
    assert_eq!(desk.file("ran"), "before\n");
    // Nobody has answered yet.
    desk.laptop.expect(6, &["resume"]);

    desk.laptop.expect(0, &["approve", &run, "gate", "--reason", "I saw it smoke"]);
    desk.laptop.expect(0, &["resume"]);
    assert_eq!(desk.file("ran"), "before\nafter\n");
    desk.laptop.expect(0, &["runs", "logs"]).prints("I saw it smoke");
    // The step that a gate stood before is done, and an answer is one.
    desk.laptop.expect(2, &["approve", &run, "gate", "--reason", "again"]);
}

#[test]
fn a_rejected_gate_stops_what_comes_after_it() {
    let desk = Desk::steps(GATED);
    desk.run(6, &[]);
    let run = desk.laptop.newest().id;
    desk.laptop.expect(0, &["reject", &run, "gate", "--reason", "cp3 answers again"]);
    let outcome = desk.laptop.expect(5, &["resume"]);
    outcome.says("cp3 answers again");
    assert_eq!(desk.file("ran"), "before\n");
}

#[test]
fn a_confirmation_before_a_step_is_a_gate_and_a_live_run_takes_the_answer() {
    let desk = Desk::steps(
        r#"  - id: long
    command.run: { run: "until [ -e go -o ! -d $HOME ]; do sleep 0.05; done" }
  - id: asked
    confirm: Shall I?
    command.run: { run: "echo asked >>ran" }
"#,
    );
    let live = desk.start();
    let run = desk.laptop.first_run();
    run.wait_for("gate-opened", "asked");
    desk.laptop.expect(0, &["approve", &run.id, "asked", "--reason", "yes"]);
    run.wait_for("succeeded", "asked");
    std::fs::write(desk.laptop.path("home/go"), "").unwrap();
    live.wait().expect(0);
    assert_eq!(desk.file("ran"), "asked\n");
}

/// A command that may be done once only, and is cut off with everything that watched it.
const ONCE: &str = r#"  - id: once
    command.run: { run: "echo began >>ran; sleep 300; echo ended >>ran" }
  - id: after
    needs: [once]
    command.run: { run: "echo after >>ran" }
"#;

/// Runs it, kills requorum, and then the command with its supervisor. Only what the test started is in that session.
fn cut_off(desk: &Desk) -> Run {
    let live = desk.start();
    let run = desk.laptop.first_run();
    wait_until("the command", std::time::Duration::from_secs(30), || desk.file("ran") == "began\n");
    assert!(live.kill());
    kill_session(&run, "once");
    run
}

/// Kills the session of a step's latest capsule on this machine.
pub(super) fn kill_session(run: &Run, step: &str) {
    let start =
        (1..99).map(|n| run.dir.join(format!("capsules/{step}@-.{n}/start"))).take_while(|path| path.exists()).last();
    let start = std::fs::read_to_string(start.expect("a start record")).unwrap();
    let session = start.lines().nth(1).unwrap();
    let all = Command::new("ps").args(["-o", "pid=", "-s", session]).output().unwrap();
    let pids = String::from_utf8(all.stdout).unwrap();
    let pids: Vec<&str> = pids.split_whitespace().collect();
    assert!(pids.len() >= 2, "supervisor and command: {pids:?}");
    assert!(Command::new("kill").arg("-KILL").args(&pids).status().unwrap().success());
}

#[test]
fn a_command_that_died_unseen_is_never_repeated_without_a_person() {
    let desk = Desk::steps(ONCE);
    let run = cut_off(&desk);
    for _ in 0..2 {
        let outcome = desk.laptop.expect(6, &["resume"]);
        outcome.says("echo began");
        outcome.says(&format!("skip {} once --done", run.id));
        outcome.says(&format!("retry {} once", run.id));
        assert_eq!(desk.file("ran"), "began\n");
    }
    desk.laptop.expect(0, &["skip", &run.id, "once", "--done", "--reason", "seen to have happened"]);
    let outcome = desk.laptop.expect(0, &["resume"]);
    outcome.says("overrode");
    outcome.says("forced done");
    assert_eq!(desk.file("ran"), "began\nafter\n");
}

#[test]
fn a_command_that_died_unseen_is_repeated_when_a_person_says_so() {
    let desk = Desk::steps(&ONCE.replace("sleep 300", "test -e go || sleep 300"));
    let run = cut_off(&desk);
    desk.laptop.expect(6, &["resume"]);
    std::fs::write(desk.laptop.path("home/go"), "").unwrap();
    desk.laptop.expect(0, &["retry", &run.id, "once", "--reason", "it did nothing"]);
    desk.laptop.expect(0, &["resume"]);
    assert_eq!(desk.file("ran"), "began\nbegan\nended\nafter\n");
    assert_eq!(run.events("started", "once").len(), 2);
}

#[test]
fn where_a_probe_tells_what_became_of_it_nobody_is_asked() {
    for (probe, ran) in [("grep -q began ran", "began\nafter\n"), ("test -e never", "began\nbegan\nended\nafter\n")] {
        let steps = ONCE.replace("sleep 300", "test -e go || sleep 300");
        let steps = steps.replace(
            "  - id: once\n",
            &format!("  - id: once\n    probe: {{ command.check: {{ run: '{probe}' }} }}\n"),
        );
        let desk = Desk::steps(&steps);
        cut_off(&desk);
        std::fs::write(desk.laptop.path("home/go"), "").unwrap();
        desk.laptop.expect(0, &["resume"]);
        assert_eq!(desk.file("ran"), ran, "{probe}");
    }
}

#[test]
fn an_unfinished_run_is_in_the_way_of_a_new_one_until_it_is_given_up() {
    let desk = Desk::steps("  - id: a\n    command.run: { run: 'echo a >>ran; test -e fixed' }\n");
    desk.run(5, &[]);
    let run = desk.laptop.newest().id;
    let refused = desk.run(7, &[]);
    refused.says(&format!("resume {run}"));
    refused.says(&format!("runs abort {run}"));
    assert_eq!(desk.file("ran"), "a\n");
    desk.laptop.expect(0, &["runs", "abort", &run, "--reason", "begun by mistake"]);
    desk.laptop.expect(2, &["resume", &run]);
    std::fs::write(desk.laptop.path("home/fixed"), "").unwrap();
    desk.run(0, &[]);
    let list = desk.laptop.expect(0, &["runs", "list"]);
    list.prints("aborted");
    list.prints("done");
}

#[test]
fn several_unfinished_runs_are_listed_and_one_must_be_named() {
    let desk = Desk::steps(GATED);
    desk.run(6, &[]);
    let site = desk.laptop.write("other.yaml", &super::SITE.replace("cluster: loop", "cluster: other"));
    desk.laptop.expect(6, &["run", &desk.plan, "-i", &site, "--yes"]);
    let runs = desk.laptop.runs();
    let outcome = desk.laptop.expect(2, &["resume"]);
    for run in &runs {
        outcome.says(&run.id);
    }
    desk.laptop.expect(6, &["resume", &runs[0].id]);
}

#[test]
fn what_is_left_out_is_told_apart_from_what_happened_and_listed_at_the_end() {
    let desk = Desk::steps(&ONCE.replace("  - id: after", "  - id: after\n    title: What comes then"));
    let run = cut_off(&desk);
    desk.laptop.expect(6, &["resume"]);
    desk.laptop.expect(0, &["skip", &run.id, "once", "--reason", "cp3 is scrap"]);
    let outcome = desk.laptop.expect(0, &["resume"]);
    outcome.says("left out, and perhaps to be made up for\n  cp3 is scrap\n    once");
    let overridden = run.events("overridden", "once").remove(0);
    assert_eq!(overridden["how"], "skip");
    // By the system, whatever the environment says: it says nothing here.
    let by = overridden["by"].as_str().unwrap();
    assert!(by.contains('@') && !by.contains("uid"), "{by}");
}

#[test]
fn a_step_whose_outputs_are_needed_is_not_left_out_before_what_needs_them() {
    let desk = Desk::steps(
        r#"  - id: source
    command.run: { run: "test -e go && echo 7" }
    outputs: { n: "{{ result.json }}" }
  - id: user
    needs: [source]
    command.run: { run: "echo {{ steps.source.outputs.n }} >>ran" }
  - id: other
    needs: [user]
    command.run: { run: "echo other >>ran" }
"#,
    );
    desk.run(5, &[]);
    let run = desk.laptop.newest().id;
    for done in [&["--done"][..], &[]] {
        let outcome = desk.laptop.expect(2, &[&["skip", &run, "source", "--reason", "x"], done].concat());
        outcome.says("`user` needs it");
        outcome.says(&format!("skip {run} user --reason TEXT"));
        outcome.says(&format!("retry {run} source --reason TEXT"));
    }
    desk.laptop.expect(0, &["skip", &run, "user", "--reason", "by hand"]);
    desk.laptop.expect(0, &["skip", &run, "source", "--reason", "by hand"]);
    desk.laptop.expect(0, &["resume"]);
    assert_eq!(desk.file("ran"), "other\n");
}

#[test]
fn a_run_that_is_given_up_shows_nothing_as_running() {
    for live in [true, false] {
        let desk = Desk::steps(ONCE);
        let mut process = Some(desk.start());
        let run = desk.laptop.first_run();
        wait_until("the command", std::time::Duration::from_secs(30), || desk.file("ran") == "began\n");
        if !live {
            assert!(process.take().unwrap().kill());
        }
        desk.laptop.expect(0, &["runs", "abort", &run.id, "--reason", "enough"]);
        if let Some(process) = process {
            process.wait().says("the run was given up: its command");
        }
        let shown = desk.laptop.expect(0, &["runs", "show", &run.id]);
        shown.prints("in doubt");
        assert!(!shown.stdout.contains("running"), "{shown}");
        assert_eq!(desk.file("ran"), "began\n");
    }
}

#[test]
fn what_a_launch_requires_is_looked_at_again() {
    let desk = Desk::steps(
        "  - id: a\n    require: [ { command.check: { run: 'test ! -e closed' } } ]\n    command.run: { run: 'echo a >>ran' }\n",
    );
    let mut command = desk.laptop.command(&desk.line(&[]));
    command.env("REQUORUM_DIE_AT", "after barrier started a");
    let killed = desk.laptop.spawn(command).wait();
    assert_ne!(killed.code, 0, "{killed}");
    std::fs::write(desk.laptop.path("home/closed"), "").unwrap();
    desk.laptop.expect(5, &["resume"]).says("may not start");
    assert_eq!(desk.file("ran"), "");
    std::fs::remove_file(desk.laptop.path("home/closed")).unwrap();
    desk.laptop.expect(0, &["resume"]);
    assert_eq!(desk.file("ran"), "a\n");
    assert_eq!(desk.laptop.newest().events("started", "a").len(), 1);
}
