//! A person's decisions towards a live run, whatever its items are doing.

use requorum::exec::driver::Ended;
use requorum::exec::inbox::Order;
use requorum::run::record::{Ending, Event, Override};

use crate::bench::{Bench, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_is_answered_while_other_work_goes_on() {
    let bench = Bench::of(
        "  - { id: gate, gate.confirm: { message: 'sure?' } }
  - { id: after, needs: [gate], command.run: { run: 'touch DIR/go' } }
  - { id: other, command.run: { run: 'while [ ! -e DIR/go ]; do sleep 0.05; done' } }
",
    );
    let mut process = bench.process();
    let (ended, ()) = tokio::join!(process.drive(), async {
        bench.until("gate-opened", 1).await;
        let refused = bench.order(Order::Answer { id: id("other"), approved: true }).await;
        assert!(refused.unwrap().contains("other"));
        assert_eq!(bench.order(Order::Answer { id: id("gate"), approved: true }).await, None);
    });
    assert_eq!(ended.unwrap(), Ended::Settled(Ending::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_gate_with_nobody_to_ask_ends_the_process_and_is_answered_later() {
    let bench = Bench::of("  - { id: a, confirm: 'sure?', command.run: { run: 'echo x >>DIR/a' } }\n");
    for _ in 0..2 {
        assert_eq!(bench.drive().await, Ended::Settled(Ending::NeedsPerson));
    }
    assert_eq!((bench.events("gate-opened"), bench.count("a")), (1, 0));
    // An order that waits in the inbox is taken before the process ends.
    let (refused, ended) = tokio::join!(bench.order(Order::Answer { id: id("a"), approved: true }), bench.drive());
    assert_eq!((ended, refused, bench.count("a")), (Ended::Settled(Ending::Done), None, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_skipped_while_it_waits_verifies_or_pauses_between_attempts() {
    let wait = "[ { command.check: { run: 'exit 1' }, within: 10m } ]";
    let cases = [
        (format!("require: {wait}\n    command.run: {{ run: 'echo x >>DIR/ran' }}"), "", 0),
        (format!("verify: {wait}\n    command.run: {{ run: 'echo x >>DIR/ran' }}"), "acted", 1),
        (
            "effect: idempotent\n    retry: { attempts: 2, backoff: 10m, max_backoff: 10m }\n    command.run: { run: 'echo x >>DIR/ran; false' }"
                .to_owned(),
            "failed",
            1,
        ),
    ];
    for (keys, event, ran) in cases {
        let bench =
            Bench::of(&format!("  - id: a\n    {keys}\n  - {{ id: b, needs: [a], command.run: {{ run: 'true' }} }}\n"));
        let mut process = bench.process();
        let (ended, ()) = tokio::join!(process.drive(), async {
            if !event.is_empty() {
                bench.until(event, 1).await;
            }
            assert_eq!(bench.overrides("a", Override::Skip).await, None);
        });
        assert_eq!(ended.unwrap(), Ended::Settled(Ending::Done), "{keys}");
        assert_eq!((bench.word("a"), bench.count("ran")), ("left out", ran), "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_running_is_not_overridden_and_a_retry_ends_a_pause() {
    let bench = Bench::of(
        "  - id: a
    effect: idempotent
    retry: { attempts: 2, backoff: 10m, max_backoff: 10m }
    command.run: { run: 'echo x >>DIR/ran; while [ ! -e DIR/go ]; do sleep 0.05; done; test $(wc -l <DIR/ran) = 2' }
",
    );
    let mut process = bench.process();
    let (ended, ()) = tokio::join!(process.drive(), async {
        bench.until("started", 1).await;
        assert!(bench.overrides("a", Override::Skip).await.unwrap().contains("running"));
        std::fs::write(bench.path("go"), "").unwrap();
        bench.until("failed", 1).await;
        assert_eq!(bench.overrides("a", Override::Retry).await, None);
    });
    assert_eq!(ended.unwrap(), Ended::Settled(Ending::Done));
    assert_eq!(bench.count("ran"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_run_is_given_up_and_says_by_whom() {
    let bench = Bench::of("  - { id: a, wait.for: { duration: 10m } }\n");
    let mut process = bench.process();
    let (ended, refused) = tokio::join!(process.drive(), async {
        bench.until("started", 1).await;
        bench.order(Order::Abort).await
    });
    assert_eq!((ended.unwrap(), refused), (Ended::Settled(Ending::Aborted), None));
    let last = bench.records().pop().unwrap();
    assert!(matches!(last.event, Event::Ended { ending: Ending::Aborted, reason } if reason.contains("a person")));
}
