//! Plans, and the cases in which they are played: each with a state directory, capsules and effects of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{HOSTS, Laptop, Testbed};

/// `systemctl` for the one unit of the plans, which cannot be a real one in a test: whether it is enabled is a file.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$*" in
"show -p LoadState"*) echo LoadState=loaded ;;
"show -p ActiveState"*) echo ActiveState=active ;;
"show -p"*) echo "$3=" ;;
is-enabled*) if [ -e "$EFFECTS/unit.count" ]; then echo enabled; else echo disabled; fi ;;
enable*) echo x >>"$EFFECTS/unit.count" ;;
*) exit 1 ;;
esac
"#;

/// `crictl` for the one container of the plans: whether it was stopped and removed are files.
const CRICTL: &str = r#"#!/bin/sh
shift 2 # --timeout 20s
[ "$1" != --runtime-endpoint ] || shift 2
case "$*" in
"ps --quiet --state running"*) [ -e "$EFFECTS/container-stopped.count" ] || echo c1 ;;
"ps --quiet --all"*) [ -e "$EFFECTS/container-removed.count" ] || echo c1 ;;
stop*) echo x >>"$EFFECTS/container-stopped.count" ;;
rm*) echo x >>"$EFFECTS/container-removed.count" ;;
inspect*) echo '{ "info": { "runtimeSpec": { "process": { "args": ["etcd"] } } }, "status": {} }' ;;
*) exit 1 ;;
esac
"#;

/// The kinds that change this machine, or call an API.
const UNCONTAINED: [&str; 7] = [
    "file.fetch",
    "etcd.snapshot_save",
    "etcd.member_state",
    "etcd.member_add",
    "etcd.member_promote",
    "etcd.member_remove",
    "etcd.move_leader",
];

/// A plan that is played again and again.
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// What the rule needs to know of a step that runs a command on this machine.
#[derive(Debug)]
pub struct LocalCommand {
    /// Its effect class.
    pub effect: String,
    /// Whether the plan makes another attempt where one failed.
    pub is_retried: bool,
}

/// All plans. Together they use every kind.
pub const PLANS: [Plan; 7] = [
    Plan { name: "local", text: include_str!("local.yaml") },
    Plan { name: "engine", text: include_str!("engine.yaml") },
    Plan { name: "hosts", text: include_str!("hosts.yaml") },
    Plan { name: "files", text: include_str!("files.yaml") },
    Plan { name: "services", text: include_str!("services.yaml") },
    Plan { name: "etcd", text: include_str!("etcd.yaml") },
    Plan { name: "members", text: include_str!("members.yaml") },
];

impl Plan {
    /// Returns the plan of a name.
    pub fn named(name: &str) -> &'static Self {
        PLANS.iter().find(|plan| plan.name == name).unwrap()
    }

    fn steps(&self) -> Vec<serde_yaml::Value> {
        let plan: serde_yaml::Value = serde_yaml::from_str(self.text).unwrap();
        plan["steps"].as_sequence().unwrap().clone()
    }

    /// Returns the steps that run a command on this machine, by their ids.
    pub fn local_commands(&self) -> BTreeMap<String, LocalCommand> {
        let commands = self.steps().into_iter().filter(|step| step.get("command.run").is_some());
        let command = |step: serde_yaml::Value| {
            let effect = step.get("effect").and_then(|effect| effect.as_str()).unwrap_or("once").to_owned();
            let id = step["id"].as_str().unwrap().to_owned();
            (id, LocalCommand { effect, is_retried: step.get("retry").is_some() })
        };
        commands.map(command).collect()
    }

    /// Says whether a step acts without a capsule: then only its probe tells after a crash what it came to.
    pub fn is_uncontained(&self, step: &str) -> bool {
        let step = self.steps().into_iter().find(|one| one["id"].as_str() == Some(step));
        step.is_some_and(|step| UNCONTAINED.iter().any(|kind| step.get(*kind).is_some()))
    }

    /// Says whether a step waits for another.
    pub fn is_next(&self, step: &str, before: &str) -> bool {
        let step = self.steps().into_iter().find(|one| one["id"].as_str() == Some(step));
        let needs = step.and_then(|step| step.get("needs").cloned());
        needs.is_some_and(|needs| needs.as_sequence().unwrap().iter().any(|need| need.as_str() == Some(before)))
    }
}

/// One play of a plan.
pub struct Case<'a> {
    /// The operator's machine.
    pub laptop: Laptop,
    /// Where the effects show.
    pub effects: PathBuf,
    /// The arguments of `run`.
    pub line: Vec<String>,
    bed: Option<&'a Testbed>,
    capsules: String,
}

impl<'a> Case<'a> {
    /// Prepares one, on the hosts of a testbed where one is given.
    pub fn new(plan: &Plan, bed: Option<&'a Testbed>) -> Self {
        let laptop = Laptop::new();
        let effects = laptop.path("effects");
        fs::create_dir(&effects).unwrap();
        // A fence and capsules of its own.
        let capsules = format!("requorum-{:08x}", rand::random::<u32>());
        let site = match bed {
            Some(bed) => site_of(bed, &capsules, &effects),
            None => "requorum: 1\ncluster: none\nplatform: any\nhosts: {}\n".to_owned(),
        };
        let site = laptop.write("site.yaml", &site);
        let file = laptop.write("plan.yaml", plan.text);
        let dir = format!("dir={}", effects.display());
        let line = ["run", &file, "-i", &site, "--yes", "--parallel", "1", "--set", &dir].map(str::to_owned).to_vec();
        Self { laptop, effects, line, bed, capsules }
    }

    /// Returns what is left in the end: every file and its content, with the run's name as `RUN`.
    pub fn left(&self, run: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.effects.clone()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&self.effects).unwrap().to_str().unwrap().replace(run, "RUN");
                let meta = fs::symlink_metadata(&path).unwrap();
                let about = if meta.is_dir() {
                    // What is in a member's data is for the plan's checks to say.
                    if name != "data" {
                        open.push(path);
                    }
                    "a directory".to_owned()
                } else {
                    let text = String::from_utf8(fs::read(&path).unwrap());
                    text.ok()
                        .filter(|text| !text.contains('\0'))
                        .map_or("binary".to_owned(), |text| text.replace(run, "RUN"))
                };
                found.insert(name, format!("{:o} {about}", meta.permissions().mode()));
            }
        }
        found
    }

    /// Counts how many attempts at each item have begun in a capsule.
    pub fn begun(&self, run: &str) -> BTreeMap<String, usize> {
        let mut places = vec![self.laptop.state().join("runs").join(run).join("capsules")];
        if let Some(bed) = self.bed {
            places.extend(HOSTS.iter().map(|host| bed.dir.join(host).join(&self.capsules).join("testbed").join(run)));
        }
        let mut counts = BTreeMap::new();
        for entry in places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if let Some((item, _)) = name.rsplit_once('.').filter(|_| has_begun(&path)) {
                *counts.entry(item.strip_suffix("@-").unwrap_or(item).to_owned()).or_default() += 1;
            }
        }
        counts
    }

    /// Says whether an item's command has happened: what an operator finds out who is asked about it.
    pub fn happened(&self, id: &Value) -> bool {
        let (step, item) = (id["step"].as_str().unwrap(), id["item"].as_str().unwrap());
        let name = if item == "-" { format!("{step}.count") } else { format!("{step}-{item}.count") };
        self.effects.join(name).exists()
    }
}

fn has_begun(capsule: &Path) -> bool {
    fs::read_to_string(capsule.join("start")).is_ok_and(|start| start.trim_end().ends_with("\nend"))
}

/// Writes the site of a testbed with a capsule root of the case's own, a service that counts how often it is started and
/// stopped, a unit, a container and its manifest.
fn site_of(bed: &Testbed, capsules: &str, effects: &Path) -> String {
    let tools = bed.dir.join("tools");
    fs::create_dir_all(&tools).unwrap();
    for (name, text) in [("systemctl", SYSTEMCTL), ("crictl", CRICTL)] {
        let tool = tools.join(name);
        fs::write(&tool, text).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    }

    let mut site: serde_yaml::Value = serde_yaml::from_str(&fs::read_to_string(bed.site()).unwrap()).unwrap();
    for host in HOSTS {
        site["hosts"][host]["capsule_root"] = format!("{}/{host}/{capsules}", bed.dir.display()).into();
    }
    let member = site["services"]["etcd-cp3"].clone();
    let counting = |verb: &str| {
        let command = member[verb].as_str().unwrap();
        format!("echo {verb} >>{}/counted.count; {command}", effects.display())
    };
    let mut counted = serde_yaml::Mapping::new();
    counted.insert("manager".into(), "command".into());
    counted.insert("start".into(), counting("start").into());
    counted.insert("stop".into(), counting("stop").into());
    // What it prints tells one start from the next.
    let status = format!("cat {}/cp3/etcd.pid 2>/dev/null; {}", bed.dir.display(), member["status"].as_str().unwrap());
    counted.insert("status".into(), status.into());
    site["services"]["counted"] = counted.into();
    let manifest = tools.join("etcd.yaml");
    fs::write(&manifest, "spec: { containers: [{ name: etcd, command: [etcd] }] }\n").unwrap();
    let mut pod = serde_yaml::Mapping::new();
    pod.insert("manager".into(), "static-pod".into());
    pod.insert("manifest".into(), manifest.to_str().unwrap().into());
    pod.insert("container".into(), "etcd".into());
    site["services"]["pod"] = pod.into();
    let mut env = serde_yaml::Mapping::new();
    env.insert("PATH".into(), format!("{}:{}", tools.display(), std::env::var("PATH").unwrap()).into());
    env.insert("EFFECTS".into(), effects.to_str().unwrap().into());
    site["env"] = env.into();
    serde_yaml::to_string(&site).unwrap()
}
