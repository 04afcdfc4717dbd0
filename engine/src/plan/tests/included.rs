//! Plans that include others: what comes of them, and what is refused and where.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Try;
use crate::plan::Diagnostic;
use crate::plan::compiled::{ALONE, FORMAT, Plan, SecretOrigin, Step, Subject};
use crate::plan::difference::{self, Part};
use crate::plan::template::placeholder;
use crate::plan::uses;

/// A plan that is included: two steps, one after the other, that use all that it can see.
const REMOVE: &str = r#"requorum: 1
name: site/remove
inputs:
  member: { type: string, help: "Which member" }
  grace: { type: duration, default: 30s }
vars: { what: "member {{ inputs.member }}" }
preflight:
  - etcd.quorum: { without: "{{ inputs.member }}" }
steps:
  - id: ask
    gate.confirm: { message: "Remove {{ vars.what }}?" }
    outputs: { answer: yes }
  - id: remove
    needs: [ask]
    title: Remove {{ vars.what }} of {{ site.cluster }}
    when: steps.ask.outputs.answer == 'yes'
    etcd.member_remove: { name: "{{ inputs.member }}" }
"#;

/// A plan that includes it twice.
const TWICE: &str = r#"requorum: 1
name: test
inputs: { first: { type: string, default: one } }
preflight:
  - include: remove.yaml
    with: { member: "{{ inputs.first }}" }
steps:
  - { id: begin, gate.confirm: { message: m } }
  - include: remove.yaml
    as: old
    with: { member: "{{ inputs.first }}" }
    needs: [begin]
  - include: remove.yaml
    as: lost
    with: { member: two, grace: 1m }
    needs: [old]
  - id: end
    needs: [lost, old-ask]
    gate.confirm: { message: "{{ steps.old-ask.outputs.answer }} {{ steps['lost-ask'].outputs.answer }}" }
"#;

fn twice() -> Try {
    Try::plan(TWICE).file("/plans/remove.yaml", REMOVE)
}

fn including(steps: &str) -> Try {
    Try::steps(steps).file("/plans/remove.yaml", REMOVE)
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

fn needs(plan: &Plan) -> Vec<String> {
    let needs = |step: &Step| step.needs.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ");
    plan.steps.iter().map(|step| format!("{}: {}", step.id, needs(step))).collect()
}

/// The only problem.
#[track_caller]
fn only(tried: &Try) -> Diagnostic {
    let found = tried.compile().map_or_else(|found| found, |compiled| compiled.warnings);
    assert_eq!(found.len(), 1, "{}", tried.shown(&found));
    found[0].clone()
}

fn at(found: &Diagnostic) -> String {
    format!("{} {}:{}", found.code, found.file, found.line)
}

#[test]
fn the_steps_of_an_included_plan_stand_in_its_place_with_the_prefix_and_what_they_need() {
    let compiled = twice().accepted();
    assert_eq!(compiled.warnings, []);
    let plan = compiled.plan;
    assert_eq!(
        needs(&plan),
        [
            "begin: ",
            "old-ask: begin",
            "old-remove: old-ask",
            "lost-ask: old-remove",
            "lost-remove: lost-ask",
            "end: lost-remove old-ask"
        ]
    );
    assert_eq!(plan.steps[2].place, "remove.yaml:13");
    assert_eq!((plan.steps[0].part.as_deref(), plan.steps[2].part.as_deref()), (None, Some("old")));
    let preflight: Vec<_> = plan.preflight.iter().map(|check| (check.kind.as_str(), check.part.as_deref())).collect();
    assert_eq!(preflight, [("etcd.quorum", Some("preflight site/remove"))]);
    let back: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(back, plan);
}

#[test]
fn an_included_plan_has_inputs_and_vars_of_its_own() {
    let plan = twice().set("first", "three").accepted().plan;
    let own = |part: &str| json!([plan.included[part].inputs, plan.included[part].vars, plan.included[part].prefix]);
    assert_eq!(own("old"), json!([{ "member": "three", "grace": "30s" }, { "what": "member three" }, "old-"]));
    assert_eq!(own("lost"), json!([{ "member": "two", "grace": "1m" }, { "what": "member two" }, "lost-"]));
    assert_eq!(Value::Object(plan.inputs), json!({ "first": "three" }));
    // Neither sees what the other has.
    let text = REMOVE.replace("{{ vars.what }}?", "{{ inputs.first }}?");
    assert_eq!(at(&only(&twice().file("/plans/remove.yaml", &text))), "undefined-name remove.yaml:11");
    let found = only(
        &Try::plan(&TWICE.replace("message: m }", "message: '{{ inputs.member }}' }"))
            .file("/plans/remove.yaml", REMOVE),
    );
    assert_eq!((found.code, found.file.as_str()), ("undefined-name", "plan.yaml"));
}

#[test]
fn without_a_prefix_ids_stay_and_a_clash_names_both_places() {
    let once = including(
        "  - { include: remove.yaml, with: { member: one } }\n  - { id: a, needs: [remove], gate.confirm: { message: m } }\n",
    );
    let compiled = once.accepted();
    assert_eq!(needs(&compiled.plan), ["ask: ", "remove: ask", "a: remove"]);
    assert_eq!(compiled.plan.steps[0].part.as_deref(), Some("site/remove"));
    assert_eq!(compiled.warnings.iter().map(|found| found.code).collect::<Vec<_>>(), ["preflight-left-out"]);

    let both = including(
        "  - { include: remove.yaml, with: { member: one } }\n  - { include: remove.yaml, with: { member: two } }\n",
    );
    let found = both.compile().unwrap_err();
    let clash = found.iter().find(|found| found.code == "duplicate-id").unwrap();
    assert_eq!((clash.line, clash.message.as_str()), (5, "the step `ask` is there twice"));
    assert_eq!(clash.cause.as_deref(), Some("it is in remove.yaml:10, and `site/remove` has it in remove.yaml:10"));
    assert!(clash.help.as_ref().unwrap().contains("`as: PREFIX`"), "{clash:?}");
    assert_eq!(found.len(), 2, "one clash for each include: {}", both.shown(&found));

    let own = including(
        "  - { id: remove, gate.confirm: { message: m } }\n  - { include: remove.yaml, with: { member: one } }\n",
    );
    let found = own.compile().unwrap_err();
    assert!(
        found
            .iter()
            .any(|found| found.cause.as_deref()
                == Some("it is in plan.yaml:4, and `site/remove` has it in remove.yaml:13")),
        "{found:?}"
    );
}

#[test]
fn what_begins_an_include_needs_what_it_needs_and_its_prefix_means_what_ends_it() {
    let inner = "requorum: 1\nname: inner\nsteps:\n  - { id: a, gate.confirm: { message: m } }\n  - { id: b, gate.confirm: { message: m } }\n  - { id: c, needs: [a], gate.confirm: { message: m } }\n";
    let text = "  - { id: end, needs: [x], gate.confirm: { message: m } }\n  - { include: inner.yaml, as: x, needs: [one, two] }\n  - { id: one, gate.confirm: { message: m } }\n  - { id: two, needs: [one], gate.confirm: { message: m } }\n";
    let plan = Try::steps(text).file("/plans/inner.yaml", inner).accepted().plan;
    assert_eq!(needs(&plan), ["one: ", "two: one", "x-a: one two", "x-b: one two", "x-c: x-a", "end: x-b x-c"]);
}

#[test]
fn includes_nest_with_their_prefixes_and_paths_start_from_the_file() {
    let outer = "requorum: 1\nname: outer\ninputs: { m: { type: string } }\nsteps:\n  - { include: deep/inner.yaml, as: in, with: { m: '{{ inputs.m }}!' } }\n  - id: after\n    needs: [in]\n    gate.confirm: { message: '{{ steps.in-ask.outputs.answer }}' }\n";
    let inner = "requorum: 1\nname: inner\ninputs: { m: { type: string } }\nsteps:\n  - id: ask\n    gate.confirm: { message: '{{ inputs.m }}' }\n    outputs: { answer: '{{ inputs.m }}' }\n  - { id: put, needs: [ask], on: [cp1], file.write: { path: /x, template: x.j2 } }\n";
    let steps = "  - { id: begin, gate.confirm: { message: m } }\n  - { include: sub/outer.yaml, as: out, with: { m: hi }, needs: [begin] }\n  - id: end\n    needs: [out]\n    gate.confirm: { message: '{{ steps.out-in-ask.outputs.answer }}' }\n";
    let tried = Try::steps(steps)
        .file("/plans/sub/outer.yaml", outer)
        .file("/plans/sub/deep/inner.yaml", inner)
        .file("/plans/sub/deep/x.j2", "for {{ inputs.m }}");
    let plan = tried.accepted().plan;
    assert_eq!(
        needs(&plan),
        ["begin: ", "out-in-ask: begin", "out-in-put: out-in-ask", "out-after: out-in-put", "end: out-after"]
    );
    assert_eq!(plan.steps[2].args["content"], "for {{ inputs.m }}");
    assert_eq!(
        (plan.steps[2].part.as_deref(), plan.steps[2].place.as_str()),
        (Some("out/in"), "sub/deep/inner.yaml:8")
    );
    assert_eq!(plan.included["out/in"].inputs["m"], "hi!");
    assert_eq!(plan.id_from(Some("out/in"), "ask"), "out-in-ask");
    // What another step reads is told by the ids of the whole plan.
    let reads = |step: usize, of: usize| uses::reads_step(&plan, &plan.steps[step], &plan.steps[of].id);
    assert!(reads(3, 1) && reads(4, 1) && !reads(2, 1) && !reads(3, 0));

    let broken =
        tried.file("/plans/sub/deep/inner.yaml", &inner.replace("needs: [ask], on: [cp1]", "needs: [ask], on: [cp9]"));
    let found = only(&broken);
    assert_eq!(at(&found), "unknown-host sub/deep/inner.yaml:8");
    assert_eq!(found.included_from, ["sub/outer.yaml:5", "plan.yaml:5"]);
    assert!(broken.shown(&[found]).contains("included from sub/outer.yaml:5, from plan.yaml:5"));
}

#[test]
fn ids_of_the_including_plan_are_not_seen_from_inside() {
    let text = REMOVE
        .replace("Remove {{ vars.what }}?", "{{ steps.begin.result }}")
        .replace("needs: [ask]", "needs: [ask, begin]");
    for prefix in ["", "as: x, "] {
        let tried = Try::steps(&format!(
            "  - {{ id: begin, gate.confirm: {{ message: m }} }}\n  - {{ include: remove.yaml, {prefix}needs: [begin], with: {{ member: one }} }}\n"
        ))
        .file("/plans/remove.yaml", &text);
        assert_eq!(tried.refused(), ["preflight-left-out", "undefined-name", "unknown-step"]);
    }
}

#[test]
fn the_values_of_with_are_checked_like_given_inputs_and_where_they_stand() {
    let with = |with: &str| {
        including(&format!("  - include: remove.yaml\n    with: {with}\n")).file(
            "/plans/remove.yaml",
            &REMOVE.replace("preflight:\n  - etcd.quorum: { without: \"{{ inputs.member }}\" }\n", ""),
        )
    };
    assert!(with("{ member: one }").compile().is_ok());
    for (values, expected) in [
        ("{ member: one, graze: 1m }", "unknown-input plan.yaml:5"),
        ("{ grace: 1m }", "missing-input plan.yaml:4"),
        ("{ member: 3 }", "bad-input plan.yaml:5"),
        ("{ member: one, grace: 90 }", "bad-input plan.yaml:5"),
        ("{ member: '{{ site.hosts }}' }", "bad-input plan.yaml:5"),
        ("{ member: '{{ vars.x }}' }", "undefined-name plan.yaml:5"),
        ("{ member: '{{ steps.ask.result }}' }", "undefined-name plan.yaml:5"),
    ] {
        assert_eq!(at(&only(&with(values))), expected, "{values}");
    }
    assert_eq!(only(&with("{ member: one, graze: 1m }")).help.as_deref(), Some("did you mean `grace`?"));
    assert_eq!(only(&with("{ grace: 1m }")).cause.as_deref(), Some("Which member"));
}

#[test]
fn inputs_of_each_type_can_be_passed_on_and_hosts_by_themselves() {
    let inner = "requorum: 1\nname: inner\ninputs:\n  i: { type: integer }\n  d: { type: duration, min: 1m }\n  h: { type: host }\n  hs: { type: hosts }\n  f: { type: file }\n  o: { type: string, required: false }\n  l: { type: list }\nsteps:\n  - { id: a, on: '{{ inputs.hs }}', ssh.run: { run: 'x {{ inputs.h }}' } }\n";
    let outer = |i: &str| {
        format!(
            "requorum: 1\nname: outer\ninputs:\n  i: {{ type: {i} }}\n  o: {{ type: string, required: false }}\nsteps:\n  - include: sub/inner.yaml\n    with:\n      i: '{{{{ inputs.i }}}}'\n      d: 2m\n      h: \"{{{{ site.hosts | by_etcd_name('two') }}}}\"\n      hs: \"{{{{ site.hosts | role('etcd') }}}}\"\n      f: ./x.txt\n      o: '{{{{ inputs.o }}}}'\n      l: [1, '{{{{ inputs.i }}}}']\n"
        )
    };
    let tried = |i: &str| Try::plan(&outer(i)).file("/plans/sub/inner.yaml", inner);
    let plan = tried("integer").set("i", "4").accepted().plan;
    let expected =
        json!({ "i": 4, "d": "2m", "h": "cp2", "hs": ["cp1", "cp2"], "f": "/plans/./x.txt", "o": null, "l": [1, 4] });
    assert_eq!(Value::Object(plan.included["inner"].inputs.clone()), expected);
    let hosts: Vec<&Subject> = plan.steps[0].items.as_ref().unwrap().iter().map(|item| &item.subject).collect();
    assert_eq!(hosts.len(), 2);
    // Without a site, what is unknown keeps its type.
    let open = tried("integer").without_site().accepted().plan;
    assert_eq!(open.steps[0].items, None);
    assert_eq!(tried("boolean").without_site().refused(), ["bad-input"]);
    assert_eq!(
        only(&tried("duration").without_site()).cause.as_deref(),
        Some("it has to be an integer, and this will be a duration")
    );
}

const LOGIN: &str = "requorum: 1\nname: login\ninputs: { token: { type: secret } }\nsteps:\n  - id: a\n    on: [cp1]\n    ssh.run: { run: x, stdin: '{{ inputs.token }}' }\n";

#[test]
fn a_secret_is_passed_on_and_never_written() {
    let with = |value: &str, inner: &str| {
        Try::plan(&format!(
            "requorum: 1\nname: t\ninputs: {{ pw: {{ type: secret, required: false }} }}\nvars: {{ v: '{{{{ inputs.pw }}}}' }}\nsteps:\n  - {{ include: login.yaml, as: l, with: {{ token: \"{value}\" }} }}\n"
        ))
        .file("/plans/login.yaml", inner)
        .set_file("pw", "/secret/pw")
    };
    for value in ["{{ inputs.pw }}", "{{ vars.v }}", "Bearer {{ inputs.pw }}"] {
        let plan = with(value, LOGIN).accepted().plan;
        assert_eq!(plan.secrets.len(), 1, "{value}");
        assert_eq!(plan.secrets[0].origin, SecretOrigin::File("/secret/pw".to_owned()));
        assert!(plan.included["l"].inputs["token"].as_str().unwrap().ends_with(&placeholder("inputs.pw")));
        assert!(uses::reads_secret(&plan, &plan.steps[0], "inputs.pw"));
        assert!(!uses::reads_secret(&plan, &plan.steps[0], "inputs.token"));
    }
    let of_site = with("{{ site.secrets.token }}", LOGIN).accepted().plan;
    assert!(of_site.secrets.iter().any(|secret| secret.name == "site.secrets.token"));
    assert!(uses::reads_secret(&of_site, &of_site.steps[0], "site.secrets.token"));
    for value in ["hunter2", "{{ site.cluster }}"] {
        let found = only(&with(value, LOGIN));
        assert_eq!((found.code, found.file.as_str(), found.line), ("bad-input", "plan.yaml", 6), "{value}");
    }
    // What is not known without a site is watched like a secret.
    assert!(with("{{ site.secrets.token }}", LOGIN).without_site().compile().is_ok());
    let shown = LOGIN.replace("run: x,", "run: 'x {{ inputs.token }}',");
    for tried in [with("{{ inputs.pw }}", &shown), with("{{ site.secrets.token }}", &shown).without_site()] {
        let found = only(&tried);
        assert_eq!((found.code, found.file.as_str()), ("secret-shown", "login.yaml"));
    }
    // An input that is no secret may hold one, and shows it as little.
    let text = |run: &str| LOGIN.replace("secret", "string").replace("run: x,", run);
    assert!(with("{{ inputs.pw }}", &text("run: x,")).compile().is_ok());
    assert_eq!(only(&with("{{ inputs.pw }}", &text("run: 'x {{ inputs.token }}',"))).code, "secret-shown");
    assert_eq!(only(&with("{{ inputs.pw }}", &LOGIN.replace("secret", "duration"))).code, "bad-input");
    let missing = Try::steps("  - { include: login.yaml }\n").file("/plans/login.yaml", LOGIN).check();
    assert_eq!(missing.refused(), ["missing-input"]);
}

#[test]
fn problems_in_an_included_file_are_shown_there() {
    let text = REMOVE.replace("gate.confirm", "gate.confrim").replace("30s", "30");
    let tried = twice().file("/plans/remove.yaml", &text);
    let found = tried.compile().unwrap_err();
    let places: Vec<String> = found.iter().map(at).collect();
    assert_eq!(places, ["bad-default remove.yaml:5", "unknown-kind remove.yaml:11"]);
    insta::assert_snapshot!(tried.shown(&found));
    // A file that is no YAML is told once, with its place.
    let found = only(&twice().file("/plans/remove.yaml", "a: [\n"));
    assert_eq!((found.code, found.file.as_str()), ("yaml", "remove.yaml"));
    assert_eq!(found.included_from, ["plan.yaml:5"]);
}

#[test]
fn what_cannot_be_found_is_told_where_it_is_included() {
    for (include, code, help) in [
        ("remov.yaml", "unreadable-file", "the path starts from the directory of the file that includes it"),
        ("etcd/snapshat", "unknown-plan", "did you mean `etcd/snapshot`?"),
        ("nothing/like-it", "unknown-plan", "for a file write `nothing/like-it.yaml`"),
    ] {
        let found = only(&including(&format!("  - include: {include}\n")));
        assert_eq!((found.code, found.line), (code, 4));
        assert!(found.help.as_ref().unwrap().contains(help), "{found:?}");
    }
}

#[test]
fn a_shipped_plan_is_included_by_its_name() {
    let mut tried = including("  - { include: etcd/snapshot, as: save }\n");
    tried.files.1.insert("etcd/snapshot".to_owned(), "requorum: 1\nname: etcd/snapshot\nsteps:\n  - { id: a, on: [cp1], file.write: { path: /x, template: etcd/x.j2 } }\n".to_owned());
    let plan = tried.file("etcd/x.j2", "text").accepted().plan;
    assert_eq!((plan.steps[0].id.as_str(), plan.steps[0].place.as_str()), ("save-a", "etcd/snapshot:4"));
    assert_eq!(plan.steps[0].args["content"], "text");
}

#[test]
fn plans_that_include_each_other_are_refused_with_the_way_round() {
    let plan = |name: &str, of: &str| format!("requorum: 1\nname: {name}\nsteps:\n  - {{ include: {of}, as: x }}\n");
    let itself = only(&Try::steps("  - { include: ./plan.yaml, as: x }\n"));
    assert_eq!(itself.message, "plans include each other in a cycle: `plan.yaml` -> `plan.yaml`");
    let round = Try::plan(&plan("t", "a.yaml"))
        .file("/plans/a.yaml", &plan("a", "sub/b.yaml"))
        .file("/plans/sub/b.yaml", &plan("b", "../a.yaml"));
    let found = only(&round);
    assert_eq!(at(&found), "include-cycle sub/b.yaml:4");
    assert_eq!(found.message, "plans include each other in a cycle: `a.yaml` -> `sub/b.yaml` -> `a.yaml`");
    assert_eq!(found.cause.as_deref(), Some("a.yaml:4: includes `sub/b.yaml`\nsub/b.yaml:4: includes `a.yaml`"));
}

#[test]
fn depth_and_number_of_includes_are_bounded() {
    let plan = |name: usize, of: &[usize]| {
        let mut text = format!("requorum: 1\nname: p{name}\nsteps:\n  - {{ id: a, gate.confirm: {{ message: m }} }}\n");
        for (place, of) in of.iter().enumerate() {
            writeln!(text, "  - {{ include: {of}.yaml, as: x{place} }}").unwrap();
        }
        text
    };
    let files = |depth: usize, twice: bool| {
        let mut tried = Try::plan(&plan(0, if twice { &[1, 1] } else { &[1] }));
        for file in 1..=depth {
            let next = [file + 1, file + 1];
            let next = if file == depth { &[] } else { &next[..if twice { 2 } else { 1 }] };
            tried = tried.file(&format!("/plans/{file}.yaml"), &plan(file, next));
        }
        tried
    };
    assert_eq!(ids(&files(15, false).accepted().plan).len(), 16);
    assert_eq!(files(16, false).refused(), ["include-depth"]);
    assert_eq!(files(14, true).refused(), ["too-many-includes"]);
}

#[test]
fn a_file_that_includes_itself_twice_through_others_is_refused_at_once() {
    let both = |name: &str| {
        format!(
            "requorum: 1\nname: {name}\nsteps:\n  - {{ include: a.yaml, as: l }}\n  - {{ include: b.yaml, as: r }}\n  - {{ include: c.yaml, as: s }}\n"
        )
    };
    let mut tried = Try::plan(&both("t"));
    for name in ["a", "b", "c"] {
        tried = tried.file(&format!("/plans/{name}.yaml"), &both(name));
    }
    let found = tried.compile().unwrap_err();
    assert!(!found.is_empty() && found.iter().all(|found| found.code == "include-cycle"), "{}", tried.shown(&found));
    // What is large is refused before it is there a thousand times.
    let mut steps = String::new();
    for step in 0..3_000 {
        writeln!(steps, "  - {{ id: s{step}, gate.confirm: {{ message: m }} }}").unwrap();
    }
    let tried = Try::steps(&"  - { include: a.yaml }\n".repeat(100))
        .file("/plans/a.yaml", &format!("requorum: 1\nname: a\nsteps:\n{steps}"));
    let found = tried.compile().unwrap_err();
    assert_eq!(found.iter().filter(|found| found.code == "too-many-includes").count(), 1);
    let long =
        format!("requorum: 1\nname: a\ndescription: {}\npreflight: [ etcd.healthy: {{}} ]\n", "x".repeat(1 << 20));
    let head = "requorum: 1\nname: t\nsteps: [ { id: a, gate.confirm: { message: m } } ]\npreflight:\n";
    let tried = Try::plan(&format!("{head}{}", "  - { include: a.yaml }\n".repeat(100))).file("/plans/a.yaml", &long);
    assert_eq!(tried.refused(), ["too-many-includes"]);
}

#[test]
fn what_cannot_be_included_is_reported_once_and_not_where_it_is_used() {
    let steps = "  - { include: gone.yaml, as: x }\n  - { id: a, needs: [x, x-b], gate.confirm: { message: '{{ steps.x-b.outputs.c }}' } }\n";
    assert_eq!(only(&Try::steps(steps)).code, "unreadable-file");
    let outer = "requorum: 1\nname: outer\nsteps:\n  - { include: gone.yaml, as: x }\n  - { id: a, needs: [x], gate.confirm: { message: m } }\n";
    let steps = "  - { include: outer.yaml, as: o }\n  - { id: a, needs: [o-x-b, o-a], gate.confirm: { message: '{{ steps.o-x-b.result }}' } }\n";
    let tried = Try::steps(steps).file("/plans/outer.yaml", outer);
    assert_eq!(at(&only(&tried)), "unreadable-file outer.yaml:4");
    // Where another prefix is meant, it is.
    let tried = Try::steps(&steps.replace("o-x-b, o-a", "o-y-b, o-a")).file("/plans/outer.yaml", outer);
    assert_eq!(tried.refused(), ["unknown-step", "unreadable-file"]);
}

#[test]
fn beside_include_stands_only_what_has_a_meaning_there() {
    let beside = |key: &str| {
        including(&format!("  - include: remove.yaml\n    as: x\n    with: {{ member: one }}\n    {key}\n"))
    };
    for key in ["when: 'true'", "on: [cp1]", "id: x", "title: t", "gate.confirm: { message: m }", "wth: {}"] {
        let tried = beside(key);
        let found = tried.compile().unwrap_err();
        let found = found.iter().find(|found| found.code == "beside-include").unwrap();
        assert_eq!(found.line, 7, "{key}");
    }
    let check = |entry: &str| Try::plan(&format!("requorum: 1\nname: t\n{entry}")).file("/plans/remove.yaml", REMOVE);
    let steps = "steps: [ { id: a, gate.confirm: { message: m } } ]\n";
    assert_eq!(
        check(&format!("preflight: [ {{ include: remove.yaml, as: x, with: {{ member: a }} }} ]\n{steps}")).refused(),
        ["beside-include"]
    );
    let inside = "steps: [ { id: a, gate.confirm: { message: m }, require: [ { include: remove.yaml } ] } ]\n";
    let found = only(&check(inside));
    assert_eq!(found.help.as_deref(), Some("an `include` stands in `steps` or `preflight`"));
    assert_eq!(including("  - include: 3\n").refused(), ["wrong-type"]);
    assert_eq!(
        including("  - { include: remove.yaml, as: A_b, with: { member: x } }\n").refused(),
        ["preflight-left-out", "bad-name"]
    );
}

#[test]
fn prefixes_are_told_apart_and_nothing_needs_itself() {
    let with = "with: { member: one }";
    let codes = |steps: String| {
        let mut codes = including(&steps).compile().map(|_| ()).unwrap_err();
        codes.retain(|found| found.code != "preflight-left-out");
        codes.iter().map(|found| found.code).collect::<Vec<_>>()
    };
    let one = format!("  - {{ include: remove.yaml, as: x, {with} }}\n");
    assert_eq!(codes(format!("{one}{one}")), ["duplicate-id", "duplicate-id"]);
    assert_eq!(codes(format!("{one}  - {{ id: x, gate.confirm: {{ message: m }} }}\n")), ["duplicate-id"]);
    assert_eq!(codes(format!("  - {{ include: remove.yaml, as: x, needs: [x], {with} }}\n")), ["self-need"]);
    assert_eq!(codes(format!("  - {{ include: remove.yaml, as: x, needs: [x-ask], {with} }}\n")), ["self-need"]);
    assert_eq!(codes(format!("  - {{ include: remove.yaml, as: x, needs: [y], {with} }}\n")), ["unknown-step"]);
    let round = format!(
        "  - {{ include: remove.yaml, as: x, needs: [b], {with} }}\n  - {{ id: b, needs: [x], gate.confirm: {{ message: m }} }}\n"
    );
    assert_eq!(codes(round), ["cycle"]);
    let long = "p".repeat(126);
    assert_eq!(codes(format!("  - {{ include: remove.yaml, as: {long}, {with} }}\n")), ["bad-name", "bad-name"]);
}

#[test]
fn platforms_and_whether_it_reverts_have_to_fit() {
    let tried = |outer: &str, inner: &str| {
        Try::plan(&format!("requorum: 1\nname: t\n{outer}steps:\n  - include: a.yaml\n"))
            .file(
                "/plans/a.yaml",
                &format!("requorum: 1\nname: a\n{inner}steps: [ {{ id: a, gate.confirm: {{ message: m }} }} ]\n"),
            )
            .without_site()
    };
    for (outer, inner) in [
        ("", "platforms: [kubeadm]\n"),
        ("platforms: [kubeadm, uk8s]\n", "platforms: [kubeadm]\n"),
        ("platforms: [any]\n", "platforms: [kubeadm]\n"),
    ] {
        let found = only(&tried(outer, inner));
        assert_eq!((found.code, found.file.as_str()), ("platform-mismatch", "plan.yaml"));
        assert_eq!(found.help.as_deref(), Some("write `platforms: [kubeadm]` in the plan that includes it"));
    }
    assert!(tried("platforms: [kubeadm]\n", "platforms: [uk8s, kubeadm]\n").compile().is_ok());
    assert!(tried("platforms: [kubeadm]\n", "").compile().is_ok());
    assert_eq!(only(&tried("", "reverts: true\n")).code, "reverts-inside");
    assert!(tried("reverts: true\n", "reverts: true\n").compile().is_ok());
}

#[test]
fn the_preflight_of_an_included_plan_comes_only_where_it_is_asked_for() {
    let left_out =
        TWICE.replace("preflight:\n  - include: remove.yaml\n    with: { member: \"{{ inputs.first }}\" }\n", "");
    let tried = Try::plan(&left_out).file("/plans/remove.yaml", REMOVE);
    let found = only(&tried);
    assert_eq!(at(&found), "preflight-left-out plan.yaml:6");
    assert_eq!(found.help.as_deref(), Some("add to `preflight`: - { include: remove.yaml, with: { … } }"));
    assert_eq!(tried.accepted().plan.preflight, []);
    // What is only included there needs no steps, and may bring checks of others.
    let checks = "requorum: 1\nname: checks\npreflight:\n  - etcd.healthy: {}\n  - { include: remove.yaml, with: { member: one } }\n  - ssh.reachable: { hosts: [cp1] }\n";
    let plan = "requorum: 1\nname: t\npreflight:\n  - ssh.reachable: { hosts: [cp2] }\n  - include: checks.yaml\n  - include: checks.yaml\n  - etcd.healthy: { members: all }\nsteps: [ { id: a, gate.confirm: { message: m } } ]\n";
    let plan = Try::plan(plan).file("/plans/checks.yaml", checks).file("/plans/remove.yaml", REMOVE).accepted().plan;
    let kinds: Vec<&str> = plan.preflight.iter().map(|check| check.kind.as_str()).collect();
    let once = ["etcd.healthy", "etcd.quorum", "ssh.reachable"];
    assert_eq!(kinds, [&["ssh.reachable"][..], &once, &once, &["etcd.healthy"]].concat());
    let part = |check: usize| plan.preflight[check].part.as_deref();
    assert_eq!((part(1), part(5)), (Some("preflight checks"), Some("preflight checks (2)/site/remove")));
    assert_eq!(ids(&plan), ["a"]);
}

#[test]
fn a_plan_that_includes_nothing_is_kept_as_before() {
    let plan = Try::steps("  - { id: a, gate.confirm: { message: m } }\n").accepted().plan;
    assert_eq!(plan.format, ALONE);
    let kept = serde_json::to_value(&plan).unwrap();
    assert!(kept.get("included").is_none() && kept["steps"][0].get("part").is_none());
    // What an earlier version computed for this plan.
    assert_eq!(plan.digest, "45254e5ddaca3a9fcea6d62fdd3991114a0396d18a83edf82c70035b29553f8b");
    assert_eq!(twice().accepted().plan.format, FORMAT);
}

#[test]
fn the_digest_covers_what_an_included_plan_is_given() {
    let digest = |text: &str| Try::plan(text).file("/plans/remove.yaml", REMOVE).accepted().plan.digest;
    assert_eq!(digest(TWICE), digest(&format!("# a comment\n{TWICE}")));
    assert_ne!(digest(TWICE), digest(&TWICE.replace("grace: 1m", "grace: 2m")));
}

#[test]
fn what_changed_in_an_included_plan_is_told_by_its_prefix() {
    let old = twice().accepted().plan;
    let new = Try::plan(&TWICE.replace("member: two", "member: three"))
        .file("/plans/remove.yaml", &REMOVE.replace("Remove {{ vars.what }}?", "Sure?"))
        .accepted()
        .plan;
    let found = difference::between(&old, &new);
    let told: Vec<String> = found.iter().map(difference::Difference::in_short).collect();
    assert_eq!(
        told,
        [
            "~ input member of lost: \"two\" -> \"three\"",
            "~ var what of lost: \"member two\" -> \"member three\"",
            "~ step old-ask: args.message: \"Remove {{ vars.what }}?\" -> \"Sure?\"",
            "~ step lost-ask: args.message: \"Remove {{ vars.what }}?\" -> \"Sure?\"",
        ]
    );
    assert_eq!(found[0].part, Part::InputOf { included: "lost".to_owned(), name: "member".to_owned() });
}

/// Writes steps with these needs.
fn written(steps: &[(String, Vec<String>)]) -> String {
    let line = |(id, needs): &(String, Vec<String>)| {
        format!("  - {{ id: {id}, needs: [{}], gate.confirm: {{ message: 'at {id}' }} }}\n", needs.join(", "))
    };
    steps.iter().map(line).collect()
}

/// What counts of the steps: not where they stand, nor the order that needs do not ask for.
fn effects(plan: &Plan) -> Vec<Step> {
    let mut steps: Vec<Step> =
        plan.steps.iter().map(|step| Step { part: None, place: String::new(), ..step.clone() }).collect();
    for step in &mut steps {
        step.needs.sort();
    }
    steps.sort_by(|a, b| a.id.cmp(&b.id));
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_include_does_what_the_plan_does_that_is_written_out_by_hand(
        inner in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1..8),
        outer in prop::collection::vec(any::<bool>(), 1..4),
        after in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 0..4),
    ) {
        let id = |number: usize| format!("i{number}");
        let inner: Vec<(String, Vec<String>)> = inner
            .iter()
            .enumerate()
            .map(|(number, needs)| {
                let mut needs: Vec<String> =
                    if number == 0 { Vec::new() } else { needs.iter().map(|need| id(need.index(number))).collect() };
                needs.sort();
                needs.dedup();
                (id(number), needs)
            })
            .collect();
        let before: Vec<(String, Vec<String>)> = (0..outer.len()).map(|number| (format!("b{number}"), Vec::new())).collect();
        let needed: Vec<String> = before.iter().zip(&outer).filter(|(_, needed)| **needed).map(|(step, _)| step.0.clone()).collect();
        let last: Vec<String> = inner.iter().map(|step| step.0.clone()).filter(|id| !inner.iter().any(|step| step.1.contains(id))).collect();
        // `None`: the whole include is needed; else one step of it.
        let afters = |all: &[String]| -> Vec<(String, Vec<String>)> {
            let needs = |need: &Option<prop::sample::Index>| match need {
                Some(index) => vec![format!("x-{}", id(index.index(inner.len())))],
                None => all.to_vec(),
            };
            after.iter().enumerate().map(|(number, need)| (format!("a{number}"), needs(need))).collect()
        };
        let prefixed: Vec<(String, Vec<String>)> = inner
            .iter()
            .map(|(id, needs)| {
                let own: Vec<String> = needs.iter().map(|need| format!("x-{need}")).collect();
                (format!("x-{id}"), if own.is_empty() { needed.clone() } else { own })
            })
            .collect();
        let all: Vec<String> = last.iter().map(|id| format!("x-{id}")).collect();
        let by_hand = [before.clone(), prefixed, afters(&all)].concat();
        let by_hand = written(&by_hand);
        let included = format!(
            "{}  - {{ include: inner.yaml, as: x, needs: [{}] }}\n{}",
            written(&before),
            needed.join(", "),
            written(&afters(&["x".to_owned()])),
        );
        let inner = format!("requorum: 1\nname: inner\nsteps:\n{}", written(&inner));
        let included = Try::steps(&included).file("/plans/inner.yaml", &inner).accepted().plan;
        // What the texts say is not part of it.
        let by_hand = Try::steps(&by_hand.replace("at x-", "at ")).accepted().plan;
        prop_assert_eq!(effects(&included), effects(&by_hand));
    }
}
