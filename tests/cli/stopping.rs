//! A run that is stopped: by Ctrl-C, by SIGTERM, by SIGKILL in the midst of a command.

use super::Desk;

/// A command that ends when it is let (or when its home is gone, with a test that failed), and must be done once only.
const LONG: &str = r#"  - id: long
    command.run: { run: "echo began >>ran; until [ -e go -o ! -d $HOME ]; do sleep 0.05; done; echo ended >>ran; echo said" }
    outputs: { said: "{{ result.stdout }}" }
  - id: after
    needs: [long]
    command.run: { run: "echo after {{ steps.long.outputs.said }} >>ran" }
"#;

/// Starts it and waits until its command runs.
fn at_work(desk: &Desk) -> crate::support::Live {
    let live = desk.start();
    crate::support::wait_until("the command", std::time::Duration::from_secs(30), || desk.file("ran") == "began\n");
    live
}

fn let_it_end(desk: &Desk) {
    std::fs::write(desk.laptop.path("home/go"), "").unwrap();
}

fn ended_once(desk: &Desk) {
    assert_eq!(desk.file("ran"), "began\nended\nafter said\n");
    let run = desk.laptop.newest();
    assert_eq!((run.events("started", "long").len(), run.events("acted", "long").len()), (1, 1));
    assert!(!run.dir.join("capsules/long@-.2").exists());
}

#[test]
fn a_command_in_flight_when_requorum_is_killed_ends_by_itself_and_is_adopted() {
    let desk = Desk::steps(LONG);
    assert!(at_work(&desk).kill());
    let_it_end(&desk);
    let status = desk.laptop.newest().dir.join("capsules/long@-.1/status");
    crate::support::wait_until("the command's status", std::time::Duration::from_secs(30), || status.exists());
    assert_eq!(desk.file("ran"), "began\nended\n");
    desk.laptop.expect(0, &["runs", "list"]).prints("cut off");
    desk.laptop.expect(0, &["resume"]);
    ended_once(&desk);
}

#[test]
fn a_command_still_in_flight_at_the_resume_is_attached_to_again() {
    let desk = Desk::steps(LONG);
    assert!(at_work(&desk).kill());
    let live = desk.laptop.start(&["resume"]);
    desk.laptop.newest().wait_for("reconciled", "long");
    // And killed once more: every epoch finds it again.
    assert!(live.kill());
    let live = desk.laptop.start(&["resume"]);
    let_it_end(&desk);
    live.wait().expect(0);
    ended_once(&desk);
}

#[test]
fn interrupted_or_terminated_nothing_new_begins_and_the_run_can_be_resumed() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 143)] {
        let desk = Desk::steps(LONG);
        let live = at_work(&desk);
        live.signal(signal);
        let outcome = live.wait();
        outcome.expect(code);
        outcome.says(&format!("resume {}", desk.laptop.newest().id));
        desk.laptop.expect(0, &["runs", "list"]).prints("interrupted");
        assert_eq!(desk.file("ran"), "began\n");
        let_it_end(&desk);
        desk.laptop.expect(0, &["resume"]);
        ended_once(&desk);
    }
}

#[test]
fn a_second_signal_ends_requorum_at_once_and_the_command_goes_on() {
    let desk = Desk::steps(LONG);
    let live = at_work(&desk);
    live.signal("INT");
    crate::support::wait_until("the first to be taken", std::time::Duration::from_secs(10), || {
        live.said().contains("stopping")
    });
    let began = std::time::Instant::now();
    live.signal("INT");
    live.wait().expect(130);
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    let_it_end(&desk);
    desk.laptop.expect(0, &["resume"]);
    ended_once(&desk);
}

#[test]
fn a_wait_that_was_cut_off_goes_on_from_where_it_began() {
    let desk = Desk::steps("  - id: pause\n    wait.for: { duration: 3s }\n");
    let began = std::time::Instant::now();
    let live = desk.start();
    desk.laptop.first_run().wait_for("started", "pause");
    assert!(live.kill());
    std::thread::sleep(std::time::Duration::from_secs(2));
    let resumed = std::time::Instant::now();
    desk.laptop.expect(0, &["resume"]);
    assert!(began.elapsed() >= std::time::Duration::from_secs(3));
    assert!(resumed.elapsed() < std::time::Duration::from_millis(2500), "the wait began anew");
}

#[test]
fn requorum_killed_again_and_again_still_does_every_step_once_and_in_order() {
    let steps: Vec<String> = (0..12)
        .map(|n| {
            let needs = if n == 0 { String::new() } else { format!("    needs: [s{}]\n", n - 1) };
            format!("  - id: s{n}\n{needs}    command.run: {{ run: 'echo {n} >>ran; sleep 0.1' }}\n")
        })
        .collect();
    let desk = Desk::steps(&steps.concat());
    let mut live = desk.start();
    let run = desk.laptop.first_run();
    run.wait_for("began", "");
    for round in 0_u64.. {
        if round == 100 {
            // On a slow machine none of them may have lived long enough to do the last step.
            live.wait();
            break;
        }
        // At a place that moves through everything that a process does, from its first instruction on.
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 37 % 400));
        live.kill();
        if !run.events("ended", "").is_empty() {
            break;
        }
        live = desk.laptop.start(&["resume"]);
    }
    assert_eq!(run.events("ended", "")[0]["ending"], "done");
    let expected: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    assert_eq!(desk.file("ran").lines().collect::<Vec<_>>(), expected);
}
