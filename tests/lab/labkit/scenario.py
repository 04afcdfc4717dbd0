"""What the lab's tests are made of: scenarios, and what runs them one after the other."""

import shutil
import time
import traceback
from datetime import datetime, timezone
from pathlib import Path

from .commands import main as lab_command
from .desk import Desk, binary
from .lab import RECORD, Lab
from .machine import LabError

ALL = []


class Scenario:
    """A fault, the plan that mends it, and how one sees from outside that it did."""

    def __init__(self, act, profiles, smoke):
        self.act, self.profiles, self.smoke = act, profiles, smoke
        self.name = act.__name__.replace("_", "-")


def scenario(*profiles, smoke=False):
    """Makes a function of a desk a scenario on these profiles of the lab; one of the smoke runs in CI."""

    def register(act):
        ALL.append(Scenario(act, profiles, smoke))
        return act

    return register


class Result:
    """How one scenario went on one lab."""

    def __init__(self, scenario, versions, seconds, error=None):
        self.scenario, self.versions, self.seconds, self.error = scenario, versions, seconds, error

    def row(self):
        """Returns it as a row of the table in docs/lab.md."""
        day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        profile, kubernetes, etcd = self.versions
        outcome = f"{self.seconds:.0f} s" if self.error is None else "FAILED"
        return f"| {day} | {self.scenario.name} | {profile} | {kubernetes} | {etcd} | {outcome} |"


def on_one_lab(scenarios, versions, evidence):
    """Takes a lab up, runs scenarios on it, each from the healthy baseline, and takes it down. Returns the results.

    `evidence` is the directory for what requorum and the hosts logged where one fails."""
    binary()
    profile, kubernetes, etcd = versions
    scenarios = [one for one in scenarios if profile in one.profiles]
    results = []
    if RECORD.exists():
        # Somebody's: it is not ours to take down, as what follows is.
        raise LabError("there is a lab on this machine already", "`lab down` takes it down")
    try:
        if lab_command(["up", "--profile", profile, "--kubernetes", kubernetes, "--etcd", etcd]) != 0:
            raise LabError(f"the lab {' '.join(versions)} did not come up")
        for number, one in enumerate(scenarios):
            results.append(run_one(one, versions, evidence, fresh=number == 0))
    finally:
        lab_command(["down"])
    return results


def run_one(one, versions, evidence, fresh):
    lab = Lab.current()
    place = Path(evidence) / "-".join([one.name, *versions])
    shutil.rmtree(place, ignore_errors=True)
    began = time.monotonic()
    try:
        if not fresh:
            lab.reset()
        began = time.monotonic()
        one.act(Desk(lab, place))
    except Exception as error:  # a failed scenario must not keep the others from running
        result = Result(one, versions, time.monotonic() - began, error)
        said = str(error) if isinstance(error, LabError) else traceback.format_exc()
        lab_command(["logs", str(place / "hosts")])
        print(f"FAILED  {one.name} on {' '.join(versions)}  ({result.seconds:.0f} s)\n{said}\nlogs: {place}", flush=True)
        return result
    result = Result(one, versions, time.monotonic() - began)
    print(f"ok  {one.name} on {' '.join(versions)}  ({result.seconds:.0f} s)", flush=True)
    shutil.rmtree(place)
    return result
