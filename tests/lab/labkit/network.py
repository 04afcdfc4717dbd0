"""The network of the lab: a bridge, and for each host a network namespace with one interface on it.

The addresses exist inside of the namespaces and on the bridge only.
"""

from .machine import run

BRIDGE = "rqlab0"
GATEWAY = "10.99.0.1"
# Where every API server listens, and the balancer in front of them.
API_PORT = 6443
API = f"{GATEWAY}:{API_PORT}"
PREFIX = "rqlab-"


def up():
    """Makes the bridge."""
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{GATEWAY}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def down():
    run("ip", "link", "del", BRIDGE, check=False)


def is_up():
    return run("ip", "link", "show", BRIDGE, check=False).returncode == 0


def namespaces():
    """Returns the network namespaces of a lab that there are."""
    lines = run("ip", "netns", "list").stdout.splitlines()
    return [line.split()[0] for line in lines if line.startswith(PREFIX)]


def add(host):
    """Makes the namespace of a host, with `eth0` on the bridge."""
    space, port = PREFIX + host.name, "rql-" + host.name
    run("ip", "netns", "add", space)
    run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
    run("ip", "link", "set", port, "master", BRIDGE, "up")
    run("ip", "-n", space, "addr", "add", f"{host.address}/24", "dev", "eth0")
    run("ip", "-n", space, "link", "set", "eth0", "up")
    run("ip", "-n", space, "link", "set", "lo", "up")
    run("ip", "-n", space, "route", "add", "default", "via", GATEWAY)


def remove(space):
    run("ip", "link", "del", "rql-" + space.removeprefix(PREFIX), check=False)
    run("ip", "netns", "del", space, check=False)


def cut(host):
    """Takes the host off the bridge: nobody reaches it."""
    run("ip", "link", "set", "rql-" + host.name, "down")


def cut_from(host, others):
    """Cuts a host off from other hosts. Whoever is on the bridge itself still reaches it."""
    for other in others:
        run("ip", "-n", PREFIX + host.name, "route", "replace", "blackhole", f"{other.address}/32")


def heal(host, others):
    """Takes back what `cut` and `cut_from` did."""
    run("ip", "link", "set", "rql-" + host.name, "up")
    for other in others:
        run("ip", "-n", PREFIX + host.name, "route", "del", "blackhole", f"{other.address}/32", check=False)
