"""Commands and processes of the machine that the lab runs on."""

import os
import shlex
import signal
import subprocess
import time


class LabError(Exception):
    """Something that the user has to know; `hint` says what to do about it."""

    def __init__(self, message, hint=None):
        super().__init__(message)
        self.hint = hint


def run(*argv, timeout=120, check=True, stdin=None, env=None, cwd=None):
    """Runs a command and returns its result; what it prints is kept. `timeout` in seconds."""
    argv = [str(word) for word in argv]
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, cwd=cwd,
                              env={**os.environ, **env} if env else None)
    except FileNotFoundError:
        raise LabError(f"`{argv[0]}` is not installed", "`lab doctor` lists what is needed") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{shlex.join(argv)}` took more than {timeout} s") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise LabError(f"`{shlex.join(argv)}` ended with {done.returncode}: {said}")
    return done


def wait_until(what, seconds, holds, every=0.5):
    """Waits until `holds()` returns something true, and returns it. An error counts as not yet, and is told at the end."""
    deadline = time.monotonic() + seconds
    last = ""
    while True:
        try:
            seen = holds()
            if seen:
                return seen
        except LabError as error:
            last = f": {error}"
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not after {seconds} s{last}")
        time.sleep(every)


def began(pid):
    """Returns when a process began, in ticks since the boot of the machine, or None if there is none. With it a process
    is told from a later one with the same id."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Process:
    """A process that the lab started."""

    def __init__(self, pid, began_at):
        self.pid, self.began_at = pid, began_at

    @classmethod
    def start(cls, argv, log, env=None):
        """Starts one in a session of its own, with its output in a file."""
        with open(log, "ab") as out:
            child = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     start_new_session=True, env={**os.environ, **(env or {})})
        return cls(child.pid, began(child.pid))

    @classmethod
    def of(cls, record):
        return cls(record["pid"], record["began"])

    def record(self):
        return {"pid": self.pid, "began": self.began_at}

    def lives(self):
        reap()
        return self.began_at is not None and began(self.pid) == self.began_at

    def signal(self, number):
        """Sends a signal, if it still is the process that was started."""
        if self.lives():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def stop(self, seconds):
        """Asks it to end, and kills it if it has not after so many seconds."""
        self.signal(signal.SIGTERM)
        try:
            wait_until(f"the end of process {self.pid}", seconds, lambda: not self.lives(), every=0.1)
        except LabError:
            self.kill()

    def kill(self):
        self.signal(signal.SIGKILL)
        wait_until(f"the end of process {self.pid}", 30, lambda: not self.lives(), every=0.05)


def reap():
    """Takes leave of children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
