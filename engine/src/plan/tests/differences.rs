//! What differs between two plans or two sites, as a person reads it.

use serde_json::json;

use super::{SITE, Try};
use crate::plan::compiled::Plan;
use crate::plan::difference::{self, fields};
use crate::plan::site_change::{self, with_hosts_of};
use crate::plan::{Kept, ReadSite, uses};

const HEAD: &str =
    "requorum: 1\nname: test\ninputs: { n: { type: integer, default: 1 } }\nvars: { v: '{{ inputs.n }}x' }\n";

fn plan(steps: &str) -> Plan {
    Try::plan(&format!("{HEAD}steps:\n{steps}")).accepted().plan
}

fn told(old: &Plan, new: &Plan) -> Vec<String> {
    difference::between(old, new).iter().map(ToString::to_string).collect()
}

const STEPS: &str = "  - { id: a, gate.confirm: { message: '{{ vars.v }}' } }
  - { id: b, gate.confirm: { message: m } }
  - { id: c, needs: [a, b], timeout: 1m, gate.confirm: { message: m } }
";

#[test]
fn comments_places_and_the_order_of_needs_and_steps_make_no_difference() {
    let same = "  # a comment\n  - { id: b, gate.confirm: { message: m } }
  - { id: a, gate.confirm: { message: '{{ vars.v }}' } }\n
  - { id: c, needs: [b, a], timeout: 60s, gate.confirm: { message: m } }
";
    assert_eq!(told(&plan(STEPS), &plan(same)), [""; 0]);
}

#[test]
fn a_difference_names_the_step_and_the_value_with_what_it_was_and_is() {
    let new = STEPS
        .replace("timeout: 1m", "timeout: 2m")
        .replace("needs: [a, b]", "needs: [b]")
        .replace("id: a, ", "id: d, title: A new one, ");
    let expected = ["- step a", "~ step c\n    needs: - \"a\"\n    timeout: \"1m\" -> \"2m\"", "+ step d: A new one"];
    assert_eq!(told(&plan(STEPS), &plan(&new)), expected);
}

#[test]
fn inputs_vars_and_preflight_are_told_by_their_names() {
    let text = format!("{HEAD}steps:\n{STEPS}");
    let old = Try::plan(&text).accepted().plan;
    let checked = format!("preflight: [ {{ etcd.healthy: {{}} }} ]\n{text}");
    let new = Try::plan(&checked.replace("title", "")).set("n", "2").accepted().plan;
    let told = told(&old, &new);
    assert_eq!(told[..2], ["~ input n\n    1 -> 2", "~ var v\n    \"1x\" -> \"2x\""]);
    assert!(told[2].starts_with("~ preflight\n    + {"), "{told:?}");
}

#[test]
fn of_long_texts_the_part_is_shown_from_which_they_differ() {
    let text = |end: &str| json!({ "run": format!("{}{end}", "same ".repeat(60)) });
    let found = fields(&text("old"), &text("new"));
    let shown = found[0].to_string();
    assert!(shown.starts_with("run: …") && shown.contains("old") && shown.contains("new"), "{shown}");
    assert!(shown.len() < 200, "{shown}");
}

#[test]
fn lists_tell_what_came_and_went_and_a_new_order_counts() {
    let told = |old, new| fields(&old, &new).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told(json!({ "l": [1, 2] }), json!({ "l": [2, 3] })), ["l: - 1", "l: + 3"]);
    assert_eq!(told(json!({ "l": [1, 2] }), json!({ "l": [2, 1] })), ["l: [1,2] -> [2,1]"]);
    assert_eq!(told(json!({ "l": [{ "a": 1 }] }), json!({ "l": [{ "a": 2 }] })), ["l.0.a: 1 -> 2"]);
}

#[test]
fn a_plan_that_is_compiled_again_takes_the_inputs_that_a_run_keeps() {
    let text = format!("{HEAD}steps:\n{STEPS}");
    let kept = Try::plan(&text).set("n", "7").accepted();
    let mut again = Try::plan(&text.replace("default: 1", "default: 2"));
    again.given.kept = Kept { values: kept.plan.inputs.clone(), secrets: Vec::new() };
    assert_eq!(told(&kept.plan, &again.accepted().plan), [""; 0]);
    assert_eq!(again.set("n", "8").accepted().plan.inputs["n"], 8);
}

#[test]
fn the_values_that_a_step_reads_are_found_in_all_its_templates() {
    let plan = plan(
        "  - { id: a, when: 'inputs.n == 1', gate.confirm: { message: m } }
  - { id: b, gate.confirm: { message: \"{{ vars['v'] }}\" } }
",
    );
    let reads = |step: usize, name| uses::reads(&plan.steps[step], name);
    assert!(reads(0, "inputs.n") && !reads(0, "vars.v") && !reads(0, "inputs.nn"));
    assert!(reads(1, "vars.v") && !reads(1, "inputs.n"));
}

fn site(text: &str) -> ReadSite {
    Try::steps("  - { id: a, gate.confirm: { message: m } }\n").site(text).accepted().site.unwrap()
}

#[test]
fn only_how_hosts_are_reached_may_change_of_a_site() {
    let old = site(SITE);
    assert_eq!(site_change::between(&old, &old), (Vec::new(), Vec::new()));
    let address = old.site.hosts.values().next().unwrap().address.clone();
    let mut new = old.clone();
    let host = new.site.hosts.values_mut().next().unwrap();
    host.address = "moved.example".to_owned();
    host.ssh.port = Some(2022);
    host.lost = !host.lost;
    let (may, may_not) = site_change::between(&old, &new);
    assert_eq!((may.len(), may_not.len()), (3, 0), "{may:?} {may_not:?}");
    assert!(may[0].to_string().contains(&format!("address: \"{address}\" -> \"moved.example\"")), "{}", may[0]);

    let mut other = old.clone();
    other.site.capsule_root = "/elsewhere".to_owned();
    other.site.hosts.pop_last();
    let host = other.site.hosts.values_mut().next().unwrap();
    host.roles.push("more".to_owned());
    let (may, may_not) = site_change::between(&old, &other);
    assert_eq!((may.len(), may_not.len()), (0, 3), "{may:?} {may_not:?}");
}

#[test]
fn hosts_inside_vars_are_those_of_the_site_as_it_is_now() {
    let then = json!({ "hosts": { "a": { "name": "a", "address": "1" }, "b": { "name": "b", "address": "2" } } });
    let now = json!({ "hosts": { "a": { "name": "a", "address": "9" }, "b": { "name": "b", "address": "2" } } });
    let vars = json!({ "list": [then["hosts"]["a"], { "name": "a" }], "map": { "x": then["hosts"]["b"] } });
    let expected = json!({ "list": [now["hosts"]["a"], { "name": "a" }], "map": { "x": now["hosts"]["b"] } });
    assert_eq!(with_hosts_of(&vars, &then, &now), expected);
}
