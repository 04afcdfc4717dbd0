//! `file.line`: one `KEY=value` of a shell-style file.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::file_put::Content;
use super::shell::{self, Answer};
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::name::AttemptId;
use crate::site::Site;
use crate::world::{Reader, Script, Writer};

/// `file.line`
pub const LINE: Kind = Kind {
    name: "file.line",
    summary: "Sets KEY=value in a shell-style file, such as an environment file of systemd.",
    details: "Every line that sets the key gets the value (`export` stays); without one a line is appended, also after a last \
        line without an end. The whole file is replaced: written beside, synced, renamed; mode and owner stay. The original is \
        kept as PATH.requorum-RUN-STEP. A value with characters that a shell would read is put in double quotes, unless it \
        comes in quotes.",
    seat: Seat::Host,
    args: &[
        Arg::required("path", Type::Path, "The file; it must exist."),
        Arg::required("key", Type::Str, "The variable."),
        Arg::required("value", Type::Str, "Its value, one line."),
    ],
    effect: Effect::Probed,
    danger: Danger::Disruptive,
    result: &[
        Field { name: "path", help: "The path as given." },
        Field { name: "changed", help: "Whether the file was another one before." },
        Field { name: "aside", help: "Where the original is; null if nothing had to be changed." },
    ],
    probe: "The file sets the key, and each line that sets it gives it this value.",
    undo: "`file.restore_aside` of the original",
    sets_aside: "aside",
    needs: "awk, cmp, stat, readlink",
    source: "UK8S recovery notes, etcd.conf (ETCD_NAME, addresses, ETCD_INITIAL_CLUSTER_STATE)",
    example: "{ path: /etc/etcd/etcd.conf, key: ETCD_INITIAL_CLUSTER_STATE, value: existing }",
    make: Make::Action(|args| Ok(Box::new(Line::from_args(args)?))),
    ..Kind::BLANK
};

/// Prints the lines of a file that set a key. `$1`: the file, `$2`: the key.
const SETTERS: &str = r#"
[ -f "$1" ] || refuse "there is no file at $1" "a file of KEY=value lines" "$(kind_of "$1")" "write it first (file.write)"
key=$2 awk '{ sub(/^[ \t]*(export[ \t]+)?/, "") } index($0, ENVIRON["key"] "=") == 1 { print "line=" $0 }' "$1"
"#;

#[derive(Debug, Deserialize)]
pub(super) struct Line {
    path: String,
    key: String,
    value: String,
}

impl Line {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.path = shell::host_path("path", &this.path)?;
        let name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if !this.key.bytes().all(name) || this.key.as_bytes().first().is_none_or(u8::is_ascii_digit) {
            let rule = "letters, digits and `_`, not beginning with a digit";
            let why = format!("`{}` is not the name of a variable: {rule}", this.key.escape_debug());
            return Err(BadArgs::at("key", why));
        }
        if this.value.chars().any(char::is_control) {
            return Err(BadArgs::at("value", "it holds a line break or another control character"));
        }
        Ok(this)
    }

    /// Returns the line as it stands in the file.
    pub(super) fn line(&self) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-[]".contains(&b);
        let value = &self.value;
        let quoted =
            value.len() >= 2 && ['"', '\''].iter().any(|&quote| value.starts_with(quote) && value.ends_with(quote));
        if quoted || value.bytes().all(plain) {
            return format!("{}={value}", self.key);
        }
        let mut escaped = String::with_capacity(value.len() + 2);
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '$' | '`') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        format!("{}=\"{escaped}\"", self.key)
    }

    pub(super) fn script(&self, site: &Site, attempt: &AttemptId) -> Script {
        let aside = shell::aside_of(site, &self.path, attempt);
        let args = [self.path.clone(), aside, shell::tag(attempt), self.key.clone(), self.line()];
        shell::script(include_str!("sh/line.sh"), args)
    }

    pub(super) fn look(&self) -> Script {
        shell::script(SETTERS, [self.path.clone(), self.key.clone()])
    }

    pub(super) fn judge(&self, answer: &Answer) -> Probe {
        let wanted = self.line();
        let lines: Vec<&str> = answer.lines().map(|(_, line)| line).collect();
        if !lines.is_empty() && lines.iter().all(|line| *line == wanted) {
            let result = json!({ "path": self.path, "changed": false, "aside": null });
            return Probe::Yes { result, evidence: format!("{} has {wanted}", self.path) };
        }
        let evidence = match lines.last() {
            Some(line) => format!("{} has {line}", self.path),
            None => format!("{} does not set {}", self.path, self.key),
        };
        Probe::No { evidence }
    }

    pub(super) fn result(&self, answer: &Answer) -> Value {
        let aside = shell::or_null(answer.get("aside"));
        json!({ "path": self.path, "changed": answer.get("changed") == "true", "aside": aside })
    }
}

#[async_trait]
impl Action for Line {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("set {} in {}", self.line(), self.path))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        Ok(json!(Content::take(reader, &self.path).await?))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let mut probe = self.judge(&shell::look(reader, &self.look(), None).await?);
        // Where it was this step that set it, the original is found aside.
        if let (Probe::Yes { result, .. }, Some(id)) = (&mut probe, before["id"].as_str()) {
            let now = Content::take(reader, &self.path).await?;
            if let Some(aside) = now.aside_with(id) {
                result["changed"] = true.into();
                result["aside"] = aside.into();
            }
        }
        Ok(probe)
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let script = self.script(writer.reader().site(), writer.attempt());
        Ok(self.result(&shell::run(writer, script).await?))
    }

    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        match result.map(|result| result["aside"].as_str()) {
            Some(Some(aside)) => Undo::By(vec![("file.restore_aside", json!({ "path": self.path, "aside": aside }))]),
            Some(None) => Undo::Nothing("the line was there already"),
            None => Undo::NeedsResult,
        }
    }
}
