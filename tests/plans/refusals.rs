//! What is wrong with what was given is found before the first change, and named.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::recovery::fill_and_save;
use crate::support::{HOSTS, Laptop, Testbed, content_of, etcd, etcds};

const RESTORE: &str = "etcd/restore-all-members";

/// Everything on the hosts that a plan could change. Logs grow when hosts are looked at.
fn everything(bed: &Testbed) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for host in HOSTS {
        all.extend(content_of(&bed.dir.join(host)));
    }
    all.retain(|path, _| path.extension().is_none_or(|extension| extension != "log"));
    all
}

/// A restore that must be refused.
struct Refused<'a> {
    bed: &'a Testbed,
    laptop: &'a Laptop,
    site: String,
    snapshot: String,
}

impl Refused<'_> {
    /// Runs it: exit 4, nothing changed, the cause named in these words.
    #[track_caller]
    fn because(&self, words: &[&str]) {
        let before = everything(self.bed);
        let input = format!("snapshot={}", self.snapshot);
        let outcome = self.laptop.expect(4, &["run", RESTORE, "-i", &self.site, "--yes", "--set", &input]);
        outcome.says("nothing was changed");
        for words in words {
            outcome.says(words);
        }
        assert_eq!(everything(self.bed), before, "something was changed:\n{outcome}");
        // A refused run is over: it is not in the way of the next.
        self.laptop.expect(2, &["resume"]);
    }
}

#[test]
fn whatever_is_wrong_before_a_restore_refuses_it_with_its_cause_and_changes_nothing() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let saved = fill_and_save(&bed, &laptop);
    let refused = |site: &str, snapshot: &str| Refused {
        bed: &bed,
        laptop: &laptop,
        site: site.to_owned(),
        snapshot: snapshot.to_owned(),
    };
    let site = bed.site();

    // The cluster works: it is taken back in time only where that is said.
    let (data, _) = bed.data();
    let input = format!("snapshot={}", saved.snapshot);
    let outcome = laptop.expect(4, &["run", RESTORE, "-i", &site, "--yes", "--set", &input]);
    outcome.says("--revert");
    bed.etcdctl(&["endpoint", "health"]);
    assert_eq!(bed.data().0, data);
    bed.destroy("corrupt");

    // The snapshot.
    let whole = fs::read(&saved.snapshot).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x01;
        bytes
    };
    let variants: [(&str, Vec<u8>, &str); 7] = [
        ("body", flipped(whole.len() / 2), "SHA-256"),
        ("first-page", flipped(20), "SHA-256"),
        ("trailer", flipped(whole.len() - 1), "SHA-256"),
        ("truncated", whole[..whole.len() - 5000].to_vec(), ""),
        ("no-trailer", whole[..whole.len() - 32].to_vec(), ""),
        ("text", b"this is not a snapshot\n".repeat(500), ""),
        ("empty", Vec::new(), ""),
    ];
    for (name, bytes, words) in &variants {
        let path = laptop.path(&format!("{name}.db"));
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        refused(&site, path).because(&["etcd.snapshot_valid", path, words]);
    }

    refused(&site, "/no/such/snapshot.db").because(&["etcd.snapshot_valid", "/no/such/snapshot.db"]);

    // The site.
    let fingerprint = fs::read_to_string(&site).unwrap();
    let fingerprint = fingerprint.split_once("etcd_ca_sha256: \"").unwrap().1[..64].to_owned();
    let other = bed.site_with("other-identity.yaml", &fingerprint, &"ab".repeat(32));
    refused(&other, &saved.snapshot).because(&["site.identity", "another cluster", &fingerprint]);

    let expired = bed.site_with("expired.yaml", "/client.", "/client-expired.");
    refused(&expired, &saved.snapshot).because(&["cert.valid", "expired"]);

    // The hosts.
    let stranger = bed.path("keys/stranger");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &stranger]).status().unwrap();
    assert!(made.success());
    let config = fs::read_to_string(bed.path("ssh_config")).unwrap();
    fs::write(bed.path("ssh_config.stranger"), config.replace("/keys/user", "/keys/stranger")).unwrap();
    let wrong_key = bed.site_with("wrong-key.yaml", "/keys/user", "/keys/stranger");
    let text = fs::read_to_string(&wrong_key).unwrap().replace("/ssh_config\n", "/ssh_config.stranger\n");
    fs::write(&wrong_key, text).unwrap();
    refused(&wrong_key, &saved.snapshot).because(&["host.ready on cp1", "Permission denied"]);

    fs::write(bed.path("no_known_hosts"), "").unwrap();
    let unknown = bed.site_with("unknown.yaml", "/known_hosts", "/no_known_hosts");
    refused(&unknown, &saved.snapshot).because(&["host.ready on cp3", "host key", "unknown"]);

    bed.run("sshd-stop", &["cp2"]);
    refused(&site, &saved.snapshot).because(&["host.ready on cp2", "cp2"]);
    bed.run("sshd-start", &["cp2"]);

    // A snapshot of such a cluster is refused too, and no file is made.
    let file = laptop.path("never.db");
    let input = format!("file={}", file.display());
    laptop.expect(4, &["run", "etcd/snapshot", "-i", &site, "--set", &input]).says("etcd.quorum");
    assert!(!file.exists());

    an_older_etcd_refuses(&laptop, &saved.snapshot);

    // Nothing of all this is in the way of the right one.
    laptop.expect(0, &["run", RESTORE, "-i", &site, "--yes", "--set", &format!("snapshot={}", saved.snapshot)]);
    saved.is_back(&bed);
}

/// A snapshot of etcd 3.5 is refused for hosts with etcd 3.4.
fn an_older_etcd_refuses(laptop: &Laptop, snapshot: &str) {
    let all = etcds();
    let [old, new] = all.as_slice() else { return };
    assert!(old.is("3.4") && new.is("3.5"), "{all:?}");
    let bed = Testbed::up(old, &["--members", "1"]);
    bed.destroy("remove");
    let refused = Refused { bed: &bed, laptop, site: bed.site(), snapshot: snapshot.to_owned() };
    refused.because(&["etcd.snapshot_fits", "3.4", "3.5"]);
}
