//! A state directory in hostile surroundings: damaged, truncated, incomplete, foreign, read-only, full.
//!
//! Whatever it is, requorum says what is wrong, where, and what to do; it never panics, never starts from less than it once
//! knew, and what can be recovered is recovered.
#![allow(clippy::unwrap_used)]

#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/mod.rs"]
mod support;

#[path = "places.rs"]
mod places;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Laptop, Outcome, Run};

const SITE: &str =
    "requorum: 1\ncluster: loop\nplatform: systemd-etcd\nhosts: { here: { address: 127.0.0.1, roles: [etcd] } }\n";

/// One step before a question, one after it.
const PLAN: &str = r"requorum: 1
name: try
steps:
  - id: before
    command.run: { run: 'echo before >>ran' }
  - id: ask
    needs: [before]
    gate.confirm: { message: 'go on?' }
  - id: after
    needs: [ask]
    command.run: { run: 'echo after >>ran' }
";

/// An operator whose run waits for an answer.
struct Desk {
    laptop: Laptop,
    plan: String,
    site: String,
    run: Run,
}

/// Something that happens to the files of a run.
type Harm = fn(&Path);

impl Desk {
    fn new() -> Self {
        let laptop = Laptop::new();
        let (plan, site) = (laptop.write("plan.yaml", PLAN), laptop.write("site.yaml", SITE));
        laptop.expect(6, &["run", &plan, "-i", &site, "--yes"]);
        let run = laptop.newest();
        Self { laptop, plan, site, run }
    }

    fn harmed(harm: Harm) -> Self {
        let desk = Self::new();
        harm(&desk.run.dir);
        desk
    }

    /// Runs a command about the run, which must end with this status, and never in a panic.
    #[track_caller]
    fn say(&self, code: i32, words: &[&str]) -> Outcome {
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "RUN" { self.run.id.as_str() } else { word }).collect();
        let outcome = self.laptop.run(&words);
        for sign in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!outcome.stderr.contains(sign), "{outcome}");
        }
        outcome.expect(code);
        outcome
    }

    /// Answers the question and lets the run end; every step must have happened once.
    #[track_caller]
    fn goes_on(&self) {
        self.say(0, &["approve", "RUN", "ask", "--reason", "test"]);
        self.say(0, &["resume", "RUN"]);
        assert_eq!(fs::read_to_string(self.laptop.path("home/ran")).unwrap(), "before\nafter\n");
        self.say(0, &["runs", "list"]).prints("done");
    }
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
}

/// Flips one bit of a line of the witness, within its record.
fn flip(run: &Path, line: usize) {
    overwrite(&run.join("events.jsonl"), |content| {
        let begin = content.split_inclusive(|byte| *byte == b'\n').take(line - 1).map(<[u8]>::len).sum::<usize>();
        // A digit of the time: still JSON, and still a time.
        content[begin + 30] ^= 1;
    });
}

fn db(run: &Path) -> PathBuf {
    run.join("store/db")
}

/// What may happen to a store, so that it does not open any more.
const STORE_HARMS: [(&str, Harm); 7] = [
    ("the directory is gone", |run| fs::remove_dir_all(run.join("store")).unwrap()),
    ("the database is gone", |run| fs::remove_file(db(run)).unwrap()),
    ("the database is cut off", |run| overwrite(&db(run), |content| content.truncate(700))),
    ("the database is empty", |run| fs::write(db(run), "").unwrap()),
    ("the database is zeros", |run| overwrite(&db(run), |content| content.fill(0))),
    ("the database is garbage", |run| overwrite(&db(run), |content| content.fill(0x5a))),
    ("the directory is a file", |run| {
        fs::remove_dir_all(run.join("store")).unwrap();
        fs::write(run.join("store"), "?").unwrap();
    }),
];

#[test]
fn everything_of_a_whole_run_is_exported() {
    let desk = Desk::new();
    let said = desk.say(0, &["runs", "export", "RUN"]);
    let exported: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let records = desk.run.records();
    assert_eq!(exported.len(), records.len());
    for (exported, record) in exported.iter().zip(&records) {
        assert_eq!((&exported["seq"], &exported["event"]), (&record["seq"], &record["event"]));
    }
    said.says(&format!("{0} of {0} records", records.len()));
    for kept in ["plan", "site"] {
        assert!(
            said.stderr.lines().any(|line| line.contains(&format!("{kept}: /")) && line.ends_with("whole")),
            "{said}"
        );
    }

    let to = desk.laptop.path("by-hand");
    desk.say(0, &["runs", "export", "--to", to.to_str().unwrap()]);
    let file = |name: &str| fs::read_to_string(to.join(name)).unwrap();
    assert_eq!(file("records.jsonl"), said.stdout);
    assert!(file("story.txt").contains("echo before >>ran"), "{}", file("story.txt"));
    assert!(file("plan.json").contains("echo after >>ran") && file("site.json").contains("127.0.0.1"));
    // A directory that is there may hold something.
    desk.say(2, &["runs", "export", "--to", to.to_str().unwrap()]).says("new directory");
}

#[test]
fn a_store_that_is_damaged_is_told_exported_recovered_and_the_run_goes_on() {
    for (what, harm) in STORE_HARMS {
        println!("{what}");
        let desk = Desk::harmed(harm);
        let known = desk.run.records().len();
        // Looking needs no store.
        desk.say(0, &["runs", "list"]).prints("needs you");
        desk.say(0, &["runs", "show", "RUN"]);
        let refused = desk.say(1, &["approve", "RUN", "ask", "--reason", "test"]);
        refused.says(&format!("runs recover {} --reason TEXT", desk.run.id));
        desk.say(0, &["runs", "export", "RUN"]).says(&format!("{known} of {known} records"));

        let recovered = desk.say(0, &["runs", "recover", "RUN", "--reason", "the disk was bad"]);
        recovered.prints(&format!("made anew from {known} records"));
        recovered.prints("not known");
        let event = &desk.run.events("recovered", "")[0];
        assert_eq!(event["reason"], "the disk was bad");
        assert!(event["by"].as_str().unwrap().contains('@'));
        let aside = desk.run.dir.join("store.damaged-1");
        assert!(what == "the directory is gone" || aside.exists(), "it was not set aside");
        desk.say(0, &["runs", "recover", "RUN", "--reason", "again"]).prints("is whole");
        desk.goes_on();
    }
}

#[test]
fn a_witness_that_is_damaged_is_read_from_the_store_and_written_anew() {
    let harms: [(&str, Harm); 6] = [
        ("gone", |run| fs::remove_file(run.join("events.jsonl")).unwrap()),
        ("cut off", |run| overwrite(&run.join("events.jsonl"), |content| content.truncate(content.len() / 2))),
        ("empty", |run| fs::write(run.join("events.jsonl"), "").unwrap()),
        ("garbage", |run| overwrite(&run.join("events.jsonl"), |content| content.fill(0x5a))),
        ("one bit flipped", |run| flip(run, 3)),
        ("a line is missing", |run| {
            overwrite(&run.join("events.jsonl"), |content| {
                let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
                *content = [&lines[..2], &lines[3..]].concat().concat();
            });
        }),
    ];
    for (what, harm) in harms {
        println!("{what}");
        let desk = Desk::new();
        let known = desk.run.records().len();
        harm(&desk.run.dir);
        desk.say(0, &["runs", "export", "RUN"]).says(&format!("{known} of {known} records"));
        desk.say(0, &["runs", "list"]);
        desk.goes_on();
        assert!(desk.run.records().len() > known);
        assert!(!desk.run.dir.join("store.damaged-1").exists());
    }
}

#[test]
fn a_bit_that_flipped_in_the_witness_is_not_recovered_from() {
    let desk = Desk::harmed(|run| {
        flip(run, 3);
        fs::remove_dir_all(run.join("store")).unwrap();
    });
    let before = fs::read(desk.run.dir.join("events.jsonl")).unwrap();
    desk.say(1, &["runs", "recover", "RUN", "--reason", "test"]).says("missing: 3");
    assert_eq!(fs::read(desk.run.dir.join("events.jsonl")).unwrap(), before, "evidence was changed");
    let exported = desk.say(1, &["runs", "export", "RUN"]);
    exported.says("missing: 3");
    exported.says("line 3 is not what was written");
    assert_eq!(exported.stdout.lines().count(), desk.run.records().len() - 1);
    desk.say(0, &["runs", "list"]).prints("unreadable");
    // It may be unfinished, and holds its cluster until a person has dealt with it.
    let refused = desk.say(7, &["run", &desk.plan, "-i", &desk.site, "--yes"]);
    refused.says(&format!("runs export {} --to DIR", desk.run.id));
    fs::rename(&desk.run.dir, desk.laptop.path("set-aside")).unwrap();
    desk.say(6, &["run", &desk.plan, "-i", &desk.site, "--yes"]);
}

#[test]
fn store_and_witness_that_lost_their_ends_in_one_go_are_noticed() {
    let desk = Desk::harmed(|run| {
        fs::remove_dir_all(run.join("store")).unwrap();
        overwrite(&run.join("events.jsonl"), |content| {
            let last = content[..content.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
            content.truncate(last + 1);
        });
    });
    let last = desk.run.records().len() + 1;
    desk.say(1, &["runs", "recover", "RUN", "--reason", "test"]).says(&format!("missing: {last}"));
    desk.say(1, &["runs", "export", "RUN"]).says(&format!("missing: {last}"));
}

#[test]
fn a_witness_that_lost_its_newest_lines_does_not_hide_what_was_done() {
    // As a power loss leaves it: neither the lines nor the mark had been synced.
    for kept in [0, 3] {
        let desk = Desk::harmed(|run| fs::remove_file(run.join("high-water")).unwrap());
        overwrite(&desk.run.dir.join("events.jsonl"), |content| {
            *content = content.split_inclusive(|byte| *byte == b'\n').take(kept).collect::<Vec<_>>().concat();
        });
        desk.say(0, &["runs", "list"]).prints("needs you");
        desk.say(7, &["run", &desk.plan, "-i", &desk.site, "--yes"]).says("is unfinished");
        desk.goes_on();
    }
}

#[test]
fn a_journal_that_was_put_back_to_an_older_state_does_nothing_twice() {
    let desk = Desk::new();
    let older = desk.laptop.path("older");
    assert!(std::process::Command::new("cp").arg("-a").arg(&desk.run.dir).arg(&older).status().unwrap().success());
    desk.goes_on();
    for name in ["store", "events.jsonl", "high-water"] {
        let place = desk.run.dir.join(name);
        fs::rename(&place, desk.laptop.path(&format!("newer-{name}"))).unwrap();
        fs::rename(older.join(name), place).unwrap();
    }
    // Nothing in the journal tells; the capsule does.
    desk.goes_on();
}

#[test]
fn every_record_is_had_from_store_and_witness_together() {
    let desk = Desk::harmed(|run| {
        // Of the store the beginning is gone, of the witness the end.
        overwrite(&db(run), |content| content[..600].fill(0));
        overwrite(&run.join("events.jsonl"), |content| content.truncate(content.len() * 2 / 3));
    });
    let said = desk.say(0, &["runs", "export", "RUN"]);
    said.says("only in the store: ");
    said.says("only in events.jsonl: 1");
    desk.say(0, &["runs", "recover", "RUN", "--reason", "test"]);
    desk.goes_on();
}

#[test]
fn a_plan_or_site_that_is_damaged_or_missing_is_named() {
    let harms: [Harm; 2] =
        [|blob| overwrite(blob, |content| content.truncate(20)), |blob| fs::remove_file(blob).unwrap()];
    for (kept, harm) in ["plan", "site"].into_iter().flat_map(|kept| harms.map(|harm| (kept, harm))) {
        let desk = Desk::new();
        let digest = desk.run.events("began", "")[0][format!("{kept}_blob")].as_str().unwrap().to_owned();
        harm(&desk.run.dir.join("blobs").join(&digest));
        let refused = desk.say(1, &["resume", "RUN"]);
        refused.says(&format!("the {kept} of run `{}` cannot be had", desk.run.id));
        refused.says(&digest);
        refused.says(&format!("runs export {} --to DIR", desk.run.id));
        let exported = desk.say(1, &["runs", "export", "RUN"]);
        exported.says(&format!("{digest}, not usable"));
        assert_eq!(exported.stdout.lines().count(), desk.run.records().len());
        desk.say(0, &["runs", "list"]).prints("needs you");
    }
}
