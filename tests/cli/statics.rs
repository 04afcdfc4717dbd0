//! What needs neither network nor state: `check`, `graph`, `plans`, `version`; and what is refused before a run begins.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Desk, SITE};
use crate::support::{Laptop, files_with};

const SHIPPED: [&str; 3] = ["etcd/replace-member", "etcd/restore-all-members", "etcd/snapshot"];

/// A plan with a mistake on nearly every line.
const WRONG: &str = r#"requorum: 1
name: wrong
inputs:
  size: { type: sizes }
tittle: A key that there is not
steps:
  - id: one
    needs: [two]
    command.run: { run: "true" }
  - id: two
    needs: [one]
    command.run: { run: "true" }
  - id: three
    needs: [fore]
    command.run: { run: "true" }
  - id: four
    file.copi: { src: a, path: /b }
  - id: five
    command.run: { run: "{{ inputs.nope }}" }
  - id: five
    command.run: { run: "true", runn: "x" }
  - id: six
    timeout: 30
    command.run: { run: "true" }
  - id: seven
    retry: { attempts: 3 }
    command.run: { run: "true" }
  - id: eight
    command.run: { run: "{{ steps.four.result }}" }
  - id: nine
    on: [cp9]
    ssh.run: { run: "{{ host.name }}" }
  - id: ten
    wait.for: { duration: soon }
"#;

#[test]
fn ten_kinds_of_mistakes_are_reported_in_one_go_each_with_its_place() {
    let laptop = Laptop::new();
    let (plan, site) = (laptop.write("wrong.yaml", WRONG), laptop.write("site.yaml", SITE));
    let outcome = laptop.expect(3, &["check", &plan, "-i", &site, "-o", "json"]);
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let found = found.as_array().or_else(|| found["diagnostics"].as_array()).unwrap();
    let codes: BTreeSet<&str> = found.iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert!(codes.len() >= 10, "{codes:?}");
    for one in found {
        assert!(one["file"].as_str().unwrap().ends_with("wrong.yaml"), "{one}");
        assert!(one["line"].as_u64().unwrap() > 0 && one["column"].as_u64().unwrap() > 0, "{one}");
    }

    let outcome = laptop.expect(3, &["check", &plan, "-i", &site]);
    outcome.says("`one` -> `two` -> `one`");
    outcome.says("`fore`");
    outcome.says("did you mean `file.copy`?");
    outcome.says("wrong.yaml:14:13");
    // `run` says the same, and begins nothing.
    laptop.expect(3, &["run", &plan, "-i", &site, "--yes"]).says("wrong.yaml:14:13");
    assert!(!laptop.state().exists());
}

#[test]
fn every_shipped_plan_is_valid_without_a_site_and_can_be_drawn() {
    let laptop = Laptop::new();
    for plan in SHIPPED {
        let outcome = laptop.expect(0, &["check", plan]);
        outcome.prints("is valid");
        assert_eq!(outcome.stderr, "", "a warning");
        laptop.expect(0, &["graph", plan, "-o", "text"]).prints(plan);
        laptop.expect(0, &["graph", plan, "-o", "dot"]).prints("digraph");
        laptop.expect(0, &["graph", plan, "-o", "mermaid"]).prints("flowchart");
    }
    laptop.expect(0, &["graph", "etcd/restore-all-members"]).prints("after verify");
    assert!(!laptop.state().exists(), "a check or a drawing has made a state directory");
}

#[test]
fn check_and_graph_with_a_site_connect_to_nothing_and_keep_nothing() {
    let laptop = Laptop::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let site = format!(
        "requorum: 1\ncluster: loop\nplatform: systemd-etcd\nhosts:\n  cp1:\n    address: 127.0.0.1\n    roles: [etcd]\n    \
         ssh: {{ port: {port} }}\n    etcd: {{ name: cp1, client_urls: ['http://127.0.0.1:{port}'], \
         peer_urls: ['http://127.0.0.1:1'] }}\n"
    );
    let site = laptop.write("site.yaml", &site);
    for plan in SHIPPED {
        let outcome = laptop.expect(0, &["check", plan, "-i", &site]);
        outcome.prints("is valid");
        assert_eq!(outcome.stderr, "", "a warning");
        // Which host it is, is not known before the member is named.
        let place = if plan == "etcd/replace-member" { "on hosts not known yet" } else { "on cp1" };
        laptop.expect(0, &["graph", plan, "-i", &site]).prints(place);
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert!(!laptop.state().exists());
    assert!(files_with(&laptop.path("home"), "").is_empty(), "something was written into the home directory");
}

#[test]
fn the_library_can_be_listed_shown_and_copied_and_a_copy_is_never_overwritten() {
    let laptop = Laptop::new();
    let list = laptop.expect(0, &["plans", "list"]);
    let json: Value = serde_json::from_str(&laptop.expect(0, &["plans", "list", "-o", "json"]).stdout).unwrap();
    for plan in SHIPPED {
        list.prints(plan);
        assert!(json.as_array().unwrap().iter().any(|one| one["name"] == plan), "{json}");
    }
    let shown = laptop.expect(0, &["plans", "show", "etcd/snapshot"]).stdout;
    laptop.expect(0, &["plans", "copy", "etcd/snapshot", "mine.yaml"]);
    let copy = std::fs::read_to_string(laptop.path("mine.yaml")).unwrap();
    assert_eq!(copy, shown.replacen("=../plan.schema.json\n", "=./plan.schema.json\n", 1));
    laptop.expect(2, &["plans", "copy", "etcd/snapshot", "mine.yaml"]);
    laptop.expect(0, &["check", "mine.yaml"]).prints("is valid");
    laptop.expect(3, &["plans", "show", "etcd/snapshoot"]).says("did you mean `etcd/snapshot`?");
}

#[test]
fn the_version_is_printed() {
    Laptop::new().expect(0, &["version"]).prints(concat!("requorum ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_cannot_be_read_is_invalid_and_says_what() {
    let desk = Desk::with(
        "inputs: { n: { type: integer } }\n",
        "  - id: a\n    command.run: { run: 'echo {{ inputs.n }}' }\n",
    );
    let laptop = &desk.laptop;
    desk.run(3, &[]).says("`n`");
    desk.run(3, &["--set", "n=three"]).says("`n`");
    desk.run(3, &["--set", "n=3", "--set", "m=3"]).says("`m`");
    laptop.expect(3, &["run", "missing.yaml", "-i", &desk.site, "--yes"]).says("missing.yaml");
    laptop.expect(3, &["run", &desk.plan, "-i", "missing.yaml", "--yes", "--set", "n=3"]).says("missing.yaml");
    for (name, text) in [
        ("tab.yaml", "requorum: 1\n\tname: x\n"),
        ("open.yaml", "steps: [a, {b"),
        ("list.yaml", "- a\n"),
        ("empty.yaml", ""),
    ] {
        let path = laptop.write(name, text);
        laptop.expect(3, &["check", &path]).says(name);
        laptop.expect(3, &["run", &desk.plan, "-i", &path, "--yes", "--set", "n=3"]).says(name);
    }
    std::fs::write(laptop.path("binary.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    laptop.expect(3, &["check", "binary.yaml"]).says("binary.yaml");
    assert!(laptop.runs().is_empty());
}

#[test]
fn without_a_terminal_a_plan_that_changes_something_needs_a_confirmation_that_names_the_cluster() {
    let desk = Desk::steps("  - id: a\n    command.run: { run: 'echo x >>ran' }\n");
    let run = |more: &[&str]| desk.laptop.run(&[&["run", &desk.plan, "-i", &desk.site], more].concat());
    let outcome = run(&[]);
    outcome.expect(9);
    outcome.says("--confirm loop");
    let outcome = run(&["--confirm", "prod"]);
    outcome.expect(9);
    outcome.says("`prod`");
    outcome.says("`loop`");
    assert_eq!(desk.file("ran"), "");
    assert!(desk.laptop.runs().is_empty());
    run(&["--confirm", "loop"]).expect(0);
    assert_eq!(desk.file("ran"), "x\n");
}

#[test]
fn what_is_unknown_on_the_command_line_is_a_mistake_in_usage() {
    let desk = Desk::steps("  - id: a\n    command.run: { run: 'true' }\n");
    let laptop = &desk.laptop;
    laptop.expect(2, &["runs", "show", "20200101-000000-aaaa"]).says("20200101-000000-aaaa");
    laptop.expect(2, &["runs", "logs", "20200101-000000-aaaa"]);
    laptop.expect(2, &["resume", "20200101-000000-aaaa"]);
    laptop.expect(2, &["runs", "abort", "20200101-000000-aaaa", "--reason", "x"]);
    laptop.expect(2, &["approve", "20200101-000000-aaaa", "a", "--reason", "x"]);
    laptop.expect(2, &["resume", "../../etc"]);
    laptop.expect(2, &["resume"]).says("no unfinished run");
    laptop.expect(2, &["frobnicate"]);
    laptop.expect(2, &["run", &desk.plan, "-i", &desk.site, "--budget", "30"]);
    desk.run(0, &[]);
    let run = laptop.newest().id;
    laptop.expect(2, &["resume", &run]).says("done");
    laptop.expect(2, &["skip", &run, "b", "--reason", "x"]);
}

/// A plan that takes a text, a secret, and a file on a host.
const PIPED: &str = "requorum: 1
name: try
inputs: { text: { type: string, default: x }, word: { type: secret, required: false } }
steps:
  - { id: say, command.run: { run: \"echo {{ inputs.text | shq }}\", stdin: \"{{ inputs.word }}\" } }
  - { id: write, on: \"{{ site.hosts | role('etcd') }}\", file.write: { path: /tmp/x, content: x } }
";

#[test]
fn a_named_pipe_is_refused_wherever_a_file_is_meant_and_one_that_a_shell_has_opened_is_read() {
    let laptop = Laptop::new();
    let plan = laptop.write("plan.yaml", PIPED);
    let site = laptop.write("site.yaml", SITE);
    let pipe = laptop.path("pipe.yaml").display().to_string();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let sources = [
        laptop.write("include.yaml", &format!("requorum: 1\nname: try\nsteps:\n  - include: {pipe}\n")),
        laptop.write("template.yaml", &PIPED.replace("content: x", &format!("template: {pipe}"))),
        pipe.clone(),
    ];
    for plan in &sources {
        laptop.expect(3, &["check", plan]).says("it is a named pipe");
    }
    laptop.expect(3, &["check", &plan, "-i", &pipe]).says("it is a named pipe");
    laptop.expect(3, &["check", &plan, "--set-file", &format!("text={pipe}")]).says("it is a named pipe");
    let secret = ["run", &plan, "-i", &site, "--yes", "--set-file", &format!("word={pipe}")];
    laptop.expect(4, &secret).says("it is a named pipe");
    laptop.expect(3, &["check", "/dev/zero"]).says("it is a device");

    let mut command = laptop.command(&["check", "/dev/stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PIPED.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}
