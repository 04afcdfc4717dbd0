"""What only kubeadm's control planes have: their certificates, and a way to join."""

from labkit.desk import expect
from labkit.kubeadm import IGNORED
from labkit.machine import wait_until
from labkit.scenario import scenario

from .faults import install_anew, let_certificates_expire, serves


@scenario("kubeadm")
def certificates_have_expired(desk):
    """The certificates of etcd and the API servers have ended on all hosts; they are renewed, through a kill and a reboot."""
    desk.write("before")
    let_certificates_expire(desk)
    wait_until("no quorum", 60, lambda: not any(serves(desk, name) for name in desk.lab.hosts))
    desk.triage_names("kubeadm/renew-certificates")
    desk.run_killed("kubeadm/renew-certificates", kill_at=r"renew@cp2 +started",
                    meanwhile=lambda: desk.reboot(desk.lab.hosts["cp2"]))
    desk.one_healthy_cluster()
    expect(desk.has("before"), "what was written is there")
    desk.run("kubeadm/renew-certificates")


@scenario("kubeadm")
def a_control_plane_is_installed_anew(desk):
    """A machine comes back with nothing but kubelet and kubeadm; it joins again, through a kill and a reboot in the middle."""
    desk.write("before")
    install_anew(desk, "cp3")
    desk.triage_names("kubeadm/join-control-plane", "host=cp3")
    words = ("kubeadm/join-control-plane", "--set", "host=cp3", "--set", "from=cp1",
             "--set", f"options=['--ignore-preflight-errors={IGNORED}']")
    # Half-way is when its member has just begun: it is in the list, and must not come back without its data.
    desk.run_killed(*words, kill_at=r"join@cp3 +started", meanwhile=lambda: desk.reboot(desk.lab.hosts["cp3"]),
                    until=lambda: any(one.get("name") == "cp3" for one in desk.members()))
    desk.one_healthy_cluster()
    expect(desk.has("before"), "what was written is there")
    listed = desk.members()
    desk.run(*words)
    expect(desk.members() == listed, "a second run changes nothing")
