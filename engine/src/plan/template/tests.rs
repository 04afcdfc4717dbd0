#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scope() -> Scope {
    let hosts = json!({
        "cp1": {"name": "cp1", "roles": ["etcd"], "lost": false, "etcd": {"name": "one"}},
        "cp2": {"name": "cp2", "roles": ["etcd"], "lost": true, "etcd": {"name": "two"}},
        "w1": {"name": "w1", "roles": [], "lost": false, "etcd": null},
    });
    let inputs = json!({"n": 3, "name": "o'neil", "list": ["a"], "doc": {"items": [{"k": 1}, {"k": 2}]}});
    let steps = BTreeMap::from([("set-aside".to_owned(), json!({"outputs": {"n": 7}, "result": {}}))]);
    Scope::default().inputs(inputs.as_object().unwrap()).site(&json!({ "hosts": hosts })).steps(&steps)
}

fn eval(text: &str) -> Result<Value, BadTemplate> {
    render(&json!(text), &scope())
}

#[test]
fn a_scalar_that_is_one_expression_keeps_its_type() {
    assert_eq!(eval("{{ inputs.n }}"), Ok(json!(3)));
    assert_eq!(eval("{{inputs.list}}"), Ok(json!(["a"])));
    assert_eq!(eval("{{- {\"a\": {\"b\": 1}} -}}"), Ok(json!({"a": {"b": 1}})));
    assert_eq!(eval("{{ inputs.n }}{{ inputs.n }}"), Ok(json!("33")));
    assert_eq!(eval("{{ '}}' }}"), Ok(json!("}}")));
    assert_eq!(eval("n={{ inputs.n }}\n"), Ok(json!("n=3\n")));
}

#[test]
fn what_is_undefined_is_an_error_wherever_it_stands() {
    for text in ["{{ nope }}", "{{ inputs.nope }}", "x{{ inputs.nope.x }}", "{{ [inputs.nope] }}", "{{ {'a': nope} }}"]
    {
        assert!(eval(text).is_err(), "{text}");
    }
    assert_eq!(eval("x{{ inputs.nope }}").unwrap_err().message, "`inputs` has no `nope`");
    assert_eq!(eval("{{ nope.x }}").unwrap_err().message, "`nope.x` is not defined");
}

#[test]
fn step_ids_in_kebab_case_are_names() {
    for text in ["steps.set-aside.outputs.n", "steps['set-aside'].outputs.n", "steps.set_aside.outputs.n"] {
        assert_eq!(evaluate(text, &scope()), Ok(json!(7)), "{text}");
        let paths = paths_of_text(&format!("x {{{{ {text} }}}}")).unwrap();
        assert_eq!(paths, Paths::from(["steps.set_aside.outputs.n".to_owned()]));
    }
    assert_eq!(eval("steps.set-aside: {{ steps.set-aside.outputs.n -}} "), Ok(json!("steps.set-aside: 7")));
}

#[test]
fn filters_of_hosts_take_the_map_and_lists() {
    assert_eq!(eval("{{ site.hosts | role('etcd') | map(attribute='name') }}"), Ok(json!(["cp1"])));
    assert_eq!(eval("{{ site.hosts | all_role('etcd') | map(attribute='name') }}"), Ok(json!(["cp1", "cp2"])));
    assert_eq!(eval("{{ (site.hosts | all_role('etcd') | by_etcd_name('two')).name }}"), Ok(json!("cp2")));
    assert!(eval("{{ site.hosts | by_etcd_name('three') }}").is_err());
}

#[test]
fn filters_of_texts() {
    assert_eq!(eval("{{ inputs.name | shq }}"), Ok(json!("'o'\\''neil'")));
    assert_eq!(eval("{{ '' | shq }} {{ '/a/b' | shq }}"), Ok(json!("'' /a/b")));
    assert_eq!(eval("{{ '/a/b.c' | basename }} {{ '/a/b.c' | dirname }} {{ 'b' | dirname }}"), Ok(json!("b.c /a .")));
    assert_eq!(eval("{{ 'é' | b64encode | b64decode }}"), Ok(json!("é")));
    assert_eq!(eval("{{ inputs.doc | jsonpath('$.items[*].k') }}"), Ok(json!([1, 2])));
    assert!(eval("{{ '*' | b64decode }}").is_err());
}

#[test]
fn unknown_filters_and_tests_are_found_without_running_them() {
    assert!(paths_of_text("{{ inputs.x | lowr }}").is_err());
    assert!(paths_of_expression("inputs.x is not equl(3)").is_err());
    assert!(paths_of_text("{{ inputs.x | default('| nope') }} | nope").is_ok());
    assert!(paths_of_text("{% for h in site.hosts | roll('x') %}{% endfor %}").is_err());
}

#[test]
fn the_first_name_that_is_not_there_is_blamed_with_its_place() {
    let blamed = |text: &str| {
        let bad = eval(text).unwrap_err();
        (bad.message.clone(), bad.at.clone().map(|at| text[at].to_owned()), bad.help.or(bad.cause))
    };
    let missing = |text: &str, message: &str, words: &str, more: &str| {
        assert_eq!(blamed(text), (message.to_owned(), Some(words.to_owned()), Some(more.to_owned())), "{text}");
    };
    missing("{{ site.hosts.cp9.name }}", "`site.hosts` has no `cp9`", "cp9", "did you mean `cp1`?");
    missing("é {{ site.hosts['cp9'].name }}", "`site.hosts` has no `cp9`", "cp9", "did you mean `cp1`?");
    missing("{{ site.hosts.cp1.etcd.nam }} x", "`site.hosts.cp1.etcd` has no `nam`", "nam", "did you mean `name`?");
    missing("{{ inputs.name.first }}", "`inputs.name` has no `first`", "first", "it is text");
    missing("{{ inputs.list[3] ~ '' }}", "`inputs.list` has no `3`", "3", "it is a list");
    missing(
        "x {{ steps['set-aside'].outputs.m }}",
        "`steps['set-aside'].outputs` has no `m`",
        "m",
        "did you mean `n`?",
    );
    let local = "{% for host in site.hosts | role('etcd') %}{{ host.adress }}{% endfor %}";
    assert_eq!(blamed(local), ("`host.adress` is not defined".to_owned(), Some("host.adress".to_owned()), None));
}

#[test]
fn names_are_found_where_they_stand_and_not_where_they_are_said() {
    let found = |text: &str, path: &str, name| {
        let written = Written { text, is_bare: false };
        written.find(path, name).map(|at| (at.start, text[at].to_owned()))
    };
    assert_eq!(found("inputs.x {{ 'inputs.x' ~ inputs.x }}", "inputs.x", 1), Some((32, "x".to_owned())));
    assert_eq!(found("{{ a.inputs.x }}{{ inputs . x }}", "inputs.x", 1), Some((28, "x".to_owned())));
    assert_eq!(found("{{ inputs.xy }}{{ inputs['x'] }}", "inputs.x", 1), Some((26, "x".to_owned())));
    assert_eq!(
        found("{{ steps['set-aside'].result }}", "steps.set_aside.result", 1),
        Some((10, "set-aside".to_owned()))
    );
    assert_eq!(found("{{ steps.set-aside.result }}", "steps.set_aside.result", 2), Some((19, "result".to_owned())));
    assert_eq!(found("{# inputs.x #}", "inputs.x", 1), None);
}

#[test]
fn what_is_malformed_is_said_in_words_of_the_plan() {
    for (text, message, words) in [
        ("{{ inputs. }}", "a name is missing after `.`", "."),
        ("{{ inputs.n", "`{{` is not closed", "{{"),
        ("a {% if inputs.n %} b", "`if` is not closed", "{% if inputs.n %}"),
        ("{{ inputs.n inputs.n }}", "`inputs` does not belong here", "inputs"),
        ("a {{ inputs.n inputs.n }}", "`inputs` does not belong here", "inputs"),
        ("a{% endif %}", "`endif` belongs to nothing that is open here", "endif"),
        ("{% fro a in b %}", "there is no statement `fro`", "fro"),
        ("{{ inputs.n | }}", "a name is missing after `|`", "|"),
        ("{{ | upper }}", "`|` stands where a value should be", "|"),
    ] {
        let bad = paths_of_text(text).unwrap_err();
        assert_eq!((bad.message.as_str(), bad.at.map(|at| &text[at])), (message, Some(words)), "{text}");
    }
    for (text, message) in [
        ("{{ inputs.name + 1 }}", "`+` does not go with text and a number"),
        ("{% for a in inputs.n %}{% endfor %}", "a list is needed here, and this is a number"),
        ("{{ inputs.n | length }}", "a number has no length"),
        ("{{ inputs.n() }}", "a number cannot be called"),
        ("{{ inputs.name.x() }}", "text has no function `x`"),
        ("{{ inputs.n | role('etcd') }}", "hosts are needed here, and this is a number"),
    ] {
        assert_eq!(eval(text).unwrap_err().message, message, "{text}");
    }
}

#[test]
fn the_filters_and_tests_that_are_suggested_are_there() {
    for filter in spelling::FILTERS {
        assert!(paths_of_text(&format!("{{{{ x | {filter} }}}}")).is_ok(), "{filter}");
    }
    for test in spelling::TESTS {
        assert!(paths_of_text(&format!("{{{{ x is {test} }}}}")).is_ok(), "{test}");
    }
}

#[test]
fn a_template_without_end_is_stopped() {
    let text = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    assert_eq!(eval(text).unwrap_err().message, "the template does not come to an end");
}

#[test]
fn a_secret_survives_rendering_and_is_revealed_at_the_end() {
    let inputs = json!({"pw": placeholder("inputs.pw")});
    let scope = Scope::default().inputs(inputs.as_object().unwrap());
    let rendered = render(&json!({"env": {"PW": "x{{ inputs.pw }}y"}}), &scope).unwrap();
    assert_eq!(placeholders_in(&rendered), ["inputs.pw"]);
    assert_eq!(reveal(&rendered, &|_| Some("s".to_owned())), json!({"env": {"PW": "xsy"}}));
    assert_eq!(reveal(&rendered, &|_| None), rendered);
    assert!(render(&json!("{{ inputs.pw | b64encode }}"), &scope).is_err());
}

proptest! {
    #[test]
    fn any_text_is_rendered_or_refused_and_never_panics(text in "[{}%#|. a-z\"'\\[\\]-é]{0,40}|\\{\\{[ -~é]{0,30}\\}\\}") {
        let _ = eval(&text);
        let _ = paths_of_text(&text);
        let _ = paths_of_expression(&text);
        let _ = without_bare_paths(&text);
        let _ = bare_path(&text);
    }
}

#[test]
fn what_a_template_may_give_is_bounded() {
    for text in [
        "{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}",
        "{{ 'x' * 99999999 }}",
        "{{ ['x' * 999999] * 100 }}",
        "{{ [1, 2, 3] * 1000000 }}",
    ] {
        let message = eval(text).unwrap_err().message;
        assert!(message.contains("more than 64 MiB"), "{text}: {message}");
    }
    assert!(eval("{% for a in range(999) %}{{ 'x' * 1000 }}{% endfor %}").is_ok());
}

#[test]
fn a_text_is_known_only_if_all_of_it_is() {
    assert_eq!(known_text("n is {{ inputs.n }}", &scope()).as_deref(), Some("n is 3"));
    assert_eq!(known_text("n is {{ run.id }}", &scope()), None);
    let hole = json!({"n": Hole::Text.value()});
    let scope = Scope::default().inputs(hole.as_object().unwrap());
    assert_eq!(known_text("n is {{ inputs.n }}", &scope), None);
}

#[test]
fn a_condition_holds_by_its_value_and_a_text_that_says_no_is_refused() {
    let inputs = json!({ "word": "false", "empty": "", "other": "x", "printed": "No\n", "some": [0], "none": null });
    let scope = Scope::default().inputs(inputs.as_object().unwrap());
    for (expression, expected) in [
        ("inputs.some", true),
        ("inputs.some[0]", false),
        ("inputs.none", false),
        ("inputs.empty", false),
        ("inputs.other", true),
        ("not inputs.word", false),
        ("inputs.word == 'true'", false),
        ("inputs.empty != ''", false),
        ("{}", false),
        ("1 < 2", true),
    ] {
        assert_eq!(holds(expression, &scope), Ok(expected), "{expression}");
    }
    for expression in ["inputs.word", " inputs.printed", "true and inputs.word"] {
        let error = holds(expression, &scope).unwrap_err();
        assert_eq!(error.code(), "text-as-condition", "{expression}");
        assert_eq!(error.at.map(|at| &expression[at]), Some(expression.trim()));
    }
}
