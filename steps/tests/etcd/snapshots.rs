use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use requorum_steps::snapshot::{self, SnapshotError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Cluster, program};

/// Takes a snapshot with etcd's own tool.
async fn snapshot(keys: usize) -> (Cluster, PathBuf) {
    let cluster = Cluster::start(&["cp1"]);
    let world = cluster.world();
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    cluster.fill("cp1", keys).await;
    let path = cluster.dir.path().join("snapshot.db");
    let saved = Command::new(program("etcdctl"))
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &cluster.client_url("cp1"), "snapshot", "save"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(saved.status.success(), "{saved:?}");
    (cluster, path)
}

fn tool_says(path: &Path) -> Value {
    let told = Command::new(program("etcdctl"))
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "status", "-w", "json"])
        .arg(path)
        .output()
        .unwrap();
    serde_json::from_slice(&told.stdout).unwrap()
}

#[tokio::test]
async fn the_facts_are_those_that_etcds_own_tool_prints() {
    let (cluster, path) = snapshot(2000).await;
    let facts = snapshot::verify(&path).unwrap();
    let ours = json!({
        "hash": facts.hash, "revision": facts.revision, "totalKey": facts.total_keys, "totalSize": facts.total_size,
    });
    assert_eq!(ours, tool_says(&path));
    let world = cluster.world();
    let etcd = world.reader(None).etcd(&crate::server::host_name("cp1")).await.unwrap();
    let (keys, revision) = etcd.count_keys(None).await.unwrap();
    assert_eq!((i64::try_from(facts.live_keys).unwrap(), facts.revision), (keys, revision));
    let version = etcd.status().await.unwrap().version;
    assert!(version.starts_with(facts.version.as_deref().unwrap()), "{version} {facts:?}");
    assert_eq!(snapshot::version(&path).unwrap(), facts.version);
    assert_eq!(facts.members, ["cp1"]);
    assert!(facts.has_trailer && facts.consistent_index > 2000);
    // The file of a living member has no hash.
    let copy = cluster.data_dir("cp1").join("member/snap/db");
    let copied = cluster.dir.path().join("copied.db");
    drop(cluster.world());
    fs::copy(copy, &copied).unwrap();
    if let Ok(facts) = snapshot::verify(&copied) {
        assert!(!facts.has_trailer);
    }
}

#[tokio::test]
async fn a_change_of_any_byte_is_refused_and_nothing_panics() {
    let (_cluster, path) = snapshot(400).await;
    let whole = fs::read(&path).unwrap();
    let dir = TempDir::new().unwrap();
    let changed = dir.path().join("changed.db");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let change = (any::<prop::sample::Index>(), 1..=255_u8);
    runner
        .run(&change, |(at, mask)| {
            let mut bytes = whole.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            fs::write(&changed, &bytes).unwrap();
            let verdict = snapshot::verify(&changed);
            prop_assert!(matches!(verdict, Err(SnapshotError::WrongHash { .. })), "byte {}: {:?}", at, verdict);
            // Without the hash only the pages speak; whatever they say, they say it without a panic.
            fs::write(&changed, &bytes[..bytes.len() - 32]).unwrap();
            let _ = snapshot::verify(&changed);
            let _ = snapshot::version(&changed);
            Ok(())
        })
        .unwrap();
    runner
        .run(&any::<prop::sample::Index>(), |end| {
            fs::write(&changed, &whole[..end.index(whole.len())]).unwrap();
            // A cut at a sector leaves what looks like a copied database, but not all of its pages.
            prop_assert!(snapshot::verify(&changed).is_err());
            Ok(())
        })
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("random.db");
        fs::write(&path, bytes).unwrap();
        prop_assert!(snapshot::verify(&path).is_err());
        prop_assert!(snapshot::version(&path).is_err());
    }
}
