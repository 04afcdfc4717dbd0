//! Certificate requests of kubelets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::cluster::Cluster;
use crate::support::Laptop;

const PLAN: &str = r#"requorum: 1
name: approve
steps:
  - id: approve
    kube.approve_csrs: { nodes: [cp1], requestors: ["system:bootstrap:abcdef"] }
    outputs: { approved: "{{ result.approved }}", left: "{{ result.left }}" }
"#;

/// A request for a node's client certificate, as a kubelet makes it.
fn request(name: &str, node: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    format!(
        "{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {{name: {name}}}, spec: {{request: \
         {}, signerName: kubernetes.io/kube-apiserver-client-kubelet, usages: [digital signature, client auth]}}}}",
        STANDARD.encode(pem)
    )
}

#[test]
fn only_requests_that_fit_are_approved_and_the_others_are_left_and_named() {
    let Some(cluster) = Cluster::up() else { return };
    let laptop = Laptop::new();
    let site = cluster.site("site.yaml", &cluster.kube("admin.conf"));
    cluster.kubectl(&[
        "create",
        "clusterrolebinding",
        "bootstrap",
        "--clusterrole=system:node-bootstrapper",
        "--group=system:bootstrappers",
    ]);
    let bootstrapper = ["--as", "system:bootstrap:abcdef", "--as-group", "system:bootstrappers"];
    cluster.create(&bootstrapper, &request("good", "cp1"));
    cluster.create(&bootstrapper, &request("other-node", "cp9"));
    cluster.create(&[], &request("other-user", "cp1"));
    let plan = laptop.write("approve.yaml", PLAN);
    laptop.expect(0, &["run", &plan, "-i", &site, "--yes"]);
    let outputs = laptop.newest().outputs("approve");
    assert_eq!(outputs["approved"], serde_json::json!(["good"]), "{outputs}");
    assert_eq!(outputs["left"].as_array().unwrap().len(), 2, "{outputs}");
    let conditions = |name: &str| cluster.kubectl(&["get", "csr", name, "-o", "jsonpath={.status.conditions[*].type}"]);
    assert_eq!(conditions("good"), "Approved");
    assert_eq!((conditions("other-node"), conditions("other-user")), (String::new(), String::new()));

    // None pending is fine.
    cluster.kubectl(&["delete", "csr", "other-node", "other-user"]);
    laptop.expect(0, &["run", &plan, "-i", &site, "--yes"]);
    assert_eq!(laptop.newest().outputs("approve")["approved"], serde_json::json!([]));
}
