//! Capsules on a host, over a real sshd on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use requorum_steps::capsule::{CapsuleState, Stream};
use requorum_steps::{Fault, FaultKind, Output, Script, Stdin};
use support::sshd::Sshd;
use support::{Seen, attempt, holder, host, kill, script, session_of, shown, until};

async fn run(sshd: &Sshd, number: u32, script: Script) -> Result<Output, Fault> {
    let world = sshd.world();
    let output = world.writer(Some(&host()), attempt(number), holder("run-1", 1)).run(script).await;
    world.close().await;
    output
}

async fn state(sshd: &Sshd, number: u32) -> CapsuleState {
    let world = sshd.world();
    let state = world.capsule_state(Some(&host()), &attempt(number)).await.unwrap();
    world.close().await;
    state
}

/// Begins a command and goes away, connection and all, when a file is there.
async fn begin(sshd: &Sshd, number: u32, text: &str, file: &Path) {
    let run = run(sshd, number, script(text));
    tokio::select! {
        ended = run => panic!("it ended: {ended:?}"),
        () = until("it runs", || file.exists()) => {}
    }
}

/// A command that counts itself in `count` and ends with 3 when `go` is there.
fn counting(sshd: &Sshd) -> String {
    let (count, go) = (sshd.path("count"), sshd.path("go"));
    format!("echo once >>{}; while [ ! -e {} ]; do sleep 0.05; done; echo done; exit 3", count.display(), go.display())
}

#[tokio::test]
async fn a_command_leaves_its_status_and_output() {
    let Some(sshd) = Sshd::start() else { return };
    assert_eq!(state(&sshd, 1).await, CapsuleState::Absent);
    let output = run(&sshd, 1, script("printf 'a\\000\\377b'; echo problem >&2; pwd >&2; exit 7")).await.unwrap();
    assert_eq!(output.status, 7);
    assert_eq!(output.stdout, b"a\0\xffb");
    assert!(output.stderr.starts_with(b"problem\n/"), "{output:?}");
    assert_eq!(state(&sshd, 1).await, CapsuleState::Exited { status: 7 });
    assert_eq!(run(&sshd, 1, script("echo other")).await.unwrap(), output, "an attempt runs one command, once");
    let world = sshd.world();
    let mask = world.reader(Some(&host())).look(&script("umask")).await.unwrap().text();
    world.close().await;
    assert_eq!(run(&sshd, 3, script("umask")).await.unwrap().text(), mask, "files get the user's usual mode");
    assert_eq!(run(&sshd, 2, script("kill -9 $$")).await.unwrap().status, 137);
}

#[tokio::test]
async fn arguments_environment_and_directory_reach_the_command() {
    let Some(sshd) = Sshd::start() else { return };
    let mut site = sshd.site();
    site.env = [("PROXY".to_owned(), "site's own".to_owned()), ("OVER".to_owned(), "site".to_owned())].into();
    let world = sshd.world_of(site);
    let mut command = Script::new("printf '%s|' \"$PROXY\" \"$OVER\" \"$1\" \"$2\"; pwd", ["it's", "$HOME \"\n"]);
    command.env = vec![("OVER".to_owned(), "script".to_owned())];
    command.cwd = Some("/usr".to_owned());
    let output = world.writer(Some(&host()), attempt(1), holder("run-1", 1)).run(command).await.unwrap();
    assert_eq!(output.text(), "site's own|script|it's|$HOME \"\n|/usr");
    world.close().await;
}

#[tokio::test]
async fn standard_input_is_spooled_and_removed() {
    let Some(sshd) = Sshd::start() else { return };
    let big: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    fs::write(sshd.path("big"), &big).unwrap();
    let sum = "cksum; cksum <$REQUORUM_STDIN; echo $REQUORUM_STDIN; stat -c %a $REQUORUM_STDIN ${REQUORUM_STDIN%/*}";
    for (number, stdin) in [Stdin::Bytes(big.clone()), Stdin::Secret(big.clone().into()), Stdin::File(sshd.path("big"))]
        .into_iter()
        .enumerate()
    {
        let number = u32::try_from(number).unwrap() + 1;
        let secret = matches!(stdin, Stdin::Secret(_));
        let output = run(&sshd, number, script(sum).with_stdin(stdin)).await.unwrap();
        let text = output.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], lines[1]);
        assert!(lines[0].ends_with(" 3000000"), "{text}");
        assert_eq!(&lines[3..], ["600", "700"]);
        let spool = Path::new(lines[2]);
        assert!(!spool.exists());
        assert_eq!(spool.starts_with(sshd.root()), !secret, "a secret never touches the disk");
        assert!(!secret || !spool.parent().unwrap().exists());
    }
}

#[tokio::test]
async fn a_command_outlives_its_client_and_is_found_again() {
    let Some(sshd) = Sshd::start() else { return };
    begin(&sshd, 1, &counting(&sshd), &sshd.path("count")).await;
    assert_eq!(state(&sshd, 1).await, CapsuleState::Running);
    let found = async { run(&sshd, 1, script(counting(&sshd))).await };
    let (output, ()) = tokio::join!(found, async { fs::write(sshd.path("go"), "").unwrap() });
    let output = output.unwrap();
    assert_eq!((output.status, output.text().as_str()), (3, "done"));
    assert_eq!(state(&sshd, 1).await, CapsuleState::Exited { status: 3 });
    assert_eq!(fs::read_to_string(sshd.path("count")).unwrap(), "once\n");
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_the_command_runs_once() {
    let Some(mut sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let (count, go) = (sshd.path("count"), sshd.path("go"));
    let command = script(counting(&sshd));
    let cut = async {
        until("it runs", || count.exists()).await;
        sshd.down();
        sshd.up();
        fs::write(go, "").unwrap();
    };
    let writer = world.writer(Some(&host()), attempt(1), holder("run-1", 1));
    let (output, ()) = tokio::join!(writer.run(command), cut);
    assert_eq!(output.unwrap().status, 3);
    assert_eq!(fs::read_to_string(sshd.path("count")).unwrap(), "once\n");
    assert_eq!(world.reader(Some(&host())).look(&script("echo back")).await.unwrap().text(), "back");
    world.close().await;
}

#[tokio::test]
async fn output_is_seen_while_the_command_runs_and_once_across_a_lost_connection() {
    let Some(mut sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let (seen, go, end) = (Seen::default(), sshd.path("go"), sshd.path("end"));
    let wait = |file: &Path| format!("while [ ! -e {} ]; do sleep 0.05; done", file.display());
    let text = format!("printf 'one\\000\\n'; echo oops >&2; {}; printf two; {}; echo three", wait(&go), wait(&end));
    let watch = async {
        until("the first is seen", || seen.text(Stream::Out) == "one\0\n" && seen.text(Stream::Err) == "oops\n").await;
        sshd.down();
        sshd.up();
        fs::write(&go, "").unwrap();
        until("the second is seen", || seen.text(Stream::Out) == "one\0\ntwo").await;
        fs::write(&end, "").unwrap();
    };
    let writer = world.writer(Some(&host()), attempt(1), holder("run-1", 1)).watched_by(seen.watch());
    let (output, ()) = tokio::join!(writer.run(shown(text)), watch);
    assert_eq!(output.unwrap().stdout, b"one\0\ntwothree\n");
    assert_eq!(seen.text(Stream::Out), "one\0\ntwothree\n");
    assert_eq!(seen.text(Stream::Err), "oops\n");
    world.close().await;
}

#[tokio::test]
async fn two_clients_at_once_run_a_command_once() {
    let Some(sshd) = Sshd::start() else { return };
    let text = format!("echo once >>{}; echo $$", sshd.path("count").display());
    let command = || script(text.clone()).with_stdin(Stdin::Bytes(vec![b'x'; 100_000]));
    let (one, two) = tokio::join!(run(&sshd, 1, command()), run(&sshd, 1, command()));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(fs::read_to_string(sshd.path("count")).unwrap(), "once\n");
}

#[tokio::test]
async fn a_wrapper_killed_with_its_command_alive_is_running_then_dead() {
    let Some(sshd) = Sshd::start() else { return };
    begin(&sshd, 1, &counting(&sshd), &sshd.path("count")).await;
    kill(session_of(&sshd.capsule(&attempt(1))));
    assert_eq!(state(&sshd, 1).await, CapsuleState::Running);
    fs::write(sshd.path("go"), "").unwrap();
    let fault = run(&sshd, 1, script(counting(&sshd))).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::InDoubt);
    assert_eq!(fault.place.host, Some(host()));
    assert_eq!(state(&sshd, 1).await, CapsuleState::Dead { rebooted: false });
    assert_eq!(fs::read_to_string(sshd.path("count")).unwrap(), "once\n");
}

#[tokio::test]
async fn another_boot_id_means_that_the_host_rebooted() {
    let Some(sshd) = Sshd::start() else { return };
    let file = sshd.path("pid");
    begin(&sshd, 1, &format!("echo $$ >{}; exec sleep 60", file.display()), &file).await;
    let start = sshd.capsule(&attempt(1)).join("start");
    kill(session_of(&sshd.capsule(&attempt(1))));
    kill(fs::read_to_string(file).unwrap().trim().parse().unwrap());
    let record = fs::read_to_string(&start).unwrap();
    fs::write(&start, format!("another-boot\n{}", record.split_once('\n').unwrap().1)).unwrap();
    assert_eq!(state(&sshd, 1).await, CapsuleState::Dead { rebooted: true });
    let fault = run(&sshd, 1, script("echo again")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::InDoubt);
    assert!(fault.what.contains("rebooted"), "{fault:?}");
}

#[tokio::test]
async fn a_torn_start_record_means_that_it_never_began() {
    let Some(sshd) = Sshd::start() else { return };
    let directory = sshd.capsule(&attempt(1));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("start"), "boot\n12").unwrap();
    assert_eq!(state(&sshd, 1).await, CapsuleState::NotStarted);
    assert_eq!(run(&sshd, 1, script("echo ran")).await.unwrap().text(), "ran");
}

#[tokio::test]
async fn a_process_in_the_background_does_not_hold_the_end_up() {
    let Some(sshd) = Sshd::start() else { return };
    let late = sshd.path("late");
    let text = format!("echo before; (sleep 5; echo more && touch {}) & exit 3", late.display());
    let began = Instant::now();
    let output = run(&sshd, 1, script(text)).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(4900), "{:?}", began.elapsed());
    assert_eq!((output.status, output.text().as_str()), (3, "before"));
    until("it could still write", || late.exists()).await;
}

#[tokio::test]
async fn a_command_that_ignores_the_signal_is_dead_in_the_end() {
    let Some(sshd) = Sshd::start() else { return };
    let file = sshd.path("pid");
    let text = format!("trap '' TERM; echo last words; echo $$ >{}; while :; do sleep 1; done", file.display());
    begin(&sshd, 1, &text, &file).await;
    let world = sshd.world();
    let stopped = world.stop_attempt(Some(&host()), &attempt(1), Duration::from_secs(1)).await.unwrap();
    world.close().await;
    assert_eq!(stopped, CapsuleState::Exited { status: 137 });
    assert_eq!(run(&sshd, 1, script("")).await.unwrap().text(), "last words");
    let pid = fs::read_to_string(file).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[tokio::test]
async fn of_much_output_the_beginning_and_the_end_are_kept() {
    let Some(sshd) = Sshd::start() else { return };
    let output = run(&sshd, 1, script("echo first; head -c 100000000 /dev/zero; echo last")).await.unwrap();
    assert!(output.truncated);
    assert_eq!(output.stdout.len(), 1024 * 1024);
    assert!(output.stdout.starts_with(b"first\n") && output.stdout.ends_with(b"last\n"));
    let kept: u64 =
        fs::read_dir(sshd.capsule(&attempt(1))).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(kept < 1100 * 1024, "{kept} bytes on the host's disk");
    let exact = run(&sshd, 2, script("head -c 1048576 /dev/zero")).await.unwrap();
    assert!(!exact.truncated && exact.stdout.len() == 1024 * 1024);
}
