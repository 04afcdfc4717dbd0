//! The JSON Schema of plans and sites, for editors: from the tables in `plan::keys` and the catalog of kinds.
//!
//! It says what stands where, which is what an editor can complete and check. What takes a look at names, templates or the
//! site is left to `requorum check`. It is written for editors with the YAML language server: these complete from
//! `properties`, and choose better messages for `if` than for alternatives.

mod kinds;
#[cfg(test)]
pub(super) mod tests;

use requorum_steps::{Kind, Seat, units};
use serde_json::{Map, Value, json};

use super::inputs;
use super::keys::{self, Form, Key, Shape, Table};
use super::yaml;

/// The draft that the schemas are written in.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a duration has to be, for a person.
const DURATION: &str = "a duration with a unit, for example 90s or 1h30m";
/// What a size has to be, for a person.
const SIZE: &str = "a size with a unit, for example 512MiB";

/// Returns the schema of plans that may use these kinds.
#[must_use]
pub fn of_plan(kinds: &[&'static Kind]) -> Value {
    Writer::new(kinds).document(&keys::PLAN)
}

/// Returns the schema of sites.
#[must_use]
pub fn of_site() -> Value {
    Writer::new(&[]).document(&keys::SITE)
}

/// Writes a schema. What is used in several places, or has a name of its own, is a definition.
struct Writer<'k> {
    kinds: &'k [&'static Kind],
    definitions: Map<String, Value>,
}

impl<'k> Writer<'k> {
    fn new(kinds: &'k [&'static Kind]) -> Self {
        Self { kinds, definitions: Map::new() }
    }

    fn document(mut self, table: &Table) -> Value {
        let mut document = json!({ "$schema": DRAFT, "title": format!("requorum {}", table.name) });
        merge(&mut document, self.map(table));
        // By name, so that another order of the same definitions makes no other file.
        self.definitions.sort_keys();
        document["$defs"] = Value::Object(self.definitions);
        document
    }

    /// Writes a definition once, and refers to it.
    fn defined(&mut self, name: &str, write: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.definitions.contains_key(name) {
            // A definition that refers to itself finds that it is there.
            self.definitions.insert(name.to_owned(), Value::Null);
            let schema = write(self);
            self.definitions.insert(name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// Writes a map with known keys.
    fn map(&mut self, table: &Table) -> Value {
        let properties: Map<String, Value> =
            table.keys.iter().map(|key| (key.name.to_owned(), self.key(key))).collect();
        let needed: Vec<&str> = table.keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
        let mut schema = json!({
            "description": table.help,
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !needed.is_empty() {
            schema["required"] = json!(needed);
        }
        schema
    }

    fn key(&mut self, key: &Key) -> Value {
        let mut schema = json!({ "description": key.help });
        merge(&mut schema, self.shape(key.shape));
        // A test reads every example.
        if let Ok(example) = yaml::value(key.example) {
            schema["examples"] = json!([example]);
        }
        schema
    }

    fn table(&mut self, table: &'static Table) -> Value {
        self.defined(table.name, |writer| writer.map(table))
    }

    fn shape(&mut self, shape: Shape) -> Value {
        match shape {
            Shape::Version => json!({ "const": 1 }),
            Shape::Text => json!({ "type": "string" }),
            Shape::TextOrTexts => json!({ "type": ["string", "array"], "items": { "type": "string" }, "minItems": 1 }),
            Shape::Form(form) => text(form.pattern, form.words),
            Shape::Condition => json!({
                "type": ["string", "boolean"],
                "pattern": r"^(?!\s*\{[{%])",
                "patternErrorMessage": "a bare expression, without braces",
            }),
            Shape::Bool => json!({ "type": "boolean" }),
            Shape::Number => json!({ "type": "number" }),
            Shape::Integer => json!({ "type": "integer" }),
            Shape::Count(least, u64::MAX) => json!({ "type": "integer", "minimum": least }),
            Shape::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Shape::Duration => text(units::DURATION, DURATION),
            Shape::Span => text(&format!("(?=.*[1-9]){}", units::DURATION), DURATION),
            Shape::Size => text(units::SIZE, SIZE),
            Shape::Word(words) => json!({ "enum": words() }),
            Shape::List(of) => json!({ "type": "array", "items": self.shape(*of) }),
            Shape::Filled(of) => json!({ "type": "array", "items": self.shape(*of), "minItems": 1 }),
            Shape::Map(form, of) => self.free_map(form, *of),
            Shape::Table(table) => self.table(table),
            Shape::OneOf(table) => self.one_of(table),
            Shape::ByWord(key, tables) => self.by_word(key, tables),
            Shape::Input => self.input(),
            Shape::Elements => json!({
                "type": ["array", "string"],
                "pattern": kinds::TEMPLATE,
                "patternErrorMessage": "a list, also of one element, or one template \"{{ … }}\"",
            }),
            Shape::Check => self.check(),
            Shape::Precheck => self.precheck(),
            Shape::Step => self.step(),
            Shape::Action => self.action(),
            Shape::Any => json!({}),
            Shape::Nothing => json!({ "not": {} }),
        }
    }

    fn free_map(&mut self, form: Option<Form>, of: Shape) -> Value {
        let mut schema = json!({ "type": "object", "additionalProperties": self.shape(of) });
        if let Some(form) = form {
            schema["propertyNames"] = json!({ "pattern": form.pattern, "errorMessage": form.words });
        }
        schema
    }

    fn one_of(&mut self, table: &'static Table) -> Value {
        self.defined(table.name, |writer| {
            let mut schema = writer.map(table);
            merge(&mut schema, json!({ "minProperties": 1, "maxProperties": 1 }));
            schema
        })
    }

    fn by_word(&mut self, key: &str, tables: &[(&'static str, &'static Table)]) -> Value {
        let words: Vec<&str> = tables.iter().map(|(word, _)| *word).collect();
        let cases = tables.iter().map(|(word, table)| case(key, word, &self.table(table))).collect();
        let help = tables[0].1.keys.iter().find(|one| one.name == key).map_or("", |one| one.help);
        json!({
            "type": "object",
            "properties": { key: { "description": help, "enum": words } },
            "required": [key],
            "allOf": Value::Array(cases),
        })
    }

    fn input(&mut self) -> Value {
        self.defined(keys::INPUT.name, |writer| {
            let mut schema = writer.map(&keys::INPUT);
            let mut cases = Vec::new();
            for ty in inputs::types() {
                let [default, bound] = [ty.default, ty.bound].map(|shape| writer.shape(shape));
                let mut then = json!({ "properties": { "default": default, "min": bound, "max": bound } });
                if ty.has_values {
                    then["required"] = json!(["values"]);
                    then["properties"]["values"] = json!({ "minItems": 1 });
                }
                cases.push(case("type", ty.word, &then));
            }
            schema["allOf"] = Value::Array(cases);
            schema
        })
    }

    fn check(&mut self) -> Value {
        self.defined(keys::CHECK.name, |writer| {
            let mut schema = writer.awaited_check();
            schema["dependentRequired"] = json!({ "every": ["within"] });
            schema
        })
    }

    /// Writes a check that may have its deadline from elsewhere.
    fn awaited_check(&mut self) -> Value {
        self.defined("awaited-check", |writer| {
            let mut schema = writer.map(&keys::CHECK);
            writer.add_kinds(&mut schema, Kind::is_check);
            schema
        })
    }

    fn precheck(&mut self) -> Value {
        let (included, check) = (self.table(&keys::INCLUDED_CHECKS), self.check());
        let include = keys::INCLUDED_CHECKS.keys.iter().find(|key| key.name == "include");
        let include = include.map(|key| self.key(key));
        json!({
            "type": "object",
            // For completion: an empty entry is still both.
            "properties": { "include": include },
            "if": has_include(),
            "then": included,
            "else": check,
        })
    }

    fn step(&mut self) -> Value {
        let included = self.table(&keys::INCLUDED_STEPS);
        let step = self.defined(keys::STEP.name, |writer| {
            let mut schema = writer.map(&keys::STEP);
            writer.add_kinds(&mut schema, |kind| !kind.is_check());
            let on_hosts = writer.kinds.iter().filter(|kind| !kind.is_check() && kind.seat == Seat::Host);
            schema["dependentRequired"] = on_hosts.map(|kind| (kind.name.to_owned(), json!(["on"]))).collect();
            schema
        });
        json!({ "type": "object", "if": has_include(), "then": included, "else": step })
    }

    fn action(&mut self) -> Value {
        self.defined(keys::UNDO.name, |writer| {
            let mut schema = writer.map(&keys::UNDO);
            writer.add_kinds(&mut schema, |kind| !kind.is_check());
            schema
        })
    }

    /// Adds kinds to the keys of a map that names exactly one of them.
    fn add_kinds(&mut self, schema: &mut Value, belongs: fn(&Kind) -> bool) {
        let check = self.awaited_check();
        let mut alternatives = Vec::new();
        for kind in self.kinds.iter().copied().filter(|kind| belongs(kind)) {
            schema["properties"][kind.name] = self.defined(kind.name, |_| kinds::arguments(kind, &check));
            alternatives.push(json!({ "required": [kind.name], "errorMessage": "it has to name exactly one kind" }));
        }
        schema["oneOf"] = Value::Array(alternatives);
    }
}

/// Describes text of a form. `errorMessage` is what the YAML language server then says, and nothing to other readers.
fn text(pattern: &str, words: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "errorMessage": words })
}

/// Says what holds of a map in which a key has this word.
fn case(key: &str, word: &str, then: &Value) -> Value {
    json!({ "if": { "properties": { key: { "const": word } }, "required": [key] }, "then": then })
}

/// Says that an entry includes others. An entry that is still empty does not: an editor offers the keys of the other sort.
fn has_include() -> Value {
    json!({ "type": "object", "required": ["include"] })
}

/// Adds the keywords of another schema.
fn merge(schema: &mut Value, other: Value) {
    if let (Value::Object(schema), Value::Object(other)) = (schema, other) {
        schema.extend(other);
    }
}
