//! Commands that behave badly: too much output, odd output, deaf to signals, not alone, or cut off from their wrapper.

use std::fs;
use std::path::Path;

use super::support::{Host, signal, words};
use super::{Story, THEN, WAITS, is_long};

/// What requorum may need at most, whatever a command writes, in KiB.
const MEMORY: u64 = 150 * 1024;
/// What a run may leave on the operator's disk, whatever a command writes, in bytes: 1 MiB is kept of each stream.
const DISK: u64 = 40 << 20;

/// Runs a command, and returns the run's result and what was needed on both sides.
struct Heavy {
    result: serde_json::Value,
    peak_kib: u64,
    journal: u64,
    capsule: u64,
}

fn heavy(command: &str) -> Option<Heavy> {
    let story = Story::on(Host::boot()?);
    // While the step after it waits, the memory that was needed can still be asked for.
    let steps = format!(
        "  - id: heavy\n    on: [h]\n    ssh.run: {{ run: {} }}\n    outputs: {{ out: '{{{{ result.stdout }}}}', err: '{{{{ \
         result.stderr }}}}' }}\n  - id: work\n    needs: [heavy]\n{}",
        serde_json::to_string(command).unwrap(),
        WAITS.strip_prefix("  - id: work\n").unwrap()
    );
    let live = story.laptop.start(&words(&story.plan(&steps)));
    story.host.wait_for("began");
    let peak_kib = peak(live.pid());
    story.host.write("work/go", "");
    live.wait().expect(0);
    let run = story.laptop.newest();
    let capsule = size(&story.host.capsule(&run.id, "heavy@h.1"));
    let found = Heavy { result: run.outputs("heavy@h"), peak_kib, journal: size(&run.dir), capsule };
    println!(
        "{} KiB of memory, {} bytes of journal, {} bytes on the host",
        found.peak_kib, found.journal, found.capsule
    );
    assert!(found.peak_kib < MEMORY, "{} KiB of memory for {command}", found.peak_kib);
    assert!(found.journal < DISK, "{} bytes of journal for {command}", found.journal);
    assert!(found.capsule < 3 << 20, "{} bytes on the host for {command}", found.capsule);
    Some(found)
}

/// Returns the most memory that a process has had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns the bytes that files below a directory take.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => size(&entry.path()),
            _ => entry.metadata().unwrap().len(),
        })
        .sum()
}

#[test]
fn of_a_gibibyte_of_output_the_beginning_and_the_end_are_kept() {
    let Some(found) = heavy("echo first; head -c 1073741824 /dev/zero; echo; echo last") else { return };
    let text = found.result["out"].as_str().unwrap();
    assert!(text.starts_with("first\n\0\0\0") && text.ends_with("\0\nlast"), "{:?}", text.get(..20));
    assert_eq!(text.len(), (1 << 20) - 1, "1 MiB without its final line break");
}

#[test]
fn many_lines_on_both_streams_at_once_are_bounded_too() {
    let bytes: u64 = if is_long() { 1 << 30 } else { 64 << 20 };
    let command = format!(
        "echo first; echo first problem >&2; yes 'a line of text' | head -c {bytes} & yes problem | head -c {bytes} >&2; wait; \
         echo; echo last; echo >&2; echo last problem >&2"
    );
    let Some(found) = heavy(&command) else { return };
    let (out, err) = (found.result["out"].as_str().unwrap(), found.result["err"].as_str().unwrap());
    assert!(out.starts_with("first\na line of text\n") && out.ends_with("\nlast"));
    assert!(err.starts_with("first problem\nproblem\n") && err.ends_with("\nlast problem"));
}

#[test]
fn output_that_is_no_text_and_ends_in_the_middle_of_a_character_does_not_harm() {
    let Some(found) = heavy(r"printf 'a\000b\377\376c\n\303'; head -c 3000000 /dev/urandom; printf 'z\360\237'") else {
        return;
    };
    let text = found.result["out"].as_str().unwrap();
    assert!(text.starts_with("a\0b\u{fffd}\u{fffd}c\n"), "{:?}", text.get(..20));
    assert!(text.ends_with("z\u{fffd}"), "{:?}", &text[text.len() - 8..]);
}

#[test]
fn a_command_that_ignores_the_signal_is_killed_and_seen_dead() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let steps = "  - id: work
    on: [h]
    timeout: 1s
    ssh.run:
      cwd: WORK
      run: |
        trap '' TERM
        sleep 600 & echo $! >child
        echo once >>count; echo last words; : >began
        while :; do sleep 1; done
";
    let outcome = story.laptop.expect(5, &words(&story.plan(&format!("{steps}{THEN}"))));
    outcome.says("it took longer than 1.0s");
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0));
    let child = story.host.read("work/child");
    assert!(story.host.try_process(child.trim()).is_none(), "its child is dead too");
    assert_eq!(story.laptop.newest().events("failed", "work@h")[0]["fault"]["kind"], "timed-out");
}

#[test]
fn what_a_command_leaves_in_the_background_neither_holds_it_up_nor_is_ended() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let steps = "  - id: work
    on: [h]
    ssh.run:
      cwd: WORK
      run: |
        echo once >>count; echo said
        (echo $PPID; exec sleep 600) & echo $! >holding
        sleep 600 >/dev/null 2>&1 & echo $! >silent
    outputs: { said: '{{ result.stdout }}' }
";
    story.laptop.expect(0, &words(&story.plan(&format!("{steps}{THEN}"))));
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 1));
    assert!(story.laptop.newest().outputs("work@h")["said"].as_str().unwrap().starts_with("said"));
    for name in ["holding", "silent"] {
        let pid = story.host.read(&format!("work/{name}"));
        assert!(story.host.try_process(pid.trim()).is_some(), "{name} lives on");
    }
}

#[test]
fn a_daemon_that_leaves_the_session_is_not_stopped_with_it_and_nothing_else_is_said() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let steps = "  - id: work
    on: [h]
    timeout: 1s
    ssh.run: { cwd: WORK, run: 'setsid sh -c \"echo \\$\\$ >daemon; exec sleep 600\" & sleep 600' }
";
    let outcome = story.laptop.expect(5, &words(&story.plan(steps)));
    // What leaves the session is not seen: see docs/architecture.md.
    outcome.says("nothing of its session runs any more");
    let pid = story.host.read("work/daemon");
    assert!(story.host.try_process(pid.trim()).is_some(), "it lives on: {outcome}");
}

/// Begins [`WAITS`] and returns the number on the host of its wrapper, which leads the session.
fn wrapper(story: &Story) -> String {
    let run = story.laptop.newest();
    let start = fs::read_to_string(story.host.capsule(&run.id, "work@h.1").join("start")).unwrap();
    start.lines().nth(1).unwrap().to_owned()
}

#[test]
fn a_command_whose_wrapper_was_killed_is_waited_for_and_then_a_person_is_asked() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let live = story.laptop.start(&words(&story.plan(&format!("{WAITS}{THEN}"))));
    story.host.wait_for("began");
    signal("KILL", &[story.host.process(&wrapper(&story))]);
    // Its command goes on without it, so nothing is decided yet, not by another process either.
    let run = story.laptop.newest();
    assert!(live.kill());
    let live = story.laptop.start(&["resume"]);
    run.wait_for("reconciled", "work@h");
    assert_eq!(run.events("reconciled", "work@h")[0]["verdict"], "reattach", "{}", live.said());
    story.host.write("work/go", "");
    let outcome = live.wait();
    outcome.expect(6);
    outcome.says("the command is gone and left no exit status");
    story.laptop.expect(6, &["resume"]);
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0));
}

#[test]
fn a_command_that_was_killed_with_its_wrapper_is_in_doubt_at_once() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let live = story.laptop.start(&words(&story.plan(&format!("{WAITS}{THEN}"))));
    story.host.wait_for("began");
    let wrapper = wrapper(&story);
    signal("KILL", &story.host.session(&wrapper));
    let outcome = live.wait();
    outcome.expect(6);
    outcome.says("the command is gone and left no exit status");
    story.laptop.expect(6, &["resume"]);
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0));
}

#[test]
fn of_a_command_that_was_killed_with_its_wrapper_the_probe_is_asked() {
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let probed = format!("{WAITS}    effect: probed\n    probe: {{ ssh.check: {{ run: 'test -e WORK/count' }} }}\n");
    let probed = probed.replace("    outputs: { said: '{{ result.stdout }}', problem: '{{ result.stderr }}' }\n", "");
    let live = story.laptop.start(&words(&story.plan(&format!("{probed}{THEN}"))));
    story.host.wait_for("began");
    let wrapper = wrapper(&story);
    signal("KILL", &story.host.session(&wrapper));
    live.wait().expect(0);
    assert_eq!(story.laptop.newest().events("reconciled", "work@h")[0]["verdict"], "adopt");
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 1));
}

#[test]
fn the_clock_of_a_host_may_be_years_off() {
    let Some(mut host) = Host::boot() else { return };
    host.tool("date", "exec /bin/date -d '20 years ago' \"$@\"");
    host.reboot();
    let story = Story::on(host);
    let slow = "  - id: slow\n    on: [h]\n    timeout: 1s\n    ssh.run: { run: \"trap '' TERM; while :; do sleep 1; done\" }\n";
    let live = story.laptop.start(&words(&story.plan(&format!("{WAITS}{THEN}{slow}"))));
    story.host.wait_for("began");
    story.host.kill_connections();
    story.host.write("work/go", "");
    live.wait().expect(5);
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 1));
    let run = story.laptop.newest();
    assert_eq!(run.events("failed", "slow@h")[0]["fault"]["kind"], "timed-out");
}
