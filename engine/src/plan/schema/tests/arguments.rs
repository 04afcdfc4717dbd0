//! The arguments of every kind, held against the check of arguments that compiler and engine use.

use requorum_steps::{Arg, Builtin, Kind, Make, Rule, Type, catalog};
use serde_json::{Map, Value, json};

use super::validator;
use crate::plan::schema::kinds;
use crate::plan::validate;

/// A value of a type.
fn sample(ty: Type) -> Value {
    match ty {
        Type::Str | Type::Path | Type::LocalPath | Type::Place | Type::Expression => json!("x"),
        Type::Int | Type::Any => json!(1),
        Type::Bool => json!(true),
        Type::Duration => json!("90s"),
        Type::Size => json!("512MiB"),
        Type::Word(words) => json!(words[0]),
        Type::Host => json!("cp1"),
        Type::Hosts => json!(["cp1", { "name": "cp2" }]),
        Type::List(of) => json!([sample(*of)]),
        Type::Map(of) => json!({ "k": sample(*of) }),
        Type::Object(args) => args.iter().map(|arg| (arg.name.to_owned(), sample(arg.ty))).collect(),
        Type::OneOf(types) => sample(types[0]),
        Type::Checks => json!([{ "within": "1m" }]),
    }
}

/// Values of all sorts; some of them fit a type.
fn probes(ty: Type) -> Vec<Value> {
    let mut probes = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("x"),
        json!("90"),
        json!("90s"),
        json!("1h 30m"),
        json!("0s"),
        json!("512MiB"),
        json!("5 MB"),
        json!([]),
        json!([1]),
        json!(["x"]),
        json!([["x"]]),
        json!([{ "name": "x" }]),
        json!([{ "name": 1 }]),
        json!({}),
        json!({ "name": "x" }),
        json!({ "name": 1 }),
        json!({ "x": 1 }),
        json!({ "x": "y" }),
        json!({ "x": ["y"] }),
    ];
    words(ty, &mut probes);
    probes
}

fn words(ty: Type, found: &mut Vec<Value>) {
    match ty {
        Type::Word(words) => found.extend(words.iter().map(|word| json!(word))),
        Type::OneOf(types) => types.iter().for_each(|ty| {
            words(*ty, found);
            found.push(sample(*ty));
        }),
        Type::List(of) | Type::Map(of) => words(*of, found),
        // A key at a time, and one too many.
        Type::Object(args) => {
            found.extend(args.iter().map(|arg| json!({ arg.name: sample(arg.ty) })));
            found.push(sample(ty));
        }
        Type::Str
        | Type::Path
        | Type::LocalPath
        | Type::Place
        | Type::Int
        | Type::Bool
        | Type::Duration
        | Type::Size
        | Type::Host
        | Type::Hosts
        | Type::Checks
        | Type::Expression
        | Type::Any => {}
    }
}

/// Arguments that a kind takes.
fn good(kind: &Kind) -> Map<String, Value> {
    let mut args: Map<String, Value> =
        kind.args.iter().map(|arg: &Arg| (arg.name.to_owned(), sample(arg.ty))).collect();
    for rule in kind.rules {
        let (Rule::ExactlyOne(names) | Rule::AtMostOne(names) | Rule::AtLeastOne(names)) = rule;
        for name in &names[1..] {
            args.remove(*name);
        }
    }
    args
}

#[test]
fn the_schema_takes_the_arguments_that_a_kind_takes_and_no_others() {
    let mut tried = 0;
    for kind in catalog::all() {
        let schema = validator(&kinds::arguments(kind, &json!({ "type": "object" })));
        let mut compare = |args: &Value| {
            let found = validate::arguments(kind, args, None);
            assert_eq!(schema.is_valid(args), found.is_empty(), "{}: {args}: {found:?}", kind.name);
            tried += 1;
        };
        let good = good(kind);
        compare(&Value::Object(good.clone()));
        for args in [json!(null), json!({}), json!([]), json!("x"), json!(1), json!({ "zzz": 1 })] {
            compare(&args);
        }
        for arg in kind.args {
            let mut without = good.clone();
            without.remove(arg.name);
            compare(&Value::Object(without.clone()));
            for probe in probes(arg.ty) {
                // What is in a list of checks is looked at elsewhere.
                if arg.ty == Type::Checks && probe.is_array() {
                    continue;
                }
                let mut args = good.clone();
                args.insert(arg.name.to_owned(), probe);
                compare(&Value::Object(args));
            }
        }
        let mut all = good.clone();
        all.insert("zzz".to_owned(), json!(1));
        compare(&Value::Object(all));
    }
    assert!(tried > 2000, "{tried}");
}

#[test]
fn the_schema_takes_exactly_as_many_arguments_as_rules_allow() {
    for kind in catalog::all().iter().filter(|kind| !kind.rules.is_empty()) {
        let schema = validator(&kinds::arguments(kind, &json!({})));
        let named: Vec<&str> = kind.rules.iter().flat_map(|rule| names(*rule)).copied().collect();
        for choice in 0..1_u32 << named.len() {
            let mut args = good(kind);
            for (at, name) in named.iter().enumerate() {
                let ty = kind.args.iter().find(|arg| arg.name == *name).unwrap().ty;
                args.remove(*name);
                if choice & (1 << at) != 0 {
                    args.insert((*name).to_owned(), sample(ty));
                }
            }
            let args = Value::Object(args);
            assert_eq!(
                schema.is_valid(&args),
                validate::arguments(kind, &args, None).is_empty(),
                "{}: {args}",
                kind.name
            );
        }
    }
}

fn names(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::ExactlyOne(names) | Rule::AtMostOne(names) | Rule::AtLeastOne(names) => names,
    }
}

#[test]
fn a_template_may_stand_wherever_it_is_rendered() {
    for kind in catalog::all().iter().filter(|kind| !matches!(kind.make, Make::Builtin(Builtin::Set))) {
        let schema = validator(&kinds::arguments(kind, &json!({ "type": "object" })));
        for arg in kind.args.iter().filter(|arg| arg.ty != Type::Checks) {
            for text in ["{{ inputs.x }}", "{{- inputs.x if inputs.y else [1] -}}"] {
                let mut args = good(kind);
                let rivals = kind.rules.iter().map(|rule| names(*rule)).filter(|names| names.contains(&arg.name));
                rivals.flatten().for_each(|name| drop(args.remove(*name)));
                args.insert(arg.name.to_owned(), json!(text));
                assert!(schema.is_valid(&Value::Object(args)), "{}.{}: {text}", kind.name, arg.name);
            }
        }
    }
}

#[test]
fn a_template_amid_other_text_gives_text() {
    let kind = catalog::find("file.free_space").unwrap();
    let schema = validator(&kinds::arguments(kind, &json!({})));
    assert!(schema.is_valid(&json!({ "path": "/x{{ inputs.x }}", "at_least": "{{ inputs.n }}MiB" })));
    assert!(!schema.is_valid(&json!({ "path": "/x", "at_least": "{ inputs.n }MiB" })));
    let run = catalog::find("ssh.run").unwrap();
    let schema = validator(&kinds::arguments(run, &json!({})));
    assert!(schema.is_valid(&json!({ "run": "x", "exit_codes": ["{{ inputs.x }}"] })));
    assert!(!schema.is_valid(&json!({ "run": "x", "exit_codes": ["1{{ inputs.x }}"] })));
}
