"""What a lab could leave on the machine, so that before and after can be compared."""

from . import cgroups
from .machine import run


def traces():
    """Returns the network namespaces, links, mounts, loop devices and control groups that there are."""
    links = run("ip", "-o", "link").stdout.splitlines()
    seen = {f"link {line.split(': ')[1].split('@')[0]}" for line in links}
    seen |= {f"namespace {line.split()[0]}" for line in run("ip", "netns", "list").stdout.splitlines()}
    with open("/proc/mounts") as mounts:
        seen |= {f"mount {line.split()[1]}" for line in mounts}
    seen |= {f"loop {line.split(':')[0]}" for line in run("losetup", "-a").stdout.splitlines()}
    for hierarchy in cgroups.hierarchies():
        seen |= {f"control group {group}" for group in hierarchy.glob("*/")}
    return seen
