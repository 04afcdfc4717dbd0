//! The schemas by themselves, and held against what the compiler reads.
#![allow(clippy::unwrap_used)]

mod agreement;
mod arguments;
mod corpus;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use requorum_steps::catalog;
use serde_json::{Value, json};

use super::{keys, of_plan, of_site};
use crate::plan::diagnostic::{File, Problems, Severity};
use crate::plan::{Diagnostic, Files, Given, Mode, Request, Source, compile, yaml};

static PLANS: LazyLock<Validator> = LazyLock::new(|| validator(&of_plan(catalog::all())));
static SITES: LazyLock<Validator> = LazyLock::new(|| validator(&of_site()));

pub fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::new(schema).unwrap()
}

/// Returns what a file says, without places. `None` where it is no YAML.
pub fn read(text: &str) -> Option<Value> {
    let source = Source { name: "text".to_owned(), text: text.to_owned(), directory: None };
    Some(yaml::parse(&source, File::MAIN, &mut Problems::of(&source))?.to_json())
}

/// Says what a schema has against a value; empty: nothing.
pub fn objections(validator: &Validator, value: &Value) -> Vec<String> {
    let shown = |error: jsonschema::ValidationError<'_>| {
        let text: String = error.to_string().chars().take(300).collect();
        format!("{}: {text}", error.instance_path())
    };
    validator.iter_errors(value).map(shown).collect()
}

/// A home without files.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

/// Returns what the compiler has against a plan and its site, with the catalog of this version.
fn refusals(plan: &str, site: Option<&str>, mode: Mode) -> Vec<Diagnostic> {
    let source = |name: &str, text: &str| Source {
        name: name.to_owned(),
        text: text.to_owned(),
        directory: Some("/nowhere".into()),
    };
    let (plan, site) = (source("plan", plan), site.map(|text| source("site", text)));
    let request = Request {
        plan: &plan,
        site: site.as_ref(),
        inputs: &Given::default(),
        home: None,
        files: &NoFiles,
        mode,
        kinds: catalog::all(),
    };
    let mut found = compile(&request).map_or_else(|refused| refused.found, |compiled| compiled.warnings);
    found.retain(|found| found.severity == Severity::Error);
    found
}

#[test]
fn the_schemas_are_valid_schemas_of_their_draft() {
    for schema in [of_plan(catalog::all()), of_site()] {
        assert!(jsonschema::meta::validate(&schema).is_ok(), "{:?}", jsonschema::meta::validate(&schema));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    // The check of a schema can fail.
    assert!(jsonschema::meta::validate(&json!({ "$schema": super::DRAFT, "type": "texts" })).is_err());
}

/// Calls a function with every map inside a value.
fn each_map(value: &Value, call: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            call(map);
            map.values().for_each(|value| each_map(value, call));
        }
        Value::Array(items) => items.iter().for_each(|item| each_map(item, call)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_definition_is_used() {
    for schema in [of_plan(catalog::all()), of_site()] {
        let mut used = BTreeSet::new();
        each_map(&schema, &mut |map| used.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned)));
        let defined: BTreeSet<String> =
            schema["$defs"].as_object().unwrap().keys().map(|name| format!("#/$defs/{name}")).collect();
        assert_eq!(used, defined);
    }
}

#[test]
fn every_example_is_what_it_is_an_example_of() {
    let mut count = 0;
    for schema in [of_plan(catalog::all()), of_site()] {
        each_map(&schema, &mut |map| {
            let Some(Value::Array(examples)) = map.get("examples") else { return };
            let mut one = Value::Object(map.clone());
            one["$defs"] = schema["$defs"].clone();
            let validator = validator(&one);
            for example in examples {
                assert_eq!(objections(&validator, example), [""; 0], "{example}");
                count += 1;
            }
        });
    }
    assert!(count > 60, "{count} examples");
}

#[test]
fn every_example_is_read() {
    for table in agreement::tables() {
        for key in table.keys.iter().filter(|key| !key.example.is_empty()) {
            assert!(yaml::value(key.example).is_ok(), "{}.{}: {}", table.name, key.name, key.example);
        }
    }
}

#[test]
fn editors_are_told_what_every_key_and_kind_means() {
    for schema in [of_plan(catalog::all()), of_site()] {
        let check = |owner: &str, properties: &Value| {
            for (name, property) in properties.as_object().into_iter().flatten() {
                let target = property["$ref"].as_str().and_then(|target| schema.pointer(&target[1..]));
                let described = property["description"].as_str().or_else(|| target?["description"].as_str());
                assert!(described.is_some_and(|text| text.len() > 5), "{owner}.{name} has no description");
            }
        };
        check("document", &schema["properties"]);
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            check(name, &definition["properties"]);
        }
    }
    let schema = of_plan(catalog::all());
    let step = schema["$defs"]["step"]["properties"].as_object().unwrap();
    for kind in catalog::all() {
        assert_eq!(step.contains_key(kind.name), !kind.is_check(), "{}", kind.name);
        let text = schema["$defs"][kind.name]["description"].as_str().unwrap();
        assert!(text.starts_with(kind.summary), "{text}");
    }
    for key in keys::STEP.names() {
        assert!(step.contains_key(key), "{key}");
    }
}

/// Returns the blocks of a page that are whole files.
fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page)).unwrap();
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.lines().any(|line| line == "requorum: 1")).map(str::to_owned).collect()
}

/// Returns the YAML files below a directory, but for the corpus of defects.
fn files(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("defects") {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn what_is_shipped_documented_or_run_by_tests_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts: Vec<String> = requorum_plans::all().into_iter().map(|plan| plan.text.to_owned()).collect();
    let shipped = texts.len();
    for page in ["docs/language.md", "README.md"] {
        texts.extend(blocks(page));
    }
    files(&root.join("tests"), &mut texts);
    files(&root.join("engine/src"), &mut texts);
    let (mut plans, mut sites) = (0, 0);
    for text in texts {
        let value = read(&text).unwrap();
        // Pieces that tests put together are no whole plans.
        if value.get("requorum").is_none() {
            continue;
        }
        let is_site = value.get("cluster").is_some();
        let validator = if is_site { &SITES } else { &PLANS };
        *(if is_site { &mut sites } else { &mut plans }) += 1;
        // This one has the kinds of the compiler's own tests, which `Try::accepted` holds against their schema.
        if value["name"] != "etcd/mutated" {
            assert_eq!(objections(validator, &value), [""; 0], "{text}");
        }
    }
    assert!(plans >= shipped + 4 && sites >= 3, "{plans} plans, {sites} sites");
}

#[test]
fn shipped_plans_name_the_schema_that_lies_beside_their_folder() {
    for plan in requorum_plans::all() {
        let first = plan.text.lines().next().unwrap();
        let path = first.strip_prefix("# yaml-language-server: $schema=").unwrap_or_else(|| panic!("{}", plan.name));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plans").join(&plan.name);
        let schema = std::fs::read_to_string(folder.parent().unwrap().join(path)).unwrap();
        // Not assert_eq: nobody reads two schemas.
        assert!(serde_json::from_str::<Value>(&schema).unwrap() == of_plan(catalog::all()), "{}", plan.name);
    }
}

#[test]
fn every_key_is_in_the_description_of_the_language() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/language.md")).unwrap();
    // A key of its own, within a path of keys, or in a map that is shown.
    let is_written = |name: &str| {
        let around =
            [("`", "`"), ("`", "."), (".", "`"), ("{ ", ":"), (", ", ":"), ("{ ", ","), (", ", ","), (", ", " }")];
        around.iter().any(|(before, after)| page.contains(&format!("{before}{name}{after}")))
    };
    let mut missing = Vec::new();
    // `include` is described as a whole.
    for table in agreement::tables().into_iter().filter(|table| !table.name.starts_with("included-")) {
        missing.extend(table.names().filter(|name| !is_written(name)).map(|name| format!("{}.{name}", table.name)));
    }
    assert_eq!(missing, [""; 0]);
}
