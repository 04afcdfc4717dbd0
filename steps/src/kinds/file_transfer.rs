//! `file.fetch` (host to this machine) and `file.relay` (host to host through this machine).
//!
//! A file is read from a host in pieces, one look each, so that memory stays bounded and no connection has to live as long
//! as the transfer; the checksum over the whole says at the end whether the file changed meanwhile.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::file_put::{self, Content, MODE, OWNER, PUT_PROBE, PUT_RESULT, PUT_UNDO, REPLACE, Target};
use super::shell;
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Type};
use crate::capsule::capped::CAP;
use crate::catalog::{Field, Kind, Make, Seat};
use crate::crossing::crossing;
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::name::{AttemptId, HostName};
use crate::world::{Reader, Script, Stdin, Writer};

/// `file.fetch`
pub const FETCH: Kind = Kind {
    name: "file.fetch",
    summary: "Fetches a file of the host to this machine and compares the checksums at both ends.",
    details: "Read in pieces of 1 MiB; written beside the target, synced, then renamed into place, with mode 0600. A fetch \
        that was cut off leaves nothing at the target and begins anew.",
    seat: Seat::Host,
    args: &[
        Arg::required("path", Type::Path, "The file on the host."),
        Arg::required("to", Type::LocalPath, "The file on this machine; its directory must exist."),
        Arg::optional(
            "replace",
            Type::Bool,
            "Whether a different file that is there is set aside, as TO.requorum-RUN-STEP-ITEM, and replaced. Default: false, it is refused.",
        ),
    ],
    effect: Effect::Probed,
    danger: Danger::Safe,
    result: &[
        Field { name: "path", help: "The file on the host." },
        Field { name: "to", help: "The file on this machine." },
        Field { name: "sha256", help: "SHA-256 of the content, in hexadecimal." },
        Field { name: "size", help: "Its size in bytes." },
        Field { name: "aside", help: "Where the file of this machine is that was replaced; null if none was." },
    ],
    probe: "Both files are there with the same SHA-256.",
    undo: "nothing to take back: the host is not changed, and the file stays",
    needs: "dd, sha256sum, stat",
    source: "OpenShift 4.12 backup and restore: keep backups outside of the cluster; kubeadm recovery notes, fetching the snapshot",
    example: r#"{ path: /etc/etcd/etcd.conf, to: "./{{ host.name }}.conf" }"#,
    make: Make::Action(|args| Ok(Box::new(Fetch::from_args(args)?))),
    ..Kind::BLANK
};

/// `file.relay`
pub const RELAY: Kind = Kind {
    name: "file.relay",
    summary: "Copies a file from one host to another through this machine and compares the checksums at all three.",
    details: "Read in pieces of 1 MiB into a file of this machine that is deleted afterwards, then as `file.copy`. The hosts \
        need no way to each other.",
    seat: Seat::Host,
    args: &[
        Arg::required("from_host", Type::Host, "The host that has the file."),
        Arg::required("src", Type::Path, "The file on that host."),
        Arg::required("path", Type::Path, "The file on the host of this step; its directory must exist."),
        MODE,
        OWNER,
        REPLACE,
    ],
    effect: Effect::Probed,
    danger: Danger::Safe,
    result: PUT_RESULT,
    probe: PUT_PROBE,
    undo: PUT_UNDO,
    sets_aside: "aside",
    needs: "dd, sha256sum, stat, readlink",
    source: "UK8S recovery notes, files from a healthy node; OpenShift 4.12 backup and restore, the same backup everywhere",
    example: r#"{ from_host: cp1, src: /etc/etcd/pki/ca.crt, path: /etc/etcd/pki/ca.crt, mode: "0644" }"#,
    make: Make::Action(|args| Ok(Box::new(Relay::from_args(&args)?))),
    ..Kind::BLANK
};

/// How much one look reads: as much as is kept of the output of a command.
const PIECE: u64 = 2 * CAP as u64;

/// Reads one piece of a file. `$1`: the file, `$2`: its number, `$3`: bytes in a piece.
const READ_PIECE: &str = r#"dd if="$1" bs="$3" skip="$2" count=1 2>/dev/null"#;

/// Looks at a file on a host that is to be read whole.
async fn source(reader: &Reader<'_>, path: &str) -> Result<Content, Fault> {
    let content = Content::take(reader, path).await?;
    if content.sha256.is_empty() {
        return Err(Fault::refused(format!("there is no file to fetch at {path}"))
            .on(&reader.host()?.name)
            .expected("a file")
            .seen(content.shown(path)));
    }
    Ok(content)
}

/// Names what is one item's own: no other item of the run has the name, and each of its attempts has the same.
fn tag_of_item(attempt: &AttemptId) -> String {
    format!("{}-{}", shell::tag(attempt), attempt.item)
}

/// Makes the file that one item reads into, in place of one that an attempt left which was cut off.
fn make_part(directory: &Path, attempt: &AttemptId) -> std::io::Result<NamedTempFile> {
    let name = format!(".requorum-{}.part", tag_of_item(attempt));
    match std::fs::remove_file(directory.join(&name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    tempfile::Builder::new().prefix(&name).rand_bytes(0).tempfile_in(directory)
}

/// Reads a file of a host into a new file in a directory of this machine, synced and of the checksum that the host gave.
async fn pull(
    reader: &Reader<'_>,
    path: &str,
    wanted: &Content,
    directory: &Path,
    attempt: &AttemptId,
) -> Result<NamedTempFile, Fault> {
    let host = &reader.host()?.name;
    let local = |error: std::io::Error| {
        Fault::failed("the file cannot be written on this machine")
            .expected(format!("room for {} bytes in {}", wanted.size, directory.display()))
            .seen(error.to_string())
            .hint("look for a full disk and for the rights on the directory")
    };
    let mut file = make_part(directory, attempt).map_err(local)?;
    let mut hasher = Sha256::new();
    let mut read = 0;
    while read < wanted.size {
        let args = [path.to_owned(), (read / PIECE).to_string(), PIECE.to_string()];
        let output = reader.look(&Script::new(READ_PIECE, args)).await?;
        let length = output.stdout.len() as u64;
        if output.status != 0 || output.truncated || length != PIECE.min(wanted.size - read) {
            return Err(Fault::failed(format!("{path} cannot be read to its end"))
                .on(host)
                .expected(format!("{} bytes", wanted.size))
                .seen(format!("{} bytes, status {}: {}", read + length, output.status, output.tail(2)))
                .hint("is something still writing to it?"));
        }
        hasher.update(&output.stdout);
        // A piece is small and goes to the page cache: not worth a thread of its own.
        file.write_all(&output.stdout).map_err(local)?;
        read += length;
    }
    let seen = hex::encode(hasher.finalize());
    if seen != wanted.sha256 {
        return Err(Fault::failed(format!("{path} arrived with another checksum"))
            .on(host)
            .expected(format!("SHA-256 {}", wanted.sha256))
            .seen(format!("SHA-256 {seen}"))
            .hint("is something still writing to it?"));
    }
    let file = tokio::task::spawn_blocking(move || file.as_file().sync_all().map(|()| file)).await;
    file.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(local)
}

#[derive(Debug, Deserialize)]
pub(super) struct Fetch {
    path: String,
    to: PathBuf,
    #[serde(default)]
    replace: bool,
}

impl Fetch {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.path = shell::host_path("path", &this.path)?;
        if this.to.file_name().is_none() {
            return Err(BadArgs::at("to", format!("`{}` names no file", this.to.display())));
        }
        Ok(this)
    }

    fn directory(&self) -> &Path {
        self.to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn result(&self, content: &Content, aside: Option<&Path>) -> Value {
        json!({ "path": self.path, "to": self.to, "sha256": content.sha256, "size": content.size, "aside": aside })
    }

    /// Finds the second name of the file that was there before, by which an earlier attempt has set it aside.
    fn set_aside_from(&self, before: &Value) -> Option<PathBuf> {
        let old: Inode = serde_json::from_value::<Option<Inode>>(before.clone()).ok()??;
        let stem = format!("{}.requorum-", self.to.file_name()?.display());
        let names = std::fs::read_dir(self.directory()).ok()?.filter_map(|entry| Some(entry.ok()?.file_name()));
        let mut paths = names.filter(|name| name.to_string_lossy().starts_with(&stem));
        paths.find_map(|name| Some(self.to.with_file_name(name)).filter(|path| inode(path) == Some(old)))
    }

    async fn local(&self) -> Result<Option<String>, Fault> {
        if self.to.symlink_metadata().is_err() { Ok(None) } else { file_put::local_sha256(&self.to).await.map(Some) }
    }
}

#[async_trait]
impl Action for Fetch {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("fetch {} to {}", self.path, self.to.display()))
    }

    async fn before(&self, _: &Reader<'_>) -> Result<Value, Fault> {
        Ok(json!(inode(&self.to)))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let Some(here) = self.local().await? else {
            return Ok(Probe::No { evidence: format!("nothing is at {}", self.to.display()) });
        };
        let there = Content::take(reader, &self.path).await?;
        if there.sha256 == here {
            let result = self.result(&there, self.set_aside_from(before).as_deref());
            return Ok(Probe::Yes { result, evidence: format!("both have SHA-256 {here}") });
        }
        Ok(Probe::No { evidence: format!("{} has SHA-256 {here}; {}", self.to.display(), there.shown(&self.path)) })
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let reader = writer.reader();
        let content = source(&reader, &self.path).await?;
        let mut aside = None;
        if let Some(here) = self.local().await? {
            if here == content.sha256 {
                return Ok(self.result(&content, None));
            }
            // Several hosts may fetch to one place by mistake; each gets a name of its own.
            let name = PathBuf::from(format!("{}.requorum-{}", self.to.display(), tag_of_item(writer.attempt())));
            if !self.replace || is_taken(&name, &self.to) {
                return Err(Fault::refused(format!("a different file is at {} of this machine", self.to.display()))
                    .expected(format!("SHA-256 {}, or nothing", content.sha256))
                    .seen(format!("SHA-256 {here}"))
                    .hint("give `replace: true` to have it set aside, or another `to`"));
            }
            aside = Some(name);
        }
        let file = pull(&reader, &self.path, &content, self.directory(), writer.attempt()).await?;
        let place = |error: std::io::Error| {
            Fault::failed(format!("{} cannot be put in place", self.to.display())).seen(error.to_string())
        };
        let at = |place: &str| crossing(|| format!("{place} {}", writer.attempt().directory()));
        at("before putting in place");
        if let Some(aside) = &aside {
            set_aside(&self.to, aside).map_err(place)?;
        }
        at("after setting aside");
        file.persist(&self.to).map_err(|error| place(error.error))?;
        at("after putting in place");
        std::fs::File::open(self.directory()).and_then(|directory| directory.sync_all()).map_err(place)?;
        Ok(self.result(&content, aside.as_deref()))
    }

    fn undo(&self, _: &Value, _: Option<&Value>) -> Undo {
        Undo::Nothing("the host is not changed, and the file on this machine stays")
    }
}

/// Says whether a name for what is set aside is in use: by anything but the file itself, to which an attempt that was cut off
/// has given this second name.
fn is_taken(name: &Path, file: &Path) -> bool {
    name.symlink_metadata().is_ok() && !is_same(name, file)
}

/// Gives a file a second name, which it may have already.
fn set_aside(file: &Path, name: &Path) -> std::io::Result<()> {
    if is_same(name, file) { Ok(()) } else { std::fs::hard_link(file, name) }
}

fn is_same(one: &Path, other: &Path) -> bool {
    inode(one).is_some_and(|found| Some(found) == inode(other))
}

/// The device and the inode of a file, which all its names have in common.
type Inode = (u64, u64);

fn inode(path: &Path) -> Option<Inode> {
    path.symlink_metadata().ok().map(|found| (found.dev(), found.ino()))
}

pub(super) struct Relay {
    from: HostName,
    src: String,
    target: Target,
}

impl Relay {
    pub(super) fn from_args(args: &Value) -> Result<Self, BadArgs> {
        let name = match &args["from_host"] {
            Value::String(name) => name.as_str(),
            host => host["name"].as_str().unwrap_or_default(),
        };
        let from = HostName::new(name).map_err(|error| BadArgs::at("from_host", error.to_string()))?;
        let src = shell::host_path("src", args["src"].as_str().unwrap_or_default())?;
        Ok(Self { from, src, target: Target::from_args(args)? })
    }
}

#[async_trait]
impl Action for Relay {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("copy {}:{} to {}", self.from, self.src, self.target.path))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        Ok(json!(Content::take(reader, &self.target.path).await?))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let source = source(&reader.at(&self.from)?, &self.src).await?;
        self.target.probe(reader, before, &source.sha256).await
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let from = writer.reader().at(&self.from)?;
        let content = source(&from, &self.src).await?;
        let directory = &from.world.settings.local_capsules;
        std::fs::create_dir_all(directory).map_err(|error| {
            Fault::failed(format!("the directory {} cannot be made", directory.display())).seen(error.to_string())
        })?;
        let file = pull(&from, &self.src, &content, directory, writer.attempt()).await?;
        self.target.put(writer, &content.sha256, Stdin::File(file.path().to_owned())).await
    }

    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        file_put::undo_put(result)
    }
}
