//! What looks: it sees what is there, waits while the API is away, and names what is in the way.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::support::{Laptop, wait_until};

/// A plan of one wait.
fn waiting(laptop: &Laptop, check: &str, within: &str) -> String {
    let text = format!(
        "requorum: 1\nname: wait\nsteps:\n  - id: wait\n    wait.until:\n      checks:\n        - {check}\n      within: {within}\n"
    );
    laptop.write("wait.yaml", &text)
}

#[test]
fn an_api_that_is_killed_in_a_wait_and_comes_back_is_waited_for() {
    let Some(mut cluster) = Cluster::up() else { return };
    let laptop = Laptop::new();
    let site = cluster.site("site.yaml", &cluster.kube("admin.conf"));
    let check = "kube.get: { kind: ConfigMap, namespace: default, name: late, jsonpath: $.data.a, equals: b }";
    let plan = waiting(&laptop, check, "5m");
    let mut live = laptop.start(&["run", &plan, "-i", &site, "--yes"]);
    wait_until("a look", Duration::from_mins(1), || live.said().contains("there is no ConfigMap"));
    cluster.kill(0);
    wait_until("a look at nothing", Duration::from_mins(1), || live.said().contains("refused the connection"));
    assert!(!live.has_ended());
    cluster.start(0);
    cluster.kubectl(&["create", "configmap", "late", "--from-literal=a=b"]);
    live.wait().expect(0);

    // Each API server is asked by itself.
    let both = waiting(&laptop, "kube.api_ready: { servers: [cp1, cp2] }", "1s");
    laptop.expect(5, &["run", &both, "-i", &site, "--yes"]).says("cp2");
    laptop.expect(0, &["runs", "abort", &laptop.newest().id, "--reason", "tried"]);
    cluster.start(1);
    laptop.expect(0, &["run", &both, "-i", &site, "--yes"]);
    let one = waiting(&laptop, "kube.api_ready: {}", "1s");
    laptop.expect(0, &["run", &one, "-i", &site, "--yes"]);

    leases_nodes_and_pods(&cluster, &laptop, &site);
}

/// Leases that are renewed, and nodes and pods that say that they are ready.
fn leases_nodes_and_pods(cluster: &Cluster, laptop: &Laptop, site: &str) {
    let lease = "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: kube-scheduler, namespace: kube-system}, \
                 spec: {holderIdentity: cp1, leaseDurationSeconds: 2, renewTime: '2030-01-01T00:00:00.000000Z'}}";
    cluster.create(&[], lease);
    let plan = waiting(laptop, "kube.leases_fresh: { names: [kube-scheduler] }", "5m");
    let live = laptop.start(&["run", &plan, "-i", site, "--yes"]);
    wait_until("a stale lease", Duration::from_mins(1), || live.said().contains("was not renewed for 2 s"));
    let mut live = Some(live);
    let mut second = 0;
    wait_until("the lease to be seen renewed", Duration::from_mins(2), || {
        second += 1;
        let renewed =
            format!("{{\"spec\":{{\"renewTime\":\"2030-01-01T00:{:02}:{:02}.000000Z\"}}}}", second / 60, second % 60);
        cluster.kubectl(&["-n", "kube-system", "patch", "lease", "kube-scheduler", "--type=merge", "-p", &renewed]);
        live.as_mut().unwrap().has_ended()
    });
    live.take().unwrap().wait().expect(0);

    cluster.create(&[], "{apiVersion: v1, kind: Node, metadata: {name: n1}}");
    cluster.create(
        &["-n", "default"],
        "{apiVersion: v1, kind: Pod, metadata: {name: p1, labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}",
    );
    let plan = "requorum: 1\nname: ready\nsteps:\n  - id: wait\n    wait.until:\n      checks:\n        \
                - kube.nodes_ready: { nodes: [n1] }\n        \
                - kube.pods_ready: { namespace: default, selector: \"app in (web)\" }\n      within: 1s\n";
    let plan = laptop.write("ready.yaml", plan);
    let outcome = laptop.expect(5, &["run", &plan, "-i", site, "--yes"]);
    outcome.says("n1 says nothing of being ready");
    outcome.says("p1 is Pending");
    laptop.expect(0, &["runs", "abort", &laptop.newest().id, "--reason", "tried"]);
    let ready = r#"{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Test"}]}}"#;
    for object in ["node/n1", "pod/p1"] {
        cluster.kubectl(&["-n", "default", "patch", object, "--subresource=status", "--type=merge", "-p", ready]);
    }
    laptop.expect(0, &["run", &plan, "-i", site, "--yes"]);
}

#[test]
fn what_is_in_the_way_of_the_api_is_named_and_another_cluster_is_refused() {
    let Some(cluster) = Cluster::up() else { return };
    let laptop = Laptop::new();
    let plan = |check: &str| waiting(&laptop, check, "1s");
    let secret = "kube.get: { kind: Secret, namespace: kube-system, name: a }";
    let other = "kube.get: { api_version: example.com/v1, kind: Thing, name: a }";
    for (kubeconfig, check, words) in [
        ("other-ca.conf", secret, "a CA that the kubeconfig does not know"),
        ("nobody.conf", secret, "forbids it"),
        ("nowhere.conf", secret, "nothing listens there"),
        ("missing.conf", secret, "no kubeconfig of the site can be read"),
        ("admin.conf", other, "knows no example.com/v1 Thing"),
        ("admin.conf", secret, "there is no Secret kube-system/a"),
    ] {
        let site = cluster.site("site.yaml", &cluster.kube(kubeconfig));
        let outcome = laptop.run(&["run", &plan(check), "-i", &site, "--yes"]);
        outcome.expect(5);
        outcome.says(words);
        laptop.expect(0, &["runs", "abort", &laptop.newest().id, "--reason", "tried"]);
    }

    // The first kubeconfig that can be read counts; where the site names none, that of the environment.
    let namespace = plan("kube.get: { kind: Namespace, name: kube-system, jsonpath: $.status.phase, equals: Active }");
    let (missing, admin) = (cluster.path("missing.conf"), cluster.path("admin.conf"));
    let site = cluster.site("site.yaml", &format!("kube: {{ kubeconfig: [{missing}, {admin}] }}\n"));
    laptop.expect(0, &["run", &namespace, "-i", &site, "--yes"]);
    let bare = cluster.site("bare.yaml", "");
    laptop
        .expect(5, &["run", &namespace, "-i", &bare, "--yes"])
        .says("neither the site nor the environment names a kubeconfig");
    laptop.expect(0, &["runs", "abort", &laptop.newest().id, "--reason", "tried"]);
    let mut command = laptop.command(&["run", &namespace, "-i", &bare, "--yes"]);
    command.env("KUBECONFIG", admin);
    laptop.spawn(command).wait().expect(0);

    // The cluster's identity.
    let identity = |uid: &str, kubeconfig: &str| {
        cluster.site("site.yaml", &format!("identity: {{ kube_system_uid: {uid} }}\n{}", cluster.kube(kubeconfig)))
    };
    let uid = cluster.system_uid();
    laptop.expect(0, &["run", &namespace, "-i", &identity(&uid, "admin.conf"), "--yes"]);
    let refused = laptop.expect(4, &["run", &namespace, "-i", &identity("another", "admin.conf"), "--yes"]);
    refused.says("site.identity");
    refused.says(&uid);
    let nothing =
        laptop.write("nothing.yaml", "requorum: 1\nname: nothing\nsteps: [{ id: a, wait.for: { duration: 1s } }]\n");
    laptop
        .expect(0, &["run", &nothing, "-i", &identity("another", "nowhere.conf"), "--yes"])
        .says("could not be looked at: site.identity");
}
