//! `file.write`, `file.copy` and the second half of `file.relay`: a content is put at a path of a host.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::shell::{self, Answer};
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Rule, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::name::AttemptId;
use crate::site::Site;
use crate::units;
use crate::world::{Reader, Script, Stdin, Writer};

pub(super) const MODE: Arg = Arg::optional(
    "mode",
    Type::Str,
    "The mode in octal, quoted, such as `\"0644\"`. Default: that of the file it replaces, else 0600.",
);
pub(super) const OWNER: Arg = Arg::optional(
    "owner",
    Type::Str,
    "The owner, `user`, `user:group` or numbers. Default: that of the file it replaces, else the user that commands run as.",
);
pub(super) const REPLACE: Arg = Arg::optional(
    "replace",
    Type::Bool,
    "Whether a different file that is there is set aside, as PATH.requorum-RUN-STEP, and replaced. Default: false, it is refused.",
);
pub(super) const PUT_RESULT: &[Field] = &[
    Field { name: "path", help: "The file; where the path is a symbolic link, the file that it points to." },
    Field { name: "sha256", help: "SHA-256 of the content, in hexadecimal." },
    Field { name: "size", help: "Its size in bytes." },
    Field { name: "changed", help: "Whether the content was not there before." },
    Field { name: "aside", help: "Where the file is that was replaced; null if none was." },
];
pub(super) const PUT_PROBE: &str = "The file has this content (SHA-256), and the mode and owner that were asked for.";
pub(super) const PUT_UNDO: &str =
    "`file.restore_aside` of the file that was replaced; a new file is set aside (`file.set_aside`)";

/// `file.write`
pub const WRITE: Kind = Kind {
    name: "file.write",
    summary: "Writes a file on the host, whole: beside the path first, synced, then renamed into place.",
    details: "A different file that is there is set aside as PATH.requorum-RUN-STEP (of a file in a manifest directory of the \
        kubelet: beside that directory). At no moment is there a part of the file, or none, at the path. Of a symbolic link \
        the file that it points to is replaced. The result holds the content's SHA-256.",
    seat: Seat::Host,
    args: &[
        Arg::required("path", Type::Path, "The file; its directory must exist."),
        Arg::optional("content", Type::Str, "The content.").may_be_secret(),
        Arg::optional("template", Type::Path, "A template beside the plan, which is rendered to the content."),
        MODE,
        OWNER,
    ],
    rules: &[Rule::ExactlyOne(&["content", "template"])],
    effect: Effect::Probed,
    danger: Danger::Disruptive,
    result: PUT_RESULT,
    probe: PUT_PROBE,
    undo: PUT_UNDO,
    sets_aside: "aside",
    needs: "sha256sum, stat, readlink",
    source: "UK8S recovery notes, etcd.conf; kubelet documentation, static pods (hidden files are not loaded)",
    example: r#"{ path: /etc/etcd/etcd.conf, template: etcd.conf.j2, mode: "0644" }"#,
    make: Make::Action(|args| Ok(Box::new(WriteFile::from_args(args)?))),
    ..Kind::BLANK
};

/// `file.copy`
pub const COPY: Kind = Kind {
    name: "file.copy",
    summary: "Copies a file of this machine to the host and compares the checksums at both ends.",
    details: "Streamed; written beside the path, synced, then renamed into place. A copy that arrives damaged leaves nothing \
        behind. The capsule root needs room for it too, unless it is on the same file system.",
    seat: Seat::Host,
    args: &[
        Arg::required("src", Type::LocalPath, "The file on this machine."),
        Arg::required("path", Type::Path, "The file on the host; its directory must exist."),
        MODE,
        OWNER,
        Arg::optional("sha256", Type::Str, "What the SHA-256 of the file must be, in hexadecimal."),
        REPLACE,
    ],
    effect: Effect::Probed,
    danger: Danger::Safe,
    result: PUT_RESULT,
    probe: PUT_PROBE,
    undo: PUT_UNDO,
    sets_aside: "aside",
    needs: "sha256sum, stat, readlink",
    source: "OpenShift 4.12 backup and restore, copying the backup to the recovery host; UK8S recovery notes",
    example: r#"{ src: "{{ inputs.snapshot }}", path: /var/lib/etcd.snapshot.db, mode: "0600" }"#,
    make: Make::Action(|args| Ok(Box::new(CopyFile::from_args(args)?))),
    ..Kind::BLANK
};

/// Where and how a content is put on a host.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Target {
    pub(super) path: String,
    mode: Option<String>,
    owner: Option<String>,
    #[serde(default)]
    replace: bool,
}

impl Target {
    pub(super) fn from_args(args: &Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args.clone())?;
        this.path = shell::host_path("path", &this.path)?;
        let octal = |mode: &String| (3..=4).contains(&mode.len()) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if let Some(mode) = this.mode.as_ref().filter(|mode| !octal(mode)) {
            let why = format!("`{}` is not an octal mode such as `0644`", mode.escape_debug());
            return Err(BadArgs::at("mode", why));
        }
        let name =
            |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && !part.is_empty();
        let is_owner = |owner: &String| owner.splitn(2, ':').all(name) && !owner.starts_with('-');
        if let Some(owner) = this.owner.as_ref().filter(|owner| !is_owner(owner)) {
            let why = format!("`{}` is not of the form `user`, `user:group` or `uid:gid`", owner.escape_debug());
            return Err(BadArgs::at("owner", why));
        }
        Ok(this)
    }

    pub(super) fn script(&self, site: &Site, attempt: &AttemptId, sha256: &str, content: Stdin) -> Script {
        let args = [
            self.path.clone(),
            shell::aside_of(site, &self.path, attempt),
            shell::tag(attempt),
            sha256.to_owned(),
            self.mode.clone().unwrap_or_default(),
            self.owner.clone().unwrap_or_default(),
            if self.replace { "aside" } else { "refuse" }.to_owned(),
        ];
        shell::script(include_str!("sh/put.sh"), args).with_stdin(content)
    }

    pub(super) async fn put(&self, writer: &Writer<'_>, sha256: &str, content: Stdin) -> Result<Value, Fault> {
        let script = self.script(writer.reader().site(), writer.attempt(), sha256, content);
        Ok(Self::result(&shell::run(writer, script).await?))
    }

    pub(super) fn result(answer: &Answer) -> Value {
        json!({
            "path": answer.get("path"),
            "sha256": answer.get("sha256"),
            "size": answer.get("size").parse::<u64>().ok(),
            "changed": answer.get("changed") == "true",
            "aside": shell::or_null(answer.get("aside")),
        })
    }

    /// Tells whether the content is there, and what became of what was there before.
    pub(super) fn judge(&self, before: Option<&Content>, now: &Content, sha256: &str) -> Probe {
        if now.sha256 != sha256 {
            return Probe::No { evidence: now.shown(&self.path) };
        }
        if let Some(mode) = self.mode.as_ref().filter(|mode| shell::four_digits(mode) != shell::four_digits(&now.mode))
        {
            return Probe::No { evidence: format!("the content is there with mode {}, not {mode}", now.mode) };
        }
        if let Some(owner) = self.owner.as_ref().filter(|owner| !now.is_owned_by(owner)) {
            return Probe::No {
                evidence: format!("the content is there and belongs to {}, not {owner}", now.owner_name),
            };
        }
        let old = before.filter(|before| before.sha256 != sha256);
        let aside = old.and_then(|old| now.aside_with(&old.id));
        let result = json!({
            "path": self.path,
            "sha256": sha256,
            "size": now.size,
            "changed": old.is_some(),
            "aside": aside,
        });
        Probe::Yes { result, evidence: now.shown(&self.path) }
    }

    pub(super) async fn probe(&self, reader: &Reader<'_>, before: &Value, sha256: &str) -> Result<Probe, Fault> {
        let now = Content::take(reader, &self.path).await?;
        let before: Option<Content> = serde_json::from_value(before.clone()).ok();
        Ok(self.judge(before.as_ref(), &now, sha256))
    }
}

/// Names what takes a put back.
pub(super) fn undo_put(result: Option<&Value>) -> Undo {
    let Some((path, result)) = result.and_then(|result| Some((result["path"].as_str()?, result))) else {
        return Undo::NeedsResult;
    };
    match (result["aside"].as_str(), result["changed"].as_bool()) {
        (Some(aside), _) => Undo::By(vec![("file.restore_aside", json!({ "path": path, "aside": aside }))]),
        (None, Some(false)) => Undo::Nothing("the file was there already"),
        (None, Some(true) | None) => Undo::By(vec![("file.set_aside", json!({ "path": path }))]),
    }
}

/// What a look at a file saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
pub(super) struct Content {
    /// As of a survey.
    pub(super) was: String,
    pub(super) id: String,
    /// Empty where it is no file.
    pub(super) sha256: String,
    pub(super) size: u64,
    mode: String,
    owner: String,
    owner_name: String,
    asides: Vec<(String, String)>,
}

impl Content {
    /// Reads and hashes a file of the host.
    pub(super) async fn take(reader: &Reader<'_>, path: &str) -> Result<Self, Fault> {
        let script = Self::script(path, &shell::aside_stem(reader.site(), path));
        Ok(Self::read(&shell::look(reader, &script, Some(shell::HASH_BOUND)).await?))
    }

    pub(super) fn script(path: &str, stem: &str) -> Script {
        shell::script(include_str!("sh/content.sh"), [path, stem])
    }

    pub(super) fn read(answer: &Answer) -> Self {
        let text = |key: &str| answer.get(key).to_owned();
        let asides = answer.lines().filter(|(key, _)| *key == "aside");
        let asides = asides.filter_map(|(_, value)| value.split_once(' '));
        Self {
            was: text("was"),
            id: text("id"),
            sha256: text("sha256"),
            size: answer.get("size").parse().unwrap_or_default(),
            mode: text("mode"),
            owner: text("owner"),
            owner_name: text("owner_name"),
            asides: asides.map(|(id, path)| (id.to_owned(), path.to_owned())).collect(),
        }
    }

    pub(super) fn shown(&self, path: &str) -> String {
        match (self.was.as_str(), self.sha256.as_str()) {
            ("absent", _) => format!("nothing is at {path}"),
            (was, "") => format!("a {was} is at {path}"),
            (_, sha256) => format!("{path} has SHA-256 {sha256}, {}", units::show_size(self.size)),
        }
    }

    /// Returns where the file is that was here with this identity before.
    pub(super) fn aside_with(&self, id: &str) -> Option<&str> {
        let aside = self.asides.iter().find(|(other, _)| other == id && *id != self.id);
        aside.map(|(_, path)| path.as_str())
    }

    fn is_owned_by(&self, owner: &str) -> bool {
        let has = |index: usize, wanted: &str| {
            [&self.owner, &self.owner_name].iter().any(|seen| seen.split(':').nth(index) == Some(wanted))
        };
        match owner.split_once(':') {
            Some((user, group)) => has(0, user) && has(1, group),
            None => has(0, owner),
        }
    }
}

/// Returns the SHA-256 of a file of this machine, in hexadecimal, reading it in pieces.
pub(super) async fn local_sha256(path: &Path) -> Result<String, Fault> {
    let shown = path.display().to_string();
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; 1 << 20];
        loop {
            match std::io::Read::read(&mut file, &mut piece)? {
                0 => return Ok(hex::encode(hasher.finalize())),
                length => hasher.update(&piece[..length]),
            }
        }
    });
    match hashed.await {
        Ok(Ok(sha256)) => Ok(sha256),
        Ok(Err(error)) => Err(Fault::refused(format!("the file {shown} of this machine cannot be read"))
            .expected("a readable file")
            .seen(error.to_string())
            .hint("look at the path and its rights")),
        Err(error) => Err(Fault::refused(format!("the file {shown} cannot be read")).seen(error.to_string())),
    }
}

pub(super) struct WriteFile {
    pub(super) target: Target,
    content: Zeroizing<Vec<u8>>,
    pub(super) sha256: String,
}

impl WriteFile {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        #[derive(Deserialize)]
        struct Text {
            content: String,
        }
        // Unlike a copy it is there to change what is there, so that the old file is always set aside.
        let target = Target { replace: true, ..Target::from_args(&args)? };
        let text: Text = args::read(args)?;
        let sha256 = hex::encode(Sha256::digest(text.content.as_bytes()));
        Ok(Self { target, content: Zeroizing::new(text.content.into_bytes()), sha256 })
    }

    /// The content may hold a secret; treated as one, it never touches the capsule's disk.
    pub(super) fn stdin(&self) -> Stdin {
        Stdin::Secret(self.content.clone())
    }
}

#[async_trait]
impl Action for WriteFile {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        let size = units::show_size(self.content.len() as u64);
        Preview::of(format!("write {} ({size}, SHA-256 {})", self.target.path, self.sha256))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        Ok(json!(Content::take(reader, &self.target.path).await?))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        self.target.probe(reader, before, &self.sha256).await
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        self.target.put(writer, &self.sha256, self.stdin()).await
    }

    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        undo_put(result)
    }
}

pub(super) struct CopyFile {
    pub(super) target: Target,
    src: PathBuf,
    sha256: Option<String>,
}

impl CopyFile {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        #[derive(Deserialize)]
        struct Source {
            src: PathBuf,
            sha256: Option<String>,
        }
        let target = Target::from_args(&args)?;
        let Source { src, sha256 } = args::read(args)?;
        let sha256 = sha256.map(|text| checked_sha256(&text)).transpose()?;
        Ok(Self { target, src, sha256 })
    }

    /// Hashes the source, which must be what the plan says it is.
    pub(super) async fn hashed(&self) -> Result<String, Fault> {
        let seen = local_sha256(&self.src).await?;
        match &self.sha256 {
            Some(wanted) if *wanted != seen => {
                Err(Fault::refused(format!("{} is not the file that the plan names", self.src.display()))
                    .expected(format!("SHA-256 {wanted}"))
                    .seen(format!("SHA-256 {seen}"))
                    .hint("fetch the file again, or correct `sha256`"))
            }
            Some(_) | None => Ok(seen),
        }
    }
}

/// Checks a SHA-256 in hexadecimal and returns it in lower case.
pub(super) fn checked_sha256(text: &str) -> Result<String, BadArgs> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        let why = format!("`{}` is not a SHA-256, which has 64 hexadecimal digits", text.escape_debug());
        Err(BadArgs::at("sha256", why))
    }
}

#[async_trait]
impl Action for CopyFile {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("copy {} to {}", self.src.display(), self.target.path))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        Ok(json!(Content::take(reader, &self.target.path).await?))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        self.target.probe(reader, before, &self.hashed().await?).await
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let sha256 = self.hashed().await?;
        self.target.put(writer, &sha256, Stdin::File(self.src.clone())).await
    }

    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        undo_put(result)
    }
}
