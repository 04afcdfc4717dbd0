//! The way back: what a run did, read from its records, and the plan that is derived from it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use requorum_steps::RunId;

use super::*;
use crate::plan::template::{self, Scope};
use crate::run::deed::{Deed, Outcome, deeds};
use crate::run::record::Verdict;
use crate::run::rollback::{Undoing, Way, derive, point_of_no_return};

fn run_id() -> RunId {
    RunId::new("r1").unwrap()
}

/// Returns what is known of the only item of step `a` after these events.
fn deed_of(events: Vec<Event>) -> Option<Deed> {
    let records = (1..).zip(events).map(|(seq, event)| Record { seq, at: Timestamp::UNIX_EPOCH, epoch: 1, event });
    deeds(&records.collect::<Vec<_>>()).remove(&id("a"))
}

fn saw(attempt: u32, before: &str) -> Event {
    match started("a", attempt) {
        Event::Started { id, attempt, args, title, command, .. } => {
            Event::Started { id, attempt, args, before: json!(before), title, command }
        }
        other => other,
    }
}

fn verdict(attempt: u32, verdict: Verdict) -> Event {
    Event::Reconciled { id: id("a"), attempt, verdict, evidence: "seen".to_owned() }
}

fn refused(attempt: u32) -> Event {
    Event::Failed { id: id("a"), attempt, fault: Fault::refused("no") }
}

#[test]
fn what_surely_changed_nothing_is_no_deed() {
    assert_eq!(deed_of(vec![]), None);
    assert_eq!(deed_of(vec![saw(1, "x"), refused(1)]), None);
    assert_eq!(deed_of(vec![saw(1, "x"), verdict(1, Verdict::Withdraw)]), None);
}

#[test]
fn what_was_there_before_the_first_attempt_counts_whatever_later_ones_saw() {
    let deed = deed_of(vec![saw(1, "up"), failed("a", 1), saw(2, "down"), acted("a", 2)]).unwrap();
    assert_eq!((deed.before, deed.outcome), (json!("up"), Outcome::Acted(Value::Null)));
}

#[test]
fn a_failure_before_an_attempt_began_says_nothing_about_an_earlier_one() {
    let deed = deed_of(vec![saw(1, "x"), failed("a", 1), refused(2)]).unwrap();
    assert!(matches!(deed.outcome, Outcome::Perhaps(why) if why.contains("did not work")));
    let deed = deed_of(vec![saw(1, "x"), acted("a", 1), saw(2, "y"), refused(2)]).unwrap();
    assert_eq!(deed.outcome, Outcome::Acted(Value::Null));
    let deed = deed_of(vec![saw(1, "x"), verdict(1, Verdict::Repeat), refused(1)]).unwrap();
    assert_eq!(deed.outcome, Outcome::Perhaps("seen".to_owned()));
}

#[test]
fn an_effect_found_after_an_attempt_of_the_same_run_is_its_own() {
    let found = || Event::Satisfied { id: id("a"), result: json!(7), evidence: String::new() };
    assert_eq!(deed_of(vec![found()]).unwrap().outcome, Outcome::Found);
    let deed = deed_of(vec![saw(1, "x"), failed("a", 1), found()]).unwrap();
    assert_eq!((deed.before, deed.outcome), (json!("x"), Outcome::Acted(json!(7))));
}

fn by(kinds: &[&str]) -> Undoing {
    Undoing::By(kinds.iter().map(|kind| ((*kind).to_owned(), json!({ "path": "/x", "text": "{{ 1 }}" }))).collect())
}

fn derived(plan: &Arc<Plan>, undoings: &[(&str, Undoing)]) -> Result<Way, Vec<String>> {
    let undoings = undoings.iter().map(|(at, undoing)| (id(at), undoing.clone())).collect();
    derive(&RunState::new(Arc::clone(plan)), &run_id(), &undoings)
        .map_err(|barriers| barriers.iter().map(|left| left.id.to_string()).collect())
}

#[test]
fn items_that_go_back_by_other_kinds_are_steps_of_their_own_and_each_needs_all_that_came_later() {
    let plan = plan(vec![step("stop", &[], 3), step("look", &["stop"], 1), step("start", &["look"], 3)]);
    let way = derived(
        &plan,
        &[
            ("stop@0", by(&["service.start"])),
            ("stop@1", by(&["service.release"])),
            ("stop@2", by(&["service.start"])),
            ("start@0", by(&["service.stop", "service.release"])),
            ("start@1", by(&["service.stop"])),
        ],
    )
    .unwrap();
    let steps: Vec<(&str, Vec<&str>, Vec<&str>)> = way
        .plan
        .steps
        .iter()
        .map(|step| {
            let needs = step.needs.iter().map(StepId::as_str).collect();
            (step.id.as_str(), needs, step.items.iter().flatten().map(|item| item.key.as_str()).collect())
        })
        .collect();
    let all = vec!["undo-start", "undo-start-release"];
    assert_eq!(
        steps,
        [
            ("undo-start", vec![], vec!["0", "1"]),
            ("undo-start-release", vec!["undo-start"], vec!["0"]),
            ("undo-stop-release", all.clone(), vec!["1"]),
            ("undo-stop-start", all, vec!["0", "2"]),
        ]
    );
}

#[test]
fn one_item_that_cannot_be_taken_back_keeps_everything_as_it_is() {
    let mut safe = step("safe", &[], 1);
    safe.danger = Danger::Safe;
    let plan = plan(vec![safe, step("a", &[], 2), step("b", &["a"], 1)]);
    let refused = derived(
        &plan,
        &[
            ("safe", Undoing::Never),
            ("a@0", by(&["file.set_aside"])),
            ("a@1", Undoing::Unclear("cut off".to_owned())),
            ("b", Undoing::Never),
        ],
    );
    assert_eq!(refused.unwrap_err(), ["a@1", "b"]);
    let way = derived(&plan, &[("safe", Undoing::Never), ("b", Undoing::Nothing("no".to_owned()))]).unwrap();
    let left: Vec<String> = way.left.iter().map(|left| left.id.to_string()).collect();
    assert_eq!((way.plan.steps.len(), left), (0, vec!["safe".to_owned(), "b".to_owned()]));
}

#[test]
fn a_step_is_past_the_point_of_no_return_once_it_may_have_acted() {
    let mut state = RunState::new(plan(vec![step("a", &[], 1)]));
    put(&mut state, taken_up()).unwrap();
    assert_eq!(point_of_no_return(&state), None);
    put(&mut state, started("a", 1)).unwrap();
    assert_eq!(point_of_no_return(&state), Some(id("a")));
    put(&mut state, refused(1)).unwrap();
    assert_eq!(point_of_no_return(&state), None, "it changed nothing");
}

fn undoings() -> impl Strategy<Value = Option<Undoing>> {
    prop_oneof![
        1 => Just(None),
        4 => Just(Some(by(&["file.restore_aside"]))),
        2 => Just(Some(by(&["service.stop", "service.release"]))),
        1 => Just(Some(by(&["file.set_aside"]))),
        2 => Just(Some(Undoing::Nothing("as it was".to_owned()))),
        1 => Just(Some(Undoing::Never)),
    ]
}

fn cases() -> impl Strategy<Value = (Arc<Plan>, BTreeMap<ItemId, Undoing>)> {
    let one = |at: usize| (proptest::collection::vec(any::<bool>(), at), 1_usize..4, any::<bool>());
    let steps: Vec<_> = (0..7_usize).map(one).collect();
    (steps, proptest::collection::vec(undoings(), 21)).prop_map(|(made, undoings)| {
        let steps = made.into_iter().enumerate().map(|(at, (needs, items, safe))| {
            let needs: Vec<String> = (0..at).filter(|n| needs[*n]).map(|n| format!("s{n}")).collect();
            let mut made = step(&format!("s{at}"), &needs.iter().map(String::as_str).collect::<Vec<_>>(), items);
            made.danger = if safe { Danger::Safe } else { Danger::Destructive };
            made
        });
        let plan = plan(steps.collect());
        let items = RunState::new(Arc::clone(&plan)).items().map(|(id, _)| id).collect::<Vec<_>>();
        let undoings = items.into_iter().zip(undoings).filter_map(|(id, undoing)| Some((id, undoing?))).collect();
        (plan, undoings)
    })
}

/// Returns all that a step rests on.
fn rests_on(plan: &Plan, id: &StepId) -> BTreeSet<StepId> {
    let mut open = vec![id.clone()];
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        let step = plan.steps.iter().find(|step| step.id == id).unwrap();
        open.extend(step.needs.iter().filter(|need| found.insert((*need).clone())).cloned());
    }
    found
}

/// Returns the step that a step of the way back takes back.
fn undone(step: &Step) -> StepId {
    StepId::new(step.id.as_str().split('-').nth(1).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn the_way_back_takes_every_item_back_once_and_in_reverse_order((plan, undoings) in cases()) {
        let state = RunState::new(Arc::clone(&plan));
        let dangerous = |id: &ItemId| state.step(&id.step).unwrap().danger > Danger::Safe;
        let barred = undoings.iter().any(|(id, undoing)| *undoing == Undoing::Never && dangerous(id));
        let way = match derive(&state, &run_id(), &undoings) {
            Err(_) => { prop_assert!(barred); return Ok(()) }
            Ok(way) => { prop_assert!(!barred); way }
        };
        let mut acts: BTreeSet<(ItemId, String)> = BTreeSet::new();
        let mut before = BTreeSet::new();
        for made in &way.plan.steps {
            prop_assert!(made.needs.iter().all(|need| before.contains(need)), "the steps are in order");
            prop_assert!(before.insert(made.id.clone()), "an id is given once");
            for item in made.items.iter().flatten() {
                let id = ItemId { step: undone(made), item: item.key.clone() };
                prop_assert!(acts.insert((id, made.kind.clone())), "nothing is taken back twice");
                let args = template::render(item.args.as_ref().unwrap(), &Scope::default()).unwrap();
                prop_assert_eq!(args, json!({ "path": "/x", "text": "{{ 1 }}" }));
            }
        }
        let wanted: BTreeSet<(ItemId, String)> = undoings.iter().flat_map(|(id, undoing)| match undoing {
            Undoing::By(calls) => calls.iter().map(|(kind, _)| (id.clone(), kind.clone())).collect(),
            Undoing::Nothing(_) | Undoing::Never | Undoing::Unclear(_) => Vec::new(),
        }).collect();
        prop_assert_eq!(acts, wanted);
        // All or none: nothing of a step is taken back before everything that depended on it is.
        for earlier in &way.plan.steps {
            for later in &way.plan.steps {
                if rests_on(&plan, &undone(later)).contains(&undone(earlier)) {
                    prop_assert!(rests_on(&way.plan, &earlier.id).contains(&later.id), "{} before {}", earlier.id, later.id);
                }
            }
        }
    }

    #[test]
    fn a_literal_is_rendered_to_itself(text in r#"[a-z{}%#"'\\ .\n\u{e000}é-]{0,24}"#) {
        for text in [text.clone(), format!("{{{{ steps.a-b {text}"), format!("{text}{{% raw %}}")] {
            let value = json!({ "a": [text], "b": 1 });
            prop_assert_eq!(template::render(&template::literal(&value), &Scope::default()), Ok(value));
        }
    }
}
