//! Looking at a host, its fence, and how its refusals read, over a real sshd on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use requorum_steps::site::{Become, Site};
use requorum_steps::{AttemptId, Fault, FaultKind, Make, Observation, RunId, Script, Stdin, World, catalog};
use support::sshd::Sshd;
use support::{attempt, holder, host, script, until};

#[tokio::test]
async fn greeting_tells_about_the_host_and_leaves_nothing_on_it() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let facts = world.greet(&host()).await.unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!((facts.user.as_str(), facts.boot_id.as_str()), ("root", boot_id.trim()));
    // Half of the time that connecting took is in it.
    assert!(facts.clock_ahead_ms.abs() < 60_000, "{facts:?}");
    assert!(!sshd.root().exists());
    world.close().await;
}

#[tokio::test]
async fn a_look_returns_the_output_of_a_command_without_a_capsule() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let reader = world.reader(Some(&host()));
    let look = Script::new("cat; echo \"$1\"; exit 255", ["a b"]).with_stdin(Stdin::Bytes(b"in ".to_vec()));
    let output = reader.look(&look).await.unwrap();
    assert_eq!((output.status, output.text().as_str()), (255, "in a b"));
    assert_eq!(reader.look(&script("nonesuch-command")).await.unwrap().status, 127);
    assert_eq!(reader.look(&script("kill -9 $$")).await.unwrap().status, 137);
    assert!(!sshd.root().exists(), "looking leaves nothing on the host");
    world.close().await;
}

#[tokio::test]
async fn a_look_has_an_end_and_does_not_live_on() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let file = sshd.path("pid");
    let look = script(format!("echo $$ >{}; exec sleep 60", file.display()));
    let fault = world.reader(Some(&host())).look_within(&look, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!((fault.kind, fault.place.host), (FaultKind::TimedOut, Some(host())));
    let pid = fs::read_to_string(file).unwrap();
    let process = std::path::Path::new("/proc").join(pid.trim());
    until("the command is dead on the host", || !process.exists()).await;
    world.close().await;
}

/// Looks at the clock of the host, where `date` is this script if one is given.
async fn in_step(sshd: &Sshd, date: Option<&str>) -> Result<Observation, Fault> {
    let mut site = sshd.site();
    if let Some(date) = date {
        let (bin, file) = (sshd.path("bin"), sshd.path("bin/date"));
        fs::create_dir_all(&bin).unwrap();
        fs::write(&file, format!("#!/bin/sh\n{date}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        site.env.insert("PATH".to_owned(), format!("{}:/usr/bin:/bin", bin.display()));
    }
    let world = sshd.world_of(site);
    let Make::Check(make) = catalog::find("clock.in_step").unwrap().make else { panic!("it is no check") };
    let seen = make(serde_json::json!({ "within": "5s" })).unwrap().observe(&world.reader(None)).await;
    world.close().await;
    seen
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_and_what_the_round_trip_takes_is_not() {
    let Some(sshd) = Sshd::start() else { return };
    let seen = in_step(&sshd, None).await.unwrap();
    assert!(seen.holds && seen.seen.contains("no difference"), "the host has this machine's clock: {seen:?}");
    let slow = in_step(&sshd, Some("sleep 2; exec /usr/bin/date \"$@\"")).await.unwrap();
    assert!(slow.holds && slow.seen.contains("(± 1."), "{slow:?}");
    let coarse = in_step(&sshd, Some("exec /usr/bin/date '+%s %%N'")).await.unwrap();
    assert!(coarse.holds && coarse.seen.contains("(± 0.5"), "only seconds are told: {coarse:?}");
    for (off, way) in [("-1 hour", "behind"), ("20 seconds", "ahead of")] {
        let seen = in_step(&sshd, Some(&format!("exec /usr/bin/date -d '{off}' \"$@\""))).await.unwrap();
        assert!(!seen.holds && seen.seen.contains(way), "{seen:?}");
        assert!(seen.seen.starts_with("at least "), "{seen:?}");
    }
    let fault = in_step(&sshd, Some("echo no time")).await.unwrap_err();
    assert_eq!((fault.what.as_str(), fault.place.host), ("`date` told no time", Some(host())));
}

#[tokio::test]
async fn many_looks_at_once_share_few_channels() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let reader = world.reader(Some(&host()));
    let looks: Vec<Script> = (0..40).map(|number| script(format!("sleep 0.1; echo {number}"))).collect();
    let mut outputs = Vec::new();
    let all = looks.iter().map(|look| async move { reader.look(look).await.unwrap().text() });
    for output in join_all(all).await {
        outputs.push(output.parse::<usize>().unwrap());
    }
    assert_eq!(outputs, (0..40).collect::<Vec<_>>());
    world.close().await;
}

async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(ready) => *output = Some(ready),
                std::task::Poll::Pending => waiting = true,
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test]
async fn files_are_read_whole_or_not_at_all() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let reader = world.reader(None);
    let write = |name: &str, length: usize| {
        fs::write(sshd.path(name), vec![b'x'; length]).unwrap();
        sshd.path(name).display().to_string()
    };
    let (fits, too_large) = (write("fits", 1 << 20), write("too-large", (1 << 20) + 1));
    for before in ["", "h:"] {
        assert_eq!(reader.read(&format!("{before}{fits}")).await.unwrap().len(), 1 << 20);
        assert_eq!(reader.read(&format!("{before}{too_large}")).await.unwrap_err().kind, FaultKind::Refused);
        let absent = sshd.path("absent").display().to_string();
        let fault = reader.read(&format!("{before}{absent}")).await.unwrap_err();
        assert!(fault.seen.unwrap().contains("No such file"));
    }
    assert!(reader.read("other:/etc/hosts").await.unwrap_err().what.contains("no host `other`"));
    world.close().await;
}

#[tokio::test]
async fn the_masters_end_with_the_world() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    world.greet(&host()).await.unwrap();
    let masters = || {
        let port = sshd.port.to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
            if words[0] == b"ssh" && words.contains(&port.as_bytes()) {
                found.push(entry.path());
            }
        }
        found
    };
    assert_eq!(masters().len(), 1);
    let group = fs::read_to_string(masters()[0].join("stat")).unwrap();
    let group: i32 = group.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap().parse().unwrap();
    assert_ne!(group, rustix::process::getpgrp().as_raw_nonzero().get(), "a Ctrl-C must not reach it");
    world.close().await;
    assert_eq!(masters().len(), 0);
    world.greet(&host()).await.unwrap();
    drop(world);
    until("the master is gone", || masters().is_empty()).await;
}

#[tokio::test]
async fn a_dead_connection_is_made_again() {
    let Some(mut sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let look = script("echo here");
    assert_eq!(world.reader(Some(&host())).look(&look).await.unwrap().text(), "here");
    sshd.down();
    let fault = world.reader(Some(&host())).look(&look).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable, "{fault:?}");
    sshd.up();
    assert_eq!(world.reader(Some(&host())).look(&look).await.unwrap().text(), "here");
    world.close().await;
}

async fn greeting_fault(sshd: &Sshd, change: impl FnOnce(&mut Site)) -> Fault {
    let mut site = sshd.site();
    change(&mut site);
    let world = sshd.world_of(site);
    let fault = world.greet(&host()).await.unwrap_err();
    world.close().await;
    assert_eq!(fault.place.host, Some(host()));
    assert!(fault.hint.is_some() || fault.kind == FaultKind::Refused, "{fault:?}");
    fault
}

#[tokio::test]
async fn an_unknown_host_key_is_refused() {
    let Some(sshd) = Sshd::start() else { return };
    fs::write(sshd.path("empty"), "").unwrap();
    let empty = sshd.path("empty");
    let fault = greeting_fault(&sshd, |site| site.hosts.get_mut(&host()).unwrap().ssh.known_hosts = Some(empty)).await;
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.what.contains("host key"), "{fault:?}");
    assert_eq!(fs::read_to_string(sshd.path("empty")).unwrap(), "", "it is never added");
}

#[tokio::test]
async fn a_wrong_user_key_is_refused() {
    let Some(sshd) = Sshd::start() else { return };
    let key = sshd.path("stranger");
    let fault = greeting_fault(&sshd, |site| site.hosts.get_mut(&host()).unwrap().ssh.key = Some(key)).await;
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.seen.unwrap().contains("Permission denied"));
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let Some(mut sshd) = Sshd::start() else { return };
    sshd.down();
    let fault = greeting_fault(&sshd, |_| {}).await;
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.seen.unwrap().contains("refused"));
    let world = sshd.world();
    let run = world.writer(Some(&host()), attempt(1), holder("run-1", 1)).run(script("true")).await;
    assert_eq!(run.unwrap_err().kind, FaultKind::Unreachable, "nothing was sent");
}

#[tokio::test]
async fn a_capsule_root_that_cannot_be_made_is_refused() {
    let Some(sshd) = Sshd::start() else { return };
    let file = sshd.path("known_hosts").display().to_string();
    let fault = greeting_fault(&sshd, |site| site.capsule_root = format!("{file}/below/a/file")).await;
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.what.contains(&file), "{fault:?}");
}

#[tokio::test]
async fn whoever_is_root_already_needs_no_sudo() {
    let Some(sshd) = Sshd::start() else { return };
    let mut site = sshd.site();
    site.hosts.get_mut(&host()).unwrap().ssh.elevate = Become::Sudo;
    let world = sshd.world_of(site);
    assert_eq!(world.greet(&host()).await.unwrap().user, "root");
    world.close().await;
}

/// A holder's try to run something.
async fn tries(world: &World, run: &str, epoch: u64, number: u32) -> Result<(), FaultKind> {
    let attempt = AttemptId { run: RunId::new(run).unwrap(), ..attempt(number) };
    let ran = world.writer(Some(&host()), attempt, holder(run, epoch)).run(script("true")).await;
    ran.map(drop).map_err(|fault| fault.kind)
}

#[tokio::test]
async fn the_fence_lets_one_holder_in() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    assert_eq!(world.see_fence(&host()).await.unwrap(), None);
    world.raise_fence(&host(), &holder("run-1", 2), false).await.unwrap();
    let seen = world.see_fence(&host()).await.unwrap().unwrap();
    assert_eq!((seen.holder, seen.finished), (holder("run-1", 2), false));
    assert_eq!(tries(&world, "run-1", 2, 1).await, Ok(()));
    assert_eq!(tries(&world, "run-1", 1, 2).await, Err(FaultKind::Fenced), "a lower epoch");
    assert_eq!(tries(&world, "run-2", 3, 3).await, Err(FaultKind::Fenced), "another run");
    let mut twin = holder("run-1", 2);
    twin.token = "other".to_owned();
    let fault = world.raise_fence(&host(), &twin, true).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Fenced, "the same epoch with another token");
    assert!(fault.seen.unwrap().contains("ann@desk"), "it names the holder");
    let refused = AttemptId { run: RunId::new("run-2").unwrap(), ..attempt(3) };
    assert!(!sshd.capsule(&refused).exists());
    let mixed = world.writer(Some(&host()), refused, holder("run-1", 2)).run(script("true")).await;
    assert_eq!(mixed.unwrap_err().kind, FaultKind::Refused, "an attempt of another run");
    world.close().await;
}

#[tokio::test]
async fn a_fence_is_taken_over_or_left() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let raise = |run: &'static str, epoch, take_over| {
        let world = &world;
        async move { world.raise_fence(&host(), &holder(run, epoch), take_over).await.map_err(|fault| fault.kind) }
    };
    assert_eq!(raise("run-1", 1, false).await, Ok(()));
    assert_eq!(raise("run-1", 1, false).await, Ok(()), "its own");
    assert_eq!(raise("run-2", 2, false).await, Err(FaultKind::Fenced));
    assert_eq!(raise("run-2", 1, true).await, Err(FaultKind::Fenced), "not with the same epoch");
    assert_eq!(raise("run-2", 2, true).await, Ok(()));
    assert_eq!(tries(&world, "run-1", 1, 1).await, Err(FaultKind::Fenced), "the one who lost it");
    world.lower_fence(&host(), &holder("run-1", 1)).await.unwrap();
    assert!(!world.see_fence(&host()).await.unwrap().unwrap().finished, "only its holder lowers it");
    world.lower_fence(&host(), &holder("run-2", 2)).await.unwrap();
    assert!(world.see_fence(&host()).await.unwrap().unwrap().finished);
    assert_eq!(tries(&world, "run-1", 1, 1).await, Err(FaultKind::Fenced), "a lower epoch, finished or not");
    assert_eq!(raise("run-3", 1, false).await, Ok(()));
    world.close().await;
}
