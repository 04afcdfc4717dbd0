"""Says whether this machine can run the lab, and if not, why."""

import os
import shutil
import tempfile
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
    if not found and (refused := what_is_refused()):
        found.append(f"a host cannot be made here: {refused}")
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


# A disk of its own, a root of its own, a bridge and a cable: what every host of the lab is made of.
PROBE = """
truncate -s 16M disk
mkfs.ext4 -q disk
mkdir own lower root
mount -o loop disk own
mkdir own/upper own/work
mount -t overlay overlay -o lowerdir=lower,upperdir=own/upper,workdir=own/work root
ip link add probe0 type bridge
ip link add probe1 type veth peer name probe2
"""


def what_is_refused():
    """Tries what is decisive, in namespaces of its own, where it does no harm. Returns what is refused, or nothing."""
    with tempfile.TemporaryDirectory() as place:
        done = run("unshare", "--mount", "--net", "sh", "-ec", PROBE, cwd=place, check=False)
    if done.returncode != 0:
        return " ".join(done.stderr.split())
    for hierarchy in cgroups.hierarchies():
        try:
            (hierarchy / "rqlab-probe").mkdir()
            (hierarchy / "rqlab-probe").rmdir()
        except OSError as error:
            return f"a control group: {error}"
    return ""
