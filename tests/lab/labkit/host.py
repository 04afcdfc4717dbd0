"""A host of the lab: a disk of its own over the common root file system, booted by systemd in its own namespaces.

A directory of the host holds `disk.img` (what it has written, a file system of its own so that it can be full without
filling the machine), `containerd` (which cannot lie on an overlay) and `console.log`.
"""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from . import cgroups, network
from .machine import LabError, Process, reap, run, wait_until

# What a host can write at most.
DISK = "6G"
# systemd-nspawn ends with it when the system inside asks for a reboot.
REBOOT = 133


class Host:
    """One of the hosts of a lab."""

    def __init__(self, lab_directory, name, address, layers, boot_unit):
        self.name, self.address, self.layers, self.boot_unit = name, address, layers, boot_unit
        self.directory = Path(lab_directory) / name
        self.disk = self.directory / "disk"
        self.root = self.directory / "root"
        self.key = Path(lab_directory) / "id"
        self.known = Path(lab_directory) / "known_hosts"

    # Its disk.

    def make_disk(self):
        """Makes an empty disk."""
        self.directory.mkdir(parents=True)
        image = self.directory / "disk.img"
        run("truncate", "-s", DISK, image)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", image)

    def mount(self):
        """Mounts the disk, and over the common root what is on it."""
        for directory in (self.disk, self.root):
            directory.mkdir(exist_ok=True)
        if not os.path.ismount(self.disk):
            run("mount", "-o", "loop", self.directory / "disk.img", self.disk)
        for directory in ("upper", "work"):
            (self.disk / directory).mkdir(exist_ok=True)
        if not os.path.ismount(self.root):
            lower = ":".join(str(layer) for layer in self.layers)
            options = f"lowerdir={lower},upperdir={self.disk}/upper,workdir={self.disk}/work"
            run("mount", "-t", "overlay", "overlay", "-o", options, self.root)

    def unmount(self):
        for place in (self.root, self.disk):
            if os.path.ismount(place):
                wait_until(f"unmounting {place}", 30, lambda at=place: run("umount", at, check=False).returncode == 0)

    def save(self, place):
        """Copies the state of the host, which is down. Images are shared by hard links: nobody writes to them."""
        place.mkdir(parents=True)
        run("cp", "--sparse=always", self.directory / "disk.img", place / "disk.img", timeout=600)
        copy_store(self.directory / "containerd", place / "containerd")

    def restore(self, place):
        """Puts a saved state back."""
        shutil.rmtree(self.directory / "containerd", ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        # Never written over: whatever still has the old image mounted would go on writing into the new one.
        run("cp", "--sparse=always", "--remove-destination", place / "disk.img", self.directory / "disk.img", timeout=600)
        copy_store(place / "containerd", self.directory / "containerd")

    def write(self, path, text, mode=0o644):
        """Writes a file of the host, which is mounted and down."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    # Its life.

    def keeper(self):
        """Returns the process that keeps it running, if there is one."""
        try:
            return Process.of(json.loads((self.directory / "keeper.json").read_text()))
        except FileNotFoundError:
            return None

    def runs(self):
        keeper = self.keeper()
        return keeper is not None and keeper.lives()

    def start(self, program):
        """Switches it on; `program` is the command of the lab."""
        if self.runs():
            return
        cgroups.add(self.name)
        self.mount()
        if network.PREFIX + self.name not in network.namespaces():
            network.add(self)
        keeper = Process.start([program, "keep", self.name], self.directory / "console.log")
        (self.directory / "keeper.json").write_text(json.dumps(keeper.record()))

    def keep(self):
        """Runs the host until it is switched off, through every reboot. This is what the keeper does."""
        cgroups.enter(self.name)
        argv = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--machine={self.name}", "-D", str(self.root),
            f"--network-namespace-path=/run/netns/{network.PREFIX}{self.name}", "--capability=all",
            "--bind=/dev/kmsg", f"--bind={self.directory}/containerd:/var/lib/containerd", "--boot",
            "--console=read-only", "systemd.unit=multi-user.target",
        ]
        environment = {**os.environ, "SYSTEMD_SECCOMP": "0", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"}
        off = False

        def switch_off(*_):
            nonlocal off
            off = True
            child.send_signal(signal.SIGTERM)

        while True:
            child = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL)
            signal.signal(signal.SIGTERM, switch_off)
            code = child.wait()
            if off or code != REBOOT:
                return 0

    def stop(self, seconds=90):
        """Shuts it down in order."""
        keeper = self.keeper()
        if keeper:
            keeper.stop(seconds)
        self.kill()

    def kill(self):
        """Takes its power away."""

        def is_dead():
            # The init of a host outlives systemd-nspawn, and all others die with it.
            for pid in cgroups.processes(self.name):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            reap()
            return not cgroups.processes(self.name)

        wait_until(f"{self.name} to be dead", 30, is_dead, every=0.05)

    # What is inside.

    def ssh_argv(self, *command):
        return [
            "ssh", "-q", "-i", self.key, "-o", f"UserKnownHostsFile={self.known}", "-o", "StrictHostKeyChecking=yes",
            "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-o", "ServerAliveInterval=5", f"root@{self.address}",
            *command,
        ]

    def ssh(self, command, timeout=120, check=True, stdin=None):
        """Runs a shell command on the host as root."""
        return run(*self.ssh_argv(command), timeout=timeout, check=check, stdin=stdin)

    def wait_for_boot(self, seconds=120):
        """Waits until systemd has started what says that the host is up."""

        def is_up():
            if not self.runs():
                raise LabError(f"{self.name} has ended", f"look at {self.directory}/console.log")
            return self.ssh(f"systemctl is-active {self.boot_unit}", check=False, timeout=15).stdout.strip() == "active"

        wait_until(f"{self.name} to boot", seconds, is_up)


def copy_store(source, target):
    """Copies the directory of containerd: its databases really, and what never changes by hard links."""
    run("cp", "-al", source, target, timeout=300)
    for database in list(target.rglob("*.db")):
        database.unlink()
        shutil.copy2(source / database.relative_to(target), database)
