//! `etcd.snapshot_save`: a snapshot of a living member, streamed to this machine and verified before it gets its name.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::fs::{AtFlags, CWD, RenameFlags, renameat_with};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::etcd_members::{Members, ask, find};
use crate::action::{Action, Preview, Probe};
use crate::args::{self, Arg, Type};
use crate::catalog::{Field, Kind, Make, Seat};
use crate::crossing::crossing;
use crate::effect::{Danger, Effect};
use crate::fault::Fault;
use crate::site::Host;
use crate::snapshot::{self, SnapshotError, SnapshotFacts};
use crate::transport::etcd::{EtcdReader, Status};
use crate::units::show_size;
use crate::world::{Reader, Writer};

/// `etcd.snapshot_save`
pub static SAVE: Kind = Kind {
    name: "etcd.snapshot_save",
    summary: "Saves a snapshot of one member to a file of this machine and verifies it completely.",
    details: "It takes a healthy follower, so that the leader is spared; a snapshot needs no quorum, so a `member` that is \
              named is taken as it is. The file appears under its name only when it is whole and on the disk; an existing \
              file is never replaced. It holds every secret of the cluster: its mode is 0600.",
    seat: Seat::Here,
    args: &[
        Arg::required(
            "path",
            Type::LocalPath,
            "The file to write on this machine. It must not exist; its directory must.",
        ),
        Arg::optional(
            "member",
            Type::Host,
            "The member to take it from: a host, or a member's name; default: a healthy follower.",
        ),
    ],
    effect: Effect::Probed,
    danger: Danger::Safe,
    result: &[
        Field { name: "path", help: "The file." },
        Field { name: "sha256", help: "SHA-256 of the file." },
        Field { name: "size", help: "Its size in bytes." },
        Field { name: "revision", help: "The revision of the store." },
        Field { name: "hash", help: "The CRC-32C that `snapshot status` prints, as a number." },
        Field { name: "keys", help: "The number of keys that a client sees." },
        Field { name: "version", help: "The cluster's version, `major.minor`; null where it is not known." },
        Field { name: "member", help: "The host of the member that it was taken from; null where a probe found it." },
    ],
    probe: "The file is there and whole, and was absent before.",
    source: "etcd documentation, Disaster recovery, Snapshotting the keyspace",
    example: r#"{ path: "{{ inputs.file }}" }"#,
    make: Make::Action(|args| Ok(Box::new(args::read::<Save>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Save {
    path: PathBuf,
    #[serde(default)]
    member: Members,
}

#[async_trait]
impl Action for Save {
    fn contained(&self) -> bool {
        false
    }

    fn preview(&self, reader: &Reader<'_>) -> Preview {
        let from = match &self.member {
            Members::All => "a healthy follower".to_owned(),
            Members::Named(names) => {
                let url =
                    |name: &String| Some(find(reader.site(), name).ok()?.etcd.as_ref()?.client_urls.first()?.clone());
                names.iter().map(|name| url(name).unwrap_or_else(|| name.clone())).collect()
            }
        };
        Preview::of(format!("etcdctl --endpoints {from} snapshot save {}", self.path.display()))
    }

    async fn before(&self, _reader: &Reader<'_>) -> Result<Value, Fault> {
        Ok(json!({ "existed": exists(&self.path).await? }))
    }

    async fn probe(&self, _reader: &Reader<'_>, before: &Value) -> Result<Probe, Fault> {
        let path = self.path.display();
        if !exists(&self.path).await? {
            return Ok(Probe::No { evidence: format!("{path} does not exist") });
        }
        if before.get("existed") != Some(&Value::Bool(false)) {
            return Ok(Probe::Unknown { evidence: format!("{path} exists, and existed before") });
        }
        Ok(match verify(&self.path).await {
            Ok(facts) if facts.has_trailer => Probe::Yes {
                result: result(&self.path, &facts, None),
                evidence: format!(
                    "{path} is a whole snapshot at revision {}, and did not exist before",
                    facts.revision
                ),
            },
            Ok(_) => Probe::Unknown {
                evidence: format!("{path} did not exist before, and is no snapshot but a copied file"),
            },
            Err(error) => {
                Probe::Unknown { evidence: format!("{path} did not exist before, and is not whole: {error}") }
            }
        })
    }

    async fn act(&self, writer: &Writer<'_>) -> Result<Value, Fault> {
        let reader = writer.reader();
        if exists(&self.path).await? {
            return Err(Fault::refused(format!("{} exists", self.path.display()))
                .expected("a file that does not exist yet")
                .hint("a snapshot is never replaced: choose another name"));
        }
        let (etcd, status) = self.choose(&reader).await?;
        let attempt = writer.attempt();
        let part = beside(&self.path, &format!("requorum-{}-{}.part", attempt.run, attempt.step))?;
        refuse_if_full(&part, &status)?;
        let at = |place: &str| crossing(|| format!("{place} {}", attempt.directory()));
        let saved = self.save(&etcd, &part, at).await;
        if saved.is_err() {
            // The name is this step's own. What cannot be removed now is removed by the next attempt.
            let _ = fs::remove_file(&part).await;
        }
        let facts = saved.map_err(|fault| fault.on(&etcd.host().name))?;
        Ok(result(&self.path, &facts, Some(etcd.host())))
    }
}

impl Save {
    /// Chooses the member to take the snapshot from.
    async fn choose<'w>(&self, reader: &Reader<'w>) -> Result<(EtcdReader<'w>, Status), Fault> {
        let named = self.member != Members::All;
        let hosts = self.member.hosts(reader.site())?;
        let answers = ask(reader, &hosts, |etcd| async move {
            let status = etcd.status().await?;
            Ok((etcd, status))
        });
        let answers = answers.await.any()?;
        let seen = answers.sum_up("", |(_, status)| (true, state(status))).seen;
        let mut fit: Vec<(EtcdReader<'w>, Status)> =
            answers.0.into_iter().filter_map(|(_, answer)| answer.ok()).collect();
        fit.retain(|(_, status)| named || (!status.is_learner && status.leader != 0));
        // A follower before the leader, and among them the one that has applied most.
        fit.sort_by_key(|(_, status)| (status.leader == status.member_id, std::cmp::Reverse(status.raft_applied)));
        fit.into_iter().next().ok_or_else(|| {
            Fault::refused("there is no healthy member to take a snapshot from")
                .expected("a voter that follows a leader")
                .seen(seen)
                .hint("a snapshot needs no quorum: name the `member` whose data is the newest")
        })
    }

    /// Streams the snapshot to its temporary file, verifies it, and gives it its name.
    async fn save(&self, etcd: &EtcdReader<'_>, part: &Path, at: impl Fn(&str) + Send) -> Result<SnapshotFacts, Fault> {
        let mut file = create(part).await?;
        let mut stream = etcd.snapshot().await?;
        while let Some(piece) = stream.next().await? {
            file.write_all(&piece).await.map_err(|error| disk(part, "written", &error))?;
            at("while streaming");
        }
        file.flush().await.map_err(|error| disk(part, "written", &error))?;
        file.sync_all().await.map_err(|error| disk(part, "synced", &error))?;
        let facts = verify(part).await.map_err(|error| {
            Fault::failed(format!("the snapshot that {} sent is not whole", etcd.url()))
                .seen(error.to_string())
                .hint("take it from another member, and look at the disk of this one")
        })?;
        if !facts.has_trailer {
            return Err(Fault::failed(format!("the snapshot that {} sent ended before its hash", etcd.url())));
        }
        at("before putting in place");
        match renameat_with(CWD, part, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // Some network file systems do not have the flag; a link does not replace either.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                rustix::fs::linkat(CWD, part, CWD, &self.path, AtFlags::empty())
                    .and_then(|()| rustix::fs::unlink(part))
                    .map_err(|error| disk(&self.path, "named", &error.into()))?;
            }
            Err(error) => return Err(disk(&self.path, "named", &error.into())),
        }
        at("after putting in place");
        let directory = directory(&self.path);
        let synced = async { File::open(directory).await?.sync_all().await };
        synced.await.map_err(|error| disk(directory, "synced", &error))?;
        Ok(facts)
    }
}

fn state(status: &Status) -> String {
    match (status.is_learner, status.leader) {
        (true, _) => "is a learner".to_owned(),
        (false, 0) => format!("has no leader, at revision {}", status.revision),
        (false, _) => "follows a leader".to_owned(),
    }
}

async fn verify(path: &Path) -> Result<SnapshotFacts, SnapshotError> {
    let path = path.to_owned();
    let done = tokio::task::spawn_blocking(move || snapshot::verify(&path)).await;
    done.unwrap_or_else(|error| Err(SnapshotError::Io(std::io::Error::other(error))))
}

async fn exists(path: &Path) -> Result<bool, Fault> {
    match fs::symlink_metadata(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(disk(path, "looked at", &error)),
    }
}

/// Makes the temporary file, in place of one that an earlier attempt of this step left.
async fn create(part: &Path) -> Result<File, Fault> {
    if exists(part).await? {
        fs::remove_file(part).await.map_err(|error| disk(part, "removed", &error))?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).await;
    made.map_err(|error| disk(part, "made", &error).hint("does its directory exist, and may you write there?"))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, suffix: &str) -> Result<PathBuf, Fault> {
    let name = path.file_name().ok_or_else(|| Fault::refused(format!("`{}` names no file", path.display())))?;
    Ok(directory(path).join(format!(".{}.{suffix}", name.to_string_lossy())))
}

fn refuse_if_full(part: &Path, status: &Status) -> Result<(), Fault> {
    let place = directory(part);
    let room = rustix::fs::statvfs(place)
        .map_err(|error| disk(place, "looked at", &error.into()).hint("does the directory exist?"))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let needed = u64::try_from(status.db_size).unwrap_or(0);
    if free < needed {
        return Err(Fault::refused(format!("the file system of {} is too full for the snapshot", place.display()))
            .expected(format!("{} free", show_size(needed)))
            .seen(format!("{} free", show_size(free))));
    }
    Ok(())
}

fn disk(path: &Path, verb: &str, error: &std::io::Error) -> Fault {
    Fault::failed(format!("{} cannot be {verb}", path.display())).seen(error.to_string())
}

fn result(path: &Path, facts: &SnapshotFacts, member: Option<&Host>) -> Value {
    json!({
        "path": path,
        "sha256": facts.sha256,
        "size": facts.size,
        "revision": facts.revision,
        "hash": facts.hash,
        "keys": facts.live_keys,
        "version": facts.version,
        "member": member.map(|host| host.name.as_str()),
    })
}
