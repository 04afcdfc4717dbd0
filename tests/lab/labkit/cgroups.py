"""The control groups of the lab: one tree of its own in every hierarchy, so that nothing of it stays behind.

systemd-nspawn gives a host a cgroup namespace that begins in the group of who starts it. So each host sees its own group
as the whole tree, and no kubelet takes the pods of another host for orphans of its own and kills them.
"""

import os
from pathlib import Path

ROOT = "rqlab"


def hierarchies():
    """Returns where version 1 hierarchies are mounted."""
    with open("/proc/mounts") as mounts:
        fields = [line.split() for line in mounts]
    return [Path(field[1]) for field in fields if field[2] == "cgroup"]


def add(name):
    """Makes the groups of a host."""
    for hierarchy in hierarchies():
        for group in (hierarchy / ROOT, hierarchy / ROOT / name):
            group.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                own = group / setting
                if own.exists() and not own.read_text().strip():
                    own.write_text((group.parent / setting).read_text())


def enter(name):
    """Moves this process into the groups of a host; what it starts stays in them."""
    for hierarchy in hierarchies():
        (hierarchy / ROOT / name / "cgroup.procs").write_text("0")


def below(root):
    """Returns a group and all below it, the lowest first; groups come and go meanwhile."""
    return [Path(directory) for directory, _, _ in os.walk(root, topdown=False)]


def processes(name):
    """Returns the ids of all processes of a host: everything that was started in its groups stays in them."""
    found = set()
    for hierarchy in hierarchies():
        for group in below(hierarchy / ROOT / name):
            try:
                found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
            except OSError:
                continue  # The group has gone meanwhile.
    return found


def remove():
    """Removes the groups of all hosts, and returns those in which something still runs."""
    busy = []
    for hierarchy in hierarchies():
        for group in below(hierarchy / ROOT):
            try:
                group.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                busy.append(str(group))
    return busy
