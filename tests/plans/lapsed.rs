//! Something that a run has put out of action comes back meanwhile, by a reboot or by hand.

use crate::support::{Laptop, Testbed, etcd};

const PLAN: &str = r#"requorum: 1
name: stop-one
steps:
  - id: stop
    on: [cp1]
    service.stop: { service: etcd }
  - id: rest
    needs: [stop]
    gate.confirm: { message: "Is it quiet?" }
"#;

#[test]
fn what_has_lapsed_asks_a_person_until_it_holds_again() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let plan = laptop.write("plan.yaml", PLAN);
    laptop.expect(6, &["run", &plan, "-i", &bed.site(), "--yes"]);
    let run = laptop.newest();
    laptop.expect(0, &["approve", &run.id, "rest", "--reason", "yes"]);

    bed.run("member-start", &["cp1"]);
    let outcome = laptop.expect(6, &["resume"]);
    outcome.says("stop@cp1 was done, but that no longer holds");
    outcome.says(&format!("retry {} stop@cp1", run.id));
    // Nobody has decided, and it is as before.
    laptop.expect(6, &["resume"]);
    assert_eq!((run.events("lapsed", "").len(), run.events("reconciled", "").len()), (1, 0));

    bed.run("member-stop", &["cp1"]);
    laptop.expect(0, &["resume"]).says("it holds again");
    assert_eq!(run.events("started", "stop").len(), 1);
    assert!(run.events("overridden", "").is_empty());
}
