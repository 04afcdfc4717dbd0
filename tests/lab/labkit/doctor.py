"""Says whether this machine can run the lab, and if not, why."""

import os
import shutil
from pathlib import Path

from . import cgroups, components
from .machine import run

# The Debian packages of the programs that the lab calls.
PROGRAMS = {
    "systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "ip": "iproute2", "mkfs.ext4": "e2fsprogs",
    "ssh": "openssh-client", "ssh-keygen": "openssh-client", "openssl": "openssl",
    "gcc": "gcc",
}
# Bytes: root file system, programs, images, three hosts, and a build.
ROOM = 12 << 30
# Bytes of memory that three control planes take, with room for the tests.
MEMORY = 6 << 30


def problems():
    """Returns what is missing, one line each with what to do."""
    found = []
    if os.geteuid() != 0:
        found.append("not root: namespaces, mounts and control groups are made; run it as root")
    if not shutil.which("apt-get"):
        found.append("no apt-get: the hosts of the lab are made from Debian's packages")
    if missing_packages():
        found.append(f"not installed: {', '.join(missing_packages())}; `lab install` installs them")
    if not shutil.which("go") and run("python3", "-m", "pip", "--version", check=False).returncode != 0:
        found.append("not installed: Go, and there is no pip to fetch it with; install one of them")
    if os.geteuid() == 0 and not can_mount():
        found.append("a mount is refused, so no host can have a root of its own")
    if not Path("/dev/kmsg").exists():
        found.append("no /dev/kmsg, which the kubelet reads")
    if not cgroups.hierarchies():
        found.append("no control groups of version 1: the lab was made and tried with these only")
    place = components.cache()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < ROOM:
        found.append(f"{free >> 30} GiB are free at {place}, and {ROOM >> 30} GiB are needed; set REQUORUM_LAB_CACHE")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < MEMORY:
        found.append(f"{memory >> 30} GiB of memory, and {MEMORY >> 30} GiB are needed")
    return found


def missing_packages():
    """Returns the Debian packages that `install` would install."""
    missing = {package for program, package in PROGRAMS.items() if not shutil.which(program)}
    # The pause program is linked statically.
    if not any(Path("/usr/lib").glob("*/libc.a")):
        missing.add("libc6-dev")
    return sorted(missing)


def remarks():
    """Returns what the lab cannot do here although it runs."""
    return ["skew-clock: hosts share the clock of this machine's kernel, so that none can be set apart"]


def can_mount():
    """Tries what is decisive: a mount in a mount namespace of its own, where it does no harm."""
    tried = os.fork()
    if tried == 0:
        os.execvp("unshare", ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
    return os.waitstatus_to_exitcode(os.waitpid(tried, 0)[1]) == 0
