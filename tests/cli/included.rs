//! Plans that include others, through the real binary: killed and resumed, amended, taken back, shown.

use std::fs;

use serde_json::Value;

use super::{Desk, Outcome};

/// Its second step waits until it is let, and each step says in whose name it runs.
const INNER: &str = r#"requorum: 1
name: site/inner
inputs:
  word: { type: string }
  bad: { type: boolean, default: false }
vars: { twice: "{{ inputs.word }}{{ inputs.word }}" }
preflight:
  - command.check: { run: "test ! -e refuse-{{ inputs.word }}" }
    message: "refused for {{ vars.twice }}"
steps:
  - id: make
    title: Make {{ inputs.word }}
    command.run: { run: "echo make {{ inputs.word }} >>ran; echo of-{{ inputs.word }}" }
    undo: { command.run: { run: "echo back {{ vars.twice }} >>ran" } }
    outputs: { said: "{{ result.stdout }}" }
  - id: long
    needs: [make]
    undo: { command.run: { run: "true" } }
    command.run: { run: "echo long {{ vars.twice }} {{ steps.make.outputs.said }} >>ran; until [ ! -e wait -o -e go -o ! -d $HOME ]; do sleep 0.05; done" }
  - id: right
    needs: [long]
    assert.that: { expr: "not inputs.bad and steps.make.outputs.said == 'of-' ~ inputs.word" }
"#;

const STEPS: &str = r#"  - include: parts/inner.yaml
    as: a
    with: { word: one }
  - include: parts/inner.yaml
    as: b
    with: { word: "{{ inputs.word }}" }
    needs: [a]
  - id: end
    needs: [b]
    command.run: { run: "echo end {{ steps.a-make.outputs.said }} {{ steps.b-make.outputs.said }} >>ran" }
    undo: { command.run: { run: "true" } }
"#;

const HEAD: &str = "inputs: { word: { type: string, default: two } }\npreflight:\n  - { include: parts/inner.yaml, with: { word: one } }\n  - { include: parts/inner.yaml, with: { word: '{{ inputs.word }}' } }\n";

const ALL: &str = "make one\nlong oneone of-one\nmake two\nlong twotwo of-two\nend of-one of-two\n";

fn desk() -> Desk {
    let desk = Desk::with(HEAD, STEPS);
    desk.inner(INNER);
    desk
}

impl Desk {
    fn inner(&self, text: &str) {
        fs::create_dir_all(self.laptop.path("parts")).unwrap();
        self.laptop.write("parts/inner.yaml", text);
    }

    fn touch(&self, name: &str) {
        fs::write(self.laptop.path("home").join(name), "").unwrap();
    }
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn a_killed_run_goes_on_without_any_file_of_its_plan() {
    let desk = desk();
    desk.touch("wait");
    let live = desk.start();
    desk.laptop.first_run().wait_for("started", "a-long");
    assert!(live.kill());
    fs::remove_dir_all(desk.laptop.path("parts")).unwrap();
    fs::remove_file(&desk.plan).unwrap();
    desk.touch("go");
    desk.laptop.expect(0, &["resume"]);
    assert_eq!(desk.file("ran"), ALL);
    let run = desk.laptop.newest();
    assert_eq!(run.events("started", "a-long").len(), 1, "what ran is not run again");
    desk.laptop.expect(0, &["runs", "show", &run.id]).prints("b-long");
}

#[test]
fn what_included_plans_check_before_the_run_sees_their_own_inputs() {
    let desk = desk();
    desk.touch("refuse-two");
    let outcome = desk.run(4, &[]);
    outcome.says("refused for twotwo");
    assert!(!outcome.stderr.contains("oneone"), "{outcome}");
    assert_eq!(desk.file("ran"), "");
}

#[test]
fn a_preview_shows_included_steps_by_their_prefixed_ids() {
    let desk = desk();
    let shown = json(&desk.laptop.expect(0, &["preview", &desk.plan, "-i", &desk.site, "-o", "json"]));
    let items = shown["items"].as_array().unwrap();
    let of = |step: &str| items.iter().find(|item| item["step"] == step).unwrap();
    assert!(of("b-make")["command"].as_str().unwrap().contains("make two"), "{}", of("b-make"));
    let why = of("b-long")["why"].as_str().unwrap();
    assert!(why.contains("`b-make`"), "{why}");
    desk.run(0, &[]);
    assert_eq!(desk.file("ran"), ALL);
}

#[test]
fn an_included_plan_can_be_amended_in_what_has_not_begun() {
    let desk = desk();
    let wrong = INNER.replace("not inputs.bad", "inputs.bad");
    desk.inner(&wrong);
    desk.run(5, &[]);
    let amend = |code, more: &[&str]| {
        let line = [&["resume", "--amend", &desk.plan, "--reason", "the assertion was wrong"], more].concat();
        desk.laptop.expect(code, &line)
    };
    // What has begun stays as it was: the step, and what it was given.
    desk.inner(&wrong.replace("echo make", "echo made"));
    amend(8, &[]).says("step a-make: it has begun and cannot be changed");
    desk.inner(&wrong);
    let plan = fs::read_to_string(&desk.plan).unwrap();
    fs::write(&desk.plan, plan.replacen("as: a\n    with: { word: one }", "as: a\n    with: { word: uno }", 1))
        .unwrap();
    amend(8, &[]).says("input word of a: it is used by what has begun: a-make");
    // An input of the one is not an input of the other.
    fs::write(&desk.plan, plan).unwrap();
    desk.inner(INNER);
    let outcome = amend(0, &["--set", "word=three"]);
    outcome.says("~ input word of b");
    outcome.says("~ step b-right");
    assert_eq!(desk.file("ran"), ALL.replace("two", "three"));
}

#[test]
fn a_run_with_included_plans_is_taken_back_with_their_own_values() {
    let desk = desk();
    desk.run(0, &[]);
    let run = desk.laptop.newest().id;
    desk.laptop.expect(0, &["rollback", &run, "--yes"]);
    assert_eq!(desk.file("ran"), format!("{ALL}back twotwo\nback oneone\n"));
}

#[test]
fn problems_of_an_included_file_are_shown_with_its_lines() {
    let desk = desk();
    desk.inner(&INNER.replace("{{ inputs.word }}{{ inputs.word }}", "{{ inputs.wrod }}"));
    let outcome = desk.laptop.expect(3, &["check", &desk.plan]);
    outcome.says("parts/inner.yaml:6:");
    outcome.says("the plan has no input `wrod`");
    outcome.says("did you mean `word`?");
    outcome.says("plan.yaml:5");
    let found = json(&desk.laptop.expect(3, &["check", &desk.plan, "-o", "json"]));
    let found = found.as_array().or_else(|| found["diagnostics"].as_array()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0]["file"].as_str().unwrap().ends_with("parts/inner.yaml"), "{found:?}");
    assert_eq!(found[0]["line"], 6);
    assert!(found[0]["included_from"][0].as_str().unwrap().ends_with("plan.yaml:5"), "{found:?}");
    // Two ways to one file are one file: a link makes no other of it.
    std::os::unix::fs::symlink(&desk.plan, desk.laptop.path("parts/link.yaml")).unwrap();
    desk.inner(&format!("{INNER}  - {{ include: link.yaml, as: round }}\n"));
    desk.laptop.expect(3, &["check", &desk.plan]).says("include-cycle");
}

#[test]
fn a_drawing_shows_an_included_step_with_the_inputs_of_its_part() {
    let desk = desk();
    let drawn = desk.laptop.expect(0, &["graph", &desk.plan]);
    drawn.prints("Make one");
    drawn.prints("Make two");
}

#[test]
fn a_shipped_plan_is_included_by_its_name_also_in_a_copy() {
    let head = "preflight: [ { include: etcd/snapshot, with: { file: ./a.db } } ]\n";
    let steps = "  - include: etcd/snapshot\n    as: save\n    with: { file: ./a.db, rehearse: false }\n";
    let desk = Desk::with(head, steps);
    desk.laptop.expect(0, &["check", &desk.plan]).prints("try is valid");
    desk.laptop.expect(0, &["check", &desk.plan, "-i", &desk.site]);
    desk.laptop.expect(0, &["graph", &desk.plan]).prints("save-rehearse");
    let misspelled = desk.laptop.write("wrong.yaml", "requorum: 1\nname: w\nsteps: [ { include: etcd/snapshto } ]\n");
    desk.laptop.expect(3, &["check", &misspelled]).says("did you mean `etcd/snapshot`?");
}
