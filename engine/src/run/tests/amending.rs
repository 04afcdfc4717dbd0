//! A run that goes on with another plan: what is taken along, what begins anew, and what is refused.

use super::*;
use crate::plan::difference;
use crate::run::amend::objections;
use crate::run::record::Override;

/// A plan with a digest, so that records can name it.
pub fn with_digest(plan: &Arc<Plan>) -> Arc<Plan> {
    let mut plan = Plan::clone(plan);
    plan.digest = crate::plan::digest(&plan);
    Arc::new(plan)
}

pub fn amended(plan: &Plan) -> Event {
    let (by, reason, plan_blob) = ("a".to_owned(), "b".to_owned(), String::new());
    Event::Amended { by, reason, plan_blob, digest: plan.digest.clone(), changes: Vec::new() }
}

fn amend(state: &mut RunState, steps: Vec<Step>) -> Result<(), StateError> {
    let new = with_digest(&plan(steps));
    state.know(Arc::clone(&new));
    put(state, amended(&new))
}

fn refused(state: &RunState, steps: Vec<Step>) -> Vec<String> {
    let new = plan(steps);
    let differences = difference::between(state.plan(), &new);
    objections(state, &new, &differences).iter().map(ToString::to_string).collect()
}

fn slow(id: &str, needs: &[&str]) -> Step {
    Step { timeout: Some(std::time::Duration::from_secs(9)), ..step(id, needs, 1) }
}

#[test]
fn what_has_begun_is_taken_along_and_the_rest_begins_under_the_new_plan() {
    let first = vec![step("a", &[], 1), step("b", &["a"], 1), step("c", &["b"], 1)];
    let mut state = RunState::new(plan(first));
    succeed(&mut state, "a");
    put(&mut state, Event::GateOpened { id: id("b"), message: "sure?".to_owned() }).unwrap();
    amend(&mut state, vec![step("a", &[], 1), step("new", &["a"], 1), slow("b", &["new"])]).unwrap();
    assert_eq!(["a", "new", "b"].map(|at| word(&state, at)), ["done", "ready", "pending"]);
    assert!(state.item(&id("c")).is_none());
    succeed(&mut state, "new");
    // The gate asks again: what was asked about has changed.
    assert_eq!(word(&state, "b"), "ready");
    succeed(&mut state, "b");
    assert!(state.is_done());
}

#[test]
fn an_attempt_in_doubt_stays_in_doubt_and_keeps_its_number() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1), step("b", &["a"], 1)]));
    put(&mut state, started("a", 1)).unwrap();
    put(&mut state, taken_up()).unwrap();
    amend(&mut state, vec![step("a", &[], 1), slow("b", &["a"])]).unwrap();
    assert_eq!(word(&state, "a"), "in doubt");
    put(&mut state, started("a", 1)).unwrap_err();
}

#[test]
fn a_plan_that_is_not_known_or_lacks_what_has_begun_is_refused() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1), step("b", &[], 1)]));
    put(&mut state, started("a", 1)).unwrap();
    let unknown = with_digest(&plan(vec![step("z", &[], 1)]));
    assert!(matches!(put(&mut state, amended(&unknown)), Err(StateError::Amendment { .. })));
    assert!(matches!(amend(&mut state, vec![step("b", &[], 1)]), Err(StateError::Amendment { .. })));
}

#[test]
fn steps_that_have_begun_may_neither_change_nor_vanish_nor_come_to_rest_on_something_new() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1), step("b", &["a"], 1), step("c", &[], 1)]));
    succeed(&mut state, "a");
    let b = || step("b", &["a"], 1);
    let c = || step("c", &[], 1);
    assert_eq!(refused(&state, vec![step("a", &[], 1), slow("b", &["a"])]), [""; 0]);
    let changed = refused(&state, vec![slow("a", &[]), b(), c()]);
    assert_eq!(changed, ["step a: it has begun and cannot be changed: a (done)"]);
    let gone = refused(&state, vec![step("b", &[], 1), c()]);
    assert_eq!(gone, ["step a: it has begun and cannot be taken out: a (done)"]);
    let under = refused(&state, vec![step("new", &[], 1), step("a", &["new"], 1), b(), c()]);
    assert_eq!(under.len(), 2, "{under:?}");
    assert!(under[1].contains("step new: a step that has run would rest on it"), "{under:?}");
}

#[test]
fn what_a_person_decided_or_what_was_skipped_counts_as_begun_and_a_failure_to_begin_does_not() {
    let fault = Fault::failed("an argument could not be rendered");
    let cases = [
        (Event::Overridden { id: id("a"), how: Override::Skip, by: String::new(), reason: String::new() }, 1),
        (Event::Skipped { id: id("a"), because: String::new() }, 1),
        (started("a", 1), 1),
        (Event::Failed { id: id("a"), attempt: 0, fault }, 0),
        (Event::Blocked { id: id("a"), findings: Vec::new() }, 0),
        (Event::GateOpened { id: id("a"), message: String::new() }, 0),
    ];
    for (event, objections) in cases {
        let mut state = RunState::new(plan(vec![step("a", &[], 1)]));
        put(&mut state, event.clone()).unwrap();
        assert_eq!(refused(&state, vec![slow("a", &[])]).len(), objections, "{event:?}");
    }
}

#[test]
fn values_that_a_begun_step_uses_may_not_change() {
    let reads = |id: &str, text: &str| Step { args: json!({ "run": text }), ..step(id, &[], 1) };
    let made = |n: i64, v: &str| {
        let mut plan = Plan::clone(&plan(vec![reads("a", "{{ inputs.n }}"), reads("b", "{{ vars.v }}")]));
        plan.inputs.insert("n".to_owned(), json!(n));
        plan.vars.insert("v".to_owned(), json!(v));
        plan
    };
    let mut state = RunState::new(Arc::new(made(1, "x")));
    succeed(&mut state, "a");
    let refused = |new: &Plan| objections(&state, new, &difference::between(state.plan(), new)).len();
    assert_eq!((refused(&made(1, "y")), refused(&made(2, "x"))), (0, 1));
}

#[test]
fn a_run_does_not_become_another_or_one_that_takes_the_cluster_back() {
    let state = RunState::new(plan(vec![step("a", &[], 1)]));
    let changed = |change: &dyn Fn(&mut Plan)| {
        let mut new = Plan::clone(state.plan());
        change(&mut new);
        objections(&state, &new, &difference::between(state.plan(), &new)).len()
    };
    assert_eq!(changed(&|plan| plan.title = "better words".to_owned()), 0);
    assert_eq!(changed(&|plan| plan.name = "other".to_owned()), 1);
    assert_eq!(changed(&|plan| plan.reverts = true), 1);
}
