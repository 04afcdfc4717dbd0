use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use requorum_steps::{FaultKind, Probe, World};
use serde_json::{Value, json};

use crate::server::{Cluster, action, host_name, observe, try_observe_on, writer};
use crate::support::sshd::Sshd;

const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

/// A world in which every host of the cluster is reached through one sshd.
fn world(cluster: &Cluster, sshd: &Sshd) -> World {
    let mut site = cluster.site();
    let own = sshd.site().hosts.into_values().next().unwrap();
    for host in site.hosts.values_mut() {
        host.ssh = own.ssh.clone();
    }
    site.capsule_root = sshd.root().display().to_string();
    cluster.world_of(site)
}

async fn probe(world: &World, host: &str, kind: &str, args: &Value) -> Probe {
    let reader = world.reader(Some(&host_name(host)));
    action(kind, args.clone()).probe(&reader, &Value::Null).await.unwrap()
}

fn leftovers(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("requorum")).collect()
}

#[tokio::test]
async fn a_cluster_comes_back_from_its_snapshot_as_it_was_rehearsed() {
    let Some(sshd) = Sshd::start() else { return };
    let mut cluster = Cluster::start(&ALL);
    let world = world(&cluster, &sshd);
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    cluster.fill("cp1", 100).await;

    let path = cluster.dir.path().join("save.db");
    let save = action("etcd.snapshot_save", json!({ "path": path }));
    let here = writer(&world, None, "save", 1);
    let before = save.before(&here.reader()).await.unwrap();
    assert!(matches!(save.probe(&here.reader(), &before).await.unwrap(), Probe::No { .. }));
    let saved = save.act(&here).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let Probe::Yes { result, .. } = save.probe(&here.reader(), &before).await.unwrap() else { panic!() };
    assert_eq!((&result["sha256"], &result["revision"]), (&saved["sha256"], &saved["revision"]));
    let fault = save.act(&writer(&world, None, "save", 2)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused, "an existing file is never replaced: {fault:?}");
    assert_eq!(leftovers(cluster.dir.path()), [""; 0]);
    let valid = observe(&world, "etcd.snapshot_valid", json!({ "path": path })).await;
    assert!(valid.holds, "{valid:?}");
    for (version, fits) in [(saved["version"].clone(), true), (json!("9.0"), false), (json!("3.0"), false)] {
        let args = json!({ "version": version });
        assert_eq!(try_observe_on(&world, Some("cp1"), "etcd.snapshot_fits", args).await.unwrap().holds, fits);
    }
    let fits = try_observe_on(&world, Some("cp1"), "etcd.snapshot_fits", json!({ "path": path })).await.unwrap();
    assert!(fits.holds, "{fits:?}");

    let rehearsal = action("etcd.snapshot_rehearse", json!({ "snapshot": path, "bump_revision": 1_000_000 }));
    let rehearsed = rehearsal.act(&writer(&world, Some("cp2"), "rehearse", 1)).await.unwrap();
    assert_eq!(rehearsed["keys"], saved["keys"]);
    let revision = saved["revision"].as_i64().unwrap() + rehearsed["bumped"].as_i64().unwrap();
    assert_eq!(rehearsed["revision"], json!(revision));
    assert_eq!(leftovers(&cluster.dir.path().join("cp2")), [""; 0]);

    let args = json!({ "snapshot": path, "token": "run-1-restore", "bump_revision": 1_000_000 });
    let restore = action("etcd.snapshot_restore", args.clone());
    let fault = restore.act(&writer(&world, Some("cp1"), "restore", 1)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused, "nothing is overwritten: {fault:?}");
    assert!(fault.what.ends_with("data is not empty") && fault.seen.as_deref() == Some("member"), "{fault:?}");
    assert!(matches!(probe(&world, "cp1", "etcd.snapshot_restore", &args).await, Probe::Unknown { .. }));

    cluster.stop_all();
    // An attempt of this step that was cut off has left its scratch; another run's is not ours to touch.
    let scratch = |name: &str| cluster.dir.path().join("cp1").join(name);
    fs::create_dir_all(scratch("data.requorum-run-1-restore.new/member")).unwrap();
    fs::create_dir(scratch("data.requorum-run-0-restore.new")).unwrap();
    for name in ALL {
        fs::rename(cluster.data_dir(name), cluster.dir.path().join(name).join("aside")).unwrap();
        assert!(matches!(probe(&world, name, "etcd.snapshot_restore", &args).await, Probe::No { .. }));
        let result = restore.act(&writer(&world, Some(name), "restore", 2)).await.unwrap();
        assert_eq!(result["revision"], json!(revision));
        assert_eq!(fs::metadata(cluster.data_dir(name)).unwrap().permissions().mode() & 0o777, 0o700);
        let Probe::Yes { result: adopted, .. } = probe(&world, name, "etcd.snapshot_restore", &args).await else {
            panic!("{name}")
        };
        assert_eq!(adopted, result);
        let foreign: &[&str] = if name == "cp1" { &["data.requorum-run-0-restore.new"] } else { &[] };
        assert_eq!(leftovers(&cluster.dir.path().join(name)), foreign);
    }
    cluster.start_all();
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    let as_rehearsed = json!({
        "revision_at_least": rehearsed["revision"],
        "keys": rehearsed["keys"],
        "hash": { "revision": rehearsed["revision"], "value": rehearsed["hash"] },
    });
    let seen = observe(&world, "etcd.status", as_rehearsed).await;
    assert!(seen.holds, "{seen:?}");
    for kind in ["etcd.one_cluster_id", "etcd.same_hash", "etcd.quorum"] {
        assert!(observe(&world, kind, json!({})).await.holds, "{kind}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_replaced_is_restored_inside() {
    let Some(sshd) = Sshd::start() else { return };
    let mut cluster = Cluster::start(&["cp1"]);
    let world = world(&cluster, &sshd);
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    cluster.fill("cp1", 20).await;
    let path = cluster.dir.path().join("save.db");
    let save = action("etcd.snapshot_save", json!({ "path": path, "member": { "name": "cp1" } }));
    let saved = save.act(&writer(&world, None, "save", 1)).await.unwrap();
    cluster.stop_all();
    // As after setting the contents of a mount point aside; its `lost+found` stays as well.
    let data = cluster.data_dir("cp1");
    let aside = data.join(".requorum-aside-run-1-aside");
    fs::create_dir_all(&aside).unwrap();
    fs::create_dir(data.join("lost+found")).unwrap();
    fs::rename(data.join("member"), aside.join("member")).unwrap();
    let args = json!({ "snapshot": path, "token": "t-2", "like": aside.join("member") });
    let restore = action("etcd.snapshot_restore", args.clone());
    let result = restore.act(&writer(&world, Some("cp1"), "restore", 1)).await.unwrap();
    assert_eq!((&result["bumped"], &result["revision"]), (&json!(0), &saved["revision"]));
    assert!(matches!(probe(&world, "cp1", "etcd.snapshot_restore", &args).await, Probe::Yes { .. }));
    let other = json!({ "snapshot": path, "token": "another" });
    assert!(matches!(probe(&world, "cp1", "etcd.snapshot_restore", &other).await, Probe::Unknown { .. }));
    assert_eq!(leftovers(&data), [".requorum-aside-run-1-aside"]);
    assert!(aside.join("member/snap/db").exists());
    cluster.start_all();
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    assert!(observe(&world, "etcd.status", json!({ "keys": saved["keys"] })).await.holds);
    world.close().await;
}

/// A file system of its own, unmounted when it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn at(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(path).status().unwrap().success();
        if !mounted {
            eprintln!("SKIPPED: nothing can be mounted here");
        }
        mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_mount_point_and_a_directory_for_the_log_are_filled() {
    let Some(sshd) = Sshd::start() else { return };
    let mut cluster = Cluster::start(&["cp1"]);
    let world = world(&cluster, &sshd);
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    let path = cluster.dir.path().join("save.db");
    action("etcd.snapshot_save", json!({ "path": path })).act(&writer(&world, None, "save", 1)).await.unwrap();
    cluster.stop_all();
    let (data, wal) = (cluster.dir.path().join("mounted"), cluster.dir.path().join("wal"));
    let Some(_mount) = Mount::at(&data) else { return };
    let rehearsal = action("etcd.snapshot_rehearse", json!({ "snapshot": path, "data_dir": data }));
    rehearsal.act(&writer(&world, Some("cp1"), "rehearse", 1)).await.unwrap();
    let args = json!({ "snapshot": path, "token": "t-3", "data_dir": data, "wal_dir": wal });
    let restore = action("etcd.snapshot_restore", args.clone());
    restore.act(&writer(&world, Some("cp1"), "restore", 1)).await.unwrap();
    assert!(matches!(probe(&world, "cp1", "etcd.snapshot_restore", &args).await, Probe::Yes { .. }));
    assert!(data.join("member/snap/db").exists() && !data.join("member/wal").exists());
    assert!(fs::read_dir(&wal).unwrap().count() > 0);
    assert_eq!(leftovers(&data), [""; 0]);
    world.close().await;
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_and_leaves_nothing_behind() {
    let Some(sshd) = Sshd::start() else { return };
    let mut cluster = Cluster::start(&["cp1"]);
    let world = world(&cluster, &sshd);
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    let path = cluster.dir.path().join("save.db");
    action("etcd.snapshot_save", json!({ "path": path })).act(&writer(&world, None, "save", 1)).await.unwrap();
    cluster.stop_all();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let seen = observe(&world, "etcd.snapshot_valid", json!({ "path": path })).await;
    assert!(!seen.holds && seen.seen.contains("it is damaged"), "{seen:?}");
    fs::rename(cluster.data_dir("cp1"), cluster.dir.path().join("aside")).unwrap();
    for (kind, args) in [
        ("etcd.snapshot_restore", json!({ "snapshot": path, "token": "t" })),
        ("etcd.snapshot_rehearse", json!({ "snapshot": path })),
    ] {
        let step = kind.rsplit('_').next().unwrap();
        let fault = action(kind, args).act(&writer(&world, Some("cp1"), step, 1)).await.unwrap_err();
        assert!(fault.what.contains("could not restore"), "{fault:?}");
    }
    assert!(!cluster.data_dir("cp1").exists());
    assert_eq!(leftovers(&cluster.dir.path().join("cp1")), [""; 0]);
    world.close().await;
}
