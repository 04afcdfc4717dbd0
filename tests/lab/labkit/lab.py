"""A lab: its hosts, what it started, and where that is written down.

There is one lab on a machine at most, since its bridge, its addresses and its control groups are the machine's. What runs
is recorded in a directory of /run, so that a crashed lab can be torn down by any later process.
"""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import cgroups, components, network
from .host import Host, copy_store
from .kubeadm import Kubeadm
from .machine import LabError, Process, run, wait_until
from .systemd_etcd import SystemdEtcd

RECORD = Path("/run/requorum-lab")
PROGRAM = Path(__file__).resolve().parent.parent / "lab"
HOSTS = {"cp1": "10.99.0.11", "cp2": "10.99.0.12", "cp3": "10.99.0.13"}
PROFILES = {profile.platform: profile for profile in (Kubeadm(), SystemdEtcd())}


class Lab:
    """The lab of this machine."""

    def __init__(self, record):
        self.record = record
        self.directory = Path(record["directory"])
        self.profile = PROFILES[record["profile"]]
        layers = [Path(layer) for layer in record["layers"]]
        self.hosts = {name: Host(self.directory, name, address, layers, self.profile.boot_unit)
                      for name, address in HOSTS.items()}

    @classmethod
    def current(cls):
        """Returns the lab that is up."""
        try:
            return cls(json.loads((RECORD / "lab.json").read_text()))
        except FileNotFoundError:
            raise LabError("no lab is up", "`lab up` starts one") from None

    @classmethod
    def begin(cls, directory, profile, kubernetes, etcd):
        """Claims the machine for a lab."""
        versions = PROFILES[profile].etcd_versions
        if etcd not in versions:
            raise LabError(f"the profile `{profile}` has no etcd {etcd}", f"`--etcd` takes {' or '.join(versions)} with it")
        try:
            RECORD.mkdir()
        except FileExistsError:
            raise LabError("there is a lab on this machine already", "`lab down` takes it down") from None
        record = {
            "directory": str(directory), "profile": profile, "kubernetes": kubernetes, "etcd": etcd,
            "layers": [], "processes": {},
        }
        lab = cls(record)
        lab.write()
        return lab

    def write(self):
        beside = RECORD / "lab.json.new"
        beside.write_text(json.dumps(self.record, indent=1))
        beside.rename(RECORD / "lab.json")

    def host(self, name):
        try:
            return self.hosts[name]
        except KeyError:
            raise LabError(f"there is no host `{name}`", f"there are {', '.join(self.hosts)}") from None

    def others(self, host):
        return [other for other in self.hosts.values() if other.name != host.name]

    def each(self, act):
        """Does something with all hosts, side by side, and returns the results in their order."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            return list(pool.map(act, self.hosts.values()))

    # Its life.

    def up(self):
        """Starts the lab from its healthy baseline, which is made where there is none."""
        self.directory.mkdir(parents=True, exist_ok=True)
        kubernetes, etcd = self.record["kubernetes"], self.record["etcd"]
        layers = self.profile.layers(kubernetes, etcd)
        self.record["layers"] = [str(layer) for layer in layers]
        self.write()
        self.__init__(self.record)
        network.up()
        self.start_process("balancer", [PROGRAM, "balance"])
        baseline = components.made(self.profile.baseline_name(layers, kubernetes, etcd), self.make_baseline)
        self.restore(baseline)

    def make_baseline(self, place):
        """Sets the control plane up from nothing, and keeps the state of the hosts as the baseline."""
        key = self.directory / "id"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "requorum lab", "-f", key)
        store = self.profile.store(self.record["kubernetes"], self.record["etcd"])

        def prepare(host):
            host.make_disk()
            copy_store(store, host.directory / "containerd")
            host.mount()
            self.prepare_host(host)

        for host in self.hosts.values():
            prepare(host)
        self.start()
        self.profile.set_up(self)
        self.each(self.profile.quiesce)
        self.stop()
        for host in self.hosts.values():
            self.profile.clear(host)
            host.unmount()
            host.save(place / host.name)
        for name in ("id", "id.pub", "known_hosts", "admin.conf"):
            shutil.copy2(self.directory / name, place / name)

    def prepare_host(self, host):
        """Writes what every host has: its name, the names of all, keys, network."""
        names = "".join(f"{address} {name}\n" for name, address in HOSTS.items())
        host.write("/etc/hostname", f"{host.name}\n")
        host.write("/etc/hosts", f"127.0.0.1 localhost\n{names}{network.GATEWAY} api\n")
        host.write("/etc/resolv.conf", "")
        host.write("/root/.ssh/authorized_keys", (self.directory / "id.pub").read_text(), mode=0o600)
        (host.root / "root/.ssh").chmod(0o700)
        own = host.root / "etc/ssh/ssh_host_ed25519_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", own)
        public = own.with_suffix(".pub").read_text().split()
        with open(self.directory / "known_hosts", "a") as known:
            known.write(f"{host.name},{host.address} {public[0]} {public[1]}\n")
        self.profile.prepare(self, host)

    def restore(self, baseline):
        """Puts all hosts back to a baseline, and starts them."""
        self.stop()
        for name in ("id", "id.pub", "known_hosts", "admin.conf"):
            shutil.copy2(baseline / name, self.directory / name)
        self.each(lambda host: (host.unmount(), host.restore(baseline / host.name)))
        self.start()
        self.profile.wait_until_healthy(self)

    def reset(self):
        """Goes back to the healthy baseline."""
        for host in self.hosts.values():
            if network.PREFIX + host.name in network.namespaces():
                network.heal(host, self.others(host))
        layers = [Path(layer) for layer in self.record["layers"]]
        name = self.profile.baseline_name(layers, self.record["kubernetes"], self.record["etcd"])
        for host in self.hosts.values():
            host.kill()
        self.restore(components.cache() / name)

    def start(self):
        """Switches all hosts on and waits until they have booted."""
        for host in self.hosts.values():
            host.start(PROGRAM)
        self.each(Host.wait_for_boot)

    def stop(self):
        self.each(Host.stop)

    def down(self):
        """Takes everything down that the lab started, and nothing else."""
        self.each(Host.stop)
        for record in self.record["processes"].values():
            Process.of(record).stop(10)
        for host in self.hosts.values():
            host.unmount()
        for space in network.namespaces():
            network.remove(space)
        network.down()
        busy = wait_until_free()
        if busy:
            raise LabError(f"something still runs in {busy[0]} and {len(busy) - 1} other control groups")
        shutil.rmtree(self.directory)
        shutil.rmtree(RECORD)

    def start_process(self, name, argv):
        process = Process.start(argv, self.directory / f"{name}.log")
        self.record["processes"][name] = process.record()
        self.write()


def wait_until_free():
    """Removes the control groups, and returns those that stay busy."""
    try:
        wait_until("the control groups to be empty", 20, lambda: not cgroups.remove())
        return []
    except LabError:
        return cgroups.remove()


def default_directory():
    """Returns where the lab is kept: $REQUORUM_LAB_DIR, else a place on the disk of the machine."""
    return Path(os.environ.get("REQUORUM_LAB_DIR") or "/var/tmp/requorum-lab")
