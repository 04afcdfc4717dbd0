//! What a good plan and site become.

use std::path::PathBuf;
use std::time::Duration;

use requorum_steps::site::Become;
use requorum_steps::{Effect, HostName, Site};
use serde_json::{Value, json};

use super::Try;
use crate::plan::compiled::{CheckUse, Plan, Step, Subject};
use crate::plan::paths::Start;
use crate::plan::template::{Scope, render_args};
use crate::plan::uses;

/// The example of the language, shortened.
const REPLACE: &str = r#"
requorum: 1
name: etcd/replace-member
title: Replace one dead etcd member while quorum holds
platforms: [any]
inputs:
  member: { type: string, help: "Name of the dead member" }
vars:
  member_host: "{{ site.hosts | by_etcd_name(inputs.member) }}"
preflight:
  - etcd.quorum: { without: "{{ inputs.member }}" }
  - ssh.reachable: { hosts: "{{ [vars.member_host] }}" }
steps:
  - id: remove
    title: Remove {{ inputs.member }} from the cluster
    etcd.member_remove: { name: "{{ inputs.member }}" }
    verify:
      - etcd.quorum: {}
        within: 30s
  - id: stop
    needs: [remove]
    on: ["{{ vars.member_host }}"]
    service.stop: { service: etcd }
  - id: set-data-aside
    needs: [stop]
    on: ["{{ vars.member_host }}"]
    file.set_aside: { path: "{{ host.etcd.data_dir }}" }
    outputs: { aside: "{{ result.aside }}" }
  - id: configure
    needs: [set-data-aside]
    on: ["{{ vars.member_host }}"]
    file.write: { path: /etc/etcd/etcd.conf, template: etcd.conf.j2, mode: "0644" }
  - id: start
    needs: [configure]
    on: ["{{ vars.member_host }}"]
    service.start: { service: etcd }
    timeout: 2m
    verify:
      - etcd.healthy: { members: all }
        within: 5m
        every: 5s
"#;
const CONF: &str =
    "name: {{ host.etcd.name }}\n{% for host in site.hosts | role('etcd') %}\n- {{ host.name }}\n{% endfor %}\n";

fn step<'a>(plan: &'a Plan, id: &str) -> &'a Step {
    plan.steps.iter().find(|step| step.id.as_str() == id).unwrap()
}

fn site() -> Site {
    Try::steps("  - id: a\n    gate.confirm: { message: m }").accepted().site.unwrap().site
}

fn hosts(step: &Step) -> Vec<&str> {
    let items = step.items.as_ref().unwrap().iter();
    items.map(|item| if let Subject::Host(host) = &item.subject { host.as_str() } else { "?" }).collect()
}

#[test]
fn the_example_of_the_language_compiles() {
    let compiled = Try::plan(REPLACE).set("member", "two").file("/plans/etcd.conf.j2", CONF).accepted();
    assert_eq!(compiled.warnings, []);
    let plan = compiled.plan;
    assert_eq!(hosts(step(&plan, "stop")), ["cp2"]);
    assert_eq!(plan.vars["member_host"]["etcd"]["data_dir"], "/data/etcd");
    let start = step(&plan, "start");
    assert_eq!((start.timeout, start.effect), (Some(Duration::from_mins(2)), Effect::Probed));
    assert_eq!(start.verify[0].every, Duration::from_secs(5));
    assert_eq!(step(&plan, "remove").verify[0].every, Duration::from_secs(2));
    assert_eq!(step(&plan, "remove").place, "plan.yaml:14");
    let back: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(back, plan);
}

#[test]
fn arguments_stay_templates_and_are_rendered_for_an_item() {
    let compiled = Try::plan(REPLACE).set("member", "two").file("/plans/etcd.conf.j2", CONF).accepted();
    let configure = step(&compiled.plan, "configure");
    assert_eq!(configure.args["content"], CONF);
    assert_eq!(configure.args.get("template"), None);
    let kind = super::kinds::ALL.iter().find(|kind| kind.name == "file.write").unwrap();
    let scope = Scope::default()
        .inputs(&compiled.plan.inputs)
        .vars(&compiled.plan.vars)
        .site(&compiled.site.unwrap().value)
        .subject(&configure.items.as_ref().unwrap()[0].subject);
    let mut args = render_args(kind, &configure.args, &scope).unwrap();
    assert_eq!(args["content"], "name: two\n- cp1\n- cp2\n");
    assert_eq!(crate::plan::validate::rendered(kind, &mut args, &Start::default()), Ok(()));
    let bad =
        crate::plan::validate::rendered(kind, &mut json!({"path": 1, "content": "", "mod": ""}), &Start::default())
            .unwrap_err();
    let bad: Vec<_> = bad.iter().map(|bad| bad.arg.as_deref()).collect();
    assert_eq!(bad, [Some("path"), Some("mod")]);
}

#[test]
fn a_check_needs_neither_site_nor_inputs() {
    let compiled = Try::plan(REPLACE).file("/plans/etcd.conf.j2", CONF).without_site().accepted();
    assert_eq!(step(&compiled.plan, "remove").items.as_ref().unwrap().len(), 1);
    assert_eq!(step(&compiled.plan, "stop").items, None);
    assert!(Try::plan(REPLACE).file("/plans/etcd.conf.j2", CONF).check().compile().is_ok());
}

#[test]
fn what_is_unknown_still_has_its_type() {
    let plan = |ty: &str, arg: &str| {
        Try::plan(&format!(
            "requorum: 1\nname: t\ninputs: {{ x: {{ type: {ty} }} }}\nvars: {{ y: '{{{{ inputs.x }}}}' }}\nsteps:\n  - id: a\n    on: [cp1]\n    etcd.snapshot_restore: {{ snapshot: /s, {arg}: '{{{{ vars.y }}}}' }}\n"
        ))
        .without_site()
    };
    assert!(plan("integer", "bump").compile().is_ok());
    assert!(plan("size", "quota").compile().is_ok());
    assert_eq!(plan("boolean", "bump").refused(), ["wrong-type"]);
    assert_eq!(plan("duration", "quota").refused(), ["wrong-type"]);
    assert_eq!(plan("integer", "skip_hash").refused(), ["wrong-type"]);
}

#[test]
fn steps_come_in_the_order_of_their_needs() {
    let compiled = Try::steps(
        "  - { id: c, needs: [b, b], gate.confirm: { message: m } }\n  - { id: a, gate.confirm: { message: m } }\n  - { id: b, needs: [a], gate.confirm: { message: m } }",
    )
    .accepted();
    let ids: Vec<&str> = compiled.plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(compiled.plan.steps[2].needs.len(), 1);
    assert_eq!(compiled.warnings[0].code, "duplicate-need");
}

#[test]
fn elements_of_on_are_hosts_or_values() {
    let on = |on: &str, kind: &str| {
        let compiled = Try::steps(&format!("  - id: a\n    on: {on}\n    {kind}: {{ run: 'echo x' }}\n")).accepted();
        compiled.plan.steps[0].items.clone().unwrap()
    };
    let hosts = on("\"{{ site.hosts | role('etcd') }}\"", "ssh.run");
    assert_eq!(hosts.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["cp1", "cp2"]);
    assert_eq!(on("\"{{ site.hosts | all_role('etcd') }}\"", "command.run").len(), 3);
    assert_eq!(on("[w1]", "command.run")[0].subject, Subject::Host(HostName::new("w1").unwrap()));
    let values = on("[x, 2, { name: y }]", "command.run");
    assert_eq!(values[1].subject, Subject::Value(json!(2).into()));
    assert_eq!(values[2].key.as_str(), "2");
}

#[test]
fn outputs_of_ancestors_can_be_used_in_any_spelling() {
    for name in ["steps.make-it.outputs.n", "steps['make-it'].outputs.n", "steps.make_it.outputs.n"] {
        let compiled = Try::steps(&format!(
            "  - id: make-it\n    command.run: {{ run: x }}\n    outputs: {{ n: '{{{{ result.stdout }}}}' }}\n  - id: between\n    needs: [make-it]\n    gate.confirm: {{ message: m }}\n  - id: use\n    needs: [between]\n    when: \"{name} == 'x'\"\n    gate.confirm: {{ message: '{{{{ {} }}}}' }}\n",
            name.replace('\'', "\"")
        ))
        .accepted();
        let mut only_when = compiled.plan.steps[2].clone();
        only_when.args = json!({});
        let only_args = Step { when: None, ..compiled.plan.steps[2].clone() };
        for step in [only_when, only_args] {
            assert_eq!(uses::steps_read_by(&step).into_iter().collect::<Vec<_>>(), ["make-it"]);
        }
    }
}

#[test]
fn the_checks_of_a_wait_are_compiled_like_others() {
    let compiled = Try::steps(
        "  - id: a\n    on: [cp1]\n    wait.until: { checks: [ { service.active: { service: '{{ host.etcd.service }}' }, not: true, within: 5m } ] }\n",
    )
    .accepted();
    let checks: Vec<CheckUse> = serde_json::from_value(compiled.plan.steps[0].args["checks"].clone()).unwrap();
    assert_eq!((checks[0].kind.as_str(), checks[0].not), ("service.active", true));
}

#[test]
fn a_wait_may_have_one_deadline_for_all_of_its_checks() {
    let compiled = Try::plan(
        "requorum: 1\nname: t/t\ninputs:\n  patience: { type: duration, default: 5m }\nsteps:\n  - id: a\n    wait.until: { checks: [ { etcd.quorum: {}, every: 1s }, { etcd.healthy: {}, within: 1m } ], within: '{{ inputs.patience }}' }\n",
    )
    .accepted();
    assert_eq!(compiled.plan.steps[0].args["within"], "{{ inputs.patience }}");
}

#[test]
fn a_probe_makes_a_command_probed_and_safe_to_retry() {
    let compiled = Try::steps(
        "  - id: a\n    on: [cp1]\n    ssh.run: { run: x }\n    probe: { ssh.check: { run: test -e x } }\n    retry: { attempts: 3, backoff: 2s }\n  - id: b\n    on: [cp1]\n    ssh.run: { run: x }\n    effect: idempotent\n    retry: { attempts: 3 }\n",
    )
    .accepted();
    assert_eq!(compiled.plan.steps[0].effect, Effect::Probed);
    assert_eq!(compiled.plan.steps[1].effect, Effect::Idempotent);
    assert_eq!(compiled.plan.steps[1].retry.max_backoff, Duration::from_secs(30));
}

#[test]
fn the_settings_of_a_host_lie_over_those_of_the_site() {
    let site = site();
    let [one, two] = ["cp1", "cp2"].map(|name| &site.hosts[&HostName::new(name).unwrap()]);
    assert_eq!((one.ssh.user.as_deref(), one.ssh.port, one.ssh.elevate), (Some("core"), Some(2222), Become::None));
    assert_eq!((two.ssh.port, two.ssh.elevate), (None, Become::Sudo));
    assert_eq!(one.ssh.key, Some(PathBuf::from("/home/op/.ssh/id")));
    assert_eq!(one.ssh.known_hosts, Some(PathBuf::from("/sites/./known_hosts")));
    let etcd = one.etcd.as_ref().unwrap();
    assert_eq!((etcd.data_dir.as_str(), etcd.service.as_str()), ("/var/lib/etcd", "etcd"));
}

#[test]
fn members_behind_ssh_may_all_listen_for_clients_on_their_own_loopback() {
    let host = |n: u8| {
        format!(
            "  cp{n}:\n    address: 10.0.0.1{n}\n    etcd: {{ name: cp{n}, client_urls: ['https://127.0.0.1:2379'], \
             peer_urls: ['https://10.0.0.1{n}:2380'] }}\n"
        )
    };
    let text = format!(
        "requorum: 1\ncluster: loop\nplatform: systemd-etcd\netcd: {{ via: ssh }}\nhosts:\n{}{}",
        host(1),
        host(2)
    );
    let site = Try::steps("  - id: a\n    gate.confirm: { message: m }").site(&text).accepted().site.unwrap().site;
    assert_eq!(site.members().count(), 2);
}

#[test]
fn local_paths_of_a_site_start_from_its_directory() {
    let site = site();
    let tls = site.etcd.tls.unwrap();
    assert_eq!(tls.ca, "cp1:/etc/etcd/ca.crt");
    assert_eq!((tls.cert.as_str(), tls.key.as_str()), ("/sites/pki/client.crt", "/home/op/client.key"));
    assert_eq!(site.capsule_root, "/var/lib/requorum");
    assert!(site.identity.etcd_ca_sha256.unwrap().starts_with("aabbccdd"));
}

#[test]
fn the_digest_is_that_of_what_the_plan_does() {
    let digest = |text: &str, member: &str| {
        Try::plan(text).set("member", member).file("/plans/etcd.conf.j2", CONF).accepted().plan.digest
    };
    let own = digest(REPLACE, "two");
    assert_eq!(own, digest(&format!("# a comment\n\n{REPLACE}"), "two"));
    assert_eq!(own, digest(&REPLACE.replace("within: 5m\n        every: 5s", "every: 5s\n        within: 5m"), "two"));
    assert_ne!(own, digest(&REPLACE.replace("within: 30s", "within: 31s"), "two"));
    assert_ne!(own, digest(REPLACE, "one"));
}

#[test]
fn inputs_are_read_by_their_types() {
    let plan = "requorum: 1\nname: t\ninputs:\n  i: { type: integer, min: 2, max: 4 }\n  b: { type: boolean }\n  d: { type: duration, default: 90s, min: 1m }\n  e: { type: enum, values: [x, y] }\n  h: { type: host }\n  hs: { type: hosts }\n  l: { type: list, default: [1] }\n  m: { type: map }\n  s: { type: string, pattern: 'a+' }\n  o: { type: string, required: false }\nvars: { all: '{{ inputs }}' }\nsteps: [ { id: a, gate.confirm: { message: m } } ]\n";
    let good = || {
        Try::plan(plan)
            .set("b", "true")
            .set("e", "y")
            .set("h", "cp1")
            .set("hs", "cp1, w1")
            .set("m", "{ a: [1] }")
            .set("s", "aa")
    };
    let inputs = Value::Object(good().set("i", "3").accepted().plan.inputs);
    let expected = json!({"i": 3, "b": true, "d": "90s", "e": "y", "h": "cp1", "hs": ["cp1", "w1"], "l": [1], "m": {"a": [1]}, "s": "aa", "o": null});
    assert_eq!(inputs, expected);
    for (name, value) in [("i", "5"), ("i", "x"), ("i", "1"), ("d", "30s"), ("d", "90")] {
        let tried = if name == "i" { good().set("i", value) } else { good().set("i", "3").set(name, value) };
        assert_eq!(tried.refused(), ["bad-input"], "{name}={value}");
    }
    assert_eq!(good().refused(), ["missing-input"]);
    assert_eq!(good().set("i", "3").set("j", "3").refused(), ["unknown-input"]);
    let file = good().set_file("i", "/tmp/i");
    assert_eq!(file.refused(), ["bad-input"]);
    assert_eq!(file.file("/tmp/i", "3\n").accepted().plan.inputs["i"], 3);
}

#[test]
fn a_kind_is_asked_about_arguments_that_are_known_unless_a_when_may_keep_them_from_it() {
    let codes = |when: &str, mode: &str| -> Vec<&str> {
        let kind = format!("file.write: {{ path: /a, content: b, mode: {mode} }}");
        let steps = format!("  - id: conf\n    on: [cp1]\n    {when}\n    {kind}\n");
        Try::steps(&steps).compile().err().into_iter().flatten().map(|found| found.code).collect()
    };
    let when = "when: host.name == 'cp1'";
    assert_eq!(codes("", "rw"), ["bad-argument"]);
    assert_eq!(codes("", "\"{{ 'rw' }}\""), ["bad-argument"]);
    assert_eq!(codes(when, "rw"), ["bad-argument"]);
    assert!(codes(when, "\"{{ 'rw' }}\"").is_empty(), "a run may leave the step out");
    assert!(codes("", "\"{{ 'rw' ~ run.id }}\"").is_empty(), "only a run knows what it is");
    assert!(codes("", "\"0644\"").is_empty());
}
