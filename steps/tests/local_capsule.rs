//! Capsules on this machine, with real supervisors.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use requorum_steps::capsule::{CapsuleState, SHOWN, Stream};
use requorum_steps::site::{EtcdAccess, Identity, KubeAccess};
use requorum_steps::world::Settings;
use requorum_steps::{Fault, FaultKind, Output, Script, Site, Stdin, World};
use rustix::process::Signal;
use support::{Seen, attempt, holder, kill, script, send, session_of, shown, supervisors, until};

#[test]
fn supervisor() {
    support::supervise_if_asked();
}

/// An engine with its state directory.
struct Engine {
    directory: tempfile::TempDir,
}

impl Engine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        support::supervisor(directory.path());
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn capsule(&self) -> PathBuf {
        self.path("capsules").join(attempt(1).directory())
    }

    /// What a new process would have.
    fn world(&self) -> World {
        let site = Site {
            cluster: "testbed".to_owned(),
            platform: "any".to_owned(),
            identity: Identity::default(),
            capsule_root: "/nonexistent".to_owned(),
            hosts: [].into(),
            services: [].into(),
            etcd: EtcdAccess::default(),
            kube: KubeAccess::default(),
            env: [].into(),
            vars: serde_json::Map::new(),
        };
        let settings = Settings {
            local_capsules: self.path("capsules"),
            supervisor: self.path("supervisor"),
            kubeconfig: Vec::new(),
            call_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
        };
        World::new(Arc::new(site), settings)
    }

    async fn run(&self, script: Script) -> Result<Output, Fault> {
        self.world().writer(None, attempt(1), holder("run-1", 1)).run(script).await
    }

    fn state(&self) -> impl Future<Output = CapsuleState> {
        let world = self.world();
        async move { world.capsule_state(None, &attempt(1)).await.unwrap() }
    }

    /// Begins a command and goes away when a file is there: a crash of the engine.
    async fn begin(&self, text: &str, file: &Path) {
        let run = self.run(script(text));
        tokio::select! {
            ended = run => panic!("it ended: {ended:?}"),
            () = until("it runs", || file.exists()) => {}
        }
    }
}

#[tokio::test]
async fn a_command_leaves_its_status_and_output() {
    let engine = Engine::new();
    assert_eq!(engine.state().await, CapsuleState::Absent);
    let output = engine.run(script("printf 'a\\000\\377'; echo no >&2; exit 7")).await.unwrap();
    assert_eq!((output.status, output.stdout.as_slice(), output.stderr.as_slice()), (7, &b"a\0\xff"[..], &b"no\n"[..]));
    assert_eq!(engine.state().await, CapsuleState::Exited { status: 7 });
    let again = engine.run(script("echo other")).await.unwrap();
    assert_eq!(again, output, "an attempt runs one command, once");
}

#[tokio::test]
async fn a_signal_is_128_and_its_number() {
    let engine = Engine::new();
    assert_eq!(engine.run(script("kill -9 $$")).await.unwrap().status, 137);
}

#[tokio::test]
async fn a_command_outlives_the_engine_and_is_found_again() {
    let engine = Engine::new();
    let (count, go) = (engine.path("count"), engine.path("go"));
    let (count_text, go_text) = (count.display(), go.display());
    let text = format!("echo once >>{count_text}; while [ ! -e {go_text} ]; do sleep 0.05; done; echo done");
    engine.begin(&text, &count).await;
    assert_eq!(engine.state().await, CapsuleState::Running);
    let world = engine.world();
    let writer = world.writer(None, attempt(1), holder("run-1", 2));
    let (output, ()) = tokio::join!(writer.run(script(text)), async { fs::write(&go, "").unwrap() });
    assert_eq!(output.unwrap().text(), "done");
    assert_eq!(fs::read_to_string(&count).unwrap(), "once\n");
}

#[tokio::test]
async fn standard_input_is_spooled_and_removed() {
    let engine = Engine::new();
    for (number, stdin) in
        [Stdin::Bytes(b"plain".to_vec()), Stdin::Secret(b"plain".to_vec().into())].into_iter().enumerate()
    {
        let number = u32::try_from(number).unwrap() + 1;
        let command = script("cat; echo; echo $REQUORUM_STDIN; stat -c %a ${REQUORUM_STDIN%/*}").with_stdin(stdin);
        let world = engine.world();
        let output = world.writer(None, attempt(number), holder("run-1", 1)).run(command).await.unwrap();
        let text = output.text();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("plain"));
        let spool = Path::new(lines.next().unwrap());
        assert_eq!(lines.next(), Some("700"), "nobody else can look into {}", spool.display());
        assert!(!spool.exists(), "{} is left", spool.display());
        let secret = number == 2;
        assert_eq!(spool.starts_with(engine.path("capsules")), !secret, "a secret never touches the disk");
        assert!(!secret || !spool.parent().unwrap().exists());
    }
}

#[tokio::test]
async fn a_supervisor_killed_with_its_command_alive_is_running_then_dead() {
    let engine = Engine::new();
    let (pid, go) = (engine.path("pid"), engine.path("go"));
    let text = format!("echo $$ >{}; while [ ! -e {} ]; do sleep 0.05; done", pid.display(), go.display());
    engine.begin(&text, &pid).await;
    kill(session_of(&engine.capsule()));
    assert_eq!(engine.state().await, CapsuleState::Running);
    fs::write(&go, "").unwrap();
    let fault = engine.run(script("echo again")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::InDoubt);
    assert_eq!(engine.state().await, CapsuleState::Dead { rebooted: false });
}

#[tokio::test]
async fn supervisors_take_one_attempt_after_the_other_and_end_with_their_engine() {
    let engine = Engine::new();
    let world = engine.world();
    let alive = || supervisors(engine.directory.path());
    let run = async |number| {
        let writer = world.writer(None, attempt(number), holder("run-1", 1));
        let output = writer.run(script("ps -o sid= -p $$")).await.unwrap();
        output.text().trim().parse::<i32>().unwrap()
    };
    let mut used = Vec::new();
    for number in 1..=12 {
        used.push(run(number).await);
    }
    used.sort_unstable();
    used.dedup();
    assert!(used.len() <= 4, "{used:?}");
    let before = alive();
    run(20).await;
    assert!(before.iter().all(|pid| alive().contains(pid)), "the others wait on");
    alive().into_iter().for_each(kill);
    assert!(!used.contains(&run(13).await), "those that were killed are replaced");
    drop(world);
    until("none is left", || alive().is_empty()).await;
}

#[tokio::test]
async fn an_order_that_a_killed_supervisor_has_not_read_goes_to_another() {
    let engine = Engine::new();
    let world = engine.world();
    let run = async |number| world.writer(None, attempt(number), holder("run-1", 1)).run(script("echo ran")).await;
    run(1).await.unwrap();
    let waiting = supervisors(engine.directory.path());
    for pid in &waiting {
        send(*pid, Signal::STOP);
    }
    let prepared = engine.path("capsules").join(attempt(2).directory()).join("command");
    let killed = async {
        until("it is prepared", || prepared.exists()).await;
        for pid in &waiting {
            kill(*pid);
        }
    };
    assert_eq!(tokio::join!(run(2), killed).0.unwrap().text(), "ran");
}

#[tokio::test]
async fn a_supervisor_that_cannot_record_the_start_says_why() {
    let engine = Engine::new();
    fs::create_dir_all(engine.capsule().join("start")).unwrap();
    let fault = engine.run(script("echo ran")).await.unwrap_err();
    assert!(format!("{fault:?}").contains("irectory"), "{fault:?}");
    assert_eq!(engine.state().await, CapsuleState::NotStarted);
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_buried_while_it_runs() {
    let engine = Engine::new();
    let dead = "ps -o stat= --ppid $PPID | grep -c '^Z'";
    let text =
        format!("for i in 1 2 3 4 5; do (sleep 0.01 &); done; sleep 0.5; until [ $({dead}) = 0 ]; do sleep 0.1; done");
    engine.run(script(text)).await.unwrap();
}

#[tokio::test]
async fn a_supervisor_whose_command_left_a_process_behind_takes_no_other_attempt() {
    let engine = Engine::new();
    let world = engine.world();
    let (pid, mut sessions) = (engine.path("pid"), Vec::new());
    let left = format!("setsid sleep 60 >/dev/null 2>&1 & echo $! >{}; ps -o sid= -p $$", pid.display());
    let there = "ps -o sid= -p $$".to_owned();
    for (number, text) in [left, there.clone(), there.clone(), there].into_iter().enumerate() {
        let writer = world.writer(None, attempt(u32::try_from(number).unwrap() + 1), holder("run-1", 1));
        sessions.push(writer.run(script(text)).await.unwrap().text().trim().parse::<i32>().unwrap());
    }
    assert!(!sessions[1..].contains(&sessions[0]), "{sessions:?}");
    until("it ends", || !supervisors(engine.directory.path()).contains(&sessions[0])).await;
    kill(fs::read_to_string(pid).unwrap().trim().parse().unwrap());
}

#[tokio::test]
async fn another_boot_id_means_that_the_machine_rebooted() {
    let engine = Engine::new();
    let file = engine.path("pid");
    engine.begin(&format!("echo $$ >{}; exec sleep 60", file.display()), &file).await;
    let session = session_of(&engine.capsule());
    kill(session);
    let start = fs::read_to_string(engine.capsule().join("start")).unwrap();
    let (_, rest) = start.split_once('\n').unwrap();
    fs::write(engine.capsule().join("start"), format!("another-boot\n{rest}")).unwrap();
    assert_eq!(engine.state().await, CapsuleState::Dead { rebooted: true });
    kill(fs::read_to_string(file).unwrap().trim().parse().unwrap());
}

#[tokio::test]
async fn a_torn_start_record_means_that_it_never_began() {
    let engine = Engine::new();
    fs::create_dir_all(engine.capsule()).unwrap();
    fs::write(engine.capsule().join("start"), "boot\n12").unwrap();
    assert_eq!(engine.state().await, CapsuleState::NotStarted);
    assert_eq!(engine.run(script("echo ran")).await.unwrap().text(), "ran");
}

#[tokio::test]
async fn a_process_in_the_background_does_not_hold_the_end_up() {
    let engine = Engine::new();
    let late = engine.path("late");
    let text = format!("echo before; (sleep 4; echo more && touch {}) & exit 3", late.display());
    let began = std::time::Instant::now();
    let output = engine.run(script(text)).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(3900), "{:?}", began.elapsed());
    assert_eq!((output.status, output.text().as_str()), (3, "before"));
    until("it could still write", || late.exists()).await;
}

#[tokio::test]
async fn a_command_that_ignores_the_signal_is_dead_in_the_end() {
    let engine = Engine::new();
    let file = engine.path("pid");
    let text = format!("trap '' TERM; echo last words; echo $$ >{}; while :; do sleep 1; done", file.display());
    engine.begin(&text, &file).await;
    let state = engine.world().stop_attempt(None, &attempt(1), Duration::from_millis(300)).await.unwrap();
    assert_eq!(state, CapsuleState::Exited { status: 137 });
    assert_eq!(engine.run(script("")).await.unwrap().text(), "last words");
    let pid = fs::read_to_string(file).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[tokio::test]
async fn of_much_output_the_beginning_and_the_end_are_kept() {
    let engine = Engine::new();
    let output = engine.run(script("echo first; head -c 100000000 /dev/zero; echo last")).await.unwrap();
    assert!(output.truncated && output.stdout.len() == 1024 * 1024);
    assert!(output.stdout.starts_with(b"first\n") && output.stdout.ends_with(b"last\n"));
}

#[tokio::test]
async fn output_is_seen_while_the_command_runs_and_by_the_next_engine_again() {
    let engine = Engine::new();
    let go = engine.path("go");
    let text = format!("printf one; echo oops >&2; while [ ! -e {} ]; do sleep 0.05; done; echo two", go.display());
    let (first, second) = (Seen::default(), Seen::default());
    let world = engine.world();
    let run = async |seen: &Seen| {
        let writer = world.writer(None, attempt(1), holder("run-1", 1)).watched_by(seen.watch());
        writer.run(shown(&text)).await.unwrap()
    };
    tokio::select! {
        ended = run(&first) => panic!("it ended: {ended:?}"),
        () = until("it is seen", || first.text(Stream::Out) == "one" && first.text(Stream::Err) == "oops\n") => {}
    }
    let rest = async {
        until("the second sees it too", || second.text(Stream::Out) == "one").await;
        fs::write(&go, "").unwrap();
    };
    let (output, ()) = tokio::join!(run(&second), rest);
    assert_eq!(output.text(), "onetwo");
    assert_eq!((second.text(Stream::Out), second.text(Stream::Err)), ("onetwo\n".to_owned(), "oops\n".to_owned()));
}

#[tokio::test]
async fn no_more_is_shown_than_the_beginning_and_nothing_of_a_script_that_is_not_for_people() {
    let engine = Engine::new();
    let world = engine.world();
    let seen = Seen::default();
    let run = async |number, script| {
        let writer = world.writer(None, attempt(number), holder("run-1", 1)).watched_by(seen.watch());
        writer.run(script).await.unwrap()
    };
    let text = "echo first; head -c 3000000 /dev/zero; echo last";
    run(1, script(text)).await;
    assert_eq!(seen.bytes(Stream::Out).len(), 0);
    let output = run(2, shown(text)).await;
    assert_eq!(seen.bytes(Stream::Out), output.stdout[..SHOWN]);
}

#[tokio::test]
async fn a_look_is_killed_with_all_that_it_started() {
    let engine = Engine::new();
    let file = engine.path("pid");
    let world = engine.world();
    let look = script(format!("sleep 60 & echo $! >{}; wait", file.display()));
    let fault = world.reader(None).look_within(&look, Duration::from_millis(500)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::TimedOut);
    let pid = fs::read_to_string(file).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    until("it is dead", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))).await;
}
