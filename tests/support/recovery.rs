//! The main job, as a story that several tests tell: data, a snapshot, more data, a disaster, a restore, and the look at the
//! result from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::{HOSTS, Laptop, Run, Testbed};

/// What the restore plan raises revisions by, where etcd can.
const BUMP: i64 = 1_000_000_000;

/// A snapshot, and what the cluster held when it was saved.
pub struct Saved {
    /// The snapshot on the laptop.
    pub snapshot: String,
    /// The keys and values.
    pub data: BTreeMap<String, String>,
    /// The revision.
    pub revision: i64,
}

/// Writes keys of which some are overwritten and some deleted again, saves a snapshot by plan, and writes more.
pub fn fill_and_save(bed: &Testbed, laptop: &Laptop) -> Saved {
    let key = |n: u32| format!("/config/{n:03}");
    bed.put((0..300).map(|n| (key(n), format!("first of {n}"))));
    bed.put((0..100).map(|n| (key(n), format!("second of {n}, with 'quotes' and ünïcödé"))));
    bed.etcdctl(&["del", "/config/15", "--prefix"]);
    bed.put([(key(155), "back again".to_owned()), ("top".to_owned(), String::new())]);
    let (data, revision) = bed.data();
    assert_eq!(data.len(), 292);

    let snapshot = laptop.path("snapshot.db").to_str().unwrap().to_owned();
    laptop.expect(0, &["run", "etcd/snapshot", "-i", &bed.site(), "--set", &format!("file={snapshot}")]);
    bed.put((0..20).map(|n| (format!("/late/{n}"), "late".to_owned())));
    bed.put((0..50).map(|n| (key(n), "late".to_owned())));
    bed.etcdctl(&["del", "top"]);
    Saved { snapshot, data, revision }
}

impl Saved {
    /// Returns the command line of the restore.
    pub fn restore(&self, bed: &Testbed) -> Vec<String> {
        let input = format!("snapshot={}", self.snapshot);
        ["run", "etcd/restore-all-members", "-i", &bed.site(), "--yes", "--set", &input].map(str::to_owned).to_vec()
    }

    /// Looks at the cluster from outside: it is whole and holds exactly what was saved.
    #[track_caller]
    pub fn is_back(&self, bed: &Testbed) {
        bed.etcdctl(&["endpoint", "health"]);
        let (data, revision) = bed.data();
        assert_eq!(data, self.data);
        let bump = if bed.etcd.can_bump() { BUMP } else { 0 };
        assert!(revision >= self.revision + bump, "revision {revision}, was {} when saved", self.revision);

        let status: Value = serde_json::from_str(&bed.etcdctl(&["endpoint", "status", "--write-out=json"])).unwrap();
        let ids: BTreeSet<String> =
            status.as_array().unwrap().iter().map(|one| one["Status"]["header"]["cluster_id"].to_string()).collect();
        assert_eq!((status.as_array().unwrap().len(), ids.len()), (3, 1), "{status}");
        let members = bed.etcdctl(&["member", "list"]);
        assert_eq!(members.lines().filter(|line| line.contains(", started, ")).count(), 3, "{members}");
        let hashes: Value = serde_json::from_str(&bed.etcdctl(&["endpoint", "hashkv", "--write-out=json"])).unwrap();
        let hashes: BTreeSet<String> =
            hashes.as_array().unwrap().iter().map(|one| one["HashKV"]["hash"].to_string()).collect();
        assert_eq!(hashes.len(), 1, "{hashes:?}");
        bed.etcdctl(&["put", "/late/after", "the cluster takes writes"]);
        bed.etcdctl(&["del", "/late/after"]);
    }
}

/// Looks at the traces that a restore has left: every member was restored exactly once, and no scratch is left.
#[track_caller]
pub fn happened_once(bed: &Testbed, run: &Run) {
    for host in HOSTS {
        let item = format!("restore@{host}");
        let ended: Vec<PathBuf> = bed
            .capsules(host, &run.id)
            .into_iter()
            .filter(|dir| dir.file_name().unwrap().to_str().unwrap().starts_with(&format!("{item}.")))
            .filter(|dir| dir.join("status").exists())
            .collect();
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert_eq!(run.events("acted", &item).len(), 1, "{item}");
        let left: Vec<String> = std::fs::read_dir(bed.dir.join(host))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("etcd.") && name.contains(&run.id))
            .filter(|name| *name != format!("etcd.requorum-{}-set-data-aside", run.id))
            .collect();
        assert!(left.is_empty(), "left behind on {host}: {left:?}");
    }
}

/// Names the old data directory that a run has set aside.
pub fn set_aside(bed: &Testbed, host: &str, run: &Run) -> PathBuf {
    bed.dir.join(host).join(format!("etcd.requorum-{}-set-data-aside", run.id))
}
