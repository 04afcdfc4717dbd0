//! `command.run`, `command.check`: commands on this machine, and what `ssh.run` and `ssh.check` share with them.

use async_trait::async_trait;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::action::{Action, Check, Observation, Preview};
use crate::args::{Arg, BadArgs, Rule, Type, read};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::world::{Output, Reader, Script, Stdin, Writer};

pub(super) const RUN_ARGS: &[Arg] = &[
    Arg::optional("run", Type::Str, "Text for a POSIX shell. Quote values with the filter `shq`."),
    Arg::optional("argv", Type::List(&Type::Str), "A program and its arguments, as they are: no shell reads them."),
    Arg::optional("stdin", Type::Str, "Given to the standard input; kept in memory only, never shown.").may_be_secret(),
    Arg::optional(
        "env",
        Type::Map(&Type::Str),
        "Environment variables, visible to other users; the site's `env` comes first.",
    ),
    Arg::optional("cwd", Type::Path, "The directory to run in, an absolute path. Default: the user's home directory."),
    Arg::optional("exit_codes", Type::List(&Type::Int), "The exit statuses that mean success. Default: `[0]`."),
];

pub(super) const RUN_RULES: &[Rule] = &[Rule::ExactlyOne(&["run", "argv"])];

pub(super) const RUN_RESULT: &[Field] = &[
    Field { name: "status", help: "The exit status; 128 + n where signal n ended it." },
    Field { name: "stdout", help: "Standard output as text, without its final line breaks." },
    Field { name: "stderr", help: "Standard error as text, without its final line breaks." },
    Field { name: "json", help: "Standard output parsed as JSON, or null where it is none." },
];

const STDOUT: Arg = Arg::optional(
    "stdout",
    Type::Object(&[
        Arg::optional("empty", Type::Bool, "Whether it must be empty, white space aside, or must not be."),
        Arg::optional("contains", Type::Str, "Text that it must contain."),
        Arg::optional("matches", Type::Str, "A regular expression that must match somewhere; `(?m)` for lines."),
        Arg::optional("equals", Type::Str, "What it must be, final line breaks aside."),
        Arg::optional("json", Type::Any, "What it must hold as JSON. Of an object only the keys given are compared."),
    ]),
    "What standard output must be; all that is given must hold.",
);
const CHECK_RUN: Arg = Arg::required("run", Type::Str, "Text for a POSIX shell. It must only look.");
const EXIT_CODE: Arg = Arg::optional("exit_code", Type::Int, "The exit status that it must have. Default: 0.");

pub(super) const CHECK_ARGS: &[Arg] = &[CHECK_RUN, EXIT_CODE, STDOUT];
pub(super) const HOST_CHECK_ARGS: &[Arg] = &[CHECK_RUN, EXIT_CODE, STDOUT, super::ssh::HOSTS];

/// `command.run`
pub const RUN: Kind = Kind {
    name: "command.run",
    summary: "Runs a command on the machine that runs requorum.",
    details: "It runs apart from requorum, which finds it again after a crash. Give a `probe` if one can tell whether it \
              happened; else an unknown outcome asks a person.",
    seat: Seat::Here,
    args: RUN_ARGS,
    rules: RUN_RULES,
    effect: Effect::Once,
    danger: Danger::Disruptive,
    result: RUN_RESULT,
    example: r#"{ argv: [cp, "{{ inputs.file }}", /backup/etcd.db], exit_codes: [0] }"#,
    make: Make::Action(|args| Ok(Box::new(Invocation::from_args(args)?))),
    ..Kind::BLANK
};

/// `command.check`
pub const CHECK: Kind = Kind {
    name: "command.check",
    summary: "Looks with a command on the machine that runs requorum.",
    details: "The command must only look: it is repeated as often as is needed, in previews too.",
    seat: Seat::Here,
    args: CHECK_ARGS,
    example: "{ run: test -s /backup/etcd.db }",
    make: Make::Check(|args| Ok(Box::new(Expectation::from_args(args)?))),
    ..Kind::BLANK
};

/// Refuses a script that is nothing but white space: it would do nothing, and be taken for success.
fn not_blank(script: &str) -> Result<(), BadArgs> {
    if script.trim().is_empty() {
        return Err(BadArgs::at("run", "it is empty; write what the shell shall run"));
    }
    Ok(())
}

/// Says in one line what is wrong with a regular expression: the last of those in which it is told.
fn unreadable(pattern: &str, error: &regex::Error) -> BadArgs {
    let told = error.to_string();
    let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
    BadArgs::at("stdout.matches", format!("`{}` is not a regular expression: {why}", pattern.escape_debug()))
}

/// A command to run, here or on a host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invocation {
    run: Option<String>,
    argv: Option<Vec<String>>,
    stdin: Option<String>,
    #[serde(default)]
    env: Map<String, Value>,
    cwd: Option<String>,
    #[serde(default = "success")]
    exit_codes: Vec<i32>,
}

fn success() -> Vec<i32> {
    vec![0]
}

impl Invocation {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let run: Self = read(args)?;
        match (&run.run, &run.argv) {
            (Some(_), Some(_)) | (None, None) => {
                Err(BadArgs { arg: None, message: "give either `run` or `argv`".to_owned() })
            }
            (None, Some(words)) if words.first().is_none_or(String::is_empty) => {
                Err(BadArgs::at("argv", "it names no program; write the program first, then its arguments"))
            }
            (Some(text), None) => not_blank(text),
            (None, Some(_)) => Ok(()),
        }?;
        if let Some(cwd) = run.cwd.as_ref().filter(|cwd| !cwd.starts_with('/')) {
            return Err(BadArgs::at("cwd", format!("`{}` is not an absolute path", cwd.escape_debug())));
        }
        Ok(run)
    }

    fn script(&self) -> Script {
        let mut script = match (&self.run, &self.argv) {
            (Some(text), _) => Script::new(text, [""; 0]),
            (None, argv) => Script::new("exec \"$@\"", argv.iter().flatten()),
        };
        script.env = self.env.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
        script.cwd.clone_from(&self.cwd);
        script.shown = true;
        match &self.stdin {
            // It may be a secret, and only the caller of the template knows.
            Some(text) => script.with_stdin(Stdin::Secret(Zeroizing::new(text.clone().into_bytes()))),
            None => script,
        }
    }

    /// The command as a person would type it.
    fn shown(&self) -> String {
        match (&self.run, &self.argv) {
            (Some(text), _) => text.trim_end().to_owned(),
            (None, argv) => shell_words::join(argv.iter().flatten()),
        }
    }

    fn result(&self, output: &Output) -> Result<Value, Fault> {
        if !self.exit_codes.contains(&output.status) {
            let fault = Fault::failed(format!("the command ended with exit status {}", output.status));
            return Err(fault
                .expected(statuses(&self.exit_codes))
                .seen(seen(output))
                .during(first_line(&self.shown())));
        }
        let stdout = output.text();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        Ok(json!({
            "status": output.status, "stdout": stdout, "stderr": stderr.trim_end_matches(['\n', '\r']), "json": json,
        }))
    }
}

#[async_trait]
impl Action for Invocation {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        let mut command = self.shown();
        if let Some(cwd) = &self.cwd {
            command = format!("cd {} && {command}", shell_words::quote(cwd));
        }
        if let Some(stdin) = &self.stdin {
            command = format!("{command}   # with {} bytes of standard input", stdin.len());
        }
        Preview::of(command)
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let output = writer.run(self.script()).await.map_err(|fault| fault.during(first_line(&self.shown())))?;
        self.result(&output).map_err(|fault| match writer.reader().host() {
            Ok(host) => fault.on(&host.name),
            Err(_) => fault,
        })
    }
}

/// A command that looks, and what it must say.
#[derive(Debug)]
pub(super) struct Expectation {
    run: String,
    exit_code: i32,
    stdout: Stdout,
    pattern: Option<Regex>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    run: String,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    stdout: Stdout,
    /// For the engine, which observes each host by itself.
    #[serde(default, rename = "hosts")]
    _hosts: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stdout {
    empty: Option<bool>,
    contains: Option<String>,
    matches: Option<String>,
    equals: Option<String>,
    json: Option<Value>,
}

impl Expectation {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let Asked { run, exit_code, stdout, _hosts } = read(args)?;
        not_blank(&run)?;
        let compile = |text: &String| Regex::new(text).map_err(|error| unreadable(text, &error));
        let pattern = stdout.matches.as_ref().map(compile).transpose()?;
        Ok(Self { run, exit_code, stdout, pattern })
    }

    /// Says whether an output is as expected.
    fn judge(&self, output: &Output) -> Observation {
        let text = output.text();
        let mut expected = vec![format!("exit status {}", self.exit_code)];
        let mut holds = output.status == self.exit_code;
        let mut must = |what: String, is_so: bool| {
            expected.push(what);
            holds &= is_so;
        };
        if let Some(empty) = self.stdout.empty {
            must(if empty { "no output" } else { "some output" }.to_owned(), text.trim().is_empty() == empty);
        }
        if let Some(part) = &self.stdout.contains {
            must(format!("output that contains `{part}`"), text.contains(part));
        }
        if let Some(pattern) = &self.pattern {
            must(format!("output that matches `{pattern}`"), pattern.is_match(&text));
        }
        if let Some(whole) = &self.stdout.equals {
            must(format!("the output `{whole}`"), text == whole.trim_end_matches(['\n', '\r']));
        }
        if let Some(wanted) = &self.stdout.json {
            let is_so = serde_json::from_str(&text).is_ok_and(|found: Value| holds_all(&found, wanted));
            must(format!("JSON that holds {wanted}"), is_so);
        }
        Observation::new(holds, expected.join(", "), seen(output))
    }
}

#[async_trait]
impl Check for Expectation {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let output = reader.look(&Script::new(&self.run, [""; 0])).await;
        Ok(self.judge(&output.map_err(|fault| fault.during(first_line(&self.run)))?))
    }
}

/// Says whether a JSON value holds all of another: objects may have more keys, everything else is equal.
fn holds_all(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| holds_all(found, wanted)))
        }
        (found, wanted) => found == wanted,
    }
}

/// What an output was, for a person: its status and its last lines.
fn seen(output: &Output) -> String {
    let tail = output.tail(5);
    if tail.is_empty() {
        format!("exit status {}, no output", output.status)
    } else {
        format!("exit status {}: {tail}", output.status)
    }
}

fn statuses(all: &[i32]) -> String {
    format!("exit status {}", all.iter().map(i32::to_string).collect::<Vec<_>>().join(" or "))
}

fn first_line(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first} …") } else { first.to_owned() }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(status: i32, stdout: &str) -> Output {
        Output { status, stdout: stdout.as_bytes().to_vec(), ..Output::default() }
    }

    fn holds(args: Value, output: &Output) -> bool {
        Expectation::from_args(args).unwrap().judge(output).holds
    }

    #[test]
    fn a_command_is_given_either_as_text_or_as_words() {
        assert!(Invocation::from_args(json!({})).is_err());
        assert!(Invocation::from_args(json!({ "run": "a", "argv": ["a"] })).is_err());
        assert!(Invocation::from_args(json!({ "argv": [] })).is_err());
        assert!(Invocation::from_args(json!({ "argv": [""] })).is_err());
        assert!(Invocation::from_args(json!({ "run": " \n" })).is_err());
        assert!(Invocation::from_args(json!({ "run": "sync", "cwd": "tmp" })).is_err());
        assert!(Invocation::from_args(json!({ "run": "sync", "cwd": "/tmp" })).is_ok());
        let run = Invocation::from_args(json!({ "argv": ["echo", "a b"] })).unwrap();
        assert_eq!(
            (run.shown().as_str(), run.script().args),
            ("echo 'a b'", vec!["echo".to_owned(), "a b".to_owned()])
        );
    }

    #[test]
    fn another_exit_status_is_a_failure_that_says_what_was_seen() {
        let run = Invocation::from_args(json!({ "run": "x\ny", "exit_codes": [0, 3] })).unwrap();
        assert_eq!(run.result(&said(3, "{\"a\": 1}\n")).unwrap()["json"]["a"], 1);
        let fault = run.result(&said(1, "no such thing\n")).unwrap_err();
        assert_eq!(fault.expected.as_deref(), Some("exit status 0 or 3"));
        assert_eq!(fault.seen.as_deref(), Some("exit status 1: no such thing"));
        assert_eq!(fault.place.command.as_deref(), Some("x …"));
    }

    #[test]
    fn the_content_of_standard_input_is_never_shown() {
        let run = Invocation::from_args(json!({ "run": "cat", "stdin": "s3cret" })).unwrap();
        assert!(matches!(run.script().stdin, Stdin::Secret(_)));
    }

    #[test]
    fn a_check_expects_success_and_all_that_is_asked_of_the_output() {
        assert!(holds(json!({ "run": "x" }), &said(0, "")));
        assert!(!holds(json!({ "run": "x" }), &said(1, "")));
        assert!(holds(json!({ "run": "x", "exit_code": 1, "stdout": { "empty": true } }), &said(1, " \n")));
        assert!(!holds(json!({ "run": "x", "stdout": { "empty": false } }), &said(0, "\n")));
        assert!(holds(json!({ "run": "x", "stdout": { "contains": "b", "matches": "^a.c$" } }), &said(0, "abc\n")));
        assert!(!holds(json!({ "run": "x", "stdout": { "contains": "b", "matches": "^c" } }), &said(0, "abc\n")));
        assert!(holds(json!({ "run": "x", "stdout": { "equals": "abc\n" } }), &said(0, "abc\n")));
        let wanted = json!({ "run": "x", "stdout": { "json": { "a": { "b": 1 } } } });
        assert!(holds(wanted.clone(), &said(0, r#"{"a": {"b": 1, "c": 2}}"#)));
        assert!(!holds(wanted, &said(0, "not json")));
        assert!(Expectation::from_args(json!({ "run": "x", "stdout": { "matches": "(" } })).is_err());
    }
}
