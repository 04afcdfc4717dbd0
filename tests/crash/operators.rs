//! Two operators at work on one cluster, who do not know of each other: two processes, a copied state directory, an old
//! holder that comes back. One of them is refused, and no effect is doubled.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Laptop, Live, Run, Testbed, etcd, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// Two hosts, and a plan that waits in its middle for a file.
struct Scene {
    bed: Testbed,
    laptop: Laptop,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { bed: Testbed::up(&etcd(), &[]), laptop: Laptop::new() };
        fs::create_dir(scene.bed.dir.join("effects")).unwrap();
        scene
    }

    /// Writes the plan on a laptop; `next` is the step after the wait, and what it leaves is `next.count`.
    fn plan(&self, laptop: &Laptop, next: &str) -> String {
        let effects = self.bed.path("effects");
        let text = format!(
            "requorum: 1\nname: two\nsteps:\n\
             \x20 - id: hold\n    on: [cp1, cp2]\n    ssh.run: {{ cwd: {effects}, run: 'echo x >>hold-{{{{ host.name }}}}.count; \
             until [ -e go ]; do sleep 0.05; done' }}\n\
             \x20 - id: next\n    needs: [hold]\n    {next}\n\
             \x20 - id: last\n    needs: [next]\n    on: [cp1, cp2]\n    ssh.run: {{ cwd: {effects}, run: 'echo x \
             >>last-{{{{ host.name }}}}.count' }}\n"
        );
        laptop.write("two.yaml", &text)
    }

    /// The step after the wait, on a host.
    fn next_on_a_host(&self) -> String {
        format!("on: [cp1]\n    ssh.run: {{ cwd: {}, run: 'echo x >>next.count' }}", self.bed.path("effects"))
    }

    /// Starts the plan and waits until it waits.
    fn start(&self, next: &str) -> (Live, Run) {
        let plan = self.plan(&self.laptop, next);
        let live = self.laptop.start(&["run", &plan, "-i", &self.bed.site(), "--yes"]);
        wait_until("the first command on both hosts", SOON, || {
            ["hold-cp1", "hold-cp2"].iter().all(|name| self.count(name) == 1)
        });
        (live, self.laptop.newest())
    }

    /// How often a command ran.
    fn count(&self, name: &str) -> usize {
        let path = self.bed.dir.join("effects").join(format!("{name}.count"));
        fs::read_to_string(path).unwrap_or_default().lines().count()
    }

    fn release(&self) {
        fs::write(self.bed.dir.join("effects/go"), "").unwrap();
    }

    #[track_caller]
    fn everything_happened_once(&self) {
        for name in ["hold-cp1", "hold-cp2", "next", "last-cp1", "last-cp2"] {
            assert_eq!(self.count(name), 1, "{name}");
        }
    }
}

/// Copies a state directory to another laptop.
fn copy(from: &Laptop) -> Laptop {
    let to = Laptop::new();
    copy_dir(&from.state(), &to.state());
    to
}

fn copy_dir(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn of_two_processes_that_take_a_run_up_at_once_one_is_refused() {
    let scene = Scene::new();
    let (live, run) = scene.start(&scene.next_on_a_host());
    assert!(live.kill());
    let both = [0, 1].map(|_| scene.laptop.start(&["resume", &run.id]));
    let mut both = both.into_iter();
    let (mut one, mut other) = (both.next().unwrap(), both.next().unwrap());
    wait_until("the refusal of one", SOON, || one.has_ended() || other.has_ended());
    let (refused, at_work) = if one.has_ended() { (one, other) } else { (other, one) };
    refused.wait().expect(7);
    scene.release();
    at_work.wait().expect(0);
    scene.everything_happened_once();
}

#[test]
fn a_copied_state_directory_that_is_resumed_makes_the_original_double_nothing() {
    let scene = Scene::new();
    let (live, run) = scene.start(&scene.next_on_a_host());
    let other = copy(&scene.laptop);
    let taking = other.start(&["resume", &run.id]);
    let copied = Run { id: run.id.clone(), dir: other.state().join("runs").join(&run.id) };
    wait_until("the copy to hold the hosts", SOON, || reattached(&copied) == 2);
    scene.release();
    taking.wait().expect(0);
    // The attempts of both have the same names. Where the copy was first the original only follows; where it would be first
    // it is refused.
    let outcome = live.wait();
    assert!([0, 7].contains(&outcome.code), "{outcome}");
    scene.everything_happened_once();
    if outcome.code == 7 {
        // The original does not know that its run is over. It is told.
        scene.laptop.expect(7, &["resume", &run.id]).says("a copy of this run's state directory");
        scene.everything_happened_once();
    }
}

#[test]
fn a_run_that_a_copy_of_its_state_directory_has_finished_is_not_resumed_here() {
    let scene = Scene::new();
    let (live, run) = scene.start(&scene.next_on_a_host());
    assert!(live.kill());
    let other = copy(&scene.laptop);
    scene.release();
    other.expect(0, &["resume", &run.id]);
    scene.laptop.expect(7, &["resume", &run.id]).says("a copy of this run's state directory");
    scene.everything_happened_once();
}

/// How many commands under way a process has found again.
fn reattached(run: &Run) -> usize {
    run.events("reconciled", "hold").iter().filter(|event| event["verdict"] == "reattach").count()
}

#[test]
fn a_dead_run_and_its_copy_are_never_both_resumed() {
    let scene = Scene::new();
    let (live, run) = scene.start(&scene.next_on_a_host());
    assert!(live.kill());
    let other = copy(&scene.laptop);
    scene.release();
    let codes: Vec<i32> = [&scene.laptop, &other]
        .map(|laptop| laptop.start(&["resume", &run.id]))
        .into_iter()
        .map(|live| live.wait().code)
        .collect();
    assert!(codes.iter().all(|code| [0, 7].contains(code)) && codes.contains(&7), "{codes:?}");
    // Each may have been refused on a host where the other was first. Then a person says which of them goes on.
    if !codes.contains(&0) {
        scene.laptop.expect(0, &["resume", &run.id, "--take-over", "--reason", "the copy is left alone"]);
    }
    scene.everything_happened_once();
}

/// A holder is stopped like a laptop whose lid is closed; another takes the cluster over; the first wakes up.
fn revive(scene: &Scene, next: &str, then: impl FnOnce()) {
    let (first, run) = scene.start(next);
    first.signal("STOP");
    let other = Laptop::new();
    let act = format!("on: [cp1, cp2]\n    ssh.run: {{ run: 'echo x >>{}' }}", scene.bed.path("effects/other.count"));
    let plan = other.write("other.yaml", &format!("requorum: 1\nname: other\nsteps:\n  - id: act\n    {act}\n"));
    let line = ["run", &plan, "-i", &scene.bed.site(), "--yes"];
    other.expect(7, &line).says(&run.id);
    other.expect(0, &[&line[..], &["--take-over", "--reason", "the other laptop is closed"]].concat());
    assert_eq!(scene.count("other"), 2);

    scene.release();
    first.signal("CONT");
    let outcome = first.wait();
    then();
    outcome.expect(7);
    assert_eq!((scene.count("next"), scene.count("last-cp1")), (0, 0));
    // What was under way when it was fenced off ended by itself, once.
    assert_eq!((scene.count("hold-cp1"), scene.count("hold-cp2")), (1, 1));
}

#[test]
fn a_revived_holder_is_refused_on_the_hosts() {
    let scene = Scene::new();
    revive(&scene, &scene.next_on_a_host(), || {});
}

#[test]
fn a_revived_holder_runs_no_command_on_its_own_machine() {
    let scene = Scene::new();
    let next = format!("command.run: {{ run: 'echo x >>{}' }}", scene.bed.path("effects/next.count"));
    revive(&scene, &next, || {});
}

#[test]
fn a_revived_holder_does_nothing_through_an_api() {
    let scene = Scene::new();
    let saved = scene.bed.path("effects/saved.db");
    let next = format!("etcd.snapshot_save: {{ path: {saved} }}");
    revive(&scene, &next, || assert!(!Path::new(&saved).exists(), "it saved a snapshot"));
}
