//! The schemas for editors: printed, and written beside a copied plan.

use std::fs;

use serde_json::Value;

use crate::support::Laptop;

const MODELINE: &str = "# yaml-language-server: $schema=./plan.schema.json\n";

#[test]
fn the_schemas_are_printed_for_editors() {
    let laptop = Laptop::new();
    for (of, has) in [("plan", "steps"), ("site", "hosts")] {
        let printed = laptop.expect(0, &["schema", of]);
        let schema: Value = serde_json::from_str(&printed.stdout).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(schema["properties"][has]["description"].is_string(), "{has}");
        assert_eq!(printed.stderr, "");
    }
    laptop.expect(2, &["schema", "run"]);
    assert!(!laptop.state().exists());
}

#[test]
fn a_copied_plan_names_the_schema_that_is_written_beside_it() {
    let laptop = Laptop::new();
    fs::create_dir(laptop.path("mine")).unwrap();
    let copied = laptop.expect(0, &["plans", "copy", "etcd/snapshot", "mine/backup.yaml"]);
    assert_eq!(copied.stdout, "mine/backup.yaml\n");
    copied.says("also wrote mine/plan.schema.json");
    assert!(fs::read_to_string(laptop.path("mine/backup.yaml")).unwrap().starts_with(MODELINE));
    let schema = fs::read_to_string(laptop.path("mine/plan.schema.json")).unwrap();
    assert_eq!(schema, laptop.expect(0, &["schema", "plan"]).stdout);
    laptop.expect(0, &["check", "mine/backup.yaml"]).prints("is valid");
    // The next copy finds it there, and has nothing to tell.
    let copied = laptop.expect(0, &["plans", "copy", "etcd/snapshot", "mine/other.yaml"]);
    assert_eq!(copied.stderr, "");
}

#[test]
fn a_schema_that_is_there_is_never_overwritten() {
    let laptop = Laptop::new();
    laptop.write("plan.schema.json", "{}");
    laptop.expect(0, &["plans", "copy", "etcd/snapshot"]).says("is left as it is");
    assert_eq!(fs::read_to_string(laptop.path("plan.schema.json")).unwrap(), "{}");
    // A copy that is refused writes no schema either.
    fs::create_dir(laptop.path("full")).unwrap();
    laptop.write("full/snapshot.yaml", "");
    laptop.expect(2, &["plans", "copy", "etcd/snapshot", "full/snapshot.yaml"]);
    assert!(!laptop.path("full/plan.schema.json").exists());
}

#[test]
fn skeletons_name_the_schema_beside_them_and_fit_it() {
    let laptop = Laptop::new();
    let platforms = ["any", "systemd-etcd", "kubeadm", "uk8s", "openshift-4.4", "openshift-4.12"];
    for (of, platform) in platforms.iter().flat_map(|platform| [("plan", platform), ("site", platform)]) {
        let file = format!("{platform}-{of}.yaml");
        let made = laptop.expect(0, &["new", of, &file, "--platform", platform]);
        assert_eq!(
            made.stderr.contains(&format!("also wrote {of}.schema.json")),
            *platform == "any",
            "{}",
            made.stderr
        );
        let text = fs::read_to_string(laptop.path(&file)).unwrap();
        assert!(text.starts_with(&format!("# yaml-language-server: $schema=./{of}.schema.json\n")), "{text}");
        let schema = fs::read_to_string(laptop.path(&format!("{of}.schema.json"))).unwrap();
        assert_eq!(schema, laptop.expect(0, &["schema", of]).stdout);
        let schema = jsonschema::draft202012::new(&serde_json::from_str(&schema).unwrap()).unwrap();
        let skeleton: Value = serde_yaml::from_str(&text).unwrap();
        assert!(schema.is_valid(&skeleton), "{:?}", schema.iter_errors(&skeleton).collect::<Vec<_>>());
    }
    // What is printed has no place, and so no schema beside it.
    let printed = laptop.expect(0, &["new", "-"]).stdout;
    assert!(!printed.contains("$schema"), "{printed}");
}
