//! How a run goes: order, fan-out, outputs, conditions, retries, failures, budget.

use serde_json::{Value, json};

use super::Desk;

#[test]
fn steps_follow_their_needs_and_use_the_outputs_of_earlier_ones() {
    let desk = Desk::with(
        "inputs: { word: { type: string, default: abc } }\nvars: { twice: '{{ inputs.word }}{{ inputs.word }}' }\n",
        r#"  - id: last
    needs: [fan]
    command.run: { run: "echo last {{ steps.fan.result | map(attribute='stdout') | join('+') | shq }} >>order" }
  - id: first
    command.run: { run: "echo first >>order; echo '{\"n\": 41, \"word\": \"{{ vars.twice }}\"}'" }
    outputs: { n: "{{ result.json.n + 1 }}", word: "{{ result.json.word }}" }
  - id: fan
    needs: [first]
    on: [x, "y z", "it's"]
    max_parallel: 1
    command.run: { run: "echo {{ item | shq }} {{ steps.first.outputs.n }} | tee -a order" }
  - id: sum
    needs: [last]
    set.values: { n: "{{ steps.first.outputs.n }}", words: ["{{ steps.first.outputs.word }}"] }
  - id: right
    needs: [sum]
    assert.that: { expr: "steps.sum.result.n == 42 and steps.sum.result.words == ['abcabc']" }
"#,
    );
    desk.run(0, &[]);
    assert_eq!(desk.file("order"), "first\nx 42\ny z 42\nit's 42\nlast x 42+y z 42+it's 42\n");
    let shown = desk.laptop.expect(0, &["runs", "show", "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["state"], "done");
    desk.laptop.expect(0, &["runs", "list"]).prints("done");
    desk.laptop.expect(0, &["runs", "logs"]).prints("echo first");
}

/// Each item notes how many are at work with it.
const CROWD: &str = "mkdir -p in; : >in/{{ item }}; sleep 0.3; ls in | wc -l >>crowd; sleep 0.3; rm in/{{ item }}";

fn crowd(desk: &Desk) -> usize {
    desk.file("crowd").lines().map(|line| line.trim().parse().unwrap()).max().unwrap()
}

#[test]
fn items_run_side_by_side_up_to_the_bounds_of_the_step_and_of_the_run() {
    let steps =
        |bound: &str| format!("  - id: fan\n    on: [a, b, c, d]\n{bound}    command.run: {{ run: '{CROWD}' }}\n");
    let desk = Desk::steps(&steps(""));
    desk.run(0, &[]);
    assert!(crowd(&desk) > 2, "{}", desk.file("crowd"));
    let desk = Desk::steps(&steps("    max_parallel: 2\n"));
    desk.run(0, &[]);
    assert_eq!(crowd(&desk), 2, "{}", desk.file("crowd"));
    let desk = Desk::steps(&steps(""));
    desk.run(0, &["--parallel", "1"]);
    assert_eq!(crowd(&desk), 1, "{}", desk.file("crowd"));
}

#[test]
fn a_canary_goes_first_and_alone_and_its_failure_stops_the_others() {
    let steps = |bound: &str, fails: &str| {
        format!(
            "  - id: fan\n    on: [a, b, c]\n    {bound}\n    command.run: {{ run: 'echo {{{{ item }}}} >>ran; test {{{{ item }}}} != {fails}' }}\n"
        )
    };
    let desk = Desk::steps(&steps("canary: true", "a"));
    desk.run(5, &[]);
    assert_eq!(desk.file("ran"), "a\n");
    let desk = Desk::steps(&steps("canary: true", "none"));
    desk.run(0, &[]);
    assert!(desk.file("ran").starts_with("a\n"));
    assert_eq!(desk.file("ran").lines().count(), 3);
    // In series, the first failure stops the rest too.
    let desk = Desk::steps(&steps("max_parallel: 1", "b"));
    desk.run(5, &[]);
    assert_eq!(desk.file("ran"), "a\nb\n");
}

#[test]
fn a_failure_stops_what_depends_on_it_and_nothing_else_and_can_be_tried_again() {
    let desk = Desk::steps(
        r#"  - id: bad
    command.run: { run: "echo bad >>ran; echo the disk is full >&2; test -e fixed" }
  - id: after-bad
    needs: [bad]
    command.run: { run: "echo after-bad >>ran" }
  - id: good
    command.run: { run: "sleep 0.5; echo good >>ran" }
  - id: after-good
    needs: [good]
    command.run: { run: "echo after-good >>ran" }
"#,
    );
    let outcome = desk.run(5, &[]);
    assert_eq!(desk.file("ran"), "bad\ngood\nafter-good\n");
    // What was expected, what was seen, where, how things stand, how to go on.
    let run = desk.laptop.newest().id;
    for text in ["exit status 0", "exit status 1: the disk is full", "echo bad", "after-bad (pending)"] {
        outcome.says(text);
    }
    outcome.says(&format!("resume {run} --retry-failed"));

    // Without being told to, nothing that failed is repeated.
    desk.laptop.expect(5, &["resume"]);
    assert_eq!(desk.file("ran"), "bad\ngood\nafter-good\n");
    std::fs::write(desk.laptop.path("home/fixed"), "").unwrap();
    desk.laptop.expect(0, &["resume", "--retry-failed"]);
    assert_eq!(desk.file("ran"), "bad\ngood\nafter-good\nbad\nafter-bad\n");
}

#[test]
fn a_step_that_may_be_repeated_is_retried_with_pauses_in_between_and_no_oftener_than_it_says() {
    let desk = Desk::steps(
        r#"  - id: third-time
    effect: idempotent
    retry: { attempts: 3, backoff: 300ms }
    command.run: { run: "echo x >>third; test $(wc -l <third) -ge 3" }
  - id: never
    effect: idempotent
    retry: { attempts: 2, backoff: 10ms }
    command.run: { run: "echo x >>never; false" }
  - id: once
    command.run: { run: "echo x >>once; false" }
"#,
    );
    let began = std::time::Instant::now();
    desk.run(5, &[]);
    assert!(began.elapsed() >= std::time::Duration::from_millis(300), "there was no pause");
    assert_eq!(
        (desk.file("third").as_str(), desk.file("never").as_str(), desk.file("once").as_str()),
        ("x\nx\nx\n", "x\nx\n", "x\n")
    );
    let run = desk.laptop.newest();
    assert_eq!(run.events("failed", "third-time").len(), 2);
    assert_eq!(run.events("succeeded", "third-time").len(), 1);
}

#[test]
fn conditions_skip_requirements_block_and_verifications_tell_what_is_not_as_it_should_be() {
    let desk = Desk::steps(
        r#"  - id: skipped
    when: run.id == 'other'
    command.run: { run: "echo skipped >>ran" }
  - id: after-skipped
    needs: [skipped]
    on: [a, b]
    when: item == 'b'
    command.run: { run: "echo {{ item }} >>ran" }
  - id: blocked
    needs: [after-skipped]
    require:
      - command.check: { run: "test -e allowed" }
        message: somebody must allow it
    command.run: { run: "echo blocked >>ran" }
  - id: verified
    needs: [after-skipped]
    command.run: { run: "echo verified >>ran" }
    verify:
      - command.check: { run: "cat proof", stdout: { contains: proven } }
        within: 200ms
        every: 50ms
"#,
    );
    let outcome = desk.run(5, &[]);
    for text in ["somebody must allow it", "blocked may not start", "verified acted", "proven"] {
        outcome.says(text);
    }
    let mut ran: Vec<String> = desk.file("ran").lines().map(str::to_owned).collect();
    assert_eq!(ran, ["b", "verified"]);

    std::fs::write(desk.laptop.path("home/allowed"), "").unwrap();
    std::fs::write(desk.laptop.path("home/proof"), "proven").unwrap();
    desk.laptop.expect(0, &["resume", "--retry-failed"]);
    ran = desk.file("ran").lines().map(str::to_owned).collect();
    // What had acted is verified again, and not done again.
    assert_eq!(ran, ["b", "verified", "blocked"]);
}

#[test]
fn a_step_that_takes_too_long_is_stopped_and_a_probe_says_whether_it_happened() {
    let desk = Desk::steps(
        r#"  - id: slow
    timeout: 300ms
    command.run: { run: "echo $$ >pid; sleep 100" }
  - id: there
    probe: { command.check: { run: "test -e there" } }
    command.run: { run: "echo x >>there" }
  - id: again
    needs: [there]
    probe: { command.check: { run: "test -e there" } }
    command.run: { run: "echo x >>there" }
"#,
    );
    desk.run(5, &[]).says("longer than");
    let pid = desk.file("pid");
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "process {pid} still runs");
    assert_eq!(desk.file("there"), "x\n");
    assert_eq!(desk.laptop.newest().events("satisfied", "again").len(), 1);
}

#[test]
fn a_run_whose_time_is_over_begins_nothing_new_and_can_be_resumed() {
    let desk = Desk::steps(
        "  - id: a\n    command.run: { run: 'echo a >>ran; sleep 1' }\n  - id: b\n    needs: [a]\n    command.run: { run: 'echo b >>ran' }\n",
    );
    desk.run(5, &["--budget", "200ms"]).says("time budget");
    assert_eq!(desk.file("ran"), "a\n");
    desk.laptop.expect(0, &["resume"]);
    assert_eq!(desk.file("ran"), "a\nb\n");
}

#[test]
fn progress_as_json_is_one_object_for_each_event_and_standard_output_stays_empty() {
    let desk = Desk::steps("  - id: a\n    command.run: { run: 'echo hello' }\n");
    let outcome = desk.run(0, &["--log-format", "json"]);
    assert_eq!(outcome.stdout, "");
    let objects: Vec<Value> = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(objects.len() >= 4, "{outcome}");
}

#[test]
fn whoever_looks_at_runs_is_never_in_the_way_of_a_run() {
    let desk = Desk::steps("  - id: a\n    command.run: { run: 'true' }\n");
    desk.run(0, &[]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    desk.laptop.expect(0, &["runs", "list"]);
                }
            });
        }
        let codes: Vec<i32> = (0..30).map(|_| desk.laptop.run(&desk.line(&[])).code).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(codes, [0; 30]);
    });
}

#[test]
fn what_a_skipped_step_gives_can_be_asked_for() {
    let desk = Desk::steps(
        r#"  - id: m
    when: run.id == 'other'
    command.run: { run: "echo here" }
    outputs: { said: "{{ result.stdout }}" }
  - id: told
    needs: [m]
    set.values:
      none: "{{ steps.m.result is none }}"
      field: "{{ steps.m.result.stdout is defined }}"
      output: "{{ steps.m.outputs.said is defined }}"
      instead: "{{ steps.m.result.stdout | default('nothing') }} {{ steps.m.outputs.said | default('nothing') }}"
  - id: guarded
    needs: [m]
    when: steps.m.result is not none
    command.run: { run: "echo guarded >>ran" }
"#,
    );
    desk.run(0, &[]);
    let told = &desk.laptop.newest().events("acted", "told")[0]["result"];
    assert_eq!(*told, json!({ "none": true, "field": false, "output": false, "instead": "nothing nothing" }));
    assert_eq!(desk.file("ran"), "");
}

#[test]
fn a_wait_ends_when_the_deadline_of_its_checks_is_over() {
    let wait = |within: &str| {
        format!(
            "  - id: wait\n    wait.until:\n      checks:\n        - command.check: {{ run: 'echo . >>looks; test -e made' }}\n          every: 20ms\n      within: {within}\n"
        )
    };
    let desk = Desk::with("", &wait("200ms"));
    desk.run(5, &[]).says("the time to wait for `command.check` is over");
    assert!(desk.file("looks").lines().count() > 1, "it looked only once");

    let desk =
        Desk::with("", &format!("{}  - id: make\n    command.run: {{ run: 'sleep 0.1; touch made' }}\n", wait("1m")));
    desk.run(0, &[]);
}

#[test]
fn runs_made_within_one_second_are_listed_by_their_age() {
    let desk = Desk::with("", "  - { id: a, assert.that: { expr: 'true' } }\n");
    for _ in 0..6 {
        desk.run(0, &[]);
    }
    let mut made: Vec<String> = desk.laptop.runs().into_iter().map(|run| run.id).collect();
    made.reverse();
    let list = desk.laptop.expect(0, &["runs", "list"]).stdout;
    let listed: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, made, "the newest comes first");
    desk.laptop.expect(0, &["runs", "show"]).prints(&made[0]);
}
