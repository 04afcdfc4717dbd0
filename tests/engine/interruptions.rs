//! Sudden ends, signals and budgets: nothing is lost, nothing is done twice.

use requorum::exec::driver::Ended;
use requorum::exec::signals::Stop;
use requorum::run::record::Ending;

use crate::bench::Bench;

const CHAIN: &str = "  - { id: a, command.run: { run: 'echo x >>DIR/a; sleep 0.2' } }
  - { id: b, on: [x, y], needs: [a], command.run: { run: 'echo x >>DIR/b; sleep 0.2' } }
  - { id: c, needs: [b], wait.for: { duration: 200ms } }
  - { id: d, needs: [c], command.run: { run: 'echo x >>DIR/d' } }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_process_ends_suddenly_after_any_record_is_resumed_and_does_everything_once() {
    let whole = Bench::of(CHAIN);
    assert_eq!(whole.drive().await, Ended::Settled(Ending::Done));
    for cut in 2..whole.records().len() {
        let bench = Bench::of(CHAIN);
        let mut process = bench.process();
        tokio::select! {
            biased;
            () = bench.until_true("the cut", || bench.records().len() >= cut) => {}
            ended = process.drive() => assert_eq!(ended.unwrap(), Ended::Settled(Ending::Done)),
        }
        drop(process);
        assert_eq!(bench.drive().await, Ended::Settled(Ending::Done), "cut after {cut}");
        let counts = ["a", "b", "d"].map(|name| bench.count(name));
        assert_eq!(counts, [1, 2, 1], "cut after {cut}: {:#?}", bench.records());
        assert_eq!(bench.words(), whole.words());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_nothing_new_begin_and_leaves_what_runs_to_the_next_process() {
    let bench = Bench::of(
        "  - { id: long, command.run: { run: 'echo x >>DIR/long; while [ ! -e DIR/go ]; do sleep 0.05; done' } }
  - { id: short, command.run: { run: 'while [ ! -e DIR/go-short ]; do sleep 0.05; done' } }
  - { id: next, needs: [short], command.run: { run: 'echo x >>DIR/next' } }
",
    );
    let mut process = bench.process();
    let stop = process.stopper();
    let (ended, ()) = tokio::join!(process.drive(), async {
        bench.until_true("both run", || bench.count("long") == 1 && bench.events("started") == 2).await;
        stop.send(Stop::Interrupt).unwrap();
        std::fs::write(bench.path("go-short"), "").unwrap();
    });
    assert_eq!(ended.unwrap(), Ended::Stopped(Stop::Interrupt));
    // What ended within the moment that is left is recorded.
    assert_eq!((bench.word("long"), bench.word("short"), bench.word("next")), ("running", "done", "ready"));
    drop(process);
    std::fs::write(bench.path("go"), "").unwrap();
    assert_eq!(bench.drive().await, Ended::Settled(Ending::Done));
    assert_eq!((bench.count("long"), bench.count("next")), (1, 1));
}
