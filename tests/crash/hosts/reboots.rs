//! The host is cut from its power and boots again: its processes are gone, and what it starts at boot runs again.

use super::support::{Host, words};
use super::{Story, THEN, WAITS};

#[test]
fn after_a_reboot_under_a_command_a_person_is_asked_and_nothing_is_repeated() {
    let Some(host) = Host::boot() else { return };
    let mut story = Story::on(host);
    let live = story.laptop.start(&words(&story.plan(&format!("{WAITS}{THEN}"))));
    story.host.wait_for("began");
    story.host.reboot();
    let outcome = live.wait();
    outcome.expect(6);
    outcome.says("the host rebooted while the command was running");
    let run = story.laptop.newest();
    story.laptop.expect(6, &["resume"]);
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0));

    story.laptop.expect(0, &["skip", "--done", &run.id, "work@h", "--reason", "the file is there"]);
    story.laptop.expect(0, &["resume"]);
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 1));
}

#[test]
fn after_a_reboot_between_run_and_resume_a_person_is_asked_and_nothing_is_repeated() {
    let Some(host) = Host::boot() else { return };
    let mut story = Story::on(host);
    let live = story.laptop.start(&words(&story.plan(&format!("{WAITS}{THEN}"))));
    story.host.wait_for("began");
    assert!(live.kill());
    story.host.reboot();
    let outcome = story.laptop.expect(6, &["resume"]);
    outcome.says("the host rebooted");
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0));

    story.host.write("work/go", "");
    let run = story.laptop.newest();
    story.laptop.expect(0, &["retry", &run.id, "work@h", "--reason", "may be done twice"]);
    story.laptop.expect(0, &["resume"]);
    assert_eq!((story.host.count("count"), story.host.count("then")), (2, 1), "once more, as the person said");
}

/// Two steps with a probe: the reboot finds the effect of the one, and not that of the other.
const PROBED: &str = "  - id: made
    on: [h]
    ssh.run: { cwd: WORK, run: 'echo once >>made; : >began-1; sleep 600' }
    probe: { ssh.check: { run: 'test -e WORK/made' } }
    effect: probed
  - id: unmade
    on: [h]
    ssh.run: { cwd: WORK, run: '[ -e go ] || { : >began-2; sleep 600; }; echo once >>unmade' }
    probe: { ssh.check: { run: 'test -e WORK/unmade' } }
    effect: probed
";

#[test]
fn after_a_reboot_a_probe_adopts_what_is_there_and_repeats_what_is_not() {
    for between in [false, true] {
        let Some(host) = Host::boot() else { return };
        let mut story = Story::on(host);
        let live = story.laptop.start(&words(&story.plan(PROBED)));
        story.host.wait_for("began-1");
        story.host.wait_for("began-2");
        story.host.write("work/go", "");
        let outcome = if between {
            assert!(live.kill());
            story.host.reboot();
            story.laptop.run(&["resume"])
        } else {
            story.host.reboot();
            live.wait()
        };
        outcome.expect(0);
        assert_eq!((story.host.count("made"), story.host.count("unmade")), (1, 1), "{outcome}");
        let verdicts = |step| story.laptop.newest().events("reconciled", step).pop().unwrap()["verdict"].clone();
        assert_eq!((verdicts("made@h"), verdicts("unmade@h")), ("adopt".into(), "repeat".into()), "{outcome}");
    }
}

/// A service of the site's own commands, which the host starts at boot.
fn service(host: &Host) -> String {
    let pid = host.path("work/service.pid").display().to_string();
    let start = format!(
        "setsid sh -c 'echo $$ >{pid}; exec sleep 1000' </dev/null >/dev/null 2>&1 & while [ ! -s {pid} ]; do sleep 0.05; done"
    );
    let stop = format!("kill \"$(cat {pid})\"; rm -f {pid}");
    let status = format!("[ -s {pid} ] && kill -0 \"$(cat {pid})\" 2>/dev/null || exit 3");
    host.write("at-boot", &format!("rm -f {pid}; {start}\n"));
    host.run(&start);
    let line = |text: &str| serde_json::to_string(text).unwrap();
    format!(
        "services:\n  thing: {{ manager: command, start: {}, stop: {}, status: {} }}\n",
        line(&start),
        line(&stop),
        line(&status)
    )
}

const STOPS: &str = "  - id: stop
    on: [h]
    service.stop: { service: thing }
";

/// Something that takes its time, and can be repeated, while the service is to be down.
const CAREFUL: &str = "  - id: work
    needs: [stop]
    on: [h]
    ssh.run: { cwd: WORK, run: 'echo once >>count; [ -e go ] || { : >began; sleep 600; }' }
    effect: idempotent
";

#[test]
fn a_service_that_a_reboot_between_run_and_resume_has_started_again_stops_the_run_with_evidence() {
    let Some(host) = Host::boot() else { return };
    let mut story = Story::on(host);
    let site = story.host.site(&service(&story.host));
    let live = story.laptop.start(&words(&story.plan_at(&format!("{STOPS}{CAREFUL}{THEN}"), &site)));
    story.host.wait_for("began");
    assert!(live.kill());
    story.host.reboot();
    story.host.write("work/go", "");
    let outcome = story.laptop.expect(6, &["resume"]);
    outcome.says("running, held down");
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0), "{outcome}");

    let run = story.laptop.newest();
    story.laptop.expect(0, &["retry", &run.id, "stop@h", "--reason", "the host has rebooted"]);
    story.laptop.expect(0, &["resume"]);
    assert_eq!((story.host.count("count"), story.host.count("then")), (2, 1));
    assert_eq!(story.host.read("work/service.pid"), "", "it is down");
}

#[test]
fn a_service_that_a_reboot_under_a_later_command_has_started_again_stops_the_run_with_evidence() {
    let Some(host) = Host::boot() else { return };
    let mut story = Story::on(host);
    let site = story.host.site(&service(&story.host));
    let live = story.laptop.start(&words(&story.plan_at(&format!("{STOPS}{CAREFUL}{THEN}"), &site)));
    story.host.wait_for("began");
    story.host.write("work/go", "");
    story.host.reboot();
    let outcome = live.wait();
    outcome.expect(6);
    outcome.says("running, held down");
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0), "{outcome}");
}

const SETS_ASIDE: &str = "  - id: aside
    on: [h]
    file.set_aside: { path: WORK/data }
  - id: work
    needs: [aside]
    on: [h]
    ssh.run: { cwd: WORK, run: 'echo once >>count; [ -e go ] || { : >began; sleep 600; }' }
    effect: idempotent
";

#[test]
fn what_was_set_aside_and_is_back_after_a_reboot_stops_the_run_with_evidence() {
    let Some(host) = Host::boot() else { return };
    let mut story = Story::on(host);
    let data = story.host.path("work/data").display().to_string();
    // Somebody's script knows better.
    story.host.write("at-boot", &format!("for aside in {data}.requorum-*; do mv \"$aside\" {data}; done\n"));
    story.host.run(&format!("mkdir {data}; echo old >{data}/db"));
    let live = story.laptop.start(&words(&story.plan(&format!("{SETS_ASIDE}{THEN}"))));
    story.host.wait_for("began");
    story.host.write("work/go", "");
    story.host.reboot();
    let outcome = live.wait();
    outcome.expect(6);
    outcome.says("lapsed");
    assert_eq!((story.host.count("count"), story.host.count("then")), (1, 0), "{outcome}");
    assert_eq!(story.host.read("work/data/db"), "old\n", "nothing was touched");
    println!("{outcome}");
}
