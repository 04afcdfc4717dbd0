//! A cluster without a quorum and without a snapshot comes back from the member whose data go furthest.

use std::fs;
use std::time::Duration;

use crate::support::{Etcd, Laptop, Testbed, wait_until, with_each_etcd, words};

/// The command line that brings the cluster back, with a snapshot in a file of the laptop.
fn bring_back(bed: &Testbed, laptop: &Laptop, file: &str, more: &[&str]) -> Vec<String> {
    let file = format!("file={}", laptop.path(file).display());
    let line = ["run", "etcd/quorum-lost", "-i", &bed.site(), "--yes", "--set", &file];
    line.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_cluster_that_lost_two_of_three_comes_back_with_every_write_of_the_survivor() {
    with_each_etcd(|etcd: &Etcd| {
        let (bed, laptop) = (Testbed::up(etcd, &[]), Laptop::new());
        bed.put((0..50).map(|n| (format!("/key/{n}"), n.to_string())));

        // While the quorum holds there is nothing to bring back.
        laptop.expect(4, &words(&bring_back(&bed, &laptop, "a.db", &[]))).says("--revert");

        bed.run("kill-member", &["cp3"]);
        // It may have been the leader.
        let put = || bed.try_do("etcdctl", &["put", "/only/two", "saw this"]).status.success();
        wait_until("another leader", Duration::from_mins(1), put);
        let (before, _) = bed.data();
        bed.run("kill-member", &["cp2"]);
        fs::remove_dir_all(bed.data_dir("cp2")).unwrap();

        // The two that are silent might hold more: nothing begins without a word of a person.
        let outcome = laptop.expect(5, &words(&bring_back(&bed, &laptop, "b.db", &[])));
        outcome.says("cp2 and cp3 might hold more than those that answer");
        outcome.says("name the survivor: cp1");
        let refused = laptop.newest();
        assert!(refused.events("started", "stop@cp1").is_empty());
        laptop.expect(0, &["runs", "abort", &refused.id, "--reason", "a survivor is named"]);

        laptop.expect(0, &words(&bring_back(&bed, &laptop, "b.db", &["--set", "survivor=cp1"])));
        assert_eq!(bed.data().0, before);
        assert_eq!(bed.etcdctl(&["member", "list"]).lines().count(), 3);
    });
}
