//! `file.unpack` and `file.remove`: what a run makes on a host, and takes away again.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::shell::{self, Answer};
use super::survey::Survey;
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::name::AttemptId;
use crate::site::Site;
use crate::world::{Reader, Script, Writer};

/// `file.unpack`
pub const UNPACK: Kind = Kind {
    name: "file.unpack",
    summary: "Unpacks a tar archive that is on the host into a new or empty directory.",
    details: "Plain, or packed with gzip or zstd, as its first bytes say. Unpacked beside, synced, then renamed into place: a \
        part of an archive is never seen there. An archive with an absolute member or one with `..` is refused. An empty \
        directory that was there gives its mode and owner; a new one has 0755.",
    seat: Seat::Host,
    args: &[
        Arg::required("src", Type::Path, "The archive on the host."),
        Arg::required("into", Type::Path, "The directory, new or empty."),
    ],
    effect: Effect::Probed,
    danger: Danger::Safe,
    result: &[
        Field { name: "into", help: "The directory." },
        Field { name: "members", help: "How many members the archive has; null after a crash." },
    ],
    probe: "The host has a record that a run made the directory that is there (device and inode).",
    undo: "`file.set_aside` of the directory",
    needs: "tar, od, find; gzip or zstd where the archive needs it",
    source: "UK8S recovery notes, the backup is a tar.gz; OpenShift 4.12, static_kuberesources",
    example: "{ src: /root/assets.tar.gz, into: /root/assets }",
    make: Make::Action(|args| Ok(Box::new(Unpack::from_args(args)?))),
    ..Kind::BLANK
};

/// `file.remove`
pub const REMOVE: Kind = Kind {
    name: "file.remove",
    summary: "Removes a file or directory that a step of this run made, and refuses anything else.",
    details: "Kinds that make something record its device and inode on the host; what has another one was not made by this \
        run. Refused while a process has something inside open. What is not there is fine.",
    seat: Seat::Host,
    args: &[Arg::required("path", Type::Path, "The file or directory.")],
    effect: Effect::Probed,
    danger: Danger::Destructive,
    result: &[
        Field { name: "path", help: "The path as given." },
        Field { name: "removed", help: "Whether something was there." },
    ],
    probe: "Nothing is at the path.",
    needs: "find, awk, stat, /proc",
    source: "requorum design, \"nothing is destroyed before it can be restored\"",
    example: r#"{ path: "{{ host.etcd.data_dir }}.snapshot-{{ run.id }}.db" }"#,
    make: Make::Action(|args| Ok(Box::new(Remove::from_args(args)?))),
    ..Kind::BLANK
};

/// Says what is at a path and whether a run recorded that it made it. `$1`: the path, `$2`: the capsules of the cluster.
const MADE: &str = r#"
was=$(kind_of "$1")
say was "$was"
[ "$was" = absent ] || say id "$(identity "$1")"
[ "$was" = absent ] || ! grep -qxF "$(identity "$1")$tab$1" "$2"/*/made 2>/dev/null || say made yes
[ "$was" != directory ] || [ -n "$(ls -A "$1")" ] || say empty yes
"#;

#[derive(Debug, Deserialize)]
pub(super) struct Unpack {
    src: String,
    into: String,
}

impl Unpack {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.src = shell::host_path("src", &this.src)?;
        this.into = shell::host_path("into", &this.into)?;
        Ok(this)
    }

    pub(super) fn script(&self, attempt: &AttemptId) -> Script {
        shell::script(include_str!("sh/unpack.sh"), [self.src.clone(), self.into.clone(), shell::tag(attempt)])
    }

    pub(super) fn look(&self, capsules: String) -> Script {
        shell::script(MADE, [self.into.clone(), capsules])
    }

    pub(super) fn judge(&self, before: &Value, now: &Answer) -> Probe {
        let into = &self.into;
        match (now.get("was"), now.get("empty"), now.get("made")) {
            ("absent", _, _) => Probe::No { evidence: format!("nothing is at {into}") },
            ("directory", "yes", _) => Probe::No { evidence: format!("{into} is empty") },
            ("directory", _, "yes") if before["id"].as_str() != Some(now.get("id")) => {
                let result = json!({ "into": into, "members": null });
                Probe::Yes { result, evidence: format!("{into} is what a run made ({})", now.get("id")) }
            }
            // It was there before this step: the action itself refuses it.
            (_, _, _) if before["id"].as_str() == Some(now.get("id")) => {
                Probe::No { evidence: format!("{into} is what was there before") }
            }
            (was, _, _) => Probe::Unknown { evidence: format!("a {was} is at {into}, and no run recorded making it") },
        }
    }

    pub(super) fn result(&self, answer: &Answer) -> Value {
        json!({ "into": self.into, "members": answer.get("members").parse::<u64>().ok() })
    }
}

/// Returns the directory of the cluster's capsules on the host.
pub(super) fn capsules(site: &Site, reader: &Reader<'_>) -> Result<String, Fault> {
    let root = reader.host()?.capsule_root.as_ref().unwrap_or(&site.capsule_root);
    Ok(format!("{}/{}", root.trim_end_matches('/'), site.cluster))
}

#[async_trait]
impl Action for Unpack {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("unpack {} into {}", self.src, self.into))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let answer = shell::look(reader, &self.look(capsules(reader.site(), reader)?), None).await?;
        Ok(json!({ "id": answer.some("id") }))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let answer = shell::look(reader, &self.look(capsules(reader.site(), reader)?), None).await?;
        Ok(self.judge(before, &answer))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        Ok(self.result(&shell::run(writer, self.script(writer.attempt())).await?))
    }

    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        match result {
            Some(_) => Undo::By(vec![("file.set_aside", json!({ "path": self.into }))]),
            None => Undo::NeedsResult,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Remove {
    path: String,
}

impl Remove {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.path = shell::host_path("path", &this.path)?;
        Ok(this)
    }

    pub(super) fn script(&self, attempt: &AttemptId) -> Script {
        shell::script(include_str!("sh/remove.sh"), [self.path.clone(), shell::tag(attempt)])
    }

    pub(super) fn judge(&self, before: &Value, now: &Survey) -> Probe {
        if now.was == "absent" {
            let removed = before["was"].as_str().is_some_and(|was| was != "absent");
            let result = json!({ "path": self.path, "removed": removed });
            return Probe::Yes { result, evidence: now.shown(&self.path) };
        }
        Probe::No { evidence: now.shown(&self.path) }
    }
}

#[async_trait]
impl Action for Remove {
    fn preview(&self, _: &Reader<'_>) -> Preview {
        Preview::of(format!("rm -r {} (only if this run made it)", self.path))
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let survey = Survey::take(reader, &self.path, None).await?;
        Ok(json!(survey))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let now = Survey::take(reader, &self.path, None).await?;
        Ok(self.judge(before, &now))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let answer = shell::run(writer, self.script(writer.attempt())).await?;
        Ok(json!({ "path": self.path, "removed": answer.get("removed") == "true" }))
    }
}
