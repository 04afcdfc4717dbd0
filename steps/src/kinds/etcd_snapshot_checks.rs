//! The checks of snapshots: `etcd.snapshot_valid`, `etcd.snapshot_fits`.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::etcd_checks::version;
use super::etcd_tool::{Fields, PROGRAMS, member, with_programs};
use crate::action::{Check, Observation};
use crate::args::{self, Arg, BadArgs, Rule, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::fault::Fault;
use crate::snapshot::{self, SnapshotError, SnapshotFacts};
use crate::units::show_size;
use crate::world::{Reader, Script};

/// How long etcd's own tool may take to read a snapshot.
const TOOL_TIME: Duration = Duration::from_mins(10);

/// `etcd.snapshot_valid`
pub static VALID: Kind = Kind {
    name: "etcd.snapshot_valid",
    summary: "A snapshot on this machine is whole: its SHA-256, every page, and what etcd's own tool says where it is here.",
    details: "`snapshot status` alone does not look at the SHA-256. A copied `member/snap/db` has none: nobody can say whether it \
              is whole, and it is refused unless `copied` allows it.",
    seat: Seat::Here,
    args: &[
        Arg::required("path", Type::LocalPath, "The snapshot on this machine."),
        Arg::optional("copied", Type::Bool, "Whether a database file without a hash is accepted; default: false."),
        Arg::optional("revision_at_least", Type::Int, "The lowest revision that is right."),
    ],
    source: "etcd documentation, Disaster recovery; etcd `server/etcdserver/api/v3rpc/maintenance.go`",
    example: r#"{ path: "{{ inputs.snapshot }}" }"#,
    make: Make::Check(|args| Ok(Box::new(args::read::<Valid>(args)?))),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Valid {
    path: PathBuf,
    #[serde(default)]
    copied: bool,
    revision_at_least: Option<i64>,
}

#[async_trait]
impl Check for Valid {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let place = self.path.display();
        let mut expected = format!("{place} is a whole snapshot of etcd");
        if let Some(least) = self.revision_at_least {
            expected = format!("{expected} at revision {least} or later");
        }
        let path = self.path.clone();
        let facts = match blocking(move || snapshot::verify(&path)).await? {
            Ok(facts) => facts,
            Err(SnapshotError::Io(error)) => return Err(unreadable(&self.path, &error)),
            Err(error) => return Ok(Observation::new(false, expected, error.to_string())),
        };
        let shown = show(&facts);
        if !facts.has_trailer && !self.copied {
            let why = "it has no hash at its end: a copied database file, of which nobody can say whether it is whole";
            return Ok(Observation::new(false, expected, format!("{why}; {shown}")));
        }
        if self.revision_at_least.is_some_and(|least| facts.revision < least) {
            return Ok(Observation::new(false, expected, shown));
        }
        Ok(match second_opinion(reader, &self.path, &facts).await? {
            Opinion::NoTool => Observation::new(true, expected, shown),
            Opinion::Same(tool) => Observation::new(true, expected, format!("{shown}; {tool} says the same")),
            Opinion::Other(words) => Observation::new(false, expected, format!("{shown}; but {words}")),
        })
    }
}

fn show(facts: &SnapshotFacts) -> String {
    format!(
        "revision {}, {} keys, hash {:08x}, {}, etcd {}, sha256 {}",
        facts.revision,
        facts.live_keys,
        facts.hash,
        show_size(facts.size),
        facts.version.as_deref().unwrap_or("of unknown version"),
        facts.sha256
    )
}

/// What etcd's own tool says of a snapshot.
enum Opinion {
    /// It is not on this machine.
    NoTool,
    /// It agrees; its name.
    Same(String),
    /// It does not.
    Other(String),
}

const STATUS_SCRIPT: &str = r#"
export ETCDCTL_API=3
if command -v etcdutl >/dev/null; then tool=etcdutl
elif command -v etcdctl >/dev/null && etcdctl snapshot status --help >/dev/null 2>&1; then tool=etcdctl
else exit 0; fi
echo "$tool"
exec "$tool" snapshot status "$1" -w json
"#;

async fn second_opinion(reader: &Reader<'_>, path: &std::path::Path, facts: &SnapshotFacts) -> Result<Opinion, Fault> {
    let absolute = std::path::absolute(path).map_err(|error| unreadable(path, &error))?;
    let script = Script::new(STATUS_SCRIPT, [absolute.to_string_lossy()]);
    let output = reader.look_within(&script, TOOL_TIME).await?;
    let text = output.text();
    let Some((tool, json)) = text.split_once('\n') else {
        return Ok(if text.is_empty() {
            Opinion::NoTool
        } else {
            Opinion::Other(format!("{text}: {}", output.tail(3)))
        });
    };
    let told: Value = serde_json::from_str(json.trim()).unwrap_or_default();
    let number = |key: &str| told.get(key).and_then(Value::as_u64);
    let same = number("hash") == Some(u64::from(facts.hash))
        && number("revision") == u64::try_from(facts.revision).ok()
        && number("totalKey") == Some(facts.total_keys)
        && number("totalSize") == Some(facts.total_size);
    Ok(if same {
        Opinion::Same(tool.to_owned())
    } else {
        Opinion::Other(format!("{tool} snapshot status says {} {}", json.trim(), output.tail(3)))
    })
}

/// `etcd.snapshot_fits`
pub static FITS: Kind = Kind {
    name: "etcd.snapshot_fits",
    summary: "The etcd binary on a host is not older than the snapshot.",
    details: "etcd refuses data of a newer minor version. An older snapshot is upgraded by the binary, one minor version at a \
              time: more than one minor version older does not hold either.",
    seat: Seat::Host,
    args: &[
        Arg::optional("hosts", Type::Hosts, "The hosts to look at; default: the host of the step."),
        Arg::optional("path", Type::LocalPath, "The snapshot on this machine."),
        Arg::optional("version", Type::Str, "The version of the snapshot, `major.minor`, instead of a file."),
    ],
    rules: &[Rule::ExactlyOne(&["path", "version"])],
    needs: PROGRAMS,
    source: "etcd documentation, Upgrading and Downgrading etcd clusters",
    example: r#"{ path: "{{ inputs.snapshot }}", hosts: "{{ vars.members }}" }"#,
    make: Make::Check(|args| {
        let check: Fits = args::read(args)?;
        if let Some(text) = &check.version {
            version(text).ok_or_else(|| BadArgs::at("version", format!("`{text}` is no version: write it as 3.5")))?;
        }
        Ok(Box::new(check))
    }),
    ..Kind::BLANK
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fits {
    /// The engine makes one check of each host.
    #[serde(default, rename = "hosts")]
    _hosts: Value,
    path: Option<PathBuf>,
    version: Option<String>,
}

const VERSION_SCRIPT: &str = r#"
need_program etcd
say version "$("$found" --version | version_in)"
say program "$found"
"#;

#[async_trait]
impl Check for Fits {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let (host, _) = member(reader)?;
        let Some(snapshot) = self.snapshot_version().await? else {
            let expected = format!("the etcd on {} fits the snapshot", host.name);
            return Ok(Observation::new(false, expected, "the snapshot does not say which version it is of"));
        };
        let script = with_programs(reader, VERSION_SCRIPT, [""; 0])?;
        let fields = Fields::of(&reader.look(&script).await?, host, "etcd --version")?;
        let (binary, program) = (fields.text("version"), fields.text("program"));
        let expected = format!("the etcd on {} is {snapshot} or one minor version newer", host.name);
        let fits = match (version(&snapshot), version(binary)) {
            (Some(of), Some(by)) => of.major == by.major && (of.minor..=of.minor + 1).contains(&by.minor),
            _ => false,
        };
        let seen = format!("{} has etcd {binary} ({program}), the snapshot is of {snapshot}", host.name);
        Ok(Observation::new(fits, expected, seen))
    }
}

impl Fits {
    async fn snapshot_version(&self) -> Result<Option<String>, Fault> {
        let Some(path) = self.path.clone() else { return Ok(self.version.clone()) };
        let read = blocking({
            let path = path.clone();
            move || snapshot::version(&path)
        });
        read.await?.map_err(|error| match error {
            SnapshotError::Io(error) => unreadable(&path, &error),
            other => Fault::refused(format!("{} is no snapshot", path.display())).seen(other.to_string()),
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::failed("the reading of the snapshot was cut off").seen(error.to_string()))
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Fault {
    Fault::refused(format!("{} cannot be read", path.display())).seen(error.to_string())
}
