"""The commands of the lab."""

import argparse
import asyncio
import os
import signal
import sys

from . import balancer, components, doctor, network, site
from .lab import HOSTS, PROFILES, Lab, default_directory
from .machine import LabError, run


def main(words):
    arguments = parser().parse_args(words)
    # What is half made is put away also on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return arguments.act(arguments) or 0
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        if error.hint:
            print(f"     {error.hint}", file=sys.stderr)
        return 1


def parser():
    top = argparse.ArgumentParser(prog="lab", description="Three real hosts with a real control plane, on one machine.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name, act, text=None, **options):
        shown = {"help": text, "description": text} if text else {}
        made = commands.add_parser(name, **shown, **options)
        made.set_defaults(act=act)
        return made

    def on_host(name, act, text=None):
        made = command(name, act, text)
        made.add_argument("host", choices=HOSTS)
        return made

    command("doctor", do_doctor, "says whether this machine can run the lab, and if not, why")
    command("install", do_install, "installs the Debian packages that are missing")
    versions = argparse.ArgumentParser(add_help=False)
    versions.add_argument("--profile", choices=PROFILES, default="kubeadm")
    versions.add_argument("--kubernetes", choices=components.KUBERNETES, default="1.34")
    versions.add_argument("--etcd", choices=components.ETCD, default="3.6")
    command("up", do_up, "starts the lab; the first time it makes everything that it needs", parents=[versions])
    command("down", do_down, "takes the lab down; nothing of it remains but the cache")
    command("reset", do_reset, "puts all hosts back to the healthy baseline")
    command("status", do_status, "shows the hosts and what is on them; exit 3 if something is not as it should be")
    ssh = on_host("ssh", do_ssh, "runs a command on a host, or a shell")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    on_host("kill", lambda words: Lab.current().host(words.host).kill(), "takes a host's power away")
    on_host("stop", lambda words: Lab.current().host(words.host).stop(), "shuts a host down in order")
    on_host("start", do_start, "switches a host on and waits until it has booted")
    on_host("reboot", do_reboot, "shuts a host down in order and switches it on again")
    partition = on_host("partition", do_partition, "cuts a host off")
    partition.add_argument("--peers", action="store_true", help="only from the other hosts; ssh still reaches it")
    on_host("heal", do_heal, "takes a partition back")
    fill = on_host("fill-disk", do_fill_disk, "fills the disk of a host; `--free` empties it again")
    fill.add_argument("--free", action="store_true")
    skew = on_host("skew-clock", do_skew_clock, "sets a host's clock apart, where that can be done")
    skew.add_argument("seconds", type=int)
    command("site", lambda words: print(site.text(Lab.current()), end=""), "prints the site file for requorum")
    logs = command("logs", do_logs, "collects the logs of all hosts into a directory")
    logs.add_argument("directory")
    kubectl = command("kubectl", do_kubectl, "runs kubectl against the balanced address")
    kubectl.add_argument("words", nargs=argparse.REMAINDER)
    etcdctl = command("etcdctl", do_etcdctl, "runs etcdctl against all members")
    etcdctl.add_argument("words", nargs=argparse.REMAINDER)
    # What the lab itself runs.
    on_host("keep", lambda words: Lab.current().host(words.host).keep())
    command("balance", do_balance)
    return top


def do_doctor(_):
    found = doctor.problems()
    for line in found:
        print(f"cannot: {line}")
    for line in doctor.remarks():
        print(f"remark: {line}")
    print("this machine cannot run the lab" if found else "this machine can run the lab")
    return 3 if found else 0


def do_install(_):
    missing = doctor.missing_packages()
    if not missing:
        print("everything is there")
        return
    print(f"installing with apt-get: {' '.join(missing)}", flush=True)
    run("apt-get", "-q", "update", timeout=600)
    run("apt-get", "-q", "install", "-y", "--no-install-recommends", *missing, timeout=900,
        env={"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"})


def do_up(words):
    found = doctor.problems()
    if found:
        raise LabError(f"this machine cannot run the lab: {found[0]}", "`lab doctor` says all")
    lab = Lab.begin(default_directory(), words.profile, words.kubernetes, words.etcd)
    try:
        lab.up()
    except LabError as error:
        error.hint = error.hint or "`lab logs DIRECTORY` collects what is known, `lab down` takes it down"
        raise
    return do_status(words)


def do_down(_):
    Lab.current().down()


def do_reset(_):
    Lab.current().reset()


def do_status(_):
    lab = Lab.current()
    whole = True
    for host in lab.hosts.values():
        state = "off" if not host.runs() else "up"
        if state == "up" and host.ssh("true", check=False, timeout=10).returncode != 0:
            state = "up, ssh does not answer"
        whole &= state == "up"
        print(f"{host.name}  {host.address}  {state}")
    for line in lab.profile.status(lab):
        whole &= line.startswith("ok")
        print(line)
    return 0 if whole else 3


def do_ssh(words):
    argv = [str(word) for word in Lab.current().host(words.host).ssh_argv(*words.words)]
    os.execvp(argv[0], argv)


def do_start(words):
    from .lab import PROGRAM

    host = Lab.current().host(words.host)
    host.start(PROGRAM)
    host.wait_for_boot()


def do_reboot(words):
    Lab.current().host(words.host).stop()
    do_start(words)


def do_partition(words):
    lab = Lab.current()
    host = lab.host(words.host)
    if words.peers:
        network.cut_from(host, lab.others(host))
    else:
        network.cut(host)


def do_heal(words):
    lab = Lab.current()
    host = lab.host(words.host)
    network.heal(host, lab.others(host))


def do_fill_disk(words):
    host = Lab.current().host(words.host)
    if words.free:
        host.ssh("rm -f /var/lib/requorum-lab-filler")
        return
    # What fallocate takes at once is not the last byte.
    host.ssh("fallocate -l $(df --output=avail -B1 / | tail -1) /var/lib/requorum-lab-filler 2>/dev/null || true; "
             "cat /dev/zero >>/var/lib/requorum-lab-filler 2>/dev/null || true")


def do_skew_clock(_):
    raise LabError(doctor.remarks()[0])


def do_logs(words):
    lab = Lab.current()
    os.makedirs(words.directory, exist_ok=True)
    for host in lab.hosts.values():
        lab.profile.collect(host, words.directory)


def do_kubectl(words):
    lab = Lab.current()
    program = components.kubernetes(lab.record["kubernetes"]) / "kubectl"
    os.execv(program, [str(program), f"--kubeconfig={lab.directory}/admin.conf", *words.words])


def do_etcdctl(words):
    done = Lab.current().profile.etcdctl(Lab.current(), *words.words, check=False)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode


def do_balance(_):
    asyncio.run(balancer.serve(network.GATEWAY, network.API_PORT,
                               [(address, network.API_PORT) for address in HOSTS.values()]))
