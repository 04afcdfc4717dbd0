//! Which of etcd's programs are used, on hosts that have them only in images. The stores are directories of the test, and
//! the programs in them are texts that say a version, so `chroot` and `id` are stand-ins.

use super::*;
use crate::kinds::etcd_tool::programs_of;
use crate::site::{Member, Service};

const ETCDUTL: &str = "need_program etcdutl\nsay found \"$found\"";

/// A host whose etcd is a static pod.
struct Kubelet<'t> {
    trial: &'t Trial,
    site: Site,
}

impl<'t> Kubelet<'t> {
    fn new(trial: &'t Trial) -> Self {
        trial.tool("id", "echo 0");
        trial.tool("chroot", "shift 2; program=$1$2; shift 2; exec \"$program\" \"$@\"");
        trial.tool("crictl", "exit 1");
        let manifest = trial.path("kubernetes/manifests/etcd.yaml");
        let mut site = site(&trial.capsules());
        site.services.insert("etcd".to_owned(), Service::StaticPod { manifest, container: "etcd".to_owned() });
        Self { trial, site }
    }

    /// Puts etcdutl of a version into a layer of containerd's store, or of CRI-O's.
    fn image(&self, layer: &str, version: &str) -> String {
        let place = match layer.strip_prefix("crio-") {
            Some(layer) => format!("crio/overlay/{layer}/diff"),
            None => format!("containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/{layer}/fs"),
        };
        let text = format!("#!{}\necho 'etcdutl version: {version}'\n", self.trial.shell.program.display());
        let path = self.trial.file(&format!("{place}/usr/local/bin/etcdutl"), &text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn manifest(&self, place: &str, image: &str) {
        self.trial.file(&format!("kubernetes/{place}"), &format!("spec:\n  containers:\n  - image: {image}\n"));
    }

    fn find(&self) -> Result<Answer, Fault> {
        let host = self.site.hosts.values().next().unwrap();
        let member = Member {
            name: "m".to_owned(),
            client_urls: vec![],
            peer_urls: vec![],
            data_dir: "/var/lib/etcd".to_owned(),
            service: "etcd".to_owned(),
            bin_dir: None,
        };
        let (containerd, crio) = (self.trial.path("containerd"), self.trial.path("crio"));
        let script = programs_of(&self.site, host, &member, [&containerd, &crio]).script(ETCDUTL, [""; 0]);
        shell::answer(&ended(&mut self.trial.command(&script)), "the look")
    }

    fn found(&self) -> String {
        self.find().unwrap().get("found").to_owned()
    }
}

#[test]
fn the_version_is_that_of_the_manifest_then_that_of_the_site_then_the_only_one() {
    Trial::each(|trial| {
        let mut host = Kubelet::new(trial);
        trial.tool("etcdutl", "echo 'etcdutl version: 3.4.0'");
        let old = host.image("7", "3.5.24");
        assert_eq!(host.found(), old, "what runs is in an image, not in PATH");
        let (new, newer) = (host.image("8", "3.6.5"), host.image("crio-9", "3.6.10"));
        assert!(refused(host.find()).contains("several versions"));
        host.site.etcd.version = Some("3.6".to_owned());
        assert_eq!(host.found(), newer);
        host.manifest("etcd.yaml.requorum-r1-stop", "registry.k8s.io/etcd:3.6.5-0");
        assert_eq!(host.found(), new, "the manifest is set aside, and still says what runs");
        host.manifest("manifests/etcd.yaml", "example.net:5000/etcd:v3.5.24");
        assert_eq!(host.found(), old);
        host.manifest("manifests/etcd.yaml", "registry.k8s.io/etcd:3.5.30-0");
        assert_eq!(host.found(), old, "another patch release will do");
        host.manifest("manifests/etcd.yaml", "registry.k8s.io/etcd@sha256:0123");
        assert_eq!(host.found(), newer, "a digest says no version, the site does");
    });
}

#[test]
fn a_program_that_only_says_it_is_etcds_is_not_run() {
    Trial::each(|trial| {
        let host = Kubelet::new(trial);
        let own = host.image("7", "3.6.5");
        host.image("8", "3.6.5");
        assert_eq!(host.found(), own, "the same program in two layers");
        let other = host.image("9", "3.6.5");
        fs::write(&other, read(&other) + "exit 0\n").unwrap();
        assert!(refused(host.find()).contains("differ"));
    });
}

#[test]
fn without_an_image_path_will_do() {
    Trial::each(|trial| {
        let host = Kubelet::new(trial);
        trial.tool("etcdutl", "echo 'etcdutl version: 3.6.5'");
        assert!(host.found().ends_with("/tools/etcdutl"));
    });
}
