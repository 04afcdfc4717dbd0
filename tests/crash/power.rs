//! The power of the machine that runs requorum goes, again and again: no effect is lost or doubled, and no run is stuck.
//!
//! The state directory lies on a disk whose power is cut; the effects of the steps, a line in a file of each, lie elsewhere.
//! At a random moment everything that the run has started is killed, and what had not reached the disk is lost. Where an
//! attempt was started and left no status, the run must ask; the test answers as a person would, who looks at the effect.
//! `REQUORUM_ROUNDS` sets how many runs there are (3 by default), `REQUORUM_SEED` repeats one sequence.
#![allow(clippy::unwrap_used)]

#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use disk::Disk;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use support::{Laptop, Outcome, Run, wait_until};

/// How many steps each run has.
const STEPS: usize = 12;

/// How often a run may be taken up; more means that it is stuck.
const PATIENCE: usize = 100;

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Makes a plan whose steps each add a line to `STEP.count`, with random needs among the two before.
fn random_plan(random: &mut StdRng, effects: &Path) -> String {
    let mut plan = String::from("requorum: 1\nname: test/power\nsteps:\n");
    for step in 0..STEPS {
        let needs: Vec<String> =
            (step.saturating_sub(2)..step).filter(|_| random.random_bool(0.4)).map(|need| format!("s{need}")).collect();
        let (pause, cwd) = (random.random_range(0..80), effects.display());
        writeln!(plan, "  - id: s{step}\n    needs: [{}]", needs.join(", ")).unwrap();
        writeln!(plan, "    command.run: {{ cwd: {cwd}, run: \"echo done >> s{step}.count; sleep 0.{pause:03}\" }}")
            .unwrap();
    }
    plan
}

/// A run on a disk whose power is cut.
struct Powered<'a> {
    laptop: Laptop,
    disk: &'a mut Disk,
    state: String,
    /// What stands in the environment of everything that requorum starts on this state directory, and of nothing else.
    mark: String,
}

impl<'a> Powered<'a> {
    fn new(disk: &'a mut Disk, number: usize) -> Self {
        let state = disk.path().join(format!("state-{number}")).to_str().unwrap().to_owned();
        Self { laptop: Laptop::new(), disk, mark: format!("REQUORUM_STATE_DIR={state}"), state }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.laptop.command(args);
        command.env("REQUORUM_STATE_DIR", &self.state);
        command
    }

    fn ask(&self, args: &[&str]) -> Outcome {
        self.laptop.spawn(self.command(args)).wait()
    }

    /// Returns the processes of this state directory: requorum, its supervisors and their commands.
    fn processes(&self) -> Vec<String> {
        let is_ours = |pid: &String| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == self.mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        entries.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_ours).collect()
    }

    /// Ends everything as a power loss does, and starts the machine again. Says whether this machine can do that.
    fn lose_power(&mut self) -> bool {
        wait_until("the end of all processes", Duration::from_secs(20), || {
            let left = self.processes();
            // One may have ended meanwhile.
            let _ = Command::new("kill").arg("-KILL").args(&left).stderr(std::process::Stdio::null()).status();
            left.is_empty()
        });
        let cut = self.disk.cut();
        if cut {
            self.disk.switch_on();
        }
        cut
    }

    /// Returns the run, if there is one that began.
    fn run(&self) -> Option<(Run, String)> {
        let listed = self.ask(&["runs", "list", "-o", "json"]);
        listed.expect(0);
        let runs: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
        let begun = runs.as_array().unwrap().iter().find(|run| run["state"] != "never began")?;
        assert_ne!(begun["state"], "unreadable", "{listed}");
        let id = begun["run"].as_str().unwrap().to_owned();
        let dir = Path::new(&self.state).join("runs").join(&id);
        Some((Run { id, dir }, begun["state"].as_str().unwrap().to_owned()))
    }

    /// Answers for the steps whose outcome is in doubt, by what can be seen of their effects. Returns how many there were.
    fn answer(&self, asked: &Outcome, effects: &Path) -> usize {
        let (run, _) = self.run().unwrap();
        let questions: Vec<&str> = asked.stderr.lines().filter(|line| line.contains(" --done ")).collect();
        assert!(!questions.is_empty(), "it needs a person, but does not say for what:\n{asked}");
        for question in &questions {
            let mut words = question.split_whitespace().skip_while(|word| *word != run.id);
            let step = words.nth(1).unwrap();
            assert!(!run.events("started", step).is_empty(), "{step} was never started:\n{asked}");
            let status = run.dir.join(format!("capsules/{step}@-.1/status"));
            assert!(!status.exists(), "{step} left a status, and a person is asked:\n{asked}");
            let answer: &[&str] = if count(effects, step) == 0 { &["retry"] } else { &["skip", "--done"] };
            self.ask(&[answer, &[&run.id, step, "--reason", "seen"]].concat()).expect(0);
        }
        questions.len()
    }
}

fn count(effects: &Path, step: &str) -> usize {
    fs::read_to_string(effects.join(format!("{step}.count"))).unwrap_or_default().lines().count()
}

/// What the power losses of one run came to.
#[derive(Default)]
struct Tally {
    cuts: usize,
    asked: usize,
}

/// Brings a run to its end through power losses; `None` where the power cannot be cut.
fn until_done(powered: &mut Powered<'_>, effects: &Path, random: &mut StdRng) -> Option<Tally> {
    let plan = powered.laptop.write("plan.yaml", &random_plan(random, effects));
    let site = powered.laptop.write("site.yaml", "requorum: 1\ncluster: power\nplatform: any\nhosts: {}\n");
    let mut tally = Tally::default();
    for number in 0..PATIENCE as u64 {
        let args = match powered.run() {
            Some((_, state)) if state == "done" => return Some(tally),
            Some(_) => vec!["resume", "--parallel", "4"],
            None => vec!["run", &plan, "-i", &site, "--yes", "--parallel", "4"],
        };
        let mut live = powered.laptop.spawn(powered.command(&args));
        // Longer and longer, so that a slow machine comes to an end too.
        let ends = Instant::now() + Duration::from_millis(random.random_range(20..600 + 100 * number));
        while !live.has_ended() && Instant::now() < ends {
            std::thread::sleep(Duration::from_millis(2));
        }
        if live.has_ended() {
            let outcome = live.wait();
            match outcome.code {
                0 => return Some(tally),
                6 => tally.asked += powered.answer(&outcome, effects),
                _ => panic!("after {} power losses:\n{outcome}", tally.cuts),
            }
        } else {
            live.kill();
            if !powered.lose_power() {
                return None;
            }
            tally.cuts += 1;
        }
    }
    panic!("the run is stuck after {} power losses", tally.cuts);
}

#[test]
fn no_power_loss_doubles_loses_or_wedges_anything() {
    let rounds: usize = from_environment("REQUORUM_ROUNDS").unwrap_or(3);
    let seed: u64 = from_environment("REQUORUM_SEED").unwrap_or_else(rand::random);
    println!("REQUORUM_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let place = tempfile::tempdir().unwrap();
    let Some(mut disk) = Disk::new(place.path(), 256) else { return };
    let mut all = Tally::default();
    for round in 0..rounds {
        let mut powered = Powered::new(&mut disk, round);
        let effects = place.path().join(format!("effects-{round}"));
        fs::create_dir(&effects).unwrap();
        let Some(tally) = until_done(&mut powered, &effects, &mut random) else { return };
        for step in 0..STEPS {
            let times = count(&effects, &format!("s{step}"));
            assert_eq!(times, 1, "s{step} happened {times} times, after {} power losses of round {round}", tally.cuts);
        }
        all = Tally { cuts: all.cuts + tally.cuts, asked: all.asked + tally.asked };
        fs::remove_dir_all(&powered.state).unwrap();
    }
    println!("{rounds} runs, {} power losses, {} outcomes that a person was asked for", all.cuts, all.asked);
}
