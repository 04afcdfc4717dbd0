//! `etcd.snapshot_rehearse`: a snapshot is restored aside and started alone, to see that it works before anything is replaced.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::etcd_tool::{Fields, PROGRAMS, member, with_programs};
use crate::action::{Action, Preview};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::units;
use crate::world::{Reader, Writer};

const SCRIPT: &str = include_str!("sh/etcd_rehearse.sh");

/// `etcd.snapshot_rehearse`
pub static REHEARSE: Kind = Kind {
    name: "etcd.snapshot_rehearse",
    summary: "Restores a snapshot into a scratch directory on the host, starts that etcd alone, and reads what it holds.",
    details: "The scratch directory is on the file system of the data directory; the etcd in it listens on Unix sockets there \
              and nowhere else; both are gone afterwards. Give it the bump that the restore will use: a restore of the same \
              snapshot with the same version then has this `revision`, `keys` and `hash`, which `etcd.status` compares.",
    seat: Seat::Host,
    args: &[
        Arg::required("snapshot", Type::Path, "The snapshot on the host."),
        Arg::optional(
            "data_dir",
            Type::Path,
            "The data directory beside which it is tried; default: that of the host's member in the site.",
        ),
        Arg::optional("bump_revision", Type::Int, "How much to raise the revision by; default: 0."),
        Arg::optional(
            "mark_compacted",
            Type::Bool,
            "Whether to mark everything before as compacted; default: true with a bump.",
        ),
        Arg::optional(
            "within",
            Type::Duration,
            "How long the restored etcd may take to serve, in whole seconds; default: 60s.",
        ),
    ],
    effect: Effect::Idempotent,
    danger: Danger::Safe,
    result: &[
        Field { name: "revision", help: "The revision of the restored store, the bump included." },
        Field { name: "keys", help: "The number of keys that a client sees." },
        Field { name: "hash", help: "The hash of the keys at that revision (`etcdctl endpoint hashkv`)." },
        Field { name: "compact_revision", help: "The revision that the store was compacted at; 0 or -1: never." },
        Field { name: "bumped", help: "How much the revision was raised by; 0 where the tool cannot." },
        Field { name: "version", help: "The version of the etcd that served it." },
        Field { name: "program", help: "The path of that etcd." },
    ],
    undo: "",
    needs: PROGRAMS,
    source: "etcd documentation, Disaster recovery",
    example: r#"{ snapshot: "{{ host.etcd.data_dir }}.snapshot-{{ run.id }}.db", within: 5m }"#,
    make: Make::Action(|args| {
        let rehearse: Rehearse = args::read(args)?;
        bump_needs_mark(rehearse.bump_revision, rehearse.mark_compacted)?;
        Ok(Box::new(rehearse))
    }),
    ..Kind::BLANK
};

/// Refuses what etcd's tool refuses: a bump without the mark, and the mark without a bump.
pub(super) fn bump_needs_mark(bump: u64, mark: Option<bool>) -> Result<(), BadArgs> {
    match mark {
        Some(mark) if mark != (bump > 0) => {
            let rule =
                "`mark_compacted` goes with `bump_revision`: set both, or neither; or leave `mark_compacted` out";
            Err(BadArgs::at("mark_compacted", rule))
        }
        Some(_) | None => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rehearse {
    snapshot: String,
    data_dir: Option<String>,
    #[serde(default)]
    bump_revision: u64,
    mark_compacted: Option<bool>,
    #[serde(default = "a_minute", deserialize_with = "units::as_written")]
    within: Duration,
}

fn a_minute() -> Duration {
    Duration::from_mins(1)
}

#[async_trait]
impl Action for Rehearse {
    fn preview(&self, reader: &Reader<'_>) -> Preview {
        let place = self.data_dir.clone().or_else(|| Some(member(reader).ok()?.1.data_dir.clone())).unwrap_or_default();
        let snapshot = &self.snapshot;
        Preview::of(format!(
            "restore {snapshot} into a scratch directory beside {place}, start it alone, read it, remove it"
        ))
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let reader = writer.reader();
        let (host, member) = member(&reader)?;
        let attempt = writer.attempt();
        let args = [
            self.snapshot.clone(),
            self.data_dir.clone().unwrap_or_else(|| member.data_dir.clone()),
            self.bump_revision.to_string(),
            self.mark_compacted.unwrap_or(self.bump_revision > 0).to_string(),
            format!("{}-{}", attempt.run, attempt.step),
            self.within.as_secs().max(1).to_string(),
        ];
        let script = with_programs(&reader, SCRIPT, args)?;
        let fields = Fields::of(&writer.run(script).await?, host, "etcd.snapshot_rehearse")?;
        Ok(fields.object(&["revision", "keys", "hash", "compact_revision", "bumped", "version", "program"]))
    }
}
