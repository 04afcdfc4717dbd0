//! What a command writes is seen while it runs.

#[path = "../../steps/tests/support/sshd.rs"]
#[allow(dead_code, reason = "the half of it that makes worlds is for tests of the library")]
mod sshd;

use std::fs;
use std::time::Duration;

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
    let line =
        |text: &str| format!(r#"{{"output":{{"id":{{"item":"h","step":"talk"}},"stream":"out","text":"{text}"}}}}"#);
    wait_until("the first line", SOON, || live.said().contains(&line("one")));
    sshd.down();
    sshd.up();
    fs::write(first, "").unwrap();
    wait_until("the second line", SOON, || live.said().contains(&line("two")));
    fs::write(second, "").unwrap();
    let outcome = live.wait();
    outcome.expect(0);
    let shown: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with(r#"{"output""#)).collect();
    assert_eq!(shown, [line("one"), line("two"), line("three")], "each line once");
}
