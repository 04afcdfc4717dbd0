//! The site's commands run for real. systemd and the kubelet cannot run inside a test, so `systemctl` and `crictl` are
//! small programs that keep their state in files and answer as the real ones do.

use serde_json::json;

use super::*;
use crate::action::{Action as _, Probe, Undo};
use crate::kinds::service::{Act, Verb};
use crate::kinds::service_manifest::judge;
use crate::kinds::service_state::{Managed, Seen, Up};
use crate::site::Service;

const SYSTEMCTL: &str = r#"
d=$STATE
get() { cat "$d/$1" 2>/dev/null || echo "$2"; }
start() { [ -e "$d/broken" ] && echo failed >"$d/active" || { echo active >"$d/active"; echo $(($(get pid 100) + 1)) >"$d/pid"; }; }
verb=$1; shift
case $verb in
show)
    case $2 in
    LoadState) echo "LoadState=$(get load loaded)" ;;
    ActiveState) echo "ActiveState=$(get active inactive)" ;;
    SubState) echo "SubState=$(get sub dead)" ;;
    MainPID) [ "$(get active inactive)" = active ] && echo "MainPID=$(get pid 0)" || echo MainPID=0 ;;
    ExecMainStartTimestampMonotonic) echo "ExecMainStartTimestampMonotonic=$(get pid 0)000" ;;
    esac ;;
is-enabled) get enabled disabled; [ "$(get enabled disabled)" = enabled ] ;;
enable) echo enabled >"$d/enabled" ;;
disable) echo disabled >"$d/enabled" ;;
stop) echo inactive >"$d/active" ;;
start | restart) start ;;
reset-failed) ;;
status) echo "it is $(get active inactive)"; exit 3 ;;
*) echo "unknown verb $verb" >&2; exit 1 ;;
esac
"#;

/// Containers are in `containers`; one of another namespace is always there.
const CRICTL: &str = r#"
[ "$1 $2" = "--timeout 20s" ] && shift 2 || exit 1
[ "$1" != --runtime-endpoint ] || shift 2
case "$*" in
"ps --quiet --state running --label io.kubernetes.container.name=etcd --label io.kubernetes.pod.namespace=kube-system")
    cat "$STATE/containers" 2>/dev/null || : ;;
"ps --quiet --state running --label io.kubernetes.container.name=etcd") cat "$STATE/containers" 2>/dev/null || : ; echo foreign ;;
"stop --timeout 30 "*) if [ -e "$STATE/kubelet" ]; then echo "new$4" >"$STATE/containers"; else : >"$STATE/containers"; fi ;;
"inspect --output json "*) cat "$STATE/$4" ;;
*) echo "unknown: $*" >&2; exit 1 ;;
esac
"#;
const PIDOF: &str = "[ \"$1\" = kubelet ] && [ -e \"$STATE/kubelet\" ]\n";
const POD: &str = "metadata:\n  name: etcd\n  namespace: kube-system\n";

/// A service of a host.
struct Subject<'t> {
    trial: &'t Trial,
    managed: Managed,
    state: String,
}

impl<'t> Subject<'t> {
    fn new(trial: &'t Trial, service: &Service) -> Self {
        let mut site = site(&trial.capsules());
        site.services.insert("etcd".to_owned(), service.clone());
        let host = site.hosts.values().next().unwrap().clone();
        let state = trial.path("state");
        fs::create_dir_all(&state).unwrap();
        for (name, text) in [("systemctl", SYSTEMCTL), ("crictl", CRICTL), ("pidof", PIDOF)] {
            trial.tool(name, &format!("STATE='{state}'\n{text}"));
        }
        // The pauses of the scripts prove nothing here.
        trial.tool("sleep", &format!("[ \"$1\" != 1 ] || exit 0\nPATH={}\nexec sleep \"$@\"\n", trial.shell.path));
        Self { trial, managed: Managed::of(&site, &host, "etcd"), state }
    }

    fn set(&self, name: &str, text: &str) {
        fs::write(format!("{}/{name}", self.state), text).unwrap();
    }

    fn get(&self, name: &str) -> String {
        read(&format!("{}/{name}", self.state)).trim().to_owned()
    }

    fn see(&self) -> Seen {
        self.managed.read(&self.trial.look(&self.managed.script("status", ""))).unwrap()
    }

    fn act(&self, verb: &str, number: u32) -> Result<Answer, Fault> {
        self.trial.act(&self.managed.script(verb, "r1-step"), &attempt(verb, number))
    }

    /// Says in one word what the probe of a verb answers.
    fn probe(&self, verb: Verb, before: &Seen) -> &'static str {
        match Act::from_args(json!({ "service": "etcd" }), verb).unwrap().judge(Some(before), &self.see()) {
            Probe::Yes { .. } => "yes",
            Probe::No { .. } => "no",
            Probe::Partly { .. } => "partly",
            Probe::Unknown { .. } => "unknown",
        }
    }
}

#[test]
fn a_unit_that_was_stopped_stays_down_until_it_is_started() {
    Trial::each(|trial| {
        let unit = Subject::new(trial, &Service::Systemd { unit: "etcd".to_owned() });
        unit.set("active", "active");
        unit.set("enabled", "enabled");
        let before = unit.see();
        assert_eq!((before.up, before.held, unit.probe(Verb::Stop, &before)), (Up::Running, false, "no"));
        assert_eq!(unit.act("stop", 1).unwrap().get("changed"), "true");
        assert_eq!((unit.get("active").as_str(), unit.get("enabled").as_str()), ("inactive", "disabled"));
        assert!(unit.see().held);
        assert_eq!(unit.probe(Verb::Stop, &before), "yes");
        // A second stop does not take the first one's `disabled` for what was there before.
        unit.act("stop", 2).unwrap();
        let down = unit.see();
        assert_eq!(unit.probe(Verb::Start, &down), "no");
        assert!(refused(unit.act("restart", 1)).contains("held down"));
        assert_eq!(unit.act("start", 1).unwrap().get("changed"), "true");
        assert_eq!((unit.get("active").as_str(), unit.get("enabled").as_str()), ("active", "enabled"));
        assert_eq!(
            (unit.see().held, unit.probe(Verb::Start, &down), unit.probe(Verb::Stop, &down)),
            (false, "yes", "no")
        );
        assert!(fs::read_dir(format!("{}/c1/held", trial.capsules())).unwrap().next().is_none());
    });
}

#[test]
fn a_unit_that_is_released_stays_stopped_and_is_enabled_as_it_was() {
    Trial::each(|trial| {
        let unit = Subject::new(trial, &Service::Systemd { unit: "etcd".to_owned() });
        unit.set("active", "inactive");
        unit.set("enabled", "enabled");
        unit.act("stop", 1).unwrap();
        let held = unit.see();
        assert_eq!(
            (held.held, unit.get("enabled").as_str(), unit.probe(Verb::Release, &held)),
            (true, "disabled", "no")
        );
        assert_eq!(unit.act("release", 1).unwrap().get("changed"), "true");
        let after = unit.see();
        assert_eq!((after.up, after.held, unit.get("enabled").as_str()), (Up::Down, false, "enabled"));
        assert_eq!(unit.probe(Verb::Release, &held), "yes");
    });
}

#[test]
fn a_unit_that_was_not_enabled_is_not_enabled_by_its_start() {
    Trial::each(|trial| {
        let unit = Subject::new(trial, &Service::Systemd { unit: "etcd.service".to_owned() });
        unit.set("active", "active");
        unit.set("enabled", "static");
        unit.act("stop", 1).unwrap();
        unit.act("start", 1).unwrap();
        assert_eq!(unit.get("enabled"), "static");
    });
}

#[test]
fn a_unit_enabled_while_it_is_held_down_stays_down_and_is_enabled_by_its_start() {
    Trial::each(|trial| {
        let unit = Subject::new(trial, &Service::Systemd { unit: "etcd.service".to_owned() });
        unit.act("stop", 1).unwrap();
        let before = unit.see();
        assert_eq!(unit.probe(Verb::Enable, &before), "no");
        unit.act("enable", 1).unwrap();
        assert_eq!((unit.probe(Verb::Enable, &before), unit.see().enabled.as_str()), ("yes", "disabled"));
        unit.act("start", 1).unwrap();
        assert_eq!(unit.get("enabled"), "enabled");
    });
}

#[test]
fn a_restart_is_known_by_its_start_time() {
    Trial::each(|trial| {
        let unit = Subject::new(trial, &Service::Systemd { unit: "etcd.service".to_owned() });
        unit.set("active", "active");
        unit.set("pid", "7");
        let before = unit.see();
        assert_eq!(unit.probe(Verb::Restart, &before), "no");
        unit.act("restart", 1).unwrap();
        assert_eq!(unit.probe(Verb::Restart, &before), "yes");
        unit.set("active", "inactive");
        assert_eq!(unit.probe(Verb::Restart, &before), "partly");
    });
}

#[test]
fn a_unit_that_ends_at_once_is_a_failure_and_one_that_is_missing_is_refused() {
    Trial::each(|trial| {
        let unit = Subject::new(trial, &Service::Systemd { unit: "etcd.service".to_owned() });
        unit.set("broken", "");
        let fault = unit.act("start", 1).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Failed);
        assert!(fault.seen.unwrap().contains("it is failed"));
        unit.set("load", "not-found");
        for verb in ["start", "stop", "restart", "enable", "release"] {
            assert!(refused(unit.act(verb, 2)).contains("no unit"));
        }
    });
}

#[test]
fn a_static_pod_is_stopped_by_its_manifest_and_started_by_its_return() {
    Trial::each(|trial| {
        let manifest = trial.file("kubernetes/manifests/etcd.yaml", POD);
        let pod = Service::StaticPod { manifest: manifest.clone(), container: "etcd".to_owned() };
        let pod = Subject::new(trial, &pod);
        pod.set("containers", "abc");
        pod.set("kubelet", "");
        let before = pod.see();
        assert_eq!((before.up, pod.probe(Verb::Stop, &before)), (Up::Running, "no"));
        pod.act("restart", 1).unwrap();
        assert_eq!(pod.probe(Verb::Restart, &before), "yes");
        // The kubelet takes the container away once the manifest is gone.
        pod.set("containers", "");
        assert_eq!(pod.act("stop", 1).unwrap().get("changed"), "true");
        let kept = trial.path("kubernetes/etcd.yaml.requorum-r1-step");
        assert_eq!((Path::new(&manifest).exists(), read(&kept).as_str()), (false, POD));
        assert_eq!(pod.probe(Verb::Stop, &before), "yes");
        let down = pod.see();
        assert!(refused(pod.act("release", 1)).contains("kept at"), "its manifest would be lost");
        let fault = pod.act("start", 1).unwrap_err();
        assert!(fault.what.contains("no container etcd runs"), "{fault:?}");
        pod.set("containers", "def");
        pod.act("start", 2).unwrap();
        assert_eq!((read(&manifest).as_str(), pod.probe(Verb::Start, &down)), (POD, "yes"));
        fs::remove_file(&manifest).unwrap();
        assert!(refused(pod.act("start", 3)).contains("no manifest"));
    });
}

#[test]
fn the_container_of_a_static_pod_is_stopped_where_the_kubelet_does_not_do_it() {
    Trial::each(|trial| {
        let manifest = trial.file("kubernetes/manifests/etcd.yaml", POD);
        let pod = Subject::new(trial, &Service::StaticPod { manifest, container: "etcd".to_owned() });
        pod.set("containers", "abc");
        pod.act("stop", 1).unwrap();
        assert_eq!((pod.get("containers").as_str(), pod.see().up), ("", Up::Down));
        // Without a kubelet nothing starts, and nothing is waited for.
        assert_eq!(pod.act("start", 1).unwrap().get("state"), "starting");
        assert_eq!(pod.see().up, Up::Starting);
    });
}

/// What containerd says of the container, in the form of crictl 1.34; CRI-O has the same fields.
const INSPECTED: &str = r#"{
  "info": { "pid": 7, "runtimeSpec": { "process": { "args": ["etcd", "--name=cp1", "--host=10.0.0.1"], "cwd": "/" } } },
  "status": { "metadata": { "attempt": 0, "name": "etcd" }, "mounts": [
    { "containerPath": "/var/lib/etcd", "hostPath": "DATA", "readonly": false },
    { "containerPath": "/etc/hosts", "hostPath": "/var/lib/kubelet/pods/1/etc-hosts" } ] }
}"#;

#[test]
fn a_static_pod_is_compared_with_its_manifest() {
    Trial::each(|trial| {
        let manifest = |path: &str| {
            format!(
                "{POD}spec:\n  containers:\n  - name: other\n    command: [x]\n  - name: etcd\n    command:\n    - etcd\n    args: \
                 [--name=cp1, --host=$(IP)]\n    volumeMounts:\n    - {{ mountPath: /var/lib/etcd, name: data }}\n  volumes:\n  - name: \
                 data\n    hostPath:\n      path: {path}\n"
            )
        };
        let data = trial.path("data");
        fs::create_dir_all(&data).unwrap();
        let file = trial.file("kubernetes/manifests/etcd.yaml", &manifest(&data));
        let pod = Subject::new(trial, &Service::StaticPod { manifest: file.clone(), container: "etcd".to_owned() });
        let see = || {
            let seen = judge(&file, "etcd", &trial.look(&pod.managed.script("inspect", ""))).unwrap();
            (seen.holds, seen.seen)
        };
        let is_told = |words: &str| {
            let (holds, seen) = see();
            assert!(!holds && seen.contains(words), "{words}: {seen}");
        };
        is_told("0 of them run");
        let inspected = INSPECTED.replace("DATA", &data);
        pod.set("abc", &inspected);
        pod.set("containers", "abc\n");
        assert_eq!(see(), (true, "3 arguments and 1 mounts as in it".to_owned()));
        // A link in the manifest, and where it leads in what the runtime tells.
        let link = trial.path("link");
        std::os::unix::fs::symlink(&data, &link).unwrap();
        fs::write(&file, manifest(&link)).unwrap();
        assert!(see().0, "{:?}", see());
        fs::write(&file, manifest("/var/lib/etcd-2")).unwrap();
        is_told("not /var/lib/etcd-2");
        fs::write(&file, manifest(&data).replace("[--name=cp1", "[--force-new-cluster, --name=cp1")).unwrap();
        is_told("it runs without `--force-new-cluster`");
        fs::write(&file, manifest(&data)).unwrap();
        pod.set("abc", &inspected.replace("--name=cp1", "--name=cp2"));
        is_told("it runs with `--name=cp2`");
        pod.set("containers", "abc\nabc\n");
        is_told("2 of them run");
        fs::remove_file(&file).unwrap();
        is_told("the manifest is not there");
    });
}

#[test]
fn a_service_of_the_sites_own_commands_is_a_real_process() {
    Trial::each(|trial| {
        let pid = trial.path("pid file");
        let alive = format!("p=$(cat '{pid}' 2>/dev/null) && kill -0 $p 2>/dev/null");
        let service = Service::Command {
            start: format!(
                "setsid sh -c 'echo $$ >\"$0\"; exec sleep 600' '{pid}' </dev/null >/dev/null 2>&1 & until [ -s '{pid}' ]; do :; done"
            ),
            stop: format!("kill $(cat '{pid}'); while {alive}; do :; done; rm '{pid}'"),
            status: format!("if {alive}; then echo $p; else exit 3; fi"),
        };
        let service = Subject::new(trial, &service);
        let down = service.see();
        assert_eq!((down.up, service.probe(Verb::Start, &down)), (Up::Down, "no"));
        service.act("start", 1).unwrap();
        assert_eq!(service.probe(Verb::Start, &down), "yes");
        let running = service.see();
        service.act("restart", 1).unwrap();
        assert_eq!(service.probe(Verb::Restart, &running), "yes");
        service.act("stop", 1).unwrap();
        assert_eq!((service.see().up, service.probe(Verb::Stop, &running)), (Up::Down, "yes"));
        assert!(refused(service.act("restart", 2)).contains("held down"));
    });
}

#[test]
fn a_service_is_taken_back_to_how_it_was_seen_before_whatever_became_of_the_attempt() {
    let undone = |verb, up: Up, held: bool| {
        let before = Seen {
            up,
            held,
            state: String::new(),
            since: String::new(),
            enabled: "enabled".to_owned(),
            held_enabled: String::new(),
            kept: String::new(),
        };
        let act = Act::from_args(json!({ "service": "etcd" }), verb).unwrap();
        let (known, unknown) = (act.undo(&json!(before), Some(&json!({}))), act.undo(&json!(before), None));
        assert_eq!(known, unknown, "what it did does not matter");
        match known {
            Undo::By(acts) => acts.into_iter().map(|(kind, _)| kind).collect(),
            Undo::Nothing(_) => vec!["nothing"],
            Undo::NeedsResult | Undo::Never => vec!["never"],
        }
    };
    assert_eq!(undone(Verb::Stop, Up::Running, false), ["service.start"]);
    assert_eq!(undone(Verb::Stop, Up::Starting, false), ["service.start"]);
    assert_eq!(undone(Verb::Stop, Up::Down, false), ["service.release"], "it was down, and is not started");
    assert_eq!(undone(Verb::Stop, Up::Down, true), ["nothing"]);
    assert_eq!(undone(Verb::Start, Up::Down, true), ["service.stop"]);
    assert_eq!(undone(Verb::Start, Up::Down, false), ["service.stop", "service.release"]);
    assert_eq!(undone(Verb::Start, Up::Looping, false), ["service.stop", "service.release"]);
    assert_eq!(undone(Verb::Start, Up::Running, false), ["nothing"]);
    assert_eq!(undone(Verb::Restart, Up::Running, false), ["nothing"]);
    assert_eq!(undone(Verb::Enable, Up::Down, false), ["never"]);
}

#[test]
fn a_name_that_a_shell_could_misread_is_no_service() {
    for bad in ["", "-x", "a b", "a;b", "$(x)"] {
        assert!(Act::from_args(json!({ "service": bad }), Verb::Start).is_err(), "{bad:?}");
    }
}
