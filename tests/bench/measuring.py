"""Measures a job as whole processes: time, processor time, memory, syncs."""

import functools
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

#: The calls after which data is on disk. `sync_file_range` is none: it writes without the disk's cache or the metadata.
SYNCS = "fsync,fdatasync,sync,syncfs,msync"
#: The longest that a job may take, in seconds.
LIMIT = 600
#: How often the memory of a process is looked at, in seconds.
LOOK = 0.005
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A job did not do its work."""


@dataclass
class Cost:
    """What one run of a job cost."""

    #: From start to end, in seconds.
    wall: float
    #: User and system, of the job, what it waited for, and its daemons, in seconds.
    cpu: float


def timed(job, limit=LIMIT):
    """Runs a job to its end and returns what it cost."""
    before = sum(map(cpu_of, job.daemons))
    begun = time.monotonic()
    with started(job, limit) as process:
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime + sum(map(cpu_of, job.daemons)) - before
    expect_success(job, process)
    return Cost(wall, cpu)


def watched(job, limit=LIMIT):
    """Runs a job to its end and returns the most memory that it or its daemons had at once, in bytes."""
    peak = 0
    # The high-water mark of the kernel, read until the process is gone. `wait4` would count the memory of this script too,
    # which the process had before it became another program.
    with started(job, limit) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(peak_of, job.daemons)) if job.daemons else peak_of(process.pid))
            time.sleep(LOOK)
    expect_success(job, process)
    return peak


def synced(job, limit=LIMIT):
    """Runs a job to its end under strace and returns how many syncs there were; `None` without strace."""
    if not shutil.which("strace"):
        return None
    out = job.cwd / "strace"
    strace = ["strace", "-f", "-c", "-e", f"trace={SYNCS}", "-o", str(out)]
    if not job.daemons:
        # The filter in the kernel leaves all other calls at full speed; it cannot be attached to what runs already.
        job.argv = [*strace, "--seccomp-bpf", *job.argv]
        timed(job, limit)
        return counted(out)
    attach = [argument for pid in job.daemons for argument in ("-p", str(pid))]
    tracer = subprocess.Popen([*strace, *attach], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_traced(job.daemons, tracer)
        timed(job, limit)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    return counted(out)


def start(job):
    """Starts a job as the leader of a session. What it prints goes to the file `said`."""
    with open(job.cwd / "said", "wb") as said:
        env = {**os.environ, **job.env}
        return subprocess.Popen(
            job.argv,
            cwd=job.cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def started(job, limit):
    """Starts a job; afterwards, or when `limit` seconds are over, it does not run any more."""
    process = start(job)
    # With its children: what strace follows would live on without it.
    kill = functools.partial(os.killpg, process.pid, signal.SIGKILL)
    timer = threading.Timer(limit, kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        if process.poll() is None:
            kill()
            process.wait()


def expect_success(job, process):
    """Raises `Failed` with the last words of a job that failed."""
    if process.returncode:
        said = (job.cwd / "said").read_text(errors="replace").strip().splitlines()[-3:]
        raise Failed(f"{job.argv[0]} ended with {process.returncode}: {' / '.join(said)}")


def counted(out):
    """Reads the number of calls from the last line of a summary of strace; without any call there is none."""
    total = re.search(r"^100\.00 +[\d.]+ +\d+ +(\d+) .*total$", out.read_text(), re.MULTILINE)
    return int(total.group(1)) if total else 0


def until_traced(pids, tracer):
    """Waits until processes are traced."""
    ends = time.monotonic() + 10
    while any("TracerPid:\t0\n" in status_of(pid) for pid in pids):
        if tracer.poll() is not None or time.monotonic() > ends:
            raise Failed("strace could not attach to what runs beside the job")
        time.sleep(LOOK)


def status_of(pid):
    """What Linux says of a process; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return status.read()
    except OSError:
        return ""


def peak_of(pid):
    """The most memory that a process had at once, in bytes; 0 when it is gone."""
    found = re.search(r"VmHWM:\s+(\d+) kB", status_of(pid))
    return int(found.group(1)) * 1024 if found else 0


def cpu_of(pid):
    """The processor time of a process and of its children that have ended, in seconds."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS
