//! The way to the host is cut, or the host stands still for a while.

use std::time::Duration;

use super::support::{Host, Live, Outcome, Wiring, below, signal, wait_until, words};
use super::{Story, THEN, WAITS, is_long};

/// Runs [`WAITS`] and [`THEN`], disturbs the first, and lets it end.
fn disturbed(host: Host, disturb: impl FnOnce(&Host, &Live)) {
    let Story { host, laptop } = Story::on(host);
    let story = Story { host, laptop };
    let live = story.laptop.start(&words(&story.plan(&format!("{WAITS}{THEN}"))));
    story.host.wait_for("began");
    disturb(&story.host, &live);
    story.host.write("work/go", "");
    let outcome = live.wait();
    outcome.expect(0);
    happened_once(&story, &outcome);
}

#[track_caller]
fn happened_once(story: &Story, outcome: &Outcome) {
    let run = story.laptop.newest();
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 1), "{outcome}");
    assert_eq!(run.outputs("work@h")["said"], "first\nlast", "{outcome}");
    assert_eq!(run.outputs("work@h")["problem"], "problem", "{outcome}");
}

#[track_caller]
fn notices(live: &Live) {
    wait_until("it is noticed", Duration::from_secs(30), || live.said().contains("the connection was lost"));
}

#[track_caller]
fn finds_it(live: &Live) {
    wait_until("it is found again", Duration::from_secs(30), || live.said().contains("found the command"));
}

#[test]
fn a_command_is_found_again_when_sshd_was_killed_and_is_back() {
    let Some(host) = Host::boot() else { return };
    disturbed(host, |host, live| {
        host.kill_sshd();
        notices(live);
        host.start_sshd();
        finds_it(live);
    });
}

#[test]
fn a_command_is_found_again_as_often_as_its_connection_is_killed() {
    let Some(host) = Host::boot() else { return };
    disturbed(host, |host, live| {
        for time in 1..=3 {
            host.kill_connections();
            let found = || live.said().matches("found the command").count() == time;
            wait_until("it is found again", Duration::from_secs(30), found);
        }
    });
}

#[test]
fn a_command_is_found_again_when_the_own_ssh_is_killed() {
    let Some(host) = Host::boot() else { return };
    disturbed(host, |_, live| {
        let masters = below(live.pid()).into_iter().filter(|process| process.name == "ssh").collect::<Vec<_>>();
        assert_eq!(masters.len(), 1, "{masters:?}");
        signal("KILL", &masters);
        finds_it(live);
    });
}

#[test]
fn packets_that_vanish_are_noticed_and_the_command_is_found_when_the_cable_is_back() {
    let Some(host) = Host::boot_with(&Wiring { cable: true, ..Wiring::default() }) else { return };
    disturbed(host, |host, live| {
        host.unplug();
        notices(live);
        host.plug();
        finds_it(live);
    });
}

#[test]
fn a_host_that_stands_still_for_a_while_goes_on_where_it_was() {
    let Some(host) = Host::boot() else { return };
    disturbed(host, |host, live| {
        host.freeze();
        notices(live);
        host.thaw();
        finds_it(live);
    });
}

#[test]
fn a_host_that_stands_still_for_too_long_leaves_a_doubt_that_a_resume_settles() {
    if !is_long() {
        return;
    }
    let Some(host) = Host::boot() else { return };
    let story = Story::on(host);
    let live = story.laptop.start(&words(&story.plan(&format!("{WAITS}{THEN}"))));
    story.host.wait_for("began");
    story.host.freeze();
    let outcome = live.wait();
    outcome.expect(6);
    outcome.says("the connection was lost; the command goes on on the host");
    // Still away: nothing is decided.
    story.laptop.expect(6, &["resume"]);
    story.host.thaw();
    story.host.write("work/go", "");
    let outcome = story.laptop.expect(0, &["resume"]);
    happened_once(&story, &outcome);
}

#[test]
fn few_sessions_on_a_connection_make_it_slower_and_nothing_else() {
    for most in [2, 1] {
        let wiring = Wiring { sshd: format!("MaxSessions {most}"), ..Wiring::default() };
        let Some(host) = Host::boot_with(&wiring) else { return };
        let story = Story::on(host);
        let step = |number: usize| {
            format!(
                "  - id: s{number}\n    on: [h]\n    ssh.run: {{ cwd: WORK, run: 'echo once >>s{number}; sleep 0.5; echo \
                 {number}' }}\n    outputs: {{ said: '{{{{ result.stdout }}}}' }}\n    verify: [{{ ssh.check: {{ run: 'cat \
                 WORK/s{number}' }} }}]\n"
            )
        };
        let mut line = story.plan(&(0..6).map(step).collect::<String>());
        line.extend(["--parallel", "6"].map(str::to_owned));
        let outcome = story.laptop.expect(0, &words(&line));
        let run = story.laptop.newest();
        for number in 0..6 {
            assert_eq!(story.host.count(&format!("s{number}")), 1, "MaxSessions {most}: {outcome}");
            assert_eq!(run.outputs(&format!("s{number}@h"))["said"], number.to_string());
        }
        assert!(!outcome.stderr.contains("lost"), "MaxSessions {most}: {outcome}");
    }
}

#[test]
fn an_sshd_that_allows_no_session_is_refused_by_name() {
    let wiring = Wiring { sshd: "MaxSessions 0".to_owned(), ..Wiring::default() };
    let Some(host) = Host::boot_with(&wiring) else { return };
    let story = Story::on(host);
    let outcome = story.laptop.expect(4, &words(&story.plan(WAITS)));
    outcome.says("opens no session");
    assert_eq!(story.host.count("count"), 0);
}
