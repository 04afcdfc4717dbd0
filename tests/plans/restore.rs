//! A cluster that has lost its data, or its quorum, comes back as the snapshot has it.

use std::fs;

use crate::support::recovery::{Saved, fill_and_save, happened_once, set_aside};
use crate::support::{Etcd, HOSTS, Laptop, Run, Testbed, content_of, wait_until, with_each_etcd, words};

fn restore(bed: &Testbed, laptop: &Laptop, saved: &Saved) -> Run {
    laptop.expect(0, &words(&saved.restore(bed)));
    let run = laptop.newest();
    saved.is_back(bed);
    happened_once(bed, &run);
    run
}

#[test]
fn whatever_happened_to_the_data_the_cluster_comes_back_as_the_snapshot_has_it() {
    with_each_etcd(|etcd: &Etcd| {
        let (bed, laptop) = (Testbed::up(etcd, &[]), Laptop::new());
        let saved = fill_and_save(&bed, &laptop);

        bed.destroy("corrupt");
        let before = HOSTS.map(|host| contents(&content_of(&bed.data_dir(host)), "/etcd/"));
        let run = restore(&bed, &laptop, &saved);
        let after = HOSTS.map(|host| {
            contents(&content_of(&set_aside(&bed, host, &run)), &format!("/etcd.requorum-{}-set-data-aside/", run.id))
        });
        assert!(before.iter().all(|files| !files.is_empty()));
        assert_eq!(after, before, "the old data is not what it was");

        bed.destroy("remove");
        let run = restore(&bed, &laptop, &saved);
        assert!(HOSTS.iter().all(|host| !set_aside(&bed, host, &run).exists()), "there was nothing to set aside");

        bed.destroy("empty");
        restore(&bed, &laptop, &saved);

        bed.etcdctl(&["put", "/late/again", "x"]);
        bed.run("kill-member", &["cp2"]);
        bed.run("kill-member", &["cp3"]);
        let run = restore(&bed, &laptop, &saved);
        an_old_member_cannot_join(&bed, &saved, &run);
    });
}

/// The files of a tree by their path below `root`, without what only the move changes.
fn contents(tree: &std::collections::BTreeMap<std::path::PathBuf, String>, root: &str) -> Vec<(String, String)> {
    tree.iter()
        .filter_map(|(path, about)| Some((path.to_str()?.split_once(root)?.1.to_owned(), about.clone())))
        .collect()
}

/// The old data of cp1 is whole: started again where cp1 was, it must neither join nor bring old keys back.
fn an_old_member_cannot_join(bed: &Testbed, saved: &Saved, run: &Run) {
    let conf = bed.dir.join("cp1/etcd.conf");
    let old = fs::read_to_string(&conf).unwrap();
    let old_data = set_aside(bed, "cp1", run);
    let data = format!("ETCD_DATA_DIR={}\n", bed.data_dir("cp1").display());
    assert!(old.contains(&data), "{old}");
    bed.run("member-stop", &["cp1"]);
    fs::write(&conf, old.replace(&data, &format!("ETCD_DATA_DIR={}\n", old_data.display()))).unwrap();
    bed.run("member-start", &["cp1"]);
    let log = || fs::read_to_string(bed.dir.join("cp1/etcd.log")).unwrap();
    wait_until("the refusal by the other members", std::time::Duration::from_secs(20), || {
        log().to_lowercase().contains("cluster id mismatch")
    });
    let url = |host| bed.run("url", &[host]).trim().to_owned();
    let alone = bed.try_do("etcdctl", &["--endpoints", &url("cp1"), "--command-timeout=3s", "endpoint", "health"]);
    assert!(!alone.status.success(), "the old member takes part");
    let others = format!("{},{}", url("cp2"), url("cp3"));
    bed.etcdctl(&["--endpoints", &others, "endpoint", "health"]);
    let late = bed.etcdctl(&["--endpoints", &others, "get", "/late/", "--prefix", "--keys-only"]);
    assert_eq!(late.trim(), "");

    bed.run("member-stop", &["cp1"]);
    fs::write(&conf, old).unwrap();
    bed.run("member-start", &["cp1"]);
    saved.is_back(bed);
}
