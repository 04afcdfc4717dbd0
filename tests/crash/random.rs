//! SIGKILL at random moments, again and again: no effect is lost or doubled, and no run is stuck.
//!
//! Each run is a random DAG of commands on this machine and on two hosts, several at a time; each command leaves one line in
//! a file of its own. At random moments requorum is killed, or the process that watches over one command (the supervisor
//! here, the wrapper on a host). What only a person can tell then is answered as an operator would who looks at the file.
//! `REQUORUM_KILLS` sets how many kills there are in all (30 by default; 500 in the long mode), and `REQUORUM_SEED` repeats
//! one sequence of decisions.
#![allow(clippy::unwrap_used)]

#[path = "../../steps/tests/support/sshd.rs"]
#[allow(dead_code)]
mod sshd;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use sshd::Sshd;
use support::{Laptop, Live};

/// How many steps each run has.
const STEPS: usize = 15;

/// How many commands a run may take; more means that it is stuck.
const PATIENCE: usize = 300;

/// How long a process of requorum may take between two records.
const SILENCE: Duration = Duration::from_mins(1);

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// What happened in all runs.
#[derive(Debug, Default)]
struct Tally {
    /// How often requorum was killed, by the last thing that the journal said then.
    requorum: BTreeMap<String, usize>,
    /// How often a process was killed that watched over a command.
    watchers: usize,
    /// How many processes of requorum took a run up.
    processes: usize,
    /// How often a person was asked whether a command had happened, and it had.
    skipped: usize,
    /// And it had not.
    retried: usize,
    /// How many runs there were.
    runs: usize,
}

impl Tally {
    fn kills(&self) -> usize {
        self.requorum.values().sum::<usize>() + self.watchers
    }
}

#[test]
fn no_kill_at_a_random_moment_doubles_loses_or_wedges_anything() {
    let kills: usize = from_environment("REQUORUM_KILLS").unwrap_or(30);
    let seed: u64 = from_environment("REQUORUM_SEED").unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let hosts: Vec<Sshd> = std::iter::from_fn(Sshd::start).take(2).collect();
    let mut tally = Tally::default();
    println!("REQUORUM_SEED={seed}, {} hosts", hosts.len());
    while tally.kills() < kills {
        Trial::new(&hosts, &mut random).run(&mut random, &mut tally);
        tally.runs += 1;
        println!("{} runs, {} kills, {} s", tally.runs, tally.kills(), began.elapsed().as_secs());
    }
    println!("{} kills in {} s: {tally:#?}", tally.kills(), began.elapsed().as_secs());
}

/// One run, from its beginning to its end.
struct Trial {
    laptop: Laptop,
    effects: PathBuf,
    /// Where capsules are, but for those of this machine.
    roots: Vec<PathBuf>,
    /// The effect class of each step.
    classes: Vec<&'static str>,
    line: Vec<String>,
}

impl Trial {
    fn new(hosts: &[Sshd], random: &mut StdRng) -> Self {
        let laptop = Laptop::new();
        let effects = laptop.path("effects");
        fs::create_dir(&effects).unwrap();
        let root = format!("capsules-{:08x}", random.random::<u32>());
        let roots: Vec<PathBuf> = hosts.iter().map(|host| host.path(&root)).collect();
        let mut site = String::from("requorum: 1\ncluster: random\nplatform: any\nhosts:\n");
        if hosts.is_empty() {
            site = site.replace("hosts:\n", "hosts: {}\n");
        }
        for (number, (host, root)) in hosts.iter().zip(&roots).enumerate() {
            let (key, known) = (host.path("user"), host.path("known_hosts"));
            writeln!(site, "  h{number}:\n    address: 127.0.0.1\n    capsule_root: {}", root.display()).unwrap();
            let ssh = format!("port: {}, key: {}, known_hosts: {}", host.port, key.display(), known.display());
            writeln!(site, "    ssh: {{ user: root, config: /dev/null, {ssh} }}").unwrap();
        }
        let (plan, classes) = random_plan(random, hosts.len(), effects.to_str().unwrap());
        let (site, plan) = (laptop.write("site.yaml", &site), laptop.write("plan.yaml", &plan));
        let line = ["run", &plan, "-i", &site, "--yes", "--parallel", "6"].map(str::to_owned).to_vec();
        Self { laptop, effects, roots, classes, line }
    }

    /// Begins the run and takes it up after each kill until it is done.
    fn run(&self, random: &mut StdRng, tally: &mut Tally) {
        for _ in 0..PATIENCE {
            let listed = self.json(&["runs", "list"]);
            let begun = listed.as_array().unwrap().iter().find(|run| run["state"] != "never began");
            let live = match begun {
                None => self.laptop.start(&self.line.iter().map(String::as_str).collect::<Vec<_>>()),
                Some(run) if run["state"] == "done" => return self.every_effect_happened(),
                Some(run) => {
                    let id = run["run"].as_str().unwrap();
                    if self.answer(id, tally) {
                        continue;
                    }
                    self.laptop.start(&["resume", id])
                }
            };
            tally.processes += 1;
            self.disturb(live, random, tally);
        }
        panic!("the run is stuck: {}", self.laptop.run(&["runs", "logs"]));
    }

    /// Kills a process that watches over a command now and then, until requorum ends or is killed itself.
    fn disturb(&self, mut live: Live, random: &mut StdRng, tally: &mut Tally) {
        loop {
            let records = self.records().len() + random.random_range(0..12);
            let ends = Instant::now() + SILENCE;
            while !live.has_ended() && self.records().len() < records {
                assert!(Instant::now() < ends, "nothing happens: {}", live.said());
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..40)));
            if live.has_ended() {
                let outcome = live.wait();
                assert!([0, 6].contains(&outcome.code), "{outcome}\n{}", self.laptop.run(&["runs", "logs"]));
                return;
            }
            if random.random_bool(0.4) {
                let patience = Instant::now() + Duration::from_secs(2);
                let mut killed = false;
                while !killed && !live.has_ended() && Instant::now() < patience {
                    killed = self.kill_a_watcher(random);
                    std::thread::sleep(Duration::from_millis(2));
                }
                tally.watchers += usize::from(killed);
                continue;
            }
            let last = self
                .records()
                .last()
                .map_or("nothing".to_owned(), |record| record["event"]["event"].as_str().unwrap().to_owned());
            if live.kill() {
                *tally.requorum.entry(last).or_default() += 1;
            }
            return;
        }
    }

    /// Kills one of the processes that watch over commands which run now, if there is one.
    fn kill_a_watcher(&self, random: &mut StdRng) -> bool {
        let runs = self.laptop.runs().into_iter().map(|run| run.dir.join("capsules"));
        let hosts = self.roots.iter().flat_map(|root| below(root.join("random")));
        let capsules = runs.chain(hosts).flat_map(below).filter(|capsule| !capsule.join("status").exists());
        let leaders: Vec<String> = capsules.filter_map(|capsule| leader(&capsule)).collect();
        let Some(pid) = leaders.choose(random) else { return false };
        // It may have ended just now.
        Command::new("kill").args(["-s", "KILL", pid]).stderr(std::process::Stdio::null()).status().unwrap().success()
    }

    /// Answers what a person is asked, by what is true. Says whether there was a question.
    fn answer(&self, id: &str, tally: &mut Tally) -> bool {
        let shown = self.json(&["runs", "show", id]);
        let asked = shown["items"].as_array().unwrap().iter().find(|item| item["state"] == "needs you");
        let Some(item) = asked else { return false };
        let (step, key) = (item["step"].as_str().unwrap(), item["item"].as_str().unwrap());
        let happened = self.count(step) > 0;
        let verb: &[&str] = if happened { &["skip", "--done"] } else { &["retry"] };
        let name = if key == "-" { step.to_owned() } else { format!("{step}@{key}") };
        self.laptop.expect(0, &[verb, &[id, &name, "--reason", "its file was looked at"]].concat());
        *if happened { &mut tally.skipped } else { &mut tally.retried } += 1;
        true
    }

    fn every_effect_happened(&self) {
        for (number, class) in self.classes.iter().enumerate() {
            let count = self.count(&format!("s{number}"));
            let most = if *class == "idempotent" { usize::MAX } else { 1 };
            let logs = || self.laptop.run(&["runs", "logs"]);
            assert!((1..=most).contains(&count), "s{number}, {class}, happened {count} times\n{}", logs());
        }
    }

    fn count(&self, step: &str) -> usize {
        fs::read_to_string(self.effects.join(format!("{step}.count"))).unwrap_or_default().lines().count()
    }

    fn records(&self) -> Vec<Value> {
        self.laptop.runs().pop().map(|run| run.records()).unwrap_or_default()
    }

    fn json(&self, line: &[&str]) -> Value {
        let outcome = self.laptop.expect(0, &[line, &["-o", "json"]].concat());
        serde_json::from_str(&outcome.stdout).unwrap()
    }
}

/// Makes a plan whose steps each add a line to `STEP.count`, with random needs among the three before; and says of which
/// effect class each is.
fn random_plan(random: &mut StdRng, hosts: usize, dir: &str) -> (String, Vec<&'static str>) {
    let mut plan = String::from("requorum: 1\nname: test/random\ntitle: Random\nplatforms: [any]\nsteps:\n");
    let mut classes = Vec::new();
    for step in 0..STEPS {
        let needs: Vec<String> =
            (step.saturating_sub(3)..step).filter(|_| random.random_bool(0.4)).map(|need| format!("s{need}")).collect();
        let class = *["once", "once", "once", "idempotent", "probed"].choose(random).unwrap();
        let (kind, check, on) = match random.random_range(0..=hosts) {
            0 => ("command.run", "command.check", String::new()),
            host => ("ssh.run", "ssh.check", format!("    on: [h{}]\n", host - 1)),
        };
        let pause = random.random_range(0..300);
        writeln!(plan, "  - id: s{step}\n    needs: [{}]\n    effect: {class}", needs.join(", ")).unwrap();
        plan.push_str(&on);
        if class == "probed" {
            writeln!(plan, "    probe: {{ {check}: {{ run: \"test -e {dir}/s{step}.count\" }} }}").unwrap();
        }
        writeln!(plan, "    {kind}: {{ cwd: {dir}, run: \"echo done >> s{step}.count; sleep 0.{pause:03}\" }}")
            .unwrap();
        classes.push(class);
    }
    (plan, classes)
}

/// Returns the entries of a directory, which need not be there.
fn below(dir: PathBuf) -> Vec<PathBuf> {
    fs::read_dir(dir).map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
}

/// Returns the process that watches over the command of a capsule, if that very process lives.
fn leader(capsule: &std::path::Path) -> Option<String> {
    let start = fs::read_to_string(capsule.join("start")).ok()?;
    let [_, session, since, "end"] = start.lines().collect::<Vec<_>>()[..] else { return None };
    let stat = fs::read_to_string(format!("/proc/{session}/stat")).ok()?;
    // The start time is field 22; what counts begins after the name, with field 3.
    let alive = stat.rsplit(") ").next()?.split(' ').nth(19)? == since;
    alive.then(|| session.to_owned())
}
