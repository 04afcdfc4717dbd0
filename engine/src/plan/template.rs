//! Templates and expressions: minijinja, strict and bounded, with the filters of the plan language.
//!
//! Rendering goes over values: every text in an argument is a template of its own, and a text that is exactly one
//! `{{ e }}` becomes the value of `e` with its type. Step ids are kebab-case, which is a subtraction to minijinja, so
//! `steps.set-aside` and `steps["set-aside"]` are written as `steps.set_aside` before they are compiled; ids have no
//! underscore of their own.

mod filters;
mod growing;
mod placeholder;
mod spelling;
mod wording;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::string::FromUtf8Error;
use std::sync::{Arc, LazyLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, UndefinedBehavior};
use requorum_steps::{Kind, Type};
use serde_json::{Map, Value};

use super::compiled::Subject;
use super::diagnostic::nearest;
use super::fields::list;
use super::paths::Start;
use growing::Growing;
pub(super) use placeholder::{Hole, hole_in, hole_of};
pub use placeholder::{Lost, lost_in, placeholder, placeholders_in, reveal};

/// How many instructions one template may execute.
const FUEL: u64 = 1_000_000;
/// How deep the values of one template may nest calls.
const RECURSION: usize = 100;
/// How much one template may give, in bytes: as much as a plan may have. Fuel counts instructions, not what they make.
const MOST_BYTES: usize = 64 << 20;
/// What a value counts for beside its text.
const VALUE_BYTES: usize = 64;

static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = Environment::new();
    // A line that only has a statement leaves nothing behind, and a file keeps its last line break.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    language.set_undefined_behavior(UndefinedBehavior::Strict);
    language.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    language.set_fuel(Some(FUEL));
    language.set_recursion_limit(RECURSION);
    if let Ok(syntax) = syntax {
        language.set_syntax(syntax);
    }
    language.set_debug(true);
    filters::add(&mut language);
    language
});

/// Says why a template or expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadTemplate {
    /// What is wrong.
    pub message: String,
    /// Why it is wrong.
    pub cause: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// The bytes of the text that are at fault, where they are known.
    pub at: Option<Range<usize>>,
    sort: Sort,
}

/// The sorts of bad templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// It is malformed.
    Syntax,
    /// It uses a filter that there is not.
    UnknownFilter,
    /// It uses a test that there is not.
    UnknownTest,
    /// It uses a part of a value that is not there.
    Undefined,
    /// It takes too long.
    Endless,
    /// It would change a secret.
    Secret,
    /// It is a condition whose value is a text.
    TextAsCondition,
    /// It cannot be rendered with the values that it has.
    Failed,
}

impl BadTemplate {
    fn new(sort: Sort, message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None, help: None, at: None, sort }
    }

    fn cause(self, text: impl Into<String>) -> Self {
        Self { cause: Some(text.into()), ..self }
    }

    fn help(self, text: impl Into<String>) -> Self {
        Self { help: Some(text.into()), ..self }
    }

    fn at(self, at: Range<usize>) -> Self {
        Self { at: Some(at), ..self }
    }

    /// The same in a text of which it concerns a part.
    fn inside(self, text: &str, part: &str) -> Self {
        let before = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        Self { at: self.at.map(|at| at.start + before..at.end + before), ..self }
    }

    /// The code under which it is reported.
    pub(super) fn code(&self) -> &'static str {
        match self.sort {
            Sort::Syntax => "template-syntax",
            Sort::UnknownFilter => "unknown-filter",
            Sort::UnknownTest => "unknown-test",
            Sort::Undefined => "undefined-value",
            Sort::Endless => "endless-template",
            Sort::Secret => "secret-changed",
            Sort::TextAsCondition => "text-as-condition",
            Sort::Failed => "template",
        }
    }
}

/// What templates see, and where the paths in them start. A copy is cheap.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    names: Arc<BTreeMap<&'static str, minijinja::Value>>,
    start: Start,
}

impl Scope {
    /// Lets relative paths of this machine start from somewhere.
    #[must_use]
    pub fn starting(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// Returns where relative paths of this machine start.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Lets the templates of triage see the facts.
    #[must_use]
    pub fn seen(self, facts: &Value) -> Self {
        self.with("seen", facts)
    }

    /// Lets templates see the inputs.
    #[must_use]
    pub fn inputs(self, inputs: &Map<String, Value>) -> Self {
        self.with("inputs", inputs)
    }

    /// Lets templates see the vars.
    #[must_use]
    pub fn vars(self, vars: &Map<String, Value>) -> Self {
        self.with("vars", vars)
    }

    /// Lets templates see vars that are added one by one.
    #[must_use]
    pub(super) fn growing_vars(mut self) -> Self {
        self.set("vars", Growing::default().into());
        self
    }

    /// Lets templates see one more var, after [`Scope::growing_vars`]. All copies of the scope see it.
    pub(super) fn add_var(&self, name: &str, value: &Value) {
        if let Some(vars) = self.names.get("vars").and_then(|vars| vars.downcast_object_ref::<Growing>()) {
            vars.add(name, minijinja::Value::from(Serde(value)));
        }
    }

    /// Lets templates see the site, as [`super::ReadSite::value`] has it.
    #[must_use]
    pub fn site(self, site: &Value) -> Self {
        self.with("site", site)
    }

    /// Lets templates see the run: an object with `id`, `started`, `started_s` and `mark`.
    #[must_use]
    pub fn run(self, run: &Value) -> Self {
        self.with("run", run)
    }

    /// Lets templates see other steps: id to an object with `outputs` and `result`, or a list of such objects' fields
    /// where the step fans out. Only those that its templates name are needed.
    #[must_use]
    pub fn steps(self, steps: &BTreeMap<String, Value>) -> Self {
        let spelled: BTreeMap<String, &Value> = steps.iter().map(|(id, step)| (id.replace('-', "_"), step)).collect();
        self.with("steps", &spelled)
    }

    /// Lets templates see the result of the step itself, for its `outputs` and `undo`.
    #[must_use]
    pub fn result(self, result: &Value) -> Self {
        self.with("result", result)
    }

    /// Lets templates see `host` or `item`. The host comes from the site, which must be there already.
    #[must_use]
    pub fn subject(mut self, subject: &Subject) -> Self {
        let names = Arc::make_mut(&mut self.names);
        names.remove("host");
        names.remove("item");
        match subject {
            Subject::None => {}
            Subject::Host(name) => {
                let hosts = names.get("site").and_then(|site| site.get_attr("hosts").ok());
                if let Some(host) = hosts.and_then(|hosts| hosts.get_item(&name.as_str().into()).ok()) {
                    names.insert("host", host);
                }
            }
            Subject::Value(value) => {
                names.insert("item", minijinja::Value::from(Serde(value)));
            }
        }
        self
    }

    fn with(mut self, name: &'static str, value: impl serde::Serialize) -> Self {
        self.set(name, minijinja::Value::from(Serde(value)));
        self
    }

    fn set(&mut self, name: &'static str, value: minijinja::Value) {
        Arc::make_mut(&mut self.names).insert(name, value);
    }

    fn context(&self) -> minijinja::Value {
        minijinja::Value::from_pairs(self.names.iter().map(|(name, value)| (*name, value.clone())))
    }
}

/// Renders every text inside a value.
pub fn render(value: &Value, scope: &Scope) -> Result<Value, BadTemplate> {
    Ok(match value {
        Value::String(text) => return render_scalar(text, scope),
        Value::Array(items) => Value::Array(items.iter().map(|item| render(item, scope)).collect::<Result<_, _>>()?),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, item)| Ok((key.clone(), render(item, scope)?)))
                .collect::<Result<_, BadTemplate>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// Renders the arguments of a kind. Bare expressions stay as they are: the engine evaluates them with [`holds`].
pub fn render_args(kind: &Kind, args: &Value, scope: &Scope) -> Result<Value, BadTemplate> {
    let Value::Object(map) = args else { return render(args, scope) };
    let is_expression = |key: &str| kind.args.iter().any(|arg| arg.name == key && arg.ty == Type::Expression);
    let rendered = map.iter().map(|(key, value)| {
        let value = if is_expression(key) { value.clone() } else { render(value, scope)? };
        Ok((key.clone(), value))
    });
    Ok(Value::Object(rendered.collect::<Result<_, BadTemplate>>()?))
}

/// Renders a text to a text, for titles and messages.
pub fn render_text(text: &str, scope: &Scope) -> Result<String, BadTemplate> {
    Ok(match render_scalar(text, scope)? {
        Value::String(text) => text,
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            value.to_string()
        }
    })
}

/// Renders a text where all of it is known before a run; `None` where only the run, a site or an input can tell.
#[must_use]
pub fn known_text(text: &str, scope: &Scope) -> Option<String> {
    render_text(text, scope).ok().filter(|text| !hole_in(&Value::String(text.clone())))
}

/// Evaluates a bare expression.
pub fn evaluate(expression: &str, scope: &Scope) -> Result<Value, BadTemplate> {
    let spelled = spelling::expression(expression);
    let bad = |error: Error| explained(&error, expression, true, scope);
    let compiled = LANGUAGE.compile_expression_owned(spelled.into_owned()).map_err(bad)?;
    let value = compiled.eval(scope.context()).map_err(bad)?;
    if value.is_undefined() {
        let written = expression.trim();
        let bad = BadTemplate::new(Sort::Undefined, format!("`{written}` is not defined")).at(0..written.len());
        return Err(undefined(bad.inside(expression, written), expression, true, scope));
    }
    to_json(&value)
}

/// Says what is wrong, and where something is not defined, what there is instead.
fn explained(error: &Error, text: &str, is_expression: bool, scope: &Scope) -> BadTemplate {
    undefined(wording::explain(error, text, is_expression), text, is_expression, scope)
}

/// Blames the first name of a path that is not there, and says which ones are.
fn undefined(bad: BadTemplate, text: &str, is_expression: bool, scope: &Scope) -> BadTemplate {
    let Some(at) = bad.at.clone().filter(|_| bad.sort == Sort::Undefined) else { return bad };
    let spelled = if is_expression { spelling::expression(text) } else { spelling::template(text) };
    let Some(names) = spelling::path_over(&spelled, is_expression, at.start) else { return bad };
    let mut names = names.into_iter();
    let Some((root, first)) = names.next() else { return bad };
    let Some(mut value) = scope.names.get(root.as_str()).cloned() else { return bad };
    let mut whole = first;
    for (name, range) in names {
        let next = match name.parse::<usize>() {
            Ok(index) => value.get_item_by_index(index),
            Err(_) => value.get_attr(&name),
        };
        match next.ok().filter(|next| !next.is_undefined()) {
            Some(next) => value = next,
            None => return absent(&value, &text[whole], &name).at(range),
        }
        whole.end = range.end;
    }
    bad
}

/// Says that a value has no such part.
fn absent(value: &minijinja::Value, path: &str, name: &str) -> BadTemplate {
    let bad = BadTemplate::new(Sort::Undefined, format!("`{path}` has no `{name}`"));
    if value.kind() != ValueKind::Map {
        return bad.cause(format!("it is {}", wording::sort(&value.kind().to_string())));
    }
    let keys: Vec<String> = value.try_iter().map(|keys| keys.map(|key| key.to_string()).collect()).unwrap_or_default();
    match nearest(name, keys.iter().map(String::as_str)) {
        Some(near) => bad.help(format!("did you mean `{near}`?")),
        None if keys.is_empty() => bad.cause("it is empty"),
        None => bad.help(format!("it has {}", list(&keys))),
    }
}

/// Evaluates a condition: `false`, 0, nothing and what is empty do not hold. A text that says no is refused: it would hold.
pub fn holds(expression: &str, scope: &Scope) -> Result<bool, BadTemplate> {
    let value = evaluate(expression, scope)?;
    if let Value::String(text) = &value
        && NOES.contains(&text.trim().to_ascii_lowercase().as_str())
    {
        return Err(text_as_condition(expression, text));
    }
    Ok(minijinja::Value::from(Serde(&value)).is_true())
}

/// Texts that say no. As every text that is not empty they would hold.
const NOES: [&str; 6] = ["false", "no", "off", "n", "f", "0"];

/// Refuses a condition that is a text which says no.
fn text_as_condition(expression: &str, text: &str) -> BadTemplate {
    let written = expression.trim();
    let message = format!("`{written}` is the text `{}`, which would hold, as every text does", text.escape_debug());
    BadTemplate::new(Sort::TextAsCondition, message)
        .help(format!("compare it: `{written} == 'true'`, or `{written} != ''` if any text will do"))
        .at(0..written.len())
        .inside(expression, written)
}

fn render_scalar(text: &str, scope: &Scope) -> Result<Value, BadTemplate> {
    match Form::of(text) {
        Form::Plain => Ok(Value::String(text.to_owned())),
        Form::Expression(expression) => evaluate(expression, scope).map_err(|bad| bad.inside(text, expression)),
        Form::Template => {
            let spelled = spelling::template(text);
            let bad = |error: Error| explained(&error, text, false, scope);
            let template = LANGUAGE.template_from_str(&spelled).map_err(bad)?;
            let mut rendered = Bounded::default();
            let outcome = template.render_captured_to(scope.context(), &mut rendered).map(drop);
            if rendered.is_full {
                return Err(too_much());
            }
            outcome.map_err(bad)?;
            let not_text = |error: FromUtf8Error| BadTemplate::new(Sort::Failed, error.to_string());
            String::from_utf8(rendered.bytes).map(Value::String).map_err(not_text)
        }
    }
}

fn too_much() -> BadTemplate {
    BadTemplate::new(Sort::Endless, format!("the template gives more than {} MiB", MOST_BYTES >> 20))
        .help("give less, or let a command compute it")
}

/// Takes what a template writes, up to a bound.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_full |= self.bytes.len() + bytes.len() > MOST_BYTES;
        if self.is_full {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a text is to the template language.
enum Form<'a> {
    /// It has no template in it.
    Plain,
    /// It is exactly one `{{ e }}`.
    Expression(&'a str),
    /// Anything else.
    Template,
}

impl<'a> Form<'a> {
    fn of(text: &'a str) -> Self {
        if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
            return Self::Plain;
        }
        let inner = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        let inner = inner.map(|inner| inner.strip_prefix('-').unwrap_or(inner));
        let inner = inner.map(|inner| inner.strip_suffix('-').unwrap_or(inner));
        match inner {
            Some(inner) if spelling::is_one_expression(inner) => Self::Expression(inner),
            Some(_) | None => Self::Template,
        }
    }
}

/// The names that a template or expression uses, with the attributes after them: `inputs.member`, `steps.a_b.outputs.x`.
pub(crate) type Paths = BTreeSet<String>;

/// Compiles a text without running it, and returns the names that it uses.
pub(crate) fn paths_of_text(text: &str) -> Result<Paths, BadTemplate> {
    match Form::of(text) {
        Form::Plain => Ok(Paths::new()),
        Form::Expression(expression) => paths_of_expression(expression).map_err(|bad| bad.inside(text, expression)),
        Form::Template => {
            spelling::strange_signs(text, false)?;
            let spelled = spelling::template(text);
            let compiled = LANGUAGE.template_from_str(&spelled);
            let compiled = compiled.map_err(|error| wording::explain(&error, text, false))?;
            spelling::unknown_words(&spelled, false)?;
            Ok(own_names(&spelled, false, compiled.undeclared_variables(true)))
        }
    }
}

/// Compiles a bare expression without running it, and returns the names that it uses.
pub(crate) fn paths_of_expression(expression: &str) -> Result<Paths, BadTemplate> {
    spelling::strange_signs(expression, true)?;
    let spelled = spelling::expression(expression);
    let compiled = LANGUAGE.compile_expression_owned(spelled.clone().into_owned());
    let compiled = compiled.map_err(|error| wording::explain(&error, expression, true))?;
    if spelled.contains(['"', '\'']) {
        // What minijinja leaves out behind a text in quotes is missed where it has to be closed.
        let closed = LANGUAGE.compile_expression_owned(format!("({spelled}\n)"));
        closed.map_err(|_| BadTemplate::new(Sort::Syntax, "the end of the expression cannot be read"))?;
    }
    spelling::unknown_words(&spelled, true)?;
    Ok(own_names(&spelled, true, compiled.undeclared_variables(true)))
}

fn own_names(spelled: &str, is_expression: bool, names: impl IntoIterator<Item = String>) -> Paths {
    let mut paths: Paths =
        names.into_iter().filter(|name| !LANGUAGE.globals().any(|(global, _)| global == name)).collect();
    spelling::add_sliced(spelled, is_expression, &mut paths);
    paths
}

/// Returns the path of a bare expression that is nothing but one.
pub(super) fn whole_path(expression: &str) -> Option<String> {
    spelling::path(&spelling::expression(expression.trim()))
}

/// Returns the path of a text that is exactly `{{ path }}` with no filter or operator.
pub(super) fn bare_path(text: &str) -> Option<String> {
    match Form::of(text) {
        Form::Expression(expression) => whole_path(expression),
        Form::Plain | Form::Template => None,
    }
}

/// A text that the author wrote: a template, or a bare expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'t> {
    /// The text.
    pub text: &'t str,
    /// Whether it is a bare expression.
    pub is_bare: bool,
}

impl Written<'_> {
    /// Finds a name of a path that it uses: the first, the second, … or the last that there is.
    pub fn find(self, path: &str, name: usize) -> Option<Range<usize>> {
        self.find_names(path, name + 1)?.pop()
    }

    /// Finds all of a path that it uses.
    pub fn find_whole(self, path: &str) -> Option<Range<usize>> {
        let names = self.find_names(path, usize::MAX)?;
        Some(names.first()?.start..names.last()?.end)
    }

    fn find_names(self, path: &str, names: usize) -> Option<Vec<Range<usize>>> {
        let spelled = if self.is_bare { spelling::expression(self.text) } else { spelling::template(self.text) };
        spelling::find_path(&spelled, self.is_bare, path, names)
    }

    /// Finds the roles that it asks for by name, with `role` and `all_role`.
    pub fn roles(&self) -> Vec<(&str, Range<usize>)> {
        if self.text.contains("role") {
            spelling::literal_calls(self.text, self.is_bare, &["role", "all_role"])
        } else {
            Vec::new()
        }
    }

    /// Says whether it has a way out where a part of what a step gives is not there: a default, a test, a condition.
    pub fn is_guarded(self) -> bool {
        let words =
            ["default", "d", "defined", "undefined", "none", "if", "select", "reject", "selectattr", "rejectattr"];
        spelling::has_word(self.text, self.is_bare, &words)
    }

    /// Says whether it asks only whether all that a step gives is defined. That is so also where the step was skipped: its result
    /// is none, and its outputs are empty.
    pub fn asks_for_the_whole(self, path: &str) -> bool {
        let [steps, id, what] = path.split('.').collect::<Vec<_>>()[..] else { return false };
        [id, &id.replace('_', "-")].iter().any(|id| self.text.contains(&format!("{steps}.{id}.{what} is defined")))
    }
}

/// Returns the text without the `{{ path }}` that stand in it as they are: what is left must not use a secret.
pub(super) fn without_bare_paths(text: &str) -> Result<String, BadTemplate> {
    spelling::without_bare_paths(text)
}

/// Writes a value so that rendering it gives it back, whatever it looks like.
#[must_use]
pub fn literal(value: &Value) -> Value {
    match value {
        // JSON's escapes are those of a text in an expression.
        Value::String(text) if text.contains('{') => {
            Value::String(format!("{{{{ {} }}}}", Value::String(text.clone())))
        }
        Value::Array(items) => Value::Array(items.iter().map(literal).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(key, item)| (key.clone(), literal(item))).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Calls a function with every text inside a value.
pub(super) fn each_text(value: &Value, call: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => call(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, call)),
        Value::Object(map) => map.values().for_each(|item| each_text(item, call)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Takes a value out of the template language. What is undefined anywhere inside is an error.
fn to_json(value: &minijinja::Value) -> Result<Value, BadTemplate> {
    let mut left = MOST_BYTES;
    bounded_json(value, &mut left)
}

fn bounded_json(value: &minijinja::Value, left: &mut usize) -> Result<Value, BadTemplate> {
    let failed = |error: Error| wording::explain(&error, "", true);
    let size = VALUE_BYTES + value.as_str().map_or(0, str::len);
    *left = left.checked_sub(size).ok_or_else(too_much)?;
    Ok(match value.kind() {
        ValueKind::Undefined => {
            return Err(BadTemplate::new(Sort::Undefined, "a part of the value is not defined"));
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(failed)?.map(|item| bounded_json(&item, left));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter().map_err(failed)? {
                let item = value.get_item(&key).map_err(failed)?;
                map.insert(key.to_string(), bounded_json(&item, left)?);
            }
            Value::Object(map)
        }
        _ => serde_json::to_value(value).map_err(|error| BadTemplate::new(Sort::Failed, error.to_string()))?,
    })
}

#[cfg(test)]
mod tests;
