//! Recorded observations (`tests/triage/*.json`, the shape of `-o json`) and what triage says of them; the table itself.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::report::triage::Report;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/triage");

fn library() -> Library {
    requorum_plans::all().into_iter().map(|plan| (plan.name, PlanHead::read(plan.text).unwrap())).collect()
}

fn table() -> Table {
    Table::read(requorum_plans::TRIAGE, library()).unwrap()
}

fn recorded() -> BTreeMap<String, Observation> {
    let files = fs::read_dir(RECORDED).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path: &PathBuf| path.extension().is_some_and(|extension| extension == "json"));
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let seen = serde_json::from_str(&fs::read_to_string(&path).unwrap());
            (name.clone(), seen.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect()
}

/// What is to be found first, by the rule's id, and the plan that is named with it.
type Expected = Option<(&'static str, Option<&'static str>)>;

/// What is to be found in each.
const EXPECTED: [(&str, Expected); 31] = [
    ("all-data-lost", Some(("data-lost-everywhere", Some("etcd/restore-all-members")))),
    ("all-down-with-data", Some(("stopped-all", None))),
    ("alone-after-quorum-lost", Some(("unlisted", Some("kubeadm/replace-member")))),
    ("begun-anew", Some(("begun-anew", Some("etcd/restore-all-members")))),
    ("broken-wal", Some(("replace", Some("etcd/replace-member")))),
    ("certificates-expired", Some(("certificates-expired", None))),
    ("certificates-expired-kubeadm", Some(("certificates-expired-kubeadm", Some("kubeadm/renew-certificates")))),
    ("clocks-apart", Some(("clocks-apart", None))),
    ("emptied", Some(("begun-anew", Some("etcd/restore-all-members")))),
    ("healthy", None),
    ("healthy-kubeadm", None),
    ("identity-mismatch", Some(("other-cluster", None))),
    ("learner-left-over", Some(("learner", None))),
    ("no-space", Some(("no-space", None))),
    ("no-tls-files", Some(("not-asked", None))),
    ("nothing-reachable", Some(("nothing-reached", None))),
    ("one-data-wiped", Some(("replace", Some("etcd/replace-member")))),
    ("one-off", Some(("off", None))),
    ("one-off-one-wiped", Some(("quorum-off", None))),
    ("one-stopped", Some(("stopped", None))),
    ("other-kubernetes", Some(("other-kubernetes", None))),
    ("partition", Some(("cut-off", None))),
    ("reborn", Some(("reborn", Some("etcd/restore-all-members")))),
    ("reborn-beside-data", Some(("reborn-beside-data", None))),
    ("split-cluster", Some(("split-cluster", Some("etcd/restore-all-members")))),
    ("stranger", Some(("stranger", None))),
    ("two-clusters-serve", Some(("rivals", None))),
    ("two-lost", Some(("survivors", Some("etcd/quorum-lost")))),
    ("two-off", Some(("quorum-off", None))),
    ("uk8s-reinstalled", Some(("bare", Some("uk8s/replace-member")))),
    ("uk8s-two-reinstalled", Some(("bare-without-quorum", Some("uk8s/equip-host")))),
];

#[test]
fn every_recorded_observation_comes_to_its_finding_and_plan() {
    let table = table();
    let recorded = recorded();
    assert!(recorded.keys().eq(EXPECTED.iter().map(|(name, _)| name)), "{:?}", recorded.keys());
    for (name, expected) in EXPECTED {
        let verdict = table.decide(&Facts::of(&recorded[name], None)).unwrap();
        let now = verdict.now().map(|now| (now.id.as_str(), now.run.as_ref().map(|run| run.plan.as_str())));
        assert_eq!(now, expected, "{name}");
    }
}

#[test]
fn what_is_said_of_every_recorded_observation() {
    let table = table();
    for (name, seen) in recorded() {
        let facts = Facts::of(&seen, Some("/backup/snapshot 7.db"));
        let verdict = table.decide(&facts).unwrap();
        let report = Report { seen: &seen, facts: &facts, verdict: &verdict, program: "requorum", site: "prod.yaml" };
        insta::with_settings!({ snapshot_path => "../../../tests/triage/said", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, report.text());
        });
    }
}

#[test]
fn a_quorum_that_may_be_alive_elsewhere_is_never_called_lost() {
    let two_off = &recorded()["two-off"];
    assert_eq!(Facts::of(two_off, None).quorum, Quorum::Unseen);
    let mut one_lost = two_off.clone();
    let mut off = one_lost.hosts.values_mut().filter(|host| state_of(host) == Some(MemberState::Off));
    off.next().unwrap().lost = true;
    // One of three that may be alive is no majority.
    assert_eq!(Facts::of(&one_lost, None).quorum, Quorum::Lost);
}

/// What makes `reborn` of a member that is alone, one after the other taken away.
#[test]
fn a_member_that_is_alone_with_the_data_of_its_cluster_is_not_taken_for_a_new_one() {
    let reborn = |change: &dyn Fn(&mut Observation)| {
        let mut seen = recorded()["reborn"].clone();
        change(&mut seen);
        Facts::of(&seen, None).reborn
    };
    let with = |change: fn(&mut super::observation::EtcdLook)| {
        reborn(&|seen| match seen.hosts.values_mut().next().unwrap().etcd.as_mut() {
            Some(Look::Seen(etcd)) => change(etcd),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(reborn(&|_| {}), ["cp1"]);
    let restored = with(|etcd| etcd.status.revision = 48_211);
    assert!(restored.is_empty(), "it was restored from a snapshot: more revisions than entries of its log");
    let old = with(|etcd| (etcd.status.raft_index, etcd.status.raft_applied) = (3_000_000, 3_000_000));
    assert!(old.is_empty(), "its log is that of a long life");
    assert!(with(|etcd| etcd.status.member_id += 1).is_empty(), "who is listed is another");
    let others_lost = reborn(&|seen| seen.hosts.values_mut().skip(1).for_each(|host| host.lost = true));
    assert!(others_lost.is_empty(), "the site has no other member");
}

fn with_rule(rule: &str) -> String {
    let text = format!("rules:\n  - {{ id: one, finding: f, advice: a, {rule} }}\n");
    Table::read(&text, library()).unwrap_err().to_string()
}

#[test]
fn a_table_that_names_what_there_is_not_is_refused() {
    for (rule, words) in [
        ("when: seen.learnerz", "did you mean `seen.learners`?"),
        ("when: learners", "`learners` is no fact"),
        ("when: \"true\", run: [etcd/nope]", "the library has no plan `etcd/nope`"),
        ("when: \"true\", run: [etcd/restore-all-members]", "needs the input `snapshot`"),
        ("when: \"true\", run: [etcd/snapshot], set: { file: x, fil: y }", "`etcd/snapshot` has no input `fil`"),
        ("when: \"true\", run: [etcd/snapshot], set: { file: \"{{ seen.fil }}\" }", "`seen.fil` is no fact"),
        ("when: \"true\", set: { file: x }", "no plan to `run`"),
        ("when: \"true\", revert: true", "no plan to `run`"),
        ("when: \"true\", run: [etcd/snapshot], set: { file: x }, revert: true", "nothing to `revert`"),
        ("when: \"seen.off and\"", "wrong"),
        ("when: \"true\", wenn: x", "malformed"),
    ] {
        let said = with_rule(rule);
        assert!(said.contains(words), "{rule}: {said}");
    }
    let twice = "rules:\n  - &a { id: one, when: 'true', finding: f, advice: a }\n  - *a\n";
    assert!(Table::read(twice, library()).unwrap_err().to_string().contains("another of that id"));
}
