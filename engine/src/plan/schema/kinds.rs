//! The schema of a kind's arguments, from its description in the catalog.
//!
//! Every text in an argument is a template. So a value that is no text may also be written as one template that becomes it,
//! and a text of a certain form may have a template in it.

use requorum_steps::{Arg, Builtin, Kind, Make, Rule, Seat, Type, units};
use serde_json::{Map, Value, json};

use super::{DURATION, SIZE, merge, text};
use crate::plan::yaml;

/// A text that is one template and becomes a value of any type.
pub(super) const TEMPLATE: &str = r"^\s*\{\{[\s\S]*\}\}\s*$";
/// A text with a template in it.
const WITH_TEMPLATE: &str = r"\{[{%#]";

/// Writes the schema of a kind's arguments; `check` is what stands for a check.
pub(super) fn arguments(kind: &Kind, check: &Value) -> Value {
    let mut schema = json!({ "description": describe(kind) });
    // A test reads every example.
    if let Ok(example) = yaml::value(kind.example) {
        schema["examples"] = json!([example]);
    }
    if matches!(kind.make, Make::Builtin(Builtin::Set)) {
        merge(&mut schema, json!({ "type": ["object", "null"] }));
        return schema;
    }
    merge(&mut schema, object(kind.args, check));
    if let Some(deadlines) = awaited(kind.args) {
        schema["anyOf"] = deadlines;
    }
    if !kind.rules.is_empty() {
        schema["allOf"] = kind.rules.iter().map(|rule| one_rule(*rule)).collect();
    }
    let needs_some = kind.args.iter().any(|arg| arg.required) || kind.rules.iter().any(|rule| asks_for_some(*rule));
    // `kind:` with nothing after it has no arguments.
    schema["type"] = if needs_some { json!("object") } else { json!(["object", "null"]) };
    schema
}

/// Writes for a person what an author has to know of a kind.
fn describe(kind: &Kind) -> String {
    let mut paragraphs = vec![kind.summary.to_owned()];
    if !kind.details.is_empty() {
        paragraphs.push(kind.details.to_owned());
    }
    paragraphs.push(facts(kind));
    if !kind.result.is_empty() {
        let fields: Vec<String> = kind.result.iter().map(|field| format!("{}: {}", field.name, field.help)).collect();
        paragraphs.push(format!("Result. {}", fields.join(" ")));
    }
    for (name, text) in [("Probe", kind.probe), ("Undo", kind.undo), ("Needs on the host", kind.needs)] {
        if !text.is_empty() {
            paragraphs.push(format!("{name}: {text}"));
        }
    }
    paragraphs.join("\n\n")
}

fn facts(kind: &Kind) -> String {
    match (kind.is_check(), kind.seat) {
        (true, Seat::Host) => "Looks on hosts: those of `hosts`, else the host of the item.".to_owned(),
        (true, Seat::Here) => "Looks on the machine that runs requorum.".to_owned(),
        (true, Seat::Cluster) => "Looks at the etcd API.".to_owned(),
        (false, seat) => {
            let seat = match seat {
                Seat::Host => "on a host, so that the step needs `on`",
                Seat::Here => "on the machine that runs requorum",
                Seat::Cluster => "at the etcd API",
            };
            format!("Works {seat}. Effect: {}. Danger: {}.", kind.effect, kind.danger)
        }
    }
}

fn object(args: &[Arg], check: &Value) -> Value {
    let properties: Map<String, Value> = args
        .iter()
        .map(|arg| {
            let secret = if arg.secret { " May be a secret." } else { "" };
            let mut schema = json!({ "description": format!("{}{secret}", arg.help) });
            merge(&mut schema, value(arg.ty, check));
            (arg.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = args.iter().filter(|arg| arg.required).map(|arg| arg.name).collect();
    let mut schema = json!({ "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn value(ty: Type, check: &Value) -> Value {
    match ty {
        // A path and an expression are texts of which nothing more can be said.
        Type::Str | Type::Path | Type::LocalPath | Type::Place | Type::Expression => json!({ "type": "string" }),
        Type::Int => or_template("integer", json!({})),
        Type::Bool => or_template("boolean", json!({})),
        Type::Duration => with_template(units::DURATION, DURATION, "90s"),
        Type::Size => with_template(units::SIZE, SIZE, "512MiB"),
        Type::Word(words) => json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": WITH_TEMPLATE }] }),
        Type::Host => json!({ "type": ["string", "object"], "properties": { "name": { "type": "string" } },
            "required": ["name"] }),
        Type::Hosts => json!({ "type": ["array", "string", "object"], "items": value(Type::Host, check),
            "properties": { "name": { "type": "string" } }, "required": ["name"] }),
        Type::List(of) => or_template("array", json!({ "items": value(*of, check) })),
        Type::Map(of) => or_template("object", json!({ "additionalProperties": value(*of, check) })),
        Type::Object(args) => or_template("object", object(args, check)),
        Type::OneOf(types) => json!({ "anyOf": types.iter().map(|ty| value(*ty, check)).collect::<Vec<_>>() }),
        Type::Checks => json!({ "type": "array", "minItems": 1, "items": check }),
        Type::Any => json!({}),
    }
}

/// Every check has its own deadline, or all of them have one.
fn awaited(args: &[Arg]) -> Option<Value> {
    let arg = args.iter().find(|arg| matches!(arg.ty, Type::Checks))?;
    let each = json!({ "properties": { arg.name: { "items": { "required": ["within"] } } } });
    Some(json!([{ "required": ["within"] }, each]))
}

/// A value of a JSON type, or a template that becomes one.
fn or_template(ty: &str, more: Value) -> Value {
    let words = format!("no text, but a value of type {ty}, or one template \"{{{{ … }}}}\"");
    let mut schema = json!({ "type": [ty, "string"], "pattern": TEMPLATE, "patternErrorMessage": words });
    merge(&mut schema, more);
    schema
}

/// A text of a form, or one with a template in it.
fn with_template(form: &str, words: &str, example: &str) -> Value {
    let mut schema = text(&format!("{form}|{WITH_TEMPLATE}"), words);
    schema["examples"] = json!([example]);
    schema
}

fn one_rule(rule: Rule) -> Value {
    let there = |names: &[&str]| names.iter().map(|name| json!({ "required": [name] })).collect::<Vec<_>>();
    match rule {
        Rule::ExactlyOne(names) => json!({ "oneOf": there(names) }),
        Rule::AtLeastOne(names) => json!({ "anyOf": there(names) }),
        Rule::AtMostOne(names) => {
            let pairs =
                names.iter().enumerate().flat_map(|(at, one)| names[at + 1..].iter().map(move |two| [one, two]));
            // Nothing at all has no arguments, and so at most one of them.
            json!({ "not": { "type": "object", "anyOf": pairs.map(|pair| json!({ "required": pair })).collect::<Vec<_>>() } })
        }
    }
}

fn asks_for_some(rule: Rule) -> bool {
    match rule {
        Rule::ExactlyOne(_) | Rule::AtLeastOne(_) => true,
        Rule::AtMostOne(_) => false,
    }
}
