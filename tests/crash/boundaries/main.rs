//! Every boundary: a process is killed before or after each append, barrier, capsule transition and effect of plans that
//! use every kind and every effect class, and the run is resumed. In the end everything is as if it had not been killed:
//! the same state, the same effects, each as often. Where the design has a person asked instead, that is said by the rule
//! in `place.rs`, not by what happens.
//!
//! In CI every place of a small plan is taken, and of the others a random sample that `REQUORUM_SEED` repeats.
//! `REQUORUM_LONG=1` takes every place of every plan, and then two at a time, at the second of which a later process is
//! killed. `REQUORUM_AT=TEXT` takes the places whose names contain a text, `REQUORUM_PLAN=NAME` one of the plans on hosts.
#![cfg(debug_assertions)]
#![allow(clippy::unwrap_used)]

mod place;
mod play;
mod stage;
#[path = "../../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Instant;

use place::{Consequence, Place};
use play::Tale;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use stage::{Case, PLANS, Plan};
use support::{Laptop, Testbed, etcd};

/// How many places of a plan on hosts are taken where not all are.
const SAMPLE: usize = 3;

/// How many pairs of places of a plan are taken in the long mode.
const PAIRS: usize = 30;

fn is_long() -> bool {
    std::env::var_os("REQUORUM_LONG").is_some()
}

fn seed() -> u64 {
    let given = std::env::var("REQUORUM_SEED").ok().map(|text| text.parse().expect("REQUORUM_SEED is no number"));
    given.unwrap_or_else(rand::random)
}

#[test]
fn the_plans_use_every_kind() {
    let reference = Laptop::new().expect(0, &["reference"]).stdout;
    let kinds: BTreeSet<&str> =
        reference.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert!(kinds.contains("command.run") && kinds.contains("ssh.check"), "{kinds:?}");
    let used = |kind: &&&str| {
        PLANS.iter().any(|plan| plan.text.contains(&format!("{kind}: {{")) || plan.text.contains(&format!("{kind}:\n")))
    };
    // Those of Kubernetes need an API server: tests/kube kills requorum between their intent and their act. A survivor is only
    // looked for, and its raft index is another in every play.
    let elsewhere = |kind: &&&str| kind.starts_with("kube.") || **kind == "etcd.survivor";
    let missing: Vec<&&str> = kinds.iter().filter(|kind| !used(kind) && !elsewhere(kind)).collect();
    assert!(missing.is_empty(), "no plan of tests/crash/boundaries uses {missing:?}: a kind that is killed nowhere");
}

#[test]
fn a_plan_killed_at_any_boundary_on_this_machine_ends_as_if_it_had_not_been() {
    visit(Plan::named("local"), None, usize::MAX);
}

#[test]
fn what_the_engine_itself_carries_out_ends_as_if_it_had_not_been_killed() {
    visit(Plan::named("engine"), None, 8 * SAMPLE);
}

#[test]
fn a_plan_killed_at_any_boundary_on_hosts_ends_as_if_it_had_not_been() {
    let bed = Testbed::up(&etcd(), &[]);
    let only = std::env::var("REQUORUM_PLAN").ok();
    for name in ["hosts", "files", "services", "etcd", "members"]
        .into_iter()
        .filter(|name| only.as_deref().unwrap_or(name) == *name)
    {
        let plan = Plan::named(name);
        if name == "members" {
            // It leaves the leadership and the settings of cp3 as each play finds them from then on.
            Case::new(plan, Some(&bed)).play(&[]);
        }
        visit(plan, Some(&bed), SAMPLE);
    }
}

/// Plays a plan undisturbed, and then once for each of its places, or for a sample of so many.
fn visit(plan: &'static Plan, bed: Option<&Testbed>, sample: usize) {
    let began = Instant::now();
    let undisturbed = || {
        let mut tale = Case::new(plan, bed).play(&[]);
        tale.places.retain(|place| bed.is_none() || !place.is_of_trying_again());
        tale
    };
    let calm = undisturbed();
    assert!(calm.asked.is_empty() && calm.retried.is_empty(), "{calm:#?}");
    if is_long() || bed.is_none() {
        let again = undisturbed();
        assert_eq!(sorted(&calm.places), sorted(&again.places), "the places of {} differ from play to play", plan.name);
    }

    let seed = seed();
    let deaths = deaths(&calm.places, sample, &mut StdRng::seed_from_u64(seed));
    println!("{}: {} places, {} plays (REQUORUM_SEED={seed})", plan.name, calm.places.len(), deaths.len());

    // Plays on one cluster go one after the other.
    let workers = if bed.is_some() { 1 } else { 2 };
    let (died, asked) = play_all(plan, bed, &calm, &deaths, workers);
    let took = began.elapsed().as_secs();
    println!("{}: {died} deaths in {} plays, {asked} questions, {took} s", plan.name, deaths.len());
}

/// Chooses where to kill: at each place or at so many of them, and in the long mode at pairs of places too.
fn deaths(places: &[Place], sample: usize, random: &mut StdRng) -> Vec<Vec<Place>> {
    let mut chosen: Vec<Vec<Place>> = places.iter().map(|place| vec![place.clone()]).collect();
    if let Ok(text) = std::env::var("REQUORUM_AT") {
        chosen.retain(|deaths| deaths[0].0.contains(&text));
        return chosen;
    }
    chosen.shuffle(random);
    if !is_long() {
        chosen.truncate(sample);
        return chosen;
    }
    let of_requorum: Vec<&Place> = places.iter().filter(|place| !place.is_of_supervisor()).collect();
    let mut any = || (*of_requorum.choose(random).unwrap()).clone();
    chosen.extend((0..PAIRS).map(|_| vec![any(), any()]));
    chosen
}

fn play_all(
    plan: &'static Plan,
    bed: Option<&Testbed>,
    calm: &Tale,
    deaths: &[Vec<Place>],
    workers: usize,
) -> (usize, usize) {
    let (left, sum) = (Mutex::new(deaths.iter()), Mutex::new((0, 0)));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(deaths) = left.lock().unwrap().next() else { return };
                    let case = Case::new(plan, bed);
                    let tale = case.play(deaths);
                    compare(plan, calm, &tale, deaths);
                    let mut sum = sum.lock().unwrap();
                    *sum = (sum.0 + tale.deaths, sum.1 + tale.asked.len());
                }
            });
        }
    });
    sum.into_inner().unwrap()
}

/// Compares a play with the undisturbed one, by the rule.
fn compare(plan: &Plan, calm: &Tale, tale: &Tale, deaths: &[Place]) {
    let place = &deaths[0];
    let what = format!("{} killed at {deaths:?}\n{:#?}\n{:#?}", plan.name, tale.steps, tale.left);
    assert!(tale.deaths > 0, "it did not die: {what}");
    let consequence = place.consequence(&plan.local_commands());
    let item = place.item().to_owned();
    let only = |wanted| if consequence == wanted { vec![item.clone()] } else { Vec::new() };
    assert_eq!(tale.asked, only(Consequence::Asked), "who was asked about: {what}");
    assert_eq!(tale.retried, only(Consequence::Failed), "what failed: {what}");

    for (name, value) in &calm.fold {
        let step = name.split('@').next().unwrap();
        // A result rides along to the barrier of what comes next, and may be gone with that.
        let killed = deaths.iter().any(|place| place.item() == name || plan.is_next(place.step(), step));
        // Only the capsule keeps what was returned.
        let lost = match consequence {
            Consequence::Probed | Consequence::Asked => place.item() == name,
            Consequence::None | Consequence::Repeated | Consequence::Failed => killed && plan.is_uncontained(step),
        };
        let mut value = value.clone();
        if consequence == Consequence::Asked && lost && tale.fold[name]["state"] == "forced done" {
            value["state"] = "forced done".into();
        }
        assert!(is_same(&value, &tale.fold[name], lost), "{name} was\n{value}\nand is\n{}: {what}", tale.fold[name]);
    }

    let may_be_more = consequence == Consequence::Repeated;
    for (name, content) in &calm.left {
        let seen = tale.left.get(name).unwrap_or_else(|| panic!("{name} is missing: {what}"));
        let repeated = may_be_more && *name == format!("{}.count", place.step());
        assert!(seen == content || repeated && seen.lines().count() <= content.lines().count() + 1, "{name}: {what}");
    }
    let more: Vec<&String> = tale.left.keys().filter(|name| !calm.left.contains_key(*name)).collect();
    assert!(more.is_empty(), "{more:?} should not be there: {what}");
    for (name, count) in &calm.begun {
        let again = usize::from(place.is_of_supervisor() && *name == item);
        let seen = tale.begun.get(name).copied().unwrap_or(0);
        assert!((*count..=count + again).contains(&seen), "{name} was begun {seen} times, not {count}: {what}");
    }
}

/// Says whether a value is as it was; with `lost`, nothing may stand for something.
fn is_same(was: &Value, is: &Value, lost: bool) -> bool {
    match (was, is) {
        (_, Value::Null) if lost => true,
        (Value::Object(was), Value::Object(is)) => {
            was.len() == is.len()
                && was.iter().all(|(key, value)| is.get(key).is_some_and(|seen| is_same(value, seen, lost)))
        }
        _ => was == is,
    }
}

fn sorted(places: &[Place]) -> BTreeSet<&Place> {
    places.iter().collect()
}
