//! The values of secrets, in memory only: fetched from where the plan says, put into arguments just before an act.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use requorum_steps::Fault;
use requorum_steps::redact::{Given, Redactor, Secret};
use serde_json::Value;

use super::pipe;
use crate::plan::compiled::{SecretOrigin, SecretSource};
use crate::plan::template::{self, Lost};

/// The longest secret, in bytes: every form of it is kept in memory, to be found in outputs.
const LONGEST: usize = 64 * 1024;

/// Says why a secret could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the secret `{name}` cannot be had from {origin}: {why}")]
pub struct SecretError {
    /// Its name.
    pub name: String,
    /// Where it should come from.
    pub origin: String,
    /// Why not.
    pub why: String,
}

/// The values of the secrets of one run, and what finds them in outputs.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Arc<BTreeMap<String, String>>,
    redactor: Arc<Redactor>,
}

impl Secrets {
    /// Fetches all of them. Commands run here, without a terminal to ask on.
    pub fn fetch(sources: &[SecretSource]) -> Result<Self, SecretError> {
        let mut values = BTreeMap::new();
        for source in sources {
            let (origin, value) = match &source.origin {
                SecretOrigin::Env(name) => (format!("the environment variable {name}"), from_environment(name)),
                SecretOrigin::File(path) => (format!("the file {path}"), from_file(path)),
                SecretOrigin::Command(text) => (format!("the command `{text}`"), from_command(text, &values)),
            };
            let value = value.and_then(text).map_err(|why| SecretError { name: source.name.clone(), origin, why })?;
            let value = value.strip_suffix('\n').map_or(value.clone(), str::to_owned);
            values.insert(source.name.clone(), value);
        }
        Ok(Self { redactor: Arc::new(redactor_of(&values)), values: Arc::new(values) })
    }

    /// Returns what finds the values in outputs.
    #[must_use]
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Puts the values in place of their placeholders.
    #[must_use]
    pub fn reveal(&self, value: &Value) -> Value {
        template::reveal(value, &|name| self.values.get(name).cloned())
    }

    /// Puts the values in place of their placeholders in the arguments of a kind. Refuses what cannot be turned back.
    pub fn reveal_args(&self, kind: &str, args: &Value) -> Result<Value, Fault> {
        let known = |name: &str| self.values.contains_key(name);
        let named = args.as_object().into_iter().flatten().map(|(arg, value)| (Some(arg), value));
        let whole = (!args.is_object()).then_some((None, args));
        for (arg, value) in named.chain(whole) {
            if let Some(lost) = template::lost_in(value, &known) {
                return Err(lost_secret(kind, arg.map(String::as_str), &lost));
            }
        }
        Ok(self.reveal(args))
    }
}

/// Returns the names of the secrets that are in arguments.
#[must_use]
pub fn given_in(args: &Value) -> Given {
    template::placeholders_in(args).into_iter().collect()
}

fn redactor_of(values: &BTreeMap<String, String>) -> Redactor {
    Redactor::new(values.iter().map(|(name, value)| Secret { name: name.clone(), value: value.clone() }))
}

/// Takes what was fetched for a secret, if it can be one.
fn text(value: Vec<u8>) -> Result<String, String> {
    if value.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes, and a secret has at most that many"));
    }
    // The error itself would show the value.
    String::from_utf8(value).map_err(|_| "it is not UTF-8 text".to_owned())
}

fn from_environment(name: &str) -> Result<Vec<u8>, String> {
    std::env::var_os(name).map(OsString::into_encoded_bytes).ok_or_else(|| "it is not set".to_owned())
}

fn from_file(path: &str) -> Result<Vec<u8>, String> {
    let read = || {
        let mut value = Vec::new();
        pipe::refuse(path.as_ref())?;
        // Some files have no end.
        File::open(path)?.take(LONGEST as u64 + 1).read_to_end(&mut value)?;
        Ok(value)
    };
    read().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    })
}

fn from_command(text: &str, known: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let output =
        Command::new("sh").args(["-c", text]).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    // What it printed before it failed may be the value, and its complaint may repeat it.
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut known = known.clone();
    known.insert("its output".to_owned(), printed);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let given = known.keys().cloned().collect();
    let stderr = redactor_of(&known).outside(stderr.trim(), &given).into_owned();
    Err(format!("{}: {}", output.status, requorum_steps::redact::marks::readable(&stderr)))
}

/// The fault of an argument that holds something of a secret which cannot be turned back into it.
fn lost_secret(kind: &str, arg: Option<&str>, lost: &Lost) -> Fault {
    let at = arg.map_or_else(|| format!("an argument of `{kind}`"), |arg| format!("`{arg}` of `{kind}`"));
    match lost {
        Lost::Trace(name) => {
            let what = format!(
                "{at} holds a form of the secret `{name}` that an earlier step has put out: encoded, or a part"
            );
            Fault::refused(what).expected("the secret as it is: other forms of it are not kept").hint(format!(
                "give `{{{{ {name} }}}}` itself to this step and let its command encode it, or let one step make that form and \
                 use it"
            ))
        }
        Lost::Changed => Fault::refused(format!("{at} holds what an expression has left of a secret"))
            .expected("the secret as it is")
            .hint(
                "nothing can be computed from an output that holds a secret: use the output as it is, without a filter",
            ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::plan::template::placeholder;

    fn from(origin: SecretOrigin) -> Result<Secrets, SecretError> {
        Secrets::fetch(&[SecretSource { name: "inputs.pw".to_owned(), origin }])
    }

    #[test]
    fn a_command_that_fails_does_not_show_what_it_printed() {
        for value in ["hunter2-Zq9x", "abc"] {
            let text = format!("echo {value}; echo 'cannot use {value}' >&2; exit 3");
            // The command itself is the author's and shown.
            let error = from(SecretOrigin::Command(text)).err().unwrap();
            assert_eq!(error.why, "exit status: 3: cannot use ‹secret its output›");
        }
    }

    #[test]
    fn a_secret_that_is_too_long_is_refused() {
        for origin in
            [SecretOrigin::Command("yes | head -c 65537".to_owned()), SecretOrigin::File("/dev/zero".to_owned())]
        {
            let error = from(origin).err().unwrap();
            assert!(error.why.contains("more than 65536 bytes"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_turned_back_into_a_secret_is_refused() {
        let secrets = from(SecretOrigin::Command("echo hunter2-Zq9x".to_owned())).unwrap();
        let mark = placeholder("inputs.pw");
        let reveal = |text: &str| secrets.reveal_args("command.run", &json!({ "stdin": ["a", text] }));
        assert_eq!(reveal(&format!("x{mark}y")).unwrap(), json!({ "stdin": ["a", "xhunter2-Zq9xy"] }));
        let traced = reveal(&requorum_steps::redact::marks::trace("inputs.pw")).unwrap_err();
        assert!(traced.what.contains("`stdin` of `command.run`") && traced.what.contains("`inputs.pw`"), "{traced}");
        for changed in [mark.to_uppercase(), mark[..6].to_owned(), mark[3..].to_owned(), placeholder("inputs.other")] {
            let fault = reveal(&changed).unwrap_err();
            assert!(fault.what.contains("an expression"), "{fault}");
        }
    }
}
