//! The checks of files on a host.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::file_put::{Content, checked_sha256};
use super::shell::{self, Answer};
use super::survey::Survey;
use crate::action::{Check, Observation};
use crate::args::{self, Arg, BadArgs, Type};
use crate::catalog::{Kind, Make, Seat};
use crate::fault::Fault;
use crate::units;
use crate::world::{Reader, Script};

pub(super) const HOSTS: Arg =
    Arg::optional("hosts", Type::Hosts, "The hosts to look at. Default: the host of the step.");

const PATH: Arg = Arg::required("path", Type::Path, "The path on the host.");

/// `file.exists`
pub const EXISTS: Kind = Kind {
    name: "file.exists",
    summary: "Holds if something is at a path of the host.",
    seat: Seat::Host,
    args: &[
        PATH,
        Arg::optional(
            "kind",
            Type::Word(&["file", "directory", "mountpoint"]),
            "What it must be; a mount point is a directory too. Default: anything.",
        ),
        HOSTS,
    ],
    example: "{ path: /var/lib/etcd, kind: directory }",
    make: Make::Check(|args| Ok(Box::new(Presence::from_args(args, true)?))),
    ..Kind::BLANK
};

/// `file.absent`
pub const ABSENT: Kind = Kind {
    name: "file.absent",
    summary: "Holds if nothing is at a path of the host.",
    details: "A symbolic link that points nowhere is something.",
    seat: Seat::Host,
    args: &[PATH, HOSTS],
    example: "{ path: /var/lib/etcd/member }",
    make: Make::Check(|args| Ok(Box::new(Presence::from_args(args, false)?))),
    ..Kind::BLANK
};

/// `file.sha256`
pub const SHA256: Kind = Kind {
    name: "file.sha256",
    summary: "Holds if a file of the host has a SHA-256.",
    seat: Seat::Host,
    args: &[PATH, Arg::required("sha256", Type::Str, "The SHA-256, 64 hexadecimal digits."), HOSTS],
    needs: "sha256sum",
    example: r#"{ path: /var/lib/etcd.snapshot.db, sha256: "{{ steps.save.outputs.sha256 }}" }"#,
    make: Make::Check(|args| Ok(Box::new(Sha256Is::from_args(args)?))),
    ..Kind::BLANK
};

/// `file.free_space`
pub const FREE_SPACE: Kind = Kind {
    name: "file.free_space",
    summary: "Holds if the file system of a path has room.",
    details: "What counts is what the user of the commands may still use. Of a path that does not exist yet the nearest \
        directory above it is taken.",
    seat: Seat::Host,
    args: &[PATH, Arg::required("at_least", Type::Size, "The room, such as `4GiB`."), HOSTS],
    needs: "df",
    source: "OpenShift 4.12 and UK8S recovery notes leave it out: a restore needs twice the size of the database",
    example: r#"{ path: "{{ host.etcd.data_dir }}", at_least: 512MiB, hosts: "{{ vars.members }}" }"#,
    make: Make::Check(|args| Ok(Box::new(FreeSpace::from_args(args)?))),
    ..Kind::BLANK
};

/// `file.not_open`
pub const NOT_OPEN: Kind = Kind {
    name: "file.not_open",
    summary: "Holds if no process has something at or below a path open or mapped.",
    details: "By device and inode, so that processes in containers are seen. Complete only as root: else the processes of \
        others are not seen, and the observation says so.",
    seat: Seat::Host,
    args: &[PATH, HOSTS],
    needs: "find, stat, awk, /proc",
    example: "{ path: /var/lib/etcd }",
    make: Make::Check(|args| Ok(Box::new(NotOpen::from_args(args)?))),
    ..Kind::BLANK
};

#[derive(Debug, Deserialize)]
pub(super) struct Presence {
    path: String,
    kind: Option<String>,
    #[serde(skip)]
    wanted: bool,
}

impl Presence {
    pub(super) fn from_args(args: Value, wanted: bool) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.path = shell::host_path("path", &this.path)?;
        this.wanted = wanted;
        Ok(this)
    }

    pub(super) fn judge(&self, seen: &Survey) -> Observation {
        let there = match self.kind.as_deref() {
            None => seen.was != "absent",
            Some("directory") => matches!(seen.was.as_str(), "directory" | "mountpoint"),
            Some(kind) => seen.was == kind,
        };
        let what = self.kind.as_deref().unwrap_or("something");
        let expected =
            if self.wanted { format!("{what} at {}", self.path) } else { format!("nothing at {}", self.path) };
        Observation::new(there == self.wanted, expected, seen.shown(&self.path))
    }
}

#[async_trait]
impl Check for Presence {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        Ok(self.judge(&Survey::take(reader, &self.path, None).await?))
    }
}

#[derive(Debug, Deserialize)]
struct Sha256Is {
    path: String,
    sha256: String,
}

impl Sha256Is {
    fn from_args(args: Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.path = shell::host_path("path", &this.path)?;
        this.sha256 = checked_sha256(&this.sha256)?;
        Ok(this)
    }
}

#[async_trait]
impl Check for Sha256Is {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        let seen = Content::take(reader, &self.path).await?;
        let expected = format!("{} has SHA-256 {}", self.path, self.sha256);
        Ok(Observation::new(seen.sha256 == self.sha256, expected, seen.shown(&self.path)))
    }
}

pub(super) struct FreeSpace {
    path: String,
    at_least: u64,
}

/// Prints the free bytes of the file system of `$1`, or of the nearest directory above it that exists.
const FREE: &str = r#"
place=$1
while ! exists "$place"; do place=$(dirname "$place"); done
say place "$place"
say kib "$(df -Pk "$place" | awk 'NR == 2 { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+%$/) { print $(i - 1); exit } }')"
"#;

impl FreeSpace {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        #[derive(Deserialize)]
        struct Given {
            path: String,
            at_least: String,
        }
        let given: Given = args::read(args)?;
        let at_least = units::size(&given.at_least).map_err(|error| BadArgs::at("at_least", error.to_string()))?;
        Ok(Self { path: shell::host_path("path", &given.path)?, at_least })
    }

    pub(super) fn look(&self) -> Script {
        shell::script(FREE, [self.path.clone()])
    }

    pub(super) fn judge(&self, answer: &Answer) -> Result<Observation, Fault> {
        let free: u64 = answer.get("kib").parse().map_err(|_| {
            Fault::failed(format!("df does not say how much room {} has", answer.get("place"))).seen(answer.get("kib"))
        })?;
        let free = free.saturating_mul(1024);
        let expected = format!("{} free for {}", units::show_size(self.at_least), self.path);
        let seen = format!("{} free at {}", units::show_size(free), answer.get("place"));
        Ok(Observation::new(free >= self.at_least, expected, seen))
    }
}

#[async_trait]
impl Check for FreeSpace {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        self.judge(&shell::look(reader, &self.look(), None).await?)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct NotOpen {
    path: String,
}

/// Prints who has something at or below `$1` open.
const HOLDERS: &str = r#"
say scan "$(scan_word)"
! exists "$1" || holders_of "$1" | sed 's/^/holder=/'
"#;

impl NotOpen {
    pub(super) fn from_args(args: Value) -> Result<Self, BadArgs> {
        let mut this: Self = args::read(args)?;
        this.path = shell::host_path("path", &this.path)?;
        Ok(this)
    }

    pub(super) fn look(&self) -> Script {
        shell::script(HOLDERS, [self.path.clone()])
    }

    pub(super) fn judge(&self, answer: &Answer) -> Observation {
        let holders: Vec<&str> = answer.lines().filter(|(key, _)| *key == "holder").map(|(_, holder)| holder).collect();
        let mut seen =
            if holders.is_empty() { "no process".to_owned() } else { format!("process {}", holders.join(", ")) };
        if answer.get("scan") != "complete" {
            seen.push_str(" (not root: the processes of others were not seen)");
        }
        Observation::new(holders.is_empty(), format!("no process has {} open", self.path), seen)
    }
}

#[async_trait]
impl Check for NotOpen {
    async fn observe(&self, reader: &Reader<'_>) -> Result<Observation, Fault> {
        Ok(self.judge(&shell::look(reader, &self.look(), None).await?))
    }
}
