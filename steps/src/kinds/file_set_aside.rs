//! `file.set_aside` and `file.restore_aside`: nothing is destroyed before it can be restored.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::shell;
use super::survey::{self, Survey};
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::name::AttemptId;
use crate::site::Site;
use crate::world::{Reader, Script, Writer};

/// `file.set_aside`
pub const SET_ASIDE: Kind = Kind {
    name: "file.set_aside",
    summary: "Sets a file or directory aside by renaming it on its file system; never copies, never deletes.",
    details: "The new name is PATH.requorum-RUN-STEP, which is never used twice; of a file in a manifest directory of the \
        kubelet it is beside that directory. A mount point stays: its children move into .requorum-aside-RUN-STEP inside it, \
        all but lost+found. Refused while a process has something inside open or mapped, while a file system is mounted \
        below it, and for a symbolic link. A path that is absent is fine: `aside` is then null. Another attempt goes on \
        where one was cut off. Whether anything is open is known of all processes only as root; `open_scan` says which.",
    seat: Seat::Host,
    args: &[
        Arg::required("path", Type::Path, "The file or directory."),
        Arg::optional(
            "to",
            Type::Path,
            "Another new name, on the same file system; it must not exist. Not for a mount point.",
        ),
    ],
    effect: Effect::Probed,
    lasting: true,
    danger: Danger::Destructive,
    result: &[
        Field { name: "path", help: "The path as given." },
        Field { name: "aside", help: "Where it is now; null if nothing was there." },
        Field { name: "was", help: "`directory`, `file`, `mountpoint` or `absent`." },
        Field { name: "mode", help: "Its mode, four octal digits; null if nothing was there." },
        Field { name: "owner", help: "Its owner, `uid:gid`; null if nothing was there." },
        Field { name: "selinux", help: "Its SELinux context; null where there is none." },
        Field {
            name: "open_scan",
            help: "`complete`, or `own-processes` where it was not root that looked; null after a crash.",
        },
    ],
    probe: "The device and inode that the path had (of a mount point: those of all its children) are found aside.",
    undo: "`file.restore_aside`",
    sets_aside: "aside",
    needs: "find, awk, sed, stat, df (coreutils and findutils, or busybox), /proc",
    source: "requorum design, \"nothing is destroyed before it can be restored\"; OpenShift 4.12 backup and restore, \
        restoring to a previous cluster state; UK8S and kubeadm recovery notes, data directory",
    example: r#"{ path: "{{ host.etcd.data_dir }}" }"#,
    make: Make::Action(|args| Ok(Box::new(SetAside::from_args(args)?))),
    ..Kind::BLANK
};

/// `file.restore_aside`
pub const RESTORE_ASIDE: Kind = Kind {
    name: "file.restore_aside",
    summary: "Puts back what was set aside; what is at its path now is set aside in turn.",
    details: "Both by rename on one file system. Of a mount point the children are exchanged. Refused while a process has \
        something inside either open.",
    seat: Seat::Host,
    args: &[
        Arg::required("path", Type::Path, "Where it belongs."),
        Arg::required("aside", Type::Path, "Where it is now: the `aside` of the step that set it aside."),
    ],
    effect: Effect::Probed,
    danger: Danger::Destructive,
    result: &[
        Field { name: "path", help: "The path as given." },
        Field { name: "aside", help: "Where it was." },
        Field { name: "displaced", help: "Where that is now which was at the path; null if nothing was." },
        Field { name: "open_scan", help: "As of `file.set_aside`." },
    ],
    probe: "The device and inode of what was aside (of a mount point: of its children) are found at the path.",
    undo: "`file.restore_aside` of what was displaced, or `file.set_aside` where nothing was",
    sets_aside: "displaced",
    needs: "as `file.set_aside`",
    source: "requorum design, \"nothing is destroyed before it can be restored\"",
    example: r#"{ path: /var/lib/etcd, aside: "{{ steps.set-data-aside.result[0].aside }}" }"#,
    make: Make::Action(|args| Ok(Box::new(RestoreAside::from_args(args)?))),
    ..Kind::BLANK
};

#[derive(Debug, Deserialize)]
pub(super) struct SetAside {
    path: String,
    to: Option<String>,
}

impl SetAside {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.path = shell::host_path("path", &this.path)?;
        this.to = this.to.map(|to| shell::host_path("to", &to)).transpose()?;
        if this.to.as_deref().is_some_and(|to| to == this.path || to.starts_with(&format!("{}/", this.path))) {
            return Err(BadArgs::at("to", "it lies at or below `path`; name a place beside it"));
        }
        Ok(this)
    }

    pub(super) fn script(&self, site: &Site, attempt: &AttemptId) -> Script {
        let (aside, given) = match &self.to {
            Some(to) => (to.clone(), "given"),
            None => (shell::aside_of(site, &self.path, attempt), "default"),
        };
        let args = [self.path.clone(), aside, shell::tag(attempt), given.to_owned()];
        shell::script(include_str!("sh/set_aside.sh"), args)
    }

    pub(super) fn result(&self, answer: &shell::Answer) -> Value {
        let mut result = survey::set_aside_result(&self.path, answer.get("aside"), &Survey::read(answer));
        result["open_scan"] = shell::or_null(answer.get("open_scan"));
        result
    }
}

#[async_trait]
impl Action for SetAside {
    fn preview(&self, reader: &Reader<'_>) -> Preview {
        let to = self.to.clone().unwrap_or_else(|| format!("{}RUN-STEP", shell::aside_stem(reader.site(), &self.path)));
        Preview::of(format!("mv {} {to}", self.path)).sets_aside(&self.path)
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let survey = Survey::take(reader, &self.path, self.to.as_deref()).await?;
        Ok(json!(survey))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let Some(before) = read_before(before) else { return Ok(no_before()) };
        let now = Survey::take(reader, &self.path, self.to.as_deref()).await?;
        Ok(survey::was_set_aside(&self.path, &before, &now))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let script = self.script(writer.reader().site(), writer.attempt());
        Ok(self.result(&shell::run(writer, script).await?))
    }

    /// Where nothing was there, the place is free for whatever the plan does next.
    fn ended_by(&self, result: &Value, kind: &str, args: &Value) -> bool {
        result["aside"].is_null() || (kind == "file.restore_aside" && args["path"] == self.path.as_str())
    }

    /// Where nothing was there, what has come since goes. Of a set-aside that failed nothing is guessed: taking back what did
    /// not happen would set aside what is to stay.
    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        match result.map(|result| result["aside"].as_str()) {
            Some(Some(aside)) => Undo::By(vec![("file.restore_aside", json!({ "path": self.path, "aside": aside }))]),
            Some(None) => Undo::By(vec![("file.set_aside", json!({ "path": self.path }))]),
            None => Undo::NeedsResult,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RestoreAside {
    path: String,
    aside: String,
}

impl RestoreAside {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.path = shell::host_path("path", &this.path)?;
        this.aside = shell::host_path("aside", &this.aside)?;
        if this.path == this.aside {
            return Err(BadArgs::at("aside", "it is the same as `path`"));
        }
        Ok(this)
    }

    pub(super) fn script(&self, site: &Site, attempt: &AttemptId) -> Script {
        let displaced = shell::aside_of(site, &self.path, attempt);
        let args = [self.path.clone(), self.aside.clone(), displaced, shell::tag(attempt)];
        shell::script(include_str!("sh/restore_aside.sh"), args)
    }

    pub(super) fn result(&self, answer: &shell::Answer) -> Value {
        let mut result = survey::restore_result(&self.path, &self.aside, answer.get("displaced"));
        result["open_scan"] = shell::or_null(answer.get("open_scan"));
        result
    }
}

#[async_trait]
impl Action for RestoreAside {
    fn preview(&self, reader: &Reader<'_>) -> Preview {
        let displaced = format!("{}RUN-STEP", shell::aside_stem(reader.site(), &self.path));
        Preview::of(format!("mv {0} {displaced}; mv {1} {0}", self.path, self.aside)).sets_aside(&self.path)
    }

    async fn before(&self, reader: &Reader<'_>) -> Result<Value, Fault> {
        let survey = Survey::take(reader, &self.path, Some(&self.aside)).await?;
        Ok(json!(survey))
    }

    async fn probe(&self, reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let Some(before) = read_before(before) else { return Ok(no_before()) };
        let now = Survey::take(reader, &self.path, Some(&self.aside)).await?;
        Ok(survey::was_restored(&self.path, &self.aside, &before, &now))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let script = self.script(writer.reader().site(), writer.attempt());
        Ok(self.result(&shell::run(writer, script).await?))
    }

    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        match result.map(|result| result["displaced"].as_str()) {
            Some(Some(displaced)) => {
                Undo::By(vec![("file.restore_aside", json!({ "path": self.path, "aside": displaced }))])
            }
            Some(None) => Undo::By(vec![("file.set_aside", json!({ "path": self.path }))]),
            None => Undo::NeedsResult,
        }
    }
}

fn read_before(before: &Value) -> Option<Survey> {
    serde_json::from_value(before.clone()).ok()
}

fn no_before() -> Probe {
    Probe::Unknown { evidence: "what was there before is not known".to_owned() }
}
