"""The desk of an operator: the built requorum, a site file, a state directory of its own, and what a person would do there."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from . import components, site
from .lab import PROGRAM
from .machine import LabError, run, wait_until

TREE = Path(__file__).resolve().parents[3]


def binary():
    """Returns the requorum to try: $REQUORUM, else the release build of this tree."""
    built = Path(os.environ.get("CARGO_TARGET_DIR") or TREE / "target") / "release" / "requorum"
    place = Path(os.environ.get("REQUORUM") or built)
    if not place.exists():
        raise LabError(f"there is no {place}", "build it: cargo build --release")
    return place


class Ended:
    """How a command of requorum ended, and what it said."""

    def __init__(self, words, code, stdout, stderr, seconds):
        self.words, self.code, self.stdout, self.stderr, self.seconds = words, code, stdout, stderr, seconds

    @property
    def json(self):
        return json.loads(self.stdout)


class Desk:
    """One operator in front of one lab."""

    def __init__(self, lab, directory):
        self.lab, self.directory = lab, Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.site = self.directory / "site.yaml"
        self.site.write_text(site.text(lab))
        self.log = self.directory / "requorum.log"

    # requorum.

    def requorum(self, *words, code=0, kill_at=None, until=None, seconds=900):
        """Runs a command of requorum as a user does, and returns how it ended.

        `code`: the exit status it must have. `kill_at`: a pattern of a line that it says; there it is killed by SIGKILL, and
        must not have ended before. `until()`: what is waited for at that line before."""
        words = [str(word) for word in words]
        began = time.monotonic()
        child = subprocess.Popen(
            [binary(), *words], cwd=self.directory, text=True, stdin=subprocess.DEVNULL,
            stdout=open(self.directory / "stdout", "w"), stderr=subprocess.PIPE, env=self.environment(),
        )
        # A requorum that hangs is a failure; its signal is told from the one of `kill_at` by the line that was not said.
        limit = threading.Timer(seconds, child.kill)
        limit.start()
        said, killed = [], False
        with open(self.log, "a") as log:
            log.write(f"$ requorum {' '.join(words)}\n")
            for line in child.stderr:
                said.append(line)
                log.write(line)
                log.flush()
                if kill_at and not killed and re.search(kill_at, line):
                    if until:
                        wait_until(f"what is to be killed at {kill_at}", 300, until)
                    child.kill()
                    killed = True
            status = child.wait()
            limit.cancel()
            stdout = (self.directory / "stdout").read_text()
            log.write(f"{stdout}[ended with {status}]\n\n")
        ended = Ended(words, status, stdout, "".join(said), time.monotonic() - began)
        wanted = -signal.SIGKILL if kill_at else code
        if status != wanted or (kill_at and not killed):
            raise LabError(f"`requorum {' '.join(words)}` ended with {status} instead of {wanted}:\n{''.join(said[-40:])}")
        return ended

    def run(self, plan, *words, **options):
        """Runs a plan on the lab's site, confirmed."""
        return self.requorum("run", plan, "-i", self.site, "--yes", *words, **options)

    def run_killed(self, plan, *words, kill_at, until=None, meanwhile=None, resume=()):
        """Runs a plan, kills it by SIGKILL where it says a line, and resumes it from a second process. `meanwhile()` is done
        in between."""
        self.run(plan, *words, kill_at=kill_at, until=until)
        if meanwhile:
            meanwhile()
        return self.requorum("resume", *resume)

    def newest_run(self):
        """Returns the id of the run that began last."""
        return max(self.requorum("runs", "list", "-o", "json").json, key=lambda run: run["began"])["run"]

    def environment(self):
        """Nothing of the caller's settings reaches requorum; it has a home of its own."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.directory), "XDG_STATE_HOME": str(self.directory / "state"), "NO_COLOR": "1"}

    def triage_names(self, plan, *words):
        """Expects that triage names a plan, with these words in its command line; a service that has just died may need to be
        started again before its log says why."""

        def named():
            said = self.requorum("triage", "-i", self.site).stdout
            lines = [line for line in said.splitlines() if f" run {plan} " in line]
            if not any(all(word in line for word in words) for line in lines):
                raise LabError(said)
            return True

        wait_until(f"triage to name {plan} {' '.join(words)}", 60, named, every=3)

    def mark_lost(self, *hosts):
        """Says in the site file which hosts are given up; without any: none is."""
        text = site.text(self.lab)
        for host in hosts:
            text = text.replace(f"  {host.name}:\n", f"  {host.name}:\n    lost: true\n")
        self.site.write_text(text)

    def name_identity(self):
        """Names in the site file by what the cluster is known: etcd's CA and the uid of kube-system."""
        host = next(iter(self.lab.hosts.values()))
        said = host.ssh(f"openssl x509 -noout -fingerprint -sha256 -in {self.lab.profile.etcd_tls['ca']}").stdout
        uid = self.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}").stdout
        identity = f"identity: {{ etcd_ca_sha256: '{said.strip().split('=')[1]}', kube_system_uid: {uid} }}\n"
        self.site.write_text(self.site.read_text().replace("cluster: lab\n", f"cluster: lab\n{identity}"))

    # The hosts and the cluster, from outside.

    def start(self, host):
        """Switches a host on and waits until it has booted."""
        host.start(PROGRAM)
        host.wait_for_boot()

    def reboot(self, host):
        """Cuts a host's power, and switches it on again."""
        host.kill()
        self.start(host)

    def kubectl(self, *words, **options):
        return self.lab.profile.kubectl(self.lab, *words, **options)

    def etcdctl(self, *words, **options):
        return self.lab.profile.etcdctl(self.lab, *words, **options)

    def write(self, name, value="1"):
        """Writes an object through the API."""
        self.kubectl("create", "configmap", name, f"--from-literal=value={value}", "--request-timeout=20s")

    def revision_of(self, name):
        """Returns the revision at which an object was written last."""
        return self.kubectl("get", "configmap", name, "-o", "jsonpath={.metadata.resourceVersion}").stdout

    def has(self, name):
        """Says whether an object is there."""
        seen = self.kubectl("get", "configmap", name, "--ignore-not-found", "-o", "name", "--request-timeout=20s").stdout
        return bool(seen.strip())

    def members(self):
        """Returns the members as etcd lists them."""
        return json.loads(self.etcdctl("member", "list", "-w", "json").stdout)["members"]

    def snapshot_status(self, file):
        """Returns what etcd's own tool says of a snapshot on this machine; it fails where the file is not whole."""
        programs = components.etcd(self.lab.record["etcd"])
        tool = next(tool for tool in (programs / "etcdutl", programs / "etcdctl") if tool.exists())
        return json.loads(run(tool, "snapshot", "status", file, "-w", "json").stdout)

    def one_healthy_cluster(self):
        """Fails unless all members are one healthy cluster of voters with the same data and without an alarm."""
        self.lab.profile.wait_until_healthy(self.lab)
        status = json.loads(self.etcdctl("endpoint", "status", "-w", "json").stdout)
        clusters = {one["Status"]["header"]["cluster_id"] for one in status}
        expect(len(status) == len(self.lab.hosts) and len(clusters) == 1, f"one cluster of all members: {status}")
        listed = self.members()
        expect(len(listed) == len(self.lab.hosts), f"as many members as hosts: {listed}")
        expect(all(one.get("name") and not one.get("isLearner") for one in listed), f"all started, no learner: {listed}")
        revision = min(one["Status"]["header"]["revision"] for one in status)
        hashed = json.loads(self.etcdctl("endpoint", "hashkv", "--rev", str(revision), "-w", "json").stdout)
        expect(len({one["HashKV"]["hash"] for one in hashed}) == 1, f"the same hash at revision {revision}: {hashed}")
        alarms = self.etcdctl("alarm", "list").stdout.strip()
        expect(not alarms, f"no alarm: {alarms}")


def expect(holds, what):
    if not holds:
        raise LabError(f"not so: {what}")
