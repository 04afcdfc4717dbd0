//! The kinds `file.*` and `service.*` as the engine uses them, on a host over a real sshd on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;

use requorum_steps::capsule::Holder;
use requorum_steps::{
    Action, AttemptId, Check, Fault, FaultKind, HostName, ItemKey, Make, Probe, RunId, StepId, Undo, World, catalog,
};
use serde_json::{Value, json};
use support::sshd::Sshd;

fn host() -> HostName {
    HostName::new("h").unwrap()
}

fn action(kind: &str, args: Value) -> Box<dyn Action> {
    match catalog::find(kind).unwrap().make {
        Make::Action(make) => make(args).unwrap(),
        Make::Check(_) | Make::Builtin(_) => panic!("{kind} is no action"),
    }
}

fn check(kind: &str, args: Value) -> Box<dyn Check> {
    match catalog::find(kind).unwrap().make {
        Make::Check(make) => make(args).unwrap(),
        Make::Action(_) | Make::Builtin(_) => panic!("{kind} is no check"),
    }
}

async fn holds(world: &World, kind: &str, args: Value) -> bool {
    check(kind, args).observe(&world.reader(Some(&host()))).await.unwrap().holds
}

async fn act(world: &World, step: &str, action: &dyn Action) -> Result<Value, Fault> {
    let run = RunId::new("r1").unwrap();
    let attempt =
        AttemptId { run: run.clone(), step: StepId::new(step).unwrap(), item: ItemKey::from(&host()), number: 1 };
    let (token, label) = ("t".to_owned(), "a test".to_owned());
    let holder = Holder { cluster: world.site().cluster.clone(), run, epoch: 1, token, label };
    action.act(&world.writer(Some(&host()), attempt, holder)).await
}

/// Does an action as the engine would, with its probe before and after, and returns its result.
async fn done(world: &World, step: &str, action: &dyn Action) -> Value {
    let reader = world.reader(Some(&host()));
    let before = action.before(&reader).await.unwrap();
    assert!(!action.preview(&reader).command.is_empty());
    let probe = action.probe(&reader, &before).await.unwrap();
    assert!(matches!(probe, Probe::No { .. }), "{step}: {probe:?}");
    let result = act(world, step, action).await.unwrap();
    match action.probe(&reader, &before).await.unwrap() {
        Probe::Yes { result: probed, .. } => {
            for (key, value) in probed.as_object().unwrap() {
                // What the probe knows, it knows as the action said it.
                assert!(value.is_null() || *value == result[key] || key == "state", "{step}: {key}: {value} {result}");
            }
        }
        probe => panic!("{step}: {probe:?}"),
    }
    result
}

/// Takes a result back, given what there was before.
async fn undone(world: &World, step: &str, action_done: &dyn Action, before: &Value, result: &Value) {
    let Undo::By(acts) = action_done.undo(before, Some(result)) else { panic!("{step} cannot be taken back") };
    for (kind, args) in acts {
        act(world, step, &*action(kind, args)).await.unwrap();
    }
}

/// A file of some MiB that are no whole number of pieces.
fn large() -> Vec<u8> {
    (0..3_000_001_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()
}

fn text(path: &PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_file_travels_to_the_host_between_hosts_and_back() {
    let Some(sshd) = Sshd::start() else { return };
    let mut site = sshd.site();
    let mut other = site.hosts[&host()].clone();
    other.name = HostName::new("other").unwrap();
    site.hosts.insert(other.name.clone(), other);
    let world = sshd.world_of(site);
    let (src, there, relayed, back) =
        (sshd.path("src"), sshd.path("it's there"), sshd.path("relayed"), sshd.path("back"));
    fs::write(&src, large()).unwrap();
    let copy = action("file.copy", json!({ "src": src, "path": there, "mode": "0640" }));
    let result = done(&world, "copy", &*copy).await;
    assert_eq!(result["size"], large().len());
    assert!(holds(&world, "file.sha256", json!({ "path": there, "sha256": result["sha256"] })).await);
    let relay = action("file.relay", json!({ "from_host": { "name": "other" }, "src": there, "path": relayed }));
    done(&world, "relay", &*relay).await;
    let fetch = action("file.fetch", json!({ "path": relayed, "to": back }));
    done(&world, "fetch", &*fetch).await;
    assert_eq!(fs::read(&back).unwrap(), large());

    // Neither end is overwritten.
    fs::write(&back, "mine").unwrap();
    assert_eq!(act(&world, "fetch-2", &*fetch).await.unwrap_err().kind, FaultKind::Refused);
    assert_eq!(text(&back), "mine");
    let replace = action("file.fetch", json!({ "path": relayed, "to": back, "replace": true }));
    let result = done(&world, "fetch-3", &*replace).await;
    assert_eq!(text(&PathBuf::from(result["aside"].as_str().unwrap())), "mine");
    fs::write(&there, "theirs").unwrap();
    let fault = act(&world, "copy-2", &*copy).await.unwrap_err();
    assert_eq!((fault.kind, fault.place.host), (FaultKind::Refused, Some(host())));
    assert_eq!(text(&there), "theirs");
    let missing = action("file.fetch", json!({ "path": sshd.path("missing"), "to": sshd.path("x") }));
    assert_eq!(act(&world, "fetch-4", &*missing).await.unwrap_err().kind, FaultKind::Refused);
    world.close().await;
}

#[tokio::test]
async fn what_a_run_does_to_files_can_be_taken_back() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let (conf, data) = (sshd.path("etcd.conf"), sshd.path("data dir"));
    fs::write(&conf, "ETCD_NAME=a").unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("db"), "old").unwrap();

    let line = action("file.line", json!({ "path": conf, "key": "ETCD_NAME", "value": "b c" }));
    let set = done(&world, "line", &*line).await;
    let write = action("file.write", json!({ "path": conf, "content": "whole\n" }));
    let written = done(&world, "write", &*write).await;
    let aside = action("file.set_aside", json!({ "path": data }));
    let moved = done(&world, "aside", &*aside).await;
    assert!(holds(&world, "file.absent", json!({ "path": data })).await);
    assert_eq!((moved["was"].as_str(), moved["open_scan"].as_str()), (Some("directory"), Some("complete")));
    let src = sshd.path("new.tar");
    fs::write(sshd.path("db"), "new").unwrap();
    let packed = std::process::Command::new("tar").arg("-cf").arg(&src).arg("-C").arg(sshd.path("")).arg("db").status();
    assert!(packed.unwrap().success());
    let unpack = action("file.unpack", json!({ "src": src, "into": data }));
    let unpacked = done(&world, "unpack", &*unpack).await;
    assert_eq!(text(&data.join("db")), "new");

    undone(&world, "undo-unpack", &*unpack, &Value::Null, &unpacked).await;
    undone(&world, "undo-aside", &*aside, &Value::Null, &moved).await;
    undone(&world, "undo-write", &*write, &Value::Null, &written).await;
    undone(&world, "undo-line", &*line, &Value::Null, &set).await;
    assert_eq!((text(&conf).as_str(), text(&data.join("db")).as_str()), ("ETCD_NAME=a", "old"));
    world.close().await;
}

#[tokio::test]
async fn a_file_that_this_run_made_is_removed_and_no_other() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let path = sshd.path("made");
    let remove = action("file.remove", json!({ "path": path }));
    fs::write(&path, "theirs").unwrap();
    assert_eq!(act(&world, "remove", &*remove).await.unwrap_err().kind, FaultKind::Refused);
    fs::remove_file(&path).unwrap();
    done(&world, "write", &*action("file.write", json!({ "path": path, "content": "ours" }))).await;
    assert!(!holds(&world, "file.absent", json!({ "path": path })).await);
    done(&world, "remove-2", &*remove).await;
    assert!(holds(&world, "file.absent", json!({ "path": path })).await);
    world.close().await;
}

#[tokio::test]
async fn a_service_of_the_sites_commands_outlives_the_attempt_that_started_it() {
    let Some(sshd) = Sshd::start() else { return };
    let pid = sshd.path("pid").display().to_string();
    let alive = format!("p=$(cat '{pid}' 2>/dev/null) && kill -0 $p 2>/dev/null");
    let mut site = sshd.site();
    let service = json!({
        "manager": "command",
        "start": format!("setsid sh -c 'echo $$ >\"$0\"; exec sleep 600' '{pid}' </dev/null >/dev/null 2>&1 & until [ -s '{pid}' ]; do :; done"),
        "stop": format!("kill $(cat '{pid}'); while {alive}; do :; done; rm '{pid}'"),
        "status": format!("if {alive}; then echo $p; else exit 3; fi"),
    });
    site.services.insert("bed".to_owned(), serde_json::from_value(service).unwrap());
    let world = sshd.world_of(site);
    let args = || json!({ "service": "bed" });
    done(&world, "start", &*action("service.start", args())).await;
    assert!(holds(&world, "service.active", args()).await);
    done(&world, "restart", &*action("service.restart", args())).await;
    let stop = action("service.stop", args());
    let before = stop.before(&world.reader(Some(&host()))).await.unwrap();
    let stopped = done(&world, "stop", &*stop).await;
    assert!(holds(&world, "service.inactive", args()).await);
    let refused = act(&world, "restart-2", &*action("service.restart", args())).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Refused);
    undone(&world, "undo-stop", &*stop, &before, &stopped).await;
    assert!(holds(&world, "service.active", args()).await);
    done(&world, "stop-2", &*action("service.stop", args())).await;
    let enable = act(&world, "enable", &*action("service.enable", args())).await.unwrap_err();
    assert_eq!(enable.kind, FaultKind::Refused);
    world.close().await;
}
