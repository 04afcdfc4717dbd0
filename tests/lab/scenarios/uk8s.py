"""The procedures of UK8S: nodes that were reinstalled, or deleted and rebuilt, and the Secret of scheduled backups."""

import base64
import json
import re
import tarfile

from labkit import site
from labkit.desk import expect
from labkit.machine import wait_until
from labkit.scenario import scenario

from .faults import bring_control_plane_back, reinstall
from .restore import is_restored, write_after

SSL = "/etc/kubernetes/ssl"
FILES = f"/usr/bin/etcd /usr/bin/etcdctl {SSL}/ca.pem {SSL}/etcd.pem {SSL}/etcd-key.pem /usr/lib/systemd/system/etcd.service"


def as_uk8s(desk, *without_control_plane):
    """Makes the site one of UK8S; API servers and their like are not on some hosts yet."""
    text = site.text(desk.lab).replace("platform: systemd-etcd\n", "platform: uk8s\n")
    for host in without_control_plane:
        head = f"  {host.name}:\n    address: {host.address}\n    roles: "
        text = text.replace(f"{head}[control-plane, etcd]", f"{head}[etcd]")
    desk.site.write_text(text)


def lose(desk, *names):
    """Reinstalls hosts, and returns them."""
    hosts = [desk.lab.hosts[name] for name in names]
    as_uk8s(desk, *hosts)
    reinstall(desk, *hosts)
    return hosts


def answered(desk, ended):
    """Answers the gate that a command stopped at, from a second one, with the words that it said."""
    run, step = re.search(r" approve (\S+) (\S+)", ended.stderr + ended.stdout).groups()
    desk.requorum("approve", run, step, "--reason", "support says so")


def nothing_of_etcd_runs(*hosts):
    for host in hosts:
        expect(host.ssh("systemctl is-active etcd", check=False).stdout.strip() != "active", f"etcd is down on {host.name}")


def is_equipped(desk, *hosts):
    """Looks at what was copied: the same files as elsewhere, settings of the host's own, and etcd from each boot on."""
    like = desk.lab.hosts["cp1"]
    for host in hosts:
        expect(host.ssh(f"sha256sum {FILES}").stdout == like.ssh(f"sha256sum {FILES}").stdout, f"the files of {host.name}")
        expect(host.ssh(f"stat -c %a {SSL}/etcd-key.pem").stdout.strip() == "600", "the key is root's alone")
        settings = dict(line.split("=", 1) for line in host.ssh("cat /etc/etcd/etcd.conf").stdout.splitlines() if "=" in line)
        own = {name: value.strip('"') for name, value in settings.items() if name != "ETCD_INITIAL_CLUSTER"}
        expect(own["ETCD_NAME"] == desk.lab.profile.member_name(host), f"its own name: {own}")
        expect(own["ETCD_INITIAL_ADVERTISE_PEER_URLS"] == f"https://{host.address}:2380", f"its own peer address: {own}")
        expect(own["ETCD_ADVERTISE_CLIENT_URLS"] == f"https://{host.address}:2379", f"its own client address: {own}")
        expect(not any(like.address in value for value in own.values()), f"no address of the other host: {own}")
        expect(host.ssh("systemctl is-enabled etcd").stdout.strip() == "enabled", f"etcd starts at boot on {host.name}")


def state_of(desk, host):
    """Returns what a second run must not change: members, files, and the process of etcd."""
    files = host.ssh(f"sha256sum {FILES} /etc/etcd/etcd.conf; systemctl show -p MainPID etcd").stdout
    return desk.members(), files


@scenario("systemd-etcd")
def a_reinstalled_node_joins_again(desk):
    """A host has nothing of etcd any more; it is equipped and its member made anew, through two kills and a reboot."""
    desk.write("before")
    (host,) = lose(desk, "cp3")
    desk.triage_names("uk8s/replace-member", "member=etcd3", "from=cp1")
    words = ("uk8s/replace-member", "--set", "member=etcd3", "--set", "from=cp1")
    # Dead with everything copied but the settings, and the host boots with a unit and no data.
    desk.run(*words, kill_at=r"equip-set-name@cp3 +started")
    desk.reboot(host)
    nothing_of_etcd_runs(host)
    desk.requorum("resume", kill_at=r" add +started")
    desk.reboot(host)
    desk.requorum("resume")
    is_equipped(desk, host)
    bring_control_plane_back(host)
    desk.one_healthy_cluster()
    expect(desk.has("before"), "what was written is there")
    # It comes back by itself from now on, and a second run leaves it alone.
    desk.reboot(host)
    desk.one_healthy_cluster()
    before = state_of(desk, host)
    desk.run(*words)
    expect(state_of(desk, host) == before, "a second run changes nothing")


@scenario("systemd-etcd")
def a_deleted_node_is_rebuilt(desk):
    """The plan asks whether a deleted machine was rebuilt before it does anything, and for the provider's record at the end."""
    desk.write("before")
    (host,) = lose(desk, "cp3")
    words = ("uk8s/replace-member", "--set", "member=etcd3", "--set", "from=cp1", "--set", "deleted=true")
    asked = desk.run(*words, code=6)
    expect(host.ssh("ls /usr/bin/etcd /etc/etcd", check=False).returncode != 0, "nothing was copied before the answer")
    answered(desk, asked)
    asked = desk.requorum("resume", code=6)
    is_equipped(desk, host)
    answered(desk, asked)
    desk.requorum("resume")
    bring_control_plane_back(host)
    desk.one_healthy_cluster()
    expect(desk.has("before"), "what was written is there")


@scenario("systemd-etcd")
def two_nodes_are_deleted(desk):
    """The quorum is lost; two rebuilt machines are equipped, and all members restored from a packed backup, through kills."""
    as_uk8s(desk)
    desk.write("before")
    name = f"uk8s-lab-backup-etcd-{desk.lab.record['etcd']}-2026-11-22T03-56-12.db"
    desk.run_killed("etcd/snapshot", "--set", f"file={desk.directory / name}", kill_at=r"rehearse@cp1 +started")
    with tarfile.open(desk.directory / f"{name}.tar.gz", "w:gz") as packed:
        packed.add(desk.directory / name, name)
    (desk.directory / name).unlink()
    last = write_after(desk)
    hosts = lose(desk, "cp2", "cp3")
    desk.triage_names("uk8s/equip-host", "hosts=cp2,cp3", "from=cp1")
    words = ("--set", f"backup={desk.directory / name}.tar.gz", "--set", "from=cp1", "--set", "deleted=true")
    answered(desk, desk.run("uk8s/restore-all-members", *words, code=6))
    desk.requorum("resume", kill_at=r"equip-unit@cp2 +done")
    desk.requorum("resume", kill_at=r" restore@cp2 +started")
    desk.reboot(hosts[0])
    answered(desk, desk.requorum("resume", code=6))
    desk.requorum("resume")
    is_equipped(desk, *hosts)
    bring_control_plane_back(*hosts)
    is_restored(desk, last)


@scenario("systemd-etcd")
def two_nodes_are_reinstalled_and_there_is_no_backup(desk):
    """Triage leads from two empty hosts over their files to the survivor's data, through kills and reboots."""
    as_uk8s(desk)
    desk.write("before")
    hosts = lose(desk, "cp2", "cp3")
    desk.triage_names("uk8s/equip-host", "hosts=cp2,cp3", "from=cp1")
    words = ("uk8s/equip-host", "--set", "hosts=cp2,cp3", "--set", "from=cp1")
    ended = desk.run(*words)
    desk.requorum("rollback", "--yes", re.search(r"^run (\S+) on ", ended.stderr + ended.stdout, re.MULTILINE).group(1))
    for host in hosts:
        expect(not host.ssh(f"ls {FILES} /etc/etcd/etcd.conf", check=False).stdout, "a rollback leaves nothing in place")
    desk.run_killed(*words, kill_at=r"enable@cp2 +done", meanwhile=lambda: [desk.reboot(host) for host in hosts])
    nothing_of_etcd_runs(*hosts)
    desk.run(*words)
    # The empty hosts do not answer, so that somebody has to say who survived.
    desk.triage_names("etcd/quorum-lost", "survivor=cp1")
    desk.run_killed("etcd/quorum-lost", "--set", f"file={desk.directory}/survivor.db", "--set", "survivor=cp1",
                    kill_at=r"set-data-aside@cp1 +done", meanwhile=lambda: desk.reboot(desk.lab.hosts["cp1"]))
    is_equipped(desk, *hosts)
    bring_control_plane_back(*hosts)
    desk.one_healthy_cluster()
    expect(desk.has("before"), "what was written is there")
    wait_until("writes", 60, lambda: desk.write("again") is None)


@scenario("systemd-etcd")
def backups_get_their_secret(desk):
    """The Secret of scheduled backups is made through a kill, has the host's files, and a second run changes nothing."""
    as_uk8s(desk)
    words = ("uk8s/backup-secret", "--set", "host=cp2")
    desk.run_killed(*words, kill_at=r"apply +started", meanwhile=lambda: desk.reboot(desk.lab.hosts["cp2"]))

    def secret():
        return json.loads(desk.kubectl("get", "secret", "uk8s-etcd-backup-cert", "-n", "kube-system", "-o", "json").stdout)

    made = secret()
    expect(sorted(made["data"]) == ["etcd-key.pem", "etcd.pem"], f"its keys: {sorted(made['data'])}")
    for name, value in made["data"].items():
        file = desk.lab.hosts["cp2"].ssh(f"cat {SSL}/{name}").stdout
        expect(base64.b64decode(value).decode() == file, f"{name} is the host's")
        expect(file not in desk.log.read_text(), f"{name} was not shown")
    desk.run(*words)
    expect(secret()["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"], "a second run changes nothing")
