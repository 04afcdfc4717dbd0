//! A restore that is killed half-way and resumed comes to the same end, whenever that was; and two operators at once.
#![allow(clippy::unwrap_used)]

mod operators;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use support::recovery::{fill_and_save, happened_once, set_aside};
use support::{HOSTS, Laptop, Run, Testbed, etcd as newest, wait_until, with_each_etcd, words};

/// When requorum is killed: as soon as its journal holds this.
enum Moment {
    /// So many records.
    Record(usize),
    /// So many events of a name about a step.
    Event(&'static str, &'static str, usize),
}

use Moment::{Event, Record};

const MOMENTS: [Moment; 10] = [
    Record(2),
    Event("started", "copy-snapshot", 2),
    Event("started", "rehearse", 1),
    Event("started", "stop", 1),
    Event("started", "set-data-aside", 1),
    Event("succeeded", "set-data-aside", 2),
    Event("started", "restore", 3),
    Event("started", "start", 1),
    Event("started", "start", 3),
    Event("started", "verify", 1),
];

impl Moment {
    fn has_come(&self, run: &Run) -> bool {
        match self {
            Record(count) => run.records().len() >= *count,
            Event(name, step, count) => run.events(name, step).len() >= *count,
        }
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Record(count) => write!(f, "record {count}"),
            Event(name, step, count) => write!(f, "`{name}` number {count} of `{step}`"),
        }
    }
}

#[test]
fn a_restore_killed_at_ten_moments_and_resumed_ends_the_same_and_restores_no_member_twice() {
    with_each_etcd(|etcd| {
        let (bed, laptop) = (Testbed::up(etcd, &[]), Laptop::new());
        let saved = fill_and_save(&bed, &laptop);
        let seed = rand::random();
        let mut random = StdRng::seed_from_u64(seed);
        // All ten with the newest etcd; with an older one every other, since each takes as long as a restore.
        let every = if etcd.version == newest().version { 1 } else { 2 };
        for (number, moment) in MOMENTS.iter().enumerate().step_by(every) {
            let delay = Duration::from_millis(random.random_range(0..120));
            // Shown when it fails.
            println!("etcd {}: killed {delay:?} after {moment} (seed {seed})", etcd.version);
            // Where nothing is left there is nothing to set aside, which is a case of its own for a resume.
            let disaster = if number % 3 == 2 { "remove" } else { "corrupt" };
            bed.destroy(disaster);

            let known = laptop.runs().len();
            let mut live = laptop.start(&words(&saved.restore(&bed)));
            wait_until(&moment.to_string(), Duration::from_mins(1), || {
                assert!(!live.has_ended(), "it ended before {moment}: {}", live.said());
                laptop.runs().len() > known && moment.has_come(&laptop.newest())
            });
            std::thread::sleep(delay);
            assert!(live.kill(), "it ended within {delay:?} after {moment}");
            let run = laptop.newest();

            let resumed = laptop.expect(0, &["resume"]);
            assert!(resumed.stderr.contains("done"), "{resumed}");
            saved.is_back(&bed);
            happened_once(&bed, &run);
            for host in HOSTS {
                let is_there = set_aside(&bed, host, &run).join("member/snap/db").exists();
                assert_eq!(is_there, disaster == "corrupt", "the old data of {host}");
            }
            // Nothing is left to resume.
            laptop.expect(2, &["resume"]).says("no unfinished run");
        }
    });
}
