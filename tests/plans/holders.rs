//! One operator at a time: two on one machine, and two on two machines.

use std::fs;
use std::time::Duration;

use crate::support::{HOSTS, Laptop, Live, Testbed, etcd, wait_until, words};

/// A plan that holds the cluster until a file is there.
fn plan(laptop: &Laptop, go: &str) -> String {
    laptop.write(
        "hold.yaml",
        &format!(
            "requorum: 1\nname: hold\ninputs: {{ word: {{ type: string }} }}\nsteps:\n  - id: hold\n    on: \"{{{{ site.hosts | role('etcd') \
             }}}}\"\n    ssh.run: {{ run: 'echo {{{{ inputs.word }}}} >>{go}.ran; until [ -e {go} -o ! -e {go}.ran ]; do sleep 0.05; done' }}\n"
        ),
    )
}

struct Two<'a> {
    bed: &'a Testbed,
    go: String,
}

impl Two<'_> {
    fn line(&self, laptop: &Laptop, word: &str) -> Vec<String> {
        let word = format!("word={word}");
        ["run", &plan(laptop, &self.go), "-i", &self.bed.site(), "--yes", "--set", &word].map(str::to_owned).to_vec()
    }

    fn start(&self, laptop: &Laptop, word: &str) -> Live {
        let live = laptop.start(&words(&self.line(laptop, word)));
        wait_until("the command on every host", Duration::from_mins(1), || self.ran(word) == HOSTS.len());
        live
    }

    /// How often a run with this word ran its command.
    fn ran(&self, word: &str) -> usize {
        let ran = fs::read_to_string(format!("{}.ran", self.go)).unwrap_or_default();
        ran.lines().filter(|line| *line == word).count()
    }

    fn release(&self) {
        fs::write(&self.go, "").unwrap();
    }
}

#[test]
fn a_second_run_is_refused_with_who_holds_the_cluster_since_when_and_the_first_can_be_looked_at() {
    let bed = Testbed::up(&etcd(), &[]);
    let (laptop, other) = (Laptop::new(), Laptop::new());
    let two = Two { bed: &bed, go: bed.path("go") };
    let live = two.start(&laptop, "first");
    let run = laptop.newest();

    // On the same machine the lock refuses it, with another plan as well.
    let file = format!("file={}", laptop.path("s.db").display());
    for line in [
        two.line(&laptop, "second"),
        ["run", "etcd/snapshot", "-i", &bed.site(), "--set", &file].map(str::to_owned).to_vec(),
    ] {
        let outcome = laptop.expect(7, &words(&line));
        outcome.says(&run.id);
        outcome.says(&format!("process {}", live.pid()));
        outcome.says(" since 20");
    }
    laptop.expect(7, &["resume", &run.id]).says(&run.id);

    // Meanwhile the first answers.
    laptop.expect(0, &["runs", "list"]).prints("running");
    let shown = laptop.expect(0, &["runs", "show", &run.id]);
    shown.prints("held by");
    shown.prints("3 running");
    laptop.expect(0, &["runs", "logs", &run.id]).prints("hold@cp1");
    assert_eq!(laptop.runs().len(), 1, "a refused run has left a directory");

    // On another machine only the hosts can know.
    let outcome = other.expect(7, &words(&two.line(&other, "third")));
    outcome.says("another operator");
    outcome.says(&run.id);

    // Also when the first has lost its process: it may come back.
    assert!(live.kill());
    let outcome = laptop.expect(7, &words(&two.line(&laptop, "second")));
    outcome.says(&format!("resume {}", run.id));
    outcome.says(&format!("runs abort {}", run.id));
    other.expect(7, &words(&two.line(&other, "third"))).says(&run.id);
    assert_eq!((two.ran("first"), two.ran("second"), two.ran("third")), (3, 0, 0));

    two.release();
    laptop.expect(0, &["resume"]);
    assert_eq!(two.ran("first"), 3);
    // A run that is over holds nothing.
    other.expect(0, &words(&two.line(&other, "third")));
    laptop.expect(0, &words(&two.line(&laptop, "second")));
    assert_eq!((two.ran("second"), two.ran("third")), (3, 3));
}

#[test]
fn whoever_takes_over_gives_a_reason_and_the_one_before_is_fenced_off() {
    let bed = Testbed::up(&etcd(), &[]);
    let (laptop, other) = (Laptop::new(), Laptop::new());
    let two = Two { bed: &bed, go: bed.path("go") };
    let live = two.start(&laptop, "first");
    let run = laptop.newest();

    let third = two.line(&other, "third");
    let third = words(&third);
    other.expect(2, &[&third[..], &["--take-over"]].concat()).says("--reason");
    let taking = other.start(&[&third[..], &["--take-over", "--reason", "the other laptop is lost"]].concat());
    wait_until("the command of the new holder", Duration::from_mins(1), || two.ran("third") == 3);
    assert!(live.kill());

    // The one before finds itself fenced off, and is told by whom.
    let outcome = laptop.expect(7, &["resume"]);
    outcome.says(&other.newest().id);
    two.release();
    taking.wait().expect(0);
    other.expect(0, &["runs", "logs"]).prints("the other laptop is lost");
    assert_eq!((two.ran("first"), two.ran("third")), (3, 3));

    // Given up, it is in nobody's way.
    laptop.expect(0, &["runs", "abort", &run.id, "--reason", "taken over"]);
    laptop.expect(0, &words(&two.line(&laptop, "second")));
}
