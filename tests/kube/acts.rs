//! What changes objects: applied, deleted, and taken back; also where requorum is killed in between.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cluster::Cluster;
use crate::support::Laptop;

const PASSWORD: &str = "hunter2-Zq9x-sAmple";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nnot a real one, but nobody may see it\n-----END PRIVATE KEY-----\n";

const APPLY: &str = r#"requorum: 1
name: apply
inputs: { password: { type: secret } }
steps:
  - id: apply
    kube.apply:
      manifest:
        apiVersion: v1
        kind: Secret
        metadata: { name: NAME, namespace: kube-system }
        stringData: { password: "{{ inputs.password }}" }
      data_from: { etcd-key.pem: ./key.pem }
    verify:
      - kube.get: { kind: Secret, namespace: kube-system, name: NAME, jsonpath: "$.data['etcd-key.pem']" }
    outputs: { uid: "{{ result.uid }}", created: "{{ result.created }}" }
"#;

const DELETE: &str = r#"requorum: 1
name: delete
inputs: { uid: { type: string } }
steps:
  - id: delete
    kube.delete: { kind: Secret, namespace: kube-system, name: one, uid: "{{ inputs.uid }}" }
    verify:
      - kube.deleted: { kind: Secret, namespace: kube-system, name: one, uid: "{{ inputs.uid }}" }
        within: 30s
"#;

#[test]
fn objects_are_applied_once_deleted_by_uid_and_taken_back_and_no_secret_is_kept() {
    let Some(cluster) = Cluster::up() else { return };
    let laptop = Laptop::new();
    let site = cluster.site("site.yaml", &cluster.kube("admin.conf"));
    fs::write(laptop.path("key.pem"), KEY).unwrap();
    let password = cluster.path("password");
    fs::write(&password, PASSWORD).unwrap();
    let password = format!("password={password}");
    let secret = |name: &str, what: &str| {
        let path = format!("jsonpath={{{what}}}");
        cluster.kubectl(&["-n", "kube-system", "get", "secret", name, "-o", &path])
    };

    // Applied, and found the second time.
    let plan = laptop.write("one.yaml", &APPLY.replace("NAME", "one"));
    let run = ["run", &plan, "-i", &site, "--yes", "--set-file", &password];
    laptop.expect(0, &run);
    let made = laptop.newest();
    assert_eq!(made.outputs("apply")["created"], true);
    assert_eq!(secret("one", ".data.password"), STANDARD.encode(PASSWORD));
    assert_eq!(secret("one", ".data.etcd-key\\.pem"), STANDARD.encode(KEY));
    assert!(secret("one", ".metadata.annotations.requorum/applied-by").contains(&made.id));
    laptop.expect(0, &run);
    assert_eq!(laptop.newest().events("satisfied", "apply").len(), 1);
    assert!(laptop.newest().events("started", "apply").is_empty());

    // Killed before and after the call: the object is made, once, and carries the mark of the attempt that made it.
    for (name, place) in [("two", "before applying apply@-.1"), ("three", "after applying apply@-.1")] {
        let plan = laptop.write(&format!("{name}.yaml"), &APPLY.replace("NAME", name));
        let mut command = laptop.command(&["run", &plan, "-i", &site, "--yes", "--set-file", &password]);
        command.env("REQUORUM_DIE_AT", place);
        laptop.spawn(command).wait().expect(137);
        let there = cluster.try_kubectl(&["-n", "kube-system", "get", "secret", name], "").0;
        assert_eq!(there, name == "three", "{place}");
        laptop.expect(0, &["resume"]);
        let reconciled = laptop.newest().events("reconciled", "apply").pop().unwrap();
        assert_eq!(reconciled["verdict"], if name == "three" { "adopt" } else { "repeat" }, "{reconciled}");
        assert!(secret(name, ".metadata.annotations.requorum/applied-by").contains(&laptop.newest().id));
    }

    // Taken back: what was made is deleted.
    laptop.expect(0, &["rollback", &laptop.newest().id, "--yes"]);
    assert!(!cluster.try_kubectl(&["-n", "kube-system", "get", "secret", "three"], "").0);

    // Fields of another owner are not taken over.
    cluster.create(
        &["-n", "kube-system"],
        "{apiVersion: v1, kind: Secret, metadata: {name: four}, data: {password: b3RoZXI=}}",
    );
    let plan = laptop.write("four.yaml", &APPLY.replace("NAME", "four"));
    laptop.expect(5, &["run", &plan, "-i", &site, "--yes", "--set-file", &password]).says("conflict");
    assert_eq!(secret("four", ".data.password"), "b3RoZXI=");
    laptop.expect(0, &["runs", "abort", &laptop.newest().id, "--reason", "tried"]);

    // Deleted is the object that is meant, and no other of its name.
    let plan = laptop.write("delete.yaml", DELETE);
    let uid = secret("one", ".metadata.uid");
    laptop.expect(0, &["run", &plan, "-i", &site, "--yes", "--set", "uid=another"]);
    assert_eq!(secret("one", ".metadata.uid"), uid);
    laptop.expect(0, &["run", &plan, "-i", &site, "--yes", "--set", &format!("uid={uid}")]);
    assert!(!cluster.try_kubectl(&["-n", "kube-system", "get", "secret", "one"], "").0);

    fs::remove_file(laptop.path("key.pem")).unwrap();
    for text in [PASSWORD, "nobody may see it", &STANDARD.encode(KEY)[..40], &STANDARD.encode(PASSWORD)[..20]] {
        assert_eq!(laptop.files_with(text), Vec::<std::path::PathBuf>::new(), "{text}");
    }
}
