//! `etcd.snapshot_restore`: a snapshot becomes the data directory of a member.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::etcd_members::Members;
use super::etcd_rehearse::bump_needs_mark;
use super::etcd_tool::{Fields, PROGRAMS, member, with_prelude, with_programs};
use crate::action::{Action, Preview, Probe, Undo};
use crate::args::{self, Arg, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::site::Service;
use crate::world::{Reader, Script, Writer};

const RESTORE_SCRIPT: &str = include_str!("sh/etcd_restore.sh");
const PROBE_SCRIPT: &str = include_str!("sh/etcd_restore_probe.sh");

/// `etcd.snapshot_restore`
pub static RESTORE: Kind = Kind {
    name: "etcd.snapshot_restore",
    summary: "Restores a snapshot as the data directory of the host's member.",
    details: "The data directory must be absent or empty; nothing is overwritten. The snapshot is restored beside it with \
              etcdutl, or etcdctl before etcd 3.6, gets its owner and mode 0700, and is renamed into place; of a mount \
              point, inside it. The SHA-256 of the snapshot is always checked by the tool. `bump_revision` and \
              `mark_compacted` are used where the tool has them (etcd 3.4.27, 3.5.10, 3.6), and left out elsewhere: then \
              `bumped` is 0, and whatever caches revisions must be restarted. Give every member the same snapshot, token \
              and bump.",
    seat: Seat::Host,
    args: &[
        Arg::required("snapshot", Type::Path, "The snapshot on the host."),
        Arg::required(
            "token",
            Type::Str,
            "The new cluster's token: unique for each restore, so that no old member finds its way back.",
        ),
        Arg::optional("data_dir", Type::Path, "The data directory; default: that of the host's member in the site."),
        Arg::optional(
            "wal_dir",
            Type::Path,
            "A directory of its own for the write-ahead log; default: inside the data directory.",
        ),
        Arg::optional("name", Type::Str, "The member's name; default: as in the site."),
        Arg::optional(
            "peer_urls",
            Type::List(&Type::Str),
            "Where the other members will reach it; default: as in the site.",
        ),
        Arg::optional(
            "initial_cluster",
            Type::Str,
            "The members of the new cluster, `NAME=PEER_URL,…`; default: from `members`.",
        ),
        Arg::optional(
            "members",
            Type::Hosts,
            "The hosts whose members form the new cluster; default: all of the site that are not lost.",
        ),
        Arg::optional(
            "bump_revision",
            Type::Int,
            "How much to raise the revision by, so that no watcher sees it go back; default: 0.",
        ),
        Arg::optional(
            "mark_compacted",
            Type::Bool,
            "Whether to mark everything before as compacted; default: true with a bump.",
        ),
        Arg::optional(
            "like",
            Type::Path,
            "A file or directory whose owner and SELinux label the data gets, such as the data that was set aside. Where it is left out or not there: as the data directory, else the user of the systemd unit, else as the directory that holds it.",
        ),
    ],
    rules: &[args::Rule::AtMostOne(&["initial_cluster", "members"])],
    effect: Effect::Probed,
    danger: Danger::Destructive,
    result: &[
        Field { name: "data_dir", help: "The data directory." },
        Field { name: "tool", help: "The tool that was used: etcdutl or etcdctl." },
        Field { name: "version", help: "Its version." },
        Field { name: "program", help: "Its path." },
        Field { name: "bumped", help: "How much the revision was raised by; 0 where the tool cannot." },
        Field { name: "revision", help: "The revision of the restored store, the bump included." },
    ],
    probe: "The directory at the place is the very one that an attempt with this token recorded before it renamed it.",
    undo: "`file.set_aside` of the data directory, and of the WAL directory where there is one of its own",
    needs: PROGRAMS,
    source: "etcd documentation, Disaster recovery; etcd `etcdutl/snapshot`",
    example: r#"{ snapshot: "{{ host.etcd.data_dir }}.snapshot-{{ run.id }}.db", token: "requorum-{{ run.id }}", members: "{{ vars.members }}" }"#,
    make: Make::Action(|args| {
        let restore: Restore = args::read(args)?;
        bump_needs_mark(restore.bump_revision, restore.mark_compacted)?;
        Ok(Box::new(restore))
    }),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restore {
    snapshot: String,
    token: String,
    data_dir: Option<String>,
    wal_dir: Option<String>,
    name: Option<String>,
    peer_urls: Option<Vec<String>>,
    initial_cluster: Option<String>,
    #[serde(default)]
    members: Members,
    #[serde(default)]
    bump_revision: u64,
    mark_compacted: Option<bool>,
    like: Option<String>,
}

/// The arguments with every default filled in from the site.
struct Settled {
    data_dir: String,
    name: String,
    peer_urls: String,
    initial_cluster: String,
    /// The unit that runs it; empty where systemd does not.
    unit: String,
}

impl Restore {
    fn settle(&self, reader: &Reader<'_>) -> Result<Settled, Fault> {
        let (host, member) = member(reader)?;
        let unit = match reader.site().service(host, &member.service) {
            Service::Systemd { unit } => unit,
            Service::StaticPod { .. } | Service::Command { .. } => String::new(),
        };
        let name = self.name.clone().unwrap_or_else(|| member.name.clone());
        let peer_urls = self.peer_urls.as_ref().unwrap_or(&member.peer_urls);
        let initial_cluster = match &self.initial_cluster {
            Some(text) => text.clone(),
            None => initial_cluster(reader, &self.members)?,
        };
        for url in peer_urls {
            let own = format!("{name}={url}");
            if !initial_cluster.split(',').any(|entry| entry == own) {
                return Err(Fault::refused("the new cluster does not contain the member that is restored")
                    .expected(format!("`{own}` in the initial cluster"))
                    .seen(initial_cluster)
                    .hint("name this host in `members`, or correct name and peer URLs"));
            }
        }
        Ok(Settled {
            data_dir: self.data_dir.clone().unwrap_or_else(|| member.data_dir.clone()),
            name,
            peer_urls: peer_urls.join(","),
            initial_cluster,
            unit,
        })
    }

    fn mark(&self) -> bool {
        self.mark_compacted.unwrap_or(self.bump_revision > 0)
    }

    fn script(&self, reader: &Reader<'_>, tag: String) -> Result<Script, Fault> {
        let settled = self.settle(reader)?;
        let args = [
            self.snapshot.clone(),
            settled.data_dir,
            self.wal_dir.clone().unwrap_or_default(),
            settled.name,
            settled.peer_urls,
            settled.initial_cluster,
            self.token.clone(),
            self.bump_revision.to_string(),
            self.mark().to_string(),
            self.like.clone().unwrap_or_default(),
            tag,
            settled.unit,
        ];
        with_programs(reader, RESTORE_SCRIPT, args)
    }
}

/// Writes the members of the new cluster as `--initial-cluster` wants them.
fn initial_cluster(reader: &Reader<'_>, members: &Members) -> Result<String, Fault> {
    let hosts = members.hosts(reader.site())?;
    let members = hosts.iter().filter_map(|host| host.etcd.as_ref());
    let entries: Vec<String> =
        members.flat_map(|member| member.peer_urls.iter().map(|url| format!("{}={url}", member.name))).collect();
    Ok(entries.join(","))
}

const RESULT: [&str; 6] = ["data_dir", "tool", "version", "program", "bumped", "revision"];

#[async_trait]
impl Action for Restore {
    fn preview(&self, reader: &Reader<'_>) -> Preview {
        let settled = match self.settle(reader) {
            Ok(settled) => settled,
            Err(fault) => {
                return Preview::of(format!("etcdutl snapshot restore {} (cannot: {fault})", self.snapshot));
            }
        };
        let mut words = vec!["etcdutl", "snapshot", "restore", &self.snapshot, "--data-dir", &settled.data_dir];
        words.extend(["--name", &settled.name, "--initial-advertise-peer-urls", &settled.peer_urls]);
        words.extend(["--initial-cluster", &settled.initial_cluster, "--initial-cluster-token", &self.token]);
        let bump = self.bump_revision.to_string();
        if self.bump_revision > 0 {
            words.extend(["--bump-revision", &bump]);
        }
        if self.mark() {
            words.push("--mark-compacted");
        }
        if let Some(wal_dir) = &self.wal_dir {
            words.extend(["--wal-dir", wal_dir]);
        }
        let command = shell_words::join(words);
        // Which tool and flags the host has is only known there.
        let note = "# etcdctl where there is no etcdutl; a bump only where the tool has it";
        Preview::of(format!("{command}  {note}"))
    }

    async fn probe(&self, reader: &Reader<'_>, _before: &Value) -> Result<Probe, Fault> {
        let host = reader.host()?;
        let settled = self.settle(reader)?;
        let root = host.capsule_root.as_ref().unwrap_or(&reader.site().capsule_root);
        let capsules = format!("{root}/{}", reader.site().cluster);
        let script = Script::new(with_prelude(PROBE_SCRIPT), [&settled.data_dir, &self.token, &capsules]);
        let fields = Fields::of(&reader.look(&script).await?, host, "the look at the data directory")?;
        let place = &settled.data_dir;
        Ok(match fields.text("state") {
            "restored" => Probe::Yes {
                result: fields.object(&RESULT),
                evidence: format!("{place} is the directory that this restore made"),
            },
            "absent" => Probe::No { evidence: format!("{place} is absent or empty") },
            _ => Probe::Unknown {
                evidence: format!("{place} holds {}, which this restore did not record", fields.text("holds")),
            },
        })
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let reader = writer.reader();
        let host = reader.host()?;
        let attempt = writer.attempt();
        let script = self.script(&reader, format!("{}-{}", attempt.run, attempt.step))?;
        let fields = Fields::of(&writer.run(script).await?, host, "etcd.snapshot_restore")?;
        Ok(fields.object(&RESULT))
    }

    /// The place was absent or empty before, so all that is there now came from here or later.
    fn undo(&self, _: &Value, result: Option<&Value>) -> Undo {
        let Some(data_dir) = result.and_then(|result| result["data_dir"].as_str()) else { return Undo::NeedsResult };
        let places = [Some(data_dir), self.wal_dir.as_deref()].into_iter().flatten();
        Undo::By(places.map(|place| ("file.set_aside", json!({ "path": place }))).collect())
    }
}
