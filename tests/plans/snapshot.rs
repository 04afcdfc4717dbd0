//! `etcd/snapshot`, also where etcd can be reached through SSH only.

use crate::support::{HOSTS, Laptop, Testbed, content_of, with_each_etcd};

#[test]
fn a_snapshot_is_saved_and_rehearsed_through_ssh_and_leaves_no_copy_on_the_hosts() {
    with_each_etcd(|etcd| {
        let (bed, laptop) = (Testbed::up(etcd, &["--via", "ssh"]), Laptop::new());
        bed.put((0..150).map(|n| (format!("k{n}"), n.to_string())));
        let file = laptop.path("snapshot.db");
        let input = format!("file={}", file.display());
        let site = bed.site();
        let run = ["run", "etcd/snapshot", "-i", &site, "--set", &input];
        laptop.expect(0, &run);

        let saved = laptop.newest().outputs("save");
        assert_eq!(saved["keys"], 150);
        assert_eq!(saved["revision"].as_i64(), Some(bed.data().1));
        // Its size without the 32 bytes of the trailer is whole pages.
        assert_eq!(std::fs::metadata(&file).unwrap().len() % 4096, 32);
        for host in HOSTS {
            let left: Vec<_> = content_of(&bed.dir.join(host)).into_keys().filter(|path| is_scratch(path)).collect();
            assert!(left.is_empty(), "{left:?}");
        }

        // A file that is there is never overwritten.
        let before = std::fs::read(&file).unwrap();
        let again = laptop.run(&run);
        assert!([4, 5].contains(&again.code), "{again}");
        again.says("snapshot.db");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    });
}

fn is_scratch(path: &std::path::Path) -> bool {
    path.to_str().is_some_and(|path| path.contains("rehears") && !path.contains("/requorum/"))
}
