"""One member is broken, the others keep the quorum."""

from labkit.desk import expect
from labkit.machine import wait_until
from labkit.scenario import scenario

from .faults import corrupt, serves


def plan_of(desk):
    return {"kubeadm": "kubeadm/replace-member", "systemd-etcd": "etcd/replace-member"}[desk.lab.record["profile"]]


@scenario("kubeadm", "systemd-etcd")
def a_member_crash_loops(desk):
    """One member's log is damaged; its member is made anew on the same host, through a kill and a reboot of that host."""
    desk.write("before")
    corrupt(desk, "cp3")
    wait_until("2 of 3", 60, lambda: not serves(desk, "cp3"))
    plan = plan_of(desk)
    member = desk.lab.profile.member_name(desk.lab.hosts["cp3"])
    words = (plan, "--set", f"member={member}")
    desk.triage_names(plan, f"member={member}")
    desk.run_killed(*words, kill_at=r"aside@cp3 +started", meanwhile=lambda: desk.reboot(desk.lab.hosts["cp3"]))
    desk.one_healthy_cluster()
    expect(desk.has("before"), "what was written is there")
    # A healthy member is left alone.
    listed = desk.members()
    desk.run(*words)
    expect(desk.members() == listed, "a second run changes nothing")
