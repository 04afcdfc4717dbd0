use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Cluster, host_name, observe, try_observe, writer};
use requorum_steps::FaultKind;
use requorum_steps::transport::etcd::quorum;

const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

#[tokio::test]
async fn a_healthy_cluster_passes_every_check() {
    let cluster = Cluster::start(&ALL);
    let world = cluster.world();
    cluster.wait_for(&world, "etcd.healthy", json!({ "members": "all" })).await;
    cluster.fill("cp1", 60).await;
    cluster.wait_for(&world, "etcd.same_hash", json!({})).await;
    for kind in ["etcd.healthy", "etcd.one_cluster_id", "etcd.no_alarm", "etcd.quorum", "etcd.version", "etcd.status"] {
        let seen = observe(&world, kind, json!({})).await;
        assert!(seen.holds, "{kind}: {seen:?}");
    }
    assert!(observe(&world, "etcd.version", json!({ "at_least": "3.4", "same": true })).await.holds);
    let newer = observe(&world, "etcd.version", json!({ "at_least": "9.0" })).await;
    assert!(!newer.holds && newer.seen.contains("cp2 runs 3."), "{newer:?}");
    assert!(observe(&world, "etcd.quorum", json!({ "without": "cp1" })).await.holds);
    assert!(observe(&world, "etcd.quorum", json!({ "stopped": "cp1" })).await.holds);
    assert!(!observe(&world, "etcd.quorum", json!({ "holds": false })).await.holds);
}

#[tokio::test]
async fn status_compares_revision_keys_and_hash() {
    let cluster = Cluster::start(&["cp1"]);
    let world = cluster.world();
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    cluster.fill("cp1", 60).await;
    let etcd = world.reader(None).etcd(&host_name("cp1")).await.unwrap();
    let (keys, revision) = etcd.count_keys(None).await.unwrap();
    assert_eq!(keys, 54);
    let hash = etcd.hash_kv(revision).await.unwrap().hash;
    let right = json!({ "revision_at_least": revision, "keys": keys, "hash": { "revision": revision, "value": hash } });
    assert!(observe(&world, "etcd.status", right.clone()).await.holds);
    // Later writes do not disturb what is read at a revision.
    cluster.client("cp1").await.put("later", "", None).await.unwrap();
    assert!(observe(&world, "etcd.status", right).await.holds);
    for wrong in [
        json!({ "keys": keys }),
        json!({ "revision_at_least": revision + 100 }),
        json!({ "hash": { "revision": revision, "value": 1 } }),
        json!({ "learner": true }),
    ] {
        let seen = observe(&world, "etcd.status", wrong.clone()).await;
        assert!(!seen.holds, "{wrong}: {seen:?}");
    }
}

#[tokio::test]
async fn a_lost_quorum_is_told_and_statuses_still_answer() {
    let mut cluster = Cluster::start(&ALL);
    let world = cluster.world();
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    cluster.stop_member("cp3");
    cluster.wait_for(&world, "etcd.healthy", json!({ "members": ["cp1", "cp2"] })).await;
    let one_down = observe(&world, "etcd.healthy", json!({})).await;
    assert!(!one_down.holds && one_down.seen.starts_with("cp3 cannot be reached"), "{one_down:?}");
    assert!(quorum(&world.reader(None)).await.holds);
    assert!(observe(&world, "etcd.quorum", json!({ "without": "cp3" })).await.holds);
    assert!(!observe(&world, "etcd.quorum", json!({ "stopped": "cp1" })).await.holds, "two of three are needed");
    cluster.stop_member("cp2");
    cluster.wait_for(&world, "etcd.quorum", json!({ "holds": false })).await;
    let view = quorum(&world.reader(None)).await;
    assert_eq!((view.voters, view.majority(), view.holds), (3, 2, false), "{view:?}");
    assert!(observe(&world, "etcd.status", json!({ "members": ["cp1"] })).await.holds);
    let unhealthy = observe(&world, "etcd.healthy", json!({ "members": "cp1" })).await;
    assert!(!unhealthy.holds, "{unhealthy:?}");
    cluster.start_member("cp2");
    cluster.wait_for(&world, "etcd.healthy", json!({ "members": ["cp1", { "name": "cp2" }] })).await;
}

#[tokio::test]
async fn a_writer_changes_membership_leader_and_history() {
    let cluster = Cluster::start(&ALL);
    let world = cluster.world();
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    cluster.fill("cp1", 60).await;
    cluster.wait_for(&world, "etcd.same_hash", json!({})).await;
    let here = writer(&world, None, "change", 1);
    let mut ids = Vec::new();
    let mut leader = None;
    for name in ALL {
        let etcd = here.etcd(&host_name(name)).await.unwrap();
        let status = etcd.reader().status().await.unwrap();
        ids.push(status.member_id);
        if status.leader == status.member_id {
            leader = Some((etcd, status));
        }
    }
    let (etcd, status) = leader.unwrap();
    etcd.compact(status.revision, Duration::from_secs(10)).await.unwrap();
    etcd.defragment(Duration::from_secs(10)).await.unwrap();
    assert_eq!(etcd.reader().hash_kv(0).await.unwrap().compact_revision, status.revision);
    etcd.disarm_no_space(status.member_id).await.unwrap();
    assert_eq!(etcd.reader().alarms().await.unwrap(), []);
    // etcd wants its members connected for 5 s before it changes the membership.
    let start = Instant::now();
    let (added, list) = loop {
        match etcd.member_add(&["http://127.0.0.1:1".to_owned()], true).await {
            Ok(added) => break added,
            Err(fault) => assert!(fault.kind == FaultKind::Refused && start.elapsed().as_secs() < 20, "{fault:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(added.is_learner && list.contains(&added) && list.len() == 4, "{list:?}");
    let fault = etcd.member_promote(added.id).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused, "it was never started: {fault:?}");
    assert_eq!(etcd.member_remove(added.id).await.unwrap().len(), 3);
    let other = ids.into_iter().find(|id| *id != status.member_id).unwrap();
    etcd.move_leader(other).await.unwrap();
    assert_eq!(etcd.reader().status().await.unwrap().leader, other);
}

#[tokio::test]
async fn what_the_site_does_not_name_is_told_in_words() {
    let cluster = Cluster::prepare(&["cp1"], false);
    let world = cluster.world();
    let fault = try_observe(&world, "etcd.status", json!({ "members": ["cp9"] })).await.unwrap_err();
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Refused, "the site has no etcd member `cp9`"));
    let fault = try_observe(&world, "etcd.status", json!({})).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    let mut site = cluster.site();
    site.hosts.get_mut(&host_name("cp1")).unwrap().etcd = None;
    let fault = cluster.world_of(site).reader(None).etcd(&host_name("cp1")).await.err().unwrap();
    assert_eq!(fault.what, "the site names no etcd member on host `cp1`");
}
