use std::fs;
use std::net::TcpListener;

use requorum_steps::site::{Site, Via};
use requorum_steps::transport::etcd::ca_fingerprint;
use requorum_steps::{Fault, FaultKind};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::server::{Cluster, Pki, host_name, observe};
use crate::support::sshd::Sshd;

/// A member with TLS whose certificate is for `at`.
fn with_tls(at: &str, expired: bool) -> (Cluster, Pki) {
    let cluster = Cluster::prepare(&["cp1"], true);
    let pki = Pki::new();
    pki.issue(cluster.dir.path(), "server", at, expired);
    pki.issue(cluster.dir.path(), "client", "client", false);
    (cluster, pki)
}

/// What a status of the member fails with, once it listens.
async fn fault_of(cluster: &Cluster, site: Site) -> Fault {
    let world = cluster.world_of(site);
    let reader = world.reader(None);
    let start = std::time::Instant::now();
    loop {
        let fault = reader.etcd(&host_name("cp1")).await.unwrap().status().await.unwrap_err();
        if !fault.what.contains("refused the connection") || start.elapsed().as_secs() > 10 {
            return fault;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_member_is_reached_by_tls_directly_and_through_ssh() {
    let (mut cluster, pki) = with_tls("127.0.0.1", false);
    cluster.start_all();
    let world = cluster.world();
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    let fingerprint = ca_fingerprint(&world.reader(None)).await.unwrap();
    assert_eq!(fingerprint, hex::encode(Sha256::digest(pki.ca.der())));

    let Some(mut sshd) = Sshd::start() else { return };
    let mut site = cluster.site();
    let own = sshd.site().hosts.into_values().next().unwrap();
    let host = site.hosts.get_mut(&host_name("cp1")).unwrap();
    (host.address, host.ssh) = (own.address, own.ssh);
    site.etcd.via = Via::Ssh;
    let tls = site.etcd.tls.as_mut().unwrap();
    for place in [&mut tls.ca, &mut tls.cert, &mut tls.key] {
        *place = format!("cp1:{place}");
    }
    let world = cluster.world_of(site);
    let seen = observe(&world, "etcd.healthy", json!({})).await;
    assert!(seen.holds, "{seen:?}");
    // A connection that was lost is made again.
    sshd.down();
    assert!(!observe(&world, "etcd.healthy", json!({})).await.holds);
    sshd.up();
    cluster.wait_for(&world, "etcd.healthy", json!({})).await;
    cluster.stop_member("cp1");
    let seen = observe(&world, "etcd.healthy", json!({})).await;
    assert!(!seen.holds && seen.seen.starts_with("cp1 cannot be reached"), "{seen:?}");
    world.close().await;
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_told_apart() {
    let (mut cluster, pki) = with_tls("127.0.0.1", false);
    cluster.start_all();
    let other = Pki::new();
    let dir = cluster.dir.path().join("other");
    fs::create_dir(&dir).unwrap();
    other.issue(&dir, "client", "client", false);
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();

    let mut site = cluster.site();
    site.etcd.tls.as_mut().unwrap().ca = file("ca.crt");
    let fault = fault_of(&cluster, site).await;
    assert!(fault.what.contains("a CA that is not the site's"), "{fault:?}");
    assert_eq!(fault.kind, FaultKind::Refused);

    let mut site = cluster.site();
    site.etcd.tls.as_mut().unwrap().server_name = Some("elsewhere.example".to_owned());
    assert!(fault_of(&cluster, site).await.what.contains("for another name"));

    let mut site = cluster.site();
    let tls = site.etcd.tls.as_mut().unwrap();
    (tls.cert, tls.key) = (file("client.crt"), file("client.key"));
    // The alert that says so may come too late: the connection is closed behind it.
    let fault = fault_of(&cluster, site).await;
    assert!(format!("{fault:?}").contains("the client certificate"), "{fault:?}");

    let mut site = cluster.site();
    let host = site.hosts.get_mut(&host_name("cp1")).unwrap();
    let member = host.etcd.as_mut().unwrap();
    member.client_urls = vec![cluster.peer_url("cp1").replace("http", "https")];
    let fault = fault_of(&cluster, site).await;
    assert!(fault.what.contains("does not speak TLS"), "{fault:?}");

    let mut site = cluster.site();
    site.etcd.tls = None;
    let world = cluster.world_of(site);
    let fault = world.reader(None).etcd(&host_name("cp1")).await.err().unwrap();
    assert!(fault.what.contains("no TLS material"), "{fault:?}");

    pki.issue(cluster.dir.path(), "server", "127.0.0.1", true);
    cluster.stop_all();
    cluster.start_all();
    assert!(fault_of(&cluster, cluster.site()).await.what.contains("has expired"));
    let seen = observe(&cluster.world(), "cert.valid", json!({ "path": cluster.dir.path().join("server.crt") })).await;
    assert!(!seen.holds && seen.seen.contains("expired at 2020-02-01"), "{seen:?}");
    let seen = observe(&cluster.world(), "cert.valid", json!({ "for": "24h" })).await;
    assert!(seen.holds && seen.seen.contains("ca.crt"), "{seen:?}");
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let cluster = Cluster::prepare(&["cp1"], false);
    let mut site = cluster.site();
    let url = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    site.hosts.get_mut(&host_name("cp1")).unwrap().etcd.as_mut().unwrap().client_urls = vec![url];
    let start = std::time::Instant::now();
    let fault = fault_of(&cluster, site).await;
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.what.contains("did not answer") || fault.what.contains("closed the connection"), "{fault:?}");
    assert!(start.elapsed().as_secs() < 8);
}
