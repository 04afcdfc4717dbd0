"""Restate: a durable execution server; the steps run in a service of its JavaScript SDK."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from . import Job, Missing, Side
from .layout import write_waves

VERSION = "1.7.12"
SDK = "1.17.2"
PROGRAMS = Path(__file__).parent.parent / "programs"
#: How long the server may take to come up, in seconds.
PATIENCE = 60


class Restate(Side):
    name = f"Restate {VERSION}"
    durable = "after a step: its result, in a log of the server; nothing before it"
    resumes = True
    has_noop = True

    def __init__(self):
        self.processes = []

    def install(self, cache):
        if not shutil.which("node"):
            raise Missing("node is not installed")
        self.binary = cache.npm("@restatedev/restate-server-linux-x64", VERSION) / "bin" / "restate-server"
        self.sdk = cache.npm("@restatedev/restate-sdk", SDK) / "dist" / "index.js"
        if not self.binary.exists():
            raise Missing("its package holds no program for this machine")

    def prepare(self, place, steps, parallel):
        write_waves(place, steps, parallel)
        return self.take_up(place, steps, parallel)

    def take_up(self, place, steps, parallel):
        self.put_away(place)
        ports = json.loads((place / "ports").read_text()) if (place / "ports").exists() else free_ports(4)
        (place / "ports").write_text(json.dumps(ports))
        ingress, admin, node, service = ports
        settings = {
            "RESTATE_NODE_NAME": "bench",
            "RESTATE_BASE_DIR": str(place / "data"),
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_IP": "127.0.0.1",
            "RESTATE_BIND_PORT": str(node),
            "RESTATE_INGRESS__BIND_PORT": str(ingress),
            "RESTATE_ADMIN__BIND_PORT": str(admin),
            "DO_NOT_TRACK": "1",
        }
        log = open(place / "restate.log", "ab")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "cwd": place}
        program = ["node", str(PROGRAMS / "restate_steps.mjs"), str(place / "steps.json"), str(service), str(self.sdk)]
        self.processes = [
            subprocess.Popen([str(self.binary), "--no-logo"], env={**os.environ, **settings}, **quiet),
            subprocess.Popen(program, **quiet),
        ]
        log.close()
        until(lambda: answers(f"http://127.0.0.1:{admin}/health"), "the server")
        until(lambda: answers(f"http://127.0.0.1:{ingress}/restate/health"), "the ingress")
        registration = {"uri": f"http://127.0.0.1:{service}", "force": True}
        until(lambda: answers(f"http://127.0.0.1:{admin}/deployments", registration), "the service")
        call = [sys.executable, "-S", str(PROGRAMS / "restate_call.py"), str(ingress)]
        return Job(call, place, daemons=[process.pid for process in self.processes])

    def put_away(self, place):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []


def free_ports(count):
    """Ports of loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(url, body=None):
    """Says whether a request is answered with success."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except OSError:
        return False


def until(holds, what):
    """Waits until something holds."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > ends:
            raise Missing(f"{what} did not come up within {PATIENCE} s")
        time.sleep(0.05)
