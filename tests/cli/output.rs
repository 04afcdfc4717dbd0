//! What a command writes is seen while it runs.

#[path = "../../steps/tests/support/sshd.rs"]
#[allow(dead_code, reason = "the half of it that makes worlds is for tests of the library")]
mod sshd;

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::Desk;
use super::support::wait_until;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn output_is_seen_while_a_command_runs_and_cannot_speak_to_the_terminal() {
    let desk = Desk::steps(
        r#"  - id: talk
    command.run: { run: "printf 'one\\033[2J\\n'; echo oops >&2; printf par; while [ ! -e go ]; do sleep 0.05; done; echo tial" }
"#,
    );
    let live = desk.start();
    wait_until("whole lines", SOON, || {
        let said = live.said();
        said.contains("talk                         | one\\u{1b}[2J\n") && said.contains("| oops\n")
    });
    wait_until("a line that is not complete", SOON, || live.said().contains("| par\n"));
    fs::write(desk.laptop.path("home/go"), "").unwrap();
    let outcome = live.wait();
    outcome.expect(0);
    outcome.says("| tial\n");
    assert_eq!(outcome.stderr.matches("| one").count(), 1, "{outcome}");
}

#[test]
fn output_of_a_host_is_seen_while_a_command_runs_and_whole_after_the_connection_was_lost() {
    let Some(mut sshd) = sshd::Sshd::start() else { return };
    let (first, second) = (sshd.path("first"), sshd.path("second"));
    let mut desk = Desk::steps(&format!(
        r#"  - id: talk
    on: [h]
    ssh.run: {{ run: "echo one; until [ -e {} ]; do sleep 0.05; done; echo two; until [ -e {} ]; do sleep 0.05; done; echo three" }}
"#,
        first.display(),
        second.display()
    ));
    desk.site = desk.laptop.write(
        "site.yaml",
        &format!(
            "requorum: 1\ncluster: loop\nplatform: systemd-etcd\ncapsule_root: {}\nhosts: {{ h: {{ address: 127.0.0.1 }} }}\n\
             ssh: {{ user: root, port: {}, key: {}, known_hosts: {}, config: /dev/null }}\n",
            sshd.root().display(),
            sshd.port,
            sshd.path("user").display(),
            sshd.path("known_hosts").display()
        ),
    );
    let live = desk.laptop.start(&desk.line(&["--log-format", "json"]));
    wait_until("the first line", SOON, || shown(&live.said()).len() == 1);
    sshd.down();
    sshd.up();
    fs::write(first, "").unwrap();
    wait_until("the second line", SOON, || shown(&live.said()).len() == 2);
    fs::write(second, "").unwrap();
    let outcome = live.wait();
    outcome.expect(0);
    let line = |text: &str| json!({ "id": { "step": "talk", "item": "h" }, "stream": "out", "text": text });
    assert_eq!(shown(&outcome.stderr), [line("one"), line("two"), line("three")], "each line once");
}

/// Returns what the report has said of output, as JSON.
fn shown(said: &str) -> Vec<Value> {
    let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter_map(|event| event.get("output").cloned()).collect()
}
