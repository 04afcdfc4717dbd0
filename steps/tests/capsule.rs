//! Capsules on a host, over a real sshd on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use requorum_steps::capsule::{CapsuleState, Holder};
use requorum_steps::{AttemptId, FaultKind, HostName, ItemKey, RunId, Script, Stdin, StepId, World, Writer};
use support::sshd::Sshd;

fn host() -> HostName {
    HostName::new("h").unwrap()
}

fn attempt(number: u32) -> AttemptId {
    let step = StepId::new("step").unwrap();
    AttemptId { run: RunId::new("run-1").unwrap(), step, item: ItemKey::from(&host()), number }
}

fn holder(epoch: u64) -> Holder {
    Holder {
        cluster: "testbed".to_owned(),
        run: RunId::new("run-1").unwrap(),
        epoch,
        token: format!("token-{epoch}"),
        label: "ann@desk, pid 3".to_owned(),
    }
}

fn writer(world: &World, number: u32) -> Writer<'_> {
    world.writer(Some(&host()), attempt(number), holder(1))
}

fn script(text: &str) -> Script {
    Script::new(text, [""; 0])
}

#[tokio::test]
async fn a_command_leaves_its_status_and_output() {
    let Some(sshd) = Sshd::start() else { return };
    let world = sshd.world();
    let facts = world.greet(&host()).await.unwrap();
    assert_eq!(facts.user, "root");
    assert!(facts.clock_ahead_ms.abs() < 2000, "{facts:?}");
    let text = "printf 'a\\000\\377b'; echo problem >&2; pwd >&2; exit 7";
    let output = writer(&world, 1).run(script(text)).await.unwrap();
    assert_eq!(output.status, 7);
    assert_eq!(output.stdout, b"a\0\xffb");
    assert!(output.stderr.starts_with(b"problem\n/"), "{output:?}");
    assert_eq!(world.capsule_state(Some(&host()), &attempt(1)).await.unwrap(), CapsuleState::Exited { status: 7 });
    assert_eq!(world.capsule_state(Some(&host()), &attempt(2)).await.unwrap(), CapsuleState::Absent);
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
    let fault = reader.look_within(&script("sleep 60"), std::time::Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::TimedOut);
    std::fs::write(sshd.path("file"), "content").unwrap();
    let place = format!("h:{}", sshd.path("file").display());
    assert_eq!(reader.read(&place).await.unwrap().as_slice(), b"content");
    assert!(!sshd.root().exists(), "looking leaves nothing on the host");
    world.close().await;
}
