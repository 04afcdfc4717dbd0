//! The inputs of a plan: what is declared, what is given, and the values that come of both.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use regex::Regex;
use requorum_steps::{Site, units};
use serde_json::{Map, Number, Value};

use super::compile::{Mode, Request};
use super::compiled::{SecretOrigin, SecretSource};
use super::diagnostic::{Problems, Span, nearest};
use super::document::IncludeDecl;
use super::fields::{Fields, list, text};
use super::keys::{self, Shape};
use super::paths::Start;
use super::template::{Hole, hole_in, hole_of, placeholder, placeholders_in};
use super::validate::sort;
use super::yaml::{self, Entry, Node};

/// What the operator gives for the inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// `--set NAME=VALUE`.
    pub set: Vec<(String, String)>,
    /// `--set-file NAME=PATH`.
    pub set_file: Vec<(String, PathBuf)>,
    /// The names of the environment's variables. A secret `NAME` may be in `REQUORUM_INPUT_NAME`.
    pub environment: BTreeSet<String>,
    /// The directory that relative paths given for inputs start from.
    pub directory: PathBuf,
    /// What a run keeps, where its plan is compiled again: it counts for what is not given anew.
    pub kept: Kept,
}

/// The inputs that a run keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The values; those of secrets do not count.
    pub values: Map<String, Value>,
    /// Where secrets come from.
    pub secrets: Vec<SecretSource>,
}

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputType {
    String,
    Integer,
    Boolean,
    Duration,
    Size,
    Enum,
    File,
    Directory,
    Host,
    Hosts,
    List,
    Map,
    Secret,
}

const TYPES: [(&str, InputType); 13] = [
    ("string", InputType::String),
    ("integer", InputType::Integer),
    ("boolean", InputType::Boolean),
    ("duration", InputType::Duration),
    ("size", InputType::Size),
    ("enum", InputType::Enum),
    ("file", InputType::File),
    ("directory", InputType::Directory),
    ("host", InputType::Host),
    ("hosts", InputType::Hosts),
    ("list", InputType::List),
    ("map", InputType::Map),
    ("secret", InputType::Secret),
];

impl InputType {
    fn hole(self) -> Hole {
        match self {
            Self::String | Self::Enum | Self::File | Self::Directory | Self::Secret => Hole::Text,
            Self::Integer => Hole::Integer,
            Self::Boolean => Hole::Boolean,
            Self::Duration => Hole::Duration,
            Self::Size => Hole::Size,
            Self::Host => Hole::Host,
            Self::Hosts | Self::List => Hole::List,
            Self::Map => Hole::Map,
        }
    }

    /// What a default looks like.
    fn default(self) -> Shape {
        match self {
            Self::String | Self::Enum | Self::File | Self::Directory | Self::Host => Shape::Text,
            Self::Integer => Shape::Integer,
            Self::Boolean => Shape::Bool,
            Self::Duration => Shape::Duration,
            Self::Size => Shape::Size,
            Self::Hosts => Shape::List(&Shape::Text),
            Self::List => Shape::List(&Shape::Any),
            Self::Map => Shape::Map(None, &Shape::Any),
            Self::Secret => Shape::Nothing,
        }
    }

    /// What `min` and `max` look like.
    fn bound(self) -> Shape {
        match self {
            Self::Duration => Shape::Duration,
            Self::Size => Shape::Size,
            Self::String
            | Self::Integer
            | Self::Boolean
            | Self::Enum
            | Self::File
            | Self::Directory
            | Self::Host
            | Self::Hosts
            | Self::List
            | Self::Map
            | Self::Secret => Shape::Number,
        }
    }
}

/// What the type of an input asks of its other keys, for the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct TypeOfInput {
    /// The word that plans use.
    pub word: &'static str,
    /// What `default` looks like.
    pub default: Shape,
    /// What `min` and `max` look like.
    pub bound: Shape,
    /// Whether it needs `values`.
    pub has_values: bool,
}

/// Returns the types of inputs.
pub(super) fn types() -> impl Iterator<Item = TypeOfInput> {
    TYPES.into_iter().map(|(word, ty)| TypeOfInput {
        word,
        default: ty.default(),
        bound: ty.bound(),
        has_values: ty == InputType::Enum,
    })
}

/// A declared input.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub name: &'a str,
    pub span: Span,
    ty: InputType,
    default: Option<&'a Node>,
    required: bool,
    pattern: Option<Regex>,
    values: Option<Vec<&'a str>>,
    min: Option<Number>,
    max: Option<Number>,
    help: &'a str,
}

impl Input<'_> {
    /// Says whether its value must never be seen here.
    pub fn is_secret(&self) -> bool {
        self.ty == InputType::Secret
    }
}

/// Reads `inputs`.
pub(super) fn declared<'a>(node: &'a Node, problems: &mut Problems) -> Vec<Input<'a>> {
    let Some(inputs) = Fields::open(node, "`inputs`", problems) else { return Vec::new() };
    let mut declared = Vec::new();
    for entry in inputs.entries() {
        super::document::name_is_an_identifier("input", entry, problems);
        let Some(fields) = Fields::read(&entry.node, &keys::INPUT, problems) else { continue };
        let ty = fields.need("type", problems).and_then(|_| fields.word("type", &TYPES, problems));
        let Some((ty, _)) = ty else { continue };
        let mut input = Input {
            name: &entry.key,
            span: entry.key_span,
            ty,
            default: fields.get("default"),
            required: fields.bool("required", problems).unwrap_or(fields.get("default").is_none()),
            pattern: pattern(&fields, problems),
            values: fields.texts("values", problems).map(|texts| texts.into_iter().map(|(text, _)| text).collect()),
            min: bound(&fields, "min", ty, problems),
            max: bound(&fields, "max", ty, problems),
            help: fields.text("help", problems).unwrap_or_default(),
        };
        if ty == InputType::Enum && input.values.as_ref().is_none_or(Vec::is_empty) {
            problems
                .error(fields.span, "missing-key", "an enum input needs `values`")
                .help("add what it can be: values: [one, other]");
        }
        check_default(&mut input, problems);
        declared.push(input);
    }
    declared
}

fn pattern(fields: &Fields<'_>, problems: &mut Problems) -> Option<Regex> {
    let node = fields.get("pattern")?;
    match Regex::new(&format!("^(?:{})$", text(node, "pattern", problems)?)) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let cause = error.to_string().lines().last().unwrap_or_default().replace("error: ", "");
            problems.error(node.span, "bad-pattern", "`pattern` is no regular expression").cause(cause);
            None
        }
    }
}

/// Reads a bound as what values are compared by: a number, bytes, milliseconds, a length.
fn bound(fields: &Fields<'_>, key: &str, ty: InputType, problems: &mut Problems) -> Option<Number> {
    let node = fields.get(key)?;
    let value = node.to_json();
    let number = match ty {
        InputType::Duration | InputType::Size => value.as_str().and_then(|_| measure(ty, &value)),
        _ => value.as_number().cloned(),
    };
    if number.is_none() {
        let like = if matches!(ty, InputType::Duration | InputType::Size) { "a value of the type" } else { "a number" };
        super::fields::wrong(problems, node, &format!("`{key}`"), like);
    }
    number
}

fn check_default(input: &mut Input<'_>, problems: &mut Problems) {
    let Some(node) = input.default else { return };
    if input.is_secret() {
        problems
            .error(node.span, "secret-in-plan", format!("the secret `{}` has a default", input.name))
            .help("a secret comes from --set-file, the environment or the site, never from the plan");
        input.default = None;
    } else if let Err(cause) = accepts(input, &node.to_json(), None) {
        problems
            .error(node.span, "bad-default", format!("the default of `{}` is not one of its values", input.name))
            .cause(cause);
        input.default = None;
    }
}

/// The values of the inputs, holes and placeholders included.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub values: Map<String, Value>,
    pub secrets: Vec<SecretSource>,
}

/// Puts together what is declared and what is given.
pub(super) fn values(
    inputs: &[Input<'_>],
    request: &Request<'_>,
    site: Option<&Site>,
    site_secrets: &[SecretSource],
    problems: &mut Problems,
) -> Values {
    let mut found = Values::default();
    unknown_names(inputs, request, problems);
    for input in inputs {
        if input.is_secret() {
            secret(input, request, site_secrets, &mut found, problems);
            continue;
        }
        let value = match given(input, request) {
            Some(Ok(value)) => accepts(input, &value, site).map(|()| value),
            Some(Err(error)) => Err(error),
            None => match (input.default, request.mode) {
                (Some(node), _) => {
                    let start = Start::new(request.plan.directory.as_deref(), request.home);
                    Ok(default(input, node, &start, node.span, problems))
                }
                (None, Mode::Check) => Ok(input.ty.hole().value()),
                (None, Mode::Run) if input.required => {
                    missing(input, "--set", problems);
                    continue;
                }
                (None, Mode::Run) => Ok(Value::Null),
            },
        };
        let value = value.unwrap_or_else(|cause| {
            // What is given beside the plan has no place in it.
            problems
                .error(
                    Span::default(),
                    "bad-input",
                    format!("the value given for the input `{}` does not fit", input.name),
                )
                .cause(cause);
            input.ty.hole().value()
        });
        found.values.insert(input.name.to_owned(), value);
    }
    found
}

/// How many inputs of an included plan are named where one is not known.
const NAMED: usize = 20;

/// What an include gives for the inputs of the plan that it includes.
pub(super) struct Passed<'i> {
    pub include: &'i IncludeDecl<'i>,
    /// The plan that is included, by its name.
    pub name: &'i str,
    /// The rendered `with`.
    pub with: &'i Map<String, Value>,
    /// Where relative paths start in the plan that includes it.
    pub from: &'i Start,
    /// Likewise in the plan that is included.
    pub own: &'i Start,
    pub site: Option<&'i Site>,
}

impl Passed<'_> {
    /// Puts together what is declared and what is given. The problems are where it is included.
    pub fn values(&self, inputs: &[Input<'_>], problems: &mut Problems) -> Map<String, Value> {
        let names: Vec<&str> = inputs.iter().map(|input| input.name).collect();
        let known: HashSet<&str> = names.iter().copied().collect();
        let more = if names.len() > NAMED { ", …" } else { "" };
        let known_inputs = format!("its inputs are {}{more}", list(&names[..names.len().min(NAMED)]));
        for entry in self.include.with.iter().filter(|entry| !known.contains(entry.key.as_str())) {
            let message = format!("the plan `{}` has no input `{}`", self.name, entry.key);
            let found = problems.error(entry.key_span, "unknown-input", message);
            found.help(if names.is_empty() { "it has none" } else { known_inputs.as_str() });
            found.did_you_mean(&entry.key, names.iter().copied());
        }
        let given: HashMap<&str, &Entry> = self.include.with.iter().map(|entry| (entry.key.as_str(), entry)).collect();
        let value = |input: &Input<'_>| self.input(input, given.get(input.name).copied(), problems);
        inputs.iter().map(|input| input.name.to_owned()).zip(inputs.iter().map(value)).collect()
    }

    fn input(&self, input: &Input<'_>, entry: Option<&Entry>, problems: &mut Problems) -> Value {
        // What is nothing counts as not given: an optional input may be passed on.
        let given =
            entry.and_then(|entry| Some((entry, self.with.get(entry.key.as_str()).filter(|value| !value.is_null())?)));
        match (given, input.default) {
            (Some((entry, value)), _) => self.fitting(input, value).unwrap_or_else(|cause| {
                let message = format!("the value for the input `{}` does not fit", input.name);
                let found = problems.error(entry.node.span, "bad-input", message);
                found.cause(cause);
                if input.is_secret() {
                    let inputs = format!("with: {{ {}: \"{{{{ inputs.NAME }}}}\" }}", input.name);
                    found.help(format!("pass a secret input on, or one of the site: {inputs}"));
                }
                input.ty.hole().value()
            }),
            (None, Some(node)) => default(input, node, self.own, self.include.of.1, problems),
            (None, None) if !input.required => Value::Null,
            (None, None) => {
                let message = format!("the plan `{}` needs a value for its input `{}`", self.name, input.name);
                let found = problems.error(self.include.of.1, "missing-input", message);
                found.help(format!("add it to `with`: {}: …", input.name));
                if !input.help.is_empty() {
                    found.cause(input.help);
                }
                input.ty.hole().value()
            }
        }
    }

    /// Returns a value as the templates of the included plan see it, or says why it does not fit the input.
    fn fitting(&self, input: &Input<'_>, value: &Value) -> Result<Value, String> {
        let secrets = placeholders_in(value);
        if input.is_secret() {
            // What is not known yet is watched like any secret.
            return match (secrets.is_empty(), value.as_str()) {
                (false, Some(_)) => Ok(value.clone()),
                (true, Some(text)) if hole_of(text).is_some() => {
                    Ok(placeholder(&format!("inputs.{}", input.name)).into())
                }
                (_, _) => Err("it is no secret: what stands in a plan can be read by everybody".to_owned()),
            };
        }
        if let Some(hole) = value.as_str().and_then(hole_of).filter(|_| secrets.is_empty()) {
            let expected = input.ty.hole();
            if may_become(hole, expected) {
                return Ok(expected.value());
            }
            return Err(format!("it has to be {}, and this will be {}", expected.word(), hole.word()));
        }
        let value = match input.ty {
            InputType::Host => host_name(value),
            InputType::Hosts => hosts_names(value),
            InputType::File | InputType::Directory => match value.as_str() {
                Some(path) if !hole_in(value) => self.from.lay(path)?.into(),
                Some(_) | None => value.clone(),
            },
            _ => value.clone(),
        };
        if let Some(name) = secrets.first() {
            let holds = matches!(
                (input.ty, &value),
                (InputType::String, Value::String(_))
                    | (InputType::List, Value::Array(_))
                    | (InputType::Map, Value::Object(_))
            );
            let why = || format!("the secret `{name}` is in it, and the input is not of type `secret`");
            return if holds { Ok(value) } else { Err(why()) };
        }
        if hole_in(&value) {
            let sort = matches!(
                (input.ty, &value),
                (InputType::Hosts | InputType::List, Value::Array(_)) | (InputType::Map, Value::Object(_))
            );
            let text = value.is_string() && may_become(Hole::Text, input.ty.hole());
            let whole = if sort || input.ty == InputType::String { value } else { input.ty.hole().value() };
            return if sort || text { Ok(whole) } else { Err(format!("it has to be {}", input.ty.hole().word())) };
        }
        accepts(input, &value, self.site).map(|()| value)
    }
}

/// Returns the default of an input. A relative path starts from the directory of the plan; where there is none, that is
/// reported at `place`.
fn default(input: &Input<'_>, node: &Node, start: &Start, place: Span, problems: &mut Problems) -> Value {
    let (InputType::File | InputType::Directory, Some(path)) = (input.ty, node.text()) else { return node.to_json() };
    start.lay(path).map_or_else(
        |cause| {
            let message = format!("the default of `{}` cannot be used", input.name);
            problems.error(place, "bad-default", message).cause(cause).help("write an absolute path");
            input.ty.hole().value()
        },
        Value::from,
    )
}

/// Says whether what is known to become one type may become what another asks for.
fn may_become(hole: Hole, expected: Hole) -> bool {
    let fitting: &[Hole] = match expected {
        Hole::Text => &[Hole::Duration, Hole::Size, Hole::Host],
        Hole::Duration | Hole::Size => &[Hole::Text],
        Hole::Host => &[Hole::Text, Hole::Map],
        Hole::Any | Hole::Integer | Hole::Boolean | Hole::List | Hole::Map => &[],
    };
    hole == expected || hole == Hole::Any || fitting.contains(&hole)
}

/// Returns the name of what may be a host as templates see it.
fn host_name(value: &Value) -> Value {
    value.get("name").filter(|name| name.is_string()).unwrap_or(value).clone()
}

fn hosts_names(value: &Value) -> Value {
    match value {
        Value::Array(hosts) => hosts.iter().map(host_name).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => value.clone(),
    }
}

fn missing(input: &Input<'_>, option: &str, problems: &mut Problems) {
    let found = problems.error(input.span, "missing-input", format!("the input `{}` has no value", input.name));
    found.help(format!("give it with {option} {}=…", input.name));
    if !input.help.is_empty() {
        found.cause(input.help);
    }
}

fn unknown_names(inputs: &[Input<'_>], request: &Request<'_>, problems: &mut Problems) {
    let set = request.inputs.set.iter().map(|(name, _)| ("--set", name));
    let files = request.inputs.set_file.iter().map(|(name, _)| ("--set-file", name));
    let mut seen = BTreeSet::new();
    for (option, name) in set.chain(files) {
        if !inputs.iter().any(|input| input.name == name) {
            let names = || inputs.iter().map(|input| input.name);
            let found = problems.error(Span::default(), "unknown-input", format!("the plan has no input `{name}`"));
            found.cause(format!("it was given with {option}"));
            match nearest(name, names()) {
                Some(near) => found.help(format!("did you mean `{near}`?")),
                None => found.help(format!("its inputs are {}", list(&names().collect::<Vec<_>>()))),
            };
        } else if !seen.insert(name) {
            problems.error(Span::default(), "duplicate-input", format!("the input `{name}` is given twice"));
        }
    }
}

fn secret(
    input: &Input<'_>,
    request: &Request<'_>,
    site_secrets: &[SecretSource],
    found: &mut Values,
    problems: &mut Problems,
) {
    let name = format!("inputs.{}", input.name);
    found.values.insert(input.name.to_owned(), placeholder(&name).into());
    if request.inputs.set.iter().any(|(set, _)| set == input.name) {
        problems
            .error(
                Span::default(),
                "secret-on-command-line",
                format!("the secret `{}` was given with --set", input.name),
            )
            .cause("the command line of a process can be read by everybody on the machine")
            .help(format!("use --set-file {}=FILE", input.name));
        return;
    }
    let file = request.inputs.set_file.iter().find(|(set, _)| set == input.name);
    let kept = request.inputs.kept.secrets.iter().find(|source| source.name == name);
    let variable = format!("REQUORUM_INPUT_{}", input.name.to_uppercase());
    let of_site = format!("site.secrets.{}", input.name);
    let origin = if let Some((_, path)) = file {
        SecretOrigin::File(path.to_string_lossy().into_owned())
    } else if let Some(kept) = kept {
        kept.origin.clone()
    } else if request.inputs.environment.contains(&variable) {
        SecretOrigin::Env(variable)
    } else if let Some(source) = site_secrets.iter().find(|source| source.name == of_site) {
        source.origin.clone()
    } else {
        if request.mode == Mode::Run && input.required {
            missing(input, "--set-file", problems);
        }
        return;
    };
    found.secrets.push(SecretSource { name, origin });
}

/// Returns what the operator gives for an input.
fn given(input: &Input<'_>, request: &Request<'_>) -> Option<Result<Value, String>> {
    let is_path = matches!(input.ty, InputType::File | InputType::Directory);
    if let Some((_, text)) = request.inputs.set.iter().find(|(name, _)| name == input.name) {
        return Some(if is_path { Ok(whole_path(text, request)) } else { from_text(input.ty, text) });
    }
    let Some((_, path)) = request.inputs.set_file.iter().find(|(name, _)| name == input.name) else {
        return request.inputs.kept.values.get(input.name).filter(|value| !value.is_null()).cloned().map(Ok);
    };
    if is_path {
        return Some(Ok(whole_path(&path.to_string_lossy(), request)));
    }
    let text = match request.files.read(path) {
        Ok(text) => text,
        Err(error) => return Some(Err(format!("cannot read {}: {error}", path.display()))),
    };
    Some(from_text(input.ty, text.strip_suffix('\n').unwrap_or(&text)))
}

/// Makes a path that the operator gives independent of the directory that he stands in: a resume may come from another.
fn whole_path(text: &str, request: &Request<'_>) -> Value {
    let path = match (text.strip_prefix("~/"), request.home) {
        (Some(rest), Some(home)) => home.join(rest),
        (Some(_), None) | (None, _) => request.inputs.directory.join(text),
    };
    Value::String(path.to_string_lossy().into_owned())
}

fn from_text(ty: InputType, text: &str) -> Result<Value, String> {
    match ty {
        InputType::Integer => text.parse::<i64>().map(Value::from).map_err(|_| format!("`{text}` is no whole number")),
        InputType::Boolean => {
            text.parse::<bool>().map(Value::from).map_err(|_| format!("`{text}` is not `true` or `false`"))
        }
        InputType::Hosts if !text.trim_start().starts_with('[') => {
            Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
        }
        InputType::Hosts | InputType::List | InputType::Map => yaml::value(text),
        InputType::String
        | InputType::Duration
        | InputType::Size
        | InputType::Enum
        | InputType::File
        | InputType::Directory
        | InputType::Host
        | InputType::Secret => Ok(Value::String(text.to_owned())),
    }
}

/// Says why a value does not fit an input.
fn accepts(input: &Input<'_>, value: &Value, site: Option<&Site>) -> Result<(), String> {
    let shown = |expected: &str| Err(format!("it has to be {expected}, not {}", sort(value)));
    match (input.ty, value) {
        (InputType::Duration, Value::String(text)) => drop(units::duration(text).map_err(|error| error.to_string())?),
        (InputType::Size, Value::String(text)) => drop(units::size(text).map_err(|error| error.to_string())?),
        (InputType::Duration, _) => return shown("a duration such as `90s`"),
        (InputType::Size, _) => return shown("a size such as `512MiB`"),
        (InputType::Host, Value::String(name)) => known_host(name, site)?,
        (InputType::Hosts, Value::Array(names)) => {
            for name in names {
                known_host(name.as_str().ok_or("each has to be the name of a host")?, site)?;
            }
        }
        (InputType::String | InputType::Enum | InputType::File | InputType::Directory, Value::String(_))
        | (InputType::Integer, Value::Number(_))
        | (InputType::Boolean, Value::Bool(_))
        | (InputType::List, Value::Array(_))
        | (InputType::Map, Value::Object(_)) => {}
        (InputType::Integer, _) => return shown("a whole number"),
        (InputType::Boolean, _) => return shown("`true` or `false`"),
        (InputType::Hosts | InputType::List, _) => return shown("a list"),
        (InputType::Map, _) => return shown("a map"),
        (_, _) => return shown("text"),
    }
    if input.ty == InputType::Integer && !(value.is_i64() || value.is_u64()) {
        return Err("it has to be a whole number".to_owned());
    }
    fits_limits(input, value)
}

fn known_host(name: &str, site: Option<&Site>) -> Result<(), String> {
    let Some(site) = site else { return Ok(()) };
    let names: Vec<&str> = site.hosts.keys().map(AsRef::as_ref).collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err(match nearest(name, names.iter().copied()) {
        Some(near) => format!("the site has no host `{name}`; did you mean `{near}`?"),
        None => format!("the site has no host `{name}`; it has {}", list(&names)),
    })
}

fn fits_limits(input: &Input<'_>, value: &Value) -> Result<(), String> {
    if let (Some(values), Some(text)) = (&input.values, value.as_str())
        && !values.contains(&text)
    {
        return Err(format!("`{text}` is not one of {}", list(values)));
    }
    if let (Some(pattern), Some(text)) = (&input.pattern, value.as_str())
        && !pattern.is_match(text)
    {
        let shown = pattern.as_str();
        return Err(format!("`{text}` does not match `{}`", &shown[4..shown.len() - 2]));
    }
    let Some(measured) = measure(input.ty, value).and_then(|number| number.as_f64()) else { return Ok(()) };
    if input.min.as_ref().and_then(Number::as_f64).is_some_and(|min| measured < min) {
        return Err("it is below `min`".to_owned());
    }
    if input.max.as_ref().and_then(Number::as_f64).is_some_and(|max| measured > max) {
        return Err("it is above `max`".to_owned());
    }
    Ok(())
}

/// What `min` and `max` are compared with: the number itself, milliseconds, bytes, or how long it is.
fn measure(ty: InputType, value: &Value) -> Option<Number> {
    match (ty, value) {
        (InputType::Duration, Value::String(text)) => {
            u64::try_from(units::duration(text).ok()?.as_millis()).ok().map(Number::from)
        }
        (InputType::Size, Value::String(text)) => units::size(text).ok().map(Number::from),
        (_, Value::Number(number)) => Some(number.clone()),
        (_, Value::String(text)) => Some(text.chars().count().into()),
        (_, Value::Array(items)) => Some(items.len().into()),
        (_, Value::Object(map)) => Some(map.len().into()),
        (_, Value::Null | Value::Bool(_)) => None,
    }
}
