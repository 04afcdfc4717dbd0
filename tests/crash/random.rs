//! SIGKILL at random moments, again and again: no effect is lost or doubled, and no run is stuck.
//!
//! Each run is a random DAG of `once` commands, each of which leaves one line in a file of its own. requorum is killed at
//! random moments until the run is done. `REQUORUM_KILLS` sets how many kills there are in all (40 by default; 500 in the
//! long mode) and `REQUORUM_SEED` repeats one sequence.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use support::Laptop;

/// How many steps each run has.
const STEPS: usize = 15;

/// How often a run may be taken up; more means that it is stuck.
const PATIENCE: usize = 200;

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Makes a plan whose steps each add a line to `STEP.count`, with random needs among the three before.
fn random_plan(random: &mut StdRng) -> String {
    let mut plan = String::from("requorum: 1\nname: test/random\ntitle: Random\nplatforms: [any]\nsteps:\n");
    for step in 0..STEPS {
        let needs: Vec<String> =
            (step.saturating_sub(3)..step).filter(|_| random.random_bool(0.5)).map(|need| format!("s{need}")).collect();
        let pause = random.random_range(0..50);
        writeln!(plan, "  - id: s{step}\n    needs: [{}]", needs.join(", ")).unwrap();
        writeln!(plan, "    command.run: {{ cwd: {{dir}}, run: \"echo done >> s{step}.count; sleep 0.{pause:03}\" }}")
            .unwrap();
    }
    plan
}

#[test]
fn no_kill_at_a_random_moment_doubles_loses_or_wedges_anything() {
    let kills: usize = from_environment("REQUORUM_KILLS").unwrap_or(40);
    let seed: u64 = from_environment("REQUORUM_SEED").unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    let mut killed = 0;
    while killed < kills {
        let laptop = Laptop::new();
        let site = laptop.write("site.yaml", "requorum: 1\ncluster: random\nplatform: any\nhosts: {}\n");
        let dir = laptop.path("effects");
        fs::create_dir(&dir).unwrap();
        let plan = random_plan(&mut random).replace("{dir}", dir.to_str().unwrap());
        let plan = laptop.write("plan.yaml", &plan);
        killed += until_done(&laptop, &plan, &site, &mut random, seed);
        for step in 0..STEPS {
            let lines = fs::read_to_string(dir.join(format!("s{step}.count"))).unwrap_or_default().lines().count();
            assert_eq!(lines, 1, "s{step} happened {lines} times (REQUORUM_SEED={seed}, after {killed} kills)");
        }
    }
}

/// Begins a run and takes it up after each kill until it is done. Returns how often it was killed.
fn until_done(laptop: &Laptop, plan: &str, site: &str, random: &mut StdRng, seed: u64) -> usize {
    let mut killed = 0;
    for _ in 0..PATIENCE {
        let state = laptop.run(&["runs", "list", "-o", "json"]);
        state.expect(0);
        let runs: serde_json::Value = serde_json::from_str(&state.stdout).unwrap();
        let begun = runs.as_array().unwrap().iter().find(|run| run["state"] != "cut off" || run["unfinished"] == true);
        let mut live = match begun {
            Some(run) if run["state"] == "done" => return killed,
            Some(_) => laptop.start(&["resume", "--parallel", "4"]),
            None => laptop.start(&["run", plan, "-i", site, "--yes", "--parallel", "4"]),
        };
        let ends = Instant::now() + Duration::from_millis(random.random_range(0..500));
        while !live.has_ended() && Instant::now() < ends {
            std::thread::sleep(Duration::from_millis(2));
        }
        if live.has_ended() {
            let outcome = live.wait();
            assert_eq!(outcome.code, 0, "REQUORUM_SEED={seed}, after {killed} kills:\n{outcome}");
            return killed;
        }
        killed += usize::from(live.kill());
    }
    panic!("the run is stuck (REQUORUM_SEED={seed})");
}
