//! Triage of real clusters: each fault is made, and the decision read as a program reads it.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::recovery::fill_and_save;
use support::{HOSTS, Laptop, Outcome, Testbed, content_of, etcd, wait_until};

/// Runs triage with `-o json`.
#[track_caller]
fn triage(laptop: &Laptop, code: i32, site: &str) -> Value {
    let outcome = laptop.expect(code, &["triage", "-i", site, "-o", "json"]);
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"))
}

/// The rule that says what to do now.
fn now(triage: &Value) -> &str {
    let mut findings = triage["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["level"] == "wrong").map_or("", |finding| finding["id"].as_str().unwrap())
}

/// Panics unless this is what triage finds, with these hosts under a fact.
#[track_caller]
fn expect(triage: &Value, id: &str, quorum: &str, fact: &str, hosts: &[&str]) {
    assert_eq!(now(triage), id, "{triage:#}");
    assert_eq!(triage["facts"]["quorum"], quorum, "{triage:#}");
    assert_eq!(triage["facts"][fact], serde_json::json!(hosts), "{triage:#}");
}

fn wipe(bed: &Testbed, host: &str) {
    std::fs::remove_dir_all(bed.data_dir(host)).unwrap();
}

#[test]
fn each_fault_is_told_and_the_command_that_is_named_repairs_the_last() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let saved = fill_and_save(&bed, &laptop);
    let look = || triage(&laptop, 0, &bed.site());

    let seen = look();
    assert_eq!((seen["decision"].as_str(), now(&seen)), (Some("nothing"), ""), "{seen:#}");
    assert_eq!((&seen["facts"]["healthy"], &seen["facts"]["needed"]), (&3.into(), &2.into()));
    assert_eq!(seen["facts"]["identity"], "same");

    bed.run("kill-member", &["cp3"]);
    expect(&look(), "stopped", "holds", "stopped", &["cp3"]);
    wipe(&bed, "cp3");
    expect(&look(), "replace", "holds", "wiped", &["cp3"]);
    bed.run("kill-member", &["cp2"]);
    expect(&look(), "stopped-all", "lost", "stopped", &["cp2"]);
    wipe(&bed, "cp2");
    expect(&look(), "survivors", "lost", "with_data", &["cp1"]);
    bed.run("kill-member", &["cp1"]);
    expect(&look(), "survivors", "lost", "stopped", &["cp1"]);
    wipe(&bed, "cp1");

    let outcome = laptop.expect(0, &["triage", "-i", &bed.site(), "--snapshot", &saved.snapshot, "-o", "json"]);
    let seen: Value = serde_json::from_str(&outcome.stdout).unwrap();
    expect(&seen, "data-lost-everywhere", "lost", "wiped", &HOSTS);
    assert_eq!(seen["decision"], "plan");
    let command = seen["findings"][0]["run"]["command"].as_str().unwrap();
    let outcome = by_hand(&laptop, &format!("{command} --yes"));
    assert_eq!(outcome.code, 0, "{command}\n{outcome}");
    saved.is_back(&bed);
    assert_eq!(look()["decision"], "nothing");
}

#[test]
fn a_member_that_began_a_new_empty_cluster_is_told_and_the_command_that_is_named_restores_all() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let saved = fill_and_save(&bed, &laptop);
    bed.destroy("remove");
    // As kubeadm has it: the first names itself alone, the others join what exists.
    let settings = |host: &str, change: &dyn Fn(&str) -> String| {
        let file = bed.dir.join(host).join("etcd.conf");
        let text: String = std::fs::read_to_string(&file).unwrap().lines().map(change).collect();
        std::fs::write(file, text).unwrap();
    };
    settings("cp1", &|line| match line.strip_prefix("ETCD_INITIAL_CLUSTER=") {
        Some(all) => format!("ETCD_INITIAL_CLUSTER={}\n", all.split(',').find(|one| one.starts_with("cp1=")).unwrap()),
        None => format!("{line}\n"),
    });
    bed.run("member-start", &["cp1"]);
    let url = bed.run("url", &["cp1"]);
    let serves = || bed.try_do("etcdctl", &["--endpoints", url.trim(), "get", "a"]).status.success();
    wait_until("cp1 to serve by itself", Duration::from_mins(1), serves);
    for host in ["cp2", "cp3"] {
        settings(host, &|line| match line.strip_prefix("ETCD_INITIAL_CLUSTER_STATE=") {
            Some(_) => "ETCD_INITIAL_CLUSTER_STATE=existing\n".to_owned(),
            None => format!("{line}\n"),
        });
        // It may serve its peers for a moment before it finds that it is no member.
        bed.try_do("member-start", &[host]);
        let has_ended = || bed.try_do("member-status", &[host]).status.code() == Some(3);
        wait_until(&format!("etcd on {host} to be refused, and to end"), Duration::from_mins(1), has_ended);
        assert!(bed.data_dir(host).join("member/snap/db").exists(), "what is left of {host} is not what this is about");
    }

    let outcome = laptop.expect(0, &["triage", "-i", &bed.site(), "--snapshot", &saved.snapshot, "-o", "json"]);
    let seen: Value = serde_json::from_str(&outcome.stdout).unwrap();
    expect(&seen, "reborn", "holds", "reborn", &["cp1"]);
    assert_eq!(seen["facts"]["wiped"], serde_json::json!(["cp2", "cp3"]), "{seen:#}");
    let command = seen["findings"][0]["run"]["command"].as_str().unwrap();
    let refused = by_hand(&laptop, &format!("{} --yes", command.strip_suffix(" --revert").unwrap()));
    assert_eq!(refused.code, 4, "{refused}");
    let outcome = by_hand(&laptop, &format!("{command} --yes"));
    assert_eq!(outcome.code, 0, "{command}\n{outcome}");
    saved.is_back(&bed);
    assert_eq!(triage(&laptop, 0, &bed.site())["decision"], "nothing");
}

/// Runs a line as somebody would who pastes it.
fn by_hand(laptop: &Laptop, line: &str) -> Outcome {
    let prepared = laptop.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env_clear().current_dir(laptop.path("."));
    shell.envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
    laptop.spawn(shell).wait()
}

#[test]
fn hosts_that_cannot_be_reached_are_unknown_and_nothing_is_changed_by_looking() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let before: Vec<_> = HOSTS.map(|host| content_of(&bed.dir.join(host).join("requorum"))).to_vec();

    // The members answer although SSH does not: a note and no more.
    bed.run("sshd-stop", &["cp3"]);
    let seen = triage(&laptop, 0, &bed.site());
    assert_eq!((seen["decision"].as_str(), &seen["facts"]["no_ssh"]), (Some("nothing"), &serde_json::json!(["cp3"])));
    bed.run("kill-member", &["cp3"]);
    expect(&triage(&laptop, 0, &bed.site()), "off", "holds", "off", &["cp3"]);
    bed.run("sshd-stop", &["cp2"]);
    bed.run("kill-member", &["cp2"]);
    expect(&triage(&laptop, 0, &bed.site()), "quorum-off", "unseen", "off", &["cp2", "cp3"]);

    // The operator says that they are gone for good.
    let text = std::fs::read_to_string(bed.site()).unwrap().replace("roles: [etcd]", "roles: [etcd]\n    lost: true");
    let (first, rest) = text.split_once("\n    lost: true").unwrap();
    let site = laptop.write("lost.yaml", &format!("{first}{rest}"));
    expect(&triage(&laptop, 0, &site), "survivors", "lost", "lost", &["cp2", "cp3"]);

    bed.run("sshd-stop", &["cp1"]);
    bed.run("kill-member", &["cp1"]);
    assert_eq!(now(&triage(&laptop, 4, &bed.site())), "nothing-reached");

    let after: Vec<_> = HOSTS.map(|host| content_of(&bed.dir.join(host).join("requorum"))).to_vec();
    assert_eq!(before, after);
    assert!(!laptop.state().exists(), "triage has written state");
}

#[test]
fn another_cluster_than_the_site_means_is_told_before_anything_else() {
    let (bed, laptop) = (Testbed::up(&etcd(), &["--members", "1"]), Laptop::new());
    let site = std::fs::read_to_string(bed.site()).unwrap();
    let fingerprint = &site.split_once("etcd_ca_sha256: \"").unwrap().1[..64];
    let other = bed.site_with("other.yaml", fingerprint, &"ab".repeat(32));
    let seen = triage(&laptop, 0, &other);
    assert_eq!((now(&seen), seen["findings"].as_array().unwrap().len()), ("other-cluster", 1), "{seen:#}");

    let expired = bed.site_with("expired.yaml", "/client.", "/client-expired.");
    let seen = triage(&laptop, 0, &expired);
    assert_eq!(now(&seen), "certificates-expired", "{seen:#}");
    assert!(seen["facts"]["expired"][0].as_str().unwrap().ends_with("client-expired.crt"), "{seen:#}");
}
