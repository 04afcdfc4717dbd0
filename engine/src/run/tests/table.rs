use std::collections::HashSet;

use requorum_steps::capsule::CapsuleState;
use requorum_steps::{Effect, Fault, FaultKind, Probe};

use super::*;
use crate::run::decide::{Act, decide, ending, judge_capsule, judge_probe};
use crate::run::record::{Ending, Override, Verdict};

fn overridden(at: &str, how: Override) -> Event {
    Event::Overridden { id: id(at), how, by: "a".to_owned(), reason: "b".to_owned() }
}

fn begun(state: &RunState, parallel: usize) -> Vec<String> {
    decide(state, &HashSet::new(), parallel).iter().map(|act| act.item().to_string()).collect()
}

fn refused(fault: FaultKind) -> Event {
    Event::Failed { id: id("a"), attempt: 1, fault: Fault::new(fault, "no") }
}

#[test]
fn what_was_started_is_in_doubt_for_the_next_process_and_never_simply_started_again() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1)]));
    put(&mut state, started("a", 1)).unwrap();
    put(&mut state, started("a", 2)).unwrap_err();
    put(&mut state, taken_up()).unwrap();
    assert_eq!(word(&state, "a"), "in doubt");
    assert_eq!(decide(&state, &HashSet::new(), 8), [Act::Reconcile(id("a"))]);
    put(&mut state, started("a", 2)).unwrap_err();
    put(&mut state, acted("a", 1)).unwrap_err();
    let verdict = |verdict| Event::Reconciled { id: id("a"), attempt: 1, verdict, evidence: String::new() };
    put(&mut state, verdict(Verdict::Repeat)).unwrap();
    // The number of an attempt names its capsule: used again it would return what the first one left.
    put(&mut state, started("a", 1)).unwrap_err();
    put(&mut state, started("a", 2)).unwrap();
}

#[test]
fn a_failure_is_tried_again_without_a_person_only_where_its_class_allows_or_nothing_was_done() {
    let cases = [
        (Effect::Once, 3, FaultKind::Failed, "failed"),
        (Effect::Once, 3, FaultKind::TimedOut, "failed"),
        (Effect::Once, 1, FaultKind::Unreachable, "ready"),
        (Effect::Once, 1, FaultKind::Refused, "ready"),
        (Effect::Idempotent, 1, FaultKind::Failed, "failed"),
        (Effect::Idempotent, 2, FaultKind::Failed, "ready"),
        (Effect::Pure, 2, FaultKind::TimedOut, "ready"),
        (Effect::Probed, 2, FaultKind::Failed, "ready"),
    ];
    for (effect, attempts, fault, expected) in cases {
        let mut only = step("a", &[], 1);
        only.effect = effect;
        only.retry.attempts = attempts;
        let mut state = RunState::new(plan(vec![only]));
        put(&mut state, started("a", 1)).unwrap();
        put(&mut state, refused(fault)).unwrap();
        put(&mut state, taken_up()).unwrap();
        assert_eq!(word(&state, "a"), expected, "{effect} {attempts} {fault:?}");
        // The probe of the attempt is asked before another one, so what it left must be remembered.
        assert!(state.item(&id("a")).unwrap().fault.is_some());
    }
}

#[test]
fn a_step_that_acted_once_and_is_not_verified_is_verified_again_and_never_started_again() {
    for (effect, may) in [(Effect::Once, false), (Effect::Probed, false), (Effect::Idempotent, true)] {
        let mut only = step("a", &[], 1);
        only.effect = effect;
        let mut state = RunState::new(plan(vec![only]));
        put(&mut state, started("a", 1)).unwrap();
        put(&mut state, acted("a", 1)).unwrap();
        put(&mut state, failed("a", 1)).unwrap_err();
        put(&mut state, Event::VerifyFailed { id: id("a"), findings: Vec::new() }).unwrap();
        assert_eq!(put(&mut state.clone(), started("a", 2)).is_ok(), may, "{effect}");
        put(&mut state, taken_up()).unwrap();
        assert_eq!(decide(&state, &HashSet::new(), 8), [Act::Verify(id("a"))]);
    }
}

#[test]
fn what_lapses_holds_back_everything_that_rests_on_it_however_far_away() {
    let steps = vec![step("stop", &[], 1), step("aside", &["stop"], 1), step("restore", &["aside"], 1)];
    let mut state = RunState::new(plan(steps));
    succeed(&mut state, "stop");
    succeed(&mut state, "aside");
    assert_eq!(begun(&state, 8), ["restore"]);
    put(&mut state, Event::Lapsed { id: id("stop"), evidence: "it is active again".to_owned() }).unwrap();
    assert_eq!((word(&state, "aside"), word(&state, "restore")), ("done", "pending"));
    assert!(begun(&state, 8).is_empty());
    assert_eq!(ending(&state), Ending::NeedsPerson);
    // A new process changes nothing about it; a person does.
    put(&mut state, taken_up()).unwrap();
    assert!(begun(&state, 8).is_empty());
    put(&mut state, overridden("stop", Override::Retry)).unwrap();
    assert_eq!(begun(&state, 8), ["stop"]);
    for event in [started("stop", 2), acted("stop", 2), succeeded("stop")] {
        put(&mut state, event).unwrap();
    }
    assert_eq!(begun(&state, 8), ["restore"]);
    succeed(&mut state, "restore");
    assert_eq!(ending(&state), Ending::Done);
}

#[test]
fn what_had_lapsed_and_holds_again_is_done_again_without_a_person() {
    let mut state = RunState::new(plan(vec![step("stop", &[], 1), step("restore", &["stop"], 1)]));
    let adopt =
        |attempt| Event::Reconciled { id: id("stop"), attempt, verdict: Verdict::Adopt, evidence: String::new() };
    succeed(&mut state, "stop");
    put(&mut state, adopt(1)).unwrap_err();
    put(&mut state, Event::Lapsed { id: id("stop"), evidence: "it is active again".to_owned() }).unwrap();
    put(&mut state, taken_up()).unwrap();
    let ask = Event::Reconciled { id: id("stop"), attempt: 1, verdict: Verdict::Ask, evidence: String::new() };
    put(&mut state, ask).unwrap_err();
    put(&mut state, adopt(1)).unwrap();
    assert_eq!((word(&state, "stop"), begun(&state, 8)), ("done", vec!["restore".to_owned()]));
    // An attempt whose outcome nobody knows is not adopted because something looks right: a person is asked.
    let mut asked = RunState::new(plan(vec![step("stop", &[], 1)]));
    put(&mut asked, started("stop", 1)).unwrap();
    put(&mut asked, taken_up()).unwrap();
    put(&mut asked, Event::Reconciled { id: id("stop"), attempt: 1, verdict: Verdict::Ask, evidence: String::new() })
        .unwrap();
    put(&mut asked, adopt(1)).unwrap_err();
}

#[test]
fn an_attempt_that_may_not_be_launched_yet_waits_for_the_next_process_and_no_other_takes_its_place() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1)]));
    put(&mut state, started("a", 1)).unwrap();
    put(&mut state, taken_up()).unwrap();
    put(&mut state, Event::Blocked { id: id("a"), findings: Vec::new() }).unwrap();
    assert_eq!((word(&state, "a"), ending(&state)), ("blocked", Ending::Failed));
    put(&mut state, taken_up()).unwrap();
    assert_eq!(decide(&state, &HashSet::new(), 8), [Act::Reconcile(id("a"))]);
    put(&mut state, started("a", 2)).unwrap_err();
}

#[test]
fn a_step_that_was_forced_early_does_not_free_others_from_what_it_needs() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1), step("b", &["a"], 1), step("c", &["b"], 1)]));
    put(&mut state, overridden("b", Override::Skip)).unwrap();
    assert_eq!(begun(&state, 8), ["a"]);
    succeed(&mut state, "a");
    assert_eq!(begun(&state, 8), ["c"]);
}

#[test]
fn steps_without_items_are_done_with_what_they_need() {
    let steps = vec![step("a", &[], 1), step("none", &["a"], 0), step("also", &["none"], 0), step("b", &["also"], 1)];
    let mut state = RunState::new(plan(steps));
    assert_eq!(begun(&state, 8), ["a"]);
    succeed(&mut state, "a");
    assert_eq!(begun(&state, 8), ["b"]);
}

#[test]
fn a_serial_step_goes_on_with_the_first_item_that_is_not_done() {
    let mut serial = step("a", &[], 3);
    serial.max_parallel = Some(1);
    let mut state = RunState::new(plan(vec![serial, step("b", &[], 1)]));
    assert_eq!(begun(&state, 8), ["a@0", "b"]);
    succeed(&mut state, "a@0");
    put(&mut state, started("a@1", 1)).unwrap();
    put(&mut state, failed("a@1", 1)).unwrap();
    assert_eq!(begun(&state, 8), ["b"]);
    put(&mut state, overridden("a@1", Override::Retry)).unwrap();
    assert_eq!(begun(&state, 8), ["a@1", "b"]);
    // An open gate and a doubt hold the others back like a failure.
    put(&mut state, Event::GateOpened { id: id("a@1"), message: String::new() }).unwrap();
    assert_eq!(begun(&state, 8), ["b"]);
}

#[test]
fn the_bounds_of_the_run_and_the_step_hold_and_a_canary_goes_alone() {
    let mut canary = step("a", &[], 4);
    canary.canary = true;
    let mut bounded = step("b", &[], 4);
    bounded.max_parallel = Some(2);
    let mut state = RunState::new(plan(vec![canary, bounded]));
    assert_eq!(begun(&state, 8), ["a@0", "b@0", "b@1"]);
    assert_eq!(begun(&state, 2), ["a@0", "b@0"]);
    let working: HashSet<_> = [id("a@0"), id("b@0")].into();
    assert_eq!(decide(&state, &working, 8), [Act::Start(id("b@1"))]);
    assert!(decide(&state, &working, 2).is_empty());
    succeed(&mut state, "a@0");
    assert_eq!(begun(&state, 8), ["a@1", "a@2", "a@3", "b@0", "b@1"]);
}

#[test]
fn a_person_may_override_whatever_is_not_running() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1)]));
    put(&mut state, overridden("a", Override::Retry)).unwrap_err();
    put(&mut state.clone(), overridden("a", Override::Skip)).unwrap();
    put(&mut state, started("a", 1)).unwrap();
    for how in [Override::Done, Override::Skip, Override::Retry] {
        put(&mut state, overridden("a", how)).unwrap_err();
    }
    let doubt = Event::Doubted { id: id("a"), attempt: 1, fault: Fault::in_doubt("the link is gone") };
    put(&mut state, doubt).unwrap();
    assert_eq!(ending(&state), Ending::NeedsPerson);
    for (how, expected) in [(Override::Done, "forced done"), (Override::Skip, "left out")] {
        let mut forced = state.clone();
        put(&mut forced, overridden("a", how)).unwrap();
        assert_eq!(word(&forced, "a"), expected);
    }
    put(&mut state, overridden("a", Override::Retry)).unwrap();
    assert!(state.is_overridden());
    assert_eq!(begun(&state, 8), ["a"]);
}

#[test]
fn a_gate_is_answered_once_and_what_was_approved_stays_so() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1)]));
    let answer = |approved| Event::GateAnswered { id: id("a"), approved, by: String::new(), reason: String::new() };
    put(&mut state, answer(true)).unwrap_err();
    put(&mut state, Event::GateOpened { id: id("a"), message: "sure?".to_owned() }).unwrap();
    assert!(begun(&state, 8).is_empty());
    put(&mut state, taken_up()).unwrap();
    let mut rejected = state.clone();
    put(&mut rejected, answer(false)).unwrap();
    assert_eq!(ending(&rejected), Ending::Failed);
    put(&mut state, answer(true)).unwrap();
    put(&mut state, answer(false)).unwrap_err();
    put(&mut state, started("a", 1)).unwrap();
    put(&mut state, failed("a", 1)).unwrap();
    put(&mut state, overridden("a", Override::Retry)).unwrap();
    assert_eq!(word(&state, "a"), "approved");
}

#[test]
fn records_out_of_order_or_about_strangers_are_refused() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1)]));
    assert!(matches!(put(&mut state, started("b", 1)), Err(StateError::Unknown { .. })));
    let record = Record { seq: 3, at: Timestamp::UNIX_EPOCH, epoch: 1, event: taken_up() };
    assert!(matches!(state.apply(&record), Err(StateError::Order { seq: 3, after: 0 })));
}

#[test]
fn the_capsule_is_believed_before_any_probe() {
    let verdict = |seen| judge_capsule(&seen).map(|(verdict, _)| verdict);
    assert_eq!(verdict(CapsuleState::Absent), Some(Verdict::Launch));
    assert_eq!(verdict(CapsuleState::NotStarted), Some(Verdict::Launch));
    assert_eq!(verdict(CapsuleState::Running), Some(Verdict::Reattach));
    assert_eq!(verdict(CapsuleState::Exited { status: 1 }), Some(Verdict::Adopt));
    assert_eq!(verdict(CapsuleState::Dead { rebooted: true }), None);
}

#[test]
fn only_a_probe_that_says_no_lets_a_probed_effect_be_repeated() {
    use Verdict::{Adopt, Ask, Repeat};

    let evidence = String::new;
    let probes = [
        Probe::Yes { result: Value::Null, evidence: evidence() },
        Probe::No { evidence: evidence() },
        Probe::Partly { evidence: evidence() },
        Probe::Unknown { evidence: evidence() },
    ];
    let table = [
        (Effect::Pure, [Adopt, Repeat, Repeat, Repeat]),
        (Effect::Idempotent, [Adopt, Repeat, Repeat, Repeat]),
        (Effect::Probed, [Adopt, Repeat, Ask, Ask]),
        (Effect::Once, [Adopt, Ask, Ask, Ask]),
    ];
    for (effect, expected) in table {
        assert_eq!(probes.each_ref().map(|probe| judge_probe(effect, probe).0), expected, "{effect}");
    }
}
