//! The persisted form: what was written once must stay readable for ever.

use super::*;
use crate::run::record::FORMAT;

/// A journal in form 1 with every event of that form. Never change a line: a run that began with it is resumed from it.
const FORM_1: &str = include_str!("form-1.jsonl");

/// What form 2 added, likewise.
const FORM_2: &str = include_str!("form-2.jsonl");

#[test]
fn journals_of_every_form_stay_readable_and_are_written_the_same() {
    assert_eq!(FORMAT, 2, "a new form needs a fixture of its own");
    let mut names = std::collections::BTreeSet::new();
    for form in [FORM_1, FORM_2] {
        for (number, line) in form.lines().enumerate() {
            let record: Record =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("line {}: {error}", number + 1));
            assert_eq!(record.seq, number as u64 + 1);
            let again: Value = serde_json::from_slice(&crate::exec::journal::line(&record).unwrap()).unwrap();
            assert_eq!(again, serde_json::from_str::<Value>(line).unwrap(), "line {}", number + 1);
            names.insert(record.event.name());
        }
    }
    assert_eq!(names.len(), 22, "every event is in a fixture: {names:?}");
}

#[test]
fn a_journal_of_form_1_still_folds() {
    let mut middle = step("b", &["a"], 2);
    middle.retry.attempts = 2;
    middle.effect = requorum_steps::Effect::Idempotent;
    let steps = vec![step("a", &[], 1), middle, step("c", &["a"], 1), step("d", &["a"], 1), step("e", &["a"], 1)];
    let mut state = RunState::new(plan(steps));
    for line in FORM_1.lines() {
        state.apply(&serde_json::from_str(line).unwrap()).unwrap();
    }
    let words = ["a", "b@0", "b@1", "c", "d", "e"].map(|at| word(&state, at));
    assert_eq!(words, ["already so", "needs you", "not verified", "skipped", "blocked", "left out"]);
    assert_eq!(state.item(&id("b@0")).unwrap().outputs["n"], json!(1));
}
