//! Playing a plan to its end, as an operator would who starts requorum again whenever it has died, answers gates, and
//! looks at the effects before answering what only a person can tell.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::place::Place;
use crate::stage::Case;
use crate::support::Outcome;

/// No play takes more commands than this, except by a fault.
const PATIENCE: usize = 30;

/// What a play came to.
#[derive(Debug)]
pub struct Tale {
    /// The fold of the journal, without times, numbers of attempts, and the run's name.
    pub fold: BTreeMap<String, Value>,
    /// What is left of the effects.
    pub left: BTreeMap<String, String>,
    /// How many attempts at each item have begun.
    pub begun: BTreeMap<String, usize>,
    /// The places that were reached, in the order in which each was reached first.
    pub places: Vec<Place>,
    /// How many of the deaths happened.
    pub deaths: usize,
    /// The items that a person was asked about, beside the plan's gates.
    pub asked: Vec<String>,
    /// The items that failed and were tried again.
    pub retried: Vec<String>,
    /// What was done, for a message.
    pub steps: Vec<String>,
}

/// One play under way.
struct Play<'c> {
    case: &'c Case<'c>,
    deaths: &'c [Place],
    tale: Tale,
}

impl Case<'_> {
    /// Plays the plan to its end. One process is killed at the first of `deaths`, a later one at the second, and so on.
    pub fn play(&self, deaths: &[Place]) -> Tale {
        let tale = Tale {
            fold: BTreeMap::new(),
            left: BTreeMap::new(),
            begun: BTreeMap::new(),
            places: Vec::new(),
            deaths: 0,
            asked: Vec::new(),
            retried: Vec::new(),
            steps: Vec::new(),
        };
        Play { case: self, deaths, tale }.finish()
    }
}

impl Play<'_> {
    fn finish(mut self) -> Tale {
        for _ in 0..PATIENCE {
            let runs = self.json(&["runs", "list"]);
            let begun = runs.as_array().unwrap().iter().find(|run| run["state"] != "never began");
            let Some(run) = begun else {
                let line = self.case.line.clone();
                self.command(&line);
                continue;
            };
            let id = run["run"].as_str().unwrap().to_owned();
            let shown = self.json(&["runs", "show", &id]);
            if run["state"] == "done" {
                self.tale.left = self.case.left(&id);
                self.tale.begun = self.case.begun(&id);
                self.tale.fold = self.fold(&shown, &id);
                return self.tale;
            }
            let line = self.next(&id, &shown);
            self.command(&line);
        }
        panic!("stuck: {:#?}", self.tale);
    }

    /// Decides what the operator does next about a run that is not done.
    fn next(&mut self, id: &str, shown: &Value) -> Vec<String> {
        for item in shown["items"].as_array().unwrap() {
            let name = name_of(item);
            let verb = match item["state"].as_str().unwrap() {
                "asks" => vec!["approve"],
                "needs you" => {
                    self.tale.asked.push(name.clone());
                    if self.case.happened(item) { vec!["skip", "--done"] } else { vec!["retry"] }
                }
                "failed" => {
                    self.tale.retried.push(name.clone());
                    vec!["retry"]
                }
                _ => continue,
            };
            let words = [&verb[..], &[id, &name, "--reason", "it was looked at"]].concat();
            return words.into_iter().map(str::to_owned).collect();
        }
        ["resume", id].map(str::to_owned).to_vec()
    }

    /// Runs a command, which is killed at the next place that is due if it comes there.
    fn command(&mut self, line: &[String]) {
        let reached = self.case.laptop.path("crossings");
        let _ = fs::remove_file(&reached);
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let mut command = self.case.laptop.command(&words);
        command.env("REQUORUM_CROSSINGS", &reached);
        let due = self.deaths.get(self.tale.deaths);
        if let Some(place) = due {
            command.env("REQUORUM_DIE_AT", &place.0);
        }
        let outcome = self.case.laptop.spawn(command).wait();
        let places: Vec<Place> =
            fs::read_to_string(&reached).unwrap_or_default().lines().map(|line| Place(line.to_owned())).collect();
        let died = due.filter(|place| places.contains(place));
        self.tale.deaths += usize::from(died.is_some());
        for place in places {
            if !self.tale.places.contains(&place) {
                self.tale.places.push(place);
            }
        }
        self.tale.steps.push(format!("{} -> {} {}", line[0], outcome.code, died.map_or("", |place| &place.0)));
        assert!(is_allowed(&outcome, died), "{} {outcome}", self.tale.steps.join("\n"));
    }

    /// Takes out of `runs show -o json` what two plays of one plan have in common.
    fn fold(&self, shown: &Value, run: &str) -> BTreeMap<String, Value> {
        let items = shown["items"].as_array().unwrap();
        // A member that is added has another id in each play.
        let members: Vec<&str> = items.iter().filter_map(|item| item["result"]["id"].as_str()).collect();
        let items = items.iter().map(|item| {
            let mut kept = item.clone();
            for varies in ["attempts", "started", "ended"] {
                kept.as_object_mut().unwrap().remove(varies);
            }
            // What a snapshot's file is like down to its last page is not a matter of what the cluster holds.
            if kept["result"]["path"]
                .as_str()
                .and_then(|path| path.rsplit_once('.'))
                .is_some_and(|(_, end)| end == "db")
            {
                kept["result"].as_object_mut().unwrap().remove("sha256");
            }
            let mut text = kept.to_string().replace(run, "RUN").replace(self.case.effects.to_str().unwrap(), "DIR");
            for member in &members {
                text = text.replace(member, "MEMBER");
            }
            (name_of(item), serde_json::from_str(&text).unwrap())
        });
        items.collect()
    }

    fn json(&self, line: &[&str]) -> Value {
        let outcome = self.case.laptop.expect(0, &[line, &["-o", "json"]].concat());
        serde_json::from_str(&outcome.stdout).unwrap()
    }
}

/// Says whether a command may end as it did: requorum itself dies where it is killed; else it is done, needs a person, or,
/// where only a supervisor was killed before the command began, a step failed.
fn is_allowed(outcome: &Outcome, died: Option<&Place>) -> bool {
    match died {
        Some(place) if place.is_of_supervisor() => [0, 5, 6].contains(&outcome.code),
        Some(_) => outcome.code == 137,
        None => [0, 6].contains(&outcome.code),
    }
}

fn name_of(item: &Value) -> String {
    let (step, item) = (item["step"].as_str().unwrap(), item["item"].as_str().unwrap());
    if item == "-" { step.to_owned() } else { format!("{step}@{item}") }
}
