//! One member is replaced while the others keep the quorum.

use std::fs;

use serde_json::Value;

use crate::support::{Etcd, HOSTS, Laptop, Outcome, Run, Testbed, etcd, with_each_etcd};

/// Where the replacement is killed, one after the other, each time by the process that goes on.
const MOMENTS: [&str; 6] = [
    "after act aside@cp3.1",
    "after act remove@-.1",
    "before act add@-.1",
    // It is the second attempt: the first was found not to have happened.
    "after act add@-.2",
    "after act start@cp3.1",
    "before append succeeded promote",
];

fn line<'a>(site: &'a str, member: &'a str) -> [&'a str; 7] {
    ["run", "etcd/replace-member", "-i", site, "--yes", "--set", member]
}

/// Kills a member and takes its data away.
fn destroy(bed: &Testbed, host: &str) {
    bed.run("kill-member", &[host]);
    fs::remove_dir_all(bed.data_dir(host)).unwrap();
}

fn list(bed: &Testbed) -> Value {
    let endpoint = bed.run("url", &["cp1"]);
    serde_json::from_str(&bed.etcdctl(&["--endpoints", endpoint.trim(), "member", "list", "--write-out=json"])).unwrap()
}

/// Looks at the cluster from outside: three started voters, healthy, with the same keys, of one cluster.
#[track_caller]
fn is_whole(bed: &Testbed) {
    bed.etcdctl(&["endpoint", "health"]);
    let list = list(bed);
    let members = list["members"].as_array().unwrap();
    let mut names: Vec<&str> = members.iter().map(|member| member["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, HOSTS, "{list}");
    assert!(members.iter().all(|member| member.get("isLearner").is_none()), "{list}");
    let of_each = |words: &[&str], pointer: &str| -> Vec<String> {
        let all: Value = serde_json::from_str(&bed.etcdctl(&[words, &["--write-out=json"]].concat())).unwrap();
        all.as_array().unwrap().iter().map(|one| one.pointer(pointer).unwrap().to_string()).collect()
    };
    let clusters = of_each(&["endpoint", "status"], "/Status/header/cluster_id");
    assert!(clusters.len() == 3 && clusters.iter().all(|id| *id == clusters[0]), "{clusters:?}");
    let hashes = of_each(&["endpoint", "hashkv"], "/HashKV/hash");
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

fn ids(bed: &Testbed) -> Vec<String> {
    list(bed)["members"].as_array().unwrap().iter().map(|member| member["ID"].to_string()).collect()
}

#[track_caller]
fn acted_once(run: &Run, steps: &[&str]) {
    for step in steps {
        assert_eq!(run.events("succeeded", step).len(), 1, "{step}");
    }
}

#[test]
fn a_member_that_died_and_lost_its_data_joins_again_and_a_second_run_changes_nothing() {
    with_each_etcd(|etcd: &Etcd| {
        let (bed, laptop) = (Testbed::up(etcd, &[]), Laptop::new());
        let site = bed.site();
        bed.put((0..300).map(|n| (format!("/config/{n}"), format!("value {n}"))));
        let (data, _) = bed.data();
        let before = ids(&bed);
        destroy(&bed, "cp3");

        let began = std::time::Instant::now();
        laptop.expect(0, &line(&site, "member=cp3"));
        println!("etcd {}: replaced and verified in {:.1} s", etcd.version, began.elapsed().as_secs_f32());
        is_whole(&bed);
        assert_eq!(bed.data().0, data);
        let replaced = ids(&bed);
        assert_eq!(replaced.iter().filter(|id| before.contains(id)).count(), 2, "only one is another: {replaced:?}");
        let conf = fs::read_to_string(bed.dir.join("cp3/etcd.conf")).unwrap();
        assert!(conf.contains("\nETCD_INITIAL_CLUSTER_STATE=existing\n") && conf.contains("ETCD_NAME=cp3\n"), "{conf}");

        let outcome = laptop.expect(0, &line(&site, "member=cp3"));
        outcome.says("cp3 is a healthy voter: nothing to do");
        assert_eq!(ids(&bed), replaced);
        assert!(laptop.newest().events("started", "remove").is_empty());

        // A member whose log is damaged: its data is kept.
        bed.run("kill-member", &["cp2"]);
        let wal = bed.data_dir("cp2").join("member/wal");
        for file in fs::read_dir(&wal).unwrap() {
            fs::write(file.unwrap().path(), [0x5a_u8; 4096]).unwrap();
        }
        laptop.expect(0, &line(&site, "member=cp2"));
        is_whole(&bed);
        let aside = bed.dir.join("cp2").join(format!("etcd.requorum-{}-aside", laptop.newest().id));
        assert!(aside.join("member/wal").exists());
    });
}

#[test]
fn a_replacement_killed_again_and_again_goes_on_and_adds_one_member() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let site = bed.site();
    bed.put((0..50).map(|n| (format!("/config/{n}"), format!("value {n}"))));
    destroy(&bed, "cp3");
    let mut words = line(&site, "member=cp3").to_vec();
    for moment in MOMENTS {
        let mut command = laptop.command(&words);
        command.env("REQUORUM_DIE_AT", moment);
        let outcome: Outcome = laptop.spawn(command).wait();
        assert_eq!(outcome.code, 137, "it did not come to {moment:?}:\n{outcome}");
        words = vec!["resume"];
        let members = list(&bed)["members"].as_array().unwrap().len();
        assert!((2..=3).contains(&members), "{members} members after {moment}");
    }
    laptop.expect(0, &words);
    is_whole(&bed);
    assert_eq!(laptop.runs().len(), 1);
    acted_once(&laptop.newest(), &["stop@cp3", "aside@cp3", "remove", "add", "start@cp3", "promote", "verify"]);
}

#[test]
fn where_the_others_are_no_majority_nothing_is_changed() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let site = bed.site();
    destroy(&bed, "cp3");
    // cp3 is dead: without cp2 one of the two that are left would work.
    let outcome = laptop.expect(4, &line(&site, "member=cp2"));
    outcome.says("without `cp2`, 1 serve and 2 are needed");
    outcome.says("nothing was changed");
    assert_eq!(ids(&bed).len(), 3);

    // The kind itself refuses too, whatever a plan has forgotten to ask.
    let plan = laptop.write(
        "plan.yaml",
        "requorum: 1\nname: careless\nsteps:\n  - id: remove\n    etcd.member_remove: { name: cp2 }\n",
    );
    let outcome = laptop.expect(5, &["run", &plan, "-i", &site, "--yes"]);
    outcome.says("the cluster would have no quorum");
    outcome.says("2 of the 2 voters that would be left work");
    assert_eq!(ids(&bed).len(), 3);
}
