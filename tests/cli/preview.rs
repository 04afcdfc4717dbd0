//! What a preview says, and that a run then does it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Desk, Outcome};

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

fn preview(desk: &Desk, code: i32) -> Value {
    json(&desk.laptop.expect(code, &["preview", &desk.plan, "-i", &desk.site, "-o", "json"]))
}

/// Returns what was foreseen, or became, of each item.
fn by_item(items: &Value, field: &str) -> BTreeMap<String, String> {
    let items = items.as_array().unwrap().iter();
    let name = |item: &Value| format!("{}@{}", item["step"].as_str().unwrap(), item["item"].as_str().unwrap());
    items.map(|item| (name(item), item[field].as_str().unwrap().to_owned())).collect()
}

/// Says whether what became of an item is what was foreseen. What cannot be known yet promises nothing.
fn agrees(foreseen: &str, became: &str) -> bool {
    match foreseen {
        "would-run" => became == "done",
        "already-satisfied" => became == "already so",
        "skipped" => became == "skipped",
        "blocked" => became == "blocked",
        "would-fail" => became == "failed",
        "unknown" => true,
        other => panic!("{other}"),
    }
}

/// Steps of every sort: there already, to do, skipped, computed, with what only the run knows.
const STEPS: &str = r#"  - id: there
    command.run: { run: "exit 1" }
    probe:
      command.check: { run: "test -e there" }
  - id: missing
    command.run: { run: "echo made >>made; echo 7" }
    probe:
      command.check: { run: "test -e made" }
    outputs: { n: "{{ result.json if result else 7 }}" }
  - id: values
    set.values: { n: 41 }
  - id: computed
    needs: [values]
    when: steps.values.result.n > 41
    command.run: { run: "echo never >>made" }
  - id: right
    needs: [values]
    assert.that: { expr: "steps.values.result.n == 41" }
  - id: later
    needs: [missing]
    on: [a, b]
    command.run: { run: "echo {{ item }} >>made" }
  - id: uses
    needs: [missing]
    command.run: { run: "echo {{ steps.missing.outputs.n }} >>made" }
  - id: pause
    needs: [right]
    wait.for: { duration: 10ms }
"#;

#[test]
fn what_is_foreseen_is_what_the_run_then_does_and_a_preview_changes_nothing() {
    let desk = Desk::steps(STEPS);
    std::fs::write(desk.laptop.path("home").join("there"), "").unwrap();
    let seen = preview(&desk, 0);
    assert_eq!(desk.file("made"), "", "a preview ran a command");
    assert!(!desk.laptop.state().exists(), "a preview left a state directory");
    let foreseen = by_item(&seen["items"], "outlook");
    let expected = [
        ("there@-", "already-satisfied"),
        ("missing@-", "would-run"),
        ("values@-", "would-run"),
        ("computed@-", "skipped"),
        ("right@-", "would-run"),
        ("later@0", "would-run"),
        ("later@1", "would-run"),
        ("uses@-", "unknown"),
        ("pause@-", "would-run"),
    ];
    assert_eq!(foreseen, expected.map(|(item, outlook)| (item.to_owned(), outlook.to_owned())).into());
    let text = desk.laptop.expect(0, &["preview", &desk.plan, "-i", &desk.site]);
    text.prints("looked at only then: missing may change what it finds");
    text.prints("what `missing` will give is not known yet");
    text.prints("there is no rollback");

    desk.run(0, &[]);
    let shown = json(&desk.laptop.expect(0, &["runs", "show", "-o", "json"]));
    let became = by_item(&shown["items"], "state");
    for (item, outlook) in &foreseen {
        assert!(agrees(outlook, &became[item]), "{item}: foreseen {outlook}, became {}", became[item]);
    }
}

#[test]
fn what_would_hold_a_run_up_is_foreseen_with_its_cause() {
    let desk = Desk::with(
        "preflight:\n  - command.check: { run: 'test -e ready' }\n    message: nobody has prepared it\n",
        r#"  - id: blocked
    require:
      - command.check: { run: "test -e missing" }
    command.run: { run: "true" }
  - id: waits
    require:
      - command.check: { run: "test -e missing" }
        within: 1m
    command.run: { run: "true" }
  - id: wrong
    assert.that: { expr: "1 == 2" }
  - id: asks
    confirm: "Is {{ site.cluster }} the right one?"
    command.run: { run: "true" }
"#,
    );
    let seen = preview(&desk, 4);
    assert_eq!(seen["would_begin"], false);
    let foreseen = by_item(&seen["items"], "outlook");
    assert_eq!(foreseen["blocked@-"], "blocked");
    assert_eq!(foreseen["waits@-"], "unknown");
    assert_eq!(foreseen["wrong@-"], "would-fail");
    assert_eq!(foreseen["asks@-"], "would-run");
    let text = desk.laptop.expect(4, &["preview", &desk.plan, "-i", &desk.site]);
    text.prints("nobody has prepared it");
    text.prints("it would wait up to 1m 00s for what does not hold now");
    text.prints("asks: Is loop the right one?");
    text.prints("at most 1m 00s in all");
}

#[test]
fn waits_are_added_up_as_far_as_they_are_known() {
    let desk = Desk::with(
        "inputs:\n  patience: { type: duration, default: 3m }\n",
        r#"  - id: pause
    wait.for: { duration: "{{ inputs.patience }}" }
  - id: ready
    needs: [pause]
    wait.until:
      checks:
        - command.check: { run: "true" }
        - command.check: { run: "true" }
          within: 1m
      within: "{{ inputs.patience }}"
  - id: measured
    needs: [ready]
    command.run: { run: "echo 20ms" }
    outputs: { rest: "{{ result.stdout | trim }}" }
  - id: rest
    needs: [measured]
    wait.for: { duration: "{{ steps.measured.outputs.rest }}" }
"#,
    );
    let seen = preview(&desk, 0);
    assert_eq!(seen["longest_waits_seconds"], 360, "{seen:#}");
    assert_eq!(seen["waits_not_known"], serde_json::json!(["rest"]), "{seen:#}");
    let text = desk.laptop.expect(0, &["preview", &desk.plan, "-i", &desk.site]);
    text.prints("would run  waits 3m");
    text.prints("at most 6m 00s in all; for `rest` not known yet");
}

#[test]
fn a_secret_is_not_shown() {
    let desk = Desk::with(
        "inputs: { word: { type: secret } }\n",
        "  - id: use\n    command.run: { run: 'cat >got', stdin: '{{ inputs.word }}' }\n",
    );
    let file = desk.laptop.write("word", "a-very-secret-word");
    for form in ["text", "json"] {
        let given = format!("word={file}");
        let line = ["preview", &desk.plan, "-i", &desk.site, "--set-file", &given, "-o", form];
        let outcome = desk.laptop.expect(0, &line);
        assert!(!outcome.stdout.contains("a-very-secret-word"), "{outcome}");
    }
}
