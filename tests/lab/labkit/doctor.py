"""Says whether this machine can run the lab, and if not, why."""

import os
import shutil
from pathlib import Path

from . import cgroups, components

PROGRAMS = {
    "systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "ip": "iproute2", "mkfs.ext4": "e2fsprogs",
    "ssh": "openssh-client", "ssh-keygen": "openssh-client", "openssl": "openssl",
    "gcc": "gcc and libc6-dev", "go": "Go 1.24 or later", "apt-get": "apt",
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
    missing = [f"`{program}` ({package})" for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        found.append(f"not installed: {', '.join(missing)}; `lab install` installs Debian's packages")
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


def remarks():
    """Returns what the lab cannot do here although it runs."""
    return ["skew-clock: hosts share the clock of this machine's kernel, so that none can be set apart"]


def can_mount():
    """Tries what is decisive: a mount in a mount namespace of its own, where it does no harm."""
    tried = os.fork()
    if tried == 0:
        os.execvp("unshare", ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
    return os.waitstatus_to_exitcode(os.waitpid(tried, 0)[1]) == 0
