"""What every side of a comparison has in common: it turns steps into a command that can be measured."""

from dataclasses import dataclass, field
from pathlib import Path


class Missing(Exception):
    """A side cannot take part on this machine; the text says why."""


@dataclass
class Step:
    """One step of a workload. `command` is shell text; `None` is a step that does nothing but is remembered."""

    name: str
    command: str | None
    needs: list[str]


@dataclass
class Job:
    """A command, and the processes beside it that do its work. Killing a side kills all of these and nothing else."""

    argv: list[str]
    cwd: Path
    env: dict[str, str] = field(default_factory=dict)
    daemons: list[int] = field(default_factory=list)


class Side:
    """One side of a comparison."""

    name = ""
    #: What is on disk when, in words for the table.
    durable = ""
    #: Above this many steps it takes too long to take part.
    largest = 100_000
    #: Whether it can take an interrupted run up again.
    resumes = False
    #: Whether it has a step that does nothing and is remembered all the same.
    has_noop = False
    #: Whether it runs steps beside each other.
    is_parallel = True

    def install(self, cache):
        """Makes it ready to run. Raises `Missing`."""

    def prepare(self, place, steps, parallel):
        """Lays a run of these steps out in an empty directory; returns the job that carries it out. Not timed."""
        raise NotImplementedError

    def take_up(self, place, steps, parallel):
        """Returns the job that goes on with a run whose processes were killed."""
        raise NotImplementedError

    def put_away(self, place):
        """Ends what `prepare` or `take_up` started beside the job."""


def topological(steps):
    """Groups steps into waves: each needs only steps of the waves before it."""
    level = {}
    for step in steps:
        level[step.name] = 1 + max((level[need] for need in step.needs), default=-1)
    waves = [[] for _ in range(max(level.values()) + 1)]
    for step in steps:
        waves[level[step.name]].append(step)
    return waves
