"""The quorum is lost, and there is no snapshot."""

from labkit.desk import expect
from labkit.machine import wait_until
from labkit.scenario import scenario

from .faults import serves
from .members import plan_of


@scenario("kubeadm", "systemd-etcd")
def two_of_three_hosts_die(desk):
    """Two hosts lose their power for good; the third carries on alone, and they are brought in again later."""
    desk.write("before")
    dead = [desk.lab.hosts[name] for name in ("cp2", "cp3")]
    for host in dead:
        host.kill()
    wait_until("no quorum", 60, lambda: not serves(desk, "cp1"))
    desk.mark_lost(*dead)
    desk.triage_names("etcd/quorum-lost")
    desk.run_killed("etcd/quorum-lost", "--set", f"file={desk.directory}/survivor.db", kill_at=r"restore@cp1 +started")
    wait_until("writes", 120, lambda: desk.write("alone") is None)
    expect(desk.has("before"), "what was written is there")
    expect(len(desk.members()) == 1, "one member")

    # One after the other: the next is still given up while the first comes in, and off, since two of them with their old data
    # would be a majority of the cluster that was, and serve beside the new one.
    for number, host in enumerate(dead):
        desk.mark_lost(*dead[number + 1:])
        desk.start(host)
        desk.run(plan_of(desk), "--set", f"member={desk.lab.profile.member_name(host)}")
    desk.one_healthy_cluster()
    expect(desk.has("before") and desk.has("alone"), "what was written is there")
