//! What an attempt may come to, and what follows from it.

use requorum::exec::driver::Ended;
use requorum::run::record::Ending;

use crate::bench::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_acted_is_not_run_again_because_its_outputs_cannot_be_computed() {
    let bench = Bench::of(
        "  - id: a
    command.run: { run: 'echo x >>DIR/ran' }
    outputs: { n: '{{ result.json.n }}' }
",
    );
    for _ in 0..2 {
        assert_eq!(bench.drive().await, Ended::Settled(Ending::Failed));
        assert_eq!((bench.word("a"), bench.count("ran")), ("not verified", 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_and_binary_output_do_not_wedge_the_journal() {
    let bench = Bench::of("  - id: a\n    command.run: { run: 'printf \"a\\\\177\\\\000\\\\033\\\\377b\"' }\n");
    assert_eq!(bench.drive().await, Ended::Settled(Ending::Done));
    let stdout = bench.state().item(&crate::bench::id("a")).unwrap().result["stdout"].clone();
    assert_eq!(stdout, "a\u{7f}\0\u{1b}\u{fffd}b");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_verified_acts_again_only_if_it_is_idempotent() {
    for (effect, acts, end) in [("idempotent", 2, Ending::Done), ("once", 1, Ending::Failed)] {
        let retry = if effect == "once" { "" } else { "    retry: { attempts: 3, backoff: 1ms }\n" };
        let bench = Bench::of(&format!(
            "  - id: a
    effect: {effect}
{retry}    command.run: {{ run: 'echo x >>DIR/ran' }}
    verify:
      - command.check: {{ run: 'test $(wc -l <DIR/ran) = 2' }}
"
        ));
        assert_eq!(bench.drive().await, Ended::Settled(end), "{effect}");
        assert_eq!(bench.count("ran"), acts, "{effect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_says_no_lets_a_failed_attempt_be_repeated_as_often_as_the_plan_says() {
    let bench = Bench::of(
        "  - id: a
    retry: { attempts: 3, backoff: 1ms }
    command.run: { run: 'echo x >>DIR/ran; false' }
    probe: { command.check: { run: 'exit 1' } }
",
    );
    // Its probe says no: all three attempts are made, and none by the next process.
    assert_eq!(bench.drive().await, Ended::Settled(Ending::Failed));
    assert_eq!(bench.count("ran"), 3);
    assert_eq!(bench.drive().await, Ended::Settled(Ending::Failed));
    assert_eq!((bench.count("ran"), bench.word("a")), (3, "failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_too_long_is_stopped_with_all_that_it_started() {
    let bench =
        Bench::of("  - id: a\n    timeout: 300ms\n    command.run: { run: 'sleep 71 & echo $! >DIR/pid; wait' }\n");
    assert_eq!(bench.drive().await, Ended::Settled(Ending::Failed));
    assert_eq!(bench.word("a"), "failed");
    let pid = std::fs::read_to_string(bench.path("pid")).unwrap();
    // A process that nobody has waited for yet has no command line any more.
    let command = std::fs::read(format!("/proc/{}/cmdline", pid.trim().parse::<u32>().unwrap())).unwrap_or_default();
    assert!(command.is_empty(), "its child lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_stops_what_needs_it_and_nothing_else() {
    let bench = Bench::of(
        "  - { id: bad, command.run: { run: 'false' } }
  - { id: after-bad, needs: [bad], command.run: { run: 'echo x >>DIR/no' } }
  - { id: good, command.run: { run: 'echo x >>DIR/yes' } }
  - { id: after-good, needs: [good], command.run: { run: 'echo x >>DIR/yes' } }
",
    );
    assert_eq!(bench.drive().await, Ended::Settled(Ending::Failed));
    let words: Vec<&str> = bench.words().into_values().collect();
    assert_eq!((words, bench.count("yes"), bench.count("no")), (vec!["pending", "done", "failed", "done"], 2, 0));
}
