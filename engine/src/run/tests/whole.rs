//! Whole runs over random plans, outcomes and crashes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use requorum_steps::{Effect, HostName};

use super::simulator::{Process, Script, World};
use super::*;
use crate::run::decide::ending;
use crate::run::plans::Plans;
use crate::run::record::Ending;

/// More processes than any run here needs.
const ENOUGH: usize = 60;

#[derive(Debug, Clone)]
struct Case {
    plan: Arc<Plan>,
    world: World,
    parallel: usize,
    /// Which item goes on at each record.
    choices: Vec<usize>,
    /// After how many records each process is killed, and whether what it had just started has begun.
    crashes: Vec<(usize, bool)>,
    /// What happens besides when each process takes the run up.
    turns: Vec<Turn>,
}

/// What happens when a process takes the run up.
#[derive(Debug, Clone)]
enum Turn {
    /// Nothing.
    None,
    /// A person amends the plan.
    Amend,
    /// A host is given up.
    Lose(usize),
    /// Something that was done no longer holds, until the next process looks.
    Lapse(usize),
}

fn scripts() -> impl Strategy<Value = Script> {
    let dies = prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let rarely = || prop_oneof![3 => Just(0_u32), 1 => 1_u32..4];
    (rarely(), proptest::bool::weighted(0.1), proptest::bool::weighted(0.15), rarely(), dies)
        .prop_map(|(failures, skipped, gated, unverified, dies)| Script { failures, skipped, gated, unverified, dies })
}

fn steps(at: usize) -> impl Strategy<Value = (Step, Vec<Script>)> {
    let effect = prop_oneof![Just(Effect::Pure), Just(Effect::Idempotent), Just(Effect::Probed), Just(Effect::Once)];
    let most = prop_oneof![Just(None), Just(Some(1)), Just(Some(2))];
    let needs = proptest::collection::vec(any::<bool>(), at);
    (needs, 0_usize..4, effect, most, any::<bool>(), 1_u32..4).prop_flat_map(
        move |(needs, items, effect, most, canary, attempts)| {
            let needs: Vec<String> = (0..at).filter(|&n| needs[n]).map(|n| format!("s{n}")).collect();
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            let mut made = step(&format!("s{at}"), &needs, items);
            for (n, item) in made.items.iter_mut().flatten().enumerate().filter(|_| items > 1) {
                item.subject = Subject::Host(host(n));
            }
            (made.effect, made.max_parallel, made.canary, made.retry.attempts) = (effect, most, canary, attempts);
            (Just(made), proptest::collection::vec(scripts(), items))
        },
    )
}

fn host(n: usize) -> HostName {
    HostName::new(format!("h{n}")).unwrap()
}

fn turns() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => Just(Turn::None),
        1 => Just(Turn::Amend),
        1 => (0_usize..3).prop_map(Turn::Lose),
        1 => any::<usize>().prop_map(Turn::Lapse),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let all = (0..6_usize).map(steps).collect::<Vec<_>>();
    let crashes = proptest::collection::vec((0_usize..25, any::<bool>()), 0..8);
    let turns = proptest::collection::vec(turns(), 0..10);
    (all, 1_usize..5, proptest::collection::vec(any::<usize>(), 1..40), crashes, turns).prop_map(
        |(made, parallel, choices, crashes, turns)| {
            let mut world = World::default();
            for (step, scripts) in &made {
                for (item, script) in step.items.iter().flatten().zip(scripts) {
                    world.scripts.insert(ItemId { step: step.id.clone(), item: item.key.clone() }, script.clone());
                }
            }
            let plan = plan(made.into_iter().map(|(step, _)| step).collect());
            Case { plan, world, parallel, choices, crashes, turns }
        },
    )
}

/// Drives a run through its crashes to its end, with a person who decides whenever it needs one.
fn drive(case: &Case, crashes: &[(usize, bool)], turns: &[Turn]) -> (World, RunState) {
    let (mut world, mut journal) = (case.world.clone(), Vec::new());
    let mut plans = Plans::from(Arc::clone(&case.plan));
    let (mut crashes, mut turns) = (crashes.iter(), turns.iter());
    let mut choices = case.choices.iter().cycle();
    for _ in 0..ENOUGH {
        let crash = crashes.next();
        let mut process = Process::take_up(&plans, &mut world, &mut journal);
        let turn = turns.next().unwrap_or(&Turn::None);
        process.look_again(if let Turn::Lapse(which) = turn { Some(*which) } else { None });
        match turn {
            Turn::Amend => process.amend(&mut plans),
            Turn::Lose(n) => process.lose(&host(*n)),
            Turn::None | Turn::Lapse(_) => {}
        }
        process.person_decides();
        let mut left = crash.map_or(usize::MAX, |(after, _)| *after);
        while left > 0 && process.go_on(case.parallel, *choices.next().unwrap()).is_some() {
            left -= 1;
        }
        let live = process.state.clone();
        process.kill(crash.is_some_and(|(_, begun)| *begun));
        let folded = RunState::fold(plans.clone(), &journal).unwrap();
        assert_eq!(folded, live, "the journal folds to the state that the process had");
        if crash.is_none() && live.is_done() {
            return (world, live);
        }
    }
    panic!("the run does not end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_run_that_is_cut_off_anywhere_ends_as_if_it_had_not_been(case in cases()) {
        let (calm_world, calm) = drive(&case, &[], &[]);
        let (world, state) = drive(&case, &case.crashes, &[]);
        prop_assert_eq!(ending(&state), Ending::Done);
        for (id, item) in state.items() {
            let strict = state.step(&id.step).unwrap().effect >= Effect::Probed;
            let counts: BTreeMap<_, _> = [("calm", &calm_world), ("cut off", &world)].into_iter()
                .map(|(name, world)| (name, world.effects.get(&id).copied().unwrap_or(0))).collect();
            let skipped = case.world.scripts.get(&id).is_some_and(|script| script.skipped);
            for (name, count) in counts {
                prop_assert!(count >= u32::from(!skipped), "{} {}: its effect is lost", name, id);
                prop_assert!(!strict || count <= 1, "{} {}: its effect was made {} times", name, id, count);
            }
            prop_assert_eq!(item.phase == Phase::Skipped, calm.item(&id).unwrap().phase == Phase::Skipped);
        }
    }

    #[test]
    fn a_run_whose_plan_is_amended_and_whose_hosts_are_lost_on_the_way_does_the_rest_and_nothing_twice(case in cases()) {
        let (world, state) = drive(&case, &case.crashes, &case.turns);
        prop_assert_eq!(ending(&state), Ending::Done);
        let amendments = case.turns.iter().filter(|turn| matches!(turn, Turn::Amend)).count();
        prop_assert!(state.plan().steps.len() <= case.plan.steps.len() + amendments);
        for (id, item) in state.items() {
            let strict = state.step(&id.step).unwrap().effect >= Effect::Probed;
            let count = world.effects.get(&id).copied().unwrap_or(0);
            let done = matches!(item.phase, Phase::Succeeded | Phase::Satisfied | Phase::Forced { happened: true, .. });
            prop_assert!(count >= u32::from(done), "{}: its effect is lost", id);
            prop_assert!(!strict || count <= 1, "{}: its effect was made {} times", id, count);
            let lost = matches!(item.phase, Phase::Forced { happened: false, .. });
            prop_assert!(!lost || matches!(state.subject(&id), Some(Subject::Host(_))), "{} is left out", id);
        }
    }
}
